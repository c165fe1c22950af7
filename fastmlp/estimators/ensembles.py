"""Ensembles: several networks of one form, trained side by side and averaged.

What needs kernels is imported when it is first used, and this module itself when one of
its classes is.
"""

import warnings
from inspect import signature

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from fastmlp.data.columns import in_columns
from fastmlp.data.moments import Spread
from fastmlp.data.samples import compressed_rows
from fastmlp.data.scaling import Scaling, Standardization
from fastmlp.data.targets import labels_of
from fastmlp.estimators.base import NetworkEstimator, as_numbers, as_probabilities
from fastmlp.estimators.mlp import MLPClassifier, MLPRegressor
from fastmlp.estimators.parameters import OF_ENSEMBLES, check_lists, documented
from fastmlp.estimators.settings import constructor_of
from fastmlp.native_threads import lazily
from fastmlp.persistence.saving import bare_copy
from fastmlp.training.progress import MembersProgress, shows_progress

__all__ = ["MLPEnsembleClassifier", "MLPEnsembleRegressor"]

#: Parameters of an ensemble besides those of its members, and their defaults.
_OWN = {"n_estimators": 8, "bootstrap": False, "cv": None, "selection": None}

#: Parameters of members that an ensemble does not have: a checkpoint is of one fit.
_NOT_OF_SEVERAL = {"checkpoint"}

#: Seeds are below.
_MOST_SEEDS = np.iinfo(np.int32).max

#: Fitted attributes that only some fits set.
_OUT_OF_FOLD = ("oof_decision_function_", "oof_prediction_", "oof_score_")

_TEXTS = {
    "ensemble": """\
    n_estimators : int, default=8
        Number of networks (members). Their initial weights, shuffles, dropout and what
        they hold out differ.
    bootstrap : bool, default=False
        Whether each member is trained on as many samples as there are, drawn with
        replacement (bagging), and not on all of them. About 37 % are not drawn: the
        member holds them out.
    cv : int, splitter, iterable or None, default=None
        Whether each member holds out a fold of a cross-validation, in turn. An int is
        the number of folds: shuffled, by class where there are classes, and new ones
        when all have been used. Else a splitter of scikit-learn, or the pairs of
        training and held-out indices.
    selection : {'greedy'} or None, default=None
        Whether members are selected after training, and weighted, so that the loss of
        their mean is least on samples that they held out; the others are dropped. Needs
        `cv` or `bootstrap`.
""",
    "members": """\
    estimators_ : list
        The fitted members. Each has a number as its `random_state`, and is the same as
        if it had been fitted alone.
    estimator_weights_ : ndarray of shape (n_members,)
        Weights of the members in the mean. Their sum is 1.
    oof_score_ : float
        Score of the out-of-fold predictions. Only set with `cv` or `bootstrap`.
    n_iter_ : int
        Epochs (iterations for 'lbfgs') of the member that was trained longest.
    n_outputs_ : int
        Number of output units of each member.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X has names that are all strings.
""",
    "papers": """\
    Breiman, "Bagging predictors", Machine Learning 24 (1996).

    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of
    models", ICML (2004).

    Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty
    estimation using deep ensembles", NIPS (2017).
""",
}

#: Parameters that mean something else for an ensemble than for a network.
_ENTRIES = {
    "random_state": """\
random_state : int, RandomState instance or None, default=None
    Source of the members' own `random_state`, and of what they hold out. The first
    members are the same for any `n_estimators`.
""",
    "verbose": """\
verbose : bool, int or 'progress', default=False
    True, or a number above 0, prints a line for each member that is done. 'progress'
    shows a live line with the members that are done and the time left; it needs tqdm
    (extra ``progress``).
""",
    "warm_start": """\
warm_start : bool, default=False
    Whether fit trains the members of the last fit further, each as a network with
    warm_start, and adds members if `n_estimators` is larger now. Not with `selection`.
""",
    "early_stopping": """\
early_stopping : bool, default=False
    Whether each member stops when the score on held-out samples no longer improves, and
    keeps the weights of its best epoch. These samples are those that it holds out, with
    `cv` or `bootstrap`, or X_val and y_val if fit is given them; else a part of the
    training data, another one for each member.
""",
    "n_jobs": """\
n_jobs : int or None, default=None
    Number of threads of a fit or predict, which train members side by side. None means
    as many as are worthwhile, within the cores that the process may use; -1 means all
    cores. Results are bitwise the same for any number.
""",
    "callbacks": """\
callbacks : list of callable or `Callback`, or None, default=None
    Functions called at the end of every epoch of every member, as those of a network.
    Several threads may call them at a time. If one of them returns True, that member is
    done.
""",
    "time_limit": """\
time_limit : float or None, default=None
    Maximum time of a fit in seconds. Members share it: what is left when one begins is
    divided among those that are still to be trained.
""",
}


