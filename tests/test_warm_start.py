"""partial_fit, warm_start, written weights, early stopping: fits that go on."""

import pickle
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse
import sklearn
from data import problem
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.fixes import parse_version

import fastmlp
from fastmlp import MLPClassifier, MLPEstimator, MLPRegressor
from fastmlp.data.targets import Targets
from fastmlp.engine.network import Network
from fastmlp.estimators import perceptron
from fastmlp.training.events import Events
from fastmlp.training.lbfgs import rows_of_a_piece

BEFORE_1_7 = parse_version(sklearn.__version__) < parse_version("1.7")
TASKS = ["binary", "multiclass", "multilabel", "regression"]
SOLVERS = {
    "adam": {},
    "momentum": {"solver": "sgd"},
    "descent": {"solver": "sgd", "momentum": 0.0, "learning_rate": "invscaling"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0,
                 "n_iter_no_change": 1, "nesterovs_momentum": False},
}  # fmt: skip


def both(name, **settings):
    settings = {"hidden_layer_sizes": (13, 7), "random_state": 5, **settings}
    ours = getattr(fastmlp, name)(precision="float64", **settings)
    return ours, getattr(neural_network, name)(**settings)


def assert_same_fit(ours, theirs, rtol=1e-6):
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=rtol)
    for name in ("n_iter_", "t_", "_no_improvement_count", "n_layers_", "n_outputs_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours._optimizer.learning_rate == pytest.approx(
        theirs._optimizer.learning_rate
    )
    for mine, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-8)


@contextmanager
def ignored(message):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=f".*{message}")
        yield


# --- partial_fit ---------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("task", TASKS)
def test_partial_fit_follows_scikit_learn(task, solver):
    """Batches of data of different sizes, an optimizer that goes on through them."""
    name, X, y = problem(task)
    models = both(name, batch_size=16, **SOLVERS[solver])
    for model in models:
        classes = range(y.shape[1]) if task == "multilabel" else np.unique(y)
        first = {"classes": classes} if name == "MLPClassifier" else {}
        for _ in range(2):
            for rows in (slice(0, 50), slice(50, 170), slice(170, 203)):
                assert model.partial_fit(X[rows], y[rows], **first) is model
                first = {}
    assert_same_fit(*models)
    assert len(models[0].loss_curve_) == 6
    assert models[0].n_iter_ == 1


@pytest.mark.parametrize("solver", SOLVERS)
def test_partial_fit_after_fit_and_with_weights(solver):
    name, X, y = problem("multiclass")
    weights = np.random.default_rng(0).uniform(0, 2, len(y))
    models = both(name, max_iter=4, **SOLVERS[solver])
    for model in models:
        model.fit(X, y)
        if BEFORE_1_7:
            model.partial_fit(X, y)
        else:
            model.partial_fit(X, y, weights)
        model.partial_fit(scipy.sparse.csr_array(X), y)
    assert_same_fit(*models)


def test_one_fit_is_as_many_partial_fits():
    """The same bits: state passes between calls without loss, even in float32."""
    _, X, y = problem("regression")
    for solver in ("adam", "sgd"):
        settings = {"solver": solver, "random_state": 0, "batch_size": len(X)}
        whole = MLPRegressor(max_iter=20, **settings).fit(X, y)
        pieces = MLPRegressor(**settings)
        for _ in range(20):
            pieces.partial_fit(X, y)
        assert pieces.loss_curve_ == whole.loss_curve_
        np.testing.assert_array_equal(pieces.coefs_[0], whole.coefs_[0])
        assert pieces.t_ == whole.t_


def test_partial_fit_checks_classes_as_scikit_learn_does():
    X, y = [[3.0, 2.0], [1.0, 6.0]], [0, 1]
    for first, then in (
        ({}, None),
        ({"classes": [2]}, None),
        ({"classes": [0, 1]}, {"classes": [1, 2]}),
        ({"classes": [1, 2]}, None),
    ):
        messages = []
        for model in both("MLPClassifier"):
            if then is not None:
                model.partial_fit(X, y, **first)
            arguments = first if then is None else then
            with pytest.raises(ValueError, match="class") as caught:
                model.partial_fit(X, y, **arguments)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
    model = MLPClassifier()
    with pytest.raises(ValueError, match="classes not in"):
        model.partial_fit(X, y, classes=[1, 2])
    # scikit-learn would hold on to the classes of the call that failed
    assert model.partial_fit(X, y, classes=[0, 1]).classes_.tolist() == [0, 1]


