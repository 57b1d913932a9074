"""What a training records."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import checks, files
from .metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class History:
    """What happened, epoch by epoch: lists with one number an epoch, by name as ``history["loss"]`` too.

    ``loss`` is the mean over the epoch's rows, each under the parameters of its own step; ``rate`` the learning rate
    of the epoch's last step. ``metrics`` holds "validation_accuracy" and its like, which are attributes too:
    ``history.validation_r2``, empty where it was not measured. Only whole epochs have an entry, but ``steps`` counts
    every step, and ``seconds`` is the time inside training steps alone. NaN stands for epochs in which a number was not
    measured, before the first one too. ``plot()`` draws it, ``to_csv(path)`` and ``to_frame()`` hand it on.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    rate: list[float] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def epochs(self) -> int:
        """Epochs finished."""
        return len(self.loss)

    def __getattr__(self, name: str) -> list[float]:
        """A metric by its name: what was recorded, or nothing where a metric of the library was not."""
        recorded: dict[str, list[float]] = vars(self).get("metrics", {})
        if name in recorded:
            return recorded[name]
        if name.removeprefix("validation_") in METRICS:
            return []
        raise AttributeError(f"History has no {name!r}; recorded: {', '.join(vars(self) and self._lists())}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.metrics]

    def __repr__(self) -> str:
        """The latest numbers."""
        latest = [f"{name} {values[-1]:.4g}" for name, values in self._lists().items() if values]
        about = f"{self.epochs} epochs, {self.steps} steps, {self.seconds:.3g} s"
        about += ", interrupted" if self.interrupted else ""
        return f"History({about}: {', '.join(latest)})" if latest else f"History({about})"

    def __getitem__(self, name: str) -> list[float]:
        """A list by its name; KeyError where nothing of that name was recorded."""
        return self._lists()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def keys(self) -> list[str]:
        """The names of what was recorded: with them, ``dict(history)`` is the lists by name."""
        return [name for name, values in self._lists().items() if values]

    def _lists(self) -> dict[str, list[float]]:
        return {"loss": self.loss, "validation_loss": self.validation_loss, **self.metrics, "rate": self.rate}

    def plot(self) -> Figure:
        """The losses, and beside them the metrics, by epoch: a matplotlib figure (extra ``plot``).

        A notebook shows it; ``history.plot().savefig("training.png")`` writes it.
        """
        from .. import plot

        return plot.history(self._lists())

    def to_csv(self, path: Any) -> None:
        """Write the numbers as comma-separated values, one row an epoch: the epoch from 1, then what was recorded.

        What was not measured is empty. The file is written whole or not at all.
        """
        file = files.any_path("History.to_csv", path)
        files.checked_place("History.to_csv", file)
        columns = self.to_dict()["by_epoch"]
        with io.StringIO(newline="") as text:
            rows = csv.writer(text, lineterminator="\n")
            rows.writerow(["epoch", *columns])
            for epoch, values in enumerate(zip(*columns.values(), strict=True), 1):
                rows.writerow([epoch, *("" if math.isnan(value) else repr(float(value)) for value in values)])
            files.write_atomically(file, text.getvalue().encode())

    def to_frame(self) -> Any:
        """The numbers as a ``pandas.DataFrame``, one row an epoch, indexed by the epoch from 1."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("History.to_frame needs pandas: pip install pandas") from error
        index = pandas.RangeIndex(1, self.epochs + 1, name="epoch")
        return pandas.DataFrame(self.to_dict()["by_epoch"], index=index)

    def append(self, values: Mapping[str, float]) -> None:
        """Add the numbers of an epoch, by name; without a "loss", they are of the epoch that was added last."""
        before = self.epochs if "loss" in values else self.epochs - 1
        lists = self._lists()
        for name, value in values.items():
            numbers = lists[name] if name in lists else self.metrics.setdefault(name, [])
            if len(numbers) < before:
                numbers += [math.nan] * (before - len(numbers))
            numbers.append(value)

    def _list(self, name: str) -> list[float]:
        lists = self._lists()
        return lists[name] if name in lists else self.metrics.setdefault(name, [])

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain lists and numbers."""
        return {
            "epochs": self.epochs,
            "steps": self.steps,
            "seconds": self.seconds,
            "interrupted": self.interrupted,
            "by_epoch": {
                name: [*values, *[math.nan] * (self.epochs - len(values))]
                for name, values in self._lists().items()
                if values
            },
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> History:
        """The history that ``to_dict`` gave; ValueError for anything else."""
        try:
            history = cls(
                steps=checks.whole("History.from_dict", "steps", content["steps"], 0),
                seconds=checks.real("History.from_dict", "seconds", content["seconds"]),
                interrupted=bool(content["interrupted"]),
            )
            for name, values in content["by_epoch"].items():
                history._list(name).extend(float(value) for value in values)
            if any(len(values) not in (0, content["epochs"]) for values in (history.loss, history.validation_loss)):
                raise ValueError("lists of different lengths")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"History.from_dict: expected what to_dict returned ({error})") from error
        return history
