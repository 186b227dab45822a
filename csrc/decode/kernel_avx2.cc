// The kernels for x86-64 with AVX2 and FMA (flags in CMakeLists.txt).
#ifdef __x86_64__
#define KDSPEECH_VARIANT avx2
#include "decode/kernel_impl.h"
#endif
