/* The matrix product of the dense layers: C = A B, with bias and activation applied to each tile while it is in L1.
 *
 * One rule makes a row's bits independent of everything else (batch, threads, packing, strides): K is cut into chunks
 * whose bounds follow from K alone; within a chunk every element of C is one chain sum = a_k * b_k + sum over ascending
 * k, starting from 0; chunks are added to C in order; the bias is added to the finished sum. A product is commutative,
 * so it does not matter either which operand sits in vectors and which is broadcast. One exception, which N alone
 * decides: a single column (N = 1) has no lanes to fill, so each lane sums a part of K (see dot).
 *
 * Loops, outermost first (names as in the BLIS papers):
 *   task         a block of rows times a range of column panels: what a thread takes
 *     chunk      of K (KC), so that a panel of B (KC x NR) stays in L1 or L2
 *       panel    of B: NR columns; read where it lies, or packed (by the task, or beforehand for all tasks)
 *         tile   MR x NR elements of C in registers: the k loop runs here
 * A shallow product (small K) writes more than it reads: there the tiles go along the rows of C, through all panels.
 * Tiles, panels and blocks are balanced (bounds i * n / count) rather than full ones and a remainder: 8 rows are 4 + 4,
 * not 6 + 2, because small tiles do not fill the FMA pipelines.
 *
 * A tile of 6 rows x 4 vectors (2 where there are 16 registers only) keeps both FMA pipelines busy (24 or 12 chains,
 * latency 4 or 5, two per cycle) and needs 6 row pointers, which fit the integer registers, so A is read where it lies
 * unless its columns lie apart.
 */

enum {
    FN(wide) = FA_TILE_VECTORS,
    FN(tile_rows) = 6,
    FN(skinny_rows) = 8, /* rows of a tile that is one vector wide: as many chains as two pipelines of latency 4 take */
    FN(chunk) = FA_GEMM_CHUNK,
    FN(line) = 64 / (int)sizeof(real), /* of the cache */
    FN(pack_rows) = 48,    /* from here on a task packs the panel of B that it works on (`fastact.measure dense`) */
    FN(few_rows) = 192,    /* up to here each panel of B has one reader, who packs it for himself if at all */
    FN(block_rows) = 384,  /* of A times a chunk: stays in L2 */
    FN(strip_rows) = 8,    /* of B that are packed together */
    FN(swept_depth) = 64,  /* up to here C, not B, is what memory has to be spared for */
    FN(far_row) = 1024 / (int)sizeof(real), /* rows of B so far apart that the hardware does not see them coming */
    FN(ahead) = 8,         /* rows of B to prefetch where it lies: those 4 KiB apart share the 12 ways of one L1 set */
    FN(row_strip) = 64 * FN(lanes), /* columns of C that the single-row kernel keeps in L1 */
};

/* One tile, or one strip of a single row. */
typedef struct {
    const real *a, *b;
    real *c;
    ptrdiff_t k, a_row, a_column, b_row, c_row;
    ptrdiff_t tiles, b_tile;        /* how many tiles side by side, and how far apart their panels of B */
    FN(tail) load_tail, store_tail; /* of the last vector of a row of B and of C */
    int add;                        /* whether C already holds something to add to */
} FN(tile_job);
typedef void FN(tile_function)(const FN(tile_job) *job);

/* packed: rows of B are adjacent and whole, and so are the columns of A, which makes strides constants */
FA_INLINE void FN(tile_step)(const int rows, const int vectors, const int packed, const real *a, const real *b,
                             ptrdiff_t a_row, FN(tail) tail, vreal sum[FN(skinny_rows)][FN(wide)]) {
    const ptrdiff_t lanes = FN(lanes);
    vreal right[FN(wide)];
    FA_UNROLL for (int v = 0; v < vectors; v++)
        right[v] = packed || v < vectors - 1 ? FN(vload)(b + v * lanes) : FN(vload_tail)(b + v * lanes, tail);
    FA_UNROLL for (int r = 0; r < rows; r++) {
        vreal left = FN(vset)(a[r * a_row]);
        FA_UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = FN(vmul_add)(left, right[v], sum[r][v]);
    }
}

