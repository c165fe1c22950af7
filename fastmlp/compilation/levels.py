"""Levels of CPUs: what machine code that comes with the package may be for.

Each level is compiled with the tile shapes of `fastmlp.kernels.simd` for it. A CPU runs
the code of its own level, and of those below.
"""

import ctypes
import platform
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["LEVELS", "Level", "levels_of_this_cpu", "machine"]

_AVX2 = ("sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "avx", "avx2", "fma", "bmi",
         "bmi2", "f16c", "lzcnt", "movbe")  # fmt: skip
_AVX512 = ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")


class Level(NamedTuple):
    """A level: name, kind of machine, and LLVM's names of the CPU and its features."""

    name: str
    machine: str
    cpu: str
    features: tuple[str, ...]

    @property
    def needed(self):
        """Features in the words of Linux."""
        words = {"sse3": "pni", "bmi": "bmi1", "lzcnt": "abm"}
        names = [words.get(name, name).replace(".", "_") for name in self.features]
        return {name for name in names if not name.startswith("-")}

    @property
    def listed(self):
        """Features as LLVM takes them."""
        signed = [f if f.startswith("-") else f"+{f}" for f in self.features]
        return ",".join(signed)


#: From the highest down. LLVM would use half of an AVX-512 register for fear of older
#: CPUs, which slow down their clock for whole ones; the tiles use whole ones anyway.
LEVELS = (
    Level("avx512", "x86_64", "x86-64-v4", (*_AVX2, *_AVX512, "-prefer-256-bit")),
    Level("avx2", "x86_64", "x86-64-v3", _AVX2),
    Level("generic", "x86_64", "x86-64", ("sse2",)),
    Level("neon", "arm64", "generic", ("neon",)),
)


def machine():
    """The kind of machine: "x86_64", "arm64", or what Python calls another."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "aarch64": "arm64"}.get(name, name)


def _flags_of_linux():
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return set(value.split())
    return set()


def _flags_of_macos():
    def has(name):
        value, size = ctypes.c_int(0), ctypes.c_size_t(4)
        system = ctypes.CDLL(None)
        system.sysctlbyname(
            name.encode(), ctypes.byref(value), ctypes.byref(size), None, 0
        )
        return bool(value.value)

    flags = {"sse2"}
    if has("hw.optional.avx2_0") and has("hw.optional.fma"):
        flags |= LEVELS[1].needed
    if all(has(f"hw.optional.{name}") for name in _AVX512):
        flags |= LEVELS[0].needed
    return flags


def _flags_of_windows():
    has = ctypes.windll.kernel32.IsProcessorFeaturePresent
    flags = {"sse2"}
    if has(40):  # PF_AVX2_INSTRUCTIONS_AVAILABLE; Windows tells nothing of FMA, which
        flags |= LEVELS[1].needed  # all such CPUs of AMD and Intel have
    if has(40) and has(41):  # PF_AVX512F_INSTRUCTIONS_AVAILABLE; the only ones without
        flags |= LEVELS[0].needed  # BW, DQ and VL were coprocessors that ran no Windows
    return flags


@cache
def levels_of_this_cpu():
    """The levels whose code this CPU can run, the highest first."""
    here = [level for level in LEVELS if level.machine == machine()]
    if machine() != "x86_64":
        return here  # every 64-bit ARM has NEON
    read = {
        "linux": _flags_of_linux, "darwin": _flags_of_macos, "win32": _flags_of_windows
    }.get(sys.platform)  # fmt: skip
    try:
        flags = read() if read else {"sse2"}
    except (OSError, AttributeError):
        flags = {"sse2"}
    return [level for level in here if level.needed <= flags]
