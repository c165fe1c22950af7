"""`fastmlp.predictor`: the numbers of whole pipelines, one row or many."""

import copy
import pickle
import re
import threading
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_array
from sklearn.compose import (
    ColumnTransformer,
    make_column_selector,
    make_column_transformer,
)
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

import fastmlp
from fastmlp import (
    MLPClassifier,
    MLPEnsembleRegressor,
    MLPEstimator,
    MLPRegressor,
    TabularMLPClassifier,
)

pytestmark = pytest.mark.filterwarnings("ignore::fastmlp.exceptions.ScaleWarning")

RNG = np.random.default_rng(0)
N = 90
NUMBERS = RNG.normal(size=(N, 5)) * [1, 10, 1000, 0.01, 1] + [0, 5, -3000, 0, 1]
HOLES = np.where(RNG.random((N, 5)) < 0.2, np.nan, NUMBERS)
COUNTS = RNG.integers(0, 6, (N, 3)).astype(float)
Y = RNG.integers(0, 3, N)

FRAME = pd.DataFrame(NUMBERS[:, :3], columns=["size", "age", "rent"]).assign(
    town=RNG.choice(
        ["Bern", "Zug", "Rome", "Oslo", "Köln"], N, p=[0.5, 0.3, 0.1, 0.06, 0.04]
    ),
    kind=RNG.choice(["a", "b"], N),
    rooms=RNG.integers(1, 5, N),
    new=RNG.random(N) < 0.5,
)
GAPS = FRAME.assign(
    size=HOLES[:, 0],
    age=HOLES[:, 1],
    town=FRAME.town.mask(RNG.random(N) < 0.2),
    rooms=FRAME.rooms.where(RNG.random(N) < 0.8),
)
TEXT, FIGURES = ["town", "kind"], ["size", "age", "rent", "rooms"]


def network(**settings):
    settings = {"hidden_layer_sizes": (9,), "max_iter": 1, "random_state": 0} | settings
    return MLPClassifier(**settings)


def fitted(steps, X, y=Y, last=None):
    """A pipeline of steps and a network, fitted."""
    steps = steps if isinstance(steps, list) else [steps]
    return make_pipeline(*steps, last or network()).fit(X, y)


def results(model, X):
    return getattr(model, "predict_proba", model.predict)(X)


def rows_of(X):
    return X.to_numpy(object).tolist() if hasattr(X, "columns") else X.tolist()


def assert_same(model, X, exact=True):
    """Rows of every form give what the pipeline gives, to the last bit if exact."""
    predict = fastmlp.predictor(model)

    def same(found, expected):
        assert found.dtype == expected.dtype
        if exact:
            np.testing.assert_array_equal(found, expected)
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    expected = results(model, X)
    same(predict(X), expected)
    same(predict(X[:1]), expected[:1])
    is_single = getattr(X, "dtype", None) == np.float32
    for i, row in enumerate(X if is_single else rows_of(X)):
        same(predict(row), expected[i])
    if hasattr(X, "columns"):
        records = X.to_dict("records")
        same(predict(records), expected)
        same(predict(rows_of(X)), expected)
        same(predict(X.to_numpy(object)), expected)
        same(predict(records[-1]), expected[-1])
        same(predict(X.iloc[-1]), expected[-1])
        same(predict(X[X.columns[::-1]].assign(more="x")), expected)


OF_NUMBERS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    StandardScaler(with_std=False),
    MinMaxScaler(),
    MinMaxScaler((-2, 3), clip=True),
    MaxAbsScaler(),
    RobustScaler(),
    RobustScaler(with_centering=False, quantile_range=(10, 90)),
    [StandardScaler(), MinMaxScaler(), VarianceThreshold(), RobustScaler()],
    [SelectKBest(k=2), StandardScaler()],
    [FunctionTransformer(), "passthrough", StandardScaler()],
    [MinMaxScaler(), FunctionTransformer(np.log1p)],
    [MaxAbsScaler(), KBinsDiscretizer(4, encode="ordinal", strategy="uniform")],
    KBinsDiscretizer(3, encode="onehot-dense", strategy="uniform"),
    ColumnTransformer(
        [("a", StandardScaler(), [0, -1]), ("b", "passthrough", slice(1, 3)),
         ("c", "drop", [3])], remainder="drop", transformer_weights={"a": 0.3},
    ),
    make_column_transformer(
        (MinMaxScaler(), np.array([True, False, True, False, False])),
        ("passthrough", [4]), remainder=make_pipeline(RobustScaler(), MaxAbsScaler()),
    ),
    make_union(StandardScaler(), make_pipeline(MinMaxScaler(), SelectKBest(k=1))),
    FeatureUnion(
        [("a", MinMaxScaler()), ("b", "passthrough"), ("c", "drop")],
        transformer_weights={"a": 2.0},
    ),
]  # fmt: skip


