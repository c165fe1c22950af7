"""Losses of samples, from raw outputs z and targets y, and output activations.

Losses and deltas are plain NumPy: arrays of shape (n_samples,) and (n_samples,
n_outputs). Targets have the shape of z; those of softmax losses are the number of the
class of each sample, of shape (n_samples, 1).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit, log_softmax, softmax, xlogy

__all__ = [
    "BINARY",
    "CLASSIFICATION_LOSSES",
    "LOSSES",
    "OUTPUT_ACTIVATIONS",
    "REGRESSION_LOSSES",
    "Loss",
    "OutputActivation",
    "predicts_exponentials",
]


#: What the name of a row of two classes, or labels, begins with.
BINARY = "binary_"


class OutputActivation(NamedTuple):
    """One row: a function that turns raw outputs into predictions."""

    name: str
    code: int  # for kernels
    value: Callable  # z -> predictions, of arrays of shape (n_samples, n_outputs)
    inverse: Callable  # predictions -> some z that gives them


class Loss(NamedTuple):
    """One row: a loss together with its canonical output activation."""

    name: str
    code: int  # for kernels
    choice: str  # the value of the parameter `loss` that chooses it, among others
    formula: str  # of a sample, in LaTeX
    output_activation: str
    value: Callable  # (z, y, *parameters) -> loss of each sample
    delta: Callable  # (z, y, *parameters) -> derivatives with respect to z
    parameters: tuple = ()  # names; "q of each output" stands for as many
    #: whether its kernel takes parameters, and is compiled only if a fit needs it
    is_parametric: bool = True
    is_of_classes: bool = False  # or labels
    is_in_range: Callable | None = None  # y -> mask of the targets that it allows
    range: str = ""  # what y must be, in words
    #: when it applies, of several losses with the same `choice`
    where: str = ""
    reference: str = ""
    #: of one that a user has registered: its functions, and their machine code
    registered: object = None

    @property
    def sees_outputs_at_once(self):
        """Whether a sample has one target, the number of its class."""
        return self.output_activation == "softmax"

    def code_for(self, dtype):
        """The code for kernels of a precision: of what is registered, an address."""
        if self.registered is None:
            return self.code
        return self.registered.compiled.address_for(dtype)


def _log(mu):
    return np.log(np.maximum(mu, np.finfo(np.float32).tiny))


def _log_of_probabilities(p):
    # float32 has none between 1 and 1 - eps / 2
    return np.log(np.maximum(p, np.finfo(np.float32).eps / 2))


def _logit(p):
    return _log_of_probabilities(p) - _log_of_probabilities(1 - p)


_OUTPUT_ROWS = (
    OutputActivation("identity", 0, lambda z: z, lambda p: p),
    OutputActivation("logistic", 1, expit, _logit),
    OutputActivation("softmax", 2, lambda z: softmax(z, axis=1), _log_of_probabilities),
    OutputActivation("exp", 3, np.exp, _log),
)

#: name -> row
OUTPUT_ACTIVATIONS = {row.name: row for row in _OUTPUT_ROWS}


def _hits(z, y):
    """1 where an output is that of the sample's class, else 0."""
    return (np.arange(z.shape[1]) == y[:, :1]).astype(z.dtype)


def _log_loss(z, y):
    return -log_softmax(z, axis=1)[np.arange(len(z)), y[:, 0].astype(int)]


def _binary_log_loss(z, y):
    return (np.logaddexp(0, z) - y * z).sum(axis=1)


def _poisson(z, y):
    return (xlogy(y, y) - y * z - y + np.exp(z)).sum(axis=1)


def _huber(z, y, delta):
    size = abs(z - y)
    inner = np.minimum(size, delta)
    return (inner * (size - inner / 2)).mean(axis=1)


def _quantile(z, y, *q):
    error = y - z
    return np.maximum(np.array(q) * error, (np.array(q) - 1) * error).mean(axis=1)


def _quantile_delta(z, y, *q):
    q = np.array(q)
    return np.where(y > z, -q, np.where(y < z, 1 - q, 0)) / z.shape[1]


def _gamma(z, y):
    return (z - np.log(y) + y * np.exp(-z) - 1).sum(axis=1)


def _smoothed(z, y, smoothing):
    return (1 - smoothing) * _hits(z, y) + smoothing / z.shape[1]


def _focal(z, y, gamma, smoothing):
    log_p = log_softmax(z, axis=1)
    shares = _smoothed(z, y, smoothing)
    return -(shares * (-np.expm1(log_p)) ** gamma * log_p).sum(axis=1)


def _focal_delta(z, y, gamma, smoothing):
    log_p = log_softmax(z, axis=1)
    p, rest = np.exp(log_p), -np.expm1(log_p)
    ratio = np.where(rest > 0, log_p / np.where(rest > 0, rest, 1), -1)
    h = _smoothed(z, y, smoothing) * rest**gamma * (gamma * p * ratio - 1)
    return h - p * h.sum(axis=1, keepdims=True)