def test_partial_fit_refuses_what_does_not_fit():
    X, y = load_iris(return_X_y=True)
    model = MLPRegressor(max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match="X has 3 features, but MLPRegressor is expec"):
        model.partial_fit(X[:, :3], y)
    with pytest.raises(ValueError, match="1 outputs, the data 4 features and 2 outp"):
        model.partial_fit(X, np.column_stack([y, y]))
    message = "partial_fit is only available for stochastic optimizers"
    for estimator in (MLPClassifier, MLPRegressor, MLPEstimator):
        assert not hasattr(estimator(solver="lbfgs"), "partial_fit")
        with pytest.raises(AttributeError) as caught:
            estimator(solver="lbfgs").partial_fit  # noqa: B018
        assert message in f"{caught.value} {caught.value.__cause__}"


def test_a_partial_fit_that_fails_leaves_the_model():
    X, y = load_iris(return_X_y=True)
    model = MLPRegressor(max_iter=5, random_state=0, solver="sgd").fit(X, y)
    expected, t, curve = model.predict(X), model.t_, list(model.loss_curve_)
    with pytest.raises(ValueError, match="non-finite"), ignored("too large"):
        model.partial_fit(X * 1e300, y)
    np.testing.assert_array_equal(model.predict(X), expected)
    assert (model.t_, model.loss_curve_) == (t, curve)
    model.partial_fit(X, y)
    assert np.isfinite(model.loss_)


def test_a_changed_solver_starts_a_new_optimizer():
    X, y = load_iris(return_X_y=True)
    model = MLPClassifier(max_iter=3, random_state=0).fit(X, y)
    assert model._optimizer.n_updates == 3
    model.set_params(solver="sgd").partial_fit(X, y)
    assert model._optimizer.name == "nesterov"
    assert model._optimizer.n_updates == 1


def test_the_learning_rate_can_be_changed_between_calls():
    """As it can in scikit-learn; what has no effect there is refused here."""
    _, X, y = problem("binary")
    for solver, name in (("sgd", "learning_rate"), ("adam", "learning_rate_init")):
        models = both("MLPClassifier", solver=solver)
        for model in models:
            for epoch in range(5):
                model.partial_fit(X, y, classes=[0, 1])
                setattr(model._optimizer, name, 0.1 * 0.5**epoch)
                assert getattr(model._optimizer, name) == pytest.approx(
                    0.1 * 0.5**epoch
                )
        np.testing.assert_allclose(
            models[0].loss_curve_, models[1].loss_curve_, rtol=1e-9
        )
    with pytest.raises(AttributeError, match="only learning_rate_init"):
        models[0]._optimizer.learning_rate = 0.5
    with pytest.raises(AttributeError, match="no 'velocities'"):
        models[0]._optimizer.velocities  # noqa: B018


def test_labels_of_another_kind_are_refused():
    _, X, Y = problem("multilabel")
    y = np.arange(len(X)) % 3
    for first, second in ((y, Y), (Y, y)):
        model = MLPClassifier(warm_start=True, max_iter=2).fit(X, first)
        with pytest.raises(ValueError, match=r"was not fitted with|same classes"):
            model.fit(X, second)
    model = MLPClassifier().partial_fit(X, y, classes=[0, 1, 2, 3])
    with pytest.raises(ValueError, match="was not fitted with multilabel input"):
        model.partial_fit(X, Y)
    models = both("MLPClassifier")
    for model in models:
        with pytest.raises(ValueError, match="classes"):
            model.partial_fit(X, Y, classes=["a", "b", "c"])
        model = clone(model).partial_fit(X, Y, classes=range(5))
        assert model.classes_.tolist() == [0, 1, 2, 3, 4]
        assert model.predict(X).shape == Y.shape


def test_another_task_cannot_go_on():
    X, y = load_iris(return_X_y=True)
    model = MLPEstimator(warm_start=True, max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match="the previous fit was a classification"):
        model.set_params(task="regression").fit(X, y)


def test_estimator_of_either_task():
    X, y = load_iris(return_X_y=True)
    model = MLPEstimator(random_state=0)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, y)
    model.partial_fit(X[:10], y[:10], classes=[0, 1, 2])
    assert model.task_ == "classification"
    assert model.partial_fit(X, y).predict_proba(X).shape == (150, 3)
    model = MLPEstimator(random_state=0).partial_fit(X, y + 0.5)
    # whole numbers now: the task is settled
    assert model.partial_fit(X, y).task_ == "regression"


