// Checks on the samples of a wave.
#pragma once

#include <cstdint>

namespace kdspeech {

struct SampleCheck {
  int64_t first_bad = -1;   // index of the first sample that is NaN, infinite or beyond 1e9, where
                            // powers might overflow; -1: none
  bool normalized = false;  // sound that never leaves [-1, 1]: most likely a float wave that
                            // should be multiplied by 32768
};

SampleCheck CheckSamples(const float* samples, int64_t num_samples);

}  // namespace kdspeech
