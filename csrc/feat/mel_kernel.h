// Mel filters over power spectra, and what follows them: fbank, MFCC, PLP, one frame per
// lane. To be included by kernel_impl.h alone.
#pragma once

#include "feat/frame_kernel.h"
#include "feat/kernel.h"
#include "feat/simd.h"

namespace kdspeech {
namespace KDSPEECH_VARIANT {

constexpr float kSmallest = 1.17549435e-38f;  // the smallest normal number

// Sum of weights[i] * x[i], in four independent sums for speed and precision.
inline Vec Dot(const float* weights, const Vec* x, int size) {
  Vec sum[4] = {};
  int i = 0;
  for (; i + 4 <= size; i += 4) {
    for (int j = 0; j < 4; j++) sum[j] += x[i + j] * weights[i + j];
  }
  for (; i < size; i++) sum[0] += x[i] * weights[i];
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

inline void MelSums(const MelTables& mel, const Vec* power, Vec* out) {
  for (int b = 0; b < mel.num_bins; b++) {
    out[b] = Dot(mel.weights + mel.offset[b], power + mel.first[b], mel.count[b]);
  }
}

inline void LogFloored(Vec* x, int size) {
  for (int i = 0; i < size; i++) x[i] = Log(Max(x[i], Splat(kEpsilon)));
}

inline void FbankFeatures(const FeatureTables& t, const MelTables& mel, const Vec* sums,
                          Vec* features) {
  for (int b = 0; b < mel.num_bins; b++) features[t.first_bin + b] = sums[b];
  if (t.use_log_fbank) LogFloored(features + t.first_bin, mel.num_bins);
}

inline void MfccFeatures(const FeatureTables& t, const MelTables& mel, Vec* sums, Vec* features) {
  LogFloored(sums, mel.num_bins);
  for (int i = 0; i < t.num_ceps; i++) {
    const Vec cepstrum =
        Dot(t.cosines + static_cast<int64_t>(i) * mel.num_bins, sums, mel.num_bins);
    features[t.place[i]] = cepstrum * t.scale[i];
  }
}

// The Levinson-Durbin recursion: predictor coefficients lpc[0 .. order-1] from
// autocorr[0 .. order]; returns the residual energy. As in Kaldi, 1 - k^2 is floored at 1e-5. k
// itself is bounded too, as a residual near zero would magnify its rounding without end.
inline Vec Durbin(const Vec* autocorr, int order, Vec* lpc, Vec* previous) {
  const float largest = 0.999995f;  // sqrt(1 - 1e-5)
  Vec error = autocorr[0];
  for (int i = 0; i < order; i++) {
    Vec k = autocorr[i + 1];
    for (int j = 0; j < i; j++) k += lpc[j] * autocorr[i - j];
    k = Max(Min(k / error, Splat(largest)), Splat(-largest));
    error = Max(error * Max(1.0f - k * k, Splat(1.0e-5f)), Splat(kSmallest));
    for (int j = 0; j < i; j++) previous[j] = lpc[j];
    for (int j = 0; j < i; j++) lpc[j] = previous[j] - k * previous[i - j - 1];
    lpc[i] = -k;
  }
  return error;
}

// The cepstrum of the all-pole model, c[0 .. order-1] for quefrencies 1 .. order.
inline void LpcToCepstrum(const Vec* lpc, int order, Vec* cepstrum) {
  for (int i = 0; i < order; i++) {
    Vec sum = {};
    for (int j = 0; j < i; j++) {
      sum += static_cast<float>(i - j) * lpc[j] * cepstrum[i - j - 1];
    }
    cepstrum[i] = -lpc[i] - sum / static_cast<float>(i + 1);
  }
}

// `sums` are weighted by the equal-loudness curve already (it is in the mel weights).
// Filter outputs of zero are raised to the smallest normal number: Kaldi has NaN for a frame
// of digital silence, here it is a flat spectrum.
inline void PlpFeatures(const FeatureTables& t, const MelTables& mel, Vec* sums, Vec* work,
                        Vec* features) {
  for (int b = 0; b < mel.num_bins; b++) {
    sums[b] = Exp(t.compress_factor * Log(Max(sums[b], Splat(kSmallest))));
  }
  Vec *autocorr = work, *lpc = autocorr + t.lpc_order + 1, *cepstrum = lpc + t.lpc_order + 1;
  for (int i = 0; i <= t.lpc_order; i++) {
    autocorr[i] = Dot(t.cosines + static_cast<int64_t>(i) * mel.num_bins, sums, mel.num_bins);
  }
  const Vec residual = Durbin(autocorr, t.lpc_order, lpc, cepstrum);
  LpcToCepstrum(lpc, t.lpc_order, cepstrum);
  const Vec c0 = Max(Log(residual), Splat(kEpsilon));
  for (int i = 0; i < t.num_ceps; i++) {
    features[t.place[i]] = (i == 0 ? c0 : cepstrum[i - 1]) * t.scale[i];
  }
}

}  // namespace KDSPEECH_VARIANT
}  // namespace kdspeech
