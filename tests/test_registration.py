"""Activations and losses of users: registered, checked, used, saved."""

import io
import math
import pickle
import sys
import threading
import warnings
from functools import partial

import cloudpickle
import numpy as np
import pytest
import reference
import skops.io
from data import problem
from own_functions import assert_all_that_fits_can_do
from processes import run
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import fastmlp
from fastmlp import (
    MLPClassifier,
    MLPRegressor,
    TabularMLPClassifier,
    TabularMLPRegressor,
)
from fastmlp.exchange.networks import counterpart_of
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.losses import LOSSES, REGRESSION_LOSSES
from fastmlp.tables.registered import functions_of_registered


def bump(z):
    """A function that is no built-in one, with g(0) = 1."""
    return math.exp(-z * z / 4) + 0.2 * z


def bump_slope(z):
    return -z / 2 * math.exp(-z * z / 4) + 0.2


def own_relu(z):
    return z if z > 0 else 0.0


def own_relu_slope(z):
    return 1.0 if z > 0 else 0.0


def own_square(z, y):
    return (z - y) * (z - y) / 2


def own_square_slope(z, y):
    return z - y


def own_poisson(z, y):
    log_y = math.log(y) if y > 0 else 0.0
    return y * (log_y - z) - y + math.exp(z)


def own_poisson_slope(z, y):
    return math.exp(z) - y


FORMULA = "$e^{-z^2/4}$"
NAMES = "bump", "own_relu", "own_square", "own_poisson"


def forget(*names):
    for name in names:
        ACTIVATIONS.pop(name, None)
        LOSSES.pop(name, None)
        REGRESSION_LOSSES.discard(name)


@pytest.fixture(scope="module")
def rows():
    fastmlp.register_activation("bump", bump, bump_slope, formula=FORMULA)
    fastmlp.register_activation(
        "own_relu", own_relu, own_relu_slope, initialization="he_uniform"
    )
    fastmlp.register_loss("own_square", own_square, own_square_slope)
    fastmlp.register_loss(
        "own_poisson", own_poisson, own_poisson_slope, output_activation="exp",
        targets="non-negative",
    )  # fmt: skip
    return [
        {name: table[name] for name in NAMES if name in table}
        for table in (ACTIVATIONS, LOSSES)
    ]


@pytest.fixture(autouse=True)
def registered(rows):
    """Each test finds all of them; for none being left, see conftest."""
    for table, own in zip((ACTIVATIONS, LOSSES), rows, strict=True):
        table.update(own)
    REGRESSION_LOSSES.update(rows[1])


# --- registration ---------------------------------------------------------------------


def test_the_same_again_is_harmless_and_another_is_refused():
    names = {}
    for _ in range(2):  # as a cell of a notebook that is run twice
        exec("import math\ndef g(z):\n    return math.atan(z) * k\nk = 2.0", names)
        exec("def slope(z):\n    return 2 / (1 + z * z)", names)
        fastmlp.register_activation("other", names["g"], names["slope"])
    row = ACTIVATIONS["other"]
    with pytest.raises(ValueError, match="another activation is registered as 'other'"):
        fastmlp.register_activation("other", lambda z: z, lambda z: 1.0)
    names["k"] = 3.0
    with pytest.raises(ValueError, match="another activation is registered"):
        fastmlp.register_activation("other", names["g"], names["slope"])
    assert ACTIVATIONS["other"] is row
    with pytest.raises(ValueError, match="another loss is registered as 'own_square'"):
        fastmlp.register_loss("own_square", own_square, own_square_slope, formula="x")


