"""The demo's fits: the same scaled data and the same care for both libraries."""

import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from fastmlp.commands.demo_csv import MOST_CATEGORIES

__all__ = ["Candidate", "Result", "Split", "fastest", "fit"]

#: Epochs by which the fastest candidate is found.
_TRIAL_EPOCHS = 3


@dataclass
class Split:
    """Scaled arrays, float32, and the test rows as they were.

    Attributes
    ----------
    X_train, X_test : ndarray of shape (n_samples, n_inputs)
    y_train, y_test : ndarray of shape (n_samples,)
    X_shown : ndarray of shape (n_test_samples, n_features)
        Test rows before they were scaled.
    unit : float
        Of scaled targets, 1 for classes.
    """

    X_train: np.ndarray
    X_test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray
    X_shown: np.ndarray
    unit: float

    @classmethod
    def of(cls, data, seed):
        """Three quarters of the rows for training; missing numbers are imputed."""
        stratify = data.y if data.classifies else None
        train, test = train_test_split(
            np.arange(len(data.y)), test_size=0.25, random_state=seed, stratify=stratify
        )
        numbers = [i for i in range(data.X.shape[1]) if i not in data.categories]
        impute = SimpleImputer(keep_empty_features=True)
        encode = OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            max_categories=MOST_CATEGORIES,
            sparse_output=False,
        )
        prepare = ColumnTransformer(
            [
                ("numbers", make_pipeline(impute, StandardScaler()), numbers),
                ("categories", encode, list(data.categories)),
            ]
        )
        X_train = _as_float32(prepare.fit_transform(data.X[train]))
        X_test = _as_float32(prepare.transform(data.X[test]))
        y_train, y_test, unit = data.y[train], data.y[test], 1.0
        if not data.classifies:
            mean, unit = y_train.mean(), y_train.std() or 1.0
            y_train, y_test = (y_train - mean) / unit, (y_test - mean) / unit
        return cls(X_train, X_test, y_train, y_test, data.X[test], unit)


def _as_float32(X):
    # a test row may be out of all proportion to the training rows
    return np.clip(X, -1e9, 1e9).astype(np.float32)


@dataclass
class Candidate:
    """An estimator, and the threads that BLAS may use for it (None: all)."""

    estimator: object
    blas_threads: int | None = None

    def fit(self, X, y):
        """Fit the estimator; returns the seconds that took."""
        with threadpool_limits(self.blas_threads, user_api="blas"):
            started = time.perf_counter()
            self.estimator.fit(X, y)
            return time.perf_counter() - started

    def short(self):
        """The same for a few epochs."""
        estimator = clone(self.estimator).set_params(max_iter=_TRIAL_EPOCHS)
        return Candidate(estimator, self.blas_threads)


@dataclass
class Result:
    """One library's fit.

    Attributes
    ----------
    name : str
        The library.
    score : float
        Accuracy or R² on the test rows.
    seconds : float
        That training took.
    n_iter : int
        Epochs.
    microseconds_per_step : float
        Of mini-batches.
    model : object
        The fitted estimator.
    notes : list of str
        What else was noticed.
    """

    name: str
    score: float
    seconds: float
    n_iter: int
    microseconds_per_step: float
    model: object
    notes: list


@contextmanager
def _interruptible():
    """Collects warnings; raises KeyboardInterrupt where an estimator warns of one."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught
    if any("interrupted" in str(warning.message) for warning in caught):
        raise KeyboardInterrupt


def fastest(candidates, split):
    """The candidate that is fastest in a few epochs.

    They also do what only a first fit does, such as imports, so that it is not measured
    later.

    Parameters
    ----------
    candidates : list of Candidate
        Equal but for their threads.
    split : Split

    Returns
    -------
    Candidate

    Raises
    ------
    KeyboardInterrupt
        If a fit was interrupted, of which estimators only warn.
    """
    seconds = []
    with _interruptible():
        for candidate in candidates:
            first = candidate.short().fit(split.X_train, split.y_train)
            again = candidate.short().fit(split.X_train, split.y_train)
            seconds.append(min(first, again))
    return candidates[int(np.argmin(seconds))]


def fit(name, candidate, split, watch=None):
    """Fit and score a candidate.

    Parameters
    ----------
    name : str
        The library.
    candidate : Candidate
    split : Split
    watch : callable, default=None
        Is called after each epoch; its `seconds` do not count.

    Returns
    -------
    Result

    Raises
    ------
    KeyboardInterrupt
        If the fit was interrupted, of which estimators only warn.
    """
    estimator = candidate.estimator
    with _interruptible() as caught:
        if watch is not None:
            estimator.set_params(callbacks=[watch])
        seconds = candidate.fit(split.X_train, split.y_train)
        if watch is not None:
            estimator.set_params(callbacks=None)
            seconds -= watch.seconds
            watch.close()
    notes = [
        f"{name} warns: {warning.message}"
        for warning in caught
        if not issubclass(warning.category, ConvergenceWarning)
    ]
    n_rows = len(split.X_train)
    n_steps = estimator.n_iter_ * -(-n_rows // min(200, n_rows))
    return Result(
        name,
        estimator.score(split.X_test, split.y_test),
        seconds,
        estimator.n_iter_,
        seconds / n_steps * 1e6,
        estimator,
        list(dict.fromkeys(notes)),
    )
