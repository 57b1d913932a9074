# Dense layers: products with an epilogue, and backward. Part of _core.pyx.

cdef enum:
    # A weight gradient of few elements over a large batch is summed in parts of about SPLIT_ROWS rows for the threads.
    # The parts are added in order; shapes alone decide, so that bits do not depend on threads.
    SPLIT_ROWS = 1024
    SPLIT_ELEMENTS = 4096
    # Rows whose products a maxout layer keeps at a time: enough to pack the weight for, and few enough for the cache.
    MAXOUT_ROWS = 192
    # Rows of dz below this are narrow: see set_weight_product.
    SWAPPED_BYTES = 128

cdef struct product_call:
    # What a product's tasks read.
    const fa_kernels *kernels
    const fa_product *product
    char *shared  # its packed operand
    char *memory  # a workspace for each thread, of that many bytes
    size_t bytes
    # for a product in parts of K, whose sums go to y, or in blocks of rows, whose maxima do
    Py_ssize_t parts, size, pieces
    char *y
    uint8_t *index


cdef inline double work(const fa_product *p) noexcept nogil:
    return <double>p.m * <double>p.n * <double>p.k


cdef inline size_t lines(size_t bytes) noexcept nogil:
    """Bytes rounded up to cache lines."""
    return (bytes + LINE_BYTES - 1) // LINE_BYTES * LINE_BYTES


cdef inline size_t workspace(const fa_product *p, int team) noexcept nogil:
    """Bytes that a planned product needs for a team."""
    return lines(p.shared_bytes) + team * lines(p.task_bytes)


cdef size_t serial_workspace(const fa_kernels *kernels, fa_product *p) noexcept nogil:
    """Bytes that a product needs for one thread. Nearly equal shapes may differ: a part less, and so longer parts."""
    kernels.product_plan(p, 1)
    return workspace(p, 1)


cdef void pack_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const product_call *c = <const product_call *>context
    c.kernels.product_pack(c.product, first, c.shared)


cdef void tile_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const product_call *c = <const product_call *>context
    c.kernels.product_task(c.product, first, c.shared, c.memory + thread * c.bytes)


cdef void run_planned(const fa_kernels *kernels, const fa_product *p, char *memory, int team) noexcept nogil:
    """A product planned for that team, in its workspace."""
    cdef product_call c
    c.kernels, c.product, c.shared, c.bytes = kernels, p, memory, lines(p.task_bytes)
    c.memory = memory + lines(p.shared_bytes)
    spread(pack_task, &c, p.pack_tasks, 1, team)
    spread(tile_task, &c, p.row_tasks * p.column_tasks, 1, team, dynamic=True)


cdef int multiply(const fa_kernels *kernels, fa_product *p, int team) noexcept nogil:
    """Run a product whose operands, strides and epilogue are filled in; -1 when there is no memory for it."""
    cdef char *memory = NULL
    if p.m == 0 or p.n == 0:
        return 0
    kernels.product_plan(p, team)
    cdef size_t bytes = workspace(p, team)
    if bytes > 0:
        memory = <char *>fa_take(FA_PACKED, bytes)
        if memory == NULL:
            return -1
    run_planned(kernels, p, memory, team)
    fa_give(FA_PACKED, memory)
    return 0


cdef void part_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    """A part of the product's K, into its place among the sums."""
    cdef const product_call *c = <const product_call *>context
    cdef fa_product p = c.product[0]
    cdef Py_ssize_t start = first * p.k // c.parts
    p.k = (first + 1) * p.k // c.parts - start
    p.a = <const char *>p.a + start * p.a_column * c.size
    p.b = <const char *>p.b + start * p.b_row * c.size
    p.c = c.y + first * p.m * p.n * c.size
    p.accumulate = 0
    c.kernels.product_plan(&p, 1)
    run_planned(c.kernels, &p, c.memory + thread * c.bytes, 1)


