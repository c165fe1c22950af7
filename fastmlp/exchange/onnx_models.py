"""Converters of skl2onnx for the estimators, and the export of models with them."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from onnx.helper import set_model_props
from scipy.special import expit
from skl2onnx import to_onnx, update_registered_converter

# Not public in skl2onnx, but the only way to hand an estimator on to its parsers.
from skl2onnx._parse import _parse_sklearn
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.base import RegressorMixin, is_classifier
from sklearn.utils.validation import check_is_fitted

from fastmlp.data.cells import FLAGS, NUMBERS, TEXT
from fastmlp.data.frames import read, said
from fastmlp.estimators import MLPClassifier, MLPEstimator, MLPRegressor
from fastmlp.estimators.tabular_model import TabularModel
from fastmlp.exchange.graphs import Graph, Tensor
from fastmlp.exchange.networks import (
    ESTIMATORS,
    averaged,
    counterpart_of,
    form_of,
    outputs_of,
)
from fastmlp.exchange.onnx_columns import TIMES, kinds_of, matrix_of
from fastmlp.tables.activations import ACTIVATIONS

__all__ = ["export_model", "register"]

#: Types of tensors of skl2onnx, and of NumPy.
_DTYPES = {
    FloatTensorType: np.dtype(np.float32),
    DoubleTensorType: np.dtype(np.float64),
    Int64TensorType: np.dtype(np.int64),
    BooleanTensorType: np.dtype(bool),
    StringTensorType: np.dtype(object),
}
_TYPES = {dtype: tensor_type for tensor_type, dtype in _DTYPES.items()}

#: Versions of ONNX's operators: older than what skl2onnx would take, for runtimes that
#: are older, too.
_OPSETS = {"": 17, "ai.onnx.ml": 3}

#: Rows of `fastmlp.tables.losses.OUTPUT_ACTIVATIONS` as functions of tensors.
_OUTPUT_ACTIVATIONS = {
    "identity": lambda z: z,
    "logistic": expit,
    "softmax": lambda z: z.graph.add("Softmax", [z], z.dtype, axis=-1),
    "exp": np.exp,
}


def _activation_of(name):
    """An activation, as a function of tensors."""
    own = counterpart_of(name, "onnx")
    if own is None:
        return ACTIVATIONS[name].value

    def value(z):
        try:
            result = own(z)
        except TypeError as error:
            result, reason = None, f": {error}"
        else:
            reason = f", but gives {type(result).__name__}"
        if not isinstance(result, Tensor):
            raise ValueError(
                f"the function that was registered as onnx= of {name!r} must be made "
                "of arithmetic, comparisons, np.where and functions of NumPy that ONNX "
                f"has, too{reason}"
            )
        return result.astype(z.dtype)

    return value


#: See `fastmlp.exchange.networks.outputs_of`.
_XP = SimpleNamespace(
    clip=np.clip, where=np.where, isnan=np.isnan, sqrt=np.sqrt, cos=np.cos,
    einsum=np.einsum, concatenate=np.concatenate,
    astype=lambda x, dtype: x.astype(dtype),
    take=lambda tables, rows: rows.graph.tensor(tables).take(rows, axis=1),
    activation=_activation_of,
    output_activation=_OUTPUT_ACTIVATIONS.get,
)  # fmt: skip


# --- converters -----------------------------------------------------------------------


def _tensor(graph, variable):
    """An input of an estimator."""
    return Tensor(graph, variable.full_name, _DTYPES[type(variable.type)])


def _predictions(graph, model, form, variables):
    """What `predict_proba` gives, or of a regressor `predict`, in two dimensions."""
    tensors = [_tensor(graph, variable) for variable in variables]
    if isinstance(model, TabularModel):
        X = matrix_of(model._columns, _told_apart(model._columns, variables, tensors))
        dtype = np.dtype(np.float64)
    else:
        X = np.concatenate(tensors, axis=1)
        dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
        X = X.astype(dtype)
    if not form.layers:  # there is but one class; for as many rows as X has
        return np.where(np.isnan(X[:, [0]]), 1.0, 1.0)
    members = averaged(model)
    if len(members) == 1:
        predictions = _outputs(form, X, dtype)
    else:
        parts = [
            _outputs(form_of(member), X, np.dtype(np.float64)) * share
            for share, member in members
        ]
        predictions = sum(parts[1:], start=parts[0]).astype(dtype)
    if form.limits is not None:
        predictions = np.clip(predictions, *form.limits)
    if form.kind == "two classes":
        predictions = np.concatenate([1 - predictions, predictions], axis=1)
    return predictions


def _outputs(form, X, dtype):
    """Outputs of a network, or the mean of several, on the scale of the targets."""
    if form.inputs is not None:
        X = ((X - form.inputs.mean) / form.inputs.scale).astype(X.dtype)
    outputs = outputs_of(_XP, form, X.astype(form.dtype)).astype(dtype)
    if form.outputs is None:
        return outputs
    return outputs * form.outputs.scale + form.outputs.mean


def _names_of(columns):
    """Names of the tensors of all columns of a table."""
    places = range(columns.n_features_in_)
    return list(getattr(columns, "feature_names_in_", [f"x{j}" for j in places]))


def _told_apart(columns, variables, tensors):
    """The tensor of the whole table, or index of a column -> tensor."""
    n_features = columns.n_features_in_
    widths = [(variable.type.shape or [None])[-1] for variable in variables]
    if widths in ([None], [n_features]):
        return tensors[0]
    names = [variable.raw_name for variable in variables]
    known = _names_of(columns)
    if len(names) == n_features and not set(names) <= set(known):
        names = known  # in the order of the columns
    found = dict(zip(names, tensors, strict=True))
    if missing := [known[j] for j in kinds_of(columns) if known[j] not in found]:
        raise ValueError(f"there are no inputs for the columns {missing}, only {names}")
    return {j: found[known[j]] for j in kinds_of(columns)}


def _labels(classes, kind, predictions):
    """What `predict` gives, from probabilities."""
    if kind == "labels":
        return (predictions > 0.5).astype(np.int64)
    if kind == "two classes":
        places = (predictions[:, [1]] > 0.5).astype(np.int64).reshape(-1)
        if len(classes) == 1:
            places = places * 0
    else:
        places = predictions.argmax(axis=1)
    return predictions.graph.tensor(_class_labels(classes)).take(places, axis=0)


def _class_labels(classes):
    """Labels of classes as an array of text or int64."""
    labels = classes.tolist()
    if all(isinstance(label, str) for label in labels):
        return np.array(labels, object)
    if all(isinstance(label, int | float) and label == int(label) for label in labels):
        return np.array(labels).astype(np.int64)
    raise ValueError(
        f"ONNX has text and whole numbers as labels of classes, not {labels!r:.80}"
    )


def _convert(scope, operator, container):
    """Add the nodes of an estimator to a graph: a converter of skl2onnx."""
    model, graph = operator.raw_operator, Graph(scope, container)
    form = form_of(model)
    predictions = _predictions(graph, model, form, operator.inputs)
    *label, output = operator.outputs
    dtype = _DTYPES[type(output.type)]
    graph.add_named(output.full_name, "Identity", [predictions.astype(dtype)])
    if label:
        labels = _labels(form.classes, form.kind, predictions)
        graph.add_named(label[0].full_name, "Identity", [labels])


def _set_types(operator):
    """Set the types of what an estimator gives: a shape calculator of skl2onnx."""
    form = form_of(operator.raw_operator)
    n_rows = operator.inputs[0].get_first_dimension()
    types = {type(variable.type) for variable in operator.inputs}
    *label, output = operator.outputs
    numbers = FloatTensorType if FloatTensorType in types else DoubleTensorType
    output.set_type(numbers([n_rows, form.n_outputs]))
    if label:
        is_text = form.kind != "labels" and _class_labels(form.classes).dtype == object
        tensor_type = StringTensorType if is_text else Int64TensorType
        is_matrix = form.kind == "labels"
        label[0].set_type(tensor_type([n_rows, *[form.n_outputs] * is_matrix]))


def _parse(scope, model, inputs, custom_parsers=None):
    """Hand an `MLPEstimator` on as what its task makes it."""
    cls = MLPClassifier if is_classifier(model) else MLPRegressor
    twin = object.__new__(cls)
    vars(twin).update(vars(model))
    options = scope.get_options(model, {}, fail=False)
    if options:
        scope.add_options(id(twin), options)
    return _parse_sklearn(scope, twin, inputs, custom_parsers=custom_parsers)


def register():
    """Tell skl2onnx of all estimators."""
    of_classes = {
        "zipmap": [True, False, "columns"],
        "output_class_labels": [False, True],
        "nocl": [False],
    }
    for cls in ESTIMATORS:
        update_registered_converter(
            cls, f"Fastmlp{cls.__name__}", _set_types, _convert,
            options=None if issubclass(cls, RegressorMixin) else of_classes,
            parser=_parse if cls is MLPEstimator else None,
        )  # fmt: skip


# --- export ---------------------------------------------------------------------------


def _usual_dtype(model):
    """Of numbers in X: as in fit, or what all of scikit-learn's steps have in ONNX."""
    if isinstance(model, TabularModel):
        return np.dtype(np.float64)
    if not isinstance(model, ESTIMATORS):
        return np.dtype(np.float32)
    (_, network), *_ = averaged(model)
    is_double = np.asarray(network.coefs_[0]).dtype != np.float32
    return np.dtype(np.float64 if is_double else np.float32)


