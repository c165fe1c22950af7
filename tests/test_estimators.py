"""The estimators: as right as scikit-learn, its errors, at home among its tools."""

import pickle
import warnings
from pathlib import Path
from unittest import mock

import joblib
import numpy as np
import pytest
import sklearn
from data import problem
from scipy.sparse import csr_array
from sklearn import neural_network
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import (
    load_diabetes,
    load_iris,
)
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler
from sklearn.utils.fixes import parse_version

import fastmlp
from fastmlp import MLPClassifier, MLPEstimator, MLPRegressor

SKLEARN = parse_version(sklearn.__version__)
ALL = [MLPClassifier, MLPRegressor, MLPEstimator]


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": (), "activation": "logistic"},
        {"hidden_layer_sizes": 5},
        {"hidden_layer_sizes": (9, 8, 7, 6)},
        {"shuffle": False},
        {"alpha": 0.0},
        {"alpha": 1.0, "batch_size": 203},
        {"batch_size": 1, "max_iter": 2},
        {"solver": "sgd", "momentum": 0.0},
        {"solver": "sgd", "nesterovs_momentum": False},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "max_iter": 60,
         "n_iter_no_change": 2},
        {"tol": 0.05, "n_iter_no_change": 1, "max_iter": 60},
        {"n_iter_no_change": np.inf},
        {"beta_1": 0.0, "beta_2": 0.5, "epsilon": 0.1},
        {"random_state": np.random.RandomState},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::fastmlp.exceptions.ScaleWarning")
def test_every_setting_follows_scikit_learn(settings):
    settings = {"max_iter": 10, **settings}
    random_state = settings.pop("random_state", None)
    ours, theirs, _ = [], [], None
    name, X, y = problem("multiclass")
    for module, more in ((fastmlp, {"precision": "float64"}), (neural_network, {})):
        seed = random_state(5) if random_state else 3
        model = getattr(module, name)(random_state=seed, **settings, **more)
        (ours if module is fastmlp else theirs).append(model.fit(X, y))
    (ours,), (theirs,) = ours, theirs
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-6)
    for name in ("n_iter_", "n_layers_", "n_outputs_", "out_activation_", "t_",
                 "n_features_in_", "validation_scores_"):  # fmt: skip
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("loss_", "best_loss_"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-6)
    for mine, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        assert mine.shape == other.shape
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-9)


@pytest.mark.skipif(parse_version("1.7") > SKLEARN, reason="new in scikit-learn 1.7")
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "counts"])
def test_sample_weights_and_poisson_follow_scikit_learn(task):
    name, X, y = problem(task)
    weights = np.random.default_rng(0).uniform(0, 2, len(X))
    settings = {"random_state": 0, "max_iter": 10, "learning_rate_init": 0.01}
    if task == "counts":
        settings["loss"] = "poisson"
    ours = getattr(fastmlp, name)(precision="float64", **settings)
    theirs = getattr(neural_network, name)(**settings)
    ours.fit(X, y, sample_weight=weights)
    theirs.fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-6)
    assert ours.score(X, y, weights) == pytest.approx(theirs.score(X, y, weights))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "multioutput"])
def test_float32_stays_close_to_float64(task):
    name, X, y = problem(task)
    fits = [
        getattr(fastmlp, name)(random_state=0, precision=precision, max_iter=20)
        .fit(X, y)
        for precision in ("float32", "float64")
    ]  # fmt: skip
    np.testing.assert_allclose(*(fit.loss_curve_ for fit in fits), rtol=1e-4)


