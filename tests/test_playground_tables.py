"""The playground: tables of the user, and weights set by hand."""

import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from processes import run
from sklearn.datasets import load_wine

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.playground import server
from fastmlp.playground.datasets import COMPONENTS, RADIUS
from fastmlp.playground.experiment import Experiment
from fastmlp.playground.own_data import MOST_BYTES, OwnData, OwnDataError, read_csv
from fastmlp.playground.pictures import forward, pictures_of, quality_of
from fastmlp.playground.trainer import Snapshot, Trainer, untrained


def csv_of(frame, **settings):
    return frame.to_csv(index=False, **settings).encode()


@pytest.fixture(scope="module")
def wine():
    return load_wine(as_frame=True).frame


def wait_for(trainer, epoch):
    for _ in range(2000):
        if trainer.epoch >= epoch and trainer.state != "running":
            return
        time.sleep(0.01)
    raise AssertionError(f"{trainer.state} at epoch {trainer.epoch}: {trainer.error}")


# --- tables ---------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_csv_file_is_read_whatever_separates_its_columns(separator, wine):
    own = read_csv(csv_of(wine, sep=separator))
    assert own.names == tuple(wine.columns[:-1])
    assert (own.task, own.labels) == ("classification", ("0", "1", "2"))
    np.testing.assert_allclose(own.X.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(own.X.std(axis=0), 1, atol=1e-5)


def test_columns_are_encoded_and_what_is_left_out_is_said():
    n = 40
    frame = pd.DataFrame(
        {
            "number": np.r_[np.nan, np.arange(n - 1)],
            "town": ["Oslo", "Rome"] * (n // 2),
            "constant": 1,
            "id": [f"row {i}" for i in range(n)],
            "nothing": np.nan,
            "price": np.linspace(0, 1, n),
        }
    )
    own = read_csv(csv_of(frame))
    assert own.names == ("number", "town=Oslo", "town=Rome")
    assert own.task == "regression"
    assert np.isfinite(own.X).all()
    assert own.dropped == (
        "constant (one value only)", "id (40 different texts)",
        "nothing (one value only)",
    )  # fmt: skip
    other = read_csv(csv_of(frame), "town")
    assert other.labels == ("Oslo", "Rome")
    assert "town=Oslo" not in other.names


@pytest.mark.parametrize(
    ("content", "target", "reason"),
    [
        (b"", None, "no CSV file"),
        (b"\xff\xfe\x00\x00", None, "no CSV file"),
        (b"a,b\n1,2\n", None, "ten rows at least"),
        (b"a,b\n" + b"1,2\n" * 20, None, "has 1 different values"),
        (b"a,b\n" + b"1,2\n2,1\n" * 20, "c", "no column 'c'"),
        (b"a,b\n" + b"1,0\n1,1\n" * 20, None, "no column but the target"),
        (b"a" * (MOST_BYTES + 1), None, "larger than 50 MB"),
    ],
)
def test_a_bad_file_gets_a_sentence_that_says_what_is_wrong(content, target, reason):
    with pytest.raises(OwnDataError, match=reason):
        read_csv(content, target)


def test_too_many_columns_for_the_page_are_an_error():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((30, 80))).rename(columns=str)
    with pytest.raises(OwnDataError, match="at most 60"):
        OwnData.from_frame(frame)


def test_the_map_shows_two_columns_or_the_principal_components(wine):
    own = OwnData.from_frame(wine)
    axes = ("hue", "alcohol")
    data = own.split(axes=axes, seed=3)
    assert len(data.y) + len(data.y_test) == len(wine)
    assert np.abs(data.points).max() <= RADIUS
    X = own.on_map(np.array([[2.0, -4.0]]), own.names, axes)
    assert X[0, own.names.index("hue")] == 1
    assert X[0, own.names.index("alcohol")] == -2
    assert np.count_nonzero(X) == 2
    # a point of the components and the samples that it stands for have the same place
    points = np.array([[2.0, -4.0], [0.0, 1.0]])
    X = own.on_map(points, own.names, COMPONENTS)
    places = own._coordinates(X, COMPONENTS) * RADIUS / 3
    np.testing.assert_allclose(places, points, atol=1e-4)


def test_own_data_train_and_the_code_gives_the_same_weights(wine, tmp_path):
    path = tmp_path / "wine.csv"
    path.write_bytes(csv_of(wine, sep=";"))
    own = read_csv(path.read_bytes(), name=str(path))
    experiment = Experiment.of(
        {"data": "own", "features": ["hue", "ash", "alcohol"], "solver": "adam"}, own
    )
    trainer = Trainer(experiment)
    trainer.step(3)
    wait_for(trainer, 3)
    script = experiment.code(3) + f"import numpy as np\nnp.save({str(tmp_path)!r} + "
    script += "'/w.npy', np.concatenate([w.ravel() for w in model.coefs_]))"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    ours = np.concatenate([w.ravel() for w in trainer.snapshots[-1].coefs])
    np.testing.assert_array_equal(np.load(tmp_path / "w.npy"), ours)
    trainer.close()


def test_settings_of_another_data_set_give_way():
    own = OwnData.digits()
    experiment = Experiment.of({"data": "digits"})
    assert experiment.features == own.names
    assert experiment.axes == COMPONENTS
    with pytest.raises(ValueError, match="drop the file once more"):
        Experiment.of({"data": "own"})


def test_digits_show_their_weights_as_images():
    experiment = Experiment(data="digits", hidden_layer_sizes=(2,))
    trainer = Trainer(experiment)
    coefs, intercepts = trainer.snapshots[0][1:]
    coefs[0][:, 0] = 0
    coefs[0][63, 0] = -1  # the last pixel
    images = np.frombuffer(
        pictures_of(experiment, Snapshot(0, coefs, intercepts)), np.uint8
    )
    image = images[:625].reshape(25, 25)
    assert (image[-3:, -3:] == 1).all()
    assert (image[:-4] == 128).all()
    trainer.close()


def test_letters_are_drawn_anew_for_each_seed():
    plain, noisy = OwnData.letters(seed=1), OwnData.letters(noise=0.3, seed=1)
    assert plain.labels == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert plain.image == (10, 10)
    assert plain.X.shape == (2600, 100)
    np.testing.assert_array_equal(plain.X, OwnData.letters(seed=1).X)
    assert not np.array_equal(plain.X, OwnData.letters(seed=2).X)
    assert len(np.unique(plain.X, axis=0)) == 2600  # no two are alike
    assert len(np.unique(noisy.X)) > 10 * len(np.unique(plain.X))
    # of each letter the mean differs from those of the others
    means = np.array([plain.X[plain.y == c].mean(axis=0) for c in range(26)])
    distances = np.abs(means[:, None] - means).max(axis=2)
    assert distances[~np.eye(26, dtype=bool)].min() > 0.5


def test_numbers_of_ones_own_as_targets_of_losses_of_positive_ones():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=80), "n": 1.0 * np.arange(80)})
    own = OwnData.from_frame(frame)
    experiment = Experiment.of({"data": "own", "loss": "poisson"}, own)
    data = experiment.make_data()
    y = np.concatenate([data.y, data.y_test])
    np.testing.assert_array_equal(np.sort(y), np.arange(80) / 39.5)
    assert experiment.legend() == ["14.5", "39.5", "107"]
    assert "divided by their mean" in experiment.notes()[0]
    trainer = Trainer(experiment)
    json.dumps(server._shown(data.points, experiment.shades(y)), allow_nan=False)
    trainer.close()
    # a zero is none of gamma's, and a negative number is of neither
    with pytest.raises(ValueError, match="column to predict: y must be positive"):
        Trainer(Experiment.of({"data": "own", "loss": "gamma"}, own))
    own = OwnData.from_frame(frame - 5)
    with pytest.raises(ValueError, match="column to predict: y must not be negative"):
        Trainer(Experiment.of({"data": "own", "loss": "poisson"}, own))
    squares = Experiment.of({"data": "own"}, own)
    assert squares.legend() == ["-11.7", "34.5", "80.7"]  # two standard deviations
    np.testing.assert_array_equal(squares.shades(np.array([-2.0, 1])), [-1, 0.5])


