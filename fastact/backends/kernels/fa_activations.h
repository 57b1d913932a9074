/* Every elementwise activation: its value and its gradient for one vector, side by side, and at the end the lists.
 *
 *   name_value(x, p)              f(x)
 *   name_gradient(grad, saved, p) grad * f'(x), from what the registry says backward reads: y or x
 *
 * p holds the activation's parameters, rounded to the dtype, in the registry's order. NaN in saved always gives NaN.
 * Where the registry says `zero_blocks`, a slope of 0 gives 0 whatever grad is; all other slopes multiply.
 *
 * Some are faster in float as polynomials in pieces (fa_pieces.h). The list says so (`pieces`), and fa_loops.h chooses:
 *
 *   name_is_near(x, p)                        where the pieces are right, which is nearly everywhere
 *   name_value_pieces, name_gradient_pieces   these
 *   name_value, name_gradient                 then need be right only where x is far
 *
 * Where 1 minus a slope is needed, its pieces go on to where nothing is left of it beside 1.
 */

FA_INLINE vreal FN(identity_value)(vreal x, FN(parameters) p) {
    (void)p;
    return x;
}
FA_INLINE vreal FN(identity_gradient)(vreal grad, vreal y, FN(parameters) p) {
    (void)y, (void)p;
    return grad;
}

FA_INLINE vreal FN(relu_value)(vreal x, FN(parameters) p) {
    (void)p;
    return FN(vmax)(FN(vset)(0), x); /* x second: NaN stays, and -0 */
}
FA_INLINE vreal FN(relu_gradient)(vreal grad, vreal y, FN(parameters) p) {
    (void)p;
    return FN(vselect)(FN(vlt)(FN(vset)(0), y), grad, y - y); /* y - y: 0, or NaN for NaN */
}

FA_INLINE vreal FN(leaky_relu_value)(vreal x, FN(parameters) p) {
    const real infinity = (real)INFINITY;
    /* the limit at -inf: -inf, but 0 for a slope of 0 (where the product is NaN, and vmax takes its second operand) */
    vreal scaled = FN(vmax)(x * p.a, FN(vset)(p.a == 0 ? (real)0 : -infinity));
    return FN(vselect)(FN(vle)(x, FN(vset)(0)), scaled, x);
}
FA_INLINE vreal FN(leaky_relu_gradient)(vreal grad, vreal y, FN(parameters) p) {
    vreal scaled = p.a == 0 ? FN(vset)(0) : grad * p.a;
    vreal below = FN(vselect)(FN(vle)(y, FN(vset)(0)), scaled, y);
    return FN(vselect)(FN(vlt)(FN(vset)(0), y), grad, below);
}

/* 1 / (1 + E) with E = exp(-x) = 2^n (1 + r T(r)), both sides of the quotient scaled: by 2^-FA_TAIL, so that a
 * subnormal result is rounded once, and by 7/4, so that the denominator does not round worst just where the result
 * has least room. The sum of 1 and 2^n is exact unless n is so large that only one of them counts. */
FA_INLINE vreal FN(sigmoid_value)(vreal x, FN(parameters) p) {
    (void)p;
    const vreal c = FN(vset)(FA_SIGMOID_SCALE), one = c * FA_TAIL_UNSCALE;
    vreal t = FN(vmin)(FN(vset)(40), FN(vmax)(FN(vset)(FA_LOWEST), x)); /* 1 above, 0 below */
    FN(exp_reduced) e = FN(exp_reduce_negated)(t, -FA_TAIL);
    return one / FN(vfma)(e.scale * e.r, FA_POLYNOMIAL(e.r, FN(sigmoid_tail)), FN(vfma)(e.scale, c, one));
}
FA_INLINE vreal FN(sigmoid_gradient)(vreal grad, vreal y, FN(parameters) p) {
    (void)p;
    return grad * (y * ((real)1 - y));
}

#if FA_DOUBLE
/* h / (h + c s) with the sign of x, h = c/2 (exp(2r) - s), s = 2^-n, |x| = t = n ln(2)/2 + r. n is rounded down, so
 * that no term of h is negative and nothing cancels; c keeps h and h + c s from rounding worst where the result has
 * least room. */
FA_INLINE vreal FN(tanh_value)(vreal x, FN(parameters) p) {
    (void)p;
    const real magic = 0x1.8p52 + 1023, half_down = 0x1.fffffffffffffp-2; /* no tie at x = 0 */
    const vreal c = FN(vset)(FA_TANH_SCALE), half = c * (real)0.5;
    vreal t = FN(vmin)(FN(vset)(20), FN(vabs)(x)); /* 1 long before */
    vreal k = FN(vfma)(t, FN(vset)(-0x1.71547652b82fep1), FN(vset)(half_down)) + magic;
    vreal n = k - magic, r = FN(vfma)(n, FN(vset)(0x1.62e42fefa39efp-2), t);
    r = FN(vfma)(n, FN(vset)(0x1.abc9e3b39803fp-57), r); /* a fifth of an ULP */
    vreal s = (vreal)(FN(vbits)(k) << 52);
    vreal h = FN(vfma)(r * r, FA_POLYNOMIAL(r, FN(expm1_half_tail)), FN(vfma)(s, -half, half));
    h = FN(vfma)(r, c, h);
    return FN(vsigned)(h / FN(vfma)(s, c, h), x);
}
#else
FA_INLINE vreal FN(tanh_value)(vreal x, FN(parameters) p) {
    (void)p;
    vreal t = FN(vmin)(FN(vset)(fa_tanh_pieces.high), FN(vabs)(x)); /* 1 from there on */
    return FN(vsigned)(FA_PIECEWISE(t, fa_tanh_pieces), x);
}
#endif
FA_INLINE vreal FN(tanh_gradient)(vreal grad, vreal y, FN(parameters) p) {
    (void)p;
    return grad * (((real)1 - y) * ((real)1 + y));
}

