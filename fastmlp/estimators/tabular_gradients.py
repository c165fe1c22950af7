"""Derivatives of predictions with respect to the columns of a table.

Each network has an encoding of its own, from columns to what its first Dense layer is
given. Kernels go back to there; the chain rule through the encoding is NumPy.
"""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastmlp.data.cells import DURATIONS, NUMBERS
from fastmlp.data.encodings import Measure
from fastmlp.estimators.gradients import (
    NUMBERS_AT_ONCE,
    NamesOutputs,
    cotangents_of,
    nodes_on_the_line,
    scaled_to_one,
)
from fastmlp.native_threads import lazily
from fastmlp.tables.encodings import NUMBER, encode, slopes_of_encoding
from fastmlp.tables.losses import OUTPUT_ACTIVATIONS

__all__ = ["DifferentiableTables"]

#: Share of the largest difference of predictions by which the sum of a row may be off.
_INCOMPLETE = 0.05

#: Columns that have derivatives -> how many of the numbers that encodings read are in a
#: unit: durations are read in microseconds, and said in seconds.
_UNITS = {NUMBERS: 1.0, DURATIONS: 1e6}


class DifferentiableTables(NamesOutputs):
    """Gradients of models for tables; not for use by itself."""

    def input_gradients(self, X, target=None):
        """Derivatives of predictions with respect to the columns of numbers in X.

        They are exact: from the backward pass that also trains the networks, back
        through embeddings, scaling and clipping. So they say how a prediction changes
        per unit of a column, in the units in which X is given; of durations, per
        second.

        Parameters
        ----------
        X : data frame, array-like or sparse matrix of shape (n_samples, n_features)
            The input data.
        target : None, label or int, or array-like of shape (n_samples,), default=None
            Which output to differentiate: of a classifier, the label of a class; of a
            regressor, or for several labels at once, the number of a column. One for
            all samples, or one for each: ``target=model.predict(X)`` asks for the
            predicted class of each sample. None for all outputs.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_outputs, n_features)
            Of `predict_proba`, or of a regressor's `predict`. Row j of ``gradients[i]``
            belongs to output j: to ``classes_[j]``, or to column j of y. There is no
            axis of outputs with a `target`, or if a regressor has only one.

            NaN stands where there is no derivative: for categories, truth values and
            dates, and for missing numbers. Columns that fit has dropped have 0, for
            predictions do not depend on them.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X or `target` is invalid.

        See Also
        --------
        integrated_gradients : What each column adds to a prediction, categories too.

        Notes
        -----
        A regressor keeps its predictions within the range of the targets in fit. Where
        one has been cut off, it does not change, and its derivatives are 0.
        """
        check_is_fitted(self)
        Z = self._columns.transform(X).astype(np.float64)
        asked = self._columns_of(target, len(Z))
        differentiation = _Differentiation(self)
        blocks = [
            differentiation.gradients(Z[rows], None if asked is None else asked[rows])
            for rows in differentiation.blocks(len(Z))
        ]
        return self._shown(np.concatenate(blocks), asked)

    def integrated_gradients(self, X, baseline, target=None, n_steps=50):
        """What each column adds to a prediction, in comparison with a baseline.

        The derivatives of the prediction, added up on a way from the baseline to a row
        of X. The sum over columns is the difference of the two predictions
        (completeness), up to the error of the sum. A warning says so if that is large.

        Parameters
        ----------
        X : data frame, array-like or sparse matrix of shape (n_samples, n_features)
            The input data.
        baseline : data frame or array-like, like X
            What to compare with: one row, or one for each row of X. Such as typical
            cells, or a row that was decided otherwise. Cells may be missing.
        target
            See `input_gradients`.
        n_steps : int, default=50
            Points on the way: those of the Gauss-Legendre rule. More make the sum more
            precise. Networks whose embeddings have short waves need hundreds.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_outputs, n_features)
            See `input_gradients`; but all columns have a number.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a parameter is invalid.

        Notes
        -----
        A number goes straight from the one of the baseline to that of the row. Between
        two categories there is nothing to go through: there, it is what a network makes
        of them (its embedding) that goes straight from one to the other. So do truth
        values, the parts of dates, and numbers of which one is missing.

        References
        ----------
        Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML
        (2017): also of words, by their embeddings.
        """
        check_is_fitted(self)
        Z = self._columns.transform(X).astype(np.float64)
        start = self._columns.transform(baseline).astype(np.float64)
        if len(start) not in (1, len(Z)):
            raise ValueError(
                f"baseline has {len(start)} rows: expected one, or one for each of "
                f"the {len(Z)} rows of X"
            )
        start = np.broadcast_to(start, Z.shape)
        asked = self._columns_of(target, len(Z))
        nodes, weights = nodes_on_the_line(n_steps)
        differentiation = _Differentiation(self)
        blocks = []
        for rows in differentiation.blocks(len(Z), len(nodes)):
            of_rows = None if asked is None else asked[rows]
            ends = start[rows], Z[rows]
            blocks.append(differentiation.along(*ends, nodes, weights, of_rows))
        parts = np.concatenate(blocks)
        self._warn_if_incomplete(parts, start, Z, asked)
        return self._shown(parts, asked)

    def _warn_if_incomplete(self, parts, start, Z, asked):
        ends = (self._finish(rows.astype(np.float32)) for rows in (Z, start))
        differences = np.subtract(*(np.reshape(end, (len(Z), -1)) for end in ends))
        if asked is not None:
            differences = np.take_along_axis(differences, asked[:, np.newaxis], axis=1)
        error = np.abs(parts.sum(axis=2) - differences).max(initial=0)
        largest = np.abs(differences).max(initial=0)
        if error > _INCOMPLETE * largest:
            warnings.warn(
                "The integrated gradients of a row add up to a number that is off by "
                f"{error:.2g}, where predictions differ by up to {largest:.2g}: a "
                "larger n_steps makes them more precise.",
                stacklevel=3,
            )

    def _slopes_of_numbers(self, outputs):
        """What is done to the networks' mean outputs, differentiated.

        An array that can be multiplied with `outputs`, (n_samples, n_outputs).
        """
        return np.ones((1, 1))


