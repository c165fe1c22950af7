"""standardize=True: the same as scalers around the network, in one estimator."""

import pickle

import numpy as np
import pytest
from scipy.sparse import csc_array, csr_array
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_wine
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp
from fastmlp import MLPClassifier, MLPEstimator, MLPRegressor
from fastmlp.data.scaling import Scaling

X, y = load_wine(return_X_y=True)
NUMBERS, TARGET = load_diabetes(return_X_y=True)
SETTINGS = {"max_iter": 30, "random_state": 0, "precision": "float64"}


def test_it_is_a_scaler_before_a_classifier():
    model = MLPClassifier(standardize=True, **SETTINGS).fit(X, y)
    piped = make_pipeline(StandardScaler(), MLPClassifier(**SETTINGS)).fit(X, y)
    np.testing.assert_allclose(model.loss_curve_, piped[-1].loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(
        model.predict_proba(X), piped.predict_proba(X), rtol=1e-9
    )
    np.testing.assert_allclose(model.X_mean_, piped[0].mean_)
    np.testing.assert_allclose(model.X_scale_, piped[0].scale_)
    assert not hasattr(model, "y_mean_")
    row = model.predictor()(X[3])
    np.testing.assert_allclose(row, model.predict_proba(X)[3], rtol=1e-12)


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_it_is_two_scalers_around_a_regressor(solver, n_targets):
    target = TARGET if n_targets == 1 else np.stack([TARGET, 1e3 - TARGET**2], axis=1)
    model = MLPRegressor(standardize=True, solver=solver, **SETTINGS)
    model.fit(NUMBERS, target)
    piped = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), MLPRegressor(solver=solver, **SETTINGS)),
        transformer=StandardScaler(),
    ).fit(NUMBERS, target)
    expected = piped.predict(NUMBERS)
    spread = np.std(target, axis=0)
    atol = 1e-7 if solver == "adam" else 1e-3  # rounding, and what L-BFGS makes of it
    difference = abs(model.predict(NUMBERS) - expected) / spread
    assert difference.max() < atol
    assert model.score(NUMBERS, target) == pytest.approx(r2_score(target, expected))
    np.testing.assert_allclose(model.y_scale_, spread)
    found = model.predictor()(NUMBERS[:5])
    np.testing.assert_allclose(found, model.predict(NUMBERS[:5]), rtol=1e-12)


@pytest.mark.parametrize("make", [csr_array, csc_array])
def test_sparse_features_are_scaled_and_stay_sparse(make):
    data = X * (np.median(X, axis=0) < X)
    model = MLPClassifier(standardize=True, **SETTINGS).fit(make(data), y)
    scaler = StandardScaler(with_mean=False)
    piped = make_pipeline(scaler, MLPClassifier(**SETTINGS)).fit(make(data), y)
    np.testing.assert_allclose(model.loss_curve_, piped[-1].loss_curve_, rtol=1e-9)
    assert not model.X_mean_.any()
    for rows in (make(data), data):
        np.testing.assert_allclose(
            model.predict_proba(rows), piped.predict_proba(make(data)), rtol=1e-9
        )
    dense = MLPClassifier(standardize=True, **SETTINGS).fit(data, y)
    np.testing.assert_allclose(
        dense.predict_proba(make(data)), dense.predict_proba(data), rtol=1e-9
    )


def test_weights_of_samples_count():
    weights = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    model = MLPClassifier(standardize=True, max_iter=2, precision="float64")
    model.fit(X, y, sample_weight=weights)
    expected = StandardScaler().fit(X, sample_weight=weights)
    np.testing.assert_allclose(model.X_mean_, expected.mean_)
    np.testing.assert_allclose(model.X_scale_, expected.scale_)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_and_huge_columns(dtype):
    rng = np.random.default_rng(0)
    data = rng.standard_normal((50, 4)).astype(dtype)
    data[:, 1] = 0.1  # its mean is rounded
    data[:, 2] = 7.7e8
    if dtype == np.float64:
        data[:, 3] *= 1e300  # the squares are beyond float64
    scaled = Scaling.of(data).apply(data)
    assert scaled.dtype == dtype
    assert np.isfinite(scaled).all()
    assert abs(scaled).max() < 10
    assert abs(scaled[:, 1:3]).max() < 1e-5 * 7.7e8
    assert Scaling.of(data).scale[1] == Scaling.of(data).scale[2] == 1
    # what is constant in fit may change later: it is neither lost nor blown up
    later = data.copy()
    later[:, 1] += 1
    assert Scaling.of(data).apply(later)[0, 1] == pytest.approx(1, abs=1e-6)
    assert MLPClassifier(standardize=True, max_iter=3).fit(data, data[:, 0] > 0)


