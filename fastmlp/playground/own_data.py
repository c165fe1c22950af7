"""Data of one's own: a table, with all columns for the network and two for the map."""

import csv
import io
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

from fastmlp.playground.datasets import COMPONENTS, RADIUS, Data
from fastmlp.playground.letters import LETTERS, draw_letters

__all__ = ["MOST_BYTES", "OwnData", "OwnDataError", "read_csv"]

MOST_BYTES = 50 * 2**20

_MOST_COLUMNS = 60  # that the network sees: one for each number, and for each category
_MOST_CATEGORIES = 20  # of a column
_MOST_CLASSES = 20
_DELIMITERS = ",;\t|"

#: Standard deviations are so long on the map, which shows three of them on each side.
_SCALE = RADIUS / 3


class OwnDataError(ValueError):
    """A table that cannot be used, with a sentence that says why."""


@dataclass(frozen=True, eq=False)
class OwnData:
    """A table as the playground takes it; made by `from_frame`.

    Attributes
    ----------
    names : tuple of str
        Of the columns of X: numbers, standardised, and categories as 0 and 1.
    X : ndarray of shape (n_samples, n_columns), float32
    y : ndarray of shape (n_samples,)
        Numbers of classes, or numbers, standardised.
    labels : tuple of str
        Names of the classes; empty for regression.
    source : str
        Python code that makes this object.
    dropped : tuple of str
        Columns that were left out, and why.
    image : tuple of int
        Height and width, if the columns are the pixels of one.
    numbers : ndarray of shape (n_samples,) or None
        Of regression: what y was made of.
    """

    names: tuple
    X: np.ndarray
    y: np.ndarray
    labels: tuple
    source: str = ""
    dropped: tuple = ()
    image: tuple = ()
    numbers: np.ndarray | None = None

    @classmethod
    def _of_images(cls, images, y, labels, source):
        n, height, width = images.shape
        X = ((images - images.mean()) / images.std()).reshape(n, -1).astype(np.float32)
        names = tuple(
            f"pixel {row + 1}, {column + 1}"
            for row in range(height)
            for column in range(width)
        )
        return cls(names, X, y, tuple(labels), source, image=(height, width))

    @classmethod
    def digits(cls):
        """The handwritten digits that come with scikit-learn, 8 x 8 pixels each."""
        digits = load_digits()
        return cls._of_images(
            digits.images, digits.target, "0123456789", "OwnData.digits()"
        )

    @classmethod
    def letters(cls, *, noise=0.0, seed=0):
        """The letters A to J, 10 x 10 pixels each, which differ in place and stroke.

        Parameters
        ----------
        noise : float, default=0.0
            From 0 to 0.5, where strokes are 0.5 to 1.
        seed : int, default=0
            Of the random numbers.

        Returns
        -------
        OwnData
        """
        source = f"OwnData.letters(noise={noise!r}, seed={seed!r})"
        return cls._of_images(*draw_letters(noise, seed), LETTERS, source)

    @cached_property
    def _projection(self):
        """(mean, the first two principal directions, spreads along them)."""
        mean = self.X.mean(axis=0)
        _, sizes, directions = np.linalg.svd(self.X - mean, full_matrices=False)
        return mean, directions[:2], sizes[:2] / np.sqrt(len(self.X))

    def _coordinates(self, X, axes):
        """Where samples are on the map, in standard deviations."""
        if tuple(axes) == COMPONENTS:
            mean, directions, spreads = self._projection
            return (X - mean) @ directions.T / np.where(spreads > 0, spreads, 1)
        return X[:, self.places(axes)]

    @property
    def task(self):
        """Classification or regression."""
        return "classification" if self.labels else "regression"

    @classmethod
    def from_frame(cls, frame, target=None, *, source=""):
        """Encode a table.

        Parameters
        ----------
        frame : pandas.DataFrame
        target : str, default=None
            The column to predict: the last one.
        source : str, default=""
            Python code for this call.

        Raises
        ------
        OwnDataError
            If it cannot be used.
        """
        if frame.shape[1] < 2 or len(frame) < 10:
            raise OwnDataError("a table needs two columns and ten rows at least")
        frame = frame.rename(columns=str)
        if not frame.columns.is_unique:
            raise OwnDataError("two columns have the same name")
        target = str(frame.columns[-1] if target is None else target)
        if target not in frame:
            raise OwnDataError(f"there is no column {target!r}")
        frame = frame[frame[target].notna()]
        if len(frame) < 10:
            raise OwnDataError(f"fewer than ten rows have a value in {target!r}")
        y, labels = _target_of(frame[target])
        numbers = None if labels else frame[target].to_numpy(np.float64)
        columns, dropped = {}, []
        for name in frame.columns.drop(target):
            encoded, reason = _columns_of(frame[name])
            if twice := columns.keys() & encoded.keys():
                raise OwnDataError(f"two columns are called {twice.pop()!r} in the end")
            columns |= encoded
            if reason:
                dropped.append(f"{name} ({reason})")
        if not columns:
            raise OwnDataError("no column but the target can be used")
        if len(columns) > _MOST_COLUMNS:
            raise OwnDataError(
                f"{len(columns)} columns after encoding: at most {_MOST_COLUMNS} fit "
                "on the page"
            )
        X = np.column_stack([*columns.values()]).astype(np.float32)
        return cls(
            tuple(columns), X, y, labels, source, tuple(dropped), numbers=numbers
        )

    def split(
        self, *, share=0.5, seed=0, features=None, axes=None, positive=False
    ):  # fmt: skip
        """Samples for training and for test.

        Parameters
        ----------
        share : float, default=0.5
            Of the samples that are for training.
        seed : int, default=0
            Of the order in which they are taken.
        features : sequence of str, default=None
            Columns for the network; None for all.
        axes : (str, str), default=None
            Columns of the map, or `COMPONENTS`; None for the first two columns.
        positive : bool, default=False
            Of numbers to predict: whether they are divided by their mean, instead of
            standardised.

        Returns
        -------
        fastmlp.playground.datasets.Data
        """
        order = np.random.default_rng(seed).permutation(len(self.y))
        y = self.numbers / self.numbers.mean() if positive else self.y
        X, y = self.X[order], y[order]
        points = self._coordinates(X, axes or self.names[:2]).astype(float) * _SCALE
        points = np.clip(points, -RADIUS, RADIUS)
        if points.shape[1] == 1:
            points = np.column_stack([points, np.zeros(len(points))])
        X = np.ascontiguousarray(X[:, self.places(features or self.names)])
        cut = min(max(round(share * len(y)), 1), len(y) - 1)
        return Data(X[:cut], y[:cut], X[cut:], y[cut:], points[:cut], points[cut:])

    def places(self, names):
        """Numbers of columns."""
        return [self.names.index(name) for name in names]

    def on_map(self, points, features, axes):
        """X for points of the map (n, 2): all else has its mean."""
        if tuple(axes) == COMPONENTS:
            mean, directions, spreads = self._projection
            X = (mean + (points / _SCALE * spreads) @ directions).astype(np.float32)
        else:
            X = np.zeros((len(points), len(self.names)), np.float32)
            for axis, place in enumerate(self.places(axes)):
                X[:, place] = points[:, axis] / _SCALE
        return X[:, self.places(features)]


