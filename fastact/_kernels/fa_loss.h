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
FA_INLINE vreal FN(target_share)(vreal target, vreal below) {
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

    vreal mass = FN(vset)(0), chosen = FN(vset)(0);
    if (label) {
        for (int r = 0; r < FN(lanes); r++) hit[r] = FN(label_target)(q, label[r]);
        for (int r = 0; r < FN(lanes); r++) at_label[r] = strip[label[r] * FN(lanes) + r];
        mass = FN(vload)(hit);
        chosen = FN(target_share)(mass, FN(vload)(at_label) - top);
    }
    if (q->dense) {
        if (targets) FN(load_columns)(target, targets, count, columns);
        for (ptrdiff_t c = 0; c < columns; c++) {
            vreal t = targets ? target[c] : FN(vset)(0);
            target[c] = FN(class_target)(q, t, FN(vset)(q->weight ? q->weight[c] : (real)1));
            mass += target[c];
            chosen += FN(target_share)(target[c], v[c] - top);
        }
    }
    vreal sum = FN(vset)(0);
    for (ptrdiff_t c = 0; c < columns; c++) {
        v[c] = FN(exp_difference)(v[c], top);
        sum += v[c];
    }
    FN(vstore)(loss, mass * FN(log_above_one)(sum) - chosen);

    const vreal scale = FN(vload)(unit), factor = scale * mass / sum;
    if (q->dense)
        for (ptrdiff_t c = 0; c < columns; c++) v[c] = FN(vfma)(v[c], factor, -(target[c] * scale));
    else
        for (ptrdiff_t c = 0; c < columns; c++) v[c] *= factor;
    if (label)
        for (int r = 0; r < FN(lanes); r++) strip[label[r] * FN(lanes) + r] -= hit[r] * unit[r];
    FN(store_columns)(v, g, count, columns);
}

/* One long row; returns its loss. label is -1 where there is none. */
FA_INLINE real FN(cross_entropy_row)(const FN(class_targets) *q, const real *x, const real *targets, real *g,
                                     int64_t label, real unit, ptrdiff_t n) {
    const ptrdiff_t step = FA_GROUP * FN(lanes);
    const real highest = FN(row_maximum)(x, n);
    const real hit = label >= 0 ? FN(label_target)(q, label) : 0;
    const real below = label >= 0 ? x[label] - highest : 0;
    const vreal top = FN(vset)(highest), one = FN(vset)(1), zero = FN(vset)(0);
    vreal v[FA_GROUP], t[FA_GROUP], w[FA_GROUP], sum[FA_GROUP], mass[FA_GROUP], chosen[FA_GROUP];
    for (int j = 0; j < FA_GROUP; j++) sum[j] = mass[j] = chosen[j] = t[j] = zero, w[j] = one;
    for (ptrdiff_t i = 0; i < n; i += step) {
        FN(load_group)(v, x, i, n, -(real)INFINITY);
        if (q->dense) {
            if (targets) FN(load_group)(t, targets, i, n, 0);
            if (q->weight) FN(load_group)(w, q->weight, i, n, 0);
            for (int j = 0; j < FA_GROUP; j++) {
                vreal target = FN(class_target)(q, t[j], w[j]);
                mass[j] += target;
                chosen[j] += FN(target_share)(target, v[j] - top);
            }
        }
        for (int j = 0; j < FA_GROUP; j++) {
            v[j] = FN(exp_difference)(v[j], top);
            sum[j] += v[j];
        }
        FN(store_group)(g, i, n, v);
    }
    const real total = FN(group_sum)(sum);
    const real all = hit + FN(group_sum)(mass);
    const real share = (hit != 0 ? hit * below : 0) + FN(group_sum)(chosen);
    const vreal factor = FN(vset)(unit * all / total), scale = FN(vset)(unit);
    for (ptrdiff_t i = 0; i < n; i += step) {
        FN(load_group)(v, g, i, n, 0);
        if (q->dense) {
            if (targets) FN(load_group)(t, targets, i, n, 0);
            if (q->weight) FN(load_group)(w, q->weight, i, n, 0);
            for (int j = 0; j < FA_GROUP; j++)
                v[j] = FN(vfma)(v[j], factor, -(FN(class_target)(q, t[j], w[j]) * scale));
        } else {
            for (int j = 0; j < FA_GROUP; j++) v[j] *= factor;
        }
        FN(store_group)(g, i, n, v);
    }
    if (label >= 0) g[label] -= hit * unit;
    return all * FN(log_above_one)(FN(vset)(total))[0] - share;
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
    FN(exp_parts) parts = FN(exp_negative)(size);
    vreal e = parts.mantissa * parts.scale * FA_UNSCALE;
    vreal u = e + (real)1, r = (real)1 / u;
    vreal tail = FN(vfma)(e - (u - (real)1), r, FN(log_above_one)(u));
    vreal positive = a * t, negative = (real)1 - t;
    vmask below = FN(vlt)(x, zero);
    vreal wrong = FN(vselect)(below, positive, negative); /* the target's share that pays |x| */
    vreal right = FN(vselect)(below, negative, positive);
    vreal s = FN(vfma)(-right, e * r, wrong * r); /* downhill is towards the sign of x where x is wrong */
    *slope = FN(vselect)(below, -s, s);
    vreal far = FN(vselect)(FN(veq)(wrong, zero), zero, wrong * size); /* 0 * inf is 0 here: the limit */
    return FN(vfma)(positive + negative, tail, far);
}

