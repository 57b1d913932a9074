/* SSE2, what every x86-64 has: no FMA, no blend, no masked memory. What each name means: fa_vector.h. */

#include <immintrin.h>

#define FA_FMA 0
#define FA_TILE_VECTORS 2
#include "fa_vector_16_bytes.h"

#define FA_PX(name) FA_JOIN(name, FA_EITHER(_ps, _pd))

/* by name: GCC 12 fails on a < b of doubles without SSE4.1 */
FA_INLINE vmask FN(vlt)(vreal a, vreal b) { return (vmask)FA_PX(_mm_cmplt)(a, b); }
FA_INLINE vmask FN(vle)(vreal a, vreal b) { return (vmask)FA_PX(_mm_cmple)(a, b); }
FA_INLINE vmask FN(veq)(vreal a, vreal b) { return (vmask)FA_PX(_mm_cmpeq)(a, b); }
FA_INLINE unsigned FN(vmask_bits)(vmask m) { return (unsigned)FA_PX(_mm_movemask)((vreal)m); }

FA_INLINE vreal FN(vmin)(vreal a, vreal b) { return FA_PX(_mm_min)(a, b); }
FA_INLINE vreal FN(vmax)(vreal a, vreal b) { return FA_PX(_mm_max)(a, b); }
FA_INLINE vreal FN(vsqrt)(vreal a) { return FA_PX(_mm_sqrt)(a); }

#if FA_DOUBLE
FA_INLINE vreal FN(vfma)(vreal a, vreal b, vreal c) { return a * b + c; }
#else
/* The product of two floats is exact in double: one rounding of the sum there, one to float. */
FA_INLINE vreal FN(vfma)(vreal a, vreal b, vreal c) {
    const vreal ah = _mm_movehl_ps(a, a), bh = _mm_movehl_ps(b, b), ch = _mm_movehl_ps(c, c);
    const __m128d low = _mm_add_pd(_mm_mul_pd(_mm_cvtps_pd(a), _mm_cvtps_pd(b)), _mm_cvtps_pd(c));
    const __m128d high = _mm_add_pd(_mm_mul_pd(_mm_cvtps_pd(ah), _mm_cvtps_pd(bh)), _mm_cvtps_pd(ch));
    return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}
FA_INLINE vreal FN(vpick)(const real *row, vreal index) {
    const vuint place = (vuint)index & 7;
    return (vreal){row[place[0]], row[place[1]], row[place[2]], row[place[3]]};
}
#endif
