// Triangular mel filters.
#pragma once

#include <vector>

#include "feat/options.h"

namespace kdspeech {

// Filter b covers FFT bins first[b] .. first[b] + count[b] - 1 with weights from
// weights[offset[b]] on: at most two filters overlap anywhere, so the matrix is kept sparse.
struct MelBanks {
  std::vector<int> first;
  std::vector<int> count;
  std::vector<int> offset;
  std::vector<float> weights;
  std::vector<float> center_freqs;  // Hz
};

// Throws InputError unless `warp` is a number above 0.
void CheckWarpFactor(float warp);

// Filters over the bins 0 .. fft_size / 2 - 1 of a transform of `fft_size` samples, with the
// frequency axis warped by `vtln_warp` (1 = not warped). Throws InputError for a filter that
// no bin falls in and for cut-off frequencies that do not allow the warp.
MelBanks MakeMelBanks(const MelOptions& mel, float sample_frequency, int fft_size, float vtln_warp);

}  // namespace kdspeech
