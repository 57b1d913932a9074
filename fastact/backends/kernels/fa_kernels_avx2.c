/* Compiled with -mavx2 -mfma. */
#define FA_ISA avx2
#include "fa_kernels.inc"