FA_INLINE vreal FN(elu_value)(vreal x, FN(parameters) p) {
    return FN(vselect)(FN(vlt)(x, FN(vset)(0)), FN(one_minus_exp)(x) * -p.a, x);
}
FA_INLINE vreal FN(elu_gradient)(vreal grad, vreal y, FN(parameters) p) {
    return FN(vselect)(FN(vlt)(FN(vset)(0), y), grad, grad * (y + p.a));
}

/* x / a as x * scale * inverse: scale keeps the inverse of a tiny alpha finite */
FA_INLINE vreal FN(over_alpha)(vreal x, real alpha) {
    const real tiny = FA_DOUBLE ? (real)0x1p-960 : (real)0x1p-64;
    const real scale = alpha < tiny ? 1 / tiny : 1, inverse = 1 / (alpha * scale);
    return x * scale * inverse;
}
FA_INLINE vreal FN(celu_value)(vreal x, FN(parameters) p) {
    /* so close to 0 it is x, of which x / a may have lost bits */
    const real tiny = FA_DOUBLE ? (real)0x1p-55 : (real)0x1p-26;
    vreal z = FN(over_alpha)(x, p.a);
    return FN(vselect)(FN(vlt)(z, FN(vset)(-tiny)), FN(one_minus_exp)(z) * -p.a, x);
}
FA_INLINE vreal FN(celu_gradient)(vreal grad, vreal y, FN(parameters) p) {
    return FN(vselect)(FN(vlt)(FN(vset)(0), y), grad, grad * FN(over_alpha)(y + p.a, p.a));
}

#define FA_SELU_SCALE (real)1.0507009873554804934193349852946
#define FA_SELU_SCALE_ALPHA (real)1.7580993408473768599402175208123
FA_INLINE vreal FN(selu_value)(vreal x, FN(parameters) p) {
    (void)p;
    return FN(vselect)(FN(vlt)(x, FN(vset)(0)), FN(one_minus_exp)(x) * -FA_SELU_SCALE_ALPHA, x * FA_SELU_SCALE);
}
FA_INLINE vreal FN(selu_gradient)(vreal grad, vreal y, FN(parameters) p) {
    (void)p;
    return grad * FN(vselect)(FN(vlt)(FN(vset)(0), y), FN(vset)(FA_SELU_SCALE), y + FA_SELU_SCALE_ALPHA);
}

#if !FA_DOUBLE
/* For gradients and tails of functions in pieces */

/* grad exp(x) factor, 2^-FA_TAIL first where the rest is not below 1, so that nothing overflows, else last, so that a
 * subnormal result is rounded once: as a whole number of its units, for arithmetic that gives subnormals is 30 times as
 * slow. For factors from 0.1 to 1000. */
FA_INLINE vreal FN(times_exp)(vreal grad, FN(exp_reduced) e, vreal expm1, vreal factor) {
    const vreal unscale = FN(vset)(FA_TAIL_UNSCALE), one = FN(vset)(1);
    const vreal smallest = FN(vset)(0x1p-126f / FA_TAIL_UNSCALE);
    vreal scaled = FN(vfma)(expm1, factor, factor) * e.scale;
    vmask last = FN(vlt)(FN(vabs)(scaled), one);
    vreal rest = scaled * FN(vselect)(last, one, unscale) * grad;
    vmask subnormal = FN(vand)(last, FN(vlt)(FN(vabs)(rest), smallest));
    vreal units = FN(vfma)(FN(vabs)(rest), FN(vset)(0x1p126f * FA_TAIL_UNSCALE * 0x1p23f), FN(vset)(0x1p23f));
    units = (vreal)(FN(vbits)(units) - FN(vbits)(FN(vset)(0x1p23f)));
    vreal normal = rest * FN(vselect)(FN(vand)(last, FN(vnot)(subnormal)), unscale, one);
    return FN(vselect)(subnormal, FN(vsigned)(units, rest), normal);
}

/* max(x, 0) - F(|x|) */
#define FA_LESS_THAN_RELU(x, table) \
    (FN(vmax)(FN(vset)(0), x) - FA_PIECEWISE(FN(vmin)(FN(vset)(table.high), FN(vabs)(x)), table))
/* grad F(|x|) at x < 0, grad (1 - F(|x|)) above */
#define FA_GATED(grad, x, table) \
    FN(gated_by)(grad, x, FA_PIECEWISE(FN(vmin)(FN(vset)(table.high), FN(vabs)(x)), table))
FA_INLINE vreal FN(gated_by)(vreal grad, vreal x, vreal slope) {
    return grad * FN(vselect)(FN(vlt)(x, FN(vset)(0)), slope, (real)1 - slope);
}
#endif

