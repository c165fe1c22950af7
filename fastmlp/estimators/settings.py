"""How parameters are kept: by constructors, and in one record that a fit sees."""

from dataclasses import make_dataclass
from functools import cache
from inspect import signature

from fastmlp.estimators.parameters import CONSTRAINTS, OF_CLASSIFICATION, OF_REGRESSION

__all__ = ["Settings", "StoresParameters", "settings_of"]

#: Everything that any of the estimators has (None where one lacks it), and the name of
#: its class for messages.
Settings = make_dataclass(
    "Settings",
    [*CONSTRAINTS, *OF_CLASSIFICATION, *OF_REGRESSION, "loss", "task", "estimator"],
    frozen=True,
)


def settings_of(estimator):
    """The `Settings` of an estimator as they are now."""
    names = Settings.__dataclass_fields__.keys() - {"estimator"}
    values = {name: getattr(estimator, name, None) for name in names}
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
