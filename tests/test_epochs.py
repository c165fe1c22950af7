"""Epochs in one call of the kernel: bit for bit what they are one by one."""

import math
import threading
from unittest import mock

import numpy as np
import pytest
from sklearn.datasets import make_classification

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.engine.jobs import TrainingJob
from fastmlp.training.run import Run
from fastmlp.training.schedules import SCHEDULES

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::fastmlp.exceptions.ScaleWarning"),
]

X, Y = make_classification(
    300, 6, n_informative=4, n_classes=3, random_state=0, flip_y=0.2
)


class Calls:
    """(epochs done, epochs that there was room for) of each call of the kernel."""

    def __enter__(self):
        self.found = []

        def note(job, team, most, *arguments, **settings):
            run_epochs(job, team, most, *arguments, **settings)
            self.found.append((len(job.loss_sums), most))

        run_epochs = TrainingJob.run_epochs
        self._patch = mock.patch.object(TrainingJob, "run_epochs", note)
        self._patch.__enter__()
        return self

    def __exit__(self, *exception):
        self._patch.__exit__(*exception)

    @property
    def stopped_early(self):
        return any(done < most for done, most in self.found)


def one_by_one():
    return mock.patch.object(Run, "_is_unwatched", return_value=False)


def fitted(y=Y, fits=1, cls=MLPClassifier, **settings):
    """All that a fit leaves behind, the user's generator included."""
    random_state = np.random.RandomState(5)
    model = cls(**{"random_state": random_state, **settings})
    for _ in range(fits):
        model.fit(X, y)
    state = model._optimizer_state
    moments = [state[name] for name in ("first_moment", "second_moment", "velocity")
               if name in state]  # fmt: skip
    arrays = [*model.coefs_, *model.intercepts_]
    arrays += [array for pairs in moments for group in pairs for array in group]
    numbers = (
        model.loss_curve_, model.loss_, model.best_loss_, model.n_iter_, model.t_,
        model._no_improvement_count, state["n_updates"], state["learning_rate"],
    )  # fmt: skip
    drawn = random_state.randint(2**31, size=3).tolist()
    return [array.tobytes() for array in arrays], numbers, drawn


SMALL = {"hidden_layer_sizes": (8,), "max_iter": 60}
EARLY = {**SMALL, "learning_rate_init": 0.05, "tol": 1e-2, "n_iter_no_change": 3}


@pytest.mark.parametrize(
    ("settings", "stops"),
    [
        (SMALL, False),
        (EARLY, True),
        ({**EARLY, "n_iter_no_change": 1, "random_state": 0}, True),
        ({**EARLY, "batch_size": 300}, True),  # one batch: drawn, but not shuffled
        ({**EARLY, "shuffle": False}, True),
        ({**EARLY, "warm_start": True, "fits": 3}, True),
        ({**EARLY, "precision": "float64", "dropout": 0.2}, True),
        ({**EARLY, "n_jobs": 2, "batch_size": 64, "clip_norm": 0.1}, True),
        ({**EARLY, "n_jobs": 3, "hidden_layer_sizes": (90, 90)}, True),
        ({**EARLY, "solver": "sgd", "learning_rate": "adaptive"}, True),
        ({**EARLY, "n_iter_no_change": math.inf}, False),
    ],
)  # fmt: skip
def test_the_same_bits(settings, stops):
    with Calls() as calls:
        together = fitted(**settings)
    with one_by_one(), Calls() as none:
        alone = fitted(**settings)
    assert together == alone
    assert max(done for done, _ in calls.found) > 1
    assert calls.stopped_early == stops
    assert not none.found


@pytest.mark.parametrize("precision", ["auto", "float64"])
def test_a_loss_that_is_not_finite_ends_the_call(precision):
    """Nothing is drawn after it; with "auto", all is done again in float64."""
    settings = {
        **SMALL, "cls": MLPRegressor, "solver": "sgd", "learning_rate_init": 3.0,
        "precision": precision, "random_state": np.random.RandomState(0),
    }  # fmt: skip
    left = []
    for way in (Calls(), one_by_one()):
        generator = settings["random_state"] = np.random.RandomState(0)
        with way, pytest.raises(ValueError, match="non-finite"):
            fitted(Y * 100.0, **settings)
        left.append(generator.randint(2**31, size=3).tolist())
        if isinstance(way, Calls):
            assert way.stopped_early
    assert left[0] == left[1]


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": "cosine"},
        {"solver": "sgd", "learning_rate": "invscaling"},
        {"solver": "sgd", "learning_rate": "plateau"},
        {"early_stopping": True},
        {"verbose": True},
        {"time_limit": 100.0},
        {"callbacks": [lambda event: None]},
        {"random_state": None},  # others may draw from the global generator
    ],
)
def test_one_by_one_where_somebody_looks(settings):
    with Calls() as calls:
        MLPClassifier(**{**SMALL, "random_state": 0, **settings}).fit(X, Y)
    assert not calls.found


def test_a_schedule_says_whether_rates_change():
    """Of those that do not, each epoch's rates are those of the first one."""
    for name, make in SCHEDULES.items():
        schedule = make(0.1, 0.5)
        rates = []
        for epoch in range(4):
            rates.append(np.copy(schedule.rates(epoch / 4, (epoch + 1) / 4, 3)))
            schedule.epoch_ends(30 * (epoch + 1))
            schedule.on_no_improvement(epoch, 4)
        is_same = all(np.array_equal(rate, rates[0]) for rate in rates)
        assert is_same == schedule.is_steady, name


def test_ctrl_c_keeps_the_epochs_that_the_kernel_has_done():
    def interrupted(job, team, first, last, **rates):
        run(job, team, first, last, **rates)
        raise KeyboardInterrupt

    run, model = TrainingJob.run, MLPClassifier(**SMALL, random_state=0)
    with (
        mock.patch.object(TrainingJob, "run", interrupted),
        pytest.warns(UserWarning, match="interrupted"),
    ):
        model.fit(X, Y)
    assert model.n_iter_ > 1
    expected = MLPClassifier(**{**SMALL, "max_iter": model.n_iter_}, random_state=0)
    expected.fit(X, Y)
    assert model.loss_curve_ == expected.loss_curve_
    assert model.t_ == expected.t_ == 300 * model.n_iter_
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])
    assert model._optimizer_state["n_updates"] == expected._optimizer_state["n_updates"]


def test_nobody_draws_from_the_generator_meanwhile():
    """Whoever tries waits, so that no number is drawn twice."""
    generator = np.random.RandomState(0)
    held = []

    def look(job, team, first, last, **rates):
        free = []
        other = threading.Thread(
            target=lambda: free.append(
                generator._bit_generator.lock.acquire(blocking=False)
            )
        )
        other.start()
        other.join()
        held.append(not free[0])
        run(job, team, first, last, **rates)

    run = TrainingJob.run
    with mock.patch.object(TrainingJob, "run", look):
        MLPClassifier(**SMALL, random_state=generator).fit(X, Y)
    assert held
    assert all(held)
