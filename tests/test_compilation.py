"""The jit decorator and the disk cache, each case in processes of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastmlp
from fastmlp.compilation import ALLOWED_FLAGS, jit

PACKAGE = Path(fastmlp.__file__).parent

#: Compiles one small kernel of the package and prints what it did.
SCRIPT = """
import sys, warnings
warnings.simplefilter("always")
import numpy as np
from fastmlp.kernels import passes
from fastmlp.jobs import TrainingJob
from fastmlp.network import Network
network = Network((1, 1, 1), "float32", trainable=True, n_moments=2)
X = np.zeros((1, 1))
job = TrainingJob(network, X, X, batch_size=1, activation="relu",
                  loss="squared_error", optimizer="gradient")
job.refresh()
from fastmlp.compilation import cache_directory
hits = sum(passes.refresh_transposed.stats.cache_hits.values())
print("hits", hits)
print("directory", cache_directory())
"""


def run(environment, package=PACKAGE, script=SCRIPT):
    """(cache hits, cache directory, stderr) of a fresh process."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("FASTMLP_")},
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, timeout=300, env=environment,
        cwd=package.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    return int(lines["hits"]), Path(lines["directory"]), done.stderr


def test_flags_are_a_closed_list():
    with pytest.raises(ValueError, match="flags must be among"):
        jit(lambda x: x, flags=("nnan",))
    assert not ALLOWED_FLAGS & {"nnan", "ninf", "fast"}


def test_second_process_loads_and_an_edited_kernel_is_compiled_anew(tmp_path):
    package = tmp_path / "fastmlp"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"FASTMLP_CACHE_DIR": str(tmp_path / "cache")}
    hits, first, errors = run(environment, package)
    assert (hits, errors) == (0, "")
    assert first.parent == tmp_path / "cache"
    assert first.stat().st_mode & 0o077 == 0
    assert run(environment, package)[:2] == (1, first)

    # a callee, not the entry point, in another file: numba's cache would not notice
    with open(package / "kernels" / "elementwise.py", "a") as file:
        file.write("\n# edited\n")
    hits, second, _ = run(environment, package)
    assert hits == 0
    assert second != first

    hits, other_processor, _ = run(
        {**environment, "NUMBA_CPU_NAME": "generic"}, package
    )
    assert hits == 0
    assert other_processor != second


def test_damaged_files_are_compiled_over(tmp_path):
    environment = {"FASTMLP_CACHE_DIR": str(tmp_path)}
    _, directory, _ = run(environment)
    (file,) = directory.glob("refresh_transposed-*.kernel")
    whole = file.read_bytes()
    for damaged in (whole[:1000], b"", whole[:50] + b"x" + whole[51:]):
        file.write_bytes(damaged)
        assert run(environment)[0] == 0
        assert file.read_bytes() != damaged
        assert run(environment)[0] == 1


def test_swapped_files_are_noticed(tmp_path):
    environment = {"FASTMLP_CACHE_DIR": str(tmp_path)}
    _, directory, _ = run(environment)
    double = SCRIPT.replace("float32", "float64")
    run(environment, script=double)
    one, two = directory.glob("refresh_transposed-*.kernel")
    contents = one.read_bytes(), two.read_bytes()
    one.write_bytes(contents[1])
    two.write_bytes(contents[0])
    assert run(environment)[0] == 0
    assert run(environment, script=double)[0] == 0


def test_no_cache(tmp_path):
    environment = {"FASTMLP_CACHE_DIR": str(tmp_path), "FASTMLP_NO_CACHE": "1"}
    hits, directory, errors = run(environment)
    assert (hits, directory, errors) == (0, Path("None"), "")
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_made_costs_one_warning(tmp_path):
    obstacle = tmp_path / "file"
    obstacle.touch()
    both = (
        SCRIPT
        + "\nnetwork = Network((1, 1, 1), 'float64', trainable=True)\n"
        + (
            "TrainingJob(network, X, X, batch_size=1, activation='relu',"
            "loss='squared_error', optimizer='sgd').refresh()"
        )
    )
    hits, _, errors = run({"FASTMLP_CACHE_DIR": str(obstacle / "cache")}, script=both)
    assert hits == 0
    assert errors.count("RuntimeWarning: fastmlp cannot keep compiled kernels") == 1


def test_no_home_directory_costs_one_warning():
    environment = {"HOME": "/nonexistent/home", "XDG_CACHE_HOME": "/proc/nowhere"}
    hits, _, errors = run(environment)
    assert hits == 0
    assert errors.count("fastmlp cannot keep compiled kernels") == 1


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of POSIX")
def test_a_directory_that_others_can_write_to_is_not_trusted(tmp_path):
    environment = {"FASTMLP_CACHE_DIR": str(tmp_path)}
    _, directory, _ = run(environment)
    directory.chmod(0o777)
    hits, _, errors = run(environment)
    assert hits == 0
    assert "can be changed by, others" in errors


def test_warmup_checks_its_argument():
    for bad in ("float32", ["float16"], [None]):
        with pytest.raises(ValueError, match="precisions must be"):
            fastmlp.warmup(bad)
    assert fastmlp.warmup([]) is None


def test_import_loads_neither_numba_nor_kernels():
    script = "import sys, fastmlp; print('numba' in sys.modules, len([m for m in "
    script += "sys.modules if m.startswith('fastmlp.kernels')]))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "0"]
