# Functions of rows, learned activations, maxout and the masked ReLU. Part of _core.pyx.

# ---------------------------------------------------------------------------------------------- rows

cdef void rows_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const array_call *c = <const array_call *>context
    cdef Py_ssize_t start = first * c.columns * c.size
    (<fa_row_forward *>c.kernel)(c.x + start, c.y + start, n, c.columns)


cdef void rows_backward_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const array_call *c = <const array_call *>context
    cdef Py_ssize_t start = first * c.columns * c.size
    (<fa_row_backward *>c.kernel)(c.x + start, c.saved + start, c.y + start, n, c.columns)


cdef int each_row(task run, const void *kernel, cnp.ndarray x, cnp.ndarray saved, cnp.ndarray y) except -1:
    cdef array_call c
    cdef Py_ssize_t n = elements(x)
    cdef int team = team_for(n, row_threshold)
    if n > 0:
        set_call(&c, kernel, x, saved, y)
        c.columns = last(x)
        perform(run, &c, n // c.columns, share(n // c.columns, team, 2), team)
    return 0


cpdef rows(int number, cnp.ndarray x, cnp.ndarray y):
    """A function of each row (last axis); y may be x."""
    each_row(rows_task, <const void *>kernels_of(x).row_functions[number].forward, x, None, y)


cpdef rows_backward(int number, cnp.ndarray grad, cnp.ndarray y, cnp.ndarray dx):
    """Its gradient from its result; dx may be grad or y."""
    each_row(rows_backward_task, <const void *>kernels_of(grad).row_functions[number].backward, grad, y, dx)


def try_rows(int number, object x, object out):
    """A function of each row (last axis) for the plain case; None otherwise, with nothing written."""
    if (dtype_of(x) < 0 or cnp.PyArray_NDIM(<cnp.ndarray>x) == 0 or not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x)
            or not use_native()):
        return None
    cdef cnp.ndarray y = output_like(<cnp.ndarray>x, out)
    if y is not None:
        rows(number, <cnp.ndarray>x, y)
    return y


def try_rows_backward(int number, object grad, object y, object out):
    """Gradient of a function of each row for the plain case; None otherwise, with nothing written."""
    if (dtype_of(grad) < 0 or cnp.PyArray_NDIM(<cnp.ndarray>grad) == 0
            or not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>grad) or not same_layout(<cnp.ndarray>grad, <cnp.ndarray>y)
            or not use_native()):
        return None
    cdef cnp.ndarray dx = output_like(<cnp.ndarray>grad, out)
    if dx is None or (out is not None and not may_write(dx, <cnp.ndarray>y)):
        return None
    rows_backward(number, <cnp.ndarray>grad, <cnp.ndarray>y, dx)
    return dx


# ---------------------------------------------------------------------------------------------- learned weights

