/* Compiled with -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma. */
#define FA_ISA avx512
#include "fa_kernels.inc"
