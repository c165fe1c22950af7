"""Initial weights, schedules, stopping, and the loop around the kernels."""

from unittest import mock

import numpy as np
import pytest
from data import random_network, random_targets, training_job
from sklearn.neural_network import MLPClassifier as TheirClassifier

from fastmlp.engine.pieces import finish, run_alone
from fastmlp.engine.threads import Team
from fastmlp.training.events import Events
from fastmlp.training.initialization import glorot_uniform
from fastmlp.training.optimizer import Optimizer
from fastmlp.training.run import Run, Stopping
from fastmlp.training.schedules import (
    FACTORS,
    SCHEDULES,
    Adaptive,
    Constant,
    InverseScaling,
    make_schedule,
)


def test_initial_weights_are_scikit_learns():
    X = np.zeros((4, 3))
    y = [0, 1, 2, 0]
    for activation, gain in (("relu", 6.0), ("logistic", 2.0)):
        theirs = TheirClassifier(
            (5, 4), activation, solver="sgd", learning_rate_init=1e-300, alpha=0,
            max_iter=1, random_state=7,
        ).fit(X, y)  # fmt: skip
        ours = glorot_uniform((3, 5, 4, 3), gain, np.random.RandomState(7), float)
        for arrays, others in zip(
            ours, (theirs.coefs_, theirs.intercepts_), strict=True
        ):
            for array, other in zip(arrays, others, strict=True):
                np.testing.assert_array_equal(array, other)


def test_constant_schedule():
    schedule = Constant(0.5)
    schedule.epoch_ends(100)
    assert schedule.rate == 0.5
    assert schedule.stops_on_plateau() == (True, "Stopping.")


def test_inverse_scaling():
    schedule = InverseScaling(0.5, 0.25)
    assert schedule.rate == 0.5
    schedule.epoch_ends(15)
    assert schedule.rate == 0.5 / 16**0.25


def test_adaptive_schedule_divides_by_five_until_it_is_too_small():
    schedule = Adaptive(1e-5)
    assert schedule.stops_on_plateau() == (False, "Setting learning rate to 0.000002")
    assert schedule.rate == pytest.approx(2e-6)
    assert schedule.stops_on_plateau()[0] is False
    stops, message = schedule.stops_on_plateau()
    assert stops
    assert message == "Learning rate too small. Stopping."


def test_schedules_are_named():
    of_fraction = {"step", "exponential", "cosine", "cosine_warmup", "one_cycle"}
    assert set(FACTORS) == of_fraction
    assert set(SCHEDULES) == {
        "constant", "invscaling", "adaptive", "plateau", *of_fraction
    }  # fmt: skip
    for name in SCHEDULES:
        schedule = make_schedule(name, 0.5, 0.25)
        assert schedule.name == name
        assert schedule.changes_every_step == (name in of_fraction)


CURVES = {
    "step": lambda f: np.select([f < 1 / 3, f < 2 / 3], [1.0, 0.1], 0.01),
    "exponential": lambda f: np.exp(f * np.log(0.01)),
    "cosine": lambda f: np.cos(np.pi * f / 2) ** 2,
    "cosine_warmup": lambda f: np.where(
        f < 0.1, np.maximum(f / 0.1, 0.01), np.cos(np.pi * (f - 0.1) / 1.8) ** 2
    ),
    "one_cycle": lambda f: np.where(
        f < 0.3,
        0.04 + 0.96 * np.sin(np.pi * f / 0.6) ** 2,
        4e-6 + (1 - 4e-6) * np.cos(np.pi * (f - 0.3) / 1.4) ** 2,
    ),
}


@pytest.mark.parametrize("name", CURVES)
def test_rates_by_the_fraction_that_is_done(name):
    schedule = make_schedule(name, 0.5, 0.25)
    expected = 0.5 * CURVES[name](np.arange(24) / 24)
    rates = np.concatenate([schedule.rates(i / 4, (i + 1) / 4, 6) for i in range(4)])
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert schedule.rate == rates[-1]


