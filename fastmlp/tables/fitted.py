"""What a fit leaves behind: one record, whose fields are the fitted attributes."""

from dataclasses import dataclass, fields, replace
from numbers import Integral, Real

__all__ = ["PARAMETERS", "FittedModel", "parameters_of"]

_UNSET = object()

#: Group of parameters, as layers declare it -> attribute that holds its arrays.
PARAMETERS = {"weights": "coefs_", "biases": "intercepts_"}


def parameters_of(model):
    """The arrays of each group, as `Network.write` takes them.

    model : an estimator or a `FittedModel`.
    """
    return tuple(getattr(model, name) for name in PARAMETERS.values())


@dataclass
class _SharedAttributes:
    """Attributes that scikit-learn's models have as well."""

    # the network
    coefs_: list = _UNSET
    intercepts_: list = _UNSET
    n_layers_: Integral = _UNSET
    n_outputs_: Integral = _UNSET
    out_activation_: str = _UNSET
    # labels
    classes_: object = _UNSET
    _label_binarizer: object = _UNSET
    # how training went
    n_iter_: Integral = _UNSET
    t_: Integral = _UNSET
    loss_: Real = _UNSET
    loss_curve_: list = _UNSET
    best_loss_: Real | None = _UNSET
    validation_scores_: list | None = _UNSET
    best_validation_score_: Real | None = _UNSET
    # to continue from
    _no_improvement_count: Integral = _UNSET


@dataclass
class FittedModel(_SharedAttributes):
    """The attributes that a fit sets; those that do not apply are left out.

    The names are those of the estimator, where users find them documented. Nothing else
    in the package lists them.
    """

    precision_: str = _UNSET
    task_: str = _UNSET
    # of ``standardize``
    X_mean_: object = _UNSET
    X_scale_: object = _UNSET
    y_mean_: object = _UNSET
    y_scale_: object = _UNSET
    validation_loss_curve_: list | None = _UNSET
    _optimizer_state: dict | None = _UNSET

    @classmethod
    def kinds(cls):
        """{name of an attribute: type of its value}."""
        return {field.name: field.type for field in fields(cls)}

    @classmethod
    def names(cls):
        """Names of all attributes."""
        return [*cls.kinds()]

    @staticmethod
    def shared_names():
        """Names of the attributes that mean the same in scikit-learn."""
        return [field.name for field in fields(_SharedAttributes)]

    def with_parameters(self, groups):
        """This model with the arrays that `Network.read` gives."""
        return replace(self, **dict(zip(PARAMETERS.values(), groups, strict=True)))

    @classmethod
    def of(cls, estimator):
        """The fitted attributes of an estimator."""
        found = vars(estimator)
        return cls(**{name: found[name] for name in cls.names() if name in found})

    def attributes(self):
        """{name: value} of those that are set."""
        values = vars(self).items()
        return {name: value for name, value in values if value is not _UNSET}

    def get(self, name, default=None):
        """The value of an attribute, or a default if it is not set or None."""
        value = getattr(self, name)
        return default if value is _UNSET or value is None else value
