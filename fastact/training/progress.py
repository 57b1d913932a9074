"""The progress of a running ``fit`` on standard error."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from .callbacks import Run

SHOW_EVERY = 0.1  # seconds between two states of the progress bar
LINES = 10  # of a training, where there is no bar


class Progress:
    """A bar on a terminal or in a notebook, at most ten lines elsewhere, or nothing."""

    def __init__(self, run: Run, shown: bool, passed: Callable[[], int] = int) -> None:
        """passed: the number of rows that have been read so far; 0 where they are in memory."""
        self.run, self.due = run, math.inf
        self.passed, self.seen, self.rate = passed, (time.perf_counter(), 0), 0.0
        self.bar: Any = None
        self.steps = run.step  # when the epoch began
        self.lines = bool(shown) and sys.stderr is not None
        notebook = "ipykernel" in sys.modules
        if self.lines and (notebook or sys.stderr.isatty()):
            tqdm, widgets = _tqdm()
            total = None if run.steps_per_epoch is None else run.epochs * run.steps_per_epoch
            self.bar = tqdm(total=total, initial=run.step, unit="step")
            self.lines, self.due = False, 0.0
            run.write = self.bar.write if widgets else self._beside
        elif not self.lines:
            run.write = _silent

    def _beside(self, text: str) -> None:
        self.bar.write(text, file=sys.stderr)

    def show(self, loss: float) -> None:
        """The state within an epoch."""
        self._update(
            {
                "epoch": f"{self.run.epoch}/{self.run.epochs}",
                "loss": f"{loss:.4g}",
                "rate": f"{self.run.optimizer.last_rate:.3g}",
                **self._rows(),
            }
        )
        self.due = time.perf_counter() + SHOW_EVERY

    def _rows(self) -> dict[str, str]:
        """Rows a second, where they are read."""
        now, rows = time.perf_counter(), self.passed()
        (before, had), self.seen = self.seen, (now, rows)
        if rows > had:
            latest = (rows - had) / (now - before)
            self.rate += 0.3 * (latest - self.rate) if self.rate else latest
        return {"rows/s": f"{self.rate:,.0f}"} if self.rate else {}

    def _update(self, shown: dict[str, str]) -> None:
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update(self.run.step - self.bar.n)

    def epoch(self, seconds: float) -> None:
        """The state after an epoch."""
        run = self.run
        steps, self.steps = run.step - self.steps, run.step
        due = run.epoch % -(-run.epochs // LINES) == 0 or run.epoch == run.epochs
        if self.bar is None and not (self.lines and due):
            return
        shown = {name: f"{value:.4g}" for name, value in run.logs.items()}
        if self.bar is not None:
            self._update({"epoch": f"{run.epoch}/{run.epochs}", **shown, **self._rows()})
        else:
            numbers = ", ".join(f"{name} {value}" for name, value in shown.items())
            run.write(f"epoch {run.epoch}/{run.epochs}: {numbers}, {steps} steps in {seconds:.3g} s")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


def _silent(text: str) -> None:
    """What progress=False writes."""


def _tqdm() -> tuple[Any, bool]:
    """The bar that suits, and whether it is drawn with a notebook's widgets: without ipywidgets it is text."""
    from tqdm import TqdmWarning, std

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TqdmWarning)  # that there is no ipywidgets
        from tqdm import auto

    return auto.tqdm, getattr(auto, "notebook_tqdm", std.tqdm) is not std.tqdm