cdef inline Py_ssize_t rows_per_block(Py_ssize_t columns) noexcept nogil:
    """Rows that make a block of about BLOCK elements; a multiple of the most lanes a vector has."""
    return max(BLOCK // columns, <Py_ssize_t>1) if columns > 512 else (BLOCK // columns + 15) & ~15


cdef void learned_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const array_call *c = <const array_call *>context
    cdef Py_ssize_t start = first * c.size
    (<fa_learned_forward *>c.kernel)(c.x + start, c.weight, c.per_column, c.y + start,
                                     n // c.columns if c.per_column else 1, c.columns if c.per_column else n)


cdef int learned_forward(int number, cnp.ndarray x, const char *weight, bint per_column, cnp.ndarray y) except -1:
    cdef array_call c
    cdef Py_ssize_t n = elements(x)
    cdef int team = team_for(n, row_threshold)
    if n == 0:
        return 0
    set_call(&c, <const void *>kernels_of(x).learned[number].forward, x, None, y)
    c.weight, c.per_column, c.columns = weight, per_column, last(x) if per_column else 1
    perform(learned_task, &c, n, n if team <= 1 else rows_per_block(c.columns) * c.columns, team)
    return 0


cdef struct learned_call:
    # dx, and the weight's gradient summed in blocks of step elements that are added in order.
    fa_learned_backward *kernel
    fa_add_rows *add_rows
    const char *grad
    const char *x
    const char *weight
    char *dx
    char *parts
    char *total
    Py_ssize_t n, size, columns, step, blocks
    bint per_column
    int team


cdef void learned_block_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const learned_call *c = <const learned_call *>context
    cdef Py_ssize_t start = first * c.step * c.size
    c.kernel(c.grad + start, c.x + start, c.weight, c.per_column, c.dx + start, c.parts + first * c.columns * c.size,
             min(c.step, c.n - first * c.step) // c.columns, c.columns)


cdef void learned_backward_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const learned_call *c = <const learned_call *>context
    spread(learned_block_task, c, c.blocks, 1, c.team)
    if c.parts != c.total:
        c.add_rows(c.parts, c.total, c.blocks, c.columns)


cdef int learned_gradients(int number, cnp.ndarray grad, cnp.ndarray x, const char *weight, bint per_column,
                           cnp.ndarray dx, cnp.ndarray dweight) except -1:
    cdef learned_call c
    cdef const fa_kernels *kernels = kernels_of(grad)
    c.n, c.size, c.per_column = elements(grad), cnp.PyArray_ITEMSIZE(grad), per_column
    if c.n == 0:
        memset(data(dweight), 0, elements(dweight) * c.size)
        return 0
    c.kernel, c.add_rows = kernels.learned[number].backward, kernels.add_rows
    c.grad, c.x, c.weight, c.dx, c.parts, c.total = data(grad), data(x), weight, data(dx), data(dweight), data(dweight)
    c.columns = last(x) if per_column else 1
    c.team = team_for(c.n, row_threshold)
    if c.team == 0:  # no block is so small
        c.step, c.blocks = c.n, 1
    else:
        c.step = rows_per_block(c.columns) * c.columns
        c.blocks = (c.n + c.step - 1) // c.step
    # The weight is read to the end of every block, and its gradient may replace it.
    if c.blocks > 1 or weight == c.total:
        c.parts = <char *>fa_take(FA_GRADIENT, c.blocks * c.columns * c.size)
        if c.parts == NULL:
            raise MemoryError()
    perform_steps(learned_backward_task, &c, c.team)
    if c.parts != c.total:
        fa_give(FA_GRADIENT, c.parts)
    return 0


cdef inline const char *learned_weight(object weight, cnp.ndarray x, double *number, bint *per_column) noexcept:
    """Where the weight is: a float's value goes to number; NULL for anything but one number or one a column."""
    cdef cnp.ndarray w
    per_column[0] = False
    if type(weight) is float:
        fa_dtypes[dtype_of_type(cnp.PyArray_TYPE(x))].write(number, weight)
        return <const char *>number
    w = <cnp.ndarray>weight
    if (not cnp.PyArray_CheckExact(weight) or cnp.PyArray_TYPE(w) != cnp.PyArray_TYPE(x)
            or not cnp.PyArray_ISCARRAY_RO(w) or cnp.PyArray_NDIM(w) > 1):
        return NULL
    if elements(w) != 1:
        if cnp.PyArray_NDIM(x) == 0 or cnp.PyArray_DIMS(w)[0] != last(x):
            return NULL
        per_column[0] = True
    return <const char *>cnp.PyArray_DATA(w)


def learned(int number, cnp.ndarray x, cnp.ndarray weight, cnp.ndarray y):
    """y = f(x; weight), one weight for all or one a column (last axis); y may be x."""
    learned_forward(number, x, data(weight), elements(weight) != 1, y)


def learned_backward(int number, cnp.ndarray grad, cnp.ndarray x, cnp.ndarray weight, cnp.ndarray dx,
                     cnp.ndarray dweight):
    """dx, which may be grad or x, and dweight, which may be weight."""
    learned_gradients(number, grad, x, data(weight), elements(weight) != 1, dx, dweight)


def try_learned(int number, object x, object weight, object out):
    """y = f(x; weight), one weight for all or one a column, for the plain case; None otherwise, nothing written."""
    cdef double value
    cdef bint per_column
    if dtype_of(x) < 0 or not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x) or not use_native():
        return None
    cdef const char *pw = learned_weight(weight, <cnp.ndarray>x, &value, &per_column)
    if pw == NULL:
        return None
    cdef cnp.ndarray y = output_like(<cnp.ndarray>x, out)
    if y is None or (type(weight) is not float and not apart(out, weight)):
        return None
    learned_forward(number, <cnp.ndarray>x, pw, per_column, y)
    return y


def try_learned_backward(
        int number, object grad, object x, object weight, object out, object out_weight, object kind):
    """kind(dx, dweight) for the plain case; None otherwise, with nothing written."""
    cdef double value
    cdef bint per_column, given = type(weight) is not float
    if dtype_of(grad) < 0 or not use_native():
        return None
    cdef cnp.ndarray g = <cnp.ndarray>grad, s = <cnp.ndarray>x, dx, dweight
    if not cnp.PyArray_ISCARRAY_RO(g) or not same_layout(g, s):
        return None
    cdef const char *pw = learned_weight(weight, s, &value, &per_column)
    if pw == NULL:
        return None
    dx = output_like(g, out)
    if dx is None or (out is not None and not (may_write(dx, s) and (not given or disjoint(dx, weight)))):
        return None
    dweight = output_shaped(cnp.PyArray_NDIM(<cnp.ndarray>weight) if given else 0,
                            cnp.PyArray_DIMS(<cnp.ndarray>weight) if given else NULL, cnp.PyArray_TYPE(g), out_weight)
    if dweight is None or (out_weight is not None and not (
            disjoint(dweight, g) and disjoint(dweight, s) and (dx is g or dx is s or disjoint(dweight, dx))
            and (not given or may_write(dweight, weight)))):
        return None
    learned_gradients(number, g, s, pw, per_column, dx, dweight)
    return fa_pair(<type>kind, dx, dweight)


# ---------------------------------------------------------------------------------------------- maxout

cdef inline Py_ssize_t whole_pieces(object pieces) except -1:
    """Pieces where it is an int that a byte can number, else 0."""
    cdef int overflow = 0
    if type(pieces) is not int:
        return 0
    cdef long n = PyLong_AsLongAndOverflow(pieces, &overflow)
    return n if 1 <= n <= 256 else 0


cdef void maxout_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const array_call *c = <const array_call *>context
    (<fa_maxout *>c.kernel)(c.x + first * c.pieces * c.size, c.y + first * c.size, c.bytes + first, n, c.pieces)


cdef void maxout_backward_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const array_call *c = <const array_call *>context
    (<fa_maxout_backward *>c.kernel)(c.x + first * c.size, c.bytes + first, c.y + first * c.pieces * c.size, n,
                                     c.pieces)


cdef inline cnp.ndarray output_of_width(cnp.ndarray x, Py_ssize_t columns, int number, object out):
    """``output_shaped`` with x's shape but for the last axis."""
    cdef int ndim = cnp.PyArray_NDIM(x)
    cdef cnp.npy_intp shape[MOST_DIMENSIONS]
    memcpy(shape, cnp.PyArray_DIMS(x), (ndim - 1) * sizeof(cnp.npy_intp))
    shape[ndim - 1] = columns
    return output_shaped(ndim, shape, number, out)


cpdef maxout(cnp.ndarray x, cnp.ndarray y, cnp.ndarray index, Py_ssize_t pieces):
    """y = the largest of each `pieces` neighbours (last axis), and which one it is into index."""
    cdef array_call c
    cdef Py_ssize_t n = elements(y)
    cdef int team = team_for(n * pieces, row_threshold)
    set_call(&c, <const void *>kernels_of(x).maxout, x, None, y)
    c.bytes, c.pieces = <uint8_t *>data(index), pieces
    perform(maxout_task, &c, n, share(n, team, LINE), team)


cpdef maxout_backward(cnp.ndarray grad, cnp.ndarray index, cnp.ndarray dx, Py_ssize_t pieces):
    """dx = grad where the index points, 0 elsewhere."""
    cdef array_call c
    cdef Py_ssize_t n = elements(grad)
    cdef int team = team_for(n * pieces, row_threshold)
    set_call(&c, <const void *>kernels_of(grad).maxout_backward, grad, None, dx)
    c.bytes, c.pieces = <uint8_t *>data(index), pieces
    perform(maxout_backward_task, &c, n, blocks_or_all(n, team, BLOCK), team)


def try_maxout(object x, object pieces, object out, object out_index, object kind):
    """kind(y, index) for the plain case; None otherwise, with nothing written."""
    if dtype_of(x) < 0 or not use_native():
        return None
    cdef cnp.ndarray source = <cnp.ndarray>x, y, index
    cdef Py_ssize_t group = whole_pieces(pieces), columns
    if group == 0 or cnp.PyArray_NDIM(source) == 0 or not cnp.PyArray_ISCARRAY_RO(source):
        return None
    columns = last(source) // group
    if columns * group != last(source):
        return None
    y = output_of_width(source, columns, cnp.PyArray_TYPE(source), out)
    index = output_of_width(source, columns, cnp.NPY_UINT8, out_index)
    if (y is None or index is None
            or not (disjoint(y, source) and disjoint(index, source) and disjoint(y, index))):
        return None
    maxout(source, y, index, group)
    return fa_pair(<type>kind, y, index)


cdef inline bint is_bytes(object array) noexcept:
    """Whether it is a plain uint8 array in C order."""
    return (cnp.PyArray_CheckExact(array) and cnp.PyArray_TYPE(<cnp.ndarray>array) == cnp.NPY_UINT8
            and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>array))


def try_maxout_backward(object grad, object index, object pieces, object out):
    """The gradient for the plain case, every index below pieces; None otherwise, with nothing written."""
    cdef int most = 0
    if dtype_of(grad) < 0 or not is_bytes(index) or not use_native():
        return None
    cdef cnp.ndarray g = <cnp.ndarray>grad, winner = <cnp.ndarray>index, dx
    cdef Py_ssize_t group = whole_pieces(pieces), n = elements(g), i
    if (group == 0 or cnp.PyArray_NDIM(g) == 0 or not cnp.PyArray_ISCARRAY_RO(g)
            or not has_shape(winner, cnp.PyArray_NDIM(g), cnp.PyArray_DIMS(g))):
        return None
    cdef const uint8_t *number = <const uint8_t *>data(winner)
    for i in range(n):
        most = max(most, <int>number[i])
    if n and most >= group:
        return None
    dx = output_of_width(g, last(g) * group, cnp.PyArray_TYPE(g), out)
    if dx is None or not disjoint(dx, g) or not disjoint(dx, winner):
        return None
    maxout_backward(g, winner, dx, group)
    return dx


# ---------------------------------------------------------------------------------------------- masked ReLU

cdef void relu_masked_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const array_call *c = <const array_call *>context
    (<fa_relu_masked *>c.kernel)(c.x + first * c.size, c.y + first * c.size, c.bytes + first // 8, n)


cdef void relu_masked_backward_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const array_call *c = <const array_call *>context
    (<fa_relu_masked_backward *>c.kernel)(c.x + first * c.size, c.bytes + first // 8, c.y + first * c.size, n)


cdef int masked(task run, const void *kernel, cnp.ndarray x, cnp.ndarray y, cnp.ndarray mask) except -1:
    cdef array_call c
    cdef Py_ssize_t n = elements(x)
    cdef int team = team_for(n, row_threshold)
    set_call(&c, kernel, x, None, y)
    c.bytes = <uint8_t *>data(mask)
    perform(run, &c, n, share(n, team, LINE), team)
    return 0


cpdef relu_masked(cnp.ndarray x, cnp.ndarray y, cnp.ndarray mask):
    """y = x where x >= 0, else 0, and one bit an element says which; y may be x."""
    masked(relu_masked_task, <const void *>kernels_of(x).relu_masked, x, y, mask)


cpdef relu_masked_backward(cnp.ndarray grad, cnp.ndarray mask, cnp.ndarray dx):
    """dx = grad where the bit is set, else 0; dx may be grad."""
    masked(relu_masked_backward_task, <const void *>kernels_of(grad).relu_masked_backward, grad, dx, mask)


cdef inline bint is_mask(object mask, cnp.ndarray x) noexcept:
    """Whether it is a plain array of bytes with one bit for each element of x."""
    return (is_bytes(mask) and cnp.PyArray_NDIM(<cnp.ndarray>mask) == 1
            and elements(<cnp.ndarray>mask) == (elements(x) + 7) // 8)


def try_relu_masked(object x, object mask, object out):
    """y with the mask filled for the plain case; None otherwise, with nothing written."""
    if (dtype_of(x) < 0 or not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x) or not is_mask(mask, <cnp.ndarray>x)
            or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray>mask) or not use_native()):
        return None
    cdef cnp.ndarray y = output_like(<cnp.ndarray>x, out)
    if y is None or not disjoint(mask, <cnp.ndarray>x) or not disjoint(mask, y):
        return None
    relu_masked(<cnp.ndarray>x, y, <cnp.ndarray>mask)
    return y


def try_relu_masked_backward(object grad, object mask, object out):
    """The gradient for the plain case; None otherwise, with nothing written."""
    if (dtype_of(grad) < 0 or not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>grad) or not is_mask(mask, <cnp.ndarray>grad)
            or not use_native()):
        return None
    cdef cnp.ndarray dx = output_like(<cnp.ndarray>grad, out)
    if dx is None or not disjoint(mask, dx):
        return None
    relu_masked_backward(<cnp.ndarray>grad, <cnp.ndarray>mask, dx)
    return dx
