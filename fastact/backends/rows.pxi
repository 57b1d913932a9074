# Functions of rows, learned activations, maxout and the masked ReLU. Part of _core.pyx.

cdef inline Py_ssize_t last(cnp.ndarray a) noexcept:
    """Length of the last axis."""
    return cnp.PyArray_DIMS(a)[cnp.PyArray_NDIM(a) - 1]


cdef inline Py_ssize_t rows_per_block(Py_ssize_t columns) noexcept nogil:
    """Rows that make a block of about BLOCK elements; a multiple of the most lanes a vector has."""
    return max(BLOCK // columns, <Py_ssize_t>1) if columns > 512 else (BLOCK // columns + 15) & ~15


cdef inline cnp.ndarray output_like(cnp.ndarray source, object out):
    """A new array like source (in C order), or out where it is one and may be written to; None otherwise."""
    if out is None:
        return <cnp.ndarray>PyArray_NewLikeArray(source, cnp.NPY_CORDER, NULL, 0)
    if not same_layout(source, <cnp.ndarray>out) or not may_write(<cnp.ndarray>out, source):
        return None
    return <cnp.ndarray>out


cdef inline cnp.ndarray given_or_new(object out, cnp.ndarray like):
    """A new array like another (in C order), or out where it is one in C order; None otherwise."""
    if out is None:
        return <cnp.ndarray>PyArray_NewLikeArray(like, cnp.NPY_CORDER, NULL, 0)
    if not same_layout(like, <cnp.ndarray>out) or not cnp.PyArray_ISCARRAY(<cnp.ndarray>out):
        return None
    return <cnp.ndarray>out


cdef inline cnp.ndarray output_shaped(int ndim, cnp.npy_intp *shape, int dtype, object out):
    """A new array of that shape and NumPy type, or out where it is one in C order; None otherwise."""
    cdef int i
    if out is None:
        return <cnp.ndarray>cnp.PyArray_SimpleNew(ndim, shape, dtype)
    if (not cnp.PyArray_CheckExact(out) or cnp.PyArray_TYPE(<cnp.ndarray>out) != dtype
            or not cnp.PyArray_ISCARRAY(<cnp.ndarray>out) or cnp.PyArray_NDIM(<cnp.ndarray>out) != ndim):
        return None
    for i in range(ndim):
        if cnp.PyArray_DIMS(<cnp.ndarray>out)[i] != shape[i]:
            return None
    return <cnp.ndarray>out


cdef inline bint is_bytes(object array) noexcept:
    """Whether it is a plain uint8 array in C order."""
    return (cnp.PyArray_CheckExact(array) and cnp.PyArray_TYPE(<cnp.ndarray>array) == cnp.NPY_UINT8
            and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>array))


def try_rows(int number, object x, object out):
    """A function of each row (last axis) for the plain case; None otherwise, with nothing written."""
    cdef int dtype = dtype_of(x), team
    if dtype < 0 or not use_native():
        return None
    cdef cnp.ndarray source = <cnp.ndarray>x
    if cnp.PyArray_NDIM(source) == 0 or not cnp.PyArray_ISCARRAY_RO(source):
        return None
    cdef cnp.ndarray result = output_like(source, out)
    if result is None:
        return None
    cdef Py_ssize_t n = elements(source), columns = last(source), size = cnp.PyArray_ITEMSIZE(source)
    if n == 0:
        return result
    cdef Py_ssize_t rows = n // columns, step, i
    cdef fa_row_forward *kernel = table.kernels[dtype].row_functions[number].forward
    cdef const char *px = <const char *>cnp.PyArray_DATA(source)
    cdef char *py = <char *>cnp.PyArray_DATA(result)
    team = row_team(n)
    with nogil:
        if team == 1:
            kernel(px, py, rows, columns)
        else:
            step = share(rows, team, 2)
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
    if cnp.PyArray_NDIM(g) == 0 or not cnp.PyArray_ISCARRAY_RO(g) or not same_layout(g, s):
        return None
    cdef cnp.ndarray result = output_like(g, out)
    if result is None or not may_write(result, s):
        return None
    cdef Py_ssize_t n = elements(g), columns = last(g), size = cnp.PyArray_ITEMSIZE(g)
    if n == 0:
        return result
    cdef Py_ssize_t rows = n // columns, step, i
    cdef fa_row_backward *kernel = table.kernels[dtype].row_functions[number].backward
    cdef const char *pg = <const char *>cnp.PyArray_DATA(g)
    cdef const char *ps = <const char *>cnp.PyArray_DATA(s)
    cdef char *pd = <char *>cnp.PyArray_DATA(result)
    team = row_team(n)
    with nogil:
        if team == 1:
            kernel(pg, ps, pd, rows, columns)
        else:
            step = share(rows, team, 2)
            for i in prange((rows + step - 1) // step, num_threads=team, schedule="static"):
                kernel(pg + i * step * columns * size, ps + i * step * columns * size, pd + i * step * columns * size,
                       min(step, rows - i * step), columns)
    return result


cdef const char *learned_weight(object weight, cnp.ndarray x, int dtype, double *number, bint *per_column):
    """Where the weight is: a float's value goes to number; NULL for anything but one number or one a column."""
    cdef cnp.ndarray w
    per_column[0] = False
    if type(weight) is float:
        if dtype == 0:
            (<float *>number)[0] = <float><double>weight
        else:
            number[0] = weight
        return <const char *>number
    if (not cnp.PyArray_CheckExact(weight) or cnp.PyArray_TYPE(<cnp.ndarray>weight) != cnp.PyArray_TYPE(x)
            or not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>weight)):
        return NULL
    w = <cnp.ndarray>weight
    if cnp.PyArray_NDIM(w) > 1:
        return NULL
    if elements(w) != 1:
        if cnp.PyArray_NDIM(x) == 0 or cnp.PyArray_DIMS(w)[0] != last(x):
            return NULL
        per_column[0] = True
    return <const char *>cnp.PyArray_DATA(w)


