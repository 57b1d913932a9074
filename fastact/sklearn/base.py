"""What both estimators share: from scikit-learn's parameters to a ``Sequential`` that ``fit_batches`` trains."""

from __future__ import annotations

import copy
import math
import operator
import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import epilogues, optim, runtime
from ..data.conversion import finite
from ..data.sources import Source
from ..data.streaming import WINDOW
from ..layers import Activation, BatchNorm, Dense, Dropout, Layer, LayerNorm, Maxout, PReLU, Swish
from ..network import Sequential
from ..training import L2, Callback, History, Run, fit_batches
from ..training.objectives import Objective
from ..training.step import Step
from . import files, solvers, streams
from .streams import FLOATS, NON_FINITE

_RUNNING = ("_step", "_parameters", "_settings")  # what partial_fit goes on with


class Glorot:
    """scikit-learn's starting values for weights and biases: uniform, from its own random numbers."""

    def __init__(self, random_state: np.random.RandomState, activation: epilogues.Epilogue, units: int) -> None:
        self.random_state = random_state
        self.bound = math.sqrt((2.0 if activation.name == "sigmoid" else 6.0) / units)

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return self.random_state.uniform(-self.bound, self.bound, shape)


class Views(list[np.ndarray]):
    """Views of the network's weights or biases; what is assigned to a place is copied there."""

    def __setitem__(self, place: Any, value: Any) -> None:
        if isinstance(place, slice):
            for view, one in zip(self[place], value, strict=True):
                view[...] = one
        else:
            self[place][...] = value


