"""Activations, losses, output activations and update rules against the reference."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import reference
from data import random_targets

from fastmlp.data.targets import Targets
from fastmlp.kernels import activations, losses, optimizers, simd
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.initializations import INITIALIZATIONS
from fastmlp.tables.losses import LOSSES, OUTPUT_ACTIVATIONS
from fastmlp.tables.optimizers import OPTIMIZERS
from fastmlp.training.schedules import SCHEDULES
from fastmlp.training.validation import loss_of

pytestmark = pytest.mark.compiler

DTYPES = (np.float32, np.float64)
COUNTS = (1, 7, 8, 33)


@numba.njit(error_model="numpy")
def call_activate(code, z, like):
    activations.activate(code, simd.pointer(z.ctypes.data, like), z.size)


@numba.njit(error_model="numpy")
def call_activate_any(code, z, like):
    activations.activate_any(code, simd.pointer(z.ctypes.data, like), z.size)


@numba.njit(error_model="numpy")
def call_with_derivative(code, z, derivatives, like):
    activations.activate_with_derivative(
        code,
        simd.pointer(z.ctypes.data, like),
        simd.pointer(derivatives.ctypes.data, like),
        z.size,
    )


@numba.njit(error_model="numpy")
def call_derivative(code, deltas, a, keep, like):
    activations.multiply_by_derivative(
        code,
        simd.pointer(deltas.ctypes.data, like),
        simd.pointer(a.ctypes.data, like),
        keep,
        a.size,
    )


def activate(row, z):
    """(g(z), g'(z)) by the kernels that training uses."""
    like, a, derivatives = z.dtype.type(0), z.copy(), np.ones_like(z)
    if row.stores_derivatives:
        call_with_derivative(row.code, a, derivatives, like)
    else:
        call_activate(row.code, a, like)
        call_derivative(row.code, derivatives, a, like + 1, like)
    return a, derivatives


@numba.njit(error_model="numpy")
def call_loss(code, z, targets, n_outputs, rows, values, parameters, like):
    losses.any_loss_and_deltas(
        code,
        simd.pointer(z.ctypes.data, like),
        simd.pointer(targets.ctypes.data, like),
        n_outputs,
        rows,
        simd.pointer(values.ctypes.data, like),
        simd.pointer(parameters.ctypes.data, like),
    )


@numba.njit(error_model="numpy")
def call_output_activation(code, z, n_outputs, rows, like):
    losses.output_activation(code, simd.pointer(z.ctypes.data, like), n_outputs, rows)


@numba.njit(error_model="numpy")
def call_update(code, w, sums, first, second, l2, scale, rates, like):
    optimizers.update(
        code,
        simd.pointer(w.ctypes.data, like),
        simd.pointer(sums.ctypes.data, like),
        simd.pointer(first.ctypes.data, like),
        simd.pointer(second.ctypes.data, like),
        w.size,
        l2,
        scale,
        rates,
    )


def test_the_reference_knows_every_row():
    assert set(ACTIVATIONS) == set(reference.ACTIVATIONS)
    assert set(LOSSES) == set(reference.LOSSES)
    assert set(OUTPUT_ACTIVATIONS) == set(reference.OUTPUT_ACTIVATIONS)
    assert set(OPTIMIZERS) == {*reference.OPTIMIZERS, "gradient"}


def test_every_row_has_a_kernel_and_every_kernel_a_row():
    assert set(activations.KERNELS) == set(ACTIVATIONS)
    assert set(losses.KERNELS) == set(LOSSES)
    assert set(losses.OUTPUT_KERNELS) == set(OUTPUT_ACTIVATIONS)
    assert set(optimizers.KERNELS) == set(OPTIMIZERS)


def test_tables_need_no_numba():
    script = """
import pkgutil, sys
import fastmlp.tables
for module in pkgutil.iter_modules(fastmlp.tables.__path__, "fastmlp.tables."):
    __import__(module.name)
print(*sorted({"numba", "llvmlite", "fastmlp.compilation"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout == "\n"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_numpy_twins_of_activations(name):
    row, (value, derivative) = ACTIVATIONS[name], reference.ACTIVATIONS[name]
    z = np.linspace(-8, 8, 100)  # without 0, where some have no derivative
    np.testing.assert_allclose(row.value(z), value(z), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(row.derivative(z), derivative(z), rtol=1e-9, atol=1e-15)
    low, high = row.bounds or (-np.inf, np.inf)
    assert ((row.value(z * 100) >= low) & (row.value(z * 100) <= high)).all()
    flat = (row.value(z) == 0) & (row.derivative(z) == 0)
    assert flat.any() == row.cuts_off


@pytest.mark.parametrize("name", LOSSES)
def test_numpy_twins_of_losses(name):
    row, (value, delta, _) = LOSSES[name], reference.LOSSES[name]
    z = np.random.default_rng(0).standard_normal((30, 3)) * 3
    y = random_targets(name, 30, 3)
    parameters = reference.parameters_of(name, 3)
    np.testing.assert_allclose(
        row.value(z, y, *parameters), value(z, y, *parameters), rtol=1e-12
    )
    np.testing.assert_allclose(
        row.delta(z, y, *parameters), delta(z, y, *parameters), rtol=1e-9, atol=1e-12
    )
    assert row.is_in_range is None or row.is_in_range(y).all()


@pytest.mark.parametrize("table", [ACTIVATIONS, LOSSES, OUTPUT_ACTIVATIONS, OPTIMIZERS])
def test_codes_differ(table):
    assert len({row.code for row in table.values()}) == len(table)
    assert all(name == row.name for name, row in table.items())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_and_derivative(name, dtype):
    row = ACTIVATIONS[name]
    value, derivative = reference.ACTIVATIONS[name]
    tolerance = 10 * np.finfo(dtype).eps
    rng = np.random.default_rng(0)
    for count in COUNTS:
        z = rng.standard_normal(count).astype(dtype) * 4
        z[0] = 0
        exact, slope = value(z.astype(float)), derivative(z.astype(float))
        if name == "selu":  # at 0, where it has none, it is that of one side
            slope[0] = reference._SELU_SCALE
        a = z.copy()
        call_activate_any(row.code, a, dtype(0))
        np.testing.assert_allclose(a, exact, rtol=tolerance, atol=tolerance)
        assert (a[0] == 0) == row.maps_zero_to_zero
        again, derivatives = activate(row, z)
        np.testing.assert_array_equal(again, a)
        np.testing.assert_allclose(derivatives, slope, rtol=tolerance, atol=tolerance)
        if not row.stores_derivatives:  # after dropout, which has divided by 1/2
            deltas = np.full(count, 3, dtype)
            call_derivative(row.code, deltas, 2 * a, dtype(0.5), dtype(0))
            np.testing.assert_array_equal(deltas, 3 * derivatives)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_huge_numbers(name, dtype):
    """No overflow on the way, and NaN stays NaN."""
    z = np.array([-1e30, -100, 100, 1e30, np.nan], dtype)
    value, derivative = reference.ACTIVATIONS[name]
    with np.errstate(all="ignore"):
        expected = value(z[:4].astype(float)), derivative(z[:4].astype(float))
    z, derivatives = activate(ACTIVATIONS[name], z)
    assert np.isnan(z[4])
    np.testing.assert_allclose(z[:4], expected[0], rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(derivatives[:4], expected[1], rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_outputs", [1, 2, 3, 30])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_deltas(name, n_outputs, dtype):
    value, delta, _ = reference.LOSSES[name]
    tolerance = 40 * np.finfo(dtype).eps
    for rows in COUNTS:
        rng = np.random.default_rng(rows)
        z = (rng.standard_normal((rows, n_outputs)) * 3).astype(dtype)
        y = random_targets(name, rows, n_outputs).astype(dtype)
        scratch = np.concatenate([z.T.ravel(), np.empty(2 * rows, dtype)])
        values = np.empty(rows, dtype)
        parameters = reference.parameters_of(name, n_outputs)
        call_loss(
            LOSSES[name].code, scratch, y.T.ravel(), n_outputs, rows, values,
            np.array([*parameters, 0], dtype), dtype(0),
        )  # fmt: skip
        deltas = scratch[: z.size].reshape(n_outputs, rows).T
        z, y = z.astype(float), y.astype(float)
        scale = (
            1 + np.abs(z).max() + np.exp(abs(z)).max() * (name in ("poisson", "gamma"))
        )
        atol = tolerance * scale * (n_outputs + y.max())
        exact = value(z, y, *parameters), delta(z, y, *parameters)
        np.testing.assert_allclose(values, exact[0], rtol=tolerance, atol=atol)
        np.testing.assert_allclose(deltas, exact[1], rtol=tolerance, atol=atol)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["log_loss", "binary_log_loss", "focal"])
def test_log_losses_stay_exact_where_probabilities_saturate(name, dtype):
    """No clipping: the loss of a sure mistake grows with the logit."""
    for size in (50.0, 1e4):
        z = np.array([size, -size], dtype)
        y = np.array([0.0, 1.0] if name == "binary_log_loss" else [1.0], dtype)
        n_outputs, rows = (1, 2) if name == "binary_log_loss" else (2, 1)
        scratch = np.concatenate([z, np.empty(2 * rows, dtype)])
        values = np.empty(rows, dtype)
        call_loss(
            LOSSES[name].code, scratch, y, n_outputs, rows, values,
            np.array([2, 0], dtype), dtype(0),
        )  # fmt: skip
        expected = size if name == "binary_log_loss" else 2 * size
        np.testing.assert_allclose(values, expected, rtol=1e-6)
        assert np.isfinite(scratch[:2]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("name", OUTPUT_ACTIVATIONS)
def test_output_activation(name, n_outputs, dtype):
    tolerance = 20 * np.finfo(dtype).eps
    for rows in COUNTS:
        rng = np.random.default_rng(rows)
        z = (rng.standard_normal((rows, n_outputs)) * 3).astype(dtype)
        scratch = np.concatenate([z.T.ravel(), np.empty(2 * rows, dtype)])
        call_output_activation(
            OUTPUT_ACTIVATIONS[name].code, scratch, n_outputs, rows, dtype(0)
        )
        result = scratch[: z.size].reshape(n_outputs, rows).T
        expected = reference.OUTPUT_ACTIVATIONS[name](z.astype(float))
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", reference.OPTIMIZERS)
def test_update_rules_over_several_steps(name, dtype):
    rates = {"rate": 0.1, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-8}
    if name == "sgd":
        rates["beta_1"] = 0.0
    tolerance = 50 * np.finfo(dtype).eps
    l2, scale = 0.3, 0.25
    for count in COUNTS:
        rng = np.random.default_rng(count)
        w = rng.standard_normal(count).astype(dtype)
        first, second = np.zeros(count, dtype), np.zeros(count, dtype)
        expected, state = w.astype(float), {}
        for t in range(1, 5):
            sums = rng.standard_normal(count).astype(dtype)
            rate = rates["rate"]
            if name == "adam":
                rate *= np.sqrt(1 - rates["beta_2"] ** t)
                rate /= 1 - rates["beta_1"] ** t
            typed = [rate, rates["beta_1"], rates["beta_2"], rates["epsilon"]]
            typed += [1 - rates["beta_1"], 1 - rates["beta_2"]]
            call_update(
                OPTIMIZERS[name].code, w, sums, first, second, dtype(l2),
                dtype(scale), tuple(dtype(r) for r in typed), dtype(0),
            )  # fmt: skip
            gradient = (sums + l2 * expected) * scale
            expected = reference.OPTIMIZERS[name](expected, gradient, state, **rates)
            np.testing.assert_allclose(w, expected, rtol=tolerance, atol=tolerance)


def test_gradient_row_only_stores():
    w, sums = np.arange(5.0), np.ones(5)
    first = np.zeros(5)
    call_update(
        OPTIMIZERS["gradient"].code, w, sums, first, first, 2.0, 0.5,
        (0.1,) * 6, 0.0,
    )  # fmt: skip
    np.testing.assert_array_equal(w, np.arange(5.0))
    np.testing.assert_array_equal(first, (1 + 2 * w) / 2)


def test_the_page_of_the_tables_is_up_to_date():
    """docs/tables.md is made of the tables; `python docs/tables.py` makes it anew."""
    docs = Path(__file__).parents[1] / "docs"
    specification = importlib.util.spec_from_file_location("page", docs / "tables.py")
    page = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(page)
    assert (docs / "tables.md").read_text(encoding="utf-8") == page.text()
    for name in (*ACTIVATIONS, *INITIALIZATIONS, *SCHEDULES):
        assert f"| `{name}` |" in page.text()


def test_losses_that_validate_are_the_kernels():
    """NumPy's, for the samples that validate, are those that are minimised."""
    rng = np.random.default_rng(0)
    for name, row in LOSSES.items():
        z = rng.standard_normal((30, 3)) * 3
        y = random_targets(name, 30, 3)
        parameters = reference.parameters_of(name, 3)
        kind = {"softmax": "classes", "logistic": "labels"}.get(row.output_activation)
        targets = Targets(name, y, 3, kind or "numbers", parameters=parameters)
        expected = reference.LOSSES[name][0](z, y, *parameters)
        np.testing.assert_allclose(loss_of(z, targets), expected.mean(), rtol=1e-12)
        weights = rng.uniform(0, 2, 30)
        np.testing.assert_allclose(
            loss_of(z, targets, weights), np.average(expected, weights=weights)
        )
