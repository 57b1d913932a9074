/* Losses of policies: of each row its log-probability, what it is worth, its entropy, and their gradient, from one visit.
 *
 * A row's log-probability is formed in `real`, what it is worth in double; sums over rows are in double and in their
 * order. Gradients may replace what they are of: that is read before it is written.
 */

/* exp(x) for x of either sign */
FA_INLINE vreal FN(exp_either)(vreal x) {
    const vreal e = FN(exp_difference)(-FN(vabs)(x), FN(vset)(0));
    return FN(vselect)(FN(vlt)(FN(vset)(0), x), (real)1 / e, e);
}

/* Up to a vector of rows from r on, given their log-probabilities and entropies: those are stored, the loss's derivatives
 * by log_prob go to slope (0 past count), and the sum of surrogates and bonuses is returned. */
FA_INLINE double FN(policy_terms)(const fa_policy *a, ptrdiff_t r, ptrdiff_t count, const real *log_prob,
                                  const real *entropy, real *slope) {
    real ratio[FN(lanes)];
    double total = 0;
    if (a->old_log_prob) {
        for (ptrdiff_t i = 0; i < FN(lanes); i++)
            ratio[i] = i < count ? (real)((double)log_prob[i] - a->old_log_prob[r + i]) : 0;
        FN(vstore)(ratio, FN(exp_either)(FN(vload)(ratio)));
    }
    for (ptrdiff_t i = 0; i < FN(lanes); i++) slope[i] = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        const double advantage = a->advantages[r + i];
        double worth = advantage * (double)log_prob[i], by = advantage;
        if (a->old_log_prob) {
            const double q = (double)ratio[i];
            const double clipped = advantage * (q < a->low ? a->low : q > a->high ? a->high : q);
            worth = by = advantage * q;
            if (worth > clipped) worth = clipped, by = 0; /* NaN stays */
        }
        total += worth;
        if (a->bonus > 0) total += a->bonus * (double)entropy[i];
        slope[i] = (real)(-by * a->scale);
        ((real *)a->log_prob)[r + i] = log_prob[i];
        ((real *)a->entropy)[r + i] = entropy[i];
    }
    return total;
}

/* Below this, in place of the logarithm of 0: where p is 0, p log p is 0 and not 0 * inf. */
#define FA_LOWEST_LOGARITHM ((real)-1e30)

/* What is the derivative by a logit, but for the action's: p (bonus (log p + H) - slope), where log p + H is how far x
 * lies above its mean. */
FA_INLINE vreal FN(policy_slope)(vreal p, vreal below, vreal mean, vreal bonus, vreal slope) {
    return p * (bonus * (below - mean) - slope);
}

/* `count` rows, one a lane (see fa_rows.h) */
FA_INLINE double FN(policy_columns)(const fa_policy *a, ptrdiff_t r, ptrdiff_t count) {
    const ptrdiff_t columns = a->columns;
    const int64_t *action = (const int64_t *)a->actions + r;
    vreal v[FA_SHORT_ROW], p[FA_SHORT_ROW];
    real *below = (real *)v, *grad = (real *)p;
    real log_prob[FN(lanes)] = {0}, entropy[FN(lanes)], slope[FN(lanes)];
    FN(load_columns)(v, (const real *)a->outputs + r * columns, count, columns);
    vreal top = v[0];
    for (ptrdiff_t c = 1; c < columns; c++) top = FN(vmax)(v[c], top); /* a NaN is not seen here, but by the sum */
    vreal sum = FN(vset)(0), mean = FN(vset)(0);
    for (ptrdiff_t c = 0; c < columns; c++) {
        v[c] -= top;
        p[c] = FN(exp_difference)(v[c], FN(vset)(0));
        sum += p[c];
    }
    for (ptrdiff_t i = 0; i < count; i++) log_prob[i] = below[action[i] * FN(lanes) + i];
    const vreal inverse = (real)1 / sum, log_sum = FN(log_above_one)(sum);
    for (ptrdiff_t c = 0; c < columns; c++) {
        v[c] = FN(vmax)(FN(vset)(FA_LOWEST_LOGARITHM), v[c]);
        p[c] *= inverse;
        mean = FN(vmul_add)(p[c], v[c], mean);
    }
    FN(vstore)(log_prob, FN(vload)(log_prob) - log_sum);
    FN(vstore)(entropy, log_sum - mean);
    const double total = FN(policy_terms)(a, r, count, log_prob, entropy, slope);

    const vreal bonus = FN(vset)((real)(a->bonus * a->scale)), slopes = FN(vload)(slope);
    for (ptrdiff_t c = 0; c < columns; c++) p[c] = FN(policy_slope)(p[c], v[c], mean, bonus, slopes);
    for (ptrdiff_t i = 0; i < count; i++) grad[action[i] * FN(lanes) + i] += slope[i];
    FN(store_columns)(p, (real *)a->grad + r * columns, count, columns);
    return total;
}