def _ensemble_of(member):
    """Complete a class of ensembles: its constructor takes the members' parameters."""

    def decorate(cls):
        cls.__init__ = constructor_of(member, _OWN, _NOT_OF_SEVERAL)
        cls._member_class = member
        cls._parameter_constraints = {
            name: constraint
            for name, constraint in member._parameter_constraints.items()
            if name not in _NOT_OF_SEVERAL
        } | OF_ENSEMBLES
        dropped = dict.fromkeys(_NOT_OF_SEVERAL, "")
        return documented(cls, _TEXTS, _ENTRIES | dropped)

    return decorate


class _Ensemble(NetworkEstimator):
    """What both ensembles share: the fit of all members, and the mean of them."""

    # --- training ---------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X, y, sample_weight=None, *, X_val=None, y_val=None,
        sample_weight_val=None,
    ):  # fmt: skip
        """Fit all members to X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data, any real dtype and memory layout. All members read it where
            it is. Sparse X stays sparse.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, a matrix of 0 and 1 with a column per label, or real
            numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples; None gives each the weight 1.
        X_val, y_val : array-like, default=None
            A validation set: each member evaluates it after each epoch, and never
            trains on it. With ``early_stopping=True`` it replaces what members hold
            out.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            Their weights.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If parameters or data are invalid, or if the weights of a member became NaN
            or infinite. The estimator is then what it was before.
        """
        validation = X_val, y_val, sample_weight_val
        return lazily("engine.pieces").run_alone(
            self._pieces_of_fit(X, y, sample_weight, validation)
        )

    @staticmethod
    def _checked_as_a_whole(X):
        """None: members read rows of the X of their ensemble. See `FitsInPieces`."""
        return None

    def _pieces_of_fit(self, X, y, sample_weight, validation, *, is_one_of_many=False):
        """`fit`, in pieces: see `engine.pieces`.

        validation : tuple
            X_val, y_val and sample_weight_val of `fit`.
        is_one_of_many : bool, default=False
            See `fastmlp.training.ensemble.EnsembleFit`.
        """
        self._check_combinations()
        with self._features_restored_on_failure():
            fitted = yield from self._fitted(
                X, y, sample_weight, validation, is_one_of_many
            )
        for name in _OUT_OF_FOLD:
            vars(self).pop(name, None)
        vars(self).update(fitted)
        return self

    def _check_combinations(self):
        """Look at parameters that do not go together."""
        if self.bootstrap and self.cv is not None:
            raise ValueError(
                "bootstrap=True and cv are two ways to hold samples out: set one"
            )
        if self.selection is not None:
            if self.cv is None and not self.bootstrap:
                raise ValueError(
                    f"selection={self.selection!r} needs samples that members hold "
                    "out: set cv or bootstrap"
                )
            if self.warm_start:
                raise ValueError(
                    f"warm_start=True cannot go with selection={self.selection!r}, "
                    "which drops members"
                )
        if self._continues and self.n_estimators < len(self.estimators_):
            raise ValueError(
                f"n_estimators={self.n_estimators} must be larger or equal to "
                f"len(estimators_)={len(self.estimators_)} when warm_start=True"
            )

    @property
    def _continues(self):
        return self.warm_start and hasattr(self, "estimators_")

    def _fitted(self, X, y, sample_weight, validation, is_one_of_many):
        """The fitted attributes of a fit to X and y; in pieces."""
        continues = self._continues
        hidden = self._hidden_layers()
        if continues:  # as it is
            hidden = [len(b) for b in self.estimators_[0].intercepts_[:-1]]
        check_lists(self, len(hidden))
        X, y, sample_weight = self._checked_samples(
            X, y, sample_weight, classifies=self._classifies, reset=not continues
        )
        if not (continues or self.standardize):
            self._warn_of_wild_columns(X)
        labels = self._labels(y)
        binarizer = labels.get("_label_binarizer")
        targets = self._targets(y, binarizer, Standardization())
        has_validation_set = any(part is not None for part in validation)
        if validation[0] is not None:
            validation = self._checked(validation[0], reset=False), *validation[1:]
        split_seed, places, seeds = self._seeds()
        members = [self._member(i, seed) for i, seed in enumerate(seeds)]
        training = lazily("training.ensemble")
        if isinstance(self.verbose, str) and not shows_progress(self.verbose):
            _warn(
                "verbose='progress' needs tqdm (pip install tqdm): a line is printed "
                "for each member instead."
            )
        progress = MembersProgress(len(members), self.verbose)
        try:
            fit = training.EnsembleFit(
                members, X, y, sample_weight,
                part_of=self._part_of(X, y, targets, split_seed, places, seeds),
                classes=labels.get("classes_") if y.ndim == 1 else None,
                validation=validation,
                validates=self.early_stopping and not has_validation_set,
                n_threads=self._n_threads(hidden, targets, X),
                time_limit=self.time_limit,
                member_ends=progress.member_ends,
                is_one_of_many=is_one_of_many,
            )  # fmt: skip
            yield from fit.run()
        finally:
            progress.close()
        if fit.interrupted:
            _warn(
                f"Training interrupted by user: {len(fit.fitted)} of {len(members)} "
                "members are fitted."
            )
        return labels | {
            "n_outputs_": targets.n_outputs,
            "_split_seed": split_seed,
            **self._outcome(fit, places, targets, y, sample_weight, binarizer),
        }

    def _seeds(self):
        """(seed of the folds, places of the members among the folds, their seeds).

        A fit that continues keeps those of its members: they say which rows these have
        been trained on. New members take the places that are free.
        """
        rng = check_random_state(self.random_state)
        split_seed, places, seeds = int(rng.randint(_MOST_SEEDS)), [], []
        if self._continues:
            split_seed, places = self._split_seed, list(self._places)
            seeds = [member.random_state for member in self.estimators_]
        n_places = max([self.n_estimators, *(1 + place for place in places)])
        free = sorted(set(range(n_places)) - set(places))
        new = free[: self.n_estimators - len(places)]
        drawn = rng.randint(_MOST_SEEDS, size=n_places).tolist()
        return split_seed, places + new, seeds + [drawn[place] for place in new]

    def _member(self, position, seed):
        """A member to be fitted: a new one, or a copy to be trained further."""
        names = signature(self._member_class).parameters.keys() - _NOT_OF_SEVERAL
        parameters = {name: getattr(self, name) for name in names}
        # while members wait for each other, each takes the threads that it is worth
        parameters |= {"random_state": seed, "n_jobs": None, "verbose": False}
        if self._continues and position < len(self.estimators_):
            return bare_copy(self.estimators_[position]).set_params(**parameters)
        return self._member_class(**parameters)

    def _part_of(self, X, y, targets, split_seed, places, seeds):
        """See `fastmlp.training.ensemble.EnsembleFit`."""
        folds = lazily("training.folds")
        n_samples = X.shape[0]
        if self.bootstrap:
            return lambda i: folds.bootstrap(n_samples, np.random.RandomState(seeds[i]))
        if self.cv is None:
            return lambda i: (None, None)
        if isinstance(self.cv, int | np.integer):
            codes = None
            if self._classifies and y.ndim == 1:
                codes = targets.values[:, 0].astype(int)
            rng = np.random.RandomState(split_seed)
            in_turn = folds.splits(n_samples, self.cv, rng, codes)
            held_out = [next(in_turn) for _ in range(1 + max(places))]
            return lambda i: (
                np.setdiff1d(np.arange(n_samples), held_out[places[i]]),
                held_out[places[i]],
            )
        pairs = self.cv.split(X, y) if hasattr(self.cv, "split") else self.cv
        indices = np.arange(n_samples)  # masks, and counting from the end, are allowed
        pairs = [(indices[train], indices[test]) for train, test in pairs]
        if not pairs:
            raise ValueError(f"cv={self.cv!r} gives no pairs of indices")
        return lambda i: pairs[places[i] % len(pairs)]

    def _n_threads(self, hidden, targets, X):
        threads = lazily("engine.threads")
        units = [X.shape[1], *hidden, targets.n_outputs]
        network = lazily("engine.network").Network(units, "float32")
        n_samples = X.shape[0]
        batch = n_samples if self.solver == "lbfgs" else self.batch_size
        batch = min(200, n_samples) if batch == "auto" else min(batch, n_samples)
        pays = max(1, int(threads.threads_that_pay(network, batch)))
        most = self.n_estimators * pays
        return threads.resolve_threads(self.n_jobs, most, most)

    def _outcome(self, fit, places, targets, y, sample_weight, binarizer):
        """The fitted attributes that training gives."""
        done = dict(fit.fitted)
        if self._continues:  # whom an interrupt has cut short, stays what it was
            done = {**dict(enumerate(self.estimators_)), **done}
        members = [done[i] for i in sorted(done)]
        places = [places[i] for i in sorted(done)]
        for member in members:
            member.n_jobs = self.n_jobs
        weights = np.full(len(members), 1 / len(members))
        state = {}
        if fit.held_out:
            held_out = [fit.held_out[i] for i in sorted(fit.held_out)]
            predictions = [fit.predictions[i] for i in sorted(fit.held_out)]
            of_these = None
            if self.selection is not None:
                weights = of_these = lazily("training.selection").greedy_weights(
                    predictions,
                    self._loss_of_means(members[0], y, sample_weight, binarizer),
                    held_out,
                )
                chosen = np.flatnonzero(weights)
                members = [members[i] for i in chosen]
                places = [places[i] for i in chosen]
            folds = lazily("training.folds")
            outputs = folds.mean_of_held_out(
                predictions, held_out, len(targets.values), of_these
            )
            state = {
                **self._shown_out_of_fold(outputs),
                "oof_score_": folds.score_of_held_out(outputs, targets, sample_weight),
            }
        return {
            "estimators_": members,
            "_places": places,
            "estimator_weights_": weights[weights > 0],
            "n_iter_": max(member.n_iter_ for member in members),
            **state,
        }

    def _loss_of_means(self, member, y, sample_weight, binarizer):
        """The loss of mean predictions of some samples, for `greedy_weights`."""
        loss_of_predictions = lazily("training.validation").loss_of_predictions
        weights = member._weigh_classes(sample_weight, y, binarizer, False)
        scaling = Standardization()
        if binarizer is None and hasattr(member, "y_scale_"):
            columns = y.reshape(len(y), -1)
            scaling = Standardization(y=Scaling.of(columns, sample_weight))
        targets = self._targets(y, binarizer, scaling)

        def loss(predictions, samples):
            if scaling.y is not None:
                predictions = scaling.y.apply(predictions)
            some = None if weights is None else weights[samples]
            some = some if some is None or some.any() else None
            return loss_of_predictions(predictions, targets.of(samples), some)

        return loss

    # --- prediction ---------------------------------------------------------------

    def _outputs(self, X):
        """The weighted mean of the members' outputs."""
        return self._mean_and_spread(X, False)[0]

    def _mean_and_spread(self, X, with_spread=True):
        """(mean, standard deviation or None) of the members' outputs."""
        check_is_fitted(self, "estimators_")
        X = self._plain(X)
        X = compressed_rows(X) if issparse(X) else X
        weights = self._relative_weights()
        total, spread = 0.0, Spread()
        for member, weight in zip(self.estimators_, weights, strict=True):
            outputs = member._outputs_of_checked(X, self.n_jobs, np.float64)
            total = total + weight * outputs
            if with_spread:
                spread.add(outputs, weight)
        dtype_of_outputs = lazily("estimators.prediction").dtype_of_outputs
        dtype = dtype_of_outputs(X.dtype, self.estimators_[0].coefs_[0].dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = (total / weights.sum()).astype(dtype)
            return mean, spread.deviation().astype(dtype) if with_spread else None

    def _derivatives(self, X, columns, of):
        """`input_gradients` of checked X, with an axis of outputs: the mean."""
        is_raw = self.estimators_[0].out_activation_ == "identity"
        if of == "raw" and not is_raw:
            raise ValueError(
                "of='raw': the mean of several networks has no raw outputs; of its "
                "members, ask each of estimators_"
            )
        X = compressed_rows(X) if issparse(X) else X
        weights = self._relative_weights()
        parts = zip(self.estimators_, weights, strict=True)
        total = sum(
            weight * member._derivatives(X, columns, of).astype(np.float64)
            for member, weight in parts
        )
        dtype_of_outputs = lazily("estimators.prediction").dtype_of_outputs
        dtype = dtype_of_outputs(X.dtype, self.estimators_[0].coefs_[0].dtype)
        return (total / weights.sum()).astype(dtype)

    def _relative_weights(self):
        """Weights of the members, the largest 1: means of equal ones are exact."""
        return self.estimator_weights_ / self.estimator_weights_.max()

    def predictor(self):
        """A function that predicts a few rows in the least time.

        For a service that answers one request after the other: `predict` checks X and
        looks at the weights of all members anew each time.

        Returns
        -------
        callable
            ``predictor(X)`` gives what `predict_proba` gives (of a regressor:
            `predict`), the same numbers. X is a dense array of numbers of shape
            (n_samples, n_features), or one row of shape (n_features,), of which the
            one row of the result is returned. Only its shape and dtype are checked.
            The weights are those of now: another fit does not change it. Several
            threads may call it at once.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        """
        check_is_fitted(self, "estimators_")
        prediction = lazily("estimators.prediction")
        outputs = lazily("engine.prediction").PackedEnsemble(
            [prediction.packed_snapshot(m, self.n_jobs) for m in self.estimators_],
            [Standardization.read(vars(m)) for m in self.estimators_],
            self._relative_weights(),
        )
        finish = as_probabilities if self._classifies else as_numbers
        first_weights = self.estimators_[0].coefs_[0]
        return prediction.Predictor(outputs, first_weights, finish, Standardization())

    def summary(self):
        """The members, as a table to be read.

        Returns
        -------
        str
            For each: its `random_state`, epochs, loss, the best score on held-out
            samples with early stopping, and its weight.
        """
        check_is_fitted(self, "estimators_")
        head = "member", "random_state", "epochs", "loss", "validation", "weight"
        rows = []
        for i, member in enumerate(self.estimators_):
            score = getattr(member, "best_validation_score_", None)
            rows.append((
                str(i), str(member.random_state), str(member.n_iter_),
                f"{member.loss_:.4g}", "" if score is None else f"{score:.4g}",
                f"{self.estimator_weights_[i]:.3f}",
            ))  # fmt: skip
        return in_columns(head, *rows)


@_ensemble_of(MLPClassifier)
class MLPEnsembleClassifier(ClassifierMixin, _Ensemble):
    """Several multi-layer perceptrons whose probabilities are averaged.

    The members are `MLPClassifier` with the same parameters. They differ by their seeds
    and, if asked, by the samples that they are trained on. All of them are trained side
    by side on one X. The mean of several networks is nearly always better than one, and
    how much they disagree tells how sure it is.

    %(groups)s

    Parameters
    ----------
    %(layers)s
    %(ensemble)s
    %(settings)s
    loss : {'log_loss', 'focal'}, default='log_loss'
        Loss function, see `MLPClassifier`.
    %(classification)s
    %(more)s

    Attributes
    ----------
    %(classes)s
    oof_decision_function_ : ndarray of shape (n_samples, n_classes)
        Probabilities of the training samples, out of fold: of each, the mean over the
        members that held it out; NaN if there is none. Only set with `cv` or
        `bootstrap`. With several labels at once, the probability of each label.
    %(members)s

    See Also
    --------
    MLPClassifier : One network.
    MLPEnsembleRegressor : The same for numbers.
    TabularMLPClassifier : An ensemble of other networks, for tables as they are.

    References
    ----------
    %(papers)s

    Examples
    --------
    >>> from fastmlp import MLPEnsembleClassifier
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(300, noise=0.2, random_state=0)
    >>> clf = MLPEnsembleClassifier(
    ...     (16,), n_estimators=5, cv=5, solver="lbfgs", random_state=0
    ... ).fit(X, y)
    >>> clf.oof_score_ > 0.9
    True
    >>> probabilities, std = clf.predict_proba([[0.5, 0.25], [30, 30]], return_std=True)
    >>> probabilities.shape == std.shape == (2, 2)
    True
    """

    _classifies = True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _labels(self, y):
        """The fitted attributes that say what outputs stand for."""
        known, old = None, None
        if self._continues:
            known, old = self._label_binarizer, self.classes_
        binarizer = labels_of(y, known, old, exactly=True)
        return {"_label_binarizer": binarizer, "classes_": binarizer.classes_}

    def _shown_out_of_fold(self, outputs):
        return {"oof_decision_function_": as_probabilities(outputs)}

    def predict(self, X):
        """Predict the class of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_classes)
            The classes with the highest mean probability; for several labels at once,
            a matrix of 0 and 1.
        """
        return self._predict_labels(X)

    def predict_proba(self, X, return_std=False):
        """Predict the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.
        return_std : bool, default=False
            Whether to return the standard deviation of the members' probabilities, too.

        Returns
        -------
        y_prob : ndarray of shape (n_samples, n_classes)
            Means over the members. Columns in the order of ``classes_``.
        y_std : ndarray of shape (n_samples, n_classes)
            Only with `return_std`. How much the members disagree.
        """
        if not return_std:
            return self._predict_probabilities(X)
        mean, spread = self._mean_and_spread(X)
        if spread.shape[1] == 1:
            spread = np.hstack([spread, spread])
        return as_probabilities(mean), spread

    def predict_log_proba(self, X):
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        log_y_prob : ndarray of shape (n_samples, n_classes)
            Equivalent to ``log(predict_proba(X))``.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))


