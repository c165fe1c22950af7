"""From fitted transformers of scikit-learn to the steps that do the same."""

from collections import UserList
from functools import cache
from typing import NamedTuple

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.utils.validation import check_is_fitted

from fastmlp.data.cells import DATES, DURATIONS, is_missing, key_of, kind_of_type
from fastmlp.data.frames import said
from fastmlp.inference.rows import Lookup, MissingLookup
from fastmlp.inference.steps import (
    Bins,
    Cell,
    Cells,
    Elementwise,
    Imputed,
    Indicated,
    Linear,
    OfColumns,
    OneHot,
    Values,
    joined,
)

__all__ = ["Place", "fold"]


class Place(NamedTuple):
    """Where a transformer is in a pipeline, for messages.

    Attributes
    ----------
    names : sequence
        Of the columns of X.
    path : tuple of str, default=()
        Names of the steps around it, and its own.
    """

    names: list
    path: tuple = ()

    def inside(self, name):
        """The place of a step of this one."""
        return self._replace(path=(*self.path, name))

    def said(self, transformer):
        """The step, in a message."""
        path = " > ".join(map(repr, self.path))
        return f"the step {path} ({type(transformer).__name__})"


def fold(transformer, source, place):
    """The step that does what a transformer does.

    Parameters
    ----------
    transformer : estimator, 'passthrough' or None
        Fitted.
    source : Cells, Mixed or step
        What it is given.
    place : Place

    Returns
    -------
    Cells, Mixed or step

    Raises
    ------
    TypeError
        If it is of a type that cannot be folded.
    ValueError
        If its settings cannot.
    """
    if transformer is None or transformer == "passthrough":
        return source
    rule = _RULES.get(type(transformer))
    if rule is None and (
        getattr(type(transformer), "transform", None) is SelectorMixin.transform
    ):
        rule = _selector
    if rule is None:
        known = ", ".join(sorted(cls.__name__ for cls in _RULES))
        raise TypeError(
            f"fastmlp.predictor cannot fold {place.said(transformer)}. Take this step "
            "out: call its transform yourself, and make the predictor of a pipeline "
            f"with the other steps, such as pipeline[1:]. It folds {known}, and "
            "selectors of features."
        )
    check_is_fitted(transformer)
    return rule(transformer, source, place)


def _unsupported(transformer, place, what, cure):
    return ValueError(
        f"fastmlp.predictor cannot fold {place.said(transformer)} with {what}. {cure}"
    )


# --- what combines transformers ------------------------------------------------------


def _pipeline(pipeline, source, place):
    for name, transformer in pipeline.steps:
        source = fold(transformer, source, place.inside(name))
    return source


def _column_transformer(transformer, source, place):
    names = list(getattr(transformer, "feature_names_in_", ()))
    weights = transformer.transformer_weights or {}
    parts = []
    for name, part, columns in transformer.transformers_:
        indices = _indices_of(columns, names, len(source.origins))
        if indices and not (isinstance(part, str) and part == "drop"):
            step = fold(part, source.select(indices), place.inside(name))
            parts.append(_weighted(step, weights.get(name)))
    return joined(parts, transformer.sparse_output_)


def _indices_of(columns, names, n_columns):
    """Columns of a ColumnTransformer as a list of indices."""
    if isinstance(columns, slice):
        if isinstance(columns.start, str) or isinstance(columns.stop, str):
            start = None if columns.start is None else names.index(columns.start)
            stop = None if columns.stop is None else names.index(columns.stop) + 1
            columns = slice(start, stop, columns.step)
        return list(range(n_columns)[columns])
    if isinstance(columns, UserList):  # it warns of access, in scikit-learn 1.6
        columns = columns.data
    columns = np.atleast_1d(np.asarray(columns)).tolist()
    if columns and all(isinstance(column, bool) for column in columns):
        return np.flatnonzero(columns).tolist()
    every = range(n_columns)
    return [
        names.index(column) if isinstance(column, str) else every[column]
        for column in columns
    ]


def _union(union, source, place):
    weights = union.transformer_weights or {}
    parts = []
    for name, part in union.transformer_list:
        if not (isinstance(part, str) and part == "drop"):
            step = fold(part, source, place.inside(name))
            parts.append(_weighted(step, weights.get(name)))
    return joined(parts, any(part.is_sparse for part in parts))


def _weighted(step, weight):
    if weight is None:
        return step
    weights = np.full(len(step.origins), weight, np.float64)
    return Elementwise(step.numbers(), [(np.multiply, weights, True)])


# --- numbers -------------------------------------------------------------------------


def _divided(source, scale, casts):
    """The operation that divides by a scale; scikit-learn multiplies if sparse."""
    if source.is_sparse:
        return np.multiply, 1 / scale, casts
    return np.divide, scale, casts


@cache
def _standard_casts():
    """Whether StandardScaler casts means to float32 first, as newer versions do."""
    scaler = StandardScaler(with_std=False).fit([[0.1]])
    return bool(scaler.transform(np.array([[0.1]], np.float32))[0, 0] == 0)


