/* From the list of activations to loops over arrays.
 *
 * Each loop is written once and takes the forms of a value or gradient as constant function pointers, which the
 * compiler inlines. Several vectors are in flight at a time because one chain of dependent FMAs leaves most of the
 * pipeline idle. A tail goes through the same vector code on a padded strip, so a value's bits never depend on where
 * it stands.
 */

#define FA_IN_FLIGHT 3
#define FA_GROUP (64 / FA_VECTOR_BYTES) /* vectors in 64 bytes */
#define FA_GROUPS_ABREAST (FA_ABREAST > FA_GROUP ? FA_ABREAST / FA_GROUP : 1)

typedef vreal FN(value_function)(vreal x, FN(parameters) p);
typedef vreal FN(gradient_function)(vreal grad, vreal saved, FN(parameters) p);
typedef vmask FN(near_function)(vreal x, FN(parameters) p);

/* A function that is right everywhere, and no more; or one in pieces (fa_pieces.h), right where x is near, nearly
 * always, and what is right where x is far. Each lane gets the one or the other by its x: it has the same bits in
 * any company. */
typedef struct {
    FN(value_function) *value;
    FN(near_function) *near;
    FN(value_function) *far;
} FN(value_forms);
typedef struct {
    FN(gradient_function) *gradient;
    FN(near_function) *near;
    FN(gradient_function) *far;
} FN(gradient_forms);

#define FA_VALUE_whole(name) (FN(value_forms)){FN(name##_value), NULL, NULL}
#define FA_GRADIENT_whole(name) (FN(gradient_forms)){FN(name##_gradient), NULL, NULL}
#define FA_VALUE_both(name) (FN(value_forms)){FN(name##_value_pieces), FN(name##_is_near), FN(name##_value)}
#define FA_GRADIENT_both(name) (FN(gradient_forms)){FN(name##_gradient_pieces), FN(name##_is_near), FN(name##_gradient)}
#define FA_VALUE_pieces(name) FA_EITHER(FA_VALUE_both(name), FA_VALUE_whole(name)) /* in float alone */
#define FA_GRADIENT_pieces(name) FA_EITHER(FA_GRADIENT_both(name), FA_GRADIENT_whole(name))

/* Whether all of count vectors are near; one branch for a strip leaves its vectors to run side by side */
FA_INLINE int FN(all_near)(FN(near_function) *near, const vreal *x, int count, FN(parameters) p) {
    if (!near) return 1;
    vmask all = near(x[0], p);
    for (int j = 1; j < count; j++) all = FN(vand)(all, near(x[j], p));
    return !FA_RARELY(FN(vmask_bits)(all) != (1u << FN(lanes)) - 1);
}
FA_INLINE vreal FN(mixed_value)(FN(value_forms) f, vreal x, FN(parameters) p) {
    return FN(vselect)(f.near(x, p), f.value(x, p), f.far(x, p));
}
FA_INLINE vreal FN(mixed_gradient)(FN(gradient_forms) f, vreal grad, vreal saved, FN(parameters) p) {
    return FN(vselect)(f.near(saved, p), f.gradient(grad, saved, p), f.far(grad, saved, p));
}
FA_INLINE vreal FN(value_at)(FN(value_forms) f, vreal x, FN(parameters) p) {
    return FN(all_near)(f.near, &x, 1, p) ? f.value(x, p) : FN(mixed_value)(f, x, p);
}
FA_INLINE vreal FN(gradient_at)(FN(gradient_forms) f, vreal grad, vreal saved, FN(parameters) p) {
    return FN(all_near)(f.near, &saved, 1, p) ? f.gradient(grad, saved, p) : FN(mixed_gradient)(f, grad, saved, p);
}

/* How many of the elements that are left fill one vector at most */
FA_INLINE ptrdiff_t FN(part)(ptrdiff_t left) {
    return left < FN(lanes) ? left : FN(lanes);
}

/* Elements that are far, put off until they fill vectors: where they are few, their strip goes on as if all were near.
 * They are made up for while the lines they stand in are still in the first cache. */
