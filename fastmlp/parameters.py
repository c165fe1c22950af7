"""The estimators' parameters: what is valid, and the text that documents them."""

import inspect
import textwrap
from functools import cache
from numbers import Integral, Real
from os import PathLike

import numpy as np
from sklearn.metrics import get_scorer

# Not public in scikit-learn, but the only way to its own error messages.
from sklearn.utils._param_validation import Interval, Options, StrOptions

from fastmlp.initialization import INITIALIZATIONS
from fastmlp.saving import ACTIVATIONS
from fastmlp.schedules import SCHEDULES

__all__ = [
    "ANY_LOSS",
    "CLASSIFICATION_LOSS",
    "CLASSIFICATION_LOSSES",
    "CONSTRAINTS",
    "OF_CLASSIFICATION",
    "OF_REGRESSION",
    "REGRESSION_LOSS",
    "SOLVERS_OF",
    "TASK",
    "check_lists",
    "documented",
    "unused_parameters",
]

#: Constraints that all estimators share, as scikit-learn's validation reads them.
CONSTRAINTS = {
    "hidden_layer_sizes": [
        "array-like",
        Interval(Integral, 1, None, closed="left"),
    ],
    "activation": [StrOptions(set(ACTIVATIONS)), "array-like"],
    "solver": [StrOptions({"lbfgs", "sgd", "adam", "adamw", "rmsprop", "lion"})],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions(set(SCHEDULES)), callable],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose", StrOptions({"progress"})],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [
        Interval(Integral, 1, None, closed="left"),
        Options(Real, {np.inf}),
    ],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "precision": [StrOptions({"auto", "float32", "float64"})],
    "n_jobs": [
        None,
        Interval(Integral, 1, None, closed="left"),
        Interval(Integral, None, -1, closed="right"),
    ],
    # beyond scikit-learn's
    "standardize": ["boolean"],
    "scoring": [str, callable, None],
    "restore_best_weights": ["boolean"],
    "weight_init": [StrOptions({"auto", *INITIALIZATIONS})],
    "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    "input_dropout": [Interval(Real, 0, 1, closed="left")],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "l1": [Interval(Real, 0, None, closed="left")],
    "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
    "ema_decay": [None, Interval(Real, 0, 1, closed="left")],
    "callbacks": [None, list, tuple],
    "time_limit": [None, Interval(Real, 0, None, closed="neither")],
    "checkpoint": [None, str, PathLike],
}

#: Constraints of what only classification has.
OF_CLASSIFICATION = {
    "focal_gamma": [Interval(Real, 0, None, closed="left")],
    "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    "class_weight": [dict, StrOptions({"balanced"}), None],
}

#: Constraints of what only regression has.
OF_REGRESSION = {
    "huber_delta": [Interval(Real, 0, None, closed="neither")],
    "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like"],
}

CLASSIFICATION_LOSSES = frozenset({"log_loss", "focal"})
_REGRESSION_LOSSES = frozenset(
    {"squared_error", "absolute_error", "huber", "quantile", "poisson", "gamma"}
)

#: Constraints of what only some estimators have.
CLASSIFICATION_LOSS = [StrOptions(set(CLASSIFICATION_LOSSES))]
REGRESSION_LOSS = [StrOptions(set(_REGRESSION_LOSSES))]
ANY_LOSS = [StrOptions({"auto", *CLASSIFICATION_LOSSES, *_REGRESSION_LOSSES})]
TASK = [StrOptions({"auto", "classification", "regression"})]

#: Solvers that take steps down the gradient of mini-batches.
_STEPPING = ("sgd", "adam", "adamw", "rmsprop", "lion")

#: The solvers that use a parameter; what is not named here, all of them use.
SOLVERS_OF = {
    **dict.fromkeys(
        [
            "batch_size", "learning_rate", "learning_rate_init", "shuffle",
            "early_stopping", "validation_fraction", "n_iter_no_change",
            "restore_best_weights", "scoring", "dropout", "input_dropout",
            "weight_decay", "l1", "clip_norm", "ema_decay", "checkpoint",
        ],
        _STEPPING,
    ),
    "power_t": ("sgd", "adamw", "rmsprop", "lion"),
    "momentum": ("sgd",),
    "nesterovs_momentum": ("sgd",),
    "beta_1": ("adam", "adamw", "lion"),
    "beta_2": ("adam", "adamw", "rmsprop", "lion"),
    "epsilon": ("adam", "adamw", "rmsprop"),
    "max_fun": ("lbfgs",),
}  # fmt: skip

