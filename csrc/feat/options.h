// Options of MFCC, fbank and PLP: Kaldi's names with `_` for `-`, and Kaldi's defaults,
// except dither, which is 0 here (see docs/features.md).
#pragma once

#include <string>

namespace kdspeech {

enum class FeatureKind { kMfcc, kFbank, kPlp };

struct FrameOptions {
  float sample_frequency = 16000.0f;  // Hz
  float frame_length = 25.0f;         // ms
  float frame_shift = 10.0f;          // ms
  float dither = 0.0f;                // standard deviation of the noise, in int16 steps
  float preemphasis_coefficient = 0.97f;
  bool remove_dc_offset = true;
  std::string window_type = "povey";
  float blackman_coeff = 0.42f;
  bool round_to_power_of_two = true;
  bool snip_edges = true;
};

struct MelOptions {
  int num_mel_bins = 23;
  float low_freq = 20.0f;
  float high_freq = 0.0f;  // <= 0: relative to the Nyquist frequency
  float vtln_low = 100.0f;
  float vtln_high = -500.0f;  // < 0: relative to the Nyquist frequency
};

struct FeatureOptions {
  FeatureKind kind = FeatureKind::kMfcc;
  FrameOptions frame;
  MelOptions mel;
  bool use_energy = true;  // Kaldi's default for fbank is false
  float energy_floor = 0.0f;
  bool raw_energy = true;
  bool htk_compat = false;
  bool subtract_mean = false;  // subtract the mean of the utterance from every frame
  // MFCC and PLP
  int num_ceps = 13;
  float cepstral_lifter = 22.0f;
  // fbank
  bool use_log_fbank = true;
  bool use_power = true;
  // PLP
  int lpc_order = 12;
  float compress_factor = 0.33333f;
  float cepstral_scale = 1.0f;
};

// Throws InputError, naming the option, where Kaldi refuses the combination.
void CheckOptions(const FeatureOptions& options);

}  // namespace kdspeech
