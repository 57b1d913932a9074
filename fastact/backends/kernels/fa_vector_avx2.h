/* AVX2 and FMA. What each name means: fa_vector.h. */

#include <immintrin.h>

#define FA_VECTOR_BYTES 32
#define FA_LANES FA_EITHER(8, 4)
#define FA_FMA 1
#define FA_MASKED 1
#define FA_ABREAST 2
#define FA_TILE_VECTORS 2
#define FA_GEMM_CHUNK 384
#define FA_PICKED 8
#define FA_EIGHT(...) {__VA_ARGS__}
#include "fa_vector.h"
#include "fa_vector_lane_masks.h"

#define FA_PX(name) FA_JOIN(name, FA_EITHER(_ps, _pd))

FA_INLINE vmask FN(vlt)(vreal a, vreal b) { return (vmask)(a < b); }
FA_INLINE vmask FN(vle)(vreal a, vreal b) { return (vmask)(a <= b); }
FA_INLINE vmask FN(veq)(vreal a, vreal b) { return (vmask)(a == b); }
FA_INLINE vreal FN(vselect)(vmask m, vreal a, vreal b) { return FA_PX(_mm256_blendv)(b, a, (vreal)m); }
FA_INLINE unsigned FN(vmask_bits)(vmask m) { return (unsigned)FA_PX(_mm256_movemask)((vreal)m); }

FA_INLINE vreal FN(vmin)(vreal a, vreal b) { return FA_PX(_mm256_min)(a, b); }
FA_INLINE vreal FN(vmax)(vreal a, vreal b) { return FA_PX(_mm256_max)(a, b); }
FA_INLINE vreal FN(vfma)(vreal a, vreal b, vreal c) { return FA_PX(_mm256_fmadd)(a, b, c); }
FA_INLINE vreal FN(vsqrt)(vreal a) { return FA_PX(_mm256_sqrt)(a); }

typedef vint FN(tail);
FA_INLINE FN(tail) FN(vtail)(ptrdiff_t n) { return (vint)(FN(vplaces)() < (sint)n); }
FA_INLINE vreal FN(vload_tail)(const real *p, FN(tail) t) { return FA_PX(_mm256_maskload)(p, (__m256i)t); }
FA_INLINE void FN(vstore_tail)(real *p, vreal v, FN(tail) t) { FA_PX(_mm256_maskstore)(p, (__m256i)t, v); }

#if FA_DOUBLE
FA_INLINE vreal FN(vload_bytes)(const uint8_t *p) {
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(bytes)));
}
FA_INLINE void FN(vstore_bytes)(uint8_t *p, vreal v) {
    const __m128i n = _mm256_cvttpd_epi32(v), words = _mm_packs_epi32(n, n);
    const int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    memcpy(p, &bytes, sizeof bytes);
}
#else
FA_INLINE vreal FN(vload_bytes)(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
FA_INLINE void FN(vstore_bytes)(uint8_t *p, vreal v) {
    const __m256i n = _mm256_cvttps_epi32(v);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(n), _mm256_extracti128_si256(n, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(words, words));
}
FA_INLINE vreal FN(vpick)(const real *row, vreal index) {
    return _mm256_permutevar8x32_ps(_mm256_load_ps(row), (__m256i)index);
}
#endif
FA_INLINE void FN(vstore_flags)(uint8_t *p, vmask m) { FN(vstore_bytes)(p, FN(vselect)(m, FN(vset)(1), FN(vset)(0))); }
