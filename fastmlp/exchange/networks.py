"""What a fitted estimator computes, in plain arrays: all that other programs are told.

Functions that take `xp` compute with tensors of PyTorch, or with those of an ONNX graph
that is being built: `xp` has functions for them, with the names that NumPy's have.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastmlp.data.inputs import check_numbers
from fastmlp.data.scaling import Scaling, Standardization
from fastmlp.estimators import MLPClassifier, MLPEstimator, MLPRegressor
from fastmlp.estimators.ensembles import MLPEnsembleClassifier, MLPEnsembleRegressor
from fastmlp.estimators.perceptron import MultiLayerPerceptron
from fastmlp.estimators.tabular import TabularMLPClassifier, TabularMLPRegressor
from fastmlp.estimators.tabular_model import TabularModel
from fastmlp.tables.activations import ACTIVATIONS, resolve_activations
from fastmlp.tables.encodings import (
    EMBEDDING,
    FLAG,
    MOST,
    N_FREQUENCIES,
    NUMBER,
    ONE_HOT,
)

__all__ = [
    "ESTIMATORS",
    "Dense",
    "Encoder",
    "NetworkForm",
    "averaged",
    "counterpart_of",
    "form_of",
    "outputs_of",
]

#: All classes that can be exchanged.
ESTIMATORS = (
    MLPClassifier, MLPRegressor, MLPEstimator, MLPEnsembleClassifier,
    MLPEnsembleRegressor, TabularMLPClassifier, TabularMLPRegressor,
)  # fmt: skip


#: A number of float32.
_MOST_INVERSE = 3e38

#: Parameter of `fastmlp.register_activation` -> what it is for, and a function of what.
_PROGRAMS = {
    "torch": ("PyTorch", "tensors, by functions of torch"),
    "onnx": ("ONNX", "arrays, by functions of NumPy"),
}


class Dense(NamedTuple):
    """Units, and what becomes of their pre-activations z.

    Attributes
    ----------
    weights : ndarray of shape (fan_in, fan_out) or (n_networks, fan_in, fan_out)
    biases : ndarray of shape (fan_out,) or (n_networks, 1, fan_out)
    activation : str or None
        The function g, a row of `fastmlp.tables.activations`; None for the last layer.
    alphas : ndarray of the shape of `biases`, or None
        a in (1 - a) z + a g(z); None stands for g(z).
    """

    weights: np.ndarray
    biases: np.ndarray
    activation: str | None
    alphas: np.ndarray | None = None


class Encoder(NamedTuple):
    """The first layer of networks for tables, for all columns and networks at once.

    It computes what `fastmlp.tables.encodings.encode` says, but for factors, and in
    another order: first what is the same for all networks.

    Attributes
    ----------
    numbers : ndarray of shape (n_numbers,), int64
        Columns of numbers; the next two are what is done with them.
    center, scale : ndarray of shape (n_numbers,)
    knots, inverse_widths, steps : ndarray of shape (n_numbers, n_knots - 1)
        Instead, if there are any: numbers between which they are linear, one over the
        distance to the next one, and what is added until there.
    at_first : ndarray of shape (n_numbers,)
        What they are up to the first of these.
    with_missing : ndarray of int64
        Those of them that tell whether they are missing.
    flags : ndarray of int64
        Columns that are taken as they are.
    hot : ndarray of shape (n_hot,), int64
        The column of each one-hot input; the next three are its level, and its values
        if the column has that level, or another one.
    levels, if_hot, if_cold : ndarray of shape (n_hot,)
    embedded : ndarray of shape (n_categories,), int64
        Columns of embedded categories; the next one says where their levels begin in
        `tables`.
    first_rows : ndarray of shape (n_categories,), int64
    tables : ndarray of shape (n_networks, n_levels, n_embedded)
    frequencies, phases : ndarray of shape (n_networks, 1, n_numbers, N_FREQUENCIES)
        In radians; of ramps, slopes and offsets.
    wave_weights : ndarray of shape (n_networks, n_numbers, N_FREQUENCIES, n_cosines)
    wave_biases : ndarray of shape (n_networks, 1, n_numbers, n_cosines)
    is_piecewise : bool
        Whether numbers are embedded by ramps.
    """

    numbers: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    knots: np.ndarray
    inverse_widths: np.ndarray
    steps: np.ndarray
    at_first: np.ndarray
    with_missing: np.ndarray
    flags: np.ndarray
    hot: np.ndarray
    levels: np.ndarray
    if_hot: np.ndarray
    if_cold: np.ndarray
    embedded: np.ndarray
    first_rows: np.ndarray
    tables: np.ndarray
    frequencies: np.ndarray
    phases: np.ndarray
    wave_weights: np.ndarray
    wave_biases: np.ndarray
    is_piecewise: bool

    @property
    def n_shared(self):
        """Inputs of the network that are the same for all networks."""
        shared = self.numbers, self.with_missing, self.flags, self.hot
        return sum(map(len, shared))


class NetworkForm(NamedTuple):
    """A fitted network, or several whose predictions are averaged.

    Attributes
    ----------
    dtype : dtype
        That it computes in.
    layers : tuple of Dense
        Empty if an estimator for tables knows only one class.
    output_activation : str
        Row of `fastmlp.tables.losses.OUTPUT_ACTIVATIONS`.
    kind : str
        What outputs stand for: "numbers", "two classes", "classes" or "labels".
    classes : ndarray or None
    inputs : fastmlp.data.scaling.Scaling or None
        What is done with X before.
    outputs : fastmlp.data.scaling.Scaling or None
        What is undone with predictions of numbers.
    limits : tuple of ndarray or None
        (lowest, highest) of these.
    encoder : Encoder or None
        Of networks for tables.
    """

    dtype: np.dtype
    layers: tuple
    output_activation: str
    kind: str
    classes: np.ndarray | None = None
    inputs: Scaling | None = None
    outputs: Scaling | None = None
    limits: tuple | None = None
    encoder: Encoder | None = None

    @property
    def n_outputs(self):
        """Columns of predictions; two classes have one each."""
        if not self.layers:
            return 1
        return 2 if self.kind == "two classes" else self.layers[-1].weights.shape[-1]


def averaged(model):
    """The estimators whose predictions a model averages, and the share of each.

    Parameters
    ----------
    model : estimator of fastmlp
        An ensemble, a tuned model for tables, or any other, which is by itself.

    Returns
    -------
    list of (float, estimator)

    Raises
    ------
    NotFittedError
        If it is not fitted.
    TypeError
        If it is no estimator of fastmlp.
    """
    if not isinstance(model, ESTIMATORS):
        raise TypeError(f"expected an estimator of fastmlp, got {type(model).__name__}")
    check_is_fitted(model)
    if not hasattr(model, "estimators_"):
        return [(1.0, model)]
    is_tuned = isinstance(model, TabularModel)
    weights = model.weights_ if is_tuned else model.estimator_weights_
    shares = (weights / weights.sum()).tolist()
    return list(zip(shares, model.estimators_, strict=True))


def form_of(model):
    """The `NetworkForm` of an estimator; of several that are averaged, of the first.

    What predictions stand for, and their limits, are the same for all of these.

    Raises
    ------
    NotFittedError, TypeError
        See `averaged`.
    """
    (_, model), *_ = averaged(model)
    if isinstance(model, MultiLayerPerceptron):
        return _form_of_network(model)
    return _form_of_tables(model)


def counterpart_of(activation, program):
    """What a user has registered for an activation to be used elsewhere.

    Parameters
    ----------
    activation : str
        A row of `fastmlp.tables.activations`.
    program : {'torch', 'onnx'}

    Returns
    -------
    callable or None
        None for a function of the package.

    Raises
    ------
    ValueError
        If the user has registered the activation, but nothing for this program.
    """
    registered = ACTIVATIONS[activation].registered
    if registered is None:
        return None
    if program not in registered.counterparts:
        name, arrays = _PROGRAMS[program]
        raise ValueError(
            f"the activation {activation!r} is your own, which {name} does not know: "
            f"register it again with {program}=, the same function of {arrays}"
        )
    return registered.counterparts[program]


def _form_of_network(model):
    dtype = np.dtype(getattr(model, "precision_", None) or model._precision())
    rows = resolve_activations(model.activation, len(model.coefs_) - 1)
    layers = []
    for i, name in enumerate([*(row.name for row in rows), None]):
        weights, biases = model.coefs_[i], model.intercepts_[i]
        check_numbers(weights, 2, f"coefs_[{i}]")
        check_numbers(biases, 1, f"intercepts_[{i}]")
        layers.append(Dense(weights.astype(dtype), biases.astype(dtype), name))
    kind, classes = "numbers", getattr(model, "classes_", None)
    if classes is not None:
        target = model._label_binarizer.y_type_
        kind = "classes" if target == "multiclass" else "two classes"
        kind = "labels" if target.startswith("multilabel") else kind
    scaling = Standardization.read(vars(model))
    return NetworkForm(
        dtype, tuple(layers), model.out_activation_, kind, classes, scaling.X, scaling.y
    )


# --- networks for tables --------------------------------------------------------------


def _form_of_tables(model):
    dtype, recipe = np.dtype(np.float32), getattr(model, "_recipe_used", None)
    kind, numbers = "numbers", {}
    if hasattr(model, "classes_"):
        kind = "labels" if model._is_multilabel else "classes"
        numbers["classes"] = model.classes_
    else:
        numbers["outputs"] = Scaling(model._center, model._scale)
        numbers["limits"] = model._lowest, model._highest
    if not model.members_:
        return NetworkForm(dtype, (), "identity", kind, **numbers)
    stacked = {
        group: [np.stack(arrays) for arrays in zip(*lists, strict=True)]
        for group, lists in _by_group(model.members_).items()
    }
    weights, biases = stacked["weights"], stacked["biases"]
    encoder, order = _encoder_of(
        model._encoded, recipe, *(stacked[group][0] for group in ("cosines", "tables"))
    )
    # factors of the inputs, and the temperature, are those of weights all the same
    weights[0] = (weights[0] * stacked["factors"][0][..., np.newaxis])[:, order]
    weights[-1] = weights[-1] / model.temperature_
    biases[-1] = biases[-1] / model.temperature_
    n_hidden = len(recipe.widths)
    names = [recipe.activation] * n_hidden + [None]
    alphas = stacked["alphas"] if recipe.is_parametric else [None] * n_hidden
    layers = tuple(
        Dense(
            w.astype(dtype),
            b[:, np.newaxis].astype(dtype),
            name,
            None if a is None else a[:, np.newaxis].astype(dtype),
        )
        for w, b, name, a in zip(weights, biases, names, [*alphas, None], strict=True)
    )
    return NetworkForm(
        dtype, layers, model.out_activation_, kind, encoder=encoder, **numbers
    )


def _by_group(members):
    """Group of parameters -> the lists of arrays that members have of it."""
    return {group: [member[group] for member in members] for group in members[0]}


def _encoder_of(columns, recipe, cosines, tables):
    """(the Encoder, where its outputs are among those of `encode`)."""
    n_cosines, n_embedded = recipe.n_cosines, recipe.n_embedded
    counts = [column.n_inputs(n_cosines, n_embedded) for column in columns]
    starts = np.cumsum([0, *counts])[:-1]

    def of_kind(kind):
        return [j for j, column in enumerate(columns) if column.kind == kind]

    numbers, flags, embedded = map(of_kind, (NUMBER, FLAG, EMBEDDING))
    missing = [k for k, j in enumerate(numbers) if columns[j].has_missing]
    hot = [(j, k) for j in of_kind(ONE_HOT) for k in range(counts[j])]
    order = [
        *(starts[j] for j in numbers),
        *(starts[numbers[k]] + 1 + n_cosines for k in missing),
        *(starts[j] for j in flags),
        *(starts[j] + k for j, k in hot),
        *(starts[j] + 1 + k for j in numbers for k in range(n_cosines)),
        *(starts[j] + k for j in embedded for k in range(n_embedded)),
    ]
    values = np.array([columns[j].values[k] for j, k in hot]).reshape(-1, 2)
    levels = [columns[j].n_levels for j in embedded]
    waves = cosines.reshape(
        len(cosines), -1 if n_cosines else 0, n_cosines + 3, N_FREQUENCIES
    )
    is_piecewise = any(columns[j].is_piecewise for j in numbers)
    encoder = Encoder(
        numbers=np.array(numbers, np.int64),
        center=np.array([columns[j].center for j in numbers]),
        scale=np.array([columns[j].scale for j in numbers]),
        **_steps_of([columns[j].knots for j in numbers]),
        with_missing=np.array(missing, np.int64),
        flags=np.array(flags, np.int64),
        hot=np.array([j for j, _ in hot], np.int64),
        levels=np.array([k + 1.0 for _, k in hot]),
        if_hot=values[:, 1],
        if_cold=values[:, 0],
        embedded=np.array(embedded, np.int64),
        first_rows=np.cumsum([0, *levels], dtype=np.int64)[:-1],
        tables=tables.reshape(len(tables), -1, n_embedded),
        frequencies=waves[:, np.newaxis, :, 0] * (1 if is_piecewise else 2 * math.pi),
        phases=waves[:, np.newaxis, :, 1],
        wave_weights=waves[:, :, 2:-1].swapaxes(2, 3),
        wave_biases=waves[:, np.newaxis, :, -1, :n_cosines],
        is_piecewise=is_piecewise,
    )
    singles = {
        name: value.astype(np.float32)
        for name, value in encoder._asdict().items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    }
    return encoder._replace(**singles), np.array(order)


def _steps_of(knots):
    """The fields of an Encoder that tell of the knots of columns, or of none."""
    n_steps = max((len(each) - 1 for each in knots if each is not None), default=0)
    x, steps = np.zeros((2, len(knots), n_steps))
    inverse_widths = np.ones((len(knots), n_steps))
    at_first = np.zeros(len(knots))
    for i, each in enumerate(knots):
        if each is not None:
            numbers, z = np.transpose(each)
            n = len(numbers) - 1
            x[i, :n], steps[i, :n], at_first[i] = numbers[:-1], np.diff(z), z[0]
            inverse_widths[i, :n] = np.minimum(1 / np.diff(numbers), _MOST_INVERSE)
    return {
        "knots": x, "inverse_widths": inverse_widths, "steps": steps,
        "at_first": at_first,
    }  # fmt: skip


def _scaled(xp, encoder, x):
    """The numbers of columns as networks take them; 0 if they are missing."""
    n_numbers, n_steps = encoder.steps.shape
    if n_steps:
        above = x.reshape(-1, n_numbers, 1) - encoder.knots
        shares = xp.clip(above * encoder.inverse_widths, 0.0, 1.0)
        z = xp.einsum("rnk,nk->rn", shares, encoder.steps) + encoder.at_first
        return xp.where(xp.isnan(x), 0.0, z)
    z = encoder.scale * (x - encoder.center)
    z = xp.clip(xp.where(xp.isnan(z), 0.0, z), -MOST, MOST)
    third = z / 3
    return z / xp.sqrt(third * third + 1)


def _encode(xp, encoder, X):
    """Inputs of the networks: (those that are the same for all, those that are not).

    Two lists of matrices side by side, the second ones with a matrix for each network.
    """
    shared, own = [], []
    if len(encoder.numbers):
        x = X[:, encoder.numbers]
        z = _scaled(xp, encoder, x)
        shared.append(z)
        if len(encoder.with_missing):
            is_missing = xp.isnan(x[:, encoder.with_missing])
            shared.append(xp.astype(is_missing, "float32"))
        n_networks, _, n_numbers, n_cosines = encoder.wave_biases.shape
        if n_numbers and n_cosines:
            angles = z.reshape(-1, n_numbers, 1) * encoder.frequencies + encoder.phases
            are_ramps = encoder.is_piecewise
            waves = xp.clip(angles, 0.0, 1.0) if are_ramps else xp.cos(angles)
            values = xp.einsum("mrnf,mnfc->mrnc", waves, encoder.wave_weights)
            values = values + encoder.wave_biases
            own.append(values.reshape(n_networks, -1, n_numbers * n_cosines))
    if len(encoder.flags):
        x = X[:, encoder.flags]
        shared.append(xp.where(xp.isnan(x), 0.0, x))
    if len(encoder.hot):
        is_hot = X[:, encoder.hot] == encoder.levels
        shared.append(xp.where(is_hot, encoder.if_hot, encoder.if_cold))
    if len(encoder.embedded):
        n_networks, _, n_embedded = encoder.tables.shape
        rows = xp.astype(X[:, encoder.embedded], "int64") + encoder.first_rows
        values = xp.take(encoder.tables, rows)
        n_numbers = len(encoder.embedded) * n_embedded
        own.append(values.reshape(n_networks, -1, n_numbers))
    return shared, own


def _first_products(xp, form, X):
    """Products of the inputs and the weights of the first layer."""
    weights = form.layers[0].weights
    if form.encoder is None:
        return X @ weights
    shared, own = _encode(xp, form.encoder, X)
    n_shared = form.encoder.n_shared
    products = []
    if shared:
        inputs = xp.concatenate(shared, axis=1)
        products.append(inputs @ weights[:, :n_shared])
    if own:
        inputs = xp.concatenate(own, axis=2)
        products.append(inputs @ weights[:, n_shared:])
    return sum(products[1:], start=products[0])


def outputs_of(xp, form, X):
    """Predictions of the network, or the mean of those of several.

    Parameters
    ----------
    xp : object
        Functions of tensors: clip, where, isnan, sqrt, cos, einsum and concatenate as
        in NumPy; ``astype(x, name)``; ``take(tables, rows)``, along the second
        dimension; and ``activation(name)`` and ``output_activation(name)``, which
        return functions.
    form : NetworkForm
        With layers.
    X : tensor of shape (n_samples, n_columns)
        Scaled, in the dtype of the network.

    Returns
    -------
    tensor of shape (n_samples, n_output_units)
        In the dtype of the network; the mean of several networks, in float64.
    """
    z = _first_products(xp, form, X) + form.layers[0].biases
    for layer, following in pairwise(form.layers):
        a = xp.activation(layer.activation)(z)
        if layer.alphas is not None:
            a = layer.alphas * a + (1 - layer.alphas) * z
        z = a @ following.weights + following.biases
    predictions = xp.output_activation(form.output_activation)(z)
    if form.encoder is None:
        return predictions
    total = xp.einsum("mrk->rk", xp.astype(predictions, "float64"))
    return total / len(form.layers[0].weights)