FA_INLINE void FN(tile)(const int rows, const int vectors, const int packed, const FN(tile_job) *job) {
    const ptrdiff_t lanes = FN(lanes), a_row = job->a_row, c_row = job->c_row;
    const ptrdiff_t a_column = packed ? 1 : job->a_column, b_row = packed ? vectors * lanes : job->b_row;
    const FN(tail) load_tail = job->load_tail, store_tail = job->store_tail;
    for (ptrdiff_t t = 0; t < job->tiles; t++) {
        const real *a = job->a, *b = job->b + t * job->b_tile;
        real *c = job->c + t * vectors * lanes;
        ptrdiff_t k = job->k;
        if (packed && k > FN(swept_depth)) /* C is needed when the sums are done: by then it shall be there */
            FA_UNROLL for (int r = 0; r < rows; r++) {
                FA_UNROLL for (int i = 0; i < vectors * lanes; i += FN(line)) __builtin_prefetch(c + r * c_row + i, 1);
                __builtin_prefetch(c + r * c_row + vectors * lanes - 1, 1);
            }
        vreal sum[FN(skinny_rows)][FN(wide)];
        FA_UNROLL for (int r = 0; r < rows; r++)
            FA_UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = FN(vset)(0);
        if (!packed && b_row > FN(far_row))
            for (; k > FN(ahead); k--, a += a_column, b += b_row) {
                __builtin_prefetch(b + FN(ahead) * b_row);
                __builtin_prefetch(b + FN(ahead) * b_row + vectors * lanes - 1);
                FN(tile_step)(rows, vectors, packed, a, b, a_row, load_tail, sum);
            }
        for (; k > 0; k--, a += a_column, b += b_row)
            FN(tile_step)(rows, vectors, packed, a, b, a_row, load_tail, sum);
        const int add = job->add;
        FA_UNROLL for (int r = 0; r < rows; r++, c += c_row) {
            if (add) {
                FA_UNROLL for (int v = 0; v < vectors - 1; v++) sum[r][v] = FN(vload)(c + v * lanes) + sum[r][v];
                sum[r][vectors - 1] = FN(vload_tail)(c + (vectors - 1) * lanes, store_tail) + sum[r][vectors - 1];
            }
            FA_UNROLL for (int v = 0; v < vectors - 1; v++) FN(vstore)(c + v * lanes, sum[r][v]);
            FN(vstore_tail)(c + (vectors - 1) * lanes, sum[r][vectors - 1], store_tail);
        }
    }
}

