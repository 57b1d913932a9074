/* Branch-free pieces of the elementary functions, for one vector of `real`. Arguments and results in the comments.
 *
 * NaN passes through everything by arithmetic: clamps are written so that they keep it, and the garbage that the
 * integer path makes of it is multiplied by the NaN that the float path carries.
 */

/* sum of c[i] * x^i, Horner, c[0] last */
FA_INLINE vreal FN(polynomial)(vreal x, const real *c, int count) {
    vreal sum = FN(vset)(c[count - 1]);
    for (int i = count - 2; i >= 0; i--) sum = FN(vfma)(sum, x, FN(vset)(c[i]));
    return sum;
}
#define FA_POLYNOMIAL(x, c) FN(polynomial)(x, c, (int)(sizeof(c) / sizeof(c[0])))

/* (exp(r) - 1 - r) / r^2 on |r| <= ln(2)/2, from bench/fit_polynomials.py; exp is then right to 2^-28 (2^-57) */
#if FA_DOUBLE
static const real FN(exp_tail)[] = {0x1.000000000000ap-1, 0x1.5555555555507p-3, 0x1.55555555506cp-5,
                                    0x1.1111111124bdfp-7, 0x1.6c16c18475be2p-10, 0x1.a01a013987b25p-13,
                                    0x1.a0199962dff21p-16, 0x1.71df050f9e602p-19, 0x1.28adf924cf0cfp-22,
                                    0x1.adb09ae92a8c8p-26};
#else
static const real FN(exp_tail)[] = {0x1.fffffcp-2f, 0x1.555492p-3f, 0x1.5558aap-5f, 0x1.12396cp-7f, 0x1.6a523cp-10f};
#endif

/* x = n ln 2 + r with |r| <= ln(2)/2 and n whole; scale = 2^(n + shift), which must not leave the normal numbers but at
 * either end: 0 where n + shift is -127 (-1023), infinity where it is 128 (1024). */
typedef struct {
    vreal scale, r;
} FN(exp_reduced);

FA_INLINE FN(exp_reduced) FN(exp_reduce)(vreal x, int shift) {
    /* The last bit of 1.5 * 2^23 (2^52) is worth 1: adding it rounds. The exponent's bias rides along, so that the low
     * bits are the exponent field. */
    const real magic = (FA_DOUBLE ? (real)0x1.8p52 : (real)0x1.8p23) + (real)(shift + (FA_DOUBLE ? 1023 : 127));
    const real log2e = (real)0x1.71547652b82fep0;
    /* ln 2 in two parts, the first with so many zeros at its end that n * high is exact without FMA too */
    const real high = FA_DOUBLE ? (real)0x1.62e42fefap-1 : (real)0x1.62e4p-1;
    const real low = FA_DOUBLE ? (real)0x1.cf79abc9e3b39p-40 : (real)0x1.7f7d1cp-20;

    vreal k = FN(vfma)(x, FN(vset)(log2e), FN(vset)(magic));
    vreal n = k - magic;
    FN(exp_reduced) e;
    e.r = FN(vfma)(n, FN(vset)(-low), FN(vfma)(n, FN(vset)(-high), x));
    e.scale = (vreal)(FN(vbits)(k) << (FA_DOUBLE ? 52 : 23));
    return e;
}

/* exp(r) - 1 on |r| <= ln(2)/2 */
FA_INLINE vreal FN(expm1_core)(vreal r) {
    return FN(vfma)(r * r, FA_POLYNOMIAL(r, FN(exp_tail)), r);
}

/* exp(x) for x <= 0, times 2^FA_EXP_SHIFT: a normal number, or exactly 0 from -132.05 (-1063.6) down, where exp(x) is 0
 * whatever it is divided by. A caller multiplies by what else it has first and by FA_UNSCALE last, so that a subnormal
 * result is rounded once. */
