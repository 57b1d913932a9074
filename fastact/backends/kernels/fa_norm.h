/* Layer and batch normalisation, and dropout.
 *
 * Means and variances take two passes and are then corrected by what the second one finds (Chan, Golub and LeVeque 1983).
 * A mean stays in the two parts that come of this, mean and rest: x - mean is exact where x is near the mean, and so
 * numbers far from zero lose nothing. Sums along a row go in 64 bytes of lanes, sums down a column from row to
 * row: either order is the same on every instruction set. The callers add blocks of rows in order.
 */

/* Moments of n numbers, `step` apart, whose squares overflow (or of which one is not finite): the mean in two parts, times
 * FA_FAR_SCALE, and the sum of squares about it, times its square. */
#define FA_FAR_SCALE FA_EITHER(1.0, 0x1p-600)
typedef struct {
    double mean, rest, squares;
} FN(moments);
static FN(moments) FN(far_moments)(const real *x, ptrdiff_t n, ptrdiff_t step) {
    FN(moments) m = {0, 0, 0};
    for (ptrdiff_t i = 0; i < n; i++) m.mean += (double)x[i * step] * FA_FAR_SCALE;
    m.mean /= (double)n;
    for (ptrdiff_t i = 0; i < n; i++) {
        const double d = (double)x[i * step] * FA_FAR_SCALE - m.mean;
        m.rest += d;
        m.squares += d * d;
    }
    m.squares -= m.rest * (m.rest / (double)n);
    m.rest /= (double)n;
    return m;
}
FA_INLINE int FN(is_finite)(double x) {
    return x - x == 0;
}
/* mean + rest as a real and what is left of it */
FA_INLINE void FN(in_two_parts)(double mean, double rest, real *high, real *low) {
    *high = (real)(mean + rest);
    *low = (real)((mean - (double)*high) + rest);
}
/* scale / sqrt(variance + eps) of numbers that are so many times as large */
FA_INLINE real FN(rstd_of)(double variance, double eps, double scale) {
    return (real)(scale / sqrt((variance < 0 ? 0 : variance) + eps * scale * scale));
}

/* Of elements i to end of a row of n: deviations from a number, and their squares, added to sums. */
FA_INLINE void FN(add_deviations)(const real *x, ptrdiff_t i, ptrdiff_t end, ptrdiff_t n, real about, vreal *first,
                                  vreal *second) {
    vreal v[FA_GROUP];
    for (; i < end; i += FA_GROUP * FN(lanes)) {
        FN(load_group)(v, x, i, n, about); /* padding is at the mean */
        for (int j = 0; j < FA_GROUP; j++) {
            vreal d = v[j] - about;
            first[j] += d;
            second[j] = FN(vmul_add)(d, d, second[j]);
        }
    }
}

/* Mean of a row, in two parts, and 1 / sqrt(variance + eps). */
FA_INLINE void FN(row_moments)(const real *x, ptrdiff_t n, double eps, real *mean, real *rest, real *rstd) {
    const ptrdiff_t step = FA_GROUP * FN(lanes);
    vreal v[FA_GROUP], first[FA_GROUP], second[FA_GROUP];
    for (int j = 0; j < FA_GROUP; j++) first[j] = FN(vset)(0);
    for (ptrdiff_t i = 0; i < n; i += step) {
        FN(load_group)(v, x, i, n, 0);
        for (int j = 0; j < FA_GROUP; j++) first[j] += v[j];
    }
    const real about = FN(group_sum)(first) / (real)n;
    for (int j = 0; j < FA_GROUP; j++) first[j] = second[j] = FN(vset)(0);
    ptrdiff_t i = 0;
    for (; n - i > 16 * step; i += 16 * step) { /* sums of sums round less */
        vreal part[FA_GROUP];
        for (int j = 0; j < FA_GROUP; j++) part[j] = FN(vset)(0);
        FN(add_deviations)(x, i, i + 16 * step, n, about, first, part);
        for (int j = 0; j < FA_GROUP; j++) second[j] += part[j];
    }
    FN(add_deviations)(x, i, n, n, about, first, second);
    *mean = about, *rest = FN(group_sum)(first) / (real)n;
    const real variance = FN(group_sum)(second) / (real)n - *rest * *rest;
    *rstd = FN(rstd_of)((double)variance, eps, 1);
    if (FA_RARELY(!FN(is_finite)((double)variance))) {
        const FN(moments) m = FN(far_moments)(x, n, 1);
        FN(in_two_parts)(m.mean / FA_FAR_SCALE, m.rest / FA_FAR_SCALE, mean, rest);
        *rstd = FN(rstd_of)(m.squares / (double)n, eps, FA_FAR_SCALE);
    }
}

