"""Properties that hold for shapes, magnitudes, dtypes and layouts nobody thought of."""

import warnings

import numpy as np
import reference
from data import random_network, random_targets, training_job
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import neural_network

import fastmlp
from fastmlp import MLPEstimator
from fastmlp.engine.jobs import PredictionJob
from fastmlp.engine.network import Network
from fastmlp.engine.threads import Team

units = st.lists(st.integers(1, 60), min_size=2, max_size=5).map(tuple)
activations = st.sampled_from(["identity", "logistic", "relu", "tanh"])
losses = st.sampled_from(["squared_error", "log_loss", "binary_log_loss", "poisson"])


@given(units, activations, losses, st.integers(1, 70), st.integers(1, 4))
def test_gradient_for_any_network(units, activation, loss, n_samples, n_threads):
    X = np.random.default_rng(0).standard_normal((n_samples, units[0]))
    y = random_targets(loss, n_samples, units[-1])
    coefs, intercepts = random_network(units, scale=0.7)
    common = {"activation": activation, "loss": loss, "l2": 0.1}
    job = training_job(units, X, y, coefs, intercepts, n_threads=n_threads, **common)
    with Team(n_threads) as team:
        loss_value = job.run(team, 0, 1) / n_samples
    np.testing.assert_allclose(
        loss_value, reference.loss_of(X, y, coefs, intercepts, **common), rtol=1e-10
    )
    result = job.network.read(array="gradient")
    expected = reference.gradient_of(X, y, coefs, intercepts, **common)
    for arrays, references in zip(result, expected, strict=True):
        for array, exact in zip(arrays, references, strict=True):
            scale = max(1, np.abs(exact).max())
            np.testing.assert_allclose(array, exact, rtol=0, atol=1e-11 * scale)


@given(units, activations, st.integers(1, 100), st.booleans(), st.integers(0, 3))
def test_prediction_for_any_network(units, activation, n_samples, single, layout):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2 * n_samples, 2 * units[0]))
    X = X.astype(np.float32 if single else np.float64)
    X = [
        X[:n_samples, : units[0]],
        np.asfortranarray(X)[::2, ::2],
        X[n_samples:, ::-2][:, : units[0]],
        X[::-2, : units[0]],
    ][layout]
    network = Network(units, "float64")
    coefs, intercepts = random_network(units)
    network.write(coefs, intercepts)
    job = PredictionJob(
        network, X, activation=activation, output_activation="identity",
        dtype=np.float64,
    )  # fmt: skip
    with Team(1) as team:
        result = job.run(team)
    expected = reference.predict(X, coefs, intercepts, activation, "identity")
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-11)


@given(
    n_samples=st.integers(2, 40),
    n_features=st.integers(1, 8),
    hidden=st.lists(st.integers(1, 9), max_size=3),
    batch_size=st.integers(1, 50),
    magnitude=st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 1e3, 1e30]),
    precision=st.sampled_from(["float32", "float64"]),
    solver=st.sampled_from(["sgd", "adam"]),
    task=st.sampled_from(["classification", "regression"]),
)
def test_a_fit_ends_with_a_finite_model_or_the_right_error(
    n_samples, n_features, hidden, batch_size, magnitude, precision, solver, task
):
    rng = np.random.default_rng(0)
    X = magnitude * rng.standard_normal((n_samples, n_features))
    y = np.arange(n_samples) % 3 if task == "classification" else magnitude * X[:, 0]
    model = MLPEstimator(
        tuple(hidden), task=task, batch_size=batch_size, precision=precision,
        solver=solver, max_iter=3, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.fit(X, y)
        except ValueError as error:
            message = str(error)
        else:
            message = None
            predictions = model.predict(X)
    if message is not None:
        assert "Solver produced non-finite parameter weights" in message
        assert magnitude >= 1e3
        return
    assert predictions.shape == (n_samples,)
    assert all(np.isfinite(a).all() for a in model.coefs_ + model.intercepts_)


#: Numbers as they come, of any dtype, NaN and infinity among them.
number_dtypes = st.one_of(
    hnp.boolean_dtypes(), hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(sizes=(16, 32, 64)),
)  # fmt: skip


@st.composite
def inputs(draw):
    """(X, y, sample_weight), mostly such that they can be fitted."""
    n_samples = draw(st.integers(0, 12))
    n_features = draw(st.integers(0, 4))
    shape = draw(st.sampled_from([(n_samples, n_features)] * 8 + [(n_samples,), ()]))
    dtype = draw(number_dtypes)
    rare = {"allow_nan": draw(st.booleans()) and draw(st.booleans())}
    rare["allow_infinity"] = rare["allow_nan"]
    numbers = {"min_value": -1000, "max_value": 1000}
    if dtype.kind == "u":
        numbers = {"min_value": 0, "max_value": 100}
    elif dtype.kind == "i":
        numbers = {"min_value": -100, "max_value": 100}
    elif dtype.kind == "f":
        numbers = rare if rare["allow_nan"] else numbers
    else:
        numbers = {}
    X = draw(hnp.arrays(dtype, shape, elements=hnp.from_dtype(dtype, **numbers)))
    labels = draw(
        st.sampled_from([
            st.integers(0, 2), st.sampled_from(["a", "b"]), st.booleans(),
            st.floats(-5, 5), st.sampled_from([0.0, 1.0]), st.just(7),
        ])
    )  # fmt: skip
    n_targets = draw(st.sampled_from([n_samples] * 8 + [n_samples + 1]))
    y = np.array(draw(st.lists(labels, min_size=n_targets, max_size=n_targets)))
    if draw(st.integers(0, 4)) == 0:
        y = np.stack([y, y[::-1]], axis=1)
    weights = st.floats(0, 10) | st.sampled_from([np.nan, np.inf, -np.inf])
    weight = draw(
        st.none()
        | st.lists(st.floats(0.5, 2), min_size=n_samples, max_size=n_samples)
        | st.lists(weights, min_size=n_samples, max_size=n_samples)
    )
    return X, y, weight


@given(inputs(), st.sampled_from(["MLPClassifier", "MLPRegressor"]))
def test_any_input_is_taken_or_refused_as_by_scikit_learn(data, name):
    """The same type of error, or none; and then predictions of the same kind."""
    X, y, sample_weight = data
    settings = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0}

    def outcome(module):
        model = getattr(module, name)(**settings)
        try:
            model.fit(X, y, sample_weight)
        except Exception as error:
            return type(error), str(error)
        predictions = model.predict(X)
        return tuple, predictions.shape, predictions.dtype

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        ours, theirs = outcome(fastmlp), outcome(neural_network)
    if theirs[0] in (ValueError, tuple):
        assert ours[0] is theirs[0], (ours, theirs)
    else:  # an accident of scikit-learn's, as ZeroDivisionError
        assert ours[0] in (ValueError, tuple), (ours, theirs)
    if ours[0] is theirs[0] is tuple:
        assert ours == theirs
