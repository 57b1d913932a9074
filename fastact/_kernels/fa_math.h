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

/* gelu and gelu_tanh are x G(x) with a gate G that goes from 0 to 1 as 1 - G(-x). With t = min(|x|, limit), they are
 * max(x, 0) - t G(-t). The limit is where gate_scale has come down to 0 exactly, so that what lies beyond is 0 too.
 *
 * G(-t) is a power of two, FA_GATE_SHIFT binades too high, times a part as many too low, so that nothing is subnormal
 * before the last operation, which alone rounds a subnormal result. */
#define FA_GATE_SHIFT (FA_DOUBLE ? 64 : 32)
#define FA_GATE_UNSCALE (FA_DOUBLE ? (real)0x1p-64 : (real)0x1p-32)

FA_INLINE vreal FN(gate_scale)(vreal k) {
    return (vreal)((FN(vbits)(k) + ((FA_DOUBLE ? 1023 : 127) + FA_GATE_SHIFT)) << (FA_DOUBLE ? 52 : 23));
}

/* grad times the slope: scale * slope at -t, 1 - that at t; near where |x| < 1/2, as there it has fewer roundings */
FA_INLINE vreal FN(gate_gradient)(vreal grad, vreal x, vreal near, vreal slope, vreal scale) {
    vmask below = FN(vlt)(x, FN(vset)(0));
    vreal above = FN(vfma)(slope, -scale, FN(vset)(1));
    vreal far = grad * FN(vselect)(below, slope, above) * FN(vselect)(below, scale, FN(vset)(1));
    return FN(vselect)(FN(vlt)(FN(vabs)(x), FN(vset)((real)0.5)), grad * near, far);
}

/* For gelu, from bench/fit_polynomials.py, k = 1 / sqrt(2 pi):
 *
 *   t Phi(-t) exp(t^2 / 2) = k + tail(t) / denominator(t) on [13/16, 14.85] ([13/16, 38.82])
 *   gelu'(-t) exp(t^2 / 2) = (root - t) (k + slope(t) / denominator(t)) on [0, 14.85] ([0, 38.82])
 *   (1 - 2 Phi(-t)) / t = centre(-t^2 / 2) on [0, 13/16]
 *   (gelu'(x) - 1/2) / x = near(-x^2 / 2) on [-1/2, 1/2], the same for gelu_tanh in x^2
 *
 * The fractions vanish at infinity, and the rounding errors of both polynomials with them. tail and slope carry the
 * factor FA_GATE_UNSCALE. */
#if FA_DOUBLE
static const real FN(gelu_denominator)[] = {0x1.0837bc55b8209p18, 0x1.37ae1182be231p19, 0x1.55c978c94871bp19,
                                            0x1.cc00ecb95f9d7p18, 0x1.a604e732c7249p17, 0x1.14c899f891d74p16,
                                            0x1.080cbcee7616bp14, 0x1.6be86d3ef83bp11, 0x1.5d61658e12c79p8,
                                            0x1.aaa22ae7d391ep4, 0x1.p0};
static const real FN(gelu_tail)[] = {-0x1.a5a166cf0bf88p-48, -0x1.d24d95574eff3p-48, -0x1.09bca7cea2e91p-48,
                                     -0x1.85bab76ea58e7p-50, -0x1.8b9a6f3a08c59p-52, -0x1.1a60cbbaacf7ep-54,
                                     -0x1.145f251fd5a46p-57, -0x1.54677c749420cp-61, -0x1.988453977a197p-66,
                                     0x1.f709393c095b2p-100};
static const real FN(gelu_slope)[] = {0x1.194565c926376p-48, 0x1.dce4b98604c69p-48, 0x1.86547579f483p-48,
                                      0x1.904a61fd342bdp-49, 0x1.1a09faebcaa5dp-50, 0x1.1ae1da6ccf2e4p-52,
                                      0x1.94af3a25e1821p-55, 0x1.901fac8c6f1dp-58, 0x1.f4b971067accp-62,
                                      0x1.331e9a233c3b7p-66};
static const real FN(gelu_centre)[] = {0x1.9884533d4365p-1, 0x1.1058377e2cd06p-2, 0x1.46d0429747a38p-4,
                                       0x1.37403f5c8e982p-6, 0x1.e42b065d4c966p-9, 0x1.3ce81084a1e5bp-11,
                                       0x1.65658830b8f1ep-14, 0x1.5ec3a33cc6902p-17, 0x1.0cdc82160c61ap-20};
static const real FN(gelu_near)[] = {0x1.9884533d4364ep-1, 0x1.1058377e2cbap-1, 0x1.ea3863e2cc723p-3,
                                     0x1.37403f4e5c393p-4, 0x1.2e9adceea9286p-6, 0x1.db585e5702ab3p-9,
                                     0x1.3830714a46f77p-11, 0x1.4ac735a088bdap-14};
static const real FN(gelu_tanh_near)[] = {0x1.9884533d43651p-1, -0x1.11b14cd369509p-2, 0x1.f56d4b9ae928fp-5,
                                          -0x1.45da42de5bfb2p-7, 0x1.34c30692e90cbp-10, -0x1.603be7208923cp-14,
                                          -0x1.f10aaf5e169fbp-19, 0x1.62ee045e687afp-19, -0x1.03bfb5d57f8dbp-21,
                                          -0x1.b5b1b1856a7d8p-27};
#else
static const real FN(gelu_denominator)[] = {0x1.5b97e8p6f, 0x1.27ed2cp7f, 0x1.b0edd2p6f, 0x1.591614p5f, 0x1.32b11cp3f,
                                            0x1.p0f};
