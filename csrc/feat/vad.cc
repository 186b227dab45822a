#include "feat/vad.h"

#include <algorithm>
#include <vector>

namespace kdspeech {

namespace {

float EnergyThreshold(const float* in, int64_t frames, int dim, const VadOptions& options) {
  double sum = 0.0;
  for (int64_t frame = 0; frame < frames; ++frame) sum += in[frame * dim];
  const float mean_part = options.vad_energy_mean_scale * static_cast<float>(sum);
  return options.vad_energy_threshold + mean_part / static_cast<float>(frames);
}

}  // namespace

void EnergyVad(const float* in, int64_t frames, int dim, const VadOptions& options, float* out) {
  const float threshold = EnergyThreshold(in, frames, dim, options);
  std::vector<int64_t> loud_before(frames + 1, 0);
  for (int64_t frame = 0; frame < frames; ++frame) {
    loud_before[frame + 1] = loud_before[frame] + (in[frame * dim] > threshold ? 1 : 0);
  }
  for (int64_t frame = 0; frame < frames; ++frame) {
    const int64_t begin = std::max<int64_t>(0, frame - options.vad_frames_context);
    const int64_t end = std::min<int64_t>(frames, frame + options.vad_frames_context + 1);
    const float loud = static_cast<float>(loud_before[end] - loud_before[begin]);
    const float needed = static_cast<float>(end - begin) * options.vad_proportion_threshold;
    out[frame] = loud >= needed ? 1.0f : 0.0f;
  }
}

}  // namespace kdspeech
