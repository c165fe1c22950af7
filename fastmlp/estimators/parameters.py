"""The estimators' parameters: what is valid, and the text that documents them."""

import inspect
import re
import textwrap
from functools import cache
from numbers import Integral, Real
from os import PathLike

import numpy as np
from sklearn.metrics import get_scorer

# Not public in scikit-learn, but the only way to its own error messages.
from sklearn.utils._param_validation import Interval, Options, StrOptions

from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.initializations import INITIALIZATIONS
from fastmlp.tables.losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES
from fastmlp.tables.optimizers import OPTIMIZERS, REFUSED_BY_LBFGS, SOLVERS
from fastmlp.training.progress import is_callback
from fastmlp.training.schedules import SCHEDULES

__all__ = [
    "ANY_LOSS",
    "CLASSIFICATION_LOSS",
    "CONSTRAINTS",
    "GROUPS",
    "OF_CLASSIFICATION",
    "OF_ENSEMBLES",
    "OF_REGRESSION",
    "REGRESSION_LOSS",
    "SOLVERS_OF",
    "TASK",
    "check_lists",
    "documented",
    "groups_of",
    "solvers_sentence",
    "unused_parameters",
]

#: Kernels compute in float32 and flush smaller numbers to 0, which means no clipping.
_LEAST_NORM = float(np.finfo(np.float32).tiny)

#: Constraints that all estimators share, as scikit-learn's validation reads them.
CONSTRAINTS = {
    "hidden_layer_sizes": [
        "array-like",
        Interval(Integral, 1, None, closed="left"),
    ],
    "activation": [StrOptions(ACTIVATIONS.keys()), "array-like"],
    "solver": [StrOptions(set(SOLVERS))],
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
    "clip_norm": [None, Interval(Real, _LEAST_NORM, None, closed="left")],
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

#: Constraints of what an ensemble has besides the parameters of its members.
OF_ENSEMBLES = {
    "n_estimators": [Interval(Integral, 1, None, closed="left")],
    "bootstrap": ["boolean"],
    "cv": ["cv_object"],
    "selection": [StrOptions({"greedy"}), None],
}

#: Constraints of what only some estimators have.
CLASSIFICATION_LOSS = [StrOptions(CLASSIFICATION_LOSSES)]  # users may add some
REGRESSION_LOSS = [StrOptions(REGRESSION_LOSSES)]
ANY_LOSS = [StrOptions({"auto"}), *CLASSIFICATION_LOSS, *REGRESSION_LOSS]
TASK = [StrOptions({"auto", "classification", "regression"})]

#: Solvers that take steps down the gradient of mini-batches.
_STEPPING = tuple(solver for solver in SOLVERS if solver != "lbfgs")

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
    **{
        name: tuple(
            solver
            for solver, rules in SOLVERS.items()
            if any(name in OPTIMIZERS[rule].parameters for rule in rules)
        )
        for name in ("momentum", "nesterovs_momentum", "beta_1", "beta_2", "epsilon")
    },
    "max_fun": ("lbfgs",),
}  # fmt: skip

#: Parameters by purpose; not every estimator has all of them.
GROUPS = {
    "Ensemble": ("n_estimators", "bootstrap", "cv", "selection"),
    "Network and data": (
        "hidden_layer_sizes", "activation", "weight_init", "standardize",
    ),
    "Loss": (
        "task", "loss", "class_weight", "label_smoothing", "focal_gamma",
        "huber_delta", "quantile",
    ),
    "Solver": (
        "solver", "batch_size", "shuffle", "momentum", "nesterovs_momentum", "beta_1",
        "beta_2", "epsilon", "clip_norm", "ema_decay", "max_fun",
    ),
    "Learning rate": ("learning_rate", "learning_rate_init", "power_t"),
    "Regularization": ("alpha", "l1", "weight_decay", "dropout", "input_dropout"),
    "Stopping": (
        "max_iter", "tol", "n_iter_no_change", "early_stopping", "validation_fraction",
        "scoring", "restore_best_weights", "time_limit",
    ),
    "Progress and resuming": ("verbose", "callbacks", "warm_start", "checkpoint"),
    "Computation": ("precision", "n_jobs", "random_state"),
}  # fmt: skip

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

_MAY_BE_UNUSED = tuple({**SOLVERS_OF, **_NEEDS})

#: Parameters that partial_fit, which is one epoch of many, takes no notice of.
_OF_WHOLE_FITS = ("callbacks", "checkpoint", "time_limit")