@pytest.mark.parametrize("steps", OF_NUMBERS, ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_numbers(steps, dtype):
    X = NUMBERS.astype(dtype)
    assert_same(fitted(steps, X), X)


@pytest.mark.parametrize(
    "steps",
    [
        PCA(3),
        [StandardScaler(), PCA(0.9, whiten=True), MinMaxScaler()],
        IncrementalPCA(2),
        TruncatedSVD(2),
    ],
    ids=str,
)
def test_products_with_matrices(steps):
    assert_same(fitted(steps, NUMBERS), NUMBERS, exact=False)


@pytest.mark.parametrize(
    "imputer",
    [
        *(SimpleImputer(strategy=s) for s in ("mean", "median", "most_frequent")),
        SimpleImputer(strategy="constant", fill_value=-7.0),
        SimpleImputer(add_indicator=True),
        SimpleImputer(keep_empty_features=True, add_indicator=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_missing_numbers(imputer, dtype):
    X = HOLES.astype(dtype)
    assert_same(fitted([imputer, StandardScaler()], X), X)
    # scalers let NaN pass; and steps after it may take some of its columns
    columns = make_column_transformer(
        (MinMaxScaler(), [0, 2]), (StandardScaler(), slice(1, None, 2))
    )
    assert_same(fitted([RobustScaler(), imputer, columns], X), X)


def test_another_number_stands_for_what_is_missing():
    X = np.where(np.isnan(HOLES), -1.0, HOLES)
    imputer = SimpleImputer(missing_values=-1, add_indicator=True)
    model = fitted([imputer, StandardScaler()], X)
    assert_same(model, X)
    with pytest.raises(ValueError, match=r"Column 2 is missing"):
        fastmlp.predictor(model)([1, 2, np.nan, 4, 5])


@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
def test_columns_that_are_empty_in_fit():
    X = HOLES.copy()
    X[:, 1] = np.nan
    for settings in ({}, {"add_indicator": True}, {"keep_empty_features": True}):
        assert_same(fitted([SimpleImputer(**settings), StandardScaler()], X), X)


ENCODERS = [
    OneHotEncoder(),
    OneHotEncoder(sparse_output=False),
    OneHotEncoder(drop="first"),
    OneHotEncoder(drop="if_binary", handle_unknown="ignore"),
    OneHotEncoder(drop=["Zug", "a"]),
    OneHotEncoder(handle_unknown="ignore"),
    OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3),
    OneHotEncoder(handle_unknown="ignore", min_frequency=8),
    OneHotEncoder(drop="first", min_frequency=12),
    OneHotEncoder(handle_unknown="warn", max_categories=2),
    OrdinalEncoder(),
    OrdinalEncoder(dtype=np.float32),
    OrdinalEncoder(dtype=np.int64, max_categories=3),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=9, min_frequency=8
    ),
]  # fmt: skip


@pytest.mark.parametrize("encoder", ENCODERS, ids=str)
def test_categories(encoder):
    columns = make_column_transformer(
        (encoder, TEXT), remainder=make_pipeline(MinMaxScaler(), StandardScaler())
    )
    model = fitted(columns, FRAME)
    assert_same(model, FRAME)
    assert_same(fitted([encoder, MaxAbsScaler()], FRAME[TEXT]), FRAME[TEXT])
    other = FRAME[:6].assign(town=["Bern", "Paris", "Oslo", "", "Zug", "Köln"])
    predict = fastmlp.predictor(model)
    if encoder.handle_unknown == "error":
        for unknown in (other, other.to_dict("records")[1], rows_of(other)[3]):
            with pytest.raises(
                ValueError,
                match=r"Column 'town' has the category '(Paris)?', which the step "
                r"'columntransformer' > '\w+' \(\w+\) does not know: it has 'Bern'",
            ):
                predict(unknown)
        return
    if encoder.handle_unknown == "warn":
        with pytest.warns(UserWarning, match="'town' has the category 'Paris'"):
            found = predict(other[:3])
        # scikit-learn 1.6 takes it for 'ignore', against its documentation
        model[0].transformers_[0][1].handle_unknown = "infrequent_if_exist"
        np.testing.assert_array_equal(found, results(model, other)[:3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert_same(model, other)


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(drop="first"),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=12),
        OrdinalEncoder(encoded_missing_value=-5),
        OrdinalEncoder(encoded_missing_value=-5, min_frequency=12),
    ],
    ids=str,
)
@pytest.mark.parametrize("container", ["frame", "numbers", "flags", "categories"])
def test_kinds_of_categories(encoder, container):
    X = {
        "frame": GAPS[["town", "kind", "rooms"]],
        "numbers": np.where(RNG.random((N, 3)) < 0.1, np.nan, COUNTS),
        "flags": FRAME[["new", "rooms"]],
        "categories": GAPS[["town", "kind"]].astype("category"),
    }[container]
    assert_same(fitted(encoder, X), X)


def test_categories_of_targets():
    columns = make_column_transformer((TargetEncoder(), TEXT), remainder="passthrough")
    y = FRAME["size"] > 0
    model = fitted(columns, FRAME, y)
    assert_same(model, FRAME)
    assert_same(model, FRAME[:5].assign(kind=["a", "c", "b", "", "d"]))
    with pytest.raises(ValueError, match=r"'targetencoder' .*more than two classes"):
        fastmlp.predictor(fitted(columns, FRAME))


@pytest.mark.parametrize("strategy", ["most_frequent", "constant"])
@pytest.mark.parametrize("add_indicator", [False, True])
def test_missing_text(strategy, add_indicator):
    fill = {"fill_value": "none"} if strategy == "constant" else {}
    imputer = SimpleImputer(strategy=strategy, add_indicator=add_indicator, **fill)
    encode = make_pipeline(imputer, OneHotEncoder(handle_unknown="ignore"))
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    model = fitted(make_column_transformer((encode, TEXT), (numbers, FIGURES)), GAPS)
    assert_same(model, GAPS)
    predict = fastmlp.predictor(model)
    records = GAPS.to_dict("records")
    i = int(np.flatnonzero(GAPS.town.isna())[0])
    expected = results(model, GAPS)[i]
    for nothing in (None, np.nan, float("nan"), pd.NA, pd.NaT):
        np.testing.assert_array_equal(predict(records[i] | {"town": nothing}), expected)


def test_text_filled_in_before_columns_are_taken_apart():
    fill = SimpleImputer(strategy="most_frequent")
    apart = make_column_transformer(
        (OneHotEncoder(), [3, 4]), (StandardScaler(), [0, 1, 2]), ("passthrough", [5])
    )
    model = fitted([fill, apart], GAPS.drop(columns="new"))
    assert_same(model, GAPS.drop(columns="new"))
    both = make_column_transformer(
        (SimpleImputer(), FIGURES), (fill, TEXT), sparse_threshold=0
    )
    apart = make_column_transformer(
        (OneHotEncoder(), slice(4, None)), remainder=StandardScaler()
    )
    assert_same(fitted([both, apart], GAPS), GAPS)
    with pytest.raises(ValueError, match="of which other steps have made some"):
        fastmlp.predictor(fitted([both, OneHotEncoder()], GAPS))


def test_a_word_stands_for_what_is_missing():
    X = FRAME[TEXT].replace("Oslo", "?")
    fill = SimpleImputer(missing_values="?", strategy="most_frequent")
    assert_same(fitted([fill, OneHotEncoder()], X), X)
    steps = [SimpleImputer(strategy="constant", fill_value="?"), fill, OneHotEncoder()]
    X = FRAME[TEXT].mask(FRAME[TEXT] == "Oslo")
    assert_same(fitted(steps, X), X)
    # of an array of objects, even numbers
    X = np.where(np.isnan(HOLES), -1.0, NUMBERS.round()).astype(object)
    X[:, 0] = "a"
    X[::3, 1] = np.nan
    steps = [
        SimpleImputer(strategy="constant", fill_value=-1.0),
        SimpleImputer(missing_values=-1.0, strategy="most_frequent"),
        make_column_transformer((OneHotEncoder(), [0]), remainder=RobustScaler()),
    ]
    assert_same(fitted(steps, X), X)


def test_sparse_matrices_between_steps():
    """scikit-learn multiplies them by reciprocals of scales."""
    scaler = StandardScaler(with_mean=False)
    for threshold in (0, 1):
        columns = make_column_transformer(
            (OneHotEncoder(), TEXT), sparse_threshold=threshold
        )
        assert_same(fitted([columns, scaler], FRAME), FRAME)
        nested = make_column_transformer(
            (columns, TEXT), (scaler, FIGURES), sparse_threshold=threshold
        )
        assert_same(fitted([nested, scaler], FRAME), FRAME)


def test_numbers_that_become_categories():
    bins = KBinsDiscretizer(4, strategy="uniform")
    assert_same(fitted(bins, NUMBERS), NUMBERS)
    X = np.where(RNG.random((N, 3)) < 0.1, np.nan, COUNTS)
    steps = [SimpleImputer(strategy="most_frequent"), OneHotEncoder()]
    assert_same(fitted(steps, X), X)
    predict = fastmlp.predictor(fitted(steps, X))
    with pytest.raises(ValueError, match=r"Column 1 has the category 7\.5"):
        predict([0, 7.5, 1])
    with pytest.raises(ValueError, match="Column 2 is missing"):
        fastmlp.predictor(fitted(bins, NUMBERS))([0, 0, np.nan, 0, 0])


def test_columns_chosen_by_dtype():
    columns = make_column_transformer(
        (OneHotEncoder(), make_column_selector(dtype_exclude=[np.number, bool])),
        (StandardScaler(), make_column_selector(dtype_include=np.number)),
    )
    model = fitted(columns, FRAME)
    assert_same(model, FRAME)
    predict = fastmlp.predictor(model)
    assert "new" not in predict.used_columns_
    np.testing.assert_array_equal(
        predict(FRAME.drop(columns="new")), results(model, FRAME)
    )


def test_the_dtype_is_that_of_columns_that_were_taken_together():
    X = FRAME[["size", "age", "rooms"]].astype({"size": np.float32, "age": np.float32})
    model = fitted([MinMaxScaler(), SelectKBest(k=1)], X)
    predict, expected = fastmlp.predictor(model), results(model, X)
    np.testing.assert_array_equal(predict(X), expected)
    (used,) = predict.used_columns_
    assert predict(X[[used]]).shape == expected.shape
    floats = X[["size", "age"]]
    model = fitted(StandardScaler(), floats)
    found = fastmlp.predictor(model)(floats)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, results(model, floats))


