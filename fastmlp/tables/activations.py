"""Activations a = g(z) of the hidden layers."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit, ndtr

__all__ = [
    "ACTIVATIONS",
    "SELU_ALPHA",
    "SELU_SCALE",
    "Activation",
    "resolve_activations",
]


class Activation(NamedTuple):
    """One row of the table."""

    name: str
    code: int  # for kernels
    formula: str  # g(z), in LaTeX
    value: Callable  # z -> g(z), of arrays in NumPy
    derivative: Callable  # z -> g'(z)
    #: whether g'(z) is no function of g(z), so that a forward pass has to store it
    stores_derivatives: bool = False
    maps_zero_to_zero: bool = True  # so that the padding of a panel stays zero
    gain: float = 6.0  # numerator of the Glorot bound
    #: row of `fastmlp.tables.initializations` that suits it; None: as scikit-learn's,
    #: which knows it
    initialization: str | None = None
    reference: str = ""
    bounds: tuple | None = None  # of g, if it saturates
    #: whether it is exactly 0, with zero gradient, over a whole range of z
    cuts_off: bool = False
    #: of one that a user has registered: its functions, and their machine code
    registered: object = None

    @property
    def is_in_sklearn(self):
        """Whether scikit-learn has it."""
        return self.initialization is None

    def code_for(self, dtype):
        """The code for kernels of a precision: of what is registered, an address."""
        if self.registered is None:
            return self.code
        return self.registered.compiled.address_for(dtype)


#: Mean 0 and variance 1 are a fixed point with these (Klambauer et al., 2017).
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848


def _elu(z, alpha=1.0):
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def _elu_derivative(z, alpha=1.0):
    return np.where(z > 0, 1.0, alpha * np.exp(np.minimum(z, 0)))


def _softplus(z):
    return np.logaddexp(0, z)


def _mish_derivative(z):
    share = np.tanh(_softplus(z))
    return share + z * (1 - share**2) * expit(z)


_ROWS = (
    Activation("identity", 0, r"$z$", lambda z: z, np.ones_like),
    Activation("relu", 1, r"$\max(0, z)$", lambda z: np.maximum(z, 0),
               lambda z: np.where(z > 0, 1.0, 0.0), cuts_off=True),
    Activation("tanh", 2, r"$\tanh z$", np.tanh, lambda z: 1 - np.tanh(z) ** 2,
               bounds=(-1, 1)),
    Activation("logistic", 3, r"$\frac{1}{1 + e^{-z}}$", expit,
               lambda z: expit(z) * expit(-z), maps_zero_to_zero=False, gain=2.0,
               bounds=(0, 1)),
    Activation("leaky_relu", 4, r"$\max(z, 0.01\, z)$",
               lambda z: np.where(z > 0, z, 0.01 * z),
               lambda z: np.where(z < 0, 0.01, 1.0), initialization="he_uniform",
               reference="Maas, Hannun and Ng, ICML (2013)"),
    Activation("elu", 5, r"$\max(0, z) + \min(0, e^z - 1)$", _elu, _elu_derivative,
               initialization="he_uniform",
               reference="Clevert, Unterthiner and Hochreiter, ICLR (2016)"),
    Activation("selu", 6, r"$1.0507\, (\max(0, z) + 1.6733\, \min(0, e^z - 1))$",
               lambda z: SELU_SCALE * _elu(z, SELU_ALPHA),
               lambda z: SELU_SCALE * _elu_derivative(z, SELU_ALPHA),
               initialization="lecun_normal",
               reference="Klambauer, Unterthiner, Mayr and Hochreiter, NIPS (2017)"),
    Activation("gelu", 7, r"$z\, \Phi(z)$, $\Phi$ the normal distribution function",
               lambda z: z * ndtr(z),
               lambda z: ndtr(z) + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi),
               stores_derivatives=True, initialization="he_uniform",
               reference="Hendrycks and Gimpel, arXiv:1606.08415 (2016)"),
    Activation("silu", 8, r"$\frac{z}{1 + e^{-z}}$", lambda z: z * expit(z),
               lambda z: expit(z) * (1 + z * expit(-z)), stores_derivatives=True,
               initialization="he_uniform",
               reference="Elfwing, Uchibe and Doya, Neural Networks 107 (2018)"),
    Activation("mish", 9, r"$z \tanh(\log(1 + e^z))$",
               lambda z: z * np.tanh(_softplus(z)), _mish_derivative,
               stores_derivatives=True, initialization="he_uniform",
               reference="Misra, BMVC (2020)"),
    Activation("softplus", 10, r"$\log(1 + e^z)$", _softplus, expit,
               maps_zero_to_zero=False, initialization="glorot_uniform",
               reference="Dugas, Bengio, Belisle, Nadeau and Garcia, NIPS (2000)"),
    Activation("softsign", 11, r"$\frac{z}{1 + \lvert z \rvert}$",
               lambda z: z / (1 + np.abs(z)), lambda z: 1 / (1 + np.abs(z)) ** 2,
               initialization="glorot_uniform",
               reference="Glorot and Bengio, AISTATS (2010)", bounds=(-1, 1)),
    Activation("hard_swish", 12, r"$\frac{z}{6} \min(\max(z + 3, 0), 6)$",
               lambda z: z * np.clip(z + 3, 0, 6) / 6,
               lambda z: np.where(z < -3, 0.0, np.where(z > 3, 1.0, (2 * z + 3) / 6)),
               stores_derivatives=True, initialization="he_uniform",
               reference="Howard et al., ICCV (2019)", cuts_off=True),
)  # fmt: skip

#: name -> row; rows that users have registered come last
ACTIVATIONS = {row.name: row for row in _ROWS}


def resolve_activations(activation, n_hidden):
    """The row of `ACTIVATIONS` for each hidden layer.

    activation : one name for all layers, or a sequence of one name per layer.
    """
    names = [activation] * n_hidden if isinstance(activation, str) else activation
    if len(names) != n_hidden:
        raise ValueError(f"{len(names)} activations for {n_hidden} hidden layers")
    if unknown := [name for name in names if name not in ACTIVATIONS]:
        raise ValueError(
            f"unknown activation {unknown[0]!r}; choose from {sorted(ACTIVATIONS)}, or "
            "register your own with fastmlp.register_activation"
        )
    return [ACTIVATIONS[name] for name in names]