#if FA_DOUBLE
#define FA_EXP_SHIFT 512
#define FA_UNSCALE 0x1p-512
#else
#define FA_EXP_SHIFT 64
#define FA_UNSCALE 0x1p-64f
#endif
#define FA_EXP_LOWEST (FA_DOUBLE ? (real)-1064 : (real)-132.4)

FA_INLINE vreal FN(exp_scaled)(vreal x) {
    FN(exp_reduced) e = FN(exp_reduce)(FN(vmax)(FN(vset)(FA_EXP_LOWEST), x), FA_EXP_SHIFT);
    return FN(vfma)(e.scale, FN(expm1_core)(e.r), e.scale);
}

/* exp(x) - 1 for x <= 0, with full relative accuracy at 0 (and +0 for -0) */
FA_INLINE vreal FN(expm1_negative)(vreal x) {
    FN(exp_reduced) e = FN(exp_reduce)(FN(vmax)(FN(vset)((real)(FA_DOUBLE ? -40 : -20)), x), 0); /* -1 long before */
    return FN(vfma)(e.scale, FN(expm1_core)(e.r), e.scale - (real)1);
}

/* 2^FA_EXP_SHIFT log(1 + e) for 0 <= e <= 1, given 2^FA_EXP_SHIFT e. Coefficients from bench/fit_polynomials.py. */
#if FA_DOUBLE
/* (2 atanh(s) - 2s) / s^3 in s^2 on [0, 1/9]; with s = e / (2 + e), log(1 + e) = 2 atanh(s) is then right to 2^-59 */
static const real FN(atanh_tail)[] = {0x1.5555555555535p-1, 0x1.99999999a0726p-2, 0x1.249249208f244p-2,
                                      0x1.c71c741a84176p-3, 0x1.745cb4540cc74p-3, 0x1.3b1dd36d9157cp-3,
                                      0x1.106839210c16fp-3, 0x1.efd09642828dap-4, 0x1.55d4a9320e888p-4,
                                      0x1.5c566cc5f214dp-3};
/* 2s = e - s e, so that the quotient's error only enters a correction */
FA_INLINE vreal FN(log1p_scaled)(vreal e_scaled) {
    vreal e = e_scaled * FA_UNSCALE;
    vreal s = e / (e + (real)2), w = s * s;
    vreal correction = s * FN(vfma)(-w, FA_POLYNOMIAL(w, FN(atanh_tail)), e);
    return FN(vfma)(correction, FN(vset)(-1 / FA_UNSCALE), e_scaled);
}
#else
/* (log(1 + e) - e) / e^2 to 2^-27.5: here a longer polynomial costs no more than the quotient, and is exacter */
static const real FN(log1p_tail)[] = {-0x1.ffffd2p-2f, 0x1.554dd4p-2f,  -0x1.ff2498p-3f,
                                      0x1.9350c2p-3f,  -0x1.3a5824p-3f, 0x1.b5051ap-4f,
                                      -0x1.d77c88p-5f, 0x1.4a1274p-6f,  -0x1.b1410cp-9f};
FA_INLINE vreal FN(log1p_scaled)(vreal e_scaled) {
    vreal e = e_scaled * FA_UNSCALE;
    return FN(vfma)(e_scaled * e, FA_POLYNOMIAL(e, FN(log1p_tail)), e_scaled);
}
#endif

/* (exp(2r) - 1) / r on |r| <= ln(2)/4: 2, and exp_tail times powers of two */
#if FA_DOUBLE
static const real FN(exp_double_tail)[] = {0x1.0p1, 0x1.000000000000ap1, 0x1.5555555555507p0, 0x1.55555555506cp-1,
                                           0x1.1111111124bdfp-2, 0x1.6c16c18475be2p-4, 0x1.a01a013987b25p-6,
                                           0x1.a0199962dff21p-8, 0x1.71df050f9e602p-10, 0x1.28adf924cf0cfp-12,
                                           0x1.adb09ae92a8c8p-15};
