#include "feat/resample.h"

#include <algorithm>
#include <string>

#include "feat/error.h"
#include "feat/sinc_resample.h"

namespace kdspeech {

std::vector<float> Resample(const float* samples, int64_t num_samples, int from, int to) {
  if (from <= 0 || to <= 0) {
    throw InputError("cannot resample from " + std::to_string(from) + " Hz to " +
                     std::to_string(to) + " Hz: both must be above 0");
  }
  const float cutoff = static_cast<float>(0.99 * 0.5 * std::min(from, to));
  constexpr int kZeroCrossings = 6;
  return LinearResampler(from, to, cutoff, kZeroCrossings).Resample(samples, num_samples);
}

}  // namespace kdspeech
