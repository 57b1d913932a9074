/* Optimiser updates: each one pass over parameters, gradients and state, one vector after another.
 *
 * The rules are PyTorch's (torch.optim), with what is the same for all elements (bias corrections, 1 - beta) worked out
 * by the caller. An element of zeros stays zero under every rule, so the padding between segments does.
 */

/* The numbers of fa_update rounded to the dtype, and one vector of everything. */
typedef struct {
    vreal rate, decay, shrink, momentum, gain, mean, mean_gain, square, square_gain, correction, epsilon, inside;
    vreal scale, limit;
    int nesterov;
} FN(rates);

typedef struct {
    vreal p, g, state[FA_STATES];
} FN(cell);

/* Brings the states up to date and returns the direction in which the parameters go by the rate. */
typedef vreal FN(update_rule)(FN(cell) *c, const FN(rates) *r, int states);

/* state: velocity, where there is one */
FA_INLINE vreal FN(sgd_rule)(FN(cell) *c, const FN(rates) *r, int states) {
    vreal g = c->g;
    if (states & 1) {
        vreal v = c->state[0] = FN(vfma)(c->state[0], r->momentum, g * r->gain);
        g = r->nesterov ? FN(vfma)(v, r->momentum, g) : v;
    }
    return g;
}

/* state: mean square of the gradient; its mean, when centred; velocity, with momentum */
FA_INLINE vreal FN(rmsprop_rule)(FN(cell) *c, const FN(rates) *r, int states) {
    vreal variance = c->state[0] = FN(vfma)(c->state[0], r->square, c->g * c->g * r->square_gain);
    if (states & 2) {
        vreal mean = c->state[1] = FN(vfma)(c->state[1], r->square, c->g * r->square_gain);
        variance = FN(vmax)(FN(vset)(0), FN(vfma)(-mean, mean, variance)); /* rounding may bring it below 0 */
    }
    vreal change = c->g / (FN(vsqrt)(variance + r->inside) + r->epsilon);
    if (states & 4) change = c->state[2] = FN(vfma)(c->state[2], r->momentum, change);
    return change;
}

/* state: sum of the gradient's squares */
FA_INLINE vreal FN(adagrad_rule)(FN(cell) *c, const FN(rates) *r, int states) {
    (void)states;
    vreal sum = c->state[0] = FN(vfma)(c->g, c->g, c->state[0]);
    return c->g / (FN(vsqrt)(sum + r->inside) + r->epsilon);
}

/* state: means of the gradient and of its square; the largest of the latter, for AMSGrad */
FA_INLINE vreal FN(adam_rule)(FN(cell) *c, const FN(rates) *r, int states) {
    vreal mean = c->state[0] = FN(vfma)(c->state[0], r->mean, c->g * r->mean_gain);
    vreal square = c->state[1] = FN(vfma)(c->state[1], r->square, c->g * c->g * r->square_gain);
    if (states & 4) square = c->state[2] = FN(vmax)(c->state[2], square); /* written so that NaN stays */
    return mean / FN(vfma)(FN(vsqrt)(square + r->inside), r->correction, r->epsilon);
}

/* states: as Adam's; the direction is momentum * mean + gain * g over the root */
FA_INLINE vreal FN(nadam_rule)(FN(cell) *c, const FN(rates) *r, int states) {
    (void)states;
    vreal mean = c->state[0] = FN(vfma)(c->state[0], r->mean, c->g * r->mean_gain);
    vreal square = c->state[1] = FN(vfma)(c->state[1], r->square, c->g * c->g * r->square_gain);
    return FN(vfma)(mean, r->momentum, c->g * r->gain) / FN(vfma)(FN(vsqrt)(square), r->correction, r->epsilon);
}

/* state: means of the squares of the gradient and of the changes */
FA_INLINE vreal FN(adadelta_rule)(FN(cell) *c, const FN(rates) *r, int states) {
    (void)states;
    vreal square = c->state[0] = FN(vfma)(c->state[0], r->square, c->g * c->g * r->square_gain);
    vreal change = FN(vsqrt)(c->state[1] + r->inside) / FN(vsqrt)(square + r->inside) * c->g;
    c->state[1] = FN(vfma)(c->state[1], r->square, change * change * r->square_gain);
    return change;
}

/* state: mean of the gradient, by the factor `square`; by `mean` in the step's own, of which the sign counts */
FA_INLINE vreal FN(lion_rule)(FN(cell) *c, const FN(rates) *r, int states) {
    (void)states;
    const vreal zero = FN(vset)(0), one = FN(vset)(1);
    vreal mixed = FN(vfma)(c->state[0], r->mean, c->g * r->mean_gain);
    c->state[0] = FN(vfma)(c->state[0], r->square, c->g * r->square_gain);
    return FN(vselect)(FN(vlt)(zero, mixed), one, FN(vselect)(FN(vlt)(mixed, zero), -one, mixed)); /* 0, NaN stay */
}

