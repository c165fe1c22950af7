"""The predictor of a whole pipeline."""

import sys
from operator import itemgetter

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from fastmlp.data.frames import read, said
from fastmlp.estimators.base import NetworkEstimator
from fastmlp.estimators.tabular_model import TabularModel
from fastmlp.inference.folding import Place, fold
from fastmlp.inference.rows import Row, Rows, Table, is_finite
from fastmlp.inference.steps import Cell, Cells

__all__ = ["PipelinePredictor", "predictor"]

#: Numbers that the features of some rows are made of at a time.
_MOST_NUMBERS = 2**23

#: What the items of a list are, if it is a list of rows.
_NESTED = (list, tuple, dict, np.ndarray)


def predictor(model):
    """Make one function of a whole pipeline, which predicts a few rows in little time.

    For a service that answers one request after the other. In a pipeline, each step
    checks its input anew and makes tables of it, which takes far longer than what the
    steps compute. Here the arithmetic of all steps is put in front of the network.

    Parameters
    ----------
    model : Pipeline or estimator
        Fitted: a pipeline that ends with an estimator of fastmlp, or such an estimator
        by itself, whose own `predictor` is returned. Of a search, its best one is
        taken.

    Returns
    -------
    callable
        ``predictor(X)`` gives what `predict_proba` gives (of a regressor: `predict`).
        X is one row, of which the one row of the result is returned: a list, tuple or
        array of cells in the order of columns in fit, or a dict or Series that names
        them. Or it is several rows: a data frame, an array, a list of rows or of
        dicts, a sparse matrix. Columns of data frames are found by their names, in any
        order; others are not looked at. Several threads may call it at once. Another
        fit of the model does not change it.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    TypeError
        If it is not a model of fastmlp, or if one of the steps cannot be folded: the
        message names it.
    ValueError
        If one of the steps has settings that cannot be folded.

    Notes
    -----
    Folded are scalers (`StandardScaler`, `MinMaxScaler`, `MaxAbsScaler`,
    `RobustScaler`), `SimpleImputer`, encoders (`OneHotEncoder`, `OrdinalEncoder`,
    `TargetEncoder`), `KBinsDiscretizer`, `PCA`, `IncrementalPCA`, `TruncatedSVD`,
    selectors of features, `FunctionTransformer` without a function or with one of
    NumPy's such as ``np.log1p``, and `ColumnTransformer`, `FeatureUnion` and
    `Pipeline` of them. A subclass of one of these is not: it may do something else.

    The numbers are those of the pipeline, to the last bit, but for products with
    matrices (`PCA` and the like), which may differ in rounding, and for functions of
    small integers and truth values in a data frame, which NumPy computes in float16 or
    float32, and the predictor in float64. So may float32 columns that one
    `ColumnTransformer` passes through beside others, and the next one takes alone.

    What is missing may be None, NaN, NaT or pandas' NA. Where no step fills it in, and
    where a number is infinite, the call raises a ValueError with the name of the
    column, as it does for a category that an encoder does not know
    (``handle_unknown='error'``).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import fastmlp
    >>> X, y = load_iris(return_X_y=True)
    >>> network = fastmlp.MLPClassifier(max_iter=200, random_state=0)
    >>> pipeline = make_pipeline(StandardScaler(), network).fit(X, y)
    >>> predict = fastmlp.predictor(pipeline)
    >>> np.array_equal(predict(X[0]), pipeline.predict_proba(X[:1])[0])
    True
    """
    while hasattr(model, "best_estimator_"):
        model = model.best_estimator_
    steps, network = _split(model)
    if not isinstance(network, NetworkEstimator | TabularModel):
        ours = getattr(network, "__module__", "").startswith("sklearn.neural_network")
        cure = " fastmlp.from_sklearn converts it." if ours else ""
        raise TypeError(
            "fastmlp.predictor takes an estimator of fastmlp, or a pipeline that ends "
            f"with one, not {type(network).__name__}.{cure}"
        )
    check_is_fitted(network)
    if not steps:
        return network.predictor()
    if isinstance(network, TabularModel):
        place, transformer = steps[0]
        raise TypeError(
            f"{type(network).__name__} prepares columns itself: fit it without "
            f"{place.said(transformer)}, or make the predictor of it alone and call "
            "the other steps yourself"
        )
    check_is_fitted(model)
    names = _first(steps, "feature_names_in_")
    n_features = _first(steps, "n_features_in_")
    if n_features is None:
        n_features = network.n_features_in_
    names = None if names is None else list(names)
    columns = list(range(n_features)) if names is None else names
    features = Cells(Cell(j) for j in range(n_features))
    for place, transformer in steps:
        features = fold(transformer, features, place._replace(names=columns))
    return PipelinePredictor(
        features.numbers(), network.predictor(), columns, names is not None,
        getattr(network, "classes_", None),
    )  # fmt: skip


def _split(model, place=Place([])):  # noqa: B008
    """(places and transformers in a pipeline, the estimator at its end)."""
    if not isinstance(model, Pipeline):
        return [], model
    steps = []
    for name, transformer in model.steps[:-1]:
        if transformer is not None and transformer != "passthrough":
            steps.append((place.inside(name), transformer))
    name, last = model.steps[-1]
    more, network = _split(last, place.inside(name))
    return steps + more, network


def _first(steps, attribute):
    """An attribute of the first step, which is that of X."""
    for _, transformer in steps:
        value = getattr(transformer, attribute, None)
        if value is not None:
            return value
        if not isinstance(transformer, Pipeline):
            break
    return None


