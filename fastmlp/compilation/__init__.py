"""Where machine code comes from: the package, or the compiler and its cache."""

from fastmlp.compilation import shipped

__all__ = ["CHOICE", "jit"]

#: Made when the first kernel is imported, for as long as the process lives.
CHOICE = shipped.choose()

if CHOICE.library is None:
    from fastmlp.compilation.compiler import jit
else:
    jit = CHOICE.jit
