"""Columns of any table, and the one matrix that they become."""

import copy
import pickle
import subprocess
import sys
import uuid
import warnings
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import scipy.sparse

from fastmlp.data import columns
from fastmlp.data.columns import Columns

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

NAN = float("nan")


def matrix_of(X, **settings):
    return Columns(**settings).fit(X).transform(X)


def column_of(values, **settings):
    """A column of objects, beside one that varies so that something is left."""
    X = np.empty((len(values), 2), dtype=object)
    X[:, 0] = values
    X[:, 1] = range(len(values))
    fitted = Columns(**settings).fit(X)
    record = fitted.columns_[0]
    return fitted, record, fitted.transform(X)[:, list(record.positions)]


def assert_rows_are_the_same(fitted, X, n_rows):
    """Read one by one, few at a time, and all together."""
    together = fitted.transform(X)
    assert together.dtype == np.float32
    assert together.flags.c_contiguous
    for start in range(n_rows):
        one = fitted.transform(X[start : start + 1])
        np.testing.assert_array_equal(one, together[start : start + 1])
    np.testing.assert_array_equal(fitted.transform(X[2:7]), together[2:7])
    return together


# --- numbers -------------------------------------------------------------------------


def test_float32_is_passed_through_uncopied_and_its_scaling_told():
    X = np.array([[0, 5], [1, 5], [2, 7], [3, 5], [10, 5]], np.float32)
    fitted = Columns().fit(X)
    assert fitted.transform(X) is X
    assert fitted.transform(X[1:3]).base is X
    np.testing.assert_array_equal(fitted.center_, [2, 5])
    np.testing.assert_array_equal(fitted.scale_, [1 / 2, 2 / 2])
    assert fitted.kinds_.tolist() == [0, 0]
    assert fitted.kinds_.dtype == np.int8
    assert fitted.levels_.tolist() == [0, 0]
    assert fitted.levels_.dtype == np.int32
    assert fitted.has_missing_.tolist() == [False, False]
    in_double = X.astype(np.float64)
    for other in (in_double, np.asfortranarray(X), X[::-1][::-1], X.tolist(),
                  X.astype(">f4"), X.astype(np.float16), X.astype(int)):  # fmt: skip
        found = fitted.transform(other)
        np.testing.assert_array_equal(found, X)
        assert found.flags.c_contiguous
        assert found.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint8, np.int32])
def test_other_numbers_are_scaled_in_double(dtype):
    X = np.array([[0, 5], [1, 5], [2, 7], [3, 5], [10, 5]], dtype)
    fitted = Columns().fit(X)
    expected = [[-1, 0], [-0.5, 0], [0, 2], [0.5, 0], [4, 0]]
    np.testing.assert_array_equal(fitted.transform(X), expected)
    np.testing.assert_array_equal(fitted.center_, [0, 0])
    np.testing.assert_array_equal(fitted.scale_, [1, 1])
    for other in (X.astype(np.float32), X.tolist(), pd.DataFrame(X).to_numpy()):
        np.testing.assert_array_equal(fitted.transform(other), expected)


