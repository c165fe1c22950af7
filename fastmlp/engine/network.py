"""The arrays of a network: one arena of padded, packed arrays, and views of it."""

import math
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import as_strided

from fastmlp.data.inputs import check_numbers
from fastmlp.data.samples import as_readable
from fastmlp.engine.arena import Arena, address_of
from fastmlp.kernels.buffers import Buffer, round_up
from fastmlp.kernels.layers.dense import Dense
from fastmlp.kernels.layers.encoding import Encoding
from fastmlp.kernels.layers.layer import LAYER, Layer
from fastmlp.kernels.packing import pack_layer
from fastmlp.kernels.simd import tile_shape
from fastmlp.tables.fitted import PARAMETERS
from fastmlp.tables.optimizers import OPTIMIZERS

__all__ = ["Network", "architecture_of", "units_of"]

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
    if not any(isinstance(layer, Layer) for layer in layers):
        layers = [Dense(int(a), int(b)) for a, b in pairwise(layers)]
    for i, (before, layer) in enumerate(pairwise(layers)):
        if before.fan_out != layer.fan_in:
            raise ValueError(
                f"layer {i} gives {before.fan_out} numbers per sample, but layer "
                f"{i + 1} takes {layer.fan_in}"
            )
        if not isinstance(layer, Dense):
            kind = type(layer).__name__
            raise ValueError(f"layer {i + 1}: a {kind} can only be the first layer")
    if not layers or not isinstance(layers[-1], Dense):
        raise ValueError("the last layer must be Dense")
    parametric = [getattr(layer, "is_parametric", False) for layer in layers]
    if parametric[-1]:
        raise ValueError("the last layer has no activation, so it cannot be parametric")
    if any(parametric) and not isinstance(layers[0], Encoding):
        raise ValueError("parametric activations need an Encoding as the first layer")
    return tuple(layers)


def _as_numbers_of_one_type(weights, per_output):
    """Both as float32 or both as float64, in a layout that kernels can read."""
    weights, per_output = np.asarray(weights), np.asarray(per_output)
    singles = weights.dtype == per_output.dtype == np.float32
    dtype = np.float32 if singles else np.float64
    return (as_readable(a.astype(dtype, copy=False)) for a in (weights, per_output))


