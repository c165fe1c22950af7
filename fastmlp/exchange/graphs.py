"""Tensors of an ONNX graph that NumPy's functions can be applied to.

Instead of computing something, each function adds nodes to the graph. So the formulas
of `fastmlp.tables`, which are written for arrays, are also those that are exported: in
float32 and in float64, for they only use operators that ONNX Runtime has for both.
"""

import math
from functools import cache

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.polynomial import Chebyshev, Polynomial
from onnx import TensorProto, helper, numpy_helper
from scipy.special import erfcx, expit, ndtr

__all__ = ["Graph", "Tensor"]


class Graph:
    """The graph that skl2onnx is building.

    Parameters
    ----------
    scope : skl2onnx.common._topology.Scope
    container : skl2onnx.common._container.ModelComponentContainer
    """

    def __init__(self, scope, container):
        self._scope, self._container = scope, container
        self._constants = {}

    def add(self, operator, inputs, dtype, **attributes):
        """The Tensor that a new node makes of tensors, arrays and numbers."""
        name = self._scope.get_unique_variable_name(operator.lower())
        self.add_named(name, operator, inputs, **attributes)
        return Tensor(self, name, dtype)

    def add_named(self, output, operator, inputs, **attributes):
        """Add a node whose output has this name."""
        self._container.add_node(
            operator,
            [self.tensor(each).name for each in inputs],
            output,
            name=self._scope.get_unique_operator_name(operator),
            **attributes,
        )

    def tensor(self, value):
        """A Tensor as it is, or an array or a number as a constant of the graph."""
        if isinstance(value, Tensor):
            return value
        array = np.asarray(value)
        if array.dtype == object:
            text = [each.encode("utf-8") for each in array.ravel().tolist()]
            return self._constant(array, TensorProto.STRING, text)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._constants:
            content = numpy_helper.from_array(array)
            self._constants[key] = self._constant(array, content.data_type, content)
        return self._constants[key]

    def _constant(self, array, kind, content):
        name = self._scope.get_unique_variable_name("constant")
        self._container.add_initializer(name, kind, array.shape, content)
        return Tensor(self, name, array.dtype)


def _dtype_of(values):
    """That of what NumPy would make of tensors, arrays and numbers together."""
    return np.result_type(
        *(value.dtype if isinstance(value, Tensor) else value for value in values)
    )


def _graph_of(values):
    return next(value.graph for value in values if isinstance(value, Tensor))


def _as_dtype(value, dtype):
    return (
        value.astype(dtype) if isinstance(value, Tensor) else np.asarray(value, dtype)
    )


def _apply(operator, *values, **attributes):
    """An operator to tensors and others, all in one dtype."""
    dtype = _dtype_of(values)
    values = [_as_dtype(value, dtype) for value in values]
    result = bool if operator in _PREDICATES else dtype
    return _graph_of(values).add(operator, values, result, **attributes)


class Tensor(NDArrayOperatorsMixin):
    """A tensor of a graph.

    Parameters
    ----------
    graph : Graph
    name : str
    dtype : dtype
        As in NumPy; object for text.
    """

    def __init__(self, graph, name, dtype):
        self.graph, self.name, self.dtype = graph, name, np.dtype(dtype)

    def astype(self, dtype):
        """The same numbers in another dtype."""
        dtype = np.dtype(dtype)
        if dtype == self.dtype:
            return self
        to = helper.np_dtype_to_tensor_dtype(dtype)
        return self.graph.add("Cast", [self], dtype, to=to)

    def reshape(self, *shape):
        """The same numbers in another shape."""
        shape = np.array(shape, np.int64)
        return self.graph.add("Reshape", [self, shape], self.dtype)

    def argmax(self, axis):
        """Where the largest number is, or the first of them."""
        return self.graph.add("ArgMax", [self], np.int64, axis=axis, keepdims=0)

    def take(self, indices, axis):
        """What is in these places of a dimension."""
        return self.graph.add("Gather", [self, indices], self.dtype, axis=axis)

    def __getitem__(self, key):
        rows, columns = key
        if rows != slice(None):
            raise TypeError("only columns of a tensor can be chosen")
        return self.take(np.asarray(columns, np.int64), axis=1)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if method != "__call__" or options:
            return NotImplemented
        if ufunc in _COMPOSED:
            return _COMPOSED[ufunc](*inputs)
        if ufunc in _OPERATORS:
            return _apply(_OPERATORS[ufunc], *inputs)
        return NotImplemented

    def __array_function__(self, function, types, args, kwargs):
        if function in _FUNCTIONS:
            return _FUNCTIONS[function](*args, **kwargs)
        return NotImplemented