/* One long row */
FA_INLINE double FN(policy_row)(const fa_policy *a, ptrdiff_t r) {
    enum { step = FA_GROUP * FN(lanes) };
    const ptrdiff_t n = a->columns, action = (ptrdiff_t)((const int64_t *)a->actions)[r];
    const real *x = (const real *)a->outputs + r * n, none = -(real)INFINITY;
    real *g = (real *)a->grad + r * n;
    real log_prob[FN(lanes)] = {0}, entropy[FN(lanes)] = {0}, slope[FN(lanes)];
    vreal v[FA_GROUP], best[FA_GROUP], sum[FA_GROUP], weighted[FA_GROUP];
    for (int j = 0; j < FA_GROUP; j++) best[j] = FN(vset)(none), sum[j] = weighted[j] = FN(vset)(0);
    for (ptrdiff_t i = 0; i < n; i += step) {
        FN(load_group)(v, x, i, n, none);
        for (int j = 0; j < FA_GROUP; j++) best[j] = FN(vmax)(v[j], best[j]);
    }
    for (int j = 1; j < FA_GROUP; j++) best[0] = FN(vmax)(best[0], best[j]);
    const vreal top = FN(vset)(FN(vlargest)(best[0])), lowest = FN(vset)(FA_LOWEST_LOGARITHM);
    for (ptrdiff_t i = 0; i < n; i += step) {
        FN(load_group)(v, x, i, n, none);
        for (int j = 0; j < FA_GROUP; j++) {
            const vreal e = FN(exp_difference)(v[j], top);
            sum[j] += e;
            weighted[j] = FN(vmul_add)(e, FN(vmax)(lowest, v[j] - top), weighted[j]);
        }
    }
    const real total = FN(group_sum)(sum), average = FN(group_sum)(weighted) / total;
    const vreal inverse = FN(vset)(1 / total), mean = FN(vset)(average);
    const real log_sum = FN(log_above_one)(FN(vset)(total))[0];
    log_prob[0] = (x[action] - top[0]) - log_sum;
    entropy[0] = log_sum - average;
    const double worth = FN(policy_terms)(a, r, 1, log_prob, entropy, slope);

    const vreal bonus = FN(vset)((real)(a->bonus * a->scale)), slopes = FN(vset)(slope[0]);
    for (ptrdiff_t i = 0; i < n; i += step) {
        FN(load_group)(v, x, i, n, none);
        for (int j = 0; j < FA_GROUP; j++)
            v[j] = FN(policy_slope)(FN(exp_difference)(v[j], top) * inverse, FN(vmax)(lowest, v[j] - top), mean, bonus,
                                    slopes);
        FN(store_group)(g, i, n, v);
    }
    g[action] += slope[0];
    return worth;
}

static double FN(policy_gradient)(const fa_policy *a, ptrdiff_t first, ptrdiff_t rows, double *sums) {
    double total = 0;
    (void)sums;
    if (a->columns > FA_SHORT_ROW)
        for (ptrdiff_t r = first; r < first + rows; r++) total += FN(policy_row)(a, r);
    else
        for (ptrdiff_t r = first; r < first + rows; r += FN(lanes))
            total += FN(policy_columns)(a, r, first + rows - r < FN(lanes) ? first + rows - r : FN(lanes));
    return total;
}

