"""Learning rates over time.

A schedule holds `rate`, the rate of the coming epoch, and is told when an epoch
ends and when the loss has stopped improving. Some change the rate with every step.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

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
        Exponent of `InverseScaling`; not used by the others.
    """

    name = "constant"

    def __init__(self, initial, power=0.5):
        self.initial = float(initial)
        self.power = power
        self.rate = self.initial

    #: Whether `rates` gives an array.
    changes_every_step = False

    def rates(self, start, end, n_steps):
        """The rate of the coming epoch, or an array with that of each of its steps.

        start, end : the fractions of the training between which the epoch lies; above 1
            in calls of partial_fit beyond max_iter.
        """
        return self.rate

    def epoch_ends(self, n_seen):
        """An epoch is over; `n_seen` samples have been seen since the start."""

    def waits(self, count, patience):
        """The last `count` epochs did not improve; after `patience` it is enough."""

    def stops_on_plateau(self):
        """The loss has stopped improving: (whether to stop, what to say)."""
        return True, "Stopping."


class InverseScaling(Constant):
    """rate = initial / (n_seen + 1)**power from the second epoch on."""

    name = "invscaling"

    def epoch_ends(self, n_seen):
        self.rate = self.initial / (n_seen + 1) ** self.power


class Adaptive(Constant):
    """rate = initial until the loss stops improving, then a fifth of it, ..."""

    name = "adaptive"
    smallest = 1e-6

    def stops_on_plateau(self):
        if self.rate <= self.smallest:
            return True, "Learning rate too small. Stopping."
        self.rate /= 5.0
        return False, f"Setting learning rate to {self.rate:f}"


class Plateau(Constant):
    """rate = initial, a tenth of it when the loss stops improving, ...

    After half as many epochs without improvement as would end the fit, 10 at most.
    """

    name = "plateau"
    factor = 0.1

    def waits(self, count, patience):
        half = max(1, int(min(patience, 20)) // 2)  # patience may be infinite
        if count > 0 and count % half == 0:
            self.rate *= self.factor


class OfFraction(Constant):
    """rate = initial * factor(fraction of the training that is done), for each step.

    Parameters
    ----------
    initial : float
        What factors multiply.
    power : float
        Not used.
    factor : callable
        From a fraction between 0 and 1 to a number.
    name : str, default="callable"
        A row of `FACTORS`.
    """

    changes_every_step = True

    def __init__(self, initial, power=0.5, *, factor, name="callable"):
        super().__init__(initial, power)
        self.name = name
        self._factor = factor

    def rates(self, start, end, n_steps):
        start, end = min(1.0, start), min(1.0, end)
        fractions = start + (end - start) * np.arange(n_steps) / n_steps
        factors = [float(self._factor(fraction)) for fraction in fractions]
        if not np.isfinite(factors).all() or min(factors) < 0:
            raise ValueError(
                "learning_rate must give finite factors that are not negative; for "
                f"fractions from {start:g} to {end:g} it gave {min(factors)} to "
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
    """One row: how the rate depends on the fraction f of the training that is done."""

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

#: name -> what makes a schedule of (initial, power)
SCHEDULES = {cls.name: cls for cls in (Constant, InverseScaling, Adaptive, Plateau)} | {
    row.name: partial(OfFraction, factor=row.function, name=row.name) for row in _ROWS
}


def make_schedule(schedule, initial, power):
    """A schedule by its name, or of a callable."""
    if callable(schedule):
        return OfFraction(initial, power, factor=schedule)
    return SCHEDULES[schedule](initial, power)
