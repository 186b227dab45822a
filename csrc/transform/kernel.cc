#include "transform/kernel.h"

#include <string>

#include "feat/kernel.h"

namespace kdspeech {

namespace baseline {
extern const GmmKernel kGmmKernel;
}
#ifdef __x86_64__
namespace avx2 {
extern const GmmKernel kGmmKernel;
}
namespace avx512 {
extern const GmmKernel kGmmKernel;
}
#endif

const GmmKernel& ActiveGmmKernel() {
#ifdef __x86_64__
  const std::string name = ActiveKernel().name;
  if (name == avx512::kGmmKernel.name) return avx512::kGmmKernel;
  if (name == avx2::kGmmKernel.name) return avx2::kGmmKernel;
#endif
  return baseline::kGmmKernel;
}

}  // namespace kdspeech