cdef int multiply_in_parts(const fa_kernels *kernels, fa_product *p, Py_ssize_t size, int team) noexcept nogil:
    """A product without epilogue whose C is contiguous, its K summed in parts; -1 when there is no memory for it."""
    cdef product_call c
    cdef Py_ssize_t elements = p.m * p.n, first = 1 if p.accumulate else 0
    c.kernels, c.product, c.size, c.parts = kernels, p, size, (p.k + SPLIT_ROWS - 1) // SPLIT_ROWS
    cdef fa_product longer = p[0], shorter = p[0]
    longer.k, shorter.k = (p.k + c.parts - 1) // c.parts, p.k // c.parts
    cdef size_t sum_bytes = lines((first + c.parts) * elements * size)
    c.bytes = max(serial_workspace(kernels, &longer), serial_workspace(kernels, &shorter))
    cdef char *sums = <char *>fa_take(FA_PACKED, sum_bytes + team * c.bytes)
    if sums == NULL:
        return -1
    if first:
        memcpy(sums, p.c, elements * size)
    c.y, c.memory = sums + first * elements * size, sums + sum_bytes
    spread(part_task, &c, c.parts, 1, team)
    kernels.add_rows(sums, p.c, first + c.parts, elements)
    fa_give(FA_PACKED, sums)
    return 0


cdef void maxout_product_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    """A block of rows: its product into the workspace, and the maxima of that."""
    cdef const product_call *c = <const product_call *>context
    cdef fa_product p = c.product[0]
    cdef Py_ssize_t start = first * p.m // c.parts, outputs = p.n // c.pieces
    cdef char *memory = c.memory + thread * c.bytes
    p.m = (first + 1) * p.m // c.parts - start
    cdef size_t bytes = lines(p.m * p.n * c.size)
    p.a = <const char *>p.a + start * p.a_row * c.size
    p.c = memory
    c.kernels.product_plan(&p, 1)
    run_planned(c.kernels, &p, memory + bytes, 1)
    cdef uint8_t *index = c.index + start * outputs
    if c.index == NULL:
        index = <uint8_t *>memory + bytes + workspace(&p, 1)
    c.kernels.maxout(memory, c.y + start * outputs * c.size, index, p.m * outputs, c.pieces)