#if FA_DOUBLE
FA_INLINE vreal FN(gelu_value)(vreal x, FN(parameters) p) {
    (void)p;
    FN(gelu_parts) g = FN(gelu_at)(x);
    vreal positive = FN(vmax)(FN(vset)(0), x); /* x second: NaN stays, and -0 */
    return FN(vselect)(g.centre, positive - g.value, FN(vfma)(g.scale, -g.tail, positive));
}
FA_INLINE vreal FN(gelu_gradient)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    FN(gelu_parts) g = FN(gelu_at)(x);
    return FN(gate_gradient)(grad, x, g.near, g.slope, g.scale);
}
#else
FA_INLINE vmask FN(gelu_is_near)(vreal x, FN(parameters) p) {
    (void)p;
    return FN(vle)(FN(vset)(-fa_gelu_pieces.exact), x);
}
FA_INLINE vreal FN(gelu_value_pieces)(vreal x, FN(parameters) p) {
    (void)p;
    return FA_LESS_THAN_RELU(x, fa_gelu_pieces);
}
FA_INLINE vreal FN(gelu_gradient_pieces)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    return FA_GATED(grad, x, fa_gelu_slope_pieces);
}

/* far: exp(-t^2 / 2) 2^FA_TAIL */
FA_INLINE FN(exp_reduced) FN(gelu_exp)(vreal t) {
    vreal half = t * (real)-0.5, square = half * t;
    return FN(exp_reduce_pair)(square, FN(product_error)(half, t, square), FA_TAIL);
}
FA_INLINE vreal FN(gelu_value)(vreal x, FN(parameters) p) {
    (void)p;
    vreal t = FN(vmin)(FN(vset)(14.85f), FN(vabs)(x));
    FN(exp_reduced) e = FN(gelu_exp)(t);
    vreal tail = FA_POLYNOMIAL((real)1 / (t * t), FN(gelu_far_tail));
    return (real)0 - FN(times_exp)(FN(vset)(1), e, FN(expm1_core)(e.r), tail); /* +0 where nothing is left */
}
FA_INLINE vreal FN(gelu_gradient)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    vreal t = FN(vmin)(FN(vset)(14.85f), FN(vabs)(x));
    FN(exp_reduced) e = FN(gelu_exp)(t);
    return FN(times_exp)(grad, e, FN(expm1_core)(e.r), -t * FA_POLYNOMIAL((real)1 / (t * t), FN(gelu_far_slope)));
}
#endif

#if FA_DOUBLE
FA_INLINE vreal FN(gelu_tanh_value)(vreal x, FN(parameters) p) {
    (void)p;
    FN(gelu_tanh_parts) g = FN(gelu_tanh_at)(x);
    return FN(vfma)(g.t * g.scale, -g.tail, FN(vmax)(FN(vset)(0), x));
}
FA_INLINE vreal FN(gelu_tanh_gradient)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    FN(gelu_tanh_parts) g = FN(gelu_tanh_at)(x);
    return FN(gate_gradient)(grad, x, g.near, g.slope, g.scale);
}
#else
FA_INLINE vmask FN(gelu_tanh_is_near)(vreal x, FN(parameters) p) {
    (void)p;
    return FN(vle)(FN(vset)(-fa_gelu_tanh_pieces.exact), x);
}
FA_INLINE vreal FN(gelu_tanh_value_pieces)(vreal x, FN(parameters) p) {
    (void)p;
    return FA_LESS_THAN_RELU(x, fa_gelu_tanh_pieces);
}
FA_INLINE vreal FN(gelu_tanh_gradient_pieces)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    return FA_GATED(grad, x, fa_gelu_tanh_slope_pieces);
}
/* far: t w, w = exp(-2u), and the slope w (1 - 2u't): w itself is nothing beside 1 */
FA_INLINE vreal FN(gelu_tanh_value)(vreal x, FN(parameters) p) {
    (void)p;
    vreal t = FN(vmin)(FN(vset)(10.915f), FN(vabs)(x));
    FN(exp_reduced) e = FN(gelu_tanh_exp)(t, t * t);
    return (real)0 - FN(times_exp)(FN(vset)(1), e, FN(expm1_core)(e.r), t);
}
FA_INLINE vreal FN(gelu_tanh_gradient)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    const vreal triple = FN(vset)((real)(3 * -0x1.2444f2a4d8b4bp-4)), linear = FN(vset)(FA_TANH_LINEAR);
    const real triple_low = (real)(3 * -0x1.2444f2a4d8b4bp-4 - (double)(real)(3 * -0x1.2444f2a4d8b4bp-4));
    vreal t = FN(vmin)(FN(vset)(10.915f), FN(vabs)(x)), square = t * t;
    FN(exp_reduced) e = FN(gelu_tanh_exp)(t, square);
    vreal rise = FN(vfma)(triple, square, linear), product = rise * t, factor = product + (real)1; /* rise: -2u' */
    /* what the roundings lost of factor goes, in proportion, to exp - 1 */
    vreal low = FN(product_error)(triple, square, rise - linear) + FA_TANH_LINEAR_LOW;
    low = FN(vfma)(FN(vset)(triple_low), square, FN(vfma)(triple, FN(product_error)(t, t, square), low));
    vreal lost = FN(vfma)(low, t, FN(product_error)(rise, t, product) + ((product - factor) + (real)1));
    return FN(times_exp)(grad, e, FN(expm1_core)(e.r) + lost / factor, factor);
}
#endif

