"""What is trained for and what is measured: losses and metrics by name, and one's own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks, losses
from ..data import conversion as _convert
from ..network import Sequential

Metric = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class _Kind:
    """What the targets of a loss are, which metrics can be had of them, and which are measured unasked."""

    convert: Callable[..., np.ndarray]
    metrics: tuple[str, ...]
    default: tuple[str, ...]


_REGRESSION = _Kind(_convert.values, ("r2",), ("r2",))
_KINDS: dict[Callable[..., Any], _Kind] = {
    losses.softmax_cross_entropy: _Kind(_convert.classes, ("accuracy",), ("accuracy",)),
    losses.bce_with_logits: _Kind(_convert.probabilities, ("accuracy", "r2"), ("accuracy",)),
    losses.squared_error: _REGRESSION,
    losses.absolute_error: _REGRESSION,
    losses.huber: _REGRESSION,
    losses.quantile: _REGRESSION,
}
_OWN = _Kind(_convert.anything, ("accuracy", "r2"), ())
LOSSES = {loss.__name__: loss for loss in _KINDS}


class Objective:
    """A loss as ``fit`` and ``evaluate`` take it: a name, a function of ``fastact.losses``, one bound with options by
    ``functools.partial``, or any function of (outputs, targets) that returns the mean loss and its gradient.
    """  # fmt: skip

    def __init__(self, function: str, loss: Any) -> None:
        """Find the loss; function is whose message it is."""
        if isinstance(loss, str):
            loss = LOSSES[checks.choice(function, "loss", loss, tuple(LOSSES))]
        if not callable(loss):
            raise TypeError(f"{function}: expected loss to be a name or a function, got {checks.describe(loss)}")
        self.loss = loss
        bare: Any = loss
        self.options: dict[str, Any] = {}
        while isinstance(bare, functools.partial):
            self.options = {**bare.keywords, **self.options}
            bare = bare.func
        try:
            self.kind = _KINDS.get(bare, _OWN)
        except TypeError:  # a function object that cannot be hashed
            self.kind = _OWN
        self.bare = bare
        self.name = getattr(bare, "__name__", type(bare).__name__)
        if self.options.get("reduction") == "none":
            raise ValueError(f"{function}: expected {self.name} with reduction mean or sum, got none")
        for taken in ("out", "sample_weight"):
            if taken in self.options:
                raise ValueError(f"{function}: {taken} cannot be bound to {self.name}; {function} passes it")
        self.summed = self.options.get("reduction") == "sum"
        self._takes_out = _takes(loss, "out")

    def targets(self, function: str, net: Sequential, y: Any, rows: int) -> np.ndarray:
        """People's y as this loss wants it; the loss then looks at its options, on no row at all."""
        if self.kind.convert is _convert.classes:
            targets = _convert.classes(function, net, y, rows, self._ignored)
        else:
            targets = self.kind.convert(function, net, y, rows)
        if self.kind is not _OWN:
            self.loss(np.empty((0, net.outputs), net.dtype), targets[:0])
        return targets

    def weights(self, function: str, sample_weight: Any, rows: int) -> np.ndarray | None:
        """Sample weights, checked."""
        if sample_weight is not None and not _takes(self.loss, "sample_weight"):
            raise TypeError(f"{function}: the loss {self.name} takes no sample_weight")
        return _convert.weights(function, sample_weight, rows)

    def __call__(self, outputs: np.ndarray, targets: np.ndarray, out: np.ndarray, sample_weight: Any = None) -> Any:
        """(loss, gradient); the gradient in out where the loss can put it there."""
        keywords: dict[str, Any] = {"out": out} if self._takes_out else {}
        if sample_weight is not None:
            keywords["sample_weight"] = sample_weight
        result = self.loss(outputs, targets, **keywords)
        if not isinstance(result, tuple) or len(result) != 2 or np.ndim(result[0]):
            raise TypeError(f"expected the loss {self.name} to return (loss, grad), got {checks.describe(result)}")
        return result

    def step(self) -> Callable[..., Any]:
        """What a training step calls as (outputs, targets, out=grad): the loss itself where it is one of ours."""
        return self if self.kind is _OWN else self.loss

    def mass(
        self, function: str, net: Sequential, targets: np.ndarray, sample_weight: np.ndarray | None
    ) -> np.ndarray | None:
        """What each row counts in the mean; None where all count alike."""
        mass = sample_weight
        if self.kind.convert is _convert.classes and targets.ndim == 1:
            counted = targets != self._ignored
            class_weight = self.options.get("class_weight")
            if class_weight is not None or not counted.all():
                mass = np.where(counted, 1.0 if mass is None else mass, 0.0)
                if class_weight is not None:
                    each = checks.weights(function, "class_weight", class_weight, ((net.outputs,),))
                    mass *= each[np.where(counted, targets, 0)]
        if mass is not None and not mass.any():
            raise ValueError(
                f"{function}: expected rows that count; all weights are 0 or all labels the ignored number"
            )
        return mass

    @property
    def _ignored(self) -> int:
        default = inspect.signature(losses.softmax_cross_entropy).parameters["ignore_index"].default
        return int(self.options.get("ignore_index", default))

    # ------------------------------------------------------------------------------------------------ metrics

    def metrics(self, function: str, wanted: Any) -> dict[str, Metric]:
        """Metrics by name: a name, a function (outputs, targets) -> number, several of them, or {name: function}."""
        if wanted is None:
            wanted = self.kind.default
        elif isinstance(wanted, str) or callable(wanted):
            wanted = (wanted,)
        if isinstance(wanted, Mapping):
            items: Iterable[tuple[Any, Any]] = wanted.items()
        elif isinstance(wanted, Iterable):
            items = [(m if isinstance(m, str) else _name(m), m) for m in wanted]
        else:
            raise TypeError(f"{function}: expected metrics to be names or functions, got {checks.describe(wanted)}")
        own = {"accuracy": self._accuracy, "r2": r2}
        found: dict[str, Metric] = {}
        for name, metric in items:
            if isinstance(metric, str):
                metric = own[checks.choice(function, "metrics", metric, self.kind.metrics)]  # noqa: PLW2901
            if not callable(metric) or not isinstance(name, str):
                raise TypeError(f"{function}: expected metrics to be names or functions, got {checks.describe(metric)}")
            if name in found or name in ("loss", "rate"):
                raise ValueError(f"{function}: two results would be named {name!r}; pass metrics as {{name: function}}")
            found[name] = metric
        return found

    def _accuracy(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """Share of rows (of outputs, where each is a yes or no of its own) that are right."""
        if self.bare is losses.bce_with_logits or outputs.shape[1] == 1:
            right = (outputs > 0) == (targets.reshape(outputs.shape) > 0.5)
        elif targets.ndim == 1:
            counted = targets != self._ignored
            right = (outputs.argmax(axis=1) == targets)[counted]
        else:
            right = outputs.argmax(axis=1) == targets.argmax(axis=1)
        return float(right.mean()) if right.size else float("nan")


def r2(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Coefficient of determination 1 - sum (t - p)^2 / sum (t - mean t)^2, the mean over the outputs.

    A constant target counts 1 where it is met exactly and else 0, as in scikit-learn.
    """
    if outputs.shape != targets.shape:
        raise ValueError(f"r2: expected targets of the outputs' shape {outputs.shape}, got {targets.shape}")
    if not outputs.size:
        return float("nan")
    t = targets.astype(np.float64)
    left = np.square(t - outputs).sum(axis=0)
    spread = np.square(t - t.mean(axis=0)).sum(axis=0)
    constant = spread == 0
    return float(np.mean(np.where(constant, left == 0, 1 - left / np.where(constant, 1, spread))))


def measure(function: str, metrics: Mapping[str, Metric], outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Each metric's value."""
    values = {}
    for name, metric in metrics.items():
        value = metric(outputs, targets)
        try:
            values[name] = float(value)
        except (TypeError, ValueError):
            raise TypeError(
                f"{function}: expected the metric {name} to return a number, got {checks.describe(value)}"
            ) from None
    return values


def _name(metric: Any) -> str:
    while isinstance(metric, functools.partial):
        metric = metric.func
    return getattr(metric, "__name__", type(metric).__name__)


def _takes(function: Callable[..., Any], keyword: str) -> bool:
    """Whether a function takes that keyword; yes where Python cannot tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.kind is p.VAR_KEYWORD or (p.name == keyword and p.kind is not p.POSITIONAL_ONLY) for p in parameters)
