# Layer and batch normalisation, and dropout. Part of _core.pyx.
#
# Arrays are C-contiguous, aligned, native, of one dtype and of matching shapes; weight, bias and what need not be
# computed may be None. Sums over rows go in blocks of ROWS rows that are added in order.

cdef struct norm_call:
    fa_norm norm
    const fa_kernels *kernels
    fa_norm_forward *forward
    fa_norm_sums *sums
    char *dweight
    char *dbias
    void *parts  # the blocks' sums: of dweight and then of dbias, or of the batch's moments
    char *running_mean
    char *running_variance
    double factor
    Py_ssize_t rows, columns, size, blocks
    Py_ssize_t step  # of kernels that treat each row alone
    Py_ssize_t followed  # rows that the statistics are of, or 0 where they are given
    int team


cdef norm_call norm_of(cnp.ndarray x, object grad, object weight, object bias, object y, object mean, object rest,
                       object rstd, double eps) except *:
    cdef norm_call c
    memset(&c, 0, sizeof(norm_call))
    c.kernels, c.rows, c.columns, c.size = kernels_of(x), x.shape[0], x.shape[1], cnp.PyArray_ITEMSIZE(x)
    c.team = team_for(c.rows * c.columns, row_threshold)
    c.blocks, c.step = (c.rows + ROWS - 1) // ROWS, blocks_or_all(c.rows, c.team, ROWS)
    c.norm.x, c.norm.grad, c.norm.weight, c.norm.bias, c.norm.y = data(x), data(grad), data(weight), data(bias), data(y)
    c.norm.mean, c.norm.rest, c.norm.rstd = data(mean), data(rest), data(rstd)
    c.norm.columns, c.norm.eps = c.columns, eps
    return c


cdef int take_parts(norm_call *c, size_t bytes) except -1:
    c.parts = fa_take(FA_GRADIENT, bytes)
    if c.parts == NULL:
        raise MemoryError()
    return 0


cdef void norm_rows_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    (<const norm_call *>context).forward(&(<const norm_call *>context).norm, first, n)


cdef void norm_sums_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const norm_call *c = <const norm_call *>context
    cdef char *dweight = c.dweight
    cdef char *dbias = c.dbias
    if c.parts != NULL:
        dweight = <char *>c.parts + first // ROWS * c.columns * c.size
        dbias = dweight + c.blocks * c.columns * c.size
    c.sums(&c.norm, first, n, dweight, dbias)


cdef void norm_sums(const norm_call *c) noexcept nogil:
    spread(norm_sums_task, c, c.rows, ROWS, c.team)
    if c.parts != NULL:
        c.kernels.add_rows(c.parts, c.dweight, c.blocks, c.columns)
        c.kernels.add_rows(<char *>c.parts + c.blocks * c.columns * c.size, c.dbias, c.blocks, c.columns)


cdef int norm_gradients(task steps, norm_call *c, object dweight, object dbias) except -1:
    c.dweight, c.dbias = data(dweight), data(dbias)
    if dweight is not None and c.rows > ROWS:
        take_parts(c, 2 * c.blocks * c.columns * c.size)
    perform_steps(steps, c, c.team)
    fa_give(FA_GRADIENT, c.parts)
    return 0


def layer_norm(cnp.ndarray x, weight, bias, cnp.ndarray y, mean, rest, rstd, double eps):
    """y = (x - mean - rest) * rstd * weight + bias in each row; mean, rest and rstd (or none) are kept for backward."""
    cdef norm_call c = norm_of(x, None, weight, bias, y, mean, rest, rstd, eps)
    c.forward = c.kernels.layer_norm
    if c.columns > 0:
        perform(norm_rows_task, &c, c.rows, c.step, c.team)


cdef void layer_norm_backward_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    norm_sums(<const norm_call *>context)


def layer_norm_backward(cnp.ndarray grad, cnp.ndarray x, cnp.ndarray mean, cnp.ndarray rest, cnp.ndarray rstd, weight,
                        dx, dweight, dbias):
    """dx (which may be grad), and dweight and dbias: both or none."""
    cdef norm_call c = norm_of(x, grad, weight, None, dx, mean, rest, rstd, 0)
    c.sums = c.kernels.layer_norm_backward
    if c.rows > 0 and c.columns > 0:
        norm_gradients(layer_norm_backward_task, &c, dweight, dbias)
    elif dweight is not None:
        dweight[...] = 0
        dbias[...] = 0


