"""What depends on the CPU: atomics, waiting, subnormal numbers.

Intrinsics in LLVM IR, with a harmless fallback where an instruction is not known.
"""

import ctypes
import sys

from fastmlp.compilation.target import features, is_arm64, is_x86
from fastmlp.compilation.toolkit import add_symbol, cgutils, intrinsic, ir, types

__all__ = [
    "INT",
    "YIELD",
    "atomic_add",
    "atomic_load",
    "atomic_store",
    "call",
    "flush_denormals",
    "pause",
    "restore_denormals",
    "yield_processor",
]

INT = ir.IntType(64)


# --- Atomics and waiting -------------------------------------------------------------


@intrinsic
def atomic_load(typing_context, pointer):
    """Load the int64 at `pointer`; later reads see all that its writer wrote before."""

    def codegen(context, builder, signature, arguments):
        return builder.load_atomic(arguments[0], ordering="acquire", align=8)

    return types.int64(types.CPointer(types.int64)), codegen


@intrinsic
def atomic_store(typing_context, pointer, value):
    """Store an int64; whoever loads it sees all that was written before."""

    def codegen(context, builder, signature, arguments):
        builder.store_atomic(arguments[1], arguments[0], ordering="release", align=8)
        return context.get_dummy_value()

    return types.void(types.CPointer(types.int64), types.int64), codegen


@intrinsic
def atomic_add(typing_context, pointer, value):
    """Add to the int64 at `pointer`; returns its old value."""

    def codegen(context, builder, signature, arguments):
        return builder.atomic_rmw("add", arguments[0], arguments[1], ordering="acq_rel")

    return types.int64(types.CPointer(types.int64), types.int64), codegen


def call(builder, result, name, *arguments):
    """Call an external function, or one of LLVM's, by name."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, arguments)


@intrinsic
def pause(typing_context):
    """Tell the core that this is a waiting loop (does nothing on unknown CPUs)."""

    def codegen(context, builder, signature, arguments):
        triple = features()[0]
        if is_x86(triple):
            call(builder, ir.VoidType(), "llvm.x86.sse2.pause")
        elif is_arm64(triple):
            call(builder, ir.VoidType(), "llvm.aarch64.hint", ir.IntType(32)(1))
        return context.get_dummy_value()

    return types.void(), codegen


def _find_yield():
    """Address of the operating system's function to yield a core, or None."""
    try:
        if sys.platform == "win32":
            function = ctypes.windll.kernel32.SwitchToThread
        else:
            function = ctypes.CDLL(None).sched_yield
        return ctypes.cast(function, ctypes.c_void_p).value
    except (AttributeError, OSError):
        return None


#: By name, not by address: stored code runs in other processes.
YIELD = "fastmlp_yield_processor"
_yield_address = _find_yield()
if _yield_address is not None:
    add_symbol(YIELD, _yield_address)


@intrinsic
def yield_processor(typing_context):
    """Let the operating system run another thread on this core."""

    def codegen(context, builder, signature, arguments):
        if _yield_address is not None:
            call(builder, ir.IntType(32), YIELD)
        return context.get_dummy_value()

    return types.void(), codegen


# --- Denormals -----------------------------------------------------------------------
# Arithmetic on subnormal numbers takes a hundred cycles on most CPUs.

_X86_FLUSH = 0x8040  # MXCSR: flush-to-zero and denormals-are-zero
_ARM_FLUSH = 1 << 24  # FPCR: flush-to-zero


def _read_control(builder, triple):
    """The floating-point control state of this thread, as int64."""
    if is_x86(triple):
        slot = cgutils.alloca_once(builder, ir.IntType(32))
        call(builder, ir.VoidType(), "llvm.x86.sse.stmxcsr", _as_bytes(builder, slot))
        return builder.zext(builder.load(slot), INT)
    if is_arm64(triple):
        return call(builder, INT, "llvm.aarch64.get.fpcr")
    return INT(0)


def _write_control(builder, triple, state):
    if is_x86(triple):
        slot = cgutils.alloca_once(builder, ir.IntType(32))
        builder.store(builder.trunc(state, ir.IntType(32)), slot)
        call(builder, ir.VoidType(), "llvm.x86.sse.ldmxcsr", _as_bytes(builder, slot))
    elif is_arm64(triple):
        call(builder, ir.VoidType(), "llvm.aarch64.set.fpcr", state)


def _as_bytes(builder, slot):
    return builder.bitcast(slot, ir.IntType(8).as_pointer())


@intrinsic
def flush_denormals(typing_context):
    """Treat subnormal numbers as zero from now on; returns the previous state."""

    def codegen(context, builder, signature, arguments):
        triple = features()[0]
        state = _read_control(builder, triple)
        flag = _X86_FLUSH if is_x86(triple) else _ARM_FLUSH
        _write_control(builder, triple, builder.or_(state, INT(flag)))
        return state

    return types.int64(), codegen


@intrinsic
def restore_denormals(typing_context, state):
    """Restore the state that `flush_denormals` returned."""

    def codegen(context, builder, signature, arguments):
        _write_control(builder, features()[0], arguments[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen
