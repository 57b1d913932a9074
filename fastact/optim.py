"""Optimisers: one pass over the flat buffers a step."""

from __future__ import annotations

import numpy as np

from . import _checks, runtime
from .layers import Sequential, aligned_empty

__all__ = ["SGD"]


class SGD:
    """Stochastic gradient descent with momentum, as PyTorch has it (Sutskever et al. 2013 without dampening).

    v = momentum * v + g (+ weight_decay * p for weights, not for biases); p = p - lr * v

    Parameters
    ----------
    lr : number > 0
    momentum : number in [0, 1)
    weight_decay : number >= 0
    """

    def __init__(self, lr: float = 0.01, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        """Check the rates; the velocity is made at the first step."""
        self.lr = _checks.real("SGD", "lr", lr, low_included=False)
        self.momentum = _checks.real("SGD", "momentum", momentum)
        if self.momentum >= 1:
            raise ValueError(f"SGD: expected momentum below 1, got {momentum}")
        self.weight_decay = _checks.real("SGD", "weight_decay", weight_decay)
        self._velocity: np.ndarray | None = None

    def step(self, net: Sequential) -> None:
        """Update the network's parameters from its gradients."""
        velocity = None
        if self.momentum:
            velocity = self._velocity
            if velocity is None:
                velocity = self._velocity = aligned_empty(net.parameters.shape, net.dtype)
                velocity[...] = 0
            if velocity.shape != net.parameters.shape or velocity.dtype != net.dtype:
                raise ValueError(
                    f"SGD.step: this optimiser has the state of a network with {velocity.size} {velocity.dtype} "
                    f"parameters, got one with {net.parameters.size} {net.dtype}; make an optimiser per network"
                )
        if not self.weight_decay:
            self._update(net.parameters, net.gradients, velocity, 0.0)
            return
        split = max((s.stop for s in net.segments if s.decayed), default=0)  # decayed parameters come first
        for part, decay in ((slice(0, split), self.weight_decay), (slice(split, None), 0.0)):
            self._update(net.parameters[part], net.gradients[part], None if velocity is None else velocity[part], decay)

    def _update(self, p: np.ndarray, g: np.ndarray, v: np.ndarray | None, decay: float) -> None:
        if runtime.get_backend() == "native":
            runtime._core.sgd(p, g, v, self.lr, self.momentum, decay)
            return
        change = g + decay * p if decay else g
        if v is not None:
            v *= self.momentum
            v += change
            change = v
        p -= self.lr * change
