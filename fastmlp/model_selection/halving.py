"""Successive halving over epochs, with scikit-learn's interface."""

import math
import time
import warnings
from collections import Counter
from importlib import import_module
from itertools import chain
from numbers import Integral, Real

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import ParameterSampler
from sklearn.utils._param_validation import Interval, StrOptions

from fastmlp.estimators.perceptron import MultiLayerPerceptron
from fastmlp.estimators.tabular_model import TabularModel
from fastmlp.exceptions import UnusedParameterWarning
from fastmlp.model_selection.scikit_learn import (
    BaseSearchCV,
    jobs_of_context,
    tasks_of,
    with_parallel,
)
from fastmlp.model_selection.searches import VERBOSE, ManyAtOnce, model_of
from fastmlp.native_threads import undisturbed

__all__ = ["HalvingSearchCV"]

#: Share of the epochs after which `min_epochs='auto'` first compares candidates.
_FIRST_SHARE = 16


class HalvingSearchCV(ManyAtOnce, BaseSearchCV):
    """Search over random parameters: few epochs for all candidates, more for the best.

    All candidates are trained for a few epochs and scored on the samples that their
    split holds out. One in `factor` of them, the best, are trained on, `factor` times
    as many epochs in all, and so forth, until the best have been trained for `max_iter`
    epochs. Training is paused and resumed, not started again, and schedules of the
    learning rate know the whole length from the start: a candidate that reaches the
    end has the weights of a plain fit, bit by bit.

    By default this takes about a fifth of the epochs of `RandomizedSearchCV` with as
    many candidates. The share of the time differs more: each rung is scored, and what
    climbs may take longer, or less, than the others.

    Parameters
    ----------
    estimator : object
        An `MLPClassifier`, `MLPRegressor` or `MLPEstimator`, or a
        `sklearn.pipeline.Pipeline` that ends in one. Its `max_iter` is the number of
        epochs of the last rung. Not one of several networks, such as
        `TabularMLPClassifier`, whose `tune` halves over them, or an ensemble.
    param_distributions : dict or list of dict
        Names of parameters, and for each the values to draw from, or a distribution
        with a method `rvs`, such as those of `scipy.stats`; not `max_iter`. If there
        are only values, no combination is drawn twice.
    n_candidates : int, default=32
        How many candidates to draw.
    factor : float, default=2
        Above 1: one candidate in so many is trained on, for so many times the epochs.
    min_epochs : int or 'auto', default='auto'
        Epochs after which candidates are first compared, at least. 'auto': a sixteenth
        of `max_iter`. There are no more rungs than it takes to get to one candidate.
    n_brackets : int or 'all', default=1
        Into how many groups to divide the candidates, as in Hyperband: each begins one
        rung later than the one before, with fewer candidates. More of them are safer if
        candidates that learn slowly may be the best, and take longer. 'all': as many
        as there are rungs; the candidates of the last one are all trained to the end.
    time_limit : float, default=None
        Seconds after which the search ends, with the best candidate so far: the best
        of those that got furthest. At least one is scored. The fit of that to all
        samples is not counted.
    scoring : str or callable, default=None
        How the models are scored: the name of a scorer of scikit-learn, or a callable
        with the arguments (estimator, X, y), which is called in several threads. None
        for the estimator's `score`.
    n_jobs : int, default=None
        How many threads fit at a time. None: as many as this process has cores for
        (one within a process or thread that is one of many). -1 means all processors;
        1 is one thread. The last few fits of a rung share the threads. The results do
        not depend on it.
    refit : bool or callable, default=True
        Whether to fit the best candidate to all samples in the end, for `max_iter`
        epochs. A callable is given `cv_results_` and returns the index of the best.
    cv : int, cross-validation generator or iterable, default=None
        How to split the samples: None for 5 folds, a number of folds, a splitter of
        scikit-learn, or pairs of indices (to train on, to test on).
    verbose : int or 'progress', default=0
        0 prints nothing, 1 a line for each rung, 2 also one for each score.
        'progress' shows a live line (with tqdm).
    random_state : int, RandomState instance or None, default=None
        Of the draws; an int gives the same candidates each time.
    error_score : 'raise' or float, default=nan
        The score of a fit that fails, of which a warning tells; 'raise' to raise its
        error. A candidate whose score is NaN is not trained on.
    return_train_score : bool, default=False
        Whether `cv_results_` has scores on the samples that were trained on, too.

    Attributes
    ----------
    cv_results_ : dict of str to ndarray
        An entry for each candidate at each of its rungs, as in scikit-learn, with
        `candidate` (its number), `bracket`, `iter` (the rung), and `n_resources` (the
        epochs of the rung). `mean_fit_time` is of all epochs so far. A pandas data
        frame can be made of it.
    best_estimator_ : object
        The best candidate, fitted to all samples; only with `refit`.
    best_score_ : float
        Its mean score over the splits; not if `refit` is a callable.
    best_params_ : dict
        Its parameters.
    best_index_ : int
        Where in `cv_results_` it is: the best score of those with most epochs.
    n_candidates_ : list of int
        How many candidates were scored at each rung, bracket after bracket.
    n_resources_ : list of int
        The epochs of each of these rungs.
    n_iterations_ : int
        How many rungs these are.
    scorer_ : callable
        What scored the models.
    n_splits_ : int
        Splits into samples to train on and to test on.
    refit_time_ : float
        Seconds of the last fit; only with `refit`.
    multimetric_ : bool
        False.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only with `refit`.
    n_features_in_ : int
        Number of features; only with `refit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features; only with `refit`, and if X has names.

    See Also
    --------
    RandomizedSearchCV : Trains all candidates to the end.
    sklearn.model_selection.HalvingRandomSearchCV : Begins with few samples instead, and
        trains each time anew.

    Notes
    -----
    A candidate is scored with its weights of that epoch. One that ends earlier, because
    it does not improve (`tol`, `early_stopping`), keeps its last score. With
    ``solver='lbfgs'``, which cannot be paused, it is trained to the end at its first
    rung. The parameters `time_limit` and `checkpoint` of the network are refused: the
    time that it is paused would count, and several fits cannot share a file.

    What is paused takes memory: weights, moments of the optimizer, buffers. As soon as
    a candidate cannot be among those that are trained on, it is dropped. X is there
    once, or once for each split and each setting of a pipeline's other steps, which are
    fitted once for each of these.

    **Ctrl-C** ends the search and keeps what has been scored: the best of those that
    got furthest is chosen, and refitted, which another Ctrl-C ends.

    References
    ----------
    Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
    optimization" (2016); Li et al., "Hyperband: a novel bandit-based approach to
    hyperparameter optimization", Journal of Machine Learning Research 18 (2018).

    Examples
    --------
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.model_selection import HalvingSearchCV
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(
    ...     (10,), standardize=True, learning_rate="cosine", n_iter_no_change=100,
    ...     max_iter=64, random_state=0,
    ... )
    >>> search = HalvingSearchCV(
    ...     model, {"learning_rate_init": loguniform(1e-4, 1e-1)}, n_candidates=16,
    ...     random_state=0,
    ... ).fit(X, y)
    >>> search.n_resources_, search.n_candidates_
    ([4, 8, 16, 32, 64], [16, 8, 4, 2, 1])
    >>> bool(search.best_score_ > 0.9)
    True
    """

    _parameter_constraints = {
        **BaseSearchCV._parameter_constraints,
        **VERBOSE,
        "param_distributions": [dict, list, tuple],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "factor": [Interval(Real, 1, None, closed="neither")],
        "min_epochs": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "n_brackets": [
            StrOptions({"all"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "refit": ["boolean", callable],
        "random_state": ["random_state"],
    }
    del _parameter_constraints["pre_dispatch"]

    def __init__(
        self,
        estimator,
        param_distributions,
        *,
        n_candidates=32,
        factor=2,
        min_epochs="auto",
        n_brackets=1,
        time_limit=None,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        random_state=None,
        error_score=np.nan,
        return_train_score=False,
    ):
        super().__init__(
            estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.param_distributions = param_distributions
        self.n_candidates = n_candidates
        self.factor = factor
        self.min_epochs = min_epochs
        self.n_brackets = n_brackets
        self.time_limit = time_limit
        self.random_state = random_state

    def _run_search(self, evaluate_candidates):
        limit = math.inf if self.time_limit is None else self.time_limit
        deadline = time.perf_counter() + limit
        candidates = list(
            ParameterSampler(
                self.param_distributions,
                self.n_candidates,
                random_state=self.random_state,
            )
        )
        rungs = self._rungs_for(candidates)
        verbose, self.verbose = self._verbosity(), 0  # until `fit` puts it back
        tasks = tasks_of(evaluate_candidates, candidates)
        if not tasks or tasks[0].y is None:
            raise ValueError("HalvingSearchCV needs y, and a split of the samples")
        n_jobs, is_foreign = jobs_of_context()
        if is_foreign:
            n_jobs = None
            warnings.warn(
                "HalvingSearchCV trains in threads of this process: the backend of "
                "joblib.parallel_config has no effect.",
                UnusedParameterWarning,
                stacklevel=2,
            )
        n_jobs = n_jobs if self.n_jobs is None else self.n_jobs
        # needs what is compiled
        climbing = undisturbed(import_module, "fastmlp.model_selection.climbing")
        halving, outcomes = climbing.climb(
            tasks, candidates, rungs, n_jobs=n_jobs, deadline=deadline, verbose=verbose
        )  # fmt: skip
        results = halving.results
        reached = Counter((r.bracket, r.rung, r.n_epochs) for r in results)
        self.n_candidates_ = list(reached.values())
        self.n_resources_ = [n_epochs for *_, n_epochs in reached]
        self.n_iterations_ = len(reached)
        tell = with_parallel(evaluate_candidates, lambda calls: [*chain(*outcomes)])
        columns = tell(
            [candidates[result.candidate] for result in results],
            more_results={
                "candidate": [result.candidate for result in results],
                "bracket": [result.bracket for result in results],
                "iter": [result.rung for result in results],
                "n_resources": [result.n_epochs for result in results],
            },
        )
        if halving.is_interrupted:
            self._warn_of_interrupt(columns, len(candidates))

    def _rungs_for(self, candidates):
        """What `fastmlp.training.halving.plan` is told, but for how many there are."""
        if not self._are_ours(candidates):
            raise ValueError(
                "HalvingSearchCV searches for the parameters of an MLPClassifier, "
                "MLPRegressor or MLPEstimator, or of a Pipeline that ends in one, with "
                "no callbacks of scikit-learn and no checkpoint; RandomizedSearchCV "
                f"takes all. Got {self.estimator!r}"
            )
        models = [
            model_of(clone(self.estimator).set_params(**clone(candidate, safe=False)))
            for candidate in candidates
        ]
        several = [m for m in models if not isinstance(m, MultiLayerPerceptron)]
        if several:
            name = type(several[0]).__name__
            instead = "RandomizedSearchCV trains all candidates to the end"
            if isinstance(several[0], TabularModel):
                instead = (
                    f"{name}(tune=N) tries N configurations by halving over its "
                    f"networks, and {instead}"
                )
            raise ValueError(
                f"HalvingSearchCV pauses the fit of one network after an epoch; {name} "
                f"trains several, one after the other. {instead}."
            )
        if any(model.time_limit is not None for model in models):
            raise ValueError(
                "time_limit of the network would count the time for which it is "
                "paused: set time_limit of HalvingSearchCV"
            )
        if len({model.max_iter for model in models}) > 1:
            raise ValueError(
                "max_iter must be the same for all candidates: it is the number of "
                "epochs that the best of them get"
            )
        n_epochs, min_epochs = models[0].max_iter, self.min_epochs
        if not (isinstance(n_epochs, Integral) and n_epochs > 0):
            models[0]._validate_params()  # says what is wrong
        if min_epochs == "auto":
            min_epochs = max(1, n_epochs // _FIRST_SHARE)
        if min_epochs > n_epochs:
            raise ValueError(
                f"min_epochs={min_epochs} is more than the max_iter={n_epochs} of the "
                "network"
            )
        return {
            "n_epochs": n_epochs,
            "min_epochs": min_epochs,
            "factor": self.factor,
            "n_brackets": None if self.n_brackets == "all" else self.n_brackets,
        }

    @staticmethod
    def _select_best_index(refit, refit_metric, results):
        """The best score of those with most epochs; see `BaseSearchCV`."""
        if callable(refit):
            return BaseSearchCV._select_best_index(refit, refit_metric, results)
        scores = results["mean_test_score"]
        epochs = np.where(np.isnan(scores), 0, results["n_resources"])
        got_furthest = np.flatnonzero(epochs == epochs.max())
        return got_furthest[scores[got_furthest].argmax()]

    def _warn_of_interrupt(self, results, n_candidates):
        self.cv_results_ = results  # before anything else is interrupted
        n_scored = len(set(results["candidate"]))
        done = (
            f"Search interrupted by user: {n_scored} of {n_candidates} candidates have "
            f"been scored, after up to {max(results['n_resources'])} epochs."
        )
        if self.refit:
            done += " The best of those that got furthest is fitted to all samples now."
        warnings.warn(done, UserWarning, stacklevel=2)
