"""The arrays of a network: one arena of padded, packed arrays, and views of it."""

import math
from itertools import pairwise

import numpy as np

from fastmlp.kernels.dense import LAYER
from fastmlp.kernels.packing import pack_layer
from fastmlp.kernels.simd import tile_shape
from fastmlp.saving import check_numbers

__all__ = ["Arena", "Network", "address_of", "round_up", "units_of"]

_ALIGNMENT = 64  # bytes: a cache line, and the widest vector


def round_up(count, multiple):
    """The smallest multiple of `multiple` that is at least `count`."""
    return -(-count // multiple) * multiple


def units_of(coefs):
    """Units of each layer, given the weights (fan_in, fan_out) between them.

    Raises
    ------
    ValueError
        If the weights of a layer are not a matrix of real numbers.
    """
    for layer, coef in enumerate(coefs):
        check_numbers(coef, 2, f"coefs_[{layer}]")
    return [len(coefs[0]), *(coef.shape[1] for coef in coefs)]


def address_of(array):
    """The address of the first element of an array."""
    return array.__array_interface__["data"][0]


def _as_numbers_of_one_type(weights, biases):
    """Both as float32 or both as float64, in a layout that kernels can read."""
    weights, biases = np.asarray(weights), np.asarray(biases)
    singles = weights.dtype == biases.dtype == np.float32
    dtype = np.float32 if singles else np.float64
    return _as_readable(weights, dtype), _as_readable(biases, dtype)


def _as_readable(array, dtype):
    """The array, or a copy with native numbers and strides of whole elements."""
    is_native = array.dtype == dtype and array.dtype.isnative
    if not is_native or not array.flags.aligned:
        return np.array(array, dtype)
    whole = not any(stride % array.itemsize for stride in array.strides)
    return array if whole else array.copy()


class Arena:
    """One block of zeroed memory, divided into arrays.

    Parameters
    ----------
    sizes : dict of str to int
        Elements of each array.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    arrays : dict of str to ndarray
        One-dimensional views; each starts on its own cache line.
    """

    def __init__(self, sizes, dtype):
        dtype = np.dtype(dtype)
        per_line = _ALIGNMENT // dtype.itemsize
        # one more cache line after each array: a prefetch past its end stays inside
        spaces = {n: round_up(size, per_line) + per_line for n, size in sizes.items()}
        block = np.zeros(sum(spaces.values()) + per_line, dtype)
        start = -block.ctypes.data % _ALIGNMENT // dtype.itemsize
        self.arrays = {}
        for name, size in sizes.items():
            self.arrays[name] = block[start : start + size]
            start += spaces[name]


class Network:
    """Weights and biases of a multi-layer perceptron in column panels.

    Parameters
    ----------
    units : sequence of int
        Units of each layer: features, hidden layers, outputs.
    dtype : dtype
        The precision of the kernels, float32 or float64.
    trainable : bool, default=False
        Whether to keep transposed weights for the backward pass.
    n_moments : int, default=0
        Arrays of optimizer state, each as long as the parameters (0, 1 or 2).
    averaged : bool, default=False
        Whether to keep a moving average of the parameters.

    Attributes
    ----------
    units, dtype, trainable, n_moments, averaged
        As given.
    n_weights : int
        Number of weights in all layers, without biases.
    shape : fastmlp.kernels.simd.TileShape
        The register tile that decides the layout.
    layers : ndarray of dtype `fastmlp.kernels.dense.LAYER`
        Sizes and offsets; offsets into the workspace are not set here.
    arena : Arena
        ``parameters``, ``transposed``, ``first_moment``, ``second_moment``,
        ``penalties`` and ``average``.
    """

    def __init__(self, units, dtype, *, trainable=False, n_moments=0, averaged=False):
        self.units = tuple(int(n) for n in units)
        self.dtype = np.dtype(dtype)
        self.trainable = trainable
        self.n_moments = n_moments
        self.averaged = averaged
        self.shape = tile_shape(self.dtype)
        self._zero = self.dtype.type(0)
        self.n_weights = sum(a * b for a, b in pairwise(self.units))
        rows, lanes = self.shape.rows, self.shape.lanes

        self.layers = np.zeros(len(self.units) - 1, LAYER)
        n_parameters = n_transposed = n_penalties = 0
        for i, layer in enumerate(self.layers):
            fan_in, fan_out = self.units[i : i + 2]
            layer["fan_in"], layer["fan_out"] = fan_in, fan_out
            layer["weight_rows"] = round_up(fan_in, rows)
            layer["weights"] = n_parameters
            n_parameters += int(layer["weight_rows"]) * round_up(fan_out, lanes)
            layer["biases"] = n_parameters
            n_parameters += round_up(fan_out, lanes)
            layer["transposed"] = -1
            if trainable and i > 0:
                layer["transposed"] = n_transposed
                layer["transposed_rows"] = round_up(fan_out, lanes)
                n_transposed += round_up(fan_out, lanes) * round_up(fan_in, lanes)
            n_panels = -(-fan_out // self.shape.width)
            n_penalties += n_panels * int(layer["weight_rows"]) // rows
        self.arena = Arena(
            {
                "parameters": n_parameters,
                "transposed": n_transposed,
                "first_moment": n_parameters if n_moments > 0 else 0,
                "second_moment": n_parameters if n_moments > 1 else 0,
                "penalties": n_penalties if trainable else 0,
                "average": n_parameters if averaged else 0,
            },
            self.dtype,
        )

    @property
    def n_layers(self):
        """Number of layers of weights."""
        return len(self.layers)

    @property
    def n_parameters(self):
        """Number of weights and biases in all layers."""
        return self.n_weights + sum(self.units[1:])

    def _panels(self, layer, array):
        """Yield (first column, last column, view of the rows) of each panel."""
        fan_out, rows = int(layer["fan_out"]), int(layer["weight_rows"])
        for column in range(0, fan_out, self.shape.width):
            columns = min(self.shape.width, fan_out - column)
            width = round_up(columns, self.shape.lanes)
            start = int(layer["weights"]) + column * rows
            panel = array[start : start + rows * width].reshape(rows, width)
            yield column, column + columns, panel[: int(layer["fan_in"]), :columns]

    def _numbers(self, array):
        return self.arena.arrays[array] if isinstance(array, str) else array

    def write(self, coefs, intercepts, array="parameters"):
        """Copy in the weights (fan_in, fan_out) and biases (fan_out,) of each layer.

        Does not update the transposed weights, see `fastmlp.jobs.TrainingJob.refresh`.

        array : name of an array of the arena, or an array of the same layout.
        """
        numbers = self._numbers(array)
        if numbers.size != self.arena.arrays["parameters"].size:
            raise ValueError(f"the network has no {array}")
        flat = address_of(numbers)
        records = address_of(self.layers)
        pairs = zip(pairwise(self.units), coefs, intercepts, strict=True)
        for i, (shape, coef, intercept) in enumerate(pairs):
            if np.shape(coef) != shape or np.shape(intercept) != shape[1:]:
                raise ValueError(
                    f"layer {i} of {shape[0]} x {shape[1]} units cannot hold weights "
                    f"of shape {np.shape(coef)} and biases of shape "
                    f"{np.shape(intercept)}"
                )
            check_numbers(coef, 2, f"coefs_[{i}]")
            check_numbers(intercept, 1, f"intercepts_[{i}]")
            weights, biases = _as_numbers_of_one_type(coef, intercept)
            pack_layer(
                records + i * LAYER.itemsize,
                flat,
                self._zero,
                address_of(weights),
                weights.strides[0] // weights.itemsize,
                weights.strides[1] // weights.itemsize,
                address_of(biases),
                biases.strides[0] // biases.itemsize,
                weights.dtype == np.float64,
            )

    def read(self, dtype=None, array="parameters", out=None):
        """Return copies of all weights (fan_in, fan_out) and biases (fan_out,).

        Parameters
        ----------
        dtype : dtype, default=None
            Of the copies; None for the network's own.
        array : str or ndarray, default="parameters"
            Name of an array of the arena, or an array of the same layout, such as
            moments and gradients.
        out : (list of ndarray, list of ndarray), default=None
            Arrays to fill; None for new ones.

        Returns
        -------
        coefs, intercepts : list of ndarray
        """
        dtype = self.dtype if dtype is None else dtype
        flat = self._numbers(array)
        if out is None:
            out = (
                [np.empty(shape, dtype) for shape in pairwise(self.units)],
                [np.empty(n, dtype) for n in self.units[1:]],
            )
        for layer, coef, intercept in zip(self.layers, *out, strict=True):
            for first, last, panel in self._panels(layer, flat):
                coef[:, first:last] = panel
            start = int(layer["biases"])
            intercept[:] = flat[start : start + len(intercept)]
        return out

    def split(self, vector):
        """Views (coefs, intercepts) of a vector of all weights, then all biases."""
        shapes = [*pairwise(self.units), *((n,) for n in self.units[1:])]
        sizes = [math.prod(shape) for shape in shapes]
        if vector.shape != (self.n_parameters,):
            raise ValueError(
                f"expected a vector of {self.n_parameters} parameters, "
                f"got an array of shape {vector.shape}"
            )
        parts = np.split(vector, np.cumsum(sizes)[:-1])
        views = [part.reshape(s) for part, s in zip(parts, shapes, strict=True)]
        return views[: self.n_layers], views[self.n_layers :]

    def is_finite(self, array="parameters"):
        """Whether all weights and biases (or moments) are finite."""
        return bool(np.isfinite(self.arena.arrays[array]).all())
