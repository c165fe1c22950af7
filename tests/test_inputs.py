"""What X may not be: which column, why, and what to do."""

import datetime
import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_iris

from fastmlp import MLPClassifier, MLPRegressor

X, y = load_iris(return_X_y=True)
SHORT = {"max_iter": 2, "random_state": 0}
CITIES = {"age": [1.0, 2.0] * 5, "city": ["Bern", "Paris"] * 5}
WHEN = np.array(["2024-01-01", "2024-05-17"] * 5, "M8[D]")
LABELS = [0, 1] * 5


@pytest.mark.parametrize("use", ["fit", "predict", "validate"])
@pytest.mark.parametrize("kind", ["array", "pandas", "polars", "sparse"])
@pytest.mark.parametrize(
    ("value", "cure"),
    [(np.nan, r"SimpleImputer\(\)"), (np.inf, "leave these rows out")],
)
def test_missing_and_infinite_values_are_located(value, cure, kind, use):
    bad = X.copy()
    bad[[3, 5], 2], bad[7, 0] = value, value
    names = ["a", "b", "c", "d"]
    make = {
        "array": np.array,
        "pandas": lambda X: pd.DataFrame(X, columns=names),
        "polars": lambda X: pl.DataFrame(X, schema=names),
        "sparse": csr_array,
    }[kind]
    columns = "'a'.*'c'" if kind in ("pandas", "polars") else "0.*2"
    a, c = columns.split(".*")
    what = "NaN" if np.isnan(value) else "infinity"
    pattern = rf"Input X contains {what}.*: 3 values, in columns {a} \(1\), {c} \(2\)"
    model = MLPClassifier(**SHORT).fit(make(X), y)
    call = {
        "fit": lambda: model.fit(make(bad), y),
        "predict": lambda: model.predict(make(bad)),
        "validate": lambda: model.fit(make(X), y, X_val=make(bad), y_val=y),
    }[use]
    with pytest.raises(ValueError, match=f"{pattern}.*{cure}"):
        call()


@pytest.mark.parametrize(
    "given",
    [
        pd.DataFrame(CITIES),
        pd.DataFrame(CITIES).astype({"city": "category"}),
        pd.DataFrame(CITIES).astype({"city": object}),
        pl.DataFrame(CITIES),
        pl.DataFrame(CITIES).with_columns(pl.col("city").cast(pl.Categorical)),
    ],
    ids=["pandas", "category", "object", "polars", "polars category"],
)
def test_columns_of_text_are_named(given):
    with pytest.raises(
        ValueError, match=r"text in column 'city' \(such as 'Bern'\).*\["
    ) as e:
        MLPClassifier(**SHORT).fit(given, LABELS)
    assert "OneHotEncoder(handle_unknown='ignore'), ['city']" in str(e.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.array([["1.5", "2"]] * 10), r"text in column 0 \(such as '1.5'\)"),
        ([["1.5", "2"]] * 10, r"text in column 0 \(such as '1.5'\)"),
        ([[0, 1]] * 9 + [[0, "1.5"]], "text in column 0"),
        (np.array([[0, "a"]] * 10, object), r"text in column 1 \(such as 'a'\)"),
        (np.array([[b"1", b"2"]] * 10), "text in column 0"),
        (WHEN.reshape(-1, 1), r"dates in column 0 \(such as datetime.date\(2024, 1"),
        (np.array([[datetime.date(2024, 1, 1)]] * 10, object), "dates in column 0"),
        ((WHEN - WHEN[0]).reshape(-1, 1), "durations in column 0"),
        (pd.DataFrame({"a": LABELS, "when": WHEN}), "dates in column 'when'"),
        (pl.DataFrame({"a": LABELS, "when": WHEN}), "dates in column 'when'"),
        (np.zeros(10, [("a", float), ("b", float)]), r"fields \('a', 'b'\)"),
    ],
    ids=["array", "list", "mixed list", "object", "bytes", "dates", "date objects",
         "durations", "pandas dates", "polars dates", "structured"],
)  # fmt: skip
def test_what_would_be_converted_to_numbers_is_refused(given, message):
    for model in (MLPClassifier(**SHORT), MLPRegressor(**SHORT)):
        with pytest.raises(ValueError, match=f"X (has|is a) .*{message}"):
            model.fit(given, LABELS)
    model = MLPClassifier(**SHORT).fit(np.zeros((10, 2)), LABELS)
    with pytest.raises(ValueError, match=message):
        model.predict(given)
    if not hasattr(given, "columns"):  # of which an array has no names
        with pytest.raises(ValueError, match=message):
            model.predictor()(given)


def test_a_predictor_takes_numbers_only():
    predict = MLPClassifier(**SHORT).fit(X, y).predictor()
    expected = predict(X)
    for given in (X.astype(object), pd.DataFrame(X).astype("category"), X.tolist()):
        np.testing.assert_array_equal(predict(given), expected)
    for given in (X.astype(str), X.astype("S"), X.astype(str)[0], X.astype("M8[s]")):
        with pytest.raises(ValueError, match=r"X has (text|dates) in column 0"):
            predict(given)
    with pytest.raises(ValueError, match="Complex data not supported"):
        predict(X * 1j)


