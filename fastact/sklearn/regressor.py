"""``MLPRegressor``."""

from __future__ import annotations

import functools
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if

from .. import checks
from ..data.conversion import finite
from ..data.sources import Source
from ..data.streaming import WINDOW
from . import solvers, streams
from .base import MultilayerPerceptron
from .documentation import documented
from .streams import FLOATS


@documented
class MLPRegressor(RegressorMixin, MultilayerPerceptron):  # type: ignore[misc]
    """Multilayer perceptron that predicts numbers, one or several.

    Parameters
    ----------
    loss : {"squared_error", "poisson", "absolute_error", "huber", "quantile"}, default="squared_error"
        What is made small. "squared_error" is half of it, "poisson" half of Poisson's deviance, with exp(output) as the
        prediction and y >= 0; "quantile" gives the ``quantile`` of y instead of its mean.
    {parameters}
    quantile : float, default=0.5
        Between 0 and 1, for ``loss="quantile"``.
    delta : float, default=1.0
        Where ``loss="huber"`` turns from a square to a line; in units of the scaled targets with ``scale_targets``.
    scale_targets : bool, default=False
        Whether to train on targets of mean 0 and deviation 1; predictions are scaled back. Losses are those of the
        scaled targets. Mean and deviation are those of the first data.

    Attributes
    ----------
    {attributes}
    target_mean_, target_scale_ : ndarray of shape (n_outputs,)
        What targets were scaled by; only with ``scale_targets``.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from fastact.sklearn import MLPRegressor
    >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> regressor = MLPRegressor(scale_targets=True, max_iter=400, tol=1e-3, random_state=1).fit(X, y)
    >>> regressor.score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **MultilayerPerceptron._parameter_constraints,
        "loss": [StrOptions(set(solvers.LOSSES))],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
        "delta": [Interval(Real, 0, None, closed="neither")],
        "scale_targets": ["boolean"],
    }
    _numeric_targets = True

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: Any = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        batch_norm: bool = False,
        layer_norm: bool = False,
        weight_init: Any = None,
        optimizer: Any = None,
        callbacks: Any = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        restore_best_weights: bool = False,
        dtype: Any = None,
        n_threads: int | None = None,
        quantile: float = 0.5,
        delta: float = 1.0,
        scale_targets: bool = False,
    ) -> None:
        self._take(locals())

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, validation: Any = None, window: Any = WINDOW
    ) -> MLPRegressor:
        """Train.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features); or a source, as ``fastact.fit`` takes it, with
            ``y`` left out, but for memory maps: those as ``fastact.data.Arrays(X, y)``
        y : numbers of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : numbers >= 0 of shape (n_samples,)
        validation : (X, y), or a source, measured after each epoch; with ``early_stopping`` in place of a part of the
            data
        window : how much of a source is in memory at a time, as rows or bytes

        Returns self.
        """
        return self._fit(X, y, sample_weight, validation, window)

    @available_if(MultilayerPerceptron._check_solver)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MLPRegressor:
        """Go through the data once, from where the estimator stands; ``callbacks`` are not called. Returns self."""
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """Predictions of shape (n_samples,) or (n_samples, n_outputs)."""
        found = self._predicted(self._outputs(X))
        return found[:, 0] if self.n_outputs_ == 1 else found

    # -------------------------------------------------------------------- what the base asks for

    def _predicted(self, outputs: np.ndarray) -> np.ndarray:
        if self.out_activation_ == "exp":
            with np.errstate(over="ignore"):
                return np.exp(outputs, out=outputs)
        if "target_mean_" in self.__dict__:
            return (outputs * self.target_scale_ + self.target_mean_).astype(outputs.dtype)
        return outputs

    def _units(self) -> int:
        return self._columns

    def _link(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _loss(self) -> solvers.Loss:
        options = {"squared_error": {"factor": 0.5}, "huber": {"delta": float(self.delta)},
                   "quantile": {"q": float(self.quantile)}}.get(self.loss, {})  # fmt: skip
        loss = functools.partial(solvers.LOSSES[self.loss], **options)
        return loss if self.loss == "poisson" else solvers.over_outputs(loss, self.n_outputs_)

    def _score_of(self, outputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray | None) -> float:
        found = np.exp(outputs) if self.out_activation_ == "exp" else outputs
        return float(r2_score(targets, found, sample_weight=sample_weight)) if finite(found) else np.nan

    def _check_targets(self, y: Any, incremental: bool, first: bool) -> np.ndarray:
        y = y.toarray() if hasattr(y, "toarray") else y
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        y = y.astype(np.float64).reshape(len(y), -1)
        if self.loss == "poisson":
            if (y < 0).any():
                raise ValueError("loss='poisson' requires y >= 0")
            if self.scale_targets:
                raise ValueError("scale_targets=True does not go with loss='poisson'")
        if first:
            self._columns = y.shape[1]
            self.__dict__.pop("target_mean_", None)
            if self.scale_targets:
                scale = y.std(axis=0)
                self.target_mean_, self.target_scale_ = y.mean(axis=0), np.where(scale > 0, scale, 1.0)
        elif y.shape[1] != self._columns:
            raise ValueError(f"expected y with {self._columns} column(s) as in the call before, got {y.shape[1]}")
        return (y - self.target_mean_) / self.target_scale_ if "target_mean_" in self.__dict__ else y

    def _survey(self, source: Source, y: np.ndarray) -> None:
        if self.loss == "poisson" and self.scale_targets:
            raise ValueError("scale_targets=True does not go with loss='poisson'")
        self._columns = y.reshape(len(y), -1).shape[1]
        self.__dict__.pop("target_mean_", None)
        if self.scale_targets:
            self.target_mean_, self.target_scale_ = streams.moments(source, self._columns)

    def _quick_targets(self, y: Any, rows: int) -> np.ndarray | None:
        if self._columns != 1 or type(y) is not np.ndarray or y.shape != (rows,) or y.dtype not in FLOATS:
            return None
        if "target_mean_" in self.__dict__ or self.loss == "poisson" or not finite(checks.plain(y)):
            return None
        return self._plain_targets(y[:, None])

    def __sklearn_tags__(self) -> Any:
        """Several outputs too."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