FA_INLINE double FN(loss_loop)(FN(loss_function) *function, const fa_pointwise *p, ptrdiff_t first, ptrdiff_t n) {
    enum { step = FA_GROUP * FN(lanes) };
    const real *x = (const real *)p->prediction + first, *t = (const real *)p->target + first;
    const real *weight = p->weight ? (const real *)p->weight + first : NULL;
    const real *each = p->each ? (const real *)p->each + first : NULL;
    real *g = (real *)p->grad + first, *losses = p->losses ? (real *)p->losses + first : NULL;
    const real scale = (real)p->scale;
    double sums[step] = {0};
    for (ptrdiff_t i = 0; i < n; i += step) {
        const ptrdiff_t left = n - i < step ? n - i : step;
        vreal v[FA_GROUP], goal[FA_GROUP], w[FA_GROUP], a[FA_GROUP], loss[FA_GROUP], slope[FA_GROUP];
        real strip[step];
        FN(load_group)(v, x, i, n, 0);
        FN(load_group)(goal, t, i, n, 0);
        for (int j = 0; j < FA_GROUP; j++) a[j] = FN(vset)((real)p->a);
        if (each) FN(load_group)(a, each, i, n, 0);
        for (int j = 0; j < FA_GROUP; j++) loss[j] = function(v[j], goal[j], a[j], &slope[j]);
        if (weight) {
            FN(load_group)(w, weight, i, n, 0);
            for (int j = 0; j < FA_GROUP; j++) loss[j] *= w[j], slope[j] *= w[j];
        }
        for (int j = 0; j < FA_GROUP; j++) slope[j] *= scale;
        FN(store_group)(g, i, n, slope);
        for (int j = 0; j < FA_GROUP; j++) FN(vstore)(strip + j * FN(lanes), loss[j]);
        if (left == step)
            for (int j = 0; j < step; j++) sums[j] += (double)strip[j];
        else
            for (ptrdiff_t j = 0; j < left; j++) sums[j] += (double)strip[j];
        if (losses) memcpy(losses + i, strip, (size_t)left * sizeof(real));
    }
    for (int width = step / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) sums[i] += sums[i + width];
    return sums[0];
}

#define FA_LOSSES(X)  \
    X(squared_error)  \
    X(absolute_error) \
    X(huber)          \
    X(quantile)       \
    X(bce_with_logits)

#define FA_LOSS_LOOP(name)                                                              \
    static double FN(name)(const fa_pointwise *p, ptrdiff_t first, ptrdiff_t n) {       \
        return FN(loss_loop)(FN(name##_loss), p, first, n);                             \
    }
FA_LOSSES(FA_LOSS_LOOP)

#define FA_LOSS_ENTRY(name) {#name, FN(name)},
static const fa_loss FN(losses)[] = {FA_LOSSES(FA_LOSS_ENTRY)};
#undef FA_LOSSES
#undef FA_LOSS_LOOP
#undef FA_LOSS_ENTRY
