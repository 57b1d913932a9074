/* The vector of this instruction set for this dtype, and the few operations that GNU vector syntax lacks.
 *
 * Included once per dtype (no include guard): `real` is float or double, FA_DOUBLE says which, FN(x) adds the dtype
 * to a name. Everything else in the kernels is written with + - * / < << & | on `vreal` and `vint`.
 *
 * Semantics that the kernels rely on, the same on every instruction set:
 *   vmin(a, b), vmax(a, b)   the second operand when the comparison is false (a NaN, or two zeros)
 *   vselect(m, a, b)         a where m is true, else b
 *   vfma(a, b, c)            a * b + c rounded once; in double on the x86-64 baseline: two roundings (see FA_HAS_FMA)
 */

#define vreal FN(vreal)
#define vint FN(vint)
#define vuint FN(vuint)
#define vmask FN(vmask)

typedef real vreal __attribute__((vector_size(FA_VECTOR_BYTES)));
typedef sint vint __attribute__((vector_size(FA_VECTOR_BYTES)));
typedef uint vuint __attribute__((vector_size(FA_VECTOR_BYTES)));
typedef real FN(vunaligned) __attribute__((vector_size(FA_VECTOR_BYTES), aligned(sizeof(real)), may_alias));

enum { FN(lanes) = FA_VECTOR_BYTES / (int)sizeof(real) };

FA_INLINE vreal FN(vset)(real s) {
    return s - (vreal){0}; /* s - 0 is s, for -0 too */
}

FA_INLINE vreal FN(vload)(const real *p) {
    return *(const FN(vunaligned) *)p;
}

FA_INLINE void FN(vstore)(real *p, vreal v) {
    *(FN(vunaligned) *)p = v;
}

/* The same, before what is stored in order after it: the scheduler may not swap them. A stream of stores that goes back and
 * forth within its cache lines takes up to half as long again. */
FA_INLINE void FN(vstore_in_order)(real *p, vreal v) {
    *(volatile FN(vunaligned) *)p = v;
}

/* The first n lanes from memory, zeros in the others. */
FA_INLINE vreal FN(vload_part)(const real *p, ptrdiff_t n) {
    real strip[FN(lanes)] = {0};
    memcpy(strip, p, (size_t)n * sizeof(real));
    return FN(vload)(strip);
}

FA_INLINE void FN(vstore_part)(real *p, vreal v, ptrdiff_t n) {
    real strip[FN(lanes)];
    FN(vstore)(strip, v);
    memcpy(p, strip, (size_t)n * sizeof(real));
}

FA_INLINE vint FN(vbits)(vreal v) {
    return (vint)v;
}

FA_INLINE vreal FN(vabs)(vreal v) {
    return (vreal)((vuint)v & ((uint)-1 >> 1));
}

/* v with its sign bit set where that of s is: the magnitude of v with the sign of s unless v is negative. */
FA_INLINE vreal FN(vsigned)(vreal v, vreal s) {
    return (vreal)((vuint)v | ((vuint)s & ~((uint)-1 >> 1)));
}

