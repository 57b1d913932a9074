"""What all optimisers share: one pass over the flat arrays a step, in as few calls as there are kinds of parameters."""

from __future__ import annotations

import copy
import fnmatch
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backends, checks, wording
from ..memory import FlatNetwork, Segment, aligned_empty
from .schedules import Rate


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
class _PlannedCall:
    """Neighbouring segments that are updated alike, in one call."""

    start: int
    stop: int
    rate: Rate
    decay: float
    age: int  # steps that these parameters have taken
    names: list[str]
    update: Any  # the scalars of the step that is being taken
    now: float = 0.0  # its rate


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

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        wording.explain_constructor(cls)

    def __init__(
        self,
        lr: Rate,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        groups: Iterable[Group] = (),
    ) -> None:
        name = type(self).__name__
        self._plan: tuple[_PlannedCall, ...] | None = None
        self.steps = 0
        self._last_rate: float | None = None
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
        self._number = backends.engine.optimizer_names().index(self.rule)

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

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(wording.shown(self))})"

    def _limit(self, name: str, value: float | None) -> float | None:
        return None if value is None else checks.real(type(self).__name__, name, value, low_included=False)

    def prepare(self, update: Any, rate: float, decay: float, age: int) -> None:
        """Set the kernel's scalars for parameters that have taken ``age`` steps before this one; see fa_optim.h."""
        raise NotImplementedError

    def initial_state(self, name: str) -> float:
        """What a state array starts from."""
        return 0.0

    def step(self, net: FlatNetwork) -> None:
        """Update the network's parameters from its gradients; frozen ones stay as they are."""
        parameters, gradients = net.parameters, net.gradients
        if self._plan is None or net.segments is not self._segments or parameters is not self._parameters:
            self._bind(net)
        plan = self._plan or ()
        scale = 1.0 if self._clip_norm is None else self._clip_scale(net)
        limit = math.inf if self._clip_value is None else self._clip_value
        # A rate is asked for once per step and schedule, and before anything is written.
        asked: dict[int, float] = {}
        self._last_rate = self._lr if type(self._lr) is float else self._rate_of(self._lr, asked)
        for call in plan:
            call.now = call.rate if type(call.rate) is float else self._rate_of(call.rate, asked)
        update, arrays = backends.current().update, self._arrays
        for call in plan:
            self.prepare(call.update, call.now, call.decay, call.age)
            update(self._number, parameters, gradients, arrays, call.start, call.stop, scale, limit, call.update)
            call.age += 1
        self.steps += 1

    def _rate_of(self, rate: Rate, asked: dict[int, float]) -> float:
        """The rate of this step, of a schedule that is asked once."""
        if not callable(rate):
            return rate
        if id(rate) not in asked:
            what = f"the schedule's rate at step {self.steps}"
            asked[id(rate)] = checks.real(type(self).__name__, what, rate(self.steps))
        return asked[id(rate)]

    @property
    def last_rate(self) -> float:
        """The learning rate of the last step, for parameters of no group; before the first step, its rate."""
        return self._rate_of(self._lr, {}) if self._last_rate is None else self._last_rate

    def hyperparameters(self) -> dict[str, Any]:
        """The numbers that the rule was given for good, by name: betas, momentum, eps."""
        public = {
            name: value for name, value in vars(self).items() if name[0] != "_" and name not in ("steps", "groups")
        }
        return {name: value for name, value in public.items() if isinstance(value, bool | int | float | tuple)}

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

    def __copy__(self) -> Optimizer:
        """A deep copy, as of networks: two optimisers cannot share their states."""
        return copy.deepcopy(self)

    def _used_states(self) -> tuple[str, ...]:
        return self.states

    def _note_ages(self) -> None:
        for call in self._plan or ():
            for name in call.names:
                self._ages[name] = call.age

    def _replan(self) -> None:
        if self._plan is not None:
            self._note_ages()
            self._plan = None

    def _fits(self, net: FlatNetwork) -> bool:
        return all(a.size == net.parameters.size and a.dtype == net.dtype for a in self.state.values())

    def _bind(self, net: FlatNetwork) -> None:
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
        calls: list[_PlannedCall] = []
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
            last = calls[-1] if calls and joined else None
            if last is not None and last.rate is rate and last.decay == decay and last.age == age:
                last.stop = segment.stop  # across the padding, which stays 0
                last.names.append(segment.name)
            else:
                update = backends.engine.Update()
                calls.append(_PlannedCall(segment.start, segment.stop, rate, decay, age, [segment.name], update))
            joined = True
        self._plan, self._segments, self._parameters = tuple(calls), net.segments, net.parameters
        self._arrays = tuple(self.state.get(name) for name in self.states)

    def _clip_scale(self, net: FlatNetwork) -> float:
        norm, most = gradient_norm(net), self.clip_norm
        return 1.0 if most is None or norm <= most else most / norm  # NaN for NaN


def _rate(function: str, value: Rate) -> Rate:
    return value if callable(value) else checks.real(function, "lr", value, low_included=False)


def gradient_norm(net: FlatNetwork) -> float:
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