static void FN(layer_norm)(const fa_norm *a, ptrdiff_t row, ptrdiff_t rows) {
    const ptrdiff_t n = a->columns, step = FA_GROUP * FN(lanes);
    const real *x = (const real *)a->x + row * n, *weight = a->weight, *bias = a->bias;
    real *y = (real *)a->y + row * n;
    vreal v[FA_GROUP], w[FA_GROUP], b[FA_GROUP];
    for (int j = 0; j < FA_GROUP; j++) w[j] = FN(vset)(1), b[j] = FN(vset)(0);
    for (ptrdiff_t r = row; r < row + rows; r++, x += n, y += n) {
        real mean, rest, rstd;
        FN(row_moments)(x, n, a->eps, &mean, &rest, &rstd);
        if (a->mean) ((real *)a->mean)[r] = mean, ((real *)a->rest)[r] = rest, ((real *)a->rstd)[r] = rstd;
        const vreal shift = FN(vset)(-rest * rstd), scale = FN(vset)(rstd);
        for (ptrdiff_t i = 0; i < n; i += step) {
            FN(load_group)(v, x, i, n, 0);
            if (weight) FN(load_group)(w, weight, i, n, 0);
            if (bias) FN(load_group)(b, bias, i, n, 0);
            for (int j = 0; j < FA_GROUP; j++)
                v[j] = FN(vmul_add)(FN(vmul_add)(v[j] - mean, scale, shift), w[j], b[j]);
            FN(store_group)(y, i, n, v);
        }
    }
}

/* With h = grad * weight and z the normalised x: dx = rstd (h - mean(h) - z mean(h z)). dweight and dbias, of this block
 * of rows alone, are the column sums of grad z and of grad. dx, or both of them, may be NULL. */
static void FN(layer_norm_backward)(const fa_norm *a, ptrdiff_t row, ptrdiff_t rows, void *dweight, void *dbias) {
    const ptrdiff_t n = a->columns, step = FA_GROUP * FN(lanes);
    const real *x = (const real *)a->x + row * n, *grad = (const real *)a->grad + row * n, *weight = a->weight;
    real *dx = a->y ? (real *)a->y + row * n : NULL, *dw = dweight, *db = dbias;
    vreal z[FA_GROUP], g[FA_GROUP], w[FA_GROUP], s[FA_GROUP], sum[FA_GROUP], product[FA_GROUP];
    for (int j = 0; j < FA_GROUP; j++) w[j] = FN(vset)(1);
    if (dw) memset(dw, 0, (size_t)n * sizeof(real));
    if (dw) memset(db, 0, (size_t)n * sizeof(real));
    for (ptrdiff_t r = row; r < row + rows; r++, x += n, grad += n, dx += dx ? n : 0) {
        const real mean = ((const real *)a->mean)[r], rstd = ((const real *)a->rstd)[r];
        const vreal rest = FN(vset)(-((const real *)a->rest)[r] * rstd), scale = FN(vset)(rstd);
        for (int j = 0; j < FA_GROUP; j++) sum[j] = product[j] = FN(vset)(0);
        for (ptrdiff_t i = 0; i < n; i += step) {
            FN(load_group)(z, x, i, n, mean);
            FN(load_group)(g, grad, i, n, 0);
            for (int j = 0; j < FA_GROUP; j++) z[j] = FN(vmul_add)(z[j] - mean, scale, rest);
            if (dw) {
                FN(load_group)(s, dw, i, n, 0);
                for (int j = 0; j < FA_GROUP; j++) s[j] = FN(vmul_add)(g[j], z[j], s[j]);
                FN(store_group)(dw, i, n, s);
                FN(load_group)(s, db, i, n, 0);
                for (int j = 0; j < FA_GROUP; j++) s[j] += g[j];
                FN(store_group)(db, i, n, s);
            }
            if (dx) {
                if (weight) FN(load_group)(w, weight, i, n, 0);
                for (int j = 0; j < FA_GROUP; j++) {
                    vreal h = g[j] * w[j];
                    sum[j] += h;
                    product[j] = FN(vmul_add)(h, z[j], product[j]);
                }
            }
        }
        if (!dx) continue;
        const real shift = FN(group_sum)(sum) / (real)n, slant = FN(group_sum)(product) / (real)n;
        for (ptrdiff_t i = 0; i < n; i += step) {
            FN(load_group)(z, x, i, n, mean);
            FN(load_group)(g, grad, i, n, 0);
            if (weight) FN(load_group)(w, weight, i, n, 0);
            for (int j = 0; j < FA_GROUP; j++) {
                vreal h = g[j] * w[j] - shift;
                g[j] = (FN(vmul_add)(z[j] - mean, scale, rest) * -slant + h) * rstd;
            }
            FN(store_group)(dx, i, n, g);
        }
    }
}

