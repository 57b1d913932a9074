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


def _betas(function: str, value: Any) -> tuple[float, float]:
    try:
        first, second = value
    except (TypeError, ValueError):
        raise TypeError(f"{function}: expected betas to be two numbers, got {value!r}") from None
    return _fraction(function, "betas[0]", first), _fraction(function, "betas[1]", second)


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
        clip_parameter_norm: float | None = None,
        decoupled_weight_decay: bool = False,
        groups: Iterable[Group] = (),
    ) -> None:
        super().__init__(
            lr, weight_decay, clip_norm=clip_norm, clip_value=clip_value, clip_parameter_norm=clip_parameter_norm,
            decoupled_weight_decay=decoupled_weight_decay, groups=groups,
        )  # fmt: skip
        self.momentum = _fraction("SGD", "momentum", momentum)
        self.dampening = checks.real("SGD", "dampening", dampening)
        self.nesterov = bool(nesterov)
        if self.nesterov and (not self.momentum or self.dampening):
            raise ValueError("SGD: nesterov needs a momentum above 0 and no dampening")

    def _used_states(self) -> tuple[str, ...]:
        return self.states if self.momentum else ()

    def prepare(self, update: Any, rate: float, age: int) -> None:
        update.rate, update.momentum, update.nesterov = rate, self.momentum, self.nesterov
        update.gain = 1 - self.dampening if age else 1.0


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012; centred: Graves 2013, arXiv:1308.0850), as torch.optim.RMSprop.

    s = alpha * s + (1 - alpha) * g^2, m likewise of g; d = g / (sqrt((s - m^2 if centered else s) + eps_root) + eps);
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
        eps_root: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        clip_parameter_norm: float | None = None,
        decoupled_weight_decay: bool = False,
        groups: Iterable[Group] = (),
    ) -> None:
        super().__init__(
            lr, weight_decay, clip_norm=clip_norm, clip_value=clip_value, clip_parameter_norm=clip_parameter_norm,
            decoupled_weight_decay=decoupled_weight_decay, groups=groups,
        )  # fmt: skip
        self.alpha = _fraction("RMSprop", "alpha", alpha)
        self.eps, self.eps_root = _small("RMSprop", eps), checks.real("RMSprop", "eps_root", eps_root)
        self.momentum = _fraction("RMSprop", "momentum", momentum)
        self.centered = bool(centered)

    def _used_states(self) -> tuple[str, ...]:
        return ("square_avg", *["grad_avg"] * self.centered, *["momentum_buffer"] * bool(self.momentum))

    def prepare(self, update: Any, rate: float, age: int) -> None:
        update.rate, update.momentum = rate, self.momentum
        update.square, update.epsilon, update.inside = self.alpha, self.eps, self.eps_root


class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011), as torch.optim.Adagrad.

    s = s + g^2; p = p - lr / (1 + steps * lr_decay) * g / (sqrt(s + eps_root) + eps); g includes weight_decay * p.
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
        eps_root: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        clip_parameter_norm: float | None = None,
        decoupled_weight_decay: bool = False,
        groups: Iterable[Group] = (),
    ) -> None:
        super().__init__(
            lr, weight_decay, clip_norm=clip_norm, clip_value=clip_value, clip_parameter_norm=clip_parameter_norm,
            decoupled_weight_decay=decoupled_weight_decay, groups=groups,
        )  # fmt: skip
        self.lr_decay = checks.real("Adagrad", "lr_decay", lr_decay)
        self.initial_accumulator_value = checks.real("Adagrad", "initial_accumulator_value", initial_accumulator_value)
        self.eps, self.eps_root = _small("Adagrad", eps), checks.real("Adagrad", "eps_root", eps_root)

    def initial_state(self, name: str) -> float:
        return self.initial_accumulator_value

    def prepare(self, update: Any, rate: float, age: int) -> None:
        update.rate = rate / (1 + age * self.lr_decay)
        update.epsilon, update.inside = self.eps, self.eps_root


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980), as torch.optim.Adam.

    m = b1 * m + (1 - b1) * g, v = b2 * v + (1 - b2) * g^2, and at step t
    p = p - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t) + eps_root) + eps); g includes weight_decay * p.
    With ``amsgrad`` the largest v so far takes its place (Reddi et al. 2018).
    """

    rule = "adam"
    states = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        eps_root: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        clip_parameter_norm: float | None = None,
        decoupled_weight_decay: bool = False,
        groups: Iterable[Group] = (),
    ) -> None:
        super().__init__(
            lr, weight_decay, clip_norm=clip_norm, clip_value=clip_value, clip_parameter_norm=clip_parameter_norm,
            decoupled_weight_decay=decoupled_weight_decay, groups=groups,
        )  # fmt: skip
        name = type(self).__name__
        self.betas = _betas(name, betas)
        self.eps, self.eps_root = _small(name, eps), checks.real(name, "eps_root", eps_root)
        self.amsgrad = bool(amsgrad)

    def _used_states(self) -> tuple[str, ...]:
        return self.states if self.amsgrad else self.states[:2]

    def prepare(self, update: Any, rate: float, age: int) -> None:
        update.mean, update.square = first, second = self.betas
        spread = 1 - second ** (age + 1)
        update.epsilon, update.inside = self.eps, self.eps_root * spread
        update.rate = rate / (1 - first ** (age + 1))
        update.correction = 1 / math.sqrt(spread)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101), as torch.optim.AdamW.

    p = p - lr * (d + weight_decay * p), d the direction that Adam makes of the gradient alone: rounded once, so that
    in float32 a decay counts whose lr * weight_decay is below the dtype's eps.
    """

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        eps_root: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        clip_parameter_norm: float | None = None,
        groups: Iterable[Group] = (),
    ) -> None:
        super().__init__(
            lr, betas, eps, weight_decay, amsgrad, eps_root=eps_root, clip_norm=clip_norm, clip_value=clip_value,
            clip_parameter_norm=clip_parameter_norm, decoupled_weight_decay=True, groups=groups,
        )  # fmt: skip


