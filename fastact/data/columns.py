"""What is done to the columns of a table before a network is given them: decided once, from the rows that are trained
on, and applied to any table after that.

A ``Plan`` has one entry a column: ``Number`` (median for what is missing and a column that says so, then mean 0 and
deviation 1), ``Category`` (a column for each value; the rarer ones of many share columns by their hash), ``Date`` (a
number, and what comes round again), ``Dropped`` (with its reason). A plan is plain data: ``Plan.from_json(plan.to_json
())`` is the same plan.

>>> from fastact.data.tables import Table, Text
>>> table = Table("shop", {"kind": Text.of(["tea", "rum", "tea"]), "price": np.array([1.0, 3.0, np.nan])})
>>> plan = Plan.decide(table)
>>> plan.features
['kind = tea', 'kind = rum', 'price', 'price is missing']
>>> plan.apply(table).round(2)
array([[ 1.  ,  0.  , -1.22,  0.  ],
       [ 0.  ,  1.  ,  1.22,  0.  ],
       [ 1.  ,  0.  ,  0.  ,  1.  ]])
"""

from __future__ import annotations

import math
import re
import shlex
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np

from . import dates
from .tables import Column, Table, Text, as_texts, shown, standardization

__all__ = ["Category", "Date", "Dropped", "Number", "Plan"]

MOST_VALUES = 50  # of a category that have a column each
BUCKETS = 16  # that the others share
NUMERIC = 0.95  # of the cells, from which on a column is one of numbers with some texts among them
DIFFERENT = 0.95  # of the cells of a text, from which on it is a name of each row
SHOWN = 3  # values that are named in a line
DAY, YEAR = 86_400.0, 365.2425
TRUE, FALSE = frozenset(("true", "t")), frozenset(("false", "f"))
_LOOSE = re.compile(r"([+-]?)[$€£]?\s*([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)\s*%?")
_ID = re.compile(r"(?i)(id|index|idx|row|rows|rownames?|row_?(names?|num(ber)?)|unnamed: 0|obs|no\.?|nr|case|x)|.*_id")


class UnclearError(ValueError):
    """A column that the user has to say something of; without the table's name."""


# ----------------------------------------------------------------------------------------------------- kinds of columns


@dataclass(frozen=True)
class Entry:
    """What is done to one column."""

    name: str

    kind: ClassVar[str] = ""

    @property
    def features(self) -> list[str]:
        """Names of what it becomes."""
        return []

    @property
    def scaling(self) -> list[tuple[float, float]]:
        """Of each feature: what is taken off, and what it is divided by then."""
        return [(0.0, 1.0)] * len(self.features)

    def encode(self, column: Column) -> np.ndarray:
        """The column as float64 (rows, features)."""
        return np.empty((len(column), 0))

    def strange(self, column: Column) -> dict[str, int]:
        """How many cells are not as those that were trained on, by what they are."""
        return {}

    def told(self) -> str:
        """What is done, in words."""
        return ""