/* ---- columns: a vector of them at a time, `left` of its lanes */

FA_INLINE vreal FN(load_lanes)(const real *p, ptrdiff_t left) {
    return left >= FN(lanes) ? FN(vload)(p) : FN(vload_tail)(p, FN(vtail)(left));
}

FA_INLINE void FN(store_lanes)(real *p, vreal v, ptrdiff_t left) {
    if (left >= FN(lanes)) FN(vstore)(p, v);
    else FN(vstore_tail)(p, v, FN(vtail)(left));
}

/* Sums down a few vectors of columns that stay in registers: `count` of them, the last with `left` lanes. */
enum { FN(abreast) = 4 };

FA_INLINE void FN(load_columns_of)(vreal *v, const real *p, int count, ptrdiff_t left) {
    FA_UNROLL
    for (int k = 0; k < count; k++) v[k] = FN(load_lanes)(p + k * FN(lanes), left - k * FN(lanes));
}

FA_INLINE void FN(moments_of)(const real *x, ptrdiff_t n, ptrdiff_t rows, double *parts, int count, ptrdiff_t left) {
    vreal v[FN(abreast)], about[FN(abreast)], first[FN(abreast)], second[FN(abreast)];
    FA_UNROLL
    for (int k = 0; k < count; k++) about[k] = first[k] = second[k] = FN(vset)(0);
    for (ptrdiff_t r = 0; r < rows; r++) {
        FN(load_columns_of)(v, x + r * n, count, left);
        FA_UNROLL
        for (int k = 0; k < count; k++) about[k] += v[k];
    }
    FA_UNROLL
    for (int k = 0; k < count; k++) about[k] /= (real)rows;
    for (ptrdiff_t r = 0; r < rows;) {
        vreal part[FN(abreast)]; /* sums of sums round less */
        FA_UNROLL
        for (int k = 0; k < count; k++) part[k] = FN(vset)(0);
        for (const ptrdiff_t end = r + 8 < rows ? r + 8 : rows; r < end; r++) {
            FN(load_columns_of)(v, x + r * n, count, left);
            FA_UNROLL
            for (int k = 0; k < count; k++) {
                v[k] -= about[k];
                first[k] += v[k];
                part[k] = FN(vmul_add)(v[k], v[k], part[k]);
            }
        }
        FA_UNROLL
        for (int k = 0; k < count; k++) second[k] += part[k];
    }
    for (int k = 0; k < count; k++)
        for (ptrdiff_t j = 0; j < FN(lanes) && k * FN(lanes) + j < left; j++) {
            const double rest = (double)first[k][j] / (double)rows;
            parts[k * FN(lanes) + j] = (double)about[k][j];
            parts[n + k * FN(lanes) + j] = rest;
            parts[2 * n + k * FN(lanes) + j] = (double)second[k][j] - rest * (double)first[k][j];
        }
}