@pytest.mark.parametrize("task", ["binary", "multioutput"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_results_do_not_depend_on_n_jobs(precision, task):
    name, X, y = problem(task)
    results = set()
    most = 2 * joblib.cpu_count()
    for n_jobs in (1, 2, min(3, most), most, -1, None):
        model = getattr(fastmlp, name)(
            random_state=0, precision=precision, n_jobs=n_jobs, max_iter=5,
            batch_size=50,
        ).fit(X, y)  # fmt: skip
        results.add(
            (
                model.predict(X).tobytes(),
                tuple(model.loss_curve_),
                *(coef.tobytes() for coef in model.coefs_),
            )
        )
    assert len(results) == 1


def test_one_output_column_and_multioutput_shapes():
    _, X, y = problem("regression")
    model = MLPRegressor(max_iter=2, random_state=0)
    assert model.fit(X, y).predict(X).shape == (len(X),)
    with pytest.warns(sklearn.exceptions.DataConversionWarning):
        model.fit(X, y.reshape(-1, 1))
    assert model.predict(X).shape == (len(X),)
    _, X, y = problem("multioutput")
    assert model.fit(X, y).predict(X).shape == y.shape


def test_the_gradient_of_several_outputs_is_that_of_the_reported_loss():
    """With plain descent, one step lowers the loss by rate |gradient|^2."""
    _, X, y = problem("multioutput")
    losses = [
        MLPRegressor(
            hidden_layer_sizes=(20,), solver="sgd", momentum=0.0,
            learning_rate_init=rate, max_iter=2,
            batch_size=len(X), alpha=0, precision="float64", random_state=0,
            shuffle=False,
        ).fit(X, y).loss_curve_
        for rate in (1e-6, 2e-6)
    ]  # fmt: skip
    drops = [before - after for before, after in losses]
    assert drops[1] / drops[0] == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_arrays_have_the_dtype_of_X(precision, dtype):
    for task in ("multiclass", "regression"):
        name, X, y = problem(task, dtype=dtype)
        model = getattr(fastmlp, name)(precision=precision, max_iter=2).fit(X, y)
        assert model.precision_ == precision
        assert all(a.dtype == dtype for a in model.coefs_ + model.intercepts_)
        outputs = model.predict(X) if task == "regression" else model.predict_proba(X)
        assert outputs.dtype == dtype


@pytest.mark.parametrize(
    "convert",
    [
        np.asfortranarray,
        lambda X: X[::-1][::-1],
        lambda X: np.repeat(X, 2, axis=1)[:, ::2],
        lambda X: X.astype(">f8"),
        lambda X: X.tolist(),
        lambda X: np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(X.dtype)
        .reshape(X.shape),
    ],
    ids=["fortran", "negative strides", "strided", "big-endian", "list", "unaligned"],
)  # fmt: skip
def test_any_layout_gives_the_same_model(convert):
    _, X, y = problem("binary")
    X = np.round(X, 3)
    settings = {"max_iter": 3, "random_state": 0}
    expected = MLPClassifier(**settings).fit(X, y)
    result = MLPClassifier(**settings).fit(convert(X), y)
    assert result.loss_curve_ == expected.loss_curve_
    np.testing.assert_array_equal(
        result.predict_proba(convert(X)), expected.predict_proba(X)
    )


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.float16, bool])
def test_any_dtype_is_taken(dtype):
    X = np.random.default_rng(0).integers(0, 2, (60, 5)).astype(dtype)
    y = X[:, 0].astype(int)
    model = MLPClassifier(max_iter=3, random_state=0).fit(X, y)
    expected = MLPClassifier(max_iter=3, random_state=0).fit(X.astype(float), y)
    assert model.loss_curve_ == expected.loss_curve_


def test_labels_of_any_kind():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = MLPClassifier(max_iter=500, random_state=0).fit(X, names)
    assert model.score(X, names) > 0.95
    assert model.classes_.tolist() == sorted(set(names))
    binary = MLPClassifier(max_iter=50, random_state=0).fit(X[:100], names[:100])
    assert binary.predict_proba(X[:3]).shape == (3, 2)
    np.testing.assert_allclose(binary.predict_proba(X).sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(
        np.exp(model.predict_log_proba(X)), model.predict_proba(X)
    )


# --- errors --------------------------------------------------------------------------


def message_of(function, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception) as caught:  # noqa: PT011
            function(*args, **kwargs)
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", -1), ("activation", "cubic"), ("solver", "newton"),
        ("batch_size", 0), ("learning_rate", "fast"), ("learning_rate_init", 0.0),
        ("max_iter", 0), ("tol", -1.0), ("momentum", 2.0), ("beta_1", 1.0),
        ("beta_2", -0.1), ("epsilon", 0.0), ("n_iter_no_change", 0),
        ("hidden_layer_sizes", -3), ("hidden_layer_sizes", (5, 0)),
        ("shuffle", "yes"), ("validation_fraction", 1.0), ("power_t", -1.0),
        ("max_fun", 0), ("hidden_layer_sizes", "wide"),
    ],
)  # fmt: skip
def test_bad_parameters_get_scikit_learns_errors(name, value):
    X, y = [[0.0], [1.0]], [0, 1]
    ours = message_of(MLPClassifier(**{name: value}).fit, X, y)
    theirs = message_of(neural_network.MLPClassifier(**{name: value}).fit, X, y)
    assert ours[0] == theirs[0]
    if name in ("activation", "solver", "learning_rate"):  # of which we have more
        assert ours[1].partition(" must be ")[0] == theirs[1].partition(" must be ")[0]
        return
    # options are listed in the order of a set, which changes from run to run
    assert sorted(ours[1]) == sorted(theirs[1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("precision", "float16"), ("n_jobs", 1.5), ("n_jobs", 0), ("n_jobs", "all"),
        ("loss", "hinge"), ("focal_gamma", -1.0), ("label_smoothing", 1.0),
        ("class_weight", "fair"), ("scoring", 3), ("restore_best_weights", 2),
        ("weight_init", "zeros"), ("dropout", 1.0), ("input_dropout", -0.1),
        ("weight_decay", -1), ("l1", -1), ("clip_norm", 0), ("ema_decay", 1.0),
        ("callbacks", print), ("time_limit", 0), ("checkpoint", 3),
    ],
)  # fmt: skip
def test_bad_values_of_our_own_parameters(name, value):
    kind, message = message_of(MLPClassifier(**{name: value}).fit, [[0.0]], [0])
    assert issubclass(kind, ValueError)
    assert f"The '{name}' parameter of MLPClassifier must be" in message