@pytest.mark.parametrize(
    ("function", "slope", "error", "message"),
    [
        (lambda z: z * z, lambda z: z, ValueError, r"wrong at z = -\d.*it gives -\d"),
        (bump, lambda z: bump_slope(z) * 1.001, ValueError, "of the function give"),
        (lambda z: abs(z), lambda z: 1.0, ValueError, "it gives 1, but .* give -1$"),
        (lambda z: math.sqrt(z), lambda z: 1.0, ValueError, "the function .* is nan"),
        (lambda z: z, lambda z: 1 / (z > 0), ValueError, "the derivative .* is inf"),
        (lambda z: "a", lambda z: 1.0, TypeError, "the function must return a number"),
        (bump, lambda z: z.foo, TypeError, "the derivative cannot be compiled"),
        (lambda z, y: z, lambda z: 1.0, TypeError, "must be a function of 1 number"),
        (bump, math.cos, TypeError, "must be a function written in Python"),
        (bump, "slope", TypeError, "the derivative of 'other' is no function"),
    ],
)
def test_what_is_wrong_is_refused(function, slope, error, message):
    with pytest.raises(error, match=message):
        fastmlp.register_activation("other", function, slope)
    assert "other" not in ACTIVATIONS


def test_losses_that_are_wrong_and_names_that_are_taken():
    with pytest.raises(ValueError, match=r"wrong at z = .*, y = .*: it gives"):
        fastmlp.register_loss("other", own_square, lambda z, y: 2 * (z - y))
    for name in ("huber", "log_loss", "binary_log_loss", "auto"):
        with pytest.raises(ValueError, match="one of fastmlp's own"):
            fastmlp.register_loss(name, own_square, own_square_slope)
    with pytest.raises(ValueError, match="one of fastmlp's own"):
        fastmlp.register_activation("relu", own_relu, own_relu_slope)
    for name in ("", "a b", "class", None):
        with pytest.raises(ValueError, match="must be an identifier"):
            fastmlp.register_activation(name, own_relu, own_relu_slope)
    for setting in ("output_activation", "targets"):
        with pytest.raises(ValueError, match=f"{setting} must be among"):
            fastmlp.register_loss(
                "other", own_square, own_square_slope, **{setting: "softmax"}
            )
    with pytest.raises(ValueError, match="initialization must be among"):
        fastmlp.register_activation("other", bump, bump_slope, initialization="zeros")
    assert "other" not in LOSSES


def test_kinks_are_no_errors():
    fastmlp.register_activation(
        "other",
        lambda z: min(max(z, -1.0), 1.0) + (0.5 if z > 0.3 else 0.0),
        lambda z: 1.0 if -1 < z < 1 else 0.0,
    )
    row = ACTIVATIONS["other"]
    z = np.array([[-3.0, 0.2], [0.4, np.nan]])
    np.testing.assert_array_equal(row.value(z), [[-1, 0.2], [0.9, np.nan]])


# --- use ------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("sizes", [(9,), (70, 40)], ids=["strips", "tiles"])
def test_a_copy_of_a_built_in_one_trains_alike(solver, sizes):
    X, y = problem("regression")[1:]
    settings = {
        "hidden_layer_sizes": sizes, "solver": solver, "max_iter": 7, "random_state": 0,
        "precision": "float64", "weight_init": "he_uniform", "n_jobs": 1,
    }  # fmt: skip
    theirs = MLPRegressor(**settings).fit(X, y)
    fits = [
        MLPRegressor("own_square", activation="own_relu", **settings)
        .set_params(n_jobs=n_jobs).fit(X, y)
        for n_jobs in (1, 3)
    ]  # fmt: skip
    for model in fits:
        np.testing.assert_allclose(model.loss_, theirs.loss_, rtol=1e-9)
        np.testing.assert_allclose(model.predict(X), theirs.predict(X), rtol=1e-6)
        for w, same in zip(model.coefs_, fits[0].coefs_, strict=True):
            assert w.tobytes() == same.tobytes()
    singles = clone(fits[0]).set_params(precision="float32").fit(X, y)
    if solver != "lbfgs":
        np.testing.assert_allclose(singles.loss_, theirs.loss_, rtol=1e-3)


