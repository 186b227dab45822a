#include "feat/splice.h"

#include <algorithm>

namespace kdspeech {

void Splice(const float* in, int64_t frames, int dim, int left, int right, float* out) {
  for (int64_t frame = 0; frame < frames; ++frame) {
    for (int64_t shift = -left; shift <= right; ++shift) {
      const int64_t source = std::clamp<int64_t>(frame + shift, 0, frames - 1);
      out = std::copy_n(in + source * dim, dim, out);
    }
  }
}

}  // namespace kdspeech
