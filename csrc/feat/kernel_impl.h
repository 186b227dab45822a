// One SIMD variant of the feature computation; the including file sets KDSPEECH_VARIANT.
#pragma once

#include "feat/crop_kernel.h"
#include "feat/dither_kernel.h"
#include "feat/fft_kernel.h"
#include "feat/frame_kernel.h"
#include "feat/kernel.h"
#include "feat/mel_kernel.h"
#include "feat/simd.h"

namespace kdspeech {
namespace KDSPEECH_VARIANT {

inline void ConvertSamples(const int16_t* in, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i++) out[i] = static_cast<float>(in[i]);
}

inline uint32_t PeakBits(const float* samples, int64_t count) {
  IntVec peak[2] = {};
  const IntVec mask = IntVec{} + 0x7fffffff;
  int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    for (int j = 0; j < 2; j++) {
      const IntVec bits = reinterpret_cast<IntVec>(Load(samples + i + j * kLanes)) & mask;
      peak[j] = bits > peak[j] ? bits : peak[j];
    }
  }
  const IntVec both = peak[0] > peak[1] ? peak[0] : peak[1];
  int32_t result = 0;
  for (int j = 0; j < kLanes; j++) result = both[j] > result ? both[j] : result;
  for (; i < count; i++) {
    int32_t bits;
    __builtin_memcpy(&bits, samples + i, sizeof(bits));
    bits &= 0x7fffffff;
    result = bits > result ? bits : result;
  }
  return static_cast<uint32_t>(result);
}

// Writes lane j of features[0 .. dim-1] to row j of `out`, for j < count. A row may be stored
// beyond its end where a later row overwrites that.
inline void WriteRows(const Vec* features, int dim, int count, float* rows, float* out) {
  const int stride = (dim + kLanes - 1) / kLanes * kLanes;
  for (int d = 0; d < dim; d += kLanes) {
    Vec block[kLanes];
    for (int j = 0; j < kLanes; j++) block[j] = features[d + j];
    Transpose(block);
    for (int j = 0; j < kLanes; j++) Store(rows + j * stride + d, block[j]);
  }
  const float* end = out + static_cast<int64_t>(count) * dim;
  for (int j = 0; j < count; j++, out += dim, rows += stride) {
    int d = 0;
    for (; d < dim && d + kLanes <= end - out; d += kLanes) Store(out + d, Load(rows + d));
    for (; d < dim; d++) out[d] = rows[d];
  }
}

inline void ComputeFeatures(const FeatureTables& t, const MelTables& mel, const float* samples,
                            int count, float* workspace, float* out) {
  Vec* const work = reinterpret_cast<Vec*>(workspace);
  Vec* const frames = work + t.layout.frames;
  Vec* const power = work + t.layout.power;
  Vec* const sums = work + t.layout.mel;
  Vec* const features = work + t.layout.features;
  const Vec log_energy = WindowedFrames(t, samples, count, frames);
  Complex* const spectrum = reinterpret_cast<Complex*>(frames);
  ComplexFft(t.fft, spectrum, reinterpret_cast<Complex*>(work + t.layout.butterfly));
  RealPower(t.fft, spectrum, power);
  if (!t.use_power) {
    for (int k = 0; k < t.fft.num_complex; k++) power[k] = Sqrt(power[k]);
  }
  MelSums(mel, power, sums);
  if (t.kind == FeatureKind::kMfcc) {
    MfccFeatures(t, mel, sums, features);
  } else if (t.kind == FeatureKind::kFbank) {
    FbankFeatures(t, mel, sums, features);
  } else {
    PlpFeatures(t, mel, sums, work + t.layout.lpc, features);
  }
  if (t.energy_index >= 0) features[t.energy_index] = log_energy;
  WriteRows(features, t.dim, count, reinterpret_cast<float*>(work + t.layout.rows), out);
}

#define KDSPEECH_STRING(name) #name
#define KDSPEECH_NAME(name) KDSPEECH_STRING(name)

extern const Kernel kKernel;
const Kernel kKernel = {KDSPEECH_NAME(KDSPEECH_VARIANT),
                        kLanes,
                        ConvertSamples,
                        PeakBits,
                        AddDither,
                        SquareSums,
                        Play,
                        ComputeFeatures};

}  // namespace KDSPEECH_VARIANT
}  // namespace kdspeech