BAD_DATA = {
    "lengths": ([[0.0], [1.0]], [0, 1, 1]),
    "one dimension": ([0.0, 1.0], [0, 1]),
    "three dimensions": (np.zeros((2, 2, 2)), [0, 1]),
    "no rows": (np.zeros((0, 2)), []),
    "no columns": (np.zeros((2, 0)), [0, 1]),
    "complex": (np.array([[1j], [2j]]), [0, 1]),
}


@pytest.mark.parametrize("kind", ["Classifier", "Regressor"])
@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_gets_scikit_learns_errors(case, kind):
    ours = getattr(fastmlp, f"MLP{kind}")()
    theirs = getattr(neural_network, f"MLP{kind}")()
    assert message_of(ours.fit, *BAD_DATA[case]) == message_of(
        theirs.fit, *BAD_DATA[case]
    )


def test_bad_targets_get_scikit_learns_errors():
    X = [[0.0], [1.0], [2.0]]
    for y in ([0.5, 1.5, 2.5], [np.nan, 0, 1], [[1, 2], [2, 3], [3, 1]]):
        assert message_of(MLPClassifier().fit, X, y) == message_of(
            neural_network.MLPClassifier().fit, X, y
        )
    y = [np.inf, 0, 1]
    assert message_of(MLPRegressor().fit, X, y) == message_of(
        neural_network.MLPRegressor().fit, X, y
    )
    with pytest.raises(ValueError, match="'poisson': y must not be negative"):
        MLPRegressor(loss="poisson").fit(X, [-1.0, 0.0, 1.0])


