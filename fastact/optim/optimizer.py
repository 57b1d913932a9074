"""What all optimisers share: one pass over the flat arrays a step, in as few calls as there are kinds of parameters."""

from __future__ import annotations

import copy
import fnmatch
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
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
    """Neighbouring segments of a network that are updated alike, in one call."""

    place: int  # the network's
    arrays: tuple[np.ndarray | None, ...]  # its states
    start: int
    stop: int
    rate: Rate
    decay: float
    age: int  # steps that these parameters have taken
    names: list[str]
    update: Any  # the scalars of the step that is being taken
    now: float = 0.0  # its rate


@dataclass(eq=False)
class _Part:
    """What an optimiser has of one network; state and ages go with copies."""

    state: dict[str, np.ndarray] = field(default_factory=dict)
    ages: dict[str, int] = field(default_factory=dict)  # steps that each parameter took before the plan was made
    segments: tuple[Segment, ...] | None = None
    parameters: np.ndarray | None = None

    def check(self, function: str, net: FlatNetwork) -> None:
        """ValueError unless this is the network's."""
        if self.parameters is not None and self.parameters is not net.parameters:
            raise ValueError(
                f"{function}: expected the network of the steps before, got another one; make an optimiser per "
                "network (or for several, always the same in the same order), or go on with a copy of this one "
                "(copy.deepcopy)"
            )
        fits = all(a.size == net.parameters.size and a.dtype == net.dtype for a in self.state.values())
        if not fits or not self.ages.keys() <= {s.name for s in net.segments}:
            array = next(iter(self.state.values()), np.empty(0))
            raise ValueError(
                f"{function}: this optimiser has the state of a network with {array.size} {array.dtype} parameters, "
                f"got another one with {net.parameters.size} {net.dtype}; make an optimiser per network"
            )


