"""Ensembles: their members, what is held out, means and spread, and how fits end."""

import pickle
import sys
import threading
import tracemalloc
import warnings

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from processes import run
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp
from fastmlp import (
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
    MLPRegressor,
)
from fastmlp.exceptions import ScaleWarning, UnusedParameterWarning
from fastmlp.training.folds import bootstrap
from fastmlp.training.progress import MembersProgress

rng = np.random.default_rng(0)
X = rng.standard_normal((240, 7))
LABELS = np.where(X[:, 0] + 0.5 * rng.standard_normal(240) > 0, "yes", "no")
NUMBERS = X[:, 0] - X[:, 1] ** 2 + 0.1 * rng.standard_normal(240)
WEIGHTS = rng.uniform(0.5, 2, 240)
THREE = np.digitize(NUMBERS, [-1, 0.3])
SMALL = {
    "hidden_layer_sizes": (9,), "n_estimators": 4, "max_iter": 6, "random_state": 0
}  # fmt: skip
PAIRS = list(KFold(4, shuffle=True, random_state=1).split(X))


def classifier(**settings):
    return MLPEnsembleClassifier(**SMALL | settings)


def regressor(**settings):
    return MLPEnsembleRegressor(**SMALL | settings)


@pytest.fixture(autouse=True)
def no_convergence_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def bits(model):
    return [array.tobytes() for array in model.coefs_ + model.intercepts_]


def part_of(model, i):
    """The rows that a member is trained on, and those that it holds out."""
    if model.bootstrap:
        seed = model.estimators_[i].random_state
        return bootstrap(len(X), np.random.RandomState(seed))
    return PAIRS[i] if model.cv is not None else (np.arange(len(X)), None)


# --- members --------------------------------------------------------------------------

