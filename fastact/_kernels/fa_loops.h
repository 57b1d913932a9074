/* From the list of activations to loops over arrays.
 *
 * Each loop is written once and takes the value or gradient as a constant function pointer, which the compiler inlines.
 * Several vectors are in flight at a time because one chain of dependent FMAs leaves most of the pipeline idle. A tail
 * goes through the same vector code on a padded strip, so a value's bits never depend on where it stands.
 */

typedef vreal FN(value_function)(vreal x, FN(parameters) p);
typedef vreal FN(gradient_function)(vreal grad, vreal saved, FN(parameters) p);

#ifndef FA_IN_FLIGHT
#define FA_IN_FLIGHT 4
#endif

FA_INLINE FN(parameters) FN(rounded)(fa_parameters p) {
    return (FN(parameters)){(real)p.a, (real)p.b};
}

FA_INLINE void FN(forward_loop)(FN(value_function) *value, const real *x, real *y, ptrdiff_t n, FN(parameters) p) {
    const ptrdiff_t lanes = FN(lanes), strip = FA_IN_FLIGHT * lanes;
    ptrdiff_t i = 0;
    for (; i + strip <= n; i += strip) {
        vreal v[FA_IN_FLIGHT];
        for (int j = 0; j < FA_IN_FLIGHT; j++) v[j] = FN(vload)(x + i + j * lanes);
        for (int j = 0; j < FA_IN_FLIGHT; j++) v[j] = value(v[j], p);
        for (int j = 0; j < FA_IN_FLIGHT; j++) FN(vstore)(y + i + j * lanes, v[j]);
    }
    for (; i + lanes <= n; i += lanes) FN(vstore)(y + i, value(FN(vload)(x + i), p));
    if (i < n) FN(vstore_part)(y + i, value(FN(vload_part)(x + i, n - i), p), n - i);
}

FA_INLINE void FN(backward_loop)(FN(gradient_function) *gradient, const real *grad, const real *saved, real *dx,
                                 ptrdiff_t n, FN(parameters) p) {
    const ptrdiff_t lanes = FN(lanes), strip = FA_IN_FLIGHT * lanes;
    ptrdiff_t i = 0;
    for (; i + strip <= n; i += strip) {
        vreal g[FA_IN_FLIGHT], s[FA_IN_FLIGHT];
        for (int j = 0; j < FA_IN_FLIGHT; j++) {
            g[j] = FN(vload)(grad + i + j * lanes);
            s[j] = FN(vload)(saved + i + j * lanes);
        }
        for (int j = 0; j < FA_IN_FLIGHT; j++) g[j] = gradient(g[j], s[j], p);
        for (int j = 0; j < FA_IN_FLIGHT; j++) FN(vstore)(dx + i + j * lanes, g[j]);
    }
    for (; i + lanes <= n; i += lanes)
        FN(vstore)(dx + i, gradient(FN(vload)(grad + i), FN(vload)(saved + i), p));
    if (i < n) {
        vreal g = FN(vload_part)(grad + i, n - i), s = FN(vload_part)(saved + i, n - i);
        FN(vstore_part)(dx + i, gradient(g, s, p), n - i);
    }
}

FA_INLINE void FN(bias_forward_loop)(FN(value_function) *value, FN(gradient_function) *gradient, const real *z,
                                     const real *bias, real *y, real *slope, ptrdiff_t rows, ptrdiff_t columns,
                                     FN(parameters) p) {
    const ptrdiff_t lanes = FN(lanes), whole = columns - columns % lanes, rest = columns - whole;
    const vreal one = FN(vset)(1);
    for (ptrdiff_t row = 0; row < rows; row++, z += columns, y += columns, slope += slope ? columns : 0) {
        for (ptrdiff_t i = 0; i < whole; i += lanes) {
            vreal x = FN(vload)(z + i);
            if (bias) x += FN(vload)(bias + i);
            vreal v = value(x, p); /* before the branch, so that the gradient can share its exponential */
            if (slope) FN(vstore)(slope + i, gradient(one, x, p));
            FN(vstore)(y + i, v);
        }
        if (rest) {
            vreal x = FN(vload_part)(z + whole, rest);
            if (bias) x += FN(vload_part)(bias + whole, rest);
            vreal v = value(x, p);
            if (slope) FN(vstore_part)(slope + whole, gradient(one, x, p), rest);
            FN(vstore_part)(y + whole, v, rest);
        }
    }
}

FA_INLINE void FN(bias_backward_loop)(FN(gradient_function) *gradient, const real *grad, const real *saved, real *dz,
                                      real *sums, ptrdiff_t rows, ptrdiff_t columns, FN(parameters) p) {
    const ptrdiff_t lanes = FN(lanes), whole = columns - columns % lanes, rest = columns - whole;
    memset(sums, 0, (size_t)columns * sizeof(real));
    for (ptrdiff_t row = 0; row < rows; row++, grad += columns, saved += columns, dz += columns) {
        for (ptrdiff_t i = 0; i < whole; i += lanes) {
            vreal d = gradient(FN(vload)(grad + i), FN(vload)(saved + i), p);
            FN(vstore)(dz + i, d);
            FN(vstore)(sums + i, FN(vload)(sums + i) + d);
        }
        if (rest) {
            vreal d = gradient(FN(vload_part)(grad + whole, rest), FN(vload_part)(saved + whole, rest), p);
            FN(vstore_part)(dz + whole, d, rest);
            FN(vstore_part)(sums + whole, FN(vload_part)(sums + whole, rest) + d, rest);
        }
    }
}

static void FN(add_rows)(const void *parts, void *total, ptrdiff_t rows, ptrdiff_t columns) {
    const real *part = parts;
    real *sum = total;
    for (ptrdiff_t row = 0; row < rows; row++)
        for (ptrdiff_t i = 0; i < columns; i++) sum[i] = (row ? sum[i] : 0) + part[row * columns + i];
}

#define FA_LOOPS(name)                                                                                                 \
    static void FN(name##_forward)(const void *x, void *y, ptrdiff_t n, fa_parameters p) {                             \
        FN(forward_loop)(FN(name##_value), x, y, n, FN(rounded)(p));                                                   \
    }                                                                                                                  \
    static void FN(name##_backward)(const void *g, const void *s, void *dx, ptrdiff_t n, fa_parameters p) {            \
        FN(backward_loop)(FN(name##_gradient), g, s, dx, n, FN(rounded)(p));                                           \
    }                                                                                                                  \
    static void FN(name##_bias_forward)(const void *z, const void *b, void *y, void *slope, ptrdiff_t rows,            \
                                        ptrdiff_t columns, fa_parameters p) {                                          \
        FN(bias_forward_loop)(FN(name##_value), FN(name##_gradient), z, b, y, slope, rows, columns, FN(rounded)(p));   \
    }                                                                                                                  \
    static void FN(name##_bias_backward)(const void *g, const void *s, void *dz, void *sums, ptrdiff_t rows,           \
                                         ptrdiff_t columns, fa_parameters p) {                                         \
        FN(bias_backward_loop)(FN(name##_gradient), g, s, dz, sums, rows, columns, FN(rounded)(p));                    \
    }
FA_ACTIVATIONS(FA_LOOPS)

#define FA_ENTRY(name) \
    {#name, FN(name##_forward), FN(name##_backward), FN(name##_bias_forward), FN(name##_bias_backward)},
static const fa_activation FN(activations)[] = {FA_ACTIVATIONS(FA_ENTRY)};

#undef FA_LOOPS
#undef FA_ENTRY
#undef FA_ACTIVATIONS
