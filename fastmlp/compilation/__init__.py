"""Where machine code comes from: the package, or the compiler and its cache."""

from fastmlp.compilation import shipped

__all__ = ["CHOICE", "cache_directory", "cache_size", "jit"]

#: Made when the first kernel is imported, for as long as the process lives.
CHOICE = shipped.choose()

if CHOICE.library is None:
    from fastmlp.compilation.compiler import cache_directory, cache_size, jit
else:
    jit = CHOICE.jit

    def cache_directory():
        """None: nothing is compiled here."""
        return None

    def cache_size():
        """0: nothing is compiled here."""
        return 0
