"""Fits that were stopped and go on to the same weights."""

import os
import signal
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from data import problem
from processes import run
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import make_scorer

from fastmlp import MLPClassifier, MLPRegressor

NAME, X, y = problem("binary")
EVERYTHING = {
    "dropout": [0.2, 0.1], "input_dropout": 0.1, "ema_decay": 0.9, "clip_norm": 1.0,
    "l1": 1e-3, "weight_decay": 0.01, "early_stopping": True, "scoring": "f1",
    "activation": ["gelu", "tanh"], "learning_rate": "one_cycle", "loss": "focal",
    "class_weight": "balanced", "label_smoothing": 0.1,
}  # fmt: skip
SETTINGS = {
    "adam": {},
    "momentum": {"solver": "sgd", "learning_rate": "invscaling"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0,
                 "n_iter_no_change": 2, "learning_rate_init": 0.1},
    "plateau": {"learning_rate": "plateau", "tol": 1.0, "n_iter_no_change": 6},
    "early stopping": {"early_stopping": True, "batch_size": 7},
    "one batch": {"batch_size": len(X), "solver": "lion"},
    "rmsprop": {"solver": "rmsprop", "shuffle": False, "precision": "float64"},
    "everything": EVERYTHING,
}  # fmt: skip


class Crash(Exception):
    pass


def crash_at(epoch, error=Crash):
    """A callback; the state of the epoch before is what a file can hold."""

    def look(state):
        if state.epoch == epoch:
            raise error

    return look


def model_of(path=None, cls=MLPClassifier, **settings):
    settings = {
        "hidden_layer_sizes": (8, 6), "max_iter": 9, "batch_size": 32,
        "random_state": 3, **settings,
    }  # fmt: skip
    return cls(checkpoint=path, **settings)


def learnt(model):
    """All that a fit leaves behind."""
    return {
        name: value
        for name, value in vars(model).items()
        if (name.endswith("_") or name == "_optimizer_state")
        and name not in ("precision_", "_label_binarizer")
    }


