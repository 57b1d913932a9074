/* What the sets with vectors of 16 bytes share: tails go through a strip of memory, bytes lane by lane. */

#define FA_VECTOR_BYTES 16
#define FA_LANES FA_EITHER(4, 2)
#define FA_MASKED 0
#define FA_ABREAST 2
#define FA_GEMM_CHUNK 384
#define FA_PICKED 8
#define FA_EIGHT(...) {__VA_ARGS__}
#include "fa_vector.h"
#include "fa_vector_lane_masks.h"

FA_INLINE vreal FN(vselect)(vmask m, vreal a, vreal b) { return (vreal)(((vint)a & m) | ((vint)b & ~m)); }

typedef ptrdiff_t FN(tail);
FA_INLINE FN(tail) FN(vtail)(ptrdiff_t n) { return n; }
FA_INLINE vreal FN(vload_tail)(const real *p, FN(tail) t) {
    return t == FN(lanes) ? FN(vload)(p) : FN(vload_part)(p, t);
}
FA_INLINE void FN(vstore_tail)(real *p, vreal v, FN(tail) t) {
    if (t == FN(lanes)) FN(vstore)(p, v);
    else FN(vstore_part)(p, v, t);
}

FA_INLINE vreal FN(vload_bytes)(const uint8_t *p) {
    vreal v;
    for (int i = 0; i < FN(lanes); i++) v[i] = p[i];
    return v;
}
FA_INLINE void FN(vstore_bytes)(uint8_t *p, vreal v) {
    for (int i = 0; i < FN(lanes); i++) p[i] = (uint8_t)v[i];
}
FA_INLINE void FN(vstore_flags)(uint8_t *p, vmask m) { FN(vstore_bytes)(p, FN(vselect)(m, FN(vset)(1), FN(vset)(0))); }
