"""The part of the docstrings that both estimators share."""

from __future__ import annotations

import textwrap
from typing import TypeVar

Class = TypeVar("Class", bound=type)

PARAMETERS = """\
hidden_layer_sizes : int or sequence of int, default=(100,)
    Units of each hidden layer; () for none.
activation : str, fastact.activation(...) or a list with one for each hidden layer, default="relu"
    "identity", "logistic", "tanh", "relu", or any other name of ``fastact.activation``: "gelu", "silu", "mish", ...
solver : {"adam", "sgd", "lbfgs"}, default="adam"
    "lbfgs" is SciPy's L-BFGS-B over all rows at once.
alpha : float, default=0.0001
    Strength of the L2 penalty on the weights, which is divided by the rows (their weights) of the batch.
batch_size : int or "auto", default="auto"
    Rows of a batch; "auto" is min(200, n_samples).
learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
    For ``solver="sgd"``: constant; learning_rate_init / (samples seen + 1) ** power_t; or a fifth each time that
    ``n_iter_no_change`` epochs brought no gain of ``tol``, down to 1e-6.
learning_rate_init : float, default=0.001
    The rate at the start.
power_t : float, default=0.5
    The exponent of "invscaling".
max_iter : int, default=200
    Most epochs, or iterations of L-BFGS.
shuffle : bool, default=True
    Whether to draw a new order of the rows for each epoch.
random_state : int, RandomState or None, default=None
    Decides starting weights, the split of early stopping, the order of rows and what dropout drops.
tol : float, default=1e-4
    Training stops when ``n_iter_no_change`` epochs in a row brought no gain of tol; the gradient's limit for L-BFGS.
verbose : bool or int, default=False
    Whether to print the loss of each epoch.
warm_start : bool, default=False
    Whether ``fit`` goes on from the fitted weights, with the optimiser's state, instead of new ones.
momentum : float, default=0.9
    Of "sgd", from 0 to 1.
nesterovs_momentum : bool, default=True
    Whether that is Nesterov's.
early_stopping : bool, default=False
    Whether to hold rows out (stratified for two classes), stop when their score (accuracy, R2) no longer gains, and
    restore the weights that scored best.
validation_fraction : float, default=0.1
    The part that is held out.
beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
    Of "adam".
n_iter_no_change : int or inf, default=10
    Epochs without a gain of ``tol`` before training stops.
max_fun : int, default=15000
    Most evaluations of the loss for L-BFGS.
dropout : float or list of float, default=0.0
    Probability with which a hidden unit is dropped in training, for all hidden layers or each.
batch_norm, layer_norm : bool, default=False
    Whether to normalise before each hidden activation, over the batch or over each row.
weight_init : str, function or None, default=None
    A name of ``fastact.init.INITIALIZERS`` or an initialiser, with biases of 0; None for scikit-learn's Glorot uniform.
optimizer : fastact.optim.Optimizer, its name or None, default=None
    Takes the place of ``solver`` and its parameters. It is copied, schedule included; by name ("adamw") it has its own
    defaults.
callbacks : fastact.Callback, list of them, or None, default=None
    Called while ``fit`` trains in epochs.
clip_norm, clip_value : float or None, default=None
    Longest gradient, and largest element of it, that a step uses.
restore_best_weights : bool, default=False
    Whether to end with the weights of the best epoch: of the best validation score, or else the least training loss.
dtype : "float32", "float64" or None, default=None
    In which numbers to train and predict; None: those of X, and float32 where X is neither.
n_threads : int or None, default=None
    Threads for this estimator's calls; None: ``fastact.get_num_threads()``."""

ATTRIBUTES = """\
net_ : fastact.Sequential
    The network.
coefs_, intercepts_ : list of ndarray
    Weights of shape (inputs, outputs) and biases of its dense layers: views, which can be assigned to.
loss_ : float
    The loss of the last epoch, penalty included.
loss_curve_ : list of float
    The loss of each epoch; not for "lbfgs".
best_loss_ : float or None
    The least of them; None with ``early_stopping``.
validation_scores_, validation_loss_curve_ : list of float or None
    Score and loss of the validation data after each epoch, where there are any.
best_validation_score_ : float or None
    The highest score.
history_ : fastact.History
    What the last training recorded.
n_iter_ : int
    Epochs, or iterations of L-BFGS, of the last ``fit``.
t_ : int
    Rows trained on, counted again in each epoch.
n_features_in_ : int
    Features.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Their names, where X has names.
n_layers_, n_outputs_ : int
    Layers, input and output included, and outputs.
out_activation_ : str
    What makes predictions of the outputs: "softmax", "logistic", "identity" or "exp"."""


def documented(cls: Class) -> Class:
    """Fill the shared tables into the docstring."""
    if cls.__doc__ is not None:
        for name, text in (("parameters", PARAMETERS), ("attributes", ATTRIBUTES)):
            cls.__doc__ = cls.__doc__.replace(f"    {{{name}}}", textwrap.indent(text, "    "))
    return cls
