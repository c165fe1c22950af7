"""Learning rate schedules.

A schedule holds `rate`, the learning rate of the next epoch. Training tells it when an
epoch ends and when the loss stops improving. Some schedules change the rate each step.
"""

from functools import partial

import numpy as np

from fastmlp.tables.schedules import FACTORS
from fastmlp.training.functions import number_returned

__all__ = [
    "SCHEDULES",
    "Adaptive",
    "Constant",
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
    #: The factor of the initial rate, for the documentation.
    formula = "1"

    def __init__(self, initial, power=0.5):
        self.initial = float(initial)
        self.power = power
        self.rate = self.initial

    #: Whether `rates` returns an array.
    changes_every_step = False
    #: Whether the next rate follows from the last one, so that it can be set.
    can_be_set = True
    #: Whether the rate stays as it is until the loss stops improving.
    is_steady = True

    def rates(self, start, end, n_steps):
        """The rate of the next epoch, or an array with the rate of each of its steps.

        start, end : where the epoch begins and ends, as fractions of the training;
            above 1 in calls of partial_fit beyond max_iter.
        """
        return self.rate

    def epoch_ends(self, n_seen):
        """Called after an epoch; `n_seen` samples were seen since the start."""

    def on_no_improvement(self, count, patience):
        """Called after `count` epochs without improvement, of `patience` tolerated."""

    def stops_on_plateau(self):
        """Called when the loss stops improving; returns (whether to stop, message)."""
        return True, "Stopping."


class InverseScaling(Constant):
    """rate = initial / (n_seen + 1)**power from the second epoch on."""

    name = "invscaling"
    formula = (
        r"$1 / (s + 1)^p$ from the second epoch on, $s$ samples seen, $p$ `power_t` "
        "(`adam`: 1)"
    )
    can_be_set = is_steady = False

    def epoch_ends(self, n_seen):
        self.rate = self.initial / (n_seen + 1) ** self.power


class Adaptive(Constant):
    """rate = initial, divided by 5 each time the loss stops improving."""

    name = "adaptive"
    formula = "divided by 5 each time the loss stops improving (`adam`: 1)"
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
    formula = (
        "divided by 10 after each `n_iter_no_change` / 2 epochs (at most 10) without "
        "improvement"
    )
    factor = 0.1
    is_steady = False

    def on_no_improvement(self, count, patience):
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
        Name of a row of `fastmlp.tables.schedules`.
    """

    changes_every_step = True
    can_be_set = is_steady = False

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


#: name -> function that makes a schedule from (initial, power)
SCHEDULES = {cls.name: cls for cls in (Constant, InverseScaling, Adaptive, Plateau)} | {
    row.name: partial(OfFraction, factor=row.value, name=row.name)
    for row in FACTORS.values()
}


def make_schedule(schedule, initial, power):
    """The schedule of that name, or one that calls a function."""
    if callable(schedule):
        return OfFraction(initial, power, factor=schedule)
    return SCHEDULES[schedule](initial, power)
