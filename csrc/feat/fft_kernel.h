// The Fourier transform of kLanes frames at a time. To be included by kernel_impl.h alone.
#pragma once

#include "feat/fft.h"
#include "feat/kernel.h"
#include "feat/simd.h"

namespace kdspeech {
namespace KDSPEECH_VARIANT {

// A complex number per lane; in memory its two vectors stand side by side.
struct Complex {
  Vec re, im;
};

KDSPEECH_INLINE Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }

KDSPEECH_INLINE Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }

// a times the complex number (w[0], w[1]).
KDSPEECH_INLINE Complex Rotate(Complex a, const float* w) {
  return {a.re * w[0] - a.im * w[1], a.re * w[1] + a.im * w[0]};
}

template <bool kTwiddle>
KDSPEECH_INLINE void Butterfly4(Complex* z, int stride, const float* w) {
  const Complex a = z[0], b = z[stride], c = z[2 * stride], d = z[3 * stride];
  const Complex t0 = a + c, t1 = a - c, t2 = b + d, t3 = b - d;
  const Complex y1 = {t1.re + t3.im, t1.im - t3.re};
  const Complex y2 = t0 - t2;
  const Complex y3 = {t1.re - t3.im, t1.im + t3.re};
  z[0] = t0 + t2;
  z[stride] = kTwiddle ? Rotate(y1, w) : y1;
  z[2 * stride] = kTwiddle ? Rotate(y2, w + 2) : y2;
  z[3 * stride] = kTwiddle ? Rotate(y3, w + 4) : y3;
}

KDSPEECH_INLINE void Butterfly2(Complex* z, int stride, const float* w) {
  const Complex a = z[0], b = z[stride];
  z[0] = a + b;
  z[stride] = Rotate(a - b, w);
}

inline void Stage4(Complex* z, int num_complex, int length, const float* twiddles) {
  const int stride = length / 4;
  for (int block = 0; block < num_complex; block += length) {
    Butterfly4<false>(z + block, stride, nullptr);
  }
  for (int j = 1; j < stride; j++) {
    for (int block = 0; block < num_complex; block += length) {
      Butterfly4<true>(z + block + j, stride, twiddles + 6 * j);
    }
  }
}

inline void Stage2(Complex* z, int num_complex, int length, const float* twiddles) {
  const int stride = length / 2;
  for (int j = 0; j < stride; j++) {
    for (int block = 0; block < num_complex; block += length) {
      Butterfly2(z + block + j, stride, twiddles + 2 * j);
    }
  }
}

// Butterfly of any radix, by the definition of the transform.
inline void ButterflyOdd(Complex* z, int radix, int stride, const float* w, const float* roots,
                         Complex* operands) {
  for (int p = 0; p < radix; p++) operands[p] = z[p * stride];
  for (int q = 0; q < radix; q++) {
    Complex sum = operands[0];
    int root = 0;
    for (int p = 1; p < radix; p++) {
      root += q;
      if (root >= radix) root -= radix;
      sum = sum + Rotate(operands[p], roots + 2 * root);
    }
    z[q * stride] = q == 0 ? sum : Rotate(sum, w + 2 * (q - 1));
  }
}

inline void StageOdd(Complex* z, int num_complex, const FftStage& stage, const float* twiddles,
                     const float* roots, Complex* operands) {
  const int stride = stage.length / stage.radix;
  for (int j = 0; j < stride; j++) {
    const float* w = twiddles + 2 * static_cast<int64_t>(stage.radix - 1) * j;
    for (int block = 0; block < num_complex; block += stage.length) {
      ButterflyOdd(z + block + j, stage.radix, stride, w, roots, operands);
    }
  }
}

inline void MixedRadixFft(const FftTables& fft, Complex* z, Complex* operands) {
  for (int s = 0; s < fft.num_stages; s++) {
    const FftStage& stage = fft.stages[s];
    const float* twiddles = fft.twiddles + stage.twiddle;
    if (stage.radix == 4) {
      Stage4(z, fft.num_complex, stage.length, twiddles);
    } else if (stage.radix == 2) {
      Stage2(z, fft.num_complex, stage.length, twiddles);
    } else {
      StageOdd(z, fft.num_complex, stage, twiddles, fft.roots + stage.root, operands);
    }
  }
}

