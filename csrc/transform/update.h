// Row-by-row estimation of fMLLR and MLLT transforms from their statistics, in doubles.
#pragma once

#include <cstdint>

namespace kdspeech {

// The full fMLLR transform (dim, dim + 1) that maximizes beta log|det A| + sum_i (w_i . k_i -
// w_i G_i w_i / 2) by `num_iters` sweeps over the rows (Gales 1998, equations 31 to 38), starting
// from the one in `transform`. k: (dim, dim + 1); g: lower triangles of (dim + 1)^2 matrices.
// Returns false, with `transform` as it was, where a G_i or A is singular.
bool UpdateFmllr(const double* k, const double* g, double beta, int dim, int num_iters,
                 double* transform);

// The MLLT transform (dim, dim) that maximizes beta log|det M| - sum_i m_i G_i m_i / 2 (Gales
// 1999, Semi-tied covariance matrices for hidden Markov models, equation 22), from the one in
// `transform`. g: lower triangles. objective, (num_iters + 1): before each sweep and at the end.
// Returns false, with `transform` as it was, where a G_i is singular.
bool UpdateMllt(const double* g, double beta, int dim, int num_iters, double* transform,
                double* objective);

}  // namespace kdspeech
