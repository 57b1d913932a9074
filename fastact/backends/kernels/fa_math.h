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
#define FA_POLYNOMIAL(x, c) FN(polynomial)(x, c, FA_COUNT(c))

/* a * b + c for sums of products: one rounding where the instruction set has FMA, two where it has not. */
FA_INLINE vreal FN(vmul_add)(vreal a, vreal b, vreal c) {
    return FA_FMA ? FN(vfma)(a, b, c) : a * b + c;
}

/* a * b - p for a p close to a * b: exact where p is the rounded product */
FA_INLINE vreal FN(product_error)(vreal a, vreal b, vreal p) {
    if (FA_FMA || !FA_DOUBLE) return FN(vfma)(a, b, -p);
    /* Dekker's product of halves: 26 leading bits and the rest, cut off by a mask, because Veltkamp's split overflows */
    const vuint leading = (vuint){0} + ((uint)-1 << 27);
    vreal ah = (vreal)((vuint)a & leading), bh = (vreal)((vuint)b & leading), al = a - ah, bl = b - bh;
    return (((ah * bh - p) + ah * bl) + al * bh) + al * bl;
}

/* (exp(r) - 1 - r) / r^2 on |r| <= ln(2)/2, from fit/polynomials.py; exp is then right to 2^-28 (2^-57) */
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

/* ln 2 in two parts, the first with so many zeros at its end that n * high is exact without FMA too */
#define FA_LN2_HIGH (FA_DOUBLE ? (real)0x1.62e42fefap-1 : (real)0x1.62e4p-1)
#define FA_LN2_LOW (FA_DOUBLE ? (real)0x1.cf79abc9e3b39p-40 : (real)0x1.7f7d1cp-20)

/* n, and scale in e; log2e: 1 / ln 2, or minus that for exp(-x) */
FA_INLINE vreal FN(exp_scale_times)(vreal x, real log2e, int shift, FN(exp_reduced) *e) {
    /* The last bit of 1.5 * 2^23 (2^52) is worth 1: adding it rounds. The exponent's bias rides along, so that the low
     * bits are the exponent field. */
    const real magic = (FA_DOUBLE ? (real)0x1.8p52 : (real)0x1.8p23) + (real)(shift + (FA_DOUBLE ? 1023 : 127));
    vreal k = FN(vfma)(x, FN(vset)(log2e), FN(vset)(magic));
    e->scale = (vreal)(FN(vbits)(k) << (FA_DOUBLE ? 52 : 23));
    return k - magic;
}
FA_INLINE vreal FN(exp_scale)(vreal x, int shift, FN(exp_reduced) *e) {
    return FN(exp_scale_times)(x, (real)0x1.71547652b82fep0, shift, e);
}

FA_INLINE FN(exp_reduced) FN(exp_reduce)(vreal x, int shift) {
    FN(exp_reduced) e;
    vreal n = FN(exp_scale)(x, shift, &e);
    e.r = FN(vfma)(n, FN(vset)(-FA_LN2_LOW), FN(vfma)(n, FN(vset)(-FA_LN2_HIGH), x));
    return e;
}

/* For exp(-x), without an operation for the sign */
FA_INLINE FN(exp_reduced) FN(exp_reduce_negated)(vreal x, int shift) {
    FN(exp_reduced) e;
    vreal n = FN(exp_scale_times)(x, (real)-0x1.71547652b82fep0, shift, &e);
    e.r = FN(vfma)(n, FN(vset)(-FA_LN2_LOW), FN(vfma)(n, FN(vset)(-FA_LN2_HIGH), -x));
    return e;
}

/* For exp(x + low), with an x that is known better than a real can hold: |low| <= 2 ULP of x */
FA_INLINE FN(exp_reduced) FN(exp_reduce_pair)(vreal x, vreal low, int shift) {
    FN(exp_reduced) e;
    vreal n = FN(exp_scale)(x, shift, &e);
    e.r = FN(vfma)(n, FN(vset)(-FA_LN2_HIGH), x) + FN(vfma)(n, FN(vset)(-FA_LN2_LOW), low);
    return e;
}

