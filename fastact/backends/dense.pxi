# Dense layers: products with an epilogue, and backward. Part of _core.pyx.

cdef enum:
    # A weight gradient of few elements over a large batch is summed in parts of so many rows, which threads share.
    # The parts are added in order; shapes alone decide, so that bits do not depend on threads.
    SPLIT_ROWS = 1024
    SPLIT_ELEMENTS = 4096
    # Rows whose products a maxout layer keeps at a time: enough to pack the weight for, and few enough for the cache.
    MAXOUT_ROWS = 192
    # Rows of dz below this are narrow: see backward.
    SWAPPED_BYTES = 128


cdef inline double work(const fa_product *p) noexcept nogil:
    return <double>p.m * <double>p.n * <double>p.k


cdef inline size_t lines(size_t bytes) noexcept nogil:
    """Bytes rounded up to cache lines."""
    return (bytes + 63) // 64 * 64


cdef inline size_t workspace(const fa_product *p, int team) noexcept nogil:
    """Bytes that a planned product needs for a team."""
    return lines(p.shared_bytes) + team * lines(p.task_bytes)


cdef void run_serially(const fa_kernels *kernels, const fa_product *p, char *memory) noexcept nogil:
    """A product planned for one thread, in its workspace."""
    cdef Py_ssize_t i
    for i in range(p.pack_tasks):
        kernels.product_pack(p, i, memory)
    for i in range(p.row_tasks * p.column_tasks):
        kernels.product_task(p, i, memory, memory + lines(p.shared_bytes))


cdef size_t serial_workspace(const fa_kernels *kernels, fa_product *p) noexcept nogil:
    """Bytes that a product needs for one thread. Nearly equal shapes may differ: a part less, and so longer parts."""
    kernels.product_plan(p, 1)
    return workspace(p, 1)


cdef int multiply(const fa_kernels *kernels, fa_product *p, int team) noexcept nogil:
    """Run a product whose operands, strides and epilogue are filled in; -1 when there is no memory for it."""
    cdef Py_ssize_t i
    cdef char *shared = NULL
    cdef char *local
    if p.m == 0 or p.n == 0:
        return 0
    kernels.product_plan(p, team)
    cdef size_t bytes = workspace(p, team), task_bytes = lines(p.task_bytes)
    if bytes > 0:
        shared = <char *>fa_take(FA_PACKED, bytes)
        if shared == NULL:
            return -1
    if team == 1:
        run_serially(kernels, p, shared)
    else:
        local = shared + lines(p.shared_bytes)
        if p.pack_tasks > 0:
            for i in prange(p.pack_tasks, num_threads=team, schedule="static"):
                kernels.product_pack(p, i, shared)
        for i in prange(p.row_tasks * p.column_tasks, num_threads=team, schedule="dynamic"):
            kernels.product_task(p, i, shared, local + threadid() * task_bytes)
    fa_give(FA_PACKED, shared)
    return 0


cdef void part_of_sum(const fa_kernels *kernels, const fa_product *whole, Py_ssize_t i, Py_ssize_t parts,
                      char *sums, Py_ssize_t size, char *memory) noexcept nogil:
    """Part i of a product's K, into its place among the sums."""
    cdef fa_product p = whole[0]
    cdef Py_ssize_t first = i * whole.k // parts
    p.k = (i + 1) * whole.k // parts - first
    p.a = <const char *>whole.a + first * whole.a_column * size
    p.b = <const char *>whole.b + first * whole.b_row * size
    p.c = sums + i * whole.m * whole.n * size
    p.accumulate = 0
    kernels.product_plan(&p, 1)
    run_serially(kernels, &p, memory)


