# What diagnostics ask of a matrix: one pass, column by column. Part of _core.pyx.

def column_statistics(cnp.ndarray x, double small, cnp.ndarray result):
    """Into result, float64 of shape (5, columns), for each column of x (C-contiguous, with at least one row):

    how many elements are above 0, below 0 and smaller than small in magnitude, the mean, and the sum of squared
    deviations from it. Columns go to threads as whole cache lines, so nothing depends on their number.
    """
    cdef Py_ssize_t rows = cnp.PyArray_DIMS(x)[0], columns = cnp.PyArray_DIMS(x)[1], size = cnp.PyArray_ITEMSIZE(x), i
    cdef Py_ssize_t step = 64 // size
    cdef int team = sum_team(rows * columns, row_threshold)
    cdef fa_column_statistics *kernel = table.kernels[dtype_of(x)].column_statistics
    cdef const char *source = data(x)
    cdef double *target = <double *>data(result)
    if team == 0:
        kernel(source, target, rows, columns, 0, columns, small)
        return
    with nogil:
        if team == 1:
            kernel(source, target, rows, columns, 0, columns, small)
        else:
            for i in prange((columns + step - 1) // step, num_threads=team, schedule="static"):
                kernel(source, target, rows, columns, i * step, min(step, columns - i * step), small)