cdef int multiply_maxout(const fa_kernels *kernels, fa_product *p, char *y, uint8_t *index, Py_ssize_t pieces,
                         Py_ssize_t size, int team) noexcept nogil:
    """y = the largest of each `pieces` neighbours of the product's columns; -1 when there is no memory for it."""
    if p.m == 0 or p.n == 0:
        return 0
    cdef product_call c
    c.kernels, c.product, c.size, c.pieces, c.y, c.index = kernels, p, size, pieces, y, index
    c.parts = (p.m + MAXOUT_ROWS - 1) // MAXOUT_ROWS
    if team > 1:
        c.parts = min((c.parts + team - 1) // team * team, p.m)
    cdef fa_product larger = p[0], smaller = p[0]
    larger.m, smaller.m = (p.m + c.parts - 1) // c.parts, p.m // c.parts
    c.bytes = lines(larger.m * p.n * size) + (0 if index != NULL else lines(larger.m * (p.n // pieces)))
    c.bytes += max(serial_workspace(kernels, &larger), serial_workspace(kernels, &smaller))
    c.memory = <char *>fa_take(FA_PACKED, team * c.bytes)
    if c.memory == NULL:
        return -1
    spread(maxout_product_task, &c, c.parts, 1, team)
    fa_give(FA_PACKED, c.memory)
    return 0


# ---------------------------------------------------------------------------------------------- forward

cdef inline void matrix(cnp.ndarray array, const void **start, Py_ssize_t *row, Py_ssize_t *column) noexcept:
    """Where a matrix begins, and its strides in elements; one dimension is a row."""
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(array)
    cdef int ndim = cnp.PyArray_NDIM(array)
    start[0] = cnp.PyArray_DATA(array)
    row[0] = cnp.PyArray_STRIDE(array, 0) // size if ndim == 2 else 0
    column[0] = cnp.PyArray_STRIDE(array, ndim - 1) // size


cdef inline int product_team(const fa_product *p) except -1:
    # Vectors times matrices are bound by memory: they take as long as products of four times the multiplications.
    cdef double least = product_threshold / 4 if p.m == 1 or p.n == 1 or p.k == 1 else product_threshold
    return threads_from(<Py_ssize_t>work(p), <Py_ssize_t>least)


cdef inline void set_epilogue(fa_product *p, const fa_kernels *kernels, int number, object bias, object slope,
                              double a, double b) noexcept:
    p.bias = data(bias)
    p.slope = data(slope)
    p.slope_row = 0 if slope is None else p.n
    p.parameters = fa_parameters(a, b)
    if number != IDENTITY:
        p.epilogue = kernels.activations[number].epilogue
    else:
        p.epilogue = kernels.add_bias if bias is not None else NULL


cdef inline void set_operands(fa_product *p, cnp.ndarray x, cnp.ndarray weight) noexcept:
    """x @ weight; all else is zero."""
    memset(p, 0, sizeof(fa_product))
    p.m, p.k, p.n = 1 if cnp.PyArray_NDIM(x) == 1 else x.shape[0], weight.shape[0], weight.shape[1]
    matrix(x, &p.a, &p.a_row, &p.a_column)
    matrix(weight, &p.b, &p.b_row, &p.b_column)
    p.c_row = p.n


cdef int run(const fa_kernels *kernels, fa_product *p) except -1:
    """The product by as many threads as it is worth."""
    cdef int team = product_team(p), failed
    if team == 1 and work(p) <= KEEP_GIL_PRODUCT:
        failed = multiply(kernels, p, 1)
    else:
        with nogil:
            failed = multiply(kernels, p, team)
    if failed:
        raise MemoryError()
    return 0


cpdef dense(int number, cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray y, slope, double a, double b):
    """y = f(x @ weight + bias), and the slope beside it when an array for it is given.

    x and weight are aligned native matrices of one dtype with any strides; bias, y and slope are plain.
    """
    cdef const fa_kernels *kernels = kernels_of(y)
    cdef fa_product p
    set_operands(&p, x, weight)
    p.c = data(y)
    set_epilogue(&p, kernels, number, bias, slope, a, b)
    run(kernels, &p)


def dense_learned(int number, cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray y, z, cnp.ndarray parameter):
    """y = f(z; parameter) with z = x @ weight + bias, which is stored too when an array for it is given.

    The parameter is one number or one an output.
    """
    cdef const fa_kernels *kernels = kernels_of(y)
    cdef fa_product p
    set_operands(&p, x, weight)
    p.c = data(y if z is None else z)
    set_epilogue(&p, kernels, IDENTITY, bias, None, 0, 0)
    p.learned = kernels.learned[number].forward
    p.weight, p.per_column = data(parameter), elements(parameter) != 1
    p.y, p.y_row = NULL if z is None else data(y), p.n
    run(kernels, &p)


def dense_maxout(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray y, index, Py_ssize_t pieces):
    """y = the largest of each `pieces` neighbours of x @ weight + bias; which one goes to index, unless it is None."""
    cdef const fa_kernels *kernels = kernels_of(y)
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(y)
    cdef fa_product p
    cdef int team, failed
    cdef char *maxima = data(y)
    cdef uint8_t *numbers = <uint8_t *>data(index)
    set_operands(&p, x, weight)
    set_epilogue(&p, kernels, IDENTITY, bias, None, 0, 0)
    team = product_team(&p)
    with nogil:
        failed = multiply_maxout(kernels, &p, maxima, numbers, pieces, size, team)
    if failed:
        raise MemoryError()


def try_dense(int number, object x, object weight, object bias, object out, double a, double b):
    """y = f(x @ weight + bias) for plain arrays and x with one or two dimensions; None otherwise, nothing written."""
    cdef int dtype = dtype_of(x), ndim
    if dtype < 0 or dtype != dtype_of(weight) or not use_native():
        return None
    cdef cnp.ndarray source = <cnp.ndarray>x, w = <cnp.ndarray>weight, y
    cdef cnp.npy_intp shape[2]
    ndim = cnp.PyArray_NDIM(source)
    if ndim < 1 or ndim > 2 or cnp.PyArray_NDIM(w) != 2 or w.shape[0] != source.shape[ndim - 1]:
        return None
    if bias is not None and (dtype != dtype_of(bias) or cnp.PyArray_NDIM(<cnp.ndarray>bias) != 1
                             or (<cnp.ndarray>bias).shape[0] != w.shape[1]):
        return None
    shape[0] = source.shape[0]
    shape[ndim - 1] = w.shape[1]
    y = output_shaped(ndim, shape, cnp.PyArray_TYPE(source), out)
    if y is None or not (apart(out, source) and apart(out, w) and apart(out, bias)):
        return None
    dense(number, source, w, bias, y, None, a, b)
    return y


# ---------------------------------------------------------------------------------------------- backward

cdef struct dense_gradient:
    # dz = grad * f' with its column sums (the bias gradient) and the gradient of a learned parameter, from one pass
    # over grad and what was saved. One of the three kernels is set, and makes a block of ROWS rows; the blocks' sums
    # are added in order. Then the products that give dw and dx. All is 0 at first.
    const fa_kernels *kernels
    fa_bias_backward *elementwise
    fa_learned_backward *learned
    fa_maxout_backward *maxout
    const char *grad
    const char *saved
    char *dz  # NULL where grad is dz
    char *sums  # NULL: dx alone
    char *dparameter
    const char *parameter
    char *parts
    fa_parameters parameters
    Py_ssize_t rows, columns, pieces, width, size
    bint per_column, add_to_sums, add_to_dparameter
    fa_product dw, dx
    int team, dw_team, dx_team


cdef inline Py_ssize_t blocks_of(const dense_gradient *s) noexcept nogil:
    return max((s.rows + ROWS - 1) // ROWS, <Py_ssize_t>1)


cdef inline char *sum_parts(const dense_gradient *s) noexcept nogil:
    """Where the blocks' column sums go; behind what they are added to, if anything."""
    return s.parts + (s.columns * s.size if s.add_to_sums else 0)


cdef inline char *parameter_parts(const dense_gradient *s) noexcept nogil:
    return s.parts + ((blocks_of(s) + 1) * s.columns + (s.width if s.add_to_dparameter else 0)) * s.size


cdef inline size_t part_bytes(const dense_gradient *s) noexcept nogil:
    """Workspace for the blocks' sums; one block that adds to nothing writes where the result belongs."""
    if blocks_of(s) == 1 and s.sums != NULL and not s.add_to_sums and not s.add_to_dparameter:
        return 0
    return (blocks_of(s) + 1) * (s.columns + s.width) * s.size


cdef void gradient_task(const void *context, Py_ssize_t i, Py_ssize_t n, int thread) noexcept nogil:
    """Block i of dz; the elementwise and learned kernels make their sums beside it, for dx alone into the parts."""
    cdef const dense_gradient *s = <const dense_gradient *>context
    cdef Py_ssize_t rows = min(<Py_ssize_t>ROWS, s.rows - i * ROWS), first = i * ROWS * s.columns
    cdef Py_ssize_t start = first * s.size
    cdef char *dz = at(s.dz, start)
    cdef char *sums = s.sums
    cdef char *dparameter = s.dparameter
    if s.parts != NULL:
        sums = sum_parts(s) + i * s.columns * s.size
        dparameter = parameter_parts(s) + i * s.width * s.size
    if s.elementwise != NULL:
        s.elementwise(s.grad + start, s.saved + start, dz, sums, rows, s.columns, s.parameters)
        return
    if s.learned != NULL:
        s.learned(s.grad + start, s.saved + start, s.parameter, s.per_column, dz, dparameter, rows, s.columns)
    else:
        s.maxout(s.grad + start // s.pieces, <const uint8_t *>s.saved + first // s.pieces, dz,
                 rows * (s.columns // s.pieces), s.pieces)
    if s.sums != NULL:
        s.kernels.sum_columns(dz, dz, NULL, sums, rows, s.columns, s.parameters)


cdef void through_activation(const dense_gradient *s) noexcept nogil:
    if s.add_to_sums:
        memcpy(s.parts, s.sums, s.columns * s.size)
    if s.add_to_dparameter:
        memcpy(parameter_parts(s) - s.width * s.size, s.dparameter, s.width * s.size)
    spread(gradient_task, s, blocks_of(s), 1, s.team)
    if s.parts == NULL or s.sums == NULL:
        return
    s.kernels.add_rows(s.parts, s.sums, blocks_of(s) + s.add_to_sums, s.columns)
    if s.width > 0:
        s.kernels.add_rows(parameter_parts(s) - (s.width * s.size if s.add_to_dparameter else 0), s.dparameter,
                           blocks_of(s) + s.add_to_dparameter, s.width)


cdef int three_steps(dense_gradient *s) noexcept nogil:
    """dz and the sums, dw, dx; -1 when there is no memory for it."""
    cdef int failed
    if s.dz != NULL or s.sums != NULL:
        through_activation(s)
    if s.dw.m * s.dw.n > 0 and s.dw.m * s.dw.n <= SPLIT_ELEMENTS and s.dw.k > SPLIT_ROWS:
        failed = multiply_in_parts(s.kernels, &s.dw, s.size, s.dw_team)
    else:
        failed = multiply(s.kernels, &s.dw, s.dw_team)
    if failed == 0 and s.dx.c != NULL:
        failed = multiply(s.kernels, &s.dx, s.dx_team)
    return failed


cdef inline void set_weight_product(dense_gradient *s, const char *dz, cnp.ndarray x, cnp.ndarray dw,
                                    bint accumulate) noexcept:
    """dw = x.T @ dz; dw may lie transposed, as (outputs, inputs)."""
    cdef fa_product *w = &s.dw
    cdef Py_ssize_t inputs = dw.shape[0], outputs = dw.shape[1], narrow
    cdef bint across = inputs > 1 and outputs > 1 and not cnp.PyArray_ISCARRAY_RO(dw)
    w.c, w.c_row, w.k, w.accumulate = data(dw), inputs if across else outputs, s.rows, accumulate
    # Few columns would leave most lanes empty: there the other side lies across the vectors and the product is stored
    # transposed. Two full vectors make a whole tile. `fastact.measure dense` measures it.
    # Either way each element is one chain over the batch, so the bits are the same; one column always goes this way,
    # because the rule for products of one column is another.
    narrow = inputs if across else outputs
    w.swapped = narrow == 1 or (narrow * s.size < SWAPPED_BYTES and narrow != 2 * s.kernels.lanes)
    if w.swapped != across:
        matrix(x, &w.b, &w.b_row, &w.b_column)
        w.a, w.a_row, w.a_column, w.m, w.n = dz, 1, outputs, outputs, inputs
        if outputs == 1 and inputs > 1:
            w.swapped, w.c_row = 0, inputs
    else:
        matrix(x, &w.a, &w.a_column, &w.a_row)
        w.b, w.b_row, w.b_column, w.m, w.n = dz, outputs, 1, inputs, outputs


cdef inline void set_input_product(dense_gradient *s, const char *dz, cnp.ndarray weight, object dx) noexcept:
    """dx = dz @ weight.T."""
    cdef fa_product *d = &s.dx
    d.m, d.n, d.k = s.rows, weight.shape[0], weight.shape[1]
    d.a, d.a_row, d.a_column = dz, d.k, 1
    matrix(weight, &d.b, &d.b_column, &d.b_row)
    d.c, d.c_row = data(dx), d.n


cdef int gradients(dense_gradient *s, bint keep_dz, cnp.ndarray grad, object saved, object dz, cnp.ndarray x,
                   cnp.ndarray weight, object dx, cnp.ndarray dw, cnp.ndarray db, bint add_to_dw,
                   bint add_to_db) except -1:
    """All gradients; the caller has filled in the kernel and what belongs to it, and says whether dz is not grad."""
    cdef int failed = 0
    cdef char *memory = NULL
    cdef size_t bytes_dz = 0, bytes_parts = 0
    s.rows = 1 if cnp.PyArray_NDIM(grad) == 1 else grad.shape[0]
    s.columns, s.size, s.add_to_sums = weight.shape[1], cnp.PyArray_ITEMSIZE(grad), add_to_db and db is not None
    s.grad, s.saved, s.dz, s.sums = data(grad), data(grad if saved is None else saved), data(dz), data(db)
    s.team = threads_from(s.rows * s.columns, row_threshold)
    if keep_dz and dz is None:
        bytes_dz = lines(s.rows * s.columns * s.size)
    if keep_dz or db is not None:
        bytes_parts = part_bytes(s)
    if bytes_dz + bytes_parts > 0:
        memory = <char *>fa_take(FA_GRADIENT, bytes_dz + bytes_parts)
        if memory == NULL:
            raise MemoryError()
        if bytes_parts > 0:
            s.parts = memory + bytes_dz
        if bytes_dz > 0:
            s.dz = memory
    cdef const char *pz = s.grad if s.dz == NULL else s.dz
    if dw is not None:
        set_weight_product(s, pz, x, dw, add_to_dw)
    set_input_product(s, pz, weight, dx)
    s.dw_team, s.dx_team = product_team(&s.dw), product_team(&s.dx)
    if s.team == 1 and s.dw_team == 1 and s.dx_team == 1 and work(&s.dx) <= KEEP_GIL_PRODUCT:
        failed = three_steps(s)
    else:
        with nogil:
            failed = three_steps(s)
    fa_give(FA_GRADIENT, memory)
    if failed:
        raise MemoryError()
    return 0


cdef inline void new_gradient(dense_gradient *s, cnp.ndarray grad) noexcept:
    memset(s, 0, sizeof(dense_gradient))
    s.kernels = kernels_of(grad)


cpdef dense_backward(int number, cnp.ndarray grad, saved, dz, cnp.ndarray x, cnp.ndarray weight, dx, cnp.ndarray dw,
                     cnp.ndarray db, bint add_to_dw, bint add_to_db, double a, double b):
    """dz = grad * f'; db (+)= its column sums; dw (+)= x.T @ dz; dx = dz @ weight.T unless dx is None.

    dw and db may both be None: then dx alone is computed. saved is None for the identity, where grad is dz; else dz may
    be grad, saved, or None for a workspace. x and weight are aligned native matrices with any strides, the rest plain;
    but dw may be the transpose of a plain array.
    """
    cdef dense_gradient s
    new_gradient(&s, grad)
    s.parameters = fa_parameters(a, b)
    if number == SLOPE:
        s.elementwise = s.kernels.slope_backward
    elif number == BLOCKING_SLOPE:
        s.elementwise = s.kernels.blocking_slope_backward
    else:
        s.elementwise = s.kernels.activations[number].bias_backward
    gradients(&s, saved is not None, grad, saved, dz, x, weight, dx, dw, db, add_to_dw, add_to_db)


def dense_learned_backward(int number, cnp.ndarray grad, cnp.ndarray z, dz, cnp.ndarray x, cnp.ndarray weight, dx,
                           cnp.ndarray dw, cnp.ndarray db, cnp.ndarray parameter, cnp.ndarray dparameter,
                           bint add_to_dw, bint add_to_db, bint add_to_dparameter):
    """As ``dense_backward``, and dparameter (+)= the gradient of a learned parameter; dz may be grad or z.

    dw, db and dparameter may all be None.
    """
    cdef dense_gradient s
    new_gradient(&s, grad)
    s.learned = s.kernels.learned[number].backward
    s.parameter, s.width, s.dparameter = data(parameter), elements(parameter), data(dparameter)
    s.per_column, s.add_to_dparameter = s.width != 1, add_to_dparameter and dparameter is not None
    gradients(&s, True, grad, z, dz, x, weight, dx, dw, db, add_to_dw, add_to_db)


def dense_maxout_backward(cnp.ndarray grad, cnp.ndarray index, dz, cnp.ndarray x, cnp.ndarray weight, dx,
                          cnp.ndarray dw, cnp.ndarray db, Py_ssize_t pieces, bint add_to_dw, bint add_to_db):
    """As ``dense_backward``, for maxout: dz, as wide as the product, has grad where the index points."""
    cdef dense_gradient s
    new_gradient(&s, grad)
    s.maxout, s.pieces = s.kernels.maxout_backward, pieces
    gradients(&s, True, grad, index, dz, x, weight, dx, dw, db, add_to_dw, add_to_db)


def try_dense_backward(int number, object grad, object saved, object x, object weight, bint need_dx, bint accumulate,
                       bint overwrite_grad, object out_input, object out_weight, object out_bias, double a, double b):
    """(dx, dw, db) for plain C-contiguous arrays, x and grad of one or two dimensions; None otherwise."""
    cdef int dtype = dtype_of(grad), ndim
    if (dtype < 0 or dtype != dtype_of(x) or dtype != dtype_of(weight) or not use_native()
            or (accumulate and out_weight is None) or (out_input is not None and not need_dx)):
        return None
    cdef cnp.ndarray g = <cnp.ndarray>grad, source = <cnp.ndarray>x, w = <cnp.ndarray>weight
    cdef cnp.ndarray dx = None, dw, db
    ndim = cnp.PyArray_NDIM(g)
    if (ndim < 1 or ndim > 2 or cnp.PyArray_NDIM(source) != ndim or cnp.PyArray_NDIM(w) != 2
            or not cnp.PyArray_ISCARRAY_RO(g) or not cnp.PyArray_ISCARRAY_RO(source)
            or not cnp.PyArray_ISCARRAY_RO(w)
            or w.shape[0] != source.shape[ndim - 1] or w.shape[1] != g.shape[ndim - 1]
            or (ndim == 2 and source.shape[0] != g.shape[0])
            or (saved is not None and not same_layout(g, <cnp.ndarray>saved))
            or (overwrite_grad and not cnp.PyArray_ISWRITEABLE(g))):
        return None
    if need_dx:
        dx = output_shaped(ndim, cnp.PyArray_DIMS(source), cnp.PyArray_TYPE(g), out_input)
        if dx is None:
            return None
    dw = output_shaped(2, cnp.PyArray_DIMS(w), cnp.PyArray_TYPE(g), out_weight)
    db = output_shaped(1, cnp.PyArray_DIMS(w) + 1, cnp.PyArray_TYPE(g), out_bias)
    if dw is None or db is None:
        return None
    for out in (out_input, out_weight, out_bias):
        if not (apart(out, g) and apart(out, source) and apart(out, w) and apart(out, saved)):
            return None
    if not (apart(out_input, out_weight) and apart(out_input, out_bias) and apart(out_weight, out_bias)):
        return None
    # dz takes grad's place only where nothing else that is read lies there
    overwrite_grad = overwrite_grad and saved is not None and apart(g, saved) and apart(g, source) and apart(g, w)
    dense_backward(number, g, saved, g if overwrite_grad else None, source, w, dx, dw, db,
                   accumulate, accumulate and out_bias is not None, a, b)
    return dx, dw, db
