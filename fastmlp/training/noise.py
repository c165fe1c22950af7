"""What small mini-batches of shards change in Adam's steps, and what makes up for it.

Adam divides its steps by the root of averaged squares of gradients.  The gradient of
few rows is noisier than that of many: its squares are larger by the variance of the
noise, and steps smaller.  Which part of the squares is noise differs from parameter to
parameter, and changes while a network learns.  So it is measured: before the first step
of a round, all shards have the same weights, and the mean of their gradients is that of
one whole mini-batch.

References
----------
Malladi, Lyu, Panigrahi and Arora, "On the SDEs and scaling rules for adaptive gradient
algorithms", NeurIPS (2022): factors on the learning rate, where noise prevails.

McCandlish, Kaplan and Amodei, "An empirical model of large-batch training" (2018):
noise measured by gradients of mini-batches of two sizes.
"""

import numpy as np

__all__ = ["Squares", "rate_factors", "variance_ratio"]

#: Rounds over which what was measured is averaged.
_ROUNDS = 20

#: Of the share that squares have if all is noise, the least that is believed.
_LEAST = 1 / 3


def variance_ratio(sizes, batch_rows):
    """The variance of gradients of shards, divided by that of one of all shards.

    It is the number of shards, if these are alike.

    Parameters
    ----------
    sizes : list of int
        Rows of each shard.
    batch_rows : list of int
        Of their mini-batches.
    """
    pairs = [pair for pair in zip(sizes, batch_rows, strict=True) if all(pair)]
    variance = sum(size / rows for size, rows in pairs) / sum(sizes)
    return variance * sum(batch_rows)


def rate_factors(noise, beta_2, n_updates, n_steps):
    """Factors on the learning rate for squares that are those of shards since a round.

    At its start, the averages are those of whole mini-batches.  In its steps, they
    become those of the mini-batches of a shard, the faster the smaller `beta_2`.

    Parameters
    ----------
    noise : float
        Squares of gradients of a shard, divided by those of all shards: their mean.
    beta_2 : float
        Of Adam.
    n_updates : int
        Steps before the round.
    n_steps : int
        In the round.

    Returns
    -------
    ndarray of shape (n_steps,)
    """
    steps = np.arange(1, n_steps + 1)
    kept = beta_2**steps
    squares = kept * (1 - beta_2**n_updates) + (1 - kept) * noise
    return np.sqrt(squares / (1 - beta_2 ** (n_updates + steps)))


class Squares:
    """Makes averaged squares of gradients those of whole mini-batches, round by round.

    Parameters
    ----------
    ratio : float
        See `variance_ratio`.

    Attributes
    ----------
    noise : float
        Squares of gradients of a shard, divided by those of all shards: their mean.
    """

    def __init__(self, ratio):
        self._ratio = ratio
        self._of_all = self._of_shards = 0.0
        self._n_rounds = 0
        self.noise = 1.0

    def corrected(self, before, after, gradient, decay):
        """The averages after a round.

        Parameters
        ----------
        before, after : ndarray of shape (n_parameters,)
            Averages before the round, and the mean of those of the shards after it.
        gradient : ndarray of shape (n_parameters,)
            The mean, over shards, of those of the first step of the round.
        decay : float
            ``beta_2`` to the power of the number of steps.

        Returns
        -------
        ndarray of shape (n_parameters,)
        """
        with np.errstate(all="ignore"):  # a fit that diverges is found by its loop
            old = decay * before
            added = after - old
            self._n_rounds += 1
            part = 1 / min(self._n_rounds, _ROUNDS)
            self._of_all = self._of_all + part * (
                (1 - decay) * gradient**2 - self._of_all
            )
            self._of_shards = self._of_shards + part * (added - self._of_shards)
            # where there are no gradients, a difference is rounding
            is_seen = self._of_shards > 1e-6 * after
            share = np.ones_like(after)
            np.divide(self._of_all, self._of_shards, out=share, where=is_seen)
            share = np.clip(share, _LEAST / self._ratio, 1.0)
            if is_seen.any():
                mean = share[is_seen].mean()
                self.noise = float(np.clip(1 / mean, 1.0, self._ratio))
            return old + added * share
