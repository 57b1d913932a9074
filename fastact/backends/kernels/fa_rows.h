/* Softmax and log-softmax over the last axis, and maxout over groups of neighbours.
 *
 * Short rows (up to FA_SHORT_ROW elements) are worked on several at a time, one row per lane, through a transposed
 * scratch: no horizontal operation is left. Long rows go 64 bytes at a time, whatever the vector's width, so that the
 * order of a sum is the same on every instruction set. Either way a row's bits depend on nothing but the row.
 */

#define FA_SHORT_ROW 32

FA_INLINE real FN(vlargest)(vreal v) {
    if (FN(lanes) > 8) v = FN(vmax)(v, FN(vturn)(v, 8));
    if (FN(lanes) > 4) v = FN(vmax)(v, FN(vturn)(v, 4));
    if (FN(lanes) > 2) v = FN(vmax)(v, FN(vturn)(v, 2));
    v = FN(vmax)(v, FN(vturn)(v, 1));
    return v[0];
}

/* scratch[c] holds column c of `count` rows; missing rows are filled with row 0. A square of vectors at a time. */
FA_INLINE void FN(load_columns)(vreal *scratch, const real *x, ptrdiff_t count, ptrdiff_t columns) {
    ptrdiff_t c = 0;
    do {
        const ptrdiff_t wide = columns - c < FN(lanes) ? columns - c : FN(lanes);
        const FN(tail) part = FN(vtail)(wide);
        vreal v[FN(lanes)];
        if (count == FN(lanes)) {
            FA_UNROLL
            for (int r = 0; r < FN(lanes); r++) v[r] = FN(vload_tail)(x + r * columns + c, part);
        } else {
            for (int r = 0; r < FN(lanes); r++) v[r] = FN(vload_tail)(x + (r < count ? r : 0) * columns + c, part);
        }
        FN(vtranspose)(v);
        if (wide == FN(lanes)) {
            FA_UNROLL
            for (int i = 0; i < FN(lanes); i++) scratch[c + i] = v[i];
        } else {
            FA_UNROLL
            for (int i = 0; i < FN(lanes) - 1; i++)
                if (i < wide) scratch[c + i] = v[i];
        }
    } while ((c += FN(lanes)) < columns);
}

FA_INLINE void FN(store_columns)(const vreal *scratch, real *y, ptrdiff_t count, ptrdiff_t columns) {
    for (ptrdiff_t c = 0; c < columns; c += FN(lanes)) {
        const ptrdiff_t wide = columns - c < FN(lanes) ? columns - c : FN(lanes);
        const FN(tail) part = FN(vtail)(wide);
        vreal v[FN(lanes)];
        FA_UNROLL
        for (int i = 0; i < FN(lanes); i++) v[i] = i < wide ? scratch[c + i] : scratch[c];
        FN(vtranspose)(v);
        FA_UNROLL
        for (int r = 0; r < FN(lanes); r++)
            if (r < count) FN(vstore_tail)(y + r * columns + c, v[r], part);
    }
}

FA_INLINE vreal FN(exp_difference)(vreal x, vreal top) {
    return FN(exp_scaled)(x - top) * FA_UNSCALE;
}

/* The exponentials keep their factor 2^FA_EXP_SHIFT: so does their sum, and in the quotient it is gone. */
FA_INLINE void FN(softmax_columns)(vreal *v, ptrdiff_t columns, int logarithm) {
    vreal top = v[0];
    for (ptrdiff_t c = 1; c < columns; c++) top = FN(vmax)(v[c], top); /* a NaN is not seen here, but by the sum */
    vreal sum = FN(vset)(0);
    for (ptrdiff_t c = 0; c < columns; c++) {
        vreal below = v[c] - top, e = FN(exp_scaled)(below);
        sum += e;
        v[c] = logarithm ? below : e;
    }
    vreal last = logarithm ? FN(log_above_one)(sum * FA_UNSCALE) : (real)1 / sum;
    for (ptrdiff_t c = 0; c < columns; c++) v[c] = logarithm ? v[c] - last : v[c] * last;
}

