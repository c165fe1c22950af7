"""The models, with their defaults, as estimators that take a data frame.

Its columns are numbers, maybe missing, or of dtype category. Each model gets what its
documentation asks for, and no more.
"""

from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

__all__ = ["MODELS", "is_installed"]

#: Levels of a category that HistGradientBoosting takes, at most.
_MOST_LEVELS = 254


def _class(module, name, classifies):
    kind = "Classifier" if classifies else "Regressor"
    return getattr(import_module(module), name + kind)


def _selectors():
    from sklearn.compose import make_column_selector

    return (
        make_column_selector(dtype_include="number"),
        make_column_selector(dtype_include="category"),
    )


def _network(module, X, classifies, seed):
    """A plain network, on standardised numbers and one-hot codes."""
    from sklearn.compose import TransformedTargetRegressor, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers, categories = _selectors()
    encode = OneHotEncoder(
        handle_unknown="ignore", max_categories=50, sparse_output=False
    )
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numbers),
        (encode, categories),
    )
    network = _class(module, "MLP", classifies)(random_state=seed)
    model = make_pipeline(columns, network)
    if classifies:
        return model
    return TransformedTargetRegressor(model, transformer=StandardScaler())


def _few_levels(X):
    many = [
        name
        for name in X.select_dtypes("category")
        if len(X[name].cat.categories) > _MOST_LEVELS
    ]
    return X.assign(**{name: X[name].cat.codes.astype("float32") for name in many})


def _hist_gradient_boosting(X, classifies, seed):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    model = _class("sklearn.ensemble", "HistGradientBoosting", classifies)
    return make_pipeline(FunctionTransformer(_few_levels), model(random_state=seed))


def _lightgbm(X, classifies, seed):
    return _class("lightgbm", "LGBM", classifies)(random_state=seed, verbose=-1)


def _as_text(X):
    names = X.select_dtypes("category").columns
    return X.assign(**{name: X[name].astype(object).fillna("") for name in names})


def _catboost(X, classifies, seed):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    model = _class("catboost", "CatBoost", classifies)(
        random_state=seed, verbose=False, allow_writing_files=False,
        cat_features=list(X.select_dtypes("category").columns),
    )  # fmt: skip
    return make_pipeline(FunctionTransformer(_as_text), model)


def _realmlp(kind, X, classifies, seed):
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    model = _class("pytabkit", kind, classifies)(random_state=seed, device="cpu")
    if not X.select_dtypes("number").isna().any(axis=None):
        return model
    numbers, categories = _selectors()
    columns = make_column_transformer(
        (SimpleImputer(add_indicator=True), numbers), ("passthrough", categories),
        verbose_feature_names_out=False,
    )  # fmt: skip
    return make_pipeline(columns.set_output(transform="pandas"), model)


def _tabular(preset, X, classifies, seed):
    return _class("fastmlp", "TabularMLP", classifies)(preset, random_state=seed)


class Model(NamedTuple):
    """One row: how a model is called, the package that has it, how it is made."""

    label: str
    package: str
    make: object  # (X, classifies, seed) -> estimator

    @property
    def is_ours(self):
        return self.package == "fastmlp"


#: key -> row
MODELS = {
    "sk-mlp": Model(
        "scikit-learn's MLP", "sklearn", partial(_network, "sklearn.neural_network")
    ),
    "hgb": Model("HistGradientBoosting", "sklearn", _hist_gradient_boosting),
    "lightgbm": Model("LightGBM", "lightgbm", _lightgbm),
    "catboost": Model("CatBoost", "catboost", _catboost),
    "realmlp-s": Model("RealMLP-TD-S", "pytabkit", partial(_realmlp, "RealMLP_TD_S_")),
    "realmlp": Model("RealMLP-TD", "pytabkit", partial(_realmlp, "RealMLP_TD_")),
    "td-s": Model(
        "RealMLP-TD-S in fastmlp", "fastmlp", partial(_tabular, "realmlp-td-s")
    ),
    "mlp": Model("fastmlp's MLP", "fastmlp", partial(_network, "fastmlp")),
    "fast": Model("TabularMLP, fast", "fastmlp", partial(_tabular, "fast")),
    "default": Model("TabularMLP, default", "fastmlp", partial(_tabular, "default")),
    "best": Model("TabularMLP, best", "fastmlp", partial(_tabular, "best")),
}


def is_installed(model):
    """Whether the package of a model is there."""
    return find_spec(MODELS[model].package) is not None
