"""Libraries of kernels that come with the package: found, and checked.

That all of their kernels give the bits of the compiler, .ci/test_wheel finds out.
"""

import hashlib
import json
import platform
import re
import sys

import numpy as np
import pytest
from processes import run

from fastmlp.commands import build_kernels
from fastmlp.compilation import levels, shipped
from fastmlp.compilation.sources import SOURCES

pytestmark = [pytest.mark.slow, pytest.mark.long]

FIT = """
import sys, warnings
import numpy as np
from fastmlp import MLPClassifier
X = np.random.default_rng(0).standard_normal((200, 5)); y = (X[:, 0] > 0) * 1
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    model = MLPClassifier((5,), max_iter=2, random_state=0, precision="float64")
    model.fit(X, y)
from fastmlp.compilation import CHOICE
print(CHOICE.library is not None, "numba" in sys.modules, model.loss_)
print([str(w.message) for w in seen if w.category is RuntimeWarning])
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """The library of this CPU's level, with few kernels: see `entry_points`."""
    folder = tmp_path_factory.mktemp("libraries")
    try:
        build_kernels.build(folder, few=True)
    except build_kernels.NoLinker as error:
        pytest.skip(f"cannot be built here: {error}")
    return folder


def fit(folder, tmp_path, **environment):
    """(is a library used, is numba imported, loss, warnings) of a process."""
    settings = {"FASTMLP_LIBRARIES": str(folder), "FASTMLP_JIT": None, **environment}
    first, warned = run(FIT, tmp_path, environment=settings).splitlines()
    used, imported, loss = first.split()
    return used == "True", imported == "True", float(loss), eval(warned)


def test_a_library_is_used_unless_told_otherwise(libraries, tmp_path):
    used, imported, loss, warned = fit(libraries, tmp_path)
    assert (used, imported, warned) == (True, False, [])
    used, imported, other, warned = fit(libraries, tmp_path, FASTMLP_JIT="1")
    assert (used, imported, warned) == (False, True, [])
    np.testing.assert_allclose(loss, other, rtol=1e-5)


def test_a_kernel_that_a_library_lacks_is_an_error_that_says_what_to_do(
    libraries, tmp_path
):
    script = FIT.replace("max_iter=2", "max_iter=2, dropout=0.5")
    with pytest.raises(pytest.fail.Exception, match="Set FASTMLP_JIT=1"):
        run(script, tmp_path, environment={"FASTMLP_LIBRARIES": str(libraries)})


WORKERS = """
import os, sys
import numpy as np
from fastmlp import MLPClassifier

X = np.random.default_rng(0).standard_normal((200, 5)); y = (X[:, 0] > 0) * 1

def fit(seed):
    import warnings
    warnings.simplefilter("ignore")
    model = MLPClassifier((5,), max_iter=2, random_state=seed, precision="float64")
    return os.getpid(), model.fit(X, y).loss_, "numba" in sys.modules
"""

LOKY = """
from joblib import Parallel, delayed
if __name__ == "__main__":
    results = Parallel(n_jobs=3)(delayed(fit)(seed) for seed in range(6))
"""

DASK = """
from distributed import Client
if __name__ == "__main__":
    with Client(n_workers=2, threads_per_worker=2, dashboard_address=":0") as client:
        results = client.gather(client.map(fit, range(8)))
"""

TOLD = """
    assert [loss for _, loss, _ in results] == [fit(i)[1] for i in range(len(results))]
    print(len({pid for pid, _, _ in results}), sum(numba for *_, numba in results))
"""


@pytest.mark.parametrize(("how", "least"), [(LOKY, 2), (DASK, 1)])
def test_workers_start_cold_without_compiling(how, least, libraries, tmp_path):
    settings = {"FASTMLP_LIBRARIES": str(libraries), "FASTMLP_CACHE_DIR": str(tmp_path)}
    printed = run(WORKERS + how + TOLD, tmp_path, environment=settings)
    processes, with_numba = map(int, printed.split()[-2:])
    assert processes >= least
    assert with_numba == 0
    assert not list(tmp_path.glob("**/*.kernel"))


def test_nothing_is_written_and_nothing_is_said(libraries, tmp_path):
    """Without a home, and where the cache would be, nothing can be."""
    file = tmp_path / "file"
    file.touch()
    used, imported, _, warned = fit(
        libraries, tmp_path, HOME="/nowhere", XDG_CACHE_HOME=str(file),
        FASTMLP_CACHE_DIR=None,
    )  # fmt: skip
    assert (used, imported, warned) == (True, False, [])


