"""Schedules whose learning rate depends on the fraction of the training so far."""

import math
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["FACTORS", "Factor"]


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
    formula: str  # in LaTeX
    value: Callable  # f -> factor of the initial learning rate
    reference: str = ""


_SGDR = "Loshchilov and Hutter, ICLR (2017)"

_ROWS = (
    Factor("step", r"$0.1^{\lfloor 3 f \rfloor}$", _step),
    Factor("exponential", r"$0.01^f$", _exponential),
    Factor("cosine", r"$c(f)$", _cosine, _SGDR),
    Factor("cosine_warmup",
           r"$\max(10 f, 0.01)$ for $f < 0.1$, then $c((f - 0.1) / 0.9)$",
           _cosine_warmup, "Goyal et al., arXiv:1706.02677 (2017)"),
    Factor("one_cycle", r"$1 - 0.96\, c(f / 0.3)$ for $f < 0.3$, then "
           r"$\lambda + (1 - \lambda)\, c((f - 0.3) / 0.7)$, "
           r"$\lambda = 4 \cdot 10^{-6}$",
           _one_cycle, "Smith and Topin, arXiv:1708.07120 (2017)"),
)  # fmt: skip

#: name -> row
FACTORS = {row.name: row for row in _ROWS}
