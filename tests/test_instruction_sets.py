"""The kernels as other processors would get them, each in a process of its own.

LLVM's generic vectors are right on every target; these runs show that the tile
shapes of AVX2 and of plain SSE2 are, too.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

AVX2 = "+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2"

PROCESSORS = {
    "avx2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": AVX2},
    "generic": {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "+sse2,-avx"},
}

#: What the whole stack must get right: tiles, epilogues, gradients, epochs,
#: threads, prediction.
SELECTION = (
    "test_product_against_numpy or test_transpose or against_the_reference "
    "or bitwise_equal or padding or worked_by_hand or special_values or weighted_sum "
    "or same_bits_as_dense"
)


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
    here = Path(__file__).parent
    files = ["test_simd", "test_passes", "test_elementwise", "test_sparse"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-k", SELECTION, "-p",
         "no:cacheprovider", *(str(here / f"{name}.py") for name in files)],
        capture_output=True, text=True, env=environment, cwd=here.parent, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
