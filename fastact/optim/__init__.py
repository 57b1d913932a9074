"""Optimisers: one pass over the flat buffers a step. Names, defaults and formulas are PyTorch's.

What all of them share (``Optimizer``): the learning rate may follow a schedule, gradients may be clipped, weights decay
(biases and normalisation parameters do not, unless a group says so), groups of parameters have rates of their own,
frozen parameters stay as they are, and the state can be saved and restored exactly.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backends, checks, runtime
from ..memory import Segment, aligned_empty
from ..network import Sequential

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Group",
    "OneCycle",
    "Optimizer",
    "RMSprop",
    "StepDecay",
    "WarmUp",
    "gradient_norm",
]

Rate = float | Callable[[int], float]

# ------------------------------------------------------------------------------------------------ schedules
# A schedule maps the number of steps already taken to the learning rate of the next one. Any function does.


def _positive(schedule: object, **values: float) -> None:
    for name, value in values.items():
        checks.real(type(schedule).__name__, name, value, low_included=False)


@dataclass(frozen=True)
class Constant:
    """The same rate at every step."""

    lr: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        _positive(self, lr=self.lr)

    def __call__(self, step: int) -> float:
        """The rate after that many steps."""
        return self.lr


@dataclass(frozen=True)
class StepDecay:
    """lr * gamma^floor(step / every), as PyTorch's StepLR."""

    lr: float
    every: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        """Check the numbers."""
        _positive(self, lr=self.lr, gamma=self.gamma)
        checks.whole("StepDecay", "every", self.every, 1)

    def __call__(self, step: int) -> float:
        """The rate after that many steps."""
        return self.lr * self.gamma ** (step // self.every)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from lr down to final over that many steps, then final (Loshchilov and Hutter 2017)."""

    lr: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        _positive(self, lr=self.lr)
        checks.whole("Cosine", "steps", self.steps, 1)
        checks.real("Cosine", "final", self.final)

    def __call__(self, step: int) -> float:
        """The rate after that many steps."""
        return _between(self.lr, self.final, min(step / self.steps, 1.0))


@dataclass(frozen=True)
class OneCycle:
    """Up from lr / div to lr over the first part of the steps, down to lr / div / final_div by their end, as cosines.

    Defaults and end points as PyTorch's OneCycleLR (Smith and Topin 2017); momentum is left alone.
    """

    lr: float
    steps: int
    up: float = 0.3
    div: float = 25.0
    final_div: float = 1e4

    def __post_init__(self) -> None:
        """Check the numbers."""
        _positive(self, lr=self.lr, div=self.div, final_div=self.final_div)
        checks.whole("OneCycle", "steps", self.steps, 2)
        if checks.real("OneCycle", "up", self.up) > 1:
            raise ValueError(f"OneCycle: expected up to be a number from 0 to 1, got {self.up!r}")

    def __call__(self, step: int) -> float:
        """The rate after that many steps."""
        start, top = self.lr / self.div, self.up * self.steps - 1
        if step <= top and top > 0:
            return _between(start, self.lr, step / top)
        done = min((step - top) / (self.steps - 1 - top), 1.0) if self.steps - 1 > top else 1.0
        return _between(self.lr, start / self.final_div, done)


@dataclass(frozen=True)
class WarmUp:
    """A straight line up to another schedule (or a number) over that many steps; it then starts from its beginning.

    Goyal et al. 2017, arXiv:1706.02677. The first rate is 1 / (steps + 1) of the first one of the schedule.
    """

    then: Rate
    steps: int

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not callable(self.then):
            _positive(self, then=self.then)
        checks.whole("WarmUp", "steps", self.steps, 1)

    def __call__(self, step: int) -> float:
        """The rate after that many steps."""
        rate = self.then(max(step - self.steps, 0)) if callable(self.then) else self.then
        return rate * min((step + 1) / (self.steps + 1), 1.0)


def _between(first: float, last: float, done: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2


# ------------------------------------------------------------------------------------------------ optimisers


@dataclass(frozen=True)
class Group:
    """Parameters with a learning rate or weight decay of their own.

    ``match`` is a pattern for names ("2.*", "*.bias") or a function of a ``Segment`` (name, shape, decayed);
    ``lr`` is a number or schedule, ``weight_decay`` a number that then holds for biases too. None: as the optimiser.
    The first step raises ValueError for a pattern that matches no parameter.
    """

    match: str | Callable[[Segment], bool]
    lr: Rate | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if not isinstance(self.match, str) and not callable(self.match):
            raise TypeError(f"Group: expected match to be a pattern or a function, got {checks.describe(self.match)}")
        if self.lr is not None:
            _rate("Group", self.lr)
        if self.weight_decay is not None:
            checks.real("Group", "weight_decay", self.weight_decay)

    def matches(self, segment: Segment) -> bool:
        """Whether the group takes this parameter."""
        if isinstance(self.match, str):
            return fnmatch.fnmatchcase(segment.name, self.match)
        return bool(self.match(segment))


@dataclass
class _Run:
    """Neighbouring segments that are updated alike, in one call."""

    start: int
    stop: int
    rate: Rate
    decay: float
    age: int  # steps that these parameters have taken
    names: list[str]
    now: float = 0.0  # the rate of the step that is being taken


class Optimizer:
    """Base of the optimisers.

    Parameters
    ----------
    lr : number > 0, or a schedule: a function from the number of steps taken to the next step's rate
    weight_decay : number >= 0, for the segments that a network calls decayed (weights; not biases and norms)
    clip_norm : scale the gradient down to this global L2 norm where it is longer (Pascanu et al. 2013). The norm is
        that of all parameters that are not frozen, summed in double over fixed blocks.
    clip_value : clip each element of the gradient to +-this number (after clip_norm)
    groups : ``Group`` objects; the first that matches a parameter decides

    An optimiser belongs to the network of its first step; a copy of it can go on with a copy of the network.

    ``net.gradients`` is read only. ``steps`` counts the steps; ``lr``, ``weight_decay``, ``clip_norm`` and
    ``clip_value`` may be changed between steps.
    """

    rule = ""  # the kernel's name
    states: tuple[str, ...] = ()  # names of the flat arrays beside the parameters

    def __init__(
        self,
        lr: Rate,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        groups: Iterable[Group] = (),
    ) -> None:
        """Check what all optimisers share; the state is made at the first step."""
        name = type(self).__name__
        self._plan: tuple[_Run, ...] | None = None
        self.steps = 0
        self.lr = lr
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.groups = (groups,) if isinstance(groups, Group) else tuple(groups)
        for group in self.groups:
            if not isinstance(group, Group):
                raise TypeError(f"{name}: expected groups of optim.Group, got {checks.describe(group)}")
        self.state: dict[str, np.ndarray] = {}
        self._ages: dict[str, int] = {}
        self._segments: tuple[Segment, ...] | None = None
        self._parameters: np.ndarray | None = None
        self._arrays: tuple[np.ndarray | None, ...] = ()
        names = backends.engine.optimizer_names()
        self._number = names.index(self.rule) if self.rule in names else -1

    @property
    def lr(self) -> Rate:
        """The learning rate, a number or a schedule."""
        return self._lr

    @lr.setter
    def lr(self, value: Rate) -> None:
        self._lr = _rate(type(self).__name__, value)
        self._replan()

    @property
    def weight_decay(self) -> float:
        """The weight decay of the segments that no group names."""
        return self._weight_decay

    @weight_decay.setter
    def weight_decay(self, value: float) -> None:
        self._weight_decay = checks.real(type(self).__name__, "weight_decay", value)
        self._replan()

    @property
    def clip_norm(self) -> float | None:
        """The longest gradient that is left as it is."""
        return self._clip_norm

    @clip_norm.setter
    def clip_norm(self, value: float | None) -> None:
        self._clip_norm = self._limit("clip_norm", value)

    @property
    def clip_value(self) -> float | None:
        """The largest element of the gradient that is left as it is."""
        return self._clip_value

    @clip_value.setter
    def clip_value(self, value: float | None) -> None:
        self._clip_value = self._limit("clip_value", value)

    def _limit(self, name: str, value: float | None) -> float | None:
        return None if value is None else checks.real(type(self).__name__, name, value, low_included=False)

    def numbers(self, rate: float, decay: float, age: int) -> tuple[float, ...]:
        """The kernel's scalars for parameters that have taken ``age`` steps before this one.

        (rate, decay, keep, momentum, gain, mean, square, correction, epsilon, nesterov), see fa_optim.h; a plain
        tuple, because it is made in every step.
        """
        raise NotImplementedError

    def initial_state(self, name: str) -> float:
        """What a state array starts from."""
        return 0.0

    def step(self, net: Sequential) -> None:
        """Update the network's parameters from its gradients; frozen ones stay as they are."""
        parameters, gradients = net.parameters, net.gradients
        if self._plan is None or net.segments is not self._segments or parameters is not self._parameters:
            self._bind(net)
        plan = self._plan or ()
        scale = 1.0 if self._clip_norm is None else self._clip_scale(net)
        limit = math.inf if self._clip_value is None else self._clip_value
        # A rate is asked for once per step and schedule, and before anything is written.
        for run in plan:
            run.now = run.rate if type(run.rate) is float else _rate_now(run.rate, self.steps)
        update = backends.current().update
        for run in plan:
            u = backends.engine.Update()
            u.rate, u.decay, u.keep, u.momentum, u.gain, u.mean, u.square, u.correction, u.epsilon, u.nesterov = self.numbers(run.now, run.decay, run.age)
            update(self._number, parameters, gradients, self._arrays, run.start, run.stop, scale, limit, u)
            run.age += 1
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """All that changes from step to step, as copies.

        {"optimizer": class name, "steps": number, "segment_steps": {parameter: number}, "state": {name: flat array}}.
        What the constructor was given is not part of it.
        """
        self._note_ages()
        return {
            "optimizer": type(self).__name__,
            "steps": self.steps,
            "segment_steps": dict(self._ages),
            "state": {name: array.copy() for name, array in self.state.items()},
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned: the next steps give the same bits as in the run it came from.

        Raises ValueError for the state of another kind of optimiser or a damaged one, with nothing changed.
        """
        name = f"{type(self).__name__}.load_state_dict"
        if not isinstance(saved, Mapping) or not {"optimizer", "steps", "segment_steps", "state"} <= set(saved):
            raise ValueError(f"{name}: expected what state_dict() returned, got {checks.describe(saved)}")
        if saved["optimizer"] != type(self).__name__:
            raise ValueError(f"{name}: expected the state of {type(self).__name__}, got {saved['optimizer']!r}")
        wanted = set(self._used_states())
        if saved["state"] and set(saved["state"]) != wanted:
            raise ValueError(f"{name}: expected the arrays {sorted(wanted)}, got {sorted(saved['state'])}")
        steps = checks.whole(name, "steps", saved["steps"], 0)
        ages = {str(k): checks.whole(name, "segment_steps", v, 0) for k, v in saved["segment_steps"].items()}
        state: dict[str, np.ndarray] = {}
        for key, value in saved["state"].items():
            given = checks.real_array(name, key, value)
            if given.ndim != 1 or any(given.shape != a.shape or given.dtype != a.dtype for a in state.values()):
                raise ValueError(f"{name}: expected flat arrays of one length and dtype, got {given.shape} for {key}")
            state[key] = aligned_empty(given.shape, given.dtype.newbyteorder("="))
            state[key][...] = given
        self.steps, self._ages, self.state = steps, ages, state
        self._plan = self._segments = self._parameters = None

    # -------------------------------------------------------------------------------------------- internals

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: without the network; the plan is made again at the next step."""
        self._note_ages()
        unbound = {"_plan": None, "_segments": None, "_parameters": None, "_arrays": ()}
        return {**self.__dict__, "_ages": dict(self._ages), **unbound}

    def _used_states(self) -> tuple[str, ...]:
        return self.states

    def _note_ages(self) -> None:
        for run in self._plan or ():
            for name in run.names:
                self._ages[name] = run.age

    def _replan(self) -> None:
        if self._plan is not None:
            self._note_ages()
            self._plan = None

    def _fits(self, net: Sequential) -> bool:
        return all(a.size == net.parameters.size and a.dtype == net.dtype for a in self.state.values())

    def _bind(self, net: Sequential) -> None:
        """Make the state where there is none, and plan the calls of a step."""
        name = type(self).__name__
        if self._parameters is not None and self._parameters is not net.parameters:
            raise ValueError(
                f"{name}.step: expected the network of the steps before, got another one; make an optimiser per "
                "network, or go on with a copy of this one (copy.deepcopy)"
            )
        if not self._fits(net) or not self._ages.keys() <= {s.name for s in net.segments}:
            array = next(iter(self.state.values()), np.empty(0))
            raise ValueError(
                f"{name}.step: this optimiser has the state of a network with {array.size} {array.dtype} parameters, "
                f"got another one with {net.parameters.size} {net.dtype}; make an optimiser per network"
            )
        for one in self.groups:
            if isinstance(one.match, str) and not any(map(one.matches, net.segments)):
                names = ", ".join(segment.name for segment in net.segments)
                raise ValueError(f"{name}.step: expected groups to match among {names}, got {one.match!r}")
        self._replan()
        for name in self._used_states():
            if name not in self.state:
                self.state[name] = aligned_empty(net.parameters.shape, net.dtype)
                self.state[name][...] = self.initial_state(name)
        runs: list[_Run] = []
        joined = False  # whether the segment before was not frozen
        for segment in net.segments:
            if segment.frozen:
                joined = False
                continue
            group = next((g for g in self.groups if g.matches(segment)), None)
            rate, decay = self.lr, self.weight_decay if segment.decayed else 0.0
            if group is not None:
                rate = rate if group.lr is None else group.lr
                decay = decay if group.weight_decay is None else float(group.weight_decay)
            age = self._ages.get(segment.name, 0)
            last = runs[-1] if runs and joined else None
            if last is not None and last.rate is rate and last.decay == decay and last.age == age:
                last.stop = segment.stop  # across the padding, which stays 0
                last.names.append(segment.name)
            else:
                runs.append(_Run(segment.start, segment.stop, rate, decay, age, [segment.name]))
            joined = True
        self._plan, self._segments, self._parameters = tuple(runs), net.segments, net.parameters
        self._arrays = tuple(self.state.get(name) for name in self.states)

    def _clip_scale(self, net: Sequential) -> float:
        norm, most = gradient_norm(net), self.clip_norm
        return 1.0 if most is None or norm <= most else most / norm  # NaN for NaN


def _rate(function: str, value: Rate) -> Rate:
    return value if callable(value) else checks.real(function, "lr", value, low_included=False)


def _rate_now(rate: Rate, step: int) -> float:
    if not callable(rate):
        return rate
    return checks.real("lr", f"the schedule's rate at step {step}", rate(step))


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
        **common: Any,
    ) -> None:
        """See the class; ``common`` are the keywords of ``Optimizer``."""
        super().__init__(lr, weight_decay, **common)
        self.momentum = _fraction("SGD", "momentum", momentum)
        self.dampening = checks.real("SGD", "dampening", dampening)
        self.nesterov = bool(nesterov)
        if self.nesterov and (not self.momentum or self.dampening):
            raise ValueError("SGD: nesterov needs a momentum above 0 and no dampening")

    def _used_states(self) -> tuple[str, ...]:
        return self.states if self.momentum else ()

    def numbers(self, rate: float, decay: float, age: int) -> tuple[float, ...]:
        """The kernel's scalars."""
        gain = 1 - self.dampening if age else 1.0
        return rate, decay, 1.0, self.momentum, gain, 0.0, 0.0, 1.0, 0.0, self.nesterov


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
        **common: Any,
    ) -> None:
        """See the class; ``common`` are the keywords of ``Optimizer``."""
        super().__init__(lr, weight_decay, **common)
        self.alpha = _fraction("RMSprop", "alpha", alpha)
        self.eps = _small("RMSprop", eps)
        self.momentum = _fraction("RMSprop", "momentum", momentum)
        self.centered = bool(centered)

    def _used_states(self) -> tuple[str, ...]:
        return ("square_avg", *["grad_avg"] * self.centered, *["momentum_buffer"] * bool(self.momentum))

    def numbers(self, rate: float, decay: float, age: int) -> tuple[float, ...]:
        """The kernel's scalars."""
        return rate, decay, 1.0, self.momentum, 1.0, 0.0, self.alpha, 1.0, self.eps, False


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
        **common: Any,
    ) -> None:
        """See the class; ``common`` are the keywords of ``Optimizer``."""
        super().__init__(lr, weight_decay, **common)
        self.lr_decay = checks.real("Adagrad", "lr_decay", lr_decay)
        self.initial_accumulator_value = checks.real("Adagrad", "initial_accumulator_value", initial_accumulator_value)
        self.eps = _small("Adagrad", eps)

    def initial_state(self, name: str) -> float:
        """The sum starts from ``initial_accumulator_value``."""
        return self.initial_accumulator_value

    def numbers(self, rate: float, decay: float, age: int) -> tuple[float, ...]:
        """The kernel's scalars."""
        return rate / (1 + age * self.lr_decay), decay, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, self.eps, False


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
        **common: Any,
    ) -> None:
        """See the class; ``common`` are the keywords of ``Optimizer``."""
        super().__init__(lr, weight_decay, **common)
        name = type(self).__name__
        try:
            first, second = betas
        except (TypeError, ValueError):
            raise TypeError(f"{name}: expected betas to be two numbers, got {betas!r}") from None
        self.betas = _fraction(name, "betas[0]", first), _fraction(name, "betas[1]", second)
        self.eps = _small(name, eps)

    def numbers(self, rate: float, decay: float, age: int) -> tuple[float, ...]:
        """The kernel's scalars, the bias corrections folded into the rate and the square's correction."""
        first, second = self.betas
        keep = 1.0
        if self.decoupled:
            keep, decay = 1 - rate * decay, 0.0
        rate /= 1 - first ** (age + 1)
        correction = 1 / math.sqrt(1 - second ** (age + 1))
        return rate, decay, keep, 0.0, 1.0, first, second, correction, self.eps, False


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101), as torch.optim.AdamW.

    p = p * (1 - lr * weight_decay) before Adam's step, whose g is the gradient alone.
    """

    decoupled = True

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        **common: Any,
    ) -> None:
        """See the class; ``common`` are the keywords of ``Optimizer``."""
        super().__init__(lr, betas, eps, weight_decay, **common)


def gradient_norm(net: Sequential) -> float:
    """The L2 norm of the gradients of all parameters that are not frozen, the same for any number of threads."""
    total = 0.0
    for start, stop in _active(net.segments):
        total += backends.current().sum_of_squares(net.gradients, start, stop)
    return math.sqrt(total)


def _active(segments: tuple[Segment, ...]) -> list[tuple[int, int]]:
    """The stretches of the flat buffers that are not frozen, padding between neighbours included."""
    stretches: list[tuple[int, int]] = []
    joined = False
    for segment in segments:
        if not segment.frozen:
            start = stretches.pop()[0] if joined else segment.start
            stretches.append((start, segment.stop))
        joined = not segment.frozen
    return stretches


