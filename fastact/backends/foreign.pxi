# Dense layers over another library's arrays: any number of forwards may wait for their backward. Part of _core.pyx.

cdef struct foreign_layer:
    int number, backward_number
    double a, b, backward_a, backward_b
    Py_ssize_t inputs, outputs
    bint biased, linear, sloped
    Py_ssize_t place  # of the weight among the parameters; the bias is the next

cdef struct foreign_parameters:
    # Of one layer, in one call. The weight lies as (inputs, outputs), or across, as (outputs, inputs).
    char *weight
    char *bias
    bint across


cdef inline bint in_one_piece(const fa_dl_tensor *seen) noexcept:
    """Whether it is C-contiguous."""
    cdef int64_t length = 1
    cdef int i
    if seen.strides == NULL:
        return True
    for i in range(seen.ndim - 1, -1, -1):
        if seen.shape[i] == 0:
            return True
        if seen.shape[i] != 1 and seen.strides[i] != length:
            return False
        length *= seen.shape[i]
    return True


cdef inline char *aligned(char *start) noexcept:
    """The next line of the cache."""
    return <char *>(<size_t>start + (LINE_BYTES - 1) & ~<size_t>(LINE_BYTES - 1))


cdef class ForeignDense:
    """Dense layers one after another over tensors: parameters, what goes through them, and what backward needs.

    Nothing is kept from call to call: passes may overlap, also in several threads. Weights have shape (outputs, inputs)
    and lie in one piece, row by row or column by column; gradients lie as they do. Tensors are looked at through the
    table that DLPack's exchange in C has for their types.
    """

    cdef const fa_dl_exchange *table
    cdef tuple kinds
    cdef object empty_like
    cdef foreign_layer *layers
    cdef Py_ssize_t count, widest, size, places
    cdef bint result_saved
    cdef int dtype

    def __cinit__(self, capsule, tuple kinds, empty_like, int dtype, list layers):
        """capsule: the table of the types ``kinds``; empty_like: their function. dtype: a place among ours.

        layers: (forward kernel, backward kernel, saves, inputs, outputs, biased), the
        kernels (number, a, b) as ``dense`` and ``dense_backward`` take them, saves "y", "slope" or "none".
        """
        cdef foreign_layer *layer
        cdef Py_ssize_t i
        self.table = <const fa_dl_exchange *>PyCapsule_GetPointer(capsule, "dlpack_exchange_api")
        if self.table.major != FA_DL_MAJOR or self.table.look == NULL:
            raise ImportError(f"DLPack's table for exchange is of version {self.table.major}, not {FA_DL_MAJOR}")
        self.kinds, self.empty_like = kinds, empty_like
        self.dtype, self.size, self.count = dtype, fa_dtypes[dtype].size, len(layers)
        self.layers = <foreign_layer *>calloc(max(self.count, 1), sizeof(foreign_layer))
        if self.layers == NULL:
            raise MemoryError()
        for i, (forward, backward, saves, inputs, outputs, biased) in enumerate(layers):
            layer = &self.layers[i]
            layer.number, layer.a, layer.b = forward
            layer.backward_number, layer.backward_a, layer.backward_b = backward
            layer.inputs, layer.outputs, layer.biased = inputs, outputs, biased
            layer.linear, layer.sloped = saves == "none", saves == "slope"
            layer.place = self.places
            self.places += 2 if layer.biased else 1
            self.widest = max(self.widest, layer.inputs, layer.outputs)
            self.result_saved = saves == "y"

    def __dealloc__(self):
        free(self.layers)

    cdef bint look(self, object tensor, fa_dl_tensor *seen) except -1:
        """Whether it is a tensor of the right type in the CPU's memory, and where its data are."""
        if type(tensor) not in self.kinds:
            return False
        self.table.look(<void *>tensor, seen)
        seen.data = <char *>seen.data + seen.byte_offset
        return (seen.device_type == FA_DL_CPU and seen.code == FA_DL_FLOAT and seen.lanes == 1
                and seen.bits == 8 * self.size)

    cdef char *address(self, object tensor) except? NULL:
        """Of a tensor that fits; NULL for None."""
        cdef fa_dl_tensor seen
        if tensor is None:
            return NULL
        self.table.look(<void *>tensor, &seen)
        return <char *>seen.data + seen.byte_offset

    cdef bint read(self, object parameters, Py_ssize_t first, foreign_parameters *found) except -1:
        """Where the parameters are, from that place of a sequence on; whether they fit."""
        cdef foreign_layer *layer
        cdef fa_dl_tensor seen
        cdef int64_t rows, columns
        cdef Py_ssize_t i
        if len(parameters) - first != self.places:
            return False
        for i in range(self.count):
            layer = &self.layers[i]
            if not self.look(parameters[first + layer.place], &seen) or seen.ndim != 2:
                return False
            rows, columns = seen.shape[0], seen.shape[1]
            if rows != layer.outputs or columns != layer.inputs:
                return False
            found[i].weight, found[i].across = <char *>seen.data, in_one_piece(&seen)
            if not found[i].across and not (seen.strides[0] == 1 and seen.strides[1] == rows):
                return False
            found[i].bias = NULL
            if layer.biased:
                if (not self.look(parameters[first + layer.place + 1], &seen) or seen.ndim != 1
                        or seen.shape[0] != layer.outputs or not in_one_piece(&seen)):
                    return False
                found[i].bias = <char *>seen.data
        return True

    cdef foreign_parameters *reading(self) except NULL:
        cdef foreign_parameters *found = <foreign_parameters *>calloc(max(self.count, 1), sizeof(foreign_parameters))
        if found == NULL:
            raise MemoryError()
        return found

    cdef inline Py_ssize_t bytes_of(self, Py_ssize_t rows, Py_ssize_t columns) noexcept:
        return lines(rows * columns * self.size)

    cdef Py_ssize_t state_bytes(self, Py_ssize_t rows) noexcept:
        """Of what a forward for so many rows saves: for each layer its slope, if any, and its result but the last's."""
        cdef Py_ssize_t i, total = 0
        for i in range(self.count):
            total += (self.layers[i].sloped + (i < self.count - 1)) * self.bytes_of(rows, self.layers[i].outputs)
        return total

    def fits(self, x, parameters):
        """Whether the other calls can take these: x of shape (..., inputs) in one piece, and the layers' parameters."""
        cdef fa_dl_tensor seen
        cdef foreign_parameters *found = self.reading()
        try:
            return (self.look(x, &seen) and seen.ndim > 0 and seen.shape[seen.ndim - 1] == self.layers[0].inputs
                    and in_one_piece(&seen) and self.read(parameters, 0, found))
        except Exception:  # the table's, of tensors that have no memory
            return False
        finally:
            free(found)

    cdef object result(self, x, fa_dl_tensor *seen, Py_ssize_t *rows):
        """An empty tensor for x's result, and how many rows x has."""
        cdef Py_ssize_t i, outputs = self.layers[self.count - 1].outputs
        rows[0] = 1
        for i in range(seen.ndim - 1):
            rows[0] *= seen.shape[i]
        if seen.ndim == 2:
            return x.new_empty((rows[0], outputs))
        return x.new_empty((*[seen.shape[i] for i in range(seen.ndim - 1)], outputs))

    cdef int product(self, const foreign_layer *layer, const foreign_parameters *own, const char *x, char *y,
                     char *slope, Py_ssize_t rows) except -1:
        """y = f(x @ weight + bias), and the slope where there is a place for it."""
        cdef const fa_kernels *kernels = table.kernels[self.dtype]
        cdef fa_product p
        memset(&p, 0, sizeof(fa_product))
        p.a, p.b, p.c, p.m, p.k, p.n = x, own.weight, y, rows, layer.inputs, layer.outputs
        p.a_row, p.a_column, p.c_row = p.k, 1, p.n
        p.b_row = 1 if own.across else p.n
        p.b_column = p.k if own.across else 1
        set_epilogue(&p, kernels, layer.number, None, None, layer.a, layer.b)
        p.bias, p.slope, p.slope_row = own.bias, slope, 0 if slope == NULL else p.n
        if layer.number == IDENTITY and layer.biased:
            p.epilogue = kernels.add_bias
        return run(kernels, &p)

    def infer(self, x, parameters):
        """The last layer's output, and nothing else."""
        cdef fa_dl_tensor seen
        cdef Py_ssize_t rows, step, half, start, i, n, last = self.count - 1
        cdef char *memory = NULL
        cdef char *source
        cdef char *target
        cdef char *end
        cdef foreign_parameters *found = self.reading()
        self.look(x, &seen)
        source = <char *>seen.data
        try:
            self.read(parameters, 0, found)
            y = self.result(x, &seen, &rows)
            end = self.address(y)
            step = max(min(rows, INFERENCE_BYTES // (self.widest * self.size)), <Py_ssize_t>1)
            half = self.bytes_of(step, self.widest)
            if last > 0:
                memory = <char *>fa_take(FA_INFERENCE, 2 * half)
                if memory == NULL:
                    raise MemoryError()
            for start in range(0, rows, step):  # a block of rows goes through all layers, as in DenseStack
                n = min(step, rows - start)
                source = <char *>seen.data + start * self.layers[0].inputs * self.size
                for i in range(self.count):
                    target = memory + (i & 1) * half
                    if i == last:
                        target = end + start * self.layers[last].outputs * self.size
                    self.product(&self.layers[i], &found[i], source, target, NULL, n)
                    source = target
        finally:
            fa_give(FA_INFERENCE, memory)
            free(found)
        return y

    def forward(self, x, parameters):
        """The last layer's output, and what ``backward`` is to be given beside x: that output or None, and a state."""
        cdef fa_dl_tensor seen
        cdef Py_ssize_t rows, i, length
        cdef cnp.npy_intp shape
        cdef char *source
        cdef char *place
        cdef char *target
        cdef char *slope
        cdef foreign_layer *layer
        cdef foreign_parameters *found = self.reading()
        self.look(x, &seen)
        source = <char *>seen.data
        try:
            self.read(parameters, 0, found)
            y = self.result(x, &seen, &rows)
            shape = self.state_bytes(rows) + LINE_BYTES
            state = cnp.PyArray_EMPTY(1, &shape, cnp.NPY_UINT8, 0)
            place = aligned(data(state))
            for i in range(self.count):
                layer = &self.layers[i]
                length = self.bytes_of(rows, layer.outputs)
                slope = NULL
                if layer.sloped:
                    slope, place = place, place + length
                if i < self.count - 1:
                    target, place = place, place + length
                else:
                    target = self.address(y)
                self.product(layer, &found[i], source, target, slope, rows)
                source = target
        finally:
            free(found)
        return y, y if self.result_saved else None, state

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

    def backward(self, tuple saved, state, grad, tuple needed):
        """(dx, gradients of the parameters), None where they are not needed.

        saved: x, the last layer's output or None, and the parameters, which all stay as they are, as the state does: a
        forward may have several backwards. needed: of x, and of each parameter.
        """
        cdef fa_dl_tensor seen
        cdef Py_ssize_t rows = 1, half, i, lowest = self.count, length
        cdef char *memory = NULL
        cdef char *given
        cdef char *end
        cdef char *first
        cdef char *dx
        cdef char *dw
        cdef char *db
        cdef char *source  # what the layer in turn was given, what it made of it, and what of that it saved
        cdef char *result
        cdef char *kept
        cdef char *target
        cdef foreign_layer *layer
        cdef list gradients = [None] * (1 + self.places)
        cdef foreign_parameters *found
        x, y = saved[:2]
        if not (self.look(grad, &seen) and in_one_piece(&seen)):
            grad = grad.contiguous()
            self.look(grad, &seen)
        given = <char *>seen.data
        for i in range(seen.ndim - 1):
            rows *= seen.shape[i]
        for i in range(1 + self.places):
            if needed[i]:
                gradients[i] = self.empty_like(saved[1 + i] if i > 0 else x)
        for i in range(self.count - 1, -1, -1):  # below the lowest layer that is trained nobody needs a gradient
            layer = &self.layers[i]
            if needed[1 + layer.place] or (layer.biased and needed[2 + layer.place]):
                lowest = i
        if needed[0]:
            lowest = 0
        first, result, end = self.address(x), self.address(y), aligned(data(state)) + self.state_bytes(rows)
        dx = self.address(gradients[0])
        half = self.bytes_of(rows, self.widest)
        found = self.reading()
        try:
            if not self.read(saved, 2, found):
                raise RuntimeError("the parameters have other shapes than in the forward pass")
            if self.count > 1:
                memory = <char *>fa_take(FA_INFERENCE, 2 * half)
                if memory == NULL:
                    raise MemoryError()
            for i in range(self.count - 1, lowest - 1, -1):
                layer = &self.layers[i]
                length = self.bytes_of(rows, layer.outputs)
                if i < self.count - 1:
                    end -= length
                kept = result
                if layer.sloped:
                    end -= length
                    kept = end
                # below this layer's part of the state lies that of the layer before, its result last
                source = first if i == 0 else end - self.bytes_of(rows, layer.inputs)
                target = dx if i == 0 else memory + (i & 1) * half if i > lowest else NULL
                dw = self.address(gradients[1 + layer.place])
                db = self.address(gradients[2 + layer.place]) if layer.biased else NULL
                if dw != NULL or db != NULL or target != NULL:
                    dense_backward(
                        layer.backward_number, self.view(given, rows, layer.outputs),
                        None if layer.linear else self.view(kept, rows, layer.outputs), None,
                        self.view(source, rows, layer.inputs),
                        self.view(found[i].weight, layer.inputs, layer.outputs, found[i].across),
                        None if target == NULL else self.view(target, rows, layer.inputs),
                        None if dw == NULL else self.view(dw, layer.inputs, layer.outputs, found[i].across),
                        self.vector(db, layer.outputs), False, False, layer.backward_a, layer.backward_b)
                given, result = target, source
        finally:
            fa_give(FA_INFERENCE, memory)
            free(found)
        return gradients