cdef int multiply_in_parts(const fa_kernels *kernels, fa_product *p, Py_ssize_t size, int team) noexcept nogil:
    """A product without epilogue whose C is contiguous, its K summed in parts; -1 when there is no memory for it."""
    cdef Py_ssize_t i, parts = (p.k + SPLIT_ROWS - 1) // SPLIT_ROWS, elements = p.m * p.n
    cdef Py_ssize_t first = 1 if p.accumulate else 0
    cdef fa_product longer = p[0], shorter = p[0]
    longer.k, shorter.k = (p.k + parts - 1) // parts, p.k // parts
    cdef size_t sum_bytes = lines((first + parts) * elements * size)
    cdef size_t bytes = max(serial_workspace(kernels, &longer), serial_workspace(kernels, &shorter))
    cdef char *sums = <char *>fa_take(FA_PACKED, sum_bytes + team * bytes)
    if sums == NULL:
        return -1
    if first:
        memcpy(sums, p.c, elements * size)
    if team == 1:
        for i in range(parts):
            part_of_sum(kernels, p, i, parts, sums + first * elements * size, size, sums + sum_bytes)
    else:
        for i in prange(parts, num_threads=team, schedule="static"):
            part_of_sum(kernels, p, i, parts, sums + first * elements * size, size,
                        sums + sum_bytes + threadid() * bytes)
    kernels.add_rows(sums, p.c, first + parts, elements)
    fa_give(FA_PACKED, sums)
    return 0


cdef void maxout_block(const fa_kernels *kernels, const fa_product *whole, Py_ssize_t i, Py_ssize_t blocks, char *y,
                       uint8_t *index, Py_ssize_t pieces, Py_ssize_t size, char *memory) noexcept nogil:
    """Block i of the rows: its product into the workspace, and the maxima of that."""
    cdef fa_product p = whole[0]
    cdef Py_ssize_t first = i * whole.m // blocks, outputs = whole.n // pieces
    p.m = (i + 1) * whole.m // blocks - first
    cdef size_t bytes = lines(p.m * p.n * size)
    p.a = <const char *>whole.a + first * whole.a_row * size
    p.c = memory
    kernels.product_plan(&p, 1)
    run_serially(kernels, &p, memory + bytes)
    if index == NULL:
        index = <uint8_t *>memory + bytes + workspace(&p, 1)
    else:
        index += first * outputs
    kernels.maxout(memory, y + first * outputs * size, index, p.m * outputs, pieces)


