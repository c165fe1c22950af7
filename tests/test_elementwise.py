"""exp, log, tanh and relatives against extended precision, over the whole range."""

import platform

import numba
import numpy as np
import pytest

from fastmlp.kernels import elementwise, simd

pytestmark = pytest.mark.compiler

DTYPES = (np.float32, np.float64)

REFERENCES = {
    "exp": np.exp,
    "tanh": np.tanh,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "log": np.log,
    "log1p_exp_minus": lambda x: np.log1p(np.exp(-x)),
}


def applied(name):
    """The kernel of that name as a function from array to array."""
    function = getattr(elementwise, name)

    @numba.njit(error_model="numpy")
    def apply(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    return apply


@numba.njit(error_model="numpy")
def cosines_and_sines(x, cosines, sines):
    for i in range(x.size):
        cosines[i], sines[i] = elementwise.cosine_and_sine_of_turns(x[i])


def arguments_for(name, dtype):
    rng = np.random.default_rng(0)
    widest = 87.0 if dtype == np.float32 else 708.0
    wide = rng.uniform(-widest, widest, 200_000)
    near = rng.uniform(-3, 3, 100_000)
    tiny = 10.0 ** rng.uniform(-30, 0, 50_000) * rng.choice([-1, 1], 50_000)
    x = np.concatenate([wide, near, tiny, [0.0, 1.0, -1.0]])
    if name == "log":
        x = np.concatenate([np.exp(wide), np.abs(near) + 1e-3, [1.0, 2.0, 0.5]])
    if name == "log1p_exp_minus":
        x = np.abs(x)
    return x.astype(dtype)


@pytest.mark.skipif(
    np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps,
    reason="no extended precision here to compare with",
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REFERENCES)
def test_error_in_units_of_the_last_place(name, dtype):
    x = arguments_for(name, dtype)
    result = np.empty_like(x)
    applied(name)(x, result)
    exact = REFERENCES[name](x.astype(np.longdouble))
    # below the smallest normal number, spacing is that of the smallest normal
    size = np.maximum(np.abs(exact.astype(dtype)), np.finfo(dtype).tiny)
    error = np.abs(result.astype(np.longdouble) - exact) / np.spacing(size)
    assert error.max() <= (1 if name == "exp" else 3)


@pytest.mark.skipif(
    np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps,
    reason="no extended precision here to compare with",
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_error_of_cosines_and_sines_of_turns(dtype):
    rng = np.random.default_rng(0)
    largest = 22 if dtype == np.float32 else 51  # beyond, numbers are half a turn apart
    powers = np.concatenate(
        [rng.uniform(-99, 0, 50_000), rng.uniform(0, largest, 50_000)]
    )
    x = np.concatenate(
        [rng.uniform(-1, 1, 200_000), rng.uniform(-300, 300, 100_000),
         np.arange(-40, 41) / 16, rng.choice([-1, 1], 100_000) * 2.0**powers]
    ).astype(dtype)  # fmt: skip
    cosines, sines, alone = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    cosines_and_sines(x, cosines, sines)
    turn = 2 * np.longdouble("3.14159265358979323846264338327950288")
    angle = turn * (x - np.rint(x))
    last_place = np.finfo(dtype).eps
    assert np.abs(cosines - np.cos(angle)).max() <= 2 * last_place
    error = np.abs(sines - np.sin(angle))
    assert error.max() <= 2 * last_place
    # the sine of little is as precise as that is
    is_near = np.abs(angle) < 0.5
    size = np.maximum(np.abs(angle[is_near]).astype(dtype), np.finfo(dtype).tiny)
    assert (error[is_near] / np.spacing(size)).max() <= 3
    applied("cosine_of_turns")(x, alone)
    np.testing.assert_array_equal(alone, cosines)


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values_of_turns(dtype):
    x = np.array([0, 0.25, 0.5, 0.75, 1, -0.25, -0.5, 1e30, -(2.0**60)], dtype)
    cosines, sines = np.empty_like(x), np.empty_like(x)
    cosines_and_sines(x, cosines, sines)
    close = {"rtol": 0, "atol": np.finfo(dtype).eps}
    np.testing.assert_allclose(cosines, [1, 0, -1, 0, 1, 0, -1, 1, 1], **close)
    np.testing.assert_allclose(sines, [0, 1, 0, -1, 0, -1, 0, 0, 0], **close)
    x = np.array([np.nan, np.inf, -np.inf], dtype)
    cosines, sines = np.empty_like(x), np.empty_like(x)
    cosines_and_sines(x, cosines, sines)
    assert np.isnan([cosines, sines]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0, 1000, -1000], dtype)
    expected = {
        "exp": [np.nan, np.inf, 0, 1, np.inf, 0],
        "tanh": [np.nan, 1, -1, 0, 1, -1],
        "logistic": [np.nan, 1, 0, 0.5, 1, 0],
    }
    for name, values in expected.items():
        result = np.empty_like(x)
        applied(name)(x, result)
        np.testing.assert_array_equal(result, np.array(values, dtype), err_msg=name)


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly"
)
@pytest.mark.parametrize("name", [*REFERENCES, "cosine_of_turns", "turns"])
def test_loops_are_vector_code(name):
    x = np.linspace(0.5, 2, 64, dtype=np.float32)
    if name == "turns":
        apply = numba.njit(error_model="numpy")(cosines_and_sines.py_func)
        apply(x, np.empty_like(x), np.empty_like(x))
    else:
        apply = applied(name)
        apply(x, np.empty_like(x))
    (assembly,) = apply.inspect_asm().values()
    if simd.INSTRUCTION_SET == "generic":
        assert "mulps" in assembly
    else:
        assert any(
            (line.split()[:1] and line.split()[0].startswith("vf") and "ymm" in line)
            or "zmm" in line
            for line in assembly.splitlines()
        )
