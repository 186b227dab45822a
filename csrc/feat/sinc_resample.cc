#include "feat/sinc_resample.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kdspeech {

namespace {

constexpr double kTwoPi = 6.283185307179586476925;
constexpr double kPi = kTwoPi / 2;

// The low-pass filter at `t` seconds from its middle.
float WindowedSinc(float t, float cutoff, int num_zeros) {
  if (!(std::fabs(t) < num_zeros / (2.0 * cutoff))) return 0.0f;
  const float window = static_cast<float>(0.5 * (1.0 + std::cos(kTwoPi * cutoff / num_zeros * t)));
  if (t == 0.0f) return 2.0f * cutoff * window;
  return static_cast<float>(std::sin(kTwoPi * cutoff * t) / (kPi * t)) * window;
}

}  // namespace

LinearResampler::LinearResampler(int rate_in, int rate_out, float cutoff, int num_zeros)
    : rate_in_(rate_in), rate_out_(rate_out), cutoff_(cutoff), num_zeros_(num_zeros) {
  const int64_t repeat = std::gcd(rate_in_, rate_out_);
  unit_in_ = rate_in_ / repeat;
  unit_out_ = rate_out_ / repeat;
  const double half_width = num_zeros / (2.0 * cutoff);
  filters_.resize(unit_out_);
  for (int64_t i = 0; i < unit_out_; ++i) {
    const double time = static_cast<double>(i) / static_cast<double>(rate_out_);
    const double rate = static_cast<double>(rate_in_);
    const int64_t first = static_cast<int64_t>(std::ceil((time - half_width) * rate));
    const int64_t last = static_cast<int64_t>(std::floor((time + half_width) * rate));
    filters_[i].first = first;
    for (int64_t j = first; j <= last; ++j) {
      const float distance = static_cast<float>(static_cast<double>(j) / rate - time);
      filters_[i].weights.push_back(WindowedSinc(distance, cutoff, num_zeros) /
                                    static_cast<float>(rate_in_));
    }
  }
}

int64_t LinearResampler::NumOutput(int64_t num_in, bool flush) const {
  // Time in ticks that both sampling periods are multiples of.
  const int64_t ticks_per_second = std::lcm(rate_in_, rate_out_);
  int64_t length = num_in * (ticks_per_second / rate_in_);
  if (!flush) {
    const float half_width = static_cast<float>(num_zeros_ / (2.0 * cutoff_));
    length -= static_cast<int64_t>(std::floor(half_width * static_cast<float>(ticks_per_second)));
  }
  if (length <= 0) return 0;
  const int64_t period = ticks_per_second / rate_out_;
  return (length + period - 1) / period;  // the samples at 0, period, ... < length
}

std::vector<float> LinearResampler::Resample(const float* in, int64_t num_in) const {
  std::vector<float> out(NumOutput(num_in, true));
  for (int64_t i = 0; i < static_cast<int64_t>(out.size()); ++i) {
    const Filter& filter = filters_[i % unit_out_];
    const int64_t first = filter.first + i / unit_out_ * unit_in_;
    const int64_t begin = std::max<int64_t>(0, -first);
    const int64_t end = std::min<int64_t>(filter.weights.size(), num_in - first);
    double sum = 0.0;
    for (int64_t j = begin; j < end; ++j) {
      sum += static_cast<double>(filter.weights[j]) * in[first + j];
    }
    out[i] = static_cast<float>(sum);
  }
  return out;
}

PointResampler::PointResampler(int num_in, float rate, float cutoff,
                               const std::vector<float>& points, int num_zeros) {
  const float half_width = static_cast<float>(num_zeros / (2.0 * cutoff));
  for (const float point : points) {
    const int first = std::max(0, static_cast<int>(std::ceil(rate * (point - half_width))));
    const int last =
        std::min(num_in - 1, static_cast<int>(std::floor(rate * (point + half_width))));
    filters_.push_back({first, static_cast<int>(weights_.size()), std::max(0, last - first + 1)});
    for (int j = first; j <= last; ++j) {
      const float distance = point - static_cast<float>(j) / rate;
      weights_.push_back(WindowedSinc(distance, cutoff, num_zeros) / rate);
    }
  }
}

}  // namespace kdspeech
