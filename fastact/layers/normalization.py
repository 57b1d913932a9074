"""Layer and batch normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..memory import ParameterSpec, Workspace
from . import _norms
from .base import Plan, SameWidth
from .catalogue import listed


class Normalization(SameWidth):
    """Base of the normalisations: z * weight + bias, z the normalised x."""

    reads_output = False
    transient = ("_mean", "_rstd", "_changes")

    def __init__(self, eps: float, weight: bool, bias: bool, inputs: int | None) -> None:
        """Check the arguments."""
        super().__init__(inputs)
        self.eps = checks.real(type(self).__name__, "eps", eps, low_included=False)
        self.weight, self.bias = bool(weight), bool(bias)

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Weight and bias, one of each a column."""
        wanted = {"weight": self.weight, "bias": self.bias}
        return {name: ParameterSpec((self.inputs,), "norm") for name, there in wanted.items() if there}

    def initialize(self, rng: np.random.Generator) -> None:
        """Weights 1 and biases 0."""
        for name, array in self.parameters.items():
            array[...] = name == "weight"

    def describe(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().describe(), "eps": self.eps, "weight": self.weight, "bias": self.bias}

    def _affine(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        return self.parameters.get("weight"), self.parameters.get("bias")

    def _all_frozen(self) -> bool:
        return len(self.frozen) == len(self.parameters)

    def _sums(self, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """Where the gradients of weight and bias go, parameters or not."""
        spare = np.empty((2, self.inputs), dtype)
        return self.gradients.get("weight", spare[0]), self.gradients.get("bias", spare[1])


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
        """Check the arguments."""
        super().__init__(eps, weight, bias, inputs)

    def attach(
        self,
        parameters: dict[str, np.ndarray],
        gradients: dict[str, np.ndarray],
        buffers: dict[str, np.ndarray],
        plan: Plan,
        dtype: np.dtype,
    ) -> None:
        """Take the views, and workspaces for the rows' moments."""
        super().attach(parameters, gradients, buffers, plan, dtype)
        self._mean = self.workspaces["mean"] = Workspace(None, dtype)
        self._rstd = self.workspaces["rstd"] = Workspace(None, dtype)
        self._changes = self._sums(dtype)

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Normalise the rows, and keep their moments."""
        mean, rstd = self._mean.rows(len(x)), self._rstd.rows(len(x))
        _norms.layer_norm_into(x, *self._affine(), y, mean, rstd, self.eps)
        self._saved = x, mean, rstd

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Normalise the rows."""
        _norms.layer_norm_into(x, *self._affine(), y, None, None, self.eps)

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        """Dx, and the gradients of weight and bias in the same call."""
        changes = (None, None) if self._all_frozen() else self._changes
        x, mean, rstd = saved
        _norms.layer_norm_backward_into(grad, x, mean, rstd, self.parameters.get("weight"), dx, *changes)


@listed
class BatchNorm(Normalization):
    """Batch normalisation: each column with mean 0 and variance 1, times weight, plus bias (Ioffe and Szegedy 2015,
    arXiv:1502.03167), as torch.nn.BatchNorm1d.

    In training with the mean and the biased variance of the batch, of two rows at least; in inference with the
    ``buffers`` "running_mean" and "running_var", which each training forward moves by ``momentum`` towards the batch's
    mean and unbiased variance.

    Parameters
    ----------
    momentum : number from 0 to 1, or None for the mean over all batches
    eps : number > 0
    weight, bias : whether there is one, of shape (inputs,)
    inputs : the width, needed only where no layer stands before
    """

    min_batch_rows = 2  # a variance needs two

    def __init__(
        self,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        *,
        weight: bool = True,
        bias: bool = True,
        inputs: int | None = None,
    ) -> None:
        """Check the arguments."""
        super().__init__(eps, weight, bias, inputs)
        self.momentum = None if momentum is None else checks.real("BatchNorm", "momentum", momentum)
        if self.momentum is not None and self.momentum > 1:
            raise ValueError(
                f"BatchNorm: expected momentum to be a number from 0 to 1, got {momentum!r}; a width is inputs=..."
            )

    def buffer_specs(self) -> dict[str, ParameterSpec]:
        """The running statistics, and how many batches they have seen."""
        column = ParameterSpec((self.inputs,), "norm")
        return {"running_mean": column, "running_var": column, "num_batches_tracked": ParameterSpec((1,), "norm")}

    def attach(
        self,
        parameters: dict[str, np.ndarray],
        gradients: dict[str, np.ndarray],
        buffers: dict[str, np.ndarray],
        plan: Plan,
        dtype: np.dtype,
    ) -> None:
        """Take the views, and room for the columns' moments."""
        super().attach(parameters, gradients, buffers, plan, dtype)
        self._mean, self._rstd = np.empty(self.inputs, dtype), np.empty(self.inputs, dtype)
        self._changes = self._sums(dtype)

    def initialize(self, rng: np.random.Generator) -> None:
        """Weights and variances 1, the rest 0."""
        super().initialize(rng)
        for name, array in self.buffers.items():
            array[...] = name == "running_var"

    def describe(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().describe(), "momentum": self.momentum}

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Normalise with the batch's moments, and note them."""
        if len(x) < 2:
            raise ValueError(
                f"BatchNorm.forward: expected at least 2 rows in training, got {len(x)}; a variance needs 2: choose a "
                "batch size that leaves no last batch of one row"
            )
        buffers = self.buffers
        seen = buffers["num_batches_tracked"]
        seen += 1
        factor = 1 / float(seen[0]) if self.momentum is None else self.momentum
        running = buffers["running_mean"], buffers["running_var"]
        _norms.batch_norm_into(x, *self._affine(), y, self._mean, self._rstd, *running, self.eps, factor)
        self._saved = x, self._mean, self._rstd

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Normalise with the running statistics."""
        running = self.buffers["running_mean"], self.buffers["running_var"]
        _norms.batch_norm_inference_into(x, *self._affine(), y, *running, self.eps)

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        """Dx, and the gradients of weight and bias in the same call."""
        x, mean, rstd = saved
        _norms.batch_norm_backward_into(grad, x, mean, rstd, self.parameters.get("weight"), dx, *self._changes)
