// One SIMD variant of transform/kernel.h; the including file sets KDSPEECH_VARIANT.
#pragma once

#include "feat/simd.h"
#include "transform/kernel.h"

namespace kdspeech {
namespace KDSPEECH_VARIANT {

// A tile of c is kept in kTileRows * kTileVectors registers; AVX-512 has 32 of them, others 16.
constexpr int kTileRows = kLanes == 16 ? 8 : 4;
constexpr int kTileVectors = 3;

template <int R, int V>
KDSPEECH_INLINE void AddTile(Strided a, const float* b, int64_t ldb, int k, float* c, int64_t ldc) {
  Vec sum[R][V];
  for (int i = 0; i < R; i++) {
    for (int v = 0; v < V; v++) sum[i][v] = Load(c + i * ldc + v * kLanes);
  }
  for (int j = 0; j < k; j++, b += ldb) {
    Vec column[V];
    for (int v = 0; v < V; v++) column[v] = Load(b + v * kLanes);
    for (int i = 0; i < R; i++) {
      const Vec factor = LoadSplat(a.data + i * a.row + j * a.column);
      for (int v = 0; v < V; v++) sum[i][v] += factor * column[v];
    }
  }
  for (int i = 0; i < R; i++) {
    for (int v = 0; v < V; v++) Store(c + i * ldc + v * kLanes, sum[i][v]);
  }
}

// Rows fewer than R, in one tile.
template <int R, int V>
KDSPEECH_INLINE void AddRest(Strided a, const float* b, int64_t ldb, int m, int k, float* c,
                             int64_t ldc) {
  if constexpr (R > 1) {
    if (m == R - 1) return AddTile<R - 1, V>(a, b, ldb, k, c, ldc);
    AddRest<R - 1, V>(a, b, ldb, m, k, c, ldc);
  }
}

template <int V>
KDSPEECH_INLINE void AddRows(Strided a, const float* b, int64_t ldb, int m, int k, float* c,
                             int64_t ldc) {
  constexpr int R = kTileRows;
  for (; m >= R; m -= R, a.data += R * a.row, c += R * ldc) AddTile<R, V>(a, b, ldb, k, c, ldc);
  AddRest<R, V>(a, b, ldb, m, k, c, ldc);
}

inline void AddProduct(Strided a, const float* b, int64_t ldb, int m, int n, int k, float* c,
                       int64_t ldc) {
  constexpr int kWide = kTileVectors * kLanes;
  for (; n >= kWide; n -= kWide, b += kWide, c += kWide) {
    AddRows<kTileVectors>(a, b, ldb, m, k, c, ldc);
  }
  for (; n >= kLanes; n -= kLanes, b += kLanes, c += kLanes) {
    AddRows<1>(a, b, ldb, m, k, c, ldc);
  }
}

// Columns of kLanes frames, dimensions first .. first + kLanes - 1.
KDSPEECH_INLINE void PutBlock(const float* const* rows, int first, int dim, float* out,
                              int64_t stride) {
  Vec block[kLanes];
  for (int j = 0; j < kLanes; j++) block[j] = Load(rows[j] + first);
  Transpose(block);
  for (int d = 0; d < kLanes; d++) {
    Store(out + (first + d) * stride, block[d]);
    Store(out + (dim + first + d) * stride, -0.5f * block[d] * block[d]);
  }
}

inline void PutColumns(const float* const* rows, int n, int dim, float* out, int64_t stride) {
  for (; n > 0; n -= kLanes, rows += kLanes, out += kLanes) {
    int d = 0;
    for (; d + kLanes <= dim; d += kLanes) PutBlock(rows, d, dim, out, stride);
    if (d < dim && dim >= kLanes) PutBlock(rows, dim - kLanes, dim, out, stride);
    for (; d < dim && dim < kLanes; d++) {
      for (int j = 0; j < kLanes; j++) {
        const float x = rows[j][d];
        out[d * stride + j] = x;
        out[(dim + d) * stride + j] = -0.5f * x * x;
      }
    }
  }
}

// Shares below e^-87 of the largest are e^-87 of it: Exp ends there.
KDSPEECH_INLINE Vec Share(Vec x, Vec peak) { return Exp(Max(x - peak, Splat(-87.0f))); }

KDSPEECH_INLINE Vec Peak(const float* rows, int64_t stride, int num_rows) {
  Vec peak = Load(rows);
  for (int i = 1; i < num_rows; i++) peak = Max(Load(rows + i * stride), peak);
  return peak;
}

inline void LogSumExp(const float* rows, int64_t stride, int num_rows, int n, float* out) {
  for (int j = 0; j < n; j += kLanes, rows += kLanes) {
    const Vec peak = Peak(rows, stride, num_rows);
    Vec sum = {};
    for (int i = 0; i < num_rows; i++) sum += Share(Load(rows + i * stride), peak);
    Store(out + j, peak + Log(sum));
  }
}

inline void Softmax(float* rows, int64_t stride, int num_rows, int n, float* out) {
  for (int j = 0; j < n; j += kLanes, rows += kLanes) {
    const Vec peak = Peak(rows, stride, num_rows);
    Vec sum = {};
    for (int i = 0; i < num_rows; i++) {
      const Vec share = Share(Load(rows + i * stride), peak);
      sum += share;
      Store(rows + i * stride, share);
    }
    for (int i = 0; i < num_rows; i++) {
      Store(rows + i * stride, Load(rows + i * stride) / sum);
    }
    Store(out + j, peak + Log(sum));
  }
}

#define KDSPEECH_STRING(name) #name
#define KDSPEECH_NAME(name) KDSPEECH_STRING(name)

extern const GmmKernel kGmmKernel;
const GmmKernel kGmmKernel = {KDSPEECH_NAME(KDSPEECH_VARIANT),
                              kLanes,
                              kTileVectors * kLanes,
                              AddProduct,
                              PutColumns,
                              LogSumExp,
                              Softmax};

}  // namespace KDSPEECH_VARIANT
}  // namespace kdspeech
