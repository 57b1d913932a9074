/* Every elementwise activation: its value and its gradient for one vector, side by side, and at the end the list.
 *
 *   name_value(x, p)              f(x)
 *   name_gradient(grad, saved, p) grad * f'(x), from what the registry says backward reads: y or x
 *
 * p holds the activation's own parameters, rounded to the dtype, in the registry's order. A piecewise-linear slope of 0
 * selects 0 whatever grad is; NaN in saved always gives NaN. Smooth slopes multiply.
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

/* e = exp(-|x|): 1 / (1 + e) above 0, e / (1 + e) below; no cancellation, right down to the smallest subnormal */
FA_INLINE vreal FN(sigmoid_value)(vreal x, FN(parameters) p) {
    (void)p;
    FN(exp_parts) e = FN(exp_negative)(FN(vabs)(x));
    vreal tail = e.mantissa * e.scale * FA_UNSCALE;
    vreal numerator = FN(vselect)(FN(vlt)(x, FN(vset)(0)), tail, FN(vset)(1));
    return numerator / (tail + (real)1);
}
FA_INLINE vreal FN(sigmoid_gradient)(vreal grad, vreal y, FN(parameters) p) {
    (void)p;
    return grad * (y * ((real)1 - y));
}

/* with m = expm1(-2|x|): -m / (2 + m), the sign of x */
FA_INLINE vreal FN(tanh_value)(vreal x, FN(parameters) p) {
    (void)p;
    vreal m = FN(expm1_negative)(FN(vabs)(x) * (real)2);
    return FN(vsigned)(-m / (m + (real)2), x);
}
FA_INLINE vreal FN(tanh_gradient)(vreal grad, vreal y, FN(parameters) p) {
    (void)p;
    return grad * (((real)1 - y) * ((real)1 + y));
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

/* The lists. Order is free; the registry finds a kernel by its name. */
#define FA_ACTIVATIONS(X) \
    X(identity)           \
    X(relu)               \
    X(leaky_relu)         \
    X(sigmoid)            \
    X(tanh)

#define FA_LEARNED(X) X(prelu)
