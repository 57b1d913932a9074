# Layer and batch normalisation, and dropout. Part of _core.pyx.
#
# Arrays are C-contiguous, aligned, native, of one dtype and of matching shapes; weight, bias and what is not wanted may
# be None. Sums over rows go in blocks of ROWS rows that are added in order.

cdef inline int norm_team(Py_ssize_t n) except -1:
    """Threads for n elements; 0 where giving up the GIL does not pay."""
    return sum_team(n, row_threshold)


cdef fa_norm norm_of(cnp.ndarray x, grad, weight, bias, y, mean, rstd, double eps) noexcept:
    cdef fa_norm a
    a.x, a.grad, a.weight, a.bias, a.y = data(x), data(grad), data(weight), data(bias), data(y)
    a.mean, a.rstd = data(mean), data(rstd)
    a.columns, a.eps = x.shape[1], eps
    return a


cdef void norm_rows(fa_norm_forward *kernel, const fa_norm *a, Py_ssize_t rows, int team) noexcept nogil:
    """A kernel that treats each row alone, in blocks over threads."""
    cdef Py_ssize_t i
    if team <= 1:
        kernel(a, 0, rows)
        return
    for i in prange((rows + ROWS - 1) // ROWS, num_threads=team, schedule="static"):
        kernel(a, i * ROWS, min(<Py_ssize_t>ROWS, rows - i * ROWS))


cdef void norm_sums(fa_norm_sums *kernel, fa_add_rows *add_rows, const fa_norm *a, Py_ssize_t rows, char *dweight,
                    char *dbias, char *parts, Py_ssize_t size, int team) noexcept nogil:
    """A kernel with two column sums: each block's into parts (unless there is one block), then added in order."""
    cdef Py_ssize_t i, blocks = (rows + ROWS - 1) // ROWS, stride = a.columns * size
    cdef char *second = parts + blocks * stride
    if blocks == 1 or dweight == NULL:
        parts, second, stride = dweight, dbias, 0
    if team <= 1:
        for i in range(blocks):
            kernel(a, i * ROWS, min(<Py_ssize_t>ROWS, rows - i * ROWS), at(parts, i * stride), at(second, i * stride))
    else:
        for i in prange(blocks, num_threads=team, schedule="static"):
            kernel(a, i * ROWS, min(<Py_ssize_t>ROWS, rows - i * ROWS), at(parts, i * stride), at(second, i * stride))
    if stride > 0:
        add_rows(parts, dweight, blocks, a.columns)
        add_rows(second, dbias, blocks, a.columns)


def layer_norm(cnp.ndarray x, weight, bias, cnp.ndarray y, mean, rstd, double eps):
    """y = (x - mean) * rstd * weight + bias in each row; mean and rstd (both or none) are stored for backward."""
    cdef fa_norm a = norm_of(x, None, weight, bias, y, mean, rstd, eps)
    cdef Py_ssize_t rows = x.shape[0]
    cdef int team = norm_team(rows * a.columns)
    cdef fa_norm_forward *kernel = table.kernels[dtype_of(x)].layer_norm
    if a.columns == 0:
        return
    if team == 0:
        norm_rows(kernel, &a, rows, team)
    else:
        with nogil:
            norm_rows(kernel, &a, rows, team)


def layer_norm_backward(cnp.ndarray grad, cnp.ndarray x, cnp.ndarray mean, cnp.ndarray rstd, weight, dx, dweight,
                        dbias):
    """dx (which may be grad), and dweight and dbias: both or none."""
    cdef fa_norm a = norm_of(x, grad, weight, None, dx, mean, rstd, 0)
    cdef Py_ssize_t rows = x.shape[0], size = cnp.PyArray_ITEMSIZE(x), blocks = (rows + ROWS - 1) // ROWS
    cdef int team = norm_team(rows * a.columns)
    cdef const fa_kernels *kernels = table.kernels[dtype_of(x)]
    cdef char *pw = data(dweight)
    cdef char *pb = data(dbias)
    cdef char *parts = NULL
    if rows == 0 or a.columns == 0:
        if dweight is not None:
            dweight[...] = 0
            dbias[...] = 0
        return
    if blocks > 1 and pw != NULL:
        parts = <char *>fa_take(FA_GRADIENT, 2 * blocks * a.columns * size)
        if parts == NULL:
            raise MemoryError()
    if team == 0:
        norm_sums(kernels.layer_norm_backward, kernels.add_rows, &a, rows, pw, pb, parts, size, team)
    else:
        with nogil:
            norm_sums(kernels.layer_norm_backward, kernels.add_rows, &a, rows, pw, pb, parts, size, team)
    fa_give(FA_GRADIENT, parts)


cdef void batch_statistics(const fa_kernels *kernels, const fa_norm *a, Py_ssize_t rows, double *parts,
                           char *running_mean, char *running_variance, double factor, int team) noexcept nogil:
    cdef Py_ssize_t i, blocks = (rows + ROWS - 1) // ROWS
    if team <= 1:
        for i in range(blocks):
            kernels.batch_moments(a, i * ROWS, min(<Py_ssize_t>ROWS, rows - i * ROWS), parts + 2 * i * a.columns)
    else:
        for i in prange(blocks, num_threads=team, schedule="static"):
            kernels.batch_moments(a, i * ROWS, min(<Py_ssize_t>ROWS, rows - i * ROWS), parts + 2 * i * a.columns)
    kernels.batch_combine(a, parts, rows, ROWS, running_mean, running_variance, factor)
    norm_rows(kernels.batch_norm, a, rows, team)


def batch_norm(cnp.ndarray x, weight, bias, cnp.ndarray y, cnp.ndarray mean, cnp.ndarray rstd,
               cnp.ndarray running_mean, cnp.ndarray running_variance, double eps, double factor):
    """y from the batch's own mean and rstd, which are stored, and the running statistics moved towards them.

    At least two rows.
    """
    cdef fa_norm a = norm_of(x, None, weight, bias, y, mean, rstd, eps)
    cdef Py_ssize_t rows = x.shape[0]
    cdef int team = norm_team(rows * a.columns)
    cdef const fa_kernels *kernels = table.kernels[dtype_of(x)]
    cdef char *rm = data(running_mean)
    cdef char *rv = data(running_variance)
    cdef double *parts = <double *>fa_take(FA_GRADIENT, 2 * ((rows + ROWS - 1) // ROWS) * a.columns * sizeof(double))
    if parts == NULL:
        raise MemoryError()
    if team == 0:
        batch_statistics(kernels, &a, rows, parts, rm, rv, factor, team)
    else:
        with nogil:
            batch_statistics(kernels, &a, rows, parts, rm, rv, factor, team)
    fa_give(FA_GRADIENT, parts)


def batch_norm_inference(cnp.ndarray x, weight, bias, cnp.ndarray y, cnp.ndarray mean, cnp.ndarray variance,
                         double eps):
    """y (which may be x) from a given mean and variance."""
    cdef fa_norm a = norm_of(x, None, weight, bias, y, mean, None, eps)
    cdef Py_ssize_t rows = x.shape[0]
    cdef int team = norm_team(rows * a.columns)
    cdef const fa_kernels *kernels = table.kernels[dtype_of(x)]
    a.rstd = fa_take(FA_GRADIENT, a.columns * cnp.PyArray_ITEMSIZE(x))
    if a.rstd == NULL:
        raise MemoryError()
    kernels.batch_rstd(data(variance), a.rstd, a.columns, eps)
    if team == 0:
        norm_rows(kernels.batch_norm, &a, rows, team)
    else:
        with nogil:
            norm_rows(kernels.batch_norm, &a, rows, team)
    fa_give(FA_GRADIENT, a.rstd)


cdef void batch_backward(const fa_kernels *kernels, const fa_norm *a, Py_ssize_t rows, char *dweight, char *dbias,
                         char *parts, Py_ssize_t size, int team) noexcept nogil:
    cdef Py_ssize_t i
    norm_sums(kernels.batch_norm_sums, kernels.add_rows, a, rows, dweight, dbias, parts, size, team)
    if a.y == NULL:
        return
    if team <= 1:
        kernels.batch_norm_backward(a, 0, rows, dweight, dbias, rows)
    else:
        for i in prange((rows + ROWS - 1) // ROWS, num_threads=team, schedule="static"):
            kernels.batch_norm_backward(a, i * ROWS, min(<Py_ssize_t>ROWS, rows - i * ROWS), dweight, dbias, rows)


def batch_norm_backward(cnp.ndarray grad, cnp.ndarray x, cnp.ndarray mean, cnp.ndarray rstd, weight, dx,
                        cnp.ndarray dweight, cnp.ndarray dbias):
    """dx (which may be grad), dweight and dbias. At least one row."""
    cdef fa_norm a = norm_of(x, grad, weight, None, dx, mean, rstd, 0)
    cdef Py_ssize_t rows = x.shape[0], size = cnp.PyArray_ITEMSIZE(x), blocks = (rows + ROWS - 1) // ROWS
    cdef int team = norm_team(rows * a.columns)
    cdef const fa_kernels *kernels = table.kernels[dtype_of(x)]
    cdef char *pw = data(dweight)
    cdef char *pb = data(dbias)
    cdef char *parts = NULL
    if blocks > 1:
        parts = <char *>fa_take(FA_GRADIENT, 2 * blocks * a.columns * size)
        if parts == NULL:
            raise MemoryError()
    if team == 0:
        batch_backward(kernels, &a, rows, pw, pb, parts, size, team)
    else:
        with nogil:
            batch_backward(kernels, &a, rows, pw, pb, parts, size, team)
    fa_give(FA_GRADIENT, parts)


cdef void dropout_blocks(fa_dropout_kernel *kernel, const fa_dropout *a, char *x, char *y, Py_ssize_t n,
                         Py_ssize_t size, int team) noexcept nogil:
    cdef Py_ssize_t i, blocks = (n + BLOCK - 1) // BLOCK
    if team <= 1:
        for i in range(blocks):
            kernel(a, x + i * BLOCK * size, y + i * BLOCK * size, i * BLOCK, min(<Py_ssize_t>BLOCK, n - i * BLOCK))
    else:
        for i in prange(blocks, num_threads=team, schedule="static"):
            kernel(a, x + i * BLOCK * size, y + i * BLOCK * size, i * BLOCK, min(<Py_ssize_t>BLOCK, n - i * BLOCK))


def dropout(cnp.ndarray x, cnp.ndarray y, tuple key, uint32_t threshold, double scale, double shift, double dropped):
    """y (which may be x) = x * scale + shift, or dropped where the hash of the element's index is below threshold."""
    cdef fa_dropout a
    a.key[0], a.key[1] = key
    a.threshold, a.scale, a.shift, a.dropped = threshold, scale, shift, dropped
    cdef Py_ssize_t n = elements(x), size = cnp.PyArray_ITEMSIZE(x)
    cdef int team = norm_team(n)
    cdef fa_dropout_kernel *kernel = table.kernels[dtype_of(x)].dropout
    cdef char *px = data(x)
    cdef char *py = data(y)
    if team == 0:
        dropout_blocks(kernel, &a, px, py, n, size, team)
    else:
        with nogil:
            dropout_blocks(kernel, &a, px, py, n, size, team)