def test_predictions_and_gradients_against_numpy(monkeypatch):
    value = np.vectorize(bump), np.vectorize(bump_slope)
    monkeypatch.setitem(reference.ACTIVATIONS, "bump", value)
    X, y = problem("multiclass")[1:]
    for names in ("bump", ["bump", "tanh", "own_relu"]):
        model = MLPClassifier((17, 40, 3), names, max_iter=5, random_state=0).fit(X, y)
        a = X
        listed = [names] * 3 if isinstance(names, str) else names
        for name, w, b in zip(listed, model.coefs_, model.intercepts_, strict=False):
            a = ACTIVATIONS[name].value(a @ w + b)
        expected = reference.softmax(a @ model.coefs_[-1] + model.intercepts_[-1])
        np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-5)
        np.testing.assert_allclose(model.hidden_activations(X), a, atol=1e-5)
        np.testing.assert_array_equal(model.predictor()(X), model.predict_proba(X))
        wide = clone(model).set_params(precision="float64").fit(X, y)
        move = np.array([0, 0, 1e-5, *[0] * 6])
        slope = (wide.predict_proba(X + move) - wide.predict_proba(X - move)) / 2e-5
        np.testing.assert_allclose(wide.input_gradients(X)[:, :, 2], slope, atol=1e-7)