def test_predict_checks_as_scikit_learn_does():
    X, y = load_iris(return_X_y=True)
    ours, theirs = MLPClassifier(max_iter=2), neural_network.MLPClassifier(max_iter=2)
    assert message_of(ours.predict, X) == message_of(theirs.predict, X)
    with pytest.raises(NotFittedError):
        ours.predict_proba(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours.fit(X, y)
        theirs.fit(X, y)
    for bad in (X[:, :2], X[0]):
        assert message_of(ours.predict, bad) == message_of(theirs.predict, bad)
    ours.coefs_[0] = ours.coefs_[0][:3]
    with pytest.raises(ValueError, match="X has shape"):
        ours.predict(X)


def test_diverged_fit_raises():
    X, y = load_diabetes(return_X_y=True)
    model = MLPRegressor(solver="sgd", learning_rate_init=1e6, random_state=0)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weig"):
        model.fit(X * 1e6, y)
    assert not hasattr(model, "coefs_")
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_a_fit_that_fails_leaves_the_last_model():
    X, y = load_iris(return_X_y=True)
    model = MLPEstimator(max_iter=5, random_state=0).fit(X, y)
    expected = model.predict_proba(X)
    model.set_params(solver="sgd", learning_rate_init=1e300)
    for target in (y > 0, y + 0.5):
        with pytest.raises(ValueError, match="non-finite"):
            model.fit(X, target)
        np.testing.assert_array_equal(model.predict_proba(X), expected)
        assert model.predict(X).shape == y.shape
    first = MLPEstimator()
    with pytest.raises(ValueError, match="NaN"):
        first.fit(np.full((3, 1), np.nan), [0.5, 1.5, 2.5])
    assert is_classifier(first)


@pytest.mark.parametrize(
    "settings",
    [{"beta_2": 1 - 1e-8}, {"beta_1": 1 - 1e-9}, {"epsilon": 1e-39}],
    ids=str,
)
def test_constants_that_float32_cannot_hold(settings):
    _, X, y = problem("binary")
    fits = [
        MLPClassifier(max_iter=5, random_state=0, precision=precision, **settings)
        .fit(X, y)
        for precision in ("float32", "float64")
    ]  # fmt: skip
    np.testing.assert_allclose(*(fit.loss_curve_ for fit in fits), rtol=1e-4)


def test_numbers_that_only_float64_can_hold_are_predicted():
    _, X, y = problem("binary")
    model = MLPClassifier(max_iter=5, random_state=0).fit(X, y)
    far = np.array([[1e39] * 9, [-1e39] * 9])
    assert np.isfinite(model.predict_proba(far)).all()
    np.testing.assert_array_equal(
        model.predict(far),
        model.predict(far / 1e30),  # beyond all kinks of ReLU
    )
    # and do not change the others
    expected = model.predict_proba(X)
    both = model.predict_proba(np.vstack([X, far]))
    np.testing.assert_array_equal(both[:-2], expected)


def test_numbers_beyond_float32_are_fitted_in_float64():
    """Not left standing: Adam's second moment would be infinite, its steps zero."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 3))
    y = (X[:, 0] + 1) * 1e12
    settings = {"hidden_layer_sizes": (20,), "max_iter": 30, "learning_rate_init": 0.05}
    for random_state in (0, np.random.RandomState(3), np.random.RandomState(3)):
        if isinstance(random_state, int):
            theirs = neural_network.MLPRegressor(random_state=0, **settings)
            theirs.fit(X * 1e12, y)
        model = MLPRegressor(random_state=random_state, **settings)
        with pytest.warns(UserWarning, match="too large for float32"):
            model.fit(X * 1e12, y)
        assert model.precision_ == "float64"
        if isinstance(random_state, int):
            np.testing.assert_allclose(model.loss_curve_, theirs.loss_curve_, rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.partial_fit(X * 1e12, y)  # goes on in float64
    with pytest.raises(ValueError, match="non-finite"):
        MLPRegressor(
            solver="sgd", learning_rate_init=1e5, precision="float32", max_iter=50
        ).fit(X * 1e12, y)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, bool])
def test_a_matrix_of_0_and_1_is_seen_at_a_glance(dtype):
    """And is what scikit-learn makes of it, score included."""
    _, X, y = problem("multilabel")
    y = y.astype(dtype)
    model = MLPClassifier(max_iter=5, random_state=0)
    with (
        mock.patch.object(LabelBinarizer, "fit", side_effect=AssertionError),
        mock.patch.object(LabelBinarizer, "transform", side_effect=AssertionError),
        mock.patch("sklearn.metrics.accuracy_score", side_effect=AssertionError),
    ):
        model.fit(X, y)
        score = model.score(X, y)
    assert score == accuracy_score(y, model.predict(X))
    ours, theirs = dict(vars(model._label_binarizer)), vars(LabelBinarizer().fit(y))
    assert ours.keys() == theirs.keys()
    np.testing.assert_array_equal(ours.pop("classes_"), theirs["classes_"])
    assert ours.items() <= theirs.items()
    assert model.classes_.dtype == theirs["classes_"].dtype


@pytest.mark.parametrize("y_values", [(0, 2), (-1, 1), (0, 0.5)])
def test_labels_of_a_matrix_may_have_any_two_values(y_values):
    _, X, y = problem("multilabel")
    y = np.where(y, y_values[1], y_values[0])
    if y_values[0] == -1:
        y[y == -1] = 0
    settings = {"random_state": 0, "max_iter": 20, "early_stopping": True}
    ours = MLPClassifier(precision="float64", **settings)
    theirs = neural_network.MLPClassifier(**settings)
    messages = []
    for model in (ours, theirs):
        try:
            model.fit(X, y)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) in (0, 2)
    if not messages:
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
        assert ours.validation_scores_ == theirs.validation_scores_


def test_negative_weights_follow_scikit_learn():
    if parse_version("1.7") > SKLEARN:
        pytest.skip("sample_weight is new in 1.7")
    _, X, y = problem("binary")
    for weights in (-np.ones(len(X)), np.linspace(-1, 3, len(X))):
        for solver in ("adam", "lbfgs"):
            settings = {"solver": solver, "max_iter": 5, "random_state": 0, "alpha": 0}
            ours = MLPClassifier(precision="float64", **settings)
            theirs = neural_network.MLPClassifier(**settings)
            for model in (ours, theirs):
                model.fit(X, y, sample_weight=weights)
            assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-6)


@pytest.mark.parametrize("y", [["a", "b", "c"], np.array(["1", "2", "3"])])
def test_a_regression_of_strings_is_refused(y):
    X = [[0.0], [1.0], [2.0]]
    for more in ({}, {"early_stopping": True}, {"loss": "poisson"}):
        with pytest.raises(ValueError, match="needs a y of numbers, got the dtype <U"):
            MLPRegressor(**more).fit(X, y)
    with pytest.raises(ValueError, match="dense y"):
        MLPRegressor().fit(X, csr_array(np.ones((3, 2))))


def test_losses_are_numpys():
    """For .round(), .item() and all that people do with scikit-learn's."""
    X, y = load_iris(return_X_y=True)
    model = MLPClassifier(max_iter=2, random_state=0).fit(X, y)
    for value in (model.loss_, model.best_loss_, model.loss_curve_[0]):
        assert type(value) is np.float64
    model = MLPClassifier(max_iter=2, random_state=0, solver="lbfgs").fit(X, y)
    assert type(model.loss_) is np.float64


def test_warnings_come_from_one_module():
    """One filter, ``module="fastmlp"``, covers them wherever fit is called."""
    X, y = load_iris(return_X_y=True)
    for solver in ("adam", "lbfgs"):
        model = make_pipeline(
            StandardScaler(), MLPClassifier(solver=solver, max_iter=2)
        )
        with pytest.warns(ConvergenceWarning) as seen:
            model.fit(X, y)
        assert Path(seen[0].filename).parent.name == "fastmlp"


@pytest.mark.parametrize("factor", [1e-46, 1e-39, 1.0, 1e39])
def test_sample_weights_of_any_size(factor):
    _, X, y = problem("regression")
    weights = np.random.default_rng(0).uniform(0, 2, len(X))
    settings = {"max_iter": 3, "random_state": 0, "alpha": 0}
    expected = MLPRegressor(**settings).fit(X, y, sample_weight=weights)
    model = MLPRegressor(**settings).fit(X, y, sample_weight=weights * factor)
    np.testing.assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=1e-5)


