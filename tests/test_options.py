"""What the estimators have beyond scikit-learn's: fits that differ by one parameter."""

import pickle

import numpy as np
import pytest
from data import problem
from scipy import sparse, special
from sklearn import metrics, neural_network
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.class_weight import compute_sample_weight

import fastmlp
from fastmlp import MLPClassifier
from fastmlp.tables.initializations import INITIALIZATIONS

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


def pinball(y, p, w, alpha=0.5):
    return metrics.mean_pinball_loss(y, p, sample_weight=w, alpha=alpha)


def halves(task):
    """(name, (X, y), (X_val, y_val))"""
    name, X, y = problem(task)
    if task == "gamma":
        y = abs(y) + 0.1
    return name, (X[:120], y[:120]), (X[120:], y[120:])


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
    before = weights_of(model)
    model.set_params(class_weight={1: 0.0}, alpha=0.0)
    model.partial_fit(X[y == 0], y[y == 0])
    assert not np.array_equal(weights_of(model), before)
    model.partial_fit(X[y == 1], y[y == 1])  # none of the class that counts
    model.set_params(class_weight={0: 0, 1: 0})
    with pytest.raises(ValueError, match=r"sums to zero.*one sample must count"):
        model.partial_fit(X, y)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf, None, "a", 1j, [1.0]])
def test_weights_of_classes_that_are_no_weights_are_refused(weight, solver):
    _, X, y = problem("binary")
    model = model_of(class_weight={0: 1.0, 1: weight}, solver=solver)
    with pytest.raises(ValueError, match=r"not negative; that of class 1 is "):
        model.fit(X, y)
    assert not hasattr(model, "coefs_")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_weights_that_leave_nothing_are_refused(solver):
    _, X, y = problem("binary")
    model = model_of(class_weight={0: 0, 1: 0}, solver=solver)
    with pytest.raises(ValueError, match=r"sums to zero.*one sample must count"):
        model.fit(X, y)
    model.set_params(class_weight={0: 0})
    with pytest.raises(ValueError, match=r"sums to zero.*one sample must count"):
        model.fit(X, y, sample_weight=1.0 * (y == 0))
    assert not hasattr(model, "coefs_")
    model.fit(X, y)  # one class that does not count is fine
    np.testing.assert_array_equal(
        weights_of(model), weights_of(model_of(solver=solver).fit(X, y, 1.0 * (y == 1)))
    )


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


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_norms_that_float32_cannot_hold_are_refused(precision):
    """Kernels would take them for 0, which means no clipping."""
    step = {**ONE_BATCH, "solver": "sgd", "momentum": 0, "precision": precision}
    least = float(np.finfo(np.float32).tiny)
    for norm in (1e-320, least / 2):
        with pytest.raises(ValueError, match=r"'clip_norm'.*\[1.17\d+e-38, inf\)"):
            numbers(**step, clip_norm=norm)
    still = weights_of(numbers(**step, clip_norm=least))
    start = weights_of(numbers(**{**step, "learning_rate_init": 1e-30}))
    np.testing.assert_array_equal(still, start)


@pytest.mark.filterwarnings("ignore::fastmlp.exceptions.ScaleWarning")
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
    with pytest.raises(ValueError, match=f"{name} is not supported by solver='lbfgs'"):
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
        with pytest.raises(
            ValueError, match="learning_rate must return finite factors"
        ):
            classes(learning_rate=wrong)


def test_schedules_are_at_their_end_beyond_max_iter():
    X, y = problem("multiclass")[1:]
    model = model_of(
        solver="sgd", momentum=0, learning_rate="cosine", max_iter=2, batch_size=100
    )
    for _ in range(2):
        model.partial_fit(X, y, classes=np.unique(y))
    before = weights_of(model)
    for _ in range(3):  # where the cosine would rise again
        model.partial_fit(X, y)
    np.testing.assert_array_equal(weights_of(model), before)


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
        ({"activation": ["elu"]}, "activation"), ({"solver": "adamw"}, "solver"),
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
