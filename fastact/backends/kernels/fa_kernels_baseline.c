/* Compiled for what every CPU of the architecture has: SSE2 on x86-64, NEON (with FMA) on aarch64. */
#define FA_ISA baseline
#if defined(__x86_64__)
#define FA_VECTOR "fa_vector_sse2.h"
#elif defined(__aarch64__)
#define FA_VECTOR "fa_vector_neon.h"
#else
#error "fastact has kernels for x86-64 and aarch64"
#endif
#include "fa_kernels.inc"
