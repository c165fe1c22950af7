"""Data that need not fit the memory: what `fit` takes instead of X and y.

Each name is imported when it is first asked for, so that ``import fastmlp`` is quick.
"""

from importlib import import_module

#: Public name -> module of this package.
_MODULES = {
    "Source": "source",
    "from_batches": "arrays",
    "from_dask": "dask",
    "from_npy": "arrays",
    "from_parquet": "parquet",
    "write_parquet": "parquet",
}

__all__ = [*_MODULES]


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__():
    return sorted({*globals(), *__all__})