# --- weights that were written -------------------------------------------------------


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_written_weights_are_trained_further(name):
    X, y = load_iris(return_X_y=True)
    models = both(name, max_iter=3, solver="sgd", momentum=0.0)
    rng = np.random.default_rng(0)
    for i, model in enumerate(models):
        model.fit(X, y)
        if i == 0:
            new = [rng.standard_normal(coef.shape) for coef in model.coefs_]
        model.coefs_ = [coef.copy() for coef in new]
        model.intercepts_[0][:] = 0.25
        model.partial_fit(X, y)
    np.testing.assert_allclose(models[0].predict(X), models[1].predict(X), rtol=1e-9)
    assert_same_fit(*models)


def test_a_network_of_another_width_is_taken_as_written():
    X, y = load_iris(return_X_y=True)
    model = MLPClassifier((5,), max_iter=3).fit(X, y)
    model.coefs_ = [model.coefs_[0][:, :2], model.coefs_[1][:2]]
    with pytest.raises(ValueError, match="cannot hold biases of shape"):
        model.predict(X)
    model.intercepts_[0] = model.intercepts_[0][:2]
    model.predict(X)
    with pytest.raises(ValueError, match="cannot hold weights of shape"):
        model.partial_fit(X, y)  # the optimizer's state is that of five units
    model.set_params(warm_start=True).fit(X, y)
    assert model.coefs_[0].shape == (4, 2)


# --- warm_start ----------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_warm_start_follows_scikit_learn(task, solver, early_stopping):
    name, X, y = problem(task)
    settings = {"max_iter": 4, "warm_start": True, "early_stopping": early_stopping}
    models = both(name, **settings, **SOLVERS[solver])
    for model in models:
        for _ in range(3):
            model.fit(X, y)
    assert_same_fit(*models)
    ours, theirs = models
    for attribute in ("best_loss_", "best_validation_score_"):
        expected = getattr(theirs, attribute)
        if expected is None:
            assert getattr(ours, attribute) is None
        else:
            assert getattr(ours, attribute) == pytest.approx(expected, rel=1e-6)
    if early_stopping:
        np.testing.assert_allclose(
            ours.validation_scores_, theirs.validation_scores_, rtol=1e-6
        )


def test_warm_start_with_lbfgs_and_between_solvers():
    X, y = load_iris(return_X_y=True)
    models = both(
        "MLPClassifier", solver="lbfgs", max_iter=5, warm_start=True, activation="tanh"
    )
    ours, theirs = models
    for model in models:
        first = model.fit(X, y).loss_
        assert model.fit(X, y).loss_ < first
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-6)
    # scikit-learn has no loss_curve_ to go on with, and stops with an AttributeError
    last = ours.loss_
    ours.set_params(solver="adam").fit(X, y)
    assert len(ours.loss_curve_) == 5
    assert ours.loss_ < last


def test_warm_start_goes_on_when_early_stopping_is_switched_on():
    X, y = load_iris(return_X_y=True)
    model = MLPClassifier(max_iter=5, warm_start=True, random_state=0).fit(X, y)
    model.set_params(early_stopping=True).fit(X, y)
    assert len(model.validation_scores_) == model.n_iter_
    assert model.best_loss_ is None
    model.set_params(early_stopping=False).fit(X, y)
    assert model.validation_scores_ is None
    assert model.best_loss_ <= model.loss_


def test_without_warm_start_nothing_is_left_of_the_last_fit():
    X, y = load_iris(return_X_y=True)
    model = MLPClassifier(max_iter=5, random_state=0)
    first = model.fit(X, y).loss_curve_
    assert model.fit(X, y).loss_curve_ == first
    model.set_params(solver="lbfgs").fit(X, y)
    for name in ("loss_curve_", "best_loss_", "validation_scores_", "_optimizer"):
        assert not hasattr(model, name)


