# A stack of dense layers: a whole pass through a network in one call. Part of _core.pyx.

cdef class Passes:
    """How many training passes a network and its layers have made, each counted by who made it."""

    cdef public Py_ssize_t count


cdef class StackedLayer:
    """What stays the same of one dense layer from step to step."""

    cdef int number, backward_number
    cdef double a, b, backward_a, backward_b
    cdef object bias
    cdef cnp.ndarray weight, weight_gradient, bias_gradient
    cdef public bint trained  # not all of it is frozen

    def __init__(self, forward_kernel, backward_kernel, weight, bias, weight_gradient, bias_gradient):
        """The kernels are (number, a, b) as ``dense`` and ``dense_backward`` take them; the arrays are plain."""
        self.number, self.a, self.b = forward_kernel
        self.backward_number, self.backward_a, self.backward_b = backward_kernel
        self.weight, self.bias = weight, bias
        self.weight_gradient, self.bias_gradient = weight_gradient, bias_gradient
        self.trained = True


cdef class StackedViews:
    """One layer's workspaces for one batch size."""

    cdef cnp.ndarray y
    cdef object slope, kept, dz, dx
    cdef bint linear

    def __init__(self, y, slope, dz, dx, linear):
        """As in ``dense`` and ``dense_backward``; of a linear layer backward reads nothing."""
        self.y, self.slope, self.dz, self.dx, self.linear = y, slope, dz, dx, linear
        self.kept = y if slope is None else slope


cdef class DenseStack:
    """Dense layers one after another; its passes return None for what only the layers themselves can do.

    ``views[rows]`` holds a StackedViews for each layer; the network puts them there before it trains with so many rows.
    ``number``: the count that ``passes`` had reached with the last pass of this stack.
    """

    cdef readonly dict views
    cdef readonly list layers
    cdef readonly Py_ssize_t number
    cdef Passes passes
    cdef int dtype
    cdef cnp.npy_intp inputs, outputs, widest
    cdef list trained  # the views of a forward pass that waits for its backward pass, and its x
    cdef cnp.ndarray x

    def __init__(self, list layers, Passes passes):
        """layers: StackedLayer objects of one dtype whose shapes follow on each other."""
        cdef StackedLayer first = layers[0], layer
        self.layers, self.passes, self.views = layers, passes, {}
        self.dtype = dtype_of(first.weight)
        self.inputs = self.widest = first.weight.shape[0]
        for layer in layers:
            self.outputs = layer.weight.shape[1]
            self.widest = max(self.widest, self.outputs)

    cdef inline bint takes(self, object x, cnp.npy_intp columns) noexcept:
        return (dtype_of(x) == self.dtype and cnp.PyArray_NDIM(<cnp.ndarray>x) == 2
                and (<cnp.ndarray>x).shape[1] == columns and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x))

    cdef inline void made(self, list trained, cnp.ndarray x) noexcept:
        """Note a pass, and what it leaves for a backward pass."""
        self.trained, self.x = trained, x
        self.passes.count += 1
        self.number = self.passes.count

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
            source = view.y
        self.made(views, x)
        return source

    def backward(self, grad, bint need_input_grad, bint accumulate, bint parameters):
        """True, or the gradient of x where it is needed; with parameters, the gradients of trained layers are filled.

        None, too, where anything went forward or back since this stack's forward pass.
        """
        cdef StackedLayer layer
        cdef StackedViews view = None
        cdef cnp.ndarray g
        cdef Py_ssize_t i, lowest = 0
        cdef bint trained
        if (self.trained is None or self.number != self.passes.count or not use_native()
                or not self.takes(grad, self.outputs)):
            return None
        g = <cnp.ndarray>grad
        if g.shape[0] != self.x.shape[0]:
            return None
        views, x = self.trained, self.x
        self.made(None, None)
        if not need_input_grad:  # below the lowest layer that is trained nobody needs a gradient
            while lowest < len(self.layers) and not (parameters and (<StackedLayer>self.layers[lowest]).trained):
                lowest += 1
        for i in range(len(self.layers) - 1, lowest - 1, -1):
            layer, view = self.layers[i], (<list>views)[i]
            trained = parameters and layer.trained
            dense_backward(
                layer.backward_number, g, None if view.linear else view.kept, view.dz,
                x if i == 0 else (<StackedViews>views[i - 1]).y, layer.weight,
                view.dx if i > lowest or need_input_grad else None, layer.weight_gradient if trained else None,
                layer.bias_gradient if trained else None, accumulate, accumulate, layer.backward_a, layer.backward_b)
            if i > lowest:
                g = view.dx
        return view.dx if need_input_grad else True

    def saved(self, Py_ssize_t index):
        """(x, output or slope) of one layer in the forward pass that waits for its backward pass; None without one."""
        if self.trained is None:
            return None
        x = self.x if index == 0 else (<StackedViews>self.trained[index - 1]).y
        return x, (<StackedViews>self.trained[index]).kept

    def infer(self, x):
        """The last layer's output as a new array; touches nothing that another thread could."""
        cdef cnp.npy_intp shape[2]
        cdef Py_ssize_t size = fa_dtypes[self.dtype].size, step, start, half
        cdef cnp.ndarray result
        cdef char *memory = NULL
        if not use_native() or not self.takes(x, self.inputs):
            return None
        shape[0], shape[1] = (<cnp.ndarray>x).shape[0], self.outputs
        result = <cnp.ndarray>cnp.PyArray_EMPTY(2, shape, fa_dtypes[self.dtype].type, 0)
        # A block of rows goes through all layers: what lies between them stays small. A row's bits do not depend on it.
        step = max(min(<Py_ssize_t>shape[0], INFERENCE_BYTES // (self.widest * size)), <Py_ssize_t>1)
        half = lines(step * self.widest * size)
        if len(self.layers) > 1:
            memory = <char *>fa_take(FA_INFERENCE, 2 * half)
            if memory == NULL:
                raise MemoryError()
        try:
            for start in range(0, shape[0], step):
                self.infer_rows(data(x) + start * self.inputs * size, memory, half,
                                data(result) + start * self.outputs * size, min(step, shape[0] - start))
        finally:
            fa_give(FA_INFERENCE, memory)
        return result

    cdef int infer_rows(self, char *x, char *memory, Py_ssize_t half, char *y, Py_ssize_t rows) except -1:
        cdef StackedLayer layer
        cdef fa_product p
        cdef const fa_kernels *kernels = table.kernels[self.dtype]
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
            run(kernels, &p)
        return 0