/* exp(r) - 1 on |r| <= ln(2)/2 */
FA_INLINE vreal FN(expm1_core)(vreal r) {
    return FN(vfma)(r * r, FA_POLYNOMIAL(r, FN(exp_tail)), r);
}

/* exp(r) there, rounded once more, for one operation less where a sum with its multiple follows */
FA_INLINE vreal FN(exp_core)(vreal r) {
    const vreal one = FN(vset)(1);
    return FN(vfma)(FN(vfma)(FA_POLYNOMIAL(r, FN(exp_tail)), r, one), r, one);
}

/* exp(x) for x <= 0, times 2^FA_EXP_SHIFT: a normal number, or exactly 0 from -132.05 (-1063.6) down, where exp(x) is 0
 * whatever it is divided by. A caller multiplies by what else it has first and by FA_UNSCALE last, so that a subnormal
 * result is rounded once. */
#define FA_EXP_SHIFT FA_EITHER(64, 512)
#define FA_UNSCALE FA_EITHER(0x1p-64f, 0x1p-512)
#define FA_EXP_LOWEST (FA_DOUBLE ? (real)-1064 : (real)-132.4)

FA_INLINE vreal FN(exp_scaled)(vreal x) {
    FN(exp_reduced) e = FN(exp_reduce)(FN(vmax)(FN(vset)(FA_EXP_LOWEST), x), FA_EXP_SHIFT);
    return FN(vfma)(e.scale, FN(expm1_core)(e.r), e.scale);
}

/* 1 - exp(x) for x <= 0, with full relative accuracy at 0 (+0 for -0). ln 2 as one constant will do: its error times n
 * is nothing beside a result of at least 1 - 2^-1/2. */
FA_INLINE vreal FN(one_minus_exp)(vreal x) {
    FN(exp_reduced) e;
    vreal t = FN(vmax)(FN(vset)((real)(FA_DOUBLE ? -40 : -20)), x); /* 1 long before */
    vreal n = FN(exp_scale)(t, 0, &e);
    vreal r = FN(vfma)(n, FN(vset)((real)-0x1.62e42fefa39efp-1), t);
    return FN(vfma)(-e.scale, FN(expm1_core)(r), (real)1 - e.scale);
}

/* 2^FA_EXP_SHIFT log(1 + e) for 0 <= e = scale (1 + f) <= 1, given 2^FA_EXP_SHIFT scale and f. Coefficients from
 * fit/polynomials.py. */
#if FA_DOUBLE
/* (2 atanh(s) - 2s) / s^3 in s^2 on [0, 1/9], times 2^FA_EXP_SHIFT; with s = e / (2 + e), log(1 + e) = 2 atanh(s) is
 * then right to 2^-57 (the first coefficient is a last place lower than fitted, with which e = 1 gives log 2) */
static const real FN(atanh_tail)[] = {0x1.5555555555534p511, 0x1.99999999a0726p510, 0x1.249249208f244p510,
                                      0x1.c71c741a84176p509, 0x1.745cb4540cc74p509, 0x1.3b1dd36d9157cp509,
                                      0x1.106839210c16fp509, 0x1.efd09642828dap508, 0x1.55d4a9320e888p508,
                                      0x1.5c566cc5f214dp509};
/* 2s = e - s e, so that the quotient's error only enters a correction, and so does that of e, of which scale is exact */
FA_INLINE vreal FN(log1p_scaled)(vreal scale, vreal f) {
    vreal e = FN(vfma)(scale, f, scale);
    vreal s = e / (e + 2 / FA_UNSCALE), w = s * s;
    return FN(vfma)(-s, FN(vfma)(-w, FA_POLYNOMIAL(w, FN(atanh_tail)), e), scale * f) + scale;
}
#else
/* (log(1 + e) - e) / e^2 to 2^-27.5: here a longer polynomial costs no more than the quotient, and is more accurate */
static const real FN(log1p_tail)[] = {-0x1.ffffd2p-2f, 0x1.554dd4p-2f,  -0x1.ff2498p-3f,
                                      0x1.9350c2p-3f,  -0x1.3a5824p-3f, 0x1.b5051ap-4f,
                                      -0x1.d77c88p-5f, 0x1.4a1274p-6f,  -0x1.b1410cp-9f};
