"""Encoding: the columns of a table become the inputs of the network.

With x a column of the batch, z its clipped numbers, f, p, V and v the frequencies,
phases, weights and biases of its embedding, T the table of a category, e what the
column gives, s the trainable factors of that, and D the derivatives of the loss with
respect to the inputs of the network:

    forward     e = [z, cos(2 pi z f + p) V + v]  of a number, T[x] of a category
                Y = e s
    backward    nothing: no layer comes before
    gradient    ds = 1^T (D * e)
                dV = cos(...)^T (D s),   dv = 1^T (D s)
                dp = -1^T q,   df = -2 pi z^T q   with q = sin(...) * ((D s) V^T)
                dT[k] = sum of the rows of D s where x = k

If a column `is_piecewise`, ramps z f + p, cut off at 0 and 1, take the place of the
cosines. They stand between quantiles, and are not trained. If it has `knots`, z is
linear between them.

A piece of the gradient is a column: one thread sums it over the whole batch, block by
block.  Numbers in the lanes of a vector are rows here, not units.

`fastmlp.tables.encodings` says what a column is, and has all this in NumPy.
"""

import math
from dataclasses import dataclass

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.buffers import of_thread
from fastmlp.kernels.elementwise import cosine_and_sine_of_turns, cosine_of_turns
from fastmlp.kernels.job import layer_of
from fastmlp.kernels.layers.layer import (
    Layer,
    Parameter,
    deltas_of,
    inputs_of,
    outputs_of,
)
from fastmlp.kernels.panels import width_at
from fastmlp.kernels.simd import (
    advance,
    cast,
    fused_multiply_add,
    panel_width,
    pointer,
    record_at,
)
from fastmlp.kernels.updating import make_gradient, rule_for, update_parameters
from fastmlp.tables.encodings import (
    EMBEDDING,
    FLAG,
    MOST,
    N_FREQUENCIES,
    NUMBER,
    ONE_HOT,
)

__all__ = [
    "COLUMN",
    "Encoding",
    "encoding_buffers",
    "forward",
    "numbers_of_values",
    "scale_numbers",
    "sum_and_update",
    "update_kept",
]

_INTEGERS = (
    "kind",
    "first",  # its first input of the network
    "inputs",  # how many these are
    "has_missing",
    "is_piecewise",
    "n_levels",
    "n_knots",  # 0 without
    "values",  # address of `values` or `knots`, see tables.encodings.Column
    "parameters",  # where its own parameters are among all
    "n_parameters",
)

#: A column of X, for kernels.
COLUMN = np.dtype(
    [(name, np.int64) for name in _INTEGERS]
    + [(name, np.float64) for name in ("center", "scale")]
)

column_at = record_at(COLUMN)
_COLUMN_BYTES = COLUMN.itemsize


