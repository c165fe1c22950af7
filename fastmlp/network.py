"""The arrays of a network: one arena of padded, packed arrays, and views of it."""

import math
from itertools import pairwise

import numpy as np

from fastmlp.arena import Arena, address_of
from fastmlp.kernels.buffers import Buffer, round_up
from fastmlp.kernels.layers.dense import Dense
from fastmlp.kernels.layers.layer import LAYER
from fastmlp.kernels.layers.scale import Scale
from fastmlp.kernels.packing import pack_layer
from fastmlp.kernels.simd import tile_shape
from fastmlp.saving import check_numbers

__all__ = ["Network", "architecture_of", "units_of"]

#: What users call the groups of parameters.
_SHOWN = {"weights": "coefs_", "biases": "intercepts_"}

#: In place of the weights of a layer that has none.
_NO_WEIGHTS = np.zeros((0, 0), np.float32)


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


def architecture_of(layers):
    """A checked tuple of layers.

    layers : the layers themselves, or units: of the inputs, and of each Dense layer.

    Raises
    ------
    ValueError
        If they do not fit together.
    """
    if all(np.ndim(n) == 0 and not hasattr(n, "fan_in") for n in layers):
        layers = [Dense(int(a), int(b)) for a, b in pairwise(layers)]
    for i, (before, layer) in enumerate(pairwise(layers)):
        if before.fan_out != layer.fan_in:
            raise ValueError(
                f"layer {i} gives {before.fan_out} numbers per sample, but layer "
                f"{i + 1} takes {layer.fan_in}"
            )
        if isinstance(layer, Scale):
            raise ValueError(f"layer {i + 1}: a Scale can only be the first layer")
    if not layers or not isinstance(layers[-1], Dense):
        raise ValueError("the last layer must be Dense")
    return tuple(layers)


def _as_numbers_of_one_type(weights, per_output):
    """Both as float32 or both as float64, in a layout that kernels can read."""
    weights, per_output = np.asarray(weights), np.asarray(per_output)
    singles = weights.dtype == per_output.dtype == np.float32
    dtype = np.float32 if singles else np.float64
    return _as_readable(weights, dtype), _as_readable(per_output, dtype)


def _as_readable(array, dtype):
    """The array, or a copy with native numbers and strides of whole elements."""
    is_native = array.dtype == dtype and array.dtype.isnative
    if not is_native or not array.flags.aligned:
        return np.array(array, dtype)
    whole = not any(stride % array.itemsize for stride in array.strides)
    return array if whole else array.copy()


