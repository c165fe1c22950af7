"""Build the libraries of kernels that come with the package.

    python fastmlp/commands/build_kernels.py DIRECTORY [LEVEL ... | --all]

Each entry point is compiled as it is at run time, for all types and choices at compile
time that fits can ask for, and for a level of CPUs instead of this one. The object code
is the same but for its position, which does not matter in a library. numba settles on a
CPU when it is imported, so each level, and each precision, has a process of its own.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import types as python_types
from pathlib import Path

PACKAGE = Path(__file__).parents[1]

if __name__ == "__main__":
    os.environ["FASTMLP_JIT"] = "1"
    # the package without its __init__, which imports more than is there during a build
    sys.path[0] = str(PACKAGE.parent)
    package = sys.modules["fastmlp"] = python_types.ModuleType("fastmlp")
    package.__path__ = [str(PACKAGE)]

from fastmlp.compilation import levels, shipped  # noqa: E402
from fastmlp.compilation.sources import SOURCES  # noqa: E402

__all__ = ["NoLinker", "build", "entry_points"]

_PRECISIONS = ("float32", "float64")

#: tiles, sparse, strips: see `fastmlp.kernels.passes.train_steps`.
_WAYS = ((True, None, None), (True, True, None), (None, None, True))


class NoLinker(Exception):
    """There is nothing that makes a shared library of object files."""


def entry_points(precision, *, few=False):
    """(entry point, types of its arguments) for all that the public classes use.

    few : whether to leave out most, for tests: float32 is then for sparse X only,
        float64 for strips, and plain fits are all.
    """
    import numpy as np

    from fastmlp.kernels import differentiating, packing, passes, shuffling

    kind = np.dtype(precision).type
    none = type(None)
    ways, fullness, layouts = _WAYS, (None, True), (none, bool)
    if few:
        i = _PRECISIONS.index(precision)
        ways, fullness, layouts = [_WAYS[1 + i]], [None], [(bool, none)[i]]
    for way in ways:
        for full in fullness:
            choices = [bool if each else none for each in (*way, full, None)]
            yield passes.train_steps, (int, kind, int, int, int, *choices)
    for output in (np.float32, np.float64):
        for sparse in layouts:
            yield passes.predict, (int, kind, output, int, sparse, none)
    if precision == _PRECISIONS[0] and not few:  # of models for tables
        chosen = [bool if each else none for each in passes.FOR_TABLES]
        yield passes.train_steps, (int, kind, int, int, int, *chosen)
        for output in (np.float32, np.float64):
            yield passes.predict, (int, kind, output, int, none, bool)
        yield differentiating.differentiate, (int, kind, int, bool)
    yield passes.refresh_transposed, (int, kind)
    if not few:
        yield differentiating.differentiate, (int, kind, int, none)
    yield packing.pack_layer, (int, int, kind, int, int, int, int, int, bool)
    if precision == _PRECISIONS[0]:  # there is one for both
        yield shuffling.shuffle, (int,) * 4


def _compile(precision, folder, few):
    """Write an object file for each entry point; print the symbols."""
    from fastmlp.compilation.compiler import object_code
    from fastmlp.kernels.processor import YIELD

    yields = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
    for entry, kinds in entry_points(precision, few=few):
        symbol = shipped.symbol_of(entry.py_func.__name__, kinds)
        arguments = [None if kind is type(None) else kind(1) for kind in kinds]
        code = object_code(entry, arguments, symbol, {YIELD: yields})
        (Path(folder) / f"{symbol}.o").write_bytes(code)
        print(symbol)


def _linker():
    """What makes shared libraries: the linker that Python was built with, or cc."""
    try:
        from setuptools._distutils.ccompiler import new_compiler
        from setuptools._distutils.sysconfig import customize_compiler
    except ImportError as error:
        raise NoLinker(f"setuptools is not installed ({error})") from error
    linker = new_compiler()
    customize_compiler(linker)
    if sys.platform != "win32" and not shutil.which(linker.linker_so[0]):
        if not shutil.which("cc"):
            raise NoLinker(f"there is no linker: neither {linker.linker_so[0]} nor cc")
        linker.set_executables(linker_so=["cc", "-shared"])
    return linker


def _link(objects, symbols, path):
    """Make a shared library."""
    windows = sys.platform == "win32"
    try:
        _linker().link_shared_object(
            [str(each) for each in objects], str(path),
            # what object files of LLVM do not ask for by themselves
            libraries=["kernel32", "msvcrt", "vcruntime", "ucrt"] if windows else ["m"],
            export_symbols=symbols if windows else None,
            extra_postargs=["-Wl,-z,defs", "-Wl,-s"] if sys.platform == "linux" else [],
        )  # fmt: skip
    except NoLinker:
        raise
    except Exception as error:  # of any of its compilers
        raise NoLinker(f"the linker failed: {error}") from error


def build(directory, names=None, *, few=False):
    """Build libraries, and a manifest beside each.

    Parameters
    ----------
    directory : path
        Where to; it is made if it does not exist.
    names : collection of str, default=None
        Of levels; None for the highest that this CPU can run.
    few : bool, default=False
        Whether to leave out most: for tests, see `entry_points`.

    Returns
    -------
    list of pathlib.Path
        The libraries.

    Raises
    ------
    NoLinker
        If a shared library cannot be linked.
    ValueError
        If a level is unknown, or for another kind of machine.
    """
    here = [level for level in levels.LEVELS if level.machine == levels.machine()]
    if names is None:
        chosen = levels.levels_of_this_cpu()[:1]
    else:
        chosen = [level for level in here if level.name in names]
        if unknown := set(names) - {level.name for level in chosen}:
            raise ValueError(f"no levels of {levels.machine()}: {sorted(unknown)}")
    _linker()  # before anything is compiled for it
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    return [_build_level(level, directory, few) for level in chosen]


def _build_level(level, directory, few):
    environment = {
        **os.environ, "NUMBA_CPU_NAME": level.cpu, "NUMBA_CPU_FEATURES": level.listed
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        running = [
            subprocess.Popen(
                [sys.executable, __file__, "--compile", precision, folder,
                 *(["--few"] if few else [])],
                stdout=subprocess.PIPE, text=True, env=environment,
            )
            for precision in _PRECISIONS
        ]  # fmt: skip
        printed = [process.communicate()[0] for process in running]
        if any(process.returncode for process in running):
            raise RuntimeError(f"kernels for {level.name} did not compile")
        symbols = " ".join(printed).split()
        path = directory / f"{level.machine}-{level.name}{shipped.SUFFIX}"
        _link([Path(folder) / f"{s}.o" for s in symbols], symbols, path)
    manifest = {
        "level": [level.name, level.cpu, level.listed],
        "sources": SOURCES.hexdigest(),
        "library": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(manifest, indent=1) + "\n")
    return path


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compile", choices=_PRECISIONS, help=argparse.SUPPRESS)
    parser.add_argument("directory")
    parser.add_argument("level", nargs="*", help="default: the highest of this CPU")
    parser.add_argument("--all", action="store_true", help="all of this machine's kind")
    parser.add_argument("--few", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.compile:
        _compile(chosen.compile, chosen.directory, chosen.few)
        return
    here = [each.name for each in levels.LEVELS if each.machine == levels.machine()]
    for path in build(chosen.directory, here if chosen.all else chosen.level or None):
        print(f"{path.name} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
