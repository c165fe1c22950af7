"""X, y and weights as they lie in memory: the same bits as from a plain copy."""

import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from processes import run
from sklearn import neural_network

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.kernels.simd import tile_shape

SETTINGS = {"hidden_layer_sizes": (12,), "max_iter": 3, "random_state": 0}


def numbers():
    """(X, y, sample_weight) of a regression to two targets."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 6))
    return X, X[:, :2] * X[:, 2:4], rng.uniform(0.5, 2, 60)


def plain(array):
    """A copy that kernels can read as it is."""
    dtype = np.float32 if array.dtype == np.float32 else np.float64
    return np.array(array, dtype, order="C", subok=False)


def bits(model):
    return [a.tobytes() for a in model.coefs_ + model.intercepts_], model.loss_curve_


def assert_same(odd, ordinary, **settings):
    """Fit and predict with two layouts of (X, y, sample_weight), bit by bit."""
    # 60 samples go in strips, batches of 8 in tiles; held-out ones are read elsewhere
    for batch_size, early_stopping in ((60, False), (8, False), (8, True)):
        model, expected = (
            MLPRegressor(
                batch_size=batch_size, early_stopping=early_stopping,
                **{**SETTINGS, **settings},
            ).fit(*data)
            for data in (odd, ordinary)
        )  # fmt: skip
        assert bits(model) == bits(expected)
        assert model.validation_scores_ == expected.validation_scores_
    predictions = expected.predict(ordinary[0])
    assert predictions.any()
    for n_jobs in (1, 2):  # few rows are copied for one thread, but not for two
        result = model.set_params(n_jobs=n_jobs).predict(odd[0])
        assert result.dtype == predictions.dtype
        np.testing.assert_array_equal(result, predictions)
        np.testing.assert_array_equal(model.predictor()(odd[0]), predictions)


# --- layouts -------------------------------------------------------------------------


def every_second(array, directory):
    """With NaN (or -1) in between, which nobody must read."""
    shape = *array.shape[:-1], 2 * array.shape[-1]
    wide = np.full(2 * array.nbytes, 255, np.uint8).view(array.dtype).reshape(shape)
    wide[..., ::2] = array
    return wide[..., ::2]


def field_of_records(array, directory):
    """Strides of one byte more than the numbers have."""
    records = np.zeros(array.shape, [("odd", "u1"), ("number", array.dtype)])
    records["number"] = array
    return records["number"]


def unaligned(array, directory):
    copy = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype)
    copy[:] = array.ravel()
    return copy.reshape(array.shape)


def mapped(array, directory, mode="r+"):
    path = directory / str(len(list(directory.iterdir())))
    array.tofile(path)
    return np.memmap(path, array.dtype, mode, shape=array.shape)


LAYOUTS = {
    "Fortran's": lambda array, directory: np.asfortranarray(array),
    "backwards": lambda array, directory: np.flip(np.flip(array).copy()),
    "big-endian": lambda array, directory: array.astype(array.dtype.newbyteorder(">")),
    "one row": lambda array, directory: np.broadcast_to(array[:1], array.shape),
    "every second": every_second,
    "field of records": field_of_records,
    "unaligned": unaligned,
    "read-only": lambda array, directory: np.broadcast_to(array, array.shape),
    "mapped": mapped,
    "mapped read-only": lambda array, directory: mapped(array, directory, "r"),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_of_all_arrays(layout, dtype, tmp_path):
    odd = [LAYOUTS[layout](array.astype(dtype), tmp_path) for array in numbers()]
    ordinary = list(map(plain, odd))
    # in the type of the arrays, of which kernels then read y itself
    assert_same(odd, ordinary, precision=ordinary[0].dtype.name)
    for before, after in zip(ordinary, odd, strict=True):
        np.testing.assert_array_equal(before, after)


def test_big_endian_float32_is_taken_as_float64_as_by_scikit_learn():
    X, y, _ = numbers()
    y = y[:, 0]
    for code in ("f8", "f4"):
        X, ordinary = X.astype(">" + code), X.astype(code).astype(np.float64)
        model = MLPRegressor(**SETTINGS).fit(X, y)
        theirs = neural_network.MLPRegressor(**SETTINGS).fit(X, y)
        expected = MLPRegressor(**SETTINGS).fit(ordinary, y)
        assert bits(model) == bits(expected)
        assert model.coefs_[0].dtype == theirs.coefs_[0].dtype == np.float64
        predictions = model.predict(X)
        assert predictions.dtype == theirs.predict(X).dtype == np.float64
        np.testing.assert_array_equal(predictions, expected.predict(ordinary))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_of_labels_and_of_fitted_weights(layout, tmp_path):
    X = numbers()[0]
    labels = LAYOUTS[layout](np.arange(60) % 3, tmp_path)
    model = MLPClassifier(**SETTINGS).fit(X, labels)
    expected = MLPClassifier(**SETTINGS).fit(X, plain(labels))
    assert bits(model) == bits(expected)
    model.coefs_ = [LAYOUTS[layout](coef, tmp_path) for coef in expected.coefs_]
    expected.coefs_ = [plain(coef) for coef in model.coefs_]
    np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
    model.partial_fit(X, labels)
    assert bits(model) == bits(expected.partial_fit(X, labels))


@pytest.mark.parametrize("code", [*np.typecodes["AllInteger"], *"?egO"])
def test_any_dtype_is_taken_as_float64(code):
    # the upper half of the unsigned ones would be negative if they were signed
    low, high = (0, 256) if code in np.typecodes["UnsignedInteger"] else (-100, 100)
    low, high = (0, 2) if code == "?" else (low, high)
    X, y = np.random.default_rng(0).integers(low, high, (2, 60, 6)).astype(code)
    odd = X, y[:, :2], np.arange(1, 61).astype(code)
    assert_same(odd, list(map(plain, odd)), precision="float64")


@pytest.mark.parametrize("layout", ["unaligned", "big-endian", "read-only", "mapped"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_any_layout_of_the_arrays_of_sparse_X(index, layout, tmp_path):
    X, y, weights = numbers()
    X[X < 0.5] = 0
    ordinary = scipy.sparse.csr_array(X)
    odd = ordinary.copy()
    odd.data = LAYOUTS[layout](odd.data, tmp_path)
    odd.indices = LAYOUTS[layout](odd.indices.astype(index), tmp_path)
    odd.indptr = LAYOUTS[layout](odd.indptr.astype(index), tmp_path)
    model = MLPRegressor(**SETTINGS).fit(odd, y, weights)
    expected = MLPRegressor(**SETTINGS).fit(ordinary, y, weights)
    assert bits(model) == bits(expected)
    np.testing.assert_array_equal(model.predict(odd), expected.predict(ordinary))


# --- containers, shapes --------------------------------------------------------------

DTYPES = {"a": "int8", "b": "float32", "c": "bool", "d": "int64", "e": "float64"}
NULLABLE = {"a": "Int8", "b": "Float32", "c": "boolean", "d": "Int64", "e": "Float64"}

CONTAINERS = {
    "lists": lambda columns: np.column_stack([*columns.values()]).tolist(),
    "frames": lambda columns: pd.DataFrame(columns),
    "frames of float32": lambda columns: pd.DataFrame(columns).astype("float32"),
    "nullable frames": lambda columns: pd.DataFrame(columns).astype(
        {name: NULLABLE[name] for name in columns}
    ),
    "parts of frames": lambda columns: pd.DataFrame(columns).assign(f=0.5)[[*columns]],
    "polars": lambda columns: pytest.importorskip("polars").DataFrame(columns),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_any_container_of_all_arrays(kind):
    numbers = np.random.default_rng(0).integers(0, 9, (5, 60))
    columns = {n: c.astype(DTYPES[n]) for n, c in zip(DTYPES, numbers, strict=True)}
    X = CONTAINERS[kind](columns)
    y = CONTAINERS[kind]({name: columns[name] for name in "ae"})
    weights = X["d"] if hasattr(X, "columns") else columns["d"].tolist()
    dtype = np.float32 if "float32" in kind else np.float64
    ordinary = [np.asarray(array).astype(dtype) for array in (X, y, weights)]
    assert_same((X, y, weights), ordinary)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1)])
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_one_row_and_one_column_follow_scikit_learn(solver, precision, shape):
    X = np.random.default_rng(0).standard_normal(shape)
    y = 1 - X[:, 0]
    settings = {**SETTINGS, "solver": solver, "max_iter": 2}
    theirs = neural_network.MLPRegressor(**settings).fit(X, y)
    for data in (X, np.asfortranarray(X), X[::-1][::-1], scipy.sparse.csr_array(X)):
        model = MLPRegressor(precision=precision, **settings).fit(data, y)
        np.testing.assert_allclose(model.predict(data), theirs.predict(X), rtol=1e-4)
        assert model.loss_ == pytest.approx(theirs.loss_, rel=1e-4)
    np.testing.assert_array_equal(model.predictor()(X[0]), model.predict(X)[0])


@pytest.mark.parametrize("convert", [np.asfortranarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("part", [np.s_[:0], np.s_[:, :0], np.s_[::2, 6:]])
@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict"])
def test_no_row_or_no_column_gets_scikit_learns_error(method, part, convert):
    X, y, _ = numbers()
    X = convert(X)
    data = X[part], y[: X[part].shape[0]]
    messages = []
    for module in (fastmlp, neural_network):
        model = module.MLPRegressor(**SETTINGS).fit(X, y)
        with pytest.raises(ValueError, match=r"Found array|features") as caught:
            getattr(model, method)(*data[: 1 if method == "predict" else 2])
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_a_million_columns_take_the_memory_of_their_weights():
    """Dense or sparse: the same bits, and a few numbers for each weight."""
    rng, n_columns = np.random.default_rng(0), 10**6
    places = rng.integers(0, 4, 400), rng.permutation(n_columns)[:400]
    X = scipy.sparse.csr_array((np.ones(400, "f"), places), shape=(4, n_columns))
    y = np.arange(4.0)
    settings, results = {**SETTINGS, "hidden_layer_sizes": (2,), "batch_size": 2}, []
    for data in (X, X.toarray()):
        tracemalloc.start()
        model = MLPRegressor(precision="float32", **settings).fit(data, y)
        results.append((bits(model), model.predict(data).tobytes()))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # two weights for each column, in whole vectors of float32: the parameters,
        # two moments, and what is shown of them
        lanes = tile_shape("float32").lanes
        assert peak < 4 * (3 * lanes + 24) * n_columns
    assert results[0] == results[1]


# --- in processes of their own -------------------------------------------------------

IMPORTS = """
import itertools, os, sys, threading, time, warnings
from contextlib import suppress
import numpy as np, pytest, scipy.sparse
from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.engine import jobs
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
"""

FAR = """
far = 2**31
with open("numbers", "wb") as file:
    file.truncate(16 * 8 * far)  # a hole, which takes no room

