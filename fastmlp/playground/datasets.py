"""Data sets of the playground: points in the plane, and features made of them.

After those of the TensorFlow Playground (Smilkov, Carter, Sculley, Viegas and
Wattenberg, "Direct-Manipulation Visualization of Deep Networks", 2017).
"""

from typing import NamedTuple

import numpy as np

__all__ = [
    "COMPONENTS",
    "DATASETS",
    "FEATURES",
    "RADIUS",
    "Data",
    "features_of",
    "grid_of",
    "make_data",
]

#: Axes of the map that are the first two principal components of a table.
COMPONENTS = ("component 1", "component 2")

#: Points have coordinates from about -RADIUS to RADIUS.
RADIUS = 6.0


class Data(NamedTuple):
    """Points, split for training and test; X has a column for each feature."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    points: np.ndarray  # of the training samples, (n, 2)
    points_test: np.ndarray


def _jitter(rng, n, noise):
    return rng.uniform(-RADIUS, RADIUS, (n, 2)) * noise


def _circle(rng, n, noise):
    """One class in the middle, the other around it."""
    inner = np.arange(n) < n // 2
    radius = np.where(inner, rng.uniform(0, 0.5, n), rng.uniform(0.7, 1, n)) * 5
    angle = rng.uniform(0, 2 * np.pi, n)
    points = np.column_stack([radius * np.sin(angle), radius * np.cos(angle)])
    labels = np.hypot(*(points + _jitter(rng, n, noise)).T) < 2.5
    return points, labels.astype(int)


def _xor(rng, n, noise):
    """Opposite quarters of the plane, with a gap between them."""
    points = rng.uniform(-5, 5, (n, 2))
    points += np.where(points > 0, 0.3, -0.3)
    moved = points + _jitter(rng, n, noise)
    return points, (moved[:, 0] * moved[:, 1] >= 0).astype(int)


def _gauss(rng, n, noise):
    """Two clouds."""
    labels = (np.arange(n) >= n // 2).astype(int)
    centres = np.where(labels == 1, 2.0, -2.0)[:, None]
    return centres + rng.standard_normal((n, 2)) * (0.7 + 6 * noise), labels


def _spiral(rng, n, noise):
    """Two spirals around each other."""
    labels = (np.arange(n) >= n // 2).astype(int)
    place = np.concatenate([np.arange(n // 2), np.arange(n - n // 2)]) / (n // 2)
    angle = 1.75 * 2 * np.pi * place + np.pi * labels
    points = (5 * place * [np.sin(angle), np.cos(angle)]).T
    return points + rng.uniform(-1, 1, (n, 2)) * noise * 2, labels


def _rings(rng, n, noise):
    """Three classes: a disc and two rings around it."""
    labels = np.arange(n) % 3
    radius = 2 * labels + rng.uniform(0.2, 1.4, n) + rng.uniform(-2, 2, n) * noise
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.column_stack([radius * np.sin(angle), radius * np.cos(angle)]), labels


def _pinwheel(rng, n, noise):
    """Five classes: the arms of a wheel."""
    labels = np.arange(n) % 5
    radius = rng.uniform(0.5, 5.5, n)
    angle = 2 * np.pi * labels / 5 + 0.35 * radius
    points = np.column_stack([radius * np.sin(angle), radius * np.cos(angle)])
    return points + rng.standard_normal((n, 2)) * (0.25 + 2 * noise), labels


def _plane(rng, n, noise):
    """A value that grows along the diagonal."""
    points = rng.uniform(-RADIUS, RADIUS, (n, 2))
    return points, (points + _jitter(rng, n, noise)).sum(axis=1) / 10


_HILLS = np.array(
    [[-4, 2.5, 1], [0, 2.5, -1], [4, 2.5, 1], [-4, -2.5, -1], [0, -2.5, 1],
     [4, -2.5, -1]]
)  # fmt: skip


def _hills(rng, n, noise):
    """Six round hills and hollows."""
    points = rng.uniform(-RADIUS, RADIUS, (n, 2))
    moved = points + _jitter(rng, n, noise)
    distances = np.hypot(*(moved[:, None] - _HILLS[:, :2]).transpose(2, 0, 1))
    heights = _HILLS[:, 2] * np.maximum(0, 1 - distances / 2)
    nearest = np.abs(heights).argmax(axis=1)
    return points, heights[np.arange(n), nearest]


class _Dataset(NamedTuple):
    make: object
    task: str
    n_samples: int
    n_classes: int = 2


#: name -> how points are made, the task, how many there are, and of how many classes
DATASETS = {
    "circle": _Dataset(_circle, "classification", 500),
    "xor": _Dataset(_xor, "classification", 500),
    "gauss": _Dataset(_gauss, "classification", 500),
    "spiral": _Dataset(_spiral, "classification", 500),
    "rings": _Dataset(_rings, "classification", 600, 3),
    "pinwheel": _Dataset(_pinwheel, "classification", 750, 5),
    "plane": _Dataset(_plane, "regression", 1200),
    "hills": _Dataset(_hills, "regression", 1200),
}

#: name -> function of the coordinates
FEATURES = {
    "x1": lambda x1, x2: x1,
    "x2": lambda x1, x2: x2,
    "x1^2": lambda x1, x2: x1 * x1,
    "x2^2": lambda x1, x2: x2 * x2,
    "x1*x2": lambda x1, x2: x1 * x2,
    "sin(x1)": lambda x1, x2: np.sin(x1),
    "sin(x2)": lambda x1, x2: np.sin(x2),
}


def grid_of(n):
    """Points of the plane, rows from the top down: (n * n, 2)."""
    places = (np.arange(n) + 0.5) / n * 2 * RADIUS - RADIUS
    x1, x2 = np.meshgrid(places, places[::-1])
    return np.column_stack([x1.ravel(), x2.ravel()])


def features_of(points, names):
    """The columns of X for points (n, 2), float32 of shape (n, len(names))."""
    columns = [FEATURES[name](*np.asarray(points, np.float64).T) for name in names]
    return np.column_stack(columns).astype(np.float32)


def make_data(
    name, *, noise=0.0, share=0.5, seed=0, features=("x1", "x2"), positive=False
):  # fmt: skip
    """A data set of the playground.

    Parameters
    ----------
    name : str
        Of a row of `DATASETS`.
    noise : float, default=0.0
        From 0 to 0.5: how far points are moved.
    share : float, default=0.5
        Of the samples that are for training, between 0 and 1.
    seed : int, default=0
        Of the random numbers.
    features : sequence of str, default=("x1", "x2")
        Names of rows of `FEATURES`.
    positive : bool, default=False
        Of a regression: whether its targets are ``exp(y)``, which are positive.

    Returns
    -------
    Data
        X, y, X_test, y_test, and the points that they were made of.
    """
    rng = np.random.default_rng(seed)
    row = DATASETS[name]
    points, y = row.make(rng, row.n_samples, noise)
    if positive:
        y = np.exp(y)
    order = rng.permutation(len(points))
    points, y = points[order], y[order]
    cut = round(share * len(points))
    X = features_of(points, features)
    return Data(X[:cut], y[:cut], X[cut:], y[cut:], points[:cut], points[cut:])
