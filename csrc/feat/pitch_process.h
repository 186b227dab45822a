// Features from NCCF and pitch, as Kaldi's process-kaldi-pitch-feats.
#pragma once

#include <cstdint>

namespace kdspeech {

// Kaldi's options and defaults, except that the noise on the delta pitch is off
// (Kaldi: 0.005).
struct ProcessPitchOptions {
  float pitch_scale = 2.0f;
  float pov_scale = 2.0f;
  float pov_offset = 0.0f;
  float delta_pitch_scale = 10.0f;
  float delta_pitch_noise_stddev = 0.0f;
  int normalization_left_context = 75;
  int normalization_right_context = 75;
  int delta_window = 2;
  int delay = 0;
  bool add_pov_feature = true;
  bool add_normalized_log_pitch = true;
  bool add_delta_pitch = true;
  bool add_raw_log_pitch = false;

  int Dim() const {
    return add_pov_feature + add_normalized_log_pitch + add_delta_pitch + add_raw_log_pitch;
  }
};

// in: (frames, 2), NCCF and pitch > 0 in Hz; out: (frames + delay, Dim()), in
// the order of the add_ options, the first frame repeated `delay` times before.
// The noise depends on `seed` and the frame alone. At least one frame.
void ProcessPitch(const float* in, int64_t frames, const ProcessPitchOptions& options,
                  uint64_t seed, float* out);

}  // namespace kdspeech