#: Of these, those that 'lbfgs' answers with an error.
REFUSED_BY_LBFGS = (
    "dropout", "input_dropout", "l1", "weight_decay", "clip_norm", "ema_decay",
    "checkpoint",
)  # fmt: skip

#: What else a parameter needs to have an effect: a parameter, and its value.
_NEEDS = {
    "power_t": ("learning_rate", "invscaling"),
    "validation_fraction": ("early_stopping", True),
    "restore_best_weights": ("early_stopping", True),
    "scoring": ("early_stopping", True),
    "focal_gamma": ("loss", "focal"),
    "huber_delta": ("loss", "huber"),
    "quantile": ("loss", "quantile"),
}

#: Parameters that partial_fit, which is one epoch of many, takes no notice of.
_OF_WHOLE_FITS = ("callbacks", "checkpoint", "time_limit")

_TEXTS = {
    "layers": """\
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Units of each hidden layer; ``()`` for none, which makes a linear model.
    activation : str or list of str, default='relu'
        What hidden units do with their input z; a list has one for each hidden layer.
        'identity' (z), 'logistic' (1/(1 + exp(-z))), 'tanh', 'relu' (max(0, z));
        'leaky_relu', 'elu', 'selu', 'gelu', 'silu', 'mish', 'softplus', 'softsign',
        'hard_swish'.
""",
    "classification": """\
    focal_gamma : float, default=2.0
        Exponent of the loss 'focal'; 0 makes it the log loss.
    label_smoothing : float, default=0.0
        Share of a sample's label that is spread over all classes (each of several
        labels: over it and its opposite), so that outputs need not grow without end.
    class_weight : dict, 'balanced' or None, default=None
        Weights of the classes, which multiply those of the samples; 'balanced' is
        n_samples / (n_classes * samples of the class).
""",
    "regression": """\
    huber_delta : float, default=1.0
        For ``loss='huber'``: errors beyond it count linearly, as outliers should.
    quantile : float or list of float, default=0.5
        For ``loss='quantile'``: the share of targets to be below the prediction; a list
        has one network predict all of them, a column each.
""",
    "settings": """\
    solver : {'adam', 'sgd', 'lbfgs', 'adamw', 'rmsprop', 'lion'}, default='adam'
        How weights are found: 'sgd' is stochastic gradient descent, 'adam' the
        method of Kingma and Ba, 'adamw' is it with a weight_decay of 0.01 unless
        another is given (for none take 'adam'), 'rmsprop' and 'lion' are relatives;
        'lbfgs' is a quasi-Newton method that looks at all samples for every step
        (SciPy's L-BFGS-B), often best for few samples.
    alpha : float, default=0.0001
        Strength of the L2 penalty alpha/2 * sum of squared weights, which is
        divided by the size of the mini-batch when added to its loss.
    batch_size : int or 'auto', default='auto'
        Rows of a mini-batch; 'auto' is min(200, n_samples). Not used by 'lbfgs'.
    learning_rate : str or callable, default='constant'
        'constant' keeps learning_rate_init; 'invscaling' divides it by
        (t + 1)**power_t, t the samples seen so far; 'adaptive' divides the rate by 5
        each time the loss stops improving (these two not for 'adam', as in
        scikit-learn); 'plateau' by 10, twice as soon (after 10 epochs at most), for
        every solver; 'step', 'exponential', 'cosine', 'cosine_warmup' and 'one_cycle'
        follow, step by step, the fraction of max_iter that is done; so does a function
        of that fraction, from 0 to 1, whose result multiplies learning_rate_init.
    learning_rate_init : float, default=0.001
        The (first, or highest) learning rate.
    power_t : float, default=0.5
        Exponent of 'invscaling'.
    max_iter : int, default=200
        Epochs (iterations of 'lbfgs') at most.
    shuffle : bool, default=True
        Whether to shuffle the samples before each epoch.
    random_state : int, RandomState instance or None, default=None
        Source of initial weights, shuffles, dropout and the split of early stopping.
        The same seed gives the same ones as in scikit-learn.
    tol : float, default=1e-4
        By how much an epoch's loss must fall below the best so far (or its
        validation score rise above it) to count as an improvement; for 'lbfgs' the
        size of the gradient's largest element at which it ends.
    verbose : bool, int or 'progress', default=False
        True (or a number above 0) prints the loss of every epoch; 'progress' shows one
        live line with epoch, loss, validation score, rows per second and time left
        (extra ``progress``).
    warm_start : bool, default=False
        Whether fit starts from the weights of the last fit, and goes on with its
        curves and its best score (so keep `scoring`), instead of from new weights.
    momentum : float, default=0.9
        Momentum of 'sgd', between 0 and 1.
    nesterovs_momentum : bool, default=True
        Whether that is Nesterov's momentum.
    early_stopping : bool, default=False
        Whether to hold out a part of the data (or take X_val of fit), stop when the
        score on it no longer improves, and keep the weights of the best epoch. Not
        used by 'lbfgs'.
    validation_fraction : float, default=0.1
        The part that early_stopping holds out.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay rates of Adam's estimates of the gradient's first and second moment;
        'rmsprop' uses beta_2 (others call it rho or alpha, often 0.9 or 0.99), 'lion'
        both (its authors take 0.9 and 0.99).
    epsilon : float, default=1e-8
        What Adam and 'rmsprop' add to the denominator.
    n_iter_no_change : int or inf, default=10
        Epochs in a row without improvement that are let pass; one more ends training.
    max_fun : int, default=15000
        Evaluations of the loss at most; only used by 'lbfgs'.
    precision : {'auto', 'float32', 'float64'}, default='auto'
        What is computed in; 'auto' is float32, but float64 for 'lbfgs'. Arrays that
        come out have the dtype of X all the same.
    n_jobs : int or None, default=None
        Threads of one fit or predict. None takes as many as pay, within the
        cores that the process may use; -1 takes all cores. Results are bitwise
        the same for any number.
    standardize : bool, default=False
        Whether to shift and scale each feature, and each target of a regression (not
        with the losses 'poisson' and 'gamma'), to mean 0 and standard deviation 1
        before they reach the network, by the statistics of the data in `fit` (of
        `partial_fit`: in its first call). Sparse X is only scaled. ``coefs_``,
        ``loss_curve_`` and `huber_delta` then refer to scaled data; predictions and
        scores are those of the data as given.
""",
    "more": """\
    scoring : str, callable or None, default=None
        What early_stopping goes by: any scorer of scikit-learn or its name (with sample
        weights: one that takes them), 'loss' for the loss on the samples that validate;
        None for accuracy or R^2.
    restore_best_weights : bool, default=True
        Whether early_stopping ends with the weights of the best epoch, not the last.
    weight_init : str, default='auto'
        Initial weights: 'glorot_uniform', 'glorot_normal', 'he_uniform', 'he_normal',
        'lecun_normal', 'orthogonal' (biases 0). 'auto' is scikit-learn's for its
        activations, and for others what suits them.
    dropout : float or list of float, default=0.0
        Share of a hidden layer's units that a training step does not see; a list has
        one for each hidden layer. Predictions see all.
    input_dropout : float, default=0.0
        The same of the features.
    weight_decay : float, default=0.0
        Share of every weight, times the learning rate, that a step takes away apart
        from the gradient (decoupled), for any solver with steps.
    l1 : float, default=0.0
        Strength of the penalty l1 * sum of absolute weights, divided as alpha is.
    clip_norm : float or None, default=None
        If the gradient of all parameters together is longer, it is shortened to it.
    ema_decay : float or None, default=None
        The model is an average of the weights over the steps, from the initial ones
        on: each step keeps this share of it, such as 0.999, and adds the rest of the
        new weights. Take it so that many steps count, and far fewer than all.
    callbacks : list of callable or None, default=None
        Functions that are called at the end of every epoch with its ``epoch``,
        ``loss``, ``validation_score``, ``seconds`` and ``estimator`` (a copy that can
        predict); fit ends if one returns True.
    time_limit : float or None, default=None
        Seconds after which fit ends, with the weights of the last step (early_stopping:
        of the best epoch).
    checkpoint : str, path or None, default=None
        A file that is kept up to date while fit runs, and removed when it is done. If
        it is there, fit with the same parameters and data goes on from it, from the
        end of an epoch, to the same weights as if it had never been stopped.
""",
    "attributes": """\
    coefs_ : list of ndarray of shape (fan_in, fan_out)
        Weights of each layer, in the dtype of X. May be written: predict,
        partial_fit and a warm start take what they find here and in ``intercepts_``.
    intercepts_ : list of ndarray of shape (fan_out,)
        Biases of each layer, in the dtype of X.
    loss_ : float
        Loss of the last epoch, penalty included.
    best_loss_ : float or None
        The lowest loss of an epoch; None with early_stopping. Not set by 'lbfgs'.
    loss_curve_ : list of float
        Loss of each epoch. Not set by 'lbfgs'.
    validation_scores_ : list of float or None
        With early_stopping or X_val: the score on the samples that validate, after
        each epoch. Not set by 'lbfgs'.
    validation_loss_curve_ : list of float or None
        Their loss, penalties not included.
    best_validation_score_ : float or None
        The highest score, with early_stopping.
    n_iter_ : int
        Epochs (iterations) done by the last fit.
    t_ : int
        Training samples seen, all epochs together; 0 for 'lbfgs'.
    n_layers_ : int
        Layers, input and output included.
    n_outputs_ : int
        Output units.
    out_activation_ : str
        Activation of the output units.
    precision_ : str
        What was computed in, 'float32' or 'float64'.
    X_mean_, X_scale_ : ndarray of shape (`n_features_in_`,)
        With `standardize`: what is subtracted from the features, and what they are
        then divided by. Not set without.
    y_mean_, y_scale_ : ndarray of shape (n_targets,)
        The same of the targets of a regression.
    n_features_in_ : int
        Features seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if X had names that are all strings.
""",
    "classes": """\
    classes_ : ndarray of shape (n_classes,)
        Class labels.
""",
    "notes": """\
    Parameters by purpose, those of scikit-learn in brackets:

    - network: (hidden_layer_sizes, activation), weight_init
    - what is minimised: loss, (alpha), l1, class_weight, label_smoothing, focal_gamma,
      huber_delta, quantile
    - how: (solver, batch_size, shuffle, momentum, nesterovs_momentum, beta_1, beta_2,
      epsilon, max_fun), clip_norm, ema_decay, precision
    - learning rate: (learning_rate, learning_rate_init, power_t)
    - against overfitting: dropout, input_dropout, weight_decay, (early_stopping,
      validation_fraction), scoring, restore_best_weights
    - when it ends: (max_iter, tol, n_iter_no_change), time_limit, callbacks
    - running: (random_state, warm_start, verbose), n_jobs, checkpoint
""",
    "examples": """\
    Samples of one's own to validate on, and any score to stop by:

    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from fastmlp import MLPEstimator
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(X, y, stratify=y, random_state=0)
    >>> model = MLPEstimator(
    ...     early_stopping=True, scoring="neg_log_loss", max_iter=1000, random_state=0
    ... ).fit(X, y, X_val=X_val, y_val=y_val)
    >>> len(model.validation_loss_curve_) == len(model.validation_scores_)
    True

    Losses that outliers, rare classes or quantiles ask for:

    >>> settings = {"max_iter": 5, "tol": 1, "n_iter_no_change": 1, "random_state": 0}
    >>> MLPEstimator(loss="focal", class_weight="balanced", **settings).fit(X, y).loss
    'focal'
    >>> MLPEstimator(label_smoothing=0.1, **settings).fit(X, y).n_iter_ > 0
    True
    >>> robust = MLPEstimator(
    ...     task="regression", loss="huber", huber_delta=2, **settings
    ... )
    >>> robust.fit(X[:, :3], X[:, 3]).n_outputs_
    1
    >>> interval = MLPEstimator(
    ...     task="regression", loss="quantile", quantile=[0.1, 0.5, 0.9], **settings
    ... ).fit(X[:, :3], X[:, 3])
    >>> interval.predict(X[:5, :3]).shape
    (5, 3)

    An activation for each layer, and initial weights:

    >>> deep = MLPEstimator(
    ...     (20, 10), activation=["silu", "tanh"], weight_init="he_normal", **settings
    ... ).fit(X, y)

    Against overfitting, for stable steps, and weights that are averaged:

    >>> calm = MLPEstimator(
    ...     dropout=0.2, input_dropout=0.1, weight_decay=0.01, l1=1e-4, clip_norm=1.0,
    ...     ema_decay=0.99, **settings
    ... ).fit(X, y)

    Other solvers, and rates that follow the training, or a function of it:

    >>> cycle = MLPEstimator(solver="adamw", learning_rate="one_cycle", **settings)
    >>> cycle.fit(X, y).n_iter_ > 0
    True
    >>> linear = MLPEstimator(
    ...     solver="lion", learning_rate=lambda f: 1 - f, **settings
    ... )
    >>> linear.fit(X, y).n_iter_ > 0
    True

    Something to be done at the end of every epoch, a limit of time, and a file to go on
    from:

    >>> losses = []
    >>> watched = MLPEstimator(
    ...     callbacks=[lambda epoch: losses.append(epoch.loss)], time_limit=60,
    ...     checkpoint="model.npz", **settings
    ... ).fit(X, y)
    >>> losses == watched.loss_curve_
    True
""",
    "references": """\
    Rumelhart, Hinton and Williams, "Learning representations by back-propagating
    errors", Nature 323 (1986).

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", AISTATS (2010).

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR (2015).

    Srivastava et al., "Dropout: a simple way to prevent neural networks from
    overfitting", JMLR 15 (2014).

    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR (2019).
""",
}


