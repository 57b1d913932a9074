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

/* a * b - p for a p close to a * b: exact where p is the rounded product */
FA_INLINE vreal FN(product_error)(vreal a, vreal b, vreal p) {
#if FA_HAS_FMA || !FA_DOUBLE
    return FN(vfma)(a, b, -p);
#else
    /* Veltkamp's split into halves of 26 bits, Dekker's product of them */
    const real splitter = (real)0x1p27 + 1;
    vreal ah = a * splitter, bh = b * splitter;
    ah -= ah - a, bh -= bh - b;
    vreal al = a - ah, bl = b - bh, rounded = a * b;
    return (rounded - p) + (((ah * bh - rounded) + ah * bl + al * bh) + al * bl);
#endif
}

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

/* its last bit is worth 1: adding it rounds */
#define FA_ROUNDER (FA_DOUBLE ? (real)0x1.8p52 : (real)0x1.8p23)
#define FA_LOG2E ((real)0x1.71547652b82fep0)
/* ln 2 in two parts, the first with so many zeros at its end that n * high is exact without FMA too */
#define FA_LN2_HIGH (FA_DOUBLE ? (real)0x1.62e42fefap-1 : (real)0x1.62e4p-1)
#define FA_LN2_LOW (FA_DOUBLE ? (real)0x1.cf79abc9e3b39p-40 : (real)0x1.7f7d1cp-20)

FA_INLINE FN(exp_core) FN(exp_reduce)(vreal x) {
    FN(exp_core) c;
    c.k = FN(vfma)(x, FN(vset)(FA_LOG2E), FN(vset)(FA_ROUNDER));
    vreal n = c.k - FA_ROUNDER;
    vreal r = FN(vfma)(n, FN(vset)(-FA_LN2_HIGH), x);
    r = FN(vfma)(n, FN(vset)(-FA_LN2_LOW), r);
    c.expm1 = FN(vfma)(r * r, FA_POLYNOMIAL(r, FN(exp_tail)), r);
    return c;
}

