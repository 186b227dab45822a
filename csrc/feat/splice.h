// Joins neighbouring frames into one, as Kaldi's splice-feats.
#pragma once

#include <cstdint>

namespace kdspeech {

// in: (frames, dim); out: (frames, dim * (left + 1 + right)), oldest frame
// first. The first and last frame are repeated beyond the ends.
void Splice(const float* in, int64_t frames, int dim, int left, int right, float* out);

}  // namespace kdspeech