/* max(0, x) + log(1 + exp(-|b x|)) / b */
FA_INLINE vreal FN(softplus_value)(vreal x, FN(parameters) p) {
    /* 1 / b and 2^-FA_EXP_SHIFT as two factors: neither leaves the normal numbers by more than b itself */
    const real first = (p.a < 1 ? FA_UNSCALE : (real)1) / p.a, second = p.a < 1 ? (real)1 : FA_UNSCALE;
    vreal t = FN(vabs)(x) * p.a;
    vreal lost = FN(product_error)(FN(vabs)(x), FN(vset)(p.a), t);
    lost = FN(vselect)(FN(vlt)(t, FN(vset)(-FA_EXP_LOWEST)), lost, FN(vset)(0));
    FN(exp_reduced) e = FN(exp_reduce)(-FN(vmin)(FN(vset)(-FA_EXP_LOWEST), t), FA_EXP_SHIFT);
    vreal tail = FN(log1p_scaled)(e.scale, FN(expm1_core)(e.r - lost));
    return FN(vfma)(tail * first, FN(vset)(second), FN(vmax)(x, FN(vset)(0)));
}
#if !FA_DOUBLE
FA_INLINE vmask FN(softplus_is_near)(vreal x, FN(parameters) p) {
    const real lowest = p.a < (real)0x1p-126 ? (real)INFINITY : -fa_softplus_pieces.exact; /* 1 / b may be infinite */
    return FN(vle)(FN(vset)(lowest), x * p.a);
}
FA_INLINE vreal FN(softplus_value_pieces)(vreal x, FN(parameters) p) {
    const real inverse = 1 / p.a, rest = (real)(1 / (double)p.a - (double)inverse);
    vreal t = FN(vmin)(FN(vset)(fa_softplus_pieces.high), FN(vabs)(x) * p.a);
    /* what is lost of t, and no more where t is cut off */
    vreal lost = FN(vmin)(FN(vset)(0x1p-20f), FN(product_error)(FN(vabs)(x), FN(vset)(p.a), t));
    vreal tail = FA_PIECEWISE_SUM(t, lost, fa_softplus_pieces);
    return FN(vfma)(tail, FN(vset)(inverse), FN(vfma)(tail, FN(vset)(rest), FN(vmax)(x, FN(vset)(0))));
}
#endif
FA_INLINE vreal FN(softplus_gradient)(vreal grad, vreal y, FN(parameters) p) {
    /* so close to 0 the slope is b y, which need not be a normal number for the result to be one */
    const real tiny = FA_DOUBLE ? (real)0x1p-60 : (real)0x1p-30;
    vreal t = y * p.a, slope = FN(one_minus_exp)(-t);
    return FN(vselect)(FN(vlt)(t, FN(vset)(tiny)), grad * p.a * y, grad * slope);
}

/* -softplus(-x) */
FA_INLINE vreal FN(log_sigmoid_value)(vreal x, FN(parameters) p) {
    (void)p;
    FN(exp_reduced) e = FN(exp_reduce)(FN(vmax)(FN(vset)(FA_EXP_LOWEST), -FN(vabs)(x)), FA_EXP_SHIFT);
    vreal tail = FN(log1p_scaled)(e.scale, FN(expm1_core)(e.r));
    return -FN(vfma)(tail, FN(vset)(FA_UNSCALE), FN(vmax)(-x, FN(vset)(0)));
}
#if !FA_DOUBLE
FA_INLINE vmask FN(log_sigmoid_is_near)(vreal x, FN(parameters) p) {
    (void)p;
    return FN(vle)(x, FN(vset)(fa_softplus_pieces.exact));
}
FA_INLINE vreal FN(log_sigmoid_value_pieces)(vreal x, FN(parameters) p) {
    (void)p;
    vreal t = FN(vmin)(FN(vset)(fa_softplus_pieces.high), FN(vabs)(x));
    return FN(vmin)(x, FN(vset)(0)) - FA_PIECEWISE(t, fa_softplus_pieces);
}
#endif
FA_INLINE vreal FN(log_sigmoid_gradient)(vreal grad, vreal y, FN(parameters) p) {
    (void)p;
    return grad * FN(one_minus_exp)(y);
}

/* x / (1 + exp(-x)) */
FA_INLINE vreal FN(silu_value)(vreal x, FN(parameters) p) {
    (void)p;
    vreal t = FN(vmax)(FN(vset)(FA_LOWEST), x), scale, power = FN(exp_negated)(t, &scale);
    vreal y = t / FN(vfma)(scale, power, FN(vset)(FA_TAIL_UNSCALE)) * FA_TAIL_UNSCALE;
    return FN(vselect)(FN(vlt)(FN(vset)(40), x), x, y);
}

/* What swish's slopes are made of, in double silu's too. With t = |u| and exp(t) = F / m, m = 2^-n, the slope
 * s (1 + u (1 - s)) is m (F (1 - t) + m) / (F + m)^2 at -t, and 1 minus that at t; s (1 - s) is m F / (F + m)^2. So the
 * numerator has one rounding beside those of F and 1 - t, and (F + m)^2 = F^2 + m (2F + m) another with hardly any from
 * the last term. |u| is |z| + lost. */