def assert_same(model, other):
    np.testing.assert_equal(learnt(model), learnt(other))
    for a, b in zip(model.coefs_, other.coefs_, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Of a checkpoint, which is written after every epoch."""
    monkeypatch.setattr("fastmlp.training.checkpoint._LEAST_PAUSE", 0.0)
    return tmp_path / "fit.npz"


def stop(path, *data, at=5, error=Crash, **settings):
    """A fit that crashes in this epoch."""
    with pytest.raises(Crash):
        model_of(path, callbacks=[crash_at(at, error)], **settings).fit(*data)
    assert path.exists()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_fit_that_crashed_goes_on_to_the_same_bits(path, name):
    settings = SETTINGS[name]
    whole = model_of(**settings).fit(X, y)
    n_epochs = whole.n_iter_
    assert n_epochs > 3
    stop(path, X, y, at=min(5, n_epochs), **settings)
    with np.load(path, allow_pickle=False) as file:
        assert file["curves"].shape[1] == min(5, n_epochs) - 1
    assert_same(model_of(path, **settings).fit(X, y), whole)
    assert list(path.parent.iterdir()) == []


def test_only_the_epochs_that_are_missing_are_done(path):
    stop(path, X, y)
    epochs = []
    look = [lambda state: epochs.append(state.epoch)]
    model_of(path, callbacks=look).fit(X, y)
    assert epochs == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("early_stopping", [False, True])
def test_sparse_data_weights_and_samples_to_validate_on(path, early_stopping):
    S = sparse.csr_array(X * (abs(X) > 1))
    weights = np.linspace(0.5, 2, len(y))
    own = {"X_val": S[::3], "y_val": y[::3], "sample_weight_val": weights[::3]}
    settings = {
        "early_stopping": early_stopping, "dropout": 0.2, "activation": "gelu"
    }  # fmt: skip
    whole = model_of(**settings).fit(S, y, weights, **own)
    crashes = model_of(path, callbacks=[crash_at(4)], **settings)
    with pytest.raises(Crash):
        crashes.fit(S, y, weights, **own)
    assert_same(model_of(path, **settings).fit(S, y, weights, **own), whole)


def test_several_crashes_in_a_row(path):
    for epoch in (2, 3, 7):
        stop(path, X, y, at=epoch, **EVERYTHING)
    assert_same(
        model_of(path, **EVERYTHING).fit(X, y), model_of(**EVERYTHING).fit(X, y)
    )


def test_a_fit_that_is_done_again_in_float64(path):
    """A crash in the first try, then one in the second."""
    data = (X * 1e25, y)
    with pytest.warns(UserWarning, match="too large for float32"):
        whole = model_of().fit(*data)
    stop(path, *data, at=4)
    seen = []

    def in_the_second_try(state):
        seen.append(state.epoch)
        if 1 in seen and state.epoch == 4:
            raise Crash

    with pytest.raises(Crash):
        model_of(path, callbacks=[in_the_second_try]).fit(*data)
    with pytest.warns(UserWarning, match="too large for float32"):
        model = model_of(path).fit(*data)
    assert_same(model, whole)
    assert not path.exists()


def test_a_warm_start_goes_on_as_well(path):
    models = []
    for crashes in (False, True):
        model = model_of(path, warm_start=True, ema_decay=0.5).fit(X, y)
        if crashes:
            model.set_params(callbacks=[crash_at(3)])
            with pytest.raises(Crash):
                model.fit(X, y)
            model.set_params(callbacks=None)
        models.append(model.fit(X, y))
    assert len(models[0].loss_curve_) == 18
    assert_same(*models)


SCRIPT = """
import os, signal, sys
import fastmlp.training.checkpoint
from test_checkpoint import EVERYTHING, X, y, model_of
fastmlp.training.checkpoint._LEAST_PAUSE = 0.0
n_calls = 0

def kill(state):
    global n_calls
    n_calls += 1
    if n_calls == int(sys.argv[2]):
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

settings = EVERYTHING if sys.argv[3] == "everything" else {}
scale = 1e25 if sys.argv[3] == "float64" else 1
model_of(sys.argv[1], callbacks=[kill], **settings).fit(X * scale, y)
"""


@pytest.mark.filterwarnings("ignore:.*too large for float32")
@pytest.mark.parametrize(
    ("name", "call"), [("adam", 5), ("everything", 6), ("float64", 14)]
)
def test_a_process_that_was_killed(path, name, call):
    settings = EVERYTHING if name == "everything" else {}
    scale = 1e25 if name == "float64" else 1
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    arguments = [sys.executable, "-c", SCRIPT, str(path), str(call), name]
    done = subprocess.run(
        arguments, env=variables, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == -getattr(signal, "SIGKILL", -1), done.stderr
    with np.load(path, allow_pickle=False) as file:
        # "float64" dies in its second try, after the nine epochs of the first
        assert file["curves"].shape[1] == (call - 1) % 9
    whole = model_of(**settings).fit(X * scale, y)
    assert_same(model_of(path, **settings).fit(X * scale, y), whole)
    assert list(path.parent.iterdir()) == []


def test_a_random_state_of_none_keeps_to_the_split_and_the_masks(path):
    """Samples that were held out must not be trained on by the fit that goes on."""

    def scorer(model, X, y, sample_weight=None):
        (path.parent / f"held out {hash(X.tobytes())}").touch()
        return 0.5

    settings = {"random_state": None, "early_stopping": True, "scoring": scorer}
    stop(path, X, y, **settings)
    with pytest.warns(UserWarning, match="scoring: functions are compared by name"):
        model_of(path, **settings).fit(X, y)
    assert len([*path.parent.glob("held out *")]) == 1


def test_a_random_state_that_has_been_drawn_from(path):
    """As one is, after the fit that was stopped in the same process."""
    whole = model_of(random_state=np.random.RandomState(0), **EVERYTHING).fit(X, y)
    settings = {**EVERYTHING, "random_state": np.random.RandomState(0)}
    stop(path, X, y, **settings)
    assert_same(model_of(path, **settings).fit(X, y), whole)


def slower(share):
    return lambda fraction: 1 - share * fraction


class Slower:
    def __init__(self, share):
        self.share = share

    def method(self, fraction):
        return 1 - self.share * fraction

    __call__ = method


#: share -> something that is called the same for any number
FUNCTIONS = {
    "function": slower,
    "part": lambda share: partial(partial(max, share), 0.1),
    "object": Slower,
    "method": lambda share: Slower(share).method,
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_functions_are_compared_by_name_and_a_warning_says_so(path, kind):
    function = FUNCTIONS[kind]
    whole = model_of(learning_rate=function(0.5)).fit(X, y)
    stop(path, X, y, learning_rate=function(0.5))
    stopped = path.read_bytes()
    message = "learning_rate: functions are compared by name only"
    with pytest.warns(UserWarning, match=message) as caught:
        model = model_of(path, learning_rate=function(0.5)).fit(X, y)
    assert sum(message in str(each.message) for each in caught) == 1
    assert_same(model, whole)
    path.write_bytes(stopped)
    with pytest.warns(UserWarning, match="if they have changed since, delete"):
        model_of(path, learning_rate=function(0.6)).fit(X, y)
    path.write_bytes(stopped)
    for other in {**FUNCTIONS, "ufunc": lambda share: np.cos}.items():
        if other[0] != kind:
            with pytest.raises(ValueError, match="other parameters"):
                model_of(path, learning_rate=other[1](0.5)).fit(X, y)


def test_scorers_are_functions_too(path):
    def exact(share):
        return make_scorer(lambda y, p: share * (y == p).mean())

    settings = {"early_stopping": True, "learning_rate": slower(0.5)}
    stop(path, X, y, scoring=exact(0.5), **settings)
    with pytest.raises(ValueError, match="other parameters"):
        model_of(path, scoring="f1", **settings).fit(X, y)
    with pytest.warns(UserWarning, match="learning_rate and scoring: functions are"):
        model_of(path, scoring=exact(0.5), **settings).fit(X, y)


def test_a_function_that_counts_its_calls_in_a_fit_that_begins_anew(path):
    """In float64: it is the same fit, whatever the function has come to hold."""

    class Counting:
        calls = 0

        def __call__(self, fraction):
            self.calls += 1
            return (1.0, 1e25, 0.0)[round(3 * fraction)]

    settings = {"solver": "sgd", "momentum": 0.0, "batch_size": len(X), "max_iter": 3}
    model = model_of(path, MLPRegressor, learning_rate=Counting(), **settings)
    with pytest.warns(UserWarning, match="done again in float64"):
        model.fit(X, y)
    assert model.learning_rate.calls == 6


def test_random_numbers_of_another_kind_are_refused(path):
    random_state = np.random.RandomState(np.random.PCG64(0))
    with pytest.raises(ValueError, match="checkpoint needs a random_state of NumPy"):
        model_of(path, random_state=random_state).fit(X, y)
    model_of(random_state=random_state).fit(X, y)


# --- whose file it is ----------------------------------------------------------------

OTHERS = {
    "alpha": {"alpha": 0.5},
    "seed": {"random_state": 4},
    "layers": {"hidden_layer_sizes": (8, 7)},
    "max_iter": {"max_iter": 10},
    "loss": {"loss": "focal"},
    "class weight": {"class_weight": {0: 1.0, 1: 3.0}},
    "callable": {"learning_rate": np.cos},
    "dropout": {"dropout": [0.1, 0.2]},
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_other_parameters_is_refused_and_left_alone(path, name):
    stop(path, X, y)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="other parameters or data"):
        model_of(path, **OTHERS[name]).fit(X, y)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("random_state", np.int64(1), np.int64(2)),
        ("max_iter", np.int64(9), np.int64(8)),
        ("alpha", np.float32(0.5), np.float32(0.25)),
        ("hidden_layer_sizes", np.int64(5), np.int64(6)),
        ("nesterovs_momentum", np.False_, np.True_),
    ],
)
def test_parameters_that_are_numbers_of_numpy(path, name, first, second):
    stop(path, X, y, solver="sgd", **{name: first})
    with pytest.raises(ValueError, match="other parameters or data"):
        model_of(path, solver="sgd", **{name: second}).fit(X, y)
    whole = model_of(solver="sgd", **{name: first}).fit(X, y)
    assert_same(model_of(path, solver="sgd", **{name: first}).fit(X, y), whole)


def test_numbers_that_are_equal_are_the_same_parameters(path):
    stop(path, X, y, alpha=np.float64(1), max_iter=9)
    model_of(path, alpha=1, max_iter=np.int64(9)).fit(X, y)
    assert not path.exists()


def changed(array):
    array = array.copy()
    array[-1] = 1 - array[-1]
    return array


@pytest.mark.parametrize(
    "data",
    [
        (changed(X), y), (X, changed(y)), (X[:-1], y[:-1]), (X, y, np.ones(len(y))),
        (sparse.csr_array(X), y), (X.astype(np.float32), y),
        (np.column_stack([X, y]), y),
    ],
    ids=["X", "y", "rows", "weights", "sparse", "dtype", "column"],
)  # fmt: skip
def test_a_file_of_other_data_is_refused_and_left_alone(path, data):
    stop(path, X, y)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="other parameters or data"):
        model_of(path).fit(*data)
    assert path.read_bytes() == before


def test_a_sparse_column_of_zeros_makes_other_data(path):
    S = sparse.csr_array(X)
    stop(path, S, y)
    wider = sparse.csr_array((S.data, S.indices, S.indptr), shape=(len(y), 10))
    with pytest.raises(ValueError, match="other parameters or data"):
        model_of(path).fit(wider, y)


def test_other_samples_to_validate_on_are_refused(path):
    model = model_of(path, callbacks=[crash_at(3)])
    with pytest.raises(Crash):
        model.fit(X, y, X_val=X[:9], y_val=y[:9])
    model.set_params(callbacks=None)
    for own in ({}, {"X_val": X[:8], "y_val": y[:8]}):
        with pytest.raises(ValueError, match="other parameters or data"):
            model.fit(X, y, **own)
    model.fit(X, y, X_val=X[:9], y_val=y[:9])


def test_a_file_of_another_kind_of_estimator_is_refused(path):
    stop(path, X, y, cls=MLPRegressor)
    with pytest.raises(ValueError, match="other parameters or data"):
        model_of(path).fit(X, y)


DAMAGES = {
    "text": lambda content: b"a text that somebody needs",
    "nothing": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "end": lambda content: content[:-1],
    "byte": lambda content: content[:1000] + b"\0\1\2\3" + content[1004:],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_refused_and_left_alone(path, name):
    stop(path, X, y)
    damaged = DAMAGES[name](path.read_bytes())
    path.write_bytes(damaged)
    model = MLPClassifier(checkpoint=path)
    with pytest.raises(ValueError, match="not a checkpoint, or is damaged"):
        model.fit(X, y)
    assert path.read_bytes() == damaged
    assert vars(model) == vars(MLPClassifier(checkpoint=path))


def test_somebody_elses_arrays_are_refused(path):
    np.savez(path, X=X)
    with pytest.raises(ValueError, match="not a checkpoint, or is damaged"):
        model_of(path).fit(X, y)
    np.savez(path, objects=np.array([None]), values=np.array("{}"))
    with pytest.raises(ValueError, match="not a checkpoint, or is damaged"):
        model_of(path).fit(X, y)


def test_a_file_that_lacks_an_array_is_a_damaged_one(path):
    stop(path, X, y)
    with np.load(path) as file:
        arrays = dict(file)
    del arrays["first_moment"]
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="damaged"):
        model_of(path).fit(X, y)


def test_what_changes_no_weight_may_be_changed(path, capsys):
    stop(path, X, y, **EVERYTHING)
    model = model_of(path, n_jobs=2, verbose=True, time_limit=99, **EVERYTHING)
    assert_same(model.fit(X, y), model_of(**EVERYTHING).fit(X, y))
    assert capsys.readouterr().out.startswith("Iteration 5, loss = ")


def test_a_directory_of_another_name_may_hold_the_file(path):
    stop(path, X, y)
    other = path.with_name("Ünïcode name without suffix")
    path.rename(other)
    model_of(str(other)).fit(X, y)
    assert list(path.parent.iterdir()) == []


# --- when fit ends -------------------------------------------------------------------


def test_a_limit_of_time_lets_a_fit_go_on_again_and_again(path):
    whole = model_of(**EVERYTHING).fit(X, y)
    pause = [lambda state: time.sleep(0.03)]
    model = model_of(path, time_limit=0.08, callbacks=pause, **EVERYTHING)
    n_fits = 0
    while n_fits == 0 or path.exists():
        n_fits += 1
        assert model.fit(X, y).predict(X).shape == y.shape
    assert 2 < n_fits <= 10
    assert_same(model, whole)


def test_an_interrupt_leaves_the_file(path):
    model = model_of(path, callbacks=[crash_at(4, KeyboardInterrupt)])
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(X, y)
    assert path.exists()
    model.set_params(callbacks=None).fit(X, y)
    assert_same(model, model_of().fit(X, y))
    assert not path.exists()


def test_a_callback_that_ends_a_fit_ends_it_for_good(path):
    model = model_of(path, callbacks=[lambda state: state.epoch == 3]).fit(X, y)
    assert model.n_iter_ == 3
    assert not path.exists()


def test_partial_fit_keeps_no_file(path):
    model_of(path).partial_fit(X, y, classes=[0, 1])
    assert not path.exists()


@pytest.mark.parametrize("category", [ConvergenceWarning, UserWarning])
def test_a_warning_that_is_an_error_leaves_the_file(path, category):
    """Of a fit that ends, or is done again in float64: the model is not lost."""
    data = (X, y) if category is ConvergenceWarning else (X * 1e25, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = model_of().fit(*data)
    model = model_of(path)
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", category)
            with pytest.raises(category):
                model.fit(*data)
        assert path.exists()
        assert not hasattr(model, "coefs_")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same(model.fit(*data), whole)
    assert not path.exists()


def test_a_fit_that_diverged_leaves_no_file(path):
    """There is nothing to resume, and the next fit has other parameters."""
    settings = {"solver": "sgd", "learning_rate_init": 1e3, "precision": "float64"}
    files = []
    model = model_of(path, MLPRegressor, callbacks=[
        lambda state: files.append(path.exists())
    ], max_iter=50, n_iter_no_change=50, **settings)  # fmt: skip
    with pytest.raises(ValueError, match="non-finite"):
        model.fit(X, 1e100 * y)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("parent", ["missing", "file"])
def test_a_place_that_cannot_be_written_is_said_before_the_first_epoch(path, parent):
    (path.parent / "file").write_text("no directory")
    epochs = []
    model = model_of().fit(X, y)
    before = learnt(model)
    model.set_params(
        checkpoint=path.parent / parent / "fit.npz", callbacks=[epochs.append]
    )
    with pytest.raises((ValueError, OSError), match="checkpoint="):
        model.fit(X[:100, :5], y[:100])
    np.testing.assert_equal(learnt(model), before)
    assert epochs == []


def test_a_name_that_no_file_can_have_is_said_before_the_first_epoch(path):
    with pytest.raises(ValueError, match="cannot be written"):
        model_of(path.with_name("x" * 300)).fit(X, y)


def test_a_file_that_cannot_be_written_does_not_end_the_fit(path, monkeypatch):
    def fail(*arguments):
        raise OSError("no space left")

    stop(path, X, y)
    before = path.read_bytes()
    found = []

    def look(state):
        found.append((path.read_bytes(), [*path.parent.iterdir()]))

    monkeypatch.setattr("fastmlp.training.checkpoint.os.replace", fail)
    with pytest.warns(RuntimeWarning, match="no space left") as caught:
        model = model_of(path, callbacks=[look]).fit(X, y)
    assert sum(each.category is RuntimeWarning for each in caught) == 1
    assert found == 5 * [(before, [path])]
    assert_same(model, model_of().fit(X, y))
    assert list(path.parent.iterdir()) == []


def test_a_file_that_cannot_be_deleted_does_not_lose_the_model(path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError("read-only file system")

    monkeypatch.setattr("fastmlp.training.checkpoint.Path.unlink", fail)
    with pytest.warns(RuntimeWarning, match="deleted .read-only file system"):
        model = model_of(path).fit(X, y)
    assert_same(model, model_of().fit(X, y))


FULL_DISK = """
import resource, warnings
import fastmlp.training.checkpoint
from pathlib import Path
from test_checkpoint import X, assert_same, model_of, y

fastmlp.training.checkpoint._LEAST_PAUSE = 0.0
path = Path("fit.npz").absolute()
whole = model_of().fit(X, y)
seen = []

def fill(state):
    if path.exists():
        seen.append(path.read_bytes())
    if state.epoch in (3, 6):
        room = 1000 if state.epoch == 3 else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model = model_of(path, callbacks=[fill]).fit(X, y)
assert [str(each.message).count("Training continues") for each in caught] == [1, 0]
assert len(seen) == 8
stands_still = [a == b for a, b in zip(seen, seen[1:])]
assert stands_still == [False, True, True, True, False, False, False]
assert_same(model, whole)
assert [*path.parent.glob("*npz*")] == []
"""


@pytest.mark.skipif(os.name == "nt", reason="no limits of resources")
def test_a_disk_that_is_full_for_a_while(tmp_path):
    run(FULL_DISK, tmp_path)


@pytest.mark.parametrize(("scale", "call"), [(1, 4), (1e25, 14)])
def test_a_path_is_that_of_the_directory_at_the_start(path, monkeypatch, scale, call):
    """Also in the second try, in float64, after the nine epochs of the first."""
    other = path.parent / "other"
    other.mkdir()
    monkeypatch.chdir(path.parent)
    epochs = []

    def look(state):
        os.chdir(other)
        epochs.append(state.epoch)
        if len(epochs) == call:
            raise Crash

    with pytest.raises(Crash):
        model_of(path.name, callbacks=[look]).fit(X * scale, y)
    assert path.exists()
    assert list(other.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_is_followed_and_stays(path):
    target = path.parent / "far" / "target.npz"
    target.parent.mkdir()
    path.symlink_to(target)
    stop(path, X, y)
    assert path.is_symlink()
    assert list(target.parent.iterdir()) == [target]
    assert_same(model_of(path).fit(X, y), model_of().fit(X, y))
    assert path.is_symlink()
    assert list(target.parent.iterdir()) == []


KILLED_WRITING = """
import os, signal, sys
from fastmlp.training import checkpoint
from test_checkpoint import X, model_of, y
checkpoint.os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
model_of(sys.argv[1]).fit(X, y)
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_what_a_killed_process_was_writing_is_deleted(path):
    with pytest.raises(pytest.fail.Exception, match="exit status -9"):
        run(KILLED_WRITING, path.parent, arguments=[path])
    for file in path.parent.glob("script.*"):
        file.unlink()
    (left,) = path.parent.iterdir()
    assert left.name.startswith("fit.npz-checkpoint-")
    others = [path.parent / name for name in (
        "fit.npz.part", "fit.npz-checkpoint-x.npz", "a-fit.npz-checkpoint-x.part",
    )]  # fmt: skip
    for file in others:
        file.touch()
        os.utime(file, (0, 0))
    model_of(path).fit(X, y)  # it may be of a process that is writing
    assert left.exists()
    os.utime(left, (time.time() - 1000,) * 2)
    stop(path, X, y)
    assert {*path.parent.iterdir()} == {path, *others}


def test_files_are_written_seldom_if_that_takes_long(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        "fastmlp.training.checkpoint.Checkpoint._write",
        lambda self, arrays: time.sleep(0.02) or written.append(arrays),
    )
    model_of(tmp_path / "fit.npz", max_iter=20).fit(X, y)
    assert 1 <= len(written) < 20
