# Dense layers: products with an epilogue, and backward. Part of _core.pyx.

cdef inline double work(const fa_product *p) noexcept nogil:
    return <double>p.m * <double>p.n * <double>p.k


cdef int multiply(const fa_kernels *kernels, fa_product *p, int team) noexcept nogil:
    """Run a product whose operands, strides and epilogue are filled in; -1 when there is no memory for it."""
    cdef Py_ssize_t i, tasks
    cdef char *shared = NULL
    cdef char *local
    if p.m == 0 or p.n == 0:
        return 0
    kernels.product_plan(p, team)
    cdef size_t shared_bytes = (p.shared_bytes + 63) // 64 * 64, task_bytes = (p.task_bytes + 63) // 64 * 64
    tasks = p.row_tasks * p.column_tasks
    if shared_bytes + task_bytes > 0:
        shared = <char *>fa_take(FA_PACKED, shared_bytes + team * task_bytes)
        if shared == NULL:
            return -1
    local = shared + shared_bytes
    if team == 1:
        for i in range(p.pack_tasks):
            kernels.product_pack(p, i, shared)
        for i in range(tasks):
            kernels.product_task(p, i, shared, local)
    else:
        if p.pack_tasks > 0:
            for i in prange(p.pack_tasks, num_threads=team, schedule="static"):
                kernels.product_pack(p, i, shared)
        for i in prange(tasks, num_threads=team, schedule="dynamic"):
            kernels.product_task(p, i, shared, local + threadid() * task_bytes)
    fa_give(FA_PACKED, shared)
    return 0


cdef inline void matrix(cnp.ndarray array, const void **start, Py_ssize_t *row, Py_ssize_t *column) noexcept:
    """Where a matrix begins, and its strides in elements; one dimension is a row."""
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(array)
    cdef int ndim = cnp.PyArray_NDIM(array)
    start[0] = cnp.PyArray_DATA(array)
    row[0] = cnp.PyArray_STRIDE(array, 0) // size if ndim == 2 else 0
    column[0] = cnp.PyArray_STRIDE(array, ndim - 1) // size


cdef inline int product_team(const fa_product *p) except -1:
    return threads() if work(p) >= product_threshold else 1


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


def dense(int number, cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray y, slope, double a, double b):
    """y = f(x @ weight + bias), and the slope beside it when an array for it is given.

    x and weight are aligned native matrices of one dtype with any strides; bias, y and slope are plain. A number below
    0 is the identity.
    """
    cdef const fa_kernels *kernels = table.kernels[0 if cnp.PyArray_TYPE(y) == cnp.NPY_FLOAT32 else 1]
    cdef fa_product p
    cdef int team, failed
    p.m, p.k, p.n = x.shape[0], x.shape[1], weight.shape[1]
    matrix(x, &p.a, &p.a_row, &p.a_column)
    matrix(weight, &p.b, &p.b_row, &p.b_column)
    p.c, p.c_row = data(y), p.n
    p.accumulate = p.swapped = 0
    set_epilogue(&p, kernels, number, bias, slope, a, b)
    team = product_team(&p)
    if team == 1 and work(&p) <= KEEP_GIL_PRODUCT:
        failed = multiply(kernels, &p, 1)
    else:
        with nogil:
            failed = multiply(kernels, &p, team)
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
    cdef fa_product p
    p.n = w.shape[1]
    if bias is not None and (dtype != dtype_of(bias) or cnp.PyArray_NDIM(<cnp.ndarray>bias) != 1
                             or (<cnp.ndarray>bias).shape[0] != p.n):
        return None
    shape[0] = source.shape[0]
    shape[ndim - 1] = p.n
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
        if touches(result, source) or touches(result, w) or (bias is not None and touches(result, <cnp.ndarray>bias)):
            return None
    p.m, p.k = source.shape[0] if ndim == 2 else 1, w.shape[0]
    matrix(source, &p.a, &p.a_row, &p.a_column)
    matrix(w, &p.b, &p.b_row, &p.b_column)
    p.c, p.c_row = data(result), p.n
    p.accumulate = p.swapped = 0
    cdef const fa_kernels *kernels = table.kernels[dtype]
    set_epilogue(&p, kernels, number, bias, None, a, b)
    cdef int team = product_team(&p), failed
    if team == 1 and work(&p) <= KEEP_GIL_PRODUCT:
        failed = multiply(kernels, &p, 1)
    else:
        with nogil:
            failed = multiply(kernels, &p, team)
    if failed:
        raise MemoryError()
    return result


