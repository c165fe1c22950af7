"""Fitted estimators as modules of PyTorch, and sequential networks as estimators."""

import math
from collections import OrderedDict

import numpy as np
from sklearn.preprocessing import LabelBinarizer

from fastmlp.data.scaling import Standardization
from fastmlp.estimators import MLPClassifier, MLPRegressor
from fastmlp.estimators.tabular_model import TabularModel
from fastmlp.exchange.networks import averaged, form_of
from fastmlp.tables.fitted import FittedModel

__all__ = ["from_torch", "to_torch"]


def to_torch(model):
    """Convert a fitted estimator to a module of PyTorch.

    Parameters
    ----------
    model : estimator of fastmlp
        Fitted. It is not changed, and shares no memory with the module.

    Returns
    -------
    torch.nn.Module
        Of `MLPClassifier`, `MLPRegressor` and `MLPEstimator` a `torch.nn.Sequential`,
        which takes X of shape (n_samples, n_features) in the precision of the fit
        (float32 or float64). Of ensembles, a module with the networks of all members.
        Of estimators for tables, a module that takes what its method ``encode(table)``
        gives. The module gives what `predict_proba` gives, or of a regressor `predict`,
        in two dimensions. It is in evaluation mode.

    Raises
    ------
    ModuleNotFoundError
        If PyTorch is not installed.
    NotFittedError
        If the model is not fitted.
    TypeError
        If it is no estimator of fastmlp.

    See Also
    --------
    from_torch : The way back, for sequential networks.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import fastmlp
    >>> X, y = load_iris(return_X_y=True)
    >>> model = fastmlp.MLPClassifier(max_iter=300, random_state=0).fit(X, y)
    >>> network = fastmlp.to_torch(model)  # doctest: +SKIP
    >>> network  # doctest: +SKIP
    Sequential(
      (hidden_0): Linear(in_features=4, out_features=100, bias=True)
      (activation_0): ReLU()
      (outputs): Linear(in_features=100, out_features=3, bias=True)
      (probabilities): Softmax(dim=-1)
    )
    """
    from fastmlp.exchange import torch_modules

    members = averaged(model)
    if len(members) == 1:
        return _module_of(form_of(model), model).eval()
    forms = [form_of(member) for _, member in members]
    limits = forms[0].limits
    modules = [
        _module_of(form._replace(limits=None), member)
        for form, (_, member) in zip(forms, members, strict=True)
    ]
    return torch_modules.Mean(modules, [share for share, _ in members], limits).eval()


def _module_of(form, model):
    """The module of one estimator."""
    from fastmlp.exchange import torch_modules

    if isinstance(model, TabularModel):
        for layer in form.layers[:-1]:
            torch_modules.activation_of(layer.activation)  # an error if there is none
        return torch_modules.TabularNetworks(form, model._columns)
    modules = OrderedDict()
    if form.inputs is not None:
        modules["standardize"] = torch_modules.Standardize(*form.inputs)
    *hidden, last = form.layers
    for i, layer in enumerate(hidden):
        modules[f"hidden_{i}"] = torch_modules.linear(layer.weights, layer.biases)
        modules[f"activation_{i}"] = torch_modules.activation_of(layer.activation)
    modules["outputs"] = torch_modules.linear(last.weights, last.biases)
    if form.output_activation != "identity":
        make = torch_modules.OUTPUT_ACTIVATIONS[form.output_activation]
        modules["means" if form.kind == "numbers" else "probabilities"] = make()
    if form.kind == "two classes":
        modules["both_classes"] = torch_modules.BothClasses()
    if form.outputs is not None:
        modules["scale"] = torch_modules.Scale(*form.outputs)
    return torch_modules.nn.Sequential(modules)


# --- from PyTorch ---------------------------------------------------------------------


