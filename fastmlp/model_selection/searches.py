"""Searches with scikit-learn's interface that fit many models at once."""

import inspect
import textwrap
import warnings
from importlib import import_module

import numpy as np
from sklearn import model_selection
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils._param_validation import StrOptions

from fastmlp.estimators.in_pieces import FitsInPieces
from fastmlp.exceptions import UnusedParameterWarning
from fastmlp.model_selection.scikit_learn import jobs_of_context, with_parallel
from fastmlp.native_threads import undisturbed
from fastmlp.training.progress import shows_progress

__all__ = ["VERBOSE", "GridSearchCV", "ManyAtOnce", "RandomizedSearchCV", "model_of"]

#: Of a parameter that may be more than in scikit-learn.
VERBOSE = {"verbose": ["verbose", StrOptions({"progress"})]}

_TEXTS = {
    "estimator": """\
    estimator : object
        An estimator of fastmlp, of one network or of several (`TabularMLPClassifier`,
        `MLPEnsembleClassifier`, ...), or a `sklearn.pipeline.Pipeline` that ends in
        one. Others work, too, as they do in scikit-learn.
    """,
    "common": """\
    scoring : str, callable, list, tuple or dict, default=None
        How the models are scored: the name of a scorer of scikit-learn, or a callable
        with the arguments (estimator, X, y), which is called in several threads. A
        list, a dict, or a callable that returns a dict give several scores. None for
        the estimator's `score`.
    n_jobs : int, default=None
        How many threads fit at a time. None: as many as this process has cores for
        (one within a process or thread that is one of many). -1 means all processors;
        1 is one thread. The last few fits share the threads. The results do not depend
        on it. Where scikit-learn's way is taken, None means 1, as there.
    refit : bool, str or callable, default=True
        Whether to fit the best candidate to all samples in the end; with several
        scores, the name of the one that decides. A callable is given `cv_results_`
        and returns the index of the best candidate.
    cv : int, cross-validation generator or iterable, default=None
        How to split the samples: None for 5 folds, a number of folds, a splitter of
        scikit-learn, or pairs of indices (to train on, to test on).
    verbose : int or 'progress', default=0
        0 prints nothing, 1 the number of fits, 2 a line for each with its time, 3 also
        scores, 10 also when it begins. 'progress' shows a live line (with tqdm): fits
        that are done, time left, best score so far.
    pre_dispatch : int or str, default='2*n_jobs'
        Used in scikit-learn's way only: here, a fit that waits takes no memory.
    error_score : 'raise' or float, default=nan
        The score of a fit that fails, of which a warning tells; 'raise' to raise its
        error.
    return_train_score : bool, default=False
        Whether `cv_results_` has scores on the samples that were trained on, too.
    """,
    "attributes": """\
    cv_results_ : dict of str to ndarray
        What was tried, and how good it was: an entry per candidate. A pandas data
        frame can be made of it.
    best_estimator_ : object
        The best candidate, fitted to all samples; only with `refit`.
    best_score_ : float
        Its mean score over the splits; not if `refit` is a callable.
    best_params_ : dict
        Its parameters.
    best_index_ : int
        Where in `cv_results_` it is.
    scorer_ : callable or dict
        What scored the models.
    n_splits_ : int
        Splits into samples to train on and to test on.
    refit_time_ : float
        Seconds of the last fit; only with `refit`.
    multimetric_ : bool
        Whether there are several scores.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only with `refit`.
    n_features_in_ : int
        Number of features; only with `refit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features; only with `refit`, and if X has names.
    """,
    "notes": """\
    All fits run in this process, each on a thread of its own, and read X where it is:
    no workers are started, nothing is copied to them. Steps of a pipeline before the
    last one are fitted once for each split and each setting of their parameters. If
    one of them draws random numbers, give it a `random_state`: otherwise candidates
    share a draw that would differ from fit to fit. What candidates give does not
    depend on the number of threads, if `random_state` of the network is a number.

    **Ctrl-C** ends the search and keeps what is done: `cv_results_` has NaN where fits
    are missing, the best of the candidates that are complete is chosen, and refitted,
    which another Ctrl-C ends. If no candidate is complete, or none of them has a
    score, KeyboardInterrupt is raised; `cv_results_` is there all the same if a fit is.

    **Several networks**: tables and ensembles train theirs one after the other in a
    search, each fit on its own thread, and side by side in the last fit to all samples.

    **lbfgs**: BLAS has one thread, in the whole process, until the search ends.

    **Scikit-learn's way**, with worker processes, is taken for other estimators, or a
    candidate that has one; for subclasses with a `fit` of their own and for subclasses
    of `Pipeline`; with callbacks of scikit-learn (`set_callbacks`) on the search, the
    estimator or its steps; with the parameter `checkpoint`, whose file has one owner;
    with precomputed kernels in a pipeline; without y; and if `joblib.parallel_config`
    has a backend that is not joblib's own, such as that of dask.
    """,
}


