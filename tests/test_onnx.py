"""Exported files, in ONNX Runtime: the same predictions, whatever the model is."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from exchanged import (
    NUMBERS,
    OUTPUTS,
    SMALL,
    TABLES,
    TUNED,
    X,
    assert_close,
    dent,
    dent_slope,
    ensemble,
    models_with_dents,
    network,
    new_rows,
    of_tables,
    table,
)
from processes import run
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingClassifier, VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastmlp
from fastmlp import (
    MLPClassifier,
    MLPEstimator,
    MLPRegressor,
    TabularMLPClassifier,
    TabularMLPRegressor,
)
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.losses import OUTPUT_ACTIVATIONS

onnx = pytest.importorskip("onnx")
skl2onnx = pytest.importorskip("skl2onnx")
runtime = pytest.importorskip("onnxruntime")

_DTYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64,
    "tensor(int64)": np.int64, "tensor(bool)": bool, "tensor(string)": object,
}  # fmt: skip


def exported(model, **options):
    file = io.BytesIO()
    fastmlp.onnx.export(model, file, **options)
    content = file.getvalue()
    onnx.checker.check_model(content, full_check=True)
    return session_of(content)


def session_of(content):
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1  # which takes less time than to start others
    return runtime.InferenceSession(content, options)


def feeds(session, X):
    """The inputs of a session, from an array or a data frame."""
    found = {}
    for each in session.get_inputs():
        dtype = _DTYPES[each.type]
        if each.name == "X":
            found["X"] = np.asarray(X, dtype)
            continue
        column = X[each.name]
        if dtype is object:
            values = column.astype(object).where(column.notna(), "").to_numpy()
        elif column.dtype.kind in "mM":
            values = column.to_numpy(f"{column.dtype.kind}8[us]").view(np.int64)
        else:
            values = column.to_numpy(dtype)
        found[each.name] = values[:, np.newaxis]
    return found


def run_session(session, X):
    return session.run(None, feeds(session, X))


def assert_same(model, X, precision="float32", like=None, **options):
    """The same labels and probabilities, or numbers; returns the session."""
    session = exported(model, X=like, **options)
    *labels, found = run_session(session, X)
    assert_close(found, model, X, precision)
    if labels:
        np.testing.assert_array_equal(labels[0], model.predict(X))
    return session


# --- networks -------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_with_every_output(activation, precision):
    seen = set()
    for output in OUTPUTS:
        model = network(output, precision, activation)
        session = assert_same(model, X, precision)
        assert session.get_outputs()[-1].type == "tensor(double)"  # as X in fit
        seen.add(model.out_activation_)
    assert seen == {*OUTPUT_ACTIVATIONS}


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_far_from_zero(activation, precision):
    """Of one unit: compositions of simple operators overflow nowhere."""
    z = np.concatenate([np.linspace(-12, 12, 481), [-1e4, -100, -40, 40, 100, 1e4]])
    model = network("a number", precision, activation)
    model.coefs_ = [np.ones((1, 1)), np.ones((1, 1))]
    model.intercepts_, model.n_features_in_ = [np.zeros(1), np.zeros(1)], 1
    (found,) = run_session(exported(model), z[:, np.newaxis])
    tolerance = {"float32": 1e-6, "float64": 1e-14}[precision]
    expected = ACTIVATIONS[activation].value(z)
    np.testing.assert_allclose(found[:, 0], expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_of_either_type(dtype):
    session = assert_same(network("scaled numbers"), X, dtype=dtype)
    name = {"float32": "tensor(float)", "float64": "tensor(double)"}[dtype]
    assert {each.type for each in (*session.get_inputs(), *session.get_outputs())} == {
        name
    }


def test_scaling_is_done_in_float64():
    """As in the estimator: numbers far from 0 keep what tells them apart."""
    far = X + 1e6
    model = MLPRegressor(max_iter=5, random_state=0, standardize=True).fit(far, X[:, 0])
    assert_same(model, far)


def test_activations_of_users():
    def of_arrays(z):
        return np.where(z >= 0, np.log1p(z**2), np.expm1(np.minimum(z, 0)))

    fastmlp.register_activation("dent", dent, dent_slope)
    for precision, model in models_with_dents():
        fastmlp.register_activation("dent", dent, dent_slope, onnx=of_arrays)
        assert_same(model, X, precision)
        del ACTIVATIONS["dent"]
        fastmlp.register_activation("dent", dent, dent_slope)
        with pytest.raises(ValueError, match="'dent' is your own, which ONNX does not"):
            exported(model)
    fastmlp.register_activation("dent", dent, dent_slope, onnx=np.vectorize(dent))
    with pytest.raises(ValueError, match="functions of NumPy that ONNX has, too"):
        exported(model)


def test_layers_of_their_own_or_none():
    model = network("classes")
    assert_same(model.set_params(activation=["gelu", "relu"]), X)
    for y in (X[:, 0], (X[:, 0] > 0)):
        estimator = MLPRegressor if y.dtype == float else MLPClassifier
        assert_same(
            estimator(hidden_layer_sizes=(), max_iter=5, random_state=0).fit(X, y), X
        )


@pytest.mark.parametrize(
    "y",
    [[True, False], [2.0, 5.0], ["no", "yes"], [3, -1], [7], np.array(["a", "é"], "O")],
    ids=str,
)
def test_labels_of_classes(y):
    y = np.resize(np.asarray(y), len(X))
    session = assert_same(MLPClassifier(max_iter=5, random_state=0).fit(X, y), X)
    is_text = y.dtype.kind in "OU"
    assert (
        session.get_outputs()[0].type == f"tensor({'string' if is_text else 'int64'})"
    )


def test_labels_that_onnx_lacks():
    model = network("classes")
    model.classes_ = np.array([0.5, 1.0, 2.0])
    with pytest.raises(ValueError, match="text and whole numbers"):
        exported(model)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_an_estimator_of_either_task(task):
    model = MLPEstimator(max_iter=5, random_state=0, task=task).fit(
        X, (X[:, 0] > 0) * 1
    )
    assert_same(model, X)
    assert_same(make_pipeline(StandardScaler(), model).fit(X, (X[:, 0] > 0) * 1), X)


def test_metadata():
    frame = pd.DataFrame(X, columns=["a (cm)", "b", "c", "d", "label"])
    model = MLPClassifier(max_iter=5, random_state=0).fit(
        frame, np.where(X[:, 0] > 0, "yes", "no")
    )
    meta = exported(model).get_modelmeta()
    assert (meta.producer_name, meta.graph_name) == ("fastmlp", "MLPClassifier")
    texts = meta.custom_metadata_map
    assert texts["fastmlp_version"] == fastmlp.__version__
    assert texts["estimator"] == "MLPClassifier"
    assert json.loads(texts["feature_names_in_"]) == [*frame.columns]
    assert json.loads(texts["classes_"]) == ["no", "yes"]


def test_paths_and_files(tmp_path):
    path = tmp_path / "model.onnx"
    fastmlp.onnx.export(network("numbers"), path)
    fastmlp.onnx.export(network("numbers"), str(path))
    file = io.BytesIO()
    fastmlp.onnx.export(network("numbers"), file)
    assert path.read_bytes() == file.getvalue()


def test_what_is_refused():
    model = network("numbers")
    with pytest.raises(NotFittedError):
        exported(MLPClassifier())
    with pytest.raises(ValueError, match="dtype must be"):
        exported(model, dtype="float16")
    with pytest.raises(ValueError, match="X is for pipelines"):
        exported(model, X=X)
    model.coefs_[0] = model.coefs_[0].tolist()
    with pytest.raises(ValueError, match=r"coefs_\[0\] must be a NumPy array"):
        exported(model)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_ensembles(output, precision):
    assert_same(ensemble(output, precision), X, precision)


# --- tables ---------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("output", TABLES)
def test_tables_with_columns_of_all_kinds(output, numbers):
    model = of_tables(output, **NUMBERS[numbers])
    session = assert_same(model, new_rows())
    dropped = {c.name for c in model.columns_ if not c.positions}
    assert dropped == {"constant", "key"}
    names = {each.name for each in session.get_inputs()}
    assert names == {*table().columns} - dropped
    texts = session.get_modelmeta().custom_metadata_map
    assert json.loads(texts["feature_names_in_"]) == [*table().columns]


@pytest.mark.parametrize("output", ["classes", "labels", "a number", "numbers"])
def test_tuned_models_for_tables(output):
    model = of_tables(output, **TUNED)
    assert len(model.estimators_) > 1
    assert_same(model, new_rows())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_tables_with_every_activation(activation):
    columns = "number", "large", "levels"
    model = of_tables("a number", columns, activation=activation, n_members=1)
    assert_same(model, new_rows()[[*columns]])


@pytest.mark.parametrize("column", [c for c in table() if c not in ("constant", "key")])
def test_tables_with_one_column(column):
    assert_same(of_tables("classes", (column,)), new_rows()[[column]])


def test_networks_as_their_authors_have_them():
    """Without parametric activations, and with long one-hot codes."""
    columns = "number", "levels"
    model = TabularMLPClassifier(**{**SMALL, "preset": "realmlp-td-s"})
    model.fit(table()[[*columns]], TABLES["classes"][1])
    assert_same(model, new_rows()[[*columns]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tables_of_numbers_are_one_tensor(dtype):
    array = np.where(X > 1.5, np.nan, X).astype(dtype)
    array = np.column_stack([array, np.arange(len(X)) % 12])
    model = TabularMLPRegressor(**SMALL, categorical_features=[5])
    model.fit(array, X[:, 0])
    array[:3, 5] = np.nan, 99, 0.5
    session = assert_same(model, array, dtype=dtype)
    assert [each.name for each in session.get_inputs()] == ["X"]
    frame = pd.DataFrame(array, columns=[f"feature {j}" for j in range(6)])
    model.fit(frame, X[:, 0])
    assert_same(model, frame, dtype=dtype)


def test_columns_that_were_dropped_need_no_input():
    frame = table()[["number", "key"]]
    model = TabularMLPRegressor(**SMALL).fit(frame, frame["number"])
    session = assert_same(model, frame)
    assert [each.name for each in session.get_inputs()] == ["number"]
    array = np.column_stack([X, np.ones(len(X))])
    session = assert_same(model.fit(array, X[:, 0]), array)
    assert [each.name for each in session.get_inputs()] == ["X"]


def test_tables_without_names():
    rows = [["a", 1], ["b", 2], ["a", 3], ["c", 5]] * 10
    model = TabularMLPClassifier(**SMALL).fit(rows, [0, 1] * 20)
    frame = pd.DataFrame(rows, columns=["x0", "x1"])
    session = exported(model)
    assert [each.name for each in session.get_inputs()] == ["x0", "x1"]
    assert_close(run_session(session, frame)[1], model, rows)


@pytest.mark.parametrize("year", [1, 1583, 1899, 1970, 2000, 2023, 2400])
def test_days_of_all_years(year):
    """Also of leap years, and of those that are not although they can be divided."""
    days = np.arange(f"{year:04}-01-01", f"{year + 2:04}-01-01", dtype="M8[D]")
    frame = pd.DataFrame({"date": days.astype("M8[us]")})
    model = TabularMLPRegressor(**SMALL)
    assert_same(model.fit(frame, np.arange(len(days)) % 7), frame)


def test_levels_that_no_tensor_can_hold():
    mixed = pd.DataFrame({"mixed": [1, "a", 2.5] * 10})
    empty = pd.DataFrame({"empty": ["", "a", "b", None] * 10})
    for frame, message in ((mixed, "'mixed' has text and num"), (empty, "empty text")):
        model = TabularMLPRegressor(**SMALL)
        with pytest.raises(ValueError, match=message):
            exported(model.fit(frame, range(len(frame))))
    # without missing values, empty text is a level as others are
    frame = empty.dropna()
    assert_same(model.fit(frame, range(len(frame))), frame)


# --- with skl2onnx --------------------------------------------------------------------


def test_pipelines_of_numbers():
    steps = (
        StandardScaler(),
        PCA(3),
        MLPRegressor(max_iter=5, random_state=0, activation="selu"),
    )
    model = make_pipeline(*steps).fit(X, X[:, :2])
    session = assert_same(model, X)
    assert session.get_inputs()[0].type == "tensor(float)"
    model = make_pipeline(steps[0], network("classes", "float64")).fit(X, X[:, 0] > 0)
    assert_same(model, X, "float64", dtype="float64")


def test_pipelines_of_data_frames():
    frame = table()[["number", "measured", "few levels", "codes", "flag"]]
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["number", "measured"]),
        (OneHotEncoder(handle_unknown="ignore"), ["few levels", "codes"]),
        ("passthrough", ["flag"]),
    )
    y = TABLES["classes"][1]
    model = make_pipeline(
        columns, MLPClassifier(max_iter=5, random_state=0, activation="gelu")
    )
    model.fit(frame, y)
    session = assert_same(model, frame, like=frame[:3])
    assert [each.name for each in session.get_inputs()] == [*frame.columns]
    with pytest.raises(ValueError, match="give X"):
        exported(model)
    with pytest.raises(ValueError, match="'date' has dates"):
        exported(model, X=table())


def test_estimators_of_estimators():
    y = (X[:, 0] > 0) * 1
    classifiers = [
        (name, MLPClassifier((5,), max_iter=3, random_state=0)) for name in "ab"
    ]
    assert_same(StackingClassifier(classifiers, cv=2).fit(X, y), X)
    assert_same(GridSearchCV(classifiers[0][1], {"alpha": [1, 2]}, cv=2).fit(X, y), X)
    regressors = [
        (name, MLPRegressor(max_iter=3, standardize=True, random_state=0))
        for name in "ab"
    ]
    assert_same(VotingRegressor(regressors).fit(X, X[:, 0]), X)
    tables = TabularMLPClassifier(**SMALL)
    assert_same(make_pipeline(StandardScaler(), tables).fit(X, y), X)


def test_skl2onnx_itself_knows_the_estimators():
    """With its options, and columns of a data frame as its inputs."""
    model, singles = network("classes"), X.astype(np.float32)
    assert fastmlp.onnx
    proto = skl2onnx.to_onnx(model, singles)
    session = session_of(proto.SerializeToString())
    labels, dicts = session.run(None, {"X": singles})
    assert labels.tolist() == model.predict(X).tolist()
    found = np.array([[row[name] for name in model.classes_] for row in dicts])
    assert_close(found, model, X)
    model = of_tables("labels", ("large", "few levels"))
    frame = table()[["large", "few levels"]]
    proto = skl2onnx.to_onnx(model, frame, options={"zipmap": False})
    session = session_of(proto.SerializeToString())
    assert_close(
        session.run(None, {
            "large": frame[["large"]].to_numpy(),
            "few_levels": frame[["few levels"]].to_numpy(object),
        })[1],
        model,
        frame,
    )  # fmt: skip
    with pytest.raises(ValueError, match="'few levels' has text"):
        skl2onnx.to_onnx(model, frame.assign(**{"few levels": 1.0}))
    with pytest.raises(ValueError, match="no inputs for the columns"):
        skl2onnx.to_onnx(model, frame[["large"]])


def test_without_its_packages(tmp_path):
    """A word on what to install; and importing fastmlp imports none of them."""
    run(
        """
        import sys
        import fastmlp
        assert not {"onnx", "skl2onnx", "torch"} & sys.modules.keys()
        sys.modules["skl2onnx"] = None
        try:
            fastmlp.onnx
        except ModuleNotFoundError as error:
            assert "pip install" in str(error)
        else:
            raise AssertionError
        """,
        tmp_path,
    )
