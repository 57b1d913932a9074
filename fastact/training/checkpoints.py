"""What a checkpoint holds beside network and optimiser, and resuming from one."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from .. import checks, files, persistence
from ..data.batches import Rows
from ..optim import Optimizer
from .callbacks import Callback, Run
from .history import History

BLOCK = 1 << 14  # rows at a time in a checksum, of which it does not depend

#: What of an optimiser may be set between steps, and so by a callback.
SETTINGS = ("lr", "weight_decay", "clip_norm", "clip_value")

#: The largest values of what points into a bit generator's memory.
POSITIONS = {"pos": 624, "buffer_pos": 4, "has_uint32": 1, "uinteger": 2**32 - 1}


def settings_of(optimizer: Optimizer) -> dict[str, float | None]:
    """The optimiser's settings; None for a schedule, which follows from the number of steps."""
    values = {name: getattr(optimizer, name) for name in SETTINGS}
    return {name: None if callable(value) else value for name, value in values.items()}


def set_state(generator: np.random.Generator, state: Any) -> None:
    """Continue from a bit generator's state that went through JSON.

    Raises ValueError, with nothing changed, for what cannot be a state of this kind.
    """

    def decoded(now: Any, given: Any, name: str = "") -> Any:
        if isinstance(now, dict):
            if not isinstance(given, dict) or given.keys() != now.keys():
                raise ValueError
            return {key: decoded(item, given[key], key) for key, item in now.items()}
        if isinstance(now, np.ndarray):
            if not isinstance(given, list) or len(given) != len(now):
                raise ValueError
            return np.array([decoded(0, item, "uinteger" if now.itemsize == 4 else "") for item in given], now.dtype)
        if isinstance(now, str):
            if given != now:
                raise ValueError
        elif type(given) is not int or not 0 <= given <= POSITIONS.get(name, 2**128 - 1):
            raise ValueError
        return given

    try:
        generator.bit_generator.state = decoded(generator.bit_generator.state, state)
    except (ValueError, OverflowError, TypeError) as error:
        kind = type(generator.bit_generator).__name__
        raise ValueError(
            f"fit: expected the checkpoint to hold the state of a {kind} generator; pass rng as in the run to resume"
        ) from error


def through_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that JSON holds, as it gives them back."""
    found = {}
    for name, value in values.items():
        with suppress(TypeError):
            found[name] = files.parse_json(files.to_json(value, True), True)
    return found


def checksum(*arrays: Rows | None) -> int:
    """CRC-32 of the arrays' numbers."""
    crc = 0
    for array in arrays:
        if array is not None:
            for start in range(0, len(array), BLOCK):
                part = np.ascontiguousarray(array[start : start + BLOCK])
                crc = zlib.crc32(part.reshape(-1).view(np.uint8).data, crc)
    return crc