/* Of each column: the mean in two parts and the sum of squares about it, in double, into parts: `columns` of each. */
static void FN(batch_moments)(const fa_norm *a, ptrdiff_t row, ptrdiff_t rows, double *parts) {
    const ptrdiff_t n = a->columns, step = FN(abreast) * FN(lanes);
    const real *x = (const real *)a->x + row * n;
    ptrdiff_t i = 0;
    for (; i + step <= n; i += step) FN(moments_of)(x + i, n, rows, parts + i, FN(abreast), step);
    for (; i < n; i += FN(lanes)) FN(moments_of)(x + i, n, rows, parts + i, 1, n - i);
}

/* From the blocks' moments (the first block's are overwritten): mean, rest and rstd of each column, and the running
 * statistics moved by the factor towards the batch's, with the unbiased variance. */
#define FA_LARGEST FA_EITHER(0x1.fffffep127, 0x1.fffffffffffffp1023)
static void FN(batch_combine)(const fa_norm *a, double *parts, ptrdiff_t rows, ptrdiff_t block, void *running_mean,
                              void *running_variance, double factor) {
    const ptrdiff_t n = a->columns;
    real *mean = a->mean, *rest = a->rest, *rstd = a->rstd, *rm = running_mean, *rv = running_variance;
    double *all = parts;
    for (ptrdiff_t done = block; done < rows; done += block) {
        const double *part = parts + done / block * 3 * n;
        const double more = (double)(rows - done < block ? rows - done : block);
        const double share = more / ((double)done + more);
        for (ptrdiff_t i = 0; i < n; i++) {
            const double d = (part[i] - all[i]) + (part[n + i] - all[n + i]);
            all[n + i] += d * share;
            all[2 * n + i] += part[2 * n + i] + d * d * (double)done * share;
        }
    }
    double *centre = all, *apart = all + n, *squares = all + 2 * n;
    int far = 0;
    for (ptrdiff_t i = 0; i < n; i++) far |= !FN(is_finite)(squares[i]);
    for (ptrdiff_t i = 0; far && i < n; i++)
        if (!FN(is_finite)(squares[i])) {
            const FN(moments) m = FN(far_moments)((const real *)a->x + i, rows, n);
            centre[i] = m.mean / FA_FAR_SCALE, apart[i] = m.rest / FA_FAR_SCALE;
            squares[i] = m.squares / FA_FAR_SCALE / FA_FAR_SCALE;
        }
    for (ptrdiff_t i = 0; i < n; i++) {
        const double variance = (squares[i] < 0 ? 0 : squares[i]) / ((double)rows - 1);
        const double moved = (double)rv[i] + factor * (variance - (double)rv[i]);
        rstd[i] = FN(rstd_of)(squares[i] / (double)rows, a->eps, 1);
        FN(in_two_parts)(centre[i], apart[i], mean + i, rest + i);
        rm[i] = (real)((double)rm[i] + factor * ((centre[i] - (double)rm[i]) + apart[i]));
        rv[i] = (real)(moved > FA_LARGEST ? FA_LARGEST : moved); /* infinity would be there to stay */
    }
    for (ptrdiff_t i = 0; far && i < n; i++)
        if (!FN(is_finite)(squares[i])) /* in double, beyond its square root */
            rstd[i] = FN(rstd_of)(FN(far_moments)((const real *)a->x + i, rows, n).squares / (double)rows, a->eps,
                                  FA_FAR_SCALE);
}

/* rstd from a variance, for inference */
static void FN(batch_rstd)(const void *variance, void *rstd, ptrdiff_t n, double eps) {
    for (ptrdiff_t i = 0; i < n; i++) ((real *)rstd)[i] = (real)(1 / sqrt((double)((const real *)variance)[i] + eps));
}

/* Columns whose constants are computed at a time, before all their rows */
enum { FN(columns) = 64 * FN(lanes) };