def test_neighbours_that_float32_cannot_tell_apart():
    X = np.array([[10**15 + i] for i in range(5)])
    np.testing.assert_array_equal(matrix_of(X)[:, 0], [-1, -0.5, 0, 0.5, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_missing_numbers(dtype):
    X = np.array([[0, 1], [NAN, 2], [1, 3], [2, 4]], dtype)
    fitted = Columns().fit(X)
    assert fitted.has_missing_.tolist() == [True, False]
    found = fitted.transform(X)
    assert np.isnan(found[1, 0])
    assert np.isnan(found).sum() == 1
    if dtype == np.float32:
        assert found is X
        np.testing.assert_array_equal(fitted.center_, [1, 2.5])
    else:
        np.testing.assert_array_equal(found[[0, 2, 3], 0], [-1, 0, 1])
    # missing where nothing was in fit: still NaN
    assert np.isnan(fitted.transform(np.array([[1, NAN]]))[0, 1])


@pytest.mark.parametrize("rows", [1, 20])
def test_huge_numbers_stay_finite(rows):
    X = np.array([[0.0, -1e308], [1, 0], [2, 1e308], [1e300, 3], [-1e300, 5]])
    fitted = Columns().fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fitted.transform(np.repeat(X[3:4], rows, axis=0))
        np.testing.assert_array_equal(found[:, 0], np.float32(1e15))
        assert np.isfinite(fitted.transform(X)).all()
        frame = pd.DataFrame(X, columns=["a", "b"]).assign(c=list("xyzxy"))
        assert np.isfinite(matrix_of(frame)).all()
    # wherever they come from
    singles = Columns().fit(np.arange(6, dtype=np.float32).reshape(3, 2))
    top = np.finfo(np.float32).max
    for dtype in (np.float32, np.float64):
        found = singles.transform(np.full((rows, 2), top, dtype))
        assert (np.abs(singles.scale_ * (found - singles.center_)) <= 1.01e15).all()
    assert np.isfinite(singles.transform(np.full((rows, 2), 1e300))).all()


def test_numbers_whose_scale_float32_cannot_hold():
    tiny = np.array([[1e-38], [2e-38], [3e-38]], np.float32)
    np.testing.assert_allclose(matrix_of(tiny)[:, 0], [-1, 0, 1], rtol=1e-5)
    denormal = np.array([[5e-324, 1], [1e-323, 2]])
    assert Columns().fit(denormal).columns_[0].kind == "constant"


def test_a_sample_of_many_rows_is_enough(monkeypatch):
    monkeypatch.setattr("fastmlp.data.encodings.SAMPLE_ROWS", 2000)
    monkeypatch.setattr(columns, "SAMPLE_ROWS", 2000)
    X = np.random.default_rng(0).random((20_000, 3), dtype=np.float32)
    X[:, 1] = np.nan
    X[[7, 9, 11], 1] = [1, 2, 3]  # which no sample would have
    X[:, 2] = 0
    X[77, 2] = 1
    for table in (X, pd.DataFrame(X)):
        fitted = Columns().fit(table)
        np.testing.assert_allclose(fitted.center_, [0.5, 2, 0], atol=0.06)
        np.testing.assert_allclose(fitted.scale_, [2, 1, 2], rtol=0.15)
        again = Columns().fit(table)
        np.testing.assert_array_equal(fitted.scale_, again.scale_)


@pytest.mark.parametrize(
    ("dtype", "unit"),
    [*product((np.float32, np.float64, ">f8"), (1e-3, 1.0, 1e4)), ("f2", 1), ("i2", 9)],
)
def test_a_row_of_numbers_is_read_as_among_others(dtype, unit):
    """Quickly if all is in the usual range, and as carefully as a table if not."""
    rng = np.random.default_rng(0)
    X = (unit * rng.normal([0, 5, 0, -9], 3, (40, 4))).astype(dtype)
    X[:, 2] = 0  # dropped
    if X.dtype.kind == "f":
        top = np.finfo(dtype).max
        X[7, 0] = X[8, [0, 1, 3]] = np.nan
        X[9, 1], X[10, 3] = top, -top
    fitted = Columns().fit(X)
    together = fitted.transform(X)
    wide = np.repeat(X, 2, axis=1)[:, ::2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i, row in enumerate(X):
            for same in (row, wide[i], row.tolist(), np.ma.array(row)):
                (found,) = fitted.transform_row(same)
                assert found.dtype == np.float32
                np.testing.assert_array_equal(found, together[i])
    without = fitted.transform_row(np.ma.array(X[3], mask=[0, 1, 0, 0]))[0]
    np.testing.assert_array_equal(without, [together[3, 0], np.nan, together[3, 2]])
    if X.dtype.kind == "f":
        bad = X[3].copy()
        bad[2] = np.inf
        np.testing.assert_array_equal(fitted.transform_row(bad)[0], together[3])
        bad[3] = -np.inf
        for row in (bad, bad.tolist()):
            with pytest.raises(ValueError, match=r"^Column 3 contains infinity"):
                fitted.transform_row(row)


@pytest.mark.parametrize("scale", [1e-290, 1e-30, 1.0, 1e30, 1e290])
@pytest.mark.parametrize("center", [0.0, 1.0, 1e30, -1e300])
def test_numbers_of_any_size_in_a_row(center, scale):
    X = center + scale * np.array([[-2.0], [-1], [0], [1], [2], [1e10]])
    if len(np.unique(X)) < 3:
        return
    fitted = Columns().fit(X)
    some = [*X[:, 0], 0.0, 1e300, -1e305, 1.7e308, center + scale * 1e15, 5e-324]
    together = fitted.transform(np.array(some)[:, np.newaxis])
    for x, number in zip(some, together, strict=True):
        np.testing.assert_array_equal(fitted.transform_row(np.array([x]))[0], number)
        np.testing.assert_array_equal(fitted.transform_row([x])[0], number)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_names_the_column(value):
    frame = pd.DataFrame({"height": [1.0, 2, 3] * 5, "age": [1.0, 2, 4] * 5})
    bad = frame.copy()
    bad.loc[1, "age"] = value
    text = frame.assign(s=list("abc") * 5)
    bad_text = bad.assign(s=list("abc") * 5)
    message = "^Column 'age' contains infinity"
    for good, wrong in ((frame, bad), (text, bad_text)):
        with pytest.raises(ValueError, match=message):
            Columns().fit(wrong)
        for wrong_rows in (wrong, wrong[1:2]):
            with pytest.raises(ValueError, match=message):
                Columns().fit(good).transform(wrong_rows)
    for dtype in (np.float32, np.float64):
        fitted = Columns().fit(frame.to_numpy(dtype))
        for rows in (bad, bad[1:2]):
            with pytest.raises(ValueError, match=r"^Column 1 contains infinity"):
                fitted.transform(rows.to_numpy(dtype))
        with pytest.raises(ValueError, match=r"^Column 1 contains infinity"):
            Columns().fit(bad.to_numpy(dtype))
    with pytest.raises(ValueError, match=r"^Column 0 contains infinity"):
        column_of([1, 2, 10**400])


def test_columns_that_say_nothing_are_dropped():
    frame = pd.DataFrame({
        "constant": [3.0] * 40,
        "word": ["a"] * 40,
        "day": [date(2020, 1, 1)] * 40,
        "empty": [NAN] * 40,
        "none": [None] * 40,
        "name": [f"person {i}" for i in range(40)],
        "yes": [True] * 40,
        "x": range(40),
    })  # fmt: skip
    fitted = Columns().fit(frame)
    kinds = {column.name: column.kind for column in fitted.columns_}
    assert kinds == {
        "constant": "constant", "word": "constant", "day": "constant",
        "empty": "empty", "none": "empty", "name": "identifier", "yes": "constant",
        "x": "number",
    }  # fmt: skip
    assert fitted.transform(frame).shape == (40, 1)
    assert all(column.positions == () for column in fitted.columns_[:-1])
    assert all(column.note.startswith("Dropped") for column in fitted.columns_[:-1])
    assert "40 different values in 40 rows" in fitted.columns_[5].note
    with pytest.raises(ValueError, match=r"No column of X .*'constant': constant; 'w"):
        Columns().fit(frame.drop(columns="x"))


@pytest.mark.parametrize(
    "value", [3.0, "a", b"a", True, date(2020, 1, 1), timedelta(1), Decimal(7)], ids=str
)
def test_what_is_constant_but_for_missing_values_is_a_flag_of_presence(value):
    fitted, record, found = column_of([value, None, value] * 4)
    assert record.kind == "presence"
    np.testing.assert_array_equal(found[:3, 0], [1, -1, 1])
    assert fitted.kinds_[0] == 1
    one = fitted.transform(np.array([[value, 0]], dtype=object))
    assert one[0, 0] == 1
    frame = pl.DataFrame({"a": [value, None, value] * 4, "b": range(12)})
    np.testing.assert_array_equal(matrix_of(frame)[:, 0], found[:, 0])


# --- categories and flags ------------------------------------------------------------


def test_two_values_are_a_flag():
    for values in (["n", "y", "y"], [False, True, True], [b"n", b"y", b"y"]):
        fitted, record, found = column_of([*values, None])
        assert record.kind == "flag"
        np.testing.assert_array_equal(found[:, 0], [-1, 1, 1, 0])
        assert fitted.kinds_.tolist() == [1, 0]
        assert (fitted.center_[0], fitted.scale_[0]) == (0, 1)
        assert fitted.levels_[0] == 0
        assert fitted.transform(np.array([["what", 1]], object))[0, 0] == 0
    array = np.array([[False, True], [True, True], [False, False]])
    np.testing.assert_array_equal(matrix_of(array), np.where(array, 1, -1))


def test_levels_are_in_a_stable_order_and_missing_is_the_last():
    fitted, record, found = column_of(["b", "c", None, "a", "c"])
    assert record.kind == "category"
    np.testing.assert_array_equal(found[:, 0], [2, 3, 4, 1, 3])
    assert fitted.levels_.tolist() == [5, 0]
    assert (fitted.center_[0], fitted.scale_[0]) == (0, 1)
    fitted, _, found = column_of(["b", "c", "a", "c"])
    np.testing.assert_array_equal(found[:, 0], [2, 3, 1, 3])
    assert fitted.levels_.tolist() == [4, 0]
    unseen = np.array([["d", 1], [None, 1], [NAN, 1], [pd.NA, 1], [3, 1]], object)
    np.testing.assert_array_equal(fitted.transform(unseen)[:, 0], 0)
    np.testing.assert_array_equal(fitted.transform(np.tile(unseen, (4, 1)))[:, 0], 0)


def test_the_order_that_a_dtype_has():
    sizes = ["small", "middle", "large", "huge"]
    values = ["large", "small", None, "middle"]
    pandas = pd.DataFrame({"size": pd.Categorical(values, sizes, ordered=True)})
    polars = pl.DataFrame({"size": values}, schema={"size": pl.Enum(sizes)})
    for frame in (pandas, polars):
        fitted = Columns().fit(frame)
        # of those that were there, and missing
        np.testing.assert_array_equal(fitted.transform(frame)[:, 0], [3, 1, 4, 2])
        assert fitted.levels_.tolist() == [5]
        for other in (pandas, polars, pd.DataFrame({"size": values})):
            np.testing.assert_array_equal(fitted.transform(other)[:, 0], [3, 1, 4, 2])


def test_the_order_of_categories_that_are_numbers():
    frame = pd.DataFrame({"a": pd.Categorical([1, 2, 3, None], [3, 1, 2, 7])})
    fitted = Columns().fit(frame)
    np.testing.assert_array_equal(fitted.transform(frame)[:, 0], [2, 3, 1, 4])
    with pytest.raises(ValueError, match="'a' has values of type tuple"):
        Columns().fit(pd.DataFrame({"a": pd.Categorical([(1, 2), (3, 4)])}))


def test_numbers_declared_as_categories():
    X = np.array([[10, 1.5], [2, 2.5], [NAN, 3.5], [30, 4.5], [2, 0]])
    for chosen in ([True, False], [0], np.array([0])):
        fitted = Columns(chosen).fit(X)
        np.testing.assert_array_equal(fitted.transform(X)[:, 0], [2, 1, 4, 3, 1])
        assert fitted.kinds_.tolist() == [2, 0]
    whole = np.array([[2, 1], [10, 1], [5, 1]])
    np.testing.assert_array_equal(fitted.transform(whole)[:, 0], [1, 2, 0])
    np.testing.assert_array_equal(
        fitted.transform(np.tile(whole, (5, 1)))[:3, 0], [1, 2, 0]
    )
    frame = pd.DataFrame({"code": [1, 2, 3, 1], "x": [1, 2, 3, 5]})
    fitted = Columns(["code"]).fit(frame)
    for dtype in (float, "Int64", "category", np.uint8, object, np.float32):
        other = frame.astype({"code": dtype})
        np.testing.assert_array_equal(fitted.transform(other)[:, 0], [1, 2, 3, 1])
    other = frame.astype({"code": str})
    np.testing.assert_array_equal(fitted.transform(other)[:, 0], 0)
    # of two values: a flag
    assert Columns([0]).fit(np.array([[0, 1], [1, 2], [0, 3]])).kinds_.tolist() == [
        1,
        0,
    ]
    sparse = scipy.sparse.csr_array(np.array([[0, 1], [1, 2], [5, 3]]))
    np.testing.assert_array_equal(matrix_of(sparse, categorical_features=[0])[:, 0],
                                  [1, 2, 3])  # fmt: skip


def test_a_dtype_of_categories_of_numbers_counts_if_it_may():
    frame = pd.DataFrame({"a": pd.Categorical([3, 1, 2, None]), "s": list("pqrs")})
    np.testing.assert_array_equal(matrix_of(frame)[:, 0], [3, 1, 2, 4])
    fitted = Columns(None).fit(frame)
    assert fitted.kinds_.tolist() == [0, 2]  # text can be nothing else
    np.testing.assert_array_equal(fitted.transform(frame)[:3, 0], [1, -1, 0])
    assert np.isnan(fitted.transform(frame)[3, 0])
    assert Columns(["s"]).fit(frame).kinds_.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([True], "boolean mask must have shape"),
        ([2], "integer indices must be in"),
        ([-1], "integer indices must be in"),
        (["z"], "item value 'z' which is not a valid feature name"),
        ([0.5], "must be an array-like of bool, int or str, got: float"),
        (["a", 1], "must be an array-like"),
    ],
)
def test_categorical_features_that_are_none(chosen, message):
    if chosen == ["a", 1]:
        chosen = np.array(chosen, dtype=object)
    with pytest.raises(ValueError, match=message):
        Columns(chosen).fit(pd.DataFrame({"a": [1, 2], "b": [3, 4]}))
    with pytest.raises(ValueError, match="fitted on data without feature names"):
        Columns(["a"]).fit(np.ones((2, 2)))
    assert Columns([]).fit(np.array([[1, 2], [3, 4]])).kinds_.tolist() == [0, 0]


def test_rare_levels_share_the_code_of_unknown_ones():
    often = [f"level {i:02}" for i in range(30)] * 5
    seldom = ["once 1", "once 2", "once 3"]
    fitted, record, found = column_of([*often, *seldom, None])
    assert fitted.levels_[0] == 1 + 30 + 1
    np.testing.assert_array_equal(found[:30, 0], range(1, 31))
    np.testing.assert_array_equal(found[-4:, 0], [0, 0, 0, 31])
    assert "33 levels, of which 30 have a code" in record.note
    fitted, _, found = column_of([*often, *seldom[:2]])  # 32 levels
    assert fitted.levels_[0] == 33
    np.testing.assert_array_equal(found[-2:, 0], [31, 32])


def test_only_the_most_frequent_levels_have_a_code():
    values = [f"{i:04}" for i in range(1200)] * 2 + [f"{i:04}" for i in range(500, 700)]
    fitted, _, found = column_of(values)
    assert fitted.levels_[0] == 1001
    codes = dict(zip(values, found[:, 0], strict=True))
    assert sorted(codes.values()) == [0] * 200 + list(range(1, 1001))
    assert codes["0000"] == 1  # of those that are equally frequent, the first
    assert all(codes[f"{i:04}"] > 0 for i in range(500, 700))
    assert codes["1199"] == 0


def test_identifiers_need_some_rows():
    names = [f"person {i}" for i in range(33)]
    assert column_of(names)[1].kind == "identifier"
    assert column_of(names[:32])[1].kind == "category"
    assert column_of([*names, *names[:1]])[1].kind == "identifier"  # 97 %
    assert column_of([*names, *names[:3]])[1].kind == "category"  # 92 %


def test_numbers_that_are_text_are_categories_and_it_is_said():
    _, record, found = column_of(["10", "9", "10", "2.5"])
    assert record.kind == "category"
    np.testing.assert_array_equal(found[:, 0], [1, 3, 1, 2])
    assert "numbers that are text" in record.note
    assert "numbers" not in column_of(["10", "9", "x"])[1].note


def test_numbers_among_text_are_levels_too():
    fitted, record, found = column_of([5, "b", "a", 2.0, None, True])
    assert record.kind == "category"
    # true is 1; numbers by value, then text, then missing
    np.testing.assert_array_equal(found[:, 0], [3, 5, 4, 2, 6, 1])
    again = np.array([[np.float32(5), 0], [2, 0], ["5", 0]], object)
    np.testing.assert_array_equal(fitted.transform(again)[:, 0], [3, 2, 0])


def test_objects_that_are_numbers_are_numbers():
    values = [1, 2.0, np.float32(3), Decimal(4), Fraction(5), np.int8(6), True, None]
    fitted, record, found = column_of(values)
    assert record.kind == "number"
    expected = (np.array([1, 2, 3, 4, 5, 6, 1]) - 3) / 3  # quartiles: 1.5 and 4.5
    np.testing.assert_array_equal(found[:7, 0], expected.astype(np.float32))
    assert np.isnan(found[7, 0])
    assert fitted.has_missing_[0]
    ids = [uuid.UUID(int=i) for i in (1, 2, 3)] * 20
    assert column_of(ids)[0].levels_[0] == 4


MISSING = [None, NAN, np.float32(NAN), np.nan, Decimal("NaN"), pd.NA, pd.NaT,
           np.datetime64("NaT"), np.timedelta64("NaT")]  # fmt: skip


@pytest.mark.parametrize("missing", MISSING, ids=lambda value: f"{value!r}")
@pytest.mark.parametrize(
    "values",
    [
        ["a", "b", "c"],
        [1.0, 2, 3],
        [True, False, True],
        [date(2020, 1, 1), date(2020, 2, 3), date(2021, 1, 1)],
        [timedelta(1), timedelta(2), timedelta(3)],
    ],
    ids=["text", "numbers", "flags", "dates", "durations"],
)
def test_missing_is_missing_whatever_it_is_called(values, missing):
    fitted, record, found = column_of([*values, None] * 3)
    _, other_record, other = column_of([*values, missing] * 3)
    assert record.kind == other_record.kind
    np.testing.assert_array_equal(found, other)
    one = fitted.transform(np.array([[missing, 3]], dtype=object))
    np.testing.assert_array_equal(one[0, :-1], found[3])


# --- dates and durations -------------------------------------------------------------


def cycle(part):
    return [np.sin(2 * np.pi * part), np.cos(2 * np.pi * part)]


def test_dates_are_an_instant_and_places_in_cycles():
    dates = [
        datetime(2024, 1, 1, 6),
        datetime(2024, 1, 2, 18),
        datetime(2024, 3, 1, 12),
    ]
    fitted = Columns().fit(pd.DataFrame({"when": [*dates, None]}))
    assert fitted.columns_[0].kind == "date"
    assert fitted.kinds_.tolist() == [0, 1, 1, 1, 1, 1, 1]
    assert fitted.has_missing_.tolist() == [True] + [False] * 6
    assert fitted.columns_[0].positions == tuple(range(7))
    found = fitted.transform(pd.DataFrame({"when": [*dates, None]}))
    seconds = np.array([(d - dates[1]).total_seconds() for d in dates])
    spread = (seconds[2] - seconds[0]) / 2
    np.testing.assert_allclose(found[:3, 0], seconds / spread, rtol=1e-6)
    assert np.isnan(found[3, 0])
    np.testing.assert_array_equal(found[3, 1:], 0)
    for row, d in zip(found[:3], dates, strict=True):
        day = d.timetuple().tm_yday - 1
        expected = cycle(d.hour / 24) + cycle(d.weekday() / 7) + cycle(day / 365.25)
        np.testing.assert_allclose(row[1:], expected, atol=1e-6)


def test_only_cycles_that_vary():
    mondays = [date(2024, 1, 1) + timedelta(7 * i) for i in range(5)]
    _, record, _ = column_of(mondays)
    assert len(record.positions) == 3
    assert "day of year" in record.note
    assert "day of week" not in record.note
    hours = pd.DataFrame({"t": pd.date_range("2024-01-01", periods=20, freq="h")})
    assert Columns().fit(hours).kinds_.tolist() == [0, 1, 1]
    # before 1970
    old = pd.DataFrame({"t": [datetime(1960, 2, 29, 23), datetime(1961, 1, 1, 1)]})
    found = matrix_of(old)
    np.testing.assert_allclose(found[0, 5:], cycle(59 / 365.25), atol=1e-6)
    np.testing.assert_allclose(found[0, 1:3], cycle(23 / 24), atol=1e-6)


def test_dates_of_every_library_are_the_same():
    dates = [datetime(2024, 1, 1, 6), datetime(2024, 1, 2, 18), None] * 5
    dates += [
        datetime(9999, 12, 31),
        datetime(1677, 1, 1, 0, 0, 1),
        datetime(2000, 1, 1),
    ]
    east = timezone(timedelta(hours=5))
    frames = {
        "pandas": pd.DataFrame({"t": pd.Series(dates, dtype="M8[us]")}),
        "seconds": pd.DataFrame({"t": pd.Series(dates, dtype="M8[s]")}),
        "object": pd.DataFrame({"t": pd.Series(dates, dtype=object)}),
        "polars": pl.DataFrame({"t": dates}),
        "milliseconds": pl.DataFrame({"t": dates}, schema={"t": pl.Datetime("ms")}),
        "aware": pd.DataFrame({
            "t": pd.Series([d and d.replace(tzinfo=UTC) for d in dates], dtype=object)
        }),
        "zone": pd.DataFrame({"t": pd.Series(dates, dtype="M8[us]")
                              .dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")}),
    }  # fmt: skip
    fitted = Columns().fit(frames["pandas"])
    expected = fitted.transform(frames["pandas"])
    for name, frame in frames.items():
        if name == "zone":  # what is shown must be a date of Python
            frame = frame[:15]
        found = assert_rows_are_the_same(fitted, frame, len(frame))
        np.testing.assert_array_equal(found, expected[: len(frame)], err_msg=name)
        if name != "zone":
            np.testing.assert_array_equal(matrix_of(frame), expected, err_msg=name)
    moved = np.array([[datetime(2024, 1, 1, 11, tzinfo=east)]], dtype=object)
    moved = pd.DataFrame(moved, columns=["t"])
    np.testing.assert_array_equal(fitted.transform(moved)[0], expected[0])
    array = np.array(dates, dtype="M8[us]").reshape(-1, 1)
    np.testing.assert_array_equal(matrix_of(array), expected)


def test_periods_and_days():
    periods = pd.DataFrame({"t": pd.period_range("2020-01", periods=12, freq="M")})
    days = pl.DataFrame({"t": [date(2020, i, 1) for i in range(1, 13)]})
    fitted = Columns().fit(days)
    found = assert_rows_are_the_same(fitted, days, 12)
    np.testing.assert_array_equal(assert_rows_are_the_same(fitted, periods, 12), found)
    np.testing.assert_array_equal(matrix_of(periods), found)


def test_durations_are_numbers():
    spans = [timedelta(seconds=i) for i in (0, 1, 2, 3, 10)] * 2
    frames = [
        pd.DataFrame({"t": spans}),
        pl.DataFrame({"t": spans}),
        pd.DataFrame({"t": pd.Series(spans, dtype=object)}),
        pd.DataFrame({"t": [(datetime.min + span).time() for span in spans]}),
        pl.DataFrame({"t": [(datetime.min + span).time() for span in spans]}),
    ]
    for frame in frames:
        fitted = Columns().fit(frame)
        assert fitted.columns_[0].kind == "duration"
        found = assert_rows_are_the_same(fitted, frame, 10)
        np.testing.assert_array_equal(found[:5, 0], [-1, -0.5, 0, 0.5, 4])
        for other in frames:
            np.testing.assert_array_equal(fitted.transform(other), found)
    assert column_of([time(1), time(2)])[1].kind == "duration"


# --- kinds of tables -----------------------------------------------------------------


def plain_columns(n_rows, seed=0):
    """Columns of every kind, as lists of Python's own values, with None."""
    chance = np.random.default_rng(seed)
    start = datetime(2020, 1, 1)

    def some(values):
        lost = chance.random(n_rows) < 0.1
        return [None if no else v for v, no in zip(values, lost, strict=True)]

    return {
        "x": chance.normal(size=n_rows).tolist(),
        "x, at times": some(chance.normal(size=n_rows).tolist()),
        "count": chance.integers(0, 50, n_rows).tolist(),
        "count, at times": some(chance.integers(0, 50, n_rows).tolist()),
        "flag": (chance.random(n_rows) < 0.5).tolist(),
        "flag, at times": some((chance.random(n_rows) < 0.5).tolist()),
        "word": chance.choice(["red", "green", "blue"], n_rows).tolist(),
        "word, at times": some(chance.choice(["p", "q", "r"], n_rows).tolist()),
        "when": some([start + timedelta(hours=float(h)) for h in
                      chance.integers(0, 9999, n_rows)]),
        "how long": some([timedelta(minutes=float(m)) for m in
                          chance.integers(0, 99, n_rows)]),
        "price": some([Decimal(int(c)) / 4 for c in chance.integers(0, 99, n_rows)]),
        "there": some(["x"] * n_rows),
    }  # fmt: skip


def table(kind, data):
    if kind == "polars":
        return pl.DataFrame(data)
    if kind == "objects":
        return pd.DataFrame(data, dtype=object)
    frame = pd.DataFrame(data)
    if kind == "nullable":
        return frame.convert_dtypes()
    if kind == "category":
        words = [name for name in data if name.startswith("word")]
        return frame.astype(dict.fromkeys(words, "category"))
    return frame


KINDS = ["pandas", "objects", "nullable", "category", "polars"]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_on_one_kind_of_table_reads_the_others(kind, seed):
    data = plain_columns(60, seed)
    frame = table(kind, data)
    fitted = Columns().fit(frame)
    found = assert_rows_are_the_same(fitted, frame, 60)
    for other_kind in KINDS:
        other = table(other_kind, data)
        np.testing.assert_array_equal(
            assert_rows_are_the_same(fitted, other, 60), found, err_msg=other_kind
        )
    words = [column.kind for column in fitted.columns_]
    assert words == ["number"] * 4 + ["flag"] * 2 + ["category"] * 2 + [
        "date", "duration", "number", "presence"
    ]  # fmt: skip
    later = plain_columns(40, seed + 100)
    later["word"][3] = "violet"
    found = assert_rows_are_the_same(fitted, table("pandas", later), 40)
    np.testing.assert_array_equal(
        assert_rows_are_the_same(fitted, table("polars", later), 40), found
    )
    assert found[3, fitted.columns_[6].positions[0]] == 0


def test_fit_gives_the_same_on_every_kind_of_table():
    data = plain_columns(60)
    expected = Columns().fit(table("pandas", data))
    for kind in KINDS:
        fitted = Columns().fit(table(kind, data))
        for name in ("kinds_", "levels_", "has_missing_", "center_", "scale_"):
            np.testing.assert_array_equal(
                getattr(fitted, name), getattr(expected, name), err_msg=f"{kind} {name}"
            )
        assert fitted.columns_ == expected.columns_


def test_arrow_tables_and_columns():
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("narwhals.stable.v2")
    frame = table("pandas", plain_columns(60))
    fitted = Columns().fit(frame)
    expected = fitted.transform(frame)
    arrow = pyarrow.Table.from_pandas(frame, preserve_index=False)
    np.testing.assert_array_equal(fitted.transform(arrow), expected)
    np.testing.assert_array_equal(fitted.transform(arrow.slice(0, 1)), expected[:1])
    np.testing.assert_array_equal(matrix_of(arrow), expected)
    backed = arrow.to_pandas(types_mapper=pd.ArrowDtype)
    found = assert_rows_are_the_same(fitted, backed, 60)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(matrix_of(backed), expected)


def test_frames_that_narwhals_knows():
    narwhals = pytest.importorskip("narwhals.stable.v2")
    data = plain_columns(60)
    fitted = Columns().fit(table("pandas", data))
    expected = fitted.transform(table("pandas", data))
    frame = narwhals.from_native(table("polars", data))
    found = assert_rows_are_the_same(fitted, frame, 60)
    np.testing.assert_array_equal(found, expected)
    single = pl.DataFrame({"a": [1.0, 2, 4]}, schema={"a": pl.Float32})
    assert Columns().fit(narwhals.from_native(single)).center_.tolist() == [2]


def test_single_precision_of_nullable_and_polars_columns():
    values = [0.1, 0.2, None, 0.3, 0.7]
    numbers = np.array(values, np.float32)
    pandas = pd.DataFrame({"a": pd.array(values, "Float32")})
    polars = pl.DataFrame({"a": values}, schema={"a": pl.Float32})
    for frame in (pandas, polars, pd.DataFrame({"a": numbers})):
        fitted = Columns().fit(frame)
        assert fitted.scale_[0] != 1
        np.testing.assert_array_equal(fitted.transform(frame)[:, 0], numbers)
        np.testing.assert_array_equal(fitted.transform(frame[:1])[:, 0], numbers[:1])
        np.testing.assert_array_equal(
            fitted.transform(pd.DataFrame({"a": numbers.astype(float)}))[:, 0], numbers
        )


def test_more_dtypes():
    frame = pd.DataFrame({
        "interval": pd.cut(np.arange(20), 4),
        "sparse": pd.arrays.SparseArray(np.arange(20) % 4 * 1.0),
        "sparse flag": pd.arrays.SparseArray(np.arange(20) % 2 == 1),
        "half": np.arange(20, dtype=np.float16),
    })  # fmt: skip
    fitted = Columns().fit(frame)
    found = assert_rows_are_the_same(fitted, frame, 20)
    np.testing.assert_array_equal(found[:, 0], np.repeat([1, 2, 3, 4], 5))
    np.testing.assert_allclose(found[:4, 1], np.array([-1.5, -0.5, 0.5, 1.5]) / 1.5)
    np.testing.assert_array_equal(found[:4, 2], [-1, 1, -1, 1])
    polars = pl.DataFrame(
        {
            "big": [1, 2, 3] * 4,
            "kind": ["a", "c", "b"] * 4,
            "bytes": [b"x", b"y", None] * 4,
        },
        schema={"big": pl.Int128, "kind": pl.Categorical, "bytes": pl.Binary},
    )
    found = assert_rows_are_the_same(Columns().fit(polars), polars, 12)
    np.testing.assert_array_equal(found[:3], [[-0.5, 1, -1], [0, 3, 1], [0.5, 2, 0]])


def test_lists_and_arrays_of_mixed_cells():
    rows = [[1, "a", True], [2, "b", False], [3, "c", True], [4, None, None]] * 3
    expected = [[-1, 1, 1], [-1 / 3, 2, -1], [1 / 3, 3, 1], [1, 4, 0]] * 3
    expected = np.array(expected, np.float32)
    fitted = Columns().fit(rows)
    np.testing.assert_allclose(fitted.transform(rows), expected * [[2 / 2, 1, 1]])
    array = np.array(rows, dtype=object)
    np.testing.assert_array_equal(fitted.transform(array), fitted.transform(rows))
    assert_rows_are_the_same(fitted, array, 12)
    text = np.array([["a", "x"], ["b", "y"], ["c", "x"]])
    for dtype in ("U3", "S3", object):
        np.testing.assert_array_equal(
            matrix_of(text.astype(dtype)), [[1, -1], [2, 1], [3, -1]]
        )
    np.testing.assert_array_equal(matrix_of([[1], [2], [3]])[:, 0], [-1, 0, 1])
    masked = np.ma.array([[1.0], [2], [3], [99]], mask=[[0], [0], [0], [1]])
    np.testing.assert_array_equal(matrix_of(masked)[:, 0], [-1, 0, 1, NAN])


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.csc_array,
                                  scipy.sparse.coo_array])  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_sparse_matrices(make, dtype):
    dense = np.random.default_rng(0).integers(0, 3, (30, 4)).astype(dtype)
    fitted = Columns().fit(make(dense))
    same = Columns().fit(dense)
    np.testing.assert_array_equal(fitted.transform(make(dense)), same.transform(dense))
    np.testing.assert_array_equal(fitted.transform(dense), same.transform(dense))
    np.testing.assert_array_equal(fitted.scale_, same.scale_)
    if np.dtype(dtype).kind == "f":
        dense[3, 2] = np.nan
        assert np.isnan(fitted.transform(make(dense))[3, 2])


def test_sparse_matrices_that_are_too_large():
    X = scipy.sparse.csr_array((10**6, 10**4), dtype=np.float32)
    with pytest.raises(ValueError, match=r"would take 37.3 GiB of memory"):
        Columns().fit(X)
    with pytest.raises(ValueError, match="must have real numbers"):
        Columns().fit(scipy.sparse.csr_array(np.array([[1j]])))


# --- names and shapes ----------------------------------------------------------------


def test_columns_are_found_by_name():
    frame = pd.DataFrame({"a": list("xyz"), "b": [1.0, 2, 3], "c": [5, 7, 6]})
    fitted = Columns().fit(frame)
    assert fitted.feature_names_in_.tolist() == ["a", "b", "c"]
    assert fitted.feature_names_in_.dtype == object
    assert fitted.n_features_in_ == 3
    expected = fitted.transform(frame)
    mixed = frame[["c", "a", "b"]]
    for other in (mixed, pl.DataFrame(mixed.to_dict("list")), pd.concat([mixed] * 5)):
        np.testing.assert_array_equal(fitted.transform(other)[:3], expected)
    numbers = Columns().fit(frame[["b", "c"]])
    np.testing.assert_array_equal(
        numbers.transform(frame[["c", "b"]]), numbers.transform(frame[["b", "c"]])
    )


def test_names_that_do_not_match():
    frame = pd.DataFrame({"a": list("xyz"), "b": [1.0, 2, 3]})
    fitted = Columns(caller="Model").fit(frame)
    begins = "The feature names should match those that were passed during fit.\n"
    missing = f"^{begins}Feature names seen at fit time, yet now missing:\n- b\n$"
    unseen = f"^{begins}Feature names unseen at fit time:\n- z\n$"
    with pytest.raises(ValueError, match=missing):
        fitted.transform(frame[["a"]])
    with pytest.raises(ValueError, match=unseen):
        fitted.transform(frame.assign(z=1))
    many = frame.assign(**{f"n{i}": 1 for i in range(7)})
    with pytest.raises(ValueError, match=r"- n4\n- \.\.\.\n$"):
        fitted.transform(many)
    with pytest.warns(UserWarning, match="^X does not have valid feature names, but"):
        found = fitted.transform(frame.to_numpy())
    np.testing.assert_array_equal(found, fitted.transform(frame))
    with pytest.warns(UserWarning, match="^X has feature names, but Model was"):
        Columns(caller="Model").fit(frame.to_numpy()).transform(frame)
    other = Columns(caller="Model").fit(np.array([[1, 2, 3], [4, 5, 6]]))
    message = "^X has 2 features, but Model is expecting 3 features as input.$"
    with pytest.raises(ValueError, match=message):
        other.transform(np.ones((1, 2)))
    assert not hasattr(fitted.fit(frame.to_numpy()), "feature_names_in_")


def test_names_that_are_no_names():
    frame = pd.DataFrame([[1, 2], [3, 5]], columns=["a", "a"])
    with pytest.raises(ValueError, match=r"with the same name: \['a'\]"):
        Columns().fit(frame)
    with pytest.raises(TypeError, match="Feature names are only supported if"):
        Columns().fit(frame.set_axis(["a", 1], axis=1))
    fitted = Columns().fit(frame.set_axis([5, 7], axis=1))
    assert not hasattr(fitted, "feature_names_in_")
    assert [column.name for column in fitted.columns_] == [0, 1]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones(3), "Expected 2D array, got 1D array instead"),
        ([1, 2], "Expected 2D array, got 1D array instead"),
        (np.float64(3), "Expected 2D array, got scalar array instead"),
        (np.ones((2, 2, 2)), "Found array with dim 3"),
        (np.ones((0, 2)), r"0 sample\(s\) \(shape=\(0, 2\)\) while a minimum of 1 is"),
        (np.ones((2, 0)), r"0 feature\(s\) \(shape=\(2, 0\)\) while a minimum of 1 is"),
        (pd.DataFrame({"a": []}), r"0 sample\(s\) \(shape=\(0, 1\)\) while a minimum"),
        (pl.DataFrame(), r"Found array with 0 sample\(s\)"),
        (pd.Series([1, 2]), "Expected a 2-dimensional container"),
        (np.ones((2, 2)) * 1j, "Complex data not supported"),
        (np.zeros(2, dtype=[("a", int)]), "structured array"),
        ([[1, 2], [3]], "inhomogeneous"),
    ],
    ids=str,
)
def test_what_is_no_table(X, message):
    with pytest.raises(ValueError, match=message):
        Columns().fit(X)
    if message != "inhomogeneous":
        with pytest.raises(ValueError, match=message):
            Columns().fit(np.arange(4).reshape(2, 2)).transform(X)