def test_a_loss_with_means():
    X, y = problem("counts")[1:]
    settings = {"max_iter": 9, "random_state": 0, "precision": "float64",
                "standardize": True}  # fmt: skip
    own = MLPRegressor("own_poisson", **settings).fit(X, y, X_val=X, y_val=y)
    theirs = MLPRegressor("poisson", **settings).fit(X, y)
    np.testing.assert_allclose(own.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(own.predict(X), theirs.predict(X), rtol=1e-7)
    assert own.out_activation_ == "exp"
    with pytest.raises(ValueError, match="y must not be negative"):
        clone(own).fit(X, -1.0 - y)


def test_all_that_fits_can_do(tmp_path):
    X, y = problem("binary")[1:]
    own = {"activation": "bump", "random_state": 0}
    assert_all_that_fits_can_do(own, X, y, tmp_path)
    table = TabularMLPClassifier(
        "fast", n_members=1, max_iter=2, activation="bump", random_state=0
    ).fit(X, y)
    again = pickle.loads(pickle.dumps(table))
    np.testing.assert_array_equal(again.predict_proba(X), table.predict_proba(X))
    table = TabularMLPRegressor(
        "fast", n_members=1, max_iter=2, loss="own_square", random_state=0
    ).fit(X, y)
    same = clone(table).set_params(loss="squared_error").fit(X, y)
    np.testing.assert_allclose(table.predict(X), same.predict(X), rtol=1e-4)


def test_threads_use_what_is_registered_at_once():
    X, y = problem("binary")[1:]
    model = MLPClassifier((20,), "bump", max_iter=3, random_state=0)
    expected = clone(model).fit(X, y).coefs_[0]
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(clone(model).fit(X, y).coefs_[0]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [w.tobytes() for w in found] == [expected.tobytes()] * 4


@pytest.mark.slow
def test_searches_in_processes():
    X, y = problem("binary")[1:]
    search = GridSearchCV(
        MLPClassifier((5,), "bump", max_iter=2, random_state=0),
        {"activation": ["bump", "relu"]}, n_jobs=2, cv=2, error_score="raise",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of epochs, in other processes
        search.fit(X, y)
    assert set(search.cv_results_["rank_test_score"]) <= {1, 2}


# --- saved models ---------------------------------------------------------------------


def saved(model):
    file = io.BytesIO()
    fastmlp.save_safetensors(model, file)
    return file.getvalue()


def test_saved_models_name_what_is_missing(rows):
    X, y = problem("regression")[1:]
    model = MLPRegressor("own_square", activation="bump", max_iter=2, random_state=0)
    model.fit(X, y)
    loads = {
        pickle.loads: pickle.dumps(model),
        lambda content: fastmlp.load_safetensors(io.BytesIO(content)): saved(model),
        partial(skops.io.loads, trusted=["fastmlp.estimators.MLPRegressor"]): (
            skops.io.dumps(model)
        ),
    }
    for load, content in loads.items():
        np.testing.assert_array_equal(load(content).predict(X), model.predict(X))
    forget("bump", "own_square")
    for missing in ("activation 'bump'", "loss 'own_square'"):
        for load, content in loads.items():
            with pytest.raises(ValueError, match=f"^register the {missing} with fast"):
                load(content)
        if missing.startswith("activation"):
            ACTIVATIONS["bump"] = rows[0]["bump"]
    LOSSES["own_square"] = rows[1]["own_square"]
    forget("bump")
    fastmlp.register_activation("bump", lambda z: bump(z) + 0.1, bump_slope)
    for load, content in loads.items():
        with pytest.raises(ValueError, match="'bump' that is registered here is not"):
            load(content)
    unfitted = pickle.dumps(MLPClassifier(activation="own_relu"))
    forget("own_relu")
    with pytest.raises(ValueError, match="register the activation 'own_relu'"):
        pickle.loads(unfitted)
    with pytest.raises(ValueError, match=r"Register it first: fastmlp\.register_activ"):
        MLPClassifier(activation="own_relu").fit(X, y > 0)


def test_another_process_loads_them(tmp_path):
    """One that has no registration: with functions by value, it needs none."""
    X, y = problem("binary")[1:]
    model = MLPClassifier((5,), "bump", max_iter=2, random_state=0).fit(X, y)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        (tmp_path / "by value").write_bytes(cloudpickle.dumps(model))
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    (tmp_path / "by name").write_bytes(pickle.dumps(model))
    np.save(tmp_path / "X.npy", X)
    script = """
        import pickle, numpy as np
        X = np.load("X.npy")
        try:
            pickle.load(open("by name", "rb"))
        except ValueError as error:
            assert "register the activation 'bump'" in str(error)
        np.save("p.npy", pickle.load(open("by value", "rb")).predict_proba(X))
        pickle.load(open("by name", "rb"))
    """
    run(script, tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), model.predict_proba(X))


def bump_of_arrays(z):
    return np.exp(-(z**2) / 4) + 0.2 * z


def test_other_programs_are_told_what_they_do_not_know():
    """The counterparts themselves are tested with ONNX Runtime and PyTorch."""
    X, y = problem("binary")[1:]
    model = MLPClassifier((5,), "bump", max_iter=1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match=r"your own, which ONNX .* again with onnx="):
        counterpart_of("bump", "onnx")
    with pytest.raises(ValueError, match="scikit-learn has no activation='bump'"):
        model.to_sklearn()
    for wrong, error, message in (
        (np.exp, ValueError, r"as onnx= of 'bump' is another one: at z = .* it gives"),
        (bump, TypeError, "cannot be called with an array"),
        (lambda z: z.sum(), ValueError, r"makes the shape \(\) of"),
        ("bump", TypeError, "onnx is no function: 'bump'"),
    ):
        with pytest.raises(error, match=message):
            fastmlp.register_activation("bump", bump, bump_slope, formula=FORMULA,
                                        onnx=wrong)  # fmt: skip
        with pytest.raises(error):
            fastmlp.register_activation("other", bump, bump_slope, onnx=wrong)
        assert "other" not in ACTIVATIONS
    fastmlp.register_activation(
        "bump", bump, bump_slope, formula=FORMULA, onnx=bump_of_arrays
    )
    assert counterpart_of("bump", "onnx") is bump_of_arrays
    with pytest.raises(ValueError, match=r"your own, which PyTorch .* with torch="):
        counterpart_of("bump", "torch")
    with pytest.raises(ValueError, match="another activation is registered as 'bump'"):
        fastmlp.register_activation("bump", bump, bump_slope, onnx=bump_of_arrays)
    # packages that store functions by value take it along
    (found,) = functions_of_registered({"activation": "bump"})
    assert found[-1]["onnx"] is bump_of_arrays
    assert counterpart_of("relu", "onnx") is None


def test_a_loss_of_your_own_does_not_matter_to_scikit_learn():
    X, y = problem("counts")[1:]
    model = MLPRegressor("own_poisson", max_iter=2, random_state=0).fit(X, y)
    with pytest.warns(UserWarning, match="scikit-learn has no loss='own_poisson'"):
        theirs = model.to_sklearn()
    np.testing.assert_allclose(theirs.predict(X), model.predict(X), rtol=1e-5)
