"""At home in scikit-learn: tags, routing, copies, files, callbacks, conversion."""

import inspect
import io
import pickle
import re

import joblib
import numpy as np
import pytest
import sklearn
from data import problem
from sklearn import neural_network
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.fixes import parse_version

import fastmlp
from fastmlp import (
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
    MLPEstimator,
    MLPRegressor,
)
from fastmlp.estimators.parameters import GROUPS, SOLVERS_OF, groups_of

SKLEARN = parse_version(sklearn.__version__)
ALL = [MLPClassifier, MLPRegressor, MLPEstimator]
ENSEMBLES = [MLPEnsembleClassifier, MLPEnsembleRegressor]
FITS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate": "adaptive"},
    "descent": {"solver": "sgd", "momentum": 0.0},
    "lbfgs": {"solver": "lbfgs"},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 50},
}


def fitted(estimator, setting="adam", **more):
    X, y = load_iris(return_X_y=True)
    model = estimator(max_iter=8, random_state=0, **FITS[setting], **more)
    return model.fit(X, y), X, y


def assert_same_model(model, other, X, y):
    np.testing.assert_array_equal(model.predict(X), other.predict(X))
    if model.solver != "lbfgs":
        for one in (model, other):
            one.set_params(early_stopping=False).partial_fit(X, y)
        assert model.loss_ == other.loss_
        np.testing.assert_array_equal(model.coefs_[0], other.coefs_[0])


# --- tags and parameters -------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        (MLPClassifier(), "classifier"),
        (MLPRegressor(), "regressor"),
        (MLPEstimator(), "classifier"),
        (MLPEstimator(task="classification"), "classifier"),
        (MLPEstimator(task="regression"), "regressor"),
    ],
    ids=str,
)
def test_tags(estimator, kind):
    tags = get_tags(estimator)
    assert tags.estimator_type == kind
    assert tags.input_tags.sparse
    assert tags.target_tags.required
    assert is_classifier(estimator) == (kind == "classifier")
    if kind == "classifier":
        assert tags.classifier_tags.multi_label
        assert tags.regressor_tags is None
    else:
        assert is_regressor(estimator)
        assert tags.classifier_tags is None


def test_tags_of_theirs_are_ours():
    if parse_version("1.7") > SKLEARN:
        pytest.skip("tags have changed since")
    for name in ("MLPClassifier", "MLPRegressor"):
        theirs = get_tags(getattr(neural_network, name)())
        assert get_tags(getattr(fastmlp, name)()) == theirs


def test_tags_tell_the_truth_after_fit():
    X, y = load_iris(return_X_y=True)
    model = MLPEstimator(max_iter=2).fit(X, y + 0.5)
    assert is_regressor(model)
    assert is_classifier(clone(model))


@pytest.mark.parametrize("estimator", ALL)
def test_metadata_routing(estimator):
    X, y = load_iris(return_X_y=True)
    with sklearn.config_context(enable_metadata_routing=True):
        model = estimator(max_iter=2, random_state=0)
        model.set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        model.set_partial_fit_request(sample_weight=True)
        if estimator is not MLPRegressor:
            model.set_partial_fit_request(classes=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, model)
        pipeline.fit(X, y, sample_weight=np.ones(150))
        if parse_version("1.7") <= SKLEARN:  # before, Pipeline.score does not route
            weights = {"sample_weight": np.ones(150)}
            found = cross_validate(pipeline, X, y, params=weights, cv=2)
            assert np.isfinite(found["test_score"]).all()
    # routed, they count: those of weight zero might as well not be there
    with sklearn.config_context(enable_metadata_routing=True):
        weights = np.repeat([1.0, 0.0], [100, 50])
        other = clone(pipeline).fit(X, y, sample_weight=weights)
    assert not np.array_equal(other[-1].coefs_[0], pipeline[-1].coefs_[0])


@pytest.mark.parametrize("estimator", ALL)
def test_representations(estimator):
    model = estimator(alpha=0.5)
    assert repr(model) == f"{estimator.__name__}(alpha=0.5)"
    fitted = model.set_params(random_state=0).fit(*load_iris(return_X_y=True))
    for version in (clone(model), fitted):
        assert estimator.__name__ in version._repr_html_()


@pytest.mark.parametrize("estimator", ALL + ENSEMBLES)
def test_groups_of_parameters_are_those_of_the_constructor(estimator):
    grouped = [name for group in groups_of(estimator).values() for name in group]
    assert sorted(grouped) == sorted(inspect.signature(estimator).parameters)


