/* Losses: value and gradient from one visit to each row. */

FA_INLINE vreal FN(load_row)(const real *row, ptrdiff_t i, ptrdiff_t columns, real padding) {
    if (i + FN(lanes) <= columns) return FN(vload)(row + i);
    real strip[FN(lanes)];
    for (int j = 0; j < FN(lanes); j++) strip[j] = i + j < columns ? row[i + j] : padding;
    return FN(vload)(strip);
}

FA_INLINE void FN(store_row)(real *row, ptrdiff_t i, ptrdiff_t columns, vreal v) {
    if (i + FN(lanes) <= columns) FN(vstore)(row + i, v);
    else FN(vstore_part)(row + i, v, columns - i);
}

static double FN(softmax_cross_entropy)(const void *logits, const int64_t *labels, const void *targets, void *grad,
                                        ptrdiff_t rows, ptrdiff_t columns, double scale) {
    const ptrdiff_t lanes = FN(lanes);
    double total = 0;
    for (ptrdiff_t row = 0; row < rows; row++) {
        const real *x = (const real *)logits + row * columns;
        const real *target = targets ? (const real *)targets + row * columns : NULL;
        real *g = (real *)grad + row * columns;

        vreal largest = FN(vset)(-(real)INFINITY);
        for (ptrdiff_t i = 0; i < columns; i += lanes)
            largest = FN(vmax)(FN(load_row)(x, i, columns, -(real)INFINITY), largest);
        real top = largest[0];
        for (int j = 1; j < FN(lanes); j++) top = largest[j] > top ? largest[j] : top;

        /* x is read for the last time before g, which may be the same array, is written */
        double chosen = 0, mass = 1;
        if (target) {
            mass = 0;
            for (ptrdiff_t i = 0; i < columns; i++) {
                mass += (double)target[i];
                if (target[i] != 0) chosen += (double)target[i] * ((double)x[i] - (double)top);
            }
        } else {
            chosen = (double)x[labels[row]] - (double)top;
        }

        vreal sums = FN(vset)(0);
        for (ptrdiff_t i = 0; i < columns; i += lanes) {
            vreal power = FN(exp_scaled)(FN(load_row)(x, i, columns, -(real)INFINITY) - top) * FA_UNSCALE;
            sums += power;
            FN(store_row)(g, i, columns, power);
        }
        double sum = (double)FN(vsum)(sums);
        total += mass * log(sum) - chosen;

        const real factor = (real)(scale * mass / sum);
        const real unit = (real)scale;
        for (ptrdiff_t i = 0; i < columns; i += lanes) {
            vreal d = FN(load_row)(g, i, columns, 0) * factor;
            if (target) d -= FN(load_row)(target, i, columns, 0) * unit;
            FN(store_row)(g, i, columns, d);
        }
        if (!target) g[labels[row]] -= unit;
    }
    return total;
}