FITS = {
    "seeds": (classifier(), LABELS, None),
    "three classes": (classifier(activation="tanh"), THREE, WEIGHTS),
    "bootstrap": (classifier(bootstrap=True, class_weight="balanced"), LABELS, WEIGHTS),
    # of what sparse kernels are compiled with anyway
    "folds": (
        regressor(cv=PAIRS, dropout=0.2, activation="gelu", loss="huber"),
        NUMBERS, WEIGHTS,
    ),
    "early stopping on folds": (
        classifier(cv=PAIRS, early_stopping=True, scoring="roc_auc"), LABELS, WEIGHTS,
    ),
    "early stopping on what is not drawn": (
        regressor(bootstrap=True, early_stopping=True, standardize=True), NUMBERS, None,
    ),
    "early stopping on a part": (regressor(early_stopping=True), NUMBERS, None),
    "lbfgs": (regressor(solver="lbfgs", standardize=True), NUMBERS, WEIGHTS),
    "several threads": (
        classifier(hidden_layer_sizes=(70, 60), bootstrap=True), LABELS, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", FITS)
def test_members_are_those_that_were_fitted_alone(name, form):
    model, y, weights = FITS[name]
    data = form(X * (abs(X) > 0.3))
    model = clone(model).fit(data, y, weights)
    for i, member in enumerate(model.estimators_):
        rows, held_out = part_of(model, i)
        validation = {}
        if model.early_stopping and held_out is not None:
            validation = {"X_val": data[held_out], "y_val": y[held_out]}
            if weights is not None:
                validation["sample_weight_val"] = weights[held_out]
        alone = clone(member)
        alone.fit(
            data[rows], y[rows], None if weights is None else weights[rows],
            **validation,
        )  # fmt: skip
        assert bits(member) == bits(alone)
        assert member.n_iter_ == alone.n_iter_


@pytest.mark.parametrize("n_jobs", [1, 2, 3, 5])
def test_the_same_bits_for_any_number_of_threads(n_jobs):
    for name in ("early stopping on folds", "several threads", "lbfgs"):
        model, y, weights = FITS[name]
        expected = clone(model).fit(X, y, weights)
        model = clone(model).set_params(n_jobs=n_jobs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of more threads than cores
            model.fit(X, y, weights)
        pairs = zip(model.estimators_, expected.estimators_, strict=True)
        assert all(bits(one) == bits(other) for one, other in pairs)
        if "folds" in name:
            np.testing.assert_array_equal(
                model.oof_decision_function_, expected.oof_decision_function_
            )


def test_members_have_the_parameters_of_the_ensemble():
    model = classifier(alpha=0.5, cv=3, n_jobs=2).fit(X, LABELS)
    for member in model.estimators_:
        parameters = member.get_params()
        for name, value in model.get_params().items():
            if name not in ("n_estimators", "cv", "bootstrap", "selection",
                            "random_state"):  # fmt: skip
                assert parameters[name] == value, name
    seeds = [member.random_state for member in model.estimators_]
    assert len(set(seeds)) == 4


def test_an_ensemble_has_all_parameters_of_its_members():
    for cls, member in (
        (MLPEnsembleClassifier, MLPClassifier), (MLPEnsembleRegressor, MLPRegressor)
    ):  # fmt: skip
        own, theirs = cls().get_params(), member().get_params()
        assert set(theirs) - set(own) == {"checkpoint"}
        assert set(own) - set(theirs) == {
            "n_estimators",
            "bootstrap",
            "cv",
            "selection",
        }
        assert all(own[name] == theirs[name] for name in theirs.keys() & own.keys())
    assert MLPEnsembleRegressor("huber", (3,)).hidden_layer_sizes == (3,)
    assert MLPEnsembleClassifier((3,), "tanh").activation == "tanh"
    for wrong in ({"checkpoint": "file"}, {"n_members": 3}):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            MLPEnsembleClassifier(**wrong)


def test_the_first_members_are_the_same_for_any_number_of_them():
    few = classifier(n_estimators=2, cv=3).fit(X, LABELS)
    many = classifier(n_estimators=5, cv=3).fit(X, LABELS)
    assert [*map(bits, few.estimators_)] == [*map(bits, many.estimators_[:2])]
    other = classifier(random_state=1, cv=3).fit(X, LABELS)
    assert bits(other.estimators_[0]) != bits(few.estimators_[0])


# --- held out -------------------------------------------------------------------------


def mean_of_those_that_hold_out(model, method):
    """What out-of-fold predictions must be, row by row."""
    parts = [part_of(model, i)[1] for i in range(len(model.estimators_))]
    all_of_them = [getattr(m, method)(X) for m in model.estimators_]
    expected = np.full(all_of_them[0].shape, np.nan)
    for row in range(len(X)):
        own = [p[row] for p, out in zip(all_of_them, parts, strict=True) if row in out]
        if own:
            expected[row] = np.mean(own, axis=0)
    return expected


@pytest.mark.parametrize("settings", [{"bootstrap": True}, {"cv": PAIRS}], ids=str)
def test_out_of_fold_predictions_are_of_members_that_were_not_trained_there(settings):
    model = classifier(**settings).fit(X, LABELS, WEIGHTS)
    expected = mean_of_those_that_hold_out(model, "predict_proba")
    known = ~np.isnan(expected[:, 0])
    assert known.mean() > 0.7
    np.testing.assert_allclose(model.oof_decision_function_, expected)
    hits = model.classes_[expected[known].argmax(axis=1)] == LABELS[known]
    assert model.oof_score_ == pytest.approx(np.average(hits, weights=WEIGHTS[known]))

    model = regressor(standardize=True, **settings).fit(X, NUMBERS)
    expected = mean_of_those_that_hold_out(model, "predict")
    np.testing.assert_allclose(model.oof_prediction_, expected)
    known = ~np.isnan(expected)
    errors = np.mean((expected - NUMBERS)[known] ** 2) / NUMBERS[known].var()
    assert model.oof_score_ == pytest.approx(1 - errors)


def test_folds_by_number_are_by_class_and_new_in_the_next_round():
    rare = np.array(["a"] * 6 + ["b"] * 234)
    model = classifier(cv=2, n_estimators=2).fit(X, rare)
    assert not np.isnan(model.oof_decision_function_).any()
    twice = classifier(cv=2, n_estimators=4).fit(X, rare)
    thrice = classifier(cv=2, n_estimators=3).fit(X, rare)
    differ = (thrice.oof_decision_function_ != model.oof_decision_function_)[:, 0]
    assert differ.sum() == 120  # of the third member's fold
    assert (twice.oof_decision_function_ != model.oof_decision_function_)[:, 0].all()


def test_splitters_and_pairs_of_indices():
    model = regressor(cv=TimeSeriesSplit(3), n_estimators=3).fit(X, NUMBERS)
    assert np.isnan(model.oof_prediction_).sum() == 60  # which are before all others
    masks = [(np.arange(240) < 200, np.arange(240) >= 200)]
    model = regressor(cv=masks, n_estimators=2).fit(X, NUMBERS)
    assert np.isnan(model.oof_prediction_).sum() == 200
    assert bits(model.estimators_[0]) != bits(model.estimators_[1])


def test_nothing_is_out_of_fold_where_nothing_is_held_out():
    model = classifier(cv=3).fit(X, LABELS)
    model.set_params(cv=None).fit(X, LABELS)
    for name in ("oof_decision_function_", "oof_prediction_", "oof_score_"):
        assert not hasattr(model, name)


@pytest.mark.parametrize("settings", [{"cv": 5}, {"bootstrap": True}], ids=str)
def test_a_class_that_a_member_never_sees_is_one_of_its_classes(settings):
    y = np.array([0, *[1, 2] * 119, 1]) * 10
    settings = {"n_estimators": 5, "early_stopping": True, **settings}
    model = classifier(**settings).fit(X, y)
    assert model.classes_.tolist() == [0, 10, 20]
    assert model.predict_proba(X).shape == (240, 3)
    for member in model.estimators_:
        assert member.classes_.tolist() == [0, 10, 20]


def test_a_validation_set_of_ones_own():
    data = {"X_val": X[200:], "y_val": NUMBERS[200:]}
    model = regressor(cv=4, early_stopping=True).fit(X[:200], NUMBERS[:200], **data)
    assert not np.isnan(model.oof_prediction_).any()
    for member in model.estimators_:
        score = member.best_validation_score_
        assert member.score(X[200:], NUMBERS[200:]) == pytest.approx(score)
    for part in ({"y_val": NUMBERS}, {"X_val": X}):
        with pytest.raises(ValueError, match="X_val and y_val must be given together"):
            regressor(cv=4, early_stopping=True).fit(X, NUMBERS, **part)


# --- selection ------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"bootstrap": True}, {"cv": 2}], ids=str)
def test_members_are_selected_and_weighted(settings):
    settings = {"n_estimators": 6, "max_iter": 40, **settings}
    whole = regressor(**settings).fit(X, NUMBERS)
    model = regressor(selection="greedy", standardize=False, **settings)
    model.fit(X, NUMBERS)
    weights = model.estimator_weights_
    assert len(model.estimators_) == len(weights)
    assert weights.sum() == pytest.approx(1)
    assert weights.min() > 0
    kept = [bits(member) for member in whole.estimators_]
    assert all(bits(member) in kept for member in model.estimators_)
    expected = sum(
        weight * member.predict(X)
        for weight, member in zip(weights, model.estimators_, strict=True)
    )
    np.testing.assert_allclose(model.predict(X), expected)
    assert weights.max() > 1.2 * weights.min()


def test_members_that_learnt_nothing_are_dropped():
    def stop_at_once(state):  # every other member
        return state.estimator.random_state in bad

    y = X[:, 0] > 0
    model = classifier(bootstrap=True, n_estimators=6, max_iter=40)
    model.set_params(learning_rate_init=0.05)
    bad = [member.random_state for member in model.fit(X, y).estimators_[::2]]
    model.set_params(callbacks=[stop_at_once], selection="greedy").fit(X, y)
    weights = {
        member.random_state: weight
        for member, weight in zip(
            model.estimators_, model.estimator_weights_, strict=True
        )
    }
    assert sum(weights.get(seed, 0) for seed in bad) < 0.1


def test_selection_goes_by_the_loss_of_scaled_numbers_and_by_weights():
    for loss in ("huber", "absolute_error", "quantile", "gamma"):
        y = np.exp(NUMBERS) if loss == "gamma" else 1000 * NUMBERS + 5
        model = regressor(
            loss=loss, bootstrap=True, selection="greedy", standardize=True
        )
        assert np.isfinite(model.fit(X, y, WEIGHTS).predict(X)).all()
    model = classifier(bootstrap=True, selection="greedy", class_weight="balanced")
    assert len(model.fit(X, THREE, WEIGHTS).estimators_) >= 1


# --- predictions ----------------------------------------------------------------------


def test_means_and_spread_are_those_of_the_members():
    model = regressor().fit(X, NUMBERS)
    each = np.array([member.predict(X) for member in model.estimators_])
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_allclose(mean, each.mean(axis=0), atol=1e-15)
    np.testing.assert_allclose(std, each.std(axis=0), atol=1e-15)
    np.testing.assert_array_equal(mean, model.predict(X))
    for y in (LABELS, THREE):
        model = classifier().fit(X, y)
        each = np.array([member.predict_proba(X) for member in model.estimators_])
        mean, std = model.predict_proba(X, return_std=True)
        np.testing.assert_allclose(mean, each.mean(axis=0))
        np.testing.assert_allclose(std, each.std(axis=0), atol=1e-15)
        np.testing.assert_array_equal(mean, model.predict_proba(X))
        labels = model.classes_[mean.argmax(axis=1)]
        np.testing.assert_array_equal(model.predict(X), labels)
        np.testing.assert_array_equal(np.log(mean), model.predict_log_proba(X))


def test_weights_count_in_the_spread():
    model = regressor(n_estimators=2).fit(X, NUMBERS)
    model.estimator_weights_ = np.array([0.75, 0.25])
    one, other = (member.predict(X) for member in model.estimators_)
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_allclose(mean, 0.75 * one + 0.25 * other)
    np.testing.assert_allclose(std, np.sqrt(0.1875) * abs(one - other), atol=1e-15)
    single = regressor(n_estimators=1).fit(X, NUMBERS)
    assert not single.predict(X, return_std=True)[1].any()


def test_members_disagree_where_there_were_no_data():
    model = regressor(max_iter=200, bootstrap=True).fit(X, NUMBERS)
    near, far = (model.predict(scale * X, return_std=True)[1] for scale in (1, 10))
    assert far.mean() > 3 * near.mean()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_have_the_dtype_of_x(dtype):
    data = X.astype(dtype)
    model = classifier(cv=3).fit(data, THREE)
    assert model.predict_proba(data).dtype == dtype
    assert model.oof_decision_function_.dtype == dtype
    for part in regressor().fit(data, NUMBERS).predict(data, return_std=True):
        assert part.dtype == dtype


PREDICTED = {
    "alike": (classifier(), LABELS),
    "three classes": (classifier(), THREE),
    "float64": (regressor(precision="float64"), NUMBERS),
    "scaled, each in its way": (regressor(standardize=True, cv=3), NUMBERS),
    "weighted": (regressor(bootstrap=True, selection="greedy", max_iter=50), NUMBERS),
    "linear": (classifier(hidden_layer_sizes=()), LABELS),
    "several activations": (
        regressor(hidden_layer_sizes=(5, 4), activation=["gelu", "tanh"]), NUMBERS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PREDICTED)
def test_predictor_gives_the_same_numbers(name, dtype):
    model, y = PREDICTED[name]
    data = X.astype(dtype)
    model = clone(model).fit(data, y)
    expected = getattr(model, "predict_proba", model.predict)(data)
    predictor = model.predictor()
    for copy in (predictor, pickle.loads(pickle.dumps(predictor))):
        for n in (1, 20, 240):
            result = copy(data[:n])
            np.testing.assert_array_equal(result, expected[:n])
            assert result.dtype == dtype
        np.testing.assert_array_equal(copy(data[3]), expected[3])
    with pytest.raises(ValueError, match="expected"):
        predictor(X[:, :2])
    model.fit(-data, y)
    np.testing.assert_array_equal(predictor(data), expected)


def test_threads_predict_at_once():
    model = classifier().fit(X, THREE)
    predictor, expected = model.predictor(), model.predict_proba(X[:30])
    wrong = []

    def predict():
        for function in (predictor, model.predict_proba):
            for _ in range(20):
                wrong.append(not np.array_equal(function(X[:30]), expected))

    threads = [threading.Thread(target=predict) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 160
    assert not any(wrong)


# --- data -----------------------------------------------------------------------------


def test_labels_targets_and_quantiles():
    _, labels = make_multilabel_classification(240, 7, n_classes=3, random_state=0)
    model = classifier(bootstrap=True, selection="greedy").fit(X, labels)
    assert model.predict(X).shape == (240, 3)
    assert model.oof_decision_function_.shape == (240, 3)
    assert model.predict_proba(X, return_std=True)[1].shape == (240, 3)
    sparse = classifier(cv=2).fit(X, sp.csr_array(labels))
    assert sparse.oof_decision_function_.shape == (240, 3)

    two = np.column_stack([NUMBERS, 1000 - NUMBERS])
    model = regressor(cv=3, standardize=True).fit(X, two)
    assert model.oof_prediction_.shape == (240, 2)
    assert model.predict(X, return_std=True)[1].shape == (240, 2)
    quantiles = regressor(
        loss="quantile", quantile=[0.1, 0.9], cv=3, max_iter=40, learning_rate_init=0.05
    ).fit(X, NUMBERS)
    assert quantiles.predict(X).shape == quantiles.oof_prediction_.shape == (240, 2)
    assert 0 < quantiles.oof_score_ < quantiles.score(X, NUMBERS) < 1


def test_data_frames():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcdefg"))
    model = classifier(early_stopping=True)
    model.fit(frame, pd.Series(LABELS), X_val=frame[:50], y_val=LABELS[:50])
    assert model.feature_names_in_.tolist() == list("abcdefg")
    expected = classifier(early_stopping=True)
    expected.fit(X, LABELS, X_val=X[:50], y_val=LABELS[:50])
    np.testing.assert_array_equal(model.predict_proba(frame), expected.predict_proba(X))
    np.testing.assert_array_equal(model.predictor()(X), expected.predictor()(X))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"a": "z"}))


def test_x_is_read_where_it_is():
    """No member has a copy of it, of its rows, nor of what it holds out."""
    n = 40_000
    wide = rng.standard_normal((n, 50)).astype(np.float32)
    model = regressor(cv=4, early_stopping=True, max_iter=1, n_jobs=2)
    y = wide[:, 0]
    model.fit(wide[:500], y[:500])
    tracemalloc.start()
    model.fit(wide, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.8 * wide.nbytes


def test_scikit_learns_tools():
    model = make_pipeline(StandardScaler(), classifier(cv=2))
    search = GridSearchCV(
        model, {"mlpensembleclassifier__n_estimators": [1, 3]}, cv=2
    ).fit(X, LABELS)  # fmt: skip
    assert search.best_score_ > 0.4
    again = clone(search.best_estimator_).fit(X, LABELS)
    np.testing.assert_array_equal(again.predict(X), search.predict(X))


# --- copies and files -----------------------------------------------------------------


@pytest.mark.parametrize("name", PREDICTED)
def test_copies_predict_the_same(name, tmp_path):
    model, y = PREDICTED[name]
    model = clone(model).fit(X, y)
    assert not hasattr(clone(model), "estimators_")
    joblib.dump(model, tmp_path / "model.joblib")
    for again in (
        pickle.loads(pickle.dumps(model)),
        joblib.load(tmp_path / "model.joblib", mmap_mode="r"),
    ):
        assert vars(again).keys() == vars(model).keys()
        np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_skops_needs_to_trust_two_types():
    skops = pytest.importorskip("skops.io")
    model = classifier(cv=2).fit(X, LABELS)
    data = skops.dumps(model)
    trusted = ["fastmlp.estimators.MLPClassifier",
               "fastmlp.estimators.MLPEnsembleClassifier"]  # fmt: skip
    assert skops.get_untrusted_types(data=data) == trusted
    again = skops.loads(data, trusted=trusted)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_a_damaged_member_is_refused():
    model = classifier().fit(X, LABELS)
    model.estimators_[1].coefs_[0] = np.zeros((3, 9))
    with pytest.raises(ValueError, match="damaged model"):
        pickle.loads(pickle.dumps(model))


def test_functions_without_a_name_are_refused_by_pickle():
    model = regressor(learning_rate=lambda done: 1 - done).fit(X, NUMBERS)
    with pytest.raises(pickle.PicklingError, match="learning_rate"):
        pickle.dumps(model)


def test_they_are_imported_when_they_are_first_used(tmp_path):
    script = """
    import sys, fastmlp
    name = "fastmlp.estimators.ensembles"
    before = name in sys.modules
    from fastmlp import MLPEnsembleClassifier
    print(before, name in sys.modules, "numba" in sys.modules)
    """
    printed = run(script, tmp_path, imports_anew=True)
    assert printed.split() == ["False", "True", "False"]
    assert {"MLPEnsembleClassifier", "MLPEnsembleRegressor"} <= set(dir(fastmlp))


def test_summary_and_representation():
    model = classifier(alpha=0.5, early_stopping=True, cv=2)
    assert repr(model).replace("\n", "").startswith("MLPEnsembleClassifier(alpha=0.5,")
    model.fit(X, LABELS)
    lines = model.summary().splitlines()
    assert lines[0].split() == [
        "member", "random_state", "epochs", "loss", "validation", "weight"
    ]  # fmt: skip
    assert len(lines) == 5
    for member, line in zip(model.estimators_, lines[1:], strict=True):
        assert str(member.random_state) in line
        assert f"{member.best_validation_score_:.4g}" in line
        assert line.endswith("0.250")


# --- fits that continue ---------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"bootstrap": True}, {"cv": 3}], ids=str)
def test_warm_starts_train_members_further_and_add_new_ones(settings):
    model = classifier(warm_start=True, n_estimators=2, **settings).fit(X, LABELS)
    first = [bits(member) for member in model.estimators_]
    curves = [member.loss_curve_ for member in model.estimators_]
    model.set_params(n_estimators=3).fit(X, LABELS)
    assert [len(member.loss_curve_) for member in model.estimators_] == [12, 12, 6]
    for member, curve in zip(model.estimators_, curves, strict=False):
        assert member.loss_curve_[:6] == curve
    # on the same rows as before
    once = classifier(n_estimators=3, **settings).fit(X, LABELS)
    assert [bits(member) for member in once.estimators_[:2]] == first
    assert bits(once.estimators_[2]) == bits(model.estimators_[2])
    if settings:
        new = model.oof_decision_function_
        np.testing.assert_array_equal(
            np.isnan(new), np.isnan(once.oof_decision_function_)
        )
    with pytest.raises(ValueError, match="n_estimators=1 must be larger or equal"):
        model.set_params(n_estimators=1).fit(X, LABELS)
    with pytest.raises(ValueError, match="same classes as in the previous"):
        model.set_params(n_estimators=3).fit(X, THREE)


def test_members_that_are_left_keep_their_folds():
    """Else they would hold out what they have been trained on before."""
    model = regressor(cv=3, n_estimators=6).fit(X, NUMBERS)
    # as a selection, or an interrupt, leaves them
    model.estimators_ = [model.estimators_[i] for i in (1, 4)]
    model._places = [1, 4]
    first = [member.random_state for member in model.estimators_]
    model.set_params(warm_start=True).fit(X, NUMBERS)
    seeds = [member.random_state for member in model.estimators_]
    assert seeds[:2] == first
    # with those that were dropped, all are there again, each with its own fold
    whole = regressor(cv=3, n_estimators=6).fit(X, NUMBERS)
    expected = [member.random_state for member in whole.estimators_]
    assert seeds == [expected[place] for place in model._places]
    assert sorted(model._places) == list(range(6))


def test_early_stopping_on_a_part_that_has_no_weight():
    """As if all of its samples had the same one; an empty part is not used."""
    weights = np.ones(len(X))
    halves = np.array_split(np.arange(len(X)), 2)
    weights[halves[0]] = 0
    pairs = [halves[::-1], halves]  # (to train on, to hold out)
    settings = {"early_stopping": True, "n_estimators": 2, "cv": pairs}
    model = regressor(**settings).fit(X, NUMBERS, np.where(weights, 1.0, 1e-9))
    assert np.isfinite(model.predict(X)).all()
    with pytest.raises(ValueError, match=r"member 2 of 2 .* at least one non-zero"):
        regressor(**settings).fit(X, NUMBERS, weights)  # nothing to train on
    settings["cv"] = [(np.arange(len(X)), halves[0]), (np.arange(len(X)), [])]
    model = regressor(**settings).fit(X, NUMBERS, weights)
    assert all(each.validation_scores_ for each in model.estimators_)


# --- how fits end ---------------------------------------------------------------------


def test_an_interrupt_keeps_the_members_that_are_done(monkeypatch):
    ends = MembersProgress.member_ends

    def interrupt(self, member):
        ends(self, member)
        if self._n_done == 2:
            raise KeyboardInterrupt

    expected = classifier(n_estimators=6, cv=2).fit(X, LABELS)
    monkeypatch.setattr(MembersProgress, "member_ends", interrupt)
    model = classifier(n_estimators=6, cv=2, n_jobs=1)
    with pytest.warns(UserWarning, match="interrupted by user: 2 of 6 members"):
        model.fit(X, LABELS)
    assert [bits(member) for member in model.estimators_] == [
        bits(member) for member in expected.estimators_[:2]
    ]
    assert not np.isnan(model.oof_decision_function_).any()
    assert model.estimator_weights_.tolist() == [0.5, 0.5]


def test_an_interrupt_of_a_fit_that_continues_loses_no_member(monkeypatch):
    model = classifier(warm_start=True, n_jobs=1).fit(X, LABELS)

    def interrupt(self, member):
        raise KeyboardInterrupt

    monkeypatch.setattr(MembersProgress, "member_ends", interrupt)
    with pytest.warns(UserWarning, match="interrupted by user: 1 of 4 members"):
        model.fit(X, LABELS)
    epochs = [len(member.loss_curve_) for member in model.estimators_]
    assert sorted(epochs) == [6, 6, 6, 12]


INTERRUPTED = """
import os, signal, threading, warnings
import numpy as np
from fastmlp import MLPEnsembleRegressor

X = np.random.default_rng(0).standard_normal((300, 5))
model = MLPEnsembleRegressor(hidden_layer_sizes=(5,), max_iter=10**6, tol=0,
                             n_iter_no_change=10**6, n_jobs=2, callbacks=[
    lambda state: state.epoch == 20 and os.kill(os.getpid(), signal.SIGINT)])
try:
    model.fit(X, X[:, 0])
except KeyboardInterrupt:
    print(vars(model).keys() - model.get_params().keys(), threading.active_count())
"""


def test_an_interrupt_before_any_member_is_done_is_raised(tmp_path):
    assert run(INTERRUPTED, tmp_path) == "set() 1\n"


def test_a_member_that_fails_is_named():
    model = regressor(n_jobs=1).fit(X, NUMBERS)
    seed = model.estimators_[2].random_state
    before = model.predict(X)

    def fail(state):
        if state.estimator.random_state == seed:
            raise error

    model.set_params(callbacks=[fail])
    name = rf"member 3 of 4 \(random_state={seed}\)"
    error = ValueError("too bad")
    with pytest.raises(ValueError, match=rf"The fit of {name} failed: too bad") as seen:
        model.fit(X, NUMBERS)
    assert seen.value.__cause__ is error
    error = ZeroDivisionError("by zero")
    with pytest.raises(ZeroDivisionError) as seen:
        model.fit(X, NUMBERS)
    assert name.replace("\\", "") in seen.value.__notes__[0]
    np.testing.assert_array_equal(model.predict(X), before)
    with pytest.raises(ValueError, match=r"member \d of 4 .* non-finite parameter"):
        regressor(solver="sgd", learning_rate_init=1e30).fit(X, NUMBERS)


def test_a_time_limit_is_shared():
    settings = {"max_iter": 10**6, "tol": 0, "n_iter_no_change": 10**6}
    model = regressor(time_limit=0.8, n_jobs=2, **settings)
    with pytest.warns(ConvergenceWarning, match="time_limit of .* seconds is over"):
        model.fit(X, NUMBERS)
    limits = [member.time_limit for member in model.estimators_]
    assert len(limits) == 4
    assert limits[0] == pytest.approx(0.4, abs=0.05)
    assert all(0 < limit <= 0.8 for limit in limits)


def test_lines_for_members_that_are_done(capsys):
    regressor(verbose=True, early_stopping=True, cv=2).fit(X, NUMBERS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    for i, line in enumerate(lines, 1):
        assert line.startswith(f"Member {i} of 4: ")
        assert "epochs, loss = " in line
        assert ", validation score: " in line
    classifier(verbose=2, solver="lbfgs").fit(X, LABELS)
    assert "validation" not in capsys.readouterr().out


def test_one_live_line(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    classifier(verbose="progress").fit(X, LABELS)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "4/4" in printed.err
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.warns(UserWarning, match="needs tqdm"):
        classifier(verbose="progress").fit(X, LABELS)
    assert len(capsys.readouterr().out.splitlines()) == 4


# --- what is refused, and what is said ------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"bootstrap": True, "cv": 3}, "bootstrap=True and cv are two ways"),
        ({"selection": "greedy"}, "selection='greedy' needs samples"),
        (
            {"selection": "greedy", "cv": 2, "warm_start": True},
            "warm_start=True cannot",
        ),
        ({"n_estimators": 0}, "n_estimators"),
        ({"selection": "best"}, "selection"),
        ({"cv": 1}, "cv"),
        ({"cv": []}, "gives no pairs"),
        ({"cv": 500}, "Cannot have number of splits n_splits=500"),
        ({"hidden_layer_sizes": (0,)}, r"^hidden_layer_sizes must be > 0"),
        ({"activation": ["relu", "tanh"]}, r"^activation must be a name"),
        ({"loss": (5,)}, "Did you mean hidden_layer_sizes"),
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(settings, problem):
    with pytest.raises(ValueError, match=problem):
        regressor(**settings).fit(X, NUMBERS)


def test_wrong_data_are_refused_as_by_a_network():
    for y, problem in (
        (NUMBERS[:-1], "inconsistent numbers of samples"),
        (LABELS, "a regression needs a y of numbers"),
        (None, "requires y to be passed"),
    ):
        with pytest.raises(ValueError, match=problem):
            regressor().fit(X, y)
    with pytest.raises(ValueError, match=r"^Some value\(s\) of y are out of"):
        regressor(loss="gamma").fit(X, -abs(NUMBERS))
    with pytest.raises(ValueError, match="at least one non-zero number"):
        regressor().fit(X, NUMBERS, np.zeros(240))
    model = regressor().fit(X, NUMBERS)
    with pytest.raises(ValueError, match="7 features"):
        model.predict(X[:, :3])
    data = X.copy()
    data[3, 2] = np.nan
    for method in (lambda: model.predict(data), lambda: model.fit(data, NUMBERS)):
        with pytest.raises(ValueError, match="contains NaN"):
            method()
    assert model.n_features_in_ == 7


def test_what_is_said_of_x_is_said_once_and_with_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X * [1, 1, 1, 1, 1, 1, 1e6], columns=list("abcdefg"))
    with pytest.warns(ScaleWarning, match="column 'g'") as seen:
        classifier(bootstrap=True).fit(frame, LABELS)
    assert sum("differ wildly" in str(w.message) for w in seen) == 1


def test_parameters_without_effect_are_told():
    with pytest.warns(UnusedParameterWarning, match="momentum=0.5 has no effect"):
        classifier(momentum=0.5).fit(X, LABELS)


def test_an_average_is_better_than_its_members():
    X, y = load_diabetes(return_X_y=True)
    model = MLPEnsembleRegressor(
        hidden_layer_sizes=(30,), n_estimators=6, bootstrap=True, solver="lbfgs",
        standardize=True, max_iter=100, random_state=0,
    ).fit(X[:300], y[:300])  # fmt: skip
    scores = [member.score(X[300:], y[300:]) for member in model.estimators_]
    assert model.score(X[300:], y[300:]) > np.mean(scores)
    X, y = load_iris(return_X_y=True)
    assert MLPEnsembleClassifier(max_iter=300, cv=3).fit(X, y).oof_score_ > 0.9
