// Plan of a real Fourier transform that runs over several frames at a time, one frame per SIMD
// lane (fft_kernel.h executes it).
//
// N real samples are taken as M = N / 2 complex ones, transformed in place by decimation in
// frequency, and read back through `position`; the last step splits the result into the
// spectrum of the real samples. A power of two takes the split-radix algorithm (P. Duhamel and
// H. Hollmann, Electronics Letters 20(1), 1984) with rotations of three multiplications (H.
// Malvar, "Signal processing with lapped transforms", 1992), which is what Kaldi runs; any other
// even N takes stages of radix 4, 2 and odd primes, large primes costing their square.
//
// Tables are rounded where Kaldi's are and products are not fused: filters 80 dB below the
// strongest one consist of rounding errors, and so these agree with Kaldi's too.
#pragma once

#include <vector>

namespace kdspeech {

// One pass: every block of `length` complex numbers becomes `radix` blocks of length / radix.
struct FftStage {
  int radix;
  int length;
  int twiddle;  // where in `twiddles` its factors begin: (cos, sin) for j, then q = 1 .. radix-1
  int root;     // where in `roots` the radix-th roots of unity begin (odd radices only)
};

struct FftPlan {
  int num_complex = 0;               // M
  int log2_size = -1;                // of M; -1 if M is not a power of two
  std::vector<int> position;         // position[k]: where frequency k of the M lies afterwards
  std::vector<float> real_twiddles;  // (cos, sin) of -2 pi k / N, k = 0 .. M / 2
  // Split radix: for length 2^level, n = 1 .. length / 4 - 1, from split_offset[level] on, the
  // factors (c, -(c + s), s - c) for the angles 2 pi n / length and three times that.
  std::vector<float> split_twiddles;
  std::vector<int> split_offset;
  // Mixed radix.
  int max_odd_radix = 0;
  std::vector<FftStage> stages;
  std::vector<float> twiddles;
  std::vector<float> roots;
};

// The plan for `num_samples` real samples; num_samples is even and at least 2.
FftPlan MakeFftPlan(int num_samples);

}  // namespace kdspeech
