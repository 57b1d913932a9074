/* Softmax and log-softmax over the last axis, and maxout over groups of neighbours.
 *
 * Short rows (up to FA_SHORT_ROW elements) are worked on several at a time, one row per lane, through a transposed
 * scratch: no horizontal operation is left. Long rows go 64 bytes at a time, whatever the vector's width, so that the
 * order of a sum is the same on every instruction set. Either way a row's bits depend on nothing but the row.
 */

#ifndef FA_SHORT_ROW
#define FA_SHORT_ROW 32
#endif

/* scratch[c] holds column c of `count` rows; missing rows are filled with row 0 */
FA_INLINE void FN(load_columns)(vreal *scratch, const real *x, ptrdiff_t count, ptrdiff_t columns) {
    real *strip = (real *)scratch;
    for (ptrdiff_t r = 0; r < FN(lanes); r++) {
        const real *row = x + (r < count ? r : 0) * columns;
        for (ptrdiff_t c = 0; c < columns; c++) strip[c * FN(lanes) + r] = row[c];
    }
}

FA_INLINE void FN(store_columns)(const vreal *scratch, real *y, ptrdiff_t count, ptrdiff_t columns) {
    const real *strip = (const real *)scratch;
    for (ptrdiff_t r = 0; r < count; r++)
        for (ptrdiff_t c = 0; c < columns; c++) y[r * columns + c] = strip[c * FN(lanes) + r];
}

FA_INLINE vreal FN(exp_difference)(vreal x, vreal top) {
    return FN(exp_scaled)(x - top) * FA_UNSCALE;
}

FA_INLINE void FN(softmax_columns)(vreal *v, ptrdiff_t columns, int logarithm) {
    vreal top = v[0];
    for (ptrdiff_t c = 1; c < columns; c++) top = FN(vmax)(v[c], top); /* a NaN is not seen here, but by the sum */
    vreal sum = FN(vset)(0);
    for (ptrdiff_t c = 0; c < columns; c++) {
        vreal e = FN(exp_difference)(v[c], top);
        sum += e;
        v[c] = logarithm ? v[c] - top : e;
    }
    vreal last = logarithm ? FN(log_above_one)(sum) : (real)1 / sum;
    for (ptrdiff_t c = 0; c < columns; c++) v[c] = logarithm ? v[c] - last : v[c] * last;
}

FA_INLINE real FN(row_maximum)(const real *x, ptrdiff_t n) {
    vreal v[FA_GROUP], top[FA_GROUP];
    for (int j = 0; j < FA_GROUP; j++) top[j] = FN(vset)(-(real)INFINITY);
    for (ptrdiff_t i = 0; i < n; i += FA_GROUP * FN(lanes)) {
        FN(load_group)(v, x, i, n, -(real)INFINITY);
        for (int j = 0; j < FA_GROUP; j++) top[j] = FN(vmax)(v[j], top[j]);
    }
    real largest = -(real)INFINITY;
    for (int j = 0; j < FA_GROUP; j++)
        for (int i = 0; i < FN(lanes); i++) largest = top[j][i] > largest ? top[j][i] : largest;
    return largest;
}

FA_INLINE void FN(softmax_row)(const real *x, real *y, ptrdiff_t n, int logarithm) {
    const ptrdiff_t step = FA_GROUP * FN(lanes);
    const vreal top = FN(vset)(FN(row_maximum)(x, n));
    vreal v[FA_GROUP], sum[FA_GROUP];
    for (int j = 0; j < FA_GROUP; j++) sum[j] = FN(vset)(0);
    for (ptrdiff_t i = 0; i < n; i += step) {
        FN(load_group)(v, x, i, n, -(real)INFINITY);
        for (int j = 0; j < FA_GROUP; j++) {
            vreal e = FN(exp_difference)(v[j], top);
            sum[j] += e;
            if (!logarithm) v[j] = e;
        }
        if (!logarithm) FN(store_group)(y, i, n, v);
    }
    const vreal total = FN(vset)(FN(group_sum)(sum));
    const vreal last = logarithm ? FN(log_above_one)(total) : (real)1 / total;
    for (ptrdiff_t i = 0; i < n; i += step) {
        FN(load_group)(v, logarithm ? x : y, i, n, 0);
        for (int j = 0; j < FA_GROUP; j++) v[j] = logarithm ? (v[j] - top) - last : v[j] * last;
        FN(store_group)(y, i, n, v);
    }
}

