// Sampling-rate conversion by a Hann-windowed sinc, with the arithmetic of
// Kaldi's resampler.
#pragma once

#include <cstdint>
#include <vector>

namespace kdspeech {

// From one fixed rate to another. `cutoff` in Hz, at most half of each rate;
// the filter reaches `num_zeros` zero crossings of the sinc to each side.
class LinearResampler {
 public:
  LinearResampler(int rate_in, int rate_out, float cutoff, int num_zeros);

  // Output samples that `num_in` input samples determine: without `flush` those
  // whose filter lies inside the input, with it also those that need zeros
  // after its end.
  int64_t NumOutput(int64_t num_in, bool flush) const;

  // The whole signal, as with `flush`.
  std::vector<float> Resample(const float* in, int64_t num_in) const;

 private:
  struct Filter {
    int64_t first;  // input sample of the first weight, relative to the start of
                    // the unit
    std::vector<float> weights;
  };

  int64_t rate_in_, rate_out_;
  float cutoff_;
  int num_zeros_;
  int64_t unit_in_,
      unit_out_;                 // the pattern of weights repeats after so many samples
  std::vector<Filter> filters_;  // one for each output sample of a unit
};

// A band-limited signal at rate `rate`, sampled at arbitrary points (in
// seconds).
class PointResampler {
 public:
  PointResampler(int num_in, float rate, float cutoff, const std::vector<float>& points,
                 int num_zeros);

  // The value at point number `point`; in: `num_in` samples.
  float Sample(const float* in, int point) const {
    const Filter& filter = filters_[point];
    float sum = 0.0f;
    for (int j = 0; j < filter.size; ++j) sum += weights_[filter.start + j] * in[filter.first + j];
    return sum;
  }

 private:
  struct Filter {
    int first, start,
        size;  // first input sample, first weight, number of weights
  };

  std::vector<Filter> filters_;
  std::vector<float> weights_;
};

}  // namespace kdspeech
