# Optimisers: one pass over a flat segment. Part of _core.pyx.

cdef class Update:
    """The scalars of one optimiser's step; fa_optim.h says what each rule does with them."""

    cdef public double rate, decay, shrink, momentum, gain, mean, square, correction, epsilon, inside
    cdef public bint nesterov

    def __init__(self):
        self.gain = self.correction = 1


cdef struct update_call:
    fa_update update
    fa_optimizer_step *step
    Py_ssize_t start


cdef void update_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const update_call *c = <const update_call *>context
    c.step(&c.update, c.start + first, n)


def update(int number, cnp.ndarray parameters, cnp.ndarray gradients, tuple states, Py_ssize_t start, Py_ssize_t stop,
           double scale, double limit, Update rule):
    """One step of an update rule over parameters[start:stop], whose states are flat arrays like it or None.

    The gradient that counts is scale * gradient, clipped to +-limit.
    """
    cdef update_call c
    cdef fa_update *u = &c.update
    cdef Py_ssize_t i, n = stop - start
    cdef int team = team_for(n, update_threshold)
    c.step, c.start = kernels_of(parameters).optimizers[number].step, start
    u.parameter, u.gradient, u.scale, u.limit = data(parameters), data(gradients), scale, limit
    for i in range(FA_STATES):
        u.state[i] = data(states[i]) if i < len(states) else NULL
    u.rate, u.decay, u.shrink, u.momentum, u.gain = rule.rate, rule.decay, rule.shrink, rule.momentum, rule.gain
    u.mean, u.square, u.correction, u.epsilon = rule.mean, rule.square, rule.correction, rule.epsilon
    u.inside, u.nesterov = rule.inside, rule.nesterov
    perform(update_task, &c, n, blocks_or_all(n, team, BLOCK), team)


cdef void reduction_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const sum_call *c = <const sum_call *>context
    c.parts[first // BLOCK] = (<fa_reduction *>c.kernel)(<const char *>c.arguments + first * c.size, n)


def sum_of_squares(cnp.ndarray x, Py_ssize_t start, Py_ssize_t stop):
    """Sum of squares of x[start:stop], the same whatever the number of threads."""
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(x)
    return sum_blocks(reduction_task, <const void *>kernels_of(x).sum_of_squares, data(x) + start * size, size,
                      stop - start, BLOCK, team_for(stop - start, update_threshold))