enum { FN(put_off_most) = 256, FN(put_off_within) = 4096 };
typedef struct {
    ptrdiff_t start;
    int count;
    int32_t place[FN(put_off_most)]; /* from start on */
    real x[FN(put_off_most)], grad[FN(put_off_most)];
} FN(far_elements);

/* With the value that is right where x is far, or with the gradient */
FA_INLINE void FN(make_up)(FN(far_elements) *far, FN(value_function) *value, FN(gradient_function) *gradient, real *y,
                           FN(parameters) p) {
    real result[FN(lanes)];
    for (int i = 0; i < far->count; i++) {
        if (i % FN(lanes) == 0) {
            const FN(tail) t = FN(vtail)(FN(part)(far->count - i));
            vreal x = FN(vload_tail)(far->x + i, t);
            FN(vstore)(result, value ? value(x, p) : gradient(FN(vload_tail)(far->grad + i, t), x, p));
        }
        y[far->start + far->place[i]] = result[i % FN(lanes)];
    }
    far->count = 0;
}

/* Whether the far elements of the strip at i are few; then they are put off. */
FA_INLINE int FN(put_off)(FN(far_elements) *far, FN(near_function) *near, FN(value_function) *value,
                          FN(gradient_function) *gradient, const vreal *grad, const vreal *x, real *y, ptrdiff_t i,
                          FN(parameters) p) {
    unsigned bits[FA_IN_FLIGHT];
    int counts[FA_IN_FLIGHT], count = 0;
    for (int j = 0; j < FA_IN_FLIGHT; j++) {
        bits[j] = FN(vmask_bits)(FN(vnot)(near(x[j], p))) & ((1u << FN(lanes)) - 1);
        count += counts[j] = __builtin_popcount(bits[j]);
    }
    if (2 * count > FA_IN_FLIGHT * FN(lanes)) return 0;
    if (far->count + (FA_IN_FLIGHT + 1) * FN(lanes) > FN(put_off_most) || i - far->start > FN(put_off_within))
        FN(make_up)(far, value, gradient, y, p);
    if (!far->count) far->start = i;
    for (int j = 0; j < FA_IN_FLIGHT; j++) {
        FN(vstore_places)(far->place + far->count, (int32_t)(i - far->start) + j * FN(lanes), bits[j]);
        FN(vstore_packed)(far->x + far->count, x[j], bits[j]);
        if (gradient) FN(vstore_packed)(far->grad + far->count, grad[j], bits[j]);
        far->count += counts[j];
    }
    return 1;
}

/* From so many bytes on, arrays lie beyond the core's own cache, or are still in another core's. A chain of FMAs
 * leaves the core no room to run ahead to loads that take that long: a line is asked for so many bytes before its turn.
 * `python -m fastact.measure activations --peers memory` measures it. */
#ifndef FA_FAR
#define FA_FAR 524288
#endif
#ifndef FA_AHEAD
#define FA_AHEAD 4096
#endif

/* From so many elements on, the first ones are done apart, so that no store crosses a line: NumPy's arrays start 16
 * bytes into one. */
#ifndef FA_ALIGNED
#define FA_ALIGNED 1024
#endif

/* Lanes of vector j of the group at i that are among n elements */
FA_INLINE ptrdiff_t FN(group_part)(ptrdiff_t i, ptrdiff_t n, int j) {
    const ptrdiff_t left = n - i - j * FN(lanes);
    return left < 0 ? 0 : left < FN(lanes) ? left : FN(lanes);
}

/* The 64 bytes at x + i of n elements, padded. */
FA_INLINE void FN(load_group)(vreal *v, const real *x, ptrdiff_t i, ptrdiff_t n, real padding) {
    if (i + FA_GROUP * FN(lanes) <= n) {
        for (int j = 0; j < FA_GROUP; j++) v[j] = FN(vload)(x + i + j * FN(lanes));
    } else {
        for (int j = 0; j < FA_GROUP; j++) {
            const ptrdiff_t part = FN(group_part)(i, n, j);
            v[j] = part ? FN(vload_tail)(x + i + j * FN(lanes), FN(vtail)(part)) : FN(vset)(padding);
            v[j] = FN(vselect)(FN(vlt)(FN(vlane)(), FN(vset)((real)part)), v[j], FN(vset)(padding));
        }
    }
}

