"""What all kinds of layers share: their record, and the forms of their declarations.

A kind is a file in this package with

- a dataclass: what it declares of its parameters and of its workspace;
- its kernels forward, backward and gradient, with units in the lanes of a vector (for
  `fastmlp.kernels.passes`) and with samples there (for `fastmlp.kernels.strips`).

`fastmlp.engine.network.Network` folds the declarations into the records `LAYER` that
kernels read.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.panels import panels
from fastmlp.kernels.simd import record_at

__all__ = [
    "LAYER",
    "Layer",
    "Parameter",
    "deltas_of",
    "derivatives_of",
    "inputs_of",
    "layer_at",
    "outputs_of",
]

_INTEGERS = (
    "fan_in",
    "fan_out",
    # offsets in the arrays of parameters, moments and gradients
    "weights",  # panels of
    "weight_rows",  # this many rows: fan_in rounded up to whole tiles, or 0 for none
    "per_output",  # after the weights: one number per output
    "alphas",  # one number per unit of a parametric activation; -1 for none
    "cosines",  # of an Encoding
    "tables",
    "pieces",  # into which a step cuts these parameters
    # in the array of transposed weights
    "transposed",  # -1 for none; panels of
    "transposed_rows",  # this many rows, fan_out rounded up to whole vectors
    # offsets in the workspace
    "inputs",  # activations that enter the layer,
    "outputs",  # activations that leave it,
    "deltas",  # derivatives of the loss with respect to what it computes
    "derivatives",  # of its outputs, by which deltas are multiplied; -1 for none
    "excess",  # of a parametric activation over its argument, see parametric
    # of its activation function
    "activation",  # code; 0 for none
    "maps_zero_to_zero",  # whether the function is 0 at 0
    "columns",  # of an Encoding: address of fan_in records
)
_FLOATS = (
    "weights_rate",  # factors on the learning rate
    "per_output_rate",
    "alphas_rate",
    "cosines_rate",
    "tables_rate",
    "weights_decay",  # factor on the decoupled decay; penalties apply unless it is 0
)

#: Sizes of a layer, and where its arrays are, in elements.
LAYER = np.dtype(
    [(name, np.int64) for name in _INTEGERS] + [(name, np.float64) for name in _FLOATS]
)

layer_at = record_at(LAYER)


class Parameter(NamedTuple):
    """An array of parameters that a layer declares."""

    field: str  # of LAYER: "weights" for a matrix; the others are rows of numbers
    group: str  # name of the list that it belongs to, see `Network`
    shape: tuple
    initial: float = 0.0  # value; that of weights and biases is drawn later
    rate: float = 1.0  # factor on the learning rate
    decay: float = 0.0  # factor on the decay; penalties apply unless it is 0

    def rows(self, shape):
        """Rows of its panels: whole tiles for a matrix; `shape` is that of the tile."""
        if len(self.shape) == 1:
            return 1
        return -(-self.shape[0] // shape.rows) * shape.rows

    def size(self, shape):
        """Numbers that its panels take."""
        return self.rows(shape) * -(-self.shape[-1] // shape.lanes) * shape.lanes


class Layer(ABC):
    """What a kind of layer declares; each is a subclass."""

    fan_in: int
    fan_out: int

    #: Whether an activation function follows, unless the layer is the last one.
    has_activation = True
    #: Whether it can be the first layer of a network that gets sparse X.
    takes_sparse = True

    @abstractmethod
    def parameters(self):
        """A list of `Parameter`, weights first."""

    @abstractmethod
    def workspace(self, stored):
        """Its buffers: field of LAYER -> numbers per row of a batch.

        Instead of numbers, the name of another field means that both share a place.

        stored : whether derivatives of the activation function are stored.
        """


@jit
def inputs_of(job, workspace, layer):
    """The activations that enter a layer, as a matrix."""
    return panels(workspace, layer.inputs, layer.fan_in, job.capacity)


@jit
def outputs_of(job, workspace, layer):
    """The activations that leave a layer."""
    return panels(workspace, layer.outputs, layer.fan_out, job.capacity)


@jit
def deltas_of(job, workspace, layer):
    """The deltas of a layer."""
    return panels(workspace, layer.deltas, layer.fan_out, job.capacity)


@jit
def derivatives_of(job, workspace, layer):
    """The derivatives that a layer stores."""
    return panels(workspace, layer.derivatives, layer.fan_out, job.capacity)