cdef void batch_moments_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const norm_call *c = <const norm_call *>context
    c.kernels.batch_moments(&c.norm, first, n, <double *>c.parts + 3 * (first // ROWS) * c.columns)


cdef void batch_norm_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const norm_call *c = <const norm_call *>context
    spread(batch_moments_task, c, c.rows, ROWS, c.team)
    c.kernels.batch_combine(&c.norm, <double *>c.parts, c.rows, ROWS, c.running_mean, c.running_variance, c.factor)
    spread(norm_rows_task, c, c.rows, c.step, c.team)


def batch_norm(cnp.ndarray x, weight, bias, cnp.ndarray y, cnp.ndarray mean, cnp.ndarray rest, cnp.ndarray rstd,
               cnp.ndarray running_mean, cnp.ndarray running_variance, double eps, double factor):
    """y from the batch's mean, rest and rstd, which are stored, and the running statistics moved towards them.

    At least two rows.
    """
    cdef norm_call c = norm_of(x, None, weight, bias, y, mean, rest, rstd, eps)
    c.forward, c.factor = c.kernels.batch_norm, factor
    c.running_mean, c.running_variance = data(running_mean), data(running_variance)
    take_parts(&c, 3 * c.blocks * c.columns * sizeof(double))
    perform_steps(batch_norm_task, &c, c.team)
    fa_give(FA_GRADIENT, c.parts)


def batch_norm_inference(cnp.ndarray x, weight, bias, cnp.ndarray y, cnp.ndarray mean, cnp.ndarray variance,
                         double eps):
    """y (which may be x) from a given mean and variance."""
    cdef norm_call c = norm_of(x, None, weight, bias, y, mean, None, None, eps)
    take_parts(&c, c.columns * c.size)
    c.forward, c.norm.rstd = c.kernels.batch_norm, c.parts
    c.kernels.batch_rstd(data(variance), c.norm.rstd, c.columns, eps)
    perform(norm_rows_task, &c, c.rows, c.step, c.team)
    fa_give(FA_GRADIENT, c.parts)


cdef void batch_dx_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const norm_call *c = <const norm_call *>context
    c.kernels.batch_norm_backward(&c.norm, first, n, c.dweight, c.dbias, c.followed)


cdef void batch_norm_backward_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const norm_call *c = <const norm_call *>context
    if c.dweight != NULL:
        norm_sums(c)
    if c.norm.y != NULL:
        spread(batch_dx_task, c, c.rows, c.step, c.team)


def batch_norm_backward(cnp.ndarray grad, cnp.ndarray x, cnp.ndarray mean, rest, cnp.ndarray rstd, weight, dx, dweight,
                        dbias, bint given):
    """dx (which may be grad), dweight and dbias (both or, where mean and rstd are given, none). At least one row.

    Where they are given, the mean may be without rest.
    """
    cdef norm_call c = norm_of(x, grad, weight, None, dx, mean, rest, rstd, 0)
    c.followed = 0 if given else c.rows
    c.sums = c.kernels.batch_norm_sums
    norm_gradients(batch_norm_backward_task, &c, dweight, dbias)


cdef struct dropout_call:
    fa_dropout dropout
    fa_dropout_kernel *kernel
    const char *x
    char *y
    Py_ssize_t size


cdef void dropout_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const dropout_call *c = <const dropout_call *>context
    c.kernel(&c.dropout, c.x + first * c.size, c.y + first * c.size, first, n)


def dropout(cnp.ndarray x, cnp.ndarray y, tuple key, uint32_t threshold, double scale, double shift, double dropped):
    """y (which may be x) = x * scale + shift, or dropped where the hash of the element's index is below threshold."""
    cdef dropout_call c
    cdef Py_ssize_t n = elements(x)
    c.dropout.key[0], c.dropout.key[1] = key
    c.dropout.threshold, c.dropout.scale, c.dropout.shift, c.dropout.dropped = threshold, scale, shift, dropped
    c.kernel, c.x, c.y, c.size = kernels_of(x).dropout, data(x), data(y), cnp.PyArray_ITEMSIZE(x)
    perform(dropout_task, &c, n, BLOCK, team_for(n, row_threshold))