cdef inline bint touches(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether the memory of two contiguous arrays overlaps."""
    cdef const char *p = <const char *>cnp.PyArray_DATA(a)
    cdef const char *q = <const char *>cnp.PyArray_DATA(b)
    return p < q + cnp.PyArray_NBYTES(b) and q < p + cnp.PyArray_NBYTES(a)


cdef void through_activation(const fa_kernels *kernels, int number, char *grad, char *saved, char *dz, char *sums,
                             char *parts, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t size, bint accumulate,
                             fa_parameters p, int team) noexcept nogil:
    """dz = grad * f' and sums (+)= the column sums of dz: blocks of rows, added in order.

    parts: workspace of a row for each block and one more.
    """
    cdef Py_ssize_t i, stride = columns * size, blocks = (rows + ROWS - 1) // ROWS, first = 1 if accumulate else 0
    cdef fa_bias_backward *kernel = kernels.slope_backward
    if number >= 0:
        kernel = kernels.activations[number].bias_backward
    if blocks <= 1 and not accumulate:
        kernel(grad, saved, dz, sums, rows, columns, p)
        return
    if accumulate:
        memcpy(parts, sums, stride)
    if team == 1:
        for i in range(blocks):
            kernel(grad + i * ROWS * stride, saved + i * ROWS * stride, at(dz, i * ROWS * stride),
                   parts + (first + i) * stride, min(<Py_ssize_t>ROWS, rows - i * ROWS), columns, p)
    else:
        for i in prange(blocks, num_threads=team, schedule="static"):
            kernel(grad + i * ROWS * stride, saved + i * ROWS * stride, at(dz, i * ROWS * stride),
                   parts + (first + i) * stride, min(<Py_ssize_t>ROWS, rows - i * ROWS), columns, p)
    kernels.add_rows(parts, sums, first + blocks, columns)


cdef object backward(int number, cnp.ndarray grad, object saved, object dz, cnp.ndarray x, cnp.ndarray weight,
                     object dx, cnp.ndarray dw, cnp.ndarray db, bint add_to_dw, bint add_to_db, double a, double b):
    cdef int dtype = 0 if cnp.PyArray_TYPE(grad) == cnp.NPY_FLOAT32 else 1
    cdef const fa_kernels *kernels = table.kernels[dtype]
    cdef Py_ssize_t inputs = weight.shape[0], outputs = weight.shape[1], size = cnp.PyArray_ITEMSIZE(grad)
    cdef Py_ssize_t rows = 1 if cnp.PyArray_NDIM(grad) == 1 else grad.shape[0]
    cdef fa_product w, d
    cdef int w_team, d_team, failed = 0
    cdef int z_team = row_team(rows * outputs)
    cdef char *pg = data(grad)
    cdef char *ps = pg if saved is None else data(saved)
    cdef char *pd = data(dz)
    cdef char *pb = data(db)
    cdef char *memory = NULL
    cdef char *parts = NULL
    cdef fa_parameters parameters = fa_parameters(a, b)
    cdef size_t bytes_dz = 0, bytes_parts = 0
    if saved is not None and dz is None:
        bytes_dz = (rows * outputs * size + 63) // 64 * 64
    if rows > ROWS or add_to_db:
        bytes_parts = (rows // ROWS + 2) * outputs * size
    if bytes_dz + bytes_parts > 0:
        memory = <char *>fa_take(FA_GRADIENT, bytes_dz + bytes_parts)
        if memory == NULL:
            raise MemoryError()
        parts = memory + bytes_dz
        if bytes_dz > 0:
            pd = memory
    cdef char *pz = pg if pd == NULL else pd

    w.c, w.c_row, w.k, w.accumulate = data(dw), outputs, rows, add_to_dw
    w.epilogue, w.bias, w.slope, w.slope_row, w.parameters = NULL, NULL, NULL, 0, parameters
    # Few columns would leave most lanes empty: there the inputs lie across the vectors and dw is stored transposed.
    # Either way each element is one chain over the batch, so the bits are the same; one column always goes this way,
    # because the rule for products of one column is another.
    w.swapped = outputs == 1 or (outputs < 2 * kernels.lanes and outputs % kernels.lanes != 0)
    if w.swapped:
        matrix(x, &w.b, &w.b_row, &w.b_column)
        w.a, w.a_row, w.a_column, w.m, w.n = pz, 1, outputs, outputs, inputs
        if outputs == 1 and inputs > 1:
            w.swapped, w.c_row = 0, inputs
    else:
        matrix(x, &w.a, &w.a_column, &w.a_row)
        w.b, w.b_row, w.b_column, w.m, w.n = pz, outputs, 1, inputs, outputs
    w_team = product_team(&w)

    d.m, d.n, d.k, d.accumulate, d.swapped = rows, inputs, outputs, 0, 0
    d.epilogue, d.bias, d.slope, d.slope_row, d.parameters = NULL, NULL, NULL, 0, parameters
    d.a, d.a_row, d.a_column = pz, outputs, 1
    matrix(weight, &d.b, &d.b_column, &d.b_row)
    d.c, d.c_row = data(dx), inputs
    d_team = product_team(&d)

    if z_team == 1 and w_team == 1 and d_team == 1 and work(&w) <= KEEP_GIL_PRODUCT:
        failed = three_steps(kernels, number, pg, ps, pd, pb, parts, &w, &d, add_to_db, 1, 1, 1)
    else:
        with nogil:
            failed = three_steps(kernels, number, pg, ps, pd, pb, parts, &w, &d, add_to_db, z_team, w_team, d_team)
    fa_give(FA_GRADIENT, memory)
    if failed:
        raise MemoryError()
    return None


cdef int three_steps(const fa_kernels *kernels, int number, char *grad, char *saved, char *dz, char *sums, char *parts,
                     fa_product *w, fa_product *d, bint add_to_db, int z_team, int w_team, int d_team) noexcept nogil:
    cdef Py_ssize_t size = 4 if kernels == table.kernels[0] else 8
    through_activation(kernels, number, grad, saved, dz, sums, parts, d.m, d.k, size, add_to_db, d.parameters, z_team)
    if multiply(kernels, w, w_team) != 0:
        return -1
    return multiply(kernels, d, d_team) if d.c != NULL else 0


def dense_backward(int number, cnp.ndarray grad, saved, dz, cnp.ndarray x, cnp.ndarray weight, dx, cnp.ndarray dw,
                   cnp.ndarray db, bint add_to_dw, bint add_to_db, double a, double b):
    """dz = grad * f'; db (+)= its column sums; dw (+)= x.T @ dz; dx = dz @ weight.T unless dx is None.

    A number below 0 says that saved holds the slope itself, and a != 0 that the activation is piecewise linear. saved
    is None for the identity, where grad is dz; else dz may be grad, saved, or None for a workspace. x and weight are
    aligned native matrices with any strides, the others plain.
    """
    backward(number, grad, saved, dz, x, weight, dx, dw, db, add_to_dw, add_to_db, a, b)


cdef inline cnp.ndarray given_or_new(object out, cnp.ndarray like):
    """The plain array out where it is like another, a new one where it is None; None where it needs care."""
    if out is None:
        return <cnp.ndarray>PyArray_NewLikeArray(like, cnp.NPY_CORDER, NULL, 0)
    if dtype_of(out) < 0 or not cnp.PyArray_ISCARRAY(<cnp.ndarray>out) or not same_layout(like, <cnp.ndarray>out):
        return None
    return <cnp.ndarray>out


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
            if touches(out, g) or touches(out, source) or touches(out, w):
                return None
            if saved is not None and touches(out, <cnp.ndarray>saved):
                return None
    if ((out_input is not None and out_weight is not None and touches(dx, dw))
            or (out_input is not None and out_bias is not None and touches(dx, db))
            or (out_weight is not None and out_bias is not None and touches(dw, db))):
        return None
    backward(number, g, saved, g if overwrite_grad and saved is not None else None, source, w, dx, dw, db, accumulate,
             accumulate and out_bias is not None, a, b)
    return dx, dw, db
