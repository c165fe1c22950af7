"""``python -m fastmlp info``: versions, CPU, threads and the kernel cache."""

import platform

import joblib
import llvmlite
import numba
import numpy
import scipy
import sklearn
from rich.console import Console
from rich.table import Table
from rich.text import Text

import fastmlp
from fastmlp.compilation.compiler import cache_directory, cache_size
from fastmlp.engine.threads import available_threads
from fastmlp.kernels import processor, simd

__all__ = ["describe", "show_info"]

_INTERESTING = ("avx512f", "avx2", "avx", "fma", "sse4.2", "neon", "fp-armv8")


def describe():
    """What `show_info` shows.

    Returns
    -------
    dict of str to dict of str to str
        Sections, and in each the names and values of its lines.
    """
    triple, name, features = processor.features()
    directory = cache_directory()
    modules = (numpy, scipy, sklearn, numba, llvmlite, joblib)
    tiles = {dtype: simd.tile_shape(dtype) for dtype in (numpy.float32, numpy.float64)}
    return {
        "versions": {
            "fastmlp": fastmlp.__version__,
            "Python": f"{platform.python_version()} ({platform.system()})",
            **{module.__name__: module.__version__ for module in modules},
        },
        "CPU": {
            "kernels compiled for": f"{name}, {triple}",
            "features": ", ".join(f for f in _INTERESTING if f in features) or "none",
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
        "cache of compiled kernels": {
            "directory": "off" if directory is None else str(directory),
            "size": f"{cache_size() / 1e6:.1f} MB",
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