FA_INLINE vreal FN(log1p_scaled)(vreal scale, vreal f) {
    vreal e_scaled = FN(vfma)(scale, f, scale);
    /* less than 2^-40 is nothing beside 1, and slow, as a subnormal */
    vreal e = FN(vmax)(FN(vset)(0x1p-40f / FA_UNSCALE), e_scaled) * FA_UNSCALE;
    return FN(vfma)(e_scaled * e, FA_POLYNOMIAL(e, FN(log1p_tail)), e_scaled);
}
#endif

/* (exp(2r) - 1) / r on |r| <= ln(2)/4, from fit/polynomials.py. For double 2, and exp_tail times powers of two; for
 * float one coefficient less: exp is then right to 2^-23.3, which is little beside what it is used for (one_plus_exp). */
#if FA_DOUBLE
static const real FN(exp_double_tail)[] = {0x1.0p1, 0x1.000000000000ap1, 0x1.5555555555507p0, 0x1.55555555506cp-1,
                                           0x1.1111111124bdfp-2, 0x1.6c16c18475be2p-4, 0x1.a01a013987b25p-6,
                                           0x1.a0199962dff21p-8, 0x1.71df050f9e602p-10, 0x1.28adf924cf0cfp-12,
                                           0x1.adb09ae92a8c8p-15};
#else
static const real FN(exp_double_tail)[] = {0x1.fffff6p0f, 0x1.fffdc6p0f, 0x1.555a7ep0f, 0x1.5739f8p-1f, 0x1.0f9b1ap-2f};
#endif

#if FA_DOUBLE
/* For tanh: FA_TANH_SCALE (exp(2r) - 1 - 2r) / 2r^2 on [0, ln(2)/2], from fit/polynomials.py */
#define FA_TANH_SCALE 1.4921875
static const real FN(expm1_half_tail)[] = {0x1.7dfffffffffc9p+0, 0x1.fd55555559496p-1, 0x1.fd555553c5383p-2,
                                           0x1.977777c54b4b4p-3, 0x1.0fa4f1aa2e86dp-4, 0x1.36749597cc5dcp-6,
                                           0x1.36592b3e841cep-8, 0x1.1566ed2187993p-10, 0x1.a09449f68fd60p-13,
                                           0x1.b71fc23a836f7p-15};
#endif

/* For sigmoid: FA_SIGMOID_SCALE (exp(r) - 1) / r on |r| <= ln(2)/2, from fit/polynomials.py */
#define FA_SIGMOID_SCALE (real)1.75
#if FA_DOUBLE
static const real FN(sigmoid_tail)[] = {0x1.cp+0, 0x1.c000000000011p-1, 0x1.2aaaaaaaaaa5fp-2,
                                        0x1.2aaaaaaaa66eep-4, 0x1.ddddddde03a91p-7, 0x1.3e93e953ba1d9p-9,
                                        0x1.6c16c109a6721p-12, 0x1.6c16669b960bep-15, 0x1.43a3372a375edp-18,
                                        0x1.0397e9a0f142dp-21, 0x1.77dd974e71297p-25};
#else
static const real FN(sigmoid_tail)[] = {0x1.cp+0f, 0x1.bffffcp-1f, 0x1.2aaap-2f, 0x1.2aadeep-4f, 0x1.dfe42ep-7f,
                                        0x1.3cd092p-9f};
#endif

/* (tanh(x) - x) / x^3 in x^2 for |x| below FA_TANH_SMALL, from fit/polynomials.py */
#define FA_TANH_SMALL (FA_DOUBLE ? (real)0.55 : (real)0.625)
#if FA_DOUBLE
static const real FN(tanh_tail)[] = {-0x1.555555555549dp-2, 0x1.11111111028a6p-3, -0x1.ba1ba1ad67585p-5,
                                     0x1.664f45c0f7c87p-6, -0x1.226ddd15b4028p-7, 0x1.d6c6176495d5ap-9,
                                     -0x1.7cf37f660eeeap-10, 0x1.2fa11822a4aa2p-11, -0x1.b9004b28a4916p-13,
                                     0x1.abe6daadbd6a9p-15};
