/* Branch-free pieces of the elementary functions, for one vector of `real`. Arguments and results in the comments.
 *
 * NaN passes through everything by arithmetic: clamps are written so that they keep it, and the garbage that the
 * integer path makes of it is multiplied by the NaN that the float path carries.
 */

/* exp(-t) for t >= 0, as mantissa * scale * FA_UNSCALE:
 * mantissa in [0.70, 1.42], scale a power of two so far above the truth that it is always a normal number. A caller
 * multiplies by whatever else it has first and by FA_UNSCALE last, so that a subnormal result is rounded once. */
typedef struct {
    vreal mantissa, scale;
} FN(exp_parts);

#if FA_DOUBLE
#define FA_EXP_SHIFT 512
#define FA_UNSCALE 0x1p-512
#else
#define FA_EXP_SHIFT 64
#define FA_UNSCALE 0x1p-64f
#endif

/* sum of c[i] * x^i, Horner, c[0] last */
FA_INLINE vreal FN(polynomial)(vreal x, const real *c, int count) {
    vreal sum = FN(vset)(c[count - 1]);
    for (int i = count - 2; i >= 0; i--) sum = FN(vfma)(sum, x, FN(vset)(c[i]));
    return sum;
}
#define FA_POLYNOMIAL(x, c) FN(polynomial)(x, c, (int)(sizeof(c) / sizeof(c[0])))

/* (exp(r) - 1 - r) / r^2 on |r| <= ln(2)/2, from bench/fit_polynomials.py; exp is then right to 2^-28 (2^-57) */
#if FA_DOUBLE
static const real FN(exp_tail)[] = {0x1.000000000000ap-1,  0x1.5555555555507p-3,  0x1.55555555506c0p-5,  0x1.1111111124bdfp-7,
                                    0x1.6c16c18475be2p-10, 0x1.a01a013987b25p-13, 0x1.a0199962dff21p-16, 0x1.71df050f9e602p-19,
                                    0x1.28adf924cf0cfp-22, 0x1.adb09ae92a8c8p-26};
#else
static const real FN(exp_tail)[] = {0x1.fffffcp-2f, 0x1.555492p-3f, 0x1.5558aap-5f, 0x1.12396cp-7f, 0x1.6a523cp-10f};
#endif

/* exp(x) = 2^n * (1 + expm1), with n = round(x / ln 2) in the low bits of k */
typedef struct {
    vreal k, expm1;
} FN(exp_core);

FA_INLINE FN(exp_core) FN(exp_reduce)(vreal x) {
    const real magic = FA_DOUBLE ? (real)0x1.8p52 : (real)0x1.8p23; /* its last bit is worth 1: adding it rounds */
    const real log2e = (real)0x1.71547652b82fep0;
    /* ln 2 in two parts, the first with so many zeros at its end that n * high is exact without FMA too */
    const real high = FA_DOUBLE ? (real)0x1.62e42fefap-1 : (real)0x1.62e4p-1;
    const real low = FA_DOUBLE ? (real)0x1.cf79abc9e3b39p-40 : (real)0x1.7f7d1cp-20;

    FN(exp_core) c;
    c.k = FN(vfma)(x, FN(vset)(log2e), FN(vset)(magic));
    vreal n = c.k - magic;
    vreal r = FN(vfma)(n, FN(vset)(-high), x);
    r = FN(vfma)(n, FN(vset)(-low), r);
    c.expm1 = FN(vfma)(r * r, FA_POLYNOMIAL(r, FN(exp_tail)), r);
    return c;
}

FA_INLINE FN(exp_parts) FN(exp_negative)(vreal t) {
    /* Below the limit the result is 0 however often it is scaled; the clamp keeps the shift inside the exponent. */
    const real limit = FA_DOUBLE ? (real)746 : (real)104;
    FN(exp_core) c = FN(exp_reduce)(-FN(vmin)(FN(vset)(limit), t));
    FN(exp_parts) e;
    e.mantissa = c.expm1 + (real)1;
    e.scale = (vreal)((FN(vbits)(c.k) + ((FA_DOUBLE ? 1023 : 127) + FA_EXP_SHIFT)) << (FA_DOUBLE ? 52 : 23));
    return e;
}

/* exp(-t) - 1 for t >= 0, with full relative accuracy at 0 */
FA_INLINE vreal FN(expm1_negative)(vreal t) {
    FN(exp_core) c = FN(exp_reduce)(-FN(vmin)(FN(vset)((real)(FA_DOUBLE ? 40 : 20)), t)); /* -1 long before */
    vreal scale = (vreal)((FN(vbits)(c.k) + (FA_DOUBLE ? 1023 : 127)) << (FA_DOUBLE ? 52 : 23));
    return FN(vfma)(scale, c.expm1, scale - (real)1);
}

/* (2 atanh(s) - 2 s) / s^3 in w = s^2, s <= (sqrt 2 - 1) / (sqrt 2 + 1); log is then right to 2^-30 (2^-59) */
#if FA_DOUBLE
static const real FN(log_tail)[] = {0x1.5555555555592p-1, 0x1.999999997ff00p-2, 0x1.24924941e3dafp-2, 0x1.c71c52117b3e5p-3,
                                    0x1.74663da699d57p-3, 0x1.39a1d294a8022p-3, 0x1.2f04be9355507p-3};
#else
static const real FN(log_tail)[] = {0x1.55557ap-1f, 0x1.995ed8p-2f, 0x1.31e046p-2f};
#endif

/* log(x) for finite x >= 1; NaN for NaN and infinity */
FA_INLINE vreal FN(log_above_one)(vreal x) {
    const int digits = FA_DOUBLE ? 52 : 23;
    const real magic = FA_DOUBLE ? (real)0x1p52 : (real)0x1p23; /* an integer below 2^digits or-ed in counts ones */
    const uint half = FA_DOUBLE ? (uint)0x3fe6a09e667f3bcd : (uint)0x3f3504f3; /* sqrt(1/2) */
    vuint k = ((vuint)x - half) >> digits;
    vreal m = (vreal)((vuint)x - (k << digits)); /* in [sqrt(1/2), sqrt(2)) */
    vreal n = (vreal)(k | (vuint)FN(vset)(magic)) - magic;
    vreal s = (m - (real)1) / (m + (real)1);
    vreal tail = s * s * s;
    tail = FN(vfma)(tail, FA_POLYNOMIAL(s * s, FN(log_tail)), s + s);
    tail = FN(vfma)(n, FN(vset)(FA_DOUBLE ? (real)0x1.cf79abc9e3b39p-40 : (real)0x1.7f7d1cp-20), tail);
    tail = FN(vfma)(n, FN(vset)(FA_DOUBLE ? (real)0x1.62e42fefap-1 : (real)0x1.62e4p-1), tail);
    return tail + (x - x);
}