class NAdam(Optimizer):
    """Adam with Nesterov's momentum (Dozat 2016), as torch.optim.NAdam.

    m and v as Adam's; with u_t = b1 * (1 - 0.96^(t * momentum_decay) / 2) and U_t = u_1 * ... * u_t, at step t
    p = p - lr * (u_(t+1) * m / (1 - U_(t+1)) + (1 - u_t) * g / (1 - U_t)) / (sqrt(v / (1 - b2^t)) + eps);
    g includes weight_decay * p.
    """

    rule = "nadam"
    states = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        lr: Rate = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        clip_parameter_norm: float | None = None,
        decoupled_weight_decay: bool = False,
        groups: Iterable[Group] = (),
    ) -> None:
        super().__init__(
            lr, weight_decay, clip_norm=clip_norm, clip_value=clip_value, clip_parameter_norm=clip_parameter_norm,
            decoupled_weight_decay=decoupled_weight_decay, groups=groups,
        )  # fmt: skip
        self.betas, self.eps = _betas("NAdam", betas), _small("NAdam", eps)
        self.momentum_decay = checks.real("NAdam", "momentum_decay", momentum_decay)
        self._products = {0: 1.0}  # U by its step: the latest

    def _momentum(self, step: int) -> float:
        return self.betas[0] * (1 - 0.5 * 0.96 ** (step * self.momentum_decay))

    def _product(self, step: int) -> float:
        known = self._products
        if step not in known:
            last = max((one for one in known if one < step), default=0)
            product = known.get(last, 1.0)
            while last < step and product:
                last += 1
                product *= self._momentum(last)
            if len(known) >= 8:  # as many ages as parameters that were frozen at times may have
                del known[next(iter(known))]
            known[step] = product
        return known[step]

    def prepare(self, update: Any, rate: float, age: int) -> None:
        update.mean, update.square = self.betas
        update.epsilon, update.rate = self.eps, rate
        step, product = age + 1, self._product(age + 1)
        now, coming = self._momentum(step), self._momentum(step + 1)
        update.gain = (1 - now) / (1 - product)
        update.momentum = coming / (1 - product * coming)
        update.correction = 1 / math.sqrt(1 - self.betas[1] ** step)


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012, arXiv:1212.5701), as torch.optim.Adadelta.

    s = rho * s + (1 - rho) * g^2; d = sqrt(a + eps) / sqrt(s + eps) * g; a = rho * a + (1 - rho) * d^2;
    p = p - lr * d; g includes weight_decay * p.
    """

    rule = "adadelta"
    states = ("square_avg", "acc_delta")

    def __init__(
        self,
        lr: Rate = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        clip_parameter_norm: float | None = None,
        decoupled_weight_decay: bool = False,
        groups: Iterable[Group] = (),
    ) -> None:
        super().__init__(
            lr, weight_decay, clip_norm=clip_norm, clip_value=clip_value, clip_parameter_norm=clip_parameter_norm,
            decoupled_weight_decay=decoupled_weight_decay, groups=groups,
        )  # fmt: skip
        self.rho, self.eps = _fraction("Adadelta", "rho", rho), _small("Adadelta", eps)

    def prepare(self, update: Any, rate: float, age: int) -> None:
        update.rate, update.square, update.inside = rate, self.rho, self.eps


class Lion(Optimizer):
    """Lion (Chen et al. 2023, arXiv:2302.06675), with its decoupled weight decay.

    p = p - lr * (sign(b1 * m + (1 - b1) * g) + weight_decay * p); then m = b2 * m + (1 - b2) * g. Its rate is to be
    3 to 10 times smaller than Adam's, and its weight decay as many times larger.
    """

    rule = "lion"
    states = ("exp_avg",)

    def __init__(
        self,
        lr: Rate = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        clip_parameter_norm: float | None = None,
        groups: Iterable[Group] = (),
    ) -> None:
        super().__init__(
            lr, weight_decay, clip_norm=clip_norm, clip_value=clip_value, clip_parameter_norm=clip_parameter_norm,
            decoupled_weight_decay=True, groups=groups,
        )  # fmt: skip
        self.betas = _betas("Lion", betas)

    def prepare(self, update: Any, rate: float, age: int) -> None:
        update.rate = rate
        update.mean, update.square = self.betas


#: By the name that ``fit(optimizer=...)`` takes.
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    cls.__name__.lower(): cls for cls in (SGD, RMSprop, Adagrad, Adadelta, Adam, AdamW, NAdam, Lion)
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
