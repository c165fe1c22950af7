"""How parameters are kept: by constructors, and in one record that a fit sees."""

from dataclasses import make_dataclass
from functools import cache
from inspect import Parameter, Signature, signature

from fastmlp.estimators.parameters import CONSTRAINTS, OF_CLASSIFICATION, OF_REGRESSION

__all__ = ["Settings", "StoresParameters", "constructor_of", "settings_of"]

#: Everything that any of the estimators has (None where one lacks it), and the name of
#: its class for messages.
Settings = make_dataclass(
    "Settings",
    [*CONSTRAINTS, *OF_CLASSIFICATION, *OF_REGRESSION, "loss", "task", "estimator"],
    frozen=True,
)


_PARAMETERS = tuple(Settings.__dataclass_fields__.keys() - {"estimator"})


def settings_of(estimator):
    """The `Settings` of an estimator as they are now."""
    values = {name: getattr(estimator, name, None) for name in _PARAMETERS}
    return Settings(**values, estimator=type(estimator).__name__)


class StoresParameters:
    """Base class of estimators whose constructors keep all their arguments."""

    @classmethod
    @cache
    def _get_param_names(cls):
        # what scikit-learn finds out at each clone, get_params and set_params, which
        # takes longer than some steps
        return super()._get_param_names()

    def _store(self, parameters):
        """Keep the constructor's arguments, from its ``locals()``."""
        for name, value in parameters.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    @classmethod
    def _defaults(cls):
        """The parameters and their defaults."""
        return {p.name: p.default for p in signature(cls).parameters.values()}


def constructor_of(other, own, without=()):
    """A constructor with the parameters of another class of estimators, and more.

    Parameters
    ----------
    other : type
    own : dict
        Further parameters, and their defaults: only by name, before those of the other
        class that are.
    without : collection of str, default=()
        Parameters of the other class that are left out.
    """
    of_other = [
        p for p in signature(other).parameters.values() if p.name not in without
    ]
    more = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default)
        for name, default in own.items()
    ]
    n_first = sum(p.kind is not Parameter.KEYWORD_ONLY for p in of_other)
    of_other[n_first:n_first] = more
    first = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    parameters = Signature([first, *of_other])

    def __init__(self, *args, **kwargs):
        given = parameters.bind(self, *args, **kwargs)
        given.apply_defaults()
        self._store(given.arguments)

    __init__.__signature__ = parameters
    return __init__
