"""The playground: its data, experiments, pictures, trainer and server."""

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import uvicorn
from sklearn.metrics import log_loss
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from fastmlp.__main__ import main
from fastmlp.playground import make_data, pictures, server, trainer
from fastmlp.playground.datasets import DATASETS, FEATURES, RADIUS, features_of
from fastmlp.playground.experiment import Experiment, choices
from fastmlp.playground.trainer import Trainer
from fastmlp.tables.activations import ACTIVATIONS
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
    ("solver", "lbfgs"), ("learning_rate", "adaptive"),
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
    assert set(found["solver"]) == set(SOLVERS) - {"lbfgs"}
    assert set(found["learning_rate"]) == set(SCHEDULES) - {"adaptive"}
    assert set(found["loss"]) == {"classification", "regression"}
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
        np.testing.assert_allclose(z[:, 0], model.predict(X), rtol=1e-4, atol=1e-5)
        return
    if z.shape[1] == 1:
        p = 1 / (1 + np.exp(-z[:, 0].astype(float)))
        found = np.column_stack([1 - p, p])
    else:
        e = np.exp(z.astype(float))
        found = e / e.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, model.predict_proba(X), atol=1e-5)
    np.testing.assert_array_equal(found.argmax(axis=1), model.predict(X))


@pytest.mark.parametrize("name", FITS)
def test_losses_are_those_of_numpy(name):
    experiment, model, snapshot = fitted(name)
    data = experiment.make_data()
    for X, y in ((data.X, data.y), (data.X_test, data.y_test)):
        if experiment.task == "regression":
            error = abs(model.predict(X).astype(float) - y)
            expected = {
                "squared_error": error**2 / 2,
                "absolute_error": error,
                "huber": np.where(error <= 1, error**2 / 2, error - 0.5),
            }[experiment.loss].mean()
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
        expected = np.clip(model.predict(X), -1, 1)
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
        if len(watched.data.y) > 500:
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


def test_steps_runs_and_pauses():
    with training() as watched:
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
        wait_until(lambda: watched.state == "paused", "a pause", seconds=2)
        stopped = watched.epoch
        time.sleep(0.1)
        assert watched.epoch == stopped
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


# --- server --------------------------------------------------------------------------


def get(path, host="127.0.0.1", name="127.0.0.1:8080"):
    """(status, type of the content) of what the server of a host answers."""
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", name.encode())], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8080),
    }  # fmt: skip
    sent = []

    async def receive():
        await asyncio.sleep(0.001)
        return {"type": "http.disconnect" if sent else "http.request"}

    async def send(message):
        sent.append(message)

    asyncio.run(server.make_app(host)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]).get(b"content-type", b"")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/index.html", "text/html"),
        ("/style.css", "text/css"),
        *[
            (f"/{name}.js", "text/javascript")
            for name in (
                "main", "address", "chart", "connection", "network", "pictures",
            )
        ],
    ],
)  # fmt: skip
def test_the_page_and_its_modules_are_served(path, kind):
    status, found = get(path)
    assert status == 200
    assert found.decode().startswith(kind)


@pytest.mark.parametrize("path", ["/nothing", "/../server.py", "/x/../../server.py"])
def test_nothing_else_is_served(path):
    assert get(path)[0] == 404


@pytest.mark.parametrize(
    ("host", "name", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8080", 200),
        ("127.0.0.1", "localhost:8080", 200),
        ("127.0.0.1", "evil.example", 400),
        ("127.0.0.1", "127.0.0.1.evil.example:8080", 400),
        ("127.0.0.1", "", 400),
        ("::1", "[::1]:8080", 200),
        ("::1", "evil.example:8080", 400),
        ("192.0.2.1", "192.0.2.1:8080", 200),
        ("192.0.2.1", "evil.example:8080", 400),
        ("0.0.0.0", "anything.example", 200),
    ],
)
def test_only_names_of_the_host_are_answered(host, name, status):
    assert get("/", host, name)[0] == status


@pytest.fixture(scope="module")
def port():
    """Of a server that runs in a thread."""
    listening = server._bind("127.0.0.1", 0)
    config = uvicorn.Config(
        server.make_app(), log_config=None, ws="websockets-sansio", lifespan="off",
        ws_max_size=2**16,
    )  # fmt: skip
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    wait_until(lambda: running.started, "the server")
    yield listening.getsockname()[1]
    running.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture(autouse=True)
