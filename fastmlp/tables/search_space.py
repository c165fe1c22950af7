"""What is tried when a network for tables is tuned: one row per setting of a recipe.

References
----------
Holzmüller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and
boosted trees on tabular data" (2024), appendix C: the space of RealMLP, from which
this one starts.  Its networks are smaller, and there are more activation functions.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

__all__ = ["SPACE", "Setting", "draw_recipe"]


class Setting(NamedTuple):
    """One row: a field of a recipe, and how its value is drawn."""

    name: str
    meaning: str
    values: str
    draw: Callable  # numpy Generator, recipe -> value
    of_classes_only: bool = False


def _one_of(*values, weights=None):
    def draw(rng, recipe):
        return values[rng.choice(len(values), p=weights)]

    return draw


def _log_uniform(low, high):
    def draw(rng, recipe):
        return math.exp(rng.uniform(math.log(low), math.log(high)))

    return draw


def _around(name, factor):
    """Log-uniform within a factor of what the recipe has."""

    def draw(rng, recipe):
        return getattr(recipe, name) * math.exp(rng.uniform(-1, 1) * math.log(factor))

    return draw


_SPACE_ROWS = (
    Setting(
        "widths",
        "units of the hidden layers",
        "two layers of 64, 128 or 256, or three of 128",
        _one_of(
            (64, 64),
            (128, 128),
            (256, 256),
            (128, 128, 128),
            weights=(0.15, 0.4, 0.15, 0.3),
        ),
    ),
    Setting(
        "activation",
        "of the hidden layers",
        "selu, mish, silu, relu or gelu",
        _one_of(
            "selu", "mish", "silu", "relu", "gelu", weights=(0.3, 0.4, 0.1, 0.1, 0.1)
        ),
    ),
    Setting(
        "scaling",
        "how numbers are scaled",
        "by the median and quartiles (`robust`), or to a normal distribution "
        "(`quantile`)",
        _one_of("robust", "quantile", weights=(0.7, 0.3)),
    ),
    Setting(
        "embedding",
        "what the embedding of each number is made of",
        "cosines, or linear between quantiles (`piecewise`)",
        _one_of("cosines", "piecewise", weights=(0.7, 0.3)),
    ),
    Setting(
        "n_cosines",
        "numbers of the embedding of each number",
        "0, 3 or 7",
        _one_of(0, 3, 7, weights=(0.2, 0.5, 0.3)),
    ),
    Setting(
        "spread",
        "standard deviation of the first frequencies of that embedding",
        "log-uniform from 0.05 to 3",
        _log_uniform(0.05, 3.0),
    ),
    Setting(
        "rate",
        "the largest learning rate",
        "log-uniform, within a factor of 3",
        _around("rate", 3.0),
    ),
    Setting(
        "dropout",
        "of hidden units, at the beginning",
        "0, 0.05, 0.15 or 0.3",
        _one_of(0.0, 0.05, 0.15, 0.3),
    ),
    Setting(
        "decay",
        "decoupled weight decay, at the beginning",
        "log-uniform from 0.001 to 0.1",
        _log_uniform(1e-3, 0.1),
    ),
    Setting(
        "smoothing",
        "of labels",
        "0 or 0.1; of classes only",
        _one_of(0.0, 0.1, weights=(0.3, 0.7)),
        of_classes_only=True,
    ),
    Setting(
        "factors_rate",
        "factor on the learning rate of the factors of inputs",
        "log-uniform from 1 to 12",
        _log_uniform(1.0, 12.0),
    ),
    Setting(
        "one_hot_levels",
        "categories with more levels are embedded",
        "4, 9 or 33",
        _one_of(4, 9, 33),
    ),
    Setting(
        "n_embedded",
        "numbers of the embedding of a category",
        "4, 8 or 16",
        _one_of(4, 8, 16),
    ),
)

#: name -> row
SPACE = {row.name: row for row in _SPACE_ROWS}


def draw_recipe(recipe, rng, fixed=(), classifies=True):
    """Another recipe, at random.

    Parameters
    ----------
    recipe : fastmlp.tables.recipes.Recipe
        What the space is around.
    rng : numpy.random.Generator
    fixed : collection of str
        Fields that stay.
    classifies : bool, default=True

    Returns
    -------
    fastmlp.tables.recipes.Recipe
    """
    drawn = {}
    for name, row in SPACE.items():
        value = row.draw(rng, recipe)  # always: what is fixed changes nothing else
        if name not in fixed and (classifies or not row.of_classes_only):
            drawn[name] = value
    return replace(recipe, **drawn)