def test_groups_name_no_parameter_that_does_not_exist():
    known = set(MLPEstimator().get_params())  # has those of both others
    known |= set(MLPEnsembleClassifier().get_params())
    assert {name for group in GROUPS.values() for name in group} == known


@pytest.mark.parametrize("estimator", ALL + ENSEMBLES)
def test_docstrings_say_which_solvers_use_a_parameter(estimator):
    section = inspect.getdoc(estimator).split("Attributes\n---")[0]
    entries = re.split(r"^(\w+) : ", section, flags=re.MULTILINE)[1:]
    texts = dict(zip(entries[::2], entries[1::2], strict=True))
    solvers = ["adam", "adamw", "lbfgs", "lion", "rmsprop", "sgd"]
    for name, text in texts.items():
        last = text.rstrip().splitlines()[-1].strip()
        users = SOLVERS_OF.get(name, solvers)
        named = sorted(re.findall(r"'(\w+)'", last))
        if "lbfgs" not in users and len(users) == 5:
            assert re.fullmatch(r"Not (used|supported) by 'lbfgs'\.", last), name
        elif len(users) < 5:
            assert last.startswith("Only used by "), name
            assert named == sorted(users), name
        else:
            assert not last.startswith(("Only used by", "Not used by")), name


# --- copies and files ----------------------------------------------------------------


@pytest.mark.parametrize("setting", FITS)
@pytest.mark.parametrize("estimator", ALL)
def test_clone_and_pickle(estimator, setting):
    model, X, y = fitted(estimator, setting)
    copy = clone(model)
    assert not hasattr(copy, "coefs_")
    np.testing.assert_array_equal(copy.fit(X, y).coefs_[0], model.coefs_[0])
    again = pickle.loads(pickle.dumps(model))
    assert vars(again).keys() == vars(model).keys()
    assert_same_model(model, again, X, y)


@pytest.mark.parametrize("estimator", ALL)
def test_joblib_with_arrays_left_on_disk(estimator, tmp_path):
    model, X, y = fitted(estimator)
    joblib.dump(model, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert isinstance(again.coefs_[0], np.memmap)
    assert not again.coefs_[0].flags.writeable
    before = (tmp_path / "model.joblib").read_bytes()
    assert_same_model(model, again, X, y)
    assert (tmp_path / "model.joblib").read_bytes() == before


@pytest.mark.parametrize("setting", FITS)
@pytest.mark.parametrize("estimator", ALL)
def test_skops_needs_to_trust_one_type(estimator, setting):
    skops = pytest.importorskip("skops.io")
    model, X, y = fitted(estimator, setting)
    data = skops.dumps(model)
    trusted = [f"fastmlp.estimators.{estimator.__name__}"]
    assert skops.get_untrusted_types(data=data) == trusted
    assert_same_model(model, skops.loads(data, trusted=trusted), X, y)


def test_a_fit_leaves_only_arrays_and_plain_values():
    """But for the LabelBinarizer, which is scikit-learn's."""
    model, _, _ = fitted(MLPEstimator)
    fits = set(vars(model)) - set(model.get_params())

    def plain(value):
        if isinstance(value, list | tuple):
            return all(map(plain, value))
        if isinstance(value, dict):
            return all(map(plain, value.values()))
        return value is None or isinstance(value, str | int | float | np.ndarray)

    assert [n for n in fits if not plain(getattr(model, n))] == ["_label_binarizer"]


# --- callbacks -----------------------------------------------------------------------

if parse_version("1.9") <= SKLEARN:
    from sklearn.callback import ProgressBar, ScoringMonitor

needs_callbacks = pytest.mark.skipif(
    parse_version("1.9") > SKLEARN, reason="new in scikit-learn 1.9"
)


class Recorder:
    """A callback as scikit-learn's protocol has it."""

    def __init__(self, stop_at=None):
        self.calls = []
        self.estimators = []
        self._stop_at = stop_at

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        task = context.task_name, context.task_id
        self.calls.append(("end", *task))
        self.estimators.append(fitted_estimator)
        return task[0] != "fit" and task[1] == self._stop_at


@needs_callbacks
@pytest.mark.parametrize(
    ("solver", "task"), [("adam", "epoch"), ("sgd", "epoch"), ("lbfgs", "iteration")]
)
def test_callbacks_see_every_iteration_and_can_stop(solver, task):
    X, y = load_iris(return_X_y=True)
    recorder = Recorder(stop_at=2)
    model = MLPClassifier(solver=solver, random_state=0).set_callbacks(recorder)
    model.fit(X, y)
    assert recorder.calls == [
        "setup",
        ("begin", "fit", 0),
        *((when, task, i) for i in range(3) for when in ("begin", "end")),
        ("end", "fit", 0),
        "teardown",
    ]
    assert model.n_iter_ == 3
    np.testing.assert_array_equal(recorder.estimators[-1].predict(X), model.predict(X))
    shorter = MLPClassifier(solver=solver, random_state=0, max_iter=3).fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], shorter.coefs_[0])