def check_lists(estimator, n_hidden):
    """Look at what scikit-learn's validation does not: the entries of lists.

    Raises
    ------
    ValueError
        If a list has a wrong entry or length.
    """
    activation = estimator.activation
    if not isinstance(activation, str):
        unknown = [name for name in activation if name not in ACTIVATIONS]
        if unknown or len(activation) != n_hidden:
            raise ValueError(
                f"activation must be a name or a list with one for each of the "
                f"{n_hidden} hidden layers, each among {sorted(ACTIVATIONS)}; got "
                f"{activation!r}"
            )
    dropout = estimator.dropout
    if not isinstance(dropout, Real) and (
        np.shape(dropout) != (n_hidden,)
        or not all(isinstance(rate, Real) and 0 <= rate < 1 for rate in dropout)
    ):
        raise ValueError(
            "dropout must be a number from 0 to below 1 or a list with one for each of "
            f"the {n_hidden} hidden layers; got {dropout!r}"
        )
    quantile = getattr(estimator, "quantile", 0.5)
    if not isinstance(quantile, Real) and not (
        np.ndim(quantile) == 1
        and len(quantile) > 0
        and all(isinstance(q, Real) and 0 < q < 1 for q in quantile)
    ):
        raise ValueError(
            f"quantile must be between 0 and 1, or a list of such; got {quantile!r}"
        )
    if isinstance(estimator.scoring, str) and estimator.scoring != "loss":
        get_scorer(estimator.scoring)  # its own error, even if nothing validates
    for function in estimator.callbacks or ():
        if not callable(function):
            raise ValueError(f"callbacks must be functions; got {function!r}")