def try_learned(int number, object x, object weight, object out):
    """y = f(x; weight), one weight for all or one a column, for the plain case; None otherwise, nothing written."""
    cdef int dtype = dtype_of(x), team
    if dtype < 0 or not use_native():
        return None
    cdef cnp.ndarray source = <cnp.ndarray>x
    cdef double value
    cdef bint per_column
    cdef const char *pw = learned_weight(weight, source, dtype, &value, &per_column)
    if pw == NULL or not cnp.PyArray_ISCARRAY_RO(source):
        return None
    cdef cnp.ndarray result = output_like(source, out)
    if result is None or (out is not None and type(weight) is not float and not disjoint(result, weight)):
        return None
    cdef Py_ssize_t n = elements(source), size = cnp.PyArray_ITEMSIZE(source), i
    if n == 0:
        return result
    cdef Py_ssize_t columns = last(source) if per_column else 1
    cdef Py_ssize_t rows = n // columns if per_column else 1, row = columns if per_column else n
    cdef Py_ssize_t step = rows_per_block(columns) * columns
    cdef fa_learned_forward *kernel = table.kernels[dtype].learned[number].forward
    cdef char *px = data(source)
    cdef char *py = data(result)
    if n <= KEEP_GIL:
        kernel(px, pw, per_column, py, rows, row)
        return result
    team = row_team(n)
    with nogil:
        if team == 1:
            kernel(px, pw, per_column, py, rows, row)
        else:
            for i in prange((n + step - 1) // step, num_threads=team, schedule="static"):
                kernel(px + i * step * size, pw, per_column, py + i * step * size,
                       min(step, n - i * step) // columns if per_column else 1,
                       columns if per_column else min(step, n - i * step))
    return result


def try_learned_backward(
        int number, object grad, object x, object weight, object out, object out_weight, object kind):
    """kind(dx, dweight) for the plain case, dweight summed in fixed blocks that are added in order; None otherwise."""
    cdef int dtype = dtype_of(grad), team
    if dtype < 0 or not isinstance(x, cnp.ndarray) or not use_native():
        return None
    cdef cnp.ndarray g = <cnp.ndarray>grad, s = <cnp.ndarray>x
    cdef double value
    cdef bint per_column
    if not cnp.PyArray_ISCARRAY_RO(g) or not same_layout(g, s):
        return None
    cdef const char *pw = learned_weight(weight, s, dtype, &value, &per_column)
    cdef bint given = type(weight) is not float
    if pw == NULL:
        return None
    cdef cnp.ndarray dx = output_like(g, out), dweight
    if dx is None or (out is not None and not (may_write(dx, s) and (not given or disjoint(dx, weight)))):
        return None
    if given:
        dweight = given_or_new(out_weight, weight)
    else:
        dweight = output_shaped(0, NULL, cnp.PyArray_TYPE(g), out_weight)
    if dweight is None:
        return None
    if out_weight is not None and not (disjoint(dweight, g) and disjoint(dweight, s)
                                       and (dx is g or dx is s or disjoint(dweight, dx))
                                       and (not given or may_write(dweight, weight))):
        return None
    cdef Py_ssize_t n = elements(g), size = cnp.PyArray_ITEMSIZE(g), i
    cdef Py_ssize_t columns = last(s) if per_column else 1
    if n == 0:
        dweight[...] = 0
        return fa_pair(<type>kind, dx, dweight)
    cdef fa_learned_backward *kernel = table.kernels[dtype].learned[number].backward
    cdef char *pg = data(g)
    cdef char *px = data(s)
    cdef char *pd = data(dx)
    cdef char *total = data(dweight)
    # The weight is read to the end of every block, and out_weight may be the weight itself.
    cdef bint own = pw == total
    if n <= KEEP_GIL and not own:  # no block is so small
        kernel(pg, px, pw, per_column, pd, total, n // columns, columns)
        return fa_pair(<type>kind, dx, dweight)
    cdef Py_ssize_t step = rows_per_block(columns) * columns, blocks = (n + step - 1) // step
    cdef char *parts = total
    own = own or blocks > 1
    if own:
        parts = <char *>fa_take(FA_GRADIENT, blocks * columns * size)
        if parts == NULL:
            raise MemoryError()
    team = row_team(n)
    with nogil:
        if team == 1:
            for i in range(blocks):
                kernel(pg + i * step * size, px + i * step * size, pw, per_column, pd + i * step * size,
                       parts + i * columns * size, min(step, n - i * step) // columns, columns)
        else:
            for i in prange(blocks, num_threads=team, schedule="static"):
                kernel(pg + i * step * size, px + i * step * size, pw, per_column, pd + i * step * size,
                       parts + i * columns * size, min(step, n - i * step) // columns, columns)
        if own:
            table.kernels[dtype].add_rows(parts, total, blocks, columns)
            fa_give(FA_GRADIENT, parts)
    return fa_pair(<type>kind, dx, dweight)


cdef inline Py_ssize_t whole_pieces(object pieces) except -1:
    """Pieces where it is an int that a byte can number, else 0."""
    cdef int overflow = 0
    if type(pieces) is not int:
        return 0
    cdef long n = PyLong_AsLongAndOverflow(pieces, &overflow)
    return n if 1 <= n <= 256 else 0


def try_maxout(object x, object pieces, object out, object out_index, object kind):
    """kind(y, index) for the plain case, the largest of each group of neighbours; None otherwise, nothing written."""
    cdef int dtype = dtype_of(x), team, ndim
    if dtype < 0 or not use_native():
        return None
    cdef cnp.ndarray source = <cnp.ndarray>x
    cdef Py_ssize_t group = whole_pieces(pieces), n, size = cnp.PyArray_ITEMSIZE(source), i, step
    ndim = cnp.PyArray_NDIM(source)
    if group == 0 or ndim == 0 or not cnp.PyArray_ISCARRAY_RO(source) or last(source) % group:
        return None
    cdef cnp.npy_intp shape[MOST_DIMENSIONS]
    memcpy(shape, cnp.PyArray_DIMS(source), ndim * sizeof(cnp.npy_intp))
    shape[ndim - 1] //= group
    cdef cnp.ndarray y = output_shaped(ndim, shape, cnp.PyArray_TYPE(source), out)
    cdef cnp.ndarray index = output_shaped(ndim, shape, cnp.NPY_UINT8, out_index)
    if (y is None or index is None
            or not (disjoint(y, source) and disjoint(index, source) and disjoint(y, index))):
        return None
    n = elements(y)
    cdef fa_maxout *kernel = table.kernels[dtype].maxout
    cdef char *px = data(source)
    cdef char *py = data(y)
    cdef uint8_t *pi = <uint8_t *>data(index)
    if n * group <= KEEP_GIL:
        kernel(px, py, pi, n, group)
        return fa_pair(<type>kind, y, index)
    team = row_team(n * group)
    with nogil:
        if team == 1:
            kernel(px, py, pi, n, group)
        else:
            step = share(n, team, LINE)
            for i in prange((n + step - 1) // step, num_threads=team, schedule="static"):
                kernel(px + i * step * group * size, py + i * step * size, pi + i * step, min(step, n - i * step),
                       group)
    return fa_pair(<type>kind, y, index)


def try_maxout_backward(object grad, object index, object pieces, object out):
    """dx = grad where the index points, 0 elsewhere, for the plain case; None otherwise, nothing written."""
    cdef int dtype = dtype_of(grad), team, ndim, most = 0
    if dtype < 0 or not is_bytes(index) or not use_native():
        return None
    cdef cnp.ndarray g = <cnp.ndarray>grad, winner = <cnp.ndarray>index
    cdef Py_ssize_t group = whole_pieces(pieces), n = elements(g), size = cnp.PyArray_ITEMSIZE(g), i
    ndim = cnp.PyArray_NDIM(g)
    if group == 0 or ndim == 0 or not cnp.PyArray_ISCARRAY_RO(g) or cnp.PyArray_NDIM(winner) != ndim:
        return None
    for i in range(ndim):
        if cnp.PyArray_DIMS(winner)[i] != cnp.PyArray_DIMS(g)[i]:
            return None
    cdef uint8_t *pi = <uint8_t *>data(winner)
    for i in range(n):
        most = max(most, <int>pi[i])
    if n and most >= group:
        return None
    cdef cnp.npy_intp shape[MOST_DIMENSIONS]
    memcpy(shape, cnp.PyArray_DIMS(g), ndim * sizeof(cnp.npy_intp))
    shape[ndim - 1] *= group
    cdef cnp.ndarray dx = output_shaped(ndim, shape, cnp.PyArray_TYPE(g), out)
    if dx is None or not disjoint(dx, g) or not disjoint(dx, winner):
        return None
    cdef fa_maxout_backward *kernel = table.kernels[dtype].maxout_backward
    cdef char *pg = data(g)
    cdef char *pd = data(dx)
    if n * group <= KEEP_GIL:
        kernel(pg, pi, pd, n, group)
        return dx
    team = row_team(n * group)
    with nogil:
        if team == 1:
            kernel(pg, pi, pd, n, group)
        else:
            for i in prange((n + BLOCK - 1) // BLOCK, num_threads=team, schedule="static"):
                kernel(pg + i * BLOCK * size, pi + i * BLOCK, pd + i * BLOCK * group * size,
                       min(<Py_ssize_t>BLOCK, n - i * BLOCK), group)
    return dx


cdef inline bint is_mask(object mask, Py_ssize_t n) noexcept:
    """Whether it is a plain array of bytes with one bit for each of n elements."""
    return (is_bytes(mask) and cnp.PyArray_NDIM(<cnp.ndarray>mask) == 1
            and elements(<cnp.ndarray>mask) == (n + 7) // 8)


def try_relu_masked(object x, object mask, object out):
    """y = x where x >= 0, else 0, one bit an element says which, for the plain case; None otherwise."""
    cdef int dtype = dtype_of(x), team
    if dtype < 0 or not use_native():
        return None
    cdef cnp.ndarray source = <cnp.ndarray>x
    cdef Py_ssize_t n = elements(source), size = cnp.PyArray_ITEMSIZE(source), i, step
    if not cnp.PyArray_ISCARRAY_RO(source) or not is_mask(mask, n) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray>mask):
        return None
    cdef cnp.ndarray result = output_like(source, out)
    if result is None or not disjoint(mask, source) or not disjoint(mask, result):
        return None
    cdef fa_relu_masked *kernel = table.kernels[dtype].relu_masked
    cdef char *px = data(source)
    cdef char *py = data(result)
    cdef uint8_t *pm = <uint8_t *>data(mask)
    if n <= KEEP_GIL:
        kernel(px, py, pm, n)
        return result
    team = row_team(n)
    with nogil:
        if team == 1:
            kernel(px, py, pm, n)
        else:
            step = share(n, team, LINE)
            for i in prange((n + step - 1) // step, num_threads=team, schedule="static"):
                kernel(px + i * step * size, py + i * step * size, pm + i * step // 8, min(step, n - i * step))
    return result


def try_relu_masked_backward(object grad, object mask, object out):
    """dx = grad where the bit is set, else 0, for the plain case; None otherwise, nothing written."""
    cdef int dtype = dtype_of(grad), team
    if dtype < 0 or not use_native():
        return None
    cdef cnp.ndarray g = <cnp.ndarray>grad
    cdef Py_ssize_t n = elements(g), size = cnp.PyArray_ITEMSIZE(g), i, step
    if not cnp.PyArray_ISCARRAY_RO(g) or not is_mask(mask, n):
        return None
    cdef cnp.ndarray result = output_like(g, out)
    if result is None or not disjoint(mask, result):
        return None
    cdef fa_relu_masked_backward *kernel = table.kernels[dtype].relu_masked_backward
    cdef char *pg = data(g)
    cdef char *pd = data(result)
    cdef uint8_t *pm = <uint8_t *>data(mask)
    if n <= KEEP_GIL:
        kernel(pg, pm, pd, n)
        return result
    team = row_team(n)
    with nogil:
        if team == 1:
            kernel(pg, pm, pd, n)
        else:
            step = share(n, team, LINE)
            for i in prange((n + step - 1) // step, num_threads=team, schedule="static"):
                kernel(pg + i * step * size, pm + i * step // 8, pd + i * step * size, min(step, n - i * step))
    return result
