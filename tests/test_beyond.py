"""What the estimators have beyond scikit-learn's: fits that differ by one parameter."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import sklearn
from data import problem
from scipy import sparse, special
from sklearn import metrics, neural_network
from sklearn.base import clone
from sklearn.metrics import get_scorer, log_loss, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

import fastmlp
from fastmlp import MLPClassifier
from fastmlp.initialization import INITIALIZATIONS

STEPS = ("adam", "sgd", "adamw", "rmsprop", "lion")
#: One step an epoch, on all rows as they are.
ONE_BATCH = {"batch_size": 203, "shuffle": False}
ALL = {
    "dropout": [0.2, 0.1], "input_dropout": 0.1, "weight_decay": 0.05, "l1": 1e-3,
    "clip_norm": 0.5, "ema_decay": 0.8, "activation": ["gelu", "tanh"],
    "learning_rate": "cosine_warmup", "weight_init": "orthogonal",
}  # fmt: skip


def model_of(name="MLPClassifier", **settings):
    settings = {
        "hidden_layer_sizes": (8, 6), "max_iter": 5, "random_state": 1,
        "learning_rate_init": 0.02, **settings,
    }  # fmt: skip
    return getattr(fastmlp, name)(**settings)


def classes(**settings):
    return model_of(**settings).fit(*problem("multiclass")[1:])


def numbers(**settings):
    return model_of("MLPRegressor", **settings).fit(*problem("regression")[1:])


def weights_of(model):
    return np.concatenate([a.ravel() for a in (*model.coefs_, *model.intercepts_)])


def bits(model):
    return weights_of(model).tobytes(), list(model.loss_curve_)


def halves(task):
    """(name, (X, y), (X_val, y_val))"""
    name, X, y = problem(task)
    if task == "gamma":
        y = abs(y) + 0.1
    return name, (X[:120], y[:120]), (X[120:], y[120:])


# --- samples to validate on ----------------------------------------------------------


def half(metric):
    return lambda y, p, w: metric(y, p, sample_weight=w) / 2


def pinball(y, p, w, alpha=0.5):
    return metrics.mean_pinball_loss(y, p, sample_weight=w, alpha=alpha)


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
    "classes": ({"y_val": lambda y: y + 4}, r"y_val has classes that y has not: \[5"),
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
    with pytest.raises(ValueError, match="solver='lbfgs' has no use for X_val"):
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


def test_the_loss_can_be_the_score():
    model = classes(early_stopping=True, scoring="loss", max_iter=40)
    losses = model.validation_loss_curve_
    np.testing.assert_array_equal(model.validation_scores_, np.negative(losses))
    assert model.best_validation_score_ == -min(losses)


def test_a_scorer_that_is_none_is_refused():
    with pytest.raises(ValueError, match="scoring"):
        classes(scoring="accuracies")


# --- losses --------------------------------------------------------------------------


def noisy(n=600):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (n, 1))
    return X, 2 * X[:, 0] + (1 + X[:, 0]) * rng.standard_normal(n)


def quantiles(q):
    X, y = noisy()
    settings = {"max_iter": 150, "n_iter_no_change": 150, "learning_rate": "cosine"}
    model = model_of("MLPRegressor", loss="quantile", quantile=q, **settings)
    return y, model.fit(X, y).predict(X)


def test_the_share_of_targets_below_a_quantile():
    levels = [0.1, 0.5, 0.9]
    y, together = quantiles(levels)
    assert together.shape == (600, 3)
    for column, q in zip(together.T, levels, strict=True):
        alone = quantiles(q)[1]
        assert (y < alone).mean() == pytest.approx(q, abs=0.05)
        assert (y < column).mean() == pytest.approx(q, abs=0.05)
        loss = pinball(y, alone, None, alpha=q)
        assert pinball(y, column, None, alpha=q) == pytest.approx(loss, rel=0.1)


@pytest.mark.parametrize("loss", ["absolute_error", "huber"])
def test_outliers_move_the_squared_error_only(loss):
    X = noisy()[0]
    y = 2 * X[:, 0]
    y[::10] += 50
    settings = {"batch_size": 50, "max_iter": 60, "n_iter_no_change": 60}
    errors = []
    for name in (loss, "squared_error"):
        model = model_of("MLPRegressor", loss=name, huber_delta=0.1, **settings)
        errors.append(np.median(abs(model.fit(X, y).predict(X) - 2 * X[:, 0])))
    assert errors[0] < 0.3 < 3 < errors[1]


def test_gamma_needs_positive_targets_and_quantiles_need_one_target():
    X, y = problem("regression")[1:]
    with pytest.raises(ValueError, match="'gamma': y must be positive"):
        model_of("MLPRegressor", loss="gamma").fit(X, y)
    model = model_of("MLPRegressor", loss="quantile", quantile=[0.1, 0.9])
    with pytest.raises(ValueError, match="a list of quantiles needs one target, got 2"):
        model.fit(X, np.column_stack([y, y]))
    for q in ([], [0.5, 1.0], ["a"], [[0.5]]):
        with pytest.raises(ValueError, match="quantile must be between 0 and 1"):
            model.set_params(quantile=q).fit(X, y)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("gamma", [None, 0.0, 1.5])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_focal_and_smoothed_losses_by_hand(task, gamma, smoothing):
    name, X, y = problem(task)
    loss = {} if gamma is None else {"loss": "focal", "focal_gamma": gamma}
    settings = {
        **ONE_BATCH, **loss, "alpha": 0, "label_smoothing": smoothing,
        "precision": "float64",
    }  # fmt: skip
    last = model_of(name, max_iter=4, **settings).fit(X, y).loss_
    p = model_of(name, max_iter=3, **settings).fit(X, y).predict_proba(X)
    if task == "multilabel":
        p = np.stack([p, 1 - p], axis=2)
        shares = np.stack([y, 1 - y], axis=2)
    else:
        shares = np.eye(p.shape[1])[y]
    shares = (1 - smoothing) * shares + smoothing / shares.shape[-1]
    losses = -shares * (1 - p) ** (gamma or 0) * np.log(p)
    assert last == pytest.approx(losses.sum() / len(y))


@pytest.mark.parametrize("weight", ["balanced", {0: 2.0, 3: 0.5}])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_weights_of_classes_are_weights_of_samples(weight, solver):
    _, X, y = problem("multiclass")
    y = np.where(y == 4, 0, y)
    weights = compute_sample_weight(weight, y)
    for given in (None, np.linspace(0, 2, len(y))):
        product = weights if given is None else given * weights
        model = model_of(class_weight=weight, solver=solver).fit(X, y, given)
        expected = model_of(solver=solver).fit(X, y, product)
        np.testing.assert_array_equal(weights_of(model), weights_of(expected))
        assert model.loss_ == expected.loss_


def test_weights_of_classes_in_partial_fit():
    _, X, y = problem("binary")
    model = model_of(class_weight="balanced")
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        model.partial_fit(X, y, classes=[0, 1])
    model.set_params(class_weight={0: 3.0}).partial_fit(X, y, classes=[0, 1])
    model.partial_fit(X[y == 1], y[y == 1])  # none of the class that has a weight


def test_a_regression_has_no_classes_to_weigh():
    X, y = problem("regression")[1:]
    model = model_of("MLPEstimator", class_weight="balanced", task="regression")
    with pytest.raises(ValueError, match="class_weight"):
        model.fit(X, np.round(y))


# --- activations, initial weights ----------------------------------------------------

FUNCTIONS = {
    "silu": lambda z: z * special.expit(z),
    "softplus": lambda z: np.logaddexp(0, z),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
}


@pytest.mark.parametrize("names", [["silu", "tanh"], ("relu", "softplus")])
def test_each_layer_has_its_activation_wherever_it_predicts(names):
    X, y = problem("regression")[1:]
    a, model = X, numbers(activation=names, precision="float64")
    for coef, bias, name in zip(model.coefs_, model.intercepts_, names, strict=False):
        a = FUNCTIONS[name](a @ coef + bias)
    expected = (a @ model.coefs_[-1] + model.intercepts_[-1]).ravel()
    S = sparse.csr_array(X)
    for rows in (slice(None), slice(1)):
        for found in (
            model.predict(X[rows]), model.predict(S[rows]), model.predictor()(X[rows]),
            pickle.loads(pickle.dumps(model)).predict(X[rows]),
            pickle.loads(pickle.dumps(model.predictor()))(X[rows]),
        ):  # fmt: skip
            np.testing.assert_allclose(found, expected[rows], rtol=1e-9)
    assert bits(clone(model).fit(X, y)) == bits(model)


@pytest.mark.parametrize("name", ["relu", "logistic", "gelu"])
def test_a_list_of_one_name_is_that_name(name):
    assert bits(classes(activation=[name] * 2)) == bits(classes(activation=name))


def test_a_list_in_an_array_is_saved_as_well():
    model = classes(activation=np.array(["elu", "tanh"]))
    assert bits(pickle.loads(pickle.dumps(model))) == bits(model)


@pytest.mark.parametrize(
    "activation", [[], ["relu"], ["relu"] * 3, ["relu", "rule"], ["relu", 1], "rule", 7]
)
def test_other_activations_are_refused(activation):
    with pytest.raises(ValueError, match=r"activation(' parameter)? .*must be a"):
        classes(activation=activation)


@pytest.mark.parametrize("rates", [[], [0.1], [0.1, 1.0], [0.1, -0.1], ["a", "b"]])
def test_other_rates_of_dropout_are_refused(rates):
    with pytest.raises(ValueError, match="dropout must be a number from 0"):
        classes(dropout=rates)


def initial(**settings):
    settings = {"learning_rate_init": 1e-30, "max_iter": 1, **settings}
    model = model_of(
        "MLPRegressor", hidden_layer_sizes=(200, 100), precision="float64",
        alpha=0, **settings,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    model.fit(rng.standard_normal((5, 300)), np.zeros(5))
    return model.coefs_[:2], model.intercepts_


VARIANCES = {
    "glorot": lambda m, n: 2 / (m + n),
    "he": lambda m, n: 2 / m,
    "lecun": lambda m, n: 1 / m,
    "orthogonal": lambda m, n: 1 / max(m, n),
}


@pytest.mark.parametrize("name", INITIALIZATIONS)
def test_initial_weights(name):
    coefs, biases = initial(weight_init=name, random_state=3)
    for coef in coefs:
        expected = VARIANCES[name.split("_")[0]](*coef.shape)
        assert coef.var() == pytest.approx(expected, rel=0.05)
        if name.endswith("uniform"):
            assert abs(coef).max() == pytest.approx(np.sqrt(3 * expected), rel=0.01)
        if name == "orthogonal":
            identity = np.eye(coef.shape[1])
            np.testing.assert_allclose(coef.T @ coef, identity, atol=1e-12)
    assert max(abs(bias).max() for bias in biases) < 1e-20
    assert np.all(initial(weight_init=name, random_state=3)[0][0] == coefs[0])
    assert np.any(initial(weight_init=name, random_state=4)[0][0] != coefs[0])


def test_initial_weights_that_suit_the_activations():
    coefs, biases = initial(activation=["selu", "silu"])
    assert coefs[0].var() == pytest.approx(1 / 300, rel=0.05)
    assert coefs[1].var() == pytest.approx(2 / 200, rel=0.05)
    assert abs(biases[0]).max() < 1e-20


# --- steps ---------------------------------------------------------------------------


@pytest.mark.parametrize("solver", STEPS)
def test_the_same_bits_for_any_number_of_threads_and_each_time(solver):
    fits = [bits(classes(solver=solver, n_jobs=n, **ALL)) for n in (1, 2, 3, 1)]
    assert all(fit == fits[0] for fit in fits)
    assert fits[0] != bits(classes(solver=solver, random_state=2, **ALL))


def test_adamw_is_adam_with_decay():
    expected = bits(numbers(weight_decay=0.01))
    assert bits(numbers(solver="adamw")) == expected
    assert bits(numbers(solver="adamw", weight_decay=0.2)) != expected


def test_decay_and_clipping_in_one_step_of_descent():
    step = {**ONE_BATCH, "solver": "sgd", "momentum": 0, "precision": "float64"}
    step |= {"max_iter": 1, "learning_rate_init": 0.1}
    start = weights_of(numbers(**{**step, "learning_rate_init": 1e-30}))
    plain = weights_of(numbers(**step))
    decay = weights_of(numbers(**step, weight_decay=0.3)) - plain
    n_weights = sum(coef.size for coef in numbers(**step).coefs_)
    np.testing.assert_allclose(decay[:n_weights], -0.03 * start[:n_weights], atol=1e-12)
    assert not decay[n_weights:].any()  # biases
    clipped = weights_of(numbers(**step, clip_norm=0.01)) - start
    assert np.linalg.norm(clipped) == pytest.approx(0.001)
    cosine = clipped @ (plain - start) / 0.001 / np.linalg.norm(plain - start)
    assert cosine == pytest.approx(1)


def test_the_l1_penalty_leaves_fewer_weights():
    few, many = (abs(numbers(l1=l1, max_iter=99).coefs_[0]) < 0.02 for l1 in (0, 3))
    assert many.mean() > 2 * few.mean()


def test_the_model_is_an_average_of_the_weights_over_the_steps():
    settings = {**ONE_BATCH, "precision": "float64"}
    raw = [weights_of(numbers(**settings, max_iter=k)) for k in range(1, 6)]
    start = {"learning_rate_init": 1e-30, "max_iter": 1}
    average = weights_of(numbers(**settings, **start))
    for weights in raw:
        average = 0.7 * average + 0.3 * weights
    found = weights_of(numbers(**settings, ema_decay=0.7))
    np.testing.assert_allclose(found, average, rtol=1e-9)


@pytest.mark.parametrize(
    "extra", [{name: ALL[name]} for name in [*ALL][:6]] + [{"checkpoint": "file"}]
)
def test_lbfgs_refuses_what_belongs_to_steps(extra):
    (name,) = extra
    with pytest.raises(ValueError, match=f"'lbfgs' has no use for {name}"):
        classes(solver="lbfgs", **extra)


# --- schedules -----------------------------------------------------------------------


def half_cosine(fraction):
    return (1 + np.cos(np.pi * fraction)) / 2


@pytest.mark.parametrize("solver", STEPS)
def test_schedules_with_every_solver(solver):
    fits = {
        name: classes(solver=solver, learning_rate=name, batch_size=20)
        for name in ("constant", "step", "exponential", "one_cycle", half_cosine)
    }
    assert len({weights_of(model).tobytes() for model in fits.values()}) == 5
    model = pickle.loads(pickle.dumps(fits[half_cosine]))
    assert model.learning_rate is half_cosine
    cosine = classes(solver=solver, learning_rate="cosine", batch_size=20)
    np.testing.assert_allclose(weights_of(model), weights_of(cosine), rtol=1e-5)


def test_a_callable_is_asked_for_each_step():
    asked = []
    classes(learning_rate=lambda fraction: asked.append(fraction) or 1, batch_size=50)
    np.testing.assert_allclose(asked, np.arange(25) / 25, atol=1e-12)
    for wrong in (lambda fraction: -1, lambda fraction: np.nan):
        with pytest.raises(ValueError, match="learning_rate must give finite factors"):
            classes(learning_rate=wrong)


@pytest.mark.parametrize("name", ["invscaling", "adaptive"])
def test_adam_ignores_the_schedules_of_sgd_as_scikit_learn_does(name):
    assert bits(classes(learning_rate=name)) == bits(classes())
    assert bits(classes(solver="rmsprop", learning_rate="invscaling")) != bits(
        classes(solver="rmsprop")
    )


# --- the estimator as a whole --------------------------------------------------------


@pytest.mark.parametrize("solver", STEPS)
def test_all_of_it_at_once_is_cloned_saved_and_shown(solver):
    _, X, y = problem("multiclass")
    model = classes(solver=solver, loss="focal", early_stopping=True, **ALL)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert copy.get_params() == model.get_params() == clone(model).get_params()
    assert bits(clone(model).fit(X, y)) == bits(model)
    assert "focal" in repr(model)
    assert model._repr_html_()


def test_a_grid_over_new_parameters():
    grid = {"dropout": [0.0, [0.1, 0.2]], "activation": ["relu", ["elu", "tanh"]]}
    search = GridSearchCV(model_of(max_iter=2), grid, cv=2)
    search.fit(*problem("binary")[1:])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        ({"activation": ["relu"]}, "activation"), ({"solver": "adamw"}, "solver"),
        ({"learning_rate": half_cosine}, "learning_rate"), ({"loss": "focal"}, "loss"),
    ],
)  # fmt: skip
def test_what_scikit_learn_has_not_is_not_turned_into_its_estimators(extra, name):
    with pytest.raises(ValueError, match=f"scikit-learn has no {name}="):
        MLPClassifier(**extra).to_sklearn()
    X, y = problem("binary")[1:]
    theirs = neural_network.MLPClassifier(max_iter=2).fit(X, y)
    found = fastmlp.from_sklearn(theirs).predict_proba(X)
    np.testing.assert_allclose(found, theirs.predict_proba(X))
