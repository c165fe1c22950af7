"""``python -m fastmlp demo``: a network learns real data, beside scikit-learn's."""

import csv
import time
import warnings
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from sklearn import datasets, neural_network
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastmlp
from fastmlp.events import Events

__all__ = ["Data", "DataError", "Result", "load_csv", "load_named", "run_demo"]

#: Numbers in a CSV's target with more distinct values than this are a regression.
_MOST_CLASSES = 20


class DataError(ValueError):
    """The data cannot be read or used; the message says why."""


@dataclass
class Data:
    """A data set: `X` has numbers and, in `categories`, columns of strings."""

    name: str
    X: np.ndarray
    y: np.ndarray
    classifies: bool
    categories: tuple = ()


@dataclass
class Result:
    """One library's fit."""

    name: str
    score: float
    seconds: float
    n_iter: int
    microseconds_per_step: float


def load_named(name):
    """A data set of scikit-learn.

    Parameters
    ----------
    name : {"digits", "breast_cancer", "wine", "diabetes", "california"}

    Returns
    -------
    Data

    Raises
    ------
    DataError
        If scikit-learn has to download it and cannot.
    """
    if name == "california":
        try:
            X, y = datasets.fetch_california_housing(return_X_y=True)
        except OSError as error:
            raise DataError(
                f"scikit-learn could not download California housing ({error}). "
                "Without a network, try --data diabetes or --csv FILE."
            ) from error
        return Data(name, X, y, classifies=False)
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return Data(name, X, y, classifies=name != "diabetes")


