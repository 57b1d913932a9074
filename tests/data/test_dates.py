"""Dates in texts, against NumPy's."""

import numpy as np
import pytest

from fastact.data import dates


def since_1970(text):
    return float(np.datetime64(text, "ms").astype(np.int64)) / 1000


@pytest.mark.parametrize(
    ("texts", "form", "iso"),
    [
        (["2020-02-29", "1969-12-31"], "iso", ["2020-02-29", "1969-12-31"]),
        (["2020-02-29 13:05", "2020-03-01T00:00:30.250"], "iso", ["2020-02-29T13:05", "2020-03-01T00:00:30.250"]),
        (["2020-02-29T13:05:01Z", "2020-02-29T13:05:01+01:00"], "iso", ["2020-02-29T13:05:01", "2020-02-29T12:05:01"]),
        (["2020/2/29"], "%Y/%m/%d", ["2020-02-29"]),
        (["1/31/2020", "2/1/2020"], "%m/%d/%Y", ["2020-01-31", "2020-02-01"]),
        (["31/1/2020 9:05", "1/2/2020 23:00"], "%d/%m/%Y %H:%M", ["2020-01-31T09:05", "2020-02-01T23:00"]),
        (["12/31/99"], "%m/%d/%y", ["1999-12-31"]),
        (["31.1.2020"], "%d.%m.%Y", ["2020-01-31"]),
        (["03-Feb-2001"], "%d-%b-%Y", ["2001-02-03"]),
        (["Feb 3, 2001", "Mar 4, 2001"], "%b %d, %Y", ["2001-02-03", "2001-03-04"]),
        (["1999 Q4", "2000q1"], "quarter", ["1999-10-01", "2000-01-01"]),
        (["1999-12", "2000-01"], "%Y-%m", ["1999-12-01", "2000-01-01"]),
        (["Jan 2000"], "%b %Y", ["2000-01-01"]),
        (["9:05 PM"], "%I:%M %p", ["1900-01-01T21:05"]),
    ],
)
def test_forms(texts, form, iso):
    assert dates.form(texts) == form
    assert dates.seconds(texts, form).tolist() == list(map(since_1970, iso))
    assert form in dates.KNOWN
    whole = [text for text in texts if "." not in text[-5:] and ":" not in text]
    assert [dates.seconds([dates.shown(s, form)], form)[0] for s in dates.seconds(whole, form)] == [
        since_1970(text) for text in iso[: len(whole)]
    ]


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["red"],
        ["2020-02-30"],
        ["2020-01-01", "soon"],
        ["12"],
        ["2020-W01-1"],
        ["1-2"],
        ["May"],
        ["1/2"],
        ["13/13/2020"],
    ],
)
def test_no_dates(texts):
    assert dates.form(texts) is None


def test_day_and_month_may_be_unclear():
    assert dates.form(["1/2/2020", "3/4/2020"]) == ("%m/%d/%Y", "%d/%m/%Y")
    assert dates.form(["1/2/2020", "3/14/2020"]) == "%m/%d/%Y"
    assert dates.form(["1/2/2020", "14/3/2020"]) == "%d/%m/%Y"


def test_what_is_no_date_of_the_form():
    assert np.isnan(dates.seconds(["soon", "31.1.2020", "0000-01-01", "0000Q1"], "iso")).all()
    assert np.isnan(dates.seconds(["0000Q1", "2000Q5"], "quarter")).all()
