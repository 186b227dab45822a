// The loops over lattices that gain by SIMD, one variant each (as in feat/kernel.h, whose choice of
// a variant is followed).
#pragma once

#include <cstdint>

namespace kdspeech {

struct LatticeKernel {
  const char* name;

  // x = e^x for `count` doubles of at most 0, to 1e-15 of them; 0 below -708, NaN stays.
  void (*exp)(double* x, int64_t count);
};

// The variant that ActiveKernel() of feat/kernel.h names.
const LatticeKernel& ActiveLatticeKernel();

}  // namespace kdspeech