# --- early stopping ------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_early_stopping_restores_the_weights_of_the_best_epoch(task):
    name, X, y = problem(task)
    settings = {
        "early_stopping": True, "random_state": 0, "learning_rate_init": 0.05,
        "max_iter": 60,
    }  # fmt: skip
    model = getattr(fastmlp, name)(**settings).fit(X, y)
    best = int(np.argmax(model.validation_scores_)) + 1
    assert best < model.n_iter_
    again = getattr(fastmlp, name)(**{**settings, "max_iter": best}).fit(X, y)
    for ours, others in ((model.coefs_, again.coefs_),):
        for a, b in zip(ours, others, strict=True):
            np.testing.assert_array_equal(a, b)
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.best_loss_ is None


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_scikit_learns(weighted):
    rng = np.random.default_rng(0)
    samples = rng.permutation(40)[:20]
    weights = rng.uniform(0, 2, 40) if weighted else None
    w = None if weights is None else weights[samples]

    def check(kind, y, outputs, expected):
        targets = Targets("any", y, outputs.shape[1], kind).of(samples)
        assert targets.score(outputs, w) == pytest.approx(expected)

    y, outputs = rng.integers(0, 3, (40, 1)), rng.uniform(size=(20, 3))
    expected = accuracy_score(y[samples], outputs.argmax(axis=1), sample_weight=w)
    check("classes", y, outputs, expected)
    for n_outputs in (1, 2):
        y = rng.integers(0, 2, (40, n_outputs))
        outputs = rng.uniform(size=(20, n_outputs))
        expected = accuracy_score(y[samples], outputs > 0.5, sample_weight=w)
        check("labels", y, outputs, expected)
        y = rng.standard_normal((40, n_outputs))
        outputs = rng.standard_normal((20, n_outputs))
        expected = r2_score(y[samples], outputs, sample_weight=w)
        check("numbers", y, outputs, expected)
    alone = Targets("binary_log_loss", y[samples] > 0, 2, "labels", True)
    assert alone.score(outputs) == 1
    with pytest.raises(ValueError, match="have no weight"):
        Targets("poisson", y[samples], 2, "numbers").score(outputs, np.zeros(20))
    constant = np.column_stack([np.ones(40), np.ones(40), y[:, 0]])
    outputs = np.column_stack([np.ones(20), np.zeros(20), outputs[:, 0]])
    expected = r2_score(constant[samples], outputs, sample_weight=w)
    check("numbers", constant, outputs, expected)
    outputs[0] = np.inf
    targets = Targets("poisson", constant[samples], 3, "numbers")
    assert np.isnan(targets.score(outputs, w))


def test_early_stopping_with_one_class():
    _, X, _ = problem("binary")
    y = np.full(len(X), 7)
    settings = {"early_stopping": True, "max_iter": 3, "random_state": 0}
    models = both("MLPClassifier", **settings)
    scores = [model.fit(X, y).validation_scores_ for model in models]
    assert scores[0] == scores[1] == [1.0] * 3


def test_early_stopping_with_sparse_labels():
    _, X, y = problem("multilabel")
    settings = {"early_stopping": True, "max_iter": 20, "random_state": 0}
    dense = MLPClassifier(**settings).fit(X, y)
    sparse = MLPClassifier(**settings).fit(X, scipy.sparse.csr_matrix(y))
    assert sparse.validation_scores_ == dense.validation_scores_
    assert scipy.sparse.issparse(sparse.predict(X))
    np.testing.assert_array_equal(sparse.predict(X).toarray(), dense.predict(X))


# --- lbfgs ---------------------------------------------------------------------------


def test_lbfgs_takes_the_data_in_pieces(monkeypatch):
    _, X, y = problem("multiclass")
    settings = {"solver": "lbfgs", "max_iter": 10, "random_state": 0}
    whole = MLPClassifier(**settings).fit(X, y)
    monkeypatch.setattr("fastmlp.training.lbfgs._LEAST_ROWS", 1)
    monkeypatch.setattr("fastmlp.training.lbfgs._PIECE_BYTES", 2**16)
    for n_jobs in (1, 3):
        pieces = MLPClassifier(**settings, n_jobs=n_jobs).fit(X, y)
        assert pieces.loss_ == pytest.approx(whole.loss_, rel=1e-9)


def test_rows_of_a_piece_leave_out_what_is_not_copied():
    network = Network((20_000, 100, 1), "float64")
    assert rows_of_a_piece(network, 10**6) == 256
    assert rows_of_a_piece(network, 10**6, sparse=True) > 2000
    assert rows_of_a_piece(network, 7) == 7


