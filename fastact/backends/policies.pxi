# Losses of policies: rows in blocks, as other losses. Part of _core.pyx.

cdef struct policy_call:
    fa_policy arguments
    double *sums


cdef void policy_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const sum_call *c = <const sum_call *>context
    cdef const policy_call *p = <const policy_call *>c.arguments
    cdef Py_ssize_t block = first // ROWS
    cdef double *sums = NULL if p.sums == NULL else p.sums + block * p.arguments.columns
    c.parts[block] = (<fa_policy_loss *>c.kernel)(&p.arguments, first, n, sums)


cdef double policy_loss(const void *kernel, policy_call *p, Py_ssize_t rows, double clip, double entropy) except? -1:
    """The loss; clip is infinity where nothing is clipped."""
    cdef fa_policy *a = &p.arguments
    a.low, a.high, a.bonus, a.scale = 1 - clip, 1 + clip, entropy, 1.0 / rows
    return sum_blocks(policy_task, kernel, p, 0, rows, ROWS, team_for(rows * a.columns, row_threshold)) / -<double>rows


def policy_gradient(cnp.ndarray logits, cnp.ndarray actions, cnp.ndarray advantages, old_log_prob, double clip,
                    double entropy, cnp.ndarray grad, cnp.ndarray log_prob, cnp.ndarray entropies):
    """The loss; its gradient, and each row's log-probability and entropy, into the last three."""
    cdef policy_call p
    cdef fa_policy *a = &p.arguments
    p.sums = NULL
    a.outputs, a.actions, a.log_std, a.grad_log_std = data(logits), data(actions), NULL, NULL
    a.advantages, a.old_log_prob = <const double *>data(advantages), <const double *>data(old_log_prob)
    a.grad, a.log_prob, a.entropy = data(grad), data(log_prob), data(entropies)
    a.columns, a.shared = cnp.PyArray_DIMS(logits)[1], False
    return policy_loss(<const void *>kernels_of(logits).policy_gradient, &p, cnp.PyArray_DIMS(logits)[0], clip, entropy)


def gaussian_policy_gradient(cnp.ndarray mean, cnp.ndarray log_std, cnp.ndarray actions, cnp.ndarray advantages,
                             old_log_prob, double clip, double entropy, cnp.ndarray grad_mean,
                             cnp.ndarray grad_log_std, cnp.ndarray log_prob, cnp.ndarray entropies):
    """The loss; its gradients, and each row's log-probability and entropy, into the last four.

    Rows share a log_std of one dimension; its gradient is summed over them, in double and in their order.
    """
    cdef policy_call p
    cdef fa_policy *a = &p.arguments
    cdef Py_ssize_t rows = cnp.PyArray_DIMS(mean)[0], columns = cnp.PyArray_DIMS(mean)[1], i, k
    cdef cnp.npy_intp shape[2]
    cdef cnp.ndarray sums = None
    p.sums, a.shared = NULL, cnp.PyArray_NDIM(log_std) == 1
    if a.shared:
        shape[0], shape[1] = max((rows + ROWS - 1) // ROWS, 1), columns
        sums = <cnp.ndarray>cnp.PyArray_ZEROS(2, shape, cnp.NPY_DOUBLE, 0)
        p.sums = <double *>cnp.PyArray_DATA(sums)
    a.outputs, a.actions, a.log_std = data(mean), data(actions), data(log_std)
    a.advantages, a.old_log_prob = <const double *>data(advantages), <const double *>data(old_log_prob)
    a.grad, a.grad_log_std, a.log_prob, a.entropy = data(grad_mean), data(grad_log_std), data(log_prob), data(entropies)
    a.columns = columns
    cdef double loss = policy_loss(<const void *>kernels_of(mean).gaussian_policy_gradient, &p, rows, clip, entropy)
    if a.shared:
        for i in range(1, shape[0]):
            for k in range(columns):
                p.sums[k] += p.sums[i * columns + k]
        cnp.PyArray_CopyInto(grad_log_std, sums[0])
    return loss


cdef inline cnp.ndarray numbers_as(object array, int number, int ndim, const cnp.npy_intp *shape):
    """A plain array of floats in that type: itself, or converted; None for anything else."""
    if dtype_of(array) < 0:
        return None
    if not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>array) or not has_shape(<cnp.ndarray>array, ndim, shape):
        return None
    if cnp.PyArray_TYPE(<cnp.ndarray>array) == number:
        return <cnp.ndarray>array
    return <cnp.ndarray>cnp.PyArray_Cast(<cnp.ndarray>array, number)