class Optimizer:
    """Base of the optimisers.

    Parameters
    ----------
    lr : number > 0, or a schedule: a function from the number of steps taken to the next step's rate
    weight_decay : number >= 0, for the segments that a network calls decayed (weights; not biases and norms)
    clip_norm : scale the gradient down to this global L2 norm where it is longer (Pascanu et al. 2013). The norm is
        that of all parameters that are not frozen, summed in double over fixed blocks.
    clip_value : clip each element of the gradient to +-this number (after the norms)
    clip_parameter_norm : as clip_norm (and after it), of each parameter by itself: of a layer's weight, of its bias
    decoupled_weight_decay : the decay is lr * weight_decay times the parameter, whatever the rule makes of the
        gradient (Loshchilov and Hutter 2019); False: weight_decay * parameter is added to the gradient
    groups : ``Group`` objects; the first that matches a parameter decides

    An optimiser belongs to the network of its first step, or to the networks: ``step(trunk, pi, v)``. A copy of it can
    go on with copies of them. ``state`` has the arrays beside the parameters by name, of the first network.

    ``net.gradients`` is read only. ``steps`` counts the steps; ``lr``, ``weight_decay``, ``clip_norm``, ``clip_value``
    and ``clip_parameter_norm`` may be changed between steps.
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
        clip_parameter_norm: float | None = None,
        decoupled_weight_decay: bool = False,
        groups: Iterable[Group] = (),
    ) -> None:
        name = type(self).__name__
        self._plan: tuple[_PlannedCall, ...] | None = None
        self._scheduled: tuple[_PlannedCall, ...] = ()  # those of the plan whose rates follow a schedule
        self._parts: list[_Part] = []  # one a network
        self._first = _Part()  # the first of them, where there is one
        self.steps = 0
        self._last_rate: float | None = None
        self.lr = lr
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.clip_parameter_norm = clip_parameter_norm
        self.decoupled_weight_decay = bool(decoupled_weight_decay)
        self.groups = (groups,) if isinstance(groups, Group) else tuple(groups)
        for group in self.groups:
            if not isinstance(group, Group):
                raise TypeError(f"{name}: expected groups of optim.Group, got {checks.describe(group)}")
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

    @property
    def clip_parameter_norm(self) -> float | None:
        """The longest gradient of a single parameter that is left as it is."""
        return self._clip_parameter_norm

    @clip_parameter_norm.setter
    def clip_parameter_norm(self, value: float | None) -> None:
        self._clip_parameter_norm = self._limit("clip_parameter_norm", value)
        self._replan()

    @property
    def state(self) -> dict[str, np.ndarray]:
        """The arrays beside the parameters of the first network, by name; empty before the first step."""
        return self._first.state

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(wording.shown(self))})"

    def _limit(self, name: str, value: float | None) -> float | None:
        return None if value is None else checks.real(type(self).__name__, name, value, low_included=False)

    def prepare(self, update: Any, rate: float, age: int) -> None:
        """Set the kernel's scalars for parameters that have taken ``age`` steps before this one; see fa_optim.h.

        All but ``decay`` and ``shrink``, which are the weight decay.
        """
        raise NotImplementedError

    def initial_state(self, name: str) -> float:
        """What a state array starts from."""
        return 0.0

    def step(self, net: FlatNetwork, *others: FlatNetwork) -> None:
        """Update the network's parameters from its gradients; frozen ones stay as they are.

        Several networks (and ``Parameter`` objects) of one loss take a step together, always the same in the same
        order; ``clip_norm`` is then the norm over all of them, and a group's pattern is looked for in each.
        """
        nets = (net, *others)
        plan, first = self._plan, self._first
        if (
            plan is None
            or getattr(net, "segments", None) is not first.segments
            or net.parameters is not first.parameters
            or ((others or len(self._parts) > 1) and not self._is_bound(nets))
        ):
            plan = self._bind(nets)
        scale = 1.0 if self._clip_norm is None else _clip_scale(gradient_norm(*nets), self._clip_norm)
        limit = math.inf if self._clip_value is None else self._clip_value
        # A rate is asked for once per step and schedule, and before anything is written.
        asked: dict[int, float] = {}
        self._last_rate = lr if type(lr := self._lr) is float else self._rate_of(lr, asked)
        for call in self._scheduled:
            call.now = self._rate_of(call.rate, asked)
        update, number = backends.current().update, self._number
        decoupled, longest = self.decoupled_weight_decay, self._clip_parameter_norm
        for call in plan:
            rule, one, start, stop = call.update, nets[call.place], call.start, call.stop
            self.prepare(rule, call.now, call.age)
            if not decoupled:
                rule.decay = call.decay
            elif rule.rate:
                rule.shrink = call.decay * (call.now / rule.rate)  # that times the rule's rate: lr * weight_decay
            scaled = scale if longest is None else scale * _clip_scale(scale * _norm(one, start, stop), longest)
            update(number, one.parameters, one.gradients, call.arrays, start, stop, scaled, limit, rule)
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
        What the constructor was given is not part of it. Of several networks: {"optimizer", "steps", "networks": a list
        of {"segment_steps", "state"}}.
        """
        self._note_ages()
        own: list[dict[str, Any]] = [
            {
                "segment_steps": dict(part.ages),
                "state": {name: array.copy() for name, array in part.state.items()},
            }
            for part in self._parts or [_Part()]
        ]
        return {
            "optimizer": type(self).__name__,
            "steps": self.steps,
            **(own[0] if len(own) == 1 else {"networks": own}),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned: the next steps give the same bits as in the run it came from.

        Raises ValueError for the state of another kind of optimiser or a damaged one, with nothing changed.
        """
        name = f"{type(self).__name__}.load_state_dict"
        own = saved.get("networks", [saved]) if isinstance(saved, Mapping) else []
        if not isinstance(own, list) or not all(isinstance(one, Mapping) for one in own):
            own = []
        if not own or not all({"optimizer", "steps", "segment_steps", "state"} <= {*saved, *one} for one in own):
            raise ValueError(f"{name}: expected what state_dict() returned, got {checks.describe(saved)}")
        if saved["optimizer"] != type(self).__name__:
            raise ValueError(f"{name}: expected the state of {type(self).__name__}, got {saved['optimizer']!r}")
        steps = checks.whole(name, "steps", saved["steps"], 0)
        parts = [self._restored(name, one) for one in own]
        if len(parts) == 1 and not parts[0].state and not parts[0].ages:
            parts = []  # before the first step, which says how many networks there are
        self.steps, self._parts, self._plan = steps, parts, None
        self._first = parts[0] if parts else _Part()

    def _restored(self, function: str, saved: Mapping[str, Any]) -> _Part:
        """What state_dict() says of one network."""
        wanted = set(self._used_states())
        if saved["state"] and set(saved["state"]) != wanted:
            raise ValueError(f"{function}: expected the arrays {sorted(wanted)}, got {sorted(saved['state'])}")
        part = _Part()
        for key, value in saved["segment_steps"].items():
            part.ages[str(key)] = checks.whole(function, "segment_steps", value, 0)
        for key, value in saved["state"].items():
            given, others = checks.real_array(function, key, value), part.state.values()
            if given.ndim != 1 or any(given.shape != a.shape or given.dtype != a.dtype for a in others):
                raise ValueError(
                    f"{function}: expected flat arrays of one length and dtype, got {given.shape} for {key}"
                )
            part.state[key] = aligned_empty(given.shape, given.dtype.newbyteorder("="))
            part.state[key][...] = given
        return part

    # -------------------------------------------------------------------------------------------- internals

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: without the networks; the plans are made again at the next step."""
        self._note_ages()
        parts = [_Part(part.state, dict(part.ages)) for part in self._parts]
        return {
            **self.__dict__,
            "_parts": parts,
            "_first": parts[0] if parts else _Part(),
            "_plan": None,
            "_scheduled": (),
        }

    def __copy__(self) -> Optimizer:
        """A deep copy, as of networks: two optimisers cannot share their states."""
        return copy.deepcopy(self)

    def _used_states(self) -> tuple[str, ...]:
        return self.states

    def _note_ages(self) -> None:
        for call in self._plan or ():
            for name in call.names:
                self._parts[call.place].ages[name] = call.age

    def _replan(self) -> None:
        if self._plan is not None:
            self._note_ages()
            self._plan = None

    def _is_bound(self, nets: tuple[FlatNetwork, ...]) -> bool:
        """Whether the plan is of these networks as they are."""
        parts = self._parts
        if len(nets) != len(parts):
            return False
        try:
            return all(
                net.segments is part.segments and net.parameters is part.parameters
                for net, part in zip(nets, parts, strict=True)
            )
        except AttributeError:  # no network: binding says so
            return False

    def _bind(self, nets: tuple[FlatNetwork, ...]) -> tuple[_PlannedCall, ...]:
        """Make the states where there are none, and plan the calls of a step."""
        name = f"{type(self).__name__}.step"
        check_networks(name, nets)
        parts = self._parts or [_Part() for _ in nets]
        if len(parts) != len(nets):
            raise ValueError(
                f"{name}: expected the {len(parts)} network{'s' * (len(parts) > 1)} of the steps before, got "
                f"{len(nets)}; pass the same in the same order, or make an optimiser for each"
            )
        for part, net in zip(parts, nets, strict=True):
            part.check(name, net)
        for one in self.groups:
            segments = [segment for net in nets for segment in net.segments]
            if isinstance(one.match, str) and not any(map(one.matches, segments)):
                names = ", ".join(dict.fromkeys(segment.name for segment in segments))
                raise ValueError(f"{name}: expected groups to match among {names}, got {one.match!r}")
        self._parts, self._first = parts, parts[0]
        self._replan()
        for part, net in zip(parts, nets, strict=True):
            for key in self._used_states():
                if key not in part.state:
                    part.state[key] = aligned_empty(net.parameters.shape, net.dtype)
                    part.state[key][...] = self.initial_state(key)
            part.segments, part.parameters = net.segments, net.parameters
        self._plan = tuple(call for place in range(len(nets)) for call in self._planned(place, nets[place]))
        self._scheduled = tuple(call for call in self._plan if callable(call.rate))
        return self._plan

    def _planned(self, place: int, net: FlatNetwork) -> list[_PlannedCall]:
        """The calls of a step for the network at that place."""
        part = self._parts[place]
        arrays = tuple(part.state.get(key) for key in self.states)
        calls: list[_PlannedCall] = []
        groups, lr, weight_decay, ages = self.groups, self._lr, self._weight_decay, part.ages
        joined = False  # whether the segment before was not frozen
        for segment in net.segments:
            if segment.frozen:
                joined = False
                continue
            group = next((g for g in groups if g.matches(segment)), None) if groups else None
            rate, decay = lr, weight_decay if segment.decayed else 0.0
            if group is not None:
                rate = rate if group.lr is None else group.lr
                decay = decay if group.weight_decay is None else float(group.weight_decay)
            age = ages.get(segment.name, 0)
            last = calls[-1] if calls and joined and self._clip_parameter_norm is None else None
            if last is not None and last.rate is rate and last.decay == decay and last.age == age:
                last.stop = segment.stop  # across the padding, which stays 0
                last.names.append(segment.name)
            else:
                update = backends.engine.Update()
                now, names = 0.0 if callable(rate) else rate, [segment.name]
                calls.append(
                    _PlannedCall(place, arrays, segment.start, segment.stop, rate, decay, age, names, update, now)
                )
            joined = True
        return calls


def _rate(function: str, value: Rate) -> Rate:
    return value if callable(value) else checks.real(function, "lr", value, low_included=False)


def check_networks(function: str, nets: tuple[FlatNetwork, ...]) -> None:
    """TypeError for what is no network, ValueError where one comes twice."""
    for net in nets:
        if isinstance(net, type) or not all(hasattr(net, name) for name in ("parameters", "gradients", "segments")):
            given = f"the class {net.__name__}" if isinstance(net, type) else checks.describe(net)
            raise TypeError(f"{function}: expected networks (Sequential or Parameter), got {given}")
    if len({id(net) for net in nets}) < len(nets):
        raise ValueError(f"{function}: expected each network once, got one of them twice")


def gradient_norm(*nets: FlatNetwork) -> float:
    """The L2 norm of the gradients of all parameters that are not frozen, the same for any number of threads."""
    total = 0.0
    for net in nets:
        for start, stop in _active(net.segments):
            total += backends.current().sum_of_squares(net.gradients, start, stop)
    return math.sqrt(total)


def _norm(net: FlatNetwork, start: int, stop: int) -> float:
    return math.sqrt(backends.current().sum_of_squares(net.gradients, start, stop))


def clip_grad_norm(nets: FlatNetwork | Iterable[FlatNetwork], max_norm: float) -> float:
    """Scale the gradients of all networks together down to a norm, in place, and return the norm before.

    Parameters
    ----------
    nets : a network or ``Parameter``, or several: ``clip_grad_norm([trunk, pi, v], 0.5)``
    max_norm : number > 0, the longest gradient that is left as it is; infinity: only measure

    The norm is the L2 norm over all that is not frozen, as for an optimiser's ``clip_norm``; gradients are multiplied
    by max_norm / norm where norm is larger. Frozen parameters neither count nor change. A NaN makes all NaN, as in
    ``torch.nn.utils.clip_grad_norm_``. Raises TypeError for what is no network and ValueError for one that comes twice
    or a limit out of range, with nothing written.
    """
    name = "clip_grad_norm"
    several = tuple(nets) if isinstance(nets, Iterable) else (nets,)
    check_networks(name, several)
    if not (isinstance(max_norm, float) and max_norm == math.inf):
        max_norm = checks.real(name, "max_norm", max_norm, low_included=False)
    norm = gradient_norm(*several)
    scale = _clip_scale(norm, max_norm)
    if scale != 1:
        for net in several:
            for start, stop in _active(net.segments):
                net.gradients[start:stop] *= scale
    return norm


def _clip_scale(norm: float, most: float) -> float:
    return 1.0 if norm <= most else most / norm  # NaN for NaN


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