def test_rates_of_a_function():
    seen = []
    schedule = make_schedule(lambda f: seen.append(f) or 1 - f, 2.0, 0.5)
    np.testing.assert_allclose(schedule.rates(0.5, 0.75, 2), [1.0, 0.75])
    assert seen == [0.5, 0.625]
    for bad in (lambda f: -1.0, lambda f: np.nan):
        with pytest.raises(ValueError, match="finite factors"):
            make_schedule(bad, 2.0, 0.5).rates(0, 1, 3)


@pytest.mark.parametrize("value", [None, "0.5", b"1", 1j, np.complex64(1), [1.0]])
def test_a_rate_that_is_no_number_names_its_function(value):
    def mine(fraction):
        return value

    with pytest.raises(
        ValueError, match=r"learning_rate=.*mine must return a number.*it returned "
    ):
        make_schedule(mine, 2.0, 0.5).rates(0, 1, 3)


def test_plateau_divides_by_ten_after_half_of_the_patience():
    schedule = make_schedule("plateau", 1.0, 0.5)
    rates = []
    for count in (0, 1, 2, 3, 4, 0, 1, 2):
        schedule.on_no_improvement(count, 4)
        rates.append(schedule.rate)
    np.testing.assert_allclose(rates, [1, 1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001])
    schedule.on_no_improvement(3, np.inf)  # no end, but a pace all the same
    assert schedule.stops_on_plateau()[0]


def test_stopping_counts_epochs_without_improvement():
    stopping = Stopping(tol=0.1, patience=2)
    best, exhausted = [], []
    for loss in (1.0, 0.85, 0.80, 0.78, 0.79):
        best.append(stopping.update(loss))
        exhausted.append(stopping.exhausted)
    assert best == [True] * 4 + [False]
    assert exhausted == [False] * 4 + [True]
    assert stopping.best == 0.78
    assert stopping.message == (
        "Training loss did not improve more than tol=0.100000 for 2 consecutive epochs."
    )


def test_stopping_by_score():
    stopping = Stopping(tol=0.1, patience=1, by_score=True)
    assert [stopping.update(s) for s in (0.5, 0.6, 0.65, 0.6)] == [True] * 3 + [False]
    assert stopping.count == 2
    assert stopping.exhausted
    assert stopping.best == 0.65
    assert stopping.message.startswith("Validation score did not improve")
    assert not stopping.update(np.nan)
    assert stopping.count == 0  # as in scikit-learn


def test_stopping_does_not_forget_the_best_loss_after_a_loss_that_is_no_number():
    stopping = Stopping(tol=0.0, patience=5)
    for loss in (1.0, np.nan, 3.0):
        stopping.update(loss)
    assert stopping.best == 1.0
    assert stopping.count == 1


def test_stopping_goes_on_where_it_ended():
    stopping = Stopping(0.0, 1, best=0.5, count=1)
    stopping.update(0.6)
    assert stopping.exhausted


class Listener(Events):
    def __init__(self, stop_at=None, interrupt_at=None):
        self.told = []
        self._stop_at, self._interrupt_at = stop_at, interrupt_at

    def begin(self, epoch):
        self.told.append("begin")

    def end(self, epoch, loss, score=None):
        self.told.append((epoch, loss))
        if epoch == self._interrupt_at:
            raise KeyboardInterrupt
        return epoch == self._stop_at


def new_run(max_iter=3, job=None, rate=0.01, optimizer=None, **settings):
    rng = np.random.default_rng(0)
    if job is None:
        X = rng.standard_normal((40, 3))
        y = random_targets("squared_error", 40, 1)
        job = training_job(
            (3, 4, 1), X, y, *random_network((3, 4, 1)), optimizer="sgd", batch_size=7
        )
    settings = {"random_state": np.random.RandomState(0), **settings}
    optimizer = optimizer or Optimizer("sgd", Constant(rate))
    return Run(job, optimizer, Stopping(0, np.inf), max_iter=max_iter, **settings)


def fit(**settings):
    run = new_run(**settings)
    history = run_alone(run.train())
    history.n_updates = run.optimizer.n_updates
    return run.job, history