def load_csv(path, target):
    """A data set from a CSV file with a header.

    Columns of numbers (empty fields are missing) are features as they are, others
    become one feature per value.  The target is a regression if it consists of
    numbers, more than 20 different ones.

    Parameters
    ----------
    path : str
        The file.
    target : str
        Name of the column to predict.

    Returns
    -------
    Data

    Raises
    ------
    DataError
        If the file cannot be read or has no such column or too few rows.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header, *numbered = [
                (number, row) for number, row in enumerate(csv.reader(file), 1) if row
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    except ValueError:
        raise DataError(f"{path} is empty") from None
    header = [name.strip() for name in header[1]]
    if len(set(header)) < len(header):
        raise DataError(f"{path} has two columns of the same name")
    if target not in header:
        raise DataError(f"{path} has no column {target!r}, only {', '.join(header)}")
    rows = [row for _, row in numbered]
    for number, row in numbered:
        if len(row) != len(header):
            raise DataError(
                f"{path}, row {number}: {len(row)} fields, the header has {len(header)}"
            )
    columns = {
        name: _column([row[i].strip() for row in rows]) for i, name in enumerate(header)
    }
    y = columns.pop(target)
    known = y != "" if y.dtype == object else np.isfinite(y)
    y = y[known]
    if len(y) < 10 or not columns:
        raise DataError(f"{path} has too few rows with a {target!r}, or no features")
    X = np.empty((len(y), len(columns)), dtype=object)
    for i, column in enumerate(columns.values()):
        X[:, i] = column[known]
    classifies = y.dtype == object or len(np.unique(y)) <= _MOST_CLASSES
    if classifies:
        _, y, counts = np.unique(y.astype(str), return_inverse=True, return_counts=True)
        frequent = counts[y] >= 4  # three for training, one for the test
        X, y = X[frequent], y[frequent]
        if len(np.unique(y)) < 2:
            raise DataError(
                f"column {target!r} of {path} has fewer than two classes of four rows"
            )
    categories = tuple(
        i for i, column in enumerate(columns.values()) if column.dtype == object
    )
    return Data(path, X, y, classifies, categories)


def _column(fields):
    """Floats with NaN for what is missing or infinite, or else strings."""
    try:
        numbers = np.array([float(field) if field else np.nan for field in fields])
    except ValueError:
        return np.array(fields, dtype=object)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _split(data, seed):
    """Training and test arrays, float32, columns scaled."""
    stratify = data.y if data.classifies else None
    X_train, X_test, y_train, y_test = train_test_split(
        data.X, data.y, test_size=0.25, random_state=seed, stratify=stratify
    )
    numbers = [i for i in range(data.X.shape[1]) if i not in data.categories]
    prepare = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            (
                "categories",
                OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                list(data.categories),
            ),
        ]
    )
    X_train = np.asarray(prepare.fit_transform(X_train), dtype=np.float32)
    X_test = np.asarray(prepare.transform(X_test), dtype=np.float32)
    if not data.classifies:
        mean, spread = y_train.mean(), y_train.std() or 1.0
        y_train, y_test = (y_train - mean) / spread, (y_test - mean) / spread
    return X_train, X_test, y_train, y_test


def _fit(name, estimator, split, fit):
    """Fit and score one estimator; `fit` is called with the training data."""
    X_train, X_test, y_train, y_test = split
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        started = time.perf_counter()
        fit(X_train, y_train)
        seconds = time.perf_counter() - started
    n_steps = estimator.n_iter_ * -(-len(X_train) // min(200, len(X_train)))
    return Result(
        name,
        estimator.score(X_test, y_test),
        seconds,
        estimator.n_iter_,
        seconds / n_steps * 1e6,
    )


class _Show(Events):
    """Moves a progress bar."""

    def __init__(self, progress, task):
        self._progress = progress
        self._task = task
        self._shown = 0.0

    def end(self, epoch, loss, score=None):
        if time.perf_counter() - self._shown > 0.05:  # drawing takes time as well
            self._shown = time.perf_counter()
            self._progress.update(self._task, completed=epoch, loss=loss)
        return False


def run_demo(data, *, hidden=(100,), epochs=100, seed=0, console=None):
    """Train fastmlp, then scikit-learn with the same settings, and compare.

    Parameters
    ----------
    data : Data
    hidden : tuple of int, default=(100,)
        Units of the hidden layers.
    epochs : int, default=100
        Epochs at most.
    seed : int, default=0
        Of the split, the initial weights and the shuffles.
    console : rich.console.Console, default=None
        Where to write.

    Returns
    -------
    ours, theirs : Result
    """
    console = console or Console()
    split = _split(data, seed)
    X_train, X_test = split[:2]
    n_outputs = len(np.unique(data.y)) if data.classifies else 1
    layers = "-".join(str(n) for n in (X_train.shape[1], *hidden, n_outputs))
    kind = "Classifier" if data.classifies else "Regressor"
    console.print(
        f"[bold]{data.name}[/bold]: {len(X_train)} rows to learn from, {len(X_test)} "
        f"to test on; network {layers}, Adam, float32"
    )

    started = time.perf_counter()
    with console.status("compiling the kernels (once per machine)"):
        fastmlp.warmup(["float32"])
    console.print(f"kernels ready after {time.perf_counter() - started:.1f} s")

    settings = {
        "hidden_layer_sizes": hidden,
        "max_iter": epochs,
        "random_state": seed,
    }
    model = getattr(fastmlp, f"MLP{kind}")(**settings)
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("epoch {task.completed}/{task.total}"),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=epochs, loss=np.nan)
        show = _Show(progress, task)
        ours = _fit(
            "fastmlp", model, split, lambda X, y: model._fit(X, y, events=[show])
        )
        progress.update(
            task, completed=ours.n_iter, total=ours.n_iter, loss=model.loss_
        )

    model = getattr(neural_network, f"MLP{kind}")(**settings)
    with console.status("the same with scikit-learn"):
        theirs = _fit("scikit-learn", model, split, model.fit)

    table = Table(title=f"MLP{kind}, the same settings and seed")
    table.add_column("")
    metric = "test accuracy" if data.classifies else "test R²"
    for heading in (metric, "epochs", "wall time", "time per step"):
        table.add_column(heading, justify="right")
    for result in (ours, theirs):
        table.add_row(
            result.name,
            f"{result.score:.4f}",
            str(result.n_iter),
            f"{result.seconds:.3f} s",
            f"{result.microseconds_per_step:.0f} µs",
        )
    console.print(table)
    ratio = theirs.microseconds_per_step / ours.microseconds_per_step
    console.print(f"fastmlp takes a step [bold]{ratio:.1f} times[/bold] as fast")
    return ours, theirs