@needs_callbacks
def test_lbfgs_has_as_many_tasks_as_iterations():
    X, y = load_iris(return_X_y=True)
    for limit in ({"max_iter": 4}, {"max_fun": 6}, {"max_iter": 1000, "tol": 0.01}):
        recorder = Recorder()
        model = MLPClassifier(solver="lbfgs", **limit).set_callbacks(recorder)
        model.fit(X, y)
        begun = [call[1:] for call in recorder.calls if call[0] == "begin"]
        ended = [call[1:] for call in recorder.calls if call[0] == "end"]
        assert sorted(begun) == sorted(ended)
        # an iteration that the limit of evaluations cut short is one more
        assert len(ended) - 1 in (model.n_iter_, model.n_iter_ + ("max_fun" in limit))
        assert None not in recorder.estimators


@needs_callbacks
def test_every_task_ends_of_a_fit_that_begins_anew_in_float64():
    recorder = Recorder()
    X, y = problem("regression")[1:]
    model = MLPRegressor(
        hidden_layer_sizes=(8, 6), solver="sgd", max_iter=5, random_state=1
    )
    with pytest.warns(UserWarning, match="done again in float64"):
        model.set_callbacks(recorder).fit(X * 1e5, y * 1e5)
    begun = [call[1:] for call in recorder.calls if call[0] == "begin"]
    ended = [call[1:] for call in recorder.calls if call[0] == "end"]
    assert sorted(begun) == sorted(ended)
    assert len(begun) == 1 + model.n_iter_


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_that_raises_leaves_the_estimator_as_it_was(solver):
    class Raising(Recorder):
        def on_fit_task_end(self, estimator, context):
            if context.task_name == "fit":
                raise RuntimeError("at the end")

    X, y = load_iris(return_X_y=True)
    model = MLPClassifier(solver=solver, max_iter=2).set_callbacks(Raising())
    with pytest.raises(RuntimeError, match="at the end"):
        model.fit(X, y)
    assert not hasattr(model, "coefs_")
    assert not hasattr(model, "n_features_in_")


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("when", ["begin", "end"])
def test_a_callback_that_raises_stop_iteration_is_heard(when, solver):
    def raises(self, estimator, context):
        if context.task_name != "fit" and context.task_id == 1:
            raise StopIteration("of the callback")

    name = f"on_fit_task_{when}"
    callback = type("Raising", (Recorder,), {name: raises})()
    model = MLPClassifier(solver=solver, max_iter=4).set_callbacks(callback)
    with pytest.raises(StopIteration, match="of the callback"):
        model.fit(*load_iris(return_X_y=True))
    assert not hasattr(model, "coefs_")


@needs_callbacks
def test_callbacks_are_torn_down_after_an_error():
    recorder = Recorder()
    model = MLPRegressor(solver="sgd", learning_rate_init=1e30).set_callbacks(recorder)
    with pytest.raises(ValueError, match="non-finite"):
        model.fit(*load_iris(return_X_y=True))
    assert recorder.calls[-1] == "teardown"
    assert not hasattr(model, "_callback_fit_ctx")


@needs_callbacks
@pytest.mark.parametrize("estimator", ALL)
def test_scoring_monitor(estimator):
    X, y = load_iris(return_X_y=True)
    monitor = ScoringMonitor(scoring="r2")
    model = estimator(max_iter=4, random_state=0).set_callbacks(monitor)
    model.fit(X, y, sample_weight=np.ones(150))
    log = monitor.get_logs().data
    epochs = [row for row in log if row["task_name"] == "epoch"]
    assert [row["task_id"] for row in epochs] == [0, 1, 2, 3]
    expected = sklearn.metrics.r2_score(y, model.predict(X))
    assert epochs[-1]["r2"] == pytest.approx(expected)
    assert len({row["r2"] for row in epochs}) > 1 or estimator is not MLPRegressor


