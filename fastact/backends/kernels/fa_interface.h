/* The kernel interface: the one place where Cython and C meet.
 *
 * A kernel works on memory that it is given: it allocates nothing, keeps nothing, starts no thread and trusts its
 * caller. Cython, which repeats these declarations, chooses the table of an instruction set and in it the
 * kernels of a dtype, checks arrays, shares work between threads and gives workspaces.
 *
 * Pointers are to elements of the kernels' dtype, sizes and strides in elements. Arrays are contiguous and aligned to
 * their elements unless strides are given; an output may be exactly one of the inputs unless it says otherwise.
 */
#ifndef FA_INTERFACE_H
#define FA_INTERFACE_H

#include <stddef.h>
#include <stdint.h>

/* An activation's parameters in the registry's order; a kernel rounds them to its dtype. */
typedef struct {
    double a, b;
} fa_parameters;

/* y = f(x), and dx = grad * f' from what the registry says backward reads: x or y */
typedef void fa_forward(const void *x, void *y, ptrdiff_t n, fa_parameters p);
typedef void fa_backward(const void *grad, const void *saved, void *dx, ptrdiff_t n, fa_parameters p);
/* y = f(y + bias) in place over rows x columns whose rows begin y_row and slope_row elements apart: what is done to a
 * tile of a product. With slope, f' is stored there too, for backward to multiply with. */
typedef void fa_epilogue(void *y, const void *bias, void *slope, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t y_row,
                         ptrdiff_t slope_row, fa_parameters p);
/* dz = grad * f' (not stored where dz is NULL), and the column sums of dz into bias_gradient (which must not overlap
 * the others) */
typedef void fa_bias_backward(const void *grad, const void *saved, void *dz, void *bias_gradient, ptrdiff_t rows,
                              ptrdiff_t columns, fa_parameters p);

typedef struct {
    const char *name;
    fa_forward *forward;
    fa_backward *backward;
    fa_epilogue *epilogue;
    fa_bias_backward *bias_backward;
} fa_activation;

/* Activations with a learned weight: one for all (columns is then the number of elements, rows 1), or one a column. */
typedef void fa_learned_forward(const void *x, const void *weight, int per_column, void *y, ptrdiff_t rows,
                                ptrdiff_t columns);
/* dx, and the weight's gradient (one number, or a row of them) */
typedef void fa_learned_backward(const void *grad, const void *x, const void *weight, int per_column, void *dx,
                                 void *dweight, ptrdiff_t rows, ptrdiff_t columns);
typedef struct {
    const char *name;
    fa_learned_forward *forward;
    fa_learned_backward *backward;
} fa_learned;

/* A function of each row, and its gradient from the row's output. */
typedef void fa_row_forward(const void *x, void *y, ptrdiff_t rows, ptrdiff_t columns);
typedef void fa_row_backward(const void *grad, const void *y, void *dx, ptrdiff_t rows, ptrdiff_t columns);
typedef struct {
    const char *name;
    fa_row_forward *forward;
    fa_row_backward *backward;
} fa_row_function;

/* n outputs, each the largest of `pieces` neighbours; index: which one */
typedef void fa_maxout(const void *x, void *y, uint8_t *index, ptrdiff_t n, ptrdiff_t pieces);
typedef void fa_maxout_backward(const void *grad, const uint8_t *index, void *dx, ptrdiff_t n, ptrdiff_t pieces);

/* relu with a mask of (n + 7) / 8 bytes: a bit an element, lowest first, that says x >= 0 */
typedef void fa_relu_masked(const void *x, void *y, uint8_t *mask, ptrdiff_t n);
typedef void fa_relu_masked_backward(const void *grad, const uint8_t *mask, void *dx, ptrdiff_t n);

/* Normalisation of rows x columns: the mean in two parts, mean + rest, and rstd = 1 / sqrt(variance + eps) are one a row
 * (layer) or one a column (batch; rest may be NULL: 0). weight and bias may be NULL (1 and 0). y is forward's result, or
 * backward's dx. */
typedef struct {
    const void *x, *grad, *weight, *bias;
    void *y, *mean, *rest, *rstd;
    ptrdiff_t columns;
    double eps;
} fa_norm;
/* rows from row on; layer: computes mean, rest and rstd, and stores them unless NULL; batch: reads them */
typedef void fa_norm_forward(const fa_norm *a, ptrdiff_t row, ptrdiff_t rows);
/* the column sums over these rows of grad times the normalised x, and of grad; layer: dx too, unless y is NULL */
typedef void fa_norm_sums(const fa_norm *a, ptrdiff_t row, ptrdiff_t rows, void *dweight, void *dbias);
typedef void fa_norm_backward(const fa_norm *a, ptrdiff_t row, ptrdiff_t rows, const void *dweight, const void *dbias,
                              ptrdiff_t count);
