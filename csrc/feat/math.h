// Mathematical constants (C++17 has none).
#pragma once

namespace kdspeech {

constexpr double kPi = 3.14159265358979323846;

}  // namespace kdspeech
