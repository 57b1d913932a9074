# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
# cython: binding=False, embedsignature=True, embedsignature.format=clinic
# Without binding a function is a plain built-in one, which the interpreter calls 10 ns faster.
"""The compiled backend: finds the kernel for a dtype, releases the GIL, and spreads work over threads.

Nothing here writes an error message about arrays. The ``try_`` functions return None for everything but the plain case
(exact ndarrays, float32 or float64, native, aligned, contiguous, same shape and order, out disjoint from or exactly an
input, native backend), and their caller then converts or refuses. The others trust their caller. A kernel's number is
the position of its name in its list.
"""

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.ref cimport Py_DECREF, PyObject

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from .abi cimport *

from ..dtypes import FLOATS

cnp.import_array()

cpdef enum:
    # In place of an activation's number in ``dense_backward``: saved holds the slope itself, and dz = grad * slope; the
    # blocking one gives 0 for a slope of 0 whatever grad is.
    SLOPE = -1
    BLOCKING_SLOPE = -2

cdef enum:
    # The activation that needs no pass.
    IDENTITY = 0
    # Elements per block: small enough to share out, large enough that a call through a pointer is nothing.
    BLOCK = 8192
    # Elements that two threads never divide: a line of the cache, and whole bytes of a mask.
    LINE = 64
    LINE_BYTES = 64
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

cdef const fa_table *table = fa_table_at(0)  # the baseline, until a set is chosen
cdef Py_ssize_t thresholds[MOST]
cdef Py_ssize_t row_threshold = 0
cdef Py_ssize_t update_threshold = 0
cdef Py_ssize_t product_threshold = 0
cdef Py_ssize_t asleep_factor = 1
cdef int thread_setting = 0
cdef int thread_limit = 1
cdef object backend_variable = None
cdef object native_choice = None
cdef object thread_variable = None

if fa_watch_forks() != 0:
    raise MemoryError("fastact: could not register the fork handler")
if [(d.name, d.kernel, d.dtype.num, d.dtype.itemsize) for d in FLOATS] != [
        (fa_dtypes[i].name.decode(), i, fa_dtypes[i].type, fa_dtypes[i].size) for i in range(FA_DTYPES)]:
    raise ImportError("fastact: dtypes.py and the compiled core list different dtypes; build it again")


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
    """The compiled activations, in the order of their numbers."""
    return [table.kernels[0].activations[i].name.decode() for i in range(table.activation_count)]


def learned_names():
    """The compiled activations with a learned weight, in the order of their numbers."""
    return [table.kernels[0].learned[i].name.decode() for i in range(table.learned_count)]


def row_function_names():
    """The compiled functions of rows, in the order of their numbers."""
    return [table.kernels[0].row_functions[i].name.decode() for i in range(table.row_function_count)]


def loss_names():
    """The compiled losses of single elements, in the order of their numbers."""
    return [table.kernels[0].losses[i].name.decode() for i in range(table.loss_count)]


def optimizer_names():
    """The compiled update rules, in the order of their numbers."""
    return [table.kernels[0].optimizers[i].name.decode() for i in range(table.optimizer_count)]


def build_information():
    """How the extension was built."""
    return {"openmp": bool(fa_openmp), "compiler": fa_compiler.decode()}


def configure(choice, native, threads, int limit, list activation_thresholds, Py_ssize_t rows, Py_ssize_t updates,
              Py_ssize_t products, Py_ssize_t asleep):
    """The context variables of the backend and of the number of threads, and the sizes from which work is shared.

    native: the value of ``choice`` that means this backend. limit: the most threads by default. Sizes are in elements,
    those of products in multiplications; while the other threads sleep they are ``asleep`` times as large.
    """
    global backend_variable, native_choice, thread_variable, thread_limit
    global row_threshold, update_threshold, product_threshold, asleep_factor
    if len(activation_thresholds) > MOST:
        raise ValueError(f"_core: there is room for {MOST} activations, got {len(activation_thresholds)}; raise MOST")
    backend_variable, native_choice, thread_variable, thread_limit = choice, native, threads, limit
    fa_pool.processors = limit
    row_threshold, update_threshold, product_threshold, asleep_factor = rows, updates, products, asleep
    for i, value in enumerate(activation_thresholds):
        thresholds[i] = value