def strewn(numbers, by_row):
    # each row, or each column, 2**31 numbers behind the one before
    rows, columns = numbers.shape
    shape = rows if by_row else columns, far
    whole = np.memmap("numbers", numbers.dtype, "r+", shape=shape)
    whole[:, : columns if by_row else rows] = numbers if by_row else numbers.T
    return whole[:, :columns] if by_row else whole[:, :rows].T

def fit(X, batch_size):
    model = MLPRegressor(hidden_layer_sizes=(3,), batch_size=batch_size, max_iter=2,
                         precision="float32", early_stopping=True, n_jobs=2,
                         random_state=0).fit(X, X[:, 0])
    weights = [coef.tobytes() for coef in model.coefs_]
    return model, (model.loss_curve_, weights, model.predict(X).tobytes())

for dtype, by_row, order in itertools.product("fd", (True, False), (1, -1)):
    X = strewn(rng.standard_normal((16, 6)).astype(dtype), by_row)[::order]
    near = X.copy()
    assert far * X.itemsize in map(abs, X.strides)
    for batch_size in (14, 4):  # in strips, in tiles
        model, result = fit(X, batch_size)
        assert result == fit(near, batch_size)[1]
    expected = model.predict(near)
    model.coefs_[0] = strewn(model.coefs_[0], by_row)
    np.testing.assert_array_equal(model.predict(near), expected)
