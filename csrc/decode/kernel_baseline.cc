// The kernels for any machine: SSE2 on x86-64, NEON on 64-bit ARM.
#define KDSPEECH_VARIANT baseline
#include "decode/kernel_impl.h"
