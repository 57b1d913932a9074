"""What objects say of themselves when they are printed, and what errors and warnings tell their reader to do.

``REMEDIES`` and ``NAMES`` are the tables of what other libraries call things; a word that is met often and not known
here is one more in a row.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

__all__ = ["Text", "explain_constructor", "explained", "meant", "shown", "warn"]

P = ParamSpec("P")
Result = TypeVar("Result")


class Text(str):
    """Text of several lines that a prompt and a notebook show as it is, and not as one line with backslashes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def shown(value: object, without: Collection[str] = ()) -> Iterator[str]:
    """The arguments of the object's constructor, from its attributes of the same names.

    Options at a default of None, False, True or (), or keywords at one of 0, are left out, and so is what has no such
    attribute.
    """
    for name, parameter in inspect.signature(type(value)).parameters.items():
        given = getattr(value, name, parameter.empty)
        if name in without or given is parameter.empty:
            continue
        default = parameter.default
        quiet = (
            default in (None, ()) or type(default) is bool or (parameter.kind is parameter.KEYWORD_ONLY and not default)
        )
        if not quiet or given != default:
            yield f"{name}={given!r}"


# ------------------------------------------------------------------------------------------ other libraries' words

#: Keywords of other libraries, and what to pass instead: the first row counts whose own keyword the function takes.
REMEDIES = (
    ("learning_rate learning_rate_init step_size eta eta0", "lr=0.001"),
    ("learning_rate learning_rate_init step_size lr", "optimizer=fastact.optim.Adam(lr=0.001)"),
    ("weight_decay l2 alpha kernel_regularizer", "optimizer=fastact.optim.AdamW(weight_decay=0.01)"),
    ("momentum nesterovs_momentum", "optimizer=fastact.optim.SGD(lr=0.01, momentum=0.9)"),
    ("clipnorm", "clip_parameter_norm=1.0"),
    ("max_grad_norm max_norm global_clipnorm gradient_clip_val", "clip_norm=1.0"),
    (
        "max_grad_norm max_norm global_clipnorm gradient_clip_val clip_norm",
        "optimizer=fastact.optim.Adam(clip_norm=1.0)",
    ),
    ("clipvalue", "clip_value=1.0"),
    ("scheduler lr_scheduler lr_schedule", "lr=fastact.optim.Cosine(0.1, steps)"),
    ("scheduler lr_scheduler lr_schedule", "optimizer=fastact.optim.SGD(lr=fastact.optim.Cosine(0.1, steps))"),
    ("solver optim opt", "optimizer='adam'"),
    ("decay l2 alpha kernel_regularizer", "weight_decay=0.01"),
    ("beta_1 beta_2 beta1 beta2", "betas=(0.9, 0.999)"),
    ("rho", "alpha=0.99"),
    ("epsilon", "eps=1e-8"),
    ("params parameters", "lr=0.001 here, and the network to step(net)"),
    ("max_iter n_iter n_epochs num_epochs nb_epoch max_epochs iterations", "epochs=100"),
    ("batchsize bs minibatch_size mini_batch_size", "batch_size=64"),
    ("restore_best_weights", "restore_best=True"),
    ("early_stopping n_iter_no_change tol restore_best_weights", "patience=10, with validation=0.1"),
    ("validation_data eval_set val_data valid validation_set", "validation=(x, y)"),
    ("validation_split validation_fraction val_split test_size", "validation=0.1"),
    (
        "class_weight class_weights",
        "loss=functools.partial(fastact.softmax_cross_entropy, class_weight=[...]), one number a class",
    ),
    ("label_smoothing", "loss=functools.partial(fastact.softmax_cross_entropy, label_smoothing=0.1)"),
    ("sample_weights weight weights", "sample_weight=[...], one number >= 0 a row"),
    ("criterion loss_fn loss_function loss_func objective", "loss='softmax_cross_entropy'"),
    ("verbose silent", "progress=False"),
    ("normalize normalise standardise scale_data scaler", "standardize=True"),
    ("random_state generator key seed", "rng=0"),
    ("random_state generator key rng", "seed=0"),
    ("monitor min_delta", "callbacks=fastact.EarlyStopping(patience=10, monitor='validation_loss')"),
    ("checkpoint_path save_path", "checkpoint='run.safetensors'"),
    ("filepath filename", "path='run.safetensors'"),
    ("activation_fn nonlinearity act", "activation='relu'"),
    ("in_features input_dim input_size num_features normalized_shape n_inputs", "inputs=64"),
    ("out_features units output_size features n_outputs", "outputs=10"),
    ("use_bias", "bias=False"),
    ("kernel_initializer kernel_init weight_initializer", "weight_init='he_normal'"),
    ("bias_initializer", "bias_init='zeros'"),
    ("p prob drop_rate", "rate=0.5"),
    ("affine elementwise_affine scale center", "weight=False, bias=False"),
    ("num_parameters", "per_channel=True"),
)