#else
static const real FN(tanh_tail)[] = {-0x1.555532p-2f, 0x1.1106fcp-3f, -0x1.b836fap-5f, 0x1.520446p-6f, -0x1.754a0ap-8f};
#endif

/* ((x - tanh(x)) / x^3 - 1/3) / x^2 in x^2 on [0, 1.0405], from fit/polynomials.py */
#if FA_DOUBLE
static const real FN(tanh_shrink_tail)[] = {-0x1.1111111111108p-3, 0x1.ba1ba1ba1a9ebp-5, -0x1.664f488270221p-6,
                                            0x1.226e3551929eap-7, -0x1.d6d3ce6fda323p-9, 0x1.7da33d4a126c2p-10,
                                            -0x1.355672fea19f3p-11, 0x1.f5624f447c5e8p-13, -0x1.95dcdae5c0985p-14,
                                            0x1.46acb355a0ddfp-15, -0x1.017f96b31e2bp-16, 0x1.7f2240e55cfd5p-18,
                                            -0x1.f6ede5ae6681fp-20, 0x1.06e56c3175785p-21, -0x1.76f1b23f0769ep-24,
                                            0x1.09b102eef70d6p-27};
#else
static const real FN(tanh_shrink_tail)[] = {-0x1.1110f6p-3f, 0x1.ba1126p-5f, -0x1.659c82p-6f, 0x1.1ca6c2p-7f,
                                            -0x1.a1b974p-9f, 0x1.db73b6p-11f, -0x1.2053e8p-13f};
#endif

/* Where an exponential is a factor or a quotient of the result (sigmoid, silu, swish, mish, both gelu), that is scaled by
 * 2^FA_TAIL. From FA_LOWEST down exp(x) * 2^FA_TAIL is exactly 0: there x * exp(x) is less than half the smallest
 * number, and 2^20 times as much is not normal. exp(FA_WIDE) is so much more than 1 that slopes are 1 from there on. */
#define FA_TAIL FA_EITHER(32, 64)
#define FA_TAIL_UNSCALE FA_EITHER(0x1p-32f, 0x1p-64)
#define FA_LOWEST FA_EITHER(-110.2f, -753.4)
#define FA_WIDE FA_EITHER(22.0f, 44.0)

#if !FA_DOUBLE
/* A reduction in three operations, for exp(x) or, with a, c and magic_c negated, exp(-x): c is so near a ln 2 and of so
 * few bits that n c is exact, and r = a x - n c (+ a shift) goes into a polynomial that knows of a. k = magic - n has the
 * exponent field of scale in its low bits, and magic c is so near a float magic_c that one FMA makes of k c what is
 * exactly -n c and the small shift magic c - magic_c, of which the polynomial knows too. */
FA_INLINE vreal FN(exp_stretch)(vreal x, real a, real c, real magic, real magic_c, vreal *scale) {
    vreal k = FN(vfma)(x, FN(vset)((real)-0x1.71547652b82fep0), FN(vset)(magic));
    *scale = (vreal)(FN(vbits)(k) << 23);
    return FN(vfma)(x, FN(vset)(a), FN(vfma)(k, FN(vset)(c), FN(vset)(-magic_c)));
}
#endif

/* 2^FA_TAIL exp(t) = swish_power(r) / 2^-n, from fit/polynomials.py, for swish's slopes, in double silu's too: there
 * exp_tail after two ones, all times 2^FA_TAIL. In float c is 33501/65536, a ln 2 to within 2^-34, and the shift
 * 323/65536, with which the first coefficient is very near a float. */
#if FA_DOUBLE
static const real FN(swish_power)[] = {0x1.0p64, 0x1.0p64, 0x1.000000000000ap63, 0x1.5555555555507p61,
                                       0x1.55555555506cp59, 0x1.1111111124bdfp57, 0x1.6c16c18475be2p54,
                                       0x1.a01a013987b25p51, 0x1.a0199962dff21p48, 0x1.71df050f9e602p45,
                                       0x1.28adf924cf0cfp42, 0x1.adb09ae92a8c8p38};
#else
static const real FN(swish_power)[] = {0x1.fc96f8p31f, 0x1.58d074p32f, 0x1.d38e26p31f, 0x1.a6a646p30f,
                                       0x1.1e860ap29f, 0x1.38a388p27f, 0x1.1f5d08p25f};
