// Crops and their features in one go: no crop is ever written out.
#pragma once

#include <vector>

#include "feat/crop.h"
#include "feat/feature.h"

namespace kdspeech {

// Features of each crop, one after the other: batch.size() x computer.NumFrames(shown_length) x
// computer.Dim() floats. A crop stands in the middle of `shown_length` samples, at least the law's
// length, zero elsewhere. Dither is seeded by the crop. The same for any number of threads.
void ComputeCropFeatures(const FeatureComputer& computer, const Cropper& cropper,
                         const std::vector<Crop>& batch, int64_t shown_length, float vtln_warp,
                         int num_threads, float* out);

}  // namespace kdspeech
