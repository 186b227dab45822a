// Window functions.
#pragma once

#include <vector>

#include "feat/options.h"

namespace kdspeech {

// The window of `frame.window_type` over WindowSize(frame) samples.
// Throws InputError for an unknown type.
std::vector<float> MakeWindow(const FrameOptions& frame);

}  // namespace kdspeech