#endif
static const real FN(swish_stretch) = FA_DOUBLE ? (real)1 : (real)0x1.799774p-1; /* a */
/* r, and 2^(FA_TAIL - n) in scale: a normal number, or 0 at -FA_LOWEST */
FA_INLINE vreal FN(swish_reduce_power)(vreal t, vreal *scale) {
#if FA_DOUBLE
    FN(exp_reduced) e;
    vreal n = FN(exp_scale_times)(t, (real)-0x1.71547652b82fep0, FA_TAIL, &e);
    *scale = e.scale;
    return FN(vfma)(n, FN(vset)(FA_LN2_LOW), FN(vfma)(n, FN(vset)(FA_LN2_HIGH), t));
#else
    return FN(exp_stretch)(t, FN(swish_stretch), (real)0x1.05bap-1, 8487583, (real)4338722.5, scale);
#endif
}

/* exp(-x) 2^-FA_TAIL, as scale times what is returned. In float c is 51917/65536, a ln 2 to within 2^-37, the shift
 * 19/65536 and the polynomial right to 2^-25.2. */
#if FA_DOUBLE
FA_INLINE vreal FN(exp_negated)(vreal x, vreal *scale) {
    FN(exp_reduced) e = FN(exp_reduce_negated)(x, -FA_TAIL);
    *scale = e.scale;
    return FN(exp_core)(e.r);
}
#else
static const real FN(exp_stretched)[] = {0x1.0010ap0f,    0x1.c019dcp-1f, 0x1.88146ap-2f, 0x1.c969aep-4f,
                                         0x1.8fadaap-6f, 0x1.189b04p-8f, 0x1.86ee62p-11f};
FA_INLINE vreal FN(exp_negated)(vreal x, vreal *scale) {
    const real a = (real)0x1.249466p0, c = (real)0x1.959ap-1;
    return FA_POLYNOMIAL(FN(exp_stretch)(x, -a, -c, 12564063, -9953132, scale), FN(exp_stretched));
}
#endif

/* (2 atanh(s) - 2 s) / s^3 in w = s^2, s <= (sqrt 2 - 1) / (sqrt 2 + 1); log is then right to 2^-30 (2^-59) */
#if FA_DOUBLE
static const real FN(log_tail)[] = {0x1.5555555555592p-1, 0x1.999999997ff00p-2, 0x1.24924941e3dafp-2, 0x1.c71c52117b3e5p-3,
                                    0x1.74663da699d57p-3, 0x1.39a1d294a8022p-3, 0x1.2f04be9355507p-3};
#else
static const real FN(log_tail)[] = {0x1.55557ap-1f, 0x1.995ed8p-2f, 0x1.31e046p-2f};
#endif

/* log(x) of a normal x >= 2^-lowest, lowest 0 (x >= sqrt(1/2) then) or 128 (1024); NaN for NaN and infinity */
FA_INLINE vreal FN(log_from)(vreal x, int lowest) {
    const int digits = FA_DOUBLE ? 52 : 23;
    const real magic = FA_DOUBLE ? (real)0x1p52 : (real)0x1p23; /* an integer below 2^digits or-ed in counts ones */
    const uint half = FA_DOUBLE ? (uint)0x3fe6a09e667f3bcd : (uint)0x3f3504f3; /* sqrt(1/2) */
    vuint k = ((vuint)x - half + ((uint)lowest << digits)) >> digits;
    vreal m = (vreal)((vuint)x - ((k - (uint)lowest) << digits)); /* in [sqrt(1/2), sqrt(2)) */
    vreal n = (vreal)(k | (vuint)FN(vset)(magic)) - (magic + (real)lowest);
    vreal s = (m - (real)1) / (m + (real)1);
    vreal tail = s * s * s;
    tail = FN(vfma)(tail, FA_POLYNOMIAL(s * s, FN(log_tail)), s + s);
    tail = FN(vfma)(n, FN(vset)(FA_DOUBLE ? (real)0x1.cf79abc9e3b39p-40 : (real)0x1.7f7d1cp-20), tail);
    tail = FN(vfma)(n, FN(vset)(FA_DOUBLE ? (real)0x1.62e42fefap-1 : (real)0x1.62e4p-1), tail);
    return tail + (x - x);
}