class Network:
    """Parameters of a network in column panels: the fold over what layers declare.

    Parameters
    ----------
    layers : sequence of fastmlp.kernels.layers.layer.Layer, or of int
        From the inputs to the outputs; numbers are short for Dense layers, see
        `architecture_of`.
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
    dtype, trainable, n_moments, averaged
        As given.
    architecture : tuple of fastmlp.kernels.layers.layer.Layer
    units : tuple of int
        Numbers per sample: features, then what each layer gives.
    groups : tuple of str
        Names of the lists of arrays in which `read` and `write` exchange parameters.
    sizes : dict
        (number of the layer, field of LAYER) -> numbers that the parameters there take.
    n_weights, n_parameters : int
        Number of weights, and of all parameters, without padding.
    shape : fastmlp.kernels.simd.TileShape
        The register tile that decides the layout.
    layers : ndarray of dtype `fastmlp.kernels.layers.layer.LAYER`
        Sizes and offsets; offsets into the workspace are not set here.
    arena : fastmlp.arena.Arena
        ``parameters``, ``transposed``, ``first_moment``, ``second_moment`` and
        ``average``.
    """

    def __init__(self, layers, dtype, *, trainable=False, n_moments=0, averaged=False):
        self.architecture = architecture_of(layers)
        first = self.architecture[0].fan_in
        self.units = (first, *(layer.fan_out for layer in self.architecture))
        self.dtype = np.dtype(dtype)
        self.trainable = trainable
        self.n_moments = n_moments
        self.averaged = averaged
        self.shape = tile_shape(self.dtype)
        self._zero = self.dtype.type(0)
        self._declared = [layer.parameters() for layer in self.architecture]
        every = [p for declared in self._declared for p in declared]
        # the lists of arrays; those of the last layer, weights and biases, come first
        lists = {p.group: [] for p in self._declared[-1] + every}
        for i, declared in enumerate(self._declared):
            for p in declared:
                lists[p.group].append((i, p))
        self.groups, self._lists = tuple(lists), list(lists.values())
        self.n_weights = sum(math.prod(p.shape) for p in every if len(p.shape) == 2)
        self.n_parameters = sum(math.prod(p.shape) for p in every)
        self.sizes = {
            (i, p.field): p.size(self.shape)
            for i, declared in enumerate(self._declared)
            for p in declared
        }
        self.layers = np.zeros(len(self.architecture), LAYER)
        self._allocate()
        for i, declared in enumerate(self._declared):
            for p in declared:
                for _, _, panel in self._panels(i, p, self.arena.arrays["parameters"]):
                    panel[...] = p.initial

    def _allocate(self):
        """Make the arrays, and set sizes and offsets of the layers."""
        lanes = self.shape.lanes
        transposed = {
            (i, "transposed"): round_up(layer.fan_out, lanes)
            * round_up(layer.fan_in, lanes)
            for i, layer in enumerate(self.architecture)
            if self.trainable and i > 0
        }
        kept = {
            "first_moment": self.n_moments > 0,
            "second_moment": self.n_moments > 1,
            "average": self.averaged,
        }
        self.arena = Arena(
            [
                Buffer("parameters", self.sizes),
                Buffer("transposed", transposed),
                *(Buffer(name, self.sizes if kept[name] else {}) for name in kept),
            ],
            self.dtype,
        )
        starts = self.arena.starts["parameters"]
        for i, (layer, declared) in enumerate(
            zip(self.layers, self._declared, strict=True)
        ):
            layer["fan_in"], layer["fan_out"] = self.units[i : i + 2]
            layer["transposed"] = self.arena.starts["transposed"].get(
                (i, "transposed"), -1
            )
            layer["transposed_rows"] = round_up(self.units[i + 1], lanes)
            layer["derivatives"] = -1
            layer["keeps_zero"] = True
            layer["weights"] = starts[i, declared[0].field]
            for p in declared:
                layer[p.field] = starts[i, p.field]
                layer[f"{p.field}_rate"] = p.rate
                layer[f"{p.field}_decay"] = p.decays
                if p.field == "weights":
                    layer["weight_rows"] = p.rows(self.shape)

    @property
    def n_layers(self):
        """Number of layers."""
        return len(self.layers)

    @property
    def scaled(self):
        """The argument of kernels of this name: True, or None."""
        return True if isinstance(self.architecture[0], Scale) else None

    def _panels(self, i, parameter, array):
        """Yield (first column, last column, view of the rows) of each panel."""
        rows, columns = parameter.rows(self.shape), parameter.shape[-1]
        used = math.prod(parameter.shape[:-1])  # 1 for a row of numbers
        for first in range(0, columns, self.shape.width):
            count = min(self.shape.width, columns - first)
            width = round_up(count, self.shape.lanes)
            start = int(self.layers[parameter.field][i]) + first * rows
            panel = array[start : start + rows * width].reshape(rows, width)
            yield first, first + count, panel[:used, :count]

    def _numbers(self, array):
        return self.arena.arrays[array] if isinstance(array, str) else array

    def write(self, *groups, array="parameters"):
        """Copy in parameters; groups that are not given stay as they are.

        Does not update the transposed weights, see `fastmlp.jobs.TrainingJob.refresh`.

        groups : lists of arrays in the order of `groups`: the weights (fan_in, fan_out)
            and the biases (fan_out,) of each Dense layer, then what others declare.
        array : name of an array of the arena, or an array of the same layout.
        """
        numbers = self._numbers(array)
        if numbers.size != self.arena.arrays["parameters"].size:
            raise ValueError(f"the network has no {array}")
        given = [{"weights": _NO_WEIGHTS} for _ in self.architecture]
        for name, places, arrays in zip(self.groups, self._lists, groups, strict=False):
            if len(arrays) != len(places):
                raise ValueError(
                    f"the network takes {len(places)} arrays of {name}, "
                    f"got {len(arrays)}"
                )
            for number, ((i, parameter), values) in enumerate(
                zip(places, arrays, strict=True)
            ):
                if np.shape(values) != parameter.shape:
                    raise ValueError(
                        f"layer {i} cannot hold {name} of shape {np.shape(values)}, "
                        f"expected {parameter.shape}"
                    )
                shown = f"{_SHOWN.get(name, name)}[{number}]"
                check_numbers(values, len(parameter.shape), shown)
                given[i][parameter.field] = values
        flat, records = address_of(numbers), address_of(self.layers)
        for i, arrays in enumerate(given):
            if "per_output" not in arrays:
                continue
            weights, row = _as_numbers_of_one_type(**arrays)
            pack_layer(
                records + i * LAYER.itemsize,
                flat,
                self._zero,
                address_of(weights),
                weights.strides[0] // weights.itemsize,
                weights.strides[1] // weights.itemsize,
                address_of(row),
                row.strides[0] // row.itemsize,
                weights.dtype == np.float64,
            )

    def read(self, dtype=None, array="parameters", out=None):
        """Return copies of all parameters: a list of arrays for each of `groups`.

        For Dense layers these are (weights, biases), of shapes (fan_in, fan_out) and
        (fan_out,).

        Parameters
        ----------
        dtype : dtype, default=None
            Of the copies; None for the network's own.
        array : str or ndarray, default="parameters"
            Name of an array of the arena, or an array of the same layout, such as
            moments and gradients.
        out : tuple of lists of ndarray, default=None
            Arrays to fill; None for new ones.

        Returns
        -------
        tuple of lists of ndarray
        """
        dtype = self.dtype if dtype is None else dtype
        flat = self._numbers(array)
        if out is None:
            out = tuple(
                [np.empty(parameter.shape, dtype) for _, parameter in places]
                for places in self._lists
            )
        for places, arrays in zip(self._lists, out, strict=True):
            for (i, parameter), copy in zip(places, arrays, strict=True):
                for first, last, panel in self._panels(i, parameter, flat):
                    copy[..., first:last] = panel
        return out

    def split(self, vector):
        """Views of a vector of all parameters, group by group: see `read`."""
        if vector.shape != (self.n_parameters,):
            raise ValueError(
                f"expected a vector of {self.n_parameters} parameters, "
                f"got an array of shape {vector.shape}"
            )
        views, start = [], 0
        for places in self._lists:
            views.append([])
            for _, parameter in places:
                end = start + math.prod(parameter.shape)
                views[-1].append(vector[start:end].reshape(parameter.shape))
                start = end
        return tuple(views)

    def is_finite(self, array="parameters"):
        """Whether all parameters (or moments) are finite."""
        return bool(np.isfinite(self.arena.arrays[array]).all())
