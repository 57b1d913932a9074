# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""Typed entry points of the kernels: pick the kernel by dtype, release the GIL, spread blocks over threads.

Nothing here writes an error message about arrays. The ``try_`` functions return None for everything but the plain
case (exact ndarrays, float32 or float64, native, aligned, contiguous, same shape and order, out disjoint from or
exactly an input, native backend); the caller then takes the road through ``_checks``. The others trust their caller.
"""

cimport numpy as cnp
from cpython.ref cimport Py_DECREF, PyObject
from cython.parallel cimport prange, threadid

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cnp.import_array()


cdef extern from "fa_dispatch.h" nogil:
    ctypedef struct fa_parameters:
        double a
        double b
    ctypedef void fa_forward(const void *, void *, Py_ssize_t, fa_parameters) noexcept
    ctypedef void fa_backward(const void *, const void *, void *, Py_ssize_t, fa_parameters) noexcept
    ctypedef void fa_epilogue(
        void *, const void *, void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, fa_parameters) noexcept
    ctypedef void fa_bias_backward(
        const void *, const void *, void *, void *, Py_ssize_t, Py_ssize_t, fa_parameters) noexcept
    ctypedef double fa_softmax_cross_entropy(
        const void *, const int64_t *, const void *, void *, Py_ssize_t, Py_ssize_t, double) noexcept
    ctypedef void fa_sgd(void *, const void *, void *, Py_ssize_t, double, double, double) noexcept
    ctypedef void fa_add_rows(const void *, void *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef void fa_learned_forward(
        const void *, const void *, int, void *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef void fa_learned_backward(
        const void *, const void *, const void *, int, void *, void *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef void fa_row_forward(const void *, void *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef void fa_row_backward(const void *, const void *, void *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef void fa_maxout(const void *, void *, uint8_t *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef void fa_maxout_backward(const void *, const uint8_t *, void *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef void fa_relu_masked(const void *, void *, uint8_t *, Py_ssize_t) noexcept
    ctypedef void fa_relu_masked_backward(const void *, const uint8_t *, void *, Py_ssize_t) noexcept
    ctypedef struct fa_learned:
        const char *name
        fa_learned_forward *forward
        fa_learned_backward *backward
    ctypedef struct fa_row_function:
        const char *name
        fa_row_forward *forward
        fa_row_backward *backward
    ctypedef struct fa_activation:
        const char *name
        fa_forward *forward
        fa_backward *backward
        fa_epilogue *epilogue
        fa_bias_backward *bias_backward
    ctypedef struct fa_product:
        const void *a
        const void *b
        void *c
        Py_ssize_t m, n, k, a_row, a_column, b_row, b_column, c_row
        int accumulate, swapped
        fa_epilogue *epilogue
        const void *bias
        void *slope
        Py_ssize_t slope_row
        fa_parameters parameters
        Py_ssize_t row_tasks, column_tasks, pack_tasks
        size_t shared_bytes, task_bytes
    ctypedef void fa_product_plan(fa_product *, int) noexcept
    ctypedef void fa_product_pack(const fa_product *, Py_ssize_t, void *) noexcept
    ctypedef void fa_product_task(const fa_product *, Py_ssize_t, const void *, void *) noexcept
    ctypedef struct fa_kernels:
        const fa_activation *activations
        fa_bias_backward *slope_backward
        const fa_learned *learned
        const fa_row_function *row_functions
        fa_maxout *maxout
        fa_maxout_backward *maxout_backward
        fa_relu_masked *relu_masked
        fa_relu_masked_backward *relu_masked_backward
        fa_softmax_cross_entropy *softmax_cross_entropy
        fa_sgd *sgd
        fa_add_rows *add_rows
        fa_product_plan *product_plan
        fa_product_pack *product_pack
        fa_product_task *product_task
        fa_epilogue *add_bias
        int lanes
    ctypedef struct fa_table:
        const char *name
        int activation_count
        int learned_count
        int row_function_count
        const fa_kernels *kernels[2]
    const fa_table *fa_table_at(int)
    int fa_supported(const fa_table *)

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    static const int fa_openmp = _OPENMP;
    #else
    static const int fa_openmp = 0;
    static int omp_get_max_threads(void) { return 1; }
    #endif

    #ifdef __clang__
    static const char *const fa_compiler = "clang " __clang_version__;
    #else
    static const char *const fa_compiler = "gcc " __VERSION__;
    #endif

    /* No OpenMP runtime survives fork: a forked child computes serially. Set where the fork happens, so it holds
       however the child came to be (os.fork, multiprocessing, C). */
    static volatile int fa_forked = 0;
    #ifndef _WIN32
    #include <pthread.h>
    static void fa_after_fork(void) { fa_forked = 1; }
    static int fa_watch_forks(void) { return pthread_atfork(NULL, NULL, fa_after_fork); }
    #else
    static int fa_watch_forks(void) { return 0; }
    #endif

    /* Workspace of one call. A block for each use is kept for the next caller, so that a training step allocates
       nothing; who comes while it is out gets one from malloc. The word before the memory holds its size. */
    #include <stdlib.h>
    enum { FA_PACKED, FA_GRADIENT, FA_USES };
    static void *fa_spare[FA_USES];
    static void *fa_take(int use, size_t bytes) {
        char *block = (char *)__atomic_exchange_n(&fa_spare[use], NULL, __ATOMIC_ACQ_REL);
        if (block && *(size_t *)block < bytes) {
            free(block);
            block = NULL;
        }
        if (!block) {
            block = (char *)aligned_alloc(64, 64 + (bytes + 63) / 64 * 64);
            if (!block) return NULL;
            *(size_t *)block = bytes;
        }
        return block + 64;
    }
    static void fa_give(int use, void *memory) {
        if (memory) free(__atomic_exchange_n(&fa_spare[use], (char *)memory - 64, __ATOMIC_ACQ_REL));
    }
    """
    const int fa_openmp
    const char *const fa_compiler
    int fa_forked
    int fa_watch_forks() nogil
    int omp_get_max_threads() nogil
    cdef enum:
        FA_PACKED
        FA_GRADIENT
    void *fa_take(int, size_t) nogil
    void fa_give(int, void *) nogil

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewLikeArray(cnp.ndarray, cnp.NPY_ORDER, void *, int)