def _inputs_of_tables(columns, dtype):
    """[(name, type)] of the tensors that a model for tables takes."""
    kinds = kinds_of(columns)
    types = {NUMBERS: _TYPES[dtype], TEXT: StringTensorType, TIMES: Int64TensorType}
    # what was dropped may have been text
    is_whole = len(kinds) == columns.n_features_in_
    is_array = not hasattr(columns, "feature_names_in_")
    if set(kinds.values()) == {NUMBERS} and (is_whole or is_array):
        return [("X", _TYPES[dtype]([None, columns.n_features_in_]))]
    names = _names_of(columns)
    return [(names[j], types[kind]([None, 1])) for j, kind in kinds.items()]


def _inputs_like(X, dtype):
    """[(name, type)] of the tensors of a model that takes tables such as X."""
    table = read(X)
    if table.names is None:
        if table.dtype is None:
            raise ValueError("X must be a data frame, or an array of numbers")
        return [("X", _TYPES[dtype]([None, table.shape[1]]))]
    inputs = []
    for j, name in enumerate(table.names):
        column = table.column(j, name)
        if column.kind not in (NUMBERS, FLAGS, TEXT):
            raise ValueError(
                f"{said(name)} has {column.kind}, which pipelines cannot be given in a "
                "tensor: make them numbers before the pipeline"
            )
        if column.kind == FLAGS:
            tensor_type = BooleanTensorType
        elif column.kind == NUMBERS:
            is_whole = column.values.dtype.kind != "f"
            tensor_type = Int64TensorType if is_whole else _TYPES[dtype]
        else:  # or categories that are numbers
            kinds = {type(level) for level in column.levels}
            tensor_type = StringTensorType if str in kinds else _TYPES[dtype]
            tensor_type = Int64TensorType if kinds == {int} else tensor_type
        inputs.append((name, tensor_type([None, 1])))
    return inputs