@dataclass(frozen=True)
class Dropped(Entry):
    """A column that says nothing."""

    reason: str
    kind = "dropped"

    def told(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Number(Entry):
    """Numbers, or texts that are some: true and false as 1 and 0, amounts and shares without their signs."""

    mean: float
    scale: float
    fill: float  # for a missing cell
    missing: int  # of the rows that were trained on
    texts: int = 0  # of those, cells that hold a text
    boolean: bool = False
    kind = "number"

    @classmethod
    def decide(cls, name: str, column: Column, boolean: bool = False) -> Number | Dropped:
        """From the rows to train on."""
        values = _numbers(column, boolean)
        known = values[np.isfinite(values)]
        missing = len(values) - len(known)
        if not len(known):
            return Dropped(name, "no values")
        if not missing and (known == known[0]).all():
            return Dropped(name, f"always {shown(float(known[0]))}")
        ones = float(np.mean(known))
        fill = float(ones >= 0.5) if boolean else float(np.median(known))
        try:
            mean, scale = standardization(np.where(np.isfinite(values), values, fill)[:, None])
        except ValueError:
            raise UnclearError(
                f"column {name!r} holds numbers too large to standardise; pass --drop {quoted(name)}"
            ) from None
        texts = int(np.isnan(values[column.codes >= 0]).sum()) if isinstance(column, Text) else 0
        return cls(name, float(mean[0]), float(scale[0]), fill, missing, texts, boolean)

    @property
    def features(self) -> list[str]:
        return [self.name, *([f"{self.name} is missing"] if self.missing else [])]

    @property
    def scaling(self) -> list[tuple[float, float]]:
        return [(self.mean, self.scale), *super().scaling[1:]]

    def encode(self, column: Column) -> np.ndarray:
        values = _numbers(column, self.boolean)
        missing = ~np.isfinite(values)
        with np.errstate(over="ignore"):
            z = (np.where(missing, self.fill, values) - self.mean) / self.scale
        return np.column_stack([z, missing]) if self.missing else z[:, None]

    def strange(self, column: Column) -> dict[str, int]:
        missing = int((~np.isfinite(_numbers(column, self.boolean))).sum())
        return {"missing": missing} if missing and not self.missing else {}

    def told(self) -> str:
        said = ["true 1, false 0"] if self.boolean else []
        if self.missing:
            what = "missing" if not self.texts else f"missing ({self.texts} of them texts)"
            said.append(f"{self.missing} {what}: {shown(round(self.fill, 6))}, and a column that says so")
        return "; ".join([*said, f"mean {self.mean:.4g}, deviation {self.scale:.4g}"])


@dataclass(frozen=True)
class Category(Entry):
    """Texts, a column of 0 and 1 for each value. A value that was not trained on is 0 in all of them."""

    values: tuple[str, ...]  # the most frequent first
    missing: int  # of the rows that were trained on
    buckets: int = 0  # that all other values share by their hash
    others: int = 0  # how many those were
    kind = "category"

    @classmethod
    def decide(cls, name: str, column: Column) -> Category | Dropped:
        """From the rows to train on."""
        texts = as_texts(column)
        counts = texts.counts()
        present = np.flatnonzero(counts)
        missing = int((texts.codes < 0).sum())
        if not len(present):
            return Dropped(name, "no values")
        if len(present) == 1 and not missing:
            return Dropped(name, f"always {texts.values[int(present[0])]!r}")
        ranked = [texts.values[int(i)] for i in present[np.argsort(-counts[present], kind="stable")]]
        others = max(0, len(ranked) - MOST_VALUES)
        return cls(name, tuple(ranked[:MOST_VALUES]), missing, BUCKETS if others else 0, others)

    @property
    def features(self) -> list[str]:
        names = [f"{self.name} = {value}" for value in self.values]
        names += [f"{self.name} is missing"] if self.missing else []
        return names + [f"{self.name} # {i}" for i in range(self.buckets)]

    def encode(self, column: Column) -> np.ndarray:
        texts = as_texts(column)
        places = {value: i for i, value in enumerate(self.values)}
        missing = len(places)
        hashed = missing + bool(self.missing)
        width = hashed + self.buckets
        # One more for what has no column, cut off at the end
        to = [
            places.get(value, hashed + zlib.crc32(value.encode()) % self.buckets if self.buckets else width)
            for value in texts.values
        ]
        to.append(missing if self.missing else width)
        result = np.zeros((len(texts), width + 1))
        result[np.arange(len(texts)), np.array(to, np.intp)[texts.codes]] = 1
        return result[:, :width]

    def strange(self, column: Column) -> dict[str, int]:
        texts = as_texts(column)
        found = {}
        if not self.missing and (texts.codes < 0).any():
            found["missing"] = int((texts.codes < 0).sum())
        if not self.buckets:
            known = set(self.values)
            new = np.array([value not in known for value in texts.values] + [False])
            if unseen := int(new[texts.codes].sum()):
                found["not among the values trained on"] = unseen
        return found

    def told(self) -> str:
        count = len(self.values)
        listed = ", ".join(self.values[:SHOWN]) + (", ..." if count > SHOWN else "")
        said = [f"{count} values: {listed}"]
        if self.others:
            said = [
                f"the {count} most frequent values: {listed}; {self.others} others hashed into {self.buckets} columns"
            ]
        if self.missing:
            said.append(f"{self.missing} missing: a value of their own")
        return "; ".join(said)


@dataclass(frozen=True)
class Date(Entry):
    """Dates and times: days since 1970 as a number, and where in the year, the week and the day they lie."""

    form: str
    mean: float  # of the days
    scale: float
    fill: float
    missing: int
    cycles: tuple[str, ...]  # of CYCLES
    kind = "date"

    @classmethod
    def decide(cls, name: str, column: Text, form: str) -> Date | Dropped:
        """From the rows to train on."""
        days = column.mapped(dates.seconds(column.values, form) / DAY)
        known = days[np.isfinite(days)]
        if not len(known) or (len(known) == len(days) and (known == known[0]).all()):
            return Dropped(name, "always the same date" if len(known) else "no values")
        mean, scale = standardization(np.where(np.isfinite(days), days, np.median(known))[:, None])
        cycles = [cycle for cycle, of in CYCLES.items() if len(np.unique(of(known))) > 2]
        if form in dates.CLOCK:
            cycles = ["day"]
        elif not dates.has_days(form):
            cycles = [cycle for cycle in cycles if cycle == "year"]
        missing = len(days) - len(known)
        return cls(name, form, float(mean[0]), float(scale[0]), float(np.median(known)), missing, tuple(cycles))

    @property
    def features(self) -> list[str]:
        names = [self.name]
        for cycle in self.cycles:
            names += [f"{self.name}, {cycle}, sine", f"{self.name}, {cycle}, cosine"]
        return [*names, *([f"{self.name} is missing"] if self.missing else [])]

    @property
    def scaling(self) -> list[tuple[float, float]]:
        return [(self.mean, self.scale), *super().scaling[1:]]

    def _days(self, column: Column) -> np.ndarray:
        texts = as_texts(column)
        return texts.mapped(dates.seconds(texts.values, self.form) / DAY)

    def encode(self, column: Column) -> np.ndarray:
        days = self._days(column)
        missing = np.isnan(days)
        days = np.where(missing, self.fill, days)
        parts = [(days - self.mean) / self.scale]
        for cycle in self.cycles:
            angle = 2 * np.pi * CYCLES[cycle](days)
            parts += [np.where(missing, 0.0, part) for part in (np.sin(angle), np.cos(angle))]
        return np.column_stack([*parts, missing] if self.missing else parts)

    def strange(self, column: Column) -> dict[str, int]:
        texts = as_texts(column)
        missing = int((texts.codes < 0).sum())
        other = int(np.isnan(self._days(texts)).sum()) - missing
        found = {"missing": missing} if missing and not self.missing else {}
        return found | ({f"no date like {self._example()}": other} if other else {})

    def _example(self) -> str:
        return dates.shown(self.fill * DAY, self.form)

    def told(self) -> str:
        said = [f"as {self._example()}: days", *(f"{cycle} as sine and cosine" for cycle in self.cycles)]
        text = ", ".join(said)
        return f"{text}; {self.missing} missing: the median, and a column that says so" if self.missing else text


#: What comes round again: from days since 1970 to the part of it that has passed.
CYCLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "year": lambda days: np.mod(days / YEAR, 1.0),
    "week": lambda days: np.mod(np.floor(days + 3) / 7, 1.0),  # 1970 began on a Thursday
    "day": lambda days: np.round(np.mod(days, 1.0), 6),
}
KINDS: dict[str, type[Entry]] = {cls.kind: cls for cls in (Number, Category, Date, Dropped)}


