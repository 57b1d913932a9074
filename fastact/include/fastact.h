/* fastact's kernels for C and Cython: values, gradients and dense layers on memory of yours, without Python.
 *
 * Compile with the folder that fastact.get_include() names; link nothing. In Cython, "from fastact.capi cimport ..."
 * declares all of this. Call fastact_import() once, with the GIL, before anything else (in each C file that includes
 * this header); it is -1 with an exception set where fastact is missing, has no compiled kernels, or an interface that
 * this file was not compiled for. All other functions need no GIL, may be called from any number of threads, and run
 * on the thread that calls them. A value's bits do not depend on the length or the place of the array, a row's not on
 * the number of rows: share out the work as you like.
 *
 * Arrays are contiguous and aligned to their elements, sizes in elements. An output may be exactly an input of the same
 * size, or memory that touches none. Functions return 0, or -1 with nothing written for an unknown number, a negative
 * size, or where there is no memory.
 */
#ifndef FASTACT_H
#define FASTACT_H

#include <Python.h>
#include <stddef.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FASTACT_VERSION 1  /* of what is declared here: another one is another layout */
#define FASTACT_REVISION 0 /* grows with what is added at the end */
#define FASTACT_CAPSULE "fastact._C_API"

/* An elementwise activation; its number is its place in the list, which may change from one release of fastact to the
 * next: look it up by name when your module is imported. */
typedef struct {
    const char *name;
    char saved;     /* what backward reads: 'x' (forward's input), 'y' (its output), '-' (nothing) */
    int parameters; /* how many it has, up to two: a and b in the order of its function in Python */
    double a, b;    /* their defaults */
} fastact_activation;

typedef struct {
    int version, revision;
    int count; /* of activations */
    const fastact_activation *activations;
    /* y = f(x) */
    int (*forward_float)(int number, const float *x, float *y, ptrdiff_t n, double a, double b);
    int (*forward_double)(int number, const double *x, double *y, ptrdiff_t n, double a, double b);
    /* dx = grad * f', from x or y as the activation says */
    int (*backward_float)(int number, const float *grad, const float *saved, float *dx, ptrdiff_t n, double a, double b);
    int (*backward_double)(int number, const double *grad, const double *saved, double *dx, ptrdiff_t n, double a,
                           double b);
    /* y = f(x @ weight + bias) in C order: x (rows, inputs), weight (inputs, outputs), bias (outputs) or NULL, y (rows,
     * outputs), which touches none of the others */
    int (*dense_float)(int number, const float *x, const float *weight, const float *bias, float *y, ptrdiff_t rows,
                       ptrdiff_t inputs, ptrdiff_t outputs, double a, double b);
    int (*dense_double)(int number, const double *x, const double *weight, const double *bias, double *y, ptrdiff_t rows,
                        ptrdiff_t inputs, ptrdiff_t outputs, double a, double b);
} fastact_api;

#ifndef FASTACT_NO_IMPORT

static const fastact_api *fastact_library = NULL;

/* Find the kernels; 0, or -1 with an exception set. */
static inline int fastact_import(void) {
    const fastact_api *api = (const fastact_api *)PyCapsule_Import(FASTACT_CAPSULE, 0);
    if (!api) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
            PyErr_SetString(PyExc_ImportError, "fastact has no compiled kernels here, or is too old to lend them");
        }
        return -1;
    }
    if (api->version != FASTACT_VERSION || api->revision < FASTACT_REVISION) {
        PyErr_Format(PyExc_ImportError,
                     "this module was compiled for the interface %d.%d of fastact, which has %d.%d; compile it again, or "
                     "install the other fastact",
                     FASTACT_VERSION, FASTACT_REVISION, api->version, api->revision);
        return -1;
    }
    fastact_library = api;
    return 0;
}

/* An activation's number, -1 for an unknown name. */
static inline int fastact_number(const char *name) {
    for (int i = 0; i < fastact_library->count; i++)
        if (strcmp(fastact_library->activations[i].name, name) == 0) return i;
    return -1;
}

/* What is known of the activation of that number; NULL for another one. */
static inline const fastact_activation *fastact_describe(int number) {
    return number >= 0 && number < fastact_library->count ? fastact_library->activations + number : NULL;
}

static inline int fastact_forward_float(int number, const float *x, float *y, ptrdiff_t n, double a, double b) {
    return fastact_library->forward_float(number, x, y, n, a, b);
}
static inline int fastact_forward_double(int number, const double *x, double *y, ptrdiff_t n, double a, double b) {
    return fastact_library->forward_double(number, x, y, n, a, b);
}
static inline int fastact_backward_float(int number, const float *grad, const float *saved, float *dx, ptrdiff_t n,
                                         double a, double b) {
    return fastact_library->backward_float(number, grad, saved, dx, n, a, b);
}
static inline int fastact_backward_double(int number, const double *grad, const double *saved, double *dx, ptrdiff_t n,
                                          double a, double b) {
    return fastact_library->backward_double(number, grad, saved, dx, n, a, b);
}
static inline int fastact_dense_float(int number, const float *x, const float *weight, const float *bias, float *y,
                                      ptrdiff_t rows, ptrdiff_t inputs, ptrdiff_t outputs, double a, double b) {
    return fastact_library->dense_float(number, x, weight, bias, y, rows, inputs, outputs, a, b);
}
static inline int fastact_dense_double(int number, const double *x, const double *weight, const double *bias, double *y,
                                       ptrdiff_t rows, ptrdiff_t inputs, ptrdiff_t outputs, double a, double b) {
    return fastact_library->dense_double(number, x, weight, bias, y, rows, inputs, outputs, a, b);
}

#endif

#ifdef __cplusplus
}
#endif

#endif