#if FA_VECTOR_BYTES == 64 && !FA_DOUBLE
typedef __mmask16 vmask;
FA_INLINE vreal FN(vfma)(vreal a, vreal b, vreal c) { return (vreal)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
FA_INLINE vreal FN(vmin)(vreal a, vreal b) { return (vreal)_mm512_min_ps((__m512)a, (__m512)b); }
FA_INLINE vreal FN(vmax)(vreal a, vreal b) { return (vreal)_mm512_max_ps((__m512)a, (__m512)b); }
FA_INLINE vreal FN(vsqrt)(vreal a) { return (vreal)_mm512_sqrt_ps((__m512)a); }
FA_INLINE vmask FN(vlt)(vreal a, vreal b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ); }
FA_INLINE vmask FN(vle)(vreal a, vreal b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LE_OQ); }
FA_INLINE vmask FN(veq)(vreal a, vreal b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_EQ_OQ); }
FA_INLINE vmask FN(vnot)(vmask m) { return (vmask)~m; }
FA_INLINE vmask FN(vand)(vmask a, vmask b) { return (vmask)(a & b); }
FA_INLINE vreal FN(vselect)(vmask m, vreal a, vreal b) { return (vreal)_mm512_mask_blend_ps(m, (__m512)b, (__m512)a); }
#elif FA_VECTOR_BYTES == 64
typedef __mmask8 vmask;
FA_INLINE vreal FN(vfma)(vreal a, vreal b, vreal c) { return (vreal)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
FA_INLINE vreal FN(vmin)(vreal a, vreal b) { return (vreal)_mm512_min_pd((__m512d)a, (__m512d)b); }
FA_INLINE vreal FN(vmax)(vreal a, vreal b) { return (vreal)_mm512_max_pd((__m512d)a, (__m512d)b); }
FA_INLINE vreal FN(vsqrt)(vreal a) { return (vreal)_mm512_sqrt_pd((__m512d)a); }
FA_INLINE vmask FN(vlt)(vreal a, vreal b) { return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LT_OQ); }
FA_INLINE vmask FN(vle)(vreal a, vreal b) { return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LE_OQ); }
FA_INLINE vmask FN(veq)(vreal a, vreal b) { return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_EQ_OQ); }
FA_INLINE vmask FN(vnot)(vmask m) { return (vmask)~m; }
FA_INLINE vmask FN(vand)(vmask a, vmask b) { return (vmask)(a & b); }
FA_INLINE vreal FN(vselect)(vmask m, vreal a, vreal b) { return (vreal)_mm512_mask_blend_pd(m, (__m512d)b, (__m512d)a); }
#else
typedef vint vmask;
FA_INLINE vmask FN(vnot)(vmask m) { return ~m; }
FA_INLINE vmask FN(vand)(vmask a, vmask b) { return a & b; }
#if FA_VECTOR_BYTES == 16 && defined(__x86_64__) /* GCC 12 fails on vector comparisons of doubles without SSE4.1 */
#if FA_DOUBLE
FA_INLINE vmask FN(vlt)(vreal a, vreal b) { return (vmask)_mm_cmplt_pd((__m128d)a, (__m128d)b); }
FA_INLINE vmask FN(vle)(vreal a, vreal b) { return (vmask)_mm_cmple_pd((__m128d)a, (__m128d)b); }
FA_INLINE vmask FN(veq)(vreal a, vreal b) { return (vmask)_mm_cmpeq_pd((__m128d)a, (__m128d)b); }
#else
FA_INLINE vmask FN(vlt)(vreal a, vreal b) { return (vmask)_mm_cmplt_ps((__m128)a, (__m128)b); }
FA_INLINE vmask FN(vle)(vreal a, vreal b) { return (vmask)_mm_cmple_ps((__m128)a, (__m128)b); }
FA_INLINE vmask FN(veq)(vreal a, vreal b) { return (vmask)_mm_cmpeq_ps((__m128)a, (__m128)b); }
#endif
#else
FA_INLINE vmask FN(vlt)(vreal a, vreal b) { return (vmask)(a < b); }
FA_INLINE vmask FN(vle)(vreal a, vreal b) { return (vmask)(a <= b); }
FA_INLINE vmask FN(veq)(vreal a, vreal b) { return (vmask)(a == b); }
#endif
#if FA_VECTOR_BYTES == 32 && !FA_DOUBLE
FA_INLINE vreal FN(vfma)(vreal a, vreal b, vreal c) { return (vreal)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
FA_INLINE vreal FN(vmin)(vreal a, vreal b) { return (vreal)_mm256_min_ps((__m256)a, (__m256)b); }
FA_INLINE vreal FN(vmax)(vreal a, vreal b) { return (vreal)_mm256_max_ps((__m256)a, (__m256)b); }
FA_INLINE vreal FN(vsqrt)(vreal a) { return (vreal)_mm256_sqrt_ps((__m256)a); }
FA_INLINE vreal FN(vselect)(vmask m, vreal a, vreal b) { return (vreal)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)m); }
#elif FA_VECTOR_BYTES == 32
FA_INLINE vreal FN(vfma)(vreal a, vreal b, vreal c) { return (vreal)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
FA_INLINE vreal FN(vmin)(vreal a, vreal b) { return (vreal)_mm256_min_pd((__m256d)a, (__m256d)b); }
FA_INLINE vreal FN(vmax)(vreal a, vreal b) { return (vreal)_mm256_max_pd((__m256d)a, (__m256d)b); }
FA_INLINE vreal FN(vsqrt)(vreal a) { return (vreal)_mm256_sqrt_pd((__m256d)a); }
FA_INLINE vreal FN(vselect)(vmask m, vreal a, vreal b) { return (vreal)_mm256_blendv_pd((__m256d)b, (__m256d)a, (__m256d)m); }
#else
FA_INLINE vreal FN(vselect)(vmask m, vreal a, vreal b) { return (vreal)(((vint)a & m) | ((vint)b & ~m)); }
#if defined(__aarch64__)
FA_INLINE vreal FN(vmin)(vreal a, vreal b) { return FN(vselect)(FN(vlt)(a, b), a, b); } /* vminq orders NaN otherwise */
FA_INLINE vreal FN(vmax)(vreal a, vreal b) { return FN(vselect)(FN(vlt)(b, a), a, b); }
#if FA_DOUBLE
FA_INLINE vreal FN(vfma)(vreal a, vreal b, vreal c) { return (vreal)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
FA_INLINE vreal FN(vsqrt)(vreal a) { return (vreal)vsqrtq_f64((float64x2_t)a); }
#else
FA_INLINE vreal FN(vfma)(vreal a, vreal b, vreal c) { return (vreal)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
FA_INLINE vreal FN(vsqrt)(vreal a) { return (vreal)vsqrtq_f32((float32x4_t)a); }
#endif
#elif FA_DOUBLE
FA_INLINE vreal FN(vfma)(vreal a, vreal b, vreal c) { return a * b + c; }
FA_INLINE vreal FN(vmin)(vreal a, vreal b) { return (vreal)_mm_min_pd((__m128d)a, (__m128d)b); }
FA_INLINE vreal FN(vmax)(vreal a, vreal b) { return (vreal)_mm_max_pd((__m128d)a, (__m128d)b); }
FA_INLINE vreal FN(vsqrt)(vreal a) { return (vreal)_mm_sqrt_pd((__m128d)a); }
#else
/* The product of two floats is exact in double: one rounding of the sum there, one to float. */
FA_INLINE vreal FN(vfma)(vreal a, vreal b, vreal c) {
    __m128 al = (__m128)a, bl = (__m128)b, cl = (__m128)c;
    __m128 ah = _mm_movehl_ps(al, al), bh = _mm_movehl_ps(bl, bl), ch = _mm_movehl_ps(cl, cl);
    __m128d low = _mm_add_pd(_mm_mul_pd(_mm_cvtps_pd(al), _mm_cvtps_pd(bl)), _mm_cvtps_pd(cl));
    __m128d high = _mm_add_pd(_mm_mul_pd(_mm_cvtps_pd(ah), _mm_cvtps_pd(bh)), _mm_cvtps_pd(ch));
    return (vreal)_mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}
FA_INLINE vreal FN(vmin)(vreal a, vreal b) { return (vreal)_mm_min_ps((__m128)a, (__m128)b); }
FA_INLINE vreal FN(vmax)(vreal a, vreal b) { return (vreal)_mm_max_ps((__m128)a, (__m128)b); }
FA_INLINE vreal FN(vsqrt)(vreal a) { return (vreal)_mm_sqrt_ps((__m128)a); }
#endif
#endif
#endif

/* One bit a lane, lane 0 lowest, from a mask and to a mask (bits above the lanes are ignored). */
FA_INLINE unsigned FN(vmask_bits)(vmask m) {
#if FA_VECTOR_BYTES == 64
    return (unsigned)m;
#elif FA_VECTOR_BYTES == 32 && FA_DOUBLE
    return (unsigned)_mm256_movemask_pd((__m256d)m);
#elif FA_VECTOR_BYTES == 32
    return (unsigned)_mm256_movemask_ps((__m256)m);
#elif defined(__x86_64__) && FA_DOUBLE
    return (unsigned)_mm_movemask_pd((__m128d)m);
#elif defined(__x86_64__)
    return (unsigned)_mm_movemask_ps((__m128)m);
#elif FA_DOUBLE
    return (unsigned)vaddvq_u64((uint64x2_t)(m & (vint){1, 2}));
#else
    return (unsigned)vaddvq_u32((uint32x4_t)(m & (vint){1, 2, 4, 8}));
#endif
}
FA_INLINE vmask FN(vmask_from_bits)(unsigned bits) {
#if FA_VECTOR_BYTES == 64
    return (vmask)bits;
#else
    vint lane;
    for (int i = 0; i < FN(lanes); i++) lane[i] = i;
    return -((((vint){0} + (sint)bits) >> lane) & 1);
#endif
}

#if !FA_DOUBLE
/* In every lane the one of 8 numbers whose place is in the lowest three bits of index; of 16, the same again, where there
 * are so many lanes. */
FA_INLINE vreal FN(vpick)(const real *row, vreal index) {
#if FA_VECTOR_BYTES == 64
    return (vreal)_mm512_permutexvar_ps((__m512i)index, _mm512_load_ps(row));
#elif FA_VECTOR_BYTES == 32
    return (vreal)_mm256_permutevar8x32_ps(_mm256_load_ps(row), (__m256i)index);
#elif defined(__aarch64__)
    const uint8x16x2_t bytes = {{vld1q_u8((const uint8_t *)row), vld1q_u8((const uint8_t *)(row + 4))}};
    const vuint first = ((vuint)index & 7) * 0x04040404 + 0x03020100;
    return (vreal)vqtbl2q_u8(bytes, (uint8x16_t)first);
#else
    const vuint place = (vuint)index & 7;
    return (vreal){row[place[0]], row[place[1]], row[place[2]], row[place[3]]};
#endif
}
#endif

/* The lanes of v whose bit is set, and their numbers counted from `first` on, stored without gaps; up to a whole vector
 * of memory is written. */
FA_INLINE void FN(vstore_packed)(real *p, vreal v, unsigned bits) {
#if FA_VECTOR_BYTES == 64 && FA_DOUBLE
    _mm512_storeu_pd(p, _mm512_maskz_compress_pd((__mmask8)bits, (__m512d)v));
#elif FA_VECTOR_BYTES == 64
    _mm512_storeu_ps(p, _mm512_maskz_compress_ps((__mmask16)bits, (__m512)v));
#else
    for (; bits; bits &= bits - 1) *p++ = v[__builtin_ctz(bits)];
#endif
}
FA_INLINE void FN(vstore_places)(int32_t *p, int32_t first, unsigned bits) {
#if FA_VECTOR_BYTES == 64
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i place = _mm512_add_epi32(lane, _mm512_set1_epi32(first));
    _mm512_storeu_si512(p, _mm512_maskz_compress_epi32((__mmask16)bits, place));
#else
    for (; bits; bits &= bits - 1) *p++ = first + __builtin_ctz(bits);
#endif
}

/* Lanes from bytes, and to bytes where they are whole numbers from 0 to 255. */
FA_INLINE vreal FN(vload_bytes)(const uint8_t *p) {
#if FA_VECTOR_BYTES == 64 && FA_DOUBLE
    return (vreal)_mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#elif FA_VECTOR_BYTES == 64
    return (vreal)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif FA_VECTOR_BYTES == 32 && !FA_DOUBLE
    return (vreal)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#else
    vreal v;
    for (int i = 0; i < FN(lanes); i++) v[i] = p[i];
    return v;
#endif
}
FA_INLINE void FN(vstore_bytes)(uint8_t *p, vreal v) {
#if FA_VECTOR_BYTES == 64 && FA_DOUBLE
    _mm_storel_epi64((__m128i *)p, _mm256_cvtepi32_epi8(_mm512_cvttpd_epi32((__m512d)v)));
#elif FA_VECTOR_BYTES == 64
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvttps_epi32((__m512)v)));
#elif FA_VECTOR_BYTES == 32 && !FA_DOUBLE
    __m256i n = _mm256_cvttps_epi32((__m256)v);
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(n), _mm256_extracti128_si256(n, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(words, words));
#else
    for (int i = 0; i < FN(lanes); i++) p[i] = (uint8_t)v[i];
#endif
}

/* A byte for each lane: 1 where m is true, else 0 */
FA_INLINE void FN(vstore_flags)(uint8_t *p, vmask m) {
#if FA_VECTOR_BYTES == 64 && FA_DOUBLE
    _mm_storel_epi64((__m128i *)p, _mm_maskz_set1_epi8(m, 1));
#elif FA_VECTOR_BYTES == 64
    _mm_storeu_si128((__m128i *)p, _mm_maskz_set1_epi8(m, 1));
#else
    FN(vstore_bytes)(p, FN(vselect)(m, FN(vset)(1), FN(vset)(0)));
#endif
}

/* a0 b0 a1 b1 ... of two vectors, and back */
#define FA_2(f, i) f(i), f(i + 1)
#define FA_4(f, i) FA_2(f, i), FA_2(f, i + 2)
#define FA_8(f, i) FA_4(f, i), FA_4(f, i + 4)
#define FA_16(f, i) FA_8(f, i), FA_8(f, i + 8)
#if FA_VECTOR_BYTES / (FA_DOUBLE + 1) == 64
#define FA_EACH(f) FA_16(f, 0)
#elif FA_VECTOR_BYTES / (FA_DOUBLE + 1) == 32
#define FA_EACH(f) FA_8(f, 0)
#elif FA_VECTOR_BYTES / (FA_DOUBLE + 1) == 16
#define FA_EACH(f) FA_4(f, 0)
#else
#define FA_EACH(f) FA_2(f, 0)
#endif
#define FA_ZIP_LOW(i) (i) / 2 + (i) % 2 * FN(lanes)
#define FA_ZIP_HIGH(i) ((i) + FN(lanes)) / 2 + (i) % 2 * FN(lanes)
#define FA_EVEN(i) 2 * (i)
#define FA_ODD(i) 2 * (i) + 1
#define FA_TURNED_8(i) ((i) + 8) % FN(lanes)
#define FA_TURNED_4(i) ((i) + 4) % FN(lanes)
#define FA_TURNED_2(i) ((i) + 2) % FN(lanes)
#define FA_TURNED_1(i) ((i) + 1) % FN(lanes)
typedef struct {
    vreal first, second;
} FN(vpair);
FA_INLINE FN(vpair) FN(vinterleave)(vreal a, vreal b) {
    return (FN(vpair)){FA_SHUFFLE(a, b, FA_EACH(FA_ZIP_LOW)), FA_SHUFFLE(a, b, FA_EACH(FA_ZIP_HIGH))};
}
FA_INLINE FN(vpair) FN(vdeinterleave)(vreal a, vreal b) {
    return (FN(vpair)){FA_SHUFFLE(a, b, FA_EACH(FA_EVEN)), FA_SHUFFLE(a, b, FA_EACH(FA_ODD))};
}
/* Lanes turned by n places, for n = 8, 4, 2, 1 (by n modulo the lanes) */
FA_INLINE vreal FN(vturn)(vreal v, int n) {
    return n == 8   ? FA_SHUFFLE(v, v, FA_EACH(FA_TURNED_8))
           : n == 4 ? FA_SHUFFLE(v, v, FA_EACH(FA_TURNED_4))
           : n == 2 ? FA_SHUFFLE(v, v, FA_EACH(FA_TURNED_2))
                    : FA_SHUFFLE(v, v, FA_EACH(FA_TURNED_1));
}
#undef FA_2
#undef FA_4
#undef FA_8
#undef FA_16
#undef FA_EACH
#undef FA_ZIP_LOW
#undef FA_ZIP_HIGH
#undef FA_EVEN
#undef FA_ODD
#undef FA_TURNED_8
#undef FA_TURNED_4
#undef FA_TURNED_2
#undef FA_TURNED_1

/* Rows to columns, of as many vectors as they have lanes: each turn interleaves the first half with the second. */
FA_INLINE void FN(vtranspose)(vreal *v) {
    enum { half = FN(lanes) / 2 };
    FA_UNROLL
    for (int turn = FN(lanes); turn > 1; turn /= 2) {
        vreal t[FN(lanes)];
        FA_UNROLL
        for (int i = 0; i < half; i++) {
            FN(vpair) p = FN(vinterleave)(v[i], v[i + half]);
            t[2 * i] = p.first, t[2 * i + 1] = p.second;
        }
        FA_UNROLL
        for (int i = 0; i < FN(lanes); i++) v[i] = t[i];
    }
}

/* Lane sum in one fixed order: halves added until one lane is left; and the largest lane. */
FA_INLINE real FN(vsum)(vreal v) {
    if (FN(lanes) > 8) v += FN(vturn)(v, 8);
    if (FN(lanes) > 4) v += FN(vturn)(v, 4);
    if (FN(lanes) > 2) v += FN(vturn)(v, 2);
    v += FN(vturn)(v, 1);
    return v[0];
}
FA_INLINE real FN(vlargest)(vreal v) {
    if (FN(lanes) > 8) v = FN(vmax)(v, FN(vturn)(v, 8));
    if (FN(lanes) > 4) v = FN(vmax)(v, FN(vturn)(v, 4));
    if (FN(lanes) > 2) v = FN(vmax)(v, FN(vturn)(v, 2));
    v = FN(vmax)(v, FN(vturn)(v, 1));
    return v[0];
}

/* 0, 1, 2, ... */
FA_INLINE vreal FN(vlane)(void) {
    vreal v;
    for (int i = 0; i < FN(lanes); i++) v[i] = (real)i;
    return v;
}

/* The first n lanes of a row's last vector, without touching memory beyond them: vtail(n) once, then load and store
 * with it. Lanes past n load as 0. Cheap enough for an inner loop where FA_MASKED; elsewhere through a strip. */
#if FA_VECTOR_BYTES == 64
#define FA_MASKED 1
typedef vmask FN(tail);
FA_INLINE FN(tail) FN(vtail)(ptrdiff_t n) {
    return (FN(tail))((1u << n) - 1);
}
#if FA_DOUBLE
FA_INLINE vreal FN(vload_tail)(const real *p, FN(tail) t) { return (vreal)_mm512_maskz_loadu_pd(t, p); }
FA_INLINE void FN(vstore_tail)(real *p, vreal v, FN(tail) t) { _mm512_mask_storeu_pd(p, t, (__m512d)v); }
#else
FA_INLINE vreal FN(vload_tail)(const real *p, FN(tail) t) { return (vreal)_mm512_maskz_loadu_ps(t, p); }
FA_INLINE void FN(vstore_tail)(real *p, vreal v, FN(tail) t) { _mm512_mask_storeu_ps(p, t, (__m512)v); }
#endif
#elif FA_VECTOR_BYTES == 32
#define FA_MASKED 1
typedef vint FN(tail);
FA_INLINE FN(tail) FN(vtail)(ptrdiff_t n) {
#if FA_DOUBLE
    const vint lane = {0, 1, 2, 3};
#else
    const vint lane = {0, 1, 2, 3, 4, 5, 6, 7};
#endif
    return (vint)(lane < (sint)n);
}
#if FA_DOUBLE
FA_INLINE vreal FN(vload_tail)(const real *p, FN(tail) t) { return (vreal)_mm256_maskload_pd(p, (__m256i)t); }
FA_INLINE void FN(vstore_tail)(real *p, vreal v, FN(tail) t) { _mm256_maskstore_pd(p, (__m256i)t, (__m256d)v); }
#else
FA_INLINE vreal FN(vload_tail)(const real *p, FN(tail) t) { return (vreal)_mm256_maskload_ps(p, (__m256i)t); }
FA_INLINE void FN(vstore_tail)(real *p, vreal v, FN(tail) t) { _mm256_maskstore_ps(p, (__m256i)t, (__m256)v); }
#endif
#else
#define FA_MASKED 0
typedef ptrdiff_t FN(tail);
FA_INLINE FN(tail) FN(vtail)(ptrdiff_t n) {
    return n;
}
FA_INLINE vreal FN(vload_tail)(const real *p, FN(tail) t) {
    return t == FN(lanes) ? FN(vload)(p) : FN(vload_part)(p, t);
}
FA_INLINE void FN(vstore_tail)(real *p, vreal v, FN(tail) t) {
    if (t == FN(lanes)) FN(vstore)(p, v);
    else FN(vstore_part)(p, v, t);
}
#endif

/* a * b + c for sums of products: one rounding where the instruction set has FMA, two where it has not. */
FA_INLINE vreal FN(vmul_add)(vreal a, vreal b, vreal c) {
#if FA_HAS_FMA
    return FN(vfma)(a, b, c);
#else
    return a * b + c;
#endif
}