def _numbers(column: Column, boolean: bool = False) -> np.ndarray:
    """A column as numbers, NaN for a text that is none."""
    if not isinstance(column, Text):
        return column
    return column.mapped([_loose(value, boolean) for value in column.values])


def _loose(text: str, boolean: bool = False) -> float:
    """A number with a sign of money or share, or commas between thousands; or true and false; NaN for another text."""
    if boolean and text.lower() in TRUE | FALSE:
        return float(text.lower() in TRUE)
    try:
        return float(text) if "_" not in text else math.nan
    except ValueError:
        found = _LOOSE.fullmatch(text)
        return (
            float(f"{found[1]}{found[2].replace(',', '')}")
            if found and not (found[1] and found[2][0] in "+-")
            else math.nan
        )


def quoted(name: str) -> str:
    """A name as an option's value on a command line."""
    return shlex.quote(name)


# ------------------------------------------------------------------------------------------------------------- deciding


def numeric(column: Column) -> np.ndarray | None:
    """A column as numbers, where all its cells are some, if written loosely; else None."""
    values = _numbers(column)
    if isinstance(column, Text) and (not len(column.values) or np.isnan(values[column.codes >= 0]).any()):
        return None
    return values


def decide(name: str, column: Column, row_names: bool = False, day_first: bool | None = None) -> Entry:
    """What is done to a column, from the rows to train on; UnclearError where only the user can know.

    ``row_names`` says that the file gives the column no name.
    """
    if not isinstance(column, Text):
        return _counted(name, column, row_names) or Number.decide(name, column)
    present = np.flatnonzero(column.counts())
    if not len(present):
        return Dropped(name, "no values")
    values = [column.values[int(i)] for i in present]
    if {value.lower() for value in values} <= TRUE | FALSE and any(len(value) > 1 for value in values):
        return Number.decide(name, column, boolean=True)
    return _dated(name, column, values, day_first) or _worded(name, column, values)


