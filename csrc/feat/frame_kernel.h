// From samples to windowed frames, one frame per lane. To be included by kernel_impl.h alone.
#pragma once

#include "feat/kernel.h"
#include "feat/simd.h"

namespace kdspeech {
namespace KDSPEECH_VARIANT {

// Smallest energy and filter output whose logarithm is taken (FLT_EPSILON, as in Kaldi).
constexpr float kEpsilon = 1.1920928955078125e-07f;

// x[i] = sample i of each of the frames, for i < window_size rounded up to whole blocks.
// Lanes beyond `count` repeat the last frame.
inline void LoadFrames(const FeatureTables& t, const float* samples, int count, Vec* x) {
  for (int i = 0; i < t.window_size; i += kLanes) {
    Vec rows[kLanes];
    for (int j = 0; j < kLanes; j++) {
      const int64_t frame = j < count ? j : count - 1;
      rows[j] = Load(samples + frame * t.window_shift + i);
    }
    Transpose(rows);
    for (int j = 0; j < kLanes; j++) x[i + j] = rows[j];
  }
}

inline Vec Mean(const Vec* x, int size) {
  Vec sum[4] = {};
  int i = 0;
  for (; i + 4 <= size; i += 4) {
    for (int j = 0; j < 4; j++) sum[j] += x[i + j];
  }
  for (; i < size; i++) sum[0] += x[i];
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) / static_cast<float>(size);
}

inline Vec Energy(const Vec* x, int size) {
  Vec sum[4] = {};
  int i = 0;
  for (; i + 4 <= size; i += 4) {
    for (int j = 0; j < 4; j++) sum[j] += x[i + j] * x[i + j];
  }
  for (; i < size; i++) sum[0] += x[i] * x[i];
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// Subtracts `mean`, pre-emphasises (the sample before the first is taken equal to it) and
// multiplies by the window, in place. Returns the energy before pre-emphasis.
inline Vec EmphasizeAndWindow(const FeatureTables& t, Vec mean, Vec* x) {
  const Vec factor = Splat(t.preemphasis);
  Vec energy[2] = {};
  Vec previous = x[0] - mean;
  int i = 0;
  for (; i + 2 <= t.window_size; i += 2) {
    const Vec a = x[i] - mean, b = x[i + 1] - mean;
    energy[0] += a * a;
    energy[1] += b * b;
    x[i] = (a - Rounded(factor * previous)) * t.window[i];
    x[i + 1] = (b - Rounded(factor * a)) * t.window[i + 1];
    previous = b;
  }
  if (i < t.window_size) {
    const Vec a = x[i] - mean;
    energy[0] += a * a;
    x[i] = (a - Rounded(factor * previous)) * t.window[i];
  }
  return energy[0] + energy[1];
}

// Fills x with the windowed frames, padded with zeros to the size of the transform.
// Returns the floored log energy that the options ask for.
inline Vec WindowedFrames(const FeatureTables& t, const float* samples, int count, Vec* x) {
  LoadFrames(t, samples, count, x);
  const Vec mean = t.remove_dc_offset ? Mean(x, t.window_size) : Vec{};
  Vec energy = EmphasizeAndWindow(t, mean, x);
  for (int i = t.window_size; i < t.fft_size; i++) x[i] = Vec{};
  if (t.energy_index < 0) return energy;
  if (!t.raw_energy) energy = Energy(x, t.window_size);
  return Max(Log(Max(energy, Splat(kEpsilon))), Splat(t.log_energy_floor));
}

}  // namespace KDSPEECH_VARIANT
}  // namespace kdspeech
