"""The plain kernels as other processors would get them, each in a process of its own.

LLVM's generic vectors are right on every target; these runs show that the tile
shapes of AVX2 and of plain SSE2 are, too.  They compile for minutes: .ci/run does.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from fastmlp.kernels.simd import INSTRUCTION_SET

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
]

AVX2 = "+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2"

PROCESSORS = {
    "avx2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": AVX2},
    "generic": {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "+sse2,-avx"},
}

#: What the whole stack must get right: tiles, epilogues, gradients, epochs,
#: threads, prediction.
SELECTION = (
    "test_product or test_transpose or sum_of_rows or against_the_reference "
    "or bitwise_equal or padding or worked_by_hand or special_values or weighted_sum "
    "or same_bits_as_dense or guard_pages or in_any_batch"
)


HERE = Path(__file__).parent


#: Of these, what is only there in float64.
IN_FLOAT64 = "worked_by_hand or epochs_against or test_gradient_against"


def run_selection(environment, dtype, *options):
    """The selected tests in a process of their own, all kernels compiled anew.

    Products of both precisions, steps and predictions of one: it takes minutes. The
    general kernels are left out: they are made of the same layers and products.
    """
    other = "float64" if dtype == "float32" else "float32"
    selection = f"({SELECTION}) and (test_simd or not {other})"
    if dtype == "float32":
        selection += f" and not ({IN_FLOAT64})"
    files = ["test_simd", "test_passes", "test_elementwise", "test_sparse"]
    files += ["test_bounds"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-k", selection, "-p",
         "no:cacheprovider", *options, *(str(HERE / f"{name}.py") for name in files)],
        capture_output=True, text=True, cwd=HERE.parent, timeout=900,
        env={**environment, "FASTMLP_TEST_DTYPES": dtype},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="names x86 processors"
)
@pytest.mark.parametrize("expected", PROCESSORS)
def test_other_processors(expected, tmp_path):
    environment = {
        **os.environ,
        **PROCESSORS[expected],
        "FASTMLP_CACHE_DIR": str(tmp_path),
    }
    check = "from fastmlp.kernels import simd; print(simd.INSTRUCTION_SET)"
    shown = subprocess.run(
        [sys.executable, "-c", check],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    assert shown.stdout.strip() == expected
    if expected == INSTRUCTION_SET:
        pytest.skip("what all other tests run on")
    run_selection(environment, "float32")


@pytest.mark.parametrize(
    ("shapes", "dtype"), [("avx512", "float32"), ("neon", "float64")]
)
def test_tile_shapes_of_other_processors(shapes, dtype, tmp_path):
    if shapes == INSTRUCTION_SET:
        pytest.skip("what all other tests run on")
    environment = {
        **os.environ,
        "FASTMLP_TEST_SHAPES": shapes,
        "NUMBA_OPT": "0",  # sooner compiled: what depends on shapes does not on this
        "FASTMLP_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
    }
    run_selection(environment, dtype, "-p", "other_shapes")