typedef struct {
    vreal power, scale; /* 2^FA_TAIL F and 2^FA_TAIL m */
    vreal part, square; /* 2^FA_TAIL (F (1 - t) + m), 4^FA_TAIL (F + m)^2 */
} FN(swish_parts);
FA_INLINE FN(swish_parts) FN(swish_at)(vreal z, vreal lost) {
    FN(swish_parts) s;
    vreal t = FN(vmin)(FN(vset)(-FA_LOWEST), FN(vabs)(z));
    vreal r = FN(swish_reduce_power)(t, &s.scale);
    s.power = FA_POLYNOMIAL(r + lost * FN(swish_stretch), FN(swish_power));
    s.part = FN(vfma)(s.power, (real)1 - t, s.scale);
    s.square = FN(vfma)(s.power, s.power, FN(vfma)(s.power, FN(vset)(2), s.scale) * s.scale);
    return s;
}
/* grad times the slope, at z < 0 quotient * scale, else 1 minus that */
FA_INLINE vreal FN(swish_slope)(vreal grad, vreal z, vreal quotient, vreal scale) {
    const vreal one = FN(vset)(1);
    vmask below = FN(vlt)(z, FN(vset)(0));
    vreal above = FN(vfma)(quotient, -scale, one);
    return grad * FN(vselect)(below, quotient, above) * FN(vselect)(below, scale, one);
}
#if FA_DOUBLE
FA_INLINE vreal FN(silu_gradient)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    FN(swish_parts) s = FN(swish_at)(x, FN(vset)(-(real)0)); /* adding -0 is free */
    return FN(swish_slope)(grad, x, s.part / s.square, s.scale);
}
#else
FA_INLINE vmask FN(silu_is_near)(vreal x, FN(parameters) p) {
    (void)p;
    return FN(vle)(FN(vset)(-fa_silu_slope_pieces.exact), x);
}
FA_INLINE vreal FN(silu_gradient_pieces)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    return FA_GATED(grad, x, fa_silu_slope_pieces);
}
/* w (1 + x - w (1 + 2x)), w = exp(x), and nothing more from -10 down */
FA_INLINE vreal FN(silu_gradient)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    vreal t = FN(vmax)(FN(vset)(FA_LOWEST), x);
    FN(exp_reduced) e = FN(exp_reduce)(t, FA_TAIL);
    vreal expm1 = FN(expm1_core)(e.r), w = FN(vfma)(e.scale, expm1, e.scale) * FA_TAIL_UNSCALE;
    vreal factor = FN(vfma)(w, FN(vfma)(t, FN(vset)(-2), FN(vset)(-1)), t + (real)1);
    return FN(times_exp)(grad, e, expm1, factor);
}
#endif

/* With w = exp(x) and d = w (w + 2) + 2: x w (w + 2) / d, below 0 as x w - x w (w^2 + w) / d, above as x - 2 x / d */
FA_INLINE vreal FN(mish_value)(vreal x, FN(parameters) p) {
    (void)p;
    vmask upper = FN(vlt)(FN(vset)(0), x);
    vreal t = FN(vmin)(FN(vset)(FA_WIDE), FN(vmax)(FN(vset)(FA_LOWEST), x));
    FN(exp_reduced) e = FN(exp_reduce)(t, FA_TAIL);
    vreal f = FN(expm1_core)(e.r), w = FN(vfma)(e.scale, f, e.scale) * FA_TAIL_UNSCALE;
    vreal d = FN(vfma)(w, w + (real)2, FN(vset)(2)), xw = FN(vfma)(f, t, t) * e.scale;
    vreal part = FN(vselect)(upper, FN(vset)(2), FN(vfma)(w, w, w)) / d;
    vreal y = FN(vfma)(-FN(vselect)(upper, t, xw), part, FN(vselect)(upper, x, xw));
    return FN(vsigned)(FN(vselect)(upper, y, y * FA_TAIL_UNSCALE), x); /* -0 for -0 */
}
#if FA_DOUBLE
/* w (4 (1 + x) + w (6 + 4x + w (4 + w))) / (n + 2)^2, with hardly any cancellation away from the root; from -0.55 on
 * 1/2 + (w (4x + w (4x + 2 + w (2 + w/2))) - 2) / (n + 2)^2, in which the quotient's errors count less. Both sides of the
 * quotients times 53/256, where their rounding costs least. */
FA_INLINE vreal FN(mish_gradient)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    const real half = (real)0.5;
    vmask upper = FN(vlt)(FN(vset)((real)-0.55), x);
    vreal t = FN(vmin)(FN(vset)(FA_WIDE), FN(vmax)(FN(vset)(FA_LOWEST), x));
    FN(exp_reduced) e = FN(exp_reduce)(t, FA_TAIL);
    vreal f = FN(expm1_core)(e.r), w = FN(vfma)(e.scale, f, e.scale) * FA_TAIL_UNSCALE;
    const vreal k = FN(vset)((real)0.828125), k2 = k + k;
    vreal a = FN(vfma)(w, k * (real)0.25, k);
    vreal below = FN(vfma)(w, FN(vfma)(w, a, FN(vfma)(t, k, k * (real)1.5)), FN(vfma)(t, k, k));
    vreal above = FN(vfma)(w, FN(vfma)(w, FN(vfma)(w, a * half, FN(vfma)(t, k, k * half)), t * k), k * -half);
    vreal square = FN(vfma)(w, FN(vfma)(w, FN(vfma)(w, a, k2), k2), k);
    below = FN(vfma)(f, below, below) * e.scale;
    vreal q = FN(vselect)(upper, above, below) / square;
    vmask finite = FN(vlt)(FN(vabs)(grad), FN(vset)((real)INFINITY)); /* an infinite grad would be inf - inf */
    vreal gated = FN(vselect)(finite, FN(vfma)(grad, q, grad * half), grad);
    return FN(vselect)(upper, gated, grad * q * FA_TAIL_UNSCALE);
}
#else
FA_INLINE vmask FN(mish_is_near)(vreal x, FN(parameters) p) {
    (void)p;
    return FN(vand)(FN(vle)(FN(vset)(fa_mish_pieces.low), x), FN(vle)(x, FN(vset)(fa_mish_pieces.high)));
}
FA_INLINE vreal FN(mish_value_pieces)(vreal x, FN(parameters) p) {
    (void)p;
    return x * FA_PIECEWISE(x, fa_mish_pieces);
}
FA_INLINE vreal FN(mish_gradient_pieces)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    return grad * FA_PIECEWISE(x, fa_mish_slope_pieces);
}
/* With w = exp(-|x|), w (1 + x - w (1/2 + x - w^2 (1/4 + x))) below -5.5, 1 + w^2 (4x - 2 - w (12x - 4)) above 7 */
FA_INLINE vreal FN(mish_gradient)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    vreal t = FN(vmax)(FN(vset)(FA_LOWEST), -FN(vabs)(x));
    FN(exp_reduced) e = FN(exp_reduce)(t, FA_TAIL);
    vreal expm1 = FN(expm1_core)(e.r), w = FN(vfma)(e.scale, expm1, e.scale) * FA_TAIL_UNSCALE;
    w = FN(vmax)(FN(vset)(0x1p-40f), w); /* less is nothing beside 1, and its square may be slow, as a subnormal */
    vreal inner = FN(vfma)(w * w, t + (real)0.25, (real)-0.5 - t);
    vreal below = FN(times_exp)(grad, e, expm1, FN(vfma)(w, inner, t + (real)1));
    vreal outer = FN(vfma)(w, FN(vfma)(t, FN(vset)(12), FN(vset)(4)), FN(vfma)(t, FN(vset)(-4), FN(vset)(-2)));
    return FN(vselect)(FN(vlt)(FN(vset)(0), x), grad * FN(vfma)(w * w, outer, FN(vset)(1)), below);
}
#endif