def _standard(scaler, source, place):
    source, operations, casts = source.numbers(), [], _standard_casts()
    if scaler.with_mean:
        operations.append((np.subtract, scaler.mean_, casts))
    if scaler.with_std:
        operations.append(_divided(source, scaler.scale_, casts))
    return Elementwise(source, operations)


def _min_max(scaler, source, place):
    operations = [(np.multiply, scaler.scale_, False), (np.add, scaler.min_, False)]
    if scaler.clip:
        operations += _clipped(scaler.feature_range, len(scaler.scale_))
    return Elementwise(source.numbers(), operations)


def _max_abs(scaler, source, place):
    source = source.numbers()
    operations = [_divided(source, scaler.scale_, False)]
    if getattr(scaler, "clip", False):
        operations += _clipped((-1.0, 1.0), len(scaler.scale_))
    return Elementwise(source, operations)


def _clipped(limits, n_features):
    low, high = (np.full(n_features, limit, np.float64) for limit in limits)
    return [(np.maximum, low, True), (np.minimum, high, True)]


def _robust(scaler, source, place):
    source, operations = source.numbers(), []
    if scaler.with_centering:
        operations.append((np.subtract, scaler.center_, False))
    if scaler.with_scaling:
        operations.append(_divided(source, scaler.scale_, False))
    return Elementwise(source, operations)


def _function(transformer, source, place):
    function = transformer.func
    if function is None:
        return source
    is_simple = isinstance(function, np.ufunc) and function.nin == function.nout == 1
    if not is_simple or transformer.kw_args:
        raise _unsupported(
            transformer,
            place,
            f"func={getattr(function, '__name__', function)!r}",
            "Only func=None and NumPy's functions of one number, such as np.log1p, can "
            "be folded: take this step out and call it yourself.",
        )
    if isinstance(source, Cells):  # a data frame, for scikit-learn
        return OfColumns(source, (function,))
    if isinstance(source, OfColumns):  # which it still is
        return OfColumns(source.cells, (*source.functions, function))
    return Elementwise(source.numbers(), [(function, None, False)])


def _pca(pca, source, place):
    step = Linear(source.numbers(), pca.components_.T)
    operations = []
    if pca.mean_ is not None:
        mean = np.reshape(pca.mean_, (1, -1)) @ pca.components_.T
        operations.append((np.subtract, mean[0], True))
    if pca.whiten:
        scale = np.sqrt(pca.explained_variance_)
        scale = np.maximum(scale, np.finfo(scale.dtype).eps)
        operations.append((np.divide, scale, True))
    return Elementwise(step, operations)


def _svd(svd, source, place):
    return Linear(source.numbers(), svd.components_.T)


def _selector(selector, source, place):
    return source.numbers().select(np.flatnonzero(selector.get_support()).tolist())


# --- what is missing -----------------------------------------------------------------


def _imputer(imputer, source, place):
    statistics, missing = imputer.statistics_, imputer.missing_values
    kept = list(range(len(statistics)))
    if not imputer.keep_empty_features:
        kept = [i for i in kept if not is_missing(statistics[i])]
    indicated = imputer.indicator_.features_.tolist() if imputer.add_indicator else []
    if getattr(imputer, "_fit_dtype", statistics.dtype).kind in "fiub":
        source = source.numbers()
        missing = np.nan if is_missing(missing) else missing
        imputed = Imputed(source, statistics.astype(np.float64), missing).select(kept)
        if not indicated:
            return imputed
        return joined([imputed, Indicated(source.select(indicated), missing)])
    if not isinstance(source, Cells):
        raise _unsupported(
            imputer, place, "text that other steps have made", "Put it before them."
        )
    if indicated and not is_missing(missing):
        raise _unsupported(
            imputer,
            place,
            f"add_indicator and missing_values={missing!r} for text",
            "Replace that text by NaN yourself.",
        )
    cells = source.cells
    return Cells(
        [
            cells[i]._replace(fills=(*cells[i].fills, (missing, statistics[i])))
            for i in kept
        ]
        + [Cell(cells[i].column, tells_missing=True) for i in indicated]
    )


# --- categories ----------------------------------------------------------------------

#: Stands for NaN, which equals nothing.
_NAN = object()


def _key(category):
    return _NAN if category is not None and is_missing(category) else category


def _grouped(categories, infrequent):
    """The code of each category, in order; infrequent ones share the last."""
    rare = set() if infrequent is None else {_key(c) for c in infrequent.tolist()}
    n_frequent = len(categories) - len(rare)
    frequent = iter(range(n_frequent))
    return [n_frequent if _key(c) in rare else next(frequent) for c in categories]


def _infrequent_of(encoder):
    found = getattr(encoder, "infrequent_categories_", None)
    return [None] * len(encoder.categories_) if found is None else found


