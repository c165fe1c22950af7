"""The parameters of an estimator as a fit sees them: one record that never changes."""

from dataclasses import make_dataclass

from fastmlp.estimators.parameters import CONSTRAINTS, OF_CLASSIFICATION, OF_REGRESSION

__all__ = ["Settings", "settings_of"]

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
