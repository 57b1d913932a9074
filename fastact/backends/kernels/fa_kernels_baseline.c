/* Compiled for what every CPU of the architecture has: SSE2 on x86-64, NEON (with FMA) on aarch64. */
#define FA_ISA baseline
#include "fa_kernels.inc"
