"""Export to ONNX; importing this also makes skl2onnx convert the estimators.

It needs the extra ``onnx`` (onnx and skl2onnx).
"""

from fastmlp import __version__

try:
    from fastmlp.exchange.onnx_models import export_model, register
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"fastmlp.onnx needs {error.name}: pip install onnx skl2onnx", name=error.name
    ) from error

__all__ = ["export"]

register()


def export(model, file, *, X=None, dtype=None):
    """Write a fitted model, or a pipeline with one, as an ONNX file.

    Other programs and languages can then predict with it, such as ONNX Runtime, which
    needs neither fastmlp nor Python.

    Parameters
    ----------
    model : estimator
        Fitted: any of fastmlp, or a pipeline (or another estimator of scikit-learn)
        that has some of them and otherwise what skl2onnx knows.
    file : str, path-like or file object
        Where to write it, in binary.
    X : data frame or array, default=None
        Some rows for a pipeline that takes data frames: names and types of the tensors
        follow from its columns.
    dtype : {'float32', 'float64'}, default=None
        Of numbers in X and of predictions. None is that of X in fit (of a model for
        tables, float64). Networks compute in the precision that they were trained in.

    Raises
    ------
    ModuleNotFoundError
        If onnx or skl2onnx is not installed.
    NotFittedError
        If the model is not fitted.
    ValueError
        If a column or the classes have what no tensor can hold; or if X is needed, or
        has no use.

    Notes
    -----
    The file has one input, ``X`` of shape (n_samples, n_features), if all columns are
    numbers; otherwise an input of shape (n_samples, 1) for each column that was not
    dropped, with its name. A classifier has the outputs ``label`` and
    ``probabilities`` (what `predict` and `predict_proba` give); a regressor has
    ``variable``, of shape (n_samples, n_outputs).

    In tables, a number that is missing is NaN, and missing text is empty. Dates and
    durations are int64: microseconds, since 1970 (UTC) or in all; what is missing is
    the smallest number of int64, as in NumPy.

    The metadata of the file has the texts ``fastmlp_version``, ``estimator``, and, as
    JSON, ``feature_names_in_`` and ``classes_``.

    Examples
    --------
    >>> import io
    >>> from sklearn.datasets import load_iris
    >>> import fastmlp
    >>> X, y = load_iris(return_X_y=True)
    >>> model = fastmlp.MLPClassifier(max_iter=300, random_state=0).fit(X, y)
    >>> file = io.BytesIO()  # or "model.onnx"
    >>> fastmlp.onnx.export(model, file)
    """
    export_model(model, file, __version__, X=X, dtype=dtype)
