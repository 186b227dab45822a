// The loops of crops that need more than the compiler's own vectors: sums of squares, and a clip
// played at another speed. To be included by kernel_impl.h.
#pragma once

#include <cstdint>

#include "feat/simd.h"

namespace kdspeech {
namespace KDSPEECH_VARIANT {

constexpr int kHalf = kLanes / 2;  // doubles of a register

typedef uint64_t WideVec __attribute__((vector_size(4 * kLanes)));
typedef double DoubleVec __attribute__((vector_size(8 * kHalf)));
typedef float HalfVec __attribute__((vector_size(4 * kHalf)));
typedef int32_t HalfIntVec __attribute__((vector_size(4 * kHalf)));
typedef HalfVec UnalignedHalfVec __attribute__((aligned(4), may_alias));

// x[2 j]^2 + x[2 j + 1]^2 in lane j; 2^31 at most, which the unsigned lanes hold.
KDSPEECH_INLINE UintVec PairSquares(const int16_t* x) {
#if defined(__AVX512BW__)
  const __m512i v = _mm512_loadu_si512(x);
  return reinterpret_cast<UintVec>(_mm512_madd_epi16(v, v));
#elif defined(__AVX2__)
  const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  return reinterpret_cast<UintVec>(_mm256_madd_epi16(v, v));
#elif defined(__SSE2__)
  const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
  return reinterpret_cast<UintVec>(_mm_madd_epi16(v, v));
#elif defined(__aarch64__)
  const int16x8_t v = vld1q_s16(x);
  const int32x4_t low = vmull_s16(vget_low_s16(v), vget_low_s16(v));
  return reinterpret_cast<UintVec>(vpaddq_s32(low, vmull_high_s16(v, v)));
#else
  UintVec sums;
  for (int j = 0; j < kLanes; j++) {
    sums[j] = static_cast<uint32_t>(x[2 * j] * x[2 * j]) +
              static_cast<uint32_t>(x[2 * j + 1] * x[2 * j + 1]);
  }
  return sums;
#endif
}

KDSPEECH_INLINE int64_t SquareSum(const int16_t* x, int64_t count) {
  WideVec wide = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    const WideVec pairs = reinterpret_cast<WideVec>(PairSquares(x + i));
    wide += (pairs & 0xffffffffu) + (pairs >> 32);
  }
  int64_t sum = 0;
  for (int j = 0; j < kHalf; j++) sum += static_cast<int64_t>(wide[j]);
  for (; i < count; i++) sum += int64_t{x[i]} * x[i];
  return sum;
}

inline void SquareSums(const int16_t* x, int64_t size, int64_t count, int64_t* sums) {
  for (int64_t k = 0; k < count; k++) sums[k] = SquareSum(x + k * size, size);
}

// from[at[j]] and the sample behind it, for at[j] <= kLanes - 2 (kLanes samples are read).
KDSPEECH_INLINE void Neighbours(const int16_t* from, HalfIntVec at, HalfVec* left, HalfVec* right) {
#if defined(__AVX512BW__)
  const __m256i indices = reinterpret_cast<__m256i>(at * 0x10001 + 0x10000);
  const __m256i samples = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  const HalfIntVec pairs = reinterpret_cast<HalfIntVec>(_mm256_permutexvar_epi16(indices, samples));
  *left = __builtin_convertvector((pairs << 16) >> 16, HalfVec);
  *right = __builtin_convertvector(pairs >> 16, HalfVec);
#else
  for (int j = 0; j < kHalf; j++) {
    (*left)[j] = from[at[j]];
    (*right)[j] = from[at[j] + 1];
  }
#endif
}

KDSPEECH_INLINE DoubleVec WholePart(DoubleVec v) {
#if defined(__AVX512F__)
  // The masked form, for gcc warns of an uninitialised value inside the plain one.
  return reinterpret_cast<DoubleVec>(_mm512_maskz_roundscale_pd(
      0xff, reinterpret_cast<__m512d>(v), _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
#elif defined(__AVX2__)
  return reinterpret_cast<DoubleVec>(
      _mm256_round_pd(reinterpret_cast<__m256d>(v), _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
#else
  typedef int64_t Integers __attribute__((vector_size(8 * kHalf)));
  return __builtin_convertvector(__builtin_convertvector(v, Integers), DoubleVec);
#endif
}

// A clip at kHalf neighbouring places, of which the first is at *from or behind it.
KDSPEECH_INLINE HalfVec Between(const int16_t* from, DoubleVec places) {
  const DoubleVec whole = WholePart(places);
  const HalfIntVec at = __builtin_convertvector(whole - whole[0], HalfIntVec);
  HalfVec left, right;
  Neighbours(from, at, &left, &right);
  const HalfVec part = __builtin_convertvector(places - whole, HalfVec);
  return left + Rounded(part * (right - left));
}

inline void Play(const int16_t* clip, int64_t num_samples, double speed, int64_t first,
                 int64_t count, float* out) {
  DoubleVec numbers = DoubleVec{} + static_cast<double>(first);
  for (int j = 0; j < kHalf; j++) numbers[j] += j;
  int64_t i = 0;
  for (; i + kHalf <= count; i += kHalf, numbers += kHalf) {
    const DoubleVec places = Rounded(numbers * speed);
    const int64_t begin = static_cast<int64_t>(places[0]);
    if (begin + kLanes > num_samples) break;
    *reinterpret_cast<UnalignedHalfVec*>(out + i) = Between(clip + begin, places);
  }
  for (; i < count; i += kHalf, numbers += kHalf) {  // the clip's end: its last sample goes on
    const DoubleVec places = Rounded(numbers * speed);
    const int64_t begin = static_cast<int64_t>(places[0]);
    int16_t end[kLanes];
    for (int j = 0; j < kLanes; j++) {
      end[j] = clip[begin + j < num_samples ? begin + j : num_samples - 1];
    }
    const HalfVec played = Between(end, places);
    for (int j = 0; j < kHalf && i + j < count; j++) out[i + j] = played[j];
  }
}

}  // namespace KDSPEECH_VARIANT
}  // namespace kdspeech
