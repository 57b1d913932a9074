"""The optimisers. Names, defaults and formulas are PyTorch's; ``Optimizer`` explains the keywords that all take.

A new one is a class here and in ``OPTIMIZERS``, a function in ``backends/reference/optim.py`` and a kernel in
``fa_optim.h``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from .. import checks
from .optimizer import Group, Optimizer
from .schedules import Rate


def _fraction(function: str, name: str, value: object) -> float:
    number = checks.real(function, name, value)
    if number >= 1:
        raise ValueError(f"{function}: expected {name} to be a number >= 0 and below 1, got {value!r}")
    return number


def _small(function: str, value: object) -> float:
    """Epsilon: above 0 in float32 too, so that parameters without a gradient (and padding) are not divided by 0."""
    return checks.real(function, "eps", value, low=1e-38)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013), as torch.optim.SGD.

    v = momentum * v + (1 - dampening) * g (g itself at the first step); p = p - lr * v, and with ``nesterov``
    p = p - lr * (g + momentum * v); g is the gradient + weight_decay * p.
    """

    rule = "sgd"
    states = ("momentum_buffer",)

    def __init__(
        self,
        lr: Rate = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        groups: Iterable[Group] = (),
    ) -> None:
        super().__init__(lr, weight_decay, clip_norm=clip_norm, clip_value=clip_value, groups=groups)
        self.momentum = _fraction("SGD", "momentum", momentum)
        self.dampening = checks.real("SGD", "dampening", dampening)
        self.nesterov = bool(nesterov)
        if self.nesterov and (not self.momentum or self.dampening):
            raise ValueError("SGD: nesterov needs a momentum above 0 and no dampening")

    def _used_states(self) -> tuple[str, ...]:
        return self.states if self.momentum else ()

    def prepare(self, update: Any, rate: float, decay: float, age: int) -> None:
        update.rate, update.decay, update.momentum, update.nesterov = rate, decay, self.momentum, self.nesterov
        update.gain = 1 - self.dampening if age else 1.0


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012; centred: Graves 2013, arXiv:1308.0850), as torch.optim.RMSprop.

    s = alpha * s + (1 - alpha) * g^2, m likewise of g; d = g / (sqrt(s - m^2 if centered else s) + eps);
    with momentum b = momentum * b + d, p = p - lr * b, else p = p - lr * d; g includes weight_decay * p.
    """

    rule = "rmsprop"
    states = ("square_avg", "grad_avg", "momentum_buffer")

    def __init__(
        self,
        lr: Rate = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        groups: Iterable[Group] = (),
    ) -> None:
        super().__init__(lr, weight_decay, clip_norm=clip_norm, clip_value=clip_value, groups=groups)
        self.alpha = _fraction("RMSprop", "alpha", alpha)
        self.eps = _small("RMSprop", eps)
        self.momentum = _fraction("RMSprop", "momentum", momentum)
        self.centered = bool(centered)

    def _used_states(self) -> tuple[str, ...]:
        return ("square_avg", *["grad_avg"] * self.centered, *["momentum_buffer"] * bool(self.momentum))

    def prepare(self, update: Any, rate: float, decay: float, age: int) -> None:
        update.rate, update.decay, update.momentum = rate, decay, self.momentum
        update.square, update.epsilon = self.alpha, self.eps


class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011), as torch.optim.Adagrad.

    s = s + g^2; p = p - lr / (1 + steps * lr_decay) * g / (sqrt(s) + eps); g includes weight_decay * p.
    """

    rule = "adagrad"
    states = ("sum",)

    def __init__(
        self,
        lr: Rate = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        groups: Iterable[Group] = (),
    ) -> None:
        super().__init__(lr, weight_decay, clip_norm=clip_norm, clip_value=clip_value, groups=groups)
        self.lr_decay = checks.real("Adagrad", "lr_decay", lr_decay)
        self.initial_accumulator_value = checks.real("Adagrad", "initial_accumulator_value", initial_accumulator_value)
        self.eps = _small("Adagrad", eps)

    def initial_state(self, name: str) -> float:
        return self.initial_accumulator_value

    def prepare(self, update: Any, rate: float, decay: float, age: int) -> None:
        update.rate, update.decay, update.epsilon = rate / (1 + age * self.lr_decay), decay, self.eps


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980), as torch.optim.Adam.

    m = b1 * m + (1 - b1) * g, v = b2 * v + (1 - b2) * g^2, and at step t
    p = p - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps); g includes weight_decay * p.
    """

    rule = "adam"
    states = ("exp_avg", "exp_avg_sq")
    decoupled = False

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        groups: Iterable[Group] = (),
    ) -> None:
        super().__init__(lr, weight_decay, clip_norm=clip_norm, clip_value=clip_value, groups=groups)
        name = type(self).__name__
        try:
            first, second = betas
        except (TypeError, ValueError):
            raise TypeError(f"{name}: expected betas to be two numbers, got {betas!r}") from None
        self.betas = _fraction(name, "betas[0]", first), _fraction(name, "betas[1]", second)
        self.eps = _small(name, eps)

    def prepare(self, update: Any, rate: float, decay: float, age: int) -> None:
        update.mean, update.square = first, second = self.betas
        update.epsilon = self.eps
        unbias = 1 - first ** (age + 1)
        update.rate = rate / unbias
        if self.decoupled:
            update.shrink = decay * unbias
        else:
            update.decay = decay
        update.correction = 1 / math.sqrt(1 - second ** (age + 1))


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101), as torch.optim.AdamW.

    p = p - lr * (d + weight_decay * p), d the direction that Adam makes of the gradient alone: rounded once, so that
    in float32 a decay counts whose lr * weight_decay is below the dtype's eps.
    """

    decoupled = True

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        groups: Iterable[Group] = (),
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay, clip_norm=clip_norm, clip_value=clip_value, groups=groups)


#: By the name that ``fit(optimizer=...)`` takes.
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    cls.__name__.lower(): cls for cls in (SGD, RMSprop, Adagrad, Adam, AdamW)
}


def named_optimizer(function: str, value: Optimizer | str) -> Optimizer:
    """An optimiser as it is, or by its name, with its defaults; function is what messages begin with."""
    if isinstance(value, str):
        value = OPTIMIZERS[checks.choice(function, "optimizer", value.lower(), tuple(OPTIMIZERS))]()
    if not isinstance(value, Optimizer):
        given = f"the class {value.__name__}" if isinstance(value, type) else checks.describe(value)
        names = ", ".join(map(repr, OPTIMIZERS))
        raise TypeError(
            f"{function}: expected optimizer to be an Optimizer, such as fastact.optim.Adam(lr=0.001), or one of "
            f"{names}, got {given}"
        )
    return value
