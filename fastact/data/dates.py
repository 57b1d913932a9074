"""Dates in texts: their forms, and seconds since 1970."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

#: What follows a day: nothing, or a time.
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_DAYS = (
    "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d %Y",
    "%b %d, %Y", "%B %d, %Y",
)  # fmt: skip
#: Those in which day and month may be taken for each other: month first, day first.
_EITHER = (("%m/%d/%Y", "%d/%m/%Y"), ("%m/%d/%y", "%d/%m/%y"), ("%m-%d-%Y", "%d-%m-%Y"))
_MONTHS = ("%Y-%m", "%Y/%m", "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%b %y")
CLOCK = ("%H:%M", "%H:%M:%S", "%I:%M %p")  # times of a day
ISO, QUARTER = "iso", "quarter"
FORMS = (ISO, QUARTER, *(day + time for day in _DAYS for time in _TIMES), *_MONTHS, *CLOCK)
PAIRS = tuple((month + time, day + time) for (month, day), time in itertools.product(_EITHER, _TIMES))
KNOWN = frozenset((*FORMS, *itertools.chain(*PAIRS)))

_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: ?Z|[+-]\d\d(?::?\d\d)?)?)?")
_QUARTER = re.compile(r"(\d{4})[- ]?[Qq]([1-4])")
_ZONE = re.compile(r"(?<=:\d\d) ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d)$")
_LIKELY = re.compile(r"\d{1,4}[-/. :]|[A-Za-z]{3,9}[- ]\d|\d{4}[Qq]")


def seconds(texts: Sequence[str], form: str) -> np.ndarray:
    """Seconds since 1970 of each text, NaN where it is no date of that form.

    A date without a zone is taken to be in UTC; zones are heard in ISO 8601 alone.
    """
    return np.array([_seconds(text, form) for text in texts], np.float64)


@functools.lru_cache(1 << 16)
def _seconds(text: str, form: str) -> float:
    try:
        if form == ISO:
            return _of_iso(text)
        if form == QUARTER:
            found = _QUARTER.fullmatch(text)
            return math.nan if found is None else _stamp(datetime(int(found[1]), 3 * int(found[2]) - 2, 1))
        return _stamp(datetime.strptime(_ZONE.sub("", text), form))
    except ValueError:
        return math.nan


def _of_iso(text: str) -> float:
    if _ISO.fullmatch(text) is None:
        return math.nan
    moment = datetime.fromisoformat(text.replace(" Z", "Z"))
    return moment.timestamp() if moment.tzinfo is not None else _stamp(moment)


def _stamp(moment: datetime) -> float:
    return moment.replace(tzinfo=UTC).timestamp()


def form(texts: Sequence[str]) -> str | tuple[str, str] | None:
    """The form of dates that all the texts have; two where day and month cannot be told apart; None for none."""
    if not texts or not _LIKELY.match(texts[0]):
        return None
    for one in FORMS:
        if _all(texts, one):
            return one
    for month_first, day_first in PAIRS:
        fits = _all(texts, month_first), _all(texts, day_first)
        if all(fits):
            return month_first, day_first
        if any(fits):
            return month_first if fits[0] else day_first
    return None


def _all(texts: Sequence[str], one: str) -> bool:
    return not any(math.isnan(_seconds(text, one)) for text in texts)


def shown(moment: float, one: str) -> str:
    """A moment, in seconds since 1970, in that form."""
    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=round(moment))
    if one == QUARTER:
        return f"{date.year}Q{(date.month + 2) // 3}"
    return date.strftime("%Y-%m-%d" if one == ISO else one)


def has_days(one: str) -> bool:
    """Whether dates of that form name a day."""
    return one == ISO or "%d" in one