/* log(x) for finite x >= 1 (from sqrt(1/2) on); NaN for NaN and infinity */
FA_INLINE vreal FN(log_above_one)(vreal x) { return FN(log_from)(x, 0); }

#if !FA_DOUBLE
#include "fa_pieces.h"
/* The piece of t in the lowest bits: those of place(t) rounded by adding 1.5 * 2^23, or of its exponent and the highest
 * bit of its mantissa. */
FA_INLINE vreal FN(piece_of)(vreal t, const float *place, int places, int octaves) {
    const float rounded = place[0] + 0x1.8p23f;
    vreal piece = FN(vset)(place[places - 1]);
    for (int i = places - 2; i >= 0; i--) piece = FN(vfma)(piece, t, FN(vset)(i || octaves ? place[i] : rounded));
    return octaves ? (vreal)(FN(vbits)(piece) >> 22) : piece;
}
/* A function of t + low in pieces (fa_pieces.h), low less than an ULP of t */
FA_INLINE vreal FN(piecewise)(vreal t, vreal low, vreal piece, const float (*row)[FA_PICKED], int rows) {
    vreal r = t - FN(vpick)(row[0], piece) + low, sum = FN(vpick)(row[rows - 1], piece);
    for (int i = rows - 2; i > 0; i--) sum = FN(vfma)(sum, r, FN(vpick)(row[i], piece));
    return sum;
}
#define FA_PIECEWISE_SUM(t, low, table)                                                                        \
    FN(piecewise)(t, low, FN(piece_of)(t, table.place, FA_COUNT(table.place), table.octaves), table.row,       \
                  FA_COUNT(table.row))
#define FA_PIECEWISE(t, table) FA_PIECEWISE_SUM(t, FN(vset)(-0.0f), table) /* adding -0 is free */
#endif

/* gelu and gelu_tanh are x G(x) with a gate G that goes from 0 to 1 as 1 - G(-x). With t = min(|x|, limit), they are
 * max(x, 0) - t G(-t). The limit is where the scale has come down to 0 exactly, so that what lies beyond is 0 too.
 *
 * G(-t) is a power of two, FA_TAIL binades too high, times a part as many too low, so that nothing is subnormal before the
 * last operation, which alone rounds a subnormal result. */

/* exp(-2u) 2^FA_TAIL for gelu_tanh's u = sqrt(2/pi) (t + 0.044715 t^3), needed to 2^-30 (2^-60): -2u = t (linear +
 * cubic t^2), the high part of linear so short that subtracting it again is exact. */
#define FA_TANH_LINEAR (FA_DOUBLE ? (real)-0x1.9884533d4366p0 : (real)-0x1.98845p0)
#define FA_TANH_LINEAR_LOW (FA_DOUBLE ? (real)0x1.ee5e069875fe9p-49 : (real)-0x1.9ea1b284687e6p-23)
#define FA_TANH_CUBIC (real)-0x1.2444f2a4d8b4bp-4
FA_INLINE FN(exp_reduced) FN(gelu_tanh_exp)(vreal t, vreal square) {
    const vreal cubic = FN(vset)(FA_TANH_CUBIC);
    const real cubic_low = FA_DOUBLE ? (real)0x1.6c843a29d1c7p-61 : (real)-0x1.49b1695e937bcp-29;
    vreal factor = FN(vfma)(cubic, square, FN(vset)(FA_TANH_LINEAR));
    vreal low = FN(product_error)(cubic, square, factor - FA_TANH_LINEAR);
    low = FN(vfma)(cubic, FN(product_error)(t, t, square), low);
    low = FN(vfma)(FN(vset)(cubic_low), square, low) + FA_TANH_LINEAR_LOW;
    vreal u = t * factor;
    return FN(exp_reduce_pair)(u, FN(vfma)(t, low, FN(product_error)(t, factor, u)), FA_TAIL);
}

