"""A running ``fit`` and the person before it: progress on standard error, and Ctrl-C."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from .callbacks import Run

SHOW_EVERY = 0.1  # seconds between two states of the progress bar


class Progress:
    """A bar on a terminal or in a notebook, lines elsewhere, or nothing."""

    def __init__(self, run: Run, wanted: bool) -> None:
        """Find out which."""
        self.run, self.due = run, math.inf
        self.bar: Any = None
        self.lines = bool(wanted) and sys.stderr is not None
        if self.lines and (_notebook() or sys.stderr.isatty()):
            from tqdm.auto import tqdm

            done = run.epoch * run.steps_per_epoch
            self.bar = tqdm(total=run.epochs * run.steps_per_epoch, initial=done, unit="step")
            self.lines, self.due = False, 0.0
            run.write = self.bar.write if _notebook() else self._beside
        elif not self.lines:
            run.write = _silent

    def _beside(self, text: str) -> None:
        self.bar.write(text, file=sys.stderr)

    def show(self, loss: float) -> None:
        """The state within an epoch."""
        self._update(
            {"epoch": f"{self.run.epoch}/{self.run.epochs}", "loss": f"{loss:.4g}", "rate": f"{self.run.rate():.3g}"}
        )
        self.due = time.perf_counter() + SHOW_EVERY

    def _update(self, shown: dict[str, str]) -> None:
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update(self.run.step - self.bar.n)

    def epoch(self, seconds: float) -> None:
        """The state after an epoch."""
        run = self.run
        shown = {name: f"{value:.4g}" for name, value in run.logs.items()}
        if self.bar is not None:
            self._update({"epoch": f"{run.epoch}/{run.epochs}", **shown})
        elif self.lines:
            told = ", ".join(f"{name} {value}" for name, value in shown.items())
            run.write(f"epoch {run.epoch}/{run.epochs}: {told}, {run.steps_per_epoch} steps in {seconds:.3g} s")

    def __enter__(self) -> Progress:
        """Nothing more to do."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()


def _silent(text: str) -> None:
    """What progress=False writes."""


def _notebook() -> bool:
    """Whether tqdm draws with a notebook's widgets; asked only where a notebook's kernel runs."""
    if "ipykernel" not in sys.modules:
        return False
    from tqdm import auto, std

    return getattr(auto, "notebook_tqdm", std.tqdm) is not std.tqdm


class Interrupts:
    """Holds Ctrl-C back until the step that runs is whole. A second one goes through at once."""

    def __init__(self) -> None:
        """Nothing is held back yet."""
        self.pending = False
        self._held = True
        self._previous: Callable[[int, FrameType | None], Any] | None = None

    def __enter__(self) -> Interrupts:
        """Take the signal over, where Python handles it: in the main thread."""
        handler = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(handler):
            with suppress(ValueError):  # a subinterpreter
                signal.signal(signal.SIGINT, self._note)
                self._previous = handler
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._held and not self.pending:
            self.pending = True
        elif self._previous is not None:
            self.pending = False
            self._previous(number, frame)

    def deliver(self) -> None:
        """Here everything is whole: let the signal through that came meanwhile."""
        if self.pending and self._previous is not None:
            self.pending = False
            self._previous(signal.SIGINT, None)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """In here signals go through at once."""
        self._held = False
        try:
            self.deliver()
            yield
        finally:
            self._held = True

    def __exit__(self, *_: object) -> None:
        """Give the signal back."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self.deliver()