static const real FN(gelu_tail)[] = {-0x1.15565ap-27f, -0x1.f2925ep-29f, -0x1.ee871ap-31f, -0x1.965eep-34f,
                                     -0x1.86fffep-47f};
static const real FN(gelu_slope)[] = {0x1.72072ep-28f, 0x1.807024p-28f, 0x1.649ffap-29f, 0x1.59bafcp-31f,
                                      0x1.331e78p-34f};
static const real FN(gelu_centre)[] = {0x1.988454p-1f, 0x1.1058aap-2f, 0x1.46e348p-4f, 0x1.37ab2ep-6f, 0x1.c5b3c6p-9f};
static const real FN(gelu_near)[] = {0x1.988454p-1f, 0x1.105876p-1f, 0x1.ea4f16p-3f, 0x1.38af06p-4f, 0x1.35f368p-6f};
static const real FN(gelu_tanh_near)[] = {0x1.988454p-1f, -0x1.11b18cp-2f, 0x1.f584acp-5f, -0x1.47668cp-7f,
                                          0x1.4052cap-10f};
#endif

typedef struct {
    vmask centre; /* t < 13/16: t Phi(-t) is */
    vreal value;  /* this, without an exponential; elsewhere scale * tail */
    vreal near;   /* the slope where t < 1/2; elsewhere scale * slope at -t */
    vreal tail, slope, scale;
} FN(gelu_parts);

FA_INLINE FN(gelu_parts) FN(gelu_at)(vreal x) {
    const real k = (real)0x1.9884533d43651p-2 * FA_GATE_UNSCALE;
    const real root = (real)0.75, root_low = (real)0x1.d5a32fe0167bbp-10; /* root - t is exact for t >= 3/8 */
    FN(gelu_parts) g;
    vreal t = FN(vmin)(FN(vset)(FA_DOUBLE ? (real)38.819 : (real)14.85), FN(vabs)(x));
    vreal half = t * (real)-0.5, square = half * t;
    g.centre = FN(vlt)(t, FN(vset)((real)0.8125));
    g.value = FN(vfma)(FA_POLYNOMIAL(square, FN(gelu_centre)), square, -half);
    g.near = FN(vfma)(FA_POLYNOMIAL(square, FN(gelu_near)), x, FN(vset)((real)0.5));

    FN(exp_core) e = FN(exp_reduce_pair)(square, FN(product_error)(half, t, square));
    vreal denominator = FA_POLYNOMIAL(t, FN(gelu_denominator));
    vreal tail = FA_POLYNOMIAL(t, FN(gelu_tail)) / denominator + k;
    vreal slope = FA_POLYNOMIAL(t, FN(gelu_slope)) / denominator + k;
    slope = FN(vfma)(slope, root - t, slope * root_low);
    g.tail = FN(vfma)(tail, e.expm1, tail);
    g.slope = FN(vfma)(slope, e.expm1, slope);
    g.scale = FN(gate_scale)(e.k);
    return g;
}

/* For gelu_tanh, G the logistic function of 2u, u = sqrt(2/pi) (x + 0.044715 x^3): G(-t) = scale * tail, the slope at
 * -t is scale * slope. */
typedef struct {
    vreal t, tail, near, slope, scale;
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
    g.t = FN(vmin)(FN(vset)(FA_DOUBLE ? (real)21.599 : (real)10.915), FN(vabs)(x));
    vreal square = g.t * g.t, factor = FN(vfma)(FN(vset)(cubic), square, FN(vset)(linear));
    vreal low = FN(product_error)(FN(vset)(cubic), square, factor - linear);
    low = FN(vfma)(FN(vset)(cubic), FN(product_error)(g.t, g.t, square), low);
    low = FN(vfma)(FN(vset)(cubic_low), square, low) + linear_low;
    vreal u = g.t * factor;
    FN(exp_core) e = FN(exp_reduce_pair)(u, FN(vfma)(g.t, low, FN(product_error)(g.t, factor, u)));

    g.near = FN(vfma)(FA_POLYNOMIAL(square, FN(gelu_tanh_near)), x, FN(vset)((real)0.5));
    g.scale = FN(gate_scale)(e.k);
    const vreal one_scaled = FN(vset)(1 / FA_GATE_UNSCALE);
    vreal sum = FN(vfma)(e.expm1 + one, g.scale, one_scaled); /* 1 + exp(-2u) */
    vreal inverse = one / sum;
    g.tail = FN(vfma)(inverse, e.expm1, inverse);

    /* the slope is G(-t) (1 + exp(-2u) - t 2u') / (1 + exp(-2u)): what the roundings of the sum, of its inverse, of 2u'
     * and of the middle factor left is put back into that, which cancels around its root and is large far out */
    vreal sum_low = FN(vfma)(e.expm1 + one, g.scale, one_scaled - sum);
    vreal inverse_low = FN(vfma)(inverse, -sum_low, FN(vfma)(inverse, -sum, one));
    const vreal triple = FN(vset)(3 * cubic / FA_GATE_UNSCALE), first = FN(vset)(linear / FA_GATE_UNSCALE);
    vreal derivative = FN(vfma)(triple, square, first);
    vreal derivative_low = FN(product_error)(triple, square, derivative - first) + linear_low / FA_GATE_UNSCALE;
    vreal product = g.t * derivative, middle = product + sum;
    vreal middle_low = FN(product_error)(g.t, derivative, product) + (((product - middle) + sum) + sum_low);
    middle_low = FN(vfma)(middle * (real)2, inverse_low, FN(vfma)(g.t, derivative_low, middle_low));
    vreal outer = g.tail * inverse;
    g.slope = FN(vfma)(outer, middle, outer * middle_low);
    return g;
}
