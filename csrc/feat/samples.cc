#include "feat/samples.h"

#include <cmath>

#include "feat/kernel.h"

namespace kdspeech {

SampleCheck CheckSamples(const float* samples, int64_t num_samples) {
  constexpr uint32_t kLargest = 0x4e6e6b28u, kOne = 0x3f800000u;  // the bits of 1e9 and 1
  const uint32_t peak = ActiveKernel().peak(samples, num_samples);
  SampleCheck check;
  check.normalized = peak > 0 && peak <= kOne;
  if (peak <= kLargest) return check;
  check.first_bad = 0;
  while (std::abs(samples[check.first_bad]) <= 1e9f) check.first_bad++;
  return check;
}

}  // namespace kdspeech