@pytest.mark.parametrize(
    "given",
    [
        X.tolist(),
        [tuple(row) for row in X],
        [*X],
        X.astype(object),
        pd.DataFrame(X).astype("Float64"),
        pd.DataFrame(X).astype(object),
        pd.DataFrame(X).astype("category"),
        pl.DataFrame(X),
    ],
    ids=["lists", "tuples", "rows", "object", "Float64", "pandas object", "category",
         "polars"],
)  # fmt: skip
def test_numbers_in_any_dress_are_taken(given):
    expected = MLPClassifier(**SHORT).fit(X, y)
    model = MLPClassifier(**SHORT).fit(given, y)
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])
    np.testing.assert_array_equal(model.predict(given), expected.predict(X))


def test_the_first_argument_of_a_regressor_is_its_loss():
    with pytest.raises(ValueError, match=r"Did you mean hidden_layer_sizes=\(20,\)\?"):
        MLPRegressor((20,)).fit(X, y)
    with pytest.raises(ValueError, match="'loss' parameter") as error:
        MLPRegressor("square").fit(X, y)
    assert "Did you mean" not in str(error.value)


def test_scorers_of_two_classes_are_refused_for_more():
    for scoring, other in (("roc_auc", "roc_auc_ovr"), ("f1", "f1_macro")):
        model = MLPClassifier(early_stopping=True, scoring=scoring, max_iter=20)
        with pytest.raises(ValueError, match=f"y has 3: use scoring='{other}'"):
            model.fit(X, y)
        assert len(model.fit(X[:100], y[:100]).validation_scores_) > 1
        assert model.set_params(scoring=other).fit(X, y).n_iter_ > 0


def test_weights_that_sum_to_zero_are_refused():
    for weights in (np.zeros(150), np.tile([1.0, -1.0], 75)):
        with pytest.raises(ValueError, match=r"(sums to zero|non-zero number)"):
            MLPClassifier(**SHORT).fit(X, y, sample_weight=weights)


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda m: m.coefs_.__setitem__(1, m.coefs_[1].tolist()), r"coefs_\[1\]"),
        (lambda m: m.coefs_.__setitem__(1, m.coefs_[1] * 1j), r"coefs_\[1\]"),
        (lambda m: m.intercepts_.__setitem__(0, [0.0] * 100), r"intercepts_\[0\]"),
        (lambda m: m.coefs_.__setitem__(1, m.coefs_[1].astype(object)), r"coefs_\[1"),
        (lambda m: m.coefs_.__setitem__(1, m.coefs_[1].astype(str)), r"coefs_\[1"),
        (
            lambda m: m.intercepts_.__setitem__(0, m.intercepts_[0] * 1j),
            r"intercepts_\[0",
        ),
    ],
    ids=["list", "complex", "list of biases", "object", "text", "complex biases"],
)
def test_written_weights_that_are_no_numbers_are_named(spoil, name):
    model = MLPClassifier(**SHORT).fit(X, y)
    spoil(model)
    for use in (
        lambda: model.predict(X),
        lambda: model.predictor(),
        lambda: model.to_sklearn(),
        lambda: model.partial_fit(X, y),
    ):
        with pytest.raises(ValueError, match=name):
            use()


def test_written_weights_of_any_real_type_are_taken():
    model = MLPClassifier(**SHORT).fit(X, y)
    expected = model.predict_proba(X)
    for dtype in (np.longdouble, ">f8"):
        model.coefs_ = [coef.astype(dtype) for coef in model.coefs_]
        for result in (model.predict_proba(X), model.predictor()(X)):
            assert result.dtype == np.float64
            np.testing.assert_array_equal(result, expected)
    single = X.astype(np.float32)
    model = MLPClassifier(**SHORT).fit(single, y)
    model.coefs_ = [coef.astype(np.float16) for coef in model.coefs_]
    assert model.predict_proba(single).dtype == np.float32
    assert model.predictor()(single).dtype == np.float32


def half(fraction):
    """Of a module: pickle finds it by its name."""
    return 0.5


def epoch_is_over(state):
    return False


def test_functions_without_a_name_are_named_when_they_are_pickled():
    model = MLPClassifier(learning_rate=half, callbacks=[epoch_is_over], **SHORT)
    again = pickle.loads(pickle.dumps(model.fit(X, y)))
    assert (again.learning_rate, again.callbacks) == (half, [epoch_is_over])
    model.set_params(callbacks=(epoch_is_over, lambda state: False))
    with pytest.raises(pickle.PicklingError, match=r"'.*<lambda>'.*'callbacks'.*def"):
        pickle.dumps(model)
    model.set_params(learning_rate=lambda fraction: fraction)
    with pytest.raises(pickle.PicklingError, match="parameter 'learning_rate'"):
        pickle.dumps(model)


def test_functions_without_a_name_are_copied_and_sent_to_workers():
    import copy

    import cloudpickle

    model = MLPClassifier(learning_rate=lambda fraction: 0.25, **SHORT).fit(X, y)
    for other in (copy.deepcopy(model), clone(model), copy.copy(model)):
        assert other.learning_rate is model.learning_rate
    assert pickle.loads(cloudpickle.dumps(model)).learning_rate(1) == 0.25
    coefs = joblib.Parallel(n_jobs=2)(
        joblib.delayed(lambda m: m.fit(X, y).coefs_[0])(model) for _ in range(2)
    )
    np.testing.assert_array_equal(coefs, [model.coefs_[0]] * 2)