class MultilayerPerceptron(streams.FromSources, BaseEstimator):  # type: ignore[misc]
    """Base of the two estimators."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [str, epilogues.Epilogue, list, tuple],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
        "batch_norm": ["boolean"],
        "layer_norm": ["boolean"],
        "weight_init": [str, callable, None],
        "optimizer": [optim.Optimizer, StrOptions(set(optim.OPTIMIZERS)), None],
        "callbacks": [Callback, "array-like", None],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "clip_value": [Interval(Real, 0, None, closed="neither"), None],
        "restore_best_weights": ["boolean"],
        "dtype": [StrOptions({"float32", "float64"}), type, np.dtype, None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }
    _numeric_targets: bool  # whether y must hold numbers
    #: Fitted attributes whose type changes, or that are made where they are missing.
    _optimizer: Any
    _made_from: list[Any]
    _parameters: operator.itemgetter[Any]
    _settings: Any
    best_validation_score_: Any
    validation_scores_: Any
    validation_loss_curve_: Any

    def _take(self, arguments: dict[str, Any]) -> None:
        """Store what ``__init__`` was given, as it is."""
        for name, value in arguments.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    # -------------------------------------------------------------------- what a subclass says

    def _check_targets(self, y: Any, incremental: bool, first: bool) -> np.ndarray:
        """y as the loss takes it, in double where it is no class number; notes classes and scaling where first."""
        raise NotImplementedError

    def _units(self) -> int:
        """The number of outputs."""
        raise NotImplementedError

    def _link(self) -> str:
        """scikit-learn's name for what makes predictions of the outputs."""
        raise NotImplementedError

    def _loss(self) -> solvers.Loss:
        raise NotImplementedError

    def _score_of(self, outputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray | None) -> float:
        """The validation score of raw outputs."""
        raise NotImplementedError

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        """What a split into training and validation keeps the shares of."""
        return None

    def _row_weights(self, y: np.ndarray, sample_weight: np.ndarray | None, incremental: bool) -> np.ndarray | None:
        return sample_weight

    # -------------------------------------------------------------------- weights

    @property
    def coefs_(self) -> list[np.ndarray]:
        """The weights of the dense layers, views of shape (inputs, outputs)."""
        return self._get("weight", "coefs_")

    @coefs_.setter
    def coefs_(self, values: Iterable[Any]) -> None:
        self._set("weight", values)

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """The biases of the dense layers, views."""
        return self._get("bias", "intercepts_")

    @intercepts_.setter
    def intercepts_(self, values: Iterable[Any]) -> None:
        self._set("bias", values)

    def _get(self, kind: str, name: str) -> list[np.ndarray]:
        net = self.__dict__.get("net_")
        if net is not None:
            return Views(layer.parameters[kind] for layer in net.layers if isinstance(layer, Dense))
        try:
            return self.__dict__["_given"][kind]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name} before it is fitted") from None

    def _set(self, kind: str, values: Iterable[Any]) -> None:
        if "net_" in self.__dict__:
            self._get(kind, kind)[:] = values
        else:  # for the network that the first partial_fit makes
            self.__dict__.setdefault("_given", {})[kind] = list(values)

    # -------------------------------------------------------------------- the network

    def _make_network(self, inputs: int, dtype: Any, random_state: np.random.RandomState) -> Sequential:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if isinstance(sizes, Iterable) else [sizes]
        if any(size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        activations = [_epilogue(one) for one in self._per_layer("activation", len(sizes))]
        dropouts = self._per_layer("dropout", len(sizes))
        if self.batch_norm and self.layer_norm:
            raise ValueError("batch_norm and layer_norm exclude each other, got both")
        layers: list[Layer] = []
        for size, activation, rate in zip(sizes, activations, dropouts, strict=True):
            if self.batch_norm or self.layer_norm:
                layers.append(self._dense(inputs, activation.columns(size), None, activation, random_state))
                layers += [BatchNorm() if self.batch_norm else LayerNorm(), _layer(activation)]
            else:
                layers.append(self._dense(inputs, size, activation, activation, random_state))
            if rate:
                layers.append(Dropout(rate))
            inputs = size
        last = activations[-1] if activations else _epilogue(None)
        layers.append(self._dense(inputs, self._units(), None, last, random_state))
        drawn = any(dropouts) or self.weight_init is not None
        rng = np.random.default_rng(random_state.randint(2**31) if drawn else 0)
        return Sequential(*layers, dtype=dtype, rng=rng)

    def _per_layer(self, name: str, layers: int) -> list[Any]:
        value = getattr(self, name)
        if not isinstance(value, (list, tuple)):
            return [value] * layers
        if len(value) != layers:
            raise ValueError(f"expected {name} to have one entry for each of {layers} hidden layers, got {len(value)}")
        return list(value)

    def _dense(
        self,
        inputs: int,
        outputs: int,
        activation: epilogues.Epilogue | None,
        following: epilogues.Epilogue,
        random_state: np.random.RandomState,
    ) -> Dense:
        if self.weight_init is not None:
            return Dense(inputs, outputs, activation, weight_init=self.weight_init)
        columns = outputs if activation is None else activation.columns(outputs)
        start = Glorot(random_state, following, inputs + columns)
        return Dense(inputs, outputs, activation, weight_init=start, bias_init=start)

    def _begin(self, net: Sequential) -> None:
        """Take a new network."""
        self.net_ = net
        for kind, values in self.__dict__.pop("_given", {}).items():
            self._set(kind, values)
        self.n_iter_ = self.t_ = 0
        self.n_outputs_ = net.outputs
        self.n_layers_ = 1 + sum(isinstance(layer, Dense) for layer in net.layers)
        self.out_activation_ = self._link()
        self._no_improvement_count = 0
        for name in ("_optimizer", "_made_from", "loss_curve_"):
            self.__dict__.pop(name, None)

    def _make_optimizer(self) -> optim.Optimizer:
        common = {"clip_norm": self.clip_norm, "clip_value": self.clip_value}
        if self.optimizer is not None:
            optimizer = optim.named_optimizer("optimizer", copy.deepcopy(self.optimizer))
            for name, value in common.items():
                if value is not None:
                    setattr(optimizer, name, value)
            return optimizer
        if self.solver == "sgd":
            return solvers.SGD(self.learning_rate_init, self.momentum, self.nesterovs_momentum, **common)
        return solvers.Adam(self.learning_rate_init, (self.beta_1, self.beta_2), self.epsilon, **common)

    def _prepare_optimizer(self) -> None:
        """Make the optimiser, with the state of the one before where there is one of its kind; begin the records."""
        if "loss_curve_" not in self.__dict__:
            self.loss_curve_: list[float] = []
            self.best_loss_: Any = math.inf
            self.validation_scores_ = self.validation_loss_curve_ = self.best_validation_score_ = None
        names = ("optimizer", "solver", "learning_rate_init", "momentum", "nesterovs_momentum", "beta_1", "beta_2",
                 "epsilon", "clip_norm", "clip_value")  # fmt: skip
        made_from = [getattr(self, name) for name in names]
        before: Any = self.__dict__.get("_optimizer")
        if before is not None and all(a is b or a == b for a, b in zip(made_from, self._made_from, strict=True)):
            return
        self._optimizer, self._made_from = self._make_optimizer(), made_from
        if type(before) is type(self._optimizer):
            with suppress(ValueError):  # of other arrays: momentum has become 0
                self._optimizer.load_state_dict(before.state_dict())

    def _survey(self, source: Source, y: np.ndarray) -> None:
        """Note what ``_check_targets`` would of all targets, in one pass; y: the first of them."""
        raise NotImplementedError

    # -------------------------------------------------------------------- fitting

    def _fit(self, X: Any, y: Any, sample_weight: Any, validation: Any, window: Any = WINDOW) -> Any:
        self._validate_params()
        source = streams.source_of("fit", X, y, sample_weight)
        if source is not None:
            arrays = streams.whole(source, window)
            if arrays is None:
                return self._fit_source(source, validation, window)
            X, y, sample_weight = arrays
        all_at_once = self.solver == "lbfgs" and self.optimizer is None
        if all_at_once and (validation is not None or self.batch_norm or np.any(self.dropout)):
            raise ValueError("solver='lbfgs' takes no validation, dropout or batch_norm; use 'adam' or 'sgd'")
        first = not (self.warm_start and "net_" in self.__dict__)
        random_state, X, y, weights = self._start(X, y, sample_weight, first, False)
        with self._threads():
            if all_at_once:
                self._fit_lbfgs(X, y, weights)
            else:
                self._fit_epochs(X, y, weights, validation, random_state)
        if not finite(self.net_.parameters):
            raise ValueError(NON_FINITE)
        return self

    def _start(
        self, X: Any, y: Any, sample_weight: Any, first: bool, incremental: bool
    ) -> tuple[np.random.RandomState, Any, np.ndarray, np.ndarray | None]:
        """Check the data, and make the network where it is the first time."""
        self.__dict__.pop("_step", None)
        X, y, weights = self._check(X, y, sample_weight, first, incremental)
        random_state = check_random_state(self.random_state)
        if first:
            for name in ("net_",) if incremental else ("net_", "_given"):
                self.__dict__.pop(name, None)
            self._begin(self._make_network(X.shape[1], X.dtype, random_state))
        return random_state, X, self._plain_targets(y), weights

    def _check(
        self, X: Any, y: Any, sample_weight: Any, first: bool, incremental: bool
    ) -> tuple[Any, np.ndarray, np.ndarray | None]:
        dtype = FLOATS if self.dtype is None else np.dtype(self.dtype)
        with np.errstate(over="ignore"):  # what is too large for float32 is found then
            X, y = validate_data(
                self, X, y, accept_sparse=["csr", "csc"], multi_output=True, order="C", reset=first,
                dtype=dtype if first else self.net_.dtype, y_numeric=self._numeric_targets,
            )  # fmt: skip
        y = self._check_targets(y, incremental, first)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
            if not sample_weight.any():
                raise ValueError("expected a sample_weight above 0 in at least one row")
        return self._rows(X), y, self._row_weights(y, sample_weight, incremental)

    def _rows(self, X: Any) -> Any:
        """Plain rows, or sparse ones that become plain as they are taken."""
        return solvers.SparseRows(X.tocsr()) if hasattr(X, "tocsr") else np.require(X, requirements=["C", "A"])

    def _plain_targets(self, y: np.ndarray) -> np.ndarray:
        if y.dtype.kind != "f":
            return y
        with np.errstate(over="ignore"):
            plain = np.require(y, self.net_.dtype, ["C", "A"])
        if not np.isfinite(plain).all():
            raise ValueError(f"Input y contains a value too large for {self.net_.dtype}; pass scale_targets=True")
        return plain

    def _threads(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.n_threads is None else runtime.num_threads(self.n_threads)

    def _penalty(self) -> L2 | None:
        return L2(self.alpha) if self.alpha else None

    def _fit_lbfgs(self, X: Any, y: np.ndarray, weights: np.ndarray | None) -> None:
        def report(loss: float) -> None:
            print(f"loss = {loss:.8f}")

        options = {"maxfun": self.max_fun, "maxiter": self.max_iter}
        result = solvers.minimize(
            self.net_, X, y, weights, self._loss(), self._penalty(), self.tol, options,
            report if self.verbose else None,
        )  # fmt: skip
        self.n_iter_, self.loss_ = min(int(result.nit), self.max_iter), float(result.fun)
        if result.status != 0:
            warnings.warn(
                f"lbfgs failed to converge after {self.n_iter_} iteration(s) (status={result.status}): "
                f"{result.message}. Increase the number of iterations (max_iter) or scale the data.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _fit_epochs(
        self,
        X: Any,
        y: np.ndarray | None,
        weights: np.ndarray | None,
        validation: Any,
        random_state: np.random.RandomState,
    ) -> None:
        """Train on X, y; or on X, the batches of a source, without y."""
        self._prepare_optimizer()
        if isinstance(self._optimizer, solvers.SGD):
            self._optimizer.set_rate(self.learning_rate_init)
        held_out = None
        if validation is not None:
            held_out = self._check_validation(validation)
        elif self.early_stopping:
            assert y is not None
            train, test = self._split(len(X), y, random_state)
            X, y, weights, held_out = _divided(X, y, weights, train, test)
        if held_out is None:
            self.validation_scores_ = self.best_validation_score_ = self.validation_loss_curve_ = None
        elif self.validation_scores_ is None:
            self.validation_scores_, self.validation_loss_curve_ = [], []
            self.best_validation_score_ = -math.inf
        self.best_loss_ = None if self.early_stopping else math.inf if self.best_loss_ is None else self.best_loss_
        restoring = self.early_stopping or self.restore_best_weights
        self.n_iter_ = 0
        if y is None:
            made, before = X, self.t_
            watch = solvers.Watch(lambda logs: self._after_epoch(logs, made.passed - self.t_ + before), restoring)
        else:
            rows = len(X)
            made = solvers.batches(X, y, weights, self._batch_rows(rows), random_state if self.shuffle else None)
            watch = solvers.Watch(lambda logs: self._after_epoch(logs, rows), restoring)
        given = () if self.callbacks is None else self.callbacks
        try:
            self.history_ = fit_batches(
                self.net_,
                made,
                loss=self._loss(),
                optimizer=self._optimizer,
                epochs=int(self.max_iter),
                validate=None if held_out is None else lambda net: self._validate(*held_out),
                callbacks=[watch, *([given] if isinstance(given, Callback) else given)],
                penalty=self._penalty(),
                check_finite=False,
                progress=False,
            )
        except KeyboardInterrupt as stop:
            self.history_ = getattr(stop, "history", History())
            warnings.warn("Training interrupted by user.", stacklevel=4)
        if not all(map(math.isfinite, self.loss_curve_[-1:])):
            said = f"The loss became {self.loss_} in iteration {self.n_iter_}; lower learning_rate_init or scale X."
            warnings.warn(said, ConvergenceWarning, stacklevel=4)
        elif self.n_iter_ == self.max_iter and not watch.stopped:
            said = f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
            warnings.warn(said + "converged yet.", ConvergenceWarning, stacklevel=4)

    def _check_validation(self, validation: Any) -> tuple[Any, Any, Any]:
        source = streams.source_of("fit", validation)
        if source is not None:
            return source, None, None
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            raise TypeError(f"{type(self).__name__}.fit: expected validation to be (X, y), got {validation!r}")
        X, y = validation
        X, y, _ = self._check(X, y, None, False, True)
        return X, self._plain_targets(y), None

    def _split(self, rows: int, y: np.ndarray, random_state: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
        """Rows to train on and to validate on: those that scikit-learn draws."""
        train, test = train_test_split(
            np.arange(rows), random_state=random_state, test_size=self.validation_fraction, stratify=self._strata(y)
        )
        if len(test) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return train, test

    def _batch_rows(self, rows: int) -> int:
        if self.batch_size != "auto":
            if self.batch_size > rows:
                warnings.warn(
                    "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=5
                )
            return min(int(self.batch_size), rows)
        size = min(200, rows)
        while self.batch_norm and rows % size == 1 and size > 2:  # which takes no batch of one row
            size -= 1
        return size

    def _validate(self, X: Any, y: np.ndarray | None, weights: np.ndarray | None) -> dict[str, float]:
        if y is None:
            outputs, y = streams.collected(X, self._convert, self._compute)
            assert y is not None
        else:
            outputs = self._compute(X)
        keywords = {} if weights is None else {"sample_weight": weights}
        loss, _ = self._loss()(outputs, y, out=np.empty_like(outputs), **keywords)
        score = self._score_of(outputs, y, weights) if finite(outputs) else math.nan
        return {"validation_loss": float(loss), "validation_score": float(score)}

    def _after_epoch(self, logs: dict[str, float], rows: int) -> tuple[bool, bool]:
        """Note what an epoch brought; whether it was the best, and whether it is time to stop: scikit-learn's rules."""
        loss, score = logs["loss"], logs.get("validation_score")
        self.n_iter_ += 1
        self.t_ += rows
        self.loss_ = float(loss)
        self.loss_curve_.append(self.loss_)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
        best = waiting = False
        if self.best_loss_ is not None:
            waiting = self.loss_ > self.best_loss_ - self.tol
            best = self.loss_ < self.best_loss_
            self.best_loss_ = min(self.best_loss_, self.loss_) if best else self.best_loss_
        if score is not None:
            self.validation_scores_.append(score)
            self.validation_loss_curve_.append(logs["validation_loss"])
            if self.verbose:
                print(f"Validation score: {score:f}")
            if self.early_stopping:
                waiting = score < self.best_validation_score_ + self.tol
            best = score > self.best_validation_score_
            self.best_validation_score_ = score if best else self.best_validation_score_
        self._no_improvement_count = self._no_improvement_count + 1 if waiting else 0

        scheduled = isinstance(self._optimizer, solvers.SGD) and self.learning_rate
        if scheduled == "invscaling":
            self._optimizer.set_rate(self.learning_rate_init / (self.t_ + 1) ** self.power_t)
        if not math.isfinite(self.loss_) and not self.early_stopping and not finite(self.net_.parameters):
            return best, True
        if self._no_improvement_count > self.n_iter_no_change:
            return best, self._no_longer_better(scheduled == "adaptive")
        return best, False

    def _no_longer_better(self, adaptive: bool) -> bool:
        """Whether to stop; or the rate becomes smaller."""
        what = "Validation score" if self.early_stopping else "Training loss"
        said = f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        stop = True
        if not adaptive:
            said += " Stopping."
        elif self._optimizer.lr <= 1e-6:
            said += " Learning rate too small. Stopping."
        else:
            self._optimizer.set_rate(self._optimizer.lr / 5)
            said += f" Setting learning rate to {self._optimizer.lr:f}"
            self._no_improvement_count, stop = 0, False
        if self.verbose:
            print(said)
        return stop

    # -------------------------------------------------------------------- one epoch at a time

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> Any:
        source = None if type(X) is np.ndarray else streams.source_of("partial_fit", X, y, sample_weight)
        if source is not None:
            return self._partial_fit_source(source)
        step = self.__dict__.get("_step")
        if (
            step is None
            or not all(map(operator.is_, self._parameters(self.__dict__), self._settings))
            or sample_weight is not None
            or not (self._is_plain(X) and finite(X))
            or (targets := self._quick_targets(y, len(X))) is None
        ):
            if self.early_stopping:
                raise ValueError("partial_fit does not support early_stopping=True")
            self._validate_params()
            first = "net_" not in self.__dict__
            random_state, X, targets, weights = self._start(X, y, sample_weight, first, True)
            self._prepare_optimizer()
            step = Step(
                Run(self.net_, self._optimizer, 1, 1), Objective("partial_fit", self._loss()), self._penalty(), False
            )
            names = [name for name in self.__dict__ if name[0] != "_" and name[-1] != "_"]
            self._parameters = operator.itemgetter(*names)  # of the constructor
            self._step, self._settings = step, self._parameters(self.__dict__)
            self.__dict__.setdefault("history_", History())
        else:
            random_state, weights = None, None
        rows = len(X)
        size = self._batch_rows(rows)
        if self.shuffle and size < rows and random_state is None:
            random_state = check_random_state(self.random_state)
        total = counted = 0.0
        with self._threads(), np.errstate(all="ignore"):
            for batch in solvers.epoch(X, targets, weights, size, random_state if self.shuffle else None):
                if batch[3]:
                    total, counted = total + step.make(*batch) * batch[3], counted + batch[3]
        self.n_iter_ = 0
        loss = total / (counted or 1)
        self.history_.loss.append(loss)
        self._after_epoch({"loss": loss}, rows)
        if not finite(self.net_.parameters):
            raise ValueError(NON_FINITE)
        return self

    def _quick_targets(self, y: Any, rows: int) -> np.ndarray | None:
        """y as the loss takes it where that can be seen at a glance."""
        return None

    def _check_solver(self) -> bool:
        if self.solver == "lbfgs" and self.optimizer is None:
            raise AttributeError("partial_fit is only available for stochastic optimizers. lbfgs is not stochastic.")
        return True

    # -------------------------------------------------------------------- predicting

    def _is_plain(self, X: Any) -> bool:
        """Whether X is at a glance what the network takes; not whether its numbers are finite."""
        net = self.net_
        return (
            type(X) is np.ndarray
            and X.dtype == net.dtype
            and X.ndim == 2
            and X.shape[1] == net.inputs
            and len(X) > 0
            and X.flags.carray
            and "feature_names_in_" not in self.__dict__
        )

    def _outputs(self, X: Any) -> np.ndarray:
        """The network's outputs for X, checked."""
        if "net_" not in self.__dict__:
            check_is_fitted(self)
        source = None if type(X) is np.ndarray else streams.source_of("predict", X)
        if source is not None:
            with self._threads():
                return streams.collected(source, self._features_alone, self._compute)[0]
        with self._threads():
            found = self._compute(X, True) if self._is_plain(X) else None
            if found is None:
                with np.errstate(over="ignore"):
                    X = validate_data(
                        self, X, accept_sparse=["csr", "csc"], dtype=self.net_.dtype, order="C", reset=False
                    )
                found = self._compute(self._rows(X))
        return found

    def _compute(self, X: Any, suspect: bool = False) -> Any:
        """The network's outputs for X; where that is suspect, None if some number is not finite."""
        net, rows = self.net_, len(X)
        if rows <= solvers.BLOCK:
            return net(X[:]) if not suspect or finite(X) else None
        result = np.empty((rows, net.outputs), net.dtype)
        for start in range(0, rows, solvers.BLOCK):
            block = X[start : start + solvers.BLOCK]
            if suspect and not finite(block):
                return None
            result[start : start + solvers.BLOCK] = net(block)
        return result

    # -------------------------------------------------------------------- keeping

    def __getstate__(self) -> dict[str, Any]:
        """Without what a running training holds."""
        return {name: value for name, value in super().__getstate__().items() if name not in _RUNNING}

    def save(self, path: Any) -> None:
        """Write the fitted estimator to a .safetensors or .npz file, without pickle.

        It holds the network, classes or scaling of the targets, what was recorded, and the constructor's arguments but
        for those that are objects (``optimizer``, ``callbacks``, functions), which ``load`` leaves at their defaults.
        """
        check_is_fitted(self)
        files.save(self, path)

    @classmethod
    def load(cls, path: Any, custom: Any = None) -> Any:
        """The estimator that ``save`` wrote: it predicts the same bits.

        ``custom`` : activations and layers of your own by name, where the network has some. Nothing in the file is ever
        executed; ValueError for one that is damaged or holds something else.
        """
        return files.load(cls, path, custom)

    def __sklearn_tags__(self) -> Any:
        """Sparse data are welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _epilogue(activation: Any) -> epilogues.Epilogue:
    return epilogues.epilogue("activation", "sigmoid" if activation == "logistic" else activation)


def _layer(activation: epilogues.Epilogue) -> Layer:
    """An activation as a layer of its own."""
    if activation.name == "maxout":
        return Maxout(activation.parameters["pieces"])
    if activation.learns:
        return {"prelu": PReLU, "swish": Swish}[activation.name](init=activation.initial_parameter())
    return Activation(activation)  # type: ignore[arg-type]


def _divided(X: Any, y: np.ndarray, weights: np.ndarray | None, train: np.ndarray, test: np.ndarray) -> Any:
    """The rows to train on (X, y, weights), and those to validate on."""
    parts = []
    for rows in (train, test):
        x = solvers.SparseRows(X.matrix[rows]) if isinstance(X, solvers.SparseRows) else X[rows]
        parts.append((x, y[rows], None if weights is None else weights[rows]))
    return *parts[0], parts[1]