FA_INLINE void FN(store_group)(real *y, ptrdiff_t i, ptrdiff_t n, const vreal *v) {
    if (i + FA_GROUP * FN(lanes) <= n) {
        for (int j = 0; j < FA_GROUP; j++) FN(vstore)(y + i + j * FN(lanes), v[j]);
    } else {
        for (int j = 0; j < FA_GROUP; j++) {
            const ptrdiff_t part = FN(group_part)(i, n, j);
            if (part) FN(vstore_tail)(y + i + j * FN(lanes), v[j], FN(vtail)(part));
        }
    }
}

/* Sum of 64 bytes of lanes, halves added until one is left: one order for every vector width. */
FA_INLINE real FN(group_sum)(const vreal *v) {
    vreal sum[FA_GROUP];
    for (int j = 0; j < FA_GROUP; j++) sum[j] = v[j];
    for (int width = FA_GROUP / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++) sum[j] += sum[j + width];
    return FN(vsum)(sum[0]);
}

FA_INLINE FN(parameters) FN(rounded)(fa_parameters p) {
    return (FN(parameters)){(real)p.a, (real)p.b};
}

FA_INLINE int FN(is_far)(ptrdiff_t n) {
    return n * (ptrdiff_t)sizeof(real) >= FA_FAR;
}

/* Where the strips end whose lines ahead are still among the n elements; 0 for arrays that are near */
FA_INLINE ptrdiff_t FN(prefetch_end)(ptrdiff_t n, ptrdiff_t strip) {
    return FN(is_far)(n) ? n - FA_AHEAD / (int)sizeof(real) - strip : 0;
}

FA_INLINE void FN(prefetch)(const real *x, ptrdiff_t strip) {
    const char *ahead = (const char *)x + FA_AHEAD;
    for (ptrdiff_t line = 0; line < strip * (ptrdiff_t)sizeof(real); line += 64) __builtin_prefetch(ahead + line);
}

/* How many of n outputs come before the first that is aligned to a vector; 0 where that does not pay */
FA_INLINE ptrdiff_t FN(head)(const real *y, ptrdiff_t n) {
    return n < FA_ALIGNED ? 0 : (ptrdiff_t)(-(uintptr_t)y % FA_VECTOR_BYTES / sizeof(real));
}

FA_INLINE void FN(forward_loop)(FN(value_forms) f, const real *x, real *y, ptrdiff_t n, FN(parameters) p) {
    enum { lanes = FN(lanes), strip = FA_IN_FLIGHT * FN(lanes) };
    if (f.value == FN(identity_value)) {
        if (y != x) memcpy(y, x, (size_t)n * sizeof(real));
        return;
    }
    const ptrdiff_t prefetch_end = FN(prefetch_end)(n, strip);
    FN(far_elements) far;
    far.start = far.count = 0;
    ptrdiff_t i = 0, part = FN(head)(y, n);
    for (;; part = FN(part)(n - i)) {
        if (part) {
            const FN(tail) t = FN(vtail)(part);
            FN(vstore_tail)(y + i, FN(value_at)(f, FN(vload_tail)(x + i, t), p), t);
            i += part;
        }
        for (; i + strip <= n; i += strip) {
            vreal v[FA_IN_FLIGHT];
            if (FA_RARELY(i < prefetch_end)) {
                FN(prefetch)(x + i, strip);
                if (y != x) FN(prefetch)(y + i, strip);
            }
            for (int j = 0; j < FA_IN_FLIGHT; j++) v[j] = FN(vload)(x + i + j * lanes);
            if (FN(all_near)(f.near, v, FA_IN_FLIGHT, p)
                || FN(put_off)(&far, f.near, f.far, NULL, NULL, v, y, i, p))
                for (int j = 0; j < FA_IN_FLIGHT; j++) v[j] = f.value(v[j], p);
            else
                for (int j = 0; j < FA_IN_FLIGHT; j++) v[j] = FN(mixed_value)(f, v[j], p);
            for (int j = 0; j < FA_IN_FLIGHT; j++) FN(vstore_in_order)(y + i + j * lanes, v[j]);
        }
        if (i == n) break;
    }
    FN(make_up)(&far, f.far, NULL, y, p);
}

