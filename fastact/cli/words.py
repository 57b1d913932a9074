"""What the commands on tables print: plans, scores and their like as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..data.columns import Dropped, Plan
from ..data.targets import Target

MOST_CLASSES = 20  # whose precision and recall are printed
MOST_COLUMNS = 40  # of a plan
WIDTH = 100  # of a line


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows below a head, in columns; the first ones to the left, the others to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[j]) for line in lines) for j in range(len(head))]
    return "".join(
        "  ".join(
            c.ljust(w) if j < left else c.rjust(w) for j, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        + "\n"
        for line in lines
    )


def short(text: Any, width: int = 24) -> str:
    """A text that fits into a column."""
    one = " ".join(str(text).split())
    return one if len(one) <= width else f"{one[: width - 3]}..."


def plan_text(plan: Plan, everything: bool = False) -> str:
    """The columns, what they are and what is done to them."""
    limit = len(plan.entries) if everything else MOST_COLUMNS
    rows = [
        [
            short(entry.name),
            entry.kind,
            "" if isinstance(entry, Dropped) else str(len(entry.features)),
            short(entry.told(), WIDTH),
        ]
        for entry in plan.entries[:limit]
    ]
    text = table(["column", "is", "inputs", "what was done"], rows, left=4)
    rest = plan.entries[limit:]
    if rest:
        dropped = sum(isinstance(entry, Dropped) for entry in rest)
        text += f"and {len(rest)} more columns, {dropped} of them dropped (fastact info MODEL shows all)\n"
    return text


def predicts(target: Target) -> str:
    """What is predicted."""
    names = ", ".join(map(repr, target.labels))
    if target.task == "regression":
        return f"{names} ({'a number' if len(target.labels) == 1 else 'numbers'})"
    listed = ", ".join(str(name) for name in target.classes[:6]) + (", ..." if len(target.classes) > 6 else "")
    return f"{names} ({len(target.classes)} classes: {short(listed, 60)})"


def percent(value: float | None) -> str:
    """A share."""
    return "-" if value is None else f"{100 * value:.2f} %"


def scores_text(target: Target, scores: Mapping[str, Any], rows: str = "test") -> str:
    """How good predictions are; rows says of which rows."""
    if target.task == "regression":
        head = ["", "R2", "MAE", "RMSE", "of the mean: MAE", "RMSE"]
        lines = [
            [short(name), f"{one['r2']:.4f}", *(f"{one[key]:.5g}" for key in ("mae", "rmse", "mean_mae", "mean_rmse"))]
            for name, one in scores["targets"].items()
        ]
        return table([f"{rows} rows", *head[1:]], lines)
    most = scores["most_frequent"]
    always = f"always {short(most['class'])!r}: {percent(most['accuracy'])}"
    return f"{rows + ' accuracy':<16}{percent(scores['accuracy'])}  ({always})\n{_classes_text(scores)}"


def _classes_text(scores: Mapping[str, Any]) -> str:
    """The confusion matrix, with precision and recall."""
    classes = [one for one in scores["classes"] if one["rows"] or one["precision"] is not None]
    if not 1 < len(classes) <= MOST_CLASSES:
        return ""
    kept = [i for i, one in enumerate(scores["classes"]) if one in classes]
    wide = len(classes) <= 12
    head = ["true, predicted:"] if wide else ["class"]
    head += [short(one["class"], 10) for one in classes] if wide else []
    lines = []
    for i, one in zip(kept, classes, strict=True):
        counts = [str(scores["confusion"][i][j]) for j in kept] if wide else []
        lines.append([short(one["class"]), *counts, _share(one["precision"]), _share(one["recall"]), str(one["rows"])])
    return table([*head, "precision", "recall", "rows"], lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def importance_text(found: Mapping[str, Sequence[float]], name: str) -> str:
    """What falls, by column."""
    rows = [
        [short(column), f"{fall:.4f}", f"{deviation:.4f}"] for column, (fall, deviation) in list(found.items())[:20]
    ]
    return table(["column", f"fall of {name}", "deviation"], rows)


def errors_text(found: Sequence[Mapping[str, Any]]) -> str:
    """The largest errors."""
    rows = [[one["place"], short(one["label"]), f"{one['true']:.6g}", f"{one['predicted']:.6g}"] for one in found]
    return table(["largest errors", "of", "true", "predicted"], rows, left=2)


def strange_text(found: Mapping[str, Mapping[str, int]]) -> str:
    """Cells that are not as those that were trained on, one line a column."""
    return "".join(
        f"{name}: {', '.join(f'{count} {what}' for what, count in counts.items())}\n" for name, counts in found.items()
    )