_TEXTS = {
    "layers": """\
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of units in each hidden layer. With ``()`` there is none, and the model
        is linear.
    activation : str or list of str, default='relu'
        Activation function of the hidden layers; a list has one for each layer.
        'identity' (z), 'logistic' (1/(1 + exp(-z))), 'tanh', 'relu' (max(0, z)),
        'leaky_relu', 'elu', 'selu', 'gelu', 'silu', 'mish', 'softplus', 'softsign' or
        'hard_swish'.
""",
    "classification": """\
    focal_gamma : float, default=2.0
        Exponent of ``loss='focal'``; 0 gives the log loss.
    label_smoothing : float, default=0.0
        Fraction of each target that is spread evenly over all classes (with several
        labels at once: over 0 and 1), so that outputs do not grow without bound.
    class_weight : dict, 'balanced' or None, default=None
        Weights of the classes, which multiply those of the samples. 'balanced' means
        n_samples / (n_classes * number of samples of the class).
""",
    "regression": """\
    huber_delta : float, default=1.0
        Size of an error at which ``loss='huber'`` turns from quadratic to linear.
    quantile : float or list of float, default=0.5
        Quantile to predict with ``loss='quantile'``. A list trains one network that
        predicts all of them, in one column each.
""",
    "settings": """\
    solver : {'adam', 'sgd', 'lbfgs', 'adamw', 'rmsprop', 'lion'}, default='adam'
        Optimizer. 'sgd' is stochastic gradient descent, 'adam' the method of Kingma
        and Ba, 'adamw' is Adam with decoupled weight decay (default 0.01); 'rmsprop'
        and 'lion' are related to Adam. 'lbfgs' is a quasi-Newton method (SciPy's
        L-BFGS-B) that uses all samples in every step, often the best for small data.
    alpha : float, default=0.0001
        Strength of the L2 penalty. The penalty, alpha/2 times the sum of squared
        weights, is divided by the size of the mini-batch when added to the loss.
    batch_size : int or 'auto', default='auto'
        Number of samples in a mini-batch; 'auto' means min(200, n_samples).
    learning_rate : str or callable, default='constant'
        Learning rate schedule.

        - 'constant': always learning_rate_init.
        - 'invscaling': learning_rate_init / (t + 1)**power_t after t samples. 'adam'
          ignores it, as in scikit-learn.
        - 'adaptive': divided by 5 each time the loss stops improving. 'adam' ignores
          it, as in scikit-learn.
        - 'plateau': divided by 10 after half of n_iter_no_change epochs (at most 10)
          without improvement.
        - 'step', 'exponential', 'cosine', 'cosine_warmup' and 'one_cycle': change with
          every step, by the fraction of max_iter that is done.
        - a function of that fraction, from 0 to 1: its result multiplies
          learning_rate_init.
    learning_rate_init : float, default=0.001
        Initial learning rate, or the highest one for schedules that warm up.
    power_t : float, default=0.5
        Exponent of ``learning_rate='invscaling'``.
    max_iter : int, default=200
        Maximum number of epochs (of iterations for 'lbfgs').
    shuffle : bool, default=True
        Whether to shuffle the samples before each epoch.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, the shuffles, dropout and the split of early
        stopping. An int makes the fit reproducible: weights, shuffles and split are
        then the same as in scikit-learn.
    tol : float, default=1e-4
        Minimum improvement. An epoch counts as an improvement if its loss is lower
        than the best so far by at least tol (or its validation score higher).
        'lbfgs' stops when no element of the gradient is larger than tol.
    verbose : bool, int or 'progress', default=False
        True, or a number above 0, prints the loss of every epoch. 'progress' shows one
        live line with epoch, loss, validation score, rows per second and time left; it
        needs tqdm (extra ``progress``).
    warm_start : bool, default=False
        Whether fit continues from the weights, the loss curve and the best score of
        the last fit (so do not change `scoring`), instead of from new weights.
    momentum : float, default=0.9
        Momentum, between 0 and 1.
    nesterovs_momentum : bool, default=True
        Whether to use Nesterov's momentum.
    early_stopping : bool, default=False
        Whether to stop when the score on held-out samples no longer improves, and keep
        the weights of the best epoch. These samples are a part of the training data,
        or X_val and y_val if fit is given them.
    validation_fraction : float, default=0.1
        Fraction of the training data that early_stopping holds out.
    beta_1 : float, default=0.9
        Decay rate of the running mean of gradients (first moment). For 'lion', weight
        of the momentum in a step; its authors use 0.9.
    beta_2 : float, default=0.999
        Decay rate of the running mean of squared gradients (second moment). Elsewhere,
        that of 'rmsprop' is called rho or alpha, and is often 0.9 or 0.99. For 'lion',
        decay rate of the momentum; its authors use 0.99.
    epsilon : float, default=1e-8
        Number added to the denominator, for numerical stability.
    n_iter_no_change : int or inf, default=10
        Maximum number of consecutive epochs without improvement to tolerate before
        stopping.
    max_fun : int, default=15000
        Maximum number of evaluations of the loss.
    precision : {'auto', 'float32', 'float64'}, default='auto'
        Floating-point type of the computations; 'auto' means float32, and float64 for
        'lbfgs'. Fitted arrays and predictions have the dtype of X regardless.
    n_jobs : int or None, default=None
        Number of threads of one fit or predict. None means as many as are worthwhile,
        within the cores that the process may use; -1 means all cores. Results are
        bitwise the same for any number.
    standardize : bool, default=False
        Whether to scale each feature, and each target of a regression (not with the
        losses 'poisson' and 'gamma'), to mean 0 and standard deviation 1 inside the
        estimator. The statistics are those of the data in `fit` (for `partial_fit`: in
        its first call). Sparse X is scaled, but not shifted. ``coefs_``,
        ``loss_curve_`` and `huber_delta` then refer to scaled data; predictions and
        scores are those of the data as given.
""",
    "more": """\
    scoring : str, callable or None, default=None
        Score on the validation samples, which early_stopping monitors: a scikit-learn
        scorer or its name, or 'loss' for the loss. None means accuracy or R^2. With
        sample weights, the scorer has to accept them. NaN in the first epoch is an
        error, unless predictions are not finite.
    restore_best_weights : bool, default=True
        Whether early_stopping ends with the weights of the best epoch, not of the last.
    weight_init : str, default='auto'
        Distribution of the initial weights: 'glorot_uniform', 'glorot_normal',
        'he_uniform', 'he_normal', 'lecun_normal' or 'orthogonal', each with biases of
        0. 'auto' is scikit-learn's for its activations, and a suitable one of these
        for the others.
    dropout : float or list of float, default=0.0
        Fraction of a hidden layer's units that are dropped in a training step; a list
        has one for each hidden layer. Predictions use all units.
    input_dropout : float, default=0.0
        Fraction of the features that are dropped in a training step.
    weight_decay : float, default=0.0
        Decoupled weight decay: each step first multiplies the weights by 1 - learning
        rate * weight_decay. With 'adamw', 0 means 0.01.
    l1 : float, default=0.0
        Strength of the L1 penalty: l1 times the sum of absolute weights, divided like
        that of alpha.
    clip_norm : float or None, default=None
        Maximum norm of the gradient of all parameters together; a longer gradient is
        shortened to it. At least 1.2e-38, the smallest normal number of float32.
    ema_decay : float or None, default=None
        Decay of an exponential moving average of the weights, such as 0.999. The model
        is the average: it starts from the initial weights, and each step keeps this
        fraction of it and adds the rest of the new weights. Choose it so that many
        steps count, and far fewer than all.
    callbacks : list of callable or `Callback`, or None, default=None
        Functions called at the end of every epoch, with an object that has ``epoch``,
        ``loss``, ``validation_score``, ``seconds``, ``learning_rate`` (which can be
        set), ``gradient_norms`` and ``estimator`` (a copy that can predict). fit ends
        if one of them returns True. Or objects with methods for the beginning and end
        of training and of epochs: see `fastmlp.Callback`.
    time_limit : float or None, default=None
        Maximum time of a fit in seconds. The model then has the weights of the last
        step or, with early_stopping, those of the best epoch.
    checkpoint : str, path or None, default=None
        File that is kept up to date while fit runs, and removed when it is done. If it
        exists, fit with the same parameters and data resumes from it, at the end of an
        epoch, and ends with the same weights as a fit that was never interrupted.
        Functions among the parameters are compared by name only, with a warning.
""",
    "attributes": """\
    coefs_ : list of ndarray of shape (fan_in, fan_out)
        Weights of each layer, in the dtype of X. They may be changed: predict,
        partial_fit and a warm start use what is in them and in ``intercepts_``.
    intercepts_ : list of ndarray of shape (fan_out,)
        Biases of each layer, in the dtype of X.
    loss_ : float
        Loss of the last epoch, including the penalty.
    best_loss_ : float or None
        Lowest loss of an epoch; None with early_stopping. Not set by 'lbfgs'.
    loss_curve_ : list of float
        Loss of each epoch. Not set by 'lbfgs'.
    validation_scores_ : list of float or None
        Score on the validation samples after each epoch, with early_stopping or X_val.
        Not set by 'lbfgs'.
    validation_loss_curve_ : list of float or None
        Loss on the validation samples after each epoch, without penalties.
    best_validation_score_ : float or None
        Highest validation score, with early_stopping.
    n_iter_ : int
        Number of epochs (of iterations for 'lbfgs') of the last fit.
    t_ : int
        Number of training samples seen, over all epochs; 0 for 'lbfgs'.
    n_layers_ : int
        Number of layers, including input and output.
    n_outputs_ : int
        Number of output units.
    out_activation_ : str
        Activation function of the output units.
    precision_ : str
        Floating-point type of the computations, 'float32' or 'float64'.
    X_mean_, X_scale_ : ndarray of shape (`n_features_in_`,)
        With `standardize`: what is subtracted from the features, and what they are
        then divided by. Otherwise not set.
    y_mean_, y_scale_ : ndarray of shape (n_targets,)
        The same for the targets of a regression.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X has names that are all strings.
""",
    "classes": """\
    classes_ : ndarray of shape (n_classes,)
        Class labels.
""",
    "examples": """\
    Early stopping with your own validation set and any scorer:

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

    Losses for rare classes, outliers and quantiles:

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

    A different activation for each layer, and other initial weights:

    >>> deep = MLPEstimator(
    ...     (20, 10), activation=["silu", "tanh"], weight_init="he_normal", **settings
    ... ).fit(X, y)

    Regularization, gradient clipping and averaged weights:

    >>> calm = MLPEstimator(
    ...     dropout=0.2, input_dropout=0.1, weight_decay=0.01, l1=1e-4, clip_norm=1.0,
    ...     ema_decay=0.99, **settings
    ... ).fit(X, y)

    Other solvers, a learning rate schedule, and one of your own:

    >>> cycle = MLPEstimator(solver="adamw", learning_rate="one_cycle", **settings)
    >>> cycle.fit(X, y).n_iter_ > 0
    True
    >>> linear = MLPEstimator(
    ...     solver="lion", learning_rate=lambda f: 1 - f, **settings
    ... )
    >>> linear.fit(X, y).n_iter_ > 0
    True

    A callback for every epoch, a time limit, and a checkpoint to resume from:

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
                f"{n_hidden} hidden layers, each among {sorted(ACTIVATIONS)} or "
                f"registered with fastmlp.register_activation; got {activation!r}"
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
        if not is_callback(function) or isinstance(function, type):
            raise ValueError(
                "callbacks must be functions, or objects with methods such as "
                f"on_epoch_end; got {function!r}"
            )


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

    defaults = _defaults(type(estimator))
    for name in _MAY_BE_UNUSED:
        # most are the very objects that are their defaults
        if getattr(estimator, name, None) is defaults.get(name):
            continue
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


def groups_of(cls):
    """`GROUPS` with only the parameters that an estimator class has, if any.

    Parameters
    ----------
    cls : type

    Returns
    -------
    dict of str to list of str
    """
    names = inspect.signature(cls).parameters
    groups = {
        title: [name for name in group if name in names]
        for title, group in GROUPS.items()
    }
    return {title: group for title, group in groups.items() if group}


def solvers_sentence(name):
    """Which solvers use a parameter, as a sentence; empty if all do."""
    solvers = SOLVERS_OF.get(name)
    if solvers is None:
        return ""
    if solvers == _STEPPING:
        verb = "supported" if name in REFUSED_BY_LBFGS else "used"
        return f"Not {verb} by 'lbfgs'."
    *others, last = map(repr, solvers)
    return (
        f"Only used by {', '.join(others)} and {last}."
        if others
        else (f"Only used by {last}.")
    )


#: A parameter in a docstring, and its description.
_ENTRY = re.compile(r"^(\w+) : .*\n((?: {4}.*\n|\n(?= {4}))+)", re.MULTILINE)


def _with_solvers(match):
    """The entry of a parameter, with the solvers that use it."""
    sentence = solvers_sentence(match[1])
    if not sentence:
        return match[0]
    gap = "\n" if "\n\n" in match[2] else ""  # below a list
    return f"{match[0]}{gap}    {sentence}\n"


def documented(cls, texts=(), entries=()):
    """Fill the shared texts into the docstring of an estimator class.

    texts : dict, name -> text, beside those of all estimators.
    entries : dict, name of a parameter -> its entry, instead of the shared one.
    """
    if cls.__doc__:  # Python -OO has none
        # Python 3.13 strips the indentation of docstrings itself, older ones do not
        text = inspect.cleandoc(cls.__doc__)
        for name, shared in {**dict(texts), **_TEXTS}.items():
            text = text.replace(f"%({name})s", textwrap.dedent(shared).rstrip())
        groups = [
            textwrap.fill(f"- {title}: {', '.join(names)}", 80, subsequent_indent="  ")
            for title, names in groups_of(cls).items()
        ]
        lead = "Parameters by purpose:\n\n"
        text = text.replace("%(groups)s", lead + "\n".join(groups))
        entries = dict(entries)
        text = _ENTRY.sub(lambda entry: entries.get(entry[1], entry[0]), text)
        cls.__doc__ = _ENTRY.sub(_with_solvers, text)
    return cls
