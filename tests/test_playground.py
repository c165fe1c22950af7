"""The playground: its data, experiments, pictures and trainer."""

import contextlib
import io
import json
import re
import threading
import time
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest
from sklearn.metrics import (
    log_loss,
    mean_gamma_deviance,
    mean_pinball_loss,
    mean_poisson_deviance,
)

from fastmlp.playground import make_data, pictures, server, trainer
from fastmlp.playground.datasets import DATASETS, FEATURES, RADIUS, features_of
from fastmlp.playground.experiment import Experiment, choices
from fastmlp.playground.trainer import Trainer
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES
from fastmlp.tables.optimizers import SOLVERS
from fastmlp.training.schedules import SCHEDULES

#: Long enough for a kernel to be compiled.
PATIENCE = 60


def wait_until(condition, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.005)


# --- data ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", DATASETS)
def test_data_sets_have_the_stated_samples_and_classes(name):
    row = DATASETS[name]
    data = make_data(name)
    n = row.n_samples // 2
    for X, y, points in (
        (data.X, data.y, data.points),
        (data.X_test, data.y_test, data.points_test),
    ):
        assert X.shape == points.shape == (n, 2)
        assert X.dtype == np.float32
        assert y.shape == (n,)
        np.testing.assert_array_equal(X, points.astype(np.float32))
        if row.task == "classification":
            assert set(y) == set(range(row.n_classes))
        else:
            assert y.std() > 0.1
            assert abs(y).max() < 1.21
        assert abs(points).max() <= RADIUS + 0.5


@pytest.mark.parametrize("name", DATASETS)
def test_data_are_those_of_their_seed(name):
    first, same = make_data(name, noise=0.2, seed=3), make_data(name, noise=0.2, seed=3)
    for a, b in zip(first, same, strict=True):
        np.testing.assert_array_equal(a, b)
    other = make_data(name, noise=0.2, seed=4)
    assert not np.array_equal(first.points, other.points)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
def test_the_share_is_of_all_samples_and_splits_the_same_ones(share):
    data, half = make_data("rings", share=share), make_data("rings")
    assert len(data.y) == round(600 * share)
    assert len(data.y) + len(data.y_test) == 600
    whole = np.concatenate([data.points, data.points_test])
    np.testing.assert_array_equal(
        whole, np.concatenate([half.points, half.points_test])
    )


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_noise_moves_points_or_labels_and_not_too_far(name, noise):
    clear, noisy = make_data(name), make_data(name, noise=noise)
    assert np.isfinite(noisy.points).all()
    changed = not np.array_equal(clear.points, noisy.points)
    changed |= not np.array_equal(clear.y, noisy.y)
    assert changed
    # clouds have no bound, but nearly all of their points are on the map
    assert (abs(noisy.points) <= 2 * RADIUS).mean() > 0.99


def test_features_are_functions_of_the_coordinates():
    points = np.array([[1.0, -2.0], [0.5, 3.0]])
    x1, x2 = points.T
    expected = [x1, x2, x1**2, x2**2, x1 * x2, np.sin(x1), np.sin(x2)]
    found = features_of(points, FEATURES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.transpose(expected), rtol=1e-6)
    np.testing.assert_array_equal(features_of(points, ["x1*x2"]), found[:, 4:5])
    data = make_data("xor", features=("sin(x2)", "x1"))
    np.testing.assert_array_equal(data.X, features_of(data.points, ["sin(x2)", "x1"]))


# --- experiments ---------------------------------------------------------------------

