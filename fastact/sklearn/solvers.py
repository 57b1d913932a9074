"""How the estimators train: scikit-learn's optimisers, order of rows and rules of stopping, over ``fit_batches``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from scipy import optimize, special

from .. import losses, optim
from ..data.batches import ArrayBatches, Batch
from ..memory import Workspace
from ..network import Sequential
from ..training import Callback, Run
from ..training.penalties import Penalty

BLOCK = 1024  # rows at a time where all are gone through

Loss = Callable[..., Any]

# ------------------------------------------------------------------------------------------------ losses


class OverOutputs:
    """A loss of single elements with the gradient of the sum over the outputs, the mean over the rows.

    That is what scikit-learn follows; as its value it gives that sum (log loss) or the mean over the outputs (the
    losses of regressors).
    """

    def __init__(self, loss: Loss, summed: bool) -> None:
        self.loss, self.summed = loss, summed

    def __call__(self, outputs: np.ndarray, targets: np.ndarray, **keywords: Any) -> tuple[float, np.ndarray]:
        value, grad = self.loss(outputs, targets, **keywords)
        columns = outputs.shape[1]
        np.multiply(grad, columns, out=grad)
        return value * columns if self.summed else value, grad


def poisson(
    outputs: np.ndarray, targets: np.ndarray, *, out: np.ndarray | None = None, sample_weight: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """Half the Poisson deviance of exp(outputs), the sum over the outputs, and its gradient exp(outputs) - targets."""
    mean = np.exp(outputs)
    weights = np.ones(len(outputs)) if sample_weight is None else sample_weight
    each = special.xlogy(targets, targets) - targets * outputs - targets + mean
    grad = np.subtract(mean, targets, out=out)
    grad *= (weights / weights.sum())[:, None]
    return float(np.average(each, axis=0, weights=weights).sum()), grad


def over_outputs(loss: Loss, outputs: int, summed: bool = False) -> Loss:
    """The loss itself where it is one of ours and there is one output."""
    return loss if outputs == 1 else OverOutputs(loss, summed)


LOSSES: dict[str, Loss] = {
    "squared_error": losses.squared_error,
    "absolute_error": losses.absolute_error,
    "huber": losses.huber,
    "quantile": losses.quantile,
    "poisson": poisson,
}

# ------------------------------------------------------------------------------------------------ data


class SparseRows:
    """A CSR matrix as batches and blocks take rows from it: those alone are made dense."""

    def __init__(self, matrix: Any) -> None:
        self.matrix, self.shape, self.dtype = matrix, matrix.shape, matrix.dtype

    def __len__(self) -> int:
        """The number of rows."""
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        """Those rows as an array."""
        return self.matrix[rows].toarray()

    def take(self, rows: np.ndarray, axis: int, out: np.ndarray, mode: str) -> None:
        """Those rows into out, as ``ndarray.take`` does."""
        self.matrix[rows].toarray(out=out)


class Shuffled:
    """scikit-learn's order of the rows: what a seed gives there, it gives here."""

    def __init__(self, random_state: np.random.RandomState) -> None:
        self.random_state, self.order = random_state, np.empty(0, np.intp)

    def shuffle(self, order: np.ndarray) -> None:
        """Draw the order of the next epoch, from the one before."""
        drawn = np.arange(len(order))
        self.random_state.shuffle(drawn)
        self.order = self.order[drawn] if len(self.order) else drawn
        order[...] = self.order


def batches(
    x: Any, y: np.ndarray, weights: np.ndarray | None, size: int, random_state: np.random.RandomState | None
) -> ArrayBatches:
    """Batches of that many rows, shuffled where there is a random state and more than one of them."""
    shuffled: Any = None if random_state is None or size >= len(x) else Shuffled(random_state)
    return ArrayBatches(x, y, weights, weights, size, shuffled)


def epoch(x: Any, y: np.ndarray, weights: np.ndarray | None, size: int, random_state: Any) -> Iterable[Batch]:
    """The batches of one epoch; all rows at once where they are one batch."""
    if size < len(x):
        return batches(x, y, weights, size, random_state).epoch()
    return ((x[:], y, weights, len(x) if weights is None else float(weights.sum())),)