def test_runs_can_take_turns():
    """Each is what it is when it runs alone, on a team that they share."""
    settings = [{"rate": 0.01, "max_iter": 3}, {"rate": 0.02, "max_iter": 5}]
    alone = [fit(**each) for each in settings]
    runs = [new_run(**each) for each in settings]
    for run in runs:
        run.begin()
    epochs = []
    with Team(1) as team:
        while rest := [run for run in runs if finish(run.epoch(), team)]:
            epochs.append(len(rest))
    assert epochs == [2, 2, 2, 1, 1]
    for run, (job, history) in zip(runs, alone, strict=True):
        assert run.end().loss_curve == history.loss_curve
        np.testing.assert_array_equal(
            run.job.network.arena.arrays["parameters"],
            job.network.arena.arrays["parameters"],
        )


def test_history_and_events():
    listener = Listener()
    job, history = fit(events=listener)
    epochs = list(enumerate(history.loss_curve, start=1))
    assert listener.told == [x for epoch in epochs for x in ("begin", epoch)]
    assert history.n_updates == 3 * job.n_steps == 18
    assert history.finite
    assert not history.finished
    assert not history.interrupted


def test_events_can_stop_the_fit():
    _, history = fit(max_iter=10, events=Listener(stop_at=4))
    assert history.finished
    assert len(history.loss_curve) == 4


def test_interrupt_keeps_the_last_weights():
    job, history = fit(max_iter=10, events=Listener(interrupt_at=2))
    other, _ = fit(max_iter=2)
    assert history.interrupted
    assert len(history.loss_curve) == 2
    for ours, theirs in zip(job.network.read(), other.network.read(), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_one_batch_keeps_its_order_but_draws_all_the_same():
    X = np.random.default_rng(0).standard_normal((40, 3))
    y = random_targets("squared_error", 40, 1)
    job = training_job((3, 1), X, y, *random_network((3, 1)), optimizer="sgd")
    random_state, other = np.random.RandomState(3), np.random.RandomState(3)
    fit(job=job, random_state=random_state, max_iter=2)
    assert job.order.tolist() == list(range(40))
    for _ in range(2):
        other.shuffle(np.arange(40))
    assert random_state.randint(10**9) == other.randint(10**9)


def test_chunks_do_not_change_the_result(monkeypatch):
    whole, history = fit()
    monkeypatch.setattr("fastmlp.training.run._CHUNK_SECONDS", 0.0)  # a step at a time
    pieces, other = fit()
    assert history.loss_curve == other.loss_curve
    np.testing.assert_array_equal(
        whole.network.arena.arrays["parameters"],
        pieces.network.arena.arrays["parameters"],
    )


def test_chunks_do_not_change_adam(monkeypatch):
    """Its bias correction is a power that grows from step to step."""
    results = []
    for seconds in (0.1, 0.0):
        monkeypatch.setattr("fastmlp.training.run._CHUNK_SECONDS", seconds)
        X = np.random.default_rng(0).standard_normal((600, 3))
        y = random_targets("squared_error", 600, 1)
        network = random_network((3, 4, 1))
        job = training_job(
            (3, 4, 1), X, y, *network, optimizer="adam", batch_size=2, n_threads=1
        )
        job.steps_per_chunk = 1000 if seconds else 1
        _, history = fit(
            job=job, optimizer=Optimizer("adam", Constant(0.01), 0.9, 0.999, 1e-8)
        )
        results.append(
            (history.loss_curve, job.network.arena.arrays["parameters"].tobytes())
        )
    assert results[0] == results[1]


def test_an_interrupt_counts_the_steps_that_were_made():
    class Interrupting(Team):
        def run(self, function):
            super().run(function)
            if len(runs) == 3:
                raise KeyboardInterrupt
            runs.append(1)

    runs = []
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 3)), random_targets("squared_error", 40, 1)
    job = training_job(
        (3, 4, 1), X, y, *random_network((3, 4, 1)), optimizer="sgd", batch_size=4
    )
    job.steps_per_chunk = 1
    with (
        mock.patch("fastmlp.engine.pieces.Team", Interrupting),
        mock.patch("fastmlp.training.run._CHUNK_SECONDS", 0.0),
    ):
        _, history = fit(job=job)
    assert history.interrupted
    assert history.n_updates == 4


def test_a_network_that_blew_up_ends_the_fit():
    _, history = fit(max_iter=1000, rate=1e200)
    assert not history.finite
    assert len(history.loss_curve) < 10
