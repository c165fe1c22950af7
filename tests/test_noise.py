"""Averaged squares of gradients of shards, corrected to those of whole mini-batches."""

import numpy as np
import pytest

from fastmlp.training.noise import Squares, rate_factors, variance_ratio

N_SHARDS, BETA_2 = 8, 0.99


@pytest.mark.parametrize("steps", [1, 10])
@pytest.mark.parametrize("signal", [0.0, 0.5, 5.0])
def test_squares_are_those_of_whole_mini_batches(steps, signal):
    """For mini-batches of a shard, noise has a variance of 1; of all, of 1 / shards."""
    rng = np.random.default_rng(0)
    squares = Squares(N_SHARDS)
    averages = np.zeros(2000)
    for _ in range(200):
        of_shards = np.tile(averages, (N_SHARDS, 1))
        for step in range(steps):
            gradients = signal + rng.normal(size=of_shards.shape)
            if step == 0:
                of_all = gradients.mean(axis=0)
            of_shards = BETA_2 * of_shards + (1 - BETA_2) * gradients**2
        averages = squares.corrected(
            averages, of_shards.mean(axis=0), of_all, BETA_2**steps
        )
    expected = signal**2 + 1 / N_SHARDS
    reached = 1 - BETA_2 ** (200 * steps)
    np.testing.assert_allclose(np.mean(averages) / reached, expected, rtol=0.1)
    np.testing.assert_allclose(
        squares.noise, (signal**2 + 1) / expected, rtol=0.15, atol=0.05
    )


def test_parameters_have_noise_of_their_own():
    """One of nothing but noise, one of none, and one that never has a gradient."""
    rng = np.random.default_rng(0)
    squares, averages = Squares(N_SHARDS), np.zeros(3)
    sizes, signal = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    for _ in range(1000):
        gradients = signal + sizes * rng.normal(size=(N_SHARDS, 3))
        after = BETA_2 * averages + (1 - BETA_2) * (gradients**2).mean(axis=0)
        averages = squares.corrected(averages, after, gradients.mean(axis=0), BETA_2)
    np.testing.assert_allclose(averages, [1 / N_SHARDS, 1.0, 0.0], rtol=0.5, atol=1e-9)


def test_rates_make_up_for_squares_of_a_shard_since_the_round():
    np.testing.assert_allclose(rate_factors(1.0, 0.9, 7, 5), np.ones(5))
    # without memory, squares are those of a shard
    np.testing.assert_allclose(rate_factors(4.0, 0.0, 7, 3), 2 * np.ones(3))
    # by hand: averages of 2 steps of squares of 1, then one of 4
    expected = (0.9 * (1 - 0.9**2) + 0.1 * 4) / (1 - 0.9**3)
    np.testing.assert_allclose(rate_factors(4.0, 0.9, 2, 1), [np.sqrt(expected)])


def test_ratio_of_variances_is_the_number_of_shards_that_are_alike():
    assert variance_ratio([100] * 5, [20] * 5) == pytest.approx(5)
    assert variance_ratio([100], [20]) == 1
    assert variance_ratio([100, 0], [20, 0]) == 1
