/* NEON, what every aarch64 has, FMA included. What each name means: fa_vector.h. */

#include <arm_neon.h>

#define FA_FMA 1
#define FA_TILE_VECTORS 4
#include "fa_vector_16_bytes.h"

#define FA_NEON(name) FA_JOIN(name, FA_EITHER(_f32, _f64))
typedef FA_EITHER(float32x4_t, float64x2_t) FN(neon);

FA_INLINE vmask FN(vlt)(vreal a, vreal b) { return (vmask)(a < b); }
FA_INLINE vmask FN(vle)(vreal a, vreal b) { return (vmask)(a <= b); }
FA_INLINE vmask FN(veq)(vreal a, vreal b) { return (vmask)(a == b); }

/* not vminq and vmaxq, which give NaN for any */
FA_INLINE vreal FN(vmin)(vreal a, vreal b) { return FN(vselect)(FN(vlt)(a, b), a, b); }
FA_INLINE vreal FN(vmax)(vreal a, vreal b) { return FN(vselect)(FN(vlt)(b, a), a, b); }
FA_INLINE vreal FN(vsqrt)(vreal a) { return (vreal)FA_NEON(vsqrtq)((FN(neon))a); }
FA_INLINE vreal FN(vfma)(vreal a, vreal b, vreal c) {
    return (vreal)FA_NEON(vfmaq)((FN(neon))c, (FN(neon))a, (FN(neon))b);
}

#if FA_DOUBLE
FA_INLINE unsigned FN(vmask_bits)(vmask m) { return (unsigned)vaddvq_u64((uint64x2_t)(m & (vint){1, 2})); }
#else
FA_INLINE unsigned FN(vmask_bits)(vmask m) { return (unsigned)vaddvq_u32((uint32x4_t)(m & (vint){1, 2, 4, 8})); }
FA_INLINE vreal FN(vpick)(const real *row, vreal index) {
    const uint8x16x2_t bytes = {{vld1q_u8((const uint8_t *)row), vld1q_u8((const uint8_t *)(row + 4))}};
    const vuint first = ((vuint)index & 7) * 0x04040404 + 0x03020100;
    return (vreal)vqtbl2q_u8(bytes, (uint8x16_t)first);
}
#endif
