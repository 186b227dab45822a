#include "transform/affine.h"

#include <algorithm>
#include <vector>

#include "transform/kernel.h"

namespace kdspeech {

namespace {

// Frames that are mapped together.
constexpr int64_t kFrames = 64;

}  // namespace

void ApplyAffine(const float* in, int64_t frames, int dim, const float* matrix, int rows,
                 bool affine, float* out) {
  const GmmKernel& kernel = ActiveGmmKernel();
  const int64_t columns = dim + (affine ? 1 : 0);
  const int width = (rows + kernel.lanes - 1) / kernel.lanes * kernel.lanes;
  std::vector<float> transposed(static_cast<size_t>(dim + 1) * width);
  for (int row = 0; row < rows; ++row) {
    for (int64_t d = 0; d < columns; ++d) transposed[d * width + row] = matrix[row * columns + d];
  }
  const float* const offset = transposed.data() + static_cast<size_t>(dim) * width;
  std::vector<float> results(kFrames * static_cast<size_t>(width));
  for (int64_t first = 0; first < frames; first += kFrames) {
    const int count = static_cast<int>(std::min(kFrames, frames - first));
    for (int j = 0; j < count; ++j) std::copy_n(offset, width, &results[j * width]);
    kernel.add_product({in + first * dim, dim, 1}, transposed.data(), width, count, width, dim,
                       results.data(), width);
    for (int j = 0; j < count; ++j, out += rows) std::copy_n(&results[j * width], rows, out);
  }
}

}  // namespace kdspeech