def no_traceback(caplog):
    """Whatever a page sends, nothing fails in the server."""
    yield
    found = caplog.get_records("call")
    errors = {r.getMessage() for r in found if r.levelname == "ERROR"}
    # what uvicorn says of a session that is refused for its host
    assert errors <= {"ASGI callable returned without completing handshake."}


class Page:
    """A page: what it receives; frames are drawn at once unless it is `slow`."""

    def __init__(self, port, is_slow=False):
        origin = f"http://127.0.0.1:{port}"
        self._made = connect(
            f"ws://127.0.0.1:{port}/session", origin=origin, max_size=2**24,
            close_timeout=1,
        )  # fmt: skip
        self.socket = self._made.__enter__()
        self.is_slow = is_slow
        self.losses = []

    def close(self):
        self._made.__exit__(None, None, None)

    def send(self, kind, **content):
        self.socket.send(json.dumps({"type": kind, **content}))

    def receive(self, seconds=PATIENCE):
        message = self.socket.recv(timeout=seconds)
        if isinstance(message, str):
            return json.loads(message)
        if not self.is_slow:
            self.send("drawn")
        length = int.from_bytes(message[:4], "little")
        header = json.loads(message[4 : 4 + length])
        del self.losses[header["from"] :]
        self.losses += header["losses"]
        return {"type": "frame", **header, "pictures": message[4 + length :]}

    def receive_until(self, condition):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            message = self.receive()
            if condition(message):
                return message
        raise AssertionError("no such message")

    def frame(self, **expected):
        """The next one with these values."""
        return self.receive_until(
            lambda m: m["type"] == "frame" and expected.items() <= m.items()
        )

    def configure(self, **settings):
        self.send("configure", experiment=settings)
        data = self.receive_until(lambda m: m["type"] in ("data", "error"))
        self.losses.clear()
        return data


@pytest.fixture
def open_page(port):
    with contextlib.ExitStack() as stack:

        def open_one(**options):
            page = Page(port, **options)
            stack.callback(page.close)
            assert page.receive()["type"] == "choices"
            return page

        yield open_one


def test_a_page_is_told_its_choices(port):
    page = Page(port)
    found = page.receive()
    page.close()
    assert found["type"] == "choices"
    assert found["defaults"] == json.loads(json.dumps(choices()["defaults"]))
    assert (found["grid"], found["unit_grid"]) == (pictures.GRID, pictures.UNIT_GRID)
    assert found["radius"] == RADIUS