// a times e^{-i t} for w = (cos t, -(cos t + sin t), sin t - cos t), by three multiplications.
KDSPEECH_INLINE Complex Rotate3(Complex a, const float* w) {
  const Vec common = Rounded(w[0] * (a.re + a.im));
  return {Rounded(w[2] * a.im) + common, Rounded(w[1] * a.re) + common};
}

// The first step of a split-radix transform, for the elements n, n + L/4, n + L/2, n + 3L/4 of L:
// the even frequencies stay in the first half, those that are 1 and 3 modulo 4 go to the third and
// the fourth quarter, still to be rotated.
KDSPEECH_INLINE void SplitButterfly(Complex* z, int quarter, Complex* one, Complex* three) {
  const Complex a = z[0], b = z[quarter], c = z[2 * quarter], d = z[3 * quarter];
  z[0] = a + c;
  z[quarter] = b + d;
  const Complex u = a - c, v = b - d;
  *one = {u.re + v.im, u.im - v.re};
  *three = {u.re - v.im, u.im + v.re};
}

inline void SplitStage(Complex* z, int quarter, const float* twiddles) {
  Complex one, three;
  SplitButterfly(z, quarter, &z[2 * quarter], &z[3 * quarter]);
  for (int n = 1; n < quarter; n++) {
    Complex* const at = z + n;
    SplitButterfly(at, quarter, &one, &three);
    if (2 * n == quarter) {  // angles of 45 and 135 degrees
      const float half = 0.70710678f;
      at[2 * quarter] = {half * (one.re + one.im), half * (one.im - one.re)};
      at[3 * quarter] = {half * (three.im - three.re), -half * (three.re + three.im)};
    } else {
      at[2 * quarter] = Rotate3(one, twiddles);
      at[3 * quarter] = Rotate3(three, twiddles + 3);
    }
    twiddles += 6;
  }
}

// Transforms 2^level elements; the recursion goes depth first, and so stays in the cache.
inline void SplitRadixFft(const FftTables& fft, Complex* z, int level) {
  if (level == 1) {
    const Complex a = z[0], b = z[1];
    z[0] = a + b;
    z[1] = a - b;
  }
  if (level < 2) return;
  const int quarter = 1 << (level - 2);
  SplitStage(z, quarter, fft.split_twiddles + fft.split_offset[level]);
  SplitRadixFft(fft, z, level - 1);
  SplitRadixFft(fft, z + 2 * quarter, level - 2);
  SplitRadixFft(fft, z + 3 * quarter, level - 2);
}

// Transforms z in place; frequency k ends at z[position[k]].
inline void ComplexFft(const FftTables& fft, Complex* z, Complex* operands) {
  if (fft.log2_size >= 0) {
    SplitRadixFft(fft, z, fft.log2_size);
  } else {
    MixedRadixFft(fft, z, operands);
  }
}

KDSPEECH_INLINE Vec SquaredAbs(Vec re, Vec im) { return re * re + im * im; }

// From the transform Z of the samples taken as complex pairs to four times the power
// |X[k]|^2 of the real samples, k = 0 .. M - 1 (the factor is in the mel weights):
// 2 X[k] = A + B and 2 conj X[M-k] = A - B with A = Z[k] + conj Z[M-k] and
// B = -i e^{-2 pi i k / N} (Z[k] - conj Z[M-k]).
inline void RealPower(const FftTables& fft, const Complex* z, Vec* power) {
  const int m = fft.num_complex;
  const Vec dc = z[0].re + z[0].im;
  power[0] = 4.0f * (dc * dc);
  for (int k = 1; 2 * k <= m; k++) {
    const Complex p = z[fft.position[k]], q = z[fft.position[m - k]];
    const float* w = fft.real_twiddles + 2 * k;
    const Complex a = {p.re + q.re, p.im - q.im};
    const Complex d = {p.im + q.im, q.re - p.re};
    const Complex b = {Rounded(d.re * w[0]) - Rounded(d.im * w[1]),
                       Rounded(d.re * w[1]) + Rounded(d.im * w[0])};
    power[m - k] = SquaredAbs(a.re - b.re, a.im - b.im);
    power[k] = SquaredAbs(a.re + b.re, a.im + b.im);  // after the other: for k = M / 2 it holds
  }
}

}  // namespace KDSPEECH_VARIANT
}  // namespace kdspeech
