// Time derivatives of features by regression over a window, as Kaldi's
// add-deltas.
#pragma once

#include <cstdint>
#include <vector>

namespace kdspeech {

// The filter of each order 0..order: filter k has 2 * k * window + 1 taps, its
// middle at the frame itself. Order k is the regression filter j / sum(j^2), j
// = -window..window, applied k times.
std::vector<std::vector<float>> DeltaFilters(int order, int window);

// in: (frames, dim); out: (frames, dim * (order + 1)). The first and last frame
// are repeated beyond the ends.
void AddDeltas(const float* in, int64_t frames, int dim, int order, int window, float* out);

}  // namespace kdspeech