cdef int multiply_maxout(const fa_kernels *kernels, fa_product *p, char *y, uint8_t *index, Py_ssize_t pieces,
                         Py_ssize_t size, int team) noexcept nogil:
    """y = the largest of each `pieces` neighbours of the product's columns; -1 when there is no memory for it."""
    if p.m == 0 or p.n == 0:
        return 0
    cdef Py_ssize_t i, blocks = (p.m + MAXOUT_ROWS - 1) // MAXOUT_ROWS
    if team > 1:
        blocks = min((blocks + team - 1) // team * team, p.m)
    cdef fa_product larger = p[0], smaller = p[0]
    larger.m, smaller.m = (p.m + blocks - 1) // blocks, p.m // blocks
    cdef size_t bytes = lines(larger.m * p.n * size) + (0 if index != NULL else lines(larger.m * (p.n // pieces)))
    bytes += max(serial_workspace(kernels, &larger), serial_workspace(kernels, &smaller))
    cdef char *memory = <char *>fa_take(FA_PACKED, team * bytes)
    if memory == NULL:
        return -1
    if team == 1:
        for i in range(blocks):
            maxout_block(kernels, p, i, blocks, y, index, pieces, size, memory)
    else:
        for i in prange(blocks, num_threads=team, schedule="static"):
            maxout_block(kernels, p, i, blocks, y, index, pieces, size, memory + threadid() * bytes)
    fa_give(FA_PACKED, memory)
    return 0


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
    return threads() if work(p) >= least else 1


cdef inline void set_epilogue(fa_product *p, const fa_kernels *kernels, int number, object bias, object slope,
                              double a, double b) noexcept:
    """The epilogue of an activation; a number below 0 is the identity, which without bias needs none."""
    p.bias = data(bias)
    p.slope = data(slope)
    p.slope_row = 0 if slope is None else p.n
    p.parameters = fa_parameters(a, b)
    if number >= 0:
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


cdef object run(const fa_kernels *kernels, fa_product *p):
    """The product by as many threads as it is worth."""
    cdef int team = product_team(p), failed
    if team == 1 and work(p) <= KEEP_GIL_PRODUCT:
        failed = multiply(kernels, p, 1)
    else:
        with nogil:
            failed = multiply(kernels, p, team)
    if failed:
        raise MemoryError()


def dense(int number, cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray y, slope, double a, double b):
    """y = f(x @ weight + bias), and the slope beside it when an array for it is given.

    x and weight are aligned native matrices of one dtype with any strides; bias, y and slope are plain. A number below
    0 is the identity.
    """
    cdef const fa_kernels *kernels = table.kernels[0 if cnp.PyArray_TYPE(y) == cnp.NPY_FLOAT32 else 1]
    cdef fa_product p
    set_operands(&p, x, weight)
    p.c = data(y)
    set_epilogue(&p, kernels, number, bias, slope, a, b)
    run(kernels, &p)


def dense_learned(int number, cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray y, z, cnp.ndarray parameter,
                  bint per_column):
    """y = f(z; parameter) with z = x @ weight + bias, which is stored too when an array for it is given."""
    cdef const fa_kernels *kernels = table.kernels[0 if cnp.PyArray_TYPE(y) == cnp.NPY_FLOAT32 else 1]
    cdef fa_product p
    set_operands(&p, x, weight)
    p.c = data(y if z is None else z)
    set_epilogue(&p, kernels, -1, bias, None, 0, 0)
    p.learned = kernels.learned[number].forward
    p.weight, p.per_column = data(parameter), per_column
    p.y, p.y_row = NULL if z is None else data(y), p.n
    run(kernels, &p)


def dense_maxout(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray y, index, Py_ssize_t pieces):
    """y = the largest of each `pieces` neighbours of x @ weight + bias; which one goes to index, unless it is None."""
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(y)
    cdef const fa_kernels *kernels = table.kernels[0 if size == 4 else 1]
    cdef fa_product p
    cdef int team, failed
    cdef char *py = data(y)
    cdef uint8_t *pi = <uint8_t *>data(index)
    set_operands(&p, x, weight)
    set_epilogue(&p, kernels, -1, bias, None, 0, 0)
    team = product_team(&p)
    with nogil:
        failed = multiply_maxout(kernels, &p, py, pi, pieces, size, team)
    if failed:
        raise MemoryError()


def try_dense(int number, object x, object weight, object bias, object out, double a, double b):
    """y = f(x @ weight + bias) for plain arrays and x with one or two dimensions; None otherwise, nothing written."""
    cdef int dtype = dtype_of(x), i, ndim
    if dtype < 0 or dtype != dtype_of(weight) or not use_native():
        return None
    cdef cnp.ndarray source = <cnp.ndarray>x, w = <cnp.ndarray>weight
    cdef cnp.ndarray result
    cdef cnp.npy_intp shape[2]
    ndim = cnp.PyArray_NDIM(source)
    if ndim < 1 or ndim > 2 or cnp.PyArray_NDIM(w) != 2 or w.shape[0] != source.shape[ndim - 1]:
        return None
    if bias is not None and (dtype != dtype_of(bias) or cnp.PyArray_NDIM(<cnp.ndarray>bias) != 1
                             or (<cnp.ndarray>bias).shape[0] != w.shape[1]):
        return None
    shape[0] = source.shape[0]
    shape[ndim - 1] = w.shape[1]
    if out is None:
        result = <cnp.ndarray>cnp.PyArray_EMPTY(ndim, shape, cnp.PyArray_TYPE(source), 0)
    else:
        if dtype != dtype_of(out):
            return None
        result = <cnp.ndarray>out
        if cnp.PyArray_NDIM(result) != ndim or not cnp.PyArray_ISCARRAY(result):
            return None
        for i in range(ndim):
            if result.shape[i] != shape[i]:
                return None
        if (not (disjoint(result, source) and disjoint(result, w))
                or (bias is not None and not disjoint(result, <cnp.ndarray>bias))):
            return None
    cdef const fa_kernels *kernels = table.kernels[dtype]
    cdef fa_product p
    set_operands(&p, source, w)
    p.c = data(result)
    set_epilogue(&p, kernels, number, bias, None, a, b)
    run(kernels, &p)
    return result


cdef struct activation_gradient:
    # dz = grad * f' with its column sums (the bias gradient) and the gradient of a learned parameter, from one pass
    # over grad and what was saved. One of the three kernels is set, and makes a block of ROWS rows; the blocks' sums
    # are added in order.
    fa_bias_backward *elementwise
    fa_learned_backward *learned
    fa_maxout_backward *maxout
    fa_bias_backward *sum_columns
    fa_add_rows *add_rows
    const char *grad
    const char *saved
    char *dz
    char *sums
    char *dparameter
    const char *parameter
    char *parts
    fa_parameters parameters
    Py_ssize_t rows, columns, pieces, width, size
    bint per_column, add_to_sums, add_to_dparameter


cdef inline Py_ssize_t blocks_of(const activation_gradient *s) noexcept nogil:
    return max((s.rows + ROWS - 1) // ROWS, <Py_ssize_t>1)


cdef inline char *sum_parts(const activation_gradient *s) noexcept nogil:
    """Where the blocks' column sums go; behind what they are added to, if anything."""
    return s.parts + (s.columns * s.size if s.add_to_sums else 0)


cdef inline char *parameter_parts(const activation_gradient *s) noexcept nogil:
    return s.parts + ((blocks_of(s) + 1) * s.columns + (s.width if s.add_to_dparameter else 0)) * s.size


cdef inline size_t part_bytes(const activation_gradient *s) noexcept nogil:
    """Workspace for the blocks' sums; one block that adds to nothing writes where the result belongs."""
    if blocks_of(s) == 1 and not s.add_to_sums and not s.add_to_dparameter:
        return 0
    return (blocks_of(s) + 1) * (s.columns + s.width) * s.size


cdef void gradient_of_block(const activation_gradient *s, Py_ssize_t i) noexcept nogil:
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
    s.sum_columns(dz, dz, NULL, sums, rows, s.columns, s.parameters)


cdef void through_activation(const activation_gradient *s, int team) noexcept nogil:
    cdef Py_ssize_t i, blocks = blocks_of(s)
    if s.add_to_sums:
        memcpy(s.parts, s.sums, s.columns * s.size)
    if s.add_to_dparameter:
        memcpy(parameter_parts(s) - s.width * s.size, s.dparameter, s.width * s.size)
    if team == 1:
        for i in range(blocks):
            gradient_of_block(s, i)
    else:
        for i in prange(blocks, num_threads=team, schedule="static"):
            gradient_of_block(s, i)
    if s.parts == NULL:
        return
    s.add_rows(s.parts, s.sums, blocks + s.add_to_sums, s.columns)
    if s.width > 0:
        s.add_rows(parameter_parts(s) - (s.width * s.size if s.add_to_dparameter else 0), s.dparameter,
                   blocks + s.add_to_dparameter, s.width)


cdef object backward(activation_gradient *s, bint keep_dz, cnp.ndarray grad, object saved, object dz, cnp.ndarray x,
                     cnp.ndarray weight, object dx, cnp.ndarray dw, cnp.ndarray db, bint add_to_dw, bint add_to_db):
    """All gradients; the caller has filled in the kernel and what belongs to it, and says whether there is a dz."""
    cdef int dtype = 0 if cnp.PyArray_TYPE(grad) == cnp.NPY_FLOAT32 else 1
    cdef const fa_kernels *kernels = table.kernels[dtype]
    cdef Py_ssize_t inputs = weight.shape[0], outputs = weight.shape[1], size = cnp.PyArray_ITEMSIZE(grad)
    cdef Py_ssize_t rows = 1 if cnp.PyArray_NDIM(grad) == 1 else grad.shape[0]
    cdef fa_product w, d
    cdef int w_team, d_team, failed = 0
    cdef int z_team = row_team(rows * outputs)
    cdef char *memory = NULL
    cdef size_t bytes_dz = 0, bytes_parts
    s.rows, s.columns, s.size, s.add_to_sums = rows, outputs, size, add_to_db
    s.grad, s.saved, s.dz, s.sums = data(grad), data(grad if saved is None else saved), data(dz), data(db)
    s.sum_columns, s.add_rows = kernels.sum_columns, kernels.add_rows
    if keep_dz and dz is None:
        bytes_dz = lines(rows * outputs * size)
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

    memset(&w, 0, sizeof(fa_product))
    w.c, w.c_row, w.k, w.accumulate = data(dw), outputs, rows, add_to_dw
    # Few columns would leave most lanes empty: there the inputs lie across the vectors and dw is stored transposed.
    # Two full vectors make a tile of their own. bench/dense.py measures it.
    # Either way each element is one chain over the batch, so the bits are the same; one column always goes this way,
    # because the rule for products of one column is another.
    w.swapped = outputs == 1 or (outputs * size < SWAPPED_BYTES and outputs != 2 * kernels.lanes)
    if w.swapped:
        matrix(x, &w.b, &w.b_row, &w.b_column)
        w.a, w.a_row, w.a_column, w.m, w.n = pz, 1, outputs, outputs, inputs
        if outputs == 1 and inputs > 1:
            w.swapped, w.c_row = 0, inputs
    else:
        matrix(x, &w.a, &w.a_column, &w.a_row)
        w.b, w.b_row, w.b_column, w.m, w.n = pz, outputs, 1, inputs, outputs
    w_team = product_team(&w)

    memset(&d, 0, sizeof(fa_product))
    d.m, d.n, d.k = rows, inputs, outputs
    d.a, d.a_row, d.a_column = pz, outputs, 1
    matrix(weight, &d.b, &d.b_column, &d.b_row)
    d.c, d.c_row = data(dx), inputs
    d_team = product_team(&d)

    if z_team == 1 and w_team == 1 and d_team == 1 and work(&w) <= KEEP_GIL_PRODUCT:
        failed = three_steps(kernels, s, &w, &d, 1, 1, 1)
    else:
        with nogil:
            failed = three_steps(kernels, s, &w, &d, z_team, w_team, d_team)
    fa_give(FA_GRADIENT, memory)
    if failed:
        raise MemoryError()
    return None


cdef int three_steps(const fa_kernels *kernels, const activation_gradient *s, fa_product *w, fa_product *d, int z_team,
                     int w_team, int d_team) noexcept nogil:
    cdef int failed
    through_activation(s, z_team)
    if w.m * w.n > 0 and w.m * w.n <= SPLIT_ELEMENTS and w.k > SPLIT_ROWS:
        failed = multiply_in_parts(kernels, w, s.size, w_team)
    else:
        failed = multiply(kernels, w, w_team)
    if failed == 0 and d.c != NULL:
        failed = multiply(kernels, d, d_team)
    return failed


cdef void elementwise_gradient(activation_gradient *s, int number, int dtype, double a, double b) noexcept:
    """The step of an elementwise activation; a number below 0 says that saved holds the slope itself (blocking: a != 0)."""
    memset(s, 0, sizeof(activation_gradient))
    s.parameters = fa_parameters(a, b)
    s.pieces = 1
    if number >= 0:
        s.elementwise = table.kernels[dtype].activations[number].bias_backward
    elif a != 0:
        s.elementwise = table.kernels[dtype].blocking_slope_backward
    else:
        s.elementwise = table.kernels[dtype].slope_backward


def dense_backward(int number, cnp.ndarray grad, saved, dz, cnp.ndarray x, cnp.ndarray weight, dx, cnp.ndarray dw,
                   cnp.ndarray db, bint add_to_dw, bint add_to_db, double a, double b):
    """dz = grad * f'; db (+)= its column sums; dw (+)= x.T @ dz; dx = dz @ weight.T unless dx is None.

    A number below 0 says that saved holds the slope itself, and a != 0 that the activation is piecewise linear. saved
    is None for the identity, where grad is dz; else dz may be grad, saved, or None for a workspace. x and weight are
    aligned native matrices with any strides, the others plain.
    """
    cdef activation_gradient s
    elementwise_gradient(&s, number, 0 if cnp.PyArray_TYPE(grad) == cnp.NPY_FLOAT32 else 1, a, b)
    backward(&s, saved is not None, grad, saved, dz, x, weight, dx, dw, db, add_to_dw, add_to_db)


def dense_learned_backward(int number, cnp.ndarray grad, cnp.ndarray z, dz, cnp.ndarray x, cnp.ndarray weight, dx,
                           cnp.ndarray dw, cnp.ndarray db, cnp.ndarray parameter, bint per_column,
                           cnp.ndarray dparameter, bint add_to_dw, bint add_to_db, bint add_to_dparameter):
    """The same for an activation with a learned parameter, and dparameter (+)= its gradient; dz may be grad or z."""
    cdef activation_gradient s
    elementwise_gradient(&s, 0, 0, 0, 0)
    s.elementwise = NULL
    s.learned = table.kernels[0 if cnp.PyArray_TYPE(grad) == cnp.NPY_FLOAT32 else 1].learned[number].backward
    s.parameter, s.per_column, s.width = data(parameter), per_column, elements(dparameter)
    s.dparameter, s.add_to_dparameter = data(dparameter), add_to_dparameter
    backward(&s, True, grad, z, dz, x, weight, dx, dw, db, add_to_dw, add_to_db)


def dense_maxout_backward(cnp.ndarray grad, cnp.ndarray index, dz, cnp.ndarray x, cnp.ndarray weight, dx,
                          cnp.ndarray dw, cnp.ndarray db, Py_ssize_t pieces, bint add_to_dw, bint add_to_db):
    """The same for maxout: dz (as wide as the product, or None for a workspace) has grad where the index points."""
    cdef activation_gradient s
    elementwise_gradient(&s, 0, 0, 0, 0)
    s.elementwise = NULL
    s.maxout = table.kernels[0 if cnp.PyArray_TYPE(grad) == cnp.NPY_FLOAT32 else 1].maxout_backward
    s.pieces = pieces
    backward(&s, True, grad, index, dz, x, weight, dx, dw, db, add_to_dw, add_to_db)


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
            or (saved is not None and (not isinstance(saved, cnp.ndarray) or not same_layout(g, <cnp.ndarray>saved)))
            or (overwrite_grad and not cnp.PyArray_ISWRITEABLE(g))):
        return None
    cdef cnp.npy_intp columns = w.shape[1]
    if need_dx:
        dx = given_or_new(out_input, source)
        if dx is None:
            return None
    dw = given_or_new(out_weight, w)
    if dw is None:
        return None
    if out_bias is None:
        db = <cnp.ndarray>cnp.PyArray_EMPTY(1, &columns, cnp.PyArray_TYPE(g), 0)
    else:
        if dtype != dtype_of(out_bias):
            return None
        db = <cnp.ndarray>out_bias
        if cnp.PyArray_NDIM(db) != 1 or db.shape[0] != columns or not cnp.PyArray_ISCARRAY(db):
            return None
    for out in (out_input, out_weight, out_bias):
        if out is not None:
            if not (disjoint(out, g) and disjoint(out, source) and disjoint(out, w)):
                return None
            if saved is not None and not disjoint(out, <cnp.ndarray>saved):
                return None
    if ((out_input is not None and out_weight is not None and not disjoint(dx, dw))
            or (out_input is not None and out_bias is not None and not disjoint(dx, db))
            or (out_weight is not None and out_bias is not None and not disjoint(dw, db))):
        return None
    cdef activation_gradient s
    elementwise_gradient(&s, number, dtype, a, b)
    backward(&s, saved is not None, g, saved, g if overwrite_grad and saved is not None else None, source, w, dx, dw,
             db, accumulate, accumulate and out_bias is not None)
    return dx, dw, db