@pytest.mark.parametrize(
    ("cell", "word"),
    [([1, 2], "list"), ({"a": 1}, "dict"), ((1, 2), "tuple"), (1j, "complex"),
     (np.ones(2), "ndarray"), (object(), "object"), ({1}, "set"),
     (np.complex64(1), "complex64")],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_cells_that_no_column_may_have(cell, word):
    message = f"^Column 'odd' has values of type {word}: a column may"
    good = {"even": range(10), "odd": list("abcde") * 2}
    bad = pd.DataFrame({**good, "odd": pd.Series([None] * 9 + [cell], dtype=object)})
    with pytest.raises(ValueError, match=message):
        Columns().fit(bad)
    for values in (
        list("abcde") * 2,
        list(range(10)),
        ["a", None] * 5,
        [True, False] * 5,
    ):
        fitted = Columns().fit(pd.DataFrame({**good, "odd": values}))
        for rows in (bad, bad[9:]):
            with pytest.raises(ValueError, match=message):
                fitted.transform(rows)


KINDS_OF_COLUMNS = {
    "numbers": [1.5, 2.5, 4.5] * 5,
    "dates": [date(2020, 1, i) for i in (1, 2, 3)] * 5,
    "durations": [timedelta(i) for i in (1, 2, 3)] * 5,
    "text": ["1", "2", "3"] * 5,
}


@pytest.mark.parametrize("had", ["numbers", "dates", "durations"])
@pytest.mark.parametrize("has", KINDS_OF_COLUMNS)
@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_a_column_that_has_become_something_else(had, has, make):
    fitted = Columns().fit(make({"age": KINDS_OF_COLUMNS[had]}))
    later = make({"age": KINDS_OF_COLUMNS[has]})
    if had == has:
        fitted.transform(later)
        return
    message = rf"^Column 'age' had {had} in fit, and has {has} now \(such as "
    for rows in (later, later[:1]):
        with pytest.raises(ValueError, match=message):
            fitted.transform(rows)


def test_a_column_of_text_may_become_something_else():
    """Of which nothing is known."""
    fitted = Columns().fit(pd.DataFrame({"a": list("xyz") * 5}))
    for values in KINDS_OF_COLUMNS.values():
        later = pd.DataFrame({"a": values})
        np.testing.assert_array_equal(assert_rows_are_the_same(fitted, later, 15), 0)


def test_dates_declared_as_categories():
    values = KINDS_OF_COLUMNS["dates"]
    for make in (pd.DataFrame, pl.DataFrame):
        fitted = Columns(["a"]).fit(make({"a": values}))
        assert fitted.levels_.tolist() == [4]
        for other in (pd.DataFrame, pl.DataFrame):
            found = assert_rows_are_the_same(fitted, other({"a": values}), 15)
            np.testing.assert_array_equal(found[:, 0], [1, 2, 3] * 5)


# --- the object itself ---------------------------------------------------------------


def plain(value):
    """Whether it is made of NumPy's and Python's own values, and of ours."""
    if isinstance(value, dict):
        return all(map(plain, [*value.keys(), *value.values()]))
    if isinstance(value, list | tuple):
        return all(map(plain, value))
    if type(value).__module__.startswith("fastmlp"):
        return plain(vars(value))
    return value is None or type(value) in (str, int, float, bool, np.ndarray)


def test_pickles_and_copies_hold_only_plain_values():
    frame = table("category", plain_columns(60)).assign(cut=pd.cut(np.arange(60), 4))
    fitted = Columns().fit(frame)
    assert plain(vars(fitted))
    expected = fitted.transform(frame)
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(other.transform(frame), expected)
        np.testing.assert_array_equal(other.transform(frame[:1]), expected[:1])
        assert other.summary() == fitted.summary()


def test_summary_says_what_is_done():
    frame = pd.DataFrame(
        {"colour": ["red", "blue", "green"], "constant": 1, "x": [1, 2, 4]}
    )
    lines = Columns().fit(frame).summary().splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["column", "kind", "makes"],
        ["colour", "category", "1"],
        ["constant", "constant", "0"],
        ["x", "number", "1"],
    ]
    assert lines[2].endswith("Dropped: it is constant.")


def test_no_library_of_frames_is_needed():
    code = (
        "import sys; sys.modules.update(pandas=None, polars=None, pyarrow=None);"
        "import numpy as np; from fastmlp.data.columns import Columns;"
        "X = np.array([[1, 'a'], [2, 'b']], object);"
        "assert Columns().fit(X).transform([[1, 'a']]).tolist() == [[-1, -1]]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