@_ensemble_of(MLPRegressor)
class MLPEnsembleRegressor(RegressorMixin, _Ensemble):
    """Several multi-layer perceptrons whose predictions are averaged.

    The members are `MLPRegressor` with the same parameters. They differ by their seeds
    and, if asked, by the samples that they are trained on. All of them are trained side
    by side on one X. The mean of several networks is nearly always better than one, and
    how much they disagree tells how sure it is.

    %(groups)s

    Parameters
    ----------
    loss : str, default='squared_error'
        Loss function, see `MLPRegressor`.
    %(layers)s
    %(ensemble)s
    %(settings)s
    %(regression)s
    %(more)s

    Attributes
    ----------
    oof_prediction_ : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Predictions for the training samples, out of fold: of each, the mean over the
        members that held it out; NaN if there is none. Only set with `cv` or
        `bootstrap`.
    %(members)s

    See Also
    --------
    MLPRegressor : One network.
    MLPEnsembleClassifier : The same for classes.
    TabularMLPRegressor : An ensemble of other networks, for tables as they are.

    References
    ----------
    %(papers)s

    Examples
    --------
    >>> from fastmlp import MLPEnsembleRegressor
    >>> from sklearn.datasets import make_friedman1
    >>> X, y = make_friedman1(n_samples=300, random_state=0)
    >>> regr = MLPEnsembleRegressor(
    ...     n_estimators=5, bootstrap=True, solver="lbfgs", standardize=True,
    ...     max_iter=100, random_state=0,
    ... ).fit(X, y)
    >>> regr.oof_score_ > 0.8
    True
    >>> mean, std = regr.predict(X[:3], return_std=True)
    >>> mean.shape == std.shape == (3,)
    True
    """

    _classifies = False

    def _labels(self, y):
        return {}

    def _shown_out_of_fold(self, outputs):
        return {"oof_prediction_": as_numbers(outputs)}

    def predict(self, X, return_std=False):
        """Predict the target of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.
        return_std : bool, default=False
            Whether to return the standard deviation of the members' predictions, too.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Means over the members.
        y_std : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Only with `return_std`. How much the members disagree: not how far the
            targets are from the predictions.
        """
        if not return_std:
            return self._predict_numbers(X)
        mean, spread = self._mean_and_spread(X)
        return as_numbers(mean), as_numbers(spread)

    def score(self, X, y, sample_weight=None):
        """Return R^2 or, for a list of quantiles, the mean of their D^2.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Test samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        score : float
            At most 1.
        """
        return self._score_numbers(X, y, sample_weight)


def _warn(message):
    # attributed to this module: one pattern filters them, wherever fit is called
    warnings.warn(message, UserWarning, stacklevel=2)


for _class in (MLPEnsembleClassifier, MLPEnsembleRegressor):
    # what saved models name, wherever the code stands
    _class.__module__ = "fastmlp.estimators"
