"""Update rules, and the solvers that choose them."""

from typing import NamedTuple

__all__ = [
    "DECAY_OF_ADAMW",
    "OPTIMIZERS",
    "REFUSED_BY_LBFGS",
    "SOLVERS",
    "Optimizer",
]


class Optimizer(NamedTuple):
    """One row: an update rule."""

    name: str
    code: int  # for kernels
    formula: str  # in LaTeX
    state: tuple  # names of arrays that it keeps, two at most, as long as the weights
    solvers: tuple = ()  # values of the parameter `solver` that choose it
    label: str = ""  # how to choose it, for the documentation
    parameters: tuple = ()  # names of its parameters
    reference: str = ""


_FIRST = r"$m \leftarrow \beta_1 m + (1 - \beta_1)\, g$"
_SECOND = r"$v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2$"
_MOMENT, _MOMENTS = ("first_moment",), ("first_moment", "second_moment")

_ROWS = (
    # not an optimizer: adds up gradients of batches
    Optimizer("gradient", 0, r"$s \leftarrow s + g$", ("gradient",), ("lbfgs",)),
    Optimizer("sgd", 1, r"$w \leftarrow w - \eta g$", (), ("sgd",),
              "`sgd`, `momentum=0`"),
    Optimizer("momentum", 2, r"$v \leftarrow \mu v - \eta g$ <br> $w \leftarrow w + v$",
              _MOMENT, ("sgd",), "`sgd`, `nesterovs_momentum=False`", ("momentum",)),
    Optimizer("nesterov", 3, r"$v \leftarrow \mu v - \eta g$ <br> "
              r"$w \leftarrow w + \mu v - \eta g$", _MOMENT, ("sgd",), "`sgd`",
              ("momentum", "nesterovs_momentum")),
    Optimizer("adam", 4, f"{_FIRST} <br> {_SECOND} <br> "
              r"$w \leftarrow w - \eta \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t} "
              r"\frac{m}{\sqrt{v} + \epsilon}$", _MOMENTS, ("adam", "adamw"),
              "`adam`, `adamw`", ("beta_1", "beta_2", "epsilon"),
              "Kingma and Ba, ICLR (2015)"),
    Optimizer("rmsprop", 5, f"{_SECOND} <br> "
              r"$w \leftarrow w - \eta \frac{g}{\sqrt{v} + \epsilon}$", _MOMENT,
              ("rmsprop",), "`rmsprop`", ("beta_2", "epsilon"),
              "Tieleman and Hinton, Neural Networks for Machine Learning 6.5 (2012)"),
    Optimizer("lion", 6, r"$w \leftarrow w - \eta \operatorname{sign}(\beta_1 m + "
              r"(1 - \beta_1)\, g)$ <br> $m \leftarrow \beta_2 m + (1 - \beta_2)\, g$",
              _MOMENT, ("lion",), "`lion`", ("beta_1", "beta_2"),
              "Chen et al., NeurIPS (2023)"),
)  # fmt: skip

#: name -> row
OPTIMIZERS = {row.name: row for row in _ROWS}

#: solver -> names of the rules that it chooses from
SOLVERS = {
    solver: tuple(row.name for row in _ROWS if solver in row.solvers)
    for solver in dict.fromkeys(s for row in _ROWS for s in row.solvers)
}

#: `weight_decay` of the solver 'adamw', if none is given.
DECAY_OF_ADAMW = 0.01

#: Parameters that other solvers use, and that 'lbfgs' answers with an error.
REFUSED_BY_LBFGS = (
    "dropout", "input_dropout", "l1", "weight_decay", "clip_norm", "ema_decay",
    "checkpoint",
)  # fmt: skip