# ------------------------------------------------------------------------------------------------ optimisers


class Adam(optim.Adam):
    """Adam with scikit-learn's epsilon: beside sqrt(v), where PyTorch's stands beside sqrt(v / (1 - beta_2^t))."""

    def prepare(self, update: Any, rate: float, age: int) -> None:
        super().prepare(update, rate, age)
        update.rate /= update.correction
        update.correction = 1.0

    @property
    def learning_rate(self) -> Any:
        """The rate, by scikit-learn's name."""
        return self.lr


class SGD(optim.SGD):
    """SGD with scikit-learn's momentum, which remembers steps where PyTorch's remembers gradients."""

    def __init__(self, lr: float, momentum: float, nesterov: bool, **common: Any) -> None:
        super().__init__(lr, **common)
        self.momentum, self.nesterov = float(momentum), bool(nesterov and momentum)  # momentum may be 1

    @property
    def learning_rate(self) -> Any:
        """The rate, by scikit-learn's name."""
        return self.lr

    def set_rate(self, rate: float) -> None:
        """Go on with another rate; the last step stays as long as it was."""
        velocity = self.state.get("momentum_buffer")
        if velocity is not None and rate != self.lr:
            velocity *= self.learning_rate / rate
        self.lr = rate


class Watch(Callback):
    """Tells the estimator of each epoch, and keeps the best weights where they are to be restored."""

    order = -1  # the user's callbacks find the estimator up to date

    def __init__(self, after_epoch: Callable[[dict[str, float]], tuple[bool, bool]], restoring: bool) -> None:
        """after_epoch: what happened -> whether that was the best epoch, and whether to stop."""
        self.after_epoch, self.restoring, self.stopped = after_epoch, restoring, False

    def on_train_begin(self, run: Run) -> None:
        self.best = [array.copy() for array in (run.net.parameters, run.net.buffers)] if self.restoring else []

    def on_epoch_end(self, run: Run) -> None:
        best, stop = self.after_epoch(run.logs)
        if best and self.best:
            self.best[0][...], self.best[1][...] = run.net.parameters, run.net.buffers
        if stop:
            self.stopped = True
            run.stop()

    def on_train_end(self, run: Run) -> None:
        if self.best:
            run.net.parameters[...], run.net.buffers[...] = self.best


# ------------------------------------------------------------------------------------------------ L-BFGS


def minimize(
    net: Sequential,
    x: Any,
    y: np.ndarray,
    weights: np.ndarray | None,
    loss: Loss,
    penalty: Penalty | None,
    gradient_tolerance: float,
    options: dict[str, int],
    report: Callable[[float], None] | None,
) -> Any:
    """SciPy's L-BFGS-B over the network's flat array, which it leaves at the result; returns SciPy's."""
    rows = len(x)
    total = float(rows if weights is None else weights.sum())
    space = Workspace(net.outputs, net.dtype)
    blocks = [slice(start, min(start + BLOCK, rows)) for start in range(0, rows, BLOCK)]

    def function(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        net.parameters[...] = parameters
        value = 0.0
        for block in blocks:
            outputs, w = net.forward(x[block], True), None if weights is None else weights[block]
            share = (len(outputs) if w is None else float(w.sum())) / total
            keywords = {} if w is None else {"sample_weight": w}
            found, grad = loss(outputs, y[block], out=space.rows(len(outputs)), **keywords)
            if share != 1:
                found = found * share if share else 0.0
                np.multiply(grad, share, out=grad)
            value += found
            net.backward(grad, accumulate=block.start > 0)
        if penalty is not None:
            value += penalty(net, total)
        return value, net.gradients.astype(np.float64, copy=False)

    def callback(intermediate_result: Any) -> None:
        if report is not None:
            report(float(intermediate_result.fun))

    with np.errstate(all="ignore"):
        result = optimize.minimize(
            function,
            net.parameters.astype(np.float64),
            method="L-BFGS-B",
            jac=True,
            options={**options, "gtol": gradient_tolerance},
            callback=None if report is None else callback,
        )
    net.parameters[...] = result.x
    return result