/* y = (x - mean - rest) * (rstd * weight) + bias; no rest: 0 */
static void FN(batch_norm)(const fa_norm *a, ptrdiff_t row, ptrdiff_t rows) {
    real scale[FN(columns)], shift[FN(columns)];
    for (ptrdiff_t first = 0; first < a->columns; first += FN(columns)) {
        const ptrdiff_t n = a->columns - first < FN(columns) ? a->columns - first : FN(columns);
        const real *x = (const real *)a->x + row * a->columns + first, *mean = (const real *)a->mean + first;
        real *y = (real *)a->y + row * a->columns + first;
        for (ptrdiff_t i = 0; i < n; i += FN(lanes)) {
            vreal s = FN(load_lanes)((const real *)a->rstd + first + i, n - i);
            if (a->weight) s *= FN(load_lanes)((const real *)a->weight + first + i, n - i);
            vreal b = a->bias ? FN(load_lanes)((const real *)a->bias + first + i, n - i) : FN(vset)(-(real)0);
            if (a->rest) b = FN(vmul_add)(FN(load_lanes)((const real *)a->rest + first + i, n - i), -s, b);
            FN(vstore)(scale + i, s);
            FN(vstore)(shift + i, b);
        }
        for (ptrdiff_t r = 0; r < rows; r++, x += a->columns, y += a->columns)
            for (ptrdiff_t i = 0; i < n; i += FN(lanes)) {
                vreal v = FN(load_lanes)(x + i, n - i) - FN(load_lanes)(mean + i, n - i);
                FN(store_lanes)(y + i, FN(vmul_add)(v, FN(vload)(scale + i), FN(vload)(shift + i)), n - i);
            }
    }
}

FA_INLINE void FN(norm_sums_of)(const fa_norm *a, const real *x, const real *grad, ptrdiff_t i, ptrdiff_t rows,
                                real *dweight, real *dbias, int count, ptrdiff_t left) {
    vreal v[FN(abreast)], g[FN(abreast)], mean[FN(abreast)], sum[FN(abreast)], product[FN(abreast)];
    FN(load_columns_of)(mean, (const real *)a->mean + i, count, left);
    FA_UNROLL
    for (int k = 0; k < count; k++) sum[k] = product[k] = FN(vset)(0);
    for (ptrdiff_t r = 0; r < rows; r++) {
        FN(load_columns_of)(v, x + r * a->columns + i, count, left);
        FN(load_columns_of)(g, grad + r * a->columns + i, count, left);
        FA_UNROLL
        for (int k = 0; k < count; k++) {
            sum[k] += g[k];
            product[k] = FN(vmul_add)(g[k], v[k] - mean[k], product[k]);
        }
    }
    if (a->rest) {
        FN(load_columns_of)(g, (const real *)a->rest + i, count, left);
        FA_UNROLL
        for (int k = 0; k < count; k++) product[k] = FN(vmul_add)(-g[k], sum[k], product[k]);
    }
    FN(load_columns_of)(v, (const real *)a->rstd + i, count, left);
    FA_UNROLL
    for (int k = 0; k < count; k++) {
        FN(store_lanes)(dweight + i + k * FN(lanes), product[k] * v[k], left - k * FN(lanes));
        FN(store_lanes)(dbias + i + k * FN(lanes), sum[k], left - k * FN(lanes));
    }
}

/* Column sums of grad z and of grad over these rows, z the normalised x. */
static void FN(batch_norm_sums)(const fa_norm *a, ptrdiff_t row, ptrdiff_t rows, void *dweight, void *dbias) {
    const ptrdiff_t n = a->columns, step = FN(abreast) * FN(lanes);
    const real *x = (const real *)a->x + row * n, *grad = (const real *)a->grad + row * n;
    ptrdiff_t i = 0;
    for (; i + step <= n; i += step) FN(norm_sums_of)(a, x, grad, i, rows, dweight, dbias, FN(abreast), step);
    for (; i < n; i += FN(lanes)) FN(norm_sums_of)(a, x, grad, i, rows, dweight, dbias, 1, n - i);
}

/* dx = rstd weight (grad - mean(grad) - z mean(grad z)), from the sums over all `count` rows; with a count of 0 the
 * statistics do not follow x, and dx = rstd weight grad. */