#if FA_DOUBLE
/* grad times the slope: scale * slope at -t, 1 - that at t; near where |x| < 1/2, as there it has fewer roundings */
FA_INLINE vreal FN(gate_gradient)(vreal grad, vreal x, vreal near, vreal slope, vreal scale) {
    vmask below = FN(vlt)(x, FN(vset)(0));
    vreal above = FN(vfma)(slope, -scale, FN(vset)(1));
    vreal far = grad * FN(vselect)(below, slope, above) * FN(vselect)(below, scale, FN(vset)(1));
    return FN(vselect)(FN(vlt)(FN(vabs)(x), FN(vset)((real)0.5)), grad * near, far);
}

/* For gelu, from fit/polynomials.py, k = 1 / sqrt(2 pi):
 *
 *   t Phi(-t) exp(t^2 / 2) = k + tail(t) / denominator(t) on [13/16, 38.82]
 *   gelu'(-t) exp(t^2 / 2) = (root - t) (k + slope(t) / denominator(t)) on [0, 38.82]
 *   (1 - 2 Phi(-t)) / t = centre(-t^2 / 2) on [0, 13/16]
 *   (gelu'(x) - 1/2) / x = near(-x^2 / 2) on [-1/2, 1/2], the same for gelu_tanh in x^2
 *
 * The fractions vanish at infinity, and the rounding errors of both polynomials with them. tail and slope carry the
 * factor FA_TAIL_UNSCALE. */
static const real FN(gelu_denominator)[] = {0x1.9733e90a92147p20, 0x1.f5e60c43498fbp21, 0x1.217c2d4f0b5a1p22,
                                            0x1.9d6540604d459p21, 0x1.96f9b16b9f1a4p20, 0x1.22d55bdd65979p19,
                                            0x1.34eede4a6e62dp17, 0x1.e9cedf75d1512p14, 0x1.1d787f669bcbfp12,
                                            0x1.d52e5af58590bp8, 0x1.edebbcf36a269p4, 0x1.p0};
static const real FN(gelu_tail)[] = {-0x1.44e69b4a24ab8p-45, -0x1.89b62850aff75p-45, -0x1.ea032efea364ep-46,
                                     -0x1.8c39d34ceb876p-47, -0x1.c3b8e1195534ap-49, -0x1.75731059715b3p-51,
                                     -0x1.be4f0e976ca1bp-54, -0x1.73f56be3e12dfp-57, -0x1.8a1781bd64ffp-61,
                                     -0x1.988453352e332p-66, -0x1.3dbc55249d36p-103};
static const real FN(gelu_slope)[] = {0x1.b17c1c3d91302p-46, 0x1.866ccfec6afe9p-45, 0x1.552535b924115p-45,
                                      0x1.78eec260d720fp-46, 0x1.2229ee3125617p-47, 0x1.44a2f79d2197fp-49,
                                      0x1.0b6f0b07b837ep-51, 0x1.41328979a9593p-54, 0x1.0e76e407d6c06p-57,
                                      0x1.22b95b2681b1dp-61, 0x1.331e9a233c13bp-66};
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

typedef struct {
    vmask centre; /* t < 13/16: t Phi(-t) is */
    vreal value;  /* this, without an exponential; elsewhere scale * tail */
    vreal near;   /* the slope where t < 1/2; elsewhere scale * slope at -t */
    vreal tail, slope, scale;
} FN(gelu_parts);

FA_INLINE FN(gelu_parts) FN(gelu_at)(vreal x) {
    const real k = (real)0x1.9884533d43651p-2 * FA_TAIL_UNSCALE;
    const real root = (real)0.75, root_low = (real)0x1.d5a32fe0167bbp-10; /* root - t is exact for t >= 3/8 */
    FN(gelu_parts) g;
    vreal t = FN(vmin)(FN(vset)((real)38.819), FN(vabs)(x));
    vreal half = t * (real)-0.5, square = half * t;
    g.centre = FN(vlt)(t, FN(vset)((real)0.8125));
    g.value = FN(vfma)(FA_POLYNOMIAL(square, FN(gelu_centre)), square, -half);
    g.near = FN(vfma)(FA_POLYNOMIAL(square, FN(gelu_near)), x, FN(vset)((real)0.5));

    FN(exp_reduced) e = FN(exp_reduce_pair)(square, FN(product_error)(half, t, square), FA_TAIL);
    vreal expm1 = FN(expm1_core)(e.r);
    g.scale = e.scale;
    vreal denominator = FA_POLYNOMIAL(t, FN(gelu_denominator));
    vreal tail = FA_POLYNOMIAL(t, FN(gelu_tail)) / denominator + k;
    vreal slope = FA_POLYNOMIAL(t, FN(gelu_slope)) / denominator + k;
    slope = FN(vfma)(slope, root - t, slope * root_low);
    g.tail = FN(vfma)(tail, expm1, tail);
    g.slope = FN(vfma)(slope, expm1, slope);
    return g;
}

