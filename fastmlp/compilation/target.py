"""The CPU that machine code is made for."""

from fastmlp.compilation import CHOICE
from fastmlp.compilation.toolkit import cpu_target

__all__ = ["features", "instruction_set", "is_arm64", "is_x86"]


def features():
    """The CPU that numba compiles for: (triple, name, set of features)."""
    triple, name, listed = cpu_target.target_context.codegen().magic_tuple()
    return triple, name, {f[1:] for f in listed.split(",") if f.startswith("+")}


def is_x86(triple):
    """Whether it has the instructions of x86, of 32 or 64 bits."""
    return triple.startswith(("x86_64", "i386", "i686"))


def is_arm64(triple):
    """Whether it has the instructions of 64-bit ARM."""
    return triple.startswith(("aarch64", "arm64"))


def instruction_set():
    """The instruction set that kernels are made for, a level of CPUs."""
    if CHOICE.library is not None:
        return CHOICE.library.level.name
    triple, _, available = features()
    if "avx512f" in available:
        return "avx512"
    if "avx2" in available and "fma" in available:
        return "avx2"
    return "neon" if is_arm64(triple) else "generic"