def test_validation_scores_and_callbacks_see_data_as_given():
    train, val, y_train, y_val = train_test_split(NUMBERS, TARGET, random_state=0)
    seen = []
    model = MLPRegressor(
        standardize=True, early_stopping=True, scoring="neg_mean_absolute_error",
        callbacks=[lambda state: seen.append(state.estimator.predict(val))], **SETTINGS,
    ).fit(train, y_train, X_val=val, y_val=y_val)  # fmt: skip
    expected = [-abs(predicted - y_val).mean() for predicted in seen]
    np.testing.assert_allclose(model.validation_scores_, expected, rtol=1e-9)
    # held-out samples, and R2, which scaling does not change
    model = MLPRegressor(standardize=True, early_stopping=True, **SETTINGS)
    own = model.fit(NUMBERS, TARGET).validation_scores_
    again = model.set_params(scoring="r2").fit(NUMBERS, TARGET).validation_scores_
    np.testing.assert_allclose(own, again, rtol=1e-6)


def test_fits_that_are_resumed_keep_the_scales_of_the_first():
    model = MLPClassifier(standardize=True, warm_start=True, **SETTINGS)
    mean = model.fit(X, y).X_mean_.copy()
    loss = model.loss_
    model.fit(X + 5, y)
    np.testing.assert_array_equal(model.X_mean_, mean)
    assert model.loss_curve_[30] > loss
    stream = MLPRegressor(standardize=True, random_state=0)
    stream.partial_fit(NUMBERS[:200], TARGET[:200]).partial_fit(
        NUMBERS[200:], TARGET[200:]
    )
    np.testing.assert_allclose(stream.y_mean_, TARGET[:200].mean())
    # a new fit has new ones, or none
    model.set_params(warm_start=False).fit(X + 5, y)
    np.testing.assert_allclose(model.X_mean_, mean + 5)
    model.set_params(standardize=False, max_iter=1)
    with pytest.warns(fastmlp.exceptions.ScaleWarning):
        model.fit(X, y)
    assert not hasattr(model, "X_mean_")


def test_losses_of_exponentials_scale_features_only():
    for loss in ("poisson", "gamma"):
        model = MLPRegressor(loss=loss, standardize=True, max_iter=50, random_state=0)
        model.fit(NUMBERS, TARGET)
        assert not hasattr(model, "y_mean_")
        assert (model.predict(NUMBERS) > 0).all()


def test_several_quantiles():
    model = MLPRegressor(
        loss="quantile", quantile=[0.1, 0.9], standardize=True, max_iter=300,
        random_state=0,
    ).fit(NUMBERS, TARGET)  # fmt: skip
    low, high = model.predict(NUMBERS).T
    assert 0.6 < ((low < TARGET) & (high > TARGET)).mean() < 0.95


@pytest.mark.parametrize("hidden", [(), (9,), (9, 5)])
def test_conversion_folds_the_scales_into_the_weights(hidden):
    for model, data, target in (
        (MLPClassifier(hidden, standardize=True, **SETTINGS), X, y),
        (MLPRegressor(hidden_layer_sizes=hidden, standardize=True, **SETTINGS),
         NUMBERS, TARGET),
    ):  # fmt: skip
        model.fit(data, target)
        with pytest.warns(UserWarning, match="standardize=True"):
            theirs = model.to_sklearn()
        predict = "predict_proba" if model is not None and data is X else "predict"
        np.testing.assert_allclose(
            getattr(theirs, predict)(data), getattr(model, predict)(data), rtol=1e-7
        )


def test_files_hold_the_scales_and_are_checked():
    model = MLPEstimator(
        task="regression", standardize=True, max_iter=20, random_state=0
    ).fit(NUMBERS, TARGET)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(NUMBERS), model.predict(NUMBERS))
    for name, bad in (
        ("X_mean_", np.zeros(3)),
        ("X_scale_", np.zeros(10)),
        ("y_scale_", np.array([np.nan])),
        ("y_mean_", None),
    ):
        state = model.__getstate__()
        state[name] = bad
        with pytest.raises(ValueError, match="damaged"):
            MLPEstimator().__setstate__(state)


def test_without_it_diabetes_is_not_learned_and_with_it_is():
    short = {"random_state": 0}
    with pytest.warns(fastmlp.exceptions.ScaleWarning, match="y is not scaled"):
        assert MLPRegressor(**short).fit(NUMBERS, TARGET).score(NUMBERS, TARGET) < 0
    model = MLPRegressor(standardize=True, **short).fit(NUMBERS, TARGET)
    assert model.score(NUMBERS, TARGET) > 0.5