def _inputs_of(model, X, dtype):
    is_ours = isinstance(model, ESTIMATORS)
    if X is not None:
        if is_ours:
            raise ValueError(
                f"X is for pipelines: {type(model).__name__} knows its columns"
            )
        return _inputs_like(X, dtype)
    if isinstance(model, TabularModel):
        return _inputs_of_tables(model._columns, dtype)
    if not is_ours and hasattr(model, "feature_names_in_"):
        raise ValueError(
            "the pipeline was fitted to a data frame: give X, some rows of it, from "
            "which the types of its columns are taken"
        )
    return [("X", _TYPES[dtype]([None, model.n_features_in_]))]


def _metadata(model, version):
    """What a reader of the file may want to know, as text."""
    known = {"fastmlp_version": version, "estimator": type(model).__name__}
    for name in ("feature_names_in_", "classes_"):
        if hasattr(model, name):
            known[name] = json.dumps(np.asarray(getattr(model, name)).tolist())
    return known


def _rename_inputs(proto, names):
    """Give inputs back the names that skl2onnx has made identifiers of."""
    new = {i.name: name for i, name in zip(proto.graph.input, names, strict=True)}
    for value in proto.graph.input:
        value.name = new[value.name]
    for node in proto.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]


def export_model(model, file, version, *, X=None, dtype=None):
    """Implement `fastmlp.onnx.export`, for a version of fastmlp."""
    check_is_fitted(model)
    if dtype is None:
        dtype = _usual_dtype(model)
    elif dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    inputs = _inputs_of(model, X, np.dtype(dtype))
    options = {"zipmap": False} if is_classifier(model) else None
    proto = to_onnx(
        model,
        initial_types=inputs,
        options=options,
        name=type(model).__name__,
        target_opset=_OPSETS,
    )
    _rename_inputs(proto, [name for name, _ in inputs])
    proto.producer_name, proto.producer_version = "fastmlp", version
    set_model_props(proto, _metadata(model, version))
    content = proto.SerializeToString()
    if hasattr(file, "write"):
        file.write(content)
    else:
        Path(file).write_bytes(content)
