#include "feat/mfcc.h"

#include <cmath>

#include "feat/math.h"

namespace kdspeech {

std::vector<float> MakeDct(int num_ceps, int num_bins) {
  std::vector<float> dct;
  dct.reserve(static_cast<size_t>(num_ceps) * num_bins);
  for (int k = 0; k < num_ceps; k++) {
    const float scale = static_cast<float>(std::sqrt((k == 0 ? 1.0 : 2.0) / num_bins));
    for (int b = 0; b < num_bins; b++) {
      dct.push_back(static_cast<float>(scale * std::cos(kPi / num_bins * (b + 0.5) * k)));
    }
  }
  return dct;
}

std::vector<float> MakeLifter(int num_ceps, float q) {
  std::vector<float> lifter(num_ceps, 1.0f);
  if (q == 0.0f) return lifter;
  for (int i = 0; i < num_ceps; i++) {
    lifter[i] = static_cast<float>(1.0 + 0.5 * q * std::sin(kPi * i / q));
  }
  return lifter;
}

}  // namespace kdspeech
