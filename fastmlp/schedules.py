"""Learning rate schedules.

A schedule holds `rate`, the learning rate of the next epoch. Training tells it when an
epoch ends and when the loss stops improving. Some schedules change the rate each step.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from fastmlp.functions import number_returned

__all__ = [
    "FACTORS",
    "SCHEDULES",
    "Adaptive",
    "Constant",
    "Factor",
    "InverseScaling",
    "OfFraction",
    "Plateau",
    "make_schedule",
]


class Constant:
    """rate = initial.

    Parameters
    ----------
    initial : float
        The first rate.
    power : float, default=0.5
        Exponent of `InverseScaling`; other schedules ignore it.
    """

    name = "constant"

    def __init__(self, initial, power=0.5):
        self.initial = float(initial)
        self.power = power
        self.rate = self.initial

    #: Whether `rates` returns an array.
    changes_every_step = False

    def rates(self, start, end, n_steps):
        """The rate of the next epoch, or an array with the rate of each of its steps.

        start, end : where the epoch begins and ends, as fractions of the training;
            above 1 in calls of partial_fit beyond max_iter.
        """
        return self.rate

    def epoch_ends(self, n_seen):
        """Called after an epoch; `n_seen` samples were seen since the start."""

    def waits(self, count, patience):
        """Called after `count` epochs without improvement, of `patience` tolerated."""

    def stops_on_plateau(self):
        """Called when the loss stops improving; returns (whether to stop, message)."""
        return True, "Stopping."


class InverseScaling(Constant):
    """rate = initial / (n_seen + 1)**power from the second epoch on."""

    name = "invscaling"

    def epoch_ends(self, n_seen):
        self.rate = self.initial / (n_seen + 1) ** self.power


class Adaptive(Constant):
    """rate = initial, divided by 5 each time the loss stops improving."""

    name = "adaptive"
    smallest = 1e-6

    def stops_on_plateau(self):
        if self.rate <= self.smallest:
            return True, "Learning rate too small. Stopping."
        self.rate /= 5.0
        return False, f"Setting learning rate to {self.rate:f}"


class Plateau(Constant):
    """rate = initial, divided by 10 each time the loss stops improving.

    That is after half of the patience without improvement, but 10 epochs at most.
    """

    name = "plateau"
    factor = 0.1

    def waits(self, count, patience):
        half = max(1, int(min(patience, 20)) // 2)  # patience may be infinite
        if count > 0 and count % half == 0:
            self.rate *= self.factor


class OfFraction(Constant):
    """rate = initial * factor(fraction of the training so far), for each step.

    Parameters
    ----------
    initial : float
        The rate for a factor of 1.
    power : float
        Not used.
    factor : callable
        Takes a fraction between 0 and 1, returns a number.
    name : str, default="callable"
        Name of a row of `FACTORS`.
    """

    changes_every_step = True

    def __init__(self, initial, power=0.5, *, factor, name="callable"):
        super().__init__(initial, power)
        self.name = name
        self._factor = factor

    def rates(self, start, end, n_steps):
        start, end = min(1.0, start), min(1.0, end)
        fractions = start + (end - start) * np.arange(n_steps) / n_steps
        factors = [
            number_returned(self._factor(fraction), self._factor, "learning_rate")
            for fraction in fractions
        ]
        if not np.isfinite(factors).all() or min(factors) < 0:
            raise ValueError(
                "learning_rate must return finite factors that are not negative; for "
                f"fractions from {start:g} to {end:g} it returned {min(factors)} to "
                f"{max(factors)}"
            )
        rates = self.initial * np.array(factors)
        self.rate = float(rates[-1])
        return rates


def _step(fraction):
    return 0.1 ** math.floor(3 * fraction)


def _exponential(fraction):
    return 0.01**fraction


def _cosine(fraction):
    return (1 + math.cos(math.pi * fraction)) / 2


def _cosine_warmup(fraction):
    if fraction < 0.1:
        return max(10 * fraction, 0.01)
    return _cosine((fraction - 0.1) / 0.9)


def _one_cycle(fraction):
    lowest, last = 1 / 25, 1 / 250_000
    if fraction < 0.3:
        return 1 - (1 - lowest) * _cosine(fraction / 0.3)
    return last + (1 - last) * _cosine((fraction - 0.3) / 0.7)


class Factor(NamedTuple):
    """One row: how the rate depends on the fraction f of the training so far."""

    name: str
    formula: str
    function: Callable
    reference: str = ""


_SGDR = "Loshchilov and Hutter, ICLR (2017)"

_ROWS = (
    Factor("step", "0.1^floor(3 f)", _step),
    Factor("exponential", "0.01^f", _exponential),
    Factor("cosine", "(1 + cos(pi f)) / 2", _cosine, _SGDR),
    Factor("cosine_warmup", "10 f (0.01 at least) up to f = 0.1, then the cosine",
           _cosine_warmup, "Goyal et al., arXiv:1706.02677 (2017)"),
    Factor("one_cycle", "a cosine from 1/25 up to 1 at f = 0.3, another down to 4e-6",
           _one_cycle, "Smith and Topin, arXiv:1708.07120 (2017)"),
)  # fmt: skip

#: name -> row
FACTORS = {row.name: row for row in _ROWS}

#: name -> function that makes a schedule from (initial, power)
SCHEDULES = {cls.name: cls for cls in (Constant, InverseScaling, Adaptive, Plateau)} | {
    row.name: partial(OfFraction, factor=row.function, name=row.name) for row in _ROWS
}


def make_schedule(schedule, initial, power):
    """The schedule of that name, or one that calls a function."""
    if callable(schedule):
        return OfFraction(initial, power, factor=schedule)
    return SCHEDULES[schedule](initial, power)