#: Likewise of values that have a name.
NAMES = (
    ("mse mean_squared_error squared_loss l2", "squared_error"),
    ("mae mean_absolute_error l1", "absolute_error"),
    ("smooth_l1", "huber"),
    ("pinball", "quantile"),
    ("cross_entropy crossentropy log_loss nll", "softmax_cross_entropy"),
    ("categorical_crossentropy sparse_categorical_crossentropy", "softmax_cross_entropy"),
    ("bce binary_crossentropy binary_cross_entropy", "bce_with_logits"),
    ("logistic", "sigmoid"),
    ("linear none", "identity"),
    ("acc", "accuracy"),
    ("r2_score", "r2"),
)


def meant(value: object, choices: Collection[str]) -> str:
    """ "; did you mean 'relu'?" for a name that is none of the choices but close to one, else nothing."""
    if not isinstance(value, str):
        return ""
    name = value.lower().replace("-", "_").replace(" ", "_")
    plain = {choice.replace("_", ""): choice for choice in choices}
    likely = [ours for words, ours in NAMES if name in words.split() and ours in choices]
    likely += [plain[bare] for bare in difflib.get_close_matches(name.replace("_", ""), plain, 1)]
    return f"; did you mean {likely[0]!r}?" if likely else ""


def explained(function: Callable[P, Result]) -> Callable[P, Result]:
    """The function, which for a keyword that it does not take says what to pass instead."""
    code = function.__code__
    if code.co_flags & inspect.CO_VARKEYWORDS:
        return function
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    taken = frozenset(known)

    @functools.wraps(function)
    def call(*arguments: P.args, **keywords: P.kwargs) -> Result:
        if not keywords.keys() <= taken:
            word = next(name for name in keywords if name not in taken)
            raise TypeError(_no_such_keyword(function.__qualname__, word, known))
        return function(*arguments, **keywords)

    return call


def explain_constructor(cls: type) -> None:
    """Have a class explain the keywords that its constructor does not take."""
    if "__init__" in vars(cls):
        cls.__init__ = explained(cls.__init__)  # type: ignore[misc]


def _no_such_keyword(qualified: str, word: str, known: tuple[str, ...]) -> str:
    name = qualified.removesuffix(".__init__").rpartition(".")[2]
    known = tuple(keyword for keyword in known if keyword != "self")
    remedy = next((text for words, text in REMEDIES if word in words.split() and text.partition("=")[0] in known), None)
    close = difflib.get_close_matches(word, known, 1)
    if remedy is not None:
        hint = f"pass {remedy}"
    elif close:
        hint = f"did you mean {close[0]}=?"
    else:
        hint = f"it takes {', '.join(known)}"
    return f"{name}: there is no keyword {word!r}; {hint}"


class TrainingWarning(UserWarning):
    """Something in the training looks wrong; the text says what, where, and what usually helps."""


def warn(text: str, category: type[Warning]) -> None:
    """Warn, and point at the line outside of the package that led here."""
    package, frame = str(Path(__file__).parent), sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith(package) or "importlib" in frame.f_code.co_filename
    ):
        frame = frame.f_back
    warnings.warn_explicit(
        text, category, frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__"),
        frame.f_globals.setdefault("__warningregistry__", {}),
    )  # fmt: skip