FA_INLINE void FN(softmax_rows)(const real *x, real *y, ptrdiff_t rows, ptrdiff_t columns, int logarithm) {
    if (columns > FA_SHORT_ROW) {
        for (ptrdiff_t r = 0; r < rows; r++) FN(softmax_row)(x + r * columns, y + r * columns, columns, logarithm);
        return;
    }
    vreal scratch[FA_SHORT_ROW];
    for (ptrdiff_t r = 0; r < rows; r += FN(lanes)) {
        const ptrdiff_t count = rows - r < FN(lanes) ? rows - r : FN(lanes);
        FN(load_columns)(scratch, x + r * columns, count, columns);
        FN(softmax_columns)(scratch, columns, logarithm);
        FN(store_columns)(scratch, y + r * columns, count, columns);
    }
}

static void FN(softmax)(const void *x, void *y, ptrdiff_t rows, ptrdiff_t columns) {
    FN(softmax_rows)(x, y, rows, columns, 0);
}

static void FN(log_softmax)(const void *x, void *y, ptrdiff_t rows, ptrdiff_t columns) {
    FN(softmax_rows)(x, y, rows, columns, 1);
}

/* softmax: y (g - sum g y); log-softmax: g - exp(y) sum g */
FA_INLINE void FN(softmax_row_gradient)(const real *g, const real *y, real *dx, ptrdiff_t n, int logarithm) {
    const ptrdiff_t step = FA_GROUP * FN(lanes);
    vreal a[FA_GROUP], b[FA_GROUP], sum[FA_GROUP];
    for (int j = 0; j < FA_GROUP; j++) sum[j] = FN(vset)(0);
    for (ptrdiff_t i = 0; i < n; i += step) {
        FN(load_group)(a, g, i, n, 0);
        if (!logarithm) FN(load_group)(b, y, i, n, 0);
        for (int j = 0; j < FA_GROUP; j++) sum[j] = logarithm ? sum[j] + a[j] : FN(vfma)(a[j], b[j], sum[j]);
    }
    const vreal total = FN(vset)(FN(group_sum)(sum));
    for (ptrdiff_t i = 0; i < n; i += step) {
        FN(load_group)(a, g, i, n, 0);
        FN(load_group)(b, y, i, n, 0);
        for (int j = 0; j < FA_GROUP; j++)
            a[j] = logarithm ? a[j] - FN(exp_difference)(b[j], FN(vset)(0)) * total : b[j] * (a[j] - total);
        FN(store_group)(dx, i, n, a);
    }
}

FA_INLINE void FN(softmax_rows_gradient)(const real *g, const real *y, real *dx, ptrdiff_t rows, ptrdiff_t columns,
                                         int logarithm) {
    if (columns > FA_SHORT_ROW) {
        for (ptrdiff_t r = 0; r < rows; r++)
            FN(softmax_row_gradient)(g + r * columns, y + r * columns, dx + r * columns, columns, logarithm);
        return;
    }
    vreal a[FA_SHORT_ROW], b[FA_SHORT_ROW];
    for (ptrdiff_t r = 0; r < rows; r += FN(lanes)) {
        const ptrdiff_t count = rows - r < FN(lanes) ? rows - r : FN(lanes);
        FN(load_columns)(a, g + r * columns, count, columns);
        FN(load_columns)(b, y + r * columns, count, columns);
        vreal sum = FN(vset)(0);
        for (ptrdiff_t c = 0; c < columns; c++) sum = logarithm ? sum + a[c] : FN(vfma)(a[c], b[c], sum);
        for (ptrdiff_t c = 0; c < columns; c++)
            a[c] = logarithm ? a[c] - FN(exp_difference)(b[c], FN(vset)(0)) * sum : b[c] * (a[c] - sum);
        FN(store_columns)(a, dx + r * columns, count, columns);
    }
}

static void FN(softmax_backward)(const void *g, const void *y, void *dx, ptrdiff_t rows, ptrdiff_t columns) {
    FN(softmax_rows_gradient)(g, y, dx, rows, columns, 0);
}

static void FN(log_softmax_backward)(const void *g, const void *y, void *dx, ptrdiff_t rows, ptrdiff_t columns) {
    FN(softmax_rows_gradient)(g, y, dx, rows, columns, 1);
}

