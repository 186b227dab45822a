// Pitch and normalized cross-correlation (NCCF) for each frame, as Kaldi's
// compute-kaldi-pitch-feats. The algorithm is that of P. Ghahremani et al., "A
// pitch extraction algorithm tuned for automatic speech recognition", ICASSP
// 2014; equation numbers are the paper's.
#pragma once

#include <cstdint>
#include <vector>

#include "feat/sinc_resample.h"

namespace kdspeech {

// Kaldi's options and defaults. Frequencies in Hz, frame length and shift in
// milliseconds.
struct PitchOptions {
  float sample_frequency = 16000;
  float frame_length = 25;
  float frame_shift = 10;
  float preemphasis_coefficient = 0;
  float min_f0 = 50;
  float max_f0 = 400;
  float soft_min_f0 = 10;
  float penalty_factor = 0.1f;
  float lowpass_cutoff = 1000;
  float resample_frequency = 4000;
  float delta_pitch = 0.005f;
  float nccf_ballast = 7000;
  int lowpass_filter_width = 1;
  int upsample_filter_width = 5;
  int max_frames_latency = 0;
  int frames_per_chunk = 0;
  bool simulate_first_pass_online = false;
  int recompute_frame = 500;
  bool nccf_ballast_online = false;
  bool snip_edges = true;

  int WindowSize() const;        // samples of the resampled signal
  int WindowShift() const;       // samples of the resampled signal
  int64_t ChunkSamples() const;  // samples of the input, 0 for all at once
  // Throws InputError that names the option and what it must be.
  void Check() const;

 private:
  void CheckFilters() const;
};

// The lags at which the pitch is searched, and the tables to measure the NCCF
// there. Constant once made: one object serves many threads.
class PitchExtractor {
 public:
  explicit PitchExtractor(const PitchOptions& options);

  const PitchOptions& Options() const { return options_; }
  int64_t NumFrames(int64_t num_samples) const;
  // out: (NumFrames(num_samples), 2), the NCCF and the pitch in Hz.
  void Compute(const float* samples, int64_t num_samples, float* out) const;

 private:
  friend class PitchTracker;

  int64_t FramesAvailable(int64_t num_resampled, bool finished) const;

  PitchOptions options_;
  LinearResampler signal_resampler_;
  int first_lag_,
      last_lag_;             // lags at which the NCCF is measured, in resampled samples
  std::vector<float> lags_;  // lags of the search states, in seconds, rising by
                             // a constant ratio
  PointResampler nccf_resampler_;
};

}  // namespace kdspeech