os.unlink("numbers")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files there have no holes")
def test_numbers_more_than_2_to_the_31_apart(tmp_path):
    """Addresses are computed in 64 bits: in gathering, predicting and packing."""
    run(IMPORTS + FAR, tmp_path)


CHANGING = """
X = rng.standard_normal((1000, 30))
labels, y, weights = X[:, 0] > 0, X[:, 1].copy(), rng.uniform(0.5, 2, 1000)
arrays = [X, y, weights]
if sys.argv[1] == "sparse":
    X = scipy.sparse.csr_array(np.where(X > 1, X, 0))
    arrays = [X.data, y, weights, X.indices]
good = [array.copy() for array in arrays]
garbage = {"f": [np.nan, 1e308, np.inf, -1e300, 5e-324, 0, 1e30],
           "i": [-1, 2**31 - 1, -2**31, 29, 30]}
over, changes = threading.Event(), []

def disturb():
    while not over.wait(rng.uniform(0, 0.01)):
        changes.append(1)
        for array in arrays:
            array[::2] = rng.choice(garbage[array.dtype.kind])
        time.sleep(rng.uniform(0, 0.002))
        for array, numbers in zip(arrays, good):
            array[:] = numbers

def fit(i):
    solver = ["adam", "sgd", "lbfgs"][i % 3]
    common = {"hidden_layer_sizes": (10,), "max_iter": 8, "n_jobs": 1 + i % 2,
              "solver": solver, "random_state": 0, "batch_size": (200, 50)[i % 2],
              "early_stopping": solver != "lbfgs" and i % 4 > 1}
    classifier = MLPClassifier(**common).fit(X, labels, weights)
    regressor = MLPRegressor(precision="float64", **common).fit(X, y, weights)
    return classifier.predict_proba(X).tobytes(), regressor.predict(X).tobytes()

expected = [fit(i) for i in range(4)]
thread = threading.Thread(target=disturb)
thread.start()
for i in range(20):
    with suppress(ValueError):  # of what was wrong when it was looked at
        fit(i)
over.set()
thread.join()
assert len(changes) > 10
assert [fit(i) for i in range(4)] == expected
"""


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_data_that_another_thread_changes_meanwhile(kind, tmp_path):
    """What comes of it may be garbage, but nothing else is read or written."""
    run(IMPORTS + CHANGING, tmp_path, arguments=[kind])


STARTS = """
def change_behind(X, check=jobs.compressed_rows):
    X = check(X)
    X.indptr[1:-1] = garbage
    return X

jobs.compressed_rows = change_behind
good = scipy.sparse.csr_array(np.arange(1.0, 13).reshape(4, 3))
model = MLPRegressor(max_iter=1).fit(good.toarray(), np.arange(4.0))
for garbage in (2**31 - 1, -1, [9, 6, 3], [2**31 - 1, -2**31, -1]):
    for call in (model.predict, lambda X: model.fit(X, np.arange(4.0))):
        with pytest.raises(ValueError, match="not a valid matrix"):
            call(good.copy())
"""


def test_row_starts_that_change_behind_their_check(tmp_path):
    """Even if the last of them is right, and so are their differences in 32 bits."""
    run(IMPORTS + STARTS, tmp_path)
