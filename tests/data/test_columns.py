"""What is done to columns: decided from the rows that are given, applied to others, kept as JSON."""

import json

import numpy as np
import pytest

from fastact.data.columns import BUCKETS, MOST_VALUES, Category, Date, Dropped, Number, Plan
from fastact.data.tables import Table, Text

NAN = float("nan")


def table(**columns):
    made = {
        name: np.array(cells, np.float64) if not any(isinstance(cell, str) for cell in cells) else Text.of(cells)
        for name, cells in columns.items()
    }
    return Table("t.csv", made)


def entry(cells, name="c", **options):
    """What is done to a column; another one keeps the plan from being empty."""
    plan = Plan.decide(table(**{name: cells, "other": np.arange(len(cells)) % 2 + 0.5}), **options)
    return plan.entries[0]


def encoded(one, cells):
    return one.encode(table(c=cells).columns["c"])


# ------------------------------------------------------------------------------------------------------------- numbers


def test_numbers_have_mean_0_and_deviation_1():
    one = entry([1, 2, 3, 6])
    np.testing.assert_allclose(encoded(one, [1, 2, 3, 6]).mean(), 0, atol=1e-12)
    np.testing.assert_allclose(encoded(one, [1, 2, 3, 6]).std(), 1)
    np.testing.assert_allclose(encoded(one, [3, 9])[:, 0], (np.array([3, 9]) - 3) / np.std([1, 2, 3, 6]))
    assert (one.features, one.missing) == (["c"], 0)


def test_missing_numbers_are_the_median_and_said_so():
    one = entry([1, NAN, 2, 9, np.inf])
    filled = np.array([1, 2, 2, 9, 2])
    expected = np.column_stack([(filled - filled.mean()) / filled.std(), [0, 1, 0, 0, 1]])
    np.testing.assert_allclose(encoded(one, [1, NAN, 2, 9, np.inf]), expected)
    assert (one.features, one.missing, one.fill) == (["c", "c is missing"], 2, 2)


def test_a_number_missing_for_the_first_time_is_the_median_and_counted():
    one = entry([1, 2, 4])
    assert encoded(one, [NAN]).tolist() == encoded(one, [2]).tolist()
    assert one.strange(np.array([NAN, 2])) == {"missing": 1}
    assert entry([1, NAN, 4]).strange(np.array([NAN, 2])) == {}


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["$1,200", "$3.50"], [1200, 3.5]),
        (["12%", "7 %"], [12, 7]),
        (["1,000", "12,345.5", "-1"], [1000, 12345.5, -1]),
        (["-$5", "€6"], [-5, 6]),
    ],
)
def test_amounts_are_numbers(cells, values):
    one = entry(cells)
    assert isinstance(one, Number)
    np.testing.assert_allclose(encoded(one, cells), encoded(entry(values), values))


@pytest.mark.parametrize("cells", [["TRUE", "FALSE", "TRUE"], ["True", "false", "true"]])
def test_true_and_false(cells):
    one = entry(cells)
    assert (one.kind, one.boolean) == ("number", True)
    assert encoded(one, cells).tolist() == encoded(entry([1, 0, 1]), [1, 0, 1]).tolist()
    missing = entry([*cells, None])
    assert (missing.fill, missing.missing) == (1, 1)


def test_a_few_texts_among_numbers_count_as_missing():
    cells = [*map(str, range(60)), "unknown", None]
    one = entry(cells)
    assert (one.kind, one.missing, one.texts) == ("number", 2, 1)
    assert encoded(one, ["unknown"])[0, 1] == 1
    assert "2 missing (1 of them texts): 29.5" in one.told()


def test_many_texts_among_numbers_are_the_users_to_decide():
    cells = [*map(str, range(90)), *["207a", "208b"] * 10]
    with pytest.raises(ValueError, match=r"t.csv: column 'c' holds numbers and texts such as '207a'; pass --numeric c"):
        entry(cells)
    assert entry(cells, numeric=["c"]).texts == 20
    assert entry(cells, categorical=["c"]).others == 92 - MOST_VALUES
    assert entry(["1", "2", "x"] * 9).kind == "category"  # few values: a category all the same