class PipelinePredictor:
    """See `predictor`.

    Parameters
    ----------
    features : step
        What the network is given.
    network : callable
        The predictor of the network.
    columns : list
        Names of the columns of X, or their numbers.
    has_names : bool
        Whether they are names.
    classes : ndarray or None
        Of the columns of predictions.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if the pipeline was fitted with names.
    classes_ : ndarray
        Only of a classifier.
    used_columns_ : list
        Names, or numbers, of the columns that the pipeline looks at.
    """

    def __init__(self, features, network, columns, has_names, classes):
        self._features, self._network, self._columns = features, network, columns
        self._has_names = has_names
        self.n_features_in_ = len(columns)
        if has_names:
            self.feature_names_in_ = np.array(columns, dtype=object)
        if classes is not None:
            self.classes_ = classes
        self._used = sorted({j for origin in features.origins for j in origin})
        self.used_columns_ = [columns[j] for j in self._used]
        self._by_name = None
        if has_names and len(self._used) == len(columns) > 1:
            self._by_name = itemgetter(*columns)

    def __call__(self, X):
        """Predict one row (n_features,) or several rows (n_samples, n_features)."""
        cells = self._cells_of_row(X)
        if cells is None:
            return self._predict_table(X)
        if len(cells) != self.n_features_in_:
            raise ValueError(
                f"the row has {len(cells)} cells; expected {self.n_features_in_}"
            )
        row = Row(cells, self._columns)
        features = self._features(row)
        if not is_finite(features):
            self._check(features, row)
        return self._network(features)[0]

    def _cells_of_row(self, X):
        """The cells of a row, or None if X is a table."""
        if isinstance(X, dict):
            return self._cells_by_name(X)
        if isinstance(X, (list, tuple)):
            return None if X and isinstance(X[0], _NESTED) else X
        if isinstance(X, np.ndarray):
            if X.ndim != 1:
                return None
            if type(X) is np.ndarray and X.dtype in (np.float32, np.float64):
                return X
            return X.tolist()
        pandas = sys.modules.get("pandas")
        if pandas is not None and isinstance(X, pandas.Series):
            if self._has_names:
                return self._cells_by_name(X.to_dict())
            return X.tolist()
        return None

    def _cells_by_name(self, row):
        """The cells of a dict, those that nobody needs left out."""
        if not self._has_names:
            raise ValueError(
                "the pipeline was fitted without names of columns: give a row as a "
                f"list of {self.n_features_in_} cells"
            )
        try:
            if self._by_name is not None:
                return self._by_name(row)
            cells = [None] * self.n_features_in_
            for j, name in zip(self._used, self.used_columns_, strict=True):
                cells[j] = row[name]
        except KeyError:
            raise self._lacks(row) from None
        return cells

    def _lacks(self, names):
        """The error that columns are not there."""
        missing = [repr(name) for name in self.used_columns_ if name not in names]
        unknown = [repr(name) for name in names if name not in self._columns]
        more = f"; unknown are {', '.join(unknown[:5])}" if unknown else ""
        plural = "s" if len(missing) > 1 else ""
        return ValueError(f"X lacks the column{plural} {', '.join(missing)}{more}")

    def _predict_table(self, X):
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        n_at_once = max(1, _MOST_NUMBERS // max(1, len(self._features.origins)))
        if n_rows > n_at_once:
            starts = range(0, n_rows, n_at_once)
            parts = [self._predict_table(X[i : i + n_at_once]) for i in starts]
            return np.concatenate(parts)
        if isinstance(X, list | tuple) and X:
            table = Rows(self._rows(X), self._columns)
        else:
            table = read(X)
            table = Table(table, self._places(table), self._columns)
        features = self._features(table)
        if not is_finite(features):
            self._check(features, table)
        return self._network(features)

    def _rows(self, X):
        """The cells of each row of a list."""
        rows = [self._cells_of_row(row) for row in X]
        for i, row in enumerate(rows):
            if row is None or len(row) != self.n_features_in_:
                what = "no cells" if row is None else f"{len(row)} cells"
                raise ValueError(
                    f"row {i} of X has {what}; expected {self.n_features_in_}"
                )
        return rows

    def _places(self, table):
        """Where each column is in a table; of one that nobody needs, None."""
        if self._has_names and table.names:
            place_of = {name: i for i, name in enumerate(table.names)}
            if not place_of.keys() >= set(self.used_columns_):
                raise self._lacks(table.names)
            return [place_of.get(name) for name in self._columns]
        if table.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {table.shape[1]} columns; expected {self.n_features_in_}"
            )
        return range(self.n_features_in_)

    def _check(self, features, data):
        """Raise an error if there are features that are not finite."""
        is_bad = ~np.isfinite(features)
        if not is_bad.any():
            return
        i, k = np.argwhere(is_bad)[0]
        where = "" if data.is_row else f" in row {i}"
        columns = self._features.origins[k]
        for j in columns:
            if data.is_missing(j)[i]:
                raise ValueError(
                    f"{said(self._columns[j])} is missing{where}, and no step of the "
                    "pipeline fills it in. Put a SimpleImputer before the step that "
                    "takes it."
                )
        names = ", ".join(repr(self._columns[j]) for j in columns[:5])
        raise ValueError(
            f"the pipeline makes {features[i, k]} of column {names}{where}: a number "
            "is beyond what a step can take"
        )
