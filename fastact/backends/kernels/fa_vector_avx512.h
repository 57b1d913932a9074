/* AVX-512 with DQ, BW and VL: a bit of a mask for each lane. What each name means: fa_vector.h. */

#include <immintrin.h>

#define FA_VECTOR_BYTES 64
#define FA_LANES FA_EITHER(16, 8)
#define FA_FMA 1
#define FA_MASKED 1
#define FA_ABREAST 4
#define FA_TILE_VECTORS 4
#define FA_GEMM_CHUNK 512
#define FA_PICKED 16
#define FA_EIGHT(...) {__VA_ARGS__, __VA_ARGS__}
#include "fa_vector.h"

#define FA_PX(name) FA_JOIN(name, FA_EITHER(_ps, _pd))
#define FA_PX_MASK(name) FA_JOIN(name, FA_EITHER(_ps_mask, _pd_mask))

typedef FA_EITHER(__mmask16, __mmask8) vmask;
FA_INLINE vmask FN(vlt)(vreal a, vreal b) { return FA_PX_MASK(_mm512_cmp)(a, b, _CMP_LT_OQ); }
FA_INLINE vmask FN(vle)(vreal a, vreal b) { return FA_PX_MASK(_mm512_cmp)(a, b, _CMP_LE_OQ); }
FA_INLINE vmask FN(veq)(vreal a, vreal b) { return FA_PX_MASK(_mm512_cmp)(a, b, _CMP_EQ_OQ); }
FA_INLINE vmask FN(vnot)(vmask m) { return (vmask)~m; }
FA_INLINE vmask FN(vand)(vmask a, vmask b) { return (vmask)(a & b); }
FA_INLINE vreal FN(vselect)(vmask m, vreal a, vreal b) { return FA_PX(_mm512_mask_blend)(m, b, a); }
FA_INLINE unsigned FN(vmask_bits)(vmask m) { return (unsigned)m; }
FA_INLINE vmask FN(vmask_from_bits)(unsigned bits) { return (vmask)bits; }

FA_INLINE vreal FN(vmin)(vreal a, vreal b) { return FA_PX(_mm512_min)(a, b); }
FA_INLINE vreal FN(vmax)(vreal a, vreal b) { return FA_PX(_mm512_max)(a, b); }
FA_INLINE vreal FN(vfma)(vreal a, vreal b, vreal c) { return FA_PX(_mm512_fmadd)(a, b, c); }
FA_INLINE vreal FN(vsqrt)(vreal a) { return FA_PX(_mm512_sqrt)(a); }

typedef vmask FN(tail);
FA_INLINE FN(tail) FN(vtail)(ptrdiff_t n) { return (FN(tail))((1u << n) - 1); }
FA_INLINE vreal FN(vload_tail)(const real *p, FN(tail) t) { return FA_PX(_mm512_maskz_loadu)(t, p); }
FA_INLINE void FN(vstore_tail)(real *p, vreal v, FN(tail) t) { FA_PX(_mm512_mask_storeu)(p, t, v); }

FA_INLINE void FN(vstore_packed)(real *p, vreal v, unsigned bits) {
    FA_PX(_mm512_storeu)(p, FA_PX(_mm512_maskz_compress)((vmask)bits, v));
}
FA_INLINE void FN(vstore_places)(int32_t *p, int32_t first, unsigned bits) {
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i place = _mm512_add_epi32(lane, _mm512_set1_epi32(first));
    _mm512_storeu_si512(p, _mm512_maskz_compress_epi32((__mmask16)bits, place));
}

#if FA_DOUBLE
FA_INLINE vreal FN(vload_bytes)(const uint8_t *p) {
    return _mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
FA_INLINE void FN(vstore_bytes)(uint8_t *p, vreal v) {
    _mm_storel_epi64((__m128i *)p, _mm256_cvtepi32_epi8(_mm512_cvttpd_epi32(v)));
}
FA_INLINE void FN(vstore_flags)(uint8_t *p, vmask m) {
    _mm_storel_epi64((__m128i *)p, _mm_maskz_set1_epi8(m, 1));
}
#else
FA_INLINE vreal FN(vload_bytes)(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
FA_INLINE void FN(vstore_bytes)(uint8_t *p, vreal v) {
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(v)));
}
FA_INLINE void FN(vstore_flags)(uint8_t *p, vmask m) {
    _mm_storeu_si128((__m128i *)p, _mm_maskz_set1_epi8(m, 1));
}
FA_INLINE vreal FN(vpick)(const real *row, vreal index) {
    return _mm512_permutexvar_ps((__m512i)index, _mm512_load_ps(row));
}
#endif