def allocations():
    """Workspaces that the kernels have asked of the system since the start; it stands still in a trained step."""
    return fa_allocated


def set_threads(int n):
    """The process-wide number of threads; 0 for the default."""
    global thread_setting
    thread_setting = n


def set_patience(int64_t nanoseconds):
    """How long a thread with nothing to do looks out for work before it sleeps."""
    fa_pool.patience = nanoseconds


def get_threads():
    """Threads that the next large call in this context will use."""
    return thread_count()


def forked():
    """Whether this process was forked after fastact was imported."""
    return bool(fa_forked)


cdef int thread_count() except -1:
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


cdef inline bint use_native() except -1:
    cdef PyObject *value = NULL
    PyContextVar_Get(backend_variable, NULL, &value)
    cdef bint same = value == <PyObject *>native_choice
    Py_DECREF(<object>value)
    return same


# ---------------------------------------------------------------------------------------------- threads and the GIL

# Part of a piece of work: n items from first on, by the thread of that number in the team. What they are is in context.
ctypedef void (*task)(const void *context, Py_ssize_t first, Py_ssize_t n, int thread) noexcept nogil


cdef inline void spread(task run, const void *context, Py_ssize_t n, Py_ssize_t step, int team,
                        bint dynamic=False) noexcept nogil:
    """Run n items in steps: by a team of more than one thread, equally long stretches for each or (dynamic) as they
    come; else one step after another. Who does a step is left open: a task's result must not depend on it.
    """
    cdef Py_ssize_t first = 0
    if team > 1 and n > step:
        fa_spread(run, context, n, step, team, dynamic)
        return
    while first < n:
        run(context, first, min(step, n - first), 0)
        first += step


cdef inline void perform(task run, const void *context, Py_ssize_t n, Py_ssize_t step, int team) noexcept:
    """``spread`` without the GIL; a team of 0 is one thread that keeps it."""
    if team == 0:
        spread(run, context, n, step, 1)
    else:
        with nogil:
            spread(run, context, n, step, team)


cdef inline void perform_steps(task steps, const void *context, int team) noexcept:
    """For a task that calls ``spread`` itself, with the team that its context holds."""
    perform(steps, context, 1, 1, min(team, 1))


cdef inline int threads_from(Py_ssize_t n, Py_ssize_t threshold) except -1:
    return thread_count() if n >= threshold and (n >= asleep_factor * threshold or fa_warm()) else 1


cdef inline int team_for(Py_ssize_t n, Py_ssize_t threshold) except -1:
    """Threads for n elements; 0 where giving up the GIL does not pay."""
    return 0 if n <= KEEP_GIL else threads_from(n, threshold)


cdef inline Py_ssize_t share(Py_ssize_t n, int team, Py_ssize_t unit) noexcept nogil:
    """How many of n each thread does, whole units in one piece: a kernel prefetches where it is given many (FA_FAR)."""
    return n if team <= 1 else ((n + team - 1) // team + unit - 1) // unit * unit


cdef inline Py_ssize_t blocks_or_all(Py_ssize_t n, int team, Py_ssize_t block) noexcept nogil:
    """The step of a kernel that may take everything at once: a block for a team."""
    return n if team <= 1 else block


# ---------------------------------------------------------------------------------------------- arrays

cdef inline int dtype_of_type(int number) noexcept nogil:
    cdef int i
    for i in range(FA_DTYPES):
        if fa_dtypes[i].type == number:
            return i
    return -1


cdef inline int dtype_of(object array) noexcept:
    """The place of a plain array's dtype in fa_dtypes; -1 for anything that needs care."""
    if not cnp.PyArray_CheckExact(array) or not (
            cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>array) or cnp.PyArray_ISFARRAY_RO(<cnp.ndarray>array)):
        return -1
    return dtype_of_type(cnp.PyArray_TYPE(<cnp.ndarray>array))


