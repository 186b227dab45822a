#include "feat/transform.h"

#include <algorithm>
#include <vector>

namespace kdspeech {

void ApplyAffine(const float* in, int64_t frames, int dim, const float* matrix, int rows,
                 bool affine, float* out) {
  // Transposed, so that the inner loop runs over neighbouring outputs.
  const int columns = dim + (affine ? 1 : 0);
  std::vector<float> transposed(static_cast<size_t>(dim + 1) * rows, 0.0f);
  for (int row = 0; row < rows; ++row) {
    for (int d = 0; d < columns; ++d) {
      transposed[static_cast<size_t>(d) * rows + row] =
          matrix[static_cast<int64_t>(row) * columns + d];
    }
  }
  const float* offset = transposed.data() + static_cast<size_t>(dim) * rows;
  for (int64_t frame = 0; frame < frames; ++frame, in += dim, out += rows) {
    std::copy_n(offset, rows, out);
    const float* column = transposed.data();
    for (int d = 0; d < dim; ++d, column += rows) {
      for (int row = 0; row < rows; ++row) out[row] += in[d] * column[row];
    }
  }
}

}  // namespace kdspeech
