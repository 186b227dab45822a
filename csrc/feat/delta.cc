#include "feat/delta.h"

#include <algorithm>

namespace kdspeech {

namespace {

std::vector<float> NextFilter(const std::vector<float>& filter, int window) {
  const int taps = static_cast<int>(filter.size());
  std::vector<float> next(filter.size() + 2 * window, 0.0f);
  float norm = 0.0f;
  for (int j = -window; j <= window; ++j) {
    norm += static_cast<float>(j) * static_cast<float>(j);
    for (int k = 0; k < taps; ++k) next[j + window + k] += static_cast<float>(j) * filter[k];
  }
  for (float& tap : next) tap = static_cast<float>(tap * (1.0 / norm));
  return next;
}

void FilterFrame(const float* in, int64_t frames, int dim, const std::vector<float>& filter,
                 int64_t frame, float* out) {
  const int64_t taps = static_cast<int64_t>(filter.size());
  std::fill(out, out + dim, 0.0f);
  for (int64_t k = 0; k < taps; ++k) {
    const float tap = filter[k];
    if (tap == 0.0f) continue;
    const int64_t source = std::clamp<int64_t>(frame + k - taps / 2, 0, frames - 1);
    const float* row = in + source * dim;
    for (int d = 0; d < dim; ++d) out[d] += tap * row[d];
  }
}

}  // namespace

std::vector<std::vector<float>> DeltaFilters(int order, int window) {
  std::vector<std::vector<float>> filters{{1.0f}};
  for (int k = 0; k < order; ++k) filters.push_back(NextFilter(filters.back(), window));
  return filters;
}

void AddDeltas(const float* in, int64_t frames, int dim, int order, int window, float* out) {
  const std::vector<std::vector<float>> filters = DeltaFilters(order, window);
  for (int64_t frame = 0; frame < frames; ++frame) {
    for (const std::vector<float>& filter : filters) {
      FilterFrame(in, frames, dim, filter, frame, out);
      out += dim;
    }
  }
}

}  // namespace kdspeech