@dataclass(frozen=True, eq=False)
class Encoding(Layer):
    """The inputs of a network from a table; only as its first layer.

    columns : tuple of fastmlp.tables.encodings.Column
    n_cosines : numbers of the embedding of each number, beside the number; 0 for none,
        and at most N_FREQUENCIES.
    n_embedded : numbers of the embedding of a category.
    factors_rate, cosines_rate, tables_rate : factors on the learning rate.
    """

    columns: tuple
    n_cosines: int = 3
    n_embedded: int = 8
    factors_rate: float = 1.0
    cosines_rate: float = 1.0
    tables_rate: float = 1.0

    has_activation = False
    takes_sparse = False

    def __post_init__(self):
        if not 0 <= self.n_cosines <= N_FREQUENCIES:
            raise ValueError(f"n_cosines is {self.n_cosines}, above {N_FREQUENCIES}")
        for column, n in zip(self.columns, self.counts, strict=True):
            if column.kind in (ONE_HOT, EMBEDDING) and column.n_levels < 1:
                raise ValueError("a category has no levels, not even one for unknowns")
            if column.kind == ONE_HOT and np.shape(column.values) != (n, 2):
                raise ValueError(
                    f"values of a column have shape {np.shape(column.values)}, "
                    f"expected {(n, 2)}"
                )
            if column.knots is not None:
                _check_knots(column.knots)
        if self.fan_out == 0:
            raise ValueError("an Encoding needs columns that give inputs to a network")

    @property
    def fan_in(self):
        """Columns of X."""
        return len(self.columns)

    @property
    def counts(self):
        """Inputs of the network that each column gives."""
        return [c.n_inputs(self.n_cosines, self.n_embedded) for c in self.columns]

    @property
    def fan_out(self):
        """Inputs of the network."""
        return sum(self.counts)

    def own(self, column):
        """(field of LAYER, numbers) of the parameters of a column, but the factors."""
        if column.kind == NUMBER and self.n_cosines:
            return "cosines", (self.n_cosines + 3) * N_FREQUENCIES
        if column.kind == EMBEDDING:
            return "tables", column.n_levels * self.n_embedded
        return "per_output", 0

    def parameters(self):
        """Factors, 1 at first; all numbers of the embeddings, to be drawn."""
        sizes = {"cosines": 0, "tables": 0, "per_output": 0}
        for column in self.columns:
            field, count = self.own(column)
            sizes[field] += count
        rates = {"cosines": self.cosines_rate, "tables": self.tables_rate}
        shape, rate = (self.fan_out,), self.factors_rate
        return [
            Parameter("per_output", "factors", shape, initial=1.0, rate=rate),
            *(
                Parameter(field, field, (sizes[field],), rate=rates[field])
                for field in rates
            ),
        ]

    def workspace(self, stored):
        """Inputs of the network, and deltas."""
        return {"outputs": self.fan_out, "deltas": self.fan_out}

    def records(self, places, address_of):
        """(records COLUMN, arrays that they lead to).

        places : field of LAYER -> where the parameters of this layer begin.
        address_of : array -> the address that kernels get.
        """
        records, kept, first = np.zeros(self.fan_in, COLUMN), [], 0
        places = dict(places)
        for record, column, n in zip(records, self.columns, self.counts, strict=True):
            field, count = self.own(column)
            record["kind"], record["first"], record["inputs"] = column.kind, first, n
            record["has_missing"] = column.has_missing
            record["is_piecewise"] = column.is_piecewise
            record["n_levels"] = column.n_levels
            record["center"], record["scale"] = column.center, column.scale
            record["parameters"], record["n_parameters"] = places[field], count
            pairs = column.values if column.kind == ONE_HOT else column.knots
            if pairs is not None:
                kept.append(np.array(pairs, np.float64, order="C"))
                record["values"] = address_of(kept[-1])
            record["n_knots"] = 0 if column.knots is None else len(column.knots)
            places[field] += count
            first += n
        return records, kept


def _check_knots(knots):
    """Raise an error unless kernels can look numbers up in knots."""
    shape = np.shape(knots)
    if len(shape) != 2 or shape[0] < 2 or shape[1] != 2:
        raise ValueError(f"knots of a column have shape {shape}, expected (n, 2)")
    if not (np.isfinite(knots).all() and (np.diff(knots, axis=0)[:, 0] > 0).all()):
        raise ValueError("knots of a column are not ascending numbers")


def encoding_buffers(sizes):
    """Buffers of `forward` and `sum_and_update`: rows, and sums for a column."""
    layer = sizes.encoding
    if layer is None:
        return []
    return [
        of_thread(
            sizes,
            encoding_values=numbers_of_values(layer),
            encoding_sums=max(layer.own(column)[1] for column in layer.columns),
            encoding_row=max(layer.counts),
        )
    ]


def numbers_of_values(layer):
    """Numbers of the buffer `values` that functions below work in."""
    return (4 + layer.n_cosines) * _ROWS


#: Rows that are computed at once; so few that frequencies fill a vector better.
_ROWS = 128
_FEW_ROWS = 6


@jit
def _column_of(layer, j):
    """The record of a column."""
    return column_at(layer.columns + j * _COLUMN_BYTES)


@jit
def _entry(matrix, column, first_row):
    """(pointer to a column's number in a row, distance to that of the next row)."""
    full_width = panel_width(matrix.data)
    start = column // full_width * full_width
    width = width_at(start, matrix.columns, matrix.data)
    place = start * matrix.rows + first_row * width + column - start
    return advance(matrix.data, place), width


@jit
def _known(number):
    """The number, or 0 if it is missing."""
    return number if number == number else cast(0, number)


# --- numbers --------------------------------------------------------------------------


