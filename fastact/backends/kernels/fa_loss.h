/* Losses: value and gradient from one visit.
 *
 * A row's (an element's) loss is formed in `real`; the sums over rows and elements are in double, in 64 bytes of lanes
 * and row order, so that they depend on the block alone. The gradient may replace the raw outputs: whatever is read of
 * them is read before it is written.
 */

/* What the cross-entropy needs to know of each row besides the logits: the numbers common to all rows.
 * The target of class c is weight_c * (keep * t_c + spread), where t is the row of probabilities, or 1 at the label. */
typedef struct {
    const real *targets, *weight;
    real keep, spread;
    int dense; /* targets or spread: every class has a target; else only the label has */
} FN(class_targets);

FA_INLINE real FN(label_target)(const FN(class_targets) *q, int64_t label) {
    return q->weight ? q->keep * q->weight[label] : q->keep;
}

FA_INLINE vreal FN(class_target)(const FN(class_targets) *q, vreal t, vreal weight) {
    return FN(vfma)(t, FN(vset)(q->keep), FN(vset)(q->spread)) * weight;
}

/* target * (x - top); nothing where the target is 0, for a logit of -inf too */
FA_INLINE vreal FN(target_term)(vreal target, vreal below) {
    return FN(vselect)(FN(veq)(target, FN(vset)(0)), FN(vset)(0), target * below);
}

/* `count` rows, one a lane (see fa_rows.h): gradients to g, losses to loss; label is NULL or one for every lane */
FA_INLINE void FN(cross_entropy_columns)(const FN(class_targets) *q, const real *x, const real *targets, real *g,
                                         const int64_t *label, const real *unit, real *loss, ptrdiff_t count,
                                         ptrdiff_t columns) {
    vreal v[FA_SHORT_ROW], target[FA_SHORT_ROW];
    real hit[FN(lanes)], at_label[FN(lanes)];
    real *strip = (real *)v;
    FN(load_columns)(v, x, count, columns);
    vreal top = v[0];
    for (ptrdiff_t c = 1; c < columns; c++) top = FN(vmax)(v[c], top); /* a NaN is not seen here, but by the sum */

    vreal target_sum = FN(vset)(0), chosen = FN(vset)(0);
    if (label) {
        for (int r = 0; r < FN(lanes); r++) hit[r] = FN(label_target)(q, label[r]);
        for (int r = 0; r < FN(lanes); r++) at_label[r] = strip[label[r] * FN(lanes) + r];
        target_sum = FN(vload)(hit);
        chosen = FN(target_term)(target_sum, FN(vload)(at_label) - top);
    }
    if (q->dense) {
        if (targets) FN(load_columns)(target, targets, count, columns);
        for (ptrdiff_t c = 0; c < columns; c++) {
            vreal t = targets ? target[c] : FN(vset)(0);
            target[c] = FN(class_target)(q, t, FN(vset)(q->weight ? q->weight[c] : (real)1));
            target_sum += target[c];
            chosen += FN(target_term)(target[c], v[c] - top);
        }
    }
    vreal sum = FN(vset)(0);
    for (ptrdiff_t c = 0; c < columns; c++) {
        v[c] = FN(exp_difference)(v[c], top);
        sum += v[c];
    }
    FN(vstore)(loss, target_sum * FN(log_above_one)(sum) - chosen);

    const vreal scale = FN(vload)(unit), factor = scale * target_sum / sum;
    if (q->dense)
        for (ptrdiff_t c = 0; c < columns; c++) v[c] = FN(vfma)(v[c], factor, -(target[c] * scale));
    else
        for (ptrdiff_t c = 0; c < columns; c++) v[c] *= factor;
    if (label)
        for (int r = 0; r < FN(lanes); r++) strip[label[r] * FN(lanes) + r] -= hit[r] * unit[r];
    FN(store_columns)(v, g, count, columns);
}

/* Sums of one long row, 64 bytes of lanes each */
typedef struct {
    vreal sum[FA_GROUP], target_sum[FA_GROUP], chosen[FA_GROUP];
} FN(row_sums);

