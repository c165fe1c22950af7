"""What the page asks for: checked, and as an estimator, its data, and Python code."""

from dataclasses import asdict, dataclass, field, fields
from functools import cached_property, lru_cache
from numbers import Real

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.estimators.parameters import SOLVERS_OF, unused_parameters
from fastmlp.playground.datasets import (
    COMPONENTS,
    DATASETS,
    FEATURES,
    features_of,
    grid_of,
    make_data,
)
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.losses import LOSSES
from fastmlp.tables.optimizers import SOLVERS
from fastmlp.training.optimizer import Optimizer
from fastmlp.training.schedules import SCHEDULES

__all__ = ["IMAGES", "OWN", "Experiment", "choices"]

#: Names of the data sets that are tables: the user's, and those of images.
OWN, IMAGES = "own", ("digits", "letters")

#: What the page can choose; the estimators take more.
CLASS_WEIGHTS = ("none", "balanced")

_CLASSES = {"classification": MLPClassifier, "regression": MLPRegressor}

#: task -> losses; the first is the default
_LOSSES = {
    task: list(dict.fromkeys(
        row.choice
        for row in LOSSES.values()
        if row.is_of_classes == (task == "classification")
    ))
    for task in _CLASSES
}  # fmt: skip

#: name -> (smallest, largest) of numbers
_RANGES = {
    "noise": (0, 0.5), "share": (0.1, 0.9), "seed": (0, 2**31 - 1),
    "learning_rate_init": (1e-6, 10), "alpha": (0, 10), "l1": (0, 10),
    "dropout": (0, 0.9), "ema_decay": (0, 0.9999), "batch_size": (1, 500),
    "max_iter": (1, 20_000),
}  # fmt: skip

_MOST_LAYERS, _MOST_UNITS, _MOST_QUANTILES = 6, 16, 5


@lru_cache(8)
def _images(name, **settings):
    from fastmlp.playground.own_data import OwnData  # which needs pandas

    return getattr(OwnData, name)(**settings)


def choices():
    """What the page offers, from the tables of the package."""
    return {
        "data": {
            **{name: row.task for name, row in DATASETS.items()},
            **dict.fromkeys(IMAGES, "classification"),
        },
        "noisy": [*DATASETS, "letters"],
        "n_classes": {
            name: row.n_classes
            for name, row in DATASETS.items()
            if row.task == "classification"
        },
        "class_weight": CLASS_WEIGHTS,
        "components": COMPONENTS,
        "features": list(FEATURES),
        "activation": list(ACTIVATIONS),
        "solver": list(SOLVERS),
        "learning_rate": list(SCHEDULES),
        "loss": _LOSSES,
        # settings that have no effect with a solver
        "unused": {
            solver: [name for name in _SETTINGS if not _is_used(name, solver)]
            for solver in SOLVERS
        },
        "ranges": _RANGES,
        "most_layers": _MOST_LAYERS,
        "most_units": _MOST_UNITS,
        "defaults": {k: v for k, v in asdict(Experiment()).items() if k != "own"},
    }