def test_a_batch_without_weight_changes_nothing():
    _, X, y = problem("binary")
    weights = np.ones(len(X))
    weights[:20] = 0
    settings = {"max_iter": 3, "shuffle": False, "batch_size": 10, "solver": "sgd",
                "momentum": 0.0, "random_state": 0}  # fmt: skip
    model = MLPClassifier(**settings).fit(X, y, sample_weight=weights)
    expected = MLPClassifier(**settings).fit(X[20:], y[20:])
    np.testing.assert_allclose(model.coefs_[0], expected.coefs_[0], rtol=1e-6)


def test_warnings_are_scikit_learns():
    X, y = load_iris(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        MLPClassifier(max_iter=2).fit(X, y)
    with pytest.warns(UserWarning, match="Got `batch_size` less than 1 or larger"):
        MLPClassifier(max_iter=2, batch_size=1000).fit(X, y)


def test_verbose_prints_what_scikit_learn_prints(capsys):
    X, y = load_iris(return_X_y=True)
    settings = {"verbose": True, "tol": 0.5, "n_iter_no_change": 2, "random_state": 0}
    for solver in ("adam", "sgd"):
        schedule = "adaptive" if solver == "sgd" else "constant"
        more = {"solver": solver, "learning_rate": schedule, "max_iter": 20}
        MLPClassifier(precision="float64", **settings, **more).fit(X, y)
        ours = capsys.readouterr().out
        neural_network.MLPClassifier(**settings, **more).fit(X, y)
        assert ours == capsys.readouterr().out


# --- among scikit-learn's tools ------------------------------------------------------


@pytest.mark.parametrize("estimator", ALL)
def test_constructor_matches_scikit_learn(estimator):
    """Same names, order and defaults; what is new stands behind, by keyword only."""
    import inspect

    ours = inspect.signature(estimator).parameters
    if estimator is not MLPEstimator and parse_version("1.7") <= SKLEARN:
        theirs = inspect.signature(
            getattr(neural_network, estimator.__name__)
        ).parameters
        assert list(ours.values())[: len(theirs)] == list(theirs.values())
        new = list(ours)[len(theirs) :]
        assert new[:2] == ["precision", "n_jobs"]
        assert all(ours[name].kind == ours[name].KEYWORD_ONLY for name in new)
    assert clone(estimator(alpha=0.5, n_jobs=2)).get_params()["alpha"] == 0.5


def test_pipeline_and_grid_search():
    X, y = load_iris(return_X_y=True)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), MLPClassifier(max_iter=300, random_state=0)),
        {"mlpclassifier__hidden_layer_sizes": [(5,), (20,)]},
        n_jobs=2,
    )
    assert search.fit(X, y).best_score_ > 0.9


