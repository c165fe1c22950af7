"""Folds, means of held-out predictions, and the greedy selection of models."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.model_selection import StratifiedKFold

from fastmlp.data.targets import Targets
from fastmlp.tables.losses import LOSSES, OUTPUT_ACTIVATIONS
from fastmlp.training import selection
from fastmlp.training.folds import (
    bootstrap,
    mean_of_held_out,
    score_of_held_out,
    splits,
)
from fastmlp.training.selection import greedy_weights
from fastmlp.training.validation import loss_of, loss_of_predictions

rng = np.random.default_rng(0)
Y = rng.standard_normal((600, 1))


def error(predictions, samples):
    return float(np.mean((predictions - Y[samples]) ** 2))


def noisy(scale, n=1, bias=0.0):
    return [Y + bias + scale * rng.standard_normal(Y.shape) for _ in range(n)]


def held_out_by_chance(n_models, share=0.4):
    return [np.flatnonzero(rng.random(len(Y)) < share) for _ in range(n_models)]


# --- folds ----------------------------------------------------------------------------


def test_folds_hold_out_each_sample_once_and_then_begin_anew():
    codes = np.repeat([0, 1, 2], [60, 30, 10])
    held_out = splits(100, 5, np.random.RandomState(0), codes)
    first, second = ([next(held_out) for _ in range(5)] for _ in range(2))
    for folds in (first, second):
        assert np.sort(np.concatenate(folds)).tolist() == list(range(100))
        assert all(np.bincount(codes[fold]).tolist() == [12, 6, 2] for fold in folds)
    assert first[0].tolist() != second[0].tolist()
    theirs = StratifiedKFold(5, shuffle=True, random_state=np.random.RandomState(0))
    for (_, expected), fold in zip(theirs.split(codes, codes), first, strict=True):
        np.testing.assert_array_equal(fold, expected)


def test_more_folds_than_samples_are_an_error():
    with pytest.raises(ValueError, match="Cannot have number of splits n_splits=5"):
        next(splits(3, 5, np.random.RandomState(0)))


def test_a_bootstrap_sample_and_what_is_left():
    drawn, left = bootstrap(1000, np.random.RandomState(0))
    assert len(drawn) == 1000
    assert not set(drawn) & set(left)
    assert set(drawn) | set(left) == set(range(1000))
    assert 300 < len(left) < 440


def test_means_of_held_out_predictions():
    predictions = [np.array([[1.0], [2.0]]), np.array([[4.0], [6.0]])]
    held_out = [np.array([0, 2]), np.array([2, 3])]
    mean = mean_of_held_out(predictions, held_out, 5)
    np.testing.assert_array_equal(mean[:, 0], [1, np.nan, 3, 6, np.nan])
    weighted = mean_of_held_out(predictions, held_out, 5, [0.75, 0.25])
    np.testing.assert_array_equal(weighted[:, 0], [1, np.nan, 2.5, 6, np.nan])
    single = mean_of_held_out([each.astype(np.float32) for each in predictions],
                              held_out, 5)  # fmt: skip
    assert single.dtype == np.float32


def test_scores_of_held_out_predictions():
    targets = Targets("squared_error", Y, 1, "numbers")
    outputs = np.where(np.arange(600)[:, None] < 300, Y, np.nan)
    assert score_of_held_out(outputs, targets) == 1
    weights = (np.arange(600) >= 300) * 1.0
    assert np.isnan(score_of_held_out(outputs, targets, weights))
    assert np.isnan(score_of_held_out(np.full_like(Y, np.nan), targets))


# --- selection ------------------------------------------------------------------------


def test_models_that_complement_each_other_are_taken():
    """Two that err by the same amount to either side, and one that errs less alone."""
    predictions = [Y + 1, Y - 1, Y + 0.9]
    for n_bags in (1, 20):
        weights = greedy_weights(predictions, error, n_bags=n_bags)
        assert weights[1] > 0.4
        mean = sum(w * p for w, p in zip(weights, predictions, strict=True))
        assert error(mean, slice(None)) < 0.02


def test_a_selection_takes_the_model_that_helps_most_in_each_round():
    """Compared with a plain search, of all models and samples."""
    predictions = np.array([*noisy(1, 4), *noisy(2, 3)])
    taken, found = [], []
    for _ in range(12):
        errors = [
            error(predictions[[*taken, i]].mean(axis=0), slice(None)) for i in range(7)
        ]
        taken.append(int(np.argmin(errors)))
        found.append(min(errors))
    best = taken[: 1 + int(np.argmin(found))]
    weights = greedy_weights(predictions, error, n_bags=1, n_rounds=12)
    np.testing.assert_allclose(weights, np.bincount(best, minlength=7) / len(best))


def test_weights_are_of_a_mean_and_the_same_in_every_run():
    predictions = [*noisy(1, 4), *noisy(3, 2)]
    weights = greedy_weights(predictions, error)
    assert weights.sum() == pytest.approx(1)
    assert weights.min() >= 0
    np.testing.assert_array_equal(weights, greedy_weights(predictions, error))


def test_bad_models_are_left_out():
    predictions = [*noisy(1, 3), *noisy(1, 2, bias=5)]
    weights = greedy_weights(predictions, error)
    assert weights[:3].min() > 0.2
    assert weights[3:].sum() < 0.05
    rows = held_out_by_chance(5)
    some = [each[own] for each, own in zip(predictions, rows, strict=True)]
    weights = greedy_weights(some, error, rows)
    assert weights[:3].min() > 0.1
    assert weights[3:].sum() < 0.05


def test_no_selection_begins_after_the_deadline(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(selection.time, "perf_counter", lambda: next(clock))
    models = noisy(0.1) + noisy(1.0)
    few = greedy_weights(models, error, deadline=2)
    assert next(clock) == 4  # three selections were done, and count alike
    assert few.sum() == pytest.approx(1)
    assert greedy_weights(models, error, deadline=-1).tolist() == [0.5, 0.5]


def test_a_selection_that_is_no_better_is_none():
    """As of equal models, and of those of one cross-validation: nothing compares."""
    uniform = pytest.approx([0.2] * 5)
    assert greedy_weights(noisy(1) * 5, error) == uniform
    rows = np.array_split(rng.permutation(len(Y)), 5)
    predictions = [noisy(1 + i)[0][own] for i, own in enumerate(rows)]
    assert greedy_weights(predictions, error, rows) == uniform
    nothing = [np.zeros((0, 1))] * 5
    assert greedy_weights(nothing, error, [np.arange(0)] * 5) == uniform


def test_models_that_are_equally_good_are_nearly_all_kept():
    rows = held_out_by_chance(8)
    predictions = [p[own] for p, own in zip(noisy(1, 8), rows, strict=True)]
    weights = greedy_weights(predictions, error, rows)
    assert (weights > 0.02).sum() >= 6


def test_losses_that_are_not_numbers_are_the_worst():
    predictions = [*noisy(1, 3), np.full_like(Y, np.nan)]
    for n_bags in (1, 20):
        weights = greedy_weights(predictions, error, n_bags=n_bags)
        assert weights[3] == 0
        assert weights[:3].min() > 0


def test_of_very_many_samples_some_are_looked_at(monkeypatch):
    monkeypatch.setattr(selection, "_MOST_SAMPLES", 100)
    seen = []

    def note(predictions, samples):
        assert len(predictions) == len(samples)
        seen.append(len(samples))
        return error(predictions, samples)

    predictions, rows = noisy(1, 3), held_out_by_chance(3)
    greedy_weights(predictions, note)
    some = [each[own] for each, own in zip(predictions, rows, strict=True)]
    greedy_weights(some, note, rows)
    assert 50 < min(seen) <= max(seen) <= 100


def test_the_mean_of_others_stands_in_for_models_that_were_trained_on_a_sample():
    rows = [np.arange(0, 40), np.arange(10, 30), np.arange(20, 40)]
    some = [np.full((len(own), 1), 10.0**i) for i, own in enumerate(rows)]
    full, samples = selection._completed(some, rows)
    np.testing.assert_array_equal(samples, np.arange(40))
    for i, own in enumerate(rows):
        assert (full[i, own] == 10.0**i).all()
    assert (full[1:, :10] == 1).all()
    assert (full[2, 10:20] == 5.5).all()
    assert (full[1, 30:] == 50.5).all()


# --- losses of predictions ------------------------------------------------------------


@pytest.mark.parametrize("name", ["identity", "logistic", "softmax", "exp"])
def test_inverses_of_output_activations(name):
    row = OUTPUT_ACTIVATIONS[name]
    predictions = row.value(rng.uniform(-7, 7, (50, 3)))
    np.testing.assert_allclose(row.value(row.inverse(predictions)), predictions)
    certain = row.inverse(np.array([[0.0, 1.0]]))
    assert np.isfinite(certain).all()


def test_losses_of_predictions_are_those_of_outputs():
    z = rng.uniform(-3, 3, (40, 3))
    codes, hits = rng.integers(0, 3, (40, 1)), rng.random((40, 3)) < 0.4
    weights = rng.random(40)
    for loss, values, predictions in (
        ("log_loss", codes, softmax(z, axis=1)),
        ("focal", codes, softmax(z, axis=1)),
        ("binary_log_loss", hits, expit(z)),
        ("poisson", hits * 2.0, np.exp(z)),
        ("absolute_error", hits * 1.0, z),
    ):
        parameters = (2.0, 0.1) if loss == "focal" else ()
        assert LOSSES[loss].name == loss
        targets = Targets(loss, values, 3, "", parameters=parameters)
        np.testing.assert_allclose(
            loss_of_predictions(predictions, targets, weights),
            loss_of(z, targets, weights),
        )