def test_lbfgs_says_what_scikit_learn_says():
    X, y = load_iris(return_X_y=True)
    for limit in ({"max_iter": 3}, {"max_fun": 3}):
        messages = []
        for model in both("MLPClassifier", solver="lbfgs", **limit):
            with pytest.warns(ConvergenceWarning, match="lbfgs failed to conv") as seen:
                model.fit(X, y)
            messages.append([str(warning.message) for warning in seen])
        assert messages[0] == messages[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPClassifier((), solver="lbfgs", max_iter=1000).fit(X, y)


def test_lbfgs_in_single_precision_and_of_single_input():
    _, X, y = problem("binary", dtype=np.float32)
    model = MLPClassifier(solver="lbfgs", max_iter=10, random_state=0).fit(X, y)
    assert model.precision_ == "float64"
    assert model.coefs_[0].dtype == np.float32
    single = MLPClassifier(
        solver="lbfgs", max_iter=10, random_state=0, precision="float32"
    ).fit(X, y)
    assert single.precision_ == "float32"
    assert single.loss_ == pytest.approx(model.loss_, rel=1e-3)


class Interrupt(Events):
    def __init__(self, at):
        self._at = at

    def end(self, epoch, loss, score=None):
        if epoch == self._at:
            raise KeyboardInterrupt
        return False


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_an_interrupt_keeps_the_last_iterate(solver):
    X, y = load_iris(return_X_y=True)
    settings = {"solver": solver, "random_state": 0, "max_iter": 3}
    expected = MLPClassifier(**settings).fit(X, y)
    model = MLPClassifier(**{**settings, "max_iter": 50})
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model._fit(X, y, events=[Interrupt(at=3)])
    assert model.n_iter_ == 3
    assert model.loss_ == expected.loss_
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])


def test_an_interrupt_before_the_first_iteration_keeps_the_initial_weights():
    class AtOnce(Events):
        def begin(self, epoch):
            raise KeyboardInterrupt

    X, y = load_iris(return_X_y=True)
    for solver in ("lbfgs", "sgd"):
        model = MLPClassifier(solver=solver, random_state=0)
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            model._fit(X, y, events=[AtOnce()])
        assert model.predict(X).shape == (150,)
        assert model.n_iter_ == 0


# --- what partial_fit keeps for its next call ----------------------------------------


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_calls_that_use_the_same_job_learn_what_others_learn(cls, monkeypatch):
    """Chunks of two sizes and dtypes, weights written in between, a scaled rate."""
    rng = np.random.default_rng(0)
    chunks = [rng.standard_normal((n, 6)) for n in (32, 32, 20, 32, 32, 20, 32)]
    chunks = [X.astype(np.float32 if i != 3 else float) for i, X in enumerate(chunks)]
    targets = [(X[:, 0] * X[:, 1] > 0) * 1 for X in chunks]

    def learn(forgets):
        model = cls(hidden_layer_sizes=(9,), batch_size=16, random_state=0, n_jobs=1)
        curve = []
        for i, (X, y) in enumerate(zip(chunks, targets, strict=True)):
            if forgets:
                perceptron._kept_jobs.clear()
            if i == 4:
                model.coefs_[0][0] = 1.5
                model.intercepts_ = [b + 1 for b in model.intercepts_]
            if i == 5:
                model.set_params(alpha=0.1)
            given, labels = X.copy(), y.copy()
            classes = {"classes": [0, 1]} if cls is MLPClassifier else {}
            model.partial_fit(X, y, **classes)
            curve.append([a.tobytes() for a in model.coefs_ + model.intercepts_])
            np.testing.assert_array_equal(X, given)
            np.testing.assert_array_equal(y, labels)
        return curve, model.loss_curve_, model.t_

    assert learn(False) == learn(True)
    assert all(len(kept) <= 2 for kept in perceptron._kept_jobs.values())


def test_checks_of_small_chunks():
    """The short way lets nothing pass that the long one refuses."""
    X, y = np.ones((8, 3), np.float32), np.arange(8) % 2
    model = MLPClassifier((4,), random_state=0).partial_fit(X, y, classes=[0, 1])
    model.partial_fit(X, y)
    weights = model.coefs_[0].copy()
    bad = X.copy()
    bad[3, 1] = np.nan
    for data, message in [
        ((bad, y), "contains NaN"),
        ((X, y + 1), "classes not in"),
        ((X[:, :2], y), "has 2 features"),
        ((X, y[1:]), "inconsistent numbers"),
        ((X[0], y), "2D array|1-dimensional|dimension"),
        ((X[:0], y[:0]), "0 sample"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.partial_fit(*data)
        np.testing.assert_array_equal(model.coefs_[0], weights)
    number = MLPRegressor(hidden_layer_sizes=(4,), random_state=0).partial_fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        number.partial_fit(X, bad[:, 1].repeat(1)[:8])
    copies = [pickle.loads(pickle.dumps(model)), clone(model)]
    assert all(copy not in perceptron._kept_jobs for copy in copies)