# --------------------------------------------------------------------------------------------------------- categories


def test_categories_have_a_column_each_the_most_frequent_first():
    one = entry(["b", "a", "b", None, "c", "b", "c"])
    assert one.features == ["c = b", "c = c", "c = a", "c is missing"]
    assert encoded(one, ["a", None, "b", "c"]).tolist() == [[0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]]


def test_values_not_trained_on_are_in_no_column_and_counted():
    one = entry(["b", "a", "b", "a"])
    assert encoded(one, ["z", None, "a"]).tolist() == [[0, 0], [0, 0], [0, 1]]
    strange = one.strange(Text.of(["z", "z", "y", None, "a"]))
    assert strange == {"missing": 1, "not among the values trained on": 3}


def test_rare_values_of_many_share_columns():
    cells = [f"v{i}" for i in range(MOST_VALUES + 30) for _ in range(3 if i < MOST_VALUES else 2)]
    one = entry(cells)
    assert len(one.features) == MOST_VALUES + BUCKETS
    x = encoded(one, [*cells, "never seen"])
    assert (x.sum(axis=1) == 1).all()
    rare = np.array([cell in {f"v{i}" for i in range(MOST_VALUES, MOST_VALUES + 30)} for cell in cells])
    assert (x[:-1][rare][:, MOST_VALUES:].sum(axis=1) == 1).all()
    assert (x[:-1][~rare][:, :MOST_VALUES].sum(axis=1) == 1).all()
    assert (x[:-1][rare].sum(axis=0)[MOST_VALUES:] > 0).sum() > 8  # spread over them
    assert one.strange(Text.of(["never seen"])) == {}


def test_numbers_as_categories():
    one = entry([3, 1, 3, NAN], categorical=["c"])
    assert one.features == ["c = 3", "c = 1", "c is missing"]
    assert encoded(one, [1.0]).tolist() == encoded(one, ["1"]).tolist() == [[0, 1, 0]]


# --------------------------------------------------------------------------------------------------------------- dates


def test_dates_are_numbers_and_circles():
    cells = [
        f"2020-{month:02}-{day:02} {hour:02}:00" for month in range(1, 13) for day in (1, 15) for hour in (0, 7, 12)
    ]
    one = entry(cells)
    assert isinstance(one, Date)
    assert one.cycles == ("year", "week", "day")
    x = encoded(one, cells)
    days = np.array(cells, "M8[m]").astype(np.float64) / 1440
    np.testing.assert_allclose(x[:, 0], (days - days.mean()) / days.std())
    assert np.square(x[:, 1:3]).sum(axis=1) == pytest.approx(np.ones(len(cells)))
    monday, tuesday, next_monday = (encoded(one, [day])[0, 3:5] for day in ("2024-01-01", "2024-01-02", "2024-01-08"))
    assert monday == pytest.approx([0, 1])  # the week begins there
    assert next_monday == pytest.approx([0, 1])
    assert tuesday == pytest.approx([np.sin(2 * np.pi / 7), np.cos(2 * np.pi / 7)])
    assert encoded(one, ["2020-01-01 06:00"])[0, 5:7] == pytest.approx([1, 0])


def test_dates_that_are_missing_or_none():
    one = entry(["2020-01-01", "2020-01-03", None, "2020-01-31"])
    assert one.features[-1] == "c is missing"
    missing = encoded(one, [None, "soon"])
    assert (missing[0] == missing[1]).all()
    assert missing[0, 0] == encoded(one, ["2020-01-03"])[0, 0]  # the median
    assert (missing[0, 1:-1] == 0).all()
    assert one.strange(Text.of(["soon", "2020-02-01", None])) == {"no date like 2020-01-03": 1}


