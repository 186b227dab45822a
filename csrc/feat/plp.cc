#include "feat/plp.h"

#include <algorithm>
#include <cmath>

#include "feat/math.h"

namespace kdspeech {

std::vector<float> MakeEqualLoudness(const std::vector<float>& center_freqs) {
  std::vector<float> loudness;
  for (float freq : center_freqs) {
    const float square = freq * freq;
    const float sub = square / (square + 1.6e5f);
    loudness.push_back(sub * sub * ((square + 1.44e6f) / (square + 9.61e6f)));
  }
  return loudness;
}

std::vector<float> MakeAutocorrelationBasis(int lpc_order, int num_bins) {
  const int last = num_bins + 1;  // index of the repeated output after the last
  std::vector<float> basis(static_cast<size_t>(lpc_order + 1) * num_bins, 0.0f);
  for (int i = 0; i <= lpc_order; i++) {
    for (int j = 0; j <= last; j++) {
      const double scale = (j == 0 || j == last ? 0.5 : 1.0) / last;
      const int bin = std::min(std::max(j - 1, 0), num_bins - 1);
      basis[static_cast<size_t>(i) * num_bins + bin] +=
          static_cast<float>(scale * std::cos(kPi / last * i * j));
    }
  }
  return basis;
}

}  // namespace kdspeech