def recorder(
    run: Run,
    facts: Callable[[], Mapping[str, Any]],
    callbacks: tuple[Callback, ...],
    generator: np.random.Generator,
    start: Any,
) -> Callable[[], tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """What gives, whenever it is called, what a checkpoint adds to network and optimiser: JSON, and callbacks' arrays.

    facts are what a run that resumes must have in common with this one, and start is the bit generator's state from
    which it has split the data.
    """
    given, known = settings_of(run.optimizer), functools.cache(facts)  # facts read all the data, so are asked for once

    def content() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        settings = {name: value for name, value in settings_of(run.optimizer).items() if value != given[name]}
        states, arrays = callback_states(callbacks)
        training = {
            "epoch": run.epoch, "facts": known(), "history": run.history.to_dict(), "settings": settings,
            "rng_start": start, "rng": generator.bit_generator.state, "callbacks": states,
        }  # fmt: skip
        return training, arrays

    return content


class Resumed:
    """A checkpoint to resume from."""

    def __init__(self, path: Any, generator: np.random.Generator, seeded: bool) -> None:
        """Read it, and set the generator to where the run began, which is where a new one of the run's seed is."""
        self.content, self.generator = persistence.Content("fit", path), generator
        self._before = generator.bit_generator.state
        if self.content.several or "training" not in self.content.header:
            raise ValueError(f"fit: {self.content.path.name} is a network, but no checkpoint to resume")
        self.training: dict[str, Any] = self.content.header["training"]
        with self.content.trusting_nothing():
            self.history = History.from_dict(self.training["history"])
            self.epoch = checks.whole("fit", "epoch", self.training["epoch"], 0)
            if self.epoch != self.history.epochs:
                raise ValueError("its history is not as long as its training")
            self.states = [(entry["class"], entry["state"], entry["arrays"]) for entry in self.training["callbacks"]]
            if type(self.training["callbacks"]) is not list or not all(
                isinstance(state, dict) and isinstance(arrays, list) for _, state, arrays in self.states
            ):
                raise ValueError("its callbacks' states are none")
            self.seed_fits = not seeded or through_json(self._before) == self.training["rng_start"]
            set_state(generator, self.training["rng_start"])

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Where what goes on in here refuses the checkpoint, the generator is left as it was given."""
        try:
            yield
        except BaseException:
            self.generator.bit_generator.state = self._before
            raise

    def restore(self, run: Run, facts: Mapping[str, Any], callbacks: tuple[Callback, ...]) -> None:
        """Set network, optimiser, generator and run to where the checkpoint was written."""
        with self.content.trusting_nothing("does not fit this run"):
            if not self.seed_fits:
                raise ValueError(
                    "it began with another rng; pass the same seed, or none, for it has the generator's state"
                )
            for name, value in facts.items():
                if self.training["facts"][name] != value:
                    raise ValueError(f"expected {name} {self.training['facts'][name]!r} as in it, got {value!r}")
            self.owners = self._owners(callbacks)
            settings = self.training["settings"]
            if not settings.keys() <= set(SETTINGS):
                raise ValueError("it changes unknown settings of the optimizer")
            for name, value in settings.items():
                if value is not None:
                    checks.real("fit", name, value)
                elif name == "lr" and not callable(run.optimizer.lr):
                    raise ValueError("a callback had set a schedule; pass an optimizer with that schedule")
            settings = {name: value for name, value in settings.items() if value is not None or name != "lr"}
        self.content.check(run.net)
        self.content.fill_optimizer(run.net, run.optimizer)
        self.content.fill(run.net)
        set_state(self.generator, self.training["rng"])
        for name, value in settings.items():
            setattr(run.optimizer, name, value)
        run.history, run.epoch, run.step = self.history, self.epoch, self.history.steps

    def _owners(self, callbacks: tuple[Callback, ...]) -> list[Callback]:
        """The callback that each state is of: the next one of its class."""
        free, owners = list(callbacks), []
        for name, _, _ in self.states:
            owner = next((callback for callback in free if type(callback).__name__ == name), None)
            if owner is None:
                raise ValueError(f"it holds the state of the callback {name!r}; pass one like it in callbacks")
            free.remove(owner)
            owners.append(owner)
        return owners

    def restore_callbacks(self) -> None:
        """Give the callbacks their states."""
        with self.content.trusting_nothing("does not fit this run"):
            for i, (owner, (_, state, arrays)) in enumerate(zip(self.owners, self.states, strict=True)):
                found = {name: self.content.arrays[f"callback.{i}.{name}"] for name in arrays}
                owner.load_state_dict({**state, **found})


def callback_states(callbacks: tuple[Callback, ...]) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """The states of callbacks: JSON, and the arrays by their names in a file."""
    states: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for callback in callbacks:
        state, name = callback.state_dict(), type(callback).__name__
        if not state:
            continue
        found = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
        for key, value in found.items():
            if value.dtype not in checks.FLOATS:
                raise TypeError(f"{name}.state_dict: expected float32 or float64 arrays, got {value.dtype} for {key}")
            arrays[f"callback.{len(states)}.{key}"] = value
        plain = {key: value for key, value in state.items() if key not in found}
        states.append({"class": name, "state": plain, "arrays": list(found)})
    return states, arrays
