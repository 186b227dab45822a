#include "feat/pitch_process.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "feat/delta.h"

namespace kdspeech {

namespace {

constexpr double kTwoPi = 6.283185307179586476925;

// A feature that is roughly Gaussian, where the NCCF crowds just below 1.
float PovFeature(float nccf) {
  const float clipped = std::clamp(nccf, -1.0f, 1.0f);
  return static_cast<float>(std::pow(1.0001 - clipped, 0.15) - 1.0);
}

// The probability of voicing: a logistic function of an empirical log odds of
// the NCCF.
float ProbabilityOfVoicing(float nccf) {
  const double n = std::min(std::fabs(nccf), 1.0f);
  const float log_odds =
      static_cast<float>(-5.2 + 5.4 * std::exp(7.5 * (n - 1.0)) + 4.8 * n -
                         2.0 * std::exp(-10.0 * n) + 4.2 * std::exp(20.0 * (n - 1.0)));
  return static_cast<float>(1.0 / (1.0 + std::exp(-1.0 * log_odds)));
}

// The finalizer of the SplitMix64 generator (Steele, Lea and Flood 2014).
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

double Uniform(uint64_t bits) {  // in (0, 1)
  return (static_cast<double>(bits >> 11) + 0.5) * 0x1p-53;
}

// A standard normal number for each seed and frame (Box and Muller).
float Gaussian(uint64_t seed, int64_t frame) {
  const uint64_t first = Mix(Mix(seed) + static_cast<uint64_t>(frame));
  const double radius = std::sqrt(-2.0 * std::log(Uniform(first)));
  return static_cast<float>(radius * std::cos(kTwoPi * Uniform(Mix(first))));
}

std::vector<float> LogPitch(const float* in, int64_t frames) {
  std::vector<float> log_pitch(frames);
  for (int64_t frame = 0; frame < frames; ++frame) log_pitch[frame] = std::log(in[2 * frame + 1]);
  return log_pitch;
}

// The log pitch less its mean over the window, weighted by the probability of
// voicing.
std::vector<float> NormalizedLogPitch(const float* in, const std::vector<float>& log_pitch,
                                      const ProcessPitchOptions& options) {
  const int64_t frames = static_cast<int64_t>(log_pitch.size());
  std::vector<float> normalized(frames);
  double pov_sum = 0.0, weighted_sum = 0.0;
  int64_t begin = 0, end = 0;
  const auto add = [&](int64_t frame, double sign) {
    const float pov = ProbabilityOfVoicing(in[2 * frame]);
    pov_sum += sign * pov;
    weighted_sum += sign * (pov * log_pitch[frame]);
  };
  for (int64_t frame = 0; frame < frames; ++frame) {
    const int64_t last = frame + options.normalization_right_context;
    for (; end < std::min(frames, last + 1); ++end) add(end, 1.0);
    for (; begin < frame - options.normalization_left_context; ++begin) add(begin, -1.0);
    normalized[frame] = static_cast<float>(log_pitch[frame] - weighted_sum / pov_sum);
  }
  return normalized;
}

std::vector<float> DeltaPitch(const std::vector<float>& log_pitch, int window, float noise,
                              uint64_t seed) {
  const int64_t frames = static_cast<int64_t>(log_pitch.size());
  std::vector<float> both(2 * frames), delta(frames);
  AddDeltas(log_pitch.data(), frames, 1, 1, window, both.data());
  for (int64_t frame = 0; frame < frames; ++frame) {
    delta[frame] = both[2 * frame + 1];
    if (noise != 0.0f) delta[frame] += Gaussian(seed, frame) * noise;
  }
  return delta;
}

}  // namespace

void ProcessPitch(const float* in, int64_t frames, const ProcessPitchOptions& options,
                  uint64_t seed, float* out) {
  const std::vector<float> log_pitch = LogPitch(in, frames);
  std::vector<float> normalized, delta;
  if (options.add_normalized_log_pitch) normalized = NormalizedLogPitch(in, log_pitch, options);
  if (options.add_delta_pitch) {
    delta = DeltaPitch(log_pitch, options.delta_window, options.delta_pitch_noise_stddev, seed);
  }
  for (int64_t row = 0; row < frames + options.delay; ++row) {
    const int64_t frame = std::max<int64_t>(0, row - options.delay);
    if (options.add_pov_feature) {
      *out++ = options.pov_scale * PovFeature(in[2 * frame]) + options.pov_offset;
    }
    if (options.add_normalized_log_pitch) *out++ = normalized[frame] * options.pitch_scale;
    if (options.add_delta_pitch) *out++ = delta[frame] * options.delta_pitch_scale;
    if (options.add_raw_log_pitch) *out++ = log_pitch[frame];
  }
}

}  // namespace kdspeech