class _Differentiation:
    """Gradients for rows of the matrix that `Columns` make of a table.

    Parameters
    ----------
    model : DifferentiableTables
        Fitted.
    """

    def __init__(self, model):
        self.model, self.columns = model, model._columns
        self.parts = [*_parts_of(model)]

    def blocks(self, n_samples, n_points=1):
        """Slices of rows that are differentiated together, at so many points each."""
        widest = max((sum(part.counts) for part in self.parts), default=1)
        numbers = n_points * widest * self.model.n_outputs_
        n_rows = max(1, NUMBERS_AT_ONCE // numbers)
        return [slice(i, i + n_rows) for i in range(0, n_samples, n_rows)]

    def gradients(self, Z, asked):
        """Derivatives by columns of X, of shape (n_samples, n_asked, n_features).

        asked : the output of each sample, or None for all.
        """
        ways = [(part.encode(Z), part.slopes(Z)) for part in self.parts]
        by_encoded = self._derivatives(ways, len(Z), asked)
        result = np.zeros((*by_encoded.shape[:2], self.columns.n_features_in_))
        for j, _, first, encoding in self.columns.encodings_:
            result[:, :, j] = np.nan
            if type(encoding) is Measure:
                unit = encoding.encoded[0].own_scale * _UNITS[encoding.cells]
                known = ~np.isnan(Z[:, first])
                result[known, :, j] = unit * by_encoded[known, :, first]
        return result

    def along(self, start, end, nodes, weights, asked):
        """What columns add on the way from start to end, rows of the matrix.

        nodes, weights : of the shares of the way at which derivatives are summed up.
        """
        n, n_nodes = len(end), len(nodes)
        share = np.tile(nodes, n)[:, np.newaxis]
        start, end = start.repeat(n_nodes, axis=0), end.repeat(n_nodes, axis=0)
        asked = None if asked is None else asked.repeat(n_nodes)
        is_number = self.columns.kinds_ == NUMBER
        goes = is_number & ~np.isnan(start) & ~np.isnan(end)
        steps = np.where(goes, end - start, 0.0)
        Z = np.where(goes, start + share * steps, end)
        ways = []
        for part in self.parts:
            first, last = part.encode(start), part.encode(end)
            straight = first + share * (last - first), last - first
            bent = part.encode(Z), part.slopes(Z) * part.of_inputs(steps)
            goes_through = part.of_inputs(goes)
            pairs = zip(bent, straight, strict=True)
            ways.append([np.where(goes_through, *pair) for pair in pairs])
        by_node = self._derivatives(ways, len(Z), asked)
        by_node = by_node.reshape(n, n_nodes, *by_node.shape[1:])
        by_encoded = np.einsum("k,rkoj->roj", weights, by_node)
        result = np.zeros((*by_encoded.shape[:2], self.columns.n_features_in_))
        for j, _, first, encoding in self.columns.encodings_:
            own = slice(first, first + len(encoding.encoded))
            result[:, :, j] = by_encoded[:, :, own].sum(axis=2)
        return result

    def _derivatives(self, ways, n_samples, asked):
        """Derivatives by columns of the matrix: (n_samples, n_asked, n_encoded).

        ways : of each network, what its encoding gives, and how fast this changes with
            the column that it is made of.
        """
        n_outputs = self.model.n_outputs_
        shape = n_samples, n_outputs if asked is None else 1, len(self.columns.kinds_)
        total, outputs = np.zeros(shape), np.zeros((n_samples, n_outputs))
        for part, (E, slopes) in zip(self.parts, ways, strict=True):
            raw = part.network.raw_outputs(E) / part.temperature
            outputs += part.weight * part.output.value(raw)
            cotangents = cotangents_of(raw, part.output.name, asked, "prediction")
            cotangents, sizes = scaled_to_one(cotangents)
            by_input = part.network.derivatives(E, cotangents) * slopes[:, np.newaxis]
            by_column = np.add.reduceat(by_input, part.firsts, axis=2)
            total += part.weight / part.temperature * sizes * by_column
        factors = self.model._slopes_of_numbers(outputs)
        factors = np.broadcast_to(factors, outputs.shape)
        if asked is not None:
            factors = np.take_along_axis(factors, asked[:, np.newaxis], axis=1)
        return total * factors[:, :, np.newaxis]


class _Part(NamedTuple):
    """A network of a model, and its weight in the mean that the model predicts."""

    weight: float
    encoding: object
    own: tuple  # parameters of the encoding: factors, cosines
    tables: np.ndarray
    network: object
    output: object
    temperature: float

    @property
    def counts(self):
        """Inputs of the network that are made of each column."""
        return self.encoding.counts

    @property
    def firsts(self):
        """The first of them."""
        return np.cumsum([0, *self.counts[:-1]])

    def of_inputs(self, cells):
        """What belongs to columns, for each of the inputs that they give."""
        return np.repeat(cells, self.counts, axis=1)

    def encode(self, Z):
        """The inputs of the network."""
        layer, (factors, cosines) = self.encoding, self.own
        return encode(
            layer.columns, Z, factors, cosines, self.tables, layer.n_cosines,
            layer.n_embedded,
        )  # fmt: skip

    def slopes(self, Z):
        """Their derivatives."""
        layer = self.encoding
        return slopes_of_encoding(
            layer.columns, Z, *self.own, layer.n_cosines, layer.n_embedded
        )


def _parts_of(model, weight=1.0):
    """Yield the networks of a model, of which some are tuned ones of several models."""
    if hasattr(model, "estimators_"):
        for share, estimator in zip(model.weights_, model.estimators_, strict=True):
            yield from _parts_of(estimator, weight * share)
        return
    for groups in model.members_:
        recipe = model._recipe_used
        encoding, *layers = lazily("training.member").layers_for(
            model._encoded, model.n_outputs_, recipe
        )
        groups = dict(groups)
        own = tuple(groups.pop(group)[0] for group in ("factors", "cosines"))
        yield _Part(
            weight / len(model.members_), encoding, own, groups.pop("tables")[0],
            lazily("engine.differentiation").EncodedNetwork(
                layers, groups, activation=recipe.activation, precision="float32",
                n_jobs=model.n_jobs,
            ),
            OUTPUT_ACTIVATIONS[model.out_activation_], model.temperature_,
        )  # fmt: skip