BAD = [
    *[(name, value)
      for name in ("data", "activation", "solver", "learning_rate")
      for value in ("nonsense", "", 1, None, ["tanh"])],
    *[(name, value)
      for name in ("noise", "share", "seed", "learning_rate_init", "alpha", "l1",
                   "dropout", "batch_size", "max_iter")
      for value in (-1, 1e12, float("nan"), float("inf"), "1", None, True, [1])],
    *[(name, 1.5) for name in ("seed", "batch_size", "max_iter")],
    ("batch_size", 0), ("max_iter", 0), ("learning_rate_init", 0), ("share", 1),
    *[(name, value)
      for name in ("features", "hidden_layer_sizes") for value in ("x1", 4, None, {})],
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_an_error_that_names_the_setting(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be "):
        Experiment.of({name: value})


@pytest.mark.parametrize(
    "features", [[], ["x3"], ["x1", "x1"], ["x1", 2], [["x1"]], [None]]
)
def test_bad_features_are_an_error(features):
    with pytest.raises(ValueError, match="one or more of"):
        Experiment.of({"features": features})


@pytest.mark.parametrize(
    "sizes", [[0], [17], [-1], [1.0], [True], ["4"], [None], [[4]], [1] * 7]
)
def test_bad_layers_are_an_error(sizes):
    with pytest.raises(ValueError, match="hidden layers of 1 to 16 units"):
        Experiment.of({"hidden_layer_sizes": sizes})


@pytest.mark.parametrize("values", [None, [], "circle", 3])
def test_an_experiment_is_an_object(values):
    with pytest.raises(ValueError, match="object"):
        Experiment.of(values)


def test_unknown_names_are_an_error():
    with pytest.raises(ValueError, match=r"unknown settings: \['a', 'momentum'\]"):
        Experiment.of({"momentum": 0.5, "a": 1, "alpha": 0.1})


@pytest.mark.parametrize(
    "levels", [[], [0], [1], [0.5, 0.1], [0.5, 0.5], ["0.5"], [None], [0.1] * 6]
)
def test_bad_quantiles_are_an_error(levels):
    with pytest.raises(ValueError, match="between 0 and 1, in ascending order"):
        Experiment.of({"quantile": levels})


def test_settings_without_effect_are_left_out_and_notes_say_what_is_odd():
    lbfgs = Experiment(solver="lbfgs", l1=0.5, dropout=0.3, early_stopping=True)
    assert (lbfgs.l1, lbfgs.dropout, lbfgs.early_stopping) == (0, 0, False)
    assert lbfgs.n_batch == 250
    assert not {"batch_size", "learning_rate"} & lbfgs._settings().keys()
    assert "one of its iterations" in " ".join(lbfgs.notes())
    assert Experiment().notes() == []
    (note,) = Experiment(solver="adam", learning_rate="adaptive").notes()
    assert "no effect" in note
    (note,) = Experiment(data="hills", loss="poisson").notes()
    assert "exp(y)" in note


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
@pytest.mark.parametrize("name", ["plane", "hills"])
def test_losses_of_positive_numbers_have_positive_targets(name, loss):
    experiment = Experiment(data=name, loss=loss, noise=0.5)
    data = experiment.make_data()
    assert data.y.min() > 0
    np.testing.assert_array_equal(data.y, np.exp(make_data(name, noise=0.5).y))
    assert experiment.legend() == ["0.368", "1", "2.72"]
    np.testing.assert_allclose(
        experiment.shades(data.y), Experiment(data=name, noise=0.5).make_data().y
    )


def test_values_become_those_of_python():
    experiment = Experiment.of(
        {"seed": 3.0, "alpha": 1, "features": ["x2", "x1"], "hidden_layer_sizes": []}
    )
    assert (experiment.seed, type(experiment.seed)) == (3, int)
    assert type(experiment.alpha) is float
    assert experiment.features == ("x1", "x2")  # in the order of the table
    assert experiment.hidden_layer_sizes == ()


@pytest.mark.parametrize(
    ("data", "loss", "expected"),
    [
        ("circle", "", "log_loss"),
        ("circle", "huber", "log_loss"),
        ("circle", "focal", "focal"),
        ("circle", None, "log_loss"),
        ("plane", "focal", "squared_error"),
        ("plane", "huber", "huber"),
    ],
)
def test_the_loss_is_one_of_the_task(data, loss, expected):
    experiment = Experiment(data=data, loss=loss)
    assert experiment.loss == expected
    model = experiment.make_estimator()
    assert type(model).__name__.startswith("MLP" + experiment.task[:5].title())
    assert model.loss == expected


def test_the_page_offers_the_rows_of_the_tables():
    found = choices()
    assert found["data"].items() >= {(n, row.task) for n, row in DATASETS.items()}
    assert found["features"] == list(FEATURES)
    assert found["activation"] == list(ACTIVATIONS)
    assert found["solver"] == list(SOLVERS)
    assert found["learning_rate"] == list(SCHEDULES)
    assert set(found["loss"]["classification"]) == CLASSIFICATION_LOSSES
    assert set(found["loss"]["regression"]) == REGRESSION_LOSSES
    assert "batch_size" in found["unused"]["lbfgs"]
    assert found["unused"]["sgd"] == []
    json.dumps(found, allow_nan=False)
    for name in ("activation", "solver", "learning_rate"):
        for value in found[name]:
            Experiment.of({name: value})
    for task, losses in found["loss"].items():
        data = next(name for name, its in found["data"].items() if its == task)
        for loss in losses:
            assert Experiment.of({"data": data, "loss": loss}).loss == loss
    defaults = {**found["defaults"]}
    assert Experiment.of(defaults) == Experiment()


def read_address(address):
    """The settings in an address, as the page reads them."""
    defaults, found = choices()["defaults"], {}
    for name, text in parse_qsl(address, keep_blank_values=True):
        usual = defaults.get(name, "")  # of lists of names, which are no settings
        kind = type(usual[0]) if isinstance(usual, tuple) else type(usual)
        if isinstance(usual, tuple):
            found[name] = [kind(part) for part in text.split(",") if part]
        else:
            found[name] = kind(text)
    return found


ADDRESSES = sorted(
    (path.stem, address)
    for path in Path(__file__).parents[1].glob("docs/**/*.md")
    for address in re.findall(r"127\.0\.0\.1:8080/#([^\s)]+)", path.read_text("utf-8"))
)


@pytest.mark.parametrize(("page", "address"), ADDRESSES)
def test_links_in_the_documentation_open_experiments(page, address):
    settings = read_address(address)
    parts = {*settings.pop("show", "").split(",")}
    experiment = Experiment.of(settings)
    for name, value in settings.items():
        kept = getattr(experiment, name)
        assert (list(kept) if isinstance(value, list) else kept) == value
    assert parts <= {"", "by-hand", "discrete", "quality", "test-samples"}


def test_the_tutorial_leads_to_the_playground():
    pages = {page for page, _ in ADDRESSES}
    tutorial = {"perceptron", "multilayer", "backpropagation", "descent", "watching"}
    assert tutorial | {"playground"} <= pages


def test_the_smallest_and_largest_numbers_are_allowed():
    for name, bounds in choices()["ranges"].items():
        for value in bounds:
            assert getattr(Experiment.of({name: value}), name) == value


# --- pictures ------------------------------------------------------------------------

FITS = {
    "binary": {},
    "no layers": {"hidden_layer_sizes": ()},
    "relu": {"activation": "relu", "hidden_layer_sizes": (8, 5, 3)},
    "gelu": {"activation": "gelu", "features": ("x1^2", "sin(x2)", "x1*x2")},
    "logistic": {"activation": "logistic"},
    "selu": {"activation": "selu", "data": "xor"},
    "focal": {"loss": "focal"},
    "3 classes": {"data": "rings"},
    "5 classes": {"data": "pinwheel", "activation": "elu"},
    "5 classes, focal": {"data": "pinwheel", "loss": "focal"},
    "regression": {"data": "plane"},
    "absolute error": {"data": "hills", "loss": "absolute_error"},
    "huber": {"data": "hills", "loss": "huber", "activation": "relu"},
    "poisson": {"data": "hills", "loss": "poisson"},
    "gamma": {"data": "plane", "loss": "gamma"},
    "quantile": {"data": "plane", "loss": "quantile", "quantile": (0.8,)},
    "3 quantiles": {"data": "hills", "loss": "quantile", "quantile": (0.1, 0.5, 0.9)},
}


def fitted(name, **others):
    """(experiment, its estimator after 3 epochs, the same as a snapshot)."""
    experiment = Experiment(
        **{"max_iter": 3, "learning_rate_init": 0.1, "noise": 0.1, **FITS[name]},
        **others,
    )
    data = experiment.make_data()
    model = experiment.make_estimator().fit(data.X, data.y)
    return experiment, model, trainer.Snapshot(3, model.coefs_, model.intercepts_)


@pytest.mark.parametrize("name", FITS)
def test_forward_passes_are_those_of_the_estimator(name):
    experiment, model, snapshot = fitted(name)
    X = experiment.make_data().X_test
    activations, z = pictures.forward(experiment, snapshot, X)
    assert [a.shape[1] for a in activations] == list(experiment.hidden_layer_sizes)
    if experiment.task == "regression":
        found = np.exp(z) if experiment.loss in ("poisson", "gamma") else z
        expected = model.predict(X).reshape(len(X), -1)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        return
    if z.shape[1] == 1:
        p = 1 / (1 + np.exp(-z[:, 0].astype(float)))
        found = np.column_stack([1 - p, p])
    else:
        e = np.exp(z.astype(float))
        found = e / e.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, model.predict_proba(X), atol=1e-5)
    np.testing.assert_array_equal(found.argmax(axis=1), model.predict(X))


def test_forward_passes_are_the_same_in_pieces(monkeypatch):
    experiment = Experiment(data="rings", hidden_layer_sizes=(5, 3))
    trained = Trainer(experiment)
    trained.close()
    X, snapshot = trained.data.X, trained.at(0)
    whole = pictures.forward(experiment, snapshot, X)
    monkeypatch.setattr(pictures, "_MOST_MULTIPLICATIONS", 15 * 7)  # 7 rows, 300 in all
    pieces = pictures.forward(experiment, snapshot, X)
    for a, b in zip([*whole[0], whole[1]], [*pieces[0], pieces[1]], strict=True):
        assert len(a) == len(X)
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)