/* a block's column means, in two parts, and sums of squares about them, and all blocks' together as mean, rest, rstd */
typedef void fa_batch_moments(const fa_norm *a, ptrdiff_t row, ptrdiff_t rows, double *parts);
typedef void fa_batch_combine(const fa_norm *a, double *parts, ptrdiff_t rows, ptrdiff_t block, void *running_mean,
                              void *running_variance, double factor);
typedef void fa_batch_rstd(const void *variance, void *rstd, ptrdiff_t n, double eps);

/* Elements are dropped, and become `dropped`, where their hash is below the threshold; the others x * scale + shift. */
typedef struct {
    uint32_t key[2], threshold;
    double scale, shift, dropped;
} fa_dropout;
typedef void fa_dropout_kernel(const fa_dropout *a, const void *x, void *y, int64_t first, ptrdiff_t n);

/* Softmax cross-entropy of rows of logits; the target of class c in row r is
 *   class_weight[c] * ((1 - smoothing) * t[r][c] + smoothing / columns)
 * with t the row of probabilities in targets, or 1 at the class number in labels (one of the two is NULL).
 * Rows labelled `ignored` have no loss and no gradient. class_weight, row_weight and losses may be NULL. */
typedef struct {
    const void *logits, *targets;
    const int64_t *labels;
    const void *class_weight;
    const double *row_weight;
    void *grad, *losses;
    ptrdiff_t columns;
    int64_t ignored;
    double smoothing, scale; /* scale: of the gradient alone */
} fa_cross_entropy;
/* Of the rows from first on: the sum of row_weight * loss, each one of them into losses, and the gradient. */
typedef double fa_softmax_cross_entropy(const fa_cross_entropy *a, ptrdiff_t first, ptrdiff_t rows);

/* A loss of single elements with its parameter a, or one parameter each. weight, each and losses may be NULL. */
typedef struct {
    const void *prediction, *target, *weight, *each;
    void *grad, *losses;
    double a, scale; /* scale: of the gradient alone */
} fa_pointwise;
/* Of n elements from first on: the sum of weight * loss, each one of them into losses, and the gradient. */
typedef double fa_loss_kernel(const fa_pointwise *p, ptrdiff_t first, ptrdiff_t n);
typedef struct {
    const char *name;
    fa_loss_kernel *kernel;
} fa_loss;

/* Losses of policies. With the surrogate of a row advantage * log_prob, or with old_log_prob (else NULL) the smaller of
 * advantage * ratio and advantage * (ratio between low and high), the loss is -scale times the sum over rows of surrogate
 * + bonus * entropy. */
typedef struct {
    const void *outputs; /* logits, or means */
    const void *actions; /* int64_t: one a row; or as means */
    const void *log_std; /* as means; one row if shared */
    const double *advantages, *old_log_prob;
    void *grad, *grad_log_std, *log_prob, *entropy;
    ptrdiff_t columns;
    double low, high, bonus, scale;
    int shared;
} fa_policy;
/* Of the rows from first on: that sum, the gradients, log-probabilities and entropies. The gradient by a shared log_std
 * goes to sums (NULL: not shared), a double for each column. */
typedef double fa_policy_loss(const fa_policy *a, ptrdiff_t first, ptrdiff_t rows, double *sums);

/* One step of an optimiser over flat buffers. The gradient that counts is g = clamp(scale * gradient, +-limit) +
 * decay * parameter. From it a rule makes a direction (fa_optim.h), and then parameter -= rate * (direction + shrink *
 * parameter), which is rounded once: 1 - rate * shrink would not be told from 1 in float32. */
enum { FA_STATES = 3 };
typedef struct {
    void *parameter;
    const void *gradient;
    void *state[FA_STATES];
    double rate, decay, shrink, momentum, gain, mean, square, correction, epsilon, inside, scale, limit;
    int nesterov;
} fa_update;
typedef void fa_optimizer_step(const fa_update *u, ptrdiff_t first, ptrdiff_t n);
typedef struct {
    const char *name;
    fa_optimizer_step *step;
} fa_optimizer;

/* of n numbers one */
typedef double fa_reduction(const void *x, ptrdiff_t n);
/* total[c] = sum over parts of part[i * columns + c], in order */
typedef void fa_add_rows(const void *parts, void *total, ptrdiff_t rows, ptrdiff_t columns);

/* For columns first .. first + n of a row-major matrix: result[k * columns + column] for the k below. */
enum {
    FA_ABOVE,   /* elements above 0 */
    FA_BELOW,   /* elements below 0 */
    FA_SMALL,   /* elements whose magnitude is less than small */
    FA_MEAN,
    FA_SQUARES, /* sum of squared deviations from the mean */
    FA_STATISTICS
};
typedef void fa_column_statistics(const void *x, double *result, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t first,
                                  ptrdiff_t n, double small);
