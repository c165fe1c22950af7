"""Candidates, fitted and scored side by side."""

import math
import time
from collections import Counter
from contextlib import closing, nullcontext
from functools import partial
from itertools import chain, islice
from numbers import Number
from traceback import format_exc
from typing import NamedTuple

import numpy as np
from sklearn import get_config, set_config
from sklearn.base import clone

from fastmlp.engine.pieces import Failure, side_by_side
from fastmlp.engine.threads import resolve_threads
from fastmlp.model_selection.prefixes import Prefix, Prefixes, setting_of
from fastmlp.model_selection.progress import Progress
from fastmlp.model_selection.scikit_learn import (
    as_scikit_learn,
    error_scores,
    params_of_rows,
    read_task,
    rows_of,
    score,
    sees_only_predictions,
)
from fastmlp.training.blas import one_thread_of_blas

__all__ = ["MANY", "Evaluations", "Split", "blas_for", "fitter_for", "scored"]

#: More threads than a computer has, for as many as are useful.
MANY = 2**20


class Split(NamedTuple):
    """What all candidates share of a split into samples to train on and to test on."""

    y_train: object
    y_test: object
    fit_params: dict
    score_params_train: dict
    score_params_test: dict

    @classmethod
    def of(cls, task):
        X, train, test = task.X, task.train, task.test
        return cls(
            rows_of(task.y, train),
            rows_of(task.y, test),
            params_of_rows(X, task.fit_params, train),
            params_of_rows(X, task.score_params, train),
            params_of_rows(X, task.score_params, test),
        )


class _Fitter:
    """What fits candidates.

    Attributes
    ----------
    ranks : list of int
        Candidates of the same rank follow each other; empty for any order.
    """

    ranks = ()

    def __init__(self):
        self._valid = set()  # candidates whose parameters have been checked

    def _fit(self, task, model, X, y, params, **how):
        candidate = task.candidate_progress[0]
        how["is_valid"] = candidate in self._valid
        how["is_one_of_many"] = True
        yield from model._pieces_of_checked_fit(X, y, params, **how)
        self._valid.add(candidate)


class _Models(_Fitter):
    """Fits estimators of ours, on rows of X, which is read where it is if it can be.

    Parameters
    ----------
    X : object
        All samples.
    estimator : fastmlp.estimators.in_pieces.FitsInPieces
    """

    def __init__(self, X, estimator):
        super().__init__()
        self._checked = estimator._checked_as_a_whole(X)

    def begin(self, task, estimator, split):
        """Get ready to fit.

        Returns
        -------
        generator
            A work that fits: see `engine.pieces`.
        callable
            From the name and the indices of a part of the samples to the estimator and
            the X that are to be scored; another model may be given, to be scored
            instead of the one that is fitted.
        """
        X, how = task.X, {}
        if self._checked is None:
            X = rows_of(X, task.train)
        else:  # masks and negative numbers are indices, too
            rows = np.arange(self._checked.shape[0])[np.asarray(task.train)]
            how = {"checked": self._checked, "rows": rows}

        def to_score(part, indices, model=estimator):
            return model, rows_of(task.X, indices)

        y = split.y_train
        return self._fit(task, estimator, X, y, split.fit_params, **how), to_score


class _Pipelines(_Fitter):
    """Fits pipelines that end in an estimator of ours; their other steps only once.

    Parameters
    ----------
    candidates : list of dict
    last : str
        Name of the last step.
    scorer : callable
    """

    def __init__(self, candidates, last, scorer):
        super().__init__()
        numbers = {}
        settings = [setting_of(candidate, last) for candidate in candidates]
        self.ranks = [numbers.setdefault(each, len(numbers)) for each in settings]
        self._prefixes = Prefixes(self.ranks)
        self._sees_only_predictions = sees_only_predictions(scorer)

    def begin(self, task, pipeline, split):
        """Fit all steps but the last, if nobody has; see `_Models.begin`."""

        def make():
            X = rows_of(task.X, task.train)
            return Prefix(pipeline, X, split.y_train, split.fit_params)

        rank = self.ranks[task.candidate_progress[0]]
        prefix = self._prefixes.get((rank, task.split_progress[0]), make)
        prefix.put_into(pipeline)
        last = pipeline.steps[-1][1]
        routes = task.score_params and get_config()["enable_metadata_routing"]

        def to_score(part, indices, model=last):
            if self._sees_only_predictions and not routes:
                try:
                    make_X = partial(rows_of, task.X, indices)
                    return model, prefix.transform(part, make_X)
                except Exception:
                    pass  # scoring the pipeline will raise it, too
            pipeline.steps[-1] = pipeline.steps[-1][0], model
            return pipeline, rows_of(task.X, indices)

        how = {} if prefix.checked is None else {"checked": prefix.checked}
        fit = self._fit(task, last, prefix.X, prefix.y, prefix.fit_params, **how)
        return fit, to_score


def _evaluate(task, fitter, split):
    """A work that fits a candidate and scores it, as ``_fit_and_score`` does."""
    estimator = task.estimator.set_params(**clone(task.parameters, safe=False))
    started = time.perf_counter()
    to_score, error = None, None
    try:
        fit, to_score = fitter.begin(task, estimator, split)
        yield from fit
    except Exception:
        if task.error_score == "raise":
            raise
        error = format_exc()
    return scored(task, split, to_score, error, time.perf_counter() - started)


