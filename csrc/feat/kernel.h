// What a SIMD variant offers, and the tables it works on.
//
// kernel_impl.h is compiled once per variant (kernel_baseline.cc, kernel_avx2.cc,
// kernel_avx512.cc), each with its own compiler flags; the variant is chosen at run time.
// The structs here hold plain pointers, and the kernels use nothing of the standard library
// that has code: an inline function compiled for AVX-512 could otherwise end up being the one
// copy that the linker keeps for all.
#pragma once

#include <cstdint>

#include "feat/options.h"

namespace kdspeech {

struct FftStage;

struct FftTables {
  int num_complex;
  int log2_size;
  const int* position;
  const float* real_twiddles;
  const float* split_twiddles;
  const int* split_offset;
  int num_stages;
  const FftStage* stages;
  const float* twiddles;
  const float* roots;
};

struct MelTables {
  int num_bins;
  const int* first;
  const int* count;
  const int* offset;
  const float* weights;
};

// Offsets into the workspace, in SIMD vectors.
struct WorkspaceLayout {
  int64_t frames;     // the windowed frames, transformed in place
  int64_t power;      // power spectrum, fft_size / 2
  int64_t mel;        // filter outputs, num_mel_bins
  int64_t features;   // dim, rounded up to whole SIMD vectors
  int64_t rows;       // the same, transposed
  int64_t butterfly;  // operands of an odd-radix butterfly
  int64_t lpc;        // 4 (lpc_order + 1)
  int64_t size;
};

struct FeatureTables {
  FeatureKind kind;
  int window_size;
  int window_shift;
  int fft_size;
  bool remove_dc_offset;
  float preemphasis;
  const float* window;
  FftTables fft;
  int energy_index;  // which feature the log energy replaces; -1: none
  bool raw_energy;   // energy before pre-emphasis and window, else after
  float log_energy_floor;
  bool use_log_fbank;
  bool use_power;
  int first_bin;  // fbank: index of the first filter among the features
  int num_ceps;
  const float* cosines;  // MFCC: num_ceps x num_mel_bins; PLP: (lpc_order + 1) x num_mel_bins
  const int* place;      // where cepstrum i stands among the features
  const float* scale;    // its factor (lifter, PLP's cepstral_scale)
  int lpc_order;
  float compress_factor;
  int dim;
  WorkspaceLayout layout;
};

struct Kernel {
  const char* name;
  int lanes;  // frames computed at a time

  void (*convert)(const int16_t* in, int64_t count, float* out);

  // The largest magnitude among the samples, as the bits of the float (which order as the
  // numbers do): infinity and NaN stand above all finite ones.
  uint32_t (*peak)(const float* samples, int64_t count);

  // samples[i] += stddev * g(seed, index + i), g standard normal: a function of the seed and
  // the sample's index alone (dither_kernel.h).
  void (*dither)(uint64_t seed, int64_t index, int64_t count, float stddev, float* samples);

  // sums[k] = sum of squares of x[k * size .. (k + 1) * size), exact.
  void (*square_sums)(const int16_t* x, int64_t size, int64_t count, int64_t* sums);

  // Samples [first, first + count) of a clip played at `speed` <= 1.5, between its samples by
  // linear interpolation: out[i] = clip[l] + (p - l) (clip[l + 1] - clip[l]) with p = (first + i)
  // speed and l = floor(p). Beyond the clip's end its last sample goes on.
  void (*play)(const int16_t* clip, int64_t num_samples, double speed, int64_t first, int64_t count,
               float* out);

  // Features of `count` <= lanes frames, of which frame j begins at samples + j * window_shift,
  // into `count` rows of `out`. Up to lanes - 1 samples behind the last frame are read and not
  // used. `workspace` is aligned for SIMD and holds layout.size vectors.
  void (*compute)(const FeatureTables& tables, const MelTables& mel, const float* samples,
                  int count, float* workspace, float* out);
};

// The variant to use: the best one this machine has, or the one that the environment variable
// KDSPEECH_SIMD names (baseline, avx2, avx512). Throws InputError where that one is missing.
const Kernel& ActiveKernel();

// The variants this machine can run, the plainest first, with a null behind the last.
const Kernel* const* AvailableKernels();

}  // namespace kdspeech
