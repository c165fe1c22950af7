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
    text: str  # for the documentation
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
        "two layers of 64, 128 or 256, or three of 128",
        _one_of(
            (64, 64),
            (128, 128),
            (256, 256),
            (128, 128, 128),
            weights=(0.1, 0.4, 0.25, 0.25),
        ),
    ),
    Setting(
        "activation",
        "'selu', 'mish', 'silu', 'relu' or 'gelu'",
        _one_of(
            "selu", "mish", "silu", "relu", "gelu", weights=(0.3, 0.4, 0.1, 0.1, 0.1)
        ),
    ),
    Setting("n_cosines", "0, 3 or 7", _one_of(0, 3, 7, weights=(0.2, 0.5, 0.3))),
    Setting("spread", "log-uniform in [0.05, 10]", _log_uniform(0.05, 10.0)),
    Setting("rate", "log-uniform within a factor of 3", _around("rate", 3.0)),
    Setting(
        "dropout", "0, 0.05, 0.15, 0.3 or 0.45", _one_of(0.0, 0.05, 0.15, 0.3, 0.45)
    ),
    Setting("decay", "log-uniform in [0.001, 0.1]", _log_uniform(1e-3, 0.1)),
    Setting("smoothing", "0 or 0.1", _one_of(0.0, 0.1), of_classes_only=True),
    Setting("factors_rate", "log-uniform in [1, 12]", _log_uniform(1.0, 12.0)),
    Setting("one_hot_levels", "4, 9 or 33", _one_of(4, 9, 33)),
    Setting("n_embedded", "4, 8 or 16", _one_of(4, 8, 16)),
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
