# What C and Cython code of others calls: the functions that include/fastact.h declares. Part of _core.pyx.

from cpython.pycapsule cimport PyCapsule_New

cdef extern from *:
    """
    #define FASTACT_NO_IMPORT
    #include "fastact.h"
    """
    const char *FASTACT_CAPSULE
    int FASTACT_VERSION, FASTACT_REVISION
    ctypedef struct fastact_activation:
        const char *name
        char saved
        int parameters
        double a, b
    ctypedef struct fastact_api:
        int version, revision, count
        const fastact_activation *activations
        int (*forward_float)(int, const float *, float *, Py_ssize_t, double, double) noexcept nogil
        int (*forward_double)(int, const double *, double *, Py_ssize_t, double, double) noexcept nogil
        int (*backward_float)(int, const float *, const float *, float *, Py_ssize_t, double, double) noexcept nogil
        int (*backward_double)(int, const double *, const double *, double *, Py_ssize_t, double, double) noexcept nogil
        int (*dense_float)(int, const float *, const float *, const float *, float *, Py_ssize_t, Py_ssize_t,
                           Py_ssize_t, double, double) noexcept nogil
        int (*dense_double)(int, const double *, const double *, const double *, double *, Py_ssize_t, Py_ssize_t,
                            Py_ssize_t, double, double) noexcept nogil

cdef enum:
    FLOAT32 = 0  # places in fa_dtypes
    FLOAT64 = 1

cdef fastact_activation lent[MOST]
cdef fastact_api interface


cdef inline bint lends(int number, Py_ssize_t n) noexcept nogil:
    return 0 <= number < table.activation_count and n >= 0


cdef int forward_float(int number, const float *x, float *y, Py_ssize_t n, double a, double b) noexcept nogil:
    if not lends(number, n):
        return -1
    table.kernels[FLOAT32].activations[number].forward(x, y, n, fa_parameters(a, b))
    return 0


cdef int forward_double(int number, const double *x, double *y, Py_ssize_t n, double a, double b) noexcept nogil:
    if not lends(number, n):
        return -1
    table.kernels[FLOAT64].activations[number].forward(x, y, n, fa_parameters(a, b))
    return 0


cdef int backward_float(int number, const float *grad, const float *saved, float *dx, Py_ssize_t n,
                        double a, double b) noexcept nogil:
    if not lends(number, n):
        return -1
    table.kernels[FLOAT32].activations[number].backward(grad, saved, dx, n, fa_parameters(a, b))
    return 0


cdef int backward_double(int number, const double *grad, const double *saved, double *dx, Py_ssize_t n,
                         double a, double b) noexcept nogil:
    if not lends(number, n):
        return -1
    table.kernels[FLOAT64].activations[number].backward(grad, saved, dx, n, fa_parameters(a, b))
    return 0


cdef int dense_lent(const fa_kernels *kernels, int number, const void *x, const void *weight, const void *bias, void *y,
                    Py_ssize_t rows, Py_ssize_t inputs, Py_ssize_t outputs, double a, double b) noexcept nogil:
    cdef fa_product p
    if not lends(number, min(rows, inputs, outputs)):
        return -1
    memset(&p, 0, sizeof(fa_product))
    p.a, p.b, p.c, p.m, p.k, p.n = x, weight, y, rows, inputs, outputs
    p.a_row, p.a_column, p.b_row, p.b_column, p.c_row = inputs, 1, outputs, 1, outputs
    p.bias, p.parameters = bias, fa_parameters(a, b)
    if number != IDENTITY:
        p.epilogue = kernels.activations[number].epilogue
    elif bias != NULL:
        p.epilogue = kernels.add_bias
    return multiply(kernels, &p, 1)


cdef int dense_float(int number, const float *x, const float *weight, const float *bias, float *y, Py_ssize_t rows,
                     Py_ssize_t inputs, Py_ssize_t outputs, double a, double b) noexcept nogil:
    return dense_lent(table.kernels[FLOAT32], number, x, weight, bias, y, rows, inputs, outputs, a, b)


cdef int dense_double(int number, const double *x, const double *weight, const double *bias, double *y, Py_ssize_t rows,
                      Py_ssize_t inputs, Py_ssize_t outputs, double a, double b) noexcept nogil:
    return dense_lent(table.kernels[FLOAT64], number, x, weight, bias, y, rows, inputs, outputs, a, b)


def lend(list entries):
    """The capsule of the kernels; entries are (what backward reads, default parameters) in the activations' order."""
    cdef int i
    interface.version, interface.revision, interface.count = FASTACT_VERSION, FASTACT_REVISION, table.activation_count
    interface.activations = lent
    interface.forward_float, interface.forward_double = forward_float, forward_double
    interface.backward_float, interface.backward_double = backward_float, backward_double
    interface.dense_float, interface.dense_double = dense_float, dense_double
    for i, (saved, parameters) in enumerate(entries):
        lent[i].name = table.kernels[0].activations[i].name
        lent[i].saved, lent[i].parameters = ord(saved), len(parameters)
        lent[i].a, lent[i].b = (*parameters, 0.0, 0.0)[:2]
    return PyCapsule_New(&interface, FASTACT_CAPSULE, NULL)