def try_policy_gradient(object logits, object actions, object advantages, object old_log_prob, double clip,
                        double entropy, object out, object kind):
    """kind(loss, gradient, log-probabilities, entropies) for plain arrays; None otherwise, with nothing written."""
    cdef int dtype = dtype_of(logits)
    if dtype < 0 or not cnp.PyArray_CheckExact(actions) or not use_native():
        return None
    cdef cnp.ndarray z = <cnp.ndarray>logits, numbers = <cnp.ndarray>actions, old = None, grad
    if (cnp.PyArray_NDIM(z) != 2 or not cnp.PyArray_ISCARRAY_RO(z) or cnp.PyArray_TYPE(numbers) != cnp.NPY_INT64
            or not cnp.PyArray_ISCARRAY_RO(numbers) or not has_shape(numbers, 1, cnp.PyArray_DIMS(z))):
        return None
    cdef Py_ssize_t rows = cnp.PyArray_DIMS(z)[0], columns = cnp.PyArray_DIMS(z)[1], i
    cdef const int64_t *action = <const int64_t *>cnp.PyArray_DATA(numbers)
    for i in range(rows):
        if action[i] < 0 or action[i] >= columns:
            return None
    cdef cnp.ndarray gains = numbers_as(advantages, cnp.NPY_DOUBLE, 1, cnp.PyArray_DIMS(z))
    if rows == 0 or columns == 0 or gains is None:
        return None
    if old_log_prob is not None:
        old = numbers_as(old_log_prob, cnp.NPY_DOUBLE, 1, cnp.PyArray_DIMS(z))
        if old is None:
            return None
    grad = output_like(z, out)
    if grad is None or out is not None and not (
            disjoint(grad, numbers) and disjoint(grad, <cnp.ndarray>advantages) and apart(grad, old_log_prob)):
        return None
    cdef cnp.ndarray log_prob = <cnp.ndarray>cnp.PyArray_EMPTY(1, cnp.PyArray_DIMS(z), cnp.PyArray_TYPE(z), 0)
    cdef cnp.ndarray entropies = <cnp.ndarray>cnp.PyArray_EMPTY(1, cnp.PyArray_DIMS(z), cnp.PyArray_TYPE(z), 0)
    loss = policy_gradient(z, numbers, gains, old, clip, entropy, grad, log_prob, entropies)
    return tuple.__new__(kind, (loss, grad, log_prob, entropies))


def try_gaussian_policy_gradient(object mean, object log_std, object actions, object advantages, object old_log_prob,
                                 double clip, double entropy, object out_mean, object out_log_std, object kind):
    """kind(loss, both gradients, log-probabilities, entropies) for plain arrays; None otherwise, with nothing written.
    """
    cdef int dtype = dtype_of(mean)
    if dtype < 0 or not use_native():
        return None
    cdef cnp.ndarray m = <cnp.ndarray>mean, old = None, done, gains, grad, grad_log_std
    if cnp.PyArray_NDIM(m) != 2 or not cnp.PyArray_ISCARRAY_RO(m) or elements(m) == 0 or dtype_of(log_std) != dtype:
        return None
    cdef const cnp.npy_intp *shape = cnp.PyArray_DIMS(m)
    cdef cnp.ndarray s = <cnp.ndarray>log_std
    if not cnp.PyArray_ISCARRAY_RO(s) or not (has_shape(s, 2, shape) or has_shape(s, 1, shape + 1)):
        return None
    done = numbers_as(actions, cnp.PyArray_TYPE(m), 2, shape)
    gains = numbers_as(advantages, cnp.NPY_DOUBLE, 1, shape)
    if done is None or gains is None:
        return None
    if old_log_prob is not None:
        old = numbers_as(old_log_prob, cnp.NPY_DOUBLE, 1, shape)
        if old is None:
            return None
    grad, grad_log_std = output_like(m, out_mean), output_like(s, out_log_std)
    if grad is None or grad_log_std is None:
        return None
    for given, other in ((out_mean, s), (out_log_std, m)):
        if given is not None and not (
                disjoint(<cnp.ndarray>given, <cnp.ndarray>other) and disjoint(<cnp.ndarray>given, <cnp.ndarray>actions)
                and disjoint(<cnp.ndarray>given, <cnp.ndarray>advantages) and apart(given, old_log_prob)):
            return None
    if not apart(out_mean, out_log_std):
        return None
    cdef cnp.ndarray log_prob = <cnp.ndarray>cnp.PyArray_EMPTY(1, cnp.PyArray_DIMS(m), cnp.PyArray_TYPE(m), 0)
    cdef cnp.ndarray entropies = <cnp.ndarray>cnp.PyArray_EMPTY(1, cnp.PyArray_DIMS(m), cnp.PyArray_TYPE(m), 0)
    loss = gaussian_policy_gradient(m, s, done, gains, old, clip, entropy, grad, grad_log_std, log_prob, entropies)
    return tuple.__new__(kind, (loss, grad, grad_log_std, log_prob, entropies))