@cache
def _defaults(cls):
    """Default of each parameter, by the class of ours that a subclass is made of."""
    ours = next(c for c in cls.__mro__ if c.__module__.startswith("fastmlp."))
    parameters = inspect.signature(ours).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}


def _is_set(estimator, name):
    """Whether a parameter is not at its default."""
    defaults = _defaults(type(estimator))
    if name not in defaults:
        return False
    value, default = getattr(estimator, name), defaults[name]
    return value is not default and bool(np.any(value != default))


def unused_parameters(estimator, *, n_hidden, has_validation_set, incremental):
    """What to say of parameters that are set and have no effect.

    Parameters
    ----------
    estimator : object
    n_hidden : int
        Hidden layers.
    has_validation_set : bool
        Whether fit was given X_val.
    incremental : bool
        Whether this is partial_fit.

    Returns
    -------
    list of str
        A sentence for each of them.
    """
    solver = estimator.solver
    found = []

    def tell(name, reason):
        found.append(f"{name}={getattr(estimator, name)!r} has no effect {reason}")

    for name in [*SOLVERS_OF, *(n for n in _NEEDS if n not in SOLVERS_OF)]:
        if not _is_set(estimator, name):
            continue
        solvers = SOLVERS_OF.get(name, (solver,))
        needed, value = _NEEDS.get(name, (None, None))
        if solver not in solvers:
            if name not in REFUSED_BY_LBFGS or solver != "lbfgs":
                used = " or ".join(map(repr, solvers))
                tell(name, f"with solver={solver!r}, only with {used}")
        elif needed is not None and getattr(estimator, needed) != value:
            if name != "scoring" or not has_validation_set:
                tell(name, f"without {needed}={value!r}")
        elif name == "validation_fraction" and has_validation_set:
            tell(name, "if fit is given X_val")
        elif name == "learning_rate" and solver == "adam":
            if estimator.learning_rate in ("invscaling", "adaptive"):
                tell(name, "with solver='adam', as in scikit-learn; 'adamw' follows it")
        elif name == "dropout" and n_hidden == 0:
            tell(name, "on a network without hidden layers")
    if incremental:
        for name in _OF_WHOLE_FITS:
            if _is_set(estimator, name):
                tell(name, "on partial_fit, which is one epoch; use fit")
    return found


def documented(cls):
    """Fill the shared texts into the docstring of an estimator class."""
    if cls.__doc__:  # Python -OO has none
        # Python 3.13 strips the indentation of docstrings itself, older ones do not
        text = inspect.cleandoc(cls.__doc__)
        for name, shared in _TEXTS.items():
            text = text.replace(f"%({name})s", textwrap.dedent(shared).rstrip())
        cls.__doc__ = text
    return cls