static void FN(batch_norm_backward)(const fa_norm *a, ptrdiff_t row, ptrdiff_t rows, const void *dweight,
                                    const void *dbias, ptrdiff_t count) {
    const real share = count ? 1 / (real)count : 0;
    real scale[FN(columns)], slant[FN(columns)], shift[FN(columns)];
    for (ptrdiff_t first = 0; first < a->columns; first += FN(columns)) {
        const ptrdiff_t n = a->columns - first < FN(columns) ? a->columns - first : FN(columns);
        const ptrdiff_t start = row * a->columns + first;
        const real *x = (const real *)a->x + start, *grad = (const real *)a->grad + start;
        const real *mean = (const real *)a->mean + first;
        real *dx = (real *)a->y + start;
        for (ptrdiff_t i = 0; i < n; i += FN(lanes)) {
            vreal s = FN(load_lanes)((const real *)a->rstd + first + i, n - i);
            if (count) {
                vreal d = FN(load_lanes)((const real *)dweight + first + i, n - i) * -share * s;
                vreal b = FN(load_lanes)((const real *)dbias + first + i, n - i) * share;
                FN(vstore)(shift + i, FN(vmul_add)(FN(load_lanes)((const real *)a->rest + first + i, n - i), d, b));
                FN(vstore)(slant + i, d);
            }
            if (a->weight) s *= FN(load_lanes)((const real *)a->weight + first + i, n - i);
            FN(vstore)(scale + i, s);
        }
        for (ptrdiff_t r = 0; r < rows; r++, x += a->columns, grad += a->columns, dx += a->columns)
            for (ptrdiff_t i = 0; i < n; i += FN(lanes)) {
                vreal g = FN(load_lanes)(grad + i, n - i);
                if (count) {
                    vreal v = FN(load_lanes)(x + i, n - i) - FN(load_lanes)(mean + i, n - i);
                    g = FN(vmul_add)(v, FN(vload)(slant + i), g - FN(vload)(shift + i));
                }
                FN(store_lanes)(dx + i, g * FN(vload)(scale + i), n - i);
            }
    }
}

/* ---- dropout */

typedef uint32_t FN(hash) __attribute__((vector_size(FN(lanes) * 4)));
typedef int32_t FN(signed_hash) __attribute__((vector_size(FN(lanes) * 4)));

/* Element i is dropped where a hash of i (Wellons' triple32, keyed with 64 bits) is below the threshold. */
FA_INLINE vint FN(kept)(uint32_t first, const fa_dropout *a, uint32_t high) {
    FN(hash) lane;
    for (int j = 0; j < FN(lanes); j++) lane[j] = (uint32_t)j;
    FN(hash) h = (lane + first) ^ a->key[0];
    h ^= h >> 17;
    h *= 0xed5ad4bbu;
    h += high;
    h ^= h >> 11;
    h *= 0xac4c1b51u;
    h ^= h >> 15;
    h *= 0x31848babu;
    h ^= h >> 14;
    FN(signed_hash) above = (FN(signed_hash))(h ^ 0x80000000u) >= (int32_t)(a->threshold ^ 0x80000000u);
    return __builtin_convertvector(above, vint);
}

/* y = x * scale + shift, or `dropped`, for the elements from first on; none crosses a multiple of 2^32. */
static void FN(dropout)(const fa_dropout *a, const void *x, void *y, int64_t first, ptrdiff_t n) {
    const uint32_t low = (uint32_t)first, high = a->key[1] + (uint32_t)(first >> 32) * 0x9e3779b9u;
    const real *from = x;
    real *to = y;
    const vreal dropped = FN(vset)((real)a->dropped);
    for (ptrdiff_t i = 0; i < n; i += FN(lanes)) {
        const vint kept = FN(kept)(low + (uint32_t)i, a, high);
        vreal v = FN(load_lanes)(from + i, n - i) * (real)a->scale + (real)a->shift;
        v = (vreal)(((vint)v & kept) | ((vint)dropped & ~kept));
        FN(store_lanes)(to + i, v, n - i);
    }
}