/* x clipped to [low, high]; NaN stays */
FA_INLINE vreal FN(clipped)(vreal x, real low, real high) {
    return FN(vmin)(FN(vset)(high), FN(vmax)(FN(vset)(low), x));
}
/* the slope where it is 0: 0, or NaN for a saved NaN (not v - v, which is NaN for infinities too) */
FA_INLINE vreal FN(flat)(vreal saved) {
    return FN(vselect)(FN(veq)(saved, saved), FN(vset)(0), saved);
}
/* inner strictly between low and high */
FA_INLINE vreal FN(clipped_gradient)(vreal inner, vreal y, real low, real high) {
    return FN(vselect)(FN(vand)(FN(vlt)(FN(vset)(low), y), FN(vlt)(y, FN(vset)(high))), inner, FN(flat)(y));
}

#define FA_SIXTH (real)0x1.5555555555555p-3
/* With 1/6 in two parts a product is as good as a quotient and three times as fast; both positive, for a -0 to stay. */
FA_INLINE vreal FN(over_six)(vreal x) {
    const real high = FA_DOUBLE ? FA_SIXTH : (real)0x1.555554p-3;
    const real low = FA_DOUBLE ? (real)0x1.5555555555555p-57 : (real)0x1.555556p-27;
    if (FA_DOUBLE && !FA_FMA) return x / (real)6;
    return FN(vfma)(x, FN(vset)(high), x * low);
}
FA_INLINE vreal FN(hard_sigmoid_value)(vreal x, FN(parameters) p) {
    (void)p;
    return FN(over_six)(FN(clipped)(x + (real)3, 0, 6));
}
FA_INLINE vreal FN(hard_sigmoid_gradient)(vreal grad, vreal y, FN(parameters) p) {
    (void)p;
    return FN(clipped_gradient)(grad * FA_SIXTH, y, 0, 1);
}

FA_INLINE vreal FN(hard_swish_value)(vreal x, FN(parameters) p) {
    (void)p;
    vreal inner = FN(clipped)(x, -3, 3); /* a product with a rounded 1/6 would be 2.24 ULP off */
    return FN(vselect)(FN(vle)(FN(vset)(3), x), x, FN(over_six)(inner * (inner + (real)3)));
}
FA_INLINE vreal FN(hard_swish_gradient)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    vreal inner = grad * (FN(vfma)(x, FN(vset)(2), FN(vset)(3)) * FA_SIXTH);
    inner = FN(vselect)(FN(vle)(FN(vset)(3), x), grad, inner);
    return FN(vselect)(FN(vle)(x, FN(vset)(-3)), FN(vset)(0), inner);
}

FA_INLINE vreal FN(hard_tanh_value)(vreal x, FN(parameters) p) {
    return FN(clipped)(x, p.a, p.b);
}
FA_INLINE vreal FN(hard_tanh_gradient)(vreal grad, vreal y, FN(parameters) p) {
    return FN(clipped_gradient)(grad, y, p.a, p.b);
}

FA_INLINE vreal FN(relu6_value)(vreal x, FN(parameters) p) {
    (void)p;
    return FN(clipped)(x, 0, 6);
}
FA_INLINE vreal FN(relu6_gradient)(vreal grad, vreal y, FN(parameters) p) {
    (void)p;
    return FN(clipped_gradient)(grad, y, 0, 6);
}

FA_INLINE vreal FN(softsign_value)(vreal x, FN(parameters) p) {
    (void)p;
    /* 1 long before the limit, which keeps inf / inf away */
    vreal t = FN(vmin)(FN(vset)(FA_DOUBLE ? (real)0x1p60 : (real)0x1p30), FN(vabs)(x));
    return FN(vsigned)(t / (t + (real)1), x);
}
FA_INLINE vreal FN(softsign_gradient)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    vreal d = FN(vabs)(x) + (real)1;
    return grad / d / d; /* d * d would overflow where the result need not underflow */
}

