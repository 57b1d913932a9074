/* Everything for one dtype (no include guard): fa_kernels.inc includes it for float and then for double. */

typedef struct {
    real a, b;
} FN(parameters);

#include FA_VECTOR
#include "fa_math.h"
#include "fa_activations.h"
#include "fa_loops.h"
#include "fa_rows.h"
#include "fa_norm.h"
#include "fa_loss.h"
#include "fa_policy.h"
#include "fa_optim.h"
#include "fa_statistics.h"
#include "fa_gemm.h"

static const fa_kernels FN(kernels) = {
    .activations = FN(activations),
    .learned = FN(learned_list),
    .slope_backward = FN(slope_bias_backward),
    .blocking_slope_backward = FN(blocking_slope_bias_backward),
    .row_functions = FN(row_functions),
    .maxout = FN(maxout),
    .maxout_backward = FN(maxout_backward),
    .relu_masked = FN(relu_masked),
    .relu_masked_backward = FN(relu_masked_backward),
    .layer_norm = FN(layer_norm),
    .layer_norm_backward = FN(layer_norm_backward),
    .batch_moments = FN(batch_moments),
    .batch_combine = FN(batch_combine),
    .batch_rstd = FN(batch_rstd),
    .batch_norm = FN(batch_norm),
    .batch_norm_sums = FN(batch_norm_sums),
    .batch_norm_backward = FN(batch_norm_backward),
    .dropout = FN(dropout),
    .softmax_cross_entropy = FN(softmax_cross_entropy),
    .losses = FN(losses),
    .policy_gradient = FN(policy_gradient),
    .gaussian_policy_gradient = FN(gaussian_policy_gradient),
    .optimizers = FN(optimizers),
    .sum_of_squares = FN(sum_of_squares),
    .largest = FN(largest),
    .add_rows = FN(add_rows),
    .column_statistics = FN(column_statistics),
    .distance = FN(distance),
    .product_plan = FN(product_plan),
    .product_pack = FN(product_pack),
    .product_task = FN(product_task),
    .add_bias = FN(identity_epilogue),
    .sum_columns = FN(identity_bias_backward),
    .lanes = FN(lanes),
};
