"""``python -m fastmlp info``: versions, CPU, threads, and where kernels are from."""

import platform
from importlib.metadata import PackageNotFoundError, version

import joblib
import numpy
from rich.console import Console
from rich.table import Table
from rich.text import Text

import fastmlp
from fastmlp.compilation import CHOICE, cache_directory, cache_size
from fastmlp.compilation.target import features as features_of_cpu
from fastmlp.engine.threads import available_threads
from fastmlp.kernels import simd

__all__ = ["describe", "show_info"]

_INTERESTING = ("avx512f", "avx2", "avx", "fma", "sse4.2", "neon", "fp-armv8")

_PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "llvmlite", "joblib")


def _version_of(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _kernels():
    """Where kernels are from, and for which CPUs they are."""
    library, directory = CHOICE.library, cache_directory()
    if library is not None:
        return {
            "from": "a library that came with the package; nothing is compiled",
            "library": f"{library.path} ({library.path.stat().st_size / 1e6:.1f} MB)",
            "made for": f"{library.level.cpu} ({CHOICE.reason})",
        }
    triple, name, features = features_of_cpu()
    return {
        "from": "Numba, when they are first needed, and then its cache",
        "why": CHOICE.reason,
        "made for": f"{name}, {triple}",
        "features": ", ".join(f for f in _INTERESTING if f in features) or "none",
        "cache": "off" if directory is None else str(directory),
        "size of the cache": f"{cache_size() / 1e6:.1f} MB",
    }


def describe():
    """What `show_info` shows.

    Returns
    -------
    dict of str to dict of str to str
        Sections, and in each the names and values of its lines.
    """
    tiles = {dtype: simd.tile_shape(dtype) for dtype in (numpy.float32, numpy.float64)}
    return {
        "versions": {
            "fastmlp": fastmlp.__version__,
            "Python": f"{platform.python_version()} ({platform.system()})",
            **{package: _version_of(package) for package in _PACKAGES},
        },
        "kernels": {
            **_kernels(),
            "tile shapes for": simd.INSTRUCTION_SET,
            **{
                f"tile, {dtype.__name__}": f"{shape.rows} x {shape.width} "
                f"({shape.vectors} vectors of {shape.lanes})"
                for dtype, shape in tiles.items()
            },
        },
        "threads": {
            "physical cores": str(joblib.cpu_count(only_physical_cores=True)),
            "logical cores": str(joblib.cpu_count()),
            "maximum by default": str(available_threads()),
        },
    }


def show_info():
    """Print `describe` as a table."""
    console = Console()
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    for section, lines in describe().items():
        table.add_row(Text(section, "bold"))
        for name, value in lines.items():
            # a path may have characters that the terminal's encoding lacks
            value = value.encode(console.encoding, "replace").decode(console.encoding)
            table.add_row(Text(f"  {name}"), Text(value))
    console.print(table)
