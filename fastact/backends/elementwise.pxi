# Elementwise activations. Part of _core.pyx.

cdef struct array_call:
    # What the tasks of this file and of rows.pxi read. Each kernel takes some of it.
    const void *kernel
    const char *x  # or grad
    const char *saved
    const char *weight
    uint8_t *bytes  # maxout's index, the masked ReLU's mask
    char *y  # or dx
    Py_ssize_t size, columns, pieces
    bint per_column
    fa_parameters parameters


cdef void forward_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const array_call *c = <const array_call *>context
    (<fa_forward *>c.kernel)(c.x + first * c.size, c.y + first * c.size, n, c.parameters)


cdef void backward_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const array_call *c = <const array_call *>context
    cdef Py_ssize_t start = first * c.size
    (<fa_backward *>c.kernel)(c.x + start, c.saved + start, c.y + start, n, c.parameters)


cdef inline void set_call(array_call *c, const void *kernel, cnp.ndarray x, cnp.ndarray saved, cnp.ndarray y) noexcept:
    c.kernel, c.x, c.saved, c.y, c.size = kernel, data(x), data(saved), data(y), cnp.PyArray_ITEMSIZE(x)


cdef inline int elementwise(task run, const void *kernel, int number, cnp.ndarray x, cnp.ndarray saved, cnp.ndarray y,
                            double a, double b) except -1:
    cdef array_call c
    cdef Py_ssize_t n = elements(x)
    cdef int team = team_for(n, thresholds[number])
    set_call(&c, kernel, x, saved, y)
    c.parameters = fa_parameters(a, b)
    perform(run, &c, n, share(n, team, LINE), team)
    return 0


def forward(int number, cnp.ndarray x, cnp.ndarray y, double a, double b):
    """y = f(x); y may be x."""
    elementwise(forward_task, <const void *>kernels_of(x).activations[number].forward, number, x, None, y, a, b)


def backward(int number, cnp.ndarray grad, cnp.ndarray saved, cnp.ndarray dx, double a, double b):
    """dx = grad * f', from what forward saved; dx may be grad or saved."""
    elementwise(backward_task, <const void *>kernels_of(grad).activations[number].backward, number, grad, saved, dx,
                a, b)


# A call for few elements is done before the tables that ``elementwise`` fills for a team would be.

def try_forward(int number, object x, object out, double a, double b):
    """y = f(x) for the plain case; None otherwise, with nothing written."""
    cdef int dtype = dtype_of(x)
    if dtype < 0 or not use_native():
        return None
    cdef cnp.ndarray source = <cnp.ndarray>x, y = output_like(source, out)
    if y is None:
        return None
    cdef fa_forward *kernel = table.kernels[dtype].activations[number].forward
    cdef Py_ssize_t n = elements(source)
    if n <= KEEP_GIL:
        kernel(cnp.PyArray_DATA(source), cnp.PyArray_DATA(y), n, fa_parameters(a, b))
    else:
        elementwise(forward_task, <const void *>kernel, number, source, None, y, a, b)
    return y


def try_backward(int number, object grad, object saved, object out, double a, double b):
    """dx = grad * f' for the plain case; None otherwise, with nothing written."""
    cdef int dtype = dtype_of(grad)
    if dtype < 0 or not same_layout(<cnp.ndarray>grad, <cnp.ndarray>saved) or not use_native():
        return None
    cdef cnp.ndarray g = <cnp.ndarray>grad, s = <cnp.ndarray>saved, dx = output_like(g, out)
    if dx is None or (out is not None and not may_write(dx, s)):
        return None
    cdef fa_backward *kernel = table.kernels[dtype].activations[number].backward
    cdef Py_ssize_t n = elements(g)
    if n <= KEEP_GIL:
        kernel(cnp.PyArray_DATA(g), cnp.PyArray_DATA(s), cnp.PyArray_DATA(dx), n, fa_parameters(a, b))
    else:
        elementwise(backward_task, <const void *>kernel, number, g, s, dx, a, b)
    return dx
