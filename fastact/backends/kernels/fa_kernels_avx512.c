/* Compiled with -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma. */
#define FA_ISA avx512
#define FA_VECTOR "fa_vector_avx512.h"
#include "fa_kernels.inc"