/* sums of squares: of x - y, and of x */
typedef void fa_distance(const void *x, const void *y, ptrdiff_t n, double *sums);

/* C (m x n) = A (m x k) B (k x n), then the epilogue. Strides are in elements; C's columns are adjacent. */
typedef struct {
    const void *a, *b;
    void *c;
    ptrdiff_t m, n, k;
    ptrdiff_t a_row, a_column, b_row, b_column, c_row;
    int accumulate;         /* C += A B */
    int swapped;            /* C is stored transposed (n x m, c_row elements apart); without epilogue */
    fa_epilogue *epilogue;  /* NULL: C is left as it is */
    const void *bias;       /* of n elements, or NULL */
    void *slope;            /* where the epilogue stores f', slope_row elements from row to row, or NULL */
    ptrdiff_t slope_row;
    fa_parameters parameters;
    /* after the epilogue: y = f(C; weight) with one weight for all or one a column; NULL: nothing */
    fa_learned_forward *learned;
    const void *weight;
    int per_column;
    void *y;                /* y_row elements from row to row; NULL: in place */
    ptrdiff_t y_row;

    /* filled in by product_plan */
    int kind;               /* FA_DOT, ...: which loops */
    int pack_a, swept;
    ptrdiff_t chunks, panels, row_panels;             /* parts of K, of N and of M */
    ptrdiff_t row_tasks, column_tasks, pack_tasks;    /* tasks: row_tasks * column_tasks, after all pack_tasks */
    size_t shared_bytes, task_bytes;                  /* workspace of all pack tasks, and of each running task */
} fa_product;

/* one column of C; one row; K = 1; else tiles, with B read where it lies, packed by each task, or packed before all
 * tasks */
enum { FA_DOT, FA_ROW, FA_OUTER, FA_DIRECT, FA_LOCAL, FA_SHARED };

/* the plan for so many threads (speed alone: the bits are the same for all); pack tasks, all of them before the first
 * task; tasks: in any order, each with task_bytes of its own in local */
typedef void fa_product_plan(fa_product *p, int team);
typedef void fa_product_pack(const fa_product *p, ptrdiff_t task, void *shared);
typedef void fa_product_task(const fa_product *p, ptrdiff_t task, const void *shared, void *local);

/* The kernels of one dtype. Lists are in a fixed order, the same in every instruction set; their lengths are in
 * fa_table. */
typedef struct {
    const fa_activation *activations; /* in the registry's order */
    /* for a slope that the epilogue stored: dz = grad * slope; blocking, dz is 0 where the slope is, whatever grad is */
    fa_bias_backward *slope_backward, *blocking_slope_backward;
    const fa_learned *learned;
    const fa_row_function *row_functions;
    fa_maxout *maxout;
    fa_maxout_backward *maxout_backward;
    fa_relu_masked *relu_masked;
    fa_relu_masked_backward *relu_masked_backward;
    fa_norm_forward *layer_norm;
    fa_norm_sums *layer_norm_backward;
    fa_batch_moments *batch_moments;
    fa_batch_combine *batch_combine;
    fa_batch_rstd *batch_rstd;
    fa_norm_forward *batch_norm;
    fa_norm_sums *batch_norm_sums;
    fa_norm_backward *batch_norm_backward;
    fa_dropout_kernel *dropout;
    fa_softmax_cross_entropy *softmax_cross_entropy;
    const fa_loss *losses;
    fa_policy_loss *policy_gradient, *gaussian_policy_gradient;
    const fa_optimizer *optimizers;
    fa_reduction *sum_of_squares;
    fa_reduction *largest;
    fa_add_rows *add_rows;
    fa_column_statistics *column_statistics;
    fa_distance *distance;
    fa_product_plan *product_plan;
    fa_product_pack *product_pack;
    fa_product_task *product_task;
    fa_epilogue *add_bias;         /* the identity's epilogue */
    fa_bias_backward *sum_columns; /* and its gradient */
    int lanes;
} fa_kernels;

enum { FA_FLOAT32, FA_FLOAT64, FA_DTYPES };

/* An instruction set */
typedef struct {
    const char *name;
    int activation_count, learned_count, row_function_count, loss_count, optimizer_count;
    const fa_kernels *kernels[FA_DTYPES];
} fa_table;

/* Instruction sets of this build, best last: NULL past the end. */
const fa_table *fa_table_at(int index);
/* Whether this CPU and operating system can run it. */
int fa_supported(const fa_table *table);

#endif
