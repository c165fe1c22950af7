"""Where machine code comes from: the compiler, its cache, and the wait for it."""

from fastmlp.compilation.compiler import (
    ALLOWED_FLAGS,
    cache_directory,
    cache_size,
    jit,
)

__all__ = ["ALLOWED_FLAGS", "cache_directory", "cache_size", "jit"]