def test_day_and_month():
    cells = ["1/2/2020", "3/4/2020", "5/5/2020"]
    with pytest.raises(ValueError, match=r"dates such as 1/2/2020, .* pass --dates day-first or --dates month-first"):
        entry(cells)
    assert entry(cells, day_first=True).form == "%d/%m/%Y"
    assert entry(cells, day_first=False).form == "%m/%d/%Y"


def test_one_form_of_dates_reads_its_like():
    one = entry(["2020-01-01", "2020-01-02", "2020-03-01"])
    assert encoded(one, ["2020-01-02T00:00:00Z"]).tolist() == encoded(one, ["2020-01-02"]).tolist()


# ------------------------------------------------------------------------------------------------------------- dropped


@pytest.mark.parametrize(
    ("cells", "name", "reason"),
    [
        ([5, 5, 5], "c", "always 5"),
        (["x", "x"], "c", "always 'x'"),
        ([NAN, NAN], "c", "no values"),
        (["anna", "bert", "carl"], "c", "a text of its own in each row"),
        ([*(f"n{i}" for i in range(99)), "n0"], "c", "a text of its own in nearly each row"),
        ([1, 2, 3], "id", "a number of its own in each row"),
        ([17, 4, 9], "customer_id", "a number of its own in each row"),
        ([3, 1, 2], "X", "a number of its own in each row"),
    ],
)
def test_columns_that_say_nothing(cells, name, reason):
    one = entry(cells, name)
    assert isinstance(one, Dropped)
    assert one.told() == reason


@pytest.mark.parametrize(
    ("cells", "name"),
    [([1, 2, 3], "width"), ([1, 1, 2], "id"), ([1.5, 2, 3], "id"), ([2, 7, 30], "x"), (["a", "b", "a"], "id")],
)
def test_columns_that_say_something(cells, name):
    assert not isinstance(entry(cells, name), Dropped)


def test_a_first_column_without_a_name_numbers_the_rows():
    columns = {"column 1": np.arange(1.0, 6), "b": np.array([1.0, 2, 1, 2, 2])}
    assert isinstance(Plan.decide(Table("t", columns)).entries[0], Dropped)
    assert isinstance(Plan.decide(Table("t", columns, named=False)).entries[0], Number)


def test_asked_for():
    assert entry([1, 2, 3], drop=["c"]).told() == "as asked"
    assert isinstance(entry([1, 2, 3], "id", numeric=["id"]), Number)
    assert isinstance(entry(["a", "b", "c"], categorical=["c"]), Category)
    with pytest.raises(ValueError, match="expected a column for --drop named 'd', got 'c', 'other'"):
        entry([1, 2], drop=["d"])
    with pytest.raises(ValueError, match="holds no number but texts such as 'red'; leave out --numeric c"):
        entry(["red", "blue"], numeric=["c"])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"name": ["a", "b", "c"]}, "'name' holds a text of its own in each row; pass --categorical name to use it"),
        ({"row id": ["a b", "b", "c"]}, "pass --categorical 'row id' to use it"),
        ({"id": [1, 2, 3]}, "'id' holds a number of its own in each row; pass --numeric id to use it"),
        ({"c": [1, 1, 1]}, "it takes one besides the label that is not always the same"),
    ],
)
def test_nothing_left(columns, said):
    with pytest.raises(ValueError, match=r"no column is left to predict from") as refusal:
        Plan.decide(table(**columns))
    assert said in str(refusal.value)


def test_numbers_beyond_the_dtype_are_refused_with_their_place():
    with pytest.raises(ValueError, match=r"column 'c' holds numbers too large to standardise; pass --drop c"):
        entry([1e200, -2e200, 3e200])
    plan = Plan.decide(table(c=[1, 2, 4]))
    with pytest.raises(
        ValueError, match=r"t.csv: row 2, column 'c': the number is too far from the others for float32"
    ):
        plan.apply(table(c=[1, 1e300]), np.float32)


