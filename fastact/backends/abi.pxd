# What of C the core uses: the kernels' interface (fa_interface.h says what each is), and what stands between the two.

cimport numpy as cnp
from cpython.ref cimport PyObject

from libc.stdint cimport int64_t, uint8_t, uint32_t


cdef extern from "numpy/arrayobject.h":
    object PyArray_NewLikeArray(cnp.ndarray, cnp.NPY_ORDER, void *, int)

cdef extern from "Python.h":
    int PyContextVar_Get(object var, PyObject *default_value, PyObject **value) except -1
    long PyLong_AsLongAndOverflow(object value, int *overflow) except? -1

cdef extern from "dlpack.h":
    ctypedef struct fa_dl_tensor:
        void *data
        int device_type, ndim
        uint8_t code, bits
        int lanes
        int64_t *shape
        int64_t *strides
        int64_t byte_offset
    ctypedef int (*fa_dl_look)(void *, fa_dl_tensor *) except -1
    ctypedef struct fa_dl_exchange:
        uint32_t major
        fa_dl_look look
    enum:
        FA_DL_CPU
        FA_DL_FLOAT
        FA_DL_MAJOR

cdef extern from "fa_interface.h" nogil:
    ctypedef struct fa_parameters:
        double a, b
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
        void *rest
        void *rstd
        Py_ssize_t columns
        double eps
    ctypedef void fa_norm_forward(const fa_norm *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef void fa_norm_sums(const fa_norm *, Py_ssize_t, Py_ssize_t, void *, void *) noexcept
    ctypedef void fa_norm_backward(
        const fa_norm *, Py_ssize_t, Py_ssize_t, const void *, const void *, Py_ssize_t) noexcept
    ctypedef void fa_batch_moments(const fa_norm *, Py_ssize_t, Py_ssize_t, double *) noexcept
    ctypedef void fa_batch_combine(const fa_norm *, double *, Py_ssize_t, Py_ssize_t, void *, void *, double) noexcept
    ctypedef void fa_batch_rstd(const void *, void *, Py_ssize_t, double) noexcept
    ctypedef struct fa_dropout:
        uint32_t key[2]
        uint32_t threshold
        double scale, shift, dropped
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
        double smoothing, scale
    ctypedef double fa_softmax_cross_entropy(const fa_cross_entropy *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef struct fa_pointwise:
        const void *prediction
        const void *target
        const void *weight
        const void *each
        void *grad
        void *losses
        double a, scale
    ctypedef double fa_loss_kernel(const fa_pointwise *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef struct fa_loss:
        const char *name
        fa_loss_kernel *kernel
    cdef enum:
        FA_STATES, FA_DTYPES
    ctypedef struct fa_update:
        void *parameter
        const void *gradient
        void *state[FA_STATES]
        double rate, decay, shrink, momentum, gain, mean, square, correction, epsilon, inside, scale, limit
        int nesterov
    ctypedef void fa_optimizer_step(const fa_update *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef struct fa_optimizer:
        const char *name
        fa_optimizer_step *step
    ctypedef struct fa_policy:
        const void *outputs
        const void *actions
        const void *log_std
        const double *advantages
        const double *old_log_prob
        void *grad
        void *grad_log_std
        void *log_prob
        void *entropy
        Py_ssize_t columns
        double low, high, bonus, scale
        int shared
    ctypedef double fa_policy_loss(const fa_policy *, Py_ssize_t, Py_ssize_t, double *) noexcept
    ctypedef double fa_reduction(const void *, Py_ssize_t) noexcept
    ctypedef void fa_add_rows(const void *, void *, Py_ssize_t, Py_ssize_t) noexcept
    ctypedef void fa_distance(const void *, const void *, Py_ssize_t, double *) noexcept
    ctypedef void fa_column_statistics(
        const void *, double *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, double) noexcept
    ctypedef void fa_learned_forward(const void *, const void *, int, void *, Py_ssize_t, Py_ssize_t) noexcept
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
        Py_ssize_t y_row, row_tasks, column_tasks, pack_tasks
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
        fa_norm_forward *batch_norm
        fa_norm_sums *layer_norm_backward
        fa_norm_sums *batch_norm_sums
        fa_batch_moments *batch_moments
        fa_batch_combine *batch_combine
        fa_batch_rstd *batch_rstd
        fa_norm_backward *batch_norm_backward
        fa_dropout_kernel *dropout
        fa_softmax_cross_entropy *softmax_cross_entropy
        const fa_loss *losses
        fa_policy_loss *policy_gradient
        fa_policy_loss *gaussian_policy_gradient
        const fa_optimizer *optimizers
        fa_reduction *sum_of_squares
        fa_reduction *largest
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
        int activation_count, learned_count, row_function_count, loss_count, optimizer_count
        const fa_kernels *kernels[FA_DTYPES]
    const fa_table *fa_table_at(int)
    int fa_supported(const fa_table *)

cdef extern from *:
    """
    #include <stdlib.h>

    /* The dtypes of the kernels. Another one is a row here, one in dtypes.py, and its kernels. */
    typedef struct {
        const char *name;
        int type; /* NumPy's number */
        Py_ssize_t size;
        double (*read)(const void *array, Py_ssize_t i);
        void (*write)(void *element, double value);
    } fa_dtype;
    static double fa_read_float32(const void *array, Py_ssize_t i) { return ((const float *)array)[i]; }
    static double fa_read_float64(const void *array, Py_ssize_t i) { return ((const double *)array)[i]; }
    static void fa_write_float32(void *element, double value) { *(float *)element = (float)value; }
    static void fa_write_float64(void *element, double value) { *(double *)element = value; }
    static const fa_dtype fa_dtypes[FA_DTYPES] = {
        [FA_FLOAT32] = {"float32", NPY_FLOAT32, sizeof(float), fa_read_float32, fa_write_float32},
        [FA_FLOAT64] = {"float64", NPY_FLOAT64, sizeof(double), fa_read_float64, fa_write_float64},
    };

    /* OpenMP says how many threads to use, as people set it for all its users. Its own threads do nothing here: a
       region waits for all of them, and how long they spin is settled when the first library loads the runtime. */
    #ifdef _OPENMP
    #include <omp.h>
    #include "pool.h"
    static const int fa_openmp = _OPENMP;
    #else
    static const int fa_openmp = 0;
    static struct {
        int processors;
        int64_t patience;
    } fa_pool;
    typedef void (*fa_task)(const void *, ptrdiff_t, ptrdiff_t, int);
    static int omp_get_max_threads(void) { return 1; }
    static int fa_warm(void) { return 0; }
    static void fa_spread(fa_task run, const void *context, ptrdiff_t n, ptrdiff_t step, int team, int dynamic) {}
    #endif

    #ifdef __clang__
    static const char *const fa_compiler = "clang " __clang_version__;
    #else
    static const char *const fa_compiler = "gcc " __VERSION__;
    #endif

    /* No other thread survives fork: a forked child computes serially. Set where the fork happens, so it holds
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
    ctypedef struct fa_dtype:
        const char *name
        int type
        Py_ssize_t size
        double (*read)(const void *, Py_ssize_t) noexcept nogil
        void (*write)(void *, double) noexcept nogil
    const fa_dtype fa_dtypes[FA_DTYPES]
    const int fa_openmp
    const char *const fa_compiler
    int fa_forked
    int fa_watch_forks() nogil
    int omp_get_max_threads() nogil
    ctypedef void (*fa_task)(const void *, Py_ssize_t, Py_ssize_t, int) noexcept nogil
    void fa_spread(fa_task, const void *, Py_ssize_t, Py_ssize_t, int, int) nogil
    int fa_warm() nogil
    cdef struct fa_pool_state:
        int processors
        int64_t patience
    fa_pool_state fa_pool
    cdef enum:
        FA_PACKED, FA_GRADIENT, FA_INFERENCE, FA_SUMS
    long fa_allocated
    void *fa_take(int, size_t) nogil
    void fa_give(int, void *) nogil
    object fa_pair(type, object, object)
