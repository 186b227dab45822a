// Statistics of aligned frames under Gaussian mixtures, as matrix products over the frames of a
// pdf: floats within a hundred frames, doubles beyond.
#pragma once

#include <cstdint>

#include "transform/gaussians.h"

namespace kdspeech {

// Of each Gaussian: occupancy (G), sums of x and of x^2 (G, dim) over its posteriors.
struct MleSums {
  double* occupancy;
  double* x;
  double* x2;
};

// Adds to `sums`; the frames that are summed, (frames, dim), may be others than the `features`
// that the posteriors are computed on. Returns the weighted log-likelihood.
double AccumulateMle(const Gaussians& gmms, const float* features, const AlignedFrames& alignment,
                     int64_t num_frames, const float* summed, int dim, int num_threads,
                     const MleSums& sums);

// Gales (1998), Maximum likelihood linear transformations for HMM-based speech recognition,
// equations 33 and 34, with the frames extended by a last 1. Matrices `g` are symmetric; their
// lower triangles stand row by row.
struct FmllrSums {
  double* k;  // (dim, dim + 1)
  double* g;  // (dim, (dim + 1) (dim + 2) / 2)
};

// Adds to `sums`. The posteriors are those of `posterior_gmms`, which has as many Gaussians in
// each pdf as `gmms`. Returns the weighted log-likelihood under `posterior_gmms`.
double AccumulateFmllr(const Gaussians& posterior_gmms, const Gaussians& gmms,
                       const float* features, const AlignedFrames& alignment, int64_t num_frames,
                       int num_threads, const FmllrSums& sums);

// What G_i = sum of posterior * inv_vars[g][i] (x - mean) (x - mean)^T over all Gaussians follows
// from: with y = x - center of the pdf, the same sums of y y^T, and each Gaussian's sum of y.
struct MlltSums {
  double* occupancy;  // (G)
  double* y;          // (G, dim)
  double* g;          // (dim, dim (dim + 1) / 2), lower triangles row by row
};

// Adds to `sums`; centers (num_pdfs, dim).
double AccumulateMllt(const Gaussians& gmms, const float* centers, const float* features,
                      const AlignedFrames& alignment, int64_t num_frames, int num_threads,
                      const MlltSums& sums);

}  // namespace kdspeech