#else
static const real FN(exp_double_tail)[] = {0x1.0p1f,       0x1.fffffcp0f,  0x1.555492p0f,
                                           0x1.5558aap-1f, 0x1.12396cp-2f, 0x1.6a523cp-4f};
#endif

/* (tanh(x) - x) / x^3 in x^2 on [0, 0.3026], from bench/fit_polynomials.py */
#if FA_DOUBLE
static const real FN(tanh_tail)[] = {-0x1.555555555554fp-2, 0x1.111111111079p-3, -0x1.ba1ba1b97cb5p-5,
                                     0x1.664f4859416f4p-6, -0x1.226e2f0e72e08p-7, 0x1.d6d29aa2eff33p-9,
                                     -0x1.7d8fc75bf5c07p-10, 0x1.3483489d734a8p-11, -0x1.e96bb0b96fbc2p-13,
                                     0x1.5d688d1c25aeap-14, -0x1.46f3a2903d556p-16};
#else
static const real FN(tanh_tail)[] = {-0x1.55554ap-2f, 0x1.110cf0p-3f, -0x1.b91f02p-5f, 0x1.58ea70p-6f, -0x1.99459ap-8f};
#endif

/* ((x - tanh(x)) / x^3 - 1/3) / x^2 in x^2 on [0, 1.57], from bench/fit_polynomials.py */
#if FA_DOUBLE
static const real FN(tanh_shrink_tail)[] = {-0x1.11111111110efp-3, 0x1.ba1ba1ba18873p-5, -0x1.664f4881f45a5p-6,
                                            0x1.226e35436b755p-7, -0x1.d6d3cc9531a44p-9, 0x1.7da32a5cac0c6p-10,
                                            -0x1.3555ff5b118d2p-11, 0x1.f55fbde721731p-13, -0x1.95e32d9020e7ep-14,
                                            0x1.4711a9f625cd3p-15, -0x1.03863e6273dd3p-16, 0x1.8bdb542913ef3p-18,
                                            -0x1.1667d5ad6f5f5p-19, 0x1.551232f3e0f32p-21, -0x1.53340ad8dd42dp-23,
                                            0x1.f51897e29c69dp-26, -0x1.e03408da6e0ffp-29, 0x1.baaf2c0e17a96p-33};
#else
static const real FN(tanh_shrink_tail)[] = {-0x1.11110cp-3f, 0x1.ba1972p-5f, -0x1.66265ep-6f, 0x1.20f4c2p-7f,
                                            -0x1.c7241ep-9f, 0x1.4960dap-10f, -0x1.85699cp-12f, 0x1.3970d8p-14f,
                                            -0x1.e9b316p-18f};
#endif

/* a * b - p, exactly, for p = a * b rounded */
FA_INLINE vreal FN(product_error)(vreal a, vreal b, vreal p) {
#if FA_HAS_FMA || !FA_DOUBLE
    return FN(vfma)(a, b, -p);
#else
    /* Veltkamp's splitting and Dekker's product */
    vreal a_high = a * 0x1.0000002p27, b_high = b * 0x1.0000002p27;
    a_high -= a_high - a, b_high -= b_high - b;
    vreal a_low = a - a_high, b_low = b - b_high;
    return ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low;
#endif
}

/* Where an exponential is divided by or into the result (sigmoid, silu, swish, mish), that is scaled by 2^FA_TAIL. From
 * FA_LOWEST down exp(x) * 2^FA_TAIL is exactly 0: there x * exp(x) is less than half the smallest number, and 2^20
 * times as much is not normal. exp(FA_WIDE) is so much more than 1 that slopes are 1 from there on. */
#if FA_DOUBLE
#define FA_TAIL 64
#define FA_TAIL_UNSCALE 0x1p-64
#define FA_LOWEST -753.4
#define FA_WIDE 44.0
#else
#define FA_TAIL 32
#define FA_TAIL_UNSCALE 0x1p-32f
#define FA_LOWEST -110.2f
#define FA_WIDE 22.0f
#endif
