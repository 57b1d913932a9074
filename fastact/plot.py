"""Figures: activations with their slopes, training curves, comparisons. matplotlib is imported when one is drawn."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import epilogues
from .epilogues import Epilogue
from .files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "activations", "check", "comparison", "confusion", "content", "history", "importance", "predictions", "training",
    "write",
]  # fmt: skip

#: What a figure's file name may end in.
ENDINGS = (".png", ".svg", ".pdf")

FEW = 8  # activations that share two panels
POINTS = 1201


def check() -> None:
    """Raise ImportError, which says what to install, where there is no matplotlib."""
    _figure(1)


def _figure(columns: int, rows: int = 1, **size: float) -> tuple[Figure, list[Any]]:
    """A figure outside pyplot, which a notebook shows all the same, with its axes row by row."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plot: figures need matplotlib; install it with pip install fastact[plot]") from error

    figure = Figure(figsize=(size.get("width", 5.0 * columns), size.get("height", 4.0)), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes:
        ax.grid(alpha=0.3)
    vars(figure)["_repr_png_"] = functools.partial(_picture, figure, "png")
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
    write_atomically(file, _picture(figure, file.suffix[1:]))


def _picture(figure: Figure, form: str) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format=form, dpi=150)
    return picture.getvalue()


def activations(chosen: Sequence[str | Epilogue], low: float = -6.0, high: float = 6.0) -> Figure:
    """Activations and their slopes for inputs from low to high, in float64.

    A few share two panels, values on the left and slopes on the right, which show y as far as they show x; more have a
    panel each, with the slope dashed. Where a line jumps it is broken. A learned weight is as it starts; maxout is that
    of lines with slopes from -1 to 1. Raises ValueError or TypeError for what is no activation or no range, ImportError
    without matplotlib.
    """
    if not low < high or not np.isfinite([low, high]).all():
        raise ValueError(f"plot: expected low < high, both finite, got {low} and {high}")
    known = [epilogues.epilogue("plot", item, {"pieces": 2} if item == "maxout" else None) for item in chosen]
    if len(known) > FEW:
        return _panels(known, low, high)
    figure, (left, right) = _figure(2, width=11.5)
    for activation in known:
        for ax, (x, y) in zip((left, right), _curves(activation, low, high), strict=True):
            ax.plot(x, y, _style(ax), label=str(activation))
    for ax, title in ((left, "activation"), (right, "slope")):
        ax.set_title(title)
        ax.set_xlabel("x")
        if len(known) > 1:  # or one that grows fast would leave the others flat
            bottom, top = ax.get_ylim()
            ax.set_ylim(max(bottom, min(low, -1.0) - 0.5), min(top, max(high, 1.0) + 0.5))
    figure.legend(*left.get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    return figure


def _panels(known: Sequence[Epilogue], low: float, high: float) -> Figure:
    """A panel for each."""
    columns = 4
    rows = -(-len(known) // columns)
    figure, axes = _figure(columns, rows, width=3.0 * columns, height=2.2 * rows)
    for ax, activation in zip(axes, known, strict=False):
        for (x, y), style, label in zip(_curves(activation, low, high), ("-", "--"), ("f", "f'"), strict=True):
            ax.plot(x, y, style, label=label)
        ax.set_title(str(activation), fontsize="small")
    for ax in axes[len(known) :]:
        ax.remove()
    axes[0].legend(fontsize="small")
    return figure


def _curves(activation: Epilogue, low: float, high: float) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """(x, y) of the values, and of the slopes, with a NaN where they jump."""
    x = np.linspace(low, high, POINTS)
    return tuple(_broken(lambda x, i=i: activation.curve(x)[i], x) for i in (0, 1))  # type: ignore[misc]


def _broken(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and function(x), with both ends of each jump and a NaN between them.

    Halving an interval again and again leaves nothing of a slope, however steep, but all of a jump.
    """
    y = function(x)
    a, b = x[:-1].copy(), x[1:].copy()
    for _ in range(40):
        middle = (a + b) / 2
        at_a, at_middle, at_b = function(a), function(middle), function(b)
        left = np.abs(at_middle - at_a) > np.abs(at_b - at_middle)
        a, b = np.where(left, a, middle), np.where(left, middle, b)
    at_a, at_b = function(a), function(b)
    jumps = np.flatnonzero(np.abs(at_b - at_a) > 1e-6)
    places = np.repeat(jumps + 1, 3)
    inserted = np.column_stack([a[jumps], b[jumps], b[jumps]]).reshape(-1)
    values = np.column_stack([at_a[jumps], np.full(jumps.size, np.nan), at_b[jumps]]).reshape(-1)
    return np.insert(x, places, inserted), np.insert(y, places, values)


def history(lists: Mapping[str, Sequence[float]]) -> Figure:
    """What a training recorded, by name: losses on the left, and on the right, where there are any, metrics."""
    losses = {name: values for name, values in lists.items() if name.endswith("loss") and values}
    metrics = {name: values for name, values in lists.items() if name not in (*losses, "rate") and values}
    figure, axes = _figure(2 if metrics else 1, width=11.5 if metrics else 6.5)
    _by_epoch(axes[0], losses)
    axes[0].set_ylabel("loss")
    if all(min(values) > 0 for values in losses.values()):
        axes[0].set_yscale("log")
    if metrics:
        _by_epoch(axes[1], metrics)
    return figure


def _by_epoch(ax: Any, lists: Mapping[str, Sequence[float]]) -> None:
    for name, values in lists.items():
        ax.plot(range(1, len(values) + 1), values, "-" if len(values) > 1 else ".", label=name)
    _epochs(ax)
    if lists:
        ax.legend(fontsize="small")


def training(losses: Mapping[str, Sequence[float]]) -> Figure:
    """Loss curves by name, one point an epoch."""
    return history({f"{name} loss": values for name, values in losses.items()})


def confusion(counts: Any, names: Sequence[Any], ax: Any = None) -> Any:
    """How many rows of each class (down) were said to be of each (across), darker for a larger share of the class.

    ``counts`` is what ``fastact.diagnostics.predictions.confusion`` counted, names are the classes'. Drawn into ``ax``,
    else into a figure of its own (``.figure``); the axes are returned.
    """
    table = np.asarray(counts)
    if ax is None:
        size = max(4.0, 0.5 * len(table) + 2)
        ax = _figure(1, width=size, height=size)[1][0]
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Greys", vmin=0, vmax=1)
    ax.grid(False)
    places = range(len(table))
    ax.set_xticks(places, [str(name) for name in names], rotation=90 if len(table) > 6 else 0)
    ax.set_yticks(places, [str(name) for name in names])
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    if len(table) <= 20:
        for (i, j), count in np.ndenumerate(table):
            ax.text(j, i, str(count), ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black")
    return ax


def predictions(true: Any, predicted: Any, name: str = "", ax: Any = None) -> Any:
    """Predicted against true numbers, and the line on which both are the same; as for ``confusion``, axes."""
    if ax is None:
        ax = _figure(1)[1][0]
    t, p = np.ravel(true), np.ravel(predicted)
    ends = min(t.min(), p.min()), max(t.max(), p.max())
    ax.plot(ends, ends, "-", color="black", linewidth=1)
    ax.plot(t, p, "o", markersize=4, alpha=0.5)
    ax.set_xlabel(f"true {name}".strip())
    ax.set_ylabel(f"predicted {name}".strip())
    return ax


def importance(found: Mapping[str, tuple[float, float]], score: str = "score", ax: Any = None) -> Any:
    """What permuting costs, with its deviation, by column, as ``permutation_importance`` found it; axes."""
    shown = list(found.items())[:30]
    if ax is None:
        ax = _figure(1, width=7.0, height=max(2.5, 0.3 * len(shown) + 1))[1][0]
    places = np.arange(len(shown))
    falls, deviations = ([pair[k] for _, pair in shown] for k in (0, 1))
    ax.barh(places, falls, xerr=deviations, color="0.6", capsize=3)
    ax.set_yticks(places, [name if len(name) <= 30 else f"{name[:27]}..." for name, _ in shown])
    ax.invert_yaxis()
    ax.set_xlabel(f"fall of {score} where the column's cells change rows")
    return ax


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