def _documented(cls):
    """Fill the shared texts into the docstring of a search."""
    if cls.__doc__:  # Python -OO has none
        text = inspect.cleandoc(cls.__doc__)
        for name, shared in _TEXTS.items():
            text = text.replace(f"%({name})s", textwrap.dedent(shared).rstrip())
        cls.__doc__ = text
    return cls


class _Live(int):
    """A live line, as a number that scikit-learn can compare: it prints nothing."""


class ManyAtOnce:
    """What the searches have in common, in front of scikit-learn's class."""

    def fit(self, X, y=None, **params):
        """Fit and score all candidates, then fit the best one to all samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Class labels or numbers.
        **params : dict
            Passed to the `fit` of the estimator, to scorers and to the splitter.
            What has an entry per sample, such as `sample_weight`, is split like X.
            `groups` goes to the splitter.

        Returns
        -------
        self : object
            The fitted search.

        Raises
        ------
        ValueError
            If parameters are invalid, or if all fits failed.
        KeyboardInterrupt
            If Ctrl-C ends the search before a candidate is complete.
        """
        verbose = self.verbose
        if verbose == "progress":
            self.verbose = _Live()
        try:
            return super().fit(X, y, **params)
        finally:
            self.verbose = verbose

    def _run_search(self, evaluate_candidates, callback_ctx=None):
        def evaluate(candidate_params, *arguments, **keywords):
            candidates = list(candidate_params)
            evaluations = self._evaluations_of(candidates)
            function = evaluations and with_parallel(evaluate_candidates, evaluations)
            if not function:
                if isinstance(self.verbose, _Live):
                    _warn_of_unused("verbose='progress'")
                return evaluate_candidates(candidates, *arguments, **keywords)
            try:
                results = function(candidates, *arguments, **keywords)
            except KeyboardInterrupt:  # not one fit is done
                vars(self).pop("cv_results_", None)  # of another search
                raise
            if evaluations.interrupted:
                self._end_early(results, evaluations)
            return results

        context = {} if callback_ctx is None else {"callback_ctx": callback_ctx}
        super()._run_search(evaluate, **context)

    def _evaluations_of(self, candidates):
        """What fits and scores candidates at once; None if they are not for it."""
        n_jobs, is_foreign = jobs_of_context()
        if is_foreign or not self._are_ours(candidates):
            return None
        if self.pre_dispatch != "2*n_jobs":
            _warn_of_unused(f"pre_dispatch={self.pre_dispatch!r}")
        # needs what is compiled
        evaluation = undisturbed(import_module, "fastmlp.model_selection.evaluation")
        n_jobs = n_jobs if self.n_jobs is None else self.n_jobs
        return evaluation.Evaluations(self, candidates, n_jobs, self._verbosity())

    def _verbosity(self):
        """What was asked for by `verbose`, or what there is instead."""
        if not isinstance(self.verbose, _Live):
            return self.verbose
        if shows_progress("progress"):
            return "progress"
        warnings.warn(
            "verbose='progress' needs tqdm (pip install tqdm): a line is printed "
            "for each fit instead.",
            UserWarning,
            stacklevel=2,
        )
        return 3

    def _are_ours(self, candidates):
        """Whether all candidates can be fitted in pieces, and need no more."""
        steps = [(None, self.estimator)]
        if type(self.estimator) is Pipeline:
            steps = self.estimator.steps
        name, last = steps[-1]
        if not _is_ours(last):
            return False
        if any(
            getattr(each, "_skl_callbacks", None)
            for each in (self, self.estimator, *(step for _, step in steps))
        ):
            return False
        if get_tags(self.estimator).input_tags.pairwise:
            return False
        names = {key for candidate in candidates for key in candidate}
        if any(key == "steps" or key.endswith("checkpoint") for key in names):
            return False
        return all(_is_ours(each[name]) for each in candidates if name in each)

    def _end_early(self, results, evaluations):
        """Keep what is done when Ctrl-C has ended the search."""
        self.cv_results_ = results  # before anything else is interrupted
        n_complete, n_missing = evaluations.n_complete, evaluations.n_missing
        done = (
            f"Search interrupted by user: {n_complete} of {len(results['params'])} "
            f"candidates are complete. cv_results_ has NaN for the {n_missing} fits "
            "that are missing."
        )
        scores = [v for name, v in results.items() if name.startswith("mean_test_")]
        if n_complete == 0 or np.isnan(scores).all():
            raise KeyboardInterrupt(done)
        if self.refit:
            done += " The best of these candidates is fitted to all samples now."
        warnings.warn(done, UserWarning, stacklevel=2)