cdef extern from "Python.h":
    int PyContextVar_Get(object var, PyObject *default_value, PyObject **value) except -1

cdef enum:
    # Elements per block: small enough to share out, large enough that a call through a pointer is nothing.
    BLOCK = 8192
    # Rows per block of everything that reduces over rows: fixed, so that a sum's bits do not depend on threads.
    ROWS = 64
    # Below this many elements a kernel is done before another thread could take the GIL.
    KEEP_GIL = 4096
    # The same for products, in multiplications.
    KEEP_GIL_PRODUCT = 65536
    # Activations there can be; a table of thresholds is indexed by activation number.
    MOST = 64
    # Partial sums that fit the stack.
    STACK_PARTS = 256

cdef const fa_table *table = NULL
cdef Py_ssize_t thresholds[MOST]
cdef Py_ssize_t row_threshold = 0
cdef Py_ssize_t update_threshold = 0
cdef Py_ssize_t product_threshold = 0
cdef int thread_setting = 0
cdef int thread_limit = 1
cdef object backend_variable = None
cdef object native = None
cdef object thread_variable = None

if fa_watch_forks() != 0:
    raise MemoryError("fastact: could not register the fork handler")


# ---------------------------------------------------------------------------------------------- configuration

def instruction_sets():
    """[(name, whether this machine can run it)] of this build, best last."""
    cdef int i = 0
    sets = []
    while fa_table_at(i) != NULL:
        sets.append((fa_table_at(i).name.decode(), bool(fa_supported(fa_table_at(i)))))
        i += 1
    return sets


def use_instruction_set(str name):
    """Use the kernels of that name, which ``instruction_sets`` must list as supported."""
    global table
    cdef int i = 0
    while fa_table_at(i) != NULL:
        if fa_table_at(i).name.decode() == name and fa_supported(fa_table_at(i)):
            table = fa_table_at(i)
            return
        i += 1
    raise ValueError(name)


def activation_names():
    """Names of the compiled activations; the position of a name is its kernel's number."""
    return [table.kernels[0].activations[i].name.decode() for i in range(table.activation_count)]


def learned_names():
    """Names of the compiled activations with a learned weight, in the order of their numbers."""
    return [table.kernels[0].learned[i].name.decode() for i in range(table.learned_count)]


def row_function_names():
    """Names of the compiled functions of rows, in the order of their numbers."""
    return [table.kernels[0].row_functions[i].name.decode() for i in range(table.row_function_count)]


def build_information():
    """How the extension was built."""
    return {"openmp": bool(fa_openmp), "compiler": fa_compiler.decode()}


def configure(backend, native_value, threads, int limit, list activation_thresholds, Py_ssize_t rows,
              Py_ssize_t updates, Py_ssize_t products):
    """Hand over the context variables and the sizes (in elements) from which work is shared between threads."""
    global backend_variable, native, thread_variable, thread_limit, row_threshold, update_threshold, product_threshold
    backend_variable, native, thread_variable, thread_limit = backend, native_value, threads, limit
    for i, value in enumerate(activation_thresholds):
        thresholds[i] = value
    row_threshold, update_threshold, product_threshold = rows, updates, products


def set_threads(int n):
    """The process-wide number of threads; 0 for the default."""
    global thread_setting
    thread_setting = n


def forked():
    """Whether this process was forked after fastact was imported."""
    return bool(fa_forked)


cdef int threads() except -1:
    cdef PyObject *value = NULL
    cdef int n
    if fa_forked or not fa_openmp:
        return 1
    PyContextVar_Get(thread_variable, NULL, &value)
    n = <object>value
    Py_DECREF(<object>value)
    if n == 0:
        n = thread_setting
    if n == 0:
        n = min(omp_get_max_threads(), thread_limit)
    return max(n, 1)


def get_threads():
    """Threads that the next large call in this context will use."""
    return threads()


cdef inline bint use_native() except -1:
    cdef PyObject *value = NULL
    PyContextVar_Get(backend_variable, NULL, &value)
    cdef bint same = value == <PyObject *>native
    Py_DECREF(<object>value)
    return same


# ---------------------------------------------------------------------------------------------- array layout

cdef inline int dtype_of(object array) noexcept:
    """0 for a plain float32 array, 1 for float64, -1 for anything that needs care."""
    if not cnp.PyArray_CheckExact(array):
        return -1
    cdef int number = cnp.PyArray_TYPE(<cnp.ndarray>array)
    if number == cnp.NPY_FLOAT32:
        number = 0
    elif number == cnp.NPY_FLOAT64:
        number = 1
    else:
        return -1
    if not (cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>array) or cnp.PyArray_ISFARRAY_RO(<cnp.ndarray>array)):
        return -1
    return number


