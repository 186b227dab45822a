// Gaussian noise that is a function of seed and sample index alone, so that it does not depend
// on blocks, threads or, but for rounding, the SIMD variant. To be included by kernel_impl.h
// alone.
//
// Samples are taken in blocks of 32. Number i = 0 .. 15 of a block b draws two uniform numbers
// by hashing the counter 16 b + i under the seed, and the Box-Muller transform makes of them
// the noise of the block's samples i and i + 16.
#pragma once

#include "feat/kernel.h"
#include "feat/simd.h"

namespace kdspeech {
namespace KDSPEECH_VARIANT {

constexpr int kDitherBlock = 32;

struct DitherKey {
  uint32_t first, second;
};

// Two halves of a 64-bit mix of the seed (the finaliser of Steele, Lea and Flood, "Fast
// splittable pseudorandom number generators", OOPSLA 2014).
KDSPEECH_INLINE DitherKey MakeDitherKey(uint64_t seed) {
  uint64_t z = seed + 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  z ^= z >> 31;
  return {static_cast<uint32_t>(z), static_cast<uint32_t>(z >> 32)};
}

// A bijective mix of 32 bits (multiply and xor-shift; constants from C. Wellons, "Hash
// function prospector"), `key` entering between its two rounds.
KDSPEECH_INLINE UintVec Mix(UintVec x, uint32_t key) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= (x >> 15) ^ key;
  x *= 0x846ca68bu;
  return x ^ (x >> 16);
}

// sqrt(-2 ln u) for the uniform u = (bits + 1/2) / 2^24 of the upper 24 bits.
KDSPEECH_INLINE Vec GaussianRadius(UintVec bits) {
  const Vec u = (ToFloat(reinterpret_cast<IntVec>(bits >> 8)) + 0.5f) * 0x1p-24f;
  return Sqrt(-2.0f * Log(u));
}

// Cosine and sine of a uniform angle: r in [-1/2, 1/2) quarter turns from the low bits, the
// quadrant from the top two. Minimax polynomials, errors 3e-8 and 1e-9.
KDSPEECH_INLINE void UniformDirection(UintVec bits, Vec* cosine, Vec* sine) {
  const Vec r = ToFloat(reinterpret_cast<IntVec>((bits >> 8) & 0x3fffffu)) * 0x1p-22f - 0.5f;
  const Vec r2 = r * r;
  const Vec c =
      ((r2 * -0.020408352836966515f + 0.2535986304283142f) * r2 - 1.2336970567703247f) * r2 + 1.0f;
  const Vec s =
      (((r2 * -0.004592289216816425f + 0.07967590540647507f) * r2 - 0.6459629535675049f) * r2 +
       1.570796251296997f) *
      r;
  const UintVec swap = reinterpret_cast<UintVec>(reinterpret_cast<IntVec>(bits << 1) >> 31);
  const UintVec sign = bits & 0x80000000u;
  *cosine = AsFloat(((AsBits(c) & ~swap) | (AsBits(s) & swap)) ^ sign);
  *sine = AsFloat(((AsBits(s) & ~swap) | (AsBits(c) & swap)) ^ sign);
}

// Adds the noise of one block to x[0 .. 31].
KDSPEECH_INLINE void DitherBlock(DitherKey key, int64_t block, float stddev, float* x) {
  UintVec counter;
  for (int i = 0; i < kLanes; i++) counter[i] = static_cast<uint32_t>(i);
  counter += static_cast<uint32_t>(16 * block) + key.first;
  for (int i = 0; i < kDitherBlock / 2; i += kLanes) {
    const UintVec a = Mix(counter + static_cast<uint32_t>(i), key.second);
    const Vec radius = stddev * GaussianRadius(a);
    Vec cosine, sine;
    UniformDirection(Mix(a + 0x9e3779b9u, 0u), &cosine, &sine);
    Store(x + i, Load(x + i) + radius * cosine);
    Store(x + i + 16, Load(x + i + 16) + radius * sine);
  }
}

inline void AddDither(uint64_t seed, int64_t index, int64_t count, float stddev, float* samples) {
  const DitherKey key = MakeDitherKey(seed);
  const int64_t end = index + count;
  for (int64_t block = index / kDitherBlock; block * kDitherBlock < end; block++) {
    const int64_t begin = block * kDitherBlock;
    if (begin >= index && begin + kDitherBlock <= end) {
      DitherBlock(key, block, stddev, samples + (begin - index));
      continue;
    }
    float noise[kDitherBlock] = {};
    DitherBlock(key, block, stddev, noise);
    for (int i = 0; i < kDitherBlock; i++) {
      const int64_t at = begin + i - index;
      if (at >= 0 && at < count) samples[at] += noise[i];
    }
  }
}

}  // namespace KDSPEECH_VARIANT
}  // namespace kdspeech
