// Vectors of floats, as wide as the compiler flags of the including file allow, and the
// mathematical functions that the kernels need. To be included by a kernel_impl.h alone.
#pragma once

#include <cstdint>
#include <utility>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define KDSPEECH_INLINE inline __attribute__((always_inline))

namespace kdspeech {
namespace KDSPEECH_VARIANT {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef int32_t IntVec __attribute__((vector_size(4 * kLanes)));
typedef uint32_t UintVec __attribute__((vector_size(4 * kLanes)));
typedef Vec UnalignedVec __attribute__((aligned(4), may_alias));

KDSPEECH_INLINE Vec Load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }

KDSPEECH_INLINE void Store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }

KDSPEECH_INLINE Vec Splat(float x) { return Vec{} + x; }

// Splat(*p) by a load alone: gcc makes a load and a shuffle of the sum, and shuffles share a port
// with multiplications.
KDSPEECH_INLINE Vec LoadSplat(const float* p) {
#if defined(__AVX512F__)
  return reinterpret_cast<Vec>(_mm512_set1_ps(*p));
#elif defined(__AVX2__)
  return reinterpret_cast<Vec>(_mm256_broadcast_ss(p));
#else
  return Splat(*p);
#endif
}

KDSPEECH_INLINE Vec Max(Vec a, Vec b) { return a > b ? a : b; }
KDSPEECH_INLINE Vec Min(Vec a, Vec b) { return a < b ? a : b; }

// `v`, at most a register wide, which the compiler must round here: it may not fuse the product
// that v is with a sum that follows. Without such an instruction there is nothing to do.
template <class V>
KDSPEECH_INLINE V Rounded(V v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__FMA__)
  asm("" : "+x"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#endif
  return v;
}

KDSPEECH_INLINE Vec AsFloat(UintVec v) { return reinterpret_cast<Vec>(v); }

KDSPEECH_INLINE UintVec AsBits(Vec v) { return reinterpret_cast<UintVec>(v); }

KDSPEECH_INLINE Vec ToFloat(IntVec v) { return __builtin_convertvector(v, Vec); }

KDSPEECH_INLINE Vec Sqrt(Vec v) {
#if defined(__AVX512F__)
  // The masked form, for gcc warns of an uninitialised value inside the plain one.
  return reinterpret_cast<Vec>(_mm512_maskz_sqrt_ps(0xffff, reinterpret_cast<__m512>(v)));
#elif defined(__AVX2__)
  return reinterpret_cast<Vec>(_mm256_sqrt_ps(reinterpret_cast<__m256>(v)));
#elif defined(__SSE2__)
  return reinterpret_cast<Vec>(_mm_sqrt_ps(reinterpret_cast<__m128>(v)));
#elif defined(__aarch64__)
  return reinterpret_cast<Vec>(vsqrtq_f32(reinterpret_cast<float32x4_t>(v)));
#else
  for (int i = 0; i < kLanes; i++) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

// Natural logarithm of positive normal numbers, to about 1 unit in the last place:
// x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), and log(1 + f) = f - f^2 / 2 + f^3 P(f)
// with a minimax P of degree 7 (relative error 6e-9).
KDSPEECH_INLINE Vec Log(Vec x) {
  const UintVec bits = AsBits(x) - 0x3f3504f3u;  // the bits of sqrt(1/2)
  const Vec e = ToFloat(reinterpret_cast<IntVec>(bits) >> 23);
  const Vec f = AsFloat((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  Vec p = Splat(-0.07634492963552475f);
  p = p * f + 0.12761574983596802f;
  p = p * f - 0.13160182535648346f;
  p = p * f + 0.14201758801937103f;
  p = p * f - 0.16623356938362122f;
  p = p * f + 0.20001226663589478f;
  p = p * f - 0.2500081956386566f;
  p = p * f + 0.3333333134651184f;
  const Vec square = f * f;
  // ln 2 in two parts, the first exact in a product with e.
  const Vec small = p * (f * square) - 0.5f * square + e * -2.12194440e-4f;
  return (f + small) + e * 0.693359375f;
}

// e^x for |x| < 87, to about 1 unit in the last place: x = n ln 2 + r, |r| <= ln(2) / 2, and
// e^r = 1 + r + r^2 P(r) with a minimax P of degree 4 (error 3e-9).
KDSPEECH_INLINE Vec Exp(Vec x) {
  const float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const Vec n = (x * 1.44269504f + shift) - shift;
  const Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Vec p = Splat(0.0013950478751212358f);
  p = p * r + 0.008368882350623608f;
  p = p * r + 0.04166620597243309f;
  p = p * r + 0.1666651964187622f;
  p = p * r + 0.5f;
  const Vec power = p * (r * r) + r + 1.0f;
  const IntVec exponent = __builtin_convertvector(n, IntVec) << 23;
  return reinterpret_cast<Vec>(reinterpret_cast<IntVec>(power) + exponent);
}

// One step of the transposition below: exchanges the off-diagonal blocks of size S.
#if defined(__clang__) || __GNUC__ >= 12
template <int S, int... I>
KDSPEECH_INLINE Vec ExchangeLow(Vec a, Vec b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, ((I & S) != 0 ? I - S + kLanes : I)...);
}

template <int S, int... I>
KDSPEECH_INLINE Vec ExchangeHigh(Vec a, Vec b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, ((I & S) != 0 ? I + kLanes : I + S)...);
}
#else
template <int S, int... I>
KDSPEECH_INLINE Vec ExchangeLow(Vec a, Vec b, std::integer_sequence<int, I...>) {
  return __builtin_shuffle(a, b, IntVec{((I & S) != 0 ? I - S + kLanes : I)...});
}

template <int S, int... I>
KDSPEECH_INLINE Vec ExchangeHigh(Vec a, Vec b, std::integer_sequence<int, I...>) {
  return __builtin_shuffle(a, b, IntVec{((I & S) != 0 ? I + kLanes : I + S)...});
}
#endif

template <int S>
KDSPEECH_INLINE void ExchangeBlocks(Vec* rows) {
  const auto lanes = std::make_integer_sequence<int, kLanes>();
  for (int j = 0; j < kLanes; j++) {
    if ((j & S) != 0) continue;
    const Vec a = rows[j], b = rows[j + S];
    rows[j] = ExchangeLow<S>(a, b, lanes);
    rows[j + S] = ExchangeHigh<S>(a, b, lanes);
  }
}

// Transposes kLanes vectors in place (Eklundh's recursion: halves, quarters, ...).
KDSPEECH_INLINE void Transpose(Vec* rows) {
  if constexpr (kLanes > 8) ExchangeBlocks<8>(rows);
  if constexpr (kLanes > 4) ExchangeBlocks<4>(rows);
  ExchangeBlocks<2>(rows);
  ExchangeBlocks<1>(rows);
}

}  // namespace KDSPEECH_VARIANT
}  // namespace kdspeech