def _target_of(column):
    """(y, names of the classes or none)."""
    if pd.api.types.is_numeric_dtype(column) and (
        column.nunique() > _MOST_CLASSES or (column % 1 != 0).any()
    ):
        values = column.to_numpy(np.float64)
        if not np.isfinite(values).all():
            raise OwnDataError(f"{column.name!r} has infinite values")
        return _standardised(values), ()
    try:
        codes, classes = pd.factorize(column, sort=True)
    except TypeError:
        raise OwnDataError(f"{column.name!r} mixes numbers and texts") from None
    if not 2 <= len(classes) <= _MOST_CLASSES:
        raise OwnDataError(
            f"{column.name!r} has {len(classes)} different values: a target has 2 to "
            f"{_MOST_CLASSES} classes, or numbers"
        )
    return codes, tuple(map(str, classes))


def _columns_of(column):
    """({name: numbers} that stand for a column, why it is left out)."""
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(np.float64, na_value=np.nan, copy=True)
        values[~np.isfinite(values)] = np.nan
        if np.isnan(values).all() or np.nanstd(values) == 0:
            return {}, "one value only"
        values = np.where(np.isnan(values), np.nanmean(values), values)
        return {str(column.name): _standardised(values)}, ""
    text = column.astype("string").fillna("missing")
    kinds = text.value_counts()
    if len(kinds) < 2:
        return {}, "one value only"
    if len(kinds) > _MOST_CATEGORIES:
        return {}, f"{len(kinds)} different texts"
    shares = {f"{column.name}={kind}": text == kind for kind in kinds.index}
    return {
        name: _standardised(is_it.to_numpy(float)) for name, is_it in shares.items()
    }, ""


def _standardised(values):
    values = values / (np.abs(values).max() or 1)  # sums of squares must not overflow
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else 1)


def read_csv(content, target=None, *, name="data.csv"):
    """A table from the bytes of a CSV file, whatever separates its columns.

    Parameters
    ----------
    content : bytes
    target : str, default=None
        The column to predict: the last one.
    name : str, default="data.csv"
        Of the file, for the code that reads it again.

    Returns
    -------
    OwnData

    Raises
    ------
    OwnDataError
        If it cannot be read, or not be used.
    """
    if len(content) > MOST_BYTES:
        raise OwnDataError(f"the file is larger than {MOST_BYTES >> 20} MB")
    try:
        # not much of it: the search takes the square of the length
        start = content[:2048].decode("utf-8-sig", errors="ignore")
        separator = csv.Sniffer().sniff(start, _DELIMITERS).delimiter
    except csv.Error:
        separator = ","
    try:
        frame = pd.read_csv(io.BytesIO(content), sep=separator, encoding="utf-8-sig")
    except (ValueError, pd.errors.ParserError) as error:  # also what is no UTF-8
        raise OwnDataError(f"this is no CSV file in UTF-8: {error}") from None
    reading = f"pd.read_csv({name!r}, sep={separator!r}, encoding='utf-8-sig')"
    return OwnData.from_frame(
        frame, target, source=f"OwnData.from_frame({reading}, {target!r})"
    )
