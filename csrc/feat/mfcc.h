// Tables of the mel frequency cepstral coefficients.
#pragma once

#include <vector>

namespace kdspeech {

// The first `num_ceps` rows of the orthonormal discrete cosine transform (type II) over
// `num_bins` values, row by row.
std::vector<float> MakeDct(int num_ceps, int num_bins);

// 1 + Q / 2 sin(pi i / Q), i = 0 .. num_ceps - 1; all ones for Q = 0.
std::vector<float> MakeLifter(int num_ceps, float q);

}  // namespace kdspeech
