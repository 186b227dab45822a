// Kaldi's resampling of a wave (allow_downsample, allow_upsample).
#pragma once

#include <cstdint>
#include <vector>

namespace kdspeech {

// `samples` at `from` Hz, at `to` Hz: a sinc low-pass at 99 % of the lower Nyquist frequency
// under a Hann window of six zero crossings a side (Kaldi's ResampleWaveform).
// Throws InputError unless both rates are above 0.
std::vector<float> Resample(const float* samples, int64_t num_samples, int from, int to);

}  // namespace kdspeech
