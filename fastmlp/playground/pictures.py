"""What a network computes, as pictures: of each unit, and of the output.

Forward passes here are those of the tables' NumPy functions, on a grid of points: tests
compare them with the kernels' predictions.
"""

import numpy as np

from fastmlp.playground.datasets import FEATURES, features_of, grid_of
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.losses import LOSSES, OUTPUT_ACTIVATIONS

__all__ = [
    "GRID",
    "UNIT_GRID",
    "feature_pictures",
    "forward",
    "loss_of",
    "pictures_of",
    "quality_of",
]

#: Points in a row of the picture of the output, and of that of a unit.
GRID, UNIT_GRID = 100, 25


#: Of a matrix product, at most: for more, BLAS wakes threads, which would wait for a
#: core that training and the browser need.
_MOST_MULTIPLICATIONS = 2**18


def forward(experiment, snapshot, X):
    """(activations of each hidden layer, raw outputs) for rows of X."""
    X = np.asarray(X)
    step = max(1, _MOST_MULTIPLICATIONS // max(coef.size for coef in snapshot.coefs))
    parts = [_layers_of(experiment, snapshot, X[i : i + step])
             for i in range(0, len(X), step)]  # fmt: skip
    *hidden, outputs = map(np.concatenate, zip(*parts, strict=True))
    return hidden, outputs


def _layers_of(experiment, snapshot, X):
    """What each layer makes of rows of X."""
    activate = ACTIVATIONS[experiment.activation].value
    layers = [X]
    for weights, biases in zip(snapshot.coefs, snapshot.intercepts, strict=True):
        if len(layers) > 1:
            layers[-1] = activate(layers[-1])
        layers.append(layers[-1] @ weights + biases)
    return layers[1:]


def loss_of(experiment, snapshot, X, y):
    """Mean loss over samples, without penalties."""
    z = forward(experiment, snapshot, X)[1].astype(np.float64)
    value, parameters = LOSSES[experiment.loss_row].value, experiment.loss_parameters
    with np.errstate(all="ignore"):
        return float(value(z, np.asarray(y, float)[:, None], *parameters).mean())


def _as_bytes(values):
    """Columns of numbers as bytes, each scaled by its largest: 0 becomes 128."""
    largest = np.abs(values).max(axis=0)
    scaled = values / np.where(largest > 0, largest, 1)
    return np.uint8(np.clip(np.nan_to_num(scaled) * 127 + 128, 1, 255)).T.tobytes()


def _weights_as_images(experiment, weights):
    """The weights of units that see pixels, each unit's as an image."""
    height, width = experiment.own.image
    pixels = np.zeros((height * width, weights.shape[1]))
    pixels[experiment.own.places(experiment.features)] = weights
    rows = np.arange(UNIT_GRID) * height // UNIT_GRID
    columns = np.arange(UNIT_GRID) * width // UNIT_GRID
    places = rows[:, None] * width + columns
    return _as_bytes(pixels[places.ravel()])


def quality_of(experiment, snapshot, X, y):
    """How good a classifier is on samples.

    Returns
    -------
    dict
        "confusion": counts, a row for each true class, a column for each predicted one;
        "calibration": of ten ranges of the highest probability, the mean probability,
        the share that is right, and the number of samples.
    """
    z = forward(experiment, snapshot, X)[1].astype(np.float64)
    output = OUTPUT_ACTIVATIONS[LOSSES[experiment.loss_row].output_activation]
    p = output.value(z)
    if p.shape[1] == 1:
        p = np.column_stack([1 - p, p])
    predicted, n = p.argmax(axis=1), p.shape[1]
    confusion = np.zeros((n, n), int)
    np.add.at(confusion, (np.asarray(y, int), predicted), 1)
    highest, right = p.max(axis=1), predicted == y
    ranges = np.minimum((highest * 10).astype(int), 9)
    calibration = [
        [float(highest[here].mean()), float(right[here].mean()), int(here.sum())]
        for here in (ranges == i for i in range(10))
        if here.any()
    ]
    return {"confusion": confusion.tolist(), "calibration": calibration}


def feature_pictures():
    """UNIT_GRID**2 bytes for each row of `FEATURES`."""
    return _as_bytes(features_of(grid_of(UNIT_GRID), FEATURES))


def pictures_of(experiment, snapshot):
    """Pictures as bytes: 1 (very negative) to 255 (very positive).

    Returns
    -------
    bytes
        UNIT_GRID**2 of each hidden unit, layer by layer (of units that see pixels,
        their weights as an image); then GRID**2 of the output: for two classes the
        probability of the second, for regression the prediction (of several, that in
        the middle) as `Experiment.shades` has it. With more classes, GRID**2 numbers of
        the class follow, and the picture is its probability.
    """
    X = experiment.on_map(UNIT_GRID)
    numbers = b""
    with np.errstate(all="ignore"):
        units = [_as_bytes(a) for a in forward(experiment, snapshot, X)[0]]
        if units and experiment.own is not None and experiment.own.image:
            units[0] = _weights_as_images(experiment, snapshot.coefs[0])
        X = experiment.on_map(GRID)
        z = forward(experiment, snapshot, X)[1]
        output = OUTPUT_ACTIVATIONS[LOSSES[experiment.loss_row].output_activation]
        outputs = output.value(z)
        if experiment.task == "regression":
            signed = experiment.shades(outputs[:, outputs.shape[1] // 2])
        elif outputs.shape[1] > 1:
            numbers = np.uint8(outputs.argmax(axis=1)).tobytes()
            signed = outputs.max(axis=1)
        else:
            signed = outputs[:, 0] * 2 - 1
    signed = np.clip(np.nan_to_num(signed), -1, 1)
    return b"".join([*units, np.uint8(signed * 127 + 128).tobytes(), numbers])