FA_INLINE vreal FN(relu_squared_value)(vreal x, FN(parameters) p) {
    (void)p;
    vreal positive = FN(vmax)(FN(vset)(0), x);
    return positive * positive;
}
FA_INLINE vreal FN(relu_squared_gradient)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    return FN(vselect)(FN(vlt)(FN(vset)(0), x), (grad + grad) * x, FN(flat)(x)); /* x + x may overflow */
}

FA_INLINE vreal FN(threshold_value)(vreal x, FN(parameters) p) {
    return FN(vselect)(FN(vle)(x, FN(vset)(p.a)), FN(vset)(p.b), x);
}
FA_INLINE vreal FN(threshold_gradient)(vreal grad, vreal x, FN(parameters) p) {
    return FN(vselect)(FN(vlt)(FN(vset)(p.a), x), grad, FN(flat)(x));
}

FA_INLINE vreal FN(hard_shrink_value)(vreal x, FN(parameters) p) {
    return FN(vselect)(FN(vle)(FN(vabs)(x), FN(vset)(p.a)), FN(vset)(0), x);
}
FA_INLINE vreal FN(hard_shrink_gradient)(vreal grad, vreal x, FN(parameters) p) {
    return FN(vselect)(FN(vlt)(FN(vset)(p.a), FN(vabs)(x)), grad, FN(flat)(x));
}

FA_INLINE vreal FN(soft_shrink_value)(vreal x, FN(parameters) p) {
    return x - FN(clipped)(x, -p.a, p.a);
}
FA_INLINE vreal FN(soft_shrink_gradient)(vreal grad, vreal y, FN(parameters) p) {
    (void)p;
    vreal outside = FN(vselect)(FN(veq)(y, y), grad, y);
    return FN(vselect)(FN(veq)(y, FN(vset)(0)), FN(vset)(0), outside);
}

/* 1 + exp(2t) for t >= 0, or what is nothing beside 1 when 2 is divided by it. The exponential is only felt where it is
 * not large: t = n ln(2)/2 + r is reduced with one constant. */
FA_INLINE vreal FN(one_plus_exp)(vreal t) {
    const real magic = (FA_DOUBLE ? (real)0x1.8p52 : (real)0x1.8p23) + (FA_DOUBLE ? 1023 : 127);
    t = FN(vmin)(FN(vset)(20), t);
    vreal k = FN(vfma)(t, FN(vset)((real)0x1.71547652b82fep1), FN(vset)(magic));
    vreal r = FN(vfma)(k - magic, FN(vset)((real)-0x1.62e42fefa39efp-2), t);
    vreal scale = (vreal)(FN(vbits)(k) << (FA_DOUBLE ? 52 : 23));
    vreal power = FN(vfma)(r, FA_POLYNOMIAL(r, FN(exp_double_tail)), FN(vset)(1));
    return FN(vfma)(scale, power, FN(vset)(1));
}

/* 1 - tanh(t) = 2 / (1 + exp(2t)) for t >= 0, more accurate than tanh needs it. Both sides of the quotient times c, with
 * which the denominator does not round worst, as it does above 4, where most of tanh is this. */
FA_INLINE vreal FN(one_minus_tanh)(vreal t) {
    const real c = FA_EITHER(1, 0.78125);
    FN(exp_reduced) e = FN(exp_reduce)(FN(vmin)(FN(vset)(40), t * (real)2), 0); /* nothing beside 1 */
    vreal scale = e.scale * c;
    return (c + c) / FN(vfma)(scale, FN(expm1_core)(e.r), scale + c);
}
/* x (x^2 (1/3 + x^2 P(x^2))) up to where it is 1/4, with 1/3 in two parts and what the square's rounding lost
 * put back (times 1/4 for what goes from 0.33 to 0.23: near enough); above it (x - 1) + (1 - tanh(x)) */
FA_INLINE vreal FN(tanh_shrink_value)(vreal x, FN(parameters) p) {
    (void)p;
    vreal t = FN(vabs)(x), square = x * x, lost = FN(product_error)(x, x, square);
    const real third = (real)0x1.5555555555555p-2;
    const real rest = FA_DOUBLE ? (real)0x1.5555555555555p-56 : (real)-0x1.555556p-27;
    vreal tail = FN(vfma)(square, FA_POLYNOMIAL(square, FN(tanh_shrink_tail)), FN(vset)(rest));
    vreal small = x * FN(vfma)(square, FN(vset)(third), FN(vfma)(square, tail, lost * (real)0.25));
    vreal large = (t - (real)1) + (real)2 / FN(one_plus_exp)(t);
    return FN(vselect)(FN(vlt)(t, FN(vset)((real)0x1.050ff6p0)), small, FN(vsigned)(large, x));
}
FA_INLINE vreal FN(tanh_shrink_gradient)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    vreal t = FN(vabs)(x), z = x * x;
    vmask small = FN(vlt)(t, FN(vset)(FA_TANH_SMALL));
    vreal base = FN(vselect)(small, t, FN(vset)(1));
    vreal rest = FN(vselect)(small, t * z * FA_POLYNOMIAL(z, FN(tanh_tail)), -FN(one_minus_tanh)(t));
    vreal sum = base + rest, lost = (base - sum) + rest; /* tanh(|x|), exactly their sum */
    return grad * sum * (sum + (lost + lost));
}

