// The kernels for x86-64 with AVX-512 F, DQ, BW, VL (flags in CMakeLists.txt).
#ifdef __x86_64__
#define KDSPEECH_VARIANT avx512
#include "decode/kernel_impl.h"
#endif