class Network:
    """Parameters of a network in column panels: the fold over what layers declare.

    Parameters
    ----------
    layers : sequence of fastmlp.kernels.layers.layer.Layer, or of int
        From the inputs to the outputs; numbers are short for Dense layers, see
        `architecture_of`.
    dtype : dtype
        The precision of the kernels, float32 or float64.
    optimizer : str, default=None
        Name of a row of `fastmlp.tables.optimizers`: there is room for what its rule
        keeps, and for transposed weights for the backward pass. None if the network
        only predicts.
    averaged : bool, default=False
        Whether to keep a moving average of the parameters.
    differentiable : bool, default=False
        Whether there is room for transposed weights of all layers, for derivatives with
        respect to the inputs; after an Encoding, to what that gives.

    Attributes
    ----------
    dtype, optimizer, averaged
        As given.
    architecture : tuple of fastmlp.kernels.layers.layer.Layer
    units : tuple of int
        Numbers per sample: features, then what each layer gives.
    groups : dict of str to int
        Names of the lists of arrays in which `read` and `write` exchange parameters,
        and how many arrays each has.
    sizes : dict
        (number of the layer, field of LAYER) -> numbers that its panels take.
    n_weights, n_parameters : int
        Number of weights, and of all parameters, without padding.
    shape : fastmlp.kernels.simd.TileShape
        The register tile that decides the layout.
    layers : ndarray of dtype `fastmlp.kernels.layers.layer.LAYER`
        Sizes and offsets; offsets into the workspace are not set here.
    state : tuple of str
        Names of the arrays that the optimizer's rule keeps.
    vectors : tuple of str
        Names of the arrays with a number for each parameter, all laid out alike:
        ``parameters``, those of `state`, and ``average`` if there is one.
    arena : fastmlp.engine.arena.Arena
        These arrays, and ``transposed``.
    """

    def __init__(
        self, layers, dtype, *, optimizer=None, averaged=False, differentiable=False
    ):
        self.architecture = architecture_of(layers)
        first = self.architecture[0].fan_in
        self.units = (first, *(layer.fan_out for layer in self.architecture))
        self.dtype = np.dtype(dtype)
        self.optimizer = optimizer
        self.averaged = averaged
        self.state = () if optimizer is None else OPTIMIZERS[optimizer].state
        self.vectors = ("parameters", *self.state, *(["average"] if averaged else []))
        self.shape = tile_shape(self.dtype)
        self._zero = self.dtype.type(0)
        #: (number of the layer, field of LAYER) -> what is declared there
        self._declared = {
            (i, parameter.field): parameter
            for i, layer in enumerate(self.architecture)
            for parameter in layer.parameters()
        }
        # its keys by group; those of the last layer, weights and biases, come first
        self._lists = {p.group: [] for p in self.architecture[-1].parameters()}
        for key, parameter in self._declared.items():
            self._lists.setdefault(parameter.group, []).append(key)
        self.groups = {group: len(keys) for group, keys in self._lists.items()}
        self._names = {
            key: f"{PARAMETERS.get(group, group)}[{number}]"
            for group, keys in self._lists.items()
            for number, key in enumerate(keys)
        }
        counts = {key: math.prod(p.shape) for key, p in self._declared.items()}
        self.n_parameters = sum(counts.values())
        self.n_weights = sum(n for key, n in counts.items() if key[1] == "weights")
        self.sizes = {key: p.size(self.shape) for key, p in self._declared.items()}
        self._views = {}  # of panels, by key and array, as they are asked for
        self._allocate(differentiable)
        for key, parameter in self._declared.items():
            if parameter.initial:
                for _, _, panel in self._panels(key, "parameters"):
                    panel[...] = parameter.initial

    def _allocate(self, differentiable):
        """Make the arrays, and the records that lead to them."""
        fan_in, fan_out = np.array(self.units[:-1]), np.array(self.units[1:])
        whole_in, whole_out = (round_up(n, self.shape.lanes) for n in (fan_in, fan_out))
        sizes = dict(enumerate(map(int, whole_in * whole_out)))
        goes_back = self.optimizer is not None or differentiable
        # the layer whose weights backward passes go through last
        last_passed = 0 if differentiable and self.encoding is None else 1
        transposed = {i: n for i, n in sizes.items() if i >= last_passed}
        self.arena = Arena(
            [
                *(Buffer(name, self.sizes, packed=True) for name in self.vectors),
                Buffer("transposed", transposed if goes_back else {}),
            ],
            self.dtype,
        )
        self.layers = layers = np.zeros(self.n_layers, LAYER)
        layers["fan_in"], layers["fan_out"] = fan_in, fan_out
        layers["transposed"], layers["transposed_rows"] = -1, whole_out
        layers["derivatives"], layers["maps_zero_to_zero"] = -1, True
        layers["alphas"] = -1
        for i, start in self.arena.starts["transposed"].items():
            layers["transposed"][i] = start
        for (i, field), start in self.arena.starts["parameters"].items():
            parameter = self._declared[i, field]
            layers[field][i] = start
            layers[f"{field}_rate"][i] = parameter.rate
            if field == "weights":
                layers["weight_rows"][i] = parameter.rows(self.shape)
                layers["weights_decay"][i] = parameter.decay
            elif parameter.decay:
                raise ValueError(f"layer {i}: {parameter.group} cannot decay")
        bare = layers["weight_rows"] == 0
        layers["weights"][bare] = layers["per_output"][bare]
        self._records = address_of(layers)
        if self.encoding is not None:
            starts = self.arena.starts["parameters"]
            places = {field: start for (i, field), start in starts.items() if i == 0}
            self._columns = self.encoding.records(places, address_of)
            layers["columns"][0] = address_of(self._columns[0])

    @property
    def n_layers(self):
        """Number of layers."""
        return len(self.architecture)

    @property
    def encoding(self):
        """The first layer if it is an Encoding, else None."""
        first = self.architecture[0]
        return first if isinstance(first, Encoding) else None

    @property
    def encoded(self):
        """The argument of kernels of this name: True, or None."""
        return None if self.encoding is None else True

    def _panels(self, key, array):
        """(First column, last column, view of the rows) of each panel.

        array : one of `vectors`, or an array of the same layout.
        """
        if not isinstance(array, str):
            return self._views_of(key, array)
        found = self._views.get((key, array))
        if found is None:
            found = self._views[key, array] = [
                *self._views_of(key, self._numbers(array))
            ]
        return found

    def _views_of(self, key, numbers):
        i, field = key
        parameter, place = self._declared[key], int(self.layers[field][i])
        *rows, columns = parameter.shape  # no rows: a row of numbers
        height = parameter.rows(self.shape)
        for first in range(0, columns, self.shape.width):
            count = min(self.shape.width, columns - first)
            width = round_up(count, self.shape.lanes)
            start = place + first * height
            panel = numbers[start : start + height * width].reshape(height, width)
            yield first, first + count, panel[: rows[0] if rows else 1, :count]

    def _numbers(self, array):
        if not isinstance(array, str):
            return array
        if array not in self.vectors:
            raise ValueError(f"the network has no {array}")
        return self.arena.arrays[array]

    def write(self, weights, biases, *others, array="parameters"):
        """Copy in parameters; those of groups that are not given stay as they are.

        Does not update the transposed weights, see `TrainingJob.refresh`.

        weights, biases : (fan_in, fan_out) and (fan_out,) of each Dense layer.
        others : lists of arrays for the other groups, if there are any.
        array : one of `vectors`, or an array of the same layout.
        """
        numbers = self._numbers(array)
        given = [{"weights": _NO_WEIGHTS} for _ in self.architecture]
        groups = zip(self._lists.items(), (weights, biases, *others), strict=False)
        for (group, keys), arrays in groups:
            if len(arrays) != len(keys):
                raise ValueError(
                    f"the network has {len(keys)} arrays of {group}, got {len(arrays)}"
                )
            for key, values in zip(keys, arrays, strict=True):
                i, field = key
                shape = self._declared[key].shape
                # np.shape takes longer, and is for what is no array
                if getattr(values, "shape", 0) != shape and np.shape(values) != shape:
                    raise ValueError(
                        f"layer {i} cannot hold {group} of shape {np.shape(values)}, "
                        f"expected {shape}"
                    )
                check_numbers(values, len(shape), self._names[key])
                if field in ("weights", "per_output"):
                    given[i][field] = values
                    continue
                for first, last, panel in self._panels(key, array):
                    panel[...] = values[first:last]
        flat = address_of(numbers)
        for i, arrays in enumerate(given):
            if "per_output" not in arrays:
                continue
            matrix, row = _as_numbers_of_one_type(**arrays)
            pack_layer(
                self._records + i * LAYER.itemsize,
                flat,
                self._zero,
                address_of(matrix),
                matrix.strides[0] // matrix.itemsize,
                matrix.strides[1] // matrix.itemsize,
                address_of(row),
                row.strides[0] // row.itemsize,
                matrix.dtype == np.float64,
            )

    def stack(self, n):
        """`n` arrays laid out like that of the parameters: rows of one array of zeros.

        Each starts on its own cache line.
        """
        buffer = Buffer("stack", self.sizes, copies=n, packed=True)
        arena = Arena([buffer], self.dtype)
        numbers, distance = arena.arrays["stack"], arena.strides["stack"]
        return as_strided(
            numbers,
            (n, self.arena.arrays["parameters"].size),
            (distance * numbers.itemsize, numbers.itemsize),
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
            One of `vectors`, or an array of the same layout.
        out : tuple of lists of ndarray, default=None
            Arrays to fill; None for new ones.

        Returns
        -------
        tuple of lists of ndarray
        """
        dtype = self.dtype if dtype is None else dtype
        self._numbers(array)  # which refuses other names
        if out is None:
            out = tuple(
                [np.empty(self._declared[key].shape, dtype) for key in keys]
                for keys in self._lists.values()
            )
        for keys, arrays in zip(self._lists.values(), out, strict=True):
            for key, copy in zip(keys, arrays, strict=True):
                for first, last, panel in self._panels(key, array):
                    copy[..., first:last] = panel
        return out

    def split(self, vector):
        """Views of a vector of all parameters, group by group: see `read`."""
        if vector.shape != (self.n_parameters,):
            raise ValueError(
                f"expected a vector of {self.n_parameters} parameters, "
                f"got an array of shape {vector.shape}"
            )
        keys_in_order = [key for keys in self._lists.values() for key in keys]
        sizes = [math.prod(self._declared[key].shape) for key in keys_in_order]
        numbers = iter(np.split(vector, np.cumsum(sizes)))
        return tuple(
            [next(numbers).reshape(self._declared[key].shape) for key in keys]
            for keys in self._lists.values()
        )

    def is_finite(self, array="parameters"):
        """Whether all numbers of one of `vectors` are finite."""
        return bool(np.isfinite(self._numbers(array)).all())
