#include "feat/crop_features.h"

#include "feat/parallel.h"

namespace kdspeech {

void ComputeCropFeatures(const FeatureComputer& computer, const Cropper& cropper,
                         const std::vector<Crop>& batch, int64_t shown_length, float vtln_warp,
                         int num_threads, float* out) {
  const int64_t size = computer.NumFrames(shown_length) * computer.Dim();
  const int64_t before = (shown_length - cropper.Law().length) / 2;
  ParallelFor(static_cast<int64_t>(batch.size()), num_threads, [&](int64_t begin, int64_t end) {
    std::vector<float> samples(shown_length, 0.0f);
    for (int64_t i = begin; i < end; ++i) {
      cropper.Cut(batch[i], samples.data() + before);
      const uint64_t seed = DitherSeed(cropper.Key(batch[i]));
      computer.Compute(samples.data(), shown_length, seed, vtln_warp, out + i * size);
    }
  });
}

}  // namespace kdspeech
