#include "feat/options.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <sstream>

#include "feat/error.h"
#include "feat/framing.h"
#include "feat/window.h"

namespace kdspeech {
namespace {

template <typename T>
[[noreturn]] void Refuse(const char* option, T value, const std::string& reason) {
  std::ostringstream message;
  message << option << " = " << value << ": " << reason;
  throw InputError(message.str());
}

void CheckFinite(const char* option, float value) {
  if (!std::isfinite(value)) Refuse(option, value, "must be a finite number");
}

// A duration in milliseconds that must come to `least` samples, and to no more than 2^20: longer
// ones are taken for a slip of the units.
void CheckDuration(const char* option, float milliseconds, float sample_frequency, int least) {
  const double samples = sample_frequency * 0.001 * milliseconds;  // as in framing.cc
  if (samples >= least && samples <= 1 << 20) return;
  std::ostringstream reason;
  reason << "comes to " << samples << " samples at sample_frequency = " << sample_frequency
         << " Hz, must be from " << least << " to 2^20; the unit is milliseconds";
  Refuse(option, milliseconds, reason.str());
}

void CheckFrame(const FrameOptions& frame) {
  CheckFinite("sample_frequency", frame.sample_frequency);
  CheckFinite("frame_length", frame.frame_length);
  CheckFinite("frame_shift", frame.frame_shift);
  CheckFinite("dither", frame.dither);
  CheckFinite("preemphasis_coefficient", frame.preemphasis_coefficient);
  CheckFinite("blackman_coeff", frame.blackman_coeff);
  if (frame.sample_frequency <= 0) {
    Refuse("sample_frequency", frame.sample_frequency, "must be above 0 Hz");
  }
  CheckDuration("frame_length", frame.frame_length, frame.sample_frequency, 2);
  CheckDuration("frame_shift", frame.frame_shift, frame.sample_frequency, 1);
  if (frame.dither < 0 || frame.dither > 32768) {
    Refuse("dither", frame.dither, "must lie in [0, 32768], the unit is one step of int16");
  }
  if (frame.preemphasis_coefficient < 0 || frame.preemphasis_coefficient > 1) {
    Refuse("preemphasis_coefficient", frame.preemphasis_coefficient, "must lie in [0, 1]");
  }
  if (PaddedWindowSize(frame) % 2 != 0) {
    Refuse("round_to_power_of_two", "false",
           "the frame has an odd number of samples (" + std::to_string(WindowSize(frame)) +
               "); change frame_length or set it to true");
  }
  MakeWindow(frame);  // refuses an unknown window_type
}

void CheckMel(const MelOptions& mel, float sample_frequency) {
  CheckFinite("low_freq", mel.low_freq);
  CheckFinite("high_freq", mel.high_freq);
  CheckFinite("vtln_low", mel.vtln_low);
  CheckFinite("vtln_high", mel.vtln_high);
  if (mel.num_mel_bins < 3) Refuse("num_mel_bins", mel.num_mel_bins, "must be at least 3");
  if (mel.num_mel_bins > 4096) Refuse("num_mel_bins", mel.num_mel_bins, "must be at most 4096");
  const float nyquist = 0.5f * sample_frequency;
  const float high = mel.high_freq > 0 ? mel.high_freq : nyquist + mel.high_freq;
  const std::string range = " (high_freq is " + std::to_string(high) +
                            " Hz after adding the Nyquist frequency of " + std::to_string(nyquist) +
                            " Hz to values <= 0)";
  if (mel.low_freq < 0 || mel.low_freq >= nyquist) {
    Refuse("low_freq", mel.low_freq, "must lie in [0, Nyquist)" + range);
  }
  if (high <= mel.low_freq || high > nyquist) {
    Refuse("high_freq", mel.high_freq, "must lie above low_freq, not above Nyquist" + range);
  }
}

void CheckCepstra(const FeatureOptions& options) {
  CheckFinite("cepstral_lifter", options.cepstral_lifter);
  if (options.num_ceps < 1) Refuse("num_ceps", options.num_ceps, "must be at least 1");
  if (options.kind == FeatureKind::kMfcc) {
    if (options.num_ceps > options.mel.num_mel_bins) {
      Refuse("num_ceps", options.num_ceps,
             "cannot be larger than num_mel_bins = " + std::to_string(options.mel.num_mel_bins));
    }
    return;
  }
  CheckFinite("compress_factor", options.compress_factor);
  CheckFinite("cepstral_scale", options.cepstral_scale);
  // The spectrum has 2 (num_mel_bins + 1) points; beyond that its predictor is not stable.
  const int largest = 2 * options.mel.num_mel_bins + 1;
  if (options.lpc_order < 1 || options.lpc_order > std::min(largest, 512)) {
    Refuse("lpc_order", options.lpc_order,
           "must lie in [1, 512], not above 2 num_mel_bins + 1 = " + std::to_string(largest));
  }
  if (options.num_ceps > options.lpc_order + 1) {
    Refuse("num_ceps", options.num_ceps,
           "cannot be larger than lpc_order + 1 = " + std::to_string(options.lpc_order + 1));
  }
  if (options.compress_factor <= 0 || options.compress_factor > 1) {
    Refuse("compress_factor", options.compress_factor, "must lie in (0, 1]");
  }
}

}  // namespace

void CheckOptions(const FeatureOptions& options) {
  CheckFrame(options.frame);
  CheckMel(options.mel, options.frame.sample_frequency);
  CheckFinite("energy_floor", options.energy_floor);
  if (options.energy_floor < 0) {
    Refuse("energy_floor", options.energy_floor, "must not be negative");
  }
  if (options.kind != FeatureKind::kFbank) CheckCepstra(options);
}

}  // namespace kdspeech
