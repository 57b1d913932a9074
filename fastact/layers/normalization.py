"""Layer and batch normalisation, and columns made comparable."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import backends, checks
from ..memory import ParameterSpec, Workspace
from .base import SameWidth
from .catalogue import listed

MOMENTS = "mean", "rest", "rstd"  # what forward keeps: the mean in two parts, mean + rest, and 1 / sqrt(variance + eps)


class Normalization(SameWidth):
    """Base of the normalisations: z * weight + bias, z the normalised x."""

    reads_output = False

    def __init__(self, eps: float, weight: bool, bias: bool, inputs: int | None) -> None:
        super().__init__(inputs)
        self.eps = checks.real(type(self).__name__, "eps", eps, low_included=False)
        self.weight, self.bias = bool(weight), bool(bias)

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        present = {"weight": self.weight, "bias": self.bias}
        return {name: ParameterSpec((self.inputs,), "norm") for name, there in present.items() if there}

    def initialize(self, rng: np.random.Generator) -> None:
        for name, array in self.parameters.items():
            array[...] = name == "weight"

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "eps": self.eps, "weight": self.weight, "bias": self.bias}

    def _affine(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        return self.parameters.get("weight"), self.parameters.get("bias")

    def _all_frozen(self) -> bool:
        return self.frozen >= self.parameters.keys()

    def make_workspaces(self, dtype: np.dtype) -> None:
        super().make_workspaces(dtype)
        spare = np.empty((2, self.inputs), dtype)
        for name, array in zip(("weight", "bias"), spare, strict=True):
            self.scratch[name] = self.gradients.get(name, array)

    def _sums(self) -> tuple[np.ndarray, np.ndarray]:
        return self.scratch["weight"], self.scratch["bias"]


@listed
class LayerNorm(Normalization):
    """Layer normalisation: each row with mean 0 and variance 1, times weight, plus bias (Ba et al. 2016,
    arXiv:1607.06450).

    y = (x - mean) / sqrt(variance + eps) * weight + bias, the variance biased, as torch.nn.LayerNorm.

    Parameters
    ----------
    eps : number > 0
    weight, bias : whether there is one, of shape (inputs,)
    inputs : the width, needed only where no layer stands before
    """

    def __init__(self, *, eps: float = 1e-5, weight: bool = True, bias: bool = True, inputs: int | None = None) -> None:
        super().__init__(eps, weight, bias, inputs)

    def make_workspaces(self, dtype: np.dtype) -> None:
        super().make_workspaces(dtype)
        self.workspaces |= {name: Workspace(None, dtype) for name in MOMENTS}

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        moments = [self.workspaces[name].rows(len(x)) for name in MOMENTS]
        backends.current().layer_norm(x, *self._affine(), y, *moments, self.eps)
        self._save((x, *moments), len(x))

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        backends.current().layer_norm(x, *self._affine(), y, None, None, None, self.eps)

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        changes = (None, None) if self._all_frozen() else self._sums()
        backends.current().layer_norm_backward(grad, *saved, self.parameters.get("weight"), dx, *changes)


@listed
class BatchNorm(Normalization):
    """Batch normalisation: each column with mean 0 and variance 1, times weight, plus bias (Ioffe and Szegedy 2015,
    arXiv:1502.03167), as torch.nn.BatchNorm1d.

    In training with the mean and the biased variance of the batch, of two rows at least; in inference with the
    ``buffers`` "running_mean" and "running_var", which each training forward moves by ``momentum`` towards the batch's
    mean and unbiased variance (at most to the dtype's largest number: in float32 a spread of 1.8e19). Where these are
    frozen (``net.freeze(layer)``, which freezes weight and bias too, or
    ``net.freeze("1.running_*")`` alone) training normalises with them as inference does, and leaves them as they are.

    Parameters
    ----------
    momentum : number from 0 to 1, or None for the mean over all batches
    eps : number > 0
    weight, bias : whether there is one, of shape (inputs,)
    inputs : the width, needed only where no layer stands before
    """

    def __init__(
        self,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        *,
        weight: bool = True,
        bias: bool = True,
        inputs: int | None = None,
    ) -> None:
        super().__init__(eps, weight, bias, inputs)
        self.momentum = None if momentum is None else checks.real("BatchNorm", "momentum", momentum)
        if self.momentum is not None and self.momentum > 1:
            raise ValueError(
                f"BatchNorm: expected momentum to be a number from 0 to 1, got {momentum!r}; a width is inputs=..."
            )

    @property
    def given(self) -> bool:
        """Whether training normalises with the running statistics, which are frozen."""
        return not self.frozen.isdisjoint(("running_mean", "running_var"))

    @property
    def min_batch_rows(self) -> int:  # type: ignore[override]
        """Two, for a variance, unless it is given."""
        return 1 if self.given else 2

    def buffer_specs(self) -> dict[str, ParameterSpec]:
        column = ParameterSpec((self.inputs,), "norm")
        return {"running_mean": column, "running_var": column, "num_batches_tracked": ParameterSpec((1,), "norm")}

    def make_workspaces(self, dtype: np.dtype) -> None:
        super().make_workspaces(dtype)
        self.scratch |= {name: np.empty(self.inputs, dtype) for name in MOMENTS}

    def initialize(self, rng: np.random.Generator) -> None:
        super().initialize(rng)
        for name, array in self.buffers.items():
            array[...] = name == "running_var"

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "momentum": self.momentum}

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        buffers, (mean, rest, rstd) = self.buffers, (self.scratch[name] for name in MOMENTS)
        running = buffers["running_mean"], buffers["running_var"]
        if self.given:
            mean[...], rstd[...] = running[0], 1 / np.sqrt(np.add(running[1], self.eps, dtype=np.float64))
            self.infer_into(x, y)
            self._save((x, mean, None, rstd, True), len(x))
            return
        if len(x) < 2:
            raise ValueError(
                f"BatchNorm.forward: expected at least 2 rows in training, got {len(x)}; a variance needs 2: choose a "
                "batch size that leaves no last batch of one row"
            )
        seen = float(buffers["num_batches_tracked"][0]) + 1
        factor = 1 / seen if self.momentum is None else self.momentum
        backends.current().batch_norm(x, *self._affine(), y, mean, rest, rstd, *running, self.eps, factor)
        buffers["num_batches_tracked"][0] = seen
        self._save((x, mean, rest, rstd, False), len(x))

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        running = self.buffers["running_mean"], self.buffers["running_var"]
        backends.current().batch_norm_inference(x, *self._affine(), y, *running, self.eps)

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        *moments, given = saved
        sums = (None, None) if given and self._all_frozen() else self._sums()
        backends.current().batch_norm_backward(grad, *moments, self.parameters.get("weight"), dx, *sums, given)


@listed
class Standardize(SameWidth):
    """y = (x - mean) / scale, column by column: raw data made fit for the layers behind it.

    The ``buffers`` "mean" and "scale" are 0 and 1 until ``measure(x)``; ``net.standardize(x)`` and
    ``fit(standardize=True)`` put such a layer at the front of a network and measure.

    Parameters
    ----------
    inputs : the width, needed only where no layer stands before
    """

    reads_input = reads_output = False
    in_place_forward = True

    def buffer_specs(self) -> dict[str, ParameterSpec]:
        return {name: ParameterSpec((self.inputs,), "norm") for name in ("mean", "scale")}

    def initialize(self, rng: np.random.Generator) -> None:
        self.buffers["mean"][...], self.buffers["scale"][...] = 0, 1

    def measure(self, x: np.ndarray | Iterable[np.ndarray]) -> None:
        """Take mean and standard deviation of x's columns, of shape (rows, inputs); a constant column keeps scale 1.

        x may be an iterator of such arrays, which is gone through once.
        """
        mean, scale = standardization([x] if isinstance(x, np.ndarray) else x, self.inputs)
        self.buffers["mean"][...], self.buffers["scale"][...] = mean, scale

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        self.infer_into(x, y)
        self._save(True, len(x))

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        with np.errstate(all="ignore"):
            np.divide(np.subtract(x, self.buffers["mean"], out=y), self.buffers["scale"], out=y)

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        with np.errstate(all="ignore"):
            np.divide(grad, self.buffers["scale"], out=dx)


def standardization(arrays: Iterable[np.ndarray], columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column over all arrays, in one pass; 1 for a constant column.

    In double precision, the moments of each block joined to those before (Chan, Golub and LeVeque 1983), all of them
    around the first row, so that a large mean takes no digits away.
    """
    rows, mean, squares, dtype, first = 0, np.zeros(columns), np.zeros(columns), np.dtype(np.float64), np.zeros(columns)
    low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
    with np.errstate(all="ignore"):
        for block in (array[start : start + 4096] for array in arrays for start in range(0, len(array), 4096)):
            if not rows:
                first = block[0].astype(np.float64)
            moved = block - first
            center = moved.mean(axis=0)
            total, apart = rows + len(block), center - mean
            squares += np.square(moved - center).sum(axis=0) + apart**2 * (rows * len(block) / total)
            mean += apart * (len(block) / total)
            rows, dtype = total, block.dtype
            np.minimum(low, block.min(axis=0), out=low)
            np.maximum(high, block.max(axis=0), out=high)
        if not rows:
            raise ValueError("standardize: expected at least one row of data, got none")
        scale = np.sqrt(squares / rows).astype(dtype)
    varies = (low < high) & (scale > 0) & np.isfinite(scale)
    return first + mean, np.where(varies, scale, 1)
