"""Samples that validate: given ones, scores of any kind, and what they decide."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import sklearn
from data import problem
from scipy import sparse, special
from sklearn import metrics
from sklearn.base import clone
from sklearn.metrics import get_scorer, log_loss, make_scorer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from test_options import (
    ONE_BATCH,
    bits,
    classes,
    halves,
    model_of,
    pinball,
    weights_of,
)


def half(metric):
    return lambda y, p, w: metric(y, p, sample_weight=w) / 2


LOSSES = {
    "multiclass": ("multiclass", {}, lambda y, p, w: log_loss(y, p, sample_weight=w)),
    "binary": ("binary", {}, lambda y, p, w: log_loss(y, p, sample_weight=w)),
    "multilabel": ("multilabel", {}, lambda y, p, w: sum(
        log_loss(y[:, j], p[:, j], sample_weight=w) for j in range(4))),
    "squared": ("regression", {}, half(metrics.mean_squared_error)),
    "several": ("multioutput", {}, half(metrics.mean_squared_error)),
    "poisson": ("counts", {"loss": "poisson"}, half(metrics.mean_poisson_deviance)),
    "gamma": ("gamma", {"loss": "gamma"}, half(metrics.mean_gamma_deviance)),
    "absolute": ("regression", {"loss": "absolute_error"},
                 lambda *a: 2 * pinball(*a)),
    "huber": ("regression", {"loss": "huber", "huber_delta": 0.3},
              lambda y, p, w: np.average(special.huber(0.3, y - p), weights=w)),
    "quantile": ("regression", {"loss": "quantile", "quantile": 0.8},
                 partial(pinball, alpha=0.8)),
}  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", LOSSES)
def test_scores_and_losses_are_those_of_the_model_of_each_epoch(case, weighted):
    task, settings, loss = LOSSES[case]
    settings = {**settings, "precision": "float64"}
    name, data, (X_val, y_val) = halves(task)
    w = np.linspace(0.1, 2, len(X_val)) if weighted else None
    model = model_of(name, **settings)
    model.fit(*data, X_val=X_val, y_val=y_val, sample_weight_val=w)
    assert model.best_validation_score_ is None
    for epochs in (1, 5):
        one = model_of(name, **{**settings, "max_iter": epochs}).fit(*data)
        score = one.score(X_val, y_val, w)
        assert model.validation_scores_[epochs - 1] == pytest.approx(score, rel=1e-9)
        predict = one.predict_proba if name == "MLPClassifier" else one.predict
        expected = loss(y_val, predict(X_val), w)
        found = model.validation_loss_curve_[epochs - 1]
        assert found == pytest.approx(expected, rel=1e-6)
    assert bits(model) == bits(one)


@pytest.mark.parametrize("case", ["poisson", "gamma", "absolute", "huber", "quantile"])
def test_the_loss_that_is_minimised_is_the_one_that_is_said(case):
    """That of epoch k + 1 is the loss of the weights after k epochs."""
    task, settings, loss = LOSSES[case]
    name, (X, y), _ = halves(task)
    settings |= {**ONE_BATCH, "batch_size": 120, "alpha": 0, "precision": "float64"}
    for weights in (None, np.linspace(0, 3, 120)):
        curve = model_of(name, **settings, max_iter=4).fit(X, y, weights).loss_curve_
        before = model_of(name, **settings, max_iter=3).fit(X, y, weights)
        expected = loss(y, before.predict(X), weights)
        assert curve[-1] == pytest.approx(expected, rel=1e-6)


def test_early_stopping_goes_by_the_given_samples_and_trains_on_all_others():
    name, data, own = halves("multiclass")
    settings = {"max_iter": 60, "n_iter_no_change": 3, "batch_size": 30}
    model = model_of(name, early_stopping=True, **settings)
    model.fit(*data, X_val=own[0], y_val=own[1])
    assert model.n_iter_ < 60
    assert model.t_ == 120 * model.n_iter_
    assert model.best_validation_score_ == max(model.validation_scores_)
    best = 1 + int(np.argmax(model.validation_scores_))
    plain = model_of(name, **{**settings, "max_iter": best}).fit(*data)
    np.testing.assert_array_equal(weights_of(model), weights_of(plain))


BAD = {
    "only X": ({"y_val": None}, "must be given together"),
    "only y": ({"X_val": None}, "must be given together"),
    "classes": ({"y_val": lambda y: y + 4}, r"y_val has classes that y lacks: \[5"),
    "strings": ({"y_val": lambda y: y.astype(str)}, "y_val has classes"),
    "features": ({"X_val": lambda X: X[:, 1:]}, "X has 8 features, but MLPClassifier"),
    "rows": ({"X_val": lambda X: X[1:]}, "inconsistent numbers of samples"),
    "NaN": ({"X_val": lambda X: X * np.nan}, "contains NaN"),
    "labels": ({"y_val": lambda y: np.eye(5)[y]}, "not fitted with multilabel input"),
}


@pytest.mark.parametrize("case", BAD)
def test_samples_that_cannot_validate_are_refused(case):
    changes, message = BAD[case]
    name, data, (X, y) = halves("multiclass")
    own = {"X_val": X, "y_val": y}
    own |= {key: change and change(own[key]) for key, change in changes.items()}
    model = model_of(name)
    with pytest.raises(ValueError, match=message):
        model.fit(*data, **own)
    assert not hasattr(model, "n_features_in_")


def test_weights_alone_and_other_outputs_and_lbfgs_are_refused():
    name, (X, y), _ = halves("regression")
    with pytest.raises(ValueError, match="sample_weight_val needs X_val and y_val"):
        model_of(name).fit(X, y, sample_weight_val=y)
    with pytest.raises(ValueError, match="y_val has 2 outputs, y has 1"):
        model_of(name).fit(X, y, X_val=X, y_val=np.column_stack([y, y]))
    with pytest.raises(ValueError, match="X_val is not supported by solver='lbfgs'"):
        model_of(name, solver="lbfgs").fit(X, y, X_val=X, y_val=y)


@pytest.mark.parametrize("scoring", [None, "loss", "neg_log_loss"])
def test_tables_with_names_and_labels_that_are_strings(scoring):
    _, (X, y), (X_val, y_val) = halves("binary")
    settings = {"early_stopping": True, "scoring": scoring}
    plain = model_of(**settings).fit(X, y, X_val=X_val, y_val=y_val)
    names = [f"feature {i}" for i in range(9)]
    tables = [pd.DataFrame(part, columns=names) for part in (X, X_val)]
    y, y_val = (pd.Series(np.array(["no", "yes"])[part]) for part in (y, y_val))
    model = model_of(**settings).fit(tables[0], y, X_val=tables[1], y_val=y_val)
    assert bits(model) == bits(plain)
    assert model.validation_scores_ == plain.validation_scores_
    with pytest.raises(ValueError, match="feature names should match"):
        model.fit(tables[0], y, X_val=tables[1][names[::-1]], y_val=y_val)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_sparse_samples_validate_as_dense_ones(task):
    name, data, (X_val, y_val) = halves(task)
    S = sparse.csc_array(X_val)
    dense = model_of(name).fit(*data, X_val=X_val, y_val=y_val)
    model = model_of(name).fit(*data, X_val=S, y_val=y_val)
    np.testing.assert_allclose(
        model.validation_loss_curve_, dense.validation_loss_curve_, rtol=1e-6
    )
    if task == "multilabel":
        Y = sparse.csr_matrix(y_val)
        model = model_of(name).fit(
            data[0], sparse.csr_matrix(data[1]), X_val=S, y_val=Y
        )
        assert model.validation_scores_ == dense.validation_scores_


def test_a_pipeline_routes_and_transforms_them():
    _, (X, y), (X_val, y_val) = halves("binary")
    scaler = StandardScaler().fit(X)
    own = {"X_val": scaler.transform(X_val), "y_val": y_val}
    expected = model_of().fit(scaler.transform(X), y, **own)
    with sklearn.config_context(enable_metadata_routing=True):
        model = model_of().set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline(
            [("scale", StandardScaler()), ("model", model)], transform_input=["X_val"]
        )
        pipeline.fit(X, y, X_val=X_val, y_val=y_val)
    assert pipeline[-1].validation_loss_curve_ == expected.validation_loss_curve_


# --- scoring -------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "scoring",
    ["neg_log_loss", make_scorer(metrics.f1_score, average="macro"), "roc_auc_ovr"],
    ids=["name", "scorer", "probabilities"],
)
def test_any_scorer_scores_the_model_of_each_epoch(scoring, weighted):
    name, data, (X_val, y_val) = halves("multiclass")
    weights = {"sample_weight": np.linspace(0.1, 2, len(X_val))} if weighted else {}
    own = {"X_val": X_val, "y_val": y_val}
    own |= {f"{key}_val": value for key, value in weights.items()}
    model = model_of(name, scoring=scoring).fit(*data, **own)
    for epochs in (1, 5):
        one = model_of(name, max_iter=epochs).fit(*data)
        expected = get_scorer(scoring)(one, X_val, y_val, **weights)
        assert model.validation_scores_[epochs - 1] == pytest.approx(expected)


def test_the_scorer_gets_rows_that_are_held_out_with_their_weights():
    X, y = problem("regression")[1:]
    seen = []

    def scorer(model, rows, targets, sample_weight):
        np.testing.assert_array_equal(targets + 9, sample_weight)
        np.testing.assert_array_equal(rows, X[[list(y).index(t) for t in targets]])
        seen.append(len(rows))
        return len(seen)

    model = model_of("MLPRegressor", early_stopping=True, scoring=scorer)
    model.fit(X, y, y + 9)
    assert seen == [21] * 5
    assert model.t_ == 5 * (203 - 21)
    assert model.best_validation_score_ == 5


@pytest.mark.parametrize("scoring", ["r2", "neg_mean_absolute_error", "loss", None])
def test_a_network_that_diverges_has_no_score(scoring):
    """Scorers refuse NaN; the fit begins anew in float64, or ends with its best."""
    X, y = problem("regression")[1:]
    settings = {"solver": "sgd", "early_stopping": True, "scoring": scoring}
    with pytest.warns(UserWarning, match="done again in float64"):
        model = model_of("MLPRegressor", **settings).fit(X * 1e5, y * 1e5)
    assert np.isfinite(model.best_validation_score_)
    model.set_params(precision="float64").fit(X * 1e6, y * 1e12)
    assert np.isnan(model.validation_scores_[-1])
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_rows_that_float32_cannot_hold_are_scored_as_score_does(task, own):
    name, X, y = problem(task)
    settings = {"max_iter": 2, "early_stopping": True, "restore_best_weights": False}
    model = model_of(name, **settings)
    if own:
        X_val, y_val = X[:30].copy(), y[:30]
        X_val[:5] *= 1e39
        model.fit(X, y, X_val=X_val, y_val=y_val)
    else:
        plain = clone(model).fit(X, y)
        held_out = []
        watch = clone(model).set_params(scoring=lambda m, X, y: held_out.append(X) or 0)
        watch.fit(X, y)
        rows = [np.flatnonzero((row == X).all(axis=1))[0] for row in held_out[0]]
        X[rows[:5]] *= 1e39
        model.fit(X, y)
        np.testing.assert_array_equal(model.coefs_[0], plain.coefs_[0])
        X_val, y_val = X[rows], y[rows]
    assert model.precision_ == "float32"
    assert np.isfinite(model.validation_loss_curve_[-1])
    expected = model.score(X_val, y_val)
    assert model.validation_scores_[-1] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scoring", [None, "accuracy", "neg_log_loss"])
def test_outputs_that_float32_cannot_hold_are_scored_even_if_X_is_float32(scoring):
    name, (X, y), (X_val, y_val) = halves("multiclass")
    X_val = X_val.astype(np.float32)
    X_val[:5] = np.float32(3e38)
    settings = {"max_iter": 3, "early_stopping": True, "scoring": scoring}
    model = model_of(
        name, hidden_layer_sizes=(60, 60), learning_rate_init=0.2, **settings
    )
    model.fit(X.astype(np.float32), y, X_val=X_val, y_val=y_val)
    assert model.precision_ == "float32"
    assert np.isfinite(model.validation_scores_).all()
    assert np.isfinite(model.validation_loss_curve_).all()


@pytest.mark.parametrize("quantile", [[0.9], [0.5, 0.5], [0.1, 0.9]])
def test_a_list_of_quantiles_is_scored_as_score_does(quantile):
    name, data, (X_val, y_val) = halves("regression")
    model = model_of(name, loss="quantile", quantile=quantile)
    model.fit(*data, X_val=X_val, y_val=y_val)
    assert model.validation_scores_[-1] == pytest.approx(model.score(X_val, y_val))
    with pytest.raises(ValueError, match=r"quantile is now .* fit it again"):
        model.set_params(quantile=[0.1, 0.2, 0.3]).score(X_val, y_val)


@pytest.mark.filterwarnings("ignore:Only one class is present")
@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_scorer_that_cannot_score_is_named_in_the_first_epoch(early_stopping):
    X, y = problem("binary")[1:]
    own = {"X_val": X[y == 1], "y_val": y[y == 1]}
    settings = {"early_stopping": early_stopping, "scoring": "roc_auc"}
    model = model_of("MLPClassifier", **settings)
    # older versions of scikit-learn raise an error of their own
    with pytest.raises(ValueError, match=r"scoring='roc_auc' gave NaN|one class"):
        model.fit(X, y, **own)
    assert not hasattr(model, "coefs_")

    def never(model, X, y):
        return float("nan")

    model.set_params(scoring=never)
    with pytest.raises(ValueError, match=r"scoring=.*never gave NaN in the first"):
        model.fit(X, y, **own)


def test_a_score_that_is_nan_later_is_no_improvement():
    scores = [0.5, np.nan, 0.7, np.nan, np.nan]
    given = iter(scores)
    X, y = problem("binary")[1:]
    model = model_of(
        "MLPClassifier", early_stopping=True, scoring=lambda *args: next(given)
    ).fit(X, y)
    np.testing.assert_array_equal(model.validation_scores_, scores)
    assert model.best_validation_score_ == 0.7


@pytest.mark.parametrize("value", [None, "0.5", 1j, {"accuracy": 0.5}, np.ones(2)])
def test_a_score_that_is_no_number_names_its_function(value):
    def mine(model, X, y):
        return value

    X, y = problem("binary")[1:]
    model = model_of("MLPClassifier", early_stopping=True, scoring=mine)
    with pytest.raises(
        ValueError, match=r"scoring=.*mine must return a number.*it returned "
    ):
        model.fit(X, y)


@pytest.mark.parametrize("name", ["numbers", "text"])
@pytest.mark.parametrize("other", [None, 1.5, "z"])
def test_labels_that_cannot_be_compared_are_named(name, other):
    X, y = problem("multiclass")[1:]
    y = y if name == "numbers" else np.array(list("abcde"))[y]
    y_val = np.array([*y[:9], other], object)
    with pytest.raises(ValueError, match=rf"classes that y lacks: .*{other}"):
        model_of("MLPClassifier").fit(X, y, X_val=X[:10], y_val=y_val)
    if other is None:
        for y_val in ([*range(9), None], np.array([*range(9), None])):
            with pytest.raises(ValueError, match=r"a y_val of numbers|y_val.*NaN"):
                model_of("MLPRegressor").fit(X, X[:, 0], X_val=X[:10], y_val=y_val)


def test_the_loss_can_be_the_score():
    model = classes(early_stopping=True, scoring="loss", max_iter=40)
    losses = model.validation_loss_curve_
    np.testing.assert_array_equal(model.validation_scores_, np.negative(losses))
    assert model.best_validation_score_ == -min(losses)


def test_a_scorer_that_is_none_is_refused():
    with pytest.raises(ValueError, match="scoring"):
        classes(scoring="accuracies")