def _binary_focal(z, y, gamma):
    hit = expit(-z) ** gamma * np.logaddexp(0, -z)
    miss = expit(z) ** gamma * np.logaddexp(0, z)
    return (y * hit + (1 - y) * miss).sum(axis=1)


def _binary_focal_delta(z, y, gamma):
    p, q = expit(z), expit(-z)
    log_p, log_q = -np.logaddexp(0, -z), -np.logaddexp(0, z)
    hit = q**gamma * (gamma * p * log_p - q)
    miss = p**gamma * (gamma * q * log_q - p)
    return y * hit - (1 - y) * miss


_FOCAL = "Lin, Goyal, Girshick, He and Dollar, ICCV (2017)"

_ROWS = (
    Loss("squared_error", 0, "squared_error", r"$\frac{1}{2m} \sum_j (z_j - y_j)^2$",
         "identity", lambda z, y: ((z - y) ** 2).mean(axis=1) / 2,
         lambda z, y: (z - y) / z.shape[1], is_parametric=False),
    Loss("log_loss", 1, "log_loss", r"$\log \sum_j e^{z_j} - z_t$", "softmax",
         _log_loss, lambda z, y: softmax(z, axis=1) - _hits(z, y),
         is_parametric=False, is_of_classes=True, where="several classes"),
    Loss("binary_log_loss", 2, "log_loss",
         r"$\sum_j \left( \log(1 + e^{z_j}) - y_j z_j \right)$", "logistic",
         _binary_log_loss, lambda z, y: expit(z) - y,
         is_parametric=False, is_of_classes=True, where="two classes or labels"),
    Loss("poisson", 3, "poisson",
         r"$\sum_j \left( y_j \log \frac{y_j}{\mu_j} - y_j + \mu_j \right)$", "exp",
         _poisson, lambda z, y: np.exp(z) - y, is_parametric=False,
         is_in_range=lambda y: y >= 0, range="y must not be negative."),
    Loss("absolute_error", 4, "absolute_error",
         r"$\frac{1}{m} \sum_j \lvert z_j - y_j \rvert$", "identity",
         lambda z, y: abs(z - y).mean(axis=1),
         lambda z, y: np.sign(z - y) / z.shape[1]),
    Loss("huber", 5, "huber",
         r"$\frac{1}{m} \sum_j h(z_j - y_j)$, $h(e) = \frac{e^2}{2}$ if "
         r"$\lvert e \rvert \le \delta$, else "
         r"$\delta (\lvert e \rvert - \frac{\delta}{2})$", "identity", _huber,
         lambda z, y, delta: np.clip(z - y, -delta, delta) / z.shape[1], ("delta",),
         reference="Huber, The Annals of Mathematical Statistics 35 (1964)"),
    Loss("quantile", 6, "quantile",
         r"$\frac{1}{m} \sum_j \max(q_j e_j, (q_j - 1)\, e_j)$, $e_j = y_j - z_j$",
         "identity", _quantile, _quantile_delta, ("q of each output",),
         reference="Koenker and Bassett, Econometrica 46 (1978)"),
    Loss("gamma", 7, "gamma",
         r"$\sum_j \left( \log \frac{\mu_j}{y_j} + \frac{y_j}{\mu_j} - 1 \right)$",
         "exp", _gamma, lambda z, y: 1 - y * np.exp(-z),
         is_in_range=lambda y: y > 0, range="y must be positive.",
         reference="McCullagh and Nelder, Generalized Linear Models (1989)"),
    Loss("focal", 8, "focal", r"$-\sum_j y_j (1 - p_j)^\gamma \log p_j$", "softmax",
         _focal, _focal_delta, ("gamma", "smoothing"), is_of_classes=True,
         where="several classes", reference=_FOCAL),
    Loss("binary_focal", 9, "focal",
         r"$-\sum_j \left( y_j (1 - p_j)^\gamma \log p_j "
         r"+ (1 - y_j)\, p_j^\gamma \log(1 - p_j) \right)$", "logistic",
         _binary_focal, _binary_focal_delta, ("gamma",), is_of_classes=True,
         where="two classes or labels", reference=_FOCAL),
)  # fmt: skip

#: name -> row; rows that users have registered come last
LOSSES = {row.name: row for row in _ROWS}

#: What the parameter `loss` may be; users may add some.
CLASSIFICATION_LOSSES = {row.choice for row in _ROWS if row.is_of_classes}
REGRESSION_LOSSES = {row.choice for row in _ROWS if not row.is_of_classes}


def predicts_exponentials(loss):
    """Whether predictions of a regression by this loss are exp(z), always positive."""
    return loss in LOSSES and LOSSES[loss].output_activation == "exp"
