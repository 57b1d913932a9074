"""What ``fastact train --plot FOLDER`` draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import plot
from .experiment import Outcome, main_score
from .options import CommandError


def check(folder: Path) -> None:
    """Whether pictures can be drawn and written there, found out before the work; ImportError without matplotlib."""
    plot.check()
    if folder.exists() and not folder.is_dir():
        raise CommandError(f"--plot {folder}: expected a folder, there is a file of that name")
    folder.mkdir(parents=True, exist_ok=True)


def draw(folder: Path, outcome: Outcome, importance: Mapping[str, tuple[float, float]] | None) -> list[str]:
    """Learning curves, predictions of the test rows, importance; the files' names."""
    figures: dict[str, Any] = {"training": outcome.history.plot()}
    target = outcome.model.target
    if len(outcome.tested) and target.task == "classification":
        figures["confusion"] = plot.confusion(outcome.scores["confusion"], target.classes).figure
    elif len(outcome.tested):
        for j, name in enumerate(target.labels):
            axes = plot.predictions(outcome.true[:, j], outcome.predicted[:, j], name)
            figures["predictions" + (f"-{j + 1}" if len(target.labels) > 1 else "")] = axes.figure
    if importance is not None:
        figures["importance"] = plot.importance(importance, main_score(outcome.scores)[0]).figure
    files = [folder / f"{name}.png" for name in figures]
    for file, figure in zip(files, figures.values(), strict=True):
        plot.write(figure, file)
    return [str(file) for file in files]
