"""Candidates of a halving search: fits that are paused, and scored each time."""

import math
import time
from contextlib import closing
from functools import partial
from traceback import format_exc

import numpy as np
from sklearn import get_config, set_config
from sklearn.base import clone

from fastmlp.engine.pieces import Pausable
from fastmlp.engine.threads import resolve_threads
from fastmlp.model_selection.evaluation import (
    MANY,
    Split,
    blas_for,
    fitter_for,
    scored,
)
from fastmlp.model_selection.progress import HalvingProgress
from fastmlp.model_selection.searches import model_of
from fastmlp.training.halving import Halving, plan

__all__ = ["climb"]


class _Fit:
    """The fit of a candidate to one split, which can be paused after an epoch.

    Attributes
    ----------
    result : dict
        As of `_fit_and_score`, when it was last paused or ended.
    """

    def __init__(self, task, fitter, split):
        self._task, self._fitter, self._split = task, fitter, split
        self._fit = self._to_score = self._paused_at = None
        self._goal, self._seconds = 0, 0.0
        self._has_ended = False
        self.result = None

    def advance(self, goal):
        """A work: train up to the end of an epoch, and score the model of then."""
        if self._has_ended:
            return
        started = time.perf_counter()
        self._goal = goal
        error = None
        try:
            if self._fit is None:
                self._begin()
            self._has_ended = yield from self._fit.until(self._is_there)
        except Exception:
            if self._task.error_score == "raise":
                raise
            self._has_ended, error = True, format_exc()
        self._seconds += time.perf_counter() - started
        to_score, model = self._to_score, self._paused_at
        if not self._has_ended:
            to_score = partial(to_score, model=model)
        self.result = scored(self._task, self._split, to_score, error, self._seconds)
        self._paused_at = None

    def _begin(self):
        task = self._task
        estimator = task.estimator.set_params(**clone(task.parameters, safe=False))
        model = model_of(estimator)
        self._last_epoch = model.max_iter
        # not of lbfgs, which is one piece
        if model.solver != "lbfgs":
            model.callbacks = [*(model.callbacks or ()), self._note]
        fit, self._to_score = self._fitter.begin(task, estimator, self._split)
        self._fit = Pausable(fit)

    def _note(self, state):
        if state.epoch == self._goal < self._last_epoch:
            self._paused_at = state.estimator

    def _is_there(self):
        return self._paused_at is not None

    def close(self):
        """Forget all but the result."""
        if self._fit is not None:
            self._fit.close()
        self._fit = self._to_score = self._paused_at = self._task = None
        self._fitter = self._split = None
        self._has_ended = True


class _Candidate:
    """What `Halving` is given: a fit for each split, and their mean score.

    Attributes
    ----------
    results : dict
        From the epoch of a rung to those of all splits.
    """

    def __init__(self, fits):
        self._fits = fits
        self.results = {}

    def advance(self, n_epochs):
        """A work for each split."""
        self._n_epochs = n_epochs
        return [fit.advance(n_epochs) for fit in self._fits]

    def score(self):
        """The mean over all splits."""
        results = [fit.result for fit in self._fits]
        self.results[self._n_epochs] = results
        scores = [result["test_scores"] for result in results]
        if isinstance(scores[0], dict):
            raise ValueError(
                "HalvingSearchCV goes by one score: scoring must not return several, "
                f"got {sorted(scores[0])}"
            )
        return np.mean(scores)

    def close(self):
        """Forget all but the results."""
        for fit in self._fits:
            fit.close()


def climb(tasks, candidates, rungs, *, n_jobs=None, deadline=math.inf, verbose=0):
    """Evaluate the candidates of a search by successive halving.

    Parameters
    ----------
    tasks : list of Task
        Of each candidate in turn, all splits.
    candidates : list of dict
    rungs : dict
        Keyword arguments of `plan`.
    n_jobs : int or None
    deadline : float, default=inf
        By ``time.perf_counter``.
    verbose : int or 'progress'

    Returns
    -------
    Halving
        Its results are those of all candidates at all of their rungs.
    list of list of dict
        Of each of these, what ``_fit_and_score`` gives for each split.
    """
    n_splits = tasks[0].split_progress[1]
    fitter = fitter_for(tasks[0], candidates)
    splits = [Split.of(task) for task in tasks[:n_splits]]
    fits = [_Fit(task, fitter, splits[task.split_progress[0]]) for task in tasks]
    climbers = [
        _Candidate(fits[start : start + n_splits])
        for start in range(0, len(fits), n_splits)
    ]
    brackets = plan(len(candidates), **rungs)
    progress = HalvingProgress(verbose, candidates, brackets)
    halving = Halving(
        climbers,
        brackets,
        resolve_threads(n_jobs, MANY, MANY),
        deadline=deadline,
        on_result=progress.note,
        prepare=partial(set_config, **get_config()),  # each thread has its own
    )
    with closing(progress), blas_for(tasks[0].estimator, candidates):
        halving.run()
    return halving, [
        climbers[result.candidate].results[result.n_epochs]
        for result in halving.results
    ]