def _counted(name: str, column: np.ndarray, row_names: bool) -> Dropped | None:
    """Numbers of the rows, which say nothing of them."""
    whole = np.isfinite(column).all() and (column == np.floor(column)).all()
    if len(column) < 3 or not whole or len(np.unique(column)) < len(column):
        return None
    if not (row_names or _ID.fullmatch(name)):
        return None
    steps = np.diff(np.sort(column))
    if row_names or name.lower() != "x" or (steps == 1).all():
        return Dropped(name, "a number of its own in each row")
    return None


def _dated(name: str, column: Text, values: Sequence[str], day_first: bool | None) -> Entry | None:
    form = dates.form(values)
    if isinstance(form, tuple):
        if day_first is None:
            raise UnclearError(
                f"column {name!r} holds dates such as {values[0]}, in which day and month cannot be told apart; pass "
                "--dates day-first or --dates month-first"
            )
        form = form[day_first]
    return None if form is None else Date.decide(name, column, form)


def _worded(name: str, column: Text, values: Sequence[str]) -> Entry:
    counts = column.counts()
    cells = int(counts.sum())
    numbers = np.array([_loose(value) for value in column.values])
    share = float(counts[~np.isnan(numbers)].sum()) / cells
    if share >= NUMERIC:
        return Number.decide(name, column)
    if len(values) == cells and cells > 2:
        return Dropped(name, "a text of its own in each row")
    if share > 0.5 and len(values) > MOST_VALUES:
        odd = column.values[int(np.flatnonzero(np.isnan(numbers) & (counts > 0))[0])]
        raise UnclearError(
            f"column {name!r} holds numbers and texts such as {odd!r}; pass --numeric {quoted(name)} (texts count as "
            f"missing) or --categorical {quoted(name)}"
        )
    if len(values) > max(MOST_VALUES, DIFFERENT * cells):
        return Dropped(name, "a text of its own in nearly each row")
    return Category.decide(name, column)


