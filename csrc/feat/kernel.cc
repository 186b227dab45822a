#include "feat/kernel.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "feat/error.h"

namespace kdspeech {

namespace baseline {
extern const Kernel kKernel;
}
#ifdef __x86_64__
namespace avx2 {
extern const Kernel kKernel;
}
namespace avx512 {
extern const Kernel kKernel;
}
#endif

namespace {

struct KernelList {
  const Kernel* kernels[4] = {&baseline::kKernel, nullptr, nullptr, nullptr};

  KernelList() {
#ifdef __x86_64__
    int size = 1;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      kernels[size++] = &avx2::kKernel;
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
      kernels[size++] = &avx512::kKernel;
    }
#endif
  }
};

}  // namespace

const Kernel* const* AvailableKernels() {
  static const KernelList list;
  return list.kernels;
}

const Kernel& ActiveKernel() {
  const char* wanted = std::getenv("KDSPEECH_SIMD");
  const bool any = wanted == nullptr || *wanted == '\0';
  const Kernel* found = nullptr;
  std::string names;
  for (const Kernel* const* k = AvailableKernels(); *k != nullptr; k++) {
    if (any || std::strcmp((*k)->name, wanted) == 0) found = *k;
    names += std::string(names.empty() ? "" : ", ") + (*k)->name;
  }
  if (found == nullptr) {
    throw InputError("KDSPEECH_SIMD = " + std::string(wanted) + ": this machine has " + names);
  }
  return *found;
}

}  // namespace kdspeech
