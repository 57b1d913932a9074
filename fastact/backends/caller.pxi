# Dense layers over memory that the caller owns: any number of forwards may wait for their backward. Part of _core.pyx.

cdef struct owned_layer:
    int number, backward_number
    double a, b, backward_a, backward_b
    Py_ssize_t inputs, outputs
    bint biased, linear, sloped, across  # across: the weight lies as (outputs, inputs)
    Py_ssize_t place  # of the weight among the parameters; the bias is the next


cdef class OwnedDense:
    """Dense layers one after another, whose parameters, results and saved state lie where addresses say.

    Nothing is kept from call to call: passes may overlap, also in several threads. All memory is C-contiguous, aligned,
    of one dtype, and alive during a call; the caller sees to that. ``parameters`` are the addresses of each layer's
    weight, and of its bias where there is one. A weight lies as (inputs, outputs), or where it is ``across`` as
    (outputs, inputs), and so does its gradient.
    """

    cdef owned_layer *layers
    cdef Py_ssize_t count, widest, size, places
    cdef int dtype

    def __cinit__(self, int dtype, list layers):
        """dtype: its place among the dtypes. layers: (forward kernel, backward kernel, saves, inputs, outputs, biased,
        across), the kernels (number, a, b) as ``dense`` and ``dense_backward`` take them, saves "y", "slope" or "none".
        """
        cdef owned_layer *layer
        cdef Py_ssize_t i
        self.dtype, self.size, self.count = dtype, fa_dtypes[dtype].size, len(layers)
        self.layers = <owned_layer *>calloc(max(self.count, 1), sizeof(owned_layer))
        if self.layers == NULL:
            raise MemoryError()
        for i, (forward, backward, saves, inputs, outputs, biased, across) in enumerate(layers):
            layer = &self.layers[i]
            layer.number, layer.a, layer.b = forward
            layer.backward_number, layer.backward_a, layer.backward_b = backward
            layer.inputs, layer.outputs, layer.biased, layer.across = inputs, outputs, biased, across
            layer.linear, layer.sloped = saves == "none", saves == "slope"
            layer.place = self.places
            self.places += 2 if layer.biased else 1
            self.widest = max(self.widest, layer.inputs, layer.outputs)

    def __dealloc__(self):
        free(self.layers)

    cdef inline Py_ssize_t bytes_of(self, Py_ssize_t rows, Py_ssize_t columns) noexcept:
        return lines(rows * columns * self.size)

    def state_bytes(self, Py_ssize_t rows):
        """Of what a forward for so many rows saves: every result but the last, and slopes."""
        cdef Py_ssize_t i, total = 0
        for i in range(self.count):
            total += (self.layers[i].sloped + (i < self.count - 1)) * self.bytes_of(rows, self.layers[i].outputs)
        return total

    cdef int product(self, owned_layer *layer, list parameters, const char *x, char *y, char *slope,
                     Py_ssize_t rows) except -1:
        """y = f(x @ weight + bias), and the slope where there is a place for it."""
        cdef const fa_kernels *kernels = table.kernels[self.dtype]
        cdef fa_product p
        memset(&p, 0, sizeof(fa_product))
        p.a, p.m, p.k, p.n = x, rows, layer.inputs, layer.outputs
        p.a_row, p.a_column, p.c_row, p.c = p.k, 1, p.n, y
        p.b = <char *><Py_ssize_t>parameters[layer.place]
        p.b_row = 1 if layer.across else p.n
        p.b_column = p.k if layer.across else 1
        set_epilogue(&p, kernels, layer.number, None, None, layer.a, layer.b)
        p.slope, p.slope_row = slope, 0 if slope == NULL else p.n
        if layer.biased:
            p.bias = <char *><Py_ssize_t>parameters[layer.place + 1]
            if layer.number == IDENTITY:
                p.epilogue = kernels.add_bias
        return run(kernels, &p)

    def infer(self, list parameters, Py_ssize_t x, Py_ssize_t rows, Py_ssize_t y):
        """The last layer's output, and nothing else."""
        cdef Py_ssize_t step = max(min(rows, INFERENCE_BYTES // (self.widest * self.size)), <Py_ssize_t>1)
        cdef Py_ssize_t half = self.bytes_of(step, self.widest), start, i, n, last = self.count - 1
        cdef char *memory = NULL
        cdef char *source
        cdef char *target
        if last > 0:
            memory = <char *>fa_take(FA_INFERENCE, 2 * half)
            if memory == NULL:
                raise MemoryError()
        try:  # a block of rows goes through all layers, as in DenseStack
            for start in range(0, rows, step):
                n = min(step, rows - start)
                source = <char *>x + start * self.layers[0].inputs * self.size
                for i in range(self.count):
                    target = memory + (i & 1) * half
                    if i == last:
                        target = <char *>y + start * self.layers[last].outputs * self.size
                    self.product(&self.layers[i], parameters, source, target, NULL, n)
                    source = target
        finally:
            fa_give(FA_INFERENCE, memory)

    def forward(self, list parameters, Py_ssize_t x, Py_ssize_t rows, Py_ssize_t y, Py_ssize_t state):
        """The last layer's output to y, and what backward needs to state."""
        cdef char *source = <char *>x
        cdef char *place = <char *>state
        cdef char *target
        cdef char *slope
        cdef owned_layer *layer
        cdef Py_ssize_t i, length
        for i in range(self.count):
            layer = &self.layers[i]
            length = self.bytes_of(rows, layer.outputs)
            slope = target = NULL
            if layer.sloped:
                slope, place = place, place + length
            if i < self.count - 1:
                target, place = place, place + length
            else:
                target = <char *>y
            self.product(layer, parameters, source, target, slope, rows)
            source = target

    cdef cnp.ndarray view(self, char *start, Py_ssize_t rows, Py_ssize_t columns, bint across=False):
        """A matrix at that address; where it is across, the transpose of what lies there."""
        cdef cnp.npy_intp shape[2]
        shape[0] = columns if across else rows
        shape[1] = rows if across else columns
        array = cnp.PyArray_SimpleNewFromData(2, shape, fa_dtypes[self.dtype].type, start)
        return <cnp.ndarray>cnp.PyArray_Transpose(array, NULL) if across else array

    cdef object vector(self, char *start, Py_ssize_t length):
        cdef cnp.npy_intp shape = length
        return None if start == NULL else cnp.PyArray_SimpleNewFromData(1, &shape, fa_dtypes[self.dtype].type, start)

    def backward(self, list parameters, Py_ssize_t x, Py_ssize_t rows, Py_ssize_t y, Py_ssize_t state,
                 Py_ssize_t grad, Py_ssize_t dx, list gradients):
        """The gradients to where ``gradients`` says, in the parameters' order, and that of x to dx; 0: not needed.

        The state stays as it is: the same forward may have several backwards.
        """
        cdef Py_ssize_t half = self.bytes_of(rows, self.widest), i, lowest = self.count, length
        cdef char *memory = NULL
        cdef char *end = <char *>state + <Py_ssize_t>self.state_bytes(rows)
        cdef char *given = <char *>grad
        cdef char *result = <char *>y  # of the layer in turn
        cdef char *kept
        cdef char *source
        cdef char *target
        cdef char *weight
        cdef char *dw
        cdef char *db
        cdef owned_layer *layer
        for i in range(self.count - 1, -1, -1):  # below the lowest layer that is trained nobody needs a gradient
            layer = &self.layers[i]
            if gradients[layer.place] or (layer.biased and gradients[layer.place + 1]):
                lowest = i
        if dx != 0:
            lowest = 0
        if self.count > 1:
            memory = <char *>fa_take(FA_INFERENCE, 2 * half)
            if memory == NULL:
                raise MemoryError()
        try:
            for i in range(self.count - 1, lowest - 1, -1):
                layer = &self.layers[i]
                length = self.bytes_of(rows, layer.outputs)
                dw = <char *><Py_ssize_t>gradients[layer.place]
                db = <char *><Py_ssize_t>gradients[layer.place + 1] if layer.biased else NULL
                if i < self.count - 1:
                    end -= length
                kept = result
                if layer.sloped:
                    end -= length
                    kept = end
                # below this layer's part of the state lies that of the layer before, its result last
                source = <char *>x if i == 0 else end - self.bytes_of(rows, layer.inputs)
                target = <char *>dx if i == 0 else memory + (i & 1) * half if i > lowest else NULL
                weight = <char *><Py_ssize_t>parameters[layer.place]
                if dw != NULL or db != NULL or target != NULL:
                    dense_backward(
                        layer.backward_number, self.view(given, rows, layer.outputs),
                        None if layer.linear else self.view(kept, rows, layer.outputs), None,
                        self.view(source, rows, layer.inputs),
                        self.view(weight, layer.inputs, layer.outputs, layer.across),
                        None if target == NULL else self.view(target, rows, layer.inputs),
                        None if dw == NULL else self.view(dw, layer.inputs, layer.outputs, layer.across),
                        self.vector(db, layer.outputs), False, False, layer.backward_a, layer.backward_b)
                given, result = target, source
        finally:
            fa_give(FA_INFERENCE, memory)