/* 64 bytes of a row: the logarithms of the standard deviations, their inverses, and deviations in units of them; all 0
 * (inverses 1) past the end */
FA_INLINE void FN(gaussian_group)(const fa_policy *a, ptrdiff_t r, ptrdiff_t i, vreal *logs, vreal *inverse, vreal *d) {
    const ptrdiff_t n = a->columns;
    vreal mean[FA_GROUP];
    FN(load_group)(mean, (const real *)a->outputs + r * n, i, n, 0);
    FN(load_group)(d, (const real *)a->actions + r * n, i, n, 0);
    FN(load_group)(logs, (const real *)a->log_std + (a->shared ? 0 : r * n), i, n, 0);
    for (int j = 0; j < FA_GROUP; j++) {
        inverse[j] = FN(exp_either)(-logs[j]);
        d[j] = (d[j] - mean[j]) * inverse[j];
    }
}

/* half the logarithm of 2 pi, and with the half that the entropy has more */
#define FA_HALF_LOG_2PI 0.91893853320467274178
#define FA_HALF_LOG_2PI_E 1.41893853320467274178

static double FN(gaussian_policy_gradient)(const fa_policy *a, ptrdiff_t first, ptrdiff_t rows, double *sums) {
    enum { step = FA_GROUP * FN(lanes) };
    const ptrdiff_t n = a->columns;
    const vreal bonus = FN(vset)((real)(a->bonus * a->scale)), one = FN(vset)(1);
    vreal logs[FA_GROUP], inverse[FA_GROUP], d[FA_GROUP];
    double total = 0;
    for (ptrdiff_t k = 0; k < n && sums; k++) sums[k] = 0;
    for (ptrdiff_t start = first; start < first + rows; start += FN(lanes)) {
        const ptrdiff_t count = first + rows - start < FN(lanes) ? first + rows - start : FN(lanes);
        real log_prob[FN(lanes)] = {0}, entropy[FN(lanes)] = {0}, slope[FN(lanes)];
        for (ptrdiff_t r = 0; r < count; r++) {
            vreal squares[FA_GROUP], spread[FA_GROUP];
            for (int j = 0; j < FA_GROUP; j++) squares[j] = spread[j] = FN(vset)(0);
            for (ptrdiff_t i = 0; i < n; i += step) {
                FN(gaussian_group)(a, start + r, i, logs, inverse, d);
                for (int j = 0; j < FA_GROUP; j++)
                    squares[j] = FN(vmul_add)(d[j], d[j], squares[j]), spread[j] += logs[j];
            }
            const double width = (double)FN(group_sum)(spread);
            log_prob[r] = (real)(-0.5 * (double)FN(group_sum)(squares) - width - FA_HALF_LOG_2PI * (double)n);
            entropy[r] = (real)(width + FA_HALF_LOG_2PI_E * (double)n);
        }
        total += FN(policy_terms)(a, start, count, log_prob, entropy, slope);
        for (ptrdiff_t r = 0; r < count; r++) {
            const vreal by = FN(vset)(slope[r]);
            real *grad = (real *)a->grad + (start + r) * n, strip[step];
            for (ptrdiff_t i = 0; i < n; i += step) {
                vreal wide[FA_GROUP];
                FN(gaussian_group)(a, start + r, i, logs, inverse, d);
                for (int j = 0; j < FA_GROUP; j++) {
                    wide[j] = by * (d[j] * d[j] - one) - bonus;
                    d[j] = by * d[j] * inverse[j];
                }
                FN(store_group)(grad, i, n, d);
                if (!sums) {
                    FN(store_group)((real *)a->grad_log_std + (start + r) * n, i, n, wide);
                } else {
                    for (int j = 0; j < FA_GROUP; j++) FN(vstore)(strip + j * FN(lanes), wide[j]);
                    for (ptrdiff_t k = 0; k < step && i + k < n; k++) sums[i + k] += (double)strip[k];
                }
            }
        }
    }
    return total;
}