/* exp(x + low), for an x that is known better than a real can hold: |low| <= 2 ULP of x */
FA_INLINE FN(exp_core) FN(exp_reduce_pair)(vreal x, vreal low) {
    FN(exp_core) c;
    c.k = FN(vfma)(x, FN(vset)(FA_LOG2E), FN(vset)(FA_ROUNDER));
    vreal n = c.k - FA_ROUNDER;
    vreal r = FN(vfma)(n, FN(vset)(-FA_LN2_HIGH), x) + FN(vfma)(n, FN(vset)(-FA_LN2_LOW), low);
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

/* gelu and gelu_tanh are x G(x) with a gate G that goes from 0 to 1 as 1 - G(-x). With t = min(|x|, limit), the limit
 * so far out that the result is 0 there, they are max(x, 0) - t G(-t).
 *
 * G(-t) is a power of two, FA_GATE_SHIFT binades too high, times a part as many too low, so that nothing is subnormal
 * before the last operation, which alone rounds a subnormal result. */
#define FA_GATE_SHIFT (FA_DOUBLE ? 64 : 32)
#define FA_GATE_UNSCALE (FA_DOUBLE ? (real)0x1p-64 : (real)0x1p-32)

FA_INLINE vreal FN(gate_scale)(vreal k) {
    return (vreal)((FN(vbits)(k) + ((FA_DOUBLE ? 1023 : 127) + FA_GATE_SHIFT)) << (FA_DOUBLE ? 52 : 23));
}

/* grad times the slope: scale * slope at -t, 1 - that at t */
FA_INLINE vreal FN(gate_gradient)(vreal grad, vreal x, vreal slope, vreal scale) {
    vmask below = FN(vlt)(x, FN(vset)(0));
    vreal above = FN(vfma)(slope, -scale, FN(vset)(1));
    return grad * FN(vselect)(below, slope, above) * FN(vselect)(below, scale, FN(vset)(1));
}

/* For gelu, from bench/fit_polynomials.py, k = 1 / sqrt(2 pi):
 *
 *   t Phi(-t) exp(t^2 / 2) = k + tail(t) / denominator(t) on [13/16, 14.5] ([13/16, 39])
 *   gelu'(-t) exp(t^2 / 2) = (root - t) (k + slope(t) / denominator(t)) on [0, 14.5] ([0, 39])
 *   (1 - 2 Phi(-t)) / t = centre(-t^2 / 2) on [0, 13/16]
 *
 * The fractions vanish at infinity, and the rounding errors of both polynomials with them. tail and slope carry the
 * factor FA_GATE_UNSCALE. */
#if FA_DOUBLE
static const real FN(gelu_denominator)[] = {0x1.f19087ea242c7p17, 0x1.2678671493cf6p19, 0x1.441af05291ebbp19,
                                            0x1.b5f5b4b7bbcbp18, 0x1.93926a89f8824p17, 0x1.09fc190cb205p16,
                                            0x1.fe4cb2484011cp13, 0x1.61dd8abb32306p11, 0x1.56415530b13f9p8,
                                            0x1.a5b0e271b72e5p4, 0x1.p0};
static const real FN(gelu_tail)[] = {-0x1.8cffc476166a2p-48, -0x1.ba3fac50c387ap-48, -0x1.fb06296ec94f9p-49,
                                     -0x1.75f8a06426f5bp-50, -0x1.7def0b9900969p-52, -0x1.1275324c86f1bp-54,
                                     -0x1.0eafc0169f904p-57, -0x1.5075efe678777p-61, -0x1.98845382d39dep-66,
                                     0x1.7ea7b73b7c4e6p-100};
static const real FN(gelu_slope)[] = {0x1.08d6e36074e81p-48, 0x1.c328d91a9f319p-48, 0x1.72fb3b3f221e4p-48,
                                      0x1.7e4996af475efp-49, 0x1.0ec1b73c06f8cp-50, 0x1.1120dbfaf553ep-52,
                                      0x1.8946559922b98p-55, 0x1.87ca3da7bd9c1p-58, 0x1.eecb7fe087d03p-62,
                                      0x1.331e9a233bb51p-66};
static const real FN(gelu_centre)[] = {0x1.9884533d4365p-1, 0x1.1058377e2cd06p-2, 0x1.46d0429747a38p-4,
                                       0x1.37403f5c8e982p-6, 0x1.e42b065d4c966p-9, 0x1.3ce81084a1e5bp-11,
                                       0x1.65658830b8f1ep-14, 0x1.5ec3a33cc6902p-17, 0x1.0cdc82160c61ap-20};
#else
static const real FN(gelu_denominator)[] = {0x1.48a4ccp6f, 0x1.1966acp7f, 0x1.9e906ep6f, 0x1.4d6bdap5f, 0x1.2bf2a2p3f,
                                            0x1.p0f};
static const real FN(gelu_tail)[] = {-0x1.063844p-27f, -0x1.e1a122p-29f, -0x1.e31406p-31f, -0x1.96adc6p-34f,
                                     -0x1.4d4c36p-47f};
static const real FN(gelu_slope)[] = {0x1.5ddaf8p-28f, 0x1.6ee6d6p-28f, 0x1.57cca6p-29f, 0x1.51a384p-31f,
                                      0x1.331eacp-34f};
static const real FN(gelu_centre)[] = {0x1.988454p-1f, 0x1.1058aap-2f, 0x1.46e348p-4f, 0x1.37ab2ep-6f, 0x1.c5b3c6p-9f};
#endif

typedef struct {
    vmask near;  /* t < 13/16: t Phi(-t) is */
    vreal value; /* this, without an exponential */
    vreal tail, slope, scale; /* elsewhere it is scale * tail; the slope at -t is scale * slope everywhere */
} FN(gelu_parts);

FA_INLINE FN(gelu_parts) FN(gelu_at)(vreal x) {
    const real k = (real)0x1.9884533d43651p-2 * FA_GATE_UNSCALE;
    const real root = FA_DOUBLE ? (real)0x1.80ead197f00b4p-1 : (real)0x1.80ead2p-1;
    const real root_low = FA_DOUBLE ? (real)-0x1.13e74c58cada8p-56 : (real)-0x1.a03fd4p-27;
    FN(gelu_parts) g;
    vreal t = FN(vmin)(FN(vset)(FA_DOUBLE ? (real)39 : (real)14.5), FN(vabs)(x));
    vreal half = t * (real)-0.5, square = half * t;
    g.near = FN(vlt)(t, FN(vset)((real)0.8125));
    g.value = FN(vfma)(FA_POLYNOMIAL(square, FN(gelu_centre)), square, -half);

    FN(exp_core) e = FN(exp_reduce_pair)(square, FN(product_error)(half, t, square));
    vreal denominator = FA_POLYNOMIAL(t, FN(gelu_denominator));
    vreal tail = FA_POLYNOMIAL(t, FN(gelu_tail)) / denominator + k;
    vreal slope = FA_POLYNOMIAL(t, FN(gelu_slope)) / denominator + k;
    slope *= (root - t) + root_low;
    g.tail = FN(vfma)(tail, e.expm1, tail);
    g.slope = FN(vfma)(slope, e.expm1, slope);
    g.scale = FN(gate_scale)(e.k);
    return g;
}

/* For gelu_tanh, G the logistic function of 2u, u = sqrt(2/pi) (x + 0.044715 x^3): G(-t) = scale * tail, the slope at
 * -t is scale * slope. */
typedef struct {
    vreal t, tail, slope, scale;
} FN(gelu_tanh_parts);

FA_INLINE FN(gelu_tanh_parts) FN(gelu_tanh_at)(vreal x) {
    /* u is needed to 2^-30 (2^-60): -2u = t (linear + cubic t^2). The high part of linear is so short that
     * subtracting it again is exact. */
    const real linear = FA_DOUBLE ? (real)-0x1.9884533d4366p0 : (real)-0x1.98845p0;
    const real linear_low = FA_DOUBLE ? (real)0x1.ee5e069875fe9p-49 : (real)-0x1.9ea1b284687e6p-23;
    const real cubic = (real)-0x1.2444f2a4d8b4bp-4;
    const real cubic_low = FA_DOUBLE ? (real)0x1.6c843a29d1c7p-61 : (real)-0x1.49b1695e937bcp-29;
    const vreal one = FN(vset)(1);

    FN(gelu_tanh_parts) g;
    g.t = FN(vmin)(FN(vset)(FA_DOUBLE ? (real)21.75 : (real)10.875), FN(vabs)(x));
    vreal square = g.t * g.t, factor = FN(vfma)(FN(vset)(cubic), square, FN(vset)(linear));
    vreal low = FN(product_error)(FN(vset)(cubic), square, factor - linear);
    low = FN(vfma)(FN(vset)(cubic), FN(product_error)(g.t, g.t, square), low);
    low = FN(vfma)(FN(vset)(cubic_low), square, low) + linear_low;
    vreal u = g.t * factor;
    FN(exp_core) e = FN(exp_reduce_pair)(u, FN(vfma)(g.t, low, FN(product_error)(g.t, factor, u)));

    g.scale = FN(gate_scale)(e.k);
    const vreal one_scaled = FN(vset)(1 / FA_GATE_UNSCALE);
    vreal sum = FN(vfma)(e.expm1 + one, g.scale, one_scaled); /* 1 + exp(-2u) */
    vreal inverse = one / sum;
    g.tail = FN(vfma)(inverse, e.expm1, inverse);

    /* the slope is G(-t) (1 + exp(-2u) - t 2u') / (1 + exp(-2u)): what the roundings of the sum, of its inverse and of
     * 2u' left is put back into the middle factor, which cancels around its root and is large far out */
    vreal sum_low = FN(vfma)(e.expm1 + one, g.scale, one_scaled - sum);
    vreal inverse_low = FN(vfma)(inverse, -sum_low, FN(vfma)(inverse, -sum, one));
    const vreal triple = FN(vset)(3 * cubic / FA_GATE_UNSCALE), first = FN(vset)(linear / FA_GATE_UNSCALE);
    vreal derivative = FN(vfma)(triple, square, first);
    vreal derivative_low = FN(product_error)(triple, square, derivative - first) + linear_low / FA_GATE_UNSCALE;
    vreal factor_low = FN(vfma)(g.t, derivative_low, sum_low);
    vreal middle = FN(vfma)(g.t, derivative, sum);
    middle = FN(vfma)(g.t, derivative, sum + FN(vfma)(middle * (real)2, inverse_low, factor_low));
    g.slope = g.tail * (middle * inverse);
    return g;
}