def _lookup(encoder, source, i, categories, codes, unknown, place, **more):
    """What looks up the categories of column i of a source."""
    name = place.names[source.origins[i][0]]
    step, missing, table = place.said(encoder), unknown, {}
    for category, code in zip(categories, codes, strict=True):
        if kind_of_type(type(category)) in (DATES, DURATIONS):
            raise _unsupported(
                encoder,
                place,
                f"dates as categories ({said(name).lower()})",
                "Make text or numbers of them before.",
            )
        if _key(category) is _NAN:
            missing = code
        elif category is None:
            table[None] = code
            missing = code if missing == unknown else missing
        else:
            table[category] = code
            table.setdefault(key_of(category), code)
    if isinstance(source, Cells):
        cell = source.cells[i]
        if cell.tells_missing:
            lookup = Lookup(table, unknown, missing, name, step, **more)
            return MissingLookup(lookup)
        for empty, value in reversed(cell.fills):
            code = table.get(value, unknown)
            if not is_missing(empty):
                table[empty] = code
                continue
            missing = code
            if empty is None:
                table.pop(None, None)
    return Lookup(table, unknown, missing, name, step, **more)


def _one_hot(encoder, source, place):
    source = _one_kind(encoder, source, place)
    warns = encoder.handle_unknown == "warn" or encoder.drop is not None
    lookups, origins = [], []
    infrequent = _infrequent_of(encoder)
    for i, categories in enumerate(encoder.categories_):
        categories = categories.tolist()
        codes = _grouped(categories, infrequent[i])
        places = [*range(len(origins), len(origins) + max(codes) + 1)]
        if encoder.drop_idx_ is not None and encoder.drop_idx_[i] is not None:
            dropped = codes[encoder.drop_idx_[i]]
            places = [*places[:dropped], -1, *places[dropped:-1]]
        unknown = -1
        if encoder.handle_unknown == "error":
            unknown = None
        elif encoder.handle_unknown != "ignore" and infrequent[i] is not None:
            unknown = places[max(codes)]
        codes = [places[code] for code in codes]
        lookups.append(
            _lookup(encoder, source, i, categories, codes, unknown, place, warns=warns)
        )
        origins += [source.origins[i]] * len({*places} - {-1})
    return OneHot(source, lookups, encoder.dtype, origins, encoder.sparse_output)


def _ordinal(encoder, source, place):
    infrequent = _infrequent_of(encoder)
    missing_value = encoder.encoded_missing_value

    def coded(i, categories):
        known = [c for c in categories if _key(c) is not _NAN]
        codes = _grouped(known, infrequent[i])
        values = list(range(max(codes, default=-1) + 1))
        if len(known) < len(categories):  # NaN is the last
            codes.append(len(values))
            values.append(missing_value)
        return codes, values

    unknown = None if encoder.handle_unknown == "error" else encoder.unknown_value
    return _valued(encoder, source, place, coded, unknown, encoder.dtype)


def _target(encoder, source, place):
    if encoder.target_type_ == "multiclass":
        raise _unsupported(
            encoder, place, "more than two classes", "Take a OneHotEncoder."
        )

    def coded(i, categories):
        return range(len(categories)), encoder.encodings_[i].tolist()

    return _valued(encoder, source, place, coded, encoder.target_mean_, np.float64)


def _valued(encoder, source, place, coded, unknown_value, dtype):
    """One number for each category.

    coded : gives (codes of the categories, values of codes) of column i.
    """
    source = _one_kind(encoder, source, place)
    lookups, values = [], []
    for i, categories in enumerate(encoder.categories_):
        codes, of_codes = coded(i, categories.tolist())
        unknown = None if unknown_value is None else len(of_codes)
        lookups.append(
            _lookup(encoder, source, i, categories.tolist(), codes, unknown, place)
        )
        values.append([*of_codes, *([] if unknown is None else [unknown_value])])
    return Values(source, lookups, dtype, values)


def _one_kind(encoder, source, place):
    """The source, unless some of it is text and some made by other steps."""
    if hasattr(source, "parts") and any(isinstance(p, Cells) for p in source.parts):
        raise _unsupported(
            encoder,
            place,
            "columns of which other steps have made some",
            "Give it those that are in X in a step of their own.",
        )
    return source if isinstance(source, Cells) else source.numbers()


def _bins(binner, source, place):
    edges = [each[1:-1] for each in binner.bin_edges_]
    step = Bins(source.numbers(), edges, binner.dtype)
    if binner.encode == "ordinal":
        return step
    lookups, origins = [], []
    for i, n_bins in enumerate(binner.n_bins_.tolist()):
        places = range(len(origins), len(origins) + n_bins)
        lookups.append(_lookup(binner, step, i, range(n_bins), places, None, place))
        origins += [step.origins[i]] * n_bins
    return OneHot(step, lookups, binner.dtype, origins, binner.encode == "onehot")


_RULES = {
    ColumnTransformer: _column_transformer,
    FeatureUnion: _union,
    FunctionTransformer: _function,
    IncrementalPCA: _pca,
    KBinsDiscretizer: _bins,
    MaxAbsScaler: _max_abs,
    MinMaxScaler: _min_max,
    OneHotEncoder: _one_hot,
    OrdinalEncoder: _ordinal,
    PCA: _pca,
    Pipeline: _pipeline,
    RobustScaler: _robust,
    SimpleImputer: _imputer,
    StandardScaler: _standard,
    TargetEncoder: _target,
    TruncatedSVD: _svd,
}
