// Linear and affine maps of features, as Kaldi's transform-feats.
#pragma once

#include <cstdint>

namespace kdspeech {

// matrix: (rows, dim), or (rows, dim + 1) with the offset last when `affine`.
// in: (frames, dim); out: (frames, rows), not the same as `in`.
void ApplyAffine(const float* in, int64_t frames, int dim, const float* matrix, int rows,
                 bool affine, float* out);

}  // namespace kdspeech
