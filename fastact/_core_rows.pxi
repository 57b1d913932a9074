# Functions of rows, learned activations, maxout and the masked ReLU. Part of _core.pyx.

cdef inline Py_ssize_t last(cnp.ndarray a) noexcept:
    """Length of the last axis."""
    return cnp.PyArray_DIMS(a)[cnp.PyArray_NDIM(a) - 1]


cdef inline Py_ssize_t rows_per_block(Py_ssize_t columns) noexcept nogil:
    """Rows that make a block of about BLOCK elements; a multiple of the most lanes a vector has."""
    return max(BLOCK // columns, <Py_ssize_t>1) if columns > 512 else (BLOCK // columns + 15) & ~15


def try_rows(int number, object x, object out):
    """A function of each row (last axis) for the plain case; None otherwise, with nothing written."""
    cdef int dtype = dtype_of(x), team
    if dtype < 0 or not use_native():
        return None
    cdef cnp.ndarray source = <cnp.ndarray>x
    cdef cnp.ndarray result
    if cnp.PyArray_NDIM(source) == 0 or not cnp.PyArray_ISCARRAY_RO(source):
        return None
    if out is None:
        result = <cnp.ndarray>PyArray_NewLikeArray(source, cnp.NPY_CORDER, NULL, 0)
    elif not isinstance(out, cnp.ndarray):
        return None
    else:
        result = <cnp.ndarray>out
        if not same_layout(source, result) or not may_write(result, source):
            return None
    cdef Py_ssize_t n = cnp.PyArray_SIZE(source), columns = last(source), size = cnp.PyArray_ITEMSIZE(source)
    if n == 0:
        return result
    cdef Py_ssize_t rows = n // columns, step = rows_per_block(columns), i
    cdef fa_row_forward *kernel = table.kernels[dtype].row_functions[number].forward
    cdef const char *px = <const char *>cnp.PyArray_DATA(source)
    cdef char *py = <char *>cnp.PyArray_DATA(result)
    team = row_team(n)
    with nogil:
        if team == 1:
            kernel(px, py, rows, columns)
        else:
            for i in prange((rows + step - 1) // step, num_threads=team, schedule="static"):
                kernel(px + i * step * columns * size, py + i * step * columns * size, min(step, rows - i * step),
                       columns)
    return result


def try_rows_backward(int number, object grad, object y, object out):
    """Gradient of a function of each row for the plain case; None otherwise, with nothing written."""
    cdef int dtype = dtype_of(grad), team
    if dtype < 0 or not isinstance(y, cnp.ndarray) or not use_native():
        return None
    cdef cnp.ndarray g = <cnp.ndarray>grad, s = <cnp.ndarray>y
    cdef cnp.ndarray result
    if cnp.PyArray_NDIM(g) == 0 or not cnp.PyArray_ISCARRAY_RO(g) or not same_layout(g, s):
        return None
    if out is None:
        result = <cnp.ndarray>PyArray_NewLikeArray(g, cnp.NPY_CORDER, NULL, 0)
    elif not isinstance(out, cnp.ndarray):
        return None
    else:
        result = <cnp.ndarray>out
        if not same_layout(g, result) or not may_write(result, g) or not may_write(result, s):
            return None
    cdef Py_ssize_t n = cnp.PyArray_SIZE(g), columns = last(g), size = cnp.PyArray_ITEMSIZE(g)
    if n == 0:
        return result
    cdef Py_ssize_t rows = n // columns, step = rows_per_block(columns) * columns, i
    cdef fa_row_backward *kernel = table.kernels[dtype].row_functions[number].backward
    cdef const char *pg = <const char *>cnp.PyArray_DATA(g)
    cdef const char *ps = <const char *>cnp.PyArray_DATA(s)
    cdef char *pd = <char *>cnp.PyArray_DATA(result)
    team = row_team(n)
    with nogil:
        if team == 1:
            kernel(pg, ps, pd, rows, columns)
        else:
            for i in prange((n + step - 1) // step, num_threads=team, schedule="static"):
                kernel(pg + i * step * size, ps + i * step * size, pd + i * step * size,
                       min(step, n - i * step) // columns, columns)
    return result


# Below, arrays are C-contiguous, aligned, native, of one dtype and of matching shapes: the callers see to it.

def learned_forward(int number, cnp.ndarray x, cnp.ndarray weight, bint per_column, cnp.ndarray y):
    """y = f(x; weight), one weight for all or one a column."""
    cdef Py_ssize_t n = cnp.PyArray_SIZE(x), size = cnp.PyArray_ITEMSIZE(x), i
    if n == 0:
        return
    cdef Py_ssize_t columns = last(x) if per_column else 1
    cdef Py_ssize_t step = rows_per_block(columns) * columns
    cdef int team = row_team(n)
    cdef fa_learned_forward *kernel = table.kernels[dtype_of(x)].learned[number].forward
    cdef char *px = data(x)
    cdef char *pw = data(weight)
    cdef char *py = data(y)
    with nogil:
        if team == 1:
            kernel(px, pw, per_column, py, n // columns if per_column else 1, columns if per_column else n)
        else:
            for i in prange((n + step - 1) // step, num_threads=team, schedule="static"):
                kernel(px + i * step * size, pw, per_column, py + i * step * size,
                       min(step, n - i * step) // columns if per_column else 1,
                       columns if per_column else min(step, n - i * step))


def learned_backward(int number, cnp.ndarray grad, cnp.ndarray x, cnp.ndarray weight, bint per_column, cnp.ndarray dx,
                     cnp.ndarray dweight):
    """dx, and dweight summed in fixed blocks that are added in order."""
    cdef Py_ssize_t n = cnp.PyArray_SIZE(x), size = cnp.PyArray_ITEMSIZE(x), i
    cdef Py_ssize_t columns = last(x) if per_column else 1
    if n == 0:
        dweight[...] = 0
        return
    cdef Py_ssize_t step = rows_per_block(columns) * columns, blocks = (n + step - 1) // step
    cdef int team = row_team(n), dtype = dtype_of(x)
    cdef fa_learned_backward *kernel = table.kernels[dtype].learned[number].backward
    cdef char *pg = data(grad)
    cdef char *px = data(x)
    cdef char *pw = data(weight)
    cdef char *pd = data(dx)
    cdef char *total = data(dweight)
    cdef char *parts = total
    if blocks > 1:
        parts = <char *>fa_take(FA_GRADIENT, blocks * columns * size)
        if parts == NULL:
            raise MemoryError()
    with nogil:
        if team == 1:
            for i in range(blocks):
                kernel(pg + i * step * size, px + i * step * size, pw, per_column, pd + i * step * size,
                       parts + i * columns * size, min(step, n - i * step) // columns, columns)
        else:
            for i in prange(blocks, num_threads=team, schedule="static"):
                kernel(pg + i * step * size, px + i * step * size, pw, per_column, pd + i * step * size,
                       parts + i * columns * size, min(step, n - i * step) // columns, columns)
        if blocks > 1:
            table.kernels[dtype].add_rows(parts, total, blocks, columns)
            fa_give(FA_GRADIENT, parts)


def maxout(cnp.ndarray x, cnp.ndarray y, cnp.ndarray index, Py_ssize_t pieces):
    """y = the largest of each group of neighbours, index = which one."""
    cdef Py_ssize_t n = cnp.PyArray_SIZE(y), size = cnp.PyArray_ITEMSIZE(x), i
    cdef int team = row_team(n * pieces)
    cdef fa_maxout *kernel = table.kernels[dtype_of(x)].maxout
    cdef char *px = data(x)
    cdef char *py = data(y)
    cdef uint8_t *pi = <uint8_t *>data(index)
    with nogil:
        if team == 1:
            kernel(px, py, pi, n, pieces)
        else:
            for i in prange((n + BLOCK - 1) // BLOCK, num_threads=team, schedule="static"):
                kernel(px + i * BLOCK * pieces * size, py + i * BLOCK * size, pi + i * BLOCK,
                       min(<Py_ssize_t>BLOCK, n - i * BLOCK), pieces)


def maxout_backward(cnp.ndarray grad, cnp.ndarray index, cnp.ndarray dx, Py_ssize_t pieces):
    """dx = grad where the index points, 0 elsewhere."""
    cdef Py_ssize_t n = cnp.PyArray_SIZE(grad), size = cnp.PyArray_ITEMSIZE(grad), i
    cdef int team = row_team(n * pieces)
    cdef fa_maxout_backward *kernel = table.kernels[dtype_of(grad)].maxout_backward
    cdef char *pg = data(grad)
    cdef uint8_t *pi = <uint8_t *>data(index)
    cdef char *pd = data(dx)
    with nogil:
        if team == 1:
            kernel(pg, pi, pd, n, pieces)
        else:
            for i in prange((n + BLOCK - 1) // BLOCK, num_threads=team, schedule="static"):
                kernel(pg + i * BLOCK * size, pi + i * BLOCK, pd + i * BLOCK * pieces * size,
                       min(<Py_ssize_t>BLOCK, n - i * BLOCK), pieces)


def relu_masked(cnp.ndarray x, cnp.ndarray y, cnp.ndarray mask):
    """y = x where x >= 0, else 0; one bit an element says which."""
    cdef Py_ssize_t n = cnp.PyArray_SIZE(x), size = cnp.PyArray_ITEMSIZE(x), i
    cdef int team = row_team(n)
    cdef fa_relu_masked *kernel = table.kernels[dtype_of(x)].relu_masked
    cdef char *px = data(x)
    cdef char *py = data(y)
    cdef uint8_t *pm = <uint8_t *>data(mask)
    with nogil:
        if team == 1:
            kernel(px, py, pm, n)
        else:
            for i in prange((n + BLOCK - 1) // BLOCK, num_threads=team, schedule="static"):
                kernel(px + i * BLOCK * size, py + i * BLOCK * size, pm + i * BLOCK // 8,
                       min(<Py_ssize_t>BLOCK, n - i * BLOCK))


def relu_masked_backward(cnp.ndarray grad, cnp.ndarray mask, cnp.ndarray dx):
    """dx = grad where the bit is set, else 0."""
    cdef Py_ssize_t n = cnp.PyArray_SIZE(grad), size = cnp.PyArray_ITEMSIZE(grad), i
    cdef int team = row_team(n)
    cdef fa_relu_masked_backward *kernel = table.kernels[dtype_of(grad)].relu_masked_backward
    cdef char *pg = data(grad)
    cdef char *pd = data(dx)
    cdef uint8_t *pm = <uint8_t *>data(mask)
    with nogil:
        if team == 1:
            kernel(pg, pm, pd, n)
        else:
            for i in prange((n + BLOCK - 1) // BLOCK, num_threads=team, schedule="static"):
                kernel(pg + i * BLOCK * size, pm + i * BLOCK // 8, pd + i * BLOCK * size,
                       min(<Py_ssize_t>BLOCK, n - i * BLOCK))