/* Two long rows at once (the same one twice is fine), as one alone mostly waits: for its maximum, its sum, its quotient.
 * far: the pass that asks for memory ahead, or 0 */
enum { FN(rows_at_once) = 2, FN(last_pass) = 1, FN(first_pass) = 2 };

/* That pass, for the two rows from element at on: the last for rows that are not so long, as it computes most; the first
 * for very long ones, where only that waits for memory, and then the last for what it writes; none for those between,
 * which gain nothing. Measured at 1,000 to 50,000 columns. */
FA_INLINE int FN(rows_far)(ptrdiff_t at, ptrdiff_t rows, ptrdiff_t columns) {
    const ptrdiff_t bytes = columns * (int)sizeof(real);
    if (bytes > 4 * FA_AHEAD) return FN(is_far)(rows * columns) ? FN(first_pass) : 0;
    if (bytes > FA_AHEAD) return 0;
    return at < FN(prefetch_end)(rows * columns, FN(rows_at_once) * columns) ? FN(last_pass) : 0;
}

FA_INLINE void FN(softmax_pair)(const real *const *x, real *const *y, ptrdiff_t n, int logarithm, int far) {
    enum { count = FN(rows_at_once), step = FA_GROUP * FN(lanes) };
    vreal v[count][FA_GROUP], top[count][FA_GROUP], sum[count][FA_GROUP], last[count];
    for (int r = 0; r < count; r++)
        for (int j = 0; j < FA_GROUP; j++) top[r][j] = FN(vset)(-(real)INFINITY), sum[r][j] = FN(vset)(0);
    for (ptrdiff_t i = 0; i < n; i += step)
        for (int r = 0; r < count; r++) {
            if (far == FN(first_pass)) FN(prefetch)(x[r] + i, step);
            FN(load_group)(v[r], x[r], i, n, -(real)INFINITY);
            for (int j = 0; j < FA_GROUP; j++) top[r][j] = FN(vmax)(v[r][j], top[r][j]); /* the sum sees a NaN */
        }
    for (int r = 0; r < count; r++) {
        for (int j = 1; j < FA_GROUP; j++) top[r][0] = FN(vmax)(top[r][0], top[r][j]);
        top[r][0] = FN(vset)(FN(vlargest)(top[r][0]));
    }
    for (ptrdiff_t i = 0; i < n; i += step) {
        for (int r = 0; r < count; r++) {
            if (far == FN(last_pass)) FN(prefetch)(x[r] + i, step);
            if (far && y[r] != x[r]) FN(prefetch)(y[r] + i, step);
            FN(load_group)(v[r], x[r], i, n, -(real)INFINITY);
        }
        for (int r = 0; r < count; r++)
            for (int j = 0; j < FA_GROUP; j++) {
                v[r][j] = FN(exp_scaled)(v[r][j] - top[r][0]);
                sum[r][j] += v[r][j];
            }
        for (int r = 0; r < count; r++)
            if (!logarithm) FN(store_group)(y[r], i, n, v[r]);
    }
    for (int r = 0; r < count; r++) {
        const vreal total = FN(vset)(FN(group_sum)(sum[r]));
        last[r] = logarithm ? FN(log_above_one)(total * FA_UNSCALE) : (real)1 / total;
    }
    for (ptrdiff_t i = 0; i < n; i += step) {
        for (int r = 0; r < count; r++) FN(load_group)(v[r], logarithm ? x[r] : y[r], i, n, 0);
        for (int r = 0; r < count; r++)
            for (int j = 0; j < FA_GROUP; j++)
                v[r][j] = logarithm ? (v[r][j] - top[r][0]) - last[r] : v[r][j] * last[r];
        for (int r = 0; r < count; r++) FN(store_group)(y[r], i, n, v[r]);
    }
}

