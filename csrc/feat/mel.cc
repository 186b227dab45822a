#include "feat/mel.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "feat/error.h"

// All in float, as Kaldi computes them: a filter's edge decides which bins it takes.
namespace kdspeech {
namespace {

float MelScale(float freq) { return 1127.0f * std::log(1.0f + freq / 700.0f); }

float InverseMelScale(float mel) { return 700.0f * (std::exp(mel / 1127.0f) - 1.0f); }

// The piecewise linear warp of the frequency axis for vocal tract length normalisation: a
// middle part of slope 1 / warp, and two outer parts that keep low and high fixed.
struct VtlnWarp {
  float low, high, vtln_low, vtln_high, warp;

  float operator()(float freq) const {
    if (freq < low || freq > high) return freq;
    const float left = vtln_low * std::max(1.0f, warp);
    const float right = vtln_high * std::min(1.0f, warp);
    const float scale = 1.0f / warp;
    if (freq < left) return low + (scale * left - low) / (left - low) * (freq - low);
    if (freq < right) return scale * freq;
    return high + (high - scale * right) / (high - right) * (freq - high);
  }

  float OnMelScale(float mel) const { return MelScale((*this)(InverseMelScale(mel))); }
};

VtlnWarp MakeWarp(const MelOptions& mel, float nyquist, float warp) {
  VtlnWarp result;
  result.low = mel.low_freq;
  result.high = mel.high_freq > 0 ? mel.high_freq : nyquist + mel.high_freq;
  result.vtln_low = mel.vtln_low;
  result.vtln_high = mel.vtln_high < 0 ? nyquist + mel.vtln_high : mel.vtln_high;
  result.warp = warp;
  return result;
}

void CheckWarp(const VtlnWarp& w) {
  const float left = w.vtln_low * std::max(1.0f, w.warp);
  const float right = w.vtln_high * std::min(1.0f, w.warp);
  const bool sensible = w.vtln_low > w.low && left < right && w.vtln_high < w.high;
  if (!sensible) {
    throw InputError("vtln_low = " + std::to_string(w.vtln_low) +
                     " Hz, vtln_high = " + std::to_string(w.vtln_high) +
                     " Hz: multiplied by vtln_warp = " + std::to_string(w.warp) +
                     " (the first if above 1, the second if below) they must lie in this order "
                     "between low_freq = " +
                     std::to_string(w.low) + " Hz and high_freq = " + std::to_string(w.high) +
                     " Hz");
  }
}

// Appends one triangle; its corners are on the mel scale.
void AppendFilter(float left, float center, float right, const std::vector<float>& bin_mels,
                  MelBanks* banks) {
  int first = -1;
  banks->offset.push_back(static_cast<int>(banks->weights.size()));
  for (int i = 0; i < static_cast<int>(bin_mels.size()); i++) {
    const float mel = bin_mels[i];
    if (mel <= left || mel >= right) {
      if (first >= 0) break;
      continue;
    }
    if (first < 0) first = i;
    banks->weights.push_back(mel <= center ? (mel - left) / (center - left)
                                           : (right - mel) / (right - center));
  }
  banks->first.push_back(first);
  banks->count.push_back(static_cast<int>(banks->weights.size()) - banks->offset.back());
}

}  // namespace

void CheckWarpFactor(float warp) {
  if (!std::isfinite(warp) || warp <= 0) {
    throw InputError("vtln_warp = " + std::to_string(warp) + ": must be above 0");
  }
}

MelBanks MakeMelBanks(const MelOptions& mel, float sample_frequency, int fft_size,
                      float vtln_warp) {
  const VtlnWarp warp = MakeWarp(mel, 0.5f * sample_frequency, vtln_warp);
  const bool warped = vtln_warp != 1.0f;
  if (warped) CheckWarp(warp);
  const float bin_width = sample_frequency / static_cast<float>(fft_size);
  std::vector<float> bin_mels(fft_size / 2);
  for (int i = 0; i < fft_size / 2; i++) bin_mels[i] = MelScale(bin_width * static_cast<float>(i));
  const float mel_low = MelScale(warp.low);
  const float step = (MelScale(warp.high) - mel_low) / static_cast<float>(mel.num_mel_bins + 1);
  MelBanks banks;
  for (int b = 0; b < mel.num_mel_bins; b++) {
    float corner[3];
    for (int c = 0; c < 3; c++) {
      corner[c] = mel_low + static_cast<float>(b + c) * step;
      if (warped) corner[c] = warp.OnMelScale(corner[c]);
    }
    AppendFilter(corner[0], corner[1], corner[2], bin_mels, &banks);
    banks.center_freqs.push_back(InverseMelScale(corner[1]));
    if (banks.count.back() == 0) {
      throw InputError("num_mel_bins = " + std::to_string(mel.num_mel_bins) +
                       ": too large, no FFT bin falls into filter " + std::to_string(b) +
                       " (take fewer, a longer frame, or a wider low_freq to high_freq)");
    }
  }
  return banks;
}

}  // namespace kdspeech