/* Activations with a learned weight:
 *   name_value(x, w)             f(x; w)
 *   name_gradient(g, x, w, *dw)  g * df/dx; *dw = g * df/dw
 */

FA_INLINE vreal FN(prelu_value)(vreal x, vreal w) {
    /* the limit at -inf is 0 for a weight of 0, where the product is NaN */
    vreal scaled = FN(vselect)(FN(veq)(w, FN(vset)(0)), FN(vset)(0), x * w);
    return FN(vselect)(FN(vle)(x, FN(vset)(0)), scaled, x);
}
FA_INLINE vreal FN(prelu_gradient)(vreal g, vreal x, vreal w, vreal *dw) {
    vmask below = FN(vle)(x, FN(vset)(0));
    vreal scaled = FN(vselect)(FN(veq)(w, FN(vset)(0)), FN(vset)(0), g * w);
    vreal above = FN(vselect)(FN(vlt)(FN(vset)(0), x), g, x); /* NaN stays */
    *dw = FN(vselect)(below, g * x, FN(vselect)(FN(vlt)(FN(vset)(0), x), FN(vset)(0), x));
    return FN(vselect)(below, scaled, above);
}

/* beta * x = z + lost. An infinite x counts as the largest number, so that beta = 0 gives 0. */
typedef struct {
    vreal x, z, lost;
} FN(swish_argument);
FA_INLINE FN(swish_argument) FN(swish_reduce)(vreal x, vreal beta) {
    const real largest = FA_DOUBLE ? (real)0x1.fffffffffffffp1023 : (real)0x1.fffffep127;
    FN(swish_argument) a;
    a.x = FN(vmin)(FN(vset)(largest), FN(vmax)(FN(vset)(-largest), x));
    a.z = a.x * beta;
    vmask tame = FN(vlt)(FN(vabs)(a.z), FN(vset)(-FA_LOWEST));
    a.lost = FN(vselect)(tame, FN(product_error)(a.x, beta, a.z), FN(vset)(0));
    return a;
}

/* scaled * x * factor * 2^-FA_TAIL: where scaled is below 1 the power of two goes last, so that a subnormal
 * result is rounded once, else first, so that nothing overflows. */
FA_INLINE vreal FN(swish_unscale)(vreal scaled, vreal x, vreal factor) {
    const vreal unscale = FN(vset)(FA_TAIL_UNSCALE), one = FN(vset)(1);
    vmask last = FN(vlt)(scaled, one);
    return scaled * FN(vselect)(last, one, unscale) * x * factor * FN(vselect)(last, unscale, one);
}

/* x s(beta x), its slope in x times grad, and its slope in beta: x^2 s (1 - s). Once s is below 2^-158 (2^-1086) the
 * results are 0, which only shows when beta is small. */
FA_INLINE vreal FN(swish_value)(vreal x, vreal beta) {
    FN(swish_argument) a = FN(swish_reduce)(x, beta);
    vreal t = FN(vmin)(FN(vset)(40), FN(vmax)(FN(vset)(FA_LOWEST), a.z));
    FN(exp_reduced) e = FN(exp_reduce)(t, FA_TAIL);
    vreal w = FN(vfma)(e.scale, FN(expm1_core)(e.r + a.lost), e.scale);
    vreal s = w / FN(vfma)(w, FN(vset)(FA_TAIL_UNSCALE), FN(vset)(1));
    return FN(swish_unscale)(s, FN(vselect)(FN(vlt)(s, FN(vset)(1)), a.x, x), FN(vset)(1));
}
FA_INLINE vreal FN(swish_gradient)(vreal grad, vreal x, vreal beta, vreal *dbeta) {
    FN(swish_argument) a = FN(swish_reduce)(x, beta);
    FN(swish_parts) s = FN(swish_at)(a.z, FN(vselect)(FN(vlt)(a.z, FN(vset)(0)), -a.lost, a.lost));
    vreal inverse = (real)1 / s.square;
    *dbeta = grad * FN(swish_unscale)(s.power * s.scale * (inverse * (1 / FA_TAIL_UNSCALE)), a.x, a.x);
    return FN(swish_slope)(grad, a.z, s.part * inverse, s.scale);
}

/* The lists, in the registry's order: a name's place is its kernel's number, the same here and there. Value and
 * gradient are `whole`, or have `pieces` in float. */
#define FA_ACTIVATIONS(X)         \
    X(identity, whole, whole)     \
    X(relu, whole, whole)         \
    X(leaky_relu, whole, whole)   \
    X(sigmoid, whole, whole)      \
    X(tanh, whole, whole)         \
    X(elu, whole, whole)          \
    X(celu, whole, whole)         \
    X(selu, whole, whole)         \
    X(gelu, pieces, pieces)       \
    X(gelu_tanh, pieces, pieces)  \
    X(softplus, pieces, whole)    \
    X(log_sigmoid, pieces, whole) \
    X(silu, whole, pieces)        \
    X(mish, pieces, pieces)       \
    X(hard_sigmoid, whole, whole) \
    X(hard_swish, whole, whole)   \
    X(hard_tanh, whole, whole)    \
    X(relu6, whole, whole)        \
    X(softsign, whole, whole)     \
    X(relu_squared, whole, whole) \
    X(threshold, whole, whole)    \
    X(hard_shrink, whole, whole)  \
    X(soft_shrink, whole, whole)  \
    X(tanh_shrink, whole, whole)

#define FA_LEARNED(X) \
    X(prelu)          \
    X(swish)