@needs_callbacks
def test_progress_bar(capsys):
    pytest.importorskip("rich")
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=3))
    pipeline.set_callbacks(ProgressBar())
    pipeline.fit(X, y)
    assert "MLPClassifier - fit" in " ".join(capsys.readouterr().out.split())


def test_without_callbacks_in_scikit_learn(monkeypatch):
    """What versions before 1.9 do: there is nothing to call, and nobody asks."""
    monkeypatch.delattr(
        fastmlp.training.callbacks.CallbackSupport,
        "_init_callback_context",
        raising=False,
    )
    X, y = load_iris(return_X_y=True)
    assert MLPClassifier(max_iter=2).fit(X, y).n_iter_ == 2


# --- conversion ----------------------------------------------------------------------


@pytest.mark.parametrize("setting", FITS)
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_from_scikit_learn_and_back(name, setting):
    X, y = load_iris(return_X_y=True)
    theirs = getattr(neural_network, name)(max_iter=8, random_state=0, **FITS[setting])
    theirs.fit(X, y)
    ours = fastmlp.from_sklearn(theirs, n_jobs=2)
    assert type(ours) is getattr(fastmlp, name)
    assert (ours.precision, ours.n_jobs) == ("float64", 2)
    back = ours.to_sklearn()
    assert type(back) is type(theirs)
    assert back.get_params() == theirs.get_params()
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-12)
    np.testing.assert_array_equal(back.predict(X), theirs.predict(X))
    missing = set(vars(theirs)) - set(vars(back))
    assert missing <= {"_random_state", "_coef_indptr", "_intercept_indptr"}
    if setting == "lbfgs":
        return
    models = [model.set_params(early_stopping=False) for model in (ours, theirs, back)]
    for model in models:
        model.best_loss_ = 1.0  # None after early stopping: scikit-learn would fail
        for _ in range(5):
            model.partial_fit(X, y)
    for model in (ours, back):
        np.testing.assert_allclose(model.loss_curve_, theirs.loss_curve_, rtol=1e-12)
        assert model.t_ == theirs.t_


def test_conversion_shares_no_array():
    X, y = load_iris(return_X_y=True)
    theirs = neural_network.MLPClassifier(max_iter=2, random_state=0).fit(X, y)
    ours = fastmlp.from_sklearn(theirs)
    back = ours.to_sklearn()
    expected = theirs.predict_proba(X)
    for model in (ours, back):
        for part in model.coefs_ + model.intercepts_:
            part[:] = 0
        model.loss_curve_.clear()
        model.partial_fit(X, y)
    np.testing.assert_array_equal(theirs.predict_proba(X), expected)
    assert len(theirs.loss_curve_) == 2


def test_conversion_after_early_stopping_goes_on_as_the_original():
    X, y = load_iris(return_X_y=True)
    theirs = neural_network.MLPClassifier(
        (5,), early_stopping=True, warm_start=True, random_state=0, max_iter=5, tol=0.0,
        learning_rate_init=1e-4,
    ).fit(X, y)  # fmt: skip
    ours = fastmlp.from_sklearn(theirs)
    back = ours.to_sklearn()
    for _ in range(3):
        losses = [model.fit(X, y).loss_ for model in (theirs, ours, back)]
        assert losses == pytest.approx([losses[0]] * 3, rel=1e-9)


def test_conversion_keeps_requests_and_copies_everything():
    X, y = load_iris(return_X_y=True)
    with sklearn.config_context(enable_metadata_routing=True):
        theirs = neural_network.MLPClassifier(max_iter=2)
        theirs.set_score_request(sample_weight=True)
        ours = fastmlp.from_sklearn(theirs.fit(X, y))
        for model in (ours, ours.to_sklearn()):
            requests = model.get_metadata_routing().score.requests
            assert requests == {"sample_weight": True}
    for name in ("classes_", "_label_binarizer"):
        assert getattr(ours, name) is not getattr(theirs, name)


