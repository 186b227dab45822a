// Tables of perceptual linear prediction: H. Hermansky, "Perceptual linear predictive (PLP)
// analysis of speech", JASA 87(4), 1990.
#pragma once

#include <vector>

namespace kdspeech {

// The equal-loudness curve at the filters' centre frequencies in Hz (Hermansky's eq. 8, in
// the form HTK and Kaldi use).
std::vector<float> MakeEqualLoudness(const std::vector<float>& center_freqs);

// Rows 0 .. lpc_order of the inverse cosine transform that turns the `num_bins` compressed
// filter outputs into autocorrelations. Kaldi repeats the first and the last output beyond the
// ends; here the weights of the repeated ones are added to those of the originals.
std::vector<float> MakeAutocorrelationBasis(int lpc_order, int num_bins);

}  // namespace kdspeech