# ----------------------------------------------------------------------------------------------------------------- plan


@pytest.fixture
def mixed():
    return table(
        size=[1, 2, NAN, 4],
        kind=["a", "b", "a", None],
        day=["2020-01-01", "2020-02-01", "2020-03-01", "2020-04-02"],
        name=["w", "x", "y", "z"],
        target=[0, 1, 0, 1],
    )


def test_a_plan_is_json(mixed):
    plan = Plan.decide(mixed, without=["target"])
    again = Plan.from_json(json.loads(json.dumps(plan.to_json(), allow_nan=False)))
    assert again == plan
    assert [one.kind for one in plan.entries] == ["number", "category", "date", "dropped"]
    assert again.apply(mixed).tolist() == plan.apply(mixed).tolist()
    assert plan.apply(mixed).shape == (4, len(plan.features))


def test_rows_that_are_not_given_decide_nothing(mixed):
    train, rest = mixed.take(np.array([0, 1])), mixed.take(np.array([2, 3]))
    plan = Plan.decide(train, without=["target"], drop=["name"])
    assert plan.entries[0] == Number("size", 1.5, 0.5, 1.5, 0)
    assert plan.entries[1].values == ("a", "b")
    assert plan.strange(rest) == {"size": {"missing": 1}, "kind": {"missing": 1}}


def test_columns_are_found_by_name(mixed):
    plan = Plan.decide(mixed, without=["target"])
    turned = Table("u", dict(reversed([*mixed.columns.items(), ("more", mixed.columns["size"])])))
    assert plan.apply(turned).tolist() == plan.apply(mixed).tolist()
    del turned.columns["name"]  # dropped anyway
    plan.apply(turned)
    del turned.columns["kind"]
    with pytest.raises(ValueError, match="u: expected a column named 'kind', got"):
        plan.apply(turned)


def test_columns_are_found_by_place_where_there_are_no_names(mixed):
    plan = Plan.decide(mixed, without=["target"])
    cells = [*mixed.columns.values()]
    bare = Table("u", {f"column {j + 1}": column for j, column in enumerate(cells[:4])}, named=False)
    assert plan.apply(bare).tolist() == plan.apply(mixed).tolist()
    labelled = Table("u", {**bare.columns, "column 5": cells[4]}, named=False)
    assert plan.apply(labelled).tolist() == plan.apply(mixed).tolist()
    wide = Table("u", {**labelled.columns, "column 6": cells[4]}, named=False)
    with pytest.raises(ValueError, match=r"expected 4 features as the model has \(and perhaps a label\), got 6 column"):
        plan.apply(wide)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda plan: plan.pop("named"),
        lambda plan: plan.update(named=1),
        lambda plan: plan["columns"][0].pop("mean"),
        lambda plan: plan["columns"][0].update(mean="0"),
        lambda plan: plan["columns"][0].update(mean=float("inf")),
        lambda plan: plan["columns"][0].update(scale=0.0),
        lambda plan: plan["columns"][0].update(missing=-1),
        lambda plan: plan["columns"][0].update(more=1),
        lambda plan: plan["columns"][0].update(kind="magic"),
        lambda plan: plan["columns"][1].update(values=[1]),
        lambda plan: plan["columns"][1].update(values="ab"),
        lambda plan: plan["columns"][1].update(buckets=10**9),
        lambda plan: plan["columns"][1].update(name="size"),
        lambda plan: plan["columns"][2].update(form="%q"),
        lambda plan: plan["columns"][2].update(cycles=["moon"]),
    ],
)
def test_what_is_no_plan_is_refused(mixed, spoil):
    content = Plan.decide(mixed, without=["target"]).to_json()
    content = json.loads(json.dumps(content))
    spoil(content)
    with pytest.raises((ValueError, KeyError, TypeError)):
        Plan.from_json(content)
