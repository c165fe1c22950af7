"""Distributions of initial weights."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["INITIALIZATIONS", "Initialization"]


def _uniform(scale):
    """U(-b, b) with b = sqrt(3 scale(fan_in, fan_out)), of variance `scale`."""

    def draw(random_state, fan_in, fan_out):
        bound = np.sqrt(3 * scale(fan_in, fan_out))
        return random_state.uniform(-bound, bound, (fan_in, fan_out))

    return draw


def _normal(scale):
    def draw(random_state, fan_in, fan_out):
        deviation = np.sqrt(scale(fan_in, fan_out))
        return random_state.normal(0.0, deviation, (fan_in, fan_out))

    return draw


def _orthogonal(random_state, fan_in, fan_out):
    tall = random_state.normal(size=(max(fan_in, fan_out), min(fan_in, fan_out)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))  # otherwise q is not uniformly distributed
    return q if fan_in >= fan_out else q.T


class Initialization(NamedTuple):
    """One row: the distribution of initial weights."""

    name: str
    formula: str  # in LaTeX
    draw: Callable  # (random_state, fan_in, fan_out) -> weights
    reference: str


def _glorot(fan_in, fan_out):
    return 2 / (fan_in + fan_out)


def _he(fan_in, fan_out):
    return 2 / fan_in


def _lecun(fan_in, fan_out):
    return 1 / fan_in


_IN_AND_OUT = r"$\frac{2}{n_{\mathrm{in}} + n_{\mathrm{out}}}$"
_IN_TWICE = r"$\frac{2}{n_{\mathrm{in}}}$"
_IN = r"$\frac{1}{n_{\mathrm{in}}}$"

_GLOROT = "Glorot and Bengio, AISTATS (2010)"
_HE = "He, Zhang, Ren and Sun, ICCV (2015)"

_ROWS = (
    Initialization("glorot_uniform", f"uniform, variance {_IN_AND_OUT}",
                   _uniform(_glorot), _GLOROT),
    Initialization("glorot_normal", f"normal, variance {_IN_AND_OUT}",
                   _normal(_glorot), _GLOROT),
    Initialization("he_uniform", f"uniform, variance {_IN_TWICE}", _uniform(_he), _HE),
    Initialization("he_normal", f"normal, variance {_IN_TWICE}", _normal(_he), _HE),
    Initialization("lecun_normal", f"normal, variance {_IN}", _normal(_lecun),
                   "LeCun, Bottou, Orr and Müller, Neural Networks: Tricks of the "
                   "Trade (1998)"),
    Initialization("orthogonal", "orthogonal columns (or rows) of length 1",
                   _orthogonal, "Saxe, McClelland and Ganguli, ICLR (2014)"),
)  # fmt: skip

#: name -> row
INITIALIZATIONS = {row.name: row for row in _ROWS}
