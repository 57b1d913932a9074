# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
# cython: binding=False
# Without binding a function is a plain built-in one, which the interpreter calls 10 ns faster.
"""Typed entry points of the kernels: pick the kernel by dtype, release the GIL, spread blocks over threads.

Nothing here writes an error message about arrays. The ``try_`` functions return None for everything but the plain
case (exact ndarrays, float32 or float64, native, aligned, contiguous, same shape and order, out disjoint from or
exactly an input, native backend); the caller then takes the road through ``_checks``. The others trust their caller.
"""

cimport numpy as cnp
from cpython.ref cimport Py_DECREF, PyObject
from cython.parallel cimport prange, threadid

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

cnp.import_array()


cdef extern from "fa_interface.h" nogil:
    ctypedef struct fa_parameters:
        double a
        double b
    ctypedef void fa_forward(const void *, void *, Py_ssize_t, fa_parameters) noexcept
    ctypedef void fa_backward(const void *, const void *, void *, Py_ssize_t, fa_parameters) noexcept
    ctypedef void fa_epilogue(
        void *, const void *, void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, fa_parameters) noexcept
    ctypedef void fa_bias_backward(
        const void *, const void *, void *, void *, Py_ssize_t, Py_ssize_t, fa_parameters) noexcept
    ctypedef struct fa_norm:
        const void *x
        const void *grad
        const void *weight
        const void *bias
        void *y
        void *mean
        void *rstd
        Py_ssize_t columns
        double eps
    ctypedef void fa_norm_forward(const fa_norm *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef void fa_norm_sums(const fa_norm *, Py_ssize_t, Py_ssize_t, void *, void *) noexcept
    ctypedef void fa_norm_backward(
        const fa_norm *, Py_ssize_t, Py_ssize_t, const void *, const void *, Py_ssize_t) noexcept
    ctypedef void fa_batch_moments(const fa_norm *, Py_ssize_t, Py_ssize_t, double *) noexcept
    ctypedef void fa_batch_combine(
        const fa_norm *, double *, Py_ssize_t, Py_ssize_t, void *, void *, double) noexcept
    ctypedef void fa_batch_rstd(const void *, void *, Py_ssize_t, double) noexcept
    ctypedef struct fa_dropout:
        uint32_t key[2]
        uint32_t threshold
        double scale
        double shift
        double dropped
    ctypedef void fa_dropout_kernel(const fa_dropout *, const void *, void *, int64_t, Py_ssize_t) noexcept
    ctypedef struct fa_cross_entropy:
        const void *logits
        const void *targets
        const int64_t *labels
        const void *class_weight
        const double *row_weight
        void *grad
        void *losses
        Py_ssize_t columns
        int64_t ignored
        double smoothing
        double scale
    ctypedef double fa_softmax_cross_entropy(const fa_cross_entropy *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef struct fa_pointwise:
        const void *prediction
        const void *target
        const void *weight
        const void *each
        void *grad
        void *losses
        double a
        double scale
    ctypedef double fa_loss_kernel(const fa_pointwise *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef struct fa_loss:
        const char *name
        fa_loss_kernel *kernel
    ctypedef struct fa_update:
        void *parameter
        const void *gradient
        void *state[3]
        double rate
        double decay
        double keep
        double momentum
        double gain
        double mean
        double square
        double correction
        double epsilon
        double scale
        double limit
        int nesterov
    ctypedef void fa_optimizer_step(const fa_update *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef struct fa_optimizer:
        const char *name
        fa_optimizer_step *step
    ctypedef double fa_sum_of_squares(const void *, Py_ssize_t) noexcept
    ctypedef void fa_add_rows(const void *, void *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef void fa_distance(const void *, const void *, Py_ssize_t, double *) noexcept
    ctypedef void fa_column_statistics(
        const void *, double *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, double) noexcept
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
        fa_learned_forward *learned
        const void *weight
        int per_column
        void *y
        Py_ssize_t y_row
        Py_ssize_t row_tasks, column_tasks, pack_tasks
        size_t shared_bytes, task_bytes
    ctypedef void fa_product_plan(fa_product *, int) noexcept
    ctypedef void fa_product_pack(const fa_product *, Py_ssize_t, void *) noexcept
    ctypedef void fa_product_task(const fa_product *, Py_ssize_t, const void *, void *) noexcept
    ctypedef struct fa_kernels:
        const fa_activation *activations
        fa_bias_backward *slope_backward
        fa_bias_backward *blocking_slope_backward
        const fa_learned *learned
        const fa_row_function *row_functions
        fa_maxout *maxout
        fa_maxout_backward *maxout_backward
        fa_relu_masked *relu_masked
        fa_relu_masked_backward *relu_masked_backward
        fa_norm_forward *layer_norm
        fa_norm_sums *layer_norm_backward
        fa_batch_moments *batch_moments
        fa_batch_combine *batch_combine
        fa_batch_rstd *batch_rstd
        fa_norm_forward *batch_norm
        fa_norm_sums *batch_norm_sums
        fa_norm_backward *batch_norm_backward
        fa_dropout_kernel *dropout
        fa_softmax_cross_entropy *softmax_cross_entropy
        const fa_loss *losses
        const fa_optimizer *optimizers
        fa_sum_of_squares *sum_of_squares
        fa_add_rows *add_rows
        fa_column_statistics *column_statistics
        fa_distance *distance
        fa_product_plan *product_plan
        fa_product_pack *product_pack
        fa_product_task *product_task
        fa_epilogue *add_bias
        fa_bias_backward *sum_columns
        int lanes
    ctypedef struct fa_table:
        const char *name
        int activation_count
        int learned_count
        int row_function_count
        int loss_count
        int optimizer_count
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
    enum { FA_PACKED, FA_GRADIENT, FA_INFERENCE, FA_SUMS, FA_USES };
    static void *fa_spare[FA_USES];
    static long fa_allocated; /* blocks asked of the system since the start */
    static void *fa_take(int use, size_t bytes) {
        char *block = (char *)__atomic_exchange_n(&fa_spare[use], NULL, __ATOMIC_ACQ_REL);
        if (block && *(size_t *)block < bytes) {
            free(block);
            block = NULL;
        }
        if (!block) {
            block = (char *)aligned_alloc(64, 64 + (bytes + 63) / 64 * 64);
            if (!block) return NULL;
            __atomic_add_fetch(&fa_allocated, 1, __ATOMIC_RELAXED);
            *(size_t *)block = bytes;
        }
        return block + 64;
    }
    static void fa_give(int use, void *memory) {
        if (memory) free(__atomic_exchange_n(&fa_spare[use], (char *)memory - 64, __ATOMIC_ACQ_REL));
    }

    /* (first, second) of a class of named tuples as tuple.__new__ makes it, without the two tuples that hold its
       arguments: the allocation, the hash that nobody has asked for yet (kept from Python 3.14 on), the items. */
    static PyObject *fa_pair(PyTypeObject *kind, PyObject *first, PyObject *second) {
        PyObject *pair = kind->tp_alloc(kind, 2);
        if (!pair) return NULL;
    #if PY_VERSION_HEX >= 0x030E0000
        ((PyTupleObject *)pair)->ob_hash = -1;
    #endif
        PyTuple_SET_ITEM(pair, 0, Py_NewRef(first));
        PyTuple_SET_ITEM(pair, 1, Py_NewRef(second));
        return pair;
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
        FA_INFERENCE
        FA_SUMS
    long fa_allocated
    void *fa_take(int, size_t) nogil
    void fa_give(int, void *) nogil
    object fa_pair(type, object, object)

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewLikeArray(cnp.ndarray, cnp.NPY_ORDER, void *, int)

cdef extern from "Python.h":
    int PyContextVar_Get(object var, PyObject *default_value, PyObject **value) except -1
    long PyLong_AsLongAndOverflow(object value, int *overflow) except? -1

cdef enum:
    # Elements per block: small enough to share out, large enough that a call through a pointer is nothing.
    BLOCK = 8192
    # Elements that two threads never divide: a line of the cache, and whole bytes of a mask.
    LINE = 64
    # Rows per block of everything that reduces over rows: fixed, so that a sum's bits do not depend on threads.
    ROWS = 64
    # Below this many elements a kernel is done before another thread could take the GIL.
    KEEP_GIL = 4096
    # The same for products, in multiplications.
    KEEP_GIL_PRODUCT = 65536
    # Activations there can be; a table of thresholds is indexed by activation number.
    MOST = 64
    # NumPy's limit for the dimensions of an array.
    MOST_DIMENSIONS = 64
    # What one of a stack's layers hands to the next in inference stays below this.
    INFERENCE_BYTES = 4194304
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


def loss_names():
    """Names of the compiled losses of single elements, in the order of their numbers."""
    return [table.kernels[0].losses[i].name.decode() for i in range(table.loss_count)]


def optimizer_names():
    """Names of the compiled update rules, in the order of their numbers."""
    return [table.kernels[0].optimizers[i].name.decode() for i in range(table.optimizer_count)]


def build_information():
    """How the extension was built."""
    return {"openmp": bool(fa_openmp), "compiler": fa_compiler.decode()}


def configure(backend, native_value, threads, int limit, list activation_thresholds, Py_ssize_t rows,
              Py_ssize_t updates, Py_ssize_t products):
    """Hand over the context variables and the sizes (in elements) from which work is shared between threads."""
    global backend_variable, native, thread_variable, thread_limit, row_threshold, update_threshold, product_threshold
    if len(activation_thresholds) > MOST:
        raise ValueError(f"_core: there is room for {MOST} activations, got {len(activation_thresholds)}; raise MOST")
    backend_variable, native, thread_variable, thread_limit = backend, native_value, threads, limit
    for i, value in enumerate(activation_thresholds):
        thresholds[i] = value
    row_threshold, update_threshold, product_threshold = rows, updates, products


def allocations():
    """Workspaces that the kernels have asked of the system since the start; it stands still in a trained step."""
    return fa_allocated


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
    """Same dtype, shape and order of two arrays, the first of which is plain; False where b is no array."""
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


cdef inline Py_ssize_t elements(cnp.ndarray a) noexcept:
    """Number of elements, without NumPy's call through a table."""
    cdef Py_ssize_t n = 1
    cdef int i
    for i in range(cnp.PyArray_NDIM(a)):
        n *= cnp.PyArray_DIMS(a)[i]
    return n


cdef inline bint disjoint(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two contiguous arrays have no byte in common."""
    cdef const char *p = <const char *>cnp.PyArray_DATA(a)
    cdef const char *q = <const char *>cnp.PyArray_DATA(b)
    return p + elements(a) * cnp.PyArray_ITEMSIZE(a) <= q or q + elements(b) * cnp.PyArray_ITEMSIZE(b) <= p


cdef inline bint may_write(cnp.ndarray out, cnp.ndarray source) noexcept:
    """Whether out is writeable and exactly source or disjoint from it (both contiguous, same size)."""
    return cnp.PyArray_ISWRITEABLE(out) and (cnp.PyArray_DATA(out) == cnp.PyArray_DATA(source) or disjoint(out, source))


cdef inline char *data(object array) noexcept:
    return NULL if array is None else <char *>cnp.PyArray_DATA(<cnp.ndarray>array)


cdef inline char *at(char *start, Py_ssize_t offset) noexcept nogil:
    return NULL if start == NULL else start + offset


cdef inline int row_team(Py_ssize_t n) except -1:
    return threads() if n >= row_threshold else 1


cdef inline int sum_team(Py_ssize_t n, Py_ssize_t threshold) except -1:
    """Threads of sum_blocks for n elements; 0 where giving up the GIL does not pay."""
    if n <= KEEP_GIL:
        return 0
    return threads() if n >= threshold else 1


# ---------------------------------------------------------------------------------------------- elementwise

cdef inline Py_ssize_t share(Py_ssize_t n, int team, Py_ssize_t unit) noexcept nogil:
    """How many of n each thread does, whole units in one piece: a kernel prefetches where it is given many (FA_FAR)."""
    return ((n + team - 1) // team + unit - 1) // unit * unit


cdef void share_forward(fa_forward *kernel, const char *x, char *y, Py_ssize_t n, Py_ssize_t size, fa_parameters p,
                        int team) noexcept nogil:
    cdef Py_ssize_t i, step
    if team == 1:
        kernel(x, y, n, p)
        return
    step = share(n, team, LINE)
    for i in prange((n + step - 1) // step, num_threads=team, schedule="static"):
        kernel(x + i * step * size, y + i * step * size, min(step, n - i * step), p)


cdef void share_backward(fa_backward *kernel, const char *grad, const char *saved, char *dx, Py_ssize_t n,
                         Py_ssize_t size, fa_parameters p, int team) noexcept nogil:
    cdef Py_ssize_t i, step
    if team == 1:
        kernel(grad, saved, dx, n, p)
        return
    step = share(n, team, LINE)
    for i in prange((n + step - 1) // step, num_threads=team, schedule="static"):
        kernel(grad + i * step * size, saved + i * step * size, dx + i * step * size, min(step, n - i * step), p)


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
    cdef Py_ssize_t n = elements(source), size = cnp.PyArray_ITEMSIZE(source)
    cdef fa_forward *kernel = table.kernels[dtype].activations[number].forward
    cdef const char *from_ = <const char *>cnp.PyArray_DATA(source)
    cdef char *to = <char *>cnp.PyArray_DATA(result)
    cdef fa_parameters p = fa_parameters(a, b)
    if n <= KEEP_GIL:
        kernel(from_, to, n, p)
        return result
    team = threads() if n >= thresholds[number] else 1
    with nogil:
        share_forward(kernel, from_, to, n, size, p, team)
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
    cdef Py_ssize_t n = elements(g), size = cnp.PyArray_ITEMSIZE(g)
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
        share_backward(kernel, from_, state, to, n, size, p, team)
    return result


# ---------------------------------------------------------------------------------------------- the other families

include "rows.pxi"
include "norms.pxi"
include "losses.pxi"
include "optim.pxi"
include "statistics.pxi"
include "dense.pxi"
include "stack.pxi"
