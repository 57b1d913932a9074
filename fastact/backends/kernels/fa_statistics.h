/* What diagnostics ask of a matrix, for each of its columns, in one pass.
 *
 * A strip of columns is one cache line wide and goes down all rows. Counts and sums are kept in vectors for
 * FA_STATISTICS_ROWS rows, where a count is exact and a sum of `real` loses at most as many half units in the last
 * place, and then added to doubles. Deviations are from the column's first element, so that a large mean does not
 * swallow a small variance. A column's bits depend on the column alone: not on threads, and not on the width of a
 * vector where there is FMA.
 */

#define FA_STATISTICS_ROWS 64

FA_INLINE void FN(statistics_strip)(const real *x, double *result, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t n,
                                    real small) {
    enum { width = FA_GROUP * FN(lanes) };
    const vreal none = FN(vset)(0), one = FN(vset)(1), limit = FN(vset)(small);
    double totals[FA_STATISTICS][width] = {{0}};
    vreal first[FA_GROUP], v[FA_GROUP];
    FN(load_group)(first, x, 0, n, 0);
    for (ptrdiff_t start = 0; start < rows; start += FA_STATISTICS_ROWS) {
        const ptrdiff_t stop = rows - start < FA_STATISTICS_ROWS ? rows : start + FA_STATISTICS_ROWS;
        vreal sums[FA_STATISTICS][FA_GROUP];
        for (int k = 0; k < FA_STATISTICS; k++)
            for (int j = 0; j < FA_GROUP; j++) sums[k][j] = none;
        for (ptrdiff_t r = start; r < stop; r++) {
            FN(load_group)(v, x + r * columns, 0, n, 0);
            for (int j = 0; j < FA_GROUP; j++) {
                const vreal d = v[j] - first[j];
                sums[FA_ABOVE][j] += FN(vselect)(FN(vlt)(none, v[j]), one, none);
                sums[FA_BELOW][j] += FN(vselect)(FN(vlt)(v[j], none), one, none);
                sums[FA_SMALL][j] += FN(vselect)(FN(vlt)(FN(vabs)(v[j]), limit), one, none);
                sums[FA_MEAN][j] += d;
                sums[FA_SQUARES][j] = FN(vmul_add)(d, d, sums[FA_SQUARES][j]);
            }
        }
        for (int k = 0; k < FA_STATISTICS; k++) {
            real strip[width];
            for (int j = 0; j < FA_GROUP; j++) FN(vstore)(strip + j * FN(lanes), sums[k][j]);
            for (int i = 0; i < width; i++) totals[k][i] += (double)strip[i];
        }
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        const double sum = totals[FA_MEAN][i], mean = sum / (double)rows;
        totals[FA_MEAN][i] = (double)x[i] + mean;
        totals[FA_SQUARES][i] -= sum * mean;
        for (int k = 0; k < FA_STATISTICS; k++) result[k * columns + i] = totals[k][i];
    }
}

static void FN(column_statistics)(const void *x, double *result, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t first,
                                  ptrdiff_t n, double small) {
    const ptrdiff_t width = FA_GROUP * FN(lanes);
    for (ptrdiff_t i = first; i < first + n; i += width)
        FN(statistics_strip)((const real *)x + i, result + i, rows, columns, first + n - i < width ? first + n - i : width,
                             (real)small);
}

/* sums += v^2, lane by lane, in double: what `real` may be too narrow to square */
FA_INLINE void FN(add_squares)(FN(vdouble) *sums, vreal v) {
#if FA_DOUBLE
    sums[0] += v * v;
#else
    FN(vhalf) half[2];
    memcpy(half, &v, sizeof v);
    for (int k = 0; k < 2; k++) {
        const FN(vdouble) wide = __builtin_convertvector(half[k], FN(vdouble));
        sums[k] += wide * wide;
    }
#endif
}

/* The largest magnitude of n numbers, NaN where there is one: without their signs, bits are ordered as numbers are, and
 * NaN above infinity. */
static double FN(largest)(const void *x, ptrdiff_t n) {
    enum { width = FA_GROUP * FN(lanes) };
    const vint unsigned_bits = ~FN(vbits)(FN(vset)((real)-0.0));
    vint most[FA_GROUP];
    for (int j = 0; j < FA_GROUP; j++) most[j] = FN(vbits)(FN(vset)(0));
    for (ptrdiff_t i = 0; i < n; i += width) {
        vreal v[FA_GROUP];
        FN(load_group)(v, x, i, n, 0);
        for (int j = 0; j < FA_GROUP; j++) {
            const vint bits = FN(vbits)(v[j]) & unsigned_bits, larger = bits > most[j];
            most[j] = (bits & larger) | (most[j] & ~larger);
        }
    }
    sint strip[width], result = 0;
    memcpy(strip, most, sizeof strip);
    for (int i = 0; i < width; i++) result = strip[i] > result ? strip[i] : result;
    real magnitude;
    memcpy(&magnitude, &result, sizeof magnitude);
    return (double)magnitude;
}

/* 64 bytes of lanes, added in one order for every vector width */
static void FN(distance)(const void *x, const void *y, ptrdiff_t n, double *sums) {
    enum { width = FA_GROUP * FN(lanes), each = FN(sums) / FA_GROUP };
    FN(vdouble) apart[FN(sums)], size[FN(sums)];
    for (int j = 0; j < FN(sums); j++) apart[j] = size[j] = (FN(vdouble)){0};
    for (ptrdiff_t i = 0; i < n; i += width) {
        vreal a[FA_GROUP], b[FA_GROUP];
        FN(load_group)(a, x, i, n, 0);
        FN(load_group)(b, y, i, n, 0);
        for (int j = 0; j < FA_GROUP; j++) {
            FN(add_squares)(apart + j * each, a[j] - b[j]);
            FN(add_squares)(size + j * each, a[j]);
        }
    }
    double strip[2][width];
    memcpy(strip[0], apart, sizeof strip[0]);
    memcpy(strip[1], size, sizeof strip[1]);
    for (int k = 0; k < 2; k++) {
        for (int half = width / 2; half > 0; half /= 2)
            for (int j = 0; j < half; j++) strip[k][j] += strip[k][j + half];
        sums[k] = strip[k][0];
    }
}
