// The error of bad input or senseless options. csrc/python turns it into
// kdspeech.io.errors.InputError; everything else that escapes the core is a bug.
#pragma once

#include <stdexcept>
#include <string>

namespace kdspeech {

class InputError : public std::runtime_error {
 public:
  explicit InputError(const std::string& message) : std::runtime_error(message) {}
};

}  // namespace kdspeech