def from_torch(network, *, classes=None, n_jobs=None):
    """Convert a sequential network of PyTorch to an estimator.

    Parameters
    ----------
    network : torch.nn.Sequential
        Of ``Linear`` layers, with one of the activations of fastmlp (with PyTorch's
        default settings) between two of them, or none. ``Dropout`` and ``Flatten`` are
        passed over: they do not change predictions. What `to_torch` gives is allowed,
        too, and so are other ``Sequential`` inside.
    classes : array-like of shape (n_classes,), default=None
        Labels in the order of the outputs, which makes it a classifier. The network may
        end with logits, or with ``Softmax`` or ``Sigmoid``. One output is the second of
        two classes. A ``Sigmoid`` of several outputs stands for as many labels at once,
        and `classes` are then 0, 1, 2 and so on. None makes a regressor.
    n_jobs : int, default=None
        This parameter of the result.

    Returns
    -------
    fastmlp.MLPClassifier or fastmlp.MLPRegressor
        Fitted; its precision is that of the network. `partial_fit` and warm starts
        train it further, with a new optimizer.

    Raises
    ------
    ModuleNotFoundError
        If PyTorch is not installed.
    TypeError
        If it is no `torch.nn.Sequential`.
    ValueError
        If it has modules, or an order of modules, that no estimator has; or if
        `classes` do not go with its outputs.

    See Also
    --------
    to_torch : The way back.

    Examples
    --------
    >>> import fastmlp
    >>> from torch import nn  # doctest: +SKIP
    >>> network = nn.Sequential(
    ...     nn.Linear(4, 10), nn.GELU(), nn.Linear(10, 3)
    ... )  # doctest: +SKIP
    >>> model = fastmlp.from_torch(network, classes=["a", "b", "c"])  # doctest: +SKIP
    """
    from fastmlp.exchange.torch_modules import nn, parts_of

    if not isinstance(network, nn.Sequential):
        raise TypeError(
            f"from_torch takes a torch.nn.Sequential, got {type(network).__name__}"
        )
    parts = parts_of(network)
    if classes is not None:
        return _classifier(parts, np.asarray(classes), n_jobs)
    if parts.output not in ("identity", "exp"):
        raise ValueError(
            "the network ends with probabilities: give the classes of its outputs"
        )
    loss = "poisson" if parts.output == "exp" else "squared_error"
    return _fitted(MLPRegressor(loss, n_jobs=n_jobs), parts)


def _classifier(parts, classes, n_jobs):
    """The MLPClassifier whose classes are given in the order of the outputs."""
    weights, biases = parts.weights[-1], parts.biases[-1]
    n_outputs, model = len(biases), MLPClassifier(n_jobs=n_jobs)
    if parts.output == "exp" or parts.y is not None:
        raise ValueError(
            "the network ends with numbers, as a regressor: it has no use for classes"
        )
    if parts.output == "logistic" and n_outputs > 1:
        if classes.tolist() != [*range(n_outputs)]:
            raise ValueError(
                f"a Sigmoid of {n_outputs} outputs stands for as many labels at once: "
                f"classes must be {[*range(n_outputs)]}, got {classes!r:.80}"
            )
        binarizer = LabelBinarizer().fit(np.eye(n_outputs, dtype=int))
        return _fitted(model, parts, binarizer)
    known, order = np.unique(classes, return_index=True)
    if len(known) < 2 or known.shape != classes.shape:
        raise ValueError(
            f"classes must be two labels or more, all different, got {classes!r:.80}"
        )
    binarizer = LabelBinarizer().fit(known)
    if len(known) == 2 and n_outputs == 1 and parts.output != "softmax":
        sign = 1 if order[0] == 0 else -1
        weights, biases = sign * weights, sign * biases
    elif len(known) != n_outputs:
        raise ValueError(f"{len(known)} classes for {n_outputs} outputs")
    else:
        weights, biases = weights[:, order], biases[order]
        if n_outputs == 2:  # the logit of the second class
            weights, biases = weights[:, 1:] - weights[:, :1], biases[1:] - biases[:1]
    parts = parts._replace(
        weights=[*parts.weights[:-1], weights],
        biases=[*parts.biases[:-1], biases],
        output="softmax" if len(biases) > 1 else "logistic",
    )
    return _fitted(model, parts, binarizer)


def _fitted(model, parts, binarizer=None):
    """Make a model one that was fitted, for no epoch."""
    names = parts.activations
    if names:
        model.activation = names[0] if len({*names}) == 1 else names
    model.hidden_layer_sizes = tuple(len(biases) for biases in parts.biases[:-1])
    model.precision = parts.weights[0].dtype.name
    identity = {}
    if binarizer is not None:
        identity = {"_label_binarizer": binarizer, "classes_": binarizer.classes_}
    found = FittedModel(
        coefs_=parts.weights,
        intercepts_=parts.biases,
        n_layers_=len(parts.weights) + 1,
        n_outputs_=len(parts.biases[-1]),
        out_activation_=parts.output,
        precision_=model.precision,
        n_iter_=0,
        t_=0,
        loss_curve_=[],
        best_loss_=math.inf,
        _no_improvement_count=0,
        **identity,
        **Standardization(parts.X, parts.y).attributes(),
    )
    vars(model).update(found.attributes(), n_features_in_=len(parts.weights[0]))
    return model
