"""Ctrl-C while ``fit`` runs."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found] # without the look-ups of names in ``signal``
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """Defers Ctrl-C until the step that runs is whole. A second one goes through at once."""

    def __init__(self) -> None:
        self.pending = False
        self._deferring = True
        self._previous: Callable[[int, FrameType | None], Any] | None = None

    def __enter__(self) -> Interrupts:
        """Take the signal over, where Python handles it: in the main thread."""
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler) and threading.get_ident() == threading.main_thread().ident:
            try:
                signal.signal(signal.SIGINT, self._note)
                self._previous = handler
            except ValueError:  # a subinterpreter
                pass
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._deferring and not self.pending:
            self.pending = True
        elif self._previous is not None:
            self.pending = False
            self._previous(number, frame)

    def deliver(self) -> None:
        """Let the signal through that came meanwhile; called where everything is whole."""
        if self.pending and self._previous is not None:
            self.pending = False
            self._previous(signal.SIGINT, None)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """In here signals go through at once."""
        self._deferring = False
        try:
            self.deliver()
            yield
        finally:
            self._deferring = True

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self.deliver()