static const real FN(lane_numbers)[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

FA_INLINE vreal FN(row_target)(const FN(class_targets) *q, const real *targets, ptrdiff_t i) {
    return FN(class_target)(q, targets ? FN(vload)(targets + i) : FN(vset)(0),
                            q->weight ? FN(vload)(q->weight + i) : FN(vset)(1));
}

/* v: the 64 bytes of logits at i, then their powers. The first `skip` lanes have been counted before. */
FA_INLINE void FN(cross_entropy_group)(const FN(class_targets) *q, FN(row_sums) *s, vreal *v, const real *targets,
                                       ptrdiff_t i, vreal top, ptrdiff_t skip) {
    const vreal zero = FN(vset)(0);
    for (int j = 0; j < FA_GROUP; j++) {
        vmask again = FN(vlt)(FN(vload)(FN(lane_numbers) + j * FN(lanes)), FN(vset)((real)skip));
        if (q->dense) {
            vreal target = FN(row_target)(q, targets, i + j * FN(lanes));
            if (skip) target = FN(vselect)(again, zero, target);
            s->target_sum[j] += target;
            s->chosen[j] += FN(target_term)(target, v[j] - top);
        }
        v[j] = FN(exp_difference)(v[j], top);
        s->sum[j] += skip ? FN(vselect)(again, zero, v[j]) : v[j];
    }
}

FA_INLINE void FN(cross_entropy_gradient)(const FN(class_targets) *q, vreal *v, const real *targets, real *g,
                                          ptrdiff_t i, vreal factor, vreal unit) {
    for (int j = 0; j < FA_GROUP; j++) {
        v[j] *= factor;
        if (q->dense) v[j] -= FN(row_target)(q, targets, i + j * FN(lanes)) * unit;
        FN(vstore)(g + i + j * FN(lanes), v[j]);
    }
}

/* One row of at least 64 bytes; returns its loss. label is -1 where there is none. The last 64 bytes may overlap those
 * before: they are read before anything is written, and written with the same values. */
FA_INLINE real FN(cross_entropy_row)(const FN(class_targets) *q, const real *x, const real *targets, real *g,
                                     int64_t label, real unit, ptrdiff_t n) {
    enum { step = FA_GROUP * FN(lanes) };
    const ptrdiff_t end = n / step * step, last = n - step;
    vreal v[FA_GROUP], rest[FA_GROUP], best[FA_GROUP];
    for (int j = 0; j < FA_GROUP; j++) best[j] = rest[j] = FN(vload)(x + last + j * FN(lanes));
    for (ptrdiff_t i = 0; i < end; i += step)
        for (int j = 0; j < FA_GROUP; j++) best[j] = FN(vmax)(FN(vload)(x + i + j * FN(lanes)), best[j]);
    real strip[step];
    for (int j = 0; j < FA_GROUP; j++) FN(vstore)(strip + j * FN(lanes), best[j]);
    for (int width = step / 2; width > 0; width /= 2) /* a NaN may be lost here, but the sum sees it */
        for (int i = 0; i < width; i++) strip[i] = strip[i] > strip[i + width] ? strip[i] : strip[i + width];
    const vreal top = FN(vset)(strip[0]);
    const real hit = label >= 0 ? FN(label_target)(q, label) : 0;
    const real below = label >= 0 ? x[label] - strip[0] : 0;

    FN(row_sums) s;
    for (int j = 0; j < FA_GROUP; j++) s.sum[j] = s.target_sum[j] = s.chosen[j] = FN(vset)(0);
    for (ptrdiff_t i = 0; i < end; i += step) {
        for (int j = 0; j < FA_GROUP; j++) v[j] = FN(vload)(x + i + j * FN(lanes));
        FN(cross_entropy_group)(q, &s, v, targets, i, top, 0);
        for (int j = 0; j < FA_GROUP; j++) FN(vstore)(g + i + j * FN(lanes), v[j]);
    }
    if (end < n) {
        FN(cross_entropy_group)(q, &s, rest, targets, last, top, end - last);
        for (int j = 0; j < FA_GROUP; j++) FN(vstore)(g + last + j * FN(lanes), rest[j]);
    }
    const real total = FN(group_sum)(s.sum);
    real target_sum = hit, chosen = hit != 0 ? hit * below : 0;
    if (q->dense) target_sum += FN(group_sum)(s.target_sum), chosen += FN(group_sum)(s.chosen);

    const vreal factor = FN(vset)(unit * target_sum / total), units = FN(vset)(unit);
    for (int j = 0; j < FA_GROUP; j++) rest[j] = FN(vload)(g + last + j * FN(lanes));
    for (ptrdiff_t i = 0; i < end; i += step) {
        for (int j = 0; j < FA_GROUP; j++) v[j] = FN(vload)(g + i + j * FN(lanes));
        FN(cross_entropy_gradient)(q, v, targets, g, i, factor, units);
    }
    if (end < n) FN(cross_entropy_gradient)(q, rest, targets, g, last, factor, units);
    if (label >= 0) g[label] -= hit * unit;
    return target_sum * FN(log_above_one)(FN(vset)(total))[0] - chosen;
}

static double FN(softmax_cross_entropy)(const fa_cross_entropy *a, ptrdiff_t first, ptrdiff_t rows) {
    const ptrdiff_t columns = a->columns;
    const ptrdiff_t together = columns > FA_SHORT_ROW ? 1 : FN(lanes);
    const FN(class_targets) q = {a->targets, a->class_weight, (real)(1 - a->smoothing),
                                 (real)(a->smoothing / (double)columns), a->targets || a->smoothing > 0};
    double total = 0;
    for (ptrdiff_t r = first; r < first + rows; r += together) {
        const ptrdiff_t count = first + rows - r < together ? first + rows - r : together;
        const real *x = (const real *)a->logits + r * columns;
        const real *targets = a->targets ? q.targets + r * columns : NULL;
        real *g = (real *)a->grad + r * columns;
        int64_t label[FN(lanes)];
        real unit[FN(lanes)], loss[FN(lanes)];
        for (ptrdiff_t i = 0; i < together; i++) {
            const int used = i < count && !(a->labels && a->labels[r + i] == a->ignored);
            label[i] = a->labels ? (used ? a->labels[r + i] : 0) : -1;
            unit[i] = (real)(a->row_weight && used ? a->scale * a->row_weight[r + i] : a->scale);
        }
        if (together > 1) FN(cross_entropy_columns)(&q, x, targets, g, a->labels ? label : NULL, unit, loss, count, columns);
        else loss[0] = FN(cross_entropy_row)(&q, x, targets, g, label[0], unit[0], columns);
        for (ptrdiff_t i = 0; i < count; i++) {
            if (a->labels && a->labels[r + i] == a->ignored) { /* whatever its logits hold */
                memset(g + i * columns, 0, (size_t)columns * sizeof(real));
                loss[i] = 0;
            } else if (a->row_weight) {
                loss[i] *= (real)a->row_weight[r + i];
            }
            if (a->losses) ((real *)a->losses)[r + i] = loss[i];
            total += (double)loss[i];
        }
    }
    return total;
}

/* Losses of single elements: name_loss(x, t, a, *slope) gives the loss of x against t, and its derivative by x. */
typedef vreal FN(loss_function)(vreal x, vreal t, vreal a, vreal *slope);

/* a (x - t)^2 */
FA_INLINE vreal FN(squared_error_loss)(vreal x, vreal t, vreal a, vreal *slope) {
    vreal d = x - t, scaled = d * a;
    *slope = scaled + scaled;
    return scaled * d;
}

FA_INLINE vreal FN(absolute_error_loss)(vreal x, vreal t, vreal a, vreal *slope) {
    (void)a;
    const vreal zero = FN(vset)(0), one = FN(vset)(1);
    vreal d = x - t;
    *slope = FN(vselect)(FN(vlt)(zero, d), one, FN(vselect)(FN(vlt)(d, zero), -one, d)); /* 0 and NaN stay */
    return FN(vabs)(d);
}

/* d^2 / 2 for |d| <= a, a (|d| - a / 2) beyond: with s = d clamped to +-a it is |s| (|d| - |s| / 2) */
FA_INLINE vreal FN(huber_loss)(vreal x, vreal t, vreal a, vreal *slope) {
    vreal d = x - t, size = FN(vabs)(d), clamped = FN(vmin)(a, size);
    *slope = FN(vmax)(-a, FN(vmin)(a, d)); /* written so that NaN stays */
    return clamped * (size - clamped * (real)0.5);
}

/* a (t - x) below the target, (1 - a) (x - t) above it */
FA_INLINE vreal FN(quantile_loss)(vreal x, vreal t, vreal a, vreal *slope) {
    const vreal zero = FN(vset)(0);
    vreal d = x - t;
    vreal s = FN(vselect)(FN(vlt)(zero, d), (real)1 - a, FN(vselect)(FN(vlt)(d, zero), -a, zero));
    *slope = FN(vselect)(FN(veq)(d, d), s, d);
    return FN(vselect)(FN(veq)(s, zero), FN(vselect)(FN(veq)(d, d), zero, d), s * d);
}

/* a t softplus(-x) + (1 - t) softplus(x). With e = exp(-|x|), softplus(|x|) = |x| + log1p(e) and softplus(-|x|) =
 * log1p(e); log1p(e) = log(u) + (e - (u - 1)) / u for u = 1 + e rounded (Kahan's correction; u - 1 is exact). */
FA_INLINE vreal FN(bce_with_logits_loss)(vreal x, vreal t, vreal a, vreal *slope) {
    const vreal zero = FN(vset)(0), size = FN(vabs)(x);
    vreal e = FN(exp_difference)(-size, zero);
    vreal u = e + (real)1, r = (real)1 / u;
    vreal tail = FN(vfma)(e - (u - (real)1), r, FN(log_above_one)(u));
    vreal positive = a * t, negative = (real)1 - t;
    vmask below = FN(vlt)(x, zero);
    vreal wrong = FN(vselect)(below, positive, negative); /* the part of the target that pays |x| */
    vreal right = FN(vselect)(below, negative, positive);
    vreal s = FN(vfma)(-right, e * r, wrong * r); /* downhill is towards the sign of x where x is wrong */
    *slope = FN(vselect)(below, -s, s);
    vreal far = FN(vselect)(FN(veq)(wrong, zero), zero, wrong * size); /* 0 * inf is 0 here: the limit */
    return FN(vfma)(positive + negative, tail, far);
}

/* exp(x) for any x, as the square of exp(x / 2), which neither overflows nor is subnormal before it has to */
FA_INLINE vreal FN(exp_anywhere)(vreal x) {
    const real most = FA_DOUBLE ? 400 : 60;
    vreal t = FN(vmax)(FN(vset)(-most), FN(vmin)(FN(vset)(most), x * (real)0.5)); /* written so that NaN stays */
    FN(exp_reduced) e = FN(exp_reduce)(t, 0);
    vreal root = FN(vfma)(e.scale, FN(expm1_core)(e.r), e.scale);
    return root * root;
}

/* log(x) for finite x: -infinity for 0, NaN below */
FA_INLINE vreal FN(log_anywhere)(vreal x) {
    const vreal zero = FN(vset)(0), smallest = FN(vset)(FA_DOUBLE ? (real)0x1p-1022 : (real)0x1p-126);
    vmask subnormal = FN(vlt)(x, smallest), none = FN(veq)(x, zero);
    vreal up = FN(vselect)(subnormal, x * (FA_DOUBLE ? (real)0x1p54 : (real)0x1p24), x);
    up = FN(vselect)(FN(vlt)(zero, x), up, FN(vset)(1));
    vreal y = FN(log_from)(up, FA_DOUBLE ? 1024 : 128);
    y = FN(vselect)(subnormal, y - (FA_DOUBLE ? 54 : 24) * (real)0x1.62e42fefa39efp-1, y);
    y = FN(vselect)(none, FN(vset)(-(real)INFINITY), y);
    return FN(vselect)(FN(vle)(zero, x), y, FN(vset)((real)NAN));
}

/* exp(x) - t x: Poisson's negative log-likelihood of t events where exp(x) are expected, without log t! */
FA_INLINE vreal FN(poisson_loss)(vreal x, vreal t, vreal a, vreal *slope) {
    (void)a;
    const vreal zero = FN(vset)(0);
    vreal rate = FN(exp_anywhere)(x);
    *slope = rate - t;
    vreal told = FN(vselect)(FN(veq)(t, zero), FN(vselect)(FN(veq)(x, x), zero, x), t * x); /* 0 * -inf is 0 here */
    return FN(vselect)(FN(veq)(rate, FN(vset)((real)INFINITY)), rate + t, rate - told);
}

/* log(cosh(d)) = log1p(u), u = 2 sinh(d/2)^2 = (1 - exp(-|d|))^2 / (2 exp(-|d|)), with Kahan's correction as above;
 * far away |d| - log 2. The slope is tanh(d) = (1 - e) / (1 + e), e = exp(-2 |d|). */
FA_INLINE vreal FN(log_cosh_loss)(vreal x, vreal t, vreal a, vreal *slope) {
    (void)a;
    const vreal zero = FN(vset)(0), far = FN(vset)(FA_DOUBLE ? 20 : 10);
    vreal d = x - t, size = FN(vabs)(d), within = FN(vmin)(far, size);
    vreal q = FN(one_minus_exp)(-within);
    vreal u = q * q * (real)0.5 / FN(exp_difference)(-within, zero), above = u + (real)1;
    vreal near = FN(log_above_one)(above) + (u - (above - (real)1)) / above;
    vreal twice = FN(one_minus_exp)(-size - size);
    vreal y = twice / ((real)2 - twice);
    *slope = FN(vselect)(FN(vlt)(d, zero), -y, y);
    return FN(vselect)(FN(vlt)(far, size), size - (real)0x1.62e42fefa39efp-1, near + (size - size));
}

/* max(0, 1 - t x) for t = +-1 */
FA_INLINE vreal FN(hinge_loss)(vreal x, vreal t, vreal a, vreal *slope) {
    (void)a;
    const vreal zero = FN(vset)(0);
    vreal margin = (real)1 - t * x;
    *slope = FN(vselect)(FN(vlt)(zero, margin), -t, FN(vselect)(FN(veq)(margin, margin), zero, margin));
    return FN(vselect)(FN(vlt)(margin, zero), zero, margin); /* NaN stays */
}

/* -t log(x) - (1 - t) log(1 - x) for probabilities x, with the limits at 0 and 1. 1 - x is rounded; what it loses is
 * given back as to log1p (Kahan). */
FA_INLINE vreal FN(binary_cross_entropy_loss)(vreal x, vreal t, vreal a, vreal *slope) {
    (void)a;
    const vreal zero = FN(vset)(0), one = FN(vset)(1);
    vreal rest = one - x, other = one - t;
    vreal lost = FN(vselect)(FN(veq)(rest, zero), zero, ((one - rest) - x) / rest);
    vreal yes = FN(vselect)(FN(veq)(t, zero), x - x, t * FN(log_anywhere)(x));
    vreal no = FN(vselect)(FN(veq)(other, zero), x - x, other * (FN(log_anywhere)(rest) + lost));
    vreal up = FN(vselect)(FN(veq)(t, zero), x - x, t / x), down = FN(vselect)(FN(veq)(other, zero), x - x, other / rest);
    *slope = down - up;
    return -yes - no;
}

typedef double FN(vdouble) __attribute__((vector_size(FA_VECTOR_BYTES)));
#if FA_DOUBLE
enum { FN(sums) = FA_GROUP };
FA_INLINE void FN(add_to_sums)(FN(vdouble) *sums, const vreal *v) {
    for (int j = 0; j < FA_GROUP; j++) sums[j] += v[j];
}
#else
typedef float FN(vhalf) __attribute__((vector_size(FA_VECTOR_BYTES / 2)));
enum { FN(sums) = 2 * FA_GROUP };
FA_INLINE void FN(add_to_sums)(FN(vdouble) *sums, const vreal *v) {
    for (int j = 0; j < FA_GROUP; j++) {
        FN(vhalf) half[2];
        memcpy(half, &v[j], sizeof half);
        for (int k = 0; k < 2; k++) sums[2 * j + k] += __builtin_convertvector(half[k], FN(vdouble));
    }
}
#endif

/* 64 bytes, or the first n of them; the losses are left in v, zeros past n */
FA_INLINE void FN(loss_group)(FN(loss_function) *function, const fa_pointwise *p, ptrdiff_t i, ptrdiff_t n, vreal *v) {
    const ptrdiff_t size = FA_GROUP * FN(lanes);
    vreal goal[FA_GROUP], w[FA_GROUP], a[FA_GROUP], slope[FA_GROUP];
    FN(load_group)(v, (const real *)p->prediction + i, 0, n, 0);
    FN(load_group)(goal, (const real *)p->target + i, 0, n, 0);
    for (int j = 0; j < FA_GROUP; j++) a[j] = FN(vset)((real)p->a), w[j] = FN(vset)(1);
    if (p->each) FN(load_group)(a, (const real *)p->each + i, 0, n, 0);
    if (p->weight) FN(load_group)(w, (const real *)p->weight + i, 0, n, 0);
    for (int j = 0; j < FA_GROUP; j++) {
        v[j] = function(v[j], goal[j], a[j], &slope[j]);
        if (p->weight) v[j] *= w[j], slope[j] *= w[j];
        slope[j] *= (real)p->scale;
    }
    FN(store_group)((real *)p->grad + i, 0, n, slope);
    if (p->losses) FN(store_group)((real *)p->losses + i, 0, n, v);
    if (n < size) {
        real strip[FA_GROUP * FN(lanes)];
        for (int j = 0; j < FA_GROUP; j++) FN(vstore)(strip + j * FN(lanes), v[j]);
        memset(strip + n, 0, (size_t)(size - n) * sizeof(real));
        for (int j = 0; j < FA_GROUP; j++) v[j] = FN(vload)(strip + j * FN(lanes));
    }
}

FA_INLINE double FN(loss_groups)(FN(loss_function) *function, fa_pointwise p, ptrdiff_t first, ptrdiff_t n) {
    enum { step = FA_GROUP * FN(lanes) };
    FN(vdouble) sums[FN(sums)];
    for (int j = 0; j < FN(sums); j++) sums[j] = (FN(vdouble)){0};
    vreal v[FA_GROUP];
    ptrdiff_t i = 0;
    for (; i + step <= n; i += step) {
        FN(loss_group)(function, &p, first + i, step, v);
        FN(add_to_sums)(sums, v);
    }
    if (i < n) {
        FN(loss_group)(function, &p, first + i, n - i, v);
        FN(add_to_sums)(sums, v);
    }
    double strip[step];
    memcpy(strip, sums, sizeof strip);
    for (int width = step / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++) strip[j] += strip[j + width];
    return strip[0];
}

/* The usual case has a loop of its own, without questions. */
FA_INLINE double FN(loss_loop)(FN(loss_function) *function, const fa_pointwise *p, ptrdiff_t first, ptrdiff_t n) {
    if (p->weight || p->each || p->losses) return FN(loss_groups)(function, *p, first, n);
    return FN(loss_groups)(
        function, (fa_pointwise){p->prediction, p->target, NULL, NULL, p->grad, NULL, p->a, p->scale}, first, n);
}

#define FA_LOSSES(X)   \
    X(squared_error)   \
    X(absolute_error)  \
    X(huber)           \
    X(quantile)        \
    X(bce_with_logits) \
    X(poisson)         \
    X(log_cosh)        \
    X(hinge)           \
    X(binary_cross_entropy)

#define FA_LOSS_LOOP(name)                                                              \
    static double FN(name)(const fa_pointwise *p, ptrdiff_t first, ptrdiff_t n) {       \
        return FN(loss_loop)(FN(name##_loss), p, first, n);                             \
    }
FA_LOSSES(FA_LOSS_LOOP)

#define FA_LOSS_ENTRY(name) {#name, FN(name)},
static const fa_loss FN(losses)[] = {FA_LOSSES(FA_LOSS_ENTRY)};