cdef inline const fa_kernels *kernels_of(cnp.ndarray array) noexcept:
    """The kernels for an array of one of the dtypes."""
    return table.kernels[dtype_of_type(cnp.PyArray_TYPE(array))]


cdef inline bint has_shape(cnp.ndarray a, int ndim, const cnp.npy_intp *shape) noexcept:
    cdef int i
    if cnp.PyArray_NDIM(a) != ndim:
        return False
    for i in range(ndim):
        if cnp.PyArray_DIMS(a)[i] != shape[i]:
            return False
    return True


cdef inline bint same_layout(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Same dtype, shape and order of two arrays, the first of which is plain; False where b is no array."""
    if (not cnp.PyArray_CheckExact(b) or cnp.PyArray_TYPE(a) != cnp.PyArray_TYPE(b)
            or not has_shape(b, cnp.PyArray_NDIM(a), cnp.PyArray_DIMS(a))):
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


cdef inline Py_ssize_t last(cnp.ndarray a) noexcept:
    """Length of the last axis."""
    return cnp.PyArray_DIMS(a)[cnp.PyArray_NDIM(a) - 1]


cdef inline bint disjoint(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two contiguous arrays have no byte in common."""
    cdef const char *p = <const char *>cnp.PyArray_DATA(a)
    cdef const char *q = <const char *>cnp.PyArray_DATA(b)
    return p + elements(a) * cnp.PyArray_ITEMSIZE(a) <= q or q + elements(b) * cnp.PyArray_ITEMSIZE(b) <= p


cdef inline bint apart(object a, object b) noexcept:
    """``disjoint`` where both are arrays; None is apart from everything."""
    return a is None or b is None or disjoint(<cnp.ndarray>a, <cnp.ndarray>b)


cdef inline bint may_write(cnp.ndarray out, cnp.ndarray source) noexcept:
    """Whether out is writeable and exactly source or disjoint from it (both contiguous, same size)."""
    return cnp.PyArray_ISWRITEABLE(out) and (cnp.PyArray_DATA(out) == cnp.PyArray_DATA(source) or disjoint(out, source))


cdef inline char *data(object array) noexcept:
    return NULL if array is None else <char *>cnp.PyArray_DATA(<cnp.ndarray>array)


cdef inline char *at(char *start, Py_ssize_t offset) noexcept nogil:
    return NULL if start == NULL else start + offset


cdef inline cnp.ndarray output_like(cnp.ndarray source, object out):
    """A new array like a plain one, or out where it is one and may be written to; None otherwise."""
    if out is None:
        return <cnp.ndarray>PyArray_NewLikeArray(source, cnp.NPY_KEEPORDER, NULL, 0)
    if not same_layout(source, <cnp.ndarray>out) or not may_write(<cnp.ndarray>out, source):
        return None
    return <cnp.ndarray>out


cdef inline cnp.ndarray output_shaped(int ndim, const cnp.npy_intp *shape, int number, object out):
    """A new array of that shape and type (NumPy's number), or out where it is one in C order; None otherwise."""
    if out is None:
        return <cnp.ndarray>cnp.PyArray_EMPTY(ndim, <cnp.npy_intp *>shape, number, 0)
    if (not cnp.PyArray_CheckExact(out) or cnp.PyArray_TYPE(<cnp.ndarray>out) != number
            or not cnp.PyArray_ISCARRAY(<cnp.ndarray>out) or not has_shape(<cnp.ndarray>out, ndim, shape)):
        return None
    return <cnp.ndarray>out


include "elementwise.pxi"
include "rows.pxi"
include "norms.pxi"
include "losses.pxi"
include "policies.pxi"
include "optim.pxi"
include "statistics.pxi"
include "dense.pxi"
include "stack.pxi"
include "foreign.pxi"
include "capi.pxi"