@dataclass(frozen=True)
class Experiment:
    """Data and network, as the page shows them.

    Raises
    ------
    ValueError
        If one of them is invalid.
    """

    data: str = "circle"
    noise: float = 0.0
    share: float = 0.5
    seed: int = 0
    features: tuple = ("x1", "x2")
    hidden_layer_sizes: tuple = (4, 2)
    activation: str = "tanh"
    loss: str = ""
    quantile: tuple = (0.5,)
    solver: str = "sgd"
    learning_rate_init: float = 0.03
    learning_rate: str = "constant"
    alpha: float = 0.0
    l1: float = 0.0
    dropout: float = 0.0
    batch_size: int = 10
    ema_decay: float = 0.0
    class_weight: str = "none"
    early_stopping: bool = False
    max_iter: int = 2000
    #: columns of the map, for data of one's own
    axes: tuple = ()
    #: the table that `data` is the name OWN of
    own: object = field(default=None, repr=False, compare=False)

    def __post_init__(self):
        self._check_one_of("data", [*DATASETS, *IMAGES, OWN])
        self._check_one_of("activation", ACTIVATIONS)
        self._check_one_of("solver", SOLVERS)
        self._check_one_of("learning_rate", SCHEDULES)
        self._check_one_of("class_weight", CLASS_WEIGHTS)
        if not isinstance(self.early_stopping, bool):
            raise ValueError("early_stopping must be true or false")
        for name, (least, most) in _RANGES.items():
            value, kind = getattr(self, name), type(getattr(type(self), name))
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if not is_number or not least <= value <= most or kind(value) != value:
                what = "whole number" if kind is int else "number"
                raise ValueError(
                    f"{name} must be a {what} from {least} to {most}, got {value!r}"
                )
            object.__setattr__(self, name, kind(value))
        for name in ("features", "hidden_layer_sizes", "axes", "quantile"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple):
                raise ValueError(f"{name} must be a list, got {value!r}")
            object.__setattr__(self, name, tuple(value))
        self._find_table()
        losses = _LOSSES[self.task]
        if self.loss not in losses:  # of another task, or the default
            object.__setattr__(self, "loss", losses[0])
        for name, default in _SETTINGS.items():
            if not _is_used(name, self.solver):
                object.__setattr__(self, name, default)
        everything = FEATURES if self.own is None else self.own.names
        known = [name for name in everything if name in self.features]
        if self.own is not None and not known:  # of another data set
            known = everything
        if not known or (self.own is None and len(known) != len(self.features)):
            raise ValueError(f"choose one or more of {list(everything)}")
        object.__setattr__(self, "features", tuple(known))
        object.__setattr__(self, "axes", self._possible_axes())
        sizes = self.hidden_layer_sizes
        if len(sizes) > _MOST_LAYERS or not all(
            type(n) is int and 1 <= n <= _MOST_UNITS for n in sizes
        ):
            raise ValueError(
                f"at most {_MOST_LAYERS} hidden layers of 1 to {_MOST_UNITS} units"
            )
        levels = self.quantile
        if not 1 <= len(levels) <= _MOST_QUANTILES or not all(
            type(q) in (int, float) and low < q < 1
            for low, q in zip((0, *levels), levels, strict=False)
        ):
            raise ValueError(
                f"quantile: 1 to {_MOST_QUANTILES} numbers between 0 and 1, in "
                "ascending order"
            )

    def _find_table(self):
        """Set `own` to the table that the data set is, if it is one."""
        if self.data == OWN and self.own is None:
            raise ValueError("the table is no longer here: drop the file once more")
        if self.data == "letters":
            own = _images(self.data, noise=self.noise, seed=self.seed)
        else:
            own = _images(self.data) if self.data in IMAGES else None
        if self.data != OWN:
            object.__setattr__(self, "own", own)

    def _possible_axes(self):
        """Two columns of the table, or its components: as asked, if they are there."""
        if self.own is None:
            return ()
        if len(self.own.names) > 1 and (self.axes == COMPONENTS or self.own.image):
            return COMPONENTS
        axes = list(dict.fromkeys(name for name in self.axes if name in self.own.names))
        return tuple(axes if len(axes) == 2 else self.own.names[:2])

    def _check_one_of(self, name, known):
        value = getattr(self, name)
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"{name} must be one of {list(known)}, got {value!r}")

    @classmethod
    def of(cls, values, own=None):
        """From the page's JSON; unknown names are an error. own: the table, if any."""
        if not isinstance(values, dict):
            raise ValueError("an experiment is an object of names and values")
        known = {each.name for each in fields(cls)} - {"own"}
        if unknown := set(values) - known:
            raise ValueError(f"unknown settings: {sorted(unknown)}")
        return cls(**values, own=own)

    @property
    def task(self):
        """Classification or regression."""
        return self.own.task if self.own is not None else DATASETS[self.data].task

    @property
    def n_classes(self):
        """How many classes there are, if it is a classification."""
        if self.own is not None:
            return len(self.own.labels)
        return DATASETS[self.data].n_classes

    @property
    def _n_training(self):
        own = self.own
        n = DATASETS[self.data].n_samples if own is None else len(own.y)
        return min(max(round(self.share * n), 1), n - 1)

    @property
    def loss_row(self):
        """Name of the row of `fastmlp.tables.losses`."""
        is_binary = self.task == "classification" and self.n_classes == 2
        return f"binary_{self.loss}" if is_binary else self.loss

    @property
    def loss_parameters(self):
        """Of the row of the loss: the estimators' defaults, and the quantiles."""
        model = _CLASSES[self.task]()
        if self.task == "classification":
            values = {"gamma": model.focal_gamma, "smoothing": model.label_smoothing}
        else:
            values = {"delta": model.huber_delta}
        names = LOSSES[self.loss_row].parameters
        return self.quantile if self._levels else tuple(values[n] for n in names)

    @property
    def _levels(self):
        """Of the quantiles to predict, if that is the loss."""
        return self.quantile if self.loss == "quantile" else ()

    @property
    def _is_positive(self):
        """Whether the loss allows not all numbers as targets."""
        return LOSSES[self.loss_row].is_in_range is not None

    @property
    def n_batch(self):
        """Samples of a step."""
        takes_all = not _is_used("batch_size", self.solver)
        return self._n_training if takes_all else min(self.batch_size, self._n_training)

    def make_data(self):
        """The samples, as `fastmlp.playground.datasets.Data`."""
        positive = {"positive": True} if self._is_positive else {}
        if self.own is not None:
            row = LOSSES[self.loss_row]
            if positive and not row.is_in_range(self.own.numbers).all():
                raise ValueError(
                    f"{self.loss} does not suit the column to predict: {row.range}"
                )
            return self.own.split(
                share=self.share, seed=self.seed, features=self.features,
                axes=self.axes, **positive,
            )  # fmt: skip
        return make_data(
            self.data, noise=self.noise, share=self.share, seed=self.seed,
            features=self.features, **positive,
        )  # fmt: skip

    def weights_of(self, y):
        """Weights of samples, by their classes; None if they are all alike."""
        weights = self._settings().get("class_weight")
        return weights and compute_sample_weight(weights, y)

    def shades(self, y):
        """Numbers of a regression as colours, from -1 (very negative) to 1."""
        with np.errstate(divide="ignore"):
            return np.log(y) if self._is_positive else np.asarray(y) / self._deepest

    @property
    def _deepest(self):
        """Of targets: what has the deepest colour."""
        return 1 if self.own is None else 2  # standard deviations

    def legend(self):
        """What the colours -1, 0 and 1 of a regression stand for, as texts."""
        if self.task == "classification":
            return None
        shades = np.array([-1, 0, 1])
        values = np.exp(shades) if self._is_positive else shades * self._deepest
        if self.own is not None:
            numbers = self.own.numbers
            with np.errstate(all="ignore"):
                mean, spread = numbers.mean(), numbers.std()
            values = mean * values if self._is_positive else mean + spread * values
        return [f"{value:.3g}" for value in values]

    def notes(self):
        """Sentences on what is not as one may think."""
        found = []
        if self._is_positive and self.own is None:
            found.append(
                f"{self.loss} needs positive targets: here they are exp(y). Colours "
                "show their logarithms."
            )
        elif self._is_positive:
            found.append(
                "Targets are divided by their mean, as this loss needs positive ones. "
                "Colours show their logarithms."
            )
        if not _is_used("batch_size", self.solver):
            found.append(
                f"{self.solver} takes all samples at once: here, an epoch is one of "
                "its iterations."
            )
        if len(self._levels) > 1:
            shown = self.quantile[len(self.quantile) // 2]
            found.append(f"Each quantile has an output; the map shows that of {shown}.")
        told = unused_parameters(
            self.make_estimator(), n_hidden=len(self.hidden_layer_sizes),
            has_validation_set=False, incremental=False,
        )  # fmt: skip
        return [*found, *(f"{sentence}." for sentence in told)]

    def on_map(self, n):
        """X for n * n points of the map, rows from the top down."""
        if n not in self._maps:
            points = grid_of(n)
            self._maps[n] = (
                features_of(points, self.features) if self.own is None
                else self.own.on_map(points, self.features, self.axes)
            )  # fmt: skip
        return self._maps[n]

    @cached_property
    def _maps(self):
        """What `on_map` has returned: it takes longer than the network."""
        return {}

    def _data_code(self):
        """(lines of imports, line that makes the data)."""
        split = f"share={self.share!r}, seed={self.seed!r}, features={self.features!r}"
        split += ", positive=True)" if self._is_positive else ")"
        if self.own is not None:
            imports = ["from fastmlp.playground import OwnData"]
            if "pd." in self.own.source:
                imports.insert(0, "import pandas as pd")
            return imports, f"data = {self.own.source}.split({split}"
        imports = ["from fastmlp.playground import make_data"]
        return imports, f"data = make_data({self.data!r}, noise={self.noise!r}, {split}"

    def _settings(self):
        """Keyword arguments of the estimator, those of the page."""
        names = ("hidden_layer_sizes", "activation", "loss", "solver",
                 "learning_rate_init", "learning_rate", "alpha", "batch_size",
                 "max_iter")  # fmt: skip
        settings = {name: getattr(self, name) for name in names}
        settings["batch_size"] = self.n_batch
        for name in ("l1", "dropout", "ema_decay"):
            if getattr(self, name) > 0:
                settings[name] = getattr(self, name)
        if self.class_weight != "none" and self.task == "classification":
            settings["class_weight"] = self.class_weight
        if self._levels:
            several = len(self.quantile) > 1
            settings["quantile"] = list(self.quantile) if several else self.quantile[0]
        if self.early_stopping:
            # what is shown are the weights of the last epoch, not of the best
            settings |= {"early_stopping": True, "restore_best_weights": False}
        elif not self._waits_for_plateaus:
            # all epochs run: whoever watches decides when to stop
            settings |= {"tol": 0, "n_iter_no_change": self.max_iter}
        settings["random_state"] = self.seed
        return {n: v for n, v in settings.items() if _is_used(n, self.solver)}

    @property
    def _waits_for_plateaus(self):
        """Whether the schedule needs the estimator to see that a loss stands still."""
        model = _CLASSES[self.task](
            solver=self.solver, learning_rate=self.learning_rate
        )
        return not Optimizer.of(model).schedule.stops_on_plateau()[0]

    def make_estimator(self):
        """The estimator, not fitted."""
        return _CLASSES[self.task](**self._settings())

    def code(self, epochs, edits=()):
        """Python code that trains to the same weights, bit for bit.

        edits : sequence of fastmlp.playground.trainer.Edit
            Weights that were set by hand; those of later epochs are left out.
        """
        name = _CLASSES[self.task].__name__
        edits = [edit for edit in edits if edit.epoch <= epochs]
        imports, data = self._data_code()
        lines = [
            "",
            data,
            f"model = {name}(",
            *(f"    {key}={value!r}," for key, value in self._settings().items()),
            ")",
        ]
        done = edits[0].epoch if edits else epochs
        if done > 0:
            lines += _fit_for(done)
        else:
            imports.append("from fastmlp.playground import untrained")
            lines.append("untrained(model, data.X, data.y)")
        for number, edit in enumerate(edits):
            lines.append(edit.code())
            following = edits[number + 1].epoch if edit is not edits[-1] else epochs
            if following > done:
                lines += _fit_for(following - done, "warm_start=True, ")
                done = following
        return "\n".join(
            [
                f"from fastmlp import {name}",
                *imports,
                *lines,
                "print(model.score(data.X_test, data.y_test))",
                "",
            ]
        )


#: settings that estimators have, too -> defaults
_SETTINGS = {
    each.name: each.default for each in fields(Experiment) if each.name in SOLVERS_OF
}


def _is_used(name, solver):
    """Whether a solver uses a parameter of the estimators."""
    return solver in SOLVERS_OF.get(name, (solver,))


def _fit_for(epochs, settings=""):
    """Lines of code that train for so many epochs."""
    return [
        f"stop = lambda state: state.epoch == {epochs}",
        f"model.set_params({settings}callbacks=[stop])",
        "model.fit(data.X, data.y)",
    ]