FA_INLINE void FN(backward_loop)(FN(gradient_forms) f, const real *grad, const real *saved, real *dx, ptrdiff_t n,
                                 FN(parameters) p) {
    enum { lanes = FN(lanes), strip = FA_IN_FLIGHT * FN(lanes) };
    if (f.gradient == FN(identity_gradient)) {
        if (dx != grad) memcpy(dx, grad, (size_t)n * sizeof(real));
        return;
    }
    const ptrdiff_t prefetch_end = FN(prefetch_end)(n, strip);
    FN(far_elements) far;
    far.start = far.count = 0;
    ptrdiff_t i = 0, part = FN(head)(dx, n);
    for (;; part = FN(part)(n - i)) {
        if (part) {
            const FN(tail) t = FN(vtail)(part);
            vreal g = FN(vload_tail)(grad + i, t), s = FN(vload_tail)(saved + i, t);
            FN(vstore_tail)(dx + i, FN(gradient_at)(f, g, s, p), t);
            i += part;
        }
        for (; i + strip <= n; i += strip) {
            vreal g[FA_IN_FLIGHT], s[FA_IN_FLIGHT];
            if (FA_RARELY(i < prefetch_end)) {
                FN(prefetch)(grad + i, strip);
                FN(prefetch)(saved + i, strip);
                if (dx != grad && dx != saved) FN(prefetch)(dx + i, strip);
            }
            for (int j = 0; j < FA_IN_FLIGHT; j++) {
                g[j] = FN(vload)(grad + i + j * lanes);
                s[j] = FN(vload)(saved + i + j * lanes);
            }
            if (FN(all_near)(f.near, s, FA_IN_FLIGHT, p)
                || FN(put_off)(&far, f.near, NULL, f.far, g, s, dx, i, p))
                for (int j = 0; j < FA_IN_FLIGHT; j++) g[j] = f.gradient(g[j], s[j], p);
            else
                for (int j = 0; j < FA_IN_FLIGHT; j++) g[j] = FN(mixed_gradient)(f, g[j], s[j], p);
            for (int j = 0; j < FA_IN_FLIGHT; j++) FN(vstore_in_order)(dx + i + j * lanes, g[j]);
        }
        if (i == n) break;
    }
    FN(make_up)(&far, NULL, f.far, dx, p);
}

FA_INLINE void FN(epilogue_loop)(FN(value_forms) value, FN(gradient_forms) gradient, real *y, const real *bias,
                                 real *slope, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t y_row, ptrdiff_t slope_row,
                                 FN(parameters) p) {
    const ptrdiff_t lanes = FN(lanes), whole = columns - columns % lanes;
    const FN(tail) tail = FN(vtail)(columns - whole);
    const vreal one = FN(vset)(1);
    for (ptrdiff_t row = 0; row < rows; row++, y += y_row, slope += slope ? slope_row : 0) {
        for (ptrdiff_t i = 0; i < whole; i += lanes) {
            vreal x = FN(vload)(y + i);
            if (bias) x += FN(vload)(bias + i);
            vreal v = FN(value_at)(value, x, p); /* before the branch, so that the gradient can share an exponential */
            if (slope) {
                FN(vstore)(slope + i, FN(gradient_at)(gradient, one, x, p));
            }
            FN(vstore)(y + i, v);
        }
        if (columns > whole) {
            vreal x = FN(vload_tail)(y + whole, tail);
            if (bias) x += FN(vload_tail)(bias + whole, tail);
            vreal v = FN(value_at)(value, x, p);
            if (slope) {
                FN(vstore_tail)(slope + whole, FN(gradient_at)(gradient, one, x, p), tail);
            }
            FN(vstore_tail)(y + whole, v, tail);
        }
    }
}

