# Losses: sums over fixed blocks, added in order. Part of _core.pyx.

cdef struct sum_call:
    # What the tasks of a sum read. A task is one block, and puts its sum into its place among the parts.
    const void *kernel
    const void *arguments
    Py_ssize_t size
    double *parts


cdef double sum_blocks(task run, const void *kernel, const void *arguments, Py_ssize_t size, Py_ssize_t n,
                       Py_ssize_t step, int team, bint greatest=False) except? -1:
    """The sum of what the blocks give, in their order; or the greatest, NaN where one gives that."""
    cdef Py_ssize_t blocks = (n + step - 1) // step, i
    cdef double few[STACK_PARTS]
    cdef double total = 0
    cdef sum_call c
    c.kernel, c.arguments, c.size, c.parts = kernel, arguments, size, few
    if blocks > STACK_PARTS:
        c.parts = <double *>fa_take(FA_SUMS, blocks * sizeof(double))
        if c.parts == NULL:
            raise MemoryError()
    perform(run, &c, n, step, team)
    for i in range(blocks):
        if not greatest:
            total += c.parts[i]
        elif not c.parts[i] <= total and total == total:
            total = c.parts[i]
    if c.parts != few:
        fa_give(FA_SUMS, c.parts)
    return total


cdef void cross_entropy_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const sum_call *c = <const sum_call *>context
    c.parts[first // ROWS] = (<fa_softmax_cross_entropy *>c.kernel)(<const fa_cross_entropy *>c.arguments, first, n)


cdef void pointwise_task(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil:
    cdef const sum_call *c = <const sum_call *>context
    c.parts[first // BLOCK] = (<fa_loss_kernel *>c.kernel)(<const fa_pointwise *>c.arguments, first, n)


cdef double cross_entropy(fa_cross_entropy *a, int dtype, Py_ssize_t rows, bint mean) except? -1:
    """The loss; the gradient is that of the mean over the rows' weights, or of the sum."""
    cdef double weight, all_weights = 0, total
    cdef Py_ssize_t i
    a.scale = 1
    if mean:
        for i in range(rows):
            if a.labels != NULL and a.labels[i] == a.ignored:
                continue
            weight = 1
            if a.labels != NULL and a.class_weight != NULL:
                weight = fa_dtypes[dtype].read(a.class_weight, a.labels[i])
            if a.row_weight != NULL:
                weight = weight * a.row_weight[i]
            all_weights += weight
        a.scale = 1 / all_weights if all_weights > 0 else 0
    total = sum_blocks(cross_entropy_task, <const void *>table.kernels[dtype].softmax_cross_entropy, a, 0, rows, ROWS,
                       team_for(rows * a.columns, row_threshold))
    return total / all_weights if mean else total


def try_softmax_cross_entropy(object logits, object labels, object out, bint mean, int64_t ignored, object kind):
    """kind(loss, gradient) for plain logits and class numbers; None otherwise, with nothing written."""
    cdef int dtype = dtype_of(logits)
    if dtype < 0 or not cnp.PyArray_CheckExact(labels) or not use_native():
        return None
    cdef cnp.ndarray z = <cnp.ndarray>logits, numbers = <cnp.ndarray>labels, result
    if (cnp.PyArray_NDIM(z) != 2 or not cnp.PyArray_ISCARRAY_RO(z) or cnp.PyArray_TYPE(numbers) != cnp.NPY_INT64
            or cnp.PyArray_NDIM(numbers) != 1 or not cnp.PyArray_ISCARRAY_RO(numbers)):
        return None
    cdef Py_ssize_t rows = cnp.PyArray_DIMS(z)[0], columns = cnp.PyArray_DIMS(z)[1], i
    if rows == 0 or columns == 0 or cnp.PyArray_DIMS(numbers)[0] != rows:
        return None
    cdef const int64_t *label = <const int64_t *>cnp.PyArray_DATA(numbers)
    for i in range(rows):
        if (label[i] < 0 or label[i] >= columns) and label[i] != ignored:
            return None
    result = output_like(z, out)
    if result is None or (out is not None and not disjoint(result, numbers)):
        return None
    cdef fa_cross_entropy a
    a.logits, a.labels, a.grad = cnp.PyArray_DATA(z), label, cnp.PyArray_DATA(result)
    a.targets, a.class_weight, a.losses, a.row_weight = NULL, NULL, NULL, NULL
    a.columns, a.ignored, a.smoothing = columns, ignored, 0
    cdef double loss = cross_entropy(&a, dtype, rows, mean)
    return fa_pair(<type>kind, loss, result)


def label_range(cnp.ndarray labels, int64_t ignored):
    """(how many of plain int64 labels are not the ignored one, the smallest of them, the largest)."""
    cdef const int64_t *label = <const int64_t *>cnp.PyArray_DATA(labels)
    cdef int64_t low = INT64_MAX, high = INT64_MIN
    cdef Py_ssize_t counted = 0, i
    for i in range(cnp.PyArray_DIMS(labels)[0]):
        if label[i] != ignored:
            low, high, counted = min(low, label[i]), max(high, label[i]), counted + 1
    return counted, low, high


def softmax_cross_entropy(cnp.ndarray logits, labels, targets, class_weight, row_weight, losses, cnp.ndarray grad,
                          int64_t ignored, double smoothing, bint mean):
    """The loss; each row's in losses, the gradient in grad."""
    cdef fa_cross_entropy a
    a.logits, a.targets, a.labels = data(logits), data(targets), <const int64_t *>data(labels)
    a.class_weight, a.row_weight = data(class_weight), <const double *>data(row_weight)
    a.grad, a.losses, a.columns = data(grad), data(losses), logits.shape[1]
    a.ignored, a.smoothing = ignored, smoothing
    return cross_entropy(&a, dtype_of(logits), logits.shape[0], mean)


cdef double pointwise(int number, fa_pointwise *p, int dtype, Py_ssize_t n, double count) except? -1:
    """The loss and its gradient, both divided by count (sums: count is 1)."""
    p.scale = 1 / count if count > 0 else 0
    return sum_blocks(pointwise_task, <const void *>table.kernels[dtype].losses[number].kernel, p, 0, n, BLOCK,
                      team_for(n, update_threshold)) / count


def try_pointwise(int number, object prediction, object target, object out, bint mean, double a, object kind):
    """kind(loss, gradient) for the plain case; None otherwise, with nothing written."""
    cdef int dtype = dtype_of(prediction)
    if dtype < 0 or not use_native():
        return None
    cdef cnp.ndarray x = <cnp.ndarray>prediction, t = <cnp.ndarray>target, result
    cdef Py_ssize_t n = elements(x)
    if n == 0 or not same_layout(x, t):
        return None
    result = output_like(x, out)
    if result is None or (out is not None and not disjoint(result, t)):
        return None
    cdef fa_pointwise p
    p.prediction, p.target, p.grad = cnp.PyArray_DATA(x), cnp.PyArray_DATA(t), cnp.PyArray_DATA(result)
    p.weight, p.each, p.losses = NULL, NULL, NULL
    p.a = a
    cdef double loss = pointwise(number, &p, dtype, n, n if mean else 1)
    return fa_pair(<type>kind, loss, result)


def pointwise_loss(int number, cnp.ndarray prediction, cnp.ndarray target, weight, each, losses, cnp.ndarray grad,
                   double a, double count):
    """The loss divided by count; each element's (undivided) in losses, the gradient in grad."""
    cdef fa_pointwise p
    p.prediction, p.target, p.grad = data(prediction), data(target), data(grad)
    p.weight, p.each, p.losses, p.a = data(weight), data(each), data(losses), a
    return pointwise(number, &p, dtype_of(prediction), elements(prediction), count)