@dataclass(frozen=True)
class Plan:
    """What is done to the columns of a table."""

    entries: tuple[Entry, ...]
    named: bool = True  # whether columns are found by name, or else by place

    @classmethod
    def decide(
        cls,
        table: Table,
        *,
        without: Collection[str] = (),
        drop: Collection[str] = (),
        numeric: Collection[str] = (),
        categorical: Collection[str] = (),
        day_first: bool | None = None,
    ) -> Plan:
        """From the rows to train on.

        Parameters
        ----------
        table : those rows
        without : columns that are no features: what is to be predicted
        drop, numeric, categorical : names of columns that are to be left out, numbers, categories, whatever they hold
        day_first : whether 1/2/2000 is in February; None: ValueError where other rows do not tell

        Raises ValueError for a column that is not there, or one of which only the user can know what it is.
        """
        wanted = {"drop": drop, "numeric": numeric, "categorical": categorical}
        for option, names in wanted.items():
            for name in names:
                table.column(name, f"a column for --{option}")
        entries: list[Entry] = []
        try:
            for place, (name, column) in enumerate(table.columns.items()):
                if name in without:
                    continue
                if name in drop:
                    entries.append(Dropped(name, "as asked"))
                elif name in categorical:
                    entries.append(Category.decide(name, column))
                elif name in numeric:
                    entries.append(_forced(name, column))
                else:
                    unnamed = place == 0 and table.named and name == "column 1"
                    entries.append(decide(name, column, unnamed, day_first))
        except UnclearError as refusal:
            raise ValueError(f"{table.source}: {refusal}") from None
        plan = cls(tuple(entries), table.named)
        if not plan.features:
            raise ValueError(f"{table.source}: {_nothing_left(entries)}")
        return plan

    @property
    def features(self) -> list[str]:
        """Names of the network's inputs."""
        return [name for entry in self.entries for name in entry.features]

    @property
    def scaling(self) -> tuple[list[float], list[float]]:
        """What is taken off the network's inputs, and what they are divided by."""
        pairs = [pair for entry in self.entries for pair in entry.scaling]
        return [mean for mean, _ in pairs], [scale for _, scale in pairs]

    def find(self, table: Table, labels: Sequence[str] = ()) -> dict[str, Column]:
        """The table's columns by the plan's names: by name, or by place where either has none.

        ``labels`` are columns that the table may hold beside them. Raises ValueError for a table that lacks a column.
        """
        if self.named and table.named:
            return {
                entry.name: table.column(entry.name, "a column")
                for entry in self.entries
                if not isinstance(entry, Dropped) or entry.name in table.columns
            }
        others = [name for name in table.columns if name not in table.labels]
        if len(others) > len(self.entries) and not table.labels:
            beside = len(labels) or 1
            others = others[: len(self.entries)] if len(others) == len(self.entries) + beside else others
        if len(others) != len(self.entries):
            raise ValueError(
                f"{table.source}: expected {len(self.entries)} features as the model has (and perhaps a label), got "
                f"{len(table.columns)} column(s)"
            )
        return {entry.name: table.columns[name] for entry, name in zip(self.entries, others, strict=True)}

    def apply(self, table: Table, dtype: Any = np.float64) -> np.ndarray:
        """The network's inputs, (rows, features), from a table; ValueError for numbers too large for the dtype."""
        found = self.find(table)
        result = np.empty((table.rows, len(self.features)), dtype)
        start = 0
        for entry in self.entries:
            width = len(entry.features)
            if not width:
                continue
            with np.errstate(over="ignore"):
                result[:, start : start + width] = entry.encode(found[entry.name])
            wrong = ~np.isfinite(result[:, start : start + width]).all(axis=1)
            if wrong.any():
                row = int(wrong.argmax())
                raise ValueError(
                    f"{table.source}: {table.place(row)}, column {entry.name!r}: the number is too far from the "
                    f"others for {np.dtype(dtype)}"
                )
            start += width
        return result

    def strange(self, table: Table) -> dict[str, dict[str, int]]:
        """Cells that are not as those that were trained on: their number, by column and by what they are."""
        found = self.find(table)
        counts = {entry.name: entry.strange(found[entry.name]) for entry in self.entries if entry.features}
        return {name: one for name, one in counts.items() if one}

    def to_json(self) -> dict[str, Any]:
        """All of it as lists, texts and numbers."""
        return {"named": self.named, "columns": [{"kind": one.kind, **asdict(one)} for one in self.entries]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Plan:
        """The plan that ``to_json`` gave; ValueError, KeyError or TypeError for anything else."""
        entries = []
        for one in content["columns"]:
            rest = dict(one)
            entries.append(_made(KINDS[rest.pop("kind")], rest))
        if type(content["named"]) is not bool or len({entry.name for entry in entries}) < len(entries):
            raise ValueError("no plan")
        return cls(tuple(entries), content["named"])


def _forced(name: str, column: Column) -> Entry:
    entry = Number.decide(name, column, boolean=True) if isinstance(column, Text) else Number.decide(name, column)
    if isinstance(entry, Dropped) and isinstance(column, Text) and len(column.values):
        raise UnclearError(
            f"column {name!r} holds no number but texts such as {column.values[0]!r}; leave out --numeric "
            f"{quoted(name)}"
        )
    return entry


def _nothing_left(entries: Iterable[Entry]) -> str:
    texts = [entry for entry in entries if isinstance(entry, Dropped) and entry.reason.startswith("a ")]
    said = "no column is left to predict from"
    if texts:
        name, reason = texts[0].name, texts[0].reason
        option = "numeric" if "number" in reason else "categorical"
        return f"{said}: {name!r} holds {reason}; pass --{option} {quoted(name)} to use it all the same"
    return f"{said}; it takes one besides the label that is not always the same"


#: How a field is known to be what its annotation says.
_FIELDS: dict[str, Any] = {
    "str": lambda value: type(value) is str,
    "bool": lambda value: type(value) is bool,
    "int": lambda value: type(value) is int and value >= 0,
    "float": lambda value: type(value) in (int, float) and math.isfinite(value),
    "tuple[str, ...]": lambda value: isinstance(value, list) and all(type(one) is str for one in value),
}


def _made(cls: type[Entry], content: Mapping[str, Any]) -> Entry:
    """An entry from the fields of its JSON, each looked at."""
    given = {one.name: content[one.name] for one in fields(cls)}
    for one in fields(cls):
        if not _FIELDS[str(one.type)](given[one.name]):
            raise ValueError(f"{one.name} is no {one.type}")
    if given.keys() != content.keys() or given.get("scale", 1.0) <= 0 or given.get("buckets", 0) > 1 << 16:
        raise ValueError("no entry of a plan")
    if cls is Date and (given["form"] not in dates.KNOWN or not set(given["cycles"]) <= CYCLES.keys()):
        raise ValueError("no form of dates")
    plain: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in given.items()}
    return cls(**plain)