def test_conversion_of_our_own_fits():
    for task in ("binary", "multiclass", "multilabel", "regression"):
        name, X, y = problem(task, dtype=np.float32)
        model = MLPEstimator(max_iter=5, random_state=0, activation="tanh").fit(X, y)
        theirs = model.to_sklearn()
        assert type(theirs).__name__ == name
        np.testing.assert_allclose(
            theirs.predict(X), model.predict(X), rtol=1e-4, atol=1e-5
        )
        again = fastmlp.from_sklearn(theirs)
        assert again.precision == "float32"
        np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_what_only_training_depends_on_is_left_out_of_scikit_learns_estimators():
    X, y = problem("binary")[1:]
    extra = {"dropout": 0.2, "class_weight": "balanced", "label_smoothing": 0.1}
    for solver in ("adamw", "rmsprop", "sgd"):
        model = MLPClassifier(
            (8, 4), activation=["tanh", "tanh"], solver=solver, learning_rate="cosine",
            loss="focal", max_iter=3, precision="float64", **extra,
        ).fit(X, y)  # fmt: skip
        with pytest.warns(UserWarning, match="no .*dropout=0.2") as caught:
            theirs = model.to_sklearn()
        assert ("solver=" in str(caught[0].message)) == (solver != "sgd")
        assert type(theirs) is neural_network.MLPClassifier
        found = theirs.predict_proba(X)
        np.testing.assert_allclose(found, model.predict_proba(X), rtol=1e-12)
        theirs.partial_fit(X, y)  # trains as its own would
    model = MLPClassifier(
        (8,), solver="sgd", learning_rate="invscaling", max_iter=2, shuffle=False
    )
    model.fit(X, y).set_params(learning_rate="constant", precision="float64")
    theirs = model.to_sklearn()
    for each in (model, theirs):
        for _ in range(3):
            each.partial_fit(X, y)
    np.testing.assert_allclose(theirs.coefs_[0], model.coefs_[0], rtol=1e-9)
    if "loss" not in neural_network.MLPRegressor().get_params():
        return  # it has no exponential of outputs
    counts = MLPRegressor(hidden_layer_sizes=(5,), loss="gamma", max_iter=2)
    counts.fit(X, y + 1)
    with pytest.warns(UserWarning, match="no loss='gamma'"):
        found = counts.to_sklearn().predict(X)
    np.testing.assert_allclose(found, counts.predict(X), rtol=1e-5)


def test_parameters_without_a_meaning_there_are_not_spoken_of():
    off = {"dropout": [0.0], "l1": 0, "weight_decay": 0, "class_weight": None}
    running = {"n_jobs": 2, "callbacks": [print], "checkpoint": "x", "time_limit": 9}
    for estimator in (MLPClassifier((5,), **off, **running), Small()):
        theirs = estimator.to_sklearn()  # warnings are errors
        assert theirs.hidden_layer_sizes == (5,)
    X, y = load_iris(return_X_y=True)
    linear = MLPClassifier((), activation="gelu", max_iter=2).fit(X, y)
    np.testing.assert_allclose(
        linear.to_sklearn().predict_proba(X), linear.predict_proba(X), rtol=1e-5
    )
    with pytest.warns(UserWarning, match=r"dropout=0.5: left out, fits will be"):
        MLPClassifier(dropout=0.5).to_sklearn()


class Small(MLPClassifier):
    def __init__(self, hidden_layer_sizes=(5,)):
        super().__init__(hidden_layer_sizes, activation="tanh", max_iter=3)


def test_a_subclass_is_what_it_set():
    X, y = load_iris(return_X_y=True)
    model = Small().fit(X, y)
    found = model.to_sklearn().predict_proba(X)
    np.testing.assert_allclose(found, model.predict_proba(X), rtol=1e-4)


def test_conversion_of_what_is_not_fitted():
    theirs = neural_network.MLPClassifier((5, 5), alpha=0.5)
    ours = fastmlp.from_sklearn(theirs)
    assert repr(ours) == "MLPClassifier(alpha=0.5, hidden_layer_sizes=(5, 5))"
    assert ours.to_sklearn().get_params() == theirs.get_params()
    assert not hasattr(ours, "coefs_")
    model = MLPEstimator(task="regression").to_sklearn()
    assert isinstance(model, neural_network.MLPRegressor)
    with pytest.raises(ValueError, match="fit it first, or set the task"):
        MLPEstimator().to_sklearn()


def test_conversion_refuses_anything_else():
    for model in (MLPClassifier(), StandardScaler(), io.StringIO()):
        with pytest.raises(TypeError, match="from_sklearn takes an MLPClassifier or M"):
            fastmlp.from_sklearn(model)