static const fa_row_function FN(row_functions)[] = {
    {"softmax", FN(softmax), FN(softmax_backward)},
    {"log_softmax", FN(log_softmax), FN(log_softmax_backward)},
};

/* y[i] = max of x[i * pieces ...]; the first of equals wins, and the first NaN wins over everything */
static void FN(maxout)(const void *x, void *y, uint8_t *index, ptrdiff_t n, ptrdiff_t pieces) {
    const real *from = x;
    real *to = y;
    for (ptrdiff_t i = 0; i < n; i++, from += pieces) {
        real best = from[0];
        int winner = 0;
        for (int p = 1; p < (int)pieces; p++) {
            /* written without a branch: best stays where it is NaN, and a NaN replaces a number */
            int better = (from[p] > best) | ((from[p] != from[p]) & (best == best));
            best = better ? from[p] : best;
            winner = better ? p : winner;
        }
        to[i] = best;
        index[i] = (uint8_t)winner;
    }
}

static void FN(maxout_backward)(const void *grad, const uint8_t *index, void *dx, ptrdiff_t n, ptrdiff_t pieces) {
    const real *g = grad;
    real *to = dx;
    for (ptrdiff_t i = 0; i < n; i++, to += pieces)
        for (int p = 0; p < (int)pieces; p++) to[p] = p == index[i] ? g[i] : (real)0;
}

/* Masks: bit i, least significant first, belongs to element i. A step is at least 8 elements, whole bytes. */
enum { FN(mask_step) = FN(lanes) < 8 ? 8 : FN(lanes) };

/* y = x where x >= 0, else 0 (NaN stays); the bits say x >= 0. A whole step unless fewer are left. */
FA_INLINE unsigned FN(relu_masked_step)(const real *x, real *y, ptrdiff_t left) {
    const vreal zero = FN(vset)(0);
    const ptrdiff_t lanes = FN(lanes);
    unsigned bits = 0;
    for (ptrdiff_t j = 0; j < FN(mask_step) && j < left; j += lanes) {
        vreal v = left - j >= lanes ? FN(vload)(x + j) : FN(vload_part)(x + j, left - j);
        bits |= FN(vmask_bits)(FN(vle)(zero, v)) << j;
        v = FN(vselect)(FN(vlt)(v, zero), zero, v);
        if (left - j >= lanes) FN(vstore)(y + j, v);
        else FN(vstore_part)(y + j, v, left - j);
    }
    return left < FN(mask_step) ? bits & ((1u << left) - 1) : bits; /* padding is not an element */
}

static void FN(relu_masked)(const void *x, void *y, uint8_t *mask, ptrdiff_t n) {
    const real *from = x;
    real *to = y;
    ptrdiff_t i = 0;
    for (; i + FN(mask_step) <= n; i += FN(mask_step)) {
        unsigned bits = FN(relu_masked_step)(from + i, to + i, FN(mask_step));
        mask[i / 8] = (uint8_t)bits;
        if (FN(mask_step) > 8) mask[i / 8 + 1] = (uint8_t)(bits >> 8);
    }
    if (i < n) {
        unsigned bits = FN(relu_masked_step)(from + i, to + i, n - i);
        mask[i / 8] = (uint8_t)bits;
        if (n - i > 8) mask[i / 8 + 1] = (uint8_t)(bits >> 8);
    }
}

static void FN(relu_masked_backward)(const void *grad, const uint8_t *mask, void *dx, ptrdiff_t n) {
    const real *g = grad;
    real *to = dx;
    const vreal zero = FN(vset)(0);
    const ptrdiff_t lanes = FN(lanes);
    for (ptrdiff_t i = 0; i < n; i += lanes) {
        const ptrdiff_t left = n - i;
        unsigned bits = (unsigned)mask[i / 8] >> (i % 8);
        if (lanes > 8 && left > 8) bits |= (unsigned)mask[i / 8 + 1] << 8;
        vmask kept = FN(vmask_from_bits)(bits);
        if (left >= lanes) FN(vstore)(to + i, FN(vselect)(kept, FN(vload)(g + i), zero));
        else FN(vstore_part)(to + i, FN(vselect)(kept, FN(vload_part)(g + i, left), zero), left);
    }
}
