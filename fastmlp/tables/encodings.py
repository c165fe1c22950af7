"""How the columns of a table become the inputs of a network, without numba.

A column is read from X, a matrix of numbers in which categories are codes, and gives
one input of the network or several. `fastmlp.kernels.layers.encoding` computes them,
and learns how; `encode` is its twin in NumPy.

References
----------
Holzmüller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and
boosted trees on tabular data" (2024): the smooth clip, the scaled one-hot code, the
embedding of numbers, the trainable factors.

Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep
learning" (2022): periodic embeddings.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

__all__ = [
    "EMBEDDING",
    "FLAG",
    "NUMBER",
    "N_FREQUENCIES",
    "ONE_HOT",
    "Column",
    "encode",
    "levels_of",
    "quantile_knots",
    "scaled",
    "slopes_of_encoding",
    "smooth_clip",
]

#: Kinds of columns.
NUMBER, FLAG, ONE_HOT, EMBEDDING = range(4)

#: Cosines that an embedding of a number is a linear function of.
N_FREQUENCIES = 16

#: Scaled numbers beyond are cut off, before their squares overflow.
MOST = 1e15

#: Knots of a column that is scaled by quantiles, at most, and where they are.
_MOST_KNOTS = 64
_LARGEST_KNOT = 1e38  # the difference of two is a float32

#: Between the quartiles of the standard normal distribution.
_QUARTILES = float(ndtri(0.75) - ndtri(0.25))


class Column(NamedTuple):
    """A column of X, and what becomes of it.

    kind : NUMBER: z = scale (x - center), smoothly clipped, or what `knots` say, 0 if x
        is NaN; then an embedding of that, if the network has one for numbers; then 1 or
        0 for a missing value (NaN in X), if `has_missing`.
        FLAG: the number as it is; 0 if it is NaN.
        ONE_HOT: one input for each level but the first, level 0, which stands for what
        is unknown (any number that is not one of a level): `values` of it.
        EMBEDDING: as many inputs as the network's embeddings have numbers, learnt for
        each level.
    n_levels : of a category, level 0 included; X has the numbers of the levels.
    values : (n_levels - 1, 2), the values of the inputs of ONE_HOT if the column has
        another level, and if it has that level.
    knots : (n_knots, 2), ascending numbers x, and z of each. Between them z is linear,
        beyond them as at the first or the last. None for `center` and `scale`.
    """

    kind: int
    center: float = 0.0
    scale: float = 1.0
    has_missing: bool = False
    n_levels: int = 0
    values: object = None
    is_piecewise: bool = False
    knots: object = None

    def n_inputs(self, n_cosines, n_embedded):
        """How many inputs of the network it gives."""
        if self.kind == NUMBER:
            return 1 + n_cosines + bool(self.has_missing)
        if self.kind == FLAG:
            return 1
        return self.n_levels - 1 if self.kind == ONE_HOT else n_embedded


def smooth_clip(z):
    """z / sqrt(1 + (z/3)**2): between -3 and 3, and like z near 0."""
    z = np.clip(z, -MOST, MOST)
    return z / np.sqrt(1 + (z / 3) ** 2)


def quantile_knots(x):
    """Knots by which numbers become normally distributed, and smoothly clipped.

    Parameters
    ----------
    x : ndarray of shape (n_samples,)
        Numbers of the column; NaN is left out.

    Returns
    -------
    ndarray of shape (n_knots, 2)
        See `Column`; from 2 to 64 knots. They are numbers of the column, at ranks that
        lie evenly, or all if there are few. Of equal numbers, the middle rank counts.
    """
    x = np.clip(x[~np.isnan(x)], -_LARGEST_KNOT, _LARGEST_KNOT).astype(np.float64)
    numbers, counts = np.unique(x, return_counts=True)
    if len(numbers) < 2:
        first = numbers[0] if len(numbers) else 0.0
        return np.array([[first, 0.0], [abs(first) * 2 + 1, 0.0]])
    ranks = (np.cumsum(counts) - counts / 2) / len(x)
    if len(numbers) > _MOST_KNOTS:
        even = np.linspace(ranks[0], ranks[-1], _MOST_KNOTS)
        chosen = np.unique(np.searchsorted(ranks, even).clip(0, len(ranks) - 1))
        numbers, ranks = numbers[chosen], ranks[chosen]
    return np.column_stack([numbers, smooth_clip(ndtri(ranks) / _QUARTILES)])


def scaled(column, x):
    """z of numbers of a column, see `Column`; NaN becomes 0."""
    missing = np.isnan(x)
    if column.knots is not None:
        return np.where(missing, 0, np.interp(x, *np.transpose(column.knots)))
    with np.errstate(invalid="ignore", over="ignore"):
        z = column.scale * (x - column.center)
    return smooth_clip(np.where(missing, 0, z))


def _slope_of_scaled(column, x):
    """The derivative of z by x; at a knot the mean of both sides, of NaN any number."""
    if column.knots is not None:
        numbers, z = np.transpose(column.knots)
        slopes = np.concatenate([[0], np.diff(z) / np.diff(numbers), [0]])
        sides = [np.searchsorted(numbers, x, side=side) for side in ("left", "right")]
        return slopes[sides].mean(axis=0)
    z = column.scale * np.where(np.isnan(x), 0, x - column.center)
    z = np.clip(z, -MOST, MOST)
    return column.scale * (1 + (z / 3) ** 2) ** -1.5


def levels_of(x, n_levels):
    """The level that each number stands for: 0, what is unknown, if it is none."""
    is_level = np.isin(x, np.arange(n_levels))
    return np.where(is_level, x, 0).astype(int)


def encode(columns, X, factors, cosines, tables, n_cosines, n_embedded):
    """The inputs of the network for each row of X, in float64.

    The embedding of a number z is a linear function of cosines, cos(2 pi f z + p), or,
    if the column `is_piecewise`, of ramps, f z + p cut off at 0 and 1.

    Parameters
    ----------
    columns : sequence of Column
    X : ndarray of shape (n_samples, n_columns)
    factors : ndarray of shape (n_inputs,)
    cosines : ndarray of shape (n_numbers * (n_cosines + 3) * N_FREQUENCIES,)
        For each column of numbers, the frequencies f (in periods per unit), the phases
        p (in radians), `n_cosines` rows of weights and a row with as many biases.
    tables : ndarray of shape (total of n_levels * n_embedded,)
        The embeddings of the levels of each column of kind EMBEDDING.

    Returns
    -------
    ndarray of shape (n_samples, n_inputs)
    """
    cosines = np.reshape(cosines, (-1, n_cosines + 3, N_FREQUENCIES))
    tables = np.reshape(tables, (-1, n_embedded))
    inputs, number, row = [], 0, 0
    for column, x in zip(columns, np.asarray(X, np.float64).T, strict=True):
        if column.kind == NUMBER:
            z = scaled(column, x)
            inputs.append(z[:, None])
            if n_cosines:
                frequencies, phases, *weights, biases = cosines[number]
                if column.is_piecewise:
                    waves = np.clip(z[:, None] * frequencies + phases, 0, 1)
                else:
                    waves = np.cos(2 * np.pi * z[:, None] * frequencies + phases)
                inputs.append(waves @ np.transpose(weights) + biases[:n_cosines])
                number += 1
            if column.has_missing:
                inputs.append(np.isnan(x)[:, None].astype(float))
        elif column.kind == FLAG:
            inputs.append(np.where(np.isnan(x), 0, x)[:, None])
        elif column.kind == ONE_HOT:
            cold, hot = np.transpose(column.values)
            levels = np.arange(1, column.n_levels)
            inputs.append(np.where(x[:, None] == levels, hot, cold))
        else:
            inputs.append(tables[row + levels_of(x, column.n_levels)])
            row += column.n_levels
    return np.concatenate(inputs, axis=1) * factors


def slopes_of_encoding(columns, X, factors, cosines, n_cosines, n_embedded):
    """The derivative of each input of the network by the number that it is made of.

    Parameters
    ----------
    columns, X, factors, cosines, n_cosines, n_embedded
        See `encode`.

    Returns
    -------
    ndarray of shape (n_samples, n_inputs)
        By the number in X, as it is there. 0 where it is missing, where the embedding
        is cut off, and for inputs that are not made of numbers.
    """
    cosines = np.reshape(cosines, (-1, n_cosines + 3, N_FREQUENCIES))
    slopes, number = [], 0
    for column, x in zip(columns, np.asarray(X, np.float64).T, strict=True):
        n_inputs = column.n_inputs(n_cosines, n_embedded)
        of_column = np.zeros((len(x), n_inputs))
        slopes.append(of_column)
        if column.kind != NUMBER:
            continue
        slope = _slope_of_scaled(column, x)
        of_column[:, 0] = slope
        if n_cosines:
            frequencies, phases, *weights, _ = cosines[number]
            waves = scaled(column, x)[:, None] * frequencies
            if column.is_piecewise:
                waves += phases
                turned = frequencies * ((waves > 0) & (waves < 1))
            else:
                turned = -2 * np.pi * frequencies * np.sin(2 * np.pi * waves + phases)
            embedded = turned @ np.transpose(weights)
            of_column[:, 1 : 1 + n_cosines] = slope[:, None] * embedded
            number += 1
        of_column[np.isnan(x)] = 0
    return np.concatenate(slopes, axis=1) * factors