cdef inline bint same_layout(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Same dtype, shape and order of two arrays, the first of which is plain."""
    if not cnp.PyArray_CheckExact(b) or cnp.PyArray_TYPE(a) != cnp.PyArray_TYPE(b):
        return False
    cdef int i, ndim = cnp.PyArray_NDIM(a)
    if ndim != cnp.PyArray_NDIM(b):
        return False
    for i in range(ndim):
        if cnp.PyArray_DIMS(a)[i] != cnp.PyArray_DIMS(b)[i]:
            return False
    if cnp.PyArray_ISCARRAY_RO(a) and cnp.PyArray_ISCARRAY_RO(b):
        return True
    return cnp.PyArray_ISFARRAY_RO(a) and cnp.PyArray_ISFARRAY_RO(b)


cdef inline bint may_write(cnp.ndarray out, cnp.ndarray source) noexcept:
    """Whether out is writeable and exactly source or disjoint from it (both contiguous, same size)."""
    cdef const char *a = <const char *>cnp.PyArray_DATA(out)
    cdef const char *b = <const char *>cnp.PyArray_DATA(source)
    cdef Py_ssize_t size = cnp.PyArray_NBYTES(out)
    return cnp.PyArray_ISWRITEABLE(out) and (a == b or a + size <= b or b + size <= a)


cdef inline char *data(object array) noexcept:
    return NULL if array is None else <char *>cnp.PyArray_DATA(<cnp.ndarray>array)


cdef inline char *at(char *start, Py_ssize_t offset) noexcept nogil:
    return NULL if start == NULL else start + offset


cdef inline int row_team(Py_ssize_t n) except -1:
    return threads() if n >= row_threshold else 1


# ---------------------------------------------------------------------------------------------- elementwise

cdef void forward_blocks(fa_forward *kernel, const char *x, char *y, Py_ssize_t n, Py_ssize_t size, fa_parameters p,
                         int team) noexcept nogil:
    cdef Py_ssize_t i
    if team == 1:
        kernel(x, y, n, p)
        return
    for i in prange((n + BLOCK - 1) // BLOCK, num_threads=team, schedule="static"):
        kernel(x + i * BLOCK * size, y + i * BLOCK * size, min(<Py_ssize_t>BLOCK, n - i * BLOCK), p)


cdef void backward_blocks(fa_backward *kernel, const char *grad, const char *saved, char *dx, Py_ssize_t n,
                          Py_ssize_t size, fa_parameters p, int team) noexcept nogil:
    cdef Py_ssize_t i
    if team == 1:
        kernel(grad, saved, dx, n, p)
        return
    for i in prange((n + BLOCK - 1) // BLOCK, num_threads=team, schedule="static"):
        kernel(grad + i * BLOCK * size, saved + i * BLOCK * size, dx + i * BLOCK * size,
               min(<Py_ssize_t>BLOCK, n - i * BLOCK), p)


def try_forward(int number, object x, object out, double a, double b):
    """y = f(x) for the plain case; None otherwise, with nothing written."""
    cdef int dtype = dtype_of(x), team
    if dtype < 0 or not use_native():
        return None
    cdef cnp.ndarray source = <cnp.ndarray>x
    cdef cnp.ndarray result
    if out is None:
        result = <cnp.ndarray>PyArray_NewLikeArray(source, cnp.NPY_KEEPORDER, NULL, 0)
    elif not isinstance(out, cnp.ndarray):
        return None
    else:
        result = <cnp.ndarray>out
        if not same_layout(source, result) or not may_write(result, source):
            return None
    cdef Py_ssize_t n = cnp.PyArray_SIZE(source), size = cnp.PyArray_ITEMSIZE(source)
    cdef fa_forward *kernel = table.kernels[dtype].activations[number].forward
    cdef const char *from_ = <const char *>cnp.PyArray_DATA(source)
    cdef char *to = <char *>cnp.PyArray_DATA(result)
    cdef fa_parameters p = fa_parameters(a, b)
    if n <= KEEP_GIL:
        kernel(from_, to, n, p)
        return result
    team = threads() if n >= thresholds[number] else 1
    with nogil:
        forward_blocks(kernel, from_, to, n, size, p, team)
    return result


def try_backward(int number, object grad, object saved, object out, double a, double b):
    """dx = grad * f' for the plain case; None otherwise, with nothing written."""
    cdef int dtype = dtype_of(grad), team
    if dtype < 0 or not isinstance(saved, cnp.ndarray) or not use_native():
        return None
    cdef cnp.ndarray g = <cnp.ndarray>grad, s = <cnp.ndarray>saved
    cdef cnp.ndarray result
    if not same_layout(g, s):
        return None
    if out is None:
        result = <cnp.ndarray>PyArray_NewLikeArray(g, cnp.NPY_KEEPORDER, NULL, 0)
    elif not isinstance(out, cnp.ndarray):
        return None
    else:
        result = <cnp.ndarray>out
        if not same_layout(g, result) or not may_write(result, g) or not may_write(result, s):
            return None
    cdef Py_ssize_t n = cnp.PyArray_SIZE(g), size = cnp.PyArray_ITEMSIZE(g)
    cdef fa_backward *kernel = table.kernels[dtype].activations[number].backward
    cdef const char *from_ = <const char *>cnp.PyArray_DATA(g)
    cdef const char *state = <const char *>cnp.PyArray_DATA(s)
    cdef char *to = <char *>cnp.PyArray_DATA(result)
    cdef fa_parameters p = fa_parameters(a, b)
    if n <= KEEP_GIL:
        kernel(from_, state, to, n, p)
        return result
    team = threads() if n >= thresholds[number] else 1
    with nogil:
        backward_blocks(kernel, from_, state, to, n, size, p, team)
    return result


# ---------------------------------------------------------------------------------------------- functions of rows

cdef inline Py_ssize_t last(cnp.ndarray a) noexcept:
    """Length of the last axis."""
    return cnp.PyArray_DIMS(a)[cnp.PyArray_NDIM(a) - 1]


cdef inline Py_ssize_t rows_per_block(Py_ssize_t columns) noexcept nogil:
    """Rows that make a block of about BLOCK elements; a multiple of the most lanes a vector has."""
    return max(BLOCK // columns, <Py_ssize_t>1) if columns > 512 else (BLOCK // columns + 15) & ~15


def try_rows(int number, object x, object out):
    """A function of each row (last axis) for the plain case; None otherwise, with nothing written."""
    cdef int dtype = dtype_of(x), team
    if dtype < 0 or not use_native():
        return None
    cdef cnp.ndarray source = <cnp.ndarray>x
    cdef cnp.ndarray result
    if cnp.PyArray_NDIM(source) == 0 or not cnp.PyArray_ISCARRAY_RO(source):
        return None
    if out is None:
        result = <cnp.ndarray>PyArray_NewLikeArray(source, cnp.NPY_CORDER, NULL, 0)
    elif not isinstance(out, cnp.ndarray):
        return None
    else:
        result = <cnp.ndarray>out
        if not same_layout(source, result) or not may_write(result, source):
            return None
    cdef Py_ssize_t n = cnp.PyArray_SIZE(source), columns = last(source), size = cnp.PyArray_ITEMSIZE(source)
    if n == 0:
        return result
    cdef Py_ssize_t rows = n // columns, step = rows_per_block(columns), i
    cdef fa_row_forward *kernel = table.kernels[dtype].row_functions[number].forward
    cdef const char *px = <const char *>cnp.PyArray_DATA(source)
    cdef char *py = <char *>cnp.PyArray_DATA(result)
    team = row_team(n)
    with nogil:
        if team == 1:
            kernel(px, py, rows, columns)
        else:
            for i in prange((rows + step - 1) // step, num_threads=team, schedule="static"):
                kernel(px + i * step * columns * size, py + i * step * columns * size, min(step, rows - i * step),
                       columns)
    return result


def try_rows_backward(int number, object grad, object y, object out):
    """Gradient of a function of each row for the plain case; None otherwise, with nothing written."""
    cdef int dtype = dtype_of(grad), team
    if dtype < 0 or not isinstance(y, cnp.ndarray) or not use_native():
        return None
    cdef cnp.ndarray g = <cnp.ndarray>grad, s = <cnp.ndarray>y
    cdef cnp.ndarray result
    if cnp.PyArray_NDIM(g) == 0 or not cnp.PyArray_ISCARRAY_RO(g) or not same_layout(g, s):
        return None
    if out is None:
        result = <cnp.ndarray>PyArray_NewLikeArray(g, cnp.NPY_CORDER, NULL, 0)
    elif not isinstance(out, cnp.ndarray):
        return None
    else:
        result = <cnp.ndarray>out
        if not same_layout(g, result) or not may_write(result, g) or not may_write(result, s):
            return None
    cdef Py_ssize_t n = cnp.PyArray_SIZE(g), columns = last(g), size = cnp.PyArray_ITEMSIZE(g)
    if n == 0:
        return result
    cdef Py_ssize_t rows = n // columns, step = rows_per_block(columns) * columns, i
    cdef fa_row_backward *kernel = table.kernels[dtype].row_functions[number].backward
    cdef const char *pg = <const char *>cnp.PyArray_DATA(g)
    cdef const char *ps = <const char *>cnp.PyArray_DATA(s)
    cdef char *pd = <char *>cnp.PyArray_DATA(result)
    team = row_team(n)
    with nogil:
        if team == 1:
            kernel(pg, ps, pd, rows, columns)
        else:
            for i in prange((n + step - 1) // step, num_threads=team, schedule="static"):
                kernel(pg + i * step * size, ps + i * step * size, pd + i * step * size,
                       min(step, n - i * step) // columns, columns)
    return result


# Below, arrays are C-contiguous, aligned, native, of one dtype and of matching shapes: the callers see to it.

def learned_forward(int number, cnp.ndarray x, cnp.ndarray weight, bint per_column, cnp.ndarray y):
    """y = f(x; weight), one weight for all or one a column."""
    cdef Py_ssize_t n = cnp.PyArray_SIZE(x), size = cnp.PyArray_ITEMSIZE(x), i
    if n == 0:
        return
    cdef Py_ssize_t columns = last(x) if per_column else 1
    cdef Py_ssize_t step = rows_per_block(columns) * columns
    cdef int team = row_team(n)
    cdef fa_learned_forward *kernel = table.kernels[dtype_of(x)].learned[number].forward
    cdef char *px = data(x)
    cdef char *pw = data(weight)
    cdef char *py = data(y)
    with nogil:
        if team == 1:
            kernel(px, pw, per_column, py, n // columns if per_column else 1, columns if per_column else n)
        else:
            for i in prange((n + step - 1) // step, num_threads=team, schedule="static"):
                kernel(px + i * step * size, pw, per_column, py + i * step * size,
                       min(step, n - i * step) // columns if per_column else 1,
                       columns if per_column else min(step, n - i * step))


def learned_backward(int number, cnp.ndarray grad, cnp.ndarray x, cnp.ndarray weight, bint per_column, cnp.ndarray dx,
                     cnp.ndarray dweight):
    """dx, and dweight summed in fixed blocks that are added in order."""
    cdef Py_ssize_t n = cnp.PyArray_SIZE(x), size = cnp.PyArray_ITEMSIZE(x), i
    cdef Py_ssize_t columns = last(x) if per_column else 1
    if n == 0:
        dweight[...] = 0
        return
    cdef Py_ssize_t step = rows_per_block(columns) * columns, blocks = (n + step - 1) // step
    cdef int team = row_team(n), dtype = dtype_of(x)
    cdef fa_learned_backward *kernel = table.kernels[dtype].learned[number].backward
    cdef char *pg = data(grad)
    cdef char *px = data(x)
    cdef char *pw = data(weight)
    cdef char *pd = data(dx)
    cdef char *total = data(dweight)
    cdef char *parts = total
    if blocks > 1:
        parts = <char *>malloc(blocks * columns * size)
        if parts == NULL:
            raise MemoryError()
    with nogil:
        if team == 1:
            for i in range(blocks):
                kernel(pg + i * step * size, px + i * step * size, pw, per_column, pd + i * step * size,
                       parts + i * columns * size, min(step, n - i * step) // columns, columns)
        else:
            for i in prange(blocks, num_threads=team, schedule="static"):
                kernel(pg + i * step * size, px + i * step * size, pw, per_column, pd + i * step * size,
                       parts + i * columns * size, min(step, n - i * step) // columns, columns)
        if blocks > 1:
            table.kernels[dtype].add_rows(parts, total, blocks, columns)
            free(parts)


def maxout(cnp.ndarray x, cnp.ndarray y, cnp.ndarray index, Py_ssize_t pieces):
    """y = the largest of each group of neighbours, index = which one."""
    cdef Py_ssize_t n = cnp.PyArray_SIZE(y), size = cnp.PyArray_ITEMSIZE(x), i
    cdef int team = row_team(n * pieces)
    cdef fa_maxout *kernel = table.kernels[dtype_of(x)].maxout
    cdef char *px = data(x)
    cdef char *py = data(y)
    cdef uint8_t *pi = <uint8_t *>data(index)
    with nogil:
        if team == 1:
            kernel(px, py, pi, n, pieces)
        else:
            for i in prange((n + BLOCK - 1) // BLOCK, num_threads=team, schedule="static"):
                kernel(px + i * BLOCK * pieces * size, py + i * BLOCK * size, pi + i * BLOCK,
                       min(<Py_ssize_t>BLOCK, n - i * BLOCK), pieces)


def maxout_backward(cnp.ndarray grad, cnp.ndarray index, cnp.ndarray dx, Py_ssize_t pieces):
    """dx = grad where the index points, 0 elsewhere."""
    cdef Py_ssize_t n = cnp.PyArray_SIZE(grad), size = cnp.PyArray_ITEMSIZE(grad), i
    cdef int team = row_team(n * pieces)
    cdef fa_maxout_backward *kernel = table.kernels[dtype_of(grad)].maxout_backward
    cdef char *pg = data(grad)
    cdef uint8_t *pi = <uint8_t *>data(index)
    cdef char *pd = data(dx)
    with nogil:
        if team == 1:
            kernel(pg, pi, pd, n, pieces)
        else:
            for i in prange((n + BLOCK - 1) // BLOCK, num_threads=team, schedule="static"):
                kernel(pg + i * BLOCK * size, pi + i * BLOCK, pd + i * BLOCK * pieces * size,
                       min(<Py_ssize_t>BLOCK, n - i * BLOCK), pieces)


def relu_masked(cnp.ndarray x, cnp.ndarray y, cnp.ndarray mask):
    """y = x where x >= 0, else 0; one bit an element says which."""
    cdef Py_ssize_t n = cnp.PyArray_SIZE(x), size = cnp.PyArray_ITEMSIZE(x), i
    cdef int team = row_team(n)
    cdef fa_relu_masked *kernel = table.kernels[dtype_of(x)].relu_masked
    cdef char *px = data(x)
    cdef char *py = data(y)
    cdef uint8_t *pm = <uint8_t *>data(mask)
    with nogil:
        if team == 1:
            kernel(px, py, pm, n)
        else:
            for i in prange((n + BLOCK - 1) // BLOCK, num_threads=team, schedule="static"):
                kernel(px + i * BLOCK * size, py + i * BLOCK * size, pm + i * BLOCK // 8,
                       min(<Py_ssize_t>BLOCK, n - i * BLOCK))


def relu_masked_backward(cnp.ndarray grad, cnp.ndarray mask, cnp.ndarray dx):
    """dx = grad where the bit is set, else 0."""
    cdef Py_ssize_t n = cnp.PyArray_SIZE(grad), size = cnp.PyArray_ITEMSIZE(grad), i
    cdef int team = row_team(n)
    cdef fa_relu_masked_backward *kernel = table.kernels[dtype_of(grad)].relu_masked_backward
    cdef char *pg = data(grad)
    cdef char *pd = data(dx)
    cdef uint8_t *pm = <uint8_t *>data(mask)
    with nogil:
        if team == 1:
            kernel(pg, pm, pd, n)
        else:
            for i in prange((n + BLOCK - 1) // BLOCK, num_threads=team, schedule="static"):
                kernel(pg + i * BLOCK * size, pm + i * BLOCK // 8, pd + i * BLOCK * size,
                       min(<Py_ssize_t>BLOCK, n - i * BLOCK))


# ---------------------------------------------------------------------------------------------- losses

def softmax_cross_entropy(cnp.ndarray logits, labels, targets, cnp.ndarray grad, double scale):
    """Sum of the rows' losses; grad = scale * (softmax - target)."""
    cdef int dtype = dtype_of(logits), team = row_team(cnp.PyArray_SIZE(logits))
    cdef Py_ssize_t rows = logits.shape[0], columns = logits.shape[1]
    cdef Py_ssize_t stride = columns * cnp.PyArray_ITEMSIZE(logits), blocks = (rows + ROWS - 1) // ROWS, i
    cdef fa_softmax_cross_entropy *kernel = table.kernels[dtype].softmax_cross_entropy
    cdef char *px = data(logits)
    cdef char *pl = data(labels)
    cdef char *pt = data(targets)
    cdef char *pg = data(grad)
    cdef double total = 0
    cdef double few[STACK_PARTS]
    cdef double *parts = few
    if blocks > STACK_PARTS:
        parts = <double *>malloc(blocks * sizeof(double))
        if parts == NULL:
            raise MemoryError()
    with nogil:
        if team == 1:
            for i in range(blocks):
                parts[i] = kernel(px + i * ROWS * stride, <const int64_t *>at(pl, i * ROWS * sizeof(int64_t)),
                                  at(pt, i * ROWS * stride), pg + i * ROWS * stride,
                                  min(<Py_ssize_t>ROWS, rows - i * ROWS), columns, scale)
        else:
            for i in prange(blocks, num_threads=team, schedule="static"):
                parts[i] = kernel(px + i * ROWS * stride, <const int64_t *>at(pl, i * ROWS * sizeof(int64_t)),
                                  at(pt, i * ROWS * stride), pg + i * ROWS * stride,
                                  min(<Py_ssize_t>ROWS, rows - i * ROWS), columns, scale)
        for i in range(blocks):
            total += parts[i]
        if parts != few:
            free(parts)
    return total


# ---------------------------------------------------------------------------------------------- optimisers

def sgd(cnp.ndarray parameters, cnp.ndarray gradients, velocity, double rate, double momentum, double decay):
    """One step of stochastic gradient descent over a flat segment."""
    cdef int dtype = dtype_of(parameters), team
    cdef Py_ssize_t n = cnp.PyArray_SIZE(parameters), size = cnp.PyArray_ITEMSIZE(parameters), i
    cdef fa_sgd *kernel = table.kernels[dtype].sgd
    cdef char *pp = data(parameters)
    cdef char *pg = data(gradients)
    cdef char *pv = data(velocity)
    team = threads() if n >= update_threshold else 1
    with nogil:
        if team == 1:
            kernel(pp, pg, pv, n, rate, momentum, decay)
        else:
            for i in prange((n + BLOCK - 1) // BLOCK, num_threads=team, schedule="static"):
                kernel(pp + i * BLOCK * size, pg + i * BLOCK * size, at(pv, i * BLOCK * size),
                       min(<Py_ssize_t>BLOCK, n - i * BLOCK), rate, momentum, decay)


# ---------------------------------------------------------------------------------------------- dense layers

cdef inline double work(const fa_product *p) noexcept nogil:
    return <double>p.m * <double>p.n * <double>p.k


cdef int multiply(const fa_kernels *kernels, fa_product *p, int team) noexcept nogil:
    """Run a product whose operands, strides and epilogue are filled in; -1 when there is no memory for it."""
    cdef Py_ssize_t i, tasks
    cdef char *shared = NULL
    cdef char *local
    if p.m == 0 or p.n == 0:
        return 0
    kernels.product_plan(p, team)
    cdef size_t shared_bytes = (p.shared_bytes + 63) // 64 * 64, task_bytes = (p.task_bytes + 63) // 64 * 64
    tasks = p.row_tasks * p.column_tasks
    if shared_bytes + task_bytes > 0:
        shared = <char *>fa_take(FA_PACKED, shared_bytes + team * task_bytes)
        if shared == NULL:
            return -1
    local = shared + shared_bytes
    if team == 1:
        for i in range(p.pack_tasks):
            kernels.product_pack(p, i, shared)
        for i in range(tasks):
            kernels.product_task(p, i, shared, local)
    else:
        if p.pack_tasks > 0:
            for i in prange(p.pack_tasks, num_threads=team, schedule="static"):
                kernels.product_pack(p, i, shared)
        for i in prange(tasks, num_threads=team, schedule="dynamic"):
            kernels.product_task(p, i, shared, local + threadid() * task_bytes)
    fa_give(FA_PACKED, shared)
    return 0


cdef inline void matrix(cnp.ndarray array, const void **start, Py_ssize_t *row, Py_ssize_t *column) noexcept:
    """Where a matrix begins, and its strides in elements; one dimension is a row."""
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(array)
    cdef int ndim = cnp.PyArray_NDIM(array)
    start[0] = cnp.PyArray_DATA(array)
    row[0] = cnp.PyArray_STRIDE(array, 0) // size if ndim == 2 else 0
    column[0] = cnp.PyArray_STRIDE(array, ndim - 1) // size


cdef inline int product_team(const fa_product *p) except -1:
    return threads() if work(p) >= product_threshold else 1


cdef inline void set_epilogue(fa_product *p, const fa_kernels *kernels, int number, object bias, object slope,
                              double a, double b) noexcept:
    """The epilogue of an activation; a number below 0 is the identity, which without bias needs none."""
    p.bias = data(bias)
    p.slope = data(slope)
    p.slope_row = 0 if slope is None else p.n
    p.parameters = fa_parameters(a, b)
    if number >= 0:
        p.epilogue = kernels.activations[number].epilogue
    else:
        p.epilogue = kernels.add_bias if bias is not None else NULL


def dense(int number, cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray y, slope, double a, double b):
    """y = f(x @ weight + bias), and the slope beside it when an array for it is given.

    x and weight are aligned native matrices of one dtype with any strides; bias, y and slope are plain. A number below
    0 is the identity.
    """
    cdef const fa_kernels *kernels = table.kernels[0 if cnp.PyArray_TYPE(y) == cnp.NPY_FLOAT32 else 1]
    cdef fa_product p
    cdef int team, failed
    p.m, p.k, p.n = x.shape[0], x.shape[1], weight.shape[1]
    matrix(x, &p.a, &p.a_row, &p.a_column)
    matrix(weight, &p.b, &p.b_row, &p.b_column)
    p.c, p.c_row = data(y), p.n
    p.accumulate = p.swapped = 0
    set_epilogue(&p, kernels, number, bias, slope, a, b)
    team = product_team(&p)
    if team == 1 and work(&p) <= KEEP_GIL_PRODUCT:
        failed = multiply(kernels, &p, 1)
    else:
        with nogil:
            failed = multiply(kernels, &p, team)
    if failed:
        raise MemoryError()


def try_dense(int number, object x, object weight, object bias, object out, double a, double b):
    """y = f(x @ weight + bias) for plain arrays and x with one or two dimensions; None otherwise, nothing written."""
    cdef int dtype = dtype_of(x), i, ndim
    if dtype < 0 or dtype != dtype_of(weight) or not use_native():
        return None
    cdef cnp.ndarray source = <cnp.ndarray>x, w = <cnp.ndarray>weight
    cdef cnp.ndarray result
    cdef cnp.npy_intp shape[2]
    ndim = cnp.PyArray_NDIM(source)
    if ndim < 1 or ndim > 2 or cnp.PyArray_NDIM(w) != 2 or w.shape[0] != source.shape[ndim - 1]:
        return None
    cdef fa_product p
    p.n = w.shape[1]
    if bias is not None and (dtype != dtype_of(bias) or cnp.PyArray_NDIM(<cnp.ndarray>bias) != 1
                             or (<cnp.ndarray>bias).shape[0] != p.n):
        return None
    shape[0] = source.shape[0]
    shape[ndim - 1] = p.n
    if out is None:
        result = <cnp.ndarray>cnp.PyArray_EMPTY(ndim, shape, cnp.PyArray_TYPE(source), 0)
    else:
        if dtype != dtype_of(out):
            return None
        result = <cnp.ndarray>out
        if cnp.PyArray_NDIM(result) != ndim or not cnp.PyArray_ISCARRAY(result):
            return None
        for i in range(ndim):
            if result.shape[i] != shape[i]:
                return None
        if touches(result, source) or touches(result, w) or (bias is not None and touches(result, <cnp.ndarray>bias)):
            return None
    p.m, p.k = source.shape[0] if ndim == 2 else 1, w.shape[0]
    matrix(source, &p.a, &p.a_row, &p.a_column)
    matrix(w, &p.b, &p.b_row, &p.b_column)
    p.c, p.c_row = data(result), p.n
    p.accumulate = p.swapped = 0
    cdef const fa_kernels *kernels = table.kernels[dtype]
    set_epilogue(&p, kernels, number, bias, None, a, b)
    cdef int team = product_team(&p), failed
    if team == 1 and work(&p) <= KEEP_GIL_PRODUCT:
        failed = multiply(kernels, &p, 1)
    else:
        with nogil:
            failed = multiply(kernels, &p, team)
    if failed:
        raise MemoryError()
    return result


cdef inline bint touches(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether the memory of two contiguous arrays overlaps."""
    cdef const char *p = <const char *>cnp.PyArray_DATA(a)
    cdef const char *q = <const char *>cnp.PyArray_DATA(b)
    return p < q + cnp.PyArray_NBYTES(b) and q < p + cnp.PyArray_NBYTES(a)


cdef void through_activation(const fa_kernels *kernels, int number, char *grad, char *saved, char *dz, char *sums,
                             char *parts, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t size, bint accumulate,
                             fa_parameters p, int team) noexcept nogil:
    """dz = grad * f' and sums (+)= the column sums of dz: blocks of rows, added in order.

    parts: workspace of a row for each block and one more.
    """
    cdef Py_ssize_t i, stride = columns * size, blocks = (rows + ROWS - 1) // ROWS, first = 1 if accumulate else 0
    cdef fa_bias_backward *kernel = kernels.slope_backward
    if number >= 0:
        kernel = kernels.activations[number].bias_backward
    if blocks <= 1 and not accumulate:
        kernel(grad, saved, dz, sums, rows, columns, p)
        return
    if accumulate:
        memcpy(parts, sums, stride)
    if team == 1:
        for i in range(blocks):
            kernel(grad + i * ROWS * stride, saved + i * ROWS * stride, at(dz, i * ROWS * stride),
                   parts + (first + i) * stride, min(<Py_ssize_t>ROWS, rows - i * ROWS), columns, p)
    else:
        for i in prange(blocks, num_threads=team, schedule="static"):
            kernel(grad + i * ROWS * stride, saved + i * ROWS * stride, at(dz, i * ROWS * stride),
                   parts + (first + i) * stride, min(<Py_ssize_t>ROWS, rows - i * ROWS), columns, p)
    kernels.add_rows(parts, sums, first + blocks, columns)


cdef object backward(int number, cnp.ndarray grad, object saved, object dz, cnp.ndarray x, cnp.ndarray weight,
                     object dx, cnp.ndarray dw, cnp.ndarray db, bint add_to_dw, bint add_to_db, double a, double b):
    cdef int dtype = 0 if cnp.PyArray_TYPE(grad) == cnp.NPY_FLOAT32 else 1
    cdef const fa_kernels *kernels = table.kernels[dtype]
    cdef Py_ssize_t inputs = weight.shape[0], outputs = weight.shape[1], size = cnp.PyArray_ITEMSIZE(grad)
    cdef Py_ssize_t rows = 1 if cnp.PyArray_NDIM(grad) == 1 else grad.shape[0]
    cdef fa_product w, d
    cdef int w_team, d_team, failed = 0
    cdef int z_team = row_team(rows * outputs)
    cdef char *pg = data(grad)
    cdef char *ps = pg if saved is None else data(saved)
    cdef char *pd = data(dz)
    cdef char *pb = data(db)
    cdef char *memory = NULL
    cdef char *parts = NULL
    cdef fa_parameters parameters = fa_parameters(a, b)
    cdef size_t bytes_dz = 0, bytes_parts = 0
    if saved is not None and dz is None:
        bytes_dz = (rows * outputs * size + 63) // 64 * 64
    if rows > ROWS or add_to_db:
        bytes_parts = (rows // ROWS + 2) * outputs * size
    if bytes_dz + bytes_parts > 0:
        memory = <char *>fa_take(FA_GRADIENT, bytes_dz + bytes_parts)
        if memory == NULL:
            raise MemoryError()
        parts = memory + bytes_dz
        if bytes_dz > 0:
            pd = memory
    cdef char *pz = pg if pd == NULL else pd

    w.c, w.c_row, w.k, w.accumulate = data(dw), outputs, rows, add_to_dw
    w.epilogue, w.bias, w.slope, w.slope_row, w.parameters = NULL, NULL, NULL, 0, parameters
    # Few columns would leave most lanes empty: there the inputs lie across the vectors and dw is stored transposed.
    # Either way each element is one chain over the batch, so the bits are the same; one column always goes this way,
    # because the rule for products of one column is another.
    w.swapped = outputs == 1 or (outputs < 2 * kernels.lanes and outputs % kernels.lanes != 0)
    if w.swapped:
        matrix(x, &w.b, &w.b_row, &w.b_column)
        w.a, w.a_row, w.a_column, w.m, w.n = pz, 1, outputs, outputs, inputs
        if outputs == 1 and inputs > 1:
            w.swapped, w.c_row = 0, inputs
    else:
        matrix(x, &w.a, &w.a_column, &w.a_row)
        w.b, w.b_row, w.b_column, w.m, w.n = pz, outputs, 1, inputs, outputs
    w_team = product_team(&w)

    d.m, d.n, d.k, d.accumulate, d.swapped = rows, inputs, outputs, 0, 0
    d.epilogue, d.bias, d.slope, d.slope_row, d.parameters = NULL, NULL, NULL, 0, parameters
    d.a, d.a_row, d.a_column = pz, outputs, 1
    matrix(weight, &d.b, &d.b_column, &d.b_row)
    d.c, d.c_row = data(dx), inputs
    d_team = product_team(&d)

    if z_team == 1 and w_team == 1 and d_team == 1 and work(&w) <= KEEP_GIL_PRODUCT:
        failed = three_steps(kernels, number, pg, ps, pd, pb, parts, &w, &d, add_to_db, 1, 1, 1)
    else:
        with nogil:
            failed = three_steps(kernels, number, pg, ps, pd, pb, parts, &w, &d, add_to_db, z_team, w_team, d_team)
    fa_give(FA_GRADIENT, memory)
    if failed:
        raise MemoryError()
    return None


cdef int three_steps(const fa_kernels *kernels, int number, char *grad, char *saved, char *dz, char *sums, char *parts,
                     fa_product *w, fa_product *d, bint add_to_db, int z_team, int w_team, int d_team) noexcept nogil:
    cdef Py_ssize_t size = 4 if kernels == table.kernels[0] else 8
    through_activation(kernels, number, grad, saved, dz, sums, parts, d.m, d.k, size, add_to_db, d.parameters, z_team)
    if multiply(kernels, w, w_team) != 0:
        return -1
    return multiply(kernels, d, d_team) if d.c != NULL else 0


def dense_backward(int number, cnp.ndarray grad, saved, dz, cnp.ndarray x, cnp.ndarray weight, dx, cnp.ndarray dw,
                   cnp.ndarray db, bint add_to_dw, bint add_to_db, double a, double b):
    """dz = grad * f'; db (+)= its column sums; dw (+)= x.T @ dz; dx = dz @ weight.T unless dx is None.

    A number below 0 says that saved holds the slope itself, and a != 0 that the activation is piecewise linear. saved
    is None for the identity, where grad is dz; else dz may be grad, saved, or None for a workspace. x and weight are
    aligned native matrices with any strides, the others plain.
    """
    backward(number, grad, saved, dz, x, weight, dx, dw, db, add_to_dw, add_to_db, a, b)


cdef inline cnp.ndarray given_or_new(object out, cnp.ndarray like):
    """The plain array out where it is like another, a new one where it is None; None where it needs care."""
    if out is None:
        return <cnp.ndarray>PyArray_NewLikeArray(like, cnp.NPY_CORDER, NULL, 0)
    if dtype_of(out) < 0 or not cnp.PyArray_ISCARRAY(<cnp.ndarray>out) or not same_layout(like, <cnp.ndarray>out):
        return None
    return <cnp.ndarray>out


def try_dense_backward(int number, object grad, object saved, object x, object weight, bint need_dx, bint accumulate,
                       bint overwrite_grad, object out_input, object out_weight, object out_bias, double a, double b):
    """(dx, dw, db) for plain C-contiguous arrays, x and grad of one or two dimensions; None otherwise."""
    cdef int dtype = dtype_of(grad), ndim
    if (dtype < 0 or dtype != dtype_of(x) or dtype != dtype_of(weight) or not use_native()
            or (accumulate and out_weight is None) or (out_input is not None and not need_dx)):
        return None
    cdef cnp.ndarray g = <cnp.ndarray>grad, source = <cnp.ndarray>x, w = <cnp.ndarray>weight
    cdef cnp.ndarray dx = None, dw, db
    ndim = cnp.PyArray_NDIM(g)
    if (ndim < 1 or ndim > 2 or cnp.PyArray_NDIM(source) != ndim or cnp.PyArray_NDIM(w) != 2
            or not cnp.PyArray_ISCARRAY_RO(g) or not cnp.PyArray_ISCARRAY_RO(source)
            or not cnp.PyArray_ISCARRAY_RO(w)
            or w.shape[0] != source.shape[ndim - 1] or w.shape[1] != g.shape[ndim - 1]
            or (ndim == 2 and source.shape[0] != g.shape[0])
            or (saved is not None and (not isinstance(saved, cnp.ndarray) or not same_layout(g, <cnp.ndarray>saved)))
            or (overwrite_grad and not cnp.PyArray_ISWRITEABLE(g))):
        return None
    cdef cnp.npy_intp columns = w.shape[1]
    if need_dx:
        dx = given_or_new(out_input, source)
        if dx is None:
            return None
    dw = given_or_new(out_weight, w)
    if dw is None:
        return None
    if out_bias is None:
        db = <cnp.ndarray>cnp.PyArray_EMPTY(1, &columns, cnp.PyArray_TYPE(g), 0)
    else:
        if dtype != dtype_of(out_bias):
            return None
        db = <cnp.ndarray>out_bias
        if cnp.PyArray_NDIM(db) != 1 or db.shape[0] != columns or not cnp.PyArray_ISCARRAY(db):
            return None
    for out in (out_input, out_weight, out_bias):
        if out is not None:
            if touches(out, g) or touches(out, source) or touches(out, w):
                return None
            if saved is not None and touches(out, <cnp.ndarray>saved):
                return None
    if ((out_input is not None and out_weight is not None and touches(dx, dw))
            or (out_input is not None and out_bias is not None and touches(dx, db))
            or (out_weight is not None and out_bias is not None and touches(dw, db))):
        return None
    backward(number, g, saved, g if overwrite_grad and saved is not None else None, source, w, dx, dw, db, accumulate,
             accumulate and out_bias is not None, a, b)
    return dx, dw, db
