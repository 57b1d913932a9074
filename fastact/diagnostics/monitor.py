"""The observer as a callback of ``fit``, which warns in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .. import checks
from ..training.callbacks import Callback, Run
from ..wording import Text, TrainingWarning, warn
from .observer import Observer, attach, detach
from .statistics import SATURATION, LayerStatistics, table


@dataclass(frozen=True)
class _Trouble:
    """A kind of trouble: how much of it a layer has, above which limit to warn, and the text of the warning."""

    measure: Callable[[LayerStatistics], float | None]
    limit: float
    text: str


_TROUBLES = {
    "dead": _Trouble(
        lambda s: s.dead, 0.25, "{share:.0%} of units dead; lower the learning rate or use a positive bias"
    ),
    "saturated": _Trouble(
        lambda s: s.saturated,
        0.25,
        "{share:.0%} of units saturated; scale the inputs, use smaller initial weights or a normalisation layer",
    ),
    "step": _Trouble(
        lambda s: s.update_ratio,
        0.1,
        "a step changes the weights by {share:.0%} of their size (0.1 % is usual); lower the learning rate",
    ),
    "not finite": _Trouble(
        lambda s: 0.0 if math.isfinite(s.mean) and math.isfinite(s.variance) else 1.0,
        0.5,
        "outputs are no longer finite; lower the learning rate or check the data",
    ),
}


class Monitor(Callback):
    """A callback of ``fit`` that watches the layers and warns in words.

    Parameters
    ----------
    every : observe the first batch and then every so many. Between them nothing is seen: a unit counts as dead over
        an epoch where it is dead in all batches observed in it. The default adds 2 to 4 % to steps of 0.2 ms and
        more, and about a fifth to one of 15 us (take more there); 1 sees all.
    saturation : |slope| below which a unit counts as saturated
    limits : from which value on to warn, of "dead" and "saturated" (shares of a layer's units over an epoch, 0.25) and
        "step" (change of the weights by one step relative to their size, 0.1)
    warn : whether to issue a ``TrainingWarning``, once for each layer and kind of trouble

    ``epochs`` has for every epoch with an observed batch its number and the layers' statistics, ``warnings`` the texts;
    ``report()`` is the last epoch as a table with both. Raises TypeError or ValueError for wrong arguments.
    """

    extends = False

    def __init__(
        self,
        every: int = 25,
        *,
        saturation: float = SATURATION,
        limits: dict[str, float] | None = None,
        warn: bool = True,
    ) -> None:
        self.every = checks.whole("Monitor", "every", every, 1)
        self.saturation = checks.real("Monitor", "saturation", saturation)
        self.limits = {kind: trouble.limit for kind, trouble in _TROUBLES.items()}
        for kind, limit in (limits or {}).items():
            checks.choice("Monitor", "limits", kind, tuple(self.limits))
            self.limits[kind] = checks.real("Monitor", f"limits[{kind!r}]", limit)
        self.warn = bool(warn)
        self.epochs: list[tuple[int, list[LayerStatistics]]] = []
        self.warnings: list[str] = []
        self._warned: set[tuple[int, str]] = set()
        self._observer: Observer | None = None
        self._steps = 0
        self._seen = 0
        self._looking = False  # at the batch that runs

    def on_train_begin(self, run: Run) -> None:
        self._observer = Observer(run.net, self.saturation)
        self._steps = self._seen = 0
        self._looking = False

    def on_epoch_begin(self, run: Run) -> None:
        assert self._observer is not None
        self._observer.clear()

    def on_batch_begin(self, run: Run) -> None:
        if self._steps % self.every == 0:
            attach(run.net, self._observer)
            self._looking = True
        self._steps += 1

    def on_batch_end(self, run: Run) -> None:
        if self._looking and self._observer is not None:
            self.on_train_end(run)
            self._observer.collect()
            self._seen += 1

    def on_epoch_end(self, run: Run) -> None:
        assert self._observer is not None
        if self._observer.batches:
            layers = self._observer.layers
            self.epochs.append((run.epoch, layers))
            self._judge(layers)

    def on_train_end(self, run: Run) -> None:
        detach(run.net, self._observer)
        self._looking = False

    def _judge(self, layers: list[LayerStatistics]) -> None:
        for statistics in layers:
            for kind, trouble in _TROUBLES.items():
                share = trouble.measure(statistics)
                if share is None or not share > self.limits[kind] or (statistics.layer, kind) in self._warned:
                    continue
                self._warned.add((statistics.layer, kind))
                text = f"layer {statistics.layer}: {trouble.text.format(share=share)}".replace("%", " %", 1)
                self.warnings.append(text)
                if self.warn:
                    warn(text, TrainingWarning)

    def report(self) -> str:
        """The last observed epoch as a table, how much of the training was seen, and what was found wrong."""
        if not self.epochs:
            return "nothing observed yet"
        epoch, layers = self.epochs[-1]
        seen = f"epoch {epoch}; observed {self._seen} of {self._steps} batches, one in {self.every}"
        return Text("\n".join([seen, table(layers), *self.warnings]))