def test_a_class_without_a_training_sample_is_an_error_that_says_so():
    frame = pd.DataFrame({"a": np.arange(60.0), "y": ["x", "z"] * 29 + ["rare"] * 2})
    experiment = Experiment.of({"data": "own", "share": 0.1}, OwnData.from_frame(frame))
    with pytest.raises(ValueError, match="1 of the classes have no training sample"):
        Trainer(experiment)
    trainer = Trainer(
        Experiment.of(
            {"data": "own", "axes": ["a", "a"]}, OwnData.from_frame(frame[:58])
        )
    )
    assert len(pictures_of(trainer.experiment, trainer.snapshots[0])) > 10_000
    trainer.close()


def test_early_stopping_ends_with_the_weights_of_the_code():
    experiment = Experiment(data="gauss", noise=0.5, early_stopping=True)
    trainer = Trainer(experiment)
    trainer.run()
    while trainer.state != "finished":
        time.sleep(0.01)
        assert trainer.state != "failed", trainer.error
    with pytest.raises(ValueError, match="training has ended"):
        trainer.edit(0, 0, 0, 1.0)
    found = {}
    exec(experiment.code(trainer.epoch), found)
    for a, b in zip(trainer.snapshots[-1].coefs, found["model"].coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_call_of_the_module_shows_the_page(tmp_path):
    """In a process of its own: the server lives as long as that."""
    script = """
import urllib.request
import fastmlp
from processes import run
from sklearn.datasets import load_wine
address = fastmlp.playground(*load_wine(return_X_y=True, as_frame=True))
assert address.endswith("#data=own"), address
print(b"fastmlp playground" in urllib.request.urlopen(address).read())
"""
    assert run(script, tmp_path) == "True\n"


# --- weights that are set by hand -----------------------------------------------------

SCRIPTS = {
    "later": [("step", 4), ("edit", 0, 1, 2, 0.3), ("step", 3)],
    "first": [("edit", 0, 1, 2, 0.5), ("edit", 1, None, 1, -2), ("step", 3)],
    "at the end": [("step", 2), ("edit", 2, 1, 0, 3)],
    "nothing else": [("edit", 0, 0, 0, 1.5)],
    "several": [("step", 2), ("edit", 0, 1, 2, 0.3), ("edit", 1, 0, 1, 0.1),
                ("step", 4), ("edit", 2, None, 0, 3), ("step", 1)],
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_weights_set_by_hand_are_in_the_code(script):
    experiment = Experiment(data="xor", solver="adam")
    trainer = Trainer(experiment)
    for name, *arguments in SCRIPTS[script]:
        if name == "step":
            last = trainer.epoch + arguments[0]
            trainer.step(*arguments)
            wait_for(trainer, last)
        else:
            n = len(trainer.edits)
            trainer.edit(*arguments)
            while len(trainer.edits) == n or trainer.state != "paused":
                time.sleep(0.01)
    snapshot, found = trainer.snapshots[-1], {}
    exec(experiment.code(trainer.epoch, trainer.edits), found)
    ours = [*snapshot.coefs, *snapshot.intercepts]
    theirs = [*found["model"].coefs_, *found["model"].intercepts_]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)
    trainer.close()


@pytest.mark.parametrize(
    "edit",
    [(9, 0, 0, 1.0), (0, 2, 0, 1.0), (0, 0, 4, 1.0), (0, -1, 0, 1.0), (0, 0, 0, "1"),
     (0, 0, 0, float("nan")), (0, 0, 0, 1e9), (0, 0.0, 0, 1.0), (None, 0, 0, 1.0)],
)  # fmt: skip
def test_what_cannot_be_set_is_an_error(edit):
    trainer = Trainer(Experiment())
    with pytest.raises(ValueError, match=r"no such weight|must be a number"):
        trainer.edit(*edit)
    trainer.close()


def test_untrained_models_have_the_weights_that_training_starts_from():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 3)), rng.standard_normal(50)
    for model, targets in (
        (MLPRegressor(hidden_layer_sizes=(4,), random_state=1), y),
        (MLPClassifier(solver="adamw", dropout=0.5), y > 0),
    ):
        settings = model.get_params()
        untrained(model, X, targets)
        assert model.get_params() == settings
    settings = {"hidden_layer_sizes": (4,), "random_state": 1}
    first = untrained(MLPRegressor(**settings), X, y).coefs_[0]
    slow = MLPRegressor(**settings, learning_rate_init=1e-9, max_iter=1).fit(X, y)
    np.testing.assert_allclose(slow.coefs_[0], first, atol=1e-7)


def test_quality_counts_classes_and_probabilities():
    experiment = Experiment(data="rings", hidden_layer_sizes=(6,), solver="adam")
    trainer = Trainer(experiment)
    trainer.step(5)
    wait_for(trainer, 5)
    data, snapshot = trainer.data, trainer.snapshots[-1]
    quality = quality_of(experiment, snapshot, data.X_test, data.y_test)
    predicted = forward(experiment, snapshot, data.X_test)[1].argmax(axis=1)
    for true in range(3):
        for guess in range(3):
            n = np.sum((data.y_test == true) & (predicted == guess))
            assert quality["confusion"][true][guess] == n
    assert sum(n for *_, n in quality["calibration"]) == len(data.y_test)
    right = sum(share * n for _, share, n in quality["calibration"])
    assert round(right) == np.sum(predicted == data.y_test)
    trainer.close()