def model_of(estimator):
    """What is fitted last of an estimator, which may be a pipeline."""
    return estimator.steps[-1][1] if type(estimator) is Pipeline else estimator


def _is_ours(estimator):
    """Whether an estimator is one of this package, with the `fit` that it has there.

    Not if it has a checkpoint: several fits cannot share a file.
    """
    return (
        isinstance(estimator, FitsInPieces)
        and getattr(estimator, "checkpoint", None) is None
        and issubclass(_origin(estimator, "_pieces_of_fit"), _origin(estimator, "fit"))
    )


def _origin(estimator, method):
    """The class that an estimator has a method from."""
    return next(cls for cls in type(estimator).__mro__ if method in vars(cls))


def _warn_of_unused(parameter):
    warnings.warn(
        f"{parameter} has no effect on this search, see its documentation.",
        UnusedParameterWarning,
        stacklevel=2,
    )


@_documented
class GridSearchCV(ManyAtOnce, model_selection.GridSearchCV):
    """Search over a grid of parameters, many models at once.

    A drop-in replacement for `sklearn.model_selection.GridSearchCV`, with the same
    parameters and the same results, number for number.

    Parameters
    ----------
    %(estimator)s
    param_grid : dict or list of dict
        Names of parameters, and for each the values to try: all combinations are. Of
        a list, each grid by itself.
    %(common)s

    Attributes
    ----------
    %(attributes)s

    See Also
    --------
    RandomizedSearchCV : Tries some of the combinations, or draws values.

    Notes
    -----
    %(notes)s

    Examples
    --------
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.model_selection import GridSearchCV
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((10,), standardize=True, max_iter=300, random_state=0)
    >>> search = GridSearchCV(model, {"learning_rate_init": [0.0001, 0.01]}).fit(X, y)
    >>> search.best_params_
    {'learning_rate_init': 0.01}
    """

    _parameter_constraints = {
        **model_selection.GridSearchCV._parameter_constraints,
        **VERBOSE,
    }


@_documented
class RandomizedSearchCV(ManyAtOnce, model_selection.RandomizedSearchCV):
    """Search over random combinations of parameters, many models at once.

    A drop-in replacement for `sklearn.model_selection.RandomizedSearchCV`, with the
    same parameters and the same results, number for number.

    Parameters
    ----------
    %(estimator)s
    param_distributions : dict or list of dict
        Names of parameters, and for each the values to draw from, or a distribution
        with a method `rvs`, such as those of `scipy.stats`.
    n_iter : int, default=10
        How many candidates to draw.
    %(common)s
    random_state : int, RandomState instance or None, default=None
        Of the draws; an int gives the same candidates each time.

    Attributes
    ----------
    %(attributes)s

    See Also
    --------
    GridSearchCV : Tries all combinations.

    Notes
    -----
    %(notes)s

    Examples
    --------
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.model_selection import RandomizedSearchCV
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((10,), standardize=True, max_iter=300, random_state=0)
    >>> rates = {"learning_rate_init": loguniform(1e-3, 1e-1)}
    >>> search = RandomizedSearchCV(model, rates, n_iter=4, random_state=0).fit(X, y)
    >>> bool(search.best_score_ > 0.9)
    True
    """

    _parameter_constraints = {
        **model_selection.RandomizedSearchCV._parameter_constraints,
        **VERBOSE,
    }
