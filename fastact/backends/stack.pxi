# A stack of dense layers: a whole pass through a network in one call. Part of _core.pyx.

cdef class StackedLayer:
    """What stays the same of one dense layer from step to step."""

    cdef int number, backward_number
    cdef double a, b, backward_a, backward_b
    cdef object owner, bias
    cdef cnp.ndarray weight, weight_gradient, bias_gradient

    def __init__(self, owner, forward_kernel, backward_kernel, weight, bias, weight_gradient, bias_gradient):
        """The kernels are (number, a, b) as ``dense`` and ``dense_backward`` take them; the arrays are plain.

        owner: the Layer, whose ``_saved`` is kept as its own forward and backward keep it.
        """
        self.owner = owner
        self.number, self.a, self.b = forward_kernel
        self.backward_number, self.backward_a, self.backward_b = backward_kernel
        self.weight, self.bias = weight, bias
        self.weight_gradient, self.bias_gradient = weight_gradient, bias_gradient


cdef class StackedViews:
    """One layer's workspaces for one batch size."""

    cdef cnp.ndarray y
    cdef object slope, kept, dz, dx, token
    cdef bint linear

    def __init__(self, y, slope, dz, dx, linear):
        """As in ``dense`` and ``dense_backward``; of a linear layer backward reads nothing."""
        self.y, self.slope, self.dz, self.dx, self.linear = y, slope, dz, dx, linear
        self.kept = y if slope is None else slope


cdef class DenseStack:
    """Dense layers one after another; every method returns None where the plain road is not open.

    ``views[rows]`` holds a StackedViews for each layer; the network puts them there before it trains with so many rows.
    """

    cdef readonly dict views
    cdef list layers
    cdef int dtype
    cdef cnp.npy_intp inputs, outputs, widest
    cdef list trained
    cdef object x

    def __init__(self, list layers):
        """layers: StackedLayer objects of one dtype whose shapes follow on each other."""
        cdef StackedLayer first = layers[0], layer
        self.layers, self.views, self.trained, self.x = layers, {}, None, None
        self.dtype = dtype_of(first.weight)
        self.inputs = self.widest = first.weight.shape[0]
        for layer in layers:
            self.outputs = layer.weight.shape[1]
            self.widest = max(self.widest, self.outputs)

    cdef inline bint takes(self, object x, cnp.npy_intp columns) noexcept:
        return (dtype_of(x) == self.dtype and cnp.PyArray_NDIM(<cnp.ndarray>x) == 2
                and (<cnp.ndarray>x).shape[1] == columns and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x))

    def forward(self, x):
        """The last layer's output, a view that the next call overwrites; keeps what backward needs."""
        cdef StackedLayer layer
        cdef StackedViews view
        cdef cnp.ndarray source
        cdef Py_ssize_t i
        if not use_native() or not self.takes(x, self.inputs):
            return None
        views = self.views.get((<cnp.ndarray>x).shape[0])
        if views is None:
            return None
        source = <cnp.ndarray>x
        for i in range(len(self.layers)):
            layer, view = self.layers[i], (<list>views)[i]
            dense(layer.number, source, layer.weight, layer.bias, view.y, view.slope, layer.a, layer.b)
            view.token = source, view.kept
            layer.owner._saved = view.token
            source = view.y
        self.trained, self.x = views, x
        return source

    def backward(self, grad, bint need_input_grad, bint accumulate):
        """True, or the gradient of x where it is needed; the layers' gradients are filled."""
        cdef StackedLayer layer
        cdef StackedViews view
        cdef cnp.ndarray below, g
        cdef activation_gradient s
        cdef Py_ssize_t i
        if self.trained is None or not use_native() or not self.takes(grad, self.outputs):
            return None
        g = <cnp.ndarray>grad
        if g.shape[0] != (<cnp.ndarray>self.x).shape[0]:
            return None
        views, x = self.trained, self.x
        for i in range(len(self.layers)):  # whether any layer went forward or back by itself since
            if (<StackedLayer>self.layers[i]).owner._saved is not (<StackedViews>(<list>views)[i]).token:
                return None
        self.trained = self.x = None
        for i in range(len(self.layers) - 1, -1, -1):
            layer, view = self.layers[i], (<list>views)[i]
            below = <cnp.ndarray>x if i == 0 else (<StackedViews>(<list>views)[i - 1]).y
            layer.owner._saved = view.token = None
            elementwise_gradient(&s, layer.backward_number, self.dtype, layer.backward_a, layer.backward_b)
            backward(&s, not view.linear, g, None if view.linear else view.kept, view.dz, below, layer.weight,
                     view.dx if i > 0 or need_input_grad else None, layer.weight_gradient, layer.bias_gradient,
                     accumulate, accumulate)
            if i > 0:
                g = view.dx
        return view.dx if need_input_grad else True

    def infer(self, x):
        """The last layer's output as a new array; touches nothing that another thread could."""
        cdef cnp.npy_intp shape[2]
        cdef Py_ssize_t size = 4 if self.dtype == 0 else 8, step, start, half
        cdef cnp.ndarray result
        cdef char *memory = NULL
        cdef int failed = 0
        if not use_native() or not self.takes(x, self.inputs):
            return None
        shape[0], shape[1] = (<cnp.ndarray>x).shape[0], self.outputs
        result = <cnp.ndarray>cnp.PyArray_EMPTY(2, shape, cnp.NPY_FLOAT32 if self.dtype == 0 else cnp.NPY_FLOAT64, 0)
        # A block of rows goes through all layers: what lies between them stays small. A row's bits do not depend on it.
        step = max(min(<Py_ssize_t>shape[0], INFERENCE_BYTES // (self.widest * size)), <Py_ssize_t>1)
        half = (step * self.widest * size + 63) // 64 * 64
        if len(self.layers) > 1:
            memory = <char *>fa_take(FA_INFERENCE, 2 * half)
            if memory == NULL:
                raise MemoryError()
        for start in range(0, shape[0], step):
            failed = self.infer_rows(data(x) + start * self.inputs * size, memory, half,
                                     data(result) + start * self.outputs * size, min(step, shape[0] - start))
            if failed:
                break
        fa_give(FA_INFERENCE, memory)
        if failed:
            raise MemoryError()
        return result

    cdef int infer_rows(self, char *x, char *memory, Py_ssize_t half, char *y, Py_ssize_t rows) except -2:
        cdef StackedLayer layer
        cdef fa_product p
        cdef const fa_kernels *kernels = table.kernels[self.dtype]
        cdef int team, failed
        cdef Py_ssize_t i, last = len(self.layers) - 1
        memset(&p, 0, sizeof(fa_product))
        p.c, p.m = x, rows
        for i in range(last + 1):
            layer = self.layers[i]
            p.a, p.k, p.n = p.c, layer.weight.shape[0], layer.weight.shape[1]
            p.a_row, p.a_column, p.c_row = p.k, 1, p.n
            matrix(layer.weight, &p.b, &p.b_row, &p.b_column)
            p.c = y if i == last else memory + (i & 1) * half
            set_epilogue(&p, kernels, layer.number, layer.bias, None, layer.a, layer.b)
            team = product_team(&p)
            if team == 1 and work(&p) <= KEEP_GIL_PRODUCT:
                failed = multiply(kernels, &p, 1)
            else:
                with nogil:
                    failed = multiply(kernels, &p, team)
            if failed:
                return -1
        return 0