def regression_loss(experiment, y, predicted):
    error = abs(predicted.T - y).T
    levels, columns = experiment.quantile, predicted.reshape(len(y), -1).T
    return {
        "squared_error": lambda: (error**2).mean() / 2,
        "absolute_error": lambda: error.mean(),
        "huber": lambda: np.where(error <= 1, error**2 / 2, error - 0.5).mean(),
        "quantile": lambda: np.mean(
            [
                mean_pinball_loss(y, column, alpha=q)
                for q, column in zip(levels, columns, strict=True)
            ]
        ),
        "poisson": lambda: mean_poisson_deviance(y, predicted) / 2,
        "gamma": lambda: mean_gamma_deviance(y, predicted) / 2,
    }[experiment.loss]()


@pytest.mark.parametrize("name", FITS)
def test_losses_are_those_of_numpy(name):
    experiment, model, snapshot = fitted(name)
    data = experiment.make_data()
    for X, y in ((data.X, data.y), (data.X_test, data.y_test)):
        if experiment.task == "regression":
            predicted = model.predict(X).astype(float)
            expected = regression_loss(experiment, y, predicted)
        elif experiment.loss == "focal":
            p = model.predict_proba(X).astype(float)[np.arange(len(y)), y]
            expected = -((1 - p) ** 2 * np.log(p)).mean()
        else:
            p = model.predict_proba(X).astype(float)
            expected = log_loss(y, p / p.sum(axis=1, keepdims=True))
        found = pictures.loss_of(experiment, snapshot, X, y)
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", FITS)
def test_pictures_have_the_stated_sizes_and_show_predictions(name):
    experiment, model, snapshot = fitted(name)
    drawn = pictures.pictures_of(experiment, snapshot)
    units = sum(experiment.hidden_layer_sizes) * pictures.UNIT_GRID**2
    cells = pictures.GRID**2
    several = DATASETS[experiment.data].n_classes > 2
    assert len(drawn) == units + cells * (1 + several)
    if units:
        assert min(drawn[:units]) >= 1
    output = np.frombuffer(drawn[units : units + cells], np.uint8).astype(float)
    side = (np.arange(pictures.GRID) + 0.5) / pictures.GRID * 2 * RADIUS - RADIUS
    x1, x2 = np.meshgrid(side, side[::-1])  # the first row is the top
    points = np.column_stack([x1.ravel(), x2.ravel()])
    X = features_of(points, experiment.features)
    if several:
        numbers = np.frombuffer(drawn[units + cells :], np.uint8)
        assert (numbers == model.predict(X)).mean() > 0.999
        expected = model.predict_proba(X).max(axis=1)
    elif experiment.task == "classification":
        expected = model.predict_proba(X)[:, 1] * 2 - 1
    else:
        predicted = model.predict(X).reshape(len(X), -1)
        predicted = predicted[:, predicted.shape[1] // 2]
        if experiment.loss in ("poisson", "gamma"):
            predicted = np.log(predicted)
        expected = np.clip(predicted, -1, 1)
    np.testing.assert_allclose((output - 128) / 127, expected, atol=0.02)


def test_pictures_of_weights_that_are_not_finite_are_drawn_all_the_same():
    experiment, _, snapshot = fitted("binary")
    broken = snapshot._replace(coefs=[w * np.nan for w in snapshot.coefs])
    whole = pictures.pictures_of(experiment, snapshot)
    assert len(pictures.pictures_of(experiment, broken)) == len(whole)


def test_there_is_a_picture_of_each_feature():
    drawn = np.frombuffer(pictures.feature_pictures(), np.uint8)
    n = pictures.UNIT_GRID
    x1, x2, *_ = drawn.reshape(len(FEATURES), n, n).astype(int)
    assert (np.diff(x1, axis=1) > 0).all()
    assert (np.diff(x2, axis=0) < 0).all()
    assert (drawn >= 1).all()


# --- trainer -------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Epochs as fast as they go."""
    monkeypatch.setattr(trainer, "_EPOCHS_PER_SECOND", 1e9)


@contextlib.contextmanager
def training(**settings):
    watched = Trainer(Experiment(**settings))
    try:
        yield watched
    finally:
        watched.close()


def is_paused_at(watched, epoch):
    return lambda: watched.state != "running" and watched.epoch >= epoch


def assert_same_weights(snapshot, model):
    for a, b in zip(snapshot.coefs, model.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(snapshot.intercepts, model.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)


def model_of(code):
    names = {}
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(code, names)
    assert np.isfinite(float(output.getvalue()))
    return names["model"]


CODES = {
    "defaults": {},
    "dropout": {"dropout": 0.3, "hidden_layer_sizes": (8, 8)},
    "adamw, cosine": {"solver": "adamw", "learning_rate": "cosine", "alpha": 0.01},
    "gelu": {"activation": "gelu", "solver": "adam"},
    "regression": {"data": "hills", "loss": "huber", "solver": "adam"},
    "3 classes": {"data": "rings", "noise": 0.15, "share": 0.3, "seed": 7},
    "l1, few samples": {"l1": 0.01, "share": 0.1, "batch_size": 500},
    "features": {"features": ("x1", "sin(x1)", "x1*x2"), "hidden_layer_sizes": ()},
    "lbfgs": {"solver": "lbfgs", "data": "spiral", "class_weight": "balanced"},
    "lbfgs, gamma": {"solver": "lbfgs", "data": "plane", "loss": "gamma"},
    "poisson": {"data": "hills", "loss": "poisson"},
    "quantiles": {"data": "hills", "loss": "quantile", "quantile": (0.1, 0.9)},
    "letters": {"data": "letters", "noise": 0.2, "share": 0.2, "batch_size": 100},
}


@pytest.mark.parametrize("settings", CODES.values(), ids=CODES)
def test_the_python_code_gives_the_weights_that_are_shown(settings, quick):
    with training(**{"max_iter": 8, **settings}) as watched:
        watched.step(5)
        wait_until(is_paused_at(watched, 5), "5 epochs")
        assert watched.state == "paused"
        for epoch in (1, 5):
            snapshot = watched.at(epoch)
            assert snapshot.epoch == epoch
            assert_same_weights(snapshot, model_of(watched.experiment.code(epoch)))
        watched.run()
        wait_until(lambda: watched.state != "running", "the end")
        assert (watched.state, watched.epoch) == ("finished", 8)
        assert_same_weights(watched.at(8), model_of(watched.experiment.code(8)))


@pytest.mark.parametrize("settings", CODES.values(), ids=CODES)
def test_it_starts_paused_with_the_weights_before_training(settings):
    settings = {**settings, "batch_size": 500, "max_iter": 1, "alpha": 0, "l1": 0,
                "dropout": 0}  # fmt: skip
    with training(**settings) as watched:
        assert (watched.state, watched.epoch, watched.error) == ("paused", 0, "")
        assert [each.epoch for each in watched.snapshots] == [0]
        if len(watched.data.y) > 500 or watched.experiment.solver == "lbfgs":
            return  # of several steps
        # the loss that a fit reports is that before its only step
        model = watched.experiment.make_estimator()
        model.fit(watched.data.X, watched.data.y)
        assert watched.losses[0][0] == pytest.approx(model.loss_curve_[0], rel=1e-5)


def test_the_first_step_starts_from_the_first_weights():
    """One step of SGD with Nesterov's momentum, in NumPy."""
    with training(hidden_layer_sizes=(), batch_size=500, max_iter=1) as watched:
        data, first = watched.data, watched.at(0)
        _, z = pictures.forward(watched.experiment, first, data.X)
        model = watched.experiment.make_estimator().fit(data.X, data.y)
    delta = 1 / (1 + np.exp(-z)) - data.y[:, None]
    rate = 0.03 * (1 + model.momentum)
    np.testing.assert_allclose(
        model.coefs_[0],
        first.coefs[0] - rate * data.X.T @ delta / len(delta),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        model.intercepts_[0], first.intercepts[0] - rate * delta.mean(), rtol=1e-5
    )


def test_losses_are_those_of_the_snapshots(quick):
    with training(data="pinwheel", max_iter=4) as watched:
        watched.run()
        wait_until(lambda: watched.state == "finished", "the end")
        data = watched.data
        for snapshot, (train, test) in zip(
            watched.snapshots, watched.losses, strict=True
        ):
            for X, y, loss in (
                (data.X, data.y, train),
                (data.X_test, data.y_test, test),
            ):
                found = pictures.loss_of(watched.experiment, snapshot, X, y)
                assert found == loss
    assert len({train for train, _ in watched.losses}) == 5


def test_an_adaptive_rate_falls_until_training_ends_by_itself(quick):
    with training(data="gauss", learning_rate="adaptive", max_iter=1000) as watched:
        watched.run()
        wait_until(lambda: watched.state == "finished", "the end")
        assert 80 < watched.epoch < 1000
        code = watched.experiment.code(watched.epoch)
        assert_same_weights(watched.snapshots[-1], model_of(code))


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_steps_runs_and_pauses(solver):
    with training(solver=solver) as watched:
        watched.step()
        wait_until(is_paused_at(watched, 1), "a step")
        assert (watched.state, watched.epoch) == ("paused", 1)
        watched.step(3)
        wait_until(is_paused_at(watched, 4), "3 steps")
        assert (watched.state, watched.epoch) == ("paused", 4)
        watched.run()
        assert watched.state == "running"
        wait_until(lambda: watched.epoch > 6, "a run")
        watched.pause()
        time.sleep(0.1)  # within which it stops
        stopped = watched.epoch
        time.sleep(0.1)
        assert (watched.state, watched.epoch) == ("paused", stopped)
        watched.step()
        wait_until(is_paused_at(watched, stopped + 1), "a step after a run")
        assert watched.epoch == stopped + 1


def test_who_watches_hears_of_everything_new(quick):
    heard, lock = [], threading.Lock()

    def changed():
        with lock:
            heard.append((watched.epoch, watched.state))

    started = threading.Event()
    watched = Trainer(
        Experiment(max_iter=5), lambda: changed() if started.is_set() else None
    )
    started.set()
    watched.run()
    wait_until(lambda: watched.state == "finished", "the end")
    watched.close()
    assert {epoch for epoch, _ in heard} >= {1, 2, 3, 4, 5}
    assert heard[-1] == (5, "finished")
    watched.run()  # no effect
    watched.step()
    assert (watched.epoch, watched.state) == (5, "finished")


def test_snapshots_are_thinned_but_losses_are_all_kept(quick, monkeypatch):
    monkeypatch.setattr(trainer, "_MOST_SNAPSHOTS", 10)
    with training(max_iter=70, hidden_layer_sizes=(2,), batch_size=250) as watched:
        watched.run()
        wait_until(lambda: watched.state == "finished", "the end")
        assert len(watched.losses) == 71
        epochs = [each.epoch for each in watched.snapshots]
        assert len(epochs) <= 10
        assert epochs[0] == 0
        assert epochs[-1] == 70
        assert epochs == sorted(set(epochs))
        assert max(np.diff(epochs)) <= 16
        for epoch in range(71):
            assert watched.at(epoch).epoch == max(e for e in epochs if e <= epoch)
        shown = watched.at(33)
        code = watched.experiment.code(shown.epoch)
    assert_same_weights(shown, model_of(code))


@pytest.mark.parametrize("runs", [False, True])
def test_close_ends_the_thread(runs):
    watched = Trainer(Experiment())
    if runs:
        watched.run()
        wait_until(lambda: watched.epoch > 0, "an epoch")
    watched.close()
    assert not watched._thread.is_alive()
    watched.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"data": "plane", "learning_rate_init": 10, "activation": "identity"},
        {"data": "hills", "learning_rate_init": 10, "activation": "relu"},
        {"data": "circle", "learning_rate_init": 10, "alpha": 10},
    ],
)
def test_a_fit_that_diverges_ends(settings, quick):
    with training(**settings, max_iter=40, batch_size=50) as watched:
        watched.run()
        wait_until(lambda: watched.state not in ("running", "paused"), "an end")
        if watched.state == "failed":
            assert watched.error
        else:
            assert watched.epoch == 40
        json.dumps(server._rounded(watched.losses), allow_nan=False)
        drawn = pictures.pictures_of(watched.experiment, watched.snapshots[-1])
        assert drawn


def test_a_fit_that_fails_says_why(quick, monkeypatch):
    def fail(*_):
        raise RuntimeError("no kernel")

    with training() as watched:
        monkeypatch.setattr(watched, "_losses_of", fail)
        watched.run()
        wait_until(lambda: watched.state == "failed", "a failure")
        assert watched.error == "no kernel"
        watched.run()
        assert watched.state == "failed"