FA_INLINE void FN(softmax_rows)(const real *x, real *y, ptrdiff_t rows, ptrdiff_t columns, int logarithm) {
    if (columns > FA_SHORT_ROW) {
        for (ptrdiff_t r = 0; r < rows; r += FN(rows_at_once)) {
            const ptrdiff_t at = r * columns, next = (r + 1 < rows ? r + 1 : r) * columns;
            const real *const from[] = {x + at, x + next};
            real *const to[] = {y + at, y + next};
            const int far = FN(rows_far)(at, rows, columns);
            if (far == FN(first_pass)) FN(softmax_pair)(from, to, columns, logarithm, FN(first_pass));
            else if (far == FN(last_pass)) FN(softmax_pair)(from, to, columns, logarithm, FN(last_pass));
            else FN(softmax_pair)(from, to, columns, logarithm, 0);
        }
        return;
    }
    const ptrdiff_t prefetch_end = FN(prefetch_end)(rows * columns, FN(lanes) * columns);
    vreal scratch[FA_SHORT_ROW];
    for (ptrdiff_t r = 0; r < rows; r += FN(lanes)) {
        if (r * columns < prefetch_end) {
            FN(prefetch)(x + r * columns, FN(lanes) * columns);
            if (y != x) FN(prefetch)(y + r * columns, FN(lanes) * columns);
        }
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
FA_INLINE void FN(softmax_pair_gradient)(const real *const *g, const real *const *y, real *const *dx, ptrdiff_t n,
                                         int logarithm, int far) {
    enum { count = FN(rows_at_once), step = FA_GROUP * FN(lanes) };
    vreal a[count][FA_GROUP], b[count][FA_GROUP], sum[count][FA_GROUP], total[count];
    for (int r = 0; r < count; r++)
        for (int j = 0; j < FA_GROUP; j++) sum[r][j] = FN(vset)(0);
    for (ptrdiff_t i = 0; i < n; i += step)
        for (int r = 0; r < count; r++) {
            if (far == FN(first_pass)) FN(prefetch)(g[r] + i, step), FN(prefetch)(y[r] + i, step);
            FN(load_group)(a[r], g[r], i, n, 0);
            if (!logarithm) FN(load_group)(b[r], y[r], i, n, 0);
            for (int j = 0; j < FA_GROUP; j++)
                sum[r][j] = logarithm ? sum[r][j] + a[r][j] : FN(vfma)(a[r][j], b[r][j], sum[r][j]);
        }
    for (int r = 0; r < count; r++) total[r] = FN(vset)(FN(group_sum)(sum[r]));
    for (ptrdiff_t i = 0; i < n; i += step) {
        for (int r = 0; r < count; r++) {
            if (far == FN(last_pass)) FN(prefetch)(g[r] + i, step), FN(prefetch)(y[r] + i, step);
            if (far && dx[r] != g[r] && dx[r] != y[r]) FN(prefetch)(dx[r] + i, step);
            FN(load_group)(a[r], g[r], i, n, 0), FN(load_group)(b[r], y[r], i, n, 0);
        }
        for (int r = 0; r < count; r++)
            for (int j = 0; j < FA_GROUP; j++)
                a[r][j] = logarithm ? a[r][j] - FN(exp_difference)(b[r][j], FN(vset)(0)) * total[r]
                                    : b[r][j] * (a[r][j] - total[r]);
        for (int r = 0; r < count; r++) FN(store_group)(dx[r], i, n, a[r]);
    }
}

FA_INLINE void FN(softmax_rows_gradient)(const real *g, const real *y, real *dx, ptrdiff_t rows, ptrdiff_t columns,
                                         int logarithm) {
    if (columns > FA_SHORT_ROW) {
        for (ptrdiff_t r = 0; r < rows; r += FN(rows_at_once)) {
            const ptrdiff_t at = r * columns, next = (r + 1 < rows ? r + 1 : r) * columns;
            const real *const grad[] = {g + at, g + next}, *const saved[] = {y + at, y + next};
            real *const to[] = {dx + at, dx + next};
            const int far = FN(rows_far)(at, rows, columns);
            if (far == FN(first_pass)) FN(softmax_pair_gradient)(grad, saved, to, columns, logarithm, FN(first_pass));
            else if (far == FN(last_pass)) FN(softmax_pair_gradient)(grad, saved, to, columns, logarithm, FN(last_pass));
            else FN(softmax_pair_gradient)(grad, saved, to, columns, logarithm, 0);
        }
        return;
    }
    const ptrdiff_t prefetch_end = FN(prefetch_end)(rows * columns, FN(lanes) * columns);
    vreal a[FA_SHORT_ROW], b[FA_SHORT_ROW];
    for (ptrdiff_t r = 0; r < rows; r += FN(lanes)) {
        if (r * columns < prefetch_end) {
            FN(prefetch)(g + r * columns, FN(lanes) * columns), FN(prefetch)(y + r * columns, FN(lanes) * columns);
            if (dx != g && dx != y) FN(prefetch)(dx + r * columns, FN(lanes) * columns);
        }
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

/* Whether the next piece wins over the best before it: the first of equals does, and the first NaN over everything. */
FA_INLINE vmask FN(better)(vreal next, vreal best) {
    return FN(vand)(FN(vnot)(FN(vle)(next, best)), FN(veq)(best, best));
}

/* y[i] = max of x[i * pieces ...]. v: the pieces of one vector of outputs. */
FA_INLINE void FN(maxout_vector)(const vreal *v, int pieces, vreal *best, vreal *winner) {
    *best = v[0], *winner = FN(vset)(0);
    for (int p = 1; p < pieces; p++) {
        vmask better = FN(better)(v[p], *best);
        *best = FN(vselect)(better, v[p], *best);
        *winner = FN(vselect)(better, FN(vset)((real)p), *winner);
    }
}

/* v[p]: piece p of the next vector of outputs, of 2 or 4 pieces */
FA_INLINE void FN(load_pieces)(vreal *v, const real *x, int pieces) {
    const ptrdiff_t lanes = FN(lanes);
    FN(vpair) a = FN(vdeinterleave)(FN(vload)(x), FN(vload)(x + lanes));
    if (pieces == 2) {
        v[0] = a.first, v[1] = a.second;
    } else {
        FN(vpair) b = FN(vdeinterleave)(FN(vload)(x + 2 * lanes), FN(vload)(x + 3 * lanes));
        FN(vpair) even = FN(vdeinterleave)(a.first, b.first), odd = FN(vdeinterleave)(a.second, b.second);
        v[0] = even.first, v[1] = odd.first, v[2] = even.second, v[3] = odd.second;
    }
}
FA_INLINE void FN(store_pieces)(const vreal *v, real *x, int pieces) {
    const ptrdiff_t lanes = FN(lanes);
    if (pieces == 2) {
        FN(vpair) a = FN(vinterleave)(v[0], v[1]);
        FN(vstore)(x, a.first);
        __asm__ volatile("" ::: "memory"); /* unaligned stores that descend take half as long again */
        FN(vstore)(x + lanes, a.second);
    } else {
        FN(vpair) even = FN(vinterleave)(v[0], v[2]), odd = FN(vinterleave)(v[1], v[3]);
        FN(vpair) a = FN(vinterleave)(even.first, odd.first), b = FN(vinterleave)(even.second, odd.second);
        FN(vstore)(x, a.first), FN(vstore)(x + lanes, a.second);
        FN(vstore)(x + 2 * lanes, b.first), FN(vstore)(x + 3 * lanes, b.second);
    }
}

/* Whole vectors of outputs; returns how many outputs that is. */
FA_INLINE ptrdiff_t FN(maxout_whole)(const real *x, real *y, uint8_t *index, ptrdiff_t n, int pieces) {
    const ptrdiff_t prefetch_end = FN(is_far)(n * pieces) ? n - FA_AHEAD / (int)sizeof(real) - FN(lanes) : 0;
    ptrdiff_t i = 0;
    vreal v[4], best, winner;
    for (; i + FN(lanes) <= n; i += FN(lanes)) {
        if (FA_RARELY(i < prefetch_end))
            FN(prefetch)(x + i * pieces, pieces * FN(lanes)), FN(prefetch)(y + i, FN(lanes));
        FN(load_pieces)(v, x + i * pieces, pieces);
        if (pieces == 2) {
            const vmask second = FN(better)(v[1], v[0]);
            FN(vstore)(y + i, FN(vselect)(second, v[1], v[0]));
            FN(vstore_flags)(index + i, second);
            continue;
        }
        FN(maxout_vector)(v, pieces, &best, &winner);
        FN(vstore)(y + i, best);
        FN(vstore_bytes)(index + i, winner);
    }
    return i;
}

static void FN(maxout)(const void *x, void *y, uint8_t *index, ptrdiff_t n, ptrdiff_t pieces) {
    const real *from = x;
    real *to = y;
    vreal v[FA_SHORT_ROW], best, winner;
    uint8_t bytes[FN(lanes)];
    ptrdiff_t i = 0, part = pieces == 2 || pieces == 4 ? FN(head)(to, n) : FN(part)(n);
    for (; pieces <= FA_SHORT_ROW && i < n; part = FN(part)(n - i)) {
        if (part) {
            FN(load_columns)(v, from + i * pieces, part, pieces);
            FN(maxout_vector)(v, (int)pieces, &best, &winner);
            FN(vstore_bytes)(bytes, winner);
            memcpy(index + i, bytes, (size_t)part);
            FN(vstore_part)(to + i, best, part);
            i += part;
        }
        if (pieces == 2) i += FN(maxout_whole)(from + i * 2, to + i, index + i, n - i, 2);
        if (pieces == 4) i += FN(maxout_whole)(from + i * 4, to + i, index + i, n - i, 4);
    }
    for (; i < n; i++) { /* many pieces: one output after the other, without a branch */
        real most = from[i * pieces];
        int number = 0;
        for (int p = 1; p < (int)pieces; p++) {
            real next = from[i * pieces + p];
            int better = (next > most) | ((next != next) & (most == most));
            most = better ? next : most;
            number = better ? p : number;
        }
        to[i] = most;
        index[i] = (uint8_t)number;
    }
}

FA_INLINE void FN(maxout_gradients)(vreal *v, vreal g, vreal winner, int pieces) {
    for (int p = 0; p < pieces; p++) v[p] = FN(vselect)(FN(veq)(winner, FN(vset)((real)p)), g, FN(vset)(0));
}

FA_INLINE ptrdiff_t FN(maxout_backward_whole)(const real *g, const uint8_t *index, real *dx, ptrdiff_t n, int pieces) {
    ptrdiff_t i = 0;
    vreal v[4];
    for (; i + FN(lanes) <= n; i += FN(lanes)) {
        FN(maxout_gradients)(v, FN(vload)(g + i), FN(vload_bytes)(index + i), pieces);
        FN(store_pieces)(v, dx + i * pieces, pieces);
    }
    return i;
}

static void FN(maxout_backward)(const void *grad, const uint8_t *index, void *dx, ptrdiff_t n, ptrdiff_t pieces) {
    const real *g = grad;
    real *to = dx;
    vreal v[FA_SHORT_ROW];
    uint8_t bytes[FN(lanes)] = {0};
    const ptrdiff_t head = FN(head)(to, n * pieces);
    ptrdiff_t i = 0, part = pieces != 2 && pieces != 4 ? FN(part)(n) : head % pieces ? 0 : head / pieces;
    for (; pieces <= FA_SHORT_ROW && i < n; part = FN(part)(n - i)) {
        if (part) {
            memcpy(bytes, index + i, (size_t)part);
            FN(maxout_gradients)(v, FN(vload_part)(g + i, part), FN(vload_bytes)(bytes), (int)pieces);
            FN(store_columns)(v, to + i * pieces, part, pieces);
            i += part;
        }
        if (pieces == 2) i += FN(maxout_backward_whole)(g + i, index + i, to + i * 2, n - i, 2);
        if (pieces == 4) i += FN(maxout_backward_whole)(g + i, index + i, to + i * 4, n - i, 4);
    }
    for (; i < n; i++)
        for (int p = 0; p < (int)pieces; p++) to[i * pieces + p] = p == index[i] ? g[i] : (real)0;
}

/* Masks: bit i, least significant first, belongs to element i. A strip's bits fill 8 bytes. */
enum { FN(mask_strip) = 64 };

/* y = x where x >= 0, else 0 (-0 and NaN stay); the bits say x >= 0 */
FA_INLINE uint64_t FN(relu_masked_strip)(const real *x, real *y) {
    const vreal zero = FN(vset)(0);
    uint64_t bits = 0;
    FA_UNROLL
    for (int j = 0; j < FN(mask_strip); j += FN(lanes)) {
        vreal v = FN(vload)(x + j);
        bits |= (uint64_t)FN(vmask_bits)(FN(vle)(zero, v)) << j;
        FN(vstore)(y + j, FN(vmax)(zero, v)); /* v second: it is taken where it is -0 or NaN */
    }
    return bits;
}

static void FN(relu_masked)(const void *x, void *y, uint8_t *mask, ptrdiff_t n) {
    const real *from = x;
    real *to = y;
    const ptrdiff_t prefetch_end = FN(prefetch_end)(n, FN(mask_strip));
    ptrdiff_t i = 0;
    for (; i + FN(mask_strip) <= n; i += FN(mask_strip)) {
        if (FA_RARELY(i < prefetch_end)) {
            FN(prefetch)(from + i, FN(mask_strip));
            if (to != from) FN(prefetch)(to + i, FN(mask_strip));
        }
        uint64_t bits = FN(relu_masked_strip)(from + i, to + i);
        memcpy(mask + i / 8, &bits, sizeof bits); /* both architectures are little-endian */
    }
    if (i < n) {
        real strip[FN(mask_strip)];
        for (ptrdiff_t j = 0; j < FN(mask_strip); j++) strip[j] = i + j < n ? from[i + j] : -1; /* padding's bits are 0 */
        uint64_t bits = FN(relu_masked_strip)(strip, strip);
        memcpy(to + i, strip, (size_t)(n - i) * sizeof(real));
        memcpy(mask + i / 8, &bits, (size_t)((n - i + 7) / 8));
    }
}

FA_INLINE void FN(relu_masked_backward_strip)(const real *g, uint64_t bits, real *dx) {
    FA_UNROLL
    for (int j = 0; j < FN(mask_strip); j += FN(lanes)) {
        vmask kept = FN(vmask_from_bits)((unsigned)(bits >> j));
        FN(vstore)(dx + j, FN(vselect)(kept, FN(vload)(g + j), FN(vset)(0)));
    }
}

static void FN(relu_masked_backward)(const void *grad, const uint8_t *mask, void *dx, ptrdiff_t n) {
    const real *g = grad;
    real *to = dx;
    const ptrdiff_t prefetch_end = FN(prefetch_end)(n, FN(mask_strip));
    uint64_t bits = 0;
    ptrdiff_t i = 0;
    for (; i + FN(mask_strip) <= n; i += FN(mask_strip)) {
        if (FA_RARELY(i < prefetch_end)) {
            FN(prefetch)(g + i, FN(mask_strip));
            if (to != g) FN(prefetch)(to + i, FN(mask_strip));
        }
        memcpy(&bits, mask + i / 8, sizeof bits);
        FN(relu_masked_backward_strip)(g + i, bits, to + i);
    }
    if (i < n) {
        real strip[FN(mask_strip)] = {0};
        memcpy(strip, g + i, (size_t)(n - i) * sizeof(real));
        memcpy(&bits, mask + i / 8, (size_t)((n - i + 7) / 8));
        FN(relu_masked_backward_strip)(strip, bits, strip);
        memcpy(to + i, strip, (size_t)(n - i) * sizeof(real));
    }
}