/* A function of each size, and the table of them: [packed][vectors][rows] */
#define FA_TILE(rows, vectors) \
    static void FN(tile_##rows##x##vectors)(const FN(tile_job) *job) { FN(tile)(rows, vectors, 0, job); } \
    static void FN(packed_tile_##rows##x##vectors)(const FN(tile_job) *job) { FN(tile)(rows, vectors, 1, job); }
#define FA_TILE_ENTRIES(rows, vectors) \
    [0][vectors][rows] = FN(tile_##rows##x##vectors), [1][vectors][rows] = FN(packed_tile_##rows##x##vectors),
#define FA_UP_TO_6(X, vectors) X(1, vectors) X(2, vectors) X(3, vectors) X(4, vectors) X(5, vectors) X(6, vectors)
#define FA_TILES_2(X) FA_UP_TO_6(X, 1) X(7, 1) X(8, 1) FA_UP_TO_6(X, 2)
#define FA_TILES_4(X) FA_TILES_2(X) FA_UP_TO_6(X, 3) FA_UP_TO_6(X, 4)
#define FA_TILES(X) FA_JOIN(FA_TILES_, FA_TILE_VECTORS)(X)
FA_TILES(FA_TILE)
static FN(tile_function) *const FN(tiles)[2][FN(wide) + 1][FN(skinny_rows) + 1] = {FA_TILES(FA_TILE_ENTRIES)};

/* ---------------------------------------------------------------------------------------------------- packing */

/* v[k] = from[k], from[k + from_row], ... for one square of a vector's lanes: of blocks of 2s x 2s, the upper right
 * and the lower left quarter change places. Up to a third faster here than vtranspose, which is faster for
 * fa_rows.h. */
#define FA_LEFT(i, s) ((i) & (s) ? FN(lanes) + (i) - (s) : (i))
#define FA_RIGHT(i, s) ((i) & (s) ? FN(lanes) + (i) : ((i) + (s)) % (2 * FN(lanes)))
FA_INLINE void FN(load_transposed)(const real *from, ptrdiff_t from_row, vreal *v) {
    FA_UNROLL for (int i = 0; i < FN(lanes); i++) v[i] = FN(vload)(from + i * from_row);
    FA_UNROLL for (int s = FN(lanes) / 2; s > 0; s /= 2)
        FA_UNROLL for (int pair = 0; pair < FN(lanes) / 2; pair++) {
            vreal *upper = &v[pair / s * 2 * s + pair % s], *lower = upper + s;
            const vreal a = *upper, b = *lower;
            *upper = FA_LANES_BY(a, b, FA_LEFT, s), *lower = FA_LANES_BY(a, b, FA_RIGHT, s);
        }
}

/* to[k * to_row + j] = from[j * from_row + k] */
FA_INLINE void FN(transpose)(const real *from, ptrdiff_t from_row, real *to, ptrdiff_t to_row) {
    vreal v[FN(lanes)];
    FN(load_transposed)(from, from_row, v);
    FA_UNROLL for (int i = 0; i < FN(lanes); i++) FN(vstore)(to + i * to_row, v[i]);
}

/* to[i * width + j] = from[i * row + j * column]; columns beyond `columns`, up to width (whole vectors), are 0 */
static void FN(pack)(const real *from, ptrdiff_t row, ptrdiff_t column, ptrdiff_t rows, ptrdiff_t columns,
                     ptrdiff_t width, real *to) {
    const ptrdiff_t lanes = FN(lanes), whole = columns - columns % lanes;
    if (column == 1) {
        const FN(tail) tail = FN(vtail)(columns - whole);
        for (ptrdiff_t i = 0; i < rows; i++, from += row, to += width) {
            if (row > FN(far_row) && i + FN(ahead) < rows) {
                __builtin_prefetch(from + FN(ahead) * row);
                __builtin_prefetch(from + FN(ahead) * row + columns - 1);
            }
            for (ptrdiff_t j = 0; j < whole; j += lanes) FN(vstore)(to + j, FN(vload)(from + j));
            if (columns > whole) {
                FN(vstore_tail)(to + whole, FN(vload_tail)(from + whole, tail), FN(vtail)(width - whole));
            }
        }
        return;
    }
    ptrdiff_t squares = row == 1 ? rows - rows % lanes : 0; /* rows that whole squares cover */
    for (ptrdiff_t j = 0; j < whole; j += lanes)
        for (ptrdiff_t i = 0; i < squares; i += lanes)
            FN(transpose)(from + i + j * column, column, to + i * width + j, width);
    for (ptrdiff_t i = 0; i < rows; i++) {
        ptrdiff_t j = i < squares ? whole : 0;
        for (; j < columns; j++) to[i * width + j] = from[i * row + j * column];
        for (; j < width; j++) to[i * width + j] = 0;
    }
}

/* ---------------------------------------------------------------------------------------------------- the plan */

FA_INLINE ptrdiff_t FN(bound)(ptrdiff_t i, ptrdiff_t n, ptrdiff_t count) {
    return i * n / count;
}
FA_INLINE ptrdiff_t FN(parts)(ptrdiff_t n, ptrdiff_t size) {
    return n > size ? (n + size - 1) / size : 1;
}
FA_INLINE ptrdiff_t FN(least)(ptrdiff_t a, ptrdiff_t b) {
    return a < b ? a : b;
}

/* How to compute it: speed only, never the bits. */
static void FN(product_plan)(fa_product *p, int team) {
    const ptrdiff_t lanes = FN(lanes);
    p->chunks = FN(parts)(p->k, FN(chunk));
    p->pack_tasks = 0;
    p->shared_bytes = p->task_bytes = 0;
    p->pack_a = p->swept = 0;
    p->column_tasks = 1;
    if (p->n == 1 && !p->swapped) {
        p->kind = FA_DOT;
        p->row_panels = FN(parts)(p->m, 4);
        p->row_tasks = FN(least)(team, p->row_panels);
        return;
    }
    if (p->m == 1 && (p->b_column == 1 || p->b_row == 1) && !p->swapped) {
        p->kind = FA_ROW;
        p->row_tasks = 1;
        p->panels = FN(parts)(p->n, lanes);
        p->column_tasks = FN(least)(team, p->panels);
        return;
    }
    if (p->k == 1 && p->b_column == 1 && !p->swapped) {
        p->kind = FA_OUTER;
        p->row_tasks = FN(least)(team, p->m);
        return;
    }
    const ptrdiff_t vectors = FN(parts)(p->n, lanes);
    const ptrdiff_t chunk = FN(parts)(p->k, p->chunks);
    p->panels = FN(parts)(vectors, FN(wide));
    int readable = p->b_column == 1 && (FA_MASKED || p->n % lanes == 0); /* B can be read where it lies */
    if (p->m <= (team == 1 ? FN(block_rows) : FN(few_rows))) {
        /* few rows, more where one thread has no shares to balance: each panel of B belongs to one task, which packs it
         * for itself if at all */
        if (p->panels < team) p->panels = FN(least)(vectors, team);
        p->kind = readable && p->m < FN(pack_rows) / (p->b_row > FN(far_row) ? 2 : 1) ? FA_DIRECT : FA_LOCAL;
        p->column_tasks = p->panels;
        p->row_tasks = 1;
    } else {
        /* many rows: B is packed whole first, and tasks are blocks of rows, the same number for each thread */
        p->kind = readable && p->panels == 1 && p->n % lanes == 0 ? FA_DIRECT : FA_SHARED;
        p->row_tasks = FN(parts)(p->m, FN(block_rows));
        if (team > 1) p->row_tasks = FN(parts)(p->row_tasks, team) * team;
    }
    p->swept = p->k <= FN(swept_depth) && p->kind == FA_SHARED && !p->swapped;
    ptrdiff_t tile_rows = p->panels == vectors ? FN(skinny_rows) : FN(tile_rows);
    p->row_panels = FN(parts)(p->m, tile_rows);
    p->row_tasks = FN(least)(p->row_tasks, p->row_panels);
    if (p->kind == FA_LOCAL) p->task_bytes += (size_t)(chunk * FN(wide) * lanes) * sizeof(real);
    if (p->kind == FA_SHARED) {
        p->shared_bytes = (size_t)(p->k * vectors * lanes) * sizeof(real);
        p->pack_tasks = p->chunks * (p->b_column == 1 ? FN(parts)(chunk, FN(strip_rows)) : p->panels);
        p->pack_a = p->a_column != 1 && p->panels > 1;
        if (p->pack_a) {
            ptrdiff_t panels = FN(parts)(p->row_panels, p->row_tasks);
            p->task_bytes += (size_t)(panels * tile_rows * FN(parts)(chunk, lanes) * lanes) * sizeof(real);
        }
    }
}

/* A part of one chunk of B into the shared workspace: one panel, or a few rows of all panels, whichever lies together
 * in memory. */
static void FN(product_pack)(const fa_product *p, ptrdiff_t task, void *shared) {
    const ptrdiff_t lanes = FN(lanes), vectors = FN(parts)(p->n, lanes), parts = p->pack_tasks / p->chunks;
    const ptrdiff_t chunk = task / parts, part = task % parts, by_rows = p->b_column == 1;
    const ptrdiff_t k = FN(bound)(chunk, p->k, p->chunks), depth = FN(bound)(chunk + 1, p->k, p->chunks) - k;
    const ptrdiff_t first_row = by_rows ? FN(bound)(part, depth, parts) : 0;
    const ptrdiff_t last_row = by_rows ? FN(bound)(part + 1, depth, parts) : depth;
    const ptrdiff_t last_panel = by_rows ? p->panels : part + 1;
    const real *b = (const real *)p->b + (k + first_row) * p->b_row;
    real *to = (real *)shared + k * vectors * lanes;
    for (ptrdiff_t panel = by_rows ? 0 : part; panel < last_panel; panel++) {
        const ptrdiff_t first = FN(bound)(panel, vectors, p->panels) * lanes;
        const ptrdiff_t width = FN(bound)(panel + 1, vectors, p->panels) * lanes - first;
        FN(pack)(b + first * p->b_column, p->b_row, p->b_column, last_row - first_row,
                 FN(least)(width, p->n - first), width, to + first * depth + first_row * width);
    }
}

/* --------------------------------------------------------------------------------------------------- the tasks */

/* Bias and activation of a finished block of C. */
FA_INLINE void FN(finish)(const fa_product *p, ptrdiff_t row, ptrdiff_t column, ptrdiff_t rows, ptrdiff_t columns) {
    real *c = (real *)p->c + row * p->c_row + column;
    if (p->epilogue) {
        real *slope = p->slope ? (real *)p->slope + row * p->slope_row + column : NULL;
        const real *bias = p->bias ? (const real *)p->bias + column : NULL;
        p->epilogue(c, bias, slope, rows, columns, p->c_row, p->slope_row, p->parameters);
    }
    if (p->learned) {
        const real *weight = (const real *)p->weight + (p->per_column ? column : 0);
        const ptrdiff_t y_row = p->y ? p->y_row : p->c_row;
        real *y = p->y ? (real *)p->y + row * y_row + column : c;
        for (ptrdiff_t r = 0; r < rows; r++, c += p->c_row, y += y_row)
            p->learned(c, weight, p->per_column, y, 1, columns);
    }
}

/* C is to be transposed: a small tile goes through a strip. */
static void FN(store_swapped)(const fa_product *p, const real *tile, ptrdiff_t tile_row, int add, ptrdiff_t row,
                              ptrdiff_t column, ptrdiff_t rows, ptrdiff_t columns) {
    real *c = (real *)p->c + column * p->c_row + row;
    for (ptrdiff_t j = 0; j < columns; j++, c += p->c_row)
        for (ptrdiff_t i = 0; i < rows; i++) c[i] = add ? c[i] + tile[i * tile_row + j] : tile[i * tile_row + j];
}

static void FN(tiles_task)(const fa_product *p, ptrdiff_t task, const real *shared, real *local) {
    const ptrdiff_t lanes = FN(lanes), vectors = FN(parts)(p->n, lanes);
    const ptrdiff_t row_task = task / p->column_tasks, column_task = task % p->column_tasks;
    const ptrdiff_t first_rows = FN(bound)(row_task, p->row_panels, p->row_tasks);
    const ptrdiff_t last_rows = FN(bound)(row_task + 1, p->row_panels, p->row_tasks);
    const ptrdiff_t first_panel = FN(bound)(column_task, p->panels, p->column_tasks);
    const ptrdiff_t last_panel = FN(bound)(column_task + 1, p->panels, p->column_tasks);
    const ptrdiff_t top = FN(bound)(first_rows, p->m, p->row_panels), end = FN(bound)(last_rows, p->m, p->row_panels);
    const real *a = p->a, *b = p->b;
    real strip[FN(skinny_rows) * FN(wide) * FN(lanes)];

    for (ptrdiff_t chunk = 0; chunk < p->chunks; chunk++) {
        const ptrdiff_t k = FN(bound)(chunk, p->k, p->chunks), depth = FN(bound)(chunk + 1, p->k, p->chunks) - k;
        const int add = chunk > 0 || p->accumulate;
        const ptrdiff_t a_width = FN(parts)(depth, lanes) * lanes;
        if (p->pack_a)
            FN(pack)(a + top * p->a_row + k * p->a_column, p->a_row, p->a_column, end - top, depth, a_width, local);
        /* panel by panel, all rows of each; or, swept, tile row by tile row, all panels of each */
        const ptrdiff_t sweeps = p->swept ? last_rows - first_rows : 1;
        for (ptrdiff_t sweep = 0; sweep < sweeps; sweep++) {
            const ptrdiff_t from_rows = p->swept ? first_rows + sweep : first_rows;
            const ptrdiff_t to_rows = p->swept ? from_rows + 1 : last_rows;
            for (ptrdiff_t panel = first_panel, next; panel < last_panel; panel = next) {
                const ptrdiff_t first = FN(bound)(panel, vectors, p->panels);
                const ptrdiff_t wide = FN(bound)(panel + 1, vectors, p->panels) - first;
                const ptrdiff_t column = first * lanes, width = wide * lanes;
                next = panel + 1;
                if (p->swept) /* on to where the panels become narrower or wider, or C ends */
                    while (next < last_panel && FN(bound)(next + 1, vectors, p->panels) * lanes <= p->n &&
                           FN(bound)(next + 1, vectors, p->panels) - FN(bound)(next, vectors, p->panels) == wide)
                        next++;
                const ptrdiff_t tiles = next - panel, columns = FN(least)(p->n - column, tiles * width);
                FN(tile_job) job = {.k = depth, .add = add, .c_row = p->c_row, .tiles = tiles};
                job.store_tail = FN(vtail)(columns - tiles * width + lanes);
                job.load_tail = job.store_tail;
                job.b = b + k * p->b_row + column * p->b_column;
                job.b_row = p->b_row;
                job.b_tile = width;
                if (p->kind != FA_DIRECT) {
                    job.load_tail = FN(vtail)(lanes);
                    job.b_row = width;
                    job.b_tile = width * depth;
                    if (p->kind == FA_LOCAL) {
                        FN(pack)(job.b, p->b_row, p->b_column, depth, columns, width, local);
                        job.b = local;
                    } else {
                        job.b = shared + k * vectors * lanes + column * depth;
                    }
                }
                if (p->swapped) {
                    job.add = 0;
                    job.c_row = width;
                    job.store_tail = FN(vtail)(lanes);
                }
                /* while this panel is at work, a part of the next one comes to L2 with each tile */
                const ptrdiff_t rest = p->kind == FA_SHARED && !p->swept && next < last_panel ? job.b_tile : 0;
                const ptrdiff_t portion = FN(parts)(rest, to_rows - from_rows);
                const real *soon = job.b + job.b_tile;
                for (ptrdiff_t i = from_rows; i < to_rows; i++, soon += portion) {
                    for (ptrdiff_t j = 0; rest && j < portion; j += FN(line)) __builtin_prefetch(soon + j, 0, 2);
                    const ptrdiff_t row = FN(bound)(i, p->m, p->row_panels);
                    const ptrdiff_t rows = FN(bound)(i + 1, p->m, p->row_panels) - row;
                    job.a = p->pack_a ? local + (row - top) * a_width : a + row * p->a_row + k * p->a_column;
                    job.a_row = p->pack_a ? a_width : p->a_row;
                    job.a_column = p->pack_a ? 1 : p->a_column;
                    job.c = p->swapped ? strip : (real *)p->c + row * p->c_row + column;
                    FN(tiles)[p->kind != FA_DIRECT && job.a_column == 1][wide][rows](&job);
                    if (p->swapped) FN(store_swapped)(p, strip, width, add, row, column, rows, columns);
                    else if (chunk == p->chunks - 1) FN(finish)(p, row, column, rows, columns);
                }
            }
        }
    }
}

/* M = 1: the sums of a strip of columns stay in L1 and B streams by, row after row. */
static void FN(row_task)(const fa_product *p, ptrdiff_t task) {
    enum { step = 8 };
    const ptrdiff_t lanes = FN(lanes);
    const ptrdiff_t first = FN(bound)(task, p->panels, p->column_tasks) * lanes;
    const ptrdiff_t end = FN(least)(FN(bound)(task + 1, p->panels, p->column_tasks) * lanes, p->n);
    const ptrdiff_t b_row = p->b_row;
    for (ptrdiff_t start = first; start < end; start += FN(row_strip)) {
        const ptrdiff_t columns = FN(least)(end - start, FN(row_strip)), whole = columns - columns % lanes;
        const FN(tail) tail = FN(vtail)(columns - whole);
        real *c = (real *)p->c + start;
        vreal sums[FN(row_strip) / FN(lanes)];
        for (ptrdiff_t chunk = 0; chunk < p->chunks; chunk++) {
            ptrdiff_t k = FN(bound)(chunk, p->k, p->chunks);
            const ptrdiff_t k_end = FN(bound)(chunk + 1, p->k, p->chunks);
            const real *a = (const real *)p->a + k * p->a_column, *b = (const real *)p->b + k * b_row + start;
            for (ptrdiff_t v = 0; v * lanes < columns; v++) sums[v] = FN(vset)(0);
            for (; k + step <= k_end; k += step, b += step * b_row, a += step * p->a_column) {
                vreal left[step];
                FA_UNROLL for (int i = 0; i < step; i++) left[i] = FN(vset)(a[i * p->a_column]);
                ptrdiff_t v = 0;
                for (; v * lanes < whole; v++) {
                    vreal sum = sums[v];
                    FA_UNROLL for (int i = 0; i < step; i++)
                        sum = FN(vmul_add)(left[i], FN(vload)(b + i * b_row + v * lanes), sum);
                    sums[v] = sum;
                }
                if (columns > whole) {
                    vreal sum = sums[v];
                    FA_UNROLL for (int i = 0; i < step; i++)
                        sum = FN(vmul_add)(left[i], FN(vload_tail)(b + i * b_row + whole, tail), sum);
                    sums[v] = sum;
                }
            }
            for (; k < k_end; k++, b += b_row, a += p->a_column) {
                const vreal left = FN(vset)(a[0]);
                ptrdiff_t v = 0;
                for (; v * lanes < whole; v++) sums[v] = FN(vmul_add)(left, FN(vload)(b + v * lanes), sums[v]);
                if (columns > whole) sums[v] = FN(vmul_add)(left, FN(vload_tail)(b + whole, tail), sums[v]);
            }
            const int add = chunk > 0 || p->accumulate;
            ptrdiff_t v = 0;
            for (; v * lanes < whole; v++)
                FN(vstore)(c + v * lanes, add ? FN(vload)(c + v * lanes) + sums[v] : sums[v]);
            if (columns > whole)
                FN(vstore_tail)(c + whole, add ? FN(vload_tail)(c + whole, tail) + sums[v] : sums[v], tail);
        }
        FN(finish)(p, 0, start, 1, columns);
    }
}

/* M = 1 and B's columns lie together: squares of B are transposed in registers, so that each sum is the same chain. */
static void FN(transposed_row_task)(const fa_product *p, ptrdiff_t task) {
    enum { most = 4 };
    const ptrdiff_t lanes = FN(lanes);
    const ptrdiff_t first = FN(bound)(task, p->panels, p->column_tasks) * lanes;
    const ptrdiff_t end = FN(least)(FN(bound)(task + 1, p->panels, p->column_tasks) * lanes, p->n);
    for (ptrdiff_t start = first; start < end; start += most * lanes) {
        const ptrdiff_t columns = FN(least)(end - start, most * lanes), whole = columns / lanes * lanes;
        for (ptrdiff_t chunk = 0; chunk < p->chunks; chunk++) {
            const ptrdiff_t k = FN(bound)(chunk, p->k, p->chunks), depth = FN(bound)(chunk + 1, p->k, p->chunks) - k;
            const real *a = (const real *)p->a + k * p->a_column;
            const real *b = (const real *)p->b + start * p->b_column + k;
            vreal sums[most] = {{0}};
            ptrdiff_t i = 0;
            for (; i + lanes <= depth; i += lanes)
                for (ptrdiff_t j = 0; j < whole; j += lanes) {
                    vreal square[FN(lanes)], sum = sums[j / lanes];
                    FN(load_transposed)(b + j * p->b_column + i, p->b_column, square);
                    FA_UNROLL for (int l = 0; l < FN(lanes); l++)
                        sum = FN(vmul_add)(FN(vset)(a[(i + l) * p->a_column]), square[l], sum);
                    sums[j / lanes] = sum;
                }
            const ptrdiff_t squares = i;
            for (ptrdiff_t j = 0; j < columns; j += lanes)
                for (i = j < whole ? squares : 0; i < depth; i++) {
                    real strip[FN(lanes)] = {0};
                    for (ptrdiff_t l = 0; l < lanes && j + l < columns; l++) strip[l] = b[(j + l) * p->b_column + i];
                    sums[j / lanes] = FN(vmul_add)(FN(vset)(a[i * p->a_column]), FN(vload)(strip), sums[j / lanes]);
                }
            const int add = chunk > 0 || p->accumulate;
            for (ptrdiff_t j = 0; j < columns; j += lanes) {
                const FN(tail) tail = FN(vtail)(FN(least)(columns - j, lanes));
                real *c = (real *)p->c + start + j;
                FN(vstore_tail)(c, add ? FN(vload_tail)(c, tail) + sums[j / lanes] : sums[j / lanes], tail);
            }
        }
        FN(finish)(p, 0, start, 1, columns);
    }
}

/* K = 1: rows of C, each B times a number */
static void FN(outer_task)(const fa_product *p, ptrdiff_t task) {
    const ptrdiff_t lanes = FN(lanes), whole = p->n - p->n % lanes;
    const FN(tail) tail = FN(vtail)(p->n - whole);
    const ptrdiff_t end = FN(bound)(task + 1, p->m, p->row_tasks);
    const real *b = p->b;
    const vreal zero = FN(vset)(0);
    for (ptrdiff_t row = FN(bound)(task, p->m, p->row_tasks); row < end; row++) {
        const vreal left = FN(vset)(((const real *)p->a)[row * p->a_row]);
        real *c = (real *)p->c + row * p->c_row;
        if (p->accumulate) {
            for (ptrdiff_t j = 0; j < whole; j += lanes)
                FN(vstore)(c + j, FN(vload)(c + j) + FN(vmul_add)(left, FN(vload)(b + j), zero));
            if (p->n > whole)
                FN(vstore_tail)(c + whole, FN(vload_tail)(c + whole, tail) +
                                FN(vmul_add)(left, FN(vload_tail)(b + whole, tail), zero), tail);
        } else {
            for (ptrdiff_t j = 0; j < whole; j += lanes)
                FN(vstore)(c + j, FN(vmul_add)(left, FN(vload)(b + j), zero));
            if (p->n > whole)
                FN(vstore_tail)(c + whole, FN(vmul_add)(left, FN(vload_tail)(b + whole, tail), zero), tail);
        }
        FN(finish)(p, row, 0, 1, p->n);
    }
}

/* The dot products of `rows` rows with b over one chunk. Lane l of chain i sums k = l + lanes * (i + chains * n);
 * chains and then lanes are added in a fixed order. */
FA_INLINE void FN(dot)(const int rows, const real *a, ptrdiff_t a_row, const real *b, ptrdiff_t depth, real *sums) {
    enum { chains = 4 };
    const ptrdiff_t lanes = FN(lanes);
    vreal sum[4][chains];
    FA_UNROLL for (int r = 0; r < rows; r++)
        FA_UNROLL for (int i = 0; i < chains; i++) sum[r][i] = FN(vset)(0);
    ptrdiff_t k = 0;
    for (; k + chains * lanes <= depth; k += chains * lanes)
        FA_UNROLL for (int i = 0; i < chains; i++) {
            vreal right = FN(vload)(b + k + i * lanes);
            FA_UNROLL for (int r = 0; r < rows; r++)
                sum[r][i] = FN(vmul_add)(FN(vload)(a + r * a_row + k + i * lanes), right, sum[r][i]);
        }
    FA_UNROLL for (int i = 0; i < chains; i++, k += lanes)
        if (k < depth) {
            const FN(tail) tail = FN(vtail)(FN(least)(depth - k, lanes));
            vreal right = FN(vload_tail)(b + k, tail);
            FA_UNROLL for (int r = 0; r < rows; r++)
                sum[r][i] = FN(vmul_add)(FN(vload_tail)(a + r * a_row + k, tail), right, sum[r][i]);
        }
    FA_UNROLL for (int r = 0; r < rows; r++) sums[r] = FN(vsum)((sum[r][0] + sum[r][1]) + (sum[r][2] + sum[r][3]));
}

/* N = 1 */
static void FN(dot_task)(const fa_product *p, ptrdiff_t task) {
    enum { most = 4 };
    const ptrdiff_t first = FN(bound)(FN(bound)(task, p->row_panels, p->row_tasks), p->m, p->row_panels);
    const ptrdiff_t end = FN(bound)(FN(bound)(task + 1, p->row_panels, p->row_tasks), p->m, p->row_panels);
    real right[FN(chunk)], left[most * FN(chunk)], sums[most];
    for (ptrdiff_t row = first; row < end; row += most) {
        const ptrdiff_t rows = FN(least)(end - row, most);
        for (ptrdiff_t chunk = 0; chunk < p->chunks; chunk++) {
            const ptrdiff_t k = FN(bound)(chunk, p->k, p->chunks), depth = FN(bound)(chunk + 1, p->k, p->chunks) - k;
            const real *a = (const real *)p->a + row * p->a_row + k * p->a_column;
            const real *b = (const real *)p->b + k * p->b_row;
            ptrdiff_t a_row = p->a_row;
            if (p->b_row != 1) {
                for (ptrdiff_t i = 0; i < depth; i++) right[i] = b[i * p->b_row];
                b = right;
            }
            if (p->a_column != 1) {
                for (ptrdiff_t r = 0; r < rows; r++)
                    for (ptrdiff_t i = 0; i < depth; i++) left[r * depth + i] = a[r * a_row + i * p->a_column];
                a = left, a_row = depth;
            }
            if (rows == most) FN(dot)(most, a, a_row, b, depth, sums);
            else
                for (ptrdiff_t r = 0; r < rows; r++) FN(dot)(1, a + r * a_row, a_row, b, depth, sums + r);
            real *c = (real *)p->c + row * p->c_row;
            for (ptrdiff_t r = 0; r < rows; r++)
                c[r * p->c_row] = chunk > 0 || p->accumulate ? c[r * p->c_row] + sums[r] : sums[r];
        }
    }
    if (p->c_row != 1 || (p->slope && p->slope_row != 1) || (p->y && p->y_row != 1)) {
        FN(finish)(p, first, 0, end - first, 1);
        return;
    }
    /* one column lies in memory like one row, whose elements share their bias and their weight */
    real *c = p->c;
    if (p->bias)
        for (ptrdiff_t row = 0; row < FN(chunk); row++) right[row] = *(const real *)p->bias;
    for (ptrdiff_t row = first; p->epilogue && row < end; row += FN(chunk))
        p->epilogue(c + row, p->bias ? right : NULL, p->slope ? (real *)p->slope + row : NULL, 1,
                    FN(least)(end - row, FN(chunk)), 0, 0, p->parameters);
    if (p->learned) p->learned(c + first, p->weight, 0, (p->y ? (real *)p->y : c) + first, 1, end - first);
}

/* shared: what product_pack filled; local: task_bytes for this thread alone */
static void FN(product_task)(const fa_product *p, ptrdiff_t task, const void *shared, void *local) {
    if (p->kind == FA_DOT) FN(dot_task)(p, task);
    else if (p->kind == FA_ROW && p->b_column == 1) FN(row_task)(p, task);
    else if (p->kind == FA_OUTER) FN(outer_task)(p, task);
    else if (p->kind == FA_ROW) FN(transposed_row_task)(p, task);
    else FN(tiles_task)(p, task, shared, local);
}
