# What diagnostics ask of matrices: one pass each, and its sums. Part of _core.pyx. Matrices are C-contiguous with at
# least one row and one column, tables float64 of shape (5, columns).

cdef struct statistics_call:
    fa_column_statistics *kernel
    const char *x
    double *result
    Py_ssize_t rows, columns
    double small


cdef void statistics_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const statistics_call *c = <const statistics_call *>context
    c.kernel(c.x, c.result, c.rows, c.columns, first, n, c.small)


cdef int fill_statistics(cnp.ndarray x, double small, double *target) except -1:
    """The five statistics of each column. Columns go to threads as whole cache lines: nothing depends on their number.
    """
    cdef statistics_call c
    c.kernel, c.x, c.result, c.small = kernels_of(x).column_statistics, data(x), target, small
    c.rows, c.columns = cnp.PyArray_DIMS(x)[0], cnp.PyArray_DIMS(x)[1]
    cdef int team = team_for(c.rows * c.columns, row_threshold)
    perform(statistics_task, &c, c.columns, blocks_or_all(c.columns, team, LINE_BYTES // cnp.PyArray_ITEMSIZE(x)), team)
    return 0


def column_statistics(cnp.ndarray x, double small, cnp.ndarray result):
    """Into the table result, for each column: how many elements are above 0, below 0 and smaller than small in
    magnitude, the mean, and the sum of squared deviations from it.
    """
    fill_statistics(x, small, <double *>data(result))


def output_statistics(cnp.ndarray x, cnp.ndarray result):
    """(elements that are not 0, mean, sum of squared deviations from it) of the whole matrix."""
    cdef double *t = <double *>data(result)
    fill_statistics(x, 0, t)
    cdef Py_ssize_t rows = cnp.PyArray_DIMS(x)[0], columns = cnp.PyArray_DIMS(x)[1], i
    cdef double signed_count = 0, mean = 0, squares = 0
    for i in range(columns):
        signed_count += t[i] + t[columns + i]
        mean += t[3 * columns + i]
        squares += t[4 * columns + i]
    mean /= columns
    for i in range(columns):
        squares += rows * (t[3 * columns + i] - mean) * (t[3 * columns + i] - mean)
    return signed_count, mean, squares


def slope_statistics(cnp.ndarray x, double small, bint flat, cnp.ndarray alive, cnp.ndarray active,
                     cnp.ndarray result):
    """(elements that are 0, others below small, columns of nothing but 0, other columns all below small).

    alive and active (bool, one a column) become true where a column has an element that is not 0, or not below small.
    Zeros count as merely small unless flat; a column with NaN is alive and active.
    """
    cdef double *t = <double *>data(result)
    cdef uint8_t *is_alive = <uint8_t *>data(alive)
    cdef uint8_t *is_active = <uint8_t *>data(active)
    fill_statistics(x, small, t)
    cdef Py_ssize_t rows = cnp.PyArray_DIMS(x)[0], columns = cnp.PyArray_DIMS(x)[1], i, dead = 0, saturated = 0
    cdef double zeros = 0, smalls = 0, zero
    cdef bint unknown, lives, acts
    for i in range(columns):
        zero = rows - t[i] - t[columns + i] if flat else 0
        unknown = t[3 * columns + i] != t[3 * columns + i]
        lives = unknown or zero < rows
        acts = unknown or t[2 * columns + i] < rows
        zeros += zero
        smalls += max(t[2 * columns + i] - zero, 0.0)
        dead += not lives
        saturated += lives and not acts
        is_alive[i] |= lives
        is_active[i] |= acts
    return zeros, smalls, dead, saturated


def gradient_statistics(cnp.ndarray x, cnp.ndarray result):
    """(sum of squares, share of the sign that most elements of a column have, over the columns that are not all 0).

    The share is NaN where all is 0.
    """
    cdef double *t = <double *>data(result)
    fill_statistics(x, 0, t)
    cdef Py_ssize_t rows = cnp.PyArray_DIMS(x)[0], columns = cnp.PyArray_DIMS(x)[1], i, counted = 0
    cdef double squares = 0, share = 0
    for i in range(columns):
        squares += t[4 * columns + i] + rows * t[3 * columns + i] * t[3 * columns + i]
        if t[i] + t[columns + i] > 0:
            share += max(t[i], t[columns + i]) / (t[i] + t[columns + i])
            counted += 1
    return squares, share / counted if counted else float("nan")


def distance(cnp.ndarray x, cnp.ndarray y):
    """(sum of squares of x - y, sum of squares of x) of two arrays of one size."""
    cdef double sums[2]
    cdef Py_ssize_t n = elements(x)
    cdef fa_distance *kernel = kernels_of(x).distance
    cdef const char *a = data(x)
    cdef const char *b = data(y)
    with nogil:
        kernel(a, b, n, sums)
    return sums[0], sums[1]


def largest(cnp.ndarray x):
    """The largest magnitude in a plain array: NaN where there is one, 0 of nothing."""
    cdef Py_ssize_t n = elements(x)
    return sum_blocks(reduction_task, <const void *>kernels_of(x).largest, data(x), cnp.PyArray_ITEMSIZE(x), n, BLOCK,
                      team_for(n, update_threshold), True)