FA_INLINE void FN(bias_backward_loop)(FN(gradient_forms) f, const real *grad, const real *saved, real *dz,
                                      real *sums, ptrdiff_t rows, ptrdiff_t columns, FN(parameters) p) {
    const ptrdiff_t lanes = FN(lanes), whole = columns - columns % lanes;
    const FN(tail) tail = FN(vtail)(columns - whole);
    memset(sums, 0, (size_t)columns * sizeof(real));
    for (ptrdiff_t row = 0; row < rows; row++, grad += columns, saved += columns, dz += dz ? columns : 0) {
        for (ptrdiff_t i = 0; i < whole; i += lanes) {
            vreal d = FN(vload)(grad + i), s = FN(vload)(saved + i);
            d = FN(gradient_at)(f, d, s, p);
            if (dz) FN(vstore)(dz + i, d);
            FN(vstore)(sums + i, FN(vload)(sums + i) + d);
        }
        if (columns > whole) {
            vreal d = FN(vload_tail)(grad + whole, tail), s = FN(vload_tail)(saved + whole, tail);
            d = FN(gradient_at)(f, d, s, p);
            if (dz) FN(vstore_tail)(dz + whole, d, tail);
            FN(vstore_tail)(sums + whole, FN(vload_tail)(sums + whole, tail) + d, tail);
        }
    }
}

/* For a slope that the epilogue stored. Blocking, a slope of 0 gives 0 whatever grad is. */
FA_INLINE vreal FN(slope_gradient)(vreal grad, vreal slope, FN(parameters) p) {
    (void)p;
    return grad * slope;
}
FA_INLINE vreal FN(blocking_slope_gradient)(vreal grad, vreal slope, FN(parameters) p) {
    (void)p;
    return FN(vselect)(FN(veq)(slope, FN(vset)(0)), slope, grad * slope);
}

static void FN(add_rows)(const void *parts, void *total, ptrdiff_t rows, ptrdiff_t columns) {
    const real *part = parts;
    real *sum = total;
    for (ptrdiff_t row = 0; row < rows; row++)
        for (ptrdiff_t i = 0; i < columns; i++) sum[i] = (row ? sum[i] : 0) + part[row * columns + i];
}

