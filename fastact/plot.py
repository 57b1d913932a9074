"""Figures: activations with their slopes, training curves, comparisons. matplotlib is imported when one is drawn."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import epilogues
from .epilogues import FixedActivation
from .files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["activations", "check", "comparison", "content", "training", "write"]

#: What a figure's file name may end in.
ENDINGS = (".png", ".svg", ".pdf")


def check() -> None:
    """Raise ImportError, which says what to install, where there is no matplotlib."""
    _figure(1)


def _figure(columns: int, **size: float) -> tuple[Figure, list[Any]]:
    """A figure outside pyplot, with its axes side by side."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plot: figures need matplotlib; install it with pip install fastact[plot]") from error
    figure = Figure(figsize=(size.get("width", 5.0 * columns), size.get("height", 4.0)), layout="constrained")
    axes = list(figure.subplots(1, columns, squeeze=False)[0])
    for ax in axes:
        ax.grid(alpha=0.3)
    return figure, axes


def _style(ax: Any) -> str:
    """The line style of the next curve: matplotlib has ten colours, then another style takes over."""
    return ("-", "--", ":", "-.")[len(ax.lines) // 10 % 4]


def _epochs(ax: Any) -> None:
    ax.set_xlabel("epoch")
    ax.xaxis.get_major_locator().set_params(integer=True)


def write(figure: Figure, path: Any) -> None:
    """Write the figure whole or not at all; the file name's ending says how. Raises ValueError for another ending."""
    file = Path(path)
    if file.suffix not in ENDINGS:
        raise ValueError(f"plot: expected a file name that ends in {' or '.join(ENDINGS)}, got {file.name!r}")
    picture = io.BytesIO()
    figure.savefig(picture, format=file.suffix[1:], dpi=150)
    write_atomically(file, picture.getvalue())


def activations(chosen: Sequence[str | FixedActivation], low: float = -6.0, high: float = 6.0) -> Figure:
    """Elementwise activations on the left and their slopes on the right, for inputs from low to high, in float64.

    Raises ValueError or TypeError for what is no elementwise activation or no range, ImportError without matplotlib.
    """
    if not low < high or not np.isfinite([low, high]).all():
        raise ValueError(f"plot: expected low < high, both finite, got {low} and {high}")
    known = [epilogues.elementwise("plot", item) for item in chosen]
    figure, (left, right) = _figure(2, width=11.5, height=max(4.0, 0.25 * len(known)))
    x = np.linspace(low, high, 1201)
    for activation in known:
        y = np.empty_like(x)
        activation.apply(x, y)
        slope = activation.derivative(x if activation.reads == "x" else y)
        for ax, line in ((left, y), (right, slope)):
            ax.plot(x, line, _style(ax), label=str(activation))
    left.set_title("activation")
    right.set_title("slope")
    for ax in (left, right):
        ax.set_xlabel("x")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    return figure


def training(losses: Mapping[str, Sequence[float]]) -> Figure:
    """Loss curves by name, one point an epoch."""
    figure, (ax,) = _figure(1, width=6.5)
    for name, values in losses.items():
        ax.plot(range(1, len(values) + 1), values, label=name)
    _epochs(ax)
    ax.set_ylabel("loss")
    ax.set_yscale("log")
    ax.legend(fontsize="small")
    return figure


def comparison(results: Sequence[Mapping[str, Any]]) -> Figure:
    """What ``fastact compare`` found: training error by epoch (mean over seeds), and test accuracy with its spread."""
    figure, (left, right) = _figure(2, height=max(4.0, 0.3 * len(results) + 1.5))
    for result in results:
        curve = 100 * np.mean(np.array(result["training_error"], np.float64), axis=0)
        left.plot(np.arange(1, curve.size + 1), curve, _style(left), label=result["activation"])
    _epochs(left)
    left.set_ylabel("training error, %")
    left.set_yscale("symlog", linthresh=0.1)
    left.legend(fontsize="small", ncols=2)
    names = [str(result["activation"]) for result in results]
    means = [100 * float(result["accuracy_mean"]) for result in results]
    spreads = [100 * float(result["accuracy_spread"]) for result in results]
    places = np.arange(len(names))
    right.errorbar(means, places, xerr=spreads, fmt="o", capsize=3)
    right.set_yticks(places, names)
    right.invert_yaxis()
    right.set_xlabel("test accuracy, % (mean and standard deviation over seeds)")
    return figure


def content(report: Any, name: str) -> Figure:
    """The figure of a report that ``fastact compare --json`` or ``fastact train --json`` wrote; name labels its curve.

    Raises ValueError for another content.
    """
    try:
        if "results" in report:
            return comparison(report["results"])
        return training({name: [float(value) for value in report["train_losses"]]})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"plot: expected what fastact compare --json or fastact train --json wrote, got something else in {name} "
            f"({type(error).__name__}: {error})"
        ) from error
