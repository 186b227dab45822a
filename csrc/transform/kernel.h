// The loops that take the time of the Gaussian statistics, one SIMD variant each (as in
// feat/kernel.h, whose choice of a variant is followed).
#pragma once

#include <cstdint>

namespace kdspeech {

// A matrix whose entry (i, j) stands at data[i * row + j * column].
struct Strided {
  const float* data;
  int64_t row;
  int64_t column;
};

struct GmmKernel {
  const char* name;
  int lanes;  // floats of a SIMD vector
  int tile;   // columns that add_product works on at a time, a multiple of lanes

  // c += a b: a is m x k, b k x n and c m x n, rows ldb and ldc floats apart. n is a multiple of
  // lanes.
  void (*add_product)(Strided a, const float* b, int64_t ldb, int m, int n, int k, float* c,
                      int64_t ldc);

  // Frames as columns: out[d * stride + j] = x and out[(dim + d) * stride + j] = -x^2 / 2 with x =
  // rows[j][d], for j < n, a multiple of lanes.
  void (*put_columns)(const float* const* rows, int n, int dim, float* out, int64_t stride);

  // out[j] = log sum_i exp(rows[i * stride + j]) for j < n, a multiple of lanes.
  void (*log_sum_exp)(const float* rows, int64_t stride, int num_rows, int n, float* out);

  // The same, and the rows become the shares exp(row - out).
  void (*softmax)(float* rows, int64_t stride, int num_rows, int n, float* out);
};

// The variant that ActiveKernel() of feat/kernel.h names.
const GmmKernel& ActiveGmmKernel();

}  // namespace kdspeech