def forged(folder, of_level, content=b"no library", **changes):
    """A library file that nobody may call, and its manifest."""
    manifest = {
        "level": [of_level.name, of_level.cpu, of_level.listed],
        "sources": SOURCES.hexdigest(),
        "library": hashlib.sha256(content).hexdigest(), **changes,
    }  # fmt: skip
    path = folder / f"{of_level.machine}-{of_level.name}{shipped.SUFFIX}"
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sources": "of another version"}, "of other sources"),
        ({"level": "another"}, "of another level: another"),
        ({"library": "damaged"}, "its content was changed"),
        ({}, "x86_64-|arm64-"),  # the system's own words, with the path
    ],
)
def test_a_library_that_does_not_fit_is_not_called_and_the_compiler_takes_over(
    changes, reason, tmp_path
):
    forged(tmp_path, levels.levels_of_this_cpu()[0], **changes)
    used, imported, _, (warned,) = fit(tmp_path, tmp_path)
    assert (used, imported) == (False, True)
    assert "fastmlp compiles kernels although they came with it" in warned
    assert re.search(reason, warned)


def test_a_manifest_that_is_damaged_or_missing_is_noticed(tmp_path):
    level = levels.levels_of_this_cpu()[0]
    forged(tmp_path, level)
    (manifest,) = tmp_path.glob("*.json")
    for damage in (lambda: manifest.write_text("{"), manifest.unlink):
        damage()
        used, _, _, warned = fit(tmp_path, tmp_path)
        assert (used, len(warned)) == (False, 1)


def test_a_library_of_a_higher_level_is_not_even_looked_at(tmp_path, monkeypatch):
    here = [level for level in levels.LEVELS if level.machine == levels.machine()]
    monkeypatch.setattr(shipped, "levels_of_this_cpu", lambda: here[1:])
    monkeypatch.setenv("FASTMLP_LIBRARIES", str(tmp_path))
    monkeypatch.delenv("FASTMLP_JIT", raising=False)
    forged(tmp_path, here[0])
    choice = shipped.choose()
    assert choice.library is None
    assert "no kernels for this CPU" in choice.reason


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="levels of x86-64"
)
def test_levels_are_ordered_and_what_llvm_knows_of_this_cpu():
    import llvmlite.binding

    names = [level.name for level in levels.levels_of_this_cpu()]
    everyone = [level.name for level in levels.LEVELS if level.machine == "x86_64"]
    assert names
    assert names == everyone[-len(names) :]
    found = llvmlite.binding.get_host_cpu_features()
    for level in levels.levels_of_this_cpu():
        asked = [f for f in level.features if not f.startswith("-")]
        missing = [feature for feature in asked if not found[feature]]
        assert not missing, level.name


def test_symbols_tell_types_apart():
    kinds = [int, np.float32, np.float64, bool, type(None)]
    assert shipped.symbol_of("predict", kinds) == "fastmlp_predict_ifdbn"


def test_all_that_fits_can_ask_for_is_built():
    """Plain and full steps, in each way, in each precision, and all predictions.

    And what models for tables need: one step, in one precision.
    """
    for precision, of_tables in (("float32", 1), ("float64", 0)):
        symbols = [
            shipped.symbol_of(entry.py_func.__name__, kinds)
            for entry, kinds in build_kernels.entry_points(precision)
        ]
        assert len(symbols) == len(set(symbols))
        assert sum("train_steps" in symbol for symbol in symbols) == 3 * 2 + of_tables
        assert sum("predict" in symbol for symbol in symbols) == 2 * (2 + of_tables)


def test_unknown_levels_are_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"no levels of .*: \['sse5'\]"):
        build_kernels.build(tmp_path, ["sse5"])


def test_a_linker_that_fails_is_an_error_that_says_so(tmp_path):
    path = tmp_path / "x.o"
    path.write_bytes(b"no object file")
    with pytest.raises(build_kernels.NoLinker, match="linker failed"):
        build_kernels._link([path], ["x"], tmp_path / "x.so")


@pytest.mark.skipif(sys.platform == "win32", reason="linkers are found by the PATH")
def test_without_a_linker_nothing_is_compiled(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build_kernels.NoLinker, match="there is no linker"):
        build_kernels.build(tmp_path)
    assert not list(tmp_path.iterdir())