def scored(task, split, to_score, error, seconds):
    """Score a candidate that has been fitted, or has not.

    Parameters
    ----------
    task : Task
    split : Split
    to_score : callable
        From the name and the indices of a part of the samples to an estimator and X.
    error : str or None
        What the fit raised; nothing is scored then.
    seconds : float
        Of the fit.

    Returns
    -------
    dict
        With the keys of the results of ``_fit_and_score``.
    """
    fitted = time.perf_counter()
    result = {"fit_error": error, "fit_time": seconds}
    parts = {"test": (task.test, split.y_test, split.score_params_test)}
    if task.return_train_score:
        parts["train"] = task.train, split.y_train, split.score_params_train
    for part, (indices, y, params) in parts.items():
        if error is None:
            scores = score(task, *to_score(part, indices), y, params)
        else:
            scores = error_scores(task, task.error_score)
        result[f"{part}_scores"] = scores
        if part == "test":
            result["n_test_samples"] = len(indices)
            result["score_time"] = time.perf_counter() - fitted
    return result


def fitter_for(task, candidates):
    """What fits candidates for the search that has this task.

    Parameters
    ----------
    task : Task
        Any of them.
    candidates : list of dict
    """
    steps = getattr(task.estimator, "steps", None)
    if steps is None:
        return _Models(task.X, task.estimator)
    return _Pipelines(candidates, steps[-1][0], task.scorer)


def blas_for(estimator, candidates):
    """Context manager: how the search of an estimator has BLAS.

    As it is, for the same numbers as elsewhere; on one thread if a network is trained
    by lbfgs, which calls it from all threads at a time.
    """
    steps = getattr(estimator, "steps", [(None, estimator)])
    values = [steps[-1][1], *chain(*(candidate.values() for candidate in candidates))]
    solvers = (getattr(value, "solver", value) for value in values)
    if any(isinstance(each, str) and each == "lbfgs" for each in solvers):
        return one_thread_of_blas()
    return nullcontext()


class Evaluations:
    """What stands for joblib's ``parallel`` in a search.

    Parameters
    ----------
    search : sklearn.model_selection.BaseSearchCV
    candidates : list of dict
        The parameters of each.
    n_jobs : int or None
        How many threads, see `engine.threads.resolve_threads`.
    verbose : int or 'progress'

    Attributes
    ----------
    interrupted : bool
        Whether Ctrl-C has ended it.
    n_missing, n_complete : int
        Fits that are then missing, and candidates that miss none.
    """

    def __init__(self, search, candidates, n_jobs, verbose):
        self._search = search
        self._candidates = candidates
        self._n_threads = resolve_threads(n_jobs, MANY, MANY)
        self._verbose = verbose
        self.interrupted = False

    def __call__(self, calls):
        """From delayed calls of ``_fit_and_score`` to the list of their results.

        Raises
        ------
        KeyboardInterrupt
            If not one fit is done.
        """
        calls = iter(calls)
        given = [*islice(calls, 1)]
        if not given:
            return []
        first = read_task(*given)
        calls = chain(given, calls)
        if first is None or first.y is None:
            return as_scikit_learn(self._search, calls)
        fitter = fitter_for(first, self._candidates)
        n_splits = first.split_progress[1]
        progress = Progress(
            self._verbose, self._candidates, n_splits, self._search.refit
        )
        begun, results = [], {}

        def works():
            splits = {}
            for number, task in self._in_order(fitter, map(read_task, calls), first):
                candidate, split = task.candidate_progress[0], task.split_progress[0]
                begun.append((number, candidate, split))
                progress.begin(candidate, split)
                if split not in splits:
                    splits[split] = Split.of(task)
                yield _evaluate(task, fitter, splits[split])

        def note(i, result):
            if isinstance(result, Failure):
                raise result.error
            number, candidate, split = begun[i]
            results[number] = result
            progress.note(candidate, split, result)

        prepare = partial(set_config, **get_config())  # each thread has its own
        try:
            with closing(progress), blas_for(first.estimator, self._candidates):
                side_by_side(works(), self._n_threads, note, prepare)
        except KeyboardInterrupt:
            if not results:
                raise
            self.interrupted = True
            self._fill(results, n_splits)
        return [results[number] for number in sorted(results)]

    def _in_order(self, fitter, tasks, first):
        """(number, task) of all tasks, in the order in which they are to be done.

        One setting of the steps before a pipeline's last comes after the other, so that
        few of them are in memory; else it is the order in which they come.
        """
        tasks = enumerate(tasks)
        if not any(fitter.ranks):
            return tasks
        kept = [(number, task._replace(estimator=None)) for number, task in tasks]
        kept.sort(key=lambda pair: fitter.ranks[pair[1].candidate_progress[0]])
        return (
            (number, task._replace(estimator=clone(first.estimator)))
            for number, task in kept
        )

    def _fill(self, results, n_splits):
        """Put NaN where there is no result."""
        n_candidates = len(self._candidates)
        self.n_missing = n_candidates * n_splits - len(results)
        complete = Counter(number // n_splits for number in results)
        self.n_complete = sum(n == n_splits for n in complete.values())
        # one that did not fail has all scores
        like = min(results.values(), key=lambda result: result["fit_error"] is not None)
        for number in range(n_candidates * n_splits):
            results.setdefault(number, _missing(like))


def _missing(like):
    """A result like another one, with NaN for all numbers."""
    return {
        name: dict.fromkeys(value, math.nan)
        if isinstance(value, dict)
        else math.nan
        if isinstance(value, Number)
        else None
        for name, value in like.items()
    }
