# Optimisers: one pass over a flat segment. Part of _core.pyx.

def update(int number, cnp.ndarray parameters, cnp.ndarray gradients, tuple states, Py_ssize_t start,
           Py_ssize_t stop, double scale, double limit, double rate, double decay, double keep, double momentum,
           double gain, double mean, double square, double correction, double epsilon, bint nesterov):
    """One step of an update rule over parameters[start:stop], whose states are flat arrays like it or None."""
    cdef int dtype = dtype_of(parameters), team
    cdef Py_ssize_t i, n = stop - start
    cdef fa_optimizer_step *step = table.kernels[dtype].optimizers[number].step
    cdef fa_update u
    u.parameter, u.gradient = data(parameters), data(gradients)
    for i in range(3):
        u.state[i] = data(states[i]) if i < len(states) else NULL
    u.rate, u.decay, u.keep, u.momentum, u.gain, u.mean = rate, decay, keep, momentum, gain, mean
    u.square, u.correction, u.epsilon, u.scale, u.limit = square, correction, epsilon, scale, limit
    u.nesterov = nesterov
    if n <= KEEP_GIL:
        step(&u, start, n)
        return
    team = threads() if n >= update_threshold else 1
    with nogil:
        if team == 1:
            step(&u, start, n)
        else:
            for i in prange((n + BLOCK - 1) // BLOCK, num_threads=team, schedule="static"):
                step(&u, start + i * BLOCK, min(<Py_ssize_t>BLOCK, n - i * BLOCK))


def sum_of_squares(cnp.ndarray x, Py_ssize_t start, Py_ssize_t stop):
    """Sum of squares of x[start:stop], the same whatever the number of threads."""
    cdef int dtype = dtype_of(x), team = sum_team(stop - start, update_threshold)
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(x)
    return sum_blocks(squares_sum, <const void *>table.kernels[dtype].sum_of_squares, data(x), start * size,
                      stop - start, BLOCK, size, team)