def test_data_and_frames_are_those_of_the_experiment(open_page):
    page = open_page()
    settings = {"data": "rings", "share": 0.3, "hidden_layer_sizes": [3, 2]}
    data = page.configure(**settings)
    made = Experiment.of(settings).make_data()
    assert data["task"] == "classification"
    for name, points, y in (
        ("train", made.points, made.y),
        ("test", made.points_test, made.y_test),
    ):
        np.testing.assert_allclose(data[name], [*points.T, y], rtol=1e-4)
    frame = page.frame(state="paused")
    assert (frame["epoch"], frame["latest"], frame["from"]) == (0, 0, 0)
    assert frame["losses"] == [frame["now"]]
    assert [np.shape(w) for w in frame["coefs"]] == [(2, 3), (3, 2), (2, 3)]
    assert len(frame["pictures"]) == 5 * 25**2 + 2 * 100**2
    page.send("step")
    frame = page.frame(state="paused", epoch=1)
    model = model_of(frame["code"])
    for found, expected in zip(frame["coefs"], model.coefs_, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    for found, expected in zip(frame["intercepts"], model.intercepts_, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert len(page.losses) == 2


def test_run_pause_seek_and_reset(open_page):
    page = open_page()
    page.configure()
    first = page.frame(state="paused")
    page.send("run")
    page.receive_until(lambda m: m["type"] == "frame" and m["epoch"] >= 8)
    page.send("pause")
    last = page.frame(state="paused")
    assert len(page.losses) == last["latest"] + 1
    page.send("seek", epoch=3)
    sought = page.frame(epoch=3)
    assert sought["latest"] == last["latest"]
    assert sought["now"] == page.losses[3]
    for a, b in zip(sought["coefs"], model_of(sought["code"]).coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)
    for epoch, shown in ((10**9, last["latest"]), (-5, 0), (None, last["latest"])):
        page.send("seek", epoch=epoch)
        page.frame(epoch=shown, latest=last["latest"])
    page.send("seek", epoch=2)
    page.frame(epoch=2)
    page.send("step")  # shows the latest again
    page.frame(state="paused", epoch=last["latest"] + 1)
    page.send("reset")
    page.receive_until(lambda m: m["type"] == "data")
    again = page.frame(state="paused")
    assert again["latest"] == 0
    assert again["coefs"] == first["coefs"]
    assert page.losses == [again["now"]]


def test_frames_go_on_after_many_changes(open_page):
    """Nothing that happens while another fit is made uses up what may be sent."""
    page = open_page()
    for n in range(1, 9):
        assert page.configure(hidden_layer_sizes=[n])["type"] == "data"
        page.send("run")
        page.receive_until(lambda m: m["type"] == "frame" and m["epoch"] >= 2)
    for _ in range(4):
        page.send("reset")
        page.receive_until(lambda m: m["type"] == "data")
        page.frame(latest=0, state="paused")


def test_frames_come_after_the_data_of_their_experiment(open_page):
    page = open_page()
    for n in (1, 2) * 5:
        page.send("configure", experiment={"hidden_layer_sizes": [n]})
        page.send("run")
    seen, n_data = None, 0
    while n_data < 10 or seen is None:
        message = page.receive()
        if message["type"] == "preparing":
            seen = "preparing"
        elif message["type"] == "data":
            assert seen == "preparing"
            seen, n_data = None, n_data + 1
        else:
            assert seen is None, "a frame between 'preparing' and 'data'"
            assert n_data > 0
            if len(message["coefs"][0][0]) == (2 if n_data % 2 == 0 else 1):
                seen = "frame" if n_data == 10 else None


def test_a_slow_page_gets_few_frames_and_never_old_ones(open_page):
    page = open_page(is_slow=True)
    page.configure()
    page.send("run")
    page.receive()
    page.receive()
    with pytest.raises(TimeoutError):
        page.receive(seconds=0.6)  # neither has been drawn
    page.send("drawn")
    frame = page.receive()
    assert frame["latest"] > 10
    assert len(page.losses) == frame["latest"] + 1  # none is left out
    with pytest.raises(TimeoutError):
        page.receive(seconds=0.2)


def test_pages_are_independent(open_page):
    one, other = open_page(), open_page()
    one.configure(data="xor")
    other.configure(data="plane")
    one.send("step")
    one.frame(epoch=1, state="paused")
    frame = other.frame(state="paused")
    assert frame["latest"] == 0
    assert "make_data('plane'" in frame["code"]
    one.close()
    other.send("step")
    other.frame(epoch=1)


@pytest.mark.parametrize(
    ("experiment", "sentence"),
    [
        ({"activation": "step"}, "activation must be one of"),
        ({"alpha": -1}, "alpha must be a number from 0 to 10, got -1"),
        ({"hidden_layer_sizes": [99]}, "at most 6 hidden layers"),
        ({"features": []}, "choose one or more"),
        ({"eval": "1"}, "unknown settings: ['eval']"),
        ([], "an experiment is an object"),
        (None, "an experiment is an object"),
    ],
)
def test_a_wrong_experiment_is_answered_with_a_sentence(
    open_page, experiment, sentence
):
    page = open_page()
    page.send("configure", experiment=experiment)
    message = page.receive()
    assert message["type"] == "error"
    assert message["error"].startswith(sentence)
    assert page.configure()["type"] == "data"  # the session goes on


@pytest.mark.parametrize(
    "message",
    ["{", "", "[]", "3", '"run"', "null", b"\x00\x01", "\ud7ff{", "[" * 50_000],
    ids=["brace", "empty", "list", "number", "string", "null", "bytes", "letter",
         "nested"],
)  # fmt: skip
def test_a_message_that_is_none_ends_only_that_session(open_page, message):
    other = open_page()
    other.configure()
    page = open_page()
    page.configure()
    page.send("run")
    page.socket.send(message)
    with pytest.raises(ConnectionClosed):
        page.receive_until(lambda m: False)
    other.send("step")
    other.frame(epoch=1)


def test_a_message_that_is_too_long_ends_only_that_session(open_page):
    other, page = open_page(), open_page()
    other.configure()
    page.socket.send("x" * 2**17)
    with pytest.raises(ConnectionClosed):
        page.receive(seconds=10)
    other.send("step")
    other.frame(epoch=1)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "nonsense"},
        {},
        {"type": None},
        {"type": ["run"]},
        {"type": "seek", "epoch": "1"},
        {"type": "seek", "epoch": 1e300},
        {"type": "close"},
        {"type": "_fit"},
    ],
)
def test_an_unknown_message_does_nothing(open_page, message):
    page = open_page()
    page.socket.send(json.dumps({"type": "run"}))  # before there is a fit
    page.configure()
    page.socket.send(json.dumps(message))
    page.send("step")
    page.frame(epoch=1, state="paused")


