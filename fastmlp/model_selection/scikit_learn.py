"""How scikit-learn's searches work inside: nothing else here relies on that.

`BaseSearchCV.fit` hands its `_run_search` a function `evaluate_candidates`, which calls
joblib's ``parallel`` with one call of ``_fit_and_score`` for each candidate and split.
We give that function another ``parallel``.  If a version of scikit-learn is made
otherwise, all of this says so, and its own way is taken.
"""

import types
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from joblib.parallel import get_active_backend
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils.parallel import Parallel

_fit_and_score = None  # unless all of these are there
with suppress(ImportError):
    from sklearn.metrics._scorer import (
        _BaseScorer,
        _MultimetricScorer,
        _PassthroughScorer,
    )
    from sklearn.model_selection._validation import _fit_and_score, _score
    from sklearn.utils import _safe_indexing
    from sklearn.utils.validation import _check_method_params

__all__ = [
    "BaseSearchCV",
    "Task",
    "as_scikit_learn",
    "error_scores",
    "jobs_of_context",
    "params_of_rows",
    "read_task",
    "rows_of",
    "score",
    "sees_only_predictions",
    "tasks_of",
    "with_parallel",
]


class Task(NamedTuple):
    """What ``_fit_and_score`` is told: a candidate to fit and to score on a split."""

    estimator: object
    X: object
    y: object
    scorer: object
    train: object
    test: object
    parameters: dict
    fit_params: dict
    score_params: dict
    error_score: object
    return_train_score: bool
    verbose: int
    split_progress: tuple  # (number of the split, splits)
    candidate_progress: tuple  # (number of the candidate, candidates)


#: What is always the same, or of callbacks, of which there are none.
_WITHOUT_EFFECT = {
    "return_parameters",
    "return_n_test_samples",
    "return_times",
    "caller",
    "callback_ctx",
}


def with_parallel(evaluate_candidates, parallel):
    """The function that a search is given, with another `parallel` in it.

    Parameters
    ----------
    evaluate_candidates : function
        The argument of `_run_search`.
    parallel : callable
        From an iterable of delayed calls to the list of their results.

    Returns
    -------
    function or None
        None if there is no such thing in it.
    """
    if _fit_and_score is None or not isinstance(
        evaluate_candidates, types.FunctionType
    ):
        return None
    code = evaluate_candidates.__code__
    cells = dict(
        zip(code.co_freevars, evaluate_candidates.__closure__ or (), strict=True)
    )
    if "parallel" not in cells:
        return None
    cells["parallel"] = types.CellType(parallel)
    function = types.FunctionType(
        code,
        evaluate_candidates.__globals__,
        evaluate_candidates.__name__,
        evaluate_candidates.__defaults__,
        tuple(cells.values()),
    )
    function.__kwdefaults__ = evaluate_candidates.__kwdefaults__
    return function


def read_task(call):
    """The `Task` that a delayed call stands for; None if it is something else."""
    function, arguments, keywords = call
    names = set(keywords) - _WITHOUT_EFFECT
    if getattr(function, "function", None) is not _fit_and_score:
        return None
    if len(arguments) != 3 or names != {*Task._fields[3:]}:
        return None
    return Task(*arguments, **{name: keywords[name] for name in names})


class _HasRead(Exception):
    """Ends a call that was made to read what it would do."""


def tasks_of(evaluate_candidates, candidates):
    """The tasks of a search, none of which is done.

    Parameters
    ----------
    evaluate_candidates : function
        See `with_parallel`.
    candidates : list of dict

    Returns
    -------
    list of Task, or None
        Of each candidate in turn, all splits. None if they cannot be read.
    """
    tasks = []

    def read(calls):
        tasks.extend(map(read_task, calls))
        raise _HasRead

    function = with_parallel(evaluate_candidates, read)
    if function is None:
        return None
    with suppress(_HasRead):
        function(candidates)
    return None if None in tasks else tasks


def as_scikit_learn(search, calls):
    """What the search's own `parallel` makes of delayed calls."""
    parallel = Parallel(n_jobs=search.n_jobs, pre_dispatch=search.pre_dispatch)
    return parallel(calls)


def jobs_of_context():
    """What ``n_jobs=None`` means by `joblib.parallel_config`.

    Returns
    -------
    (int or None, bool)
        None if it says nothing; and whether work goes to other machines, or to
        whatever else has a backend of its own.
    """
    backend, n_jobs = get_active_backend()
    return n_jobs, type(backend).__module__.partition(".")[0] != "joblib"


def rows_of(data, indices):
    """Rows of an array, a matrix, a list or a data frame."""
    if type(data) is type(indices) is np.ndarray:  # seen at a glance
        return data[indices]
    return _safe_indexing(data, indices)


def params_of_rows(X, params, indices):
    """The rows of what has as many of them as X; everything else as it is."""
    return _check_method_params(X, params=params or {}, indices=indices)


def score(task, estimator, X, y, score_params):
    """The score, or a dict of scores, of a fitted estimator; see ``error_score``."""
    return _score(estimator, X, y, task.scorer, score_params, task.error_score)


def error_scores(task, number):
    """What stands for the scores of a fit that gave none."""
    if isinstance(task.scorer, _MultimetricScorer):
        return dict.fromkeys(task.scorer._scorers, number)
    return number


def sees_only_predictions(scorer):
    """Whether a scorer asks for predictions, or for the estimator's own score.

    That of a pipeline is then that of its last step, on what comes out of the others.
    """
    if isinstance(scorer, _MultimetricScorer):
        return all(map(sees_only_predictions, scorer._scorers.values()))
    return isinstance(scorer, _BaseScorer | _PassthroughScorer)