/* C has no templates: from here on macros write the functions of the tables, one call each. */
#define FA_BIAS_BACKWARD(name, gradients)                                                                              \
    static void FN(name##_bias_backward)(const void *g, const void *s, void *dz, void *sums, ptrdiff_t rows,           \
                                         ptrdiff_t columns, fa_parameters p) {                                         \
        FN(bias_backward_loop)(FA_GRADIENT_##gradients(name), g, s, dz, sums, rows, columns, FN(rounded)(p));          \
    }
#define FA_LOOPS(name, values, gradients)                                                                              \
    static void FN(name##_forward)(const void *x, void *y, ptrdiff_t n, fa_parameters p) {                             \
        FN(forward_loop)(FA_VALUE_##values(name), x, y, n, FN(rounded)(p));                                            \
    }                                                                                                                  \
    static void FN(name##_backward)(const void *g, const void *s, void *dx, ptrdiff_t n, fa_parameters p) {            \
        FN(backward_loop)(FA_GRADIENT_##gradients(name), g, s, dx, n, FN(rounded)(p));                                 \
    }                                                                                                                  \
    static void FN(name##_epilogue)(void *y, const void *b, void *slope, ptrdiff_t rows, ptrdiff_t columns,            \
                                    ptrdiff_t y_row, ptrdiff_t slope_row, fa_parameters p) {                           \
        FN(epilogue_loop)(FA_VALUE_##values(name), FA_GRADIENT_##gradients(name), y, b, slope, rows, columns, y_row,   \
                          slope_row, FN(rounded)(p));                                                                  \
    }                                                                                                                  \
    FA_BIAS_BACKWARD(name, gradients)
FA_ACTIVATIONS(FA_LOOPS)
FA_BIAS_BACKWARD(slope, whole)
FA_BIAS_BACKWARD(blocking_slope, whole)

#define FA_ENTRY(name, values, gradients) \
    {#name, FN(name##_forward), FN(name##_backward), FN(name##_epilogue), FN(name##_bias_backward)},
static const fa_activation FN(activations)[] = {FA_ACTIVATIONS(FA_ENTRY)};

typedef vreal FN(learned_value)(vreal x, vreal weight);
typedef vreal FN(learned_gradient)(vreal grad, vreal x, vreal weight, vreal *dweight);

/* Few columns that do not fill vectors are walked through without regard to rows: the weights then come in turns of
 * `groups` times 64 bytes, with every column at each place it can have in a vector. */
#define FA_FEW 64
enum { FN(group) = FA_GROUP * FN(lanes) };
typedef struct {
    _Alignas(64) real w[FA_FEW * FN(group)];
    ptrdiff_t groups;
} FN(turns);

/* Whether these columns are so walked */
FA_INLINE int FN(in_turns)(ptrdiff_t columns) {
    return columns <= FA_FEW && columns % FN(group) != 0;
}

FA_INLINE void FN(take_turns)(FN(turns) *turns, const real *weight, ptrdiff_t columns, ptrdiff_t n) {
    const ptrdiff_t once = columns >> __builtin_ctzll((unsigned long long)(columns | FN(group)));
    const ptrdiff_t needed = (n + FN(group) - 1) / FN(group);
    turns->groups = once < needed ? once : needed;
    for (ptrdiff_t i = 0; i < turns->groups * FN(group); i++)
        turns->w[i] = i < columns ? weight[i] : turns->w[i - columns];
}

FA_INLINE void FN(learned_forward_turns)(FN(learned_value) *value, const real *x, const real *weight, real *y,
                                         ptrdiff_t n, ptrdiff_t columns) {
    FN(turns) turns;
    FN(take_turns)(&turns, weight, columns, n);
    for (ptrdiff_t i = 0; i < n;) {
        for (ptrdiff_t k = 0; k < turns.groups && i < n; k++, i += FN(group)) {
            vreal v[FA_GROUP];
            FN(load_group)(v, x, i, n, 0);
            for (int j = 0; j < FA_GROUP; j++) v[j] = value(v[j], FN(vload)(turns.w + k * FN(group) + j * FN(lanes)));
            FN(store_group)(y, i, n, v);
        }
    }
}

/* Rows `stride` apart, of a strip of vectors with a weight and a sum for each lane; `together` rows at a time, added in
 * order. How many rows are done. */
FA_INLINE ptrdiff_t FN(learned_backward_strip)(FN(learned_gradient) *gradient, const real *grad, const real *x,
                                               const vreal *w, real *dx, vreal *sum, ptrdiff_t rows, ptrdiff_t stride,
                                               int vectors, int together) {
    ptrdiff_t row = 0;
    for (; row + together <= rows; row += together) {
        vreal d[4], dw[4]; /* FA_ABREAST or FA_GROUP at most */
        for (int k = 0; k < together; k++)
            for (int j = 0; j < vectors; j++) {
                const ptrdiff_t at = (row + k) * stride + j * FN(lanes);
                d[k * vectors + j] = gradient(FN(vload)(grad + at), FN(vload)(x + at), w[j], &dw[k * vectors + j]);
            }
        for (int k = 0; k < together; k++)
            for (int j = 0; j < vectors; j++) {
                FN(vstore_in_order)(dx + (row + k) * stride + j * FN(lanes), d[k * vectors + j]);
                sum[j] += dw[k * vectors + j];
            }
    }
    return row;
}

FA_INLINE void FN(learned_backward_turns)(FN(learned_gradient) *gradient, const real *grad, const real *x,
                                          const real *weight, real *dx, real *dweight, ptrdiff_t n, ptrdiff_t columns) {
    FN(turns) turns;
    real sums[FA_FEW * FN(group)];
    FN(take_turns)(&turns, weight, columns, n);
    const ptrdiff_t end = turns.groups * FN(group);
    for (ptrdiff_t turn = 0; turn < end; turn += FN(group)) { /* outermost, so that the sums stay in registers */
        vreal g[FA_GROUP], v[FA_GROUP], w[FA_GROUP], sum[FA_GROUP], dw;
        for (int j = 0; j < FA_GROUP; j++) {
            w[j] = FN(vload)(turns.w + turn + j * FN(lanes));
            sum[j] = FN(vset)(0);
        }
        const ptrdiff_t rows = n < turn + FN(group) ? 0 : (n - turn - FN(group)) / end + 1;
        ptrdiff_t i = turn + end * FN(learned_backward_strip)(gradient, grad + turn, x + turn, w, dx + turn, sum, rows,
                                                              end, FA_GROUP, FA_GROUPS_ABREAST);
        for (; i < n; i += end) {
            FN(load_group)(g, grad, i, n, 0);
            FN(load_group)(v, x, i, n, 1); /* 0 times an infinite weight would be NaN */
            for (int j = 0; j < FA_GROUP; j++) {
                g[j] = gradient(g[j], v[j], w[j], &dw);
                sum[j] += dw;
            }
            FN(store_group)(dx, i, n, g);
        }
        for (int j = 0; j < FA_GROUP; j++) FN(vstore)(sums + turn + j * FN(lanes), sum[j]);
    }
    memset(dweight, 0, (size_t)columns * sizeof(real));
    for (ptrdiff_t row = 0; row < end; row += columns)
        for (ptrdiff_t i = 0; i < columns && row + i < end; i++) dweight[i] += sums[row + i];
}

FA_INLINE void FN(learned_forward_columns)(FN(learned_value) *value, const real *x, const real *weight, real *y,
                                           ptrdiff_t rows, ptrdiff_t columns) {
    const ptrdiff_t lanes = FN(lanes), strip = FA_IN_FLIGHT * lanes, whole = columns - columns % lanes;
    const FN(tail) tail = FN(vtail)(columns - whole);
    for (ptrdiff_t row = 0; row < rows; row++, x += columns, y += columns) {
        ptrdiff_t i = 0;
        for (; i + strip <= whole; i += strip) {
            vreal v[FA_IN_FLIGHT];
            for (int j = 0; j < FA_IN_FLIGHT; j++)
                v[j] = value(FN(vload)(x + i + j * lanes), FN(vload)(weight + i + j * lanes));
            for (int j = 0; j < FA_IN_FLIGHT; j++) FN(vstore_in_order)(y + i + j * lanes, v[j]);
        }
        for (; i < whole; i += lanes) FN(vstore)(y + i, value(FN(vload)(x + i), FN(vload)(weight + i)));
        if (columns > whole) {
            vreal v = value(FN(vload_tail)(x + whole, tail), FN(vload_tail)(weight + whole, tail));
            FN(vstore_tail)(y + whole, v, tail);
        }
    }
}

FA_INLINE void FN(learned_forward_all)(FN(learned_value) *value, const real *x, real weight, real *y, ptrdiff_t n) {
    const ptrdiff_t lanes = FN(lanes), strip = FA_IN_FLIGHT * lanes;
    const vreal w = FN(vset)(weight);
    ptrdiff_t i = 0;
    for (; i + strip <= n; i += strip) {
        vreal v[FA_IN_FLIGHT];
        for (int j = 0; j < FA_IN_FLIGHT; j++) v[j] = value(FN(vload)(x + i + j * lanes), w);
        for (int j = 0; j < FA_IN_FLIGHT; j++) FN(vstore_in_order)(y + i + j * lanes, v[j]);
    }
    for (; i + lanes <= n; i += lanes) FN(vstore)(y + i, value(FN(vload)(x + i), w));
    if (i < n) FN(vstore_part)(y + i, value(FN(vload_part)(x + i, n - i), w), n - i);
}

FA_INLINE void FN(learned_backward_columns)(FN(learned_gradient) *gradient, const real *grad, const real *x,
                                            const real *weight, real *dx, real *dweight, ptrdiff_t rows,
                                            ptrdiff_t columns) {
    enum { lanes = FN(lanes) };
    const ptrdiff_t whole = columns - columns % lanes;
    vreal dw;
    ptrdiff_t i = 0;
    /* Columns outermost, so that a column's sum stays in a register */
    for (; i + FA_ABREAST * lanes <= whole; i += FA_ABREAST * lanes) {
        vreal w[FA_ABREAST], sum[FA_ABREAST];
        for (int j = 0; j < FA_ABREAST; j++) {
            w[j] = FN(vload)(weight + i + j * lanes);
            sum[j] = FN(vset)(0);
        }
        FN(learned_backward_strip)(gradient, grad + i, x + i, w, dx + i, sum, rows, columns, FA_ABREAST, 1);
        for (int j = 0; j < FA_ABREAST; j++) FN(vstore)(dweight + i + j * lanes, sum[j]);
    }
    for (; i < whole; i += lanes) {
        const vreal w = FN(vload)(weight + i);
        vreal sum = FN(vset)(0);
        FN(learned_backward_strip)(gradient, grad + i, x + i, &w, dx + i, &sum, rows, columns, 1, 1);
        FN(vstore)(dweight + i, sum);
    }
    if (columns > whole) {
        const FN(tail) tail = FN(vtail)(columns - whole);
        const vreal w = FN(vload_tail)(weight + whole, tail);
        vreal sum = FN(vset)(0);
        for (ptrdiff_t row = 0; row < rows; row++) {
            const ptrdiff_t at = row * columns + whole;
            vreal g = FN(vload_tail)(grad + at, tail), v = FN(vload_tail)(x + at, tail);
            FN(vstore_tail)(dx + at, gradient(g, v, w, &dw), tail);
            sum += dw;
        }
        FN(vstore_tail)(dweight + whole, sum, tail);
    }
}

/* One weight for all n elements: sums in 64 bytes of lanes, so that their order is the same for every vector width */
FA_INLINE void FN(learned_backward_all)(FN(learned_gradient) *gradient, const real *grad, const real *x, real weight,
                                        real *dx, real *dweight, ptrdiff_t n) {
    vreal w[FA_GROUP], g[FA_GROUP], v[FA_GROUP], sum[FA_GROUP], dw;
    for (int j = 0; j < FA_GROUP; j++) {
        w[j] = FN(vset)(weight);
        sum[j] = FN(vset)(0);
    }
    ptrdiff_t i = FN(group) * FN(learned_backward_strip)(gradient, grad, x, w, dx, sum, n / FN(group), FN(group),
                                                         FA_GROUP, FA_GROUPS_ABREAST);
    for (; i < n; i += FN(group)) {
        FN(load_group)(g, grad, i, n, 0);
        FN(load_group)(v, x, i, n, 1); /* 0 times an infinite weight would be NaN */
        for (int j = 0; j < FA_GROUP; j++) {
            g[j] = gradient(g[j], v[j], w[j], &dw);
            sum[j] += dw;
        }
        FN(store_group)(dx, i, n, g);
    }
    *dweight = FN(group_sum)(sum);
}

FA_INLINE void FN(learned_forward)(FN(learned_value) *value, const real *x, const real *weight, int per_column, real *y,
                                   ptrdiff_t rows, ptrdiff_t columns) {
    if (!per_column) FN(learned_forward_all)(value, x, *weight, y, rows * columns);
    else if (FN(in_turns)(columns)) FN(learned_forward_turns)(value, x, weight, y, rows * columns, columns);
    else FN(learned_forward_columns)(value, x, weight, y, rows, columns);
}
FA_INLINE void FN(learned_backward)(FN(learned_gradient) *gradient, const real *grad, const real *x, const real *weight,
                                    int per_column, real *dx, real *dweight, ptrdiff_t rows, ptrdiff_t columns) {
    const ptrdiff_t n = rows * columns;
    if (!per_column) FN(learned_backward_all)(gradient, grad, x, *weight, dx, dweight, n);
    else if (FN(in_turns)(columns)) FN(learned_backward_turns)(gradient, grad, x, weight, dx, dweight, n, columns);
    else FN(learned_backward_columns)(gradient, grad, x, weight, dx, dweight, rows, columns);
}

#define FA_LEARNED_LOOPS(name)                                                                                         \
    static void FN(name##_forward)(const void *x, const void *w, int per_column, void *y, ptrdiff_t rows,              \
                                   ptrdiff_t columns) {                                                                \
        FN(learned_forward)(FN(name##_value), x, w, per_column, y, rows, columns);                                     \
    }                                                                                                                  \
    static void FN(name##_backward)(const void *g, const void *x, const void *w, int per_column, void *dx, void *dw,   \
                                    ptrdiff_t rows, ptrdiff_t columns) {                                               \
        FN(learned_backward)(FN(name##_gradient), g, x, w, per_column, dx, dw, rows, columns);                         \
    }
FA_LEARNED(FA_LEARNED_LOOPS)

#define FA_LEARNED_ENTRY(name) {#name, FN(name##_forward), FN(name##_backward)},
static const fa_learned FN(learned_list)[] = {FA_LEARNED(FA_LEARNED_ENTRY)};
