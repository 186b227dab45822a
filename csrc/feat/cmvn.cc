#include "feat/cmvn.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace kdspeech {

void AccumulateCmvn(const float* in, int64_t frames, int dim, const float* weights, double* stats) {
  double *sum = stats, *sum_squares = stats + dim + 1;
  for (int64_t frame = 0; frame < frames; ++frame, in += dim) {
    const float weight = weights ? weights[frame] : 1.0f;
    if (weight == 0.0f) continue;
    for (int d = 0; d < dim; ++d) {
      sum[d] += in[d] * weight;
      sum_squares[d] += in[d] * in[d] * weight;
    }
    sum[dim] += weight;
  }
}

void CmvnScaleOffset(const double* stats, int dim, bool norm_vars, bool reverse, float* scale,
                     float* offset) {
  constexpr double kMinVariance = 1e-20;
  const double count = stats[dim];
  for (int d = 0; d < dim; ++d) {
    const double mean = stats[d] / count;
    double deviation = 1.0;
    if (norm_vars) {
      const double variance = stats[dim + 1 + d] / count - mean * mean;
      deviation = std::sqrt(std::max(variance, kMinVariance));
    }
    scale[d] = static_cast<float>(reverse ? deviation : 1.0 / deviation);
    offset[d] = static_cast<float>(reverse ? mean : -mean / deviation);
  }
}

void ApplyScaleOffset(const float* in, int64_t frames, int dim, const float* scale,
                      const float* offset, float* out) {
  for (int64_t frame = 0; frame < frames; ++frame, in += dim, out += dim) {
    for (int d = 0; d < dim; ++d) out[d] = in[d] * scale[d] + offset[d];
  }
}

namespace {

struct Window {
  int64_t begin, end;
};

// The frames that `frame` is normalized with. A window that would pass one end
// of the utterance is moved to lie inside it as far as it fits.
Window WindowOf(int64_t frame, int64_t frames, const SlidingCmvnOptions& options) {
  Window window;
  if (options.center) {
    window.begin = frame - options.cmn_window / 2;
    window.end = window.begin + options.cmn_window;
  } else {
    window.begin = frame - options.cmn_window;
    window.end = frame + 1;
  }
  if (window.begin < 0) {
    window.end -= window.begin;
    window.begin = 0;
  }
  if (!options.center && window.end > frame) {
    window.end = std::max<int64_t>(frame + 1, options.min_cmn_window);
  }
  if (window.end > frames) {
    window.begin = std::max<int64_t>(0, window.begin - (window.end - frames));
    window.end = frames;
  }
  return window;
}

// Sums over a window whose two ends only ever move forward.
class WindowSums {
 public:
  WindowSums(const float* in, int dim) : in_(in), dim_(dim), sum_(dim), sum_squares_(dim) {}

  void MoveTo(const Window& window) {
    for (; begin_ < window.begin; ++begin_) Add(begin_, -1.0);
    for (; end_ < window.end; ++end_) Add(end_, 1.0);
  }
  double Mean(int d) const { return sum_[d] / Frames(); }
  double Variance(int d) const { return sum_squares_[d] / Frames() - Mean(d) * Mean(d); }
  double Frames() const { return static_cast<double>(end_ - begin_); }

 private:
  void Add(int64_t frame, double sign) {
    const float* row = in_ + frame * dim_;
    for (int d = 0; d < dim_; ++d) {
      const double x = row[d];
      sum_[d] += sign * x;
      sum_squares_[d] += sign * x * x;
    }
  }

  const float* in_;
  int dim_;
  int64_t begin_ = 0, end_ = 0;
  std::vector<double> sum_, sum_squares_;
};

}  // namespace

void SlidingCmvn(const float* in, int64_t frames, int dim, const SlidingCmvnOptions& options,
                 float* out) {
  constexpr double kMinVariance = 1e-10;
  WindowSums sums(in, dim);
  for (int64_t frame = 0; frame < frames; ++frame) {
    sums.MoveTo(WindowOf(frame, frames, options));
    const float* row = in + frame * dim;
    for (int d = 0; d < dim; ++d) {
      double value = row[d] - sums.Mean(d);
      if (options.norm_vars) {
        value /= std::sqrt(std::max(sums.Variance(d), kMinVariance));
        if (sums.Frames() == 1) value = 0.0;
      }
      *out++ = static_cast<float>(value);
    }
  }
}

}  // namespace kdspeech
