// One SIMD variant of decode/kernel.h; the including file sets KDSPEECH_VARIANT.
#pragma once

#include "decode/kernel.h"
#include "feat/simd.h"

namespace kdspeech {
namespace KDSPEECH_VARIANT {

constexpr int kDoubles = kLanes / 2;  // of a register

typedef double DoubleVec __attribute__((vector_size(8 * kDoubles)));
typedef uint64_t WideVec __attribute__((vector_size(8 * kDoubles)));
typedef DoubleVec UnalignedDoubleVec __attribute__((aligned(8), may_alias));

// x = n ln 2 + r, |r| <= ln(2) / 2, and e^r by Taylor's series to r^12 / 12!.
KDSPEECH_INLINE DoubleVec ExpOfDoubles(DoubleVec x) {
  const double shift = 0x1.8p52;  // adding it rounds to an integer, which the low bits then hold
  const DoubleVec shifted = x * 1.4426950408889634 + shift;
  const DoubleVec n = shifted - shift;
  // ln 2 in two parts, the first exact in a product with n.
  const DoubleVec r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
  DoubleVec p = DoubleVec{} + 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const WideVec power = (reinterpret_cast<WideVec>(shifted) + 1023) << 52;
  return x < -708.0 ? DoubleVec{} : p * reinterpret_cast<DoubleVec>(power);
}

KDSPEECH_INLINE void ExpAt(double* x) {
  *reinterpret_cast<UnalignedDoubleVec*>(x) =
      ExpOfDoubles(*reinterpret_cast<const UnalignedDoubleVec*>(x));
}

inline void ExpAll(double* x, int64_t count) {
  int64_t i = 0;
  for (; i + kDoubles <= count; i += kDoubles) ExpAt(x + i);
  double rest[kDoubles] = {};
  for (int64_t j = i; j < count; j++) rest[j - i] = x[j];
  ExpAt(rest);
  for (int64_t j = i; j < count; j++) x[j] = rest[j - i];
}

#define KDSPEECH_STRING(name) #name
#define KDSPEECH_NAME(name) KDSPEECH_STRING(name)

extern const LatticeKernel kLatticeKernel;
const LatticeKernel kLatticeKernel = {KDSPEECH_NAME(KDSPEECH_VARIANT), ExpAll};

}  // namespace KDSPEECH_VARIANT
}  // namespace kdspeech
