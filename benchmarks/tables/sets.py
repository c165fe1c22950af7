"""Data sets: those that scikit-learn ships or makes, and those in files."""

from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

__all__ = ["SHIPPED", "Table", "in_folder", "split"]

#: Rows that are tested on, at most.
_TEST_ROWS = 5000

#: Whole numbers in a file are classes if they have at most so many values.
_MOST_CLASSES = 20


class Table(NamedTuple):
    """X: a data frame of float32 and categories. test: mask of its rows, or None."""

    name: str
    X: object
    y: np.ndarray
    classifies: bool
    test: object = None


def _frame(X, is_category=None):
    """A data frame; some columns are codes of categories."""
    import pandas as pd

    if is_category is None:
        is_category = np.zeros(X.shape[1], bool)
    columns = {}
    for j, column in enumerate(np.asarray(X, np.float32).T):
        if is_category[j]:
            levels, codes = np.unique(column, return_inverse=True)
            names = [f"level {level:g}" for level in levels]
            columns[f"c{j}"] = pd.Categorical.from_codes(codes, names)
        else:
            columns[f"c{j}"] = column
    return pd.DataFrame(columns)


def _load(name, classifies):
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return Table(name, _frame(X), y, classifies)


def _friedman(number):
    make = getattr(datasets, f"make_friedman{number}")
    noise = {1: 1.0, 2: 120.0, 3: 0.1}[number]
    X, y = make(3000, noise=noise, random_state=0)
    return Table(f"friedman{number}", _frame(X), y, False)


def _mixed(classifies):
    """Some columns cut into categories, a tenth of the values missing."""
    if classifies:
        X, y = datasets.make_classification(
            3000, 12, n_informative=8, n_classes=3, flip_y=0.05, random_state=0
        )
    else:
        X, y = datasets.make_friedman1(3000, 12, noise=1.0, random_state=0)
    for j, n_levels in ((0, 3), (1, 8), (2, 30)):
        edges = np.quantile(X[:, j], np.linspace(0, 1, n_levels + 1)[1:-1])
        X[:, j] = np.searchsorted(edges, X[:, j])
    X = _frame(X, np.arange(12) < 3)
    rng = np.random.default_rng(0)
    table = X.mask(rng.random(X.shape) < 0.1)
    return Table(
        "mixed_classes" if classifies else "mixed_numbers", table, y, classifies
    )


#: name -> function that makes the table
SHIPPED = {
    **{name: partial(_load, name, True)
       for name in ("breast_cancer", "wine", "iris", "digits")},
    "mixed_classes": partial(_mixed, True),
    "diabetes": partial(_load, "diabetes", False),
    **{f"friedman{i}": partial(_friedman, i) for i in (1, 2, 3)},
    "mixed_numbers": partial(_mixed, False),
}  # fmt: skip


def _from_npz(path):
    with np.load(path, allow_pickle=False) as file:
        X, y, test = file["X"], file["y"], file["test"].astype(bool)
        is_category = file["cat"].astype(bool)
    classifies = not np.issubdtype(y.dtype, np.floating)
    return Table(path.stem, _frame(X, is_category), y, classifies, test)


def _from_file(path, target):
    import pandas as pd

    reader = pd.read_csv if path.suffix == ".csv" else pd.read_parquet
    X = reader(path)
    target = X.columns[-1] if target is None else target
    if target not in X:
        raise SystemExit(f"{path} has no column {target!r}")
    X = X.dropna(subset=[target])
    y = X.pop(target)
    kinds = pd.api.types
    is_label = not kinds.is_numeric_dtype(y) or kinds.is_bool_dtype(y)
    few = kinds.is_integer_dtype(y) and y.nunique() <= _MOST_CLASSES
    for name in X:
        if kinds.is_datetime64_any_dtype(X[name]):
            X[name] = (X[name] - X[name].min()).dt.total_seconds()
        is_number = kinds.is_numeric_dtype(X[name])
        if is_number and not kinds.is_bool_dtype(X[name]):
            X[name] = X[name].astype("float32")
        else:
            known = X[name].notna()
            X[name] = X[name].astype(str).where(known).astype("category")
    y = np.asarray(y.astype(str) if is_label else y)
    return Table(path.stem, X, y, bool(is_label or few))


def in_folder(folder, target=None):
    """Functions that make the tables of a folder, by name."""
    makers = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".npz":
            makers[path.stem] = partial(_from_npz, path)
        elif path.suffix in (".csv", ".parquet"):
            makers[path.stem] = partial(_from_file, path, target)
    if not makers:
        raise SystemExit(f"{folder} has no .npz, .csv or .parquet files")
    return makers


def split(table, seed, n_rows):
    """(X, y) to train on and (X, y) to test on; classes are numbered.

    The seed draws both, or, if the table says what to test on, only the former.
    """
    rng = np.random.default_rng(seed)
    y = table.y
    if table.classifies:
        y = np.unique(y, return_inverse=True)[1]
    if table.test is None:
        rare = not table.classifies or np.bincount(y).min() < 2
        train, test = train_test_split(
            np.arange(len(y)), test_size=0.2, random_state=seed,
            stratify=None if rare else y,
        )  # fmt: skip
    else:
        train, test = np.flatnonzero(~table.test), np.flatnonzero(table.test)
    train, test = rng.permutation(train)[:n_rows], rng.permutation(test)[:_TEST_ROWS]
    if table.classifies:  # those without a row to learn from are left out
        known, codes = np.unique(y[train], return_inverse=True)
        test = test[np.isin(y[test], known)]
        y_train, y_test = codes, np.searchsorted(known, y[test])
    else:
        y_train, y_test = y[train].astype(np.float64), y[test].astype(np.float64)
    X = table.X.reset_index(drop=True)
    return (X.iloc[train].reset_index(drop=True), y_train), (
        X.iloc[test].reset_index(drop=True), y_test,
    )  # fmt: skip
