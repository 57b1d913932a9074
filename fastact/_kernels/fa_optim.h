/* Optimiser updates, one pass over the flat buffers. */

FA_INLINE void FN(sgd_step)(real *parameter, vreal p, vreal g, real *velocity, vreal v, ptrdiff_t n, real rate,
                            real momentum, real decay) {
    g = FN(vfma)(p, FN(vset)(decay), g);
    if (velocity) {
        g = FN(vfma)(v, FN(vset)(momentum), g);
        FN(vstore_part)(velocity, g, n);
    }
    FN(vstore_part)(parameter, FN(vfma)(g, FN(vset)(-rate), p), n);
}

static void FN(sgd)(void *parameter, const void *gradient, void *velocity, ptrdiff_t n, double rate, double momentum,
                    double decay) {
    real *p = parameter, *v = velocity;
    const real *g = gradient;
    const ptrdiff_t lanes = FN(lanes);
    ptrdiff_t i = 0;
    for (; i + lanes <= n; i += lanes)
        FN(sgd_step)(p + i, FN(vload)(p + i), FN(vload)(g + i), v ? v + i : NULL,
                     v ? FN(vload)(v + i) : FN(vset)(0), lanes, (real)rate, (real)momentum, (real)decay);
    if (i < n)
        FN(sgd_step)(p + i, FN(vload_part)(p + i, n - i), FN(vload_part)(g + i, n - i), v ? v + i : NULL,
                     v ? FN(vload_part)(v + i, n - i) : FN(vset)(0), n - i, (real)rate, (real)momentum, (real)decay);
}