_OPERATORS = {
    np.add: "Add", np.subtract: "Sub", np.multiply: "Mul", np.divide: "Div",
    np.negative: "Neg", np.absolute: "Abs", np.minimum: "Min", np.matmul: "MatMul",
    np.sqrt: "Sqrt", np.exp: "Exp", np.log: "Log", np.tanh: "Tanh",
    np.sin: "Sin", np.power: "Pow", np.sign: "Sign", np.isnan: "IsNaN",
    np.equal: "Equal", np.less: "Less", np.greater: "Greater",
    np.less_equal: "LessOrEqual", np.greater_equal: "GreaterOrEqual",
    np.bitwise_and: "And",
    np.bitwise_or: "Or", np.invert: "Not",
}  # fmt: skip

#: Operators whose results are true or false.
_PREDICATES = {
    "IsNaN", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "And", "Or",
    "Not",
}  # fmt: skip


# --- functions that take several nodes, or other arguments ----------------------------


def _maximum(x, y):
    if np.isscalar(y) and y == 0:
        return x.graph.add("Relu", [x], x.dtype)
    return _apply("Max", x, y)


def _logistic(x):
    if x.dtype == np.float32:
        return x.graph.add("Sigmoid", [x], x.dtype)
    # ONNX Runtime 1.19 makes x * Sigmoid(x) an operator that it only has in float32
    return 1 / (np.exp(-x) + 1)


def _cosine(x):
    if x.dtype == np.float32:
        return x.graph.add("Cos", [x], x.dtype)
    return np.sin(x + math.pi / 2)  # ONNX Runtime 1.19 has no Cos of float64


def _remainder(x, divisor):
    """Of numbers with fractions, for a divisor above 0."""
    rest = _apply("Mod", x, divisor, fmod=1)  # has the sign of x
    return np.where(rest < 0, rest + divisor, rest)


#: Degree of a polynomial for erfc, and what it is made for: x up to the second number,
#: around the third one.
_DEGREE, _FARTHEST, _CENTRE = 18, 6.5, 3.0


_SQRT_HALF = math.sqrt(0.5)  # a number of Python, which has no dtype


@cache
def _erfc_coefficients():
    """Of e**(x**2) erfc(x), as a polynomial of t = 2 x / (x + c) (f + c) / f - 1.

    Up to f, the farthest x, this t is between -1 and 1; errors are below 1e-15.
    """

    def function(t):
        share = (t + 1) / 2 * _FARTHEST / (_FARTHEST + _CENTRE)
        return erfcx(_CENTRE * share / (1 - share))

    return Chebyshev.interpolate(function, _DEGREE).convert(kind=Polynomial).coef


def _normal_cdf(x):
    """erfc(-x / sqrt 2) / 2."""
    if x.dtype == np.float32:
        return (x.graph.add("Erf", [x * _SQRT_HALF], x.dtype) + 1) * 0.5
    size = np.abs(x) * _SQRT_HALF
    near = np.minimum(size, _FARTHEST)
    t = near / (near + _CENTRE) * (2 * (_FARTHEST + _CENTRE) / _FARTHEST) - 1
    *coefficients, ratio = _erfc_coefficients()
    for coefficient in reversed(coefficients):
        ratio = ratio * t + coefficient
    tail = np.exp(-size * size) * ratio * 0.5
    return np.where(x < 0, tail, 1 - tail)


_COMPOSED = {
    expit: _logistic,
    np.cos: _cosine,
    np.maximum: _maximum,
    np.remainder: _remainder,
    np.floor_divide: lambda x, divisor: (x - x % divisor) / divisor,
    np.not_equal: lambda x, y: ~(x == y),
    np.square: lambda x: x * x,
    np.expm1: lambda x: np.exp(x) - 1,
    np.log1p: lambda x: np.log(x + 1),
    np.logaddexp: lambda x, y: np.maximum(x, y) + np.log(np.exp(-abs(x - y)) + 1),
    ndtr: _normal_cdf,
}


def _where(condition, x, y):
    dtype = _dtype_of([x, y])
    values = [condition, _as_dtype(x, dtype), _as_dtype(y, dtype)]
    return condition.graph.add("Where", values, dtype)


def _clip(x, lowest, highest):
    """NaN stays NaN."""
    x = np.where(x < lowest, lowest, x)
    return np.where(x > highest, highest, x)


def _concatenate(tensors, axis=0):
    return tensors[0] if len(tensors) == 1 else _apply("Concat", *tensors, axis=axis)


_FUNCTIONS = {
    np.where: _where,
    np.clip: _clip,
    np.concatenate: _concatenate,
    np.einsum: lambda equation, *x: _apply("Einsum", *x, equation=equation),
    np.nan_to_num: lambda x: np.where(np.isnan(x), 0.0, x),
}