FA_INLINE void FN(update_vector)(FN(update_rule) *rule, const FN(rates) *r, real *p, const real *g, real *const *state,
                                 int states, int whole, ptrdiff_t n) {
    FN(cell) c;
    c.p = whole ? FN(vload)(p) : FN(vload_part)(p, n);
    c.g = (whole ? FN(vload)(g) : FN(vload_part)(g, n)) * r->scale;
    c.g = FN(vmax)(-r->limit, FN(vmin)(r->limit, c.g)); /* written so that NaN stays */
    c.g = FN(vfma)(c.p, r->decay, c.g);
    for (int k = 0; k < FA_STATES; k++)
        if (states >> k & 1) c.state[k] = whole ? FN(vload)(state[k]) : FN(vload_part)(state[k], n);
    c.p = FN(vfma)(FN(vfma)(c.p, r->shrink, rule(&c, r, states)), -r->rate, c.p);
    for (int k = 0; k < FA_STATES; k++)
        if (states >> k & 1) {
            if (whole) FN(vstore)(state[k], c.state[k]);
            else FN(vstore_part)(state[k], c.state[k], n);
        }
    if (whole) FN(vstore)(p, c.p);
    else FN(vstore_part)(p, c.p, n);
}

FA_INLINE void FN(update_loop)(FN(update_rule) *rule, const fa_update *u, ptrdiff_t first, ptrdiff_t n, int states) {
    const FN(rates) r = {
        FN(vset)((real)u->rate),       FN(vset)((real)u->decay),       FN(vset)((real)u->shrink),
        FN(vset)((real)u->momentum),   FN(vset)((real)u->gain),        FN(vset)((real)u->mean),
        FN(vset)((real)(1 - u->mean)), FN(vset)((real)u->square),      FN(vset)((real)(1 - u->square)),
        FN(vset)((real)u->correction), FN(vset)((real)u->epsilon),     FN(vset)((real)u->inside),
        FN(vset)((real)u->scale),      FN(vset)((real)u->limit),       u->nesterov,
    };
    real *p = (real *)u->parameter + first, *state[FA_STATES] = {NULL, NULL, NULL};
    const real *g = (const real *)u->gradient + first;
    for (int k = 0; k < FA_STATES; k++)
        if (states >> k & 1) state[k] = (real *)u->state[k] + first;
    ptrdiff_t i = 0;
    for (; i + FN(lanes) <= n; i += FN(lanes)) {
        FN(update_vector)(rule, &r, p + i, g + i, state, states, 1, FN(lanes));
        for (int k = 0; k < FA_STATES; k++)
            if (states >> k & 1) state[k] += FN(lanes);
    }
    if (i < n) FN(update_vector)(rule, &r, p + i, g + i, state, states, 0, n - i);
}

static void FN(sgd)(const fa_update *u, ptrdiff_t first, ptrdiff_t n) {
    if (u->state[0]) FN(update_loop)(FN(sgd_rule), u, first, n, 1);
    else FN(update_loop)(FN(sgd_rule), u, first, n, 0);
}

static void FN(rmsprop)(const fa_update *u, ptrdiff_t first, ptrdiff_t n) {
    if (u->state[1] && u->state[2]) FN(update_loop)(FN(rmsprop_rule), u, first, n, 7);
    else if (u->state[1]) FN(update_loop)(FN(rmsprop_rule), u, first, n, 3);
    else if (u->state[2]) FN(update_loop)(FN(rmsprop_rule), u, first, n, 5);
    else FN(update_loop)(FN(rmsprop_rule), u, first, n, 1);
}

static void FN(adagrad)(const fa_update *u, ptrdiff_t first, ptrdiff_t n) {
    FN(update_loop)(FN(adagrad_rule), u, first, n, 1);
}

static void FN(adam)(const fa_update *u, ptrdiff_t first, ptrdiff_t n) {
    if (u->state[2]) FN(update_loop)(FN(adam_rule), u, first, n, 7);
    else FN(update_loop)(FN(adam_rule), u, first, n, 3);
}

static void FN(nadam)(const fa_update *u, ptrdiff_t first, ptrdiff_t n) {
    FN(update_loop)(FN(nadam_rule), u, first, n, 3);
}

static void FN(adadelta)(const fa_update *u, ptrdiff_t first, ptrdiff_t n) {
    FN(update_loop)(FN(adadelta_rule), u, first, n, 3);
}

static void FN(lion)(const fa_update *u, ptrdiff_t first, ptrdiff_t n) {
    FN(update_loop)(FN(lion_rule), u, first, n, 1);
}

static const fa_optimizer FN(optimizers)[] = {
    {"sgd", FN(sgd)},
    {"rmsprop", FN(rmsprop)},
    {"adagrad", FN(adagrad)},
    {"adam", FN(adam)},
    {"nadam", FN(nadam)},
    {"adadelta", FN(adadelta)},
    {"lion", FN(lion)},
};

/* Sum of squares, in double and 64 bytes of lanes. */
static double FN(sum_of_squares)(const void *x, ptrdiff_t n) {
    enum { step = FA_GROUP * FN(lanes) };
    const real *from = x;
    double sums[step] = {0};
    ptrdiff_t i = 0;
    for (; i + step <= n; i += step)
        for (int j = 0; j < step; j++) sums[j] += (double)from[i + j] * (double)from[i + j];
    for (ptrdiff_t j = 0; j < n - i; j++) sums[j] += (double)from[i + j] * (double)from[i + j];
    for (int width = step / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++) sums[j] += sums[j + width];
    return sums[0];
}