@jit
def _cosines_of(column):
    """How many numbers a column's embedding has beside the number itself."""
    return max(column.n_parameters // N_FREQUENCIES - 3, 0)


@jit
def _clipped(number):
    """The smoothly clipped number."""
    one, most = cast(1, number), cast(MOST, number)
    number = most if number > most else number
    number = -most if number < -most else number
    third = number * cast(1 / 3, number)
    return number / math.sqrt(one + third * third)


@jit
def scale_numbers(job, workspace, values, layer, first_row, rows):
    """Numbers of rows of X, which are in the layer's inputs, become z; NaN stays NaN.

    values : room for `numbers_of_values`.
    """
    a = inputs_of(job, workspace, layer)
    for j in range(layer.fan_in):
        column = _column_of(layer, j)
        if column.kind == NUMBER:
            for first in range(first_row, first_row + rows, _ROWS):
                x, step = _entry(a, j, first)
                _scale(column, x, step, min(_ROWS, first_row + rows - first), values)


@jit
def _knot_below(number, knots, n_knots):
    """The last knot but one that is not above a number, or the first."""
    below, n = 0, n_knots - 1  # it is one of n from here on
    while n > 1:
        half = n // 2
        below += half if cast(knots[2 * (below + half)], number) <= number else 0
        n -= half
    return below


@jit
def _count_knots_below(z, knots, n_knots, rows, counts):
    """`_knot_below` of many numbers: all knots are counted, with rows in the lanes."""
    zero, one = cast(0, z[0]), cast(1, z[0])
    for r in range(rows):
        counts[r] = zero
    for k in range(1, n_knots - 1):
        knot = cast(knots[2 * k], zero)
        for r in range(rows):
            counts[r] += one if knot <= z[r] else zero


@jit
def _between_knots(number, pair):
    """z of a number, linear between the knot at `pair` and the next; NaN stays NaN."""
    x, z = cast(pair[0], number), cast(pair[1], number)
    share = (number - x) / (cast(pair[2], number) - x)
    return z + share * (cast(pair[3], number) - z)


@jit
def _scale_by_knots(column, x, step, rows, z):
    """Implement `_scale` for a column that has knots."""
    knots, n, counts = pointer(column.values, 0.0), column.n_knots, advance(z, _ROWS)
    lowest, highest = cast(knots[0], x[0]), cast(knots[2 * n - 2], x[0])
    for r in range(rows):
        number = x[r * step]
        number = lowest if number < lowest else number
        z[r] = highest if number > highest else number
    if rows < _FEW_ROWS:
        for r in range(rows):
            below = _knot_below(z[r], knots, n)
            x[r * step] = _between_knots(z[r], advance(knots, 2 * below))
        return
    _count_knots_below(z, knots, n, rows, counts)
    for r in range(rows):
        below = np.int64(counts[r])
        x[r * step] = _between_knots(z[r], advance(knots, 2 * below))


@jit
def _scale(column, x, step, rows, z):
    """Implement `scale_numbers` for some rows of a column."""
    if column.n_knots > 0:
        _scale_by_knots(column, x, step, rows, z)
        return
    center, scale = cast(column.center, x[0]), cast(column.scale, x[0])
    for r in range(rows):
        z[r] = scale * (x[r * step] - center)
    for r in range(rows):
        z[r] = _clipped(z[r])
    for r in range(rows):
        x[r * step] = z[r]


@jit
def _load_numbers(x, step, rows, z):
    """z[r] = the scaled number of row r; 0 if it is missing."""
    for r in range(rows):
        z[r] = _known(x[r * step])


@jit
def _turns_of(phase):
    """A phase in radians, in turns."""
    return phase * cast(0.5 / math.pi, phase)


@jit
def _cosines(z, frequency, phase, rows, cosines):
    """Cosines of 2 pi z frequency + phase."""
    turns = _turns_of(phase)
    for r in range(rows):
        cosines[r] = cosine_of_turns(fused_multiply_add(z[r], frequency, turns))


@jit
def _ramp(z, slope, start):
    """z slope + start, cut off at 0 and 1."""
    zero, one = cast(0, slope), cast(1, slope)
    x = fused_multiply_add(z, slope, start)
    x = zero if x < zero else x
    return one if x > one else x


@jit
def _ramps(z, slope, start, rows, ramps):
    """`_ramp` of several numbers."""
    for r in range(rows):
        ramps[r] = _ramp(z[r], slope, start)


@jit
def _waves(z, frequency, phase, rows, cosines, sines):
    """Cosines and sines of 2 pi z frequency + phase."""
    turns = _turns_of(phase)
    for r in range(rows):
        x = fused_multiply_add(z[r], frequency, turns)
        cosines[r], sines[r] = cosine_and_sine_of_turns(x)


@jit
def _store(values, factor, target, rows):
    """Write a column of the inputs of the network."""
    y, stride = target
    for r in range(rows):
        y[r * stride] = factor * values[r]


@jit
def _encode_number(column, own, factors, x, step, c, first_row, rows, values):
    z, cosines = values, advance(values, _ROWS)
    sums, n_cosines = advance(values, 4 * _ROWS), _cosines_of(column)
    _load_numbers(x, step, rows, z)
    _store(z, factors[0], _entry(c, column.first, first_row), rows)
    weights = advance(own, 2 * N_FREQUENCIES)
    for k in range(n_cosines):
        bias = weights[n_cosines * N_FREQUENCIES + k]
        for r in range(rows):
            sums[k * _ROWS + r] = bias
    if n_cosines > 0:
        for f in range(N_FREQUENCIES):
            if column.is_piecewise:
                _ramps(z, own[f], own[N_FREQUENCIES + f], rows, cosines)
            else:
                _cosines(z, own[f], own[N_FREQUENCIES + f], rows, cosines)
            for k in range(n_cosines):
                weight, total = weights[k * N_FREQUENCIES + f], advance(sums, k * _ROWS)
                for r in range(rows):
                    total[r] = fused_multiply_add(weight, cosines[r], total[r])
    for k in range(n_cosines):
        target = _entry(c, column.first + 1 + k, first_row)
        _store(advance(sums, k * _ROWS), factors[1 + k], target, rows)
    if column.has_missing:
        last = column.inputs - 1
        y, stride = _entry(c, column.first + last, first_row)
        for r in range(rows):
            is_known = x[r * step] == x[r * step]
            y[r * stride] = cast(0, z[0]) if is_known else factors[last]


@jit
def _encode_number_of_row(column, own, factors, x, c, row, cosines):
    """`_encode_number` for one row, with the same bits: lanes hold frequencies."""
    z, n_cosines = _known(x[0]), _cosines_of(column)
    y, _ = _entry(c, column.first, row)
    y[0] = factors[0] * z
    if n_cosines > 0:
        phases = advance(own, N_FREQUENCIES)
        if column.is_piecewise:
            for f in range(N_FREQUENCIES):
                cosines[f] = _ramp(z, own[f], phases[f])
        else:
            for f in range(N_FREQUENCIES):
                turns = fused_multiply_add(z, own[f], _turns_of(phases[f]))
                cosines[f] = cosine_of_turns(turns)
    weights = advance(own, 2 * N_FREQUENCIES)
    biases = advance(weights, n_cosines * N_FREQUENCIES)
    for k in range(n_cosines):
        total, weights_of_k = biases[k], advance(weights, k * N_FREQUENCIES)
        for f in range(N_FREQUENCIES):
            total = fused_multiply_add(weights_of_k[f], cosines[f], total)
        y, _ = _entry(c, column.first + 1 + k, row)
        y[0] = factors[1 + k] * total
    if column.has_missing:
        last = column.inputs - 1
        y, _ = _entry(c, column.first + last, row)
        y[0] = cast(0, z) if x[0] == x[0] else factors[last]


@jit(flags=("reassoc", "contract"))
def _dot(x, y, count):
    """Sum of x[i] y[i], in an order that depends only on `count`."""
    total = cast(0, x[0])
    for i in range(count):
        total += x[i] * y[i]
    return total


@jit(flags=("reassoc", "contract"))
def _total(x, count):
    """Sum of x[i], likewise."""
    total = cast(0, x[0])
    for i in range(count):
        total += x[i]
    return total


@jit
def _load(source, rows, values):
    """The inverse of `_store`, without a factor."""
    d, stride = source
    for r in range(rows):
        values[r] = d[r * stride]


@jit
def _sum_number(
    column, own, factors, x, step, d, first_row, rows, values, sums, factor_sums
):
    z, cosines, sines = values, advance(values, _ROWS), advance(values, 2 * _ROWS)
    q, deltas = advance(values, 3 * _ROWS), advance(values, 4 * _ROWS)
    zero, n_cosines = cast(0, values[0]), _cosines_of(column)
    _load_numbers(x, step, rows, z)
    _load(_entry(d, column.first, first_row), rows, q)
    factor_sums[0] += _dot(z, q, rows)
    weights, weight_sums = (
        advance(own, 2 * N_FREQUENCIES),
        advance(sums, 2 * N_FREQUENCIES),
    )
    for k in range(n_cosines):
        of_k = advance(deltas, k * _ROWS)
        _load(_entry(d, column.first + 1 + k, first_row), rows, of_k)
        place, total = n_cosines * N_FREQUENCIES + k, _total(of_k, rows)
        weight_sums[place] += factors[1 + k] * total
        factor_sums[1 + k] += weights[place] * total
    if n_cosines > 0:
        for f in range(N_FREQUENCIES):
            if column.is_piecewise:
                _ramps(z, own[f], own[N_FREQUENCIES + f], rows, cosines)
            else:
                _waves(z, own[f], own[N_FREQUENCIES + f], rows, cosines, sines)
            for r in range(rows):
                q[r] = zero
            for k in range(n_cosines):
                of_k, weight = (
                    advance(deltas, k * _ROWS),
                    weights[k * N_FREQUENCIES + f],
                )
                along = _dot(of_k, cosines, rows)
                weight_sums[k * N_FREQUENCIES + f] += factors[1 + k] * along
                factor_sums[1 + k] += weight * along
                slope = factors[1 + k] * weight
                for r in range(rows):
                    q[r] += slope * of_k[r]
            if column.is_piecewise:  # the ramps are not trained
                continue
            for r in range(rows):
                q[r] *= sines[r]
            sums[f] -= cast(2 * math.pi, zero) * _dot(q, z, rows)
            sums[N_FREQUENCIES + f] -= _total(q, rows)
    if column.has_missing:
        last = column.inputs - 1
        source, stride = _entry(d, column.first + last, first_row)
        total = zero
        for r in range(rows):
            is_known = x[r * step] == x[r * step]
            total += zero if is_known else source[r * stride]
        factor_sums[last] += total


# --- categories -----------------------------------------------------------------------


@jit
def _level_of(number, n_levels):
    """The level that a number stands for: 0, what is unknown, if it is none."""
    is_near = number >= cast(0, number) and number < cast(n_levels, number)
    level = np.int64(number) if is_near else np.int64(0)
    return level if cast(level, number) == number else np.int64(0)


@jit
def _encode_level(column, own, factors, x, step, c, first_row, rows):
    zero, pairs = cast(0, factors[0]), pointer(column.values, 0.0)
    for k in range(column.inputs):
        y, stride = _entry(c, column.first + k, first_row)
        if column.kind == ONE_HOT:
            cold = factors[k] * cast(pairs[2 * k], zero)
            hot = factors[k] * cast(pairs[2 * k + 1], zero)
            for r in range(rows):
                y[r * stride] = hot if x[r * step] == cast(k + 1, zero) else cold
        else:
            for r in range(rows):
                level = _level_of(x[r * step], column.n_levels)
                y[r * stride] = factors[k] * own[level * column.inputs + k]


@jit
def _sum_level(column, own, factors, x, step, d, first_row, rows, sums, factor_sums):
    zero, pairs = cast(0, factors[0]), pointer(column.values, 0.0)
    for k in range(column.inputs):
        source, stride = _entry(d, column.first + k, first_row)
        total = zero
        if column.kind == ONE_HOT:
            cold, hot = cast(pairs[2 * k], zero), cast(pairs[2 * k + 1], zero)
            for r in range(rows):
                is_hot = x[r * step] == cast(k + 1, zero)
                total += source[r * stride] * (hot if is_hot else cold)
        else:
            for r in range(rows):
                level = _level_of(x[r * step], column.n_levels)
                place, delta = level * column.inputs + k, source[r * stride]
                sums[place] += factors[k] * delta
                total += own[place] * delta
        factor_sums[k] += total


# --- columns --------------------------------------------------------------------------


@jit
def forward(job, workspace, parameters, values, layer, first_row, rows):
    """Encode rows of X, which are in the layer's inputs, after `scale_numbers`.

    values : room for `numbers_of_values`.
    """
    a, c = inputs_of(job, workspace, layer), outputs_of(job, workspace, layer)
    for first in range(first_row, first_row + rows, _ROWS):
        count = min(_ROWS, first_row + rows - first)
        for j in range(layer.fan_in):
            column = _column_of(layer, j)
            own = advance(parameters, column.parameters)
            factors = advance(parameters, layer.per_output + column.first)
            x, step = _entry(a, j, first)
            if column.kind == NUMBER and count < _FEW_ROWS:
                for r in range(count):
                    x_r, row = advance(x, r * step), first + r
                    _encode_number_of_row(column, own, factors, x_r, c, row, values)
            elif column.kind == NUMBER:
                _encode_number(column, own, factors, x, step, c, first, count, values)
            elif column.kind == FLAG:
                y, stride = _entry(c, column.first, first)
                for r in range(count):
                    y[r * stride] = factors[0] * _known(x[r * step])
            else:
                _encode_level(column, own, factors, x, step, c, first, count)


@jit
def _sum_column(job, workspace, parameters, scratch, layer, j, rows, sums, factor_sums):
    """The gradient of the losses with respect to a column's parameters, and factors."""
    a, d = inputs_of(job, workspace, layer), deltas_of(job, workspace, layer)
    column, values = _column_of(layer, j), advance(scratch, job.encoding_values)
    own = advance(parameters, column.parameters)
    factors = advance(parameters, layer.per_output + column.first)
    zero = cast(0, sums[0])
    for i in range(column.n_parameters):
        sums[i] = zero
    for i in range(column.inputs):
        factor_sums[i] = zero
    for first in range(0, rows, _ROWS):
        count = min(_ROWS, rows - first)
        x, step = _entry(a, j, first)
        if column.kind == NUMBER:
            _sum_number(
                column, own, factors, x, step, d, first, count, values, sums,
                factor_sums,
            )  # fmt: skip
        elif column.kind == FLAG:
            source, stride = _entry(d, column.first, first)
            total = zero
            for r in range(count):
                total += source[r * stride] * _known(x[r * step])
            factor_sums[0] += total
        else:
            _sum_level(
                column, own, factors, x, step, d, first, count, sums, factor_sums
            )


@jit
def _rules_for(rule, layer, column):
    """The rules for a column's own parameters, and for its factors; no penalties."""
    is_number = column.kind == NUMBER
    rate = layer.cosines_rate if is_number else layer.tables_rate
    return rule_for(rule, rate, 0.0), rule_for(rule, layer.per_output_rate, 0.0)


@jit
def _update(model, rules, layer, column, sums, factor_sums):
    own, for_factors = rules
    place = layer.per_output + column.first
    update_parameters(model, for_factors, place, column.inputs, factor_sums)
    update_parameters(model, own, column.parameters, column.n_parameters, sums)


@jit
def sum_and_update(job, workspace, model, step, scratch, piece, clips):
    """The gradient of a column's parameters and factors, to be applied or kept."""
    layer = layer_of(job, 0)
    column = _column_of(layer, piece)
    place = layer.per_output + column.first
    sums = advance(scratch, job.encoding_sums)
    factor_sums = advance(scratch, job.encoding_row)
    if clips:
        sums = advance(model.gradients, column.parameters)
        factor_sums = advance(model.gradients, place)
    _sum_column(
        job, workspace, model.parameters, scratch, layer, piece, step.rows, sums,
        factor_sums,
    )  # fmt: skip
    model.penalties[piece] = cast(0, sums[0])
    rules = own, for_factors = _rules_for(step.rule, layer, column)
    if clips:
        squares = make_gradient(model, for_factors, place, column.inputs, factor_sums)
        squares += make_gradient(
            model, own, column.parameters, column.n_parameters, sums
        )
        model.squares[piece] = squares
    else:
        _update(model, rules, layer, column, sums, factor_sums)


@jit
def update_kept(job, model, rule, piece):
    """Update a column's parameters and factors by the gradient that was kept."""
    layer = layer_of(job, 0)
    column = _column_of(layer, piece)
    _update(
        model, _rules_for(rule, layer, column), layer, column,
        advance(model.gradients, column.parameters),
        advance(model.gradients, layer.per_output + column.first),
    )  # fmt: skip
