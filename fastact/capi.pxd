# fastact for Cython: "from fastact.capi cimport fastact_import, ...". fastact.h says what each function does; compile
# with include_dirs=[fastact.get_include()].

cdef extern from "fastact.h":
    # with the GIL, once, before the others: raises ImportError where the kernels are missing or of another version
    int fastact_import() except -1

cdef extern from "fastact.h" nogil:
    ctypedef struct fastact_activation:
        const char *name
        char saved
        int parameters
        double a, b
    int fastact_number(const char *name)
    const fastact_activation *fastact_describe(int number)
    int fastact_forward_float(int number, const float *x, float *y, Py_ssize_t n, double a, double b)
    int fastact_forward_double(int number, const double *x, double *y, Py_ssize_t n, double a, double b)
    int fastact_backward_float(
        int number, const float *grad, const float *saved, float *dx, Py_ssize_t n, double a, double b)
    int fastact_backward_double(
        int number, const double *grad, const double *saved, double *dx, Py_ssize_t n, double a, double b)
    int fastact_dense_float(
        int number, const float *x, const float *weight, const float *bias, float *y, Py_ssize_t rows,
        Py_ssize_t inputs, Py_ssize_t outputs, double a, double b)
    int fastact_dense_double(
        int number, const double *x, const double *weight, const double *bias, double *y, Py_ssize_t rows,
        Py_ssize_t inputs, Py_ssize_t outputs, double a, double b)
