#include "decode/kernel.h"

#include <string>

#include "feat/kernel.h"

namespace kdspeech {

namespace baseline {
extern const LatticeKernel kLatticeKernel;
}
#ifdef __x86_64__
namespace avx2 {
extern const LatticeKernel kLatticeKernel;
}
namespace avx512 {
extern const LatticeKernel kLatticeKernel;
}
#endif

const LatticeKernel& ActiveLatticeKernel() {
#ifdef __x86_64__
  const std::string name = ActiveKernel().name;
  if (name == avx512::kLatticeKernel.name) return avx512::kLatticeKernel;
  if (name == avx2::kLatticeKernel.name) return avx2::kLatticeKernel;
#endif
  return baseline::kLatticeKernel;
}

}  // namespace kdspeech