def test_a_fit_ends_with_its_page(open_page, monkeypatch):
    closed = threading.Event()
    close = Trainer.close

    def closing(self):
        close(self)
        closed.set()

    monkeypatch.setattr(Trainer, "close", closing)
    page = open_page()
    page.configure()
    page.send("run")
    page.frame(state="running")
    page.close()
    assert closed.wait(10)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:1", "null", "", None]
)
def test_a_session_is_for_the_page_of_this_server_only(port, origin):
    address = f"ws://127.0.0.1:{port}/session"
    with pytest.raises(InvalidStatus, match="403"), connect(address, origin=origin):
        pass


def test_a_session_is_for_names_of_this_host_only(port):
    with socket.create_connection(("127.0.0.1", port)) as made:
        address = "ws://evil.example/session"
        origin = "http://evil.example"
        with pytest.raises(InvalidStatus), connect(address, origin=origin, sock=made):
            pass


# --- the command ---------------------------------------------------------------------


def test_the_next_free_port_is_taken():
    with server._bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with server._bind("127.0.0.1", port) as found:
            assert found.getsockname()[1] != port
            # others may hold those that follow
            assert found.getsockname()[1] > port or port > 65000


def test_an_address_that_is_not_this_machines_is_an_error(capsys):
    with pytest.raises(server.PlaygroundError, match=r"cannot listen on 192\.0\.2\.1"):
        server._bind("192.0.2.1", 0)
    assert main(["playground", "--host", "192.0.2.1", "--no-browser"]) == 1
    assert capsys.readouterr().err.startswith("fastmlp: cannot listen on 192.0.2.1")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::1"])
def test_serving_others_is_warned_of(host, monkeypatch, capsys):
    if host == "::1":
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as tried:
                tried.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    opened = []
    monkeypatch.setattr(server.webbrowser, "open", opened.append)
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: sockets[0].close())
    assert main(["playground", "--host", host, "--port", "0"]) == 0
    output, errors = capsys.readouterr()
    names = {"::1": "[::1]", "0.0.0.0": r"(0\.0\.0\.0|127\.0\.0\.1)"}
    address = re.search(r"http://\S+/", output)[0]
    name = names.get(host, "").replace("[", r"\[") or re.escape(host)
    assert re.match(rf"http://{name}:\d", address)
    assert opened == [address]
    assert ("everyone who reaches 0.0.0.0" in errors) == (host == "0.0.0.0")
    assert bool(errors) == (host == "0.0.0.0")


@pytest.mark.parametrize("missing", ["uvicorn", "starlette.applications"])
def test_what_the_playground_needs_is_named(missing, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "fastmlp.playground.server")
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["playground"]) == 1
    assert f"the playground needs {missing}: pip install" in capsys.readouterr().err


def test_the_command_serves_until_ctrl_c():
    process = subprocess.Popen(  # an interrupt is one even if these tests ignore it
        [sys.executable, "-c",
         "import signal, sys\n"
         "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
         "from fastmlp.__main__ import main\n"
         "sys.exit(main(['playground', '--port', '0', '--no-browser']))"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ},
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        port = int(re.fullmatch(r".*http://127\.0\.0\.1:(\d+)/ .*\n", line)[1])
        page = None
        end = time.monotonic() + 30
        while page is None:
            with contextlib.suppress(ConnectionError):
                page = Page(port)
            assert time.monotonic() < end
            time.sleep(0.02)
        page.receive()
        page.configure()
        page.send("run")
        page.frame(state="running")
        page.close()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, output, errors) == (0, "", "")
