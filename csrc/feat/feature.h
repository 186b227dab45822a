// MFCC, filter bank and PLP features of waves, as Kaldi computes them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "feat/options.h"

namespace kdspeech {

// A wave of int16 samples or of floats in the range of int16 (not [-1, 1]).
// Not owned; exactly one of the two pointers is set.
struct Wave {
  const int16_t* int16 = nullptr;
  const float* float32 = nullptr;
  int64_t num_samples = 0;

  Wave() = default;
  Wave(const int16_t* samples, int64_t n) : int16(samples), num_samples(n) {}
  Wave(const float* samples, int64_t n) : float32(samples), num_samples(n) {}
};

// One utterance of a batch.
struct FeatureJob {
  Wave wave;
  uint64_t seed = 0;       // of the dither
  float vtln_warp = 1.0f;  // 1: no warp
  float* out = nullptr;    // NumFrames(wave.num_samples) x Dim(), row by row
};

// Computes one kind of features with one set of options. Immutable once made: every member
// function may be called from several threads at a time.
class FeatureComputer {
 public:
  // Throws InputError, naming the option, for options that make no sense.
  explicit FeatureComputer(const FeatureOptions& options);
  ~FeatureComputer();
  FeatureComputer(FeatureComputer&&) noexcept;
  FeatureComputer& operator=(FeatureComputer&&) noexcept;

  const FeatureOptions& options() const;
  const char* simd_variant() const;
  int Dim() const;
  int64_t NumFrames(int64_t num_samples) const;

  // Features of one wave into out[NumFrames(n) x Dim()]. The samples must be finite
  // (see samples.h). Throws InputError for a warp that the options do not allow.
  void Compute(const Wave& wave, uint64_t seed, float vtln_warp, float* out) const;
  void Compute(const int16_t* samples, int64_t n, uint64_t seed, float vtln_warp,
               float* out) const {
    Compute(Wave(samples, n), seed, vtln_warp, out);
  }
  void Compute(const float* samples, int64_t n, uint64_t seed, float vtln_warp, float* out) const {
    Compute(Wave(samples, n), seed, vtln_warp, out);
  }

  // Features of many waves, the frames spread over `num_threads` threads. The result does not
  // depend on the number of threads.
  void ComputeBatch(const std::vector<FeatureJob>& jobs, int num_threads) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kdspeech