/* For gelu_tanh, G the logistic function of 2u, u = sqrt(2/pi) (x + 0.044715 x^3): G(-t) = scale * tail, the slope at
 * -t is scale * slope. */
typedef struct {
    vreal t, tail, near, slope, scale;
} FN(gelu_tanh_parts);

FA_INLINE FN(gelu_tanh_parts) FN(gelu_tanh_at)(vreal x) {
    const vreal one = FN(vset)(1);
    const real linear = FA_TANH_LINEAR, linear_low = FA_TANH_LINEAR_LOW, cubic = FA_TANH_CUBIC;
    FN(gelu_tanh_parts) g;
    g.t = FN(vmin)(FN(vset)((real)21.599), FN(vabs)(x));
    vreal square = g.t * g.t;
    FN(exp_reduced) e = FN(gelu_tanh_exp)(g.t, square);
    vreal expm1 = FN(expm1_core)(e.r);

    g.near = FN(vfma)(FA_POLYNOMIAL(square, FN(gelu_tanh_near)), x, FN(vset)((real)0.5));
    g.scale = e.scale;
    const vreal one_scaled = FN(vset)(1 / FA_TAIL_UNSCALE);
    vreal sum = FN(vfma)(expm1 + one, g.scale, one_scaled); /* 1 + exp(-2u) */
    vreal inverse = one / sum;
    g.tail = FN(vfma)(inverse, expm1, inverse);

    /* the slope is G(-t) (1 + exp(-2u) - t 2u') / (1 + exp(-2u)): what the roundings of the sum, of its inverse, of 2u'
     * and of the middle factor left is put back into that, which cancels around its root and is large far out */
    vreal sum_low = FN(vfma)(expm1 + one, g.scale, one_scaled - sum);
    vreal inverse_low = FN(vfma)(inverse, -sum_low, FN(vfma)(inverse, -sum, one));
    const vreal triple = FN(vset)(3 * cubic / FA_TAIL_UNSCALE), first = FN(vset)(linear / FA_TAIL_UNSCALE);
    vreal derivative = FN(vfma)(triple, square, first);
    const vreal triple_low = FN(vset)((real)-0x1.bba7351828aabp-57 / FA_TAIL_UNSCALE);
    vreal derivative_low = FN(product_error)(triple, square, derivative - first) + linear_low / FA_TAIL_UNSCALE;
    derivative_low = FN(vfma)(triple_low, square, derivative_low);
    derivative_low = FN(vfma)(triple, FN(product_error)(g.t, g.t, square), derivative_low);
    vreal product = g.t * derivative, middle = product + sum;
    vreal middle_low = FN(product_error)(g.t, derivative, product) + (((product - middle) + sum) + sum_low);
    middle_low = FN(vfma)(middle * (real)2, inverse_low, FN(vfma)(g.t, derivative_low, middle_low));
    vreal outer = g.tail * inverse;
    g.slope = FN(vfma)(outer, middle, outer * middle_low);
    return g;
}
#else
/* From fit/polynomials.py, for t from 5.5 to 14.9 and w = 1 / t^2: t Phi(-t) exp(t^2 / 2), and -gelu'(-t)
 * exp(t^2 / 2) / t. */
static const real FN(gelu_far_tail)[] = {0x1.98844ap-2f, -0x1.98750ap-2f, 0x1.3025dcp+0f, -0x1.5825ccp+2f, 0x1.4caf26p+4f};
static const real FN(gelu_far_slope)[] = {0x1.988452p-2f, -0x1.98824ep-2f, 0x1.975aeap-2f, -0x1.1ec0dep+0f, 0x1.b683a6p+1f};
#endif
