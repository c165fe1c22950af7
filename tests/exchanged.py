"""Fitted models of all kinds, whose predictions other programs are to repeat."""

import copy
import math
import warnings
from functools import cache

import numpy as np
import pandas as pd
from data import random_network

from fastmlp import (
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
    MLPRegressor,
    TabularMLPClassifier,
    TabularMLPRegressor,
)

FEATURES, HIDDEN, ROWS = 5, (9, 6), 60

_rng = np.random.default_rng(0)
X = _rng.standard_normal((ROWS, FEATURES))

#: Name -> (estimator, its own parameters, y): every form of output.
OUTPUTS = {
    "two classes": (MLPClassifier, {}, (X[:, 0] > 0) * 1),
    "classes": (MLPClassifier, {}, np.array(["b", "c", "a"] * (ROWS // 3))),
    "labels": (MLPClassifier, {}, _rng.integers(0, 2, (ROWS, 3))),
    "a number": (MLPRegressor, {}, X[:, 0]),
    "numbers": (MLPRegressor, {}, X[:, :3]),
    "scaled numbers": (
        MLPRegressor, {"standardize": True}, X[:, :2] * [1, 50] + [7, -20],
    ),
    "means": (MLPRegressor, {"loss": "poisson"}, _rng.poisson(2.0, ROWS).astype(float)),
}  # fmt: skip


def dent(z):
    """An activation that no program knows."""
    return math.log1p(z**2) if z >= 0 else math.expm1(z)


def dent_slope(z):
    """Its derivative."""
    return 2 * z / (1 + z * z) if z >= 0 else math.exp(z)


def models_with_dents():
    """(precision, model) of networks and of networks for tables."""
    for precision in ("float32", "float64"):
        yield precision, network("classes", precision, ["dent", "relu"])
    estimator = TabularMLPRegressor(
        "fast", activation="dent", n_members=2, max_iter=2, random_state=0
    )
    yield "float32", estimator.fit(X, X[:, 0])


@cache
def _fitted(output, precision):
    estimator, parameters, y = OUTPUTS[output]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator(
            hidden_layer_sizes=HIDDEN, precision=precision, max_iter=2, **parameters
        ).fit(X, y)


def network(output, precision="float32", activation="tanh"):
    """A model with an output of `OUTPUTS` and random weights."""
    model = copy.deepcopy(_fitted(output, precision))
    model.set_params(activation=activation)
    units = FEATURES, *HIDDEN, model.n_outputs_
    model.coefs_, model.intercepts_ = random_network(units)
    return model


@cache
def ensemble(output, precision="float32"):
    """Two members with an output of `OUTPUTS`, of unlike weights in the mean."""
    estimator, parameters, y = OUTPUTS[output]
    is_classifier = estimator is MLPClassifier
    kind = MLPEnsembleClassifier if is_classifier else MLPEnsembleRegressor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = kind(
            n_estimators=2, hidden_layer_sizes=HIDDEN, precision=precision,
            max_iter=20, bootstrap=True, random_state=0, **parameters,
        ).fit(X, y)  # fmt: skip
    model.estimator_weights_ = np.array([0.75, 0.25])
    return model


def predictions(model, X):
    """What files give: probabilities or numbers, in two dimensions."""
    if hasattr(model, "predict_proba"):
        return model.predict_proba(X)
    return model.predict(X).reshape(len(X), -1)


def assert_close(found, model, X, precision="float32"):
    """Within 1e-6 in float32, and 1e-12 in float64, of the largest prediction or 1."""
    expected = predictions(model, X)
    assert found.shape == expected.shape
    tolerance = {"float32": 1e-6, "float64": 1e-12}[precision]
    assert abs(found - expected).max() <= tolerance * max(1, abs(expected).max())


# --- tables ---------------------------------------------------------------------------


def table(n=120, seed=0):
    """Columns of all kinds."""
    rng = np.random.default_rng(seed)
    days = pd.to_timedelta(rng.integers(-20_000, 20_000, n), unit="D")
    times = pd.to_timedelta(rng.integers(0, 86_400, n), unit="s")
    is_there = rng.random(n) < 0.7
    numbers = rng.standard_normal(n)
    return pd.DataFrame(
        {
            "number": numbers,
            "single": rng.standard_normal(n).astype(np.float32),
            "large": np.where(is_there, 1e6 + 1e3 * numbers, np.nan),
            "few levels": rng.choice(["low", "mid", "high"], n),
            "levels": np.where(is_there, rng.choice([*"abcdefghijklmn"], n), None),
            "codes": pd.Categorical(rng.integers(0, 4, n)),
            "flag": rng.random(n) < 0.5,
            "yes or no": rng.choice(["yes", "no"], n),
            "date": pd.Timestamp("2000-02-29") + days + times,
            "duration": pd.to_timedelta(rng.integers(0, 9999, n), unit="s"),
            "constant": 1,
            "known": np.where(is_there, "yes", None),
            "measured": np.where(is_there, 3.0, np.nan),
            "key": [f"key {i}" for i in range(n)],
        }
    )


def new_rows():
    """Rows with unknown levels, and with more missing values than in `table`."""
    frame = table(seed=1)
    frame.loc[:9, ["few levels", "levels"]] = "new"
    frame.loc[5:14, ["number", "single", "date", "duration"]] = None
    frame.loc[7:20, ["few levels", "yes or no"]] = None
    return frame


_frame = table()
_n = len(_frame)

#: Name -> (estimator, y).
TABLES = {
    "classes": (TabularMLPClassifier, np.array(["b", "c", "a"] * (_n // 3))),
    "one class": (TabularMLPClassifier, np.full(_n, 7)),
    "labels": (TabularMLPClassifier, _rng.integers(0, 2, (_n, 3))),
    "a number": (TabularMLPRegressor, 1e6 + 1e3 * _frame["number"].to_numpy()),
    "numbers": (TabularMLPRegressor, _rng.standard_normal((_n, 2))),
}


#: Parameters of models for tables: few units, for float32 sums up rounding errors.
SMALL = {
    "preset": "fast", "hidden_layer_sizes": [12, 8], "n_members": 2, "max_iter": 3,
    "random_state": 0,
}  # fmt: skip


@cache
def of_tables(output, columns=None, **parameters):
    """A model with an output of `TABLES`, fitted to all columns of `table` or some."""
    estimator, y = TABLES[output]
    frame = _frame if columns is None else _frame[[*columns]]
    return estimator(**{**SMALL, **parameters}).fit(frame, y)


#: What networks may be told of numbers.
NUMBERS = {
    "cosines": {},
    "piecewise": {"numeric_embedding": "piecewise"},
    "by themselves": {"numeric_embedding": None},
    "quantiles": {"numeric_scaling": "quantile"},
}

#: Parameters that make a mean of three configurations.
TUNED = {"tune": 2, "n_members": 1}