def test_pickle_round_trip():
    X, y = load_iris(return_X_y=True)
    model = MLPClassifier(max_iter=5, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_written_weights_are_used():
    X, y = load_iris(return_X_y=True)
    model = MLPClassifier(max_iter=5, random_state=0).fit(X, y)
    model.coefs_[-1][:] = 0
    model.intercepts_[-1] = np.array([0.0, 5.0, 0.0])
    assert (model.predict(X) == 1).all()


class TestMLPEstimator:
    def test_decides_by_target(self):
        X, y = load_iris(return_X_y=True)
        model = MLPEstimator(max_iter=300, random_state=0).fit(X, y)
        assert model.task_ == "classification"
        assert is_classifier(model)
        assert model.score(X, y) == accuracy_score(y, model.predict(X))
        expected = MLPClassifier(max_iter=300, random_state=0).fit(X, y)
        np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))

        y = y + 0.5
        model.fit(X, y)
        assert model.task_ == "regression"
        assert is_regressor(model)
        assert not hasattr(model, "predict_proba")
        assert not hasattr(model, "classes_")
        assert model.score(X, y) == r2_score(y, model.predict(X))
        expected = MLPRegressor(max_iter=300, random_state=0).fit(X, y)
        np.testing.assert_array_equal(model.predict(X), expected.predict(X))

    def test_multilabel(self):
        _, X, y = problem("multilabel")
        model = MLPEstimator(max_iter=5, random_state=0).fit(X, y)
        assert model.task_ == "classification"
        assert model.predict(X).shape == y.shape

    def test_declared_task(self):
        X, y = load_iris(return_X_y=True)
        assert is_classifier(MLPEstimator())
        assert is_classifier(MLPEstimator(task="classification"))
        regressor = MLPEstimator(task="regression", max_iter=2)
        assert is_regressor(regressor)
        assert not hasattr(regressor, "predict_proba")
        assert regressor.fit(X, y).task_ == "regression"
        counts = MLPEstimator(task="regression", loss="poisson", max_iter=2).fit(X, y)
        assert counts.out_activation_ == "exp"
        assert (counts.predict(X) > 0).all()

    def test_loss_must_fit_the_task(self):
        X, y = load_iris(return_X_y=True)
        with pytest.raises(ValueError, match="loss='poisson' does not fit"):
            MLPEstimator(loss="poisson").fit(X, y)
        with pytest.raises(ValueError, match="loss='log_loss' does not fit"):
            MLPEstimator(loss="log_loss", task="regression").fit(X, y)
        with pytest.raises(ValueError, match="'task' parameter of MLPEstimator"):
            MLPEstimator(task="clustering").fit(X, y)

    def test_grid_search_stratifies_classes_and_takes_numbers(self):
        X, y = load_iris(return_X_y=True)  # sorted by class: plain folds would fail
        model = MLPEstimator(max_iter=300, random_state=0)
        assert cross_val_score(model, X, y).min() > 0.8
        X, y = load_diabetes(return_X_y=True)
        y = y / 100 + 0.001
        search = GridSearchCV(model, {"alpha": [0.01, 1.0]}, cv=3).fit(X, y)
        assert search.best_estimator_.task_ == "regression"
