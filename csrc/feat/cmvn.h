// Cepstral mean and variance normalization, as Kaldi's compute-cmvn-stats,
// apply-cmvn and apply-cmvn-sliding. Statistics are a 2 x (dim + 1) matrix of
// doubles: sums and the frame count in row 0, sums of squares and a zero in
// row 1.
#pragma once

#include <cstdint>

namespace kdspeech {

// Adds in: (frames, dim) to `stats`. `weights`: one per frame, or null for all
// ones. Products are rounded to float before they are summed, as Kaldi does.
void AccumulateCmvn(const float* in, int64_t frames, int dim, const float* weights, double* stats);

// The map x * scale[d] + offset[d] that gives zero mean (and unit variance with
// `norm_vars`) to data with these statistics; with `reverse` the map that gives
// such data these statistics. Variances below 1e-20 are raised to it. The count
// must be positive.
void CmvnScaleOffset(const double* stats, int dim, bool norm_vars, bool reverse, float* scale,
                     float* offset);

// out = in * scale + offset for every frame. in, out: (frames, dim); they may
// be the same.
void ApplyScaleOffset(const float* in, int64_t frames, int dim, const float* scale,
                      const float* offset, float* out);

struct SlidingCmvnOptions {
  int cmn_window = 600;      // frames
  int min_cmn_window = 100;  // frames used at the start while fewer are behind
                             // (not with `center`)
  bool norm_vars = false;
  bool center = false;  // the window is centred on the frame, else it ends there
};

// in, out: (frames, dim), not the same.
void SlidingCmvn(const float* in, int64_t frames, int dim, const SlidingCmvnOptions& options,
                 float* out);

}  // namespace kdspeech
