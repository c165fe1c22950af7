"""How networks for tables are built and trained: `Recipe`, and the presets.

References
----------
Holzmüller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and
boosted trees on tabular data" (2024): RealMLP-TD, from which these start.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

__all__ = [
    "PRESETS",
    "SHAPES",
    "Preset",
    "Recipe",
    "Shape",
    "for_samples",
    "members_for",
]


class Shape(NamedTuple):
    """One row: how a rate depends on the fraction f of the training so far."""

    name: str
    formula: str  # in LaTeX
    value: Callable  # f -> factor


def _coslog4(fraction):
    return (1 - math.cos(2 * math.pi * math.log2(1 + 15 * fraction))) / 2


def _flat_cosine(fraction):
    return (1 + math.cos(math.pi * (max(1.0, 2 * fraction) - 1))) / 2


_SHAPE_ROWS = (
    Shape("constant", "$1$", lambda fraction: 1.0),
    Shape("coslog4", r"$(1 - \cos(2 \pi \log_2(1 + 15 f))) / 2$", _coslog4),
    Shape("flat_cosine", r"$(1 + \cos(\pi (\max(1, 2 f) - 1))) / 2$", _flat_cosine),
)

#: name -> row
SHAPES = {row.name: row for row in _SHAPE_ROWS}


@dataclass(frozen=True)
class Recipe:
    """A network for tables, and how it is trained.

    Parameters
    ----------
    widths : tuple of int
        Units of the hidden layers.
    activation : str
        Name of a row of `fastmlp.tables.activations`.
    is_parametric : bool
        Whether each unit has a parameter between the function and the identity.
    scaling : {'robust', 'quantile'}
        How numbers are scaled: by median and quartiles, and smoothly clipped; or so
        that they are normally distributed.
    embedding : {'cosines', 'piecewise'}
        What the embeddings of numbers are made of.
    n_cosines : int
        Numbers of the embedding of each number, beside the number.
    most_columns : int
        With more columns of numbers, there are no such embeddings.
    one_hot_levels : int
        Levels of a category that becomes a one-hot code, at most; others are embedded.
    n_embedded : int
        Numbers of the embedding of a category.
    spread : float
        Standard deviation of the first frequencies of the embedding of numbers.
    rate : float
        The largest learning rate, of weights of a layer with one input.
    factors_rate, cosines_rate, alphas_rate, biases_rate : float
        Factors on the learning rate of the factors of inputs, of the embedding of
        numbers, of parameters of activations, and of biases.
    beta_2 : float
        Of Adam; beta_1 is 0.9.
    dropout, decay : float
        The largest dropout rate of hidden layers, and decoupled weight decay.
    smoothing : float
        Of labels.
    n_epochs, batch_size : int
    rate_shape, strength_shape : str
        Names of rows of `SHAPES`: of the learning rate; of dropout and decay.
    draws_from_data : bool
        Whether the first weights and biases are fitted to some of the samples, so that
        pre-activations have a variance of 1; else all are drawn from the standard
        normal distribution, and those of the last layer are 0.
    """

    widths: tuple = (256, 256, 256)
    activation: str = "selu"
    is_parametric: bool = True
    scaling: str = "robust"
    embedding: str = "cosines"
    n_cosines: int = 3
    most_columns: int = 128
    one_hot_levels: int = 9
    n_embedded: int = 8
    spread: float = 0.1
    rate: float = 0.04
    factors_rate: float = 6.0
    cosines_rate: float = 0.1
    alphas_rate: float = 0.1
    biases_rate: float = 0.1
    beta_2: float = 0.95
    dropout: float = 0.15
    decay: float = 0.02
    smoothing: float = 0.1
    n_epochs: int = 256
    batch_size: int = 256
    rate_shape: str = "coslog4"
    strength_shape: str = "flat_cosine"
    draws_from_data: bool = True


#: Up to so many samples, all epochs of a recipe; for more, fewer.
_SAMPLES = 10_000
_LEAST_EPOCHS = 16
#: So many steps at least: more epochs for few samples, but no more than these.
_LEAST_STEPS = 600
_MOST_EPOCHS = 256
#: From so many on, larger mini-batches and fewer networks.
_MANY_SAMPLES = 100_000


def for_samples(recipe, n_samples):
    """The recipe with epochs and mini-batches for a number of samples."""
    share = min(1.0, (_SAMPLES / n_samples) ** 0.6)
    n_epochs = max(min(_LEAST_EPOCHS, recipe.n_epochs), round(recipe.n_epochs * share))
    steps = math.ceil(n_samples / recipe.batch_size)
    n_epochs = max(n_epochs, min(_MOST_EPOCHS, math.ceil(_LEAST_STEPS / steps)))
    batch_size = recipe.batch_size * (4 if n_samples >= _MANY_SAMPLES else 1)
    return replace(recipe, n_epochs=n_epochs, batch_size=batch_size)


def members_for(n_members, n_samples):
    """How many networks to train, of those that a preset has for few samples."""
    return max(1, n_members // 2) if n_samples >= _MANY_SAMPLES else n_members


class Preset(NamedTuple):
    """One row: recipes for classes and for numbers, and how many networks to train."""

    name: str
    classes: Recipe
    numbers: Recipe
    n_members: int
    n_folds: int = 5  # one part of so many is held out


_NUMBERS = {"activation": "mish", "rate": 0.2, "smoothing": 0.0}

#: RealMLP-TD, and its simpler form RealMLP-TD-S, as their authors have them.
_TD = (Recipe(), Recipe(**_NUMBERS))
_SIMPLE = {
    "n_cosines": 0, "one_hot_levels": 10**6, "is_parametric": False, "dropout": 0.0,
    "decay": 0.0, "draws_from_data": False,
}  # fmt: skip
_TD_S = (replace(_TD[0], **_SIMPLE), replace(_TD[1], **_SIMPLE, rate=0.07))

#: What was found for several smaller networks: see the page Tables.
_NUMBERS |= {"spread": 1.0, "dropout": 0.05}


def _ours(widths, n_epochs):
    """Recipes for classes and for numbers."""
    form = {"widths": widths, "n_epochs": n_epochs}
    return Recipe(**form), Recipe(**_NUMBERS, **form)


_PRESET_ROWS = (
    Preset("fast", *_ours((128, 128), 32), 4, 8),
    Preset("default", *_ours((128, 128), 128), 8, 8),
    Preset("best", *_ours((256, 256), 192), 16, 8),
    Preset("realmlp-td", *_TD, 1),
    Preset("realmlp-td-s", *_TD_S, 1),
)

#: name -> row
PRESETS = {row.name: row for row in _PRESET_ROWS}
