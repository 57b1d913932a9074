"""What is trained for: a loss by name or function, with its targets, weights and metrics."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any

import numpy as np

from .. import backends, checks, losses
from ..data import conversion
from ..network import Sequential
from .metrics import METRICS, Bound, Metric

LOSSES = {loss.__name__: loss for loss in losses.FACTS}


def objective(function: str, loss: Any) -> Objective:
    """What a loss is trained for; of one that is bound to no options it is always the same object."""
    known = _WITHOUT_OPTIONS.get(loss) if isinstance(loss, (str, FunctionType)) else None
    return Objective(function, loss) if known is None else known


class Objective:
    """A loss as ``fit`` and ``evaluate`` take it: a name, a function of ``fastact.losses``, one bound with options by
    ``functools.partial``, or any function of (outputs, targets) that returns the mean loss and its gradient.
    """  # fmt: skip

    def __init__(self, function: str, loss: Any) -> None:
        """Find the loss; function is what messages begin with."""
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
        self.name = getattr(bare, "__name__", type(bare).__name__)
        if self.options.get("reduction") == "none":
            raise ValueError(f"{function}: expected {self.name} with reduction mean or sum, got none")
        for passed in ("out", "sample_weight"):
            if passed in self.options:
                raise ValueError(f"{function}: {passed} cannot be bound to {self.name}; {function} passes it")
        self.custom = all(bare is not known for known in losses.FACTS)
        self.facts = (losses.CUSTOM if self.custom else losses.FACTS[bare]).bound(self.options)
        self.summed = self.options.get("reduction") == "sum"
        self._takes_out = self._takes("out")

    def _takes(self, keyword: str) -> bool:
        return not self.custom or _takes(self.loss, keyword)

    @property
    def step(self) -> Callable[..., Any]:
        """What a training step calls as (outputs, targets, out=grad): the loss itself where it is one of ours."""
        return self if self.custom else self.loss

    def targets(self, function: str, net: Sequential, y: Any, rows: int) -> np.ndarray:
        """Convert y to what this loss takes, and have a loss that has options check them, on no rows."""
        targets = conversion.TARGETS[self.facts.targets](function, net, y, rows, self.facts.ignore_index)
        if self.options and not self.custom:
            self.loss(np.empty((0, net.outputs), net.dtype), targets[:0])
        return targets

    def sample_weight(self, function: str, given: Any, rows: int, part: bool = False) -> np.ndarray | None:
        """Sample weights, checked; part: of some of the rows, which may all weigh 0."""
        if given is not None and not self._takes("sample_weight"):
            raise TypeError(f"{function}: the loss {self.name} takes no sample_weight")
        return conversion.sample_weight(function, given, rows, part)

    def __call__(self, outputs: np.ndarray, targets: np.ndarray, out: np.ndarray, sample_weight: Any = None) -> Any:
        """(loss, gradient); the gradient in out where the loss can put it there."""
        keywords: dict[str, Any] = {"out": out} if self._takes_out else {}
        if sample_weight is not None:
            keywords["sample_weight"] = sample_weight
        result = self.loss(outputs, targets, **keywords)
        if not isinstance(result, tuple) or len(result) != 2 or np.ndim(result[0]):
            raise TypeError(f"expected the loss {self.name} to return (loss, grad), got {checks.describe(result)}")
        return float(result[0]), result[1]  # a NumPy float32 would go on in the sums and the history

    def row_weights(
        self,
        function: str,
        net: Sequential,
        targets: np.ndarray,
        sample_weight: np.ndarray | None,
        part: bool = False,
    ) -> np.ndarray | None:
        """What each row counts in the mean; None where all count alike. part: of some rows, of which none may count."""
        weights = sample_weight
        if self.facts.targets == "classes" and targets.ndim == 1:
            class_weight, ignored = self.options.get("class_weight"), self.facts.ignore_index
            if class_weight is not None or backends.current().label_range(targets, ignored)[0] < len(targets):
                counted = targets != ignored
                weights = np.where(counted, 1.0 if weights is None else weights, 0.0)
                if class_weight is not None:
                    each = checks.weights(function, "class_weight", class_weight, ((net.outputs,),))
                    weights *= each[np.where(counted, targets, 0)] / (each.max() or 1.0)  # so that no product is 0
        if weights is not None and not part and not weights.any():
            raise ValueError(
                f"{function}: expected rows that count; all weights are 0 or all labels the ignored number"
            )
        return weights

    def classes(self, targets: np.ndarray) -> np.ndarray | None:
        """The class of each row, where targets are classes: numbers, or yes and no."""
        if self.facts.targets == "classes":
            return targets if targets.ndim == 1 else targets.argmax(axis=1)
        if self.facts.targets == "probabilities" and targets.shape[1] == 1 and np.isin(targets, (0, 1)).all():
            return targets[:, 0]
        return None

    def metrics(self, function: str, given: Any) -> dict[str, Metric]:
        """Metrics by name: a name, a function (outputs, targets) -> number, several of them, or {name: function}."""
        if given is None:
            given = self.facts.measured
        elif isinstance(given, str) or callable(given):
            given = (given,)
        if isinstance(given, Mapping):
            items: Iterable[tuple[Any, Any]] = given.items()
        elif isinstance(given, Iterable):
            items = [(m if isinstance(m, str) else _name(m), m) for m in given]
        else:
            raise TypeError(f"{function}: expected metrics to be names or functions, got {checks.describe(given)}")
        found: dict[str, Metric] = {}
        for name, metric in items:
            if not (isinstance(metric, str) or callable(metric)) or not isinstance(name, str):
                raise TypeError(f"{function}: expected metrics to be names or functions, got {checks.describe(metric)}")
            if name in found or name in ("loss", "rate"):
                raise ValueError(f"{function}: two results would be named {name!r}; pass metrics as {{name: function}}")
            found[name] = self._named(function, metric) if isinstance(metric, str) else metric
        return found

    def _named(self, function: str, name: str) -> Metric:
        return Bound(METRICS[checks.choice(function, "metrics", name, self.facts.metrics)], self.facts)


_WITHOUT_OPTIONS = {key: Objective("fit", loss) for name, loss in LOSSES.items() for key in (name, loss)}


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
