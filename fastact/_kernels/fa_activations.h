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

FA_INLINE vreal FN(hard_sigmoid_value)(vreal x, FN(parameters) p) {
    (void)p;
    return FN(clipped)(x + (real)3, 0, 6) / (real)6;
}
FA_INLINE vreal FN(hard_sigmoid_gradient)(vreal grad, vreal y, FN(parameters) p) {
    (void)p;
    return FN(clipped_gradient)(grad / (real)6, y, 0, 1);
}

FA_INLINE vreal FN(hard_swish_value)(vreal x, FN(parameters) p) {
    (void)p;
    vreal inner = FN(clipped)(x, -3, 3); /* divided, as a product with a rounded 1/6 would be 2.24 ULP off */
    return FN(vselect)(FN(vle)(FN(vset)(3), x), x, inner * (inner + (real)3) / (real)6);
}
FA_INLINE vreal FN(hard_swish_gradient)(vreal grad, vreal x, FN(parameters) p) {
    (void)p;
    vreal inner = grad * (FN(vfma)(x, FN(vset)(2), FN(vset)(3)) / (real)6);
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
    return FN(vselect)(FN(vlt)(FN(vset)(0), x), grad * (x + x), FN(flat)(x));
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

/* The list. Order is free; the registry finds a kernel by its name. */
#define FA_ACTIVATIONS(X) \
    X(identity)           \
    X(relu)               \
    X(leaky_relu)         \
    X(sigmoid)            \
    X(tanh)               \
    X(gelu)               \
    X(gelu_tanh)          \
    X(hard_sigmoid)       \
    X(hard_swish)         \
    X(hard_tanh)          \
    X(relu6)              \
    X(softsign)           \
    X(relu_squared)       \
    X(threshold)          \
    X(hard_shrink)        \
    X(soft_shrink)