def test_slices_of_names_and_output_as_data_frames():
    columns = make_column_transformer(
        (StandardScaler(), slice("size", "rent")),
        (OneHotEncoder(sparse_output=False), TEXT),
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    again = make_column_transformer(
        (MinMaxScaler(), ["age", "kind_a"]), remainder="passthrough"
    )
    assert_same(fitted([columns, again], FRAME), FRAME)


@pytest.mark.parametrize(
    "last",
    [
        MLPRegressor(hidden_layer_sizes=(5,), max_iter=1, standardize=True),
        MLPRegressor(hidden_layer_sizes=(5,), max_iter=1, precision="float64"),
        MLPEstimator((5, 4), max_iter=1),
        MLPEnsembleRegressor(hidden_layer_sizes=(5,), n_estimators=3, max_iter=1),
    ],
    ids=str,
)
def test_estimators_at_the_end(last):
    inner = make_pipeline(MinMaxScaler(), last)
    assert_same(fitted(StandardScaler(), NUMBERS, NUMBERS[:, 0], inner), NUMBERS)
    two = NUMBERS[:, :2]
    assert_same(fitted(StandardScaler(), NUMBERS, two, last), NUMBERS)


def test_containers_of_many_rows():
    columns = make_column_transformer(
        (OneHotEncoder(), TEXT), (StandardScaler(), FIGURES)
    )
    model = fitted(columns, FRAME)
    predict, expected = fastmlp.predictor(model), results(model, FRAME)
    for same in (
        pl.from_pandas(FRAME),
        FRAME.astype({"kind": "category", "rooms": "Int64", "town": "string"}),
        FRAME.to_numpy(object),
        rows_of(FRAME),
        tuple(map(tuple, rows_of(FRAME))),
    ):
        np.testing.assert_array_equal(predict(same), expected)
    single = FRAME.astype(dict.fromkeys(["size", "age", "rent"], np.float32))
    np.testing.assert_array_equal(predict(single), results(model, single))
    model = fitted(MaxAbsScaler(), NUMBERS)
    np.testing.assert_array_equal(
        fastmlp.predictor(model)(csr_array(NUMBERS)), results(model, NUMBERS)
    )
    for row in (np.arange(5), np.arange(5) > 2, np.array([*"12345"], object)):
        np.testing.assert_array_equal(
            fastmlp.predictor(model)(row), results(model, row[np.newaxis])[0]
        )


@pytest.mark.parametrize(
    "steps",
    [
        [FunctionTransformer(np.log1p), KBinsDiscretizer(5)],
        [FunctionTransformer(np.sqrt), FunctionTransformer(np.exp), StandardScaler()],
        make_column_transformer(
            (FunctionTransformer(np.log1p), ["single", "whole"]),
            (StandardScaler(), ["double"]),
        ),
        make_column_transformer(
            (StandardScaler(), ["single"]), (OneHotEncoder(drop="first"), ["town"])
        ),
        [
            make_column_transformer(
                (OneHotEncoder(drop="first", sparse_output=False), ["town"]),
                (StandardScaler(), ["single"]),
            ),
            RobustScaler(),
        ],
        [
            make_column_transformer(
                (StandardScaler(), ["single"]), (MinMaxScaler(), ["double"])
            ),
            make_column_transformer((RobustScaler(), [0])),
        ],
    ],
    ids=str,
)
def test_each_column_of_a_frame_has_its_dtype(steps):
    """Functions are computed in it, and an encoder without columns has one, too."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "single": rng.uniform(0, 9, 200).astype(np.float32),
        "double": rng.uniform(0, 9, 200), "whole": rng.integers(0, 9, 200),
        "town": ["Bern"] * 200,
    })  # fmt: skip
    if isinstance(steps, list) and isinstance(steps[0], FunctionTransformer):
        frame = frame.drop(columns="town")
    model = fitted(steps, frame, rng.integers(0, 2, 200))
    found, expected = fastmlp.predictor(model)(frame), results(model, frame)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_many_rows_go_in_parts(monkeypatch):
    monkeypatch.setattr("fastmlp.inference.pipelines._MOST_NUMBERS", 100)
    columns = make_column_transformer((OneHotEncoder(), TEXT), remainder="passthrough")
    assert_same(fitted(columns, FRAME), FRAME)


def test_what_is_wrong_with_rows():
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), TEXT), (StandardScaler(), FIGURES)
    )
    predict = fastmlp.predictor(fitted(columns, FRAME))
    good = FRAME.to_dict("records")[0]
    for bad, message in (
        ({"age": np.nan}, "Column 'age' is missing, and no step"),
        ({"age": None}, "Column 'age' is missing, and no step"),
        ({"age": pd.NA}, "Column 'age' is missing, and no step"),
        ({"age": np.inf}, "Column 'age' contains infinity"),
        ({"age": 10**400}, "Column 'age' contains infinity"),
        ({"age": "old"}, r"Column 'age' has text \(such as 'old'\) where"),
        ({"age": pd.Timestamp("2024-01-01")}, "Column 'age' has dates"),
        ({"age": np.datetime64("2024-01-01")}, "Column 'age' has dates"),
        ({"age": 1j}, "Column 'age' has values of type complex"),
        ({"age": [1]}, "Column 'age' has values of type list"),
        ({"town": [1]}, "Column 'town' has values of type list"),
    ):
        with pytest.raises(ValueError, match=message):
            predict(good | bad)
        with pytest.raises(ValueError, match=message):
            predict([*(good | bad).values()])
        message = message.replace("missing,", "missing in row 1,")
        with pytest.raises(ValueError, match=message):
            predict([good, good | bad])
        with pytest.raises(ValueError, match=message.replace("dates", "(dates|text)")):
            predict(pd.DataFrame([good, good | bad], dtype=object))
    for lacks in (
        {name: cell for name, cell in good.items() if name not in ("age", "town")},
        FRAME.drop(columns=["age", "town"]),
        [good, {"Age": 1}],
    ):
        with pytest.raises(ValueError, match=r"X lacks the columns? .*'age', .*'town'"):
            predict(lacks)
    for bad in ([1, 2], np.zeros(3), np.zeros((4, 3)), [[1], [2]], [[1], 2]):
        with pytest.raises(ValueError, match="expected 7"):
            predict(bad)
    with pytest.raises(ValueError, match="0 sample"):
        predict(FRAME[:0])
    predict = fastmlp.predictor(fitted(StandardScaler(), NUMBERS))
    with pytest.raises(ValueError, match="fitted without names of columns"):
        predict({"a": 1})
    with pytest.raises(ValueError, match=r"Column 3 contains infinity"):
        predict([0, 0, 0, -np.inf, 0])
    with (
        np.errstate(over="ignore"),
        pytest.raises(ValueError, match=r"makes inf of column 3"),
    ):
        predict([0, 0, 0, 1e308, 0])
    large = NUMBERS[:2] * [1, 1, 1e200, 1, 1]  # whose squares are beyond float64
    assert predict(large).shape == (2, 3)


@pytest.mark.parametrize(
    ("steps", "where"),
    [
        (PolynomialFeatures(), "'polynomialfeatures' (PolynomialFeatures)"),
        (
            make_column_transformer((make_pipeline(PolynomialFeatures()), [0])),
            "'columntransformer' > 'pipeline' > 'polynomialfeatures'",
        ),
        (FunctionTransformer(abs), "'functiontransformer' (FunctionTransformer) with"),
        (type("Own", (StandardScaler,), {})(), "'own' (Own)"),
    ],
    ids=str,
)
def test_what_cannot_be_folded_is_named(steps, where):
    model = fitted(steps, NUMBERS)
    with pytest.raises((TypeError, ValueError), match=re.escape(where)) as error:
        fastmlp.predictor(model)
    assert re.search("[Tt]ake this step out", str(error.value))


def test_models_that_are_none_of_ours():
    with pytest.raises(TypeError, match=r"not MLPClassifier\. fastmlp\.from_sklearn"):
        fastmlp.predictor(fitted(StandardScaler(), NUMBERS, Y, TheirClassifier()))
    for other in (StandardScaler(), make_pipeline(StandardScaler()), 3):
        with pytest.raises(TypeError, match="takes an estimator of fastmlp"):
            fastmlp.predictor(other)
    for model in (network(), make_pipeline(StandardScaler(), network())):
        with pytest.raises(NotFittedError):
            fastmlp.predictor(model)
    text = make_column_transformer((TfidfVectorizer(), "town"))
    with pytest.raises(TypeError, match="'tfidfvectorizer'"):
        fastmlp.predictor(fitted(text, FRAME))


def test_estimators_by_themselves_and_searches():
    model = network().fit(NUMBERS, Y)
    expected = model.predict_proba(NUMBERS)
    pipeline = Pipeline([("none", None), ("same", "passthrough"), ("net", model)])
    for same in (model, pipeline):
        np.testing.assert_array_equal(fastmlp.predictor(same)(NUMBERS), expected)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), network()), {"mlpclassifier__alpha": [1]}, cv=2
    ).fit(NUMBERS, Y)
    assert_same(search, NUMBERS)
    table = TabularMLPClassifier("fast", n_members=1, max_iter=1).fit(FRAME, Y)
    found = fastmlp.predictor(make_pipeline("passthrough", table))(rows_of(FRAME)[3])
    np.testing.assert_array_equal(found, table.predict_proba(FRAME)[3])
    with pytest.raises(TypeError, match="prepares columns itself"):
        fastmlp.predictor(Pipeline([("a", StandardScaler()), ("b", table)]))


def test_predictors_are_of_now_and_can_be_copied_and_shared():
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), TEXT), (StandardScaler(), FIGURES)
    )
    model = fitted(columns, FRAME)
    predict, expected = fastmlp.predictor(model), results(model, FRAME)
    np.testing.assert_array_equal(predict.classes_, model.classes_)
    assert predict.feature_names_in_.tolist() == FRAME.columns.tolist()
    model.fit(FRAME[:40][::-1], Y[:40])
    rows, wrong = FRAME.to_dict("records"), []
    for another in (predict, pickle.loads(pickle.dumps(predict)), copy.copy(predict)):
        np.testing.assert_array_equal(another(FRAME), expected)
        np.testing.assert_array_equal(another(rows[3]), expected[3])

    def work(start):
        for i in range(start, start + 200):
            if not np.array_equal(predict(rows[i % N]), expected[i % N]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(31 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
