"""What kernels take from numba and LLVM; nothing, where their code is shipped.

The modules of kernels also hold sizes, codes and records that Python needs. So that
they can be imported without a compiler, all that they define with one is then the same
`_Nothing`.
"""

from fastmlp.compilation import CHOICE

__all__ = [
    "add_symbol",
    "cgutils",
    "cpu_target",
    "from_dtype",
    "intrinsic",
    "ir",
    "types",
]


class _Nothing:
    """Stands for a compiler's objects: each attribute and each result is itself."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *arguments, **keywords):
        return self


if CHOICE.library is None:
    from llvmlite import ir
    from llvmlite.binding import add_symbol
    from numba.core import cgutils, types
    from numba.core.registry import cpu_target
    from numba.extending import intrinsic
    from numba.np.numpy_support import from_dtype
else:
    add_symbol = cgutils = cpu_target = from_dtype = intrinsic = ir = types = _Nothing()
