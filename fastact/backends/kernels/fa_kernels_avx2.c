/* Compiled with -mavx2 -mfma. */
#define FA_ISA avx2
#define FA_VECTOR "fa_vector_avx2.h"
#include "fa_kernels.inc"
