"""The one jit decorator of the package, and the disk cache of compiled kernels.

Every kernel is compiled without the GIL, with NumPy's error model (a division
by zero gives infinity, not an exception, and so vectorises) and without
``fastmath``: only the single flags of `ALLOWED_FLAGS` may be asked for.

numba's own cache looks at one source file only, so an edited callee in another
file would leave stale machine code in use.  The cache here is a directory whose
name is a hash of everything that decides the machine code: all kernel sources,
the versions of Python, numba and llvmlite, the processor and numba's code
generation settings.  Inside it one file holds one compiled signature, written
under another name and moved into place, with a digest that is checked on load.
Nothing is ever updated in place and there is no index, so processes cannot
disturb each other.
"""

import ctypes
import gc
import hashlib
import logging
import os
import pickle
import platform
import stat
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import llvmlite
import numba
from llvmlite.binding import Linkage, Target
from numba.core import errors, serialize, sigutils, types
from numba.core.caching import CompileResultCacheImpl
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import (
    AnalysisPass,
    FunctionPass,
    register_pass,
)
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys
from numba.core.typed_passes import (
    DumpParforDiagnostics,
    InlineOverloads,
    IRLegalization,
    NopythonRewrites,
    NopythonTypeInference,
)
from numba.core.untyped_passes import (
    FindLiterallyCalls,
    InlineClosureLikes,
    InlineInlinables,
    IRProcessing,
    LiteralPropagationSubPipelinePass,
    LiteralUnroll,
    MakeFunctionToJitFunction,
    RewriteDynamicRaises,
    WithLifting,
)

from fastmlp.compilation.patience import explained_wait
from fastmlp.compilation.sources import SOURCES
from fastmlp.native_threads import undisturbed

__all__ = [
    "ALLOWED_FLAGS",
    "cache_directory",
    "cache_size",
    "jit",
    "object_code",
]

logger = logging.getLogger("fastmlp")

#: The only LLVM fast-math flags that kernels may use: none of them lets the
#: compiler assume that NaN or infinity do not occur.
ALLOWED_FLAGS = frozenset({"contract", "reassoc", "nsz", "arcp", "afn"})

_DIGEST_BYTES = hashlib.sha256().digest_size


def jit(function=None, *, flags=(), entry=False):
    """Compile `function` with numba, lazily, for each signature it is called with.

    Parameters
    ----------
    flags : collection of str, default=()
        Fast-math flags, each in `ALLOWED_FLAGS`.
    entry : bool, default=False
        Whether Python calls the function.  An entry point is optimised as a whole
        with all that it calls, and its machine code is kept on disk.  All other
        kernels can only be called from kernels (from Python: a TypeError).

    Raises
    ------
    ValueError
        If a flag is not allowed.
    RuntimeError
        If numba's compiler is turned off.

    A kernel with a variable that is an array is an error when it is compiled.
    """
    if not ALLOWED_FLAGS.issuperset(flags):
        raise ValueError(f"flags must be among {sorted(ALLOWED_FLAGS)}, got {flags!r}")
    if numba.config.DISABLE_JIT:
        raise RuntimeError("fastmlp needs numba's compiler: unset NUMBA_DISABLE_JIT")

    def decorate(function):
        options = {
            "nogil": True, "error_model": "numpy", "fastmath": set(flags), "_nrt": False
        }  # fmt: skip
        if not entry:
            dispatcher = numba.njit(**options, pipeline_class=_InnerCompiler)(function)
            dispatcher.compile = partial(_compile_inner, dispatcher)
            return dispatcher
        dispatcher = numba.njit(**options, pipeline_class=_EntryCompiler)(function)
        if not _cache_is_off():
            dispatcher._cache = _KernelCache(function)
        # an interrupt in one of LLVM's callbacks to Python would crash the process
        dispatcher.compile = partial(undisturbed, dispatcher.compile)
        return dispatcher

    return decorate if function is None else decorate(function)


# numba optimises every function, with all that it calls, on its own: code that
# stands five calls deep is optimised and turned into machine code five times, which
# made the first fit wait half a minute.  Inner kernels stay plain LLVM IR instead,
# until an entry point links and optimises all of it once (numba would do it twice,
# for the sake of reference counts, of which kernels have none).


def _link_all_called(library, module):
    """Link all that a library calls, directly or not, into a module, each once."""
    seen, waiting = {library}, library._linking_libraries[::-1]
    while waiting:
        called = waiting.pop()
        if called not in seen:
            seen.add(called)
            is_inner = isinstance(called, _InnerLibrary)
            linked = called.alone if is_inner else called._get_module_for_linking()
            module.link_in(linked, preserve=True)
            waiting += called._linking_libraries[::-1]


class _EntryLibrary(JITCodeLibrary):
    """An entry point with all that it calls."""

    def _optimize_functions(self, ll_module):
        ll_module.data_layout = self._codegen._data_layout

    def finalize(self):
        _link_all_called(self, self._final_module)
        self._linking_libraries = []
        super().finalize()

    def _optimize_final_module(self):
        manager, builder = self._codegen._module_pass_manager()
        manager.run(self._final_module, builder)
        # numba tells functions of one name apart by a number, which counts what this
        # process compiles. Another process may have given it to another function of
        # that name, and the linker would take the one for the other: keep them private
        for function in self._final_module.functions:
            if function.linkage is Linkage.linkonce_odr:
                function.linkage = Linkage.internal


class _InnerLibrary(_EntryLibrary):
    """The LLVM IR of a kernel that only kernels call, without what it calls itself."""

    def finalize(self):
        self._finalize_dynamic_globals()
        self._finalized = True

    @property
    def alone(self):
        """The module, fit to be linked into several others."""
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage is Linkage.external:
                function.linkage = Linkage.linkonce_odr
        return self._final_module

    def _get_module_for_linking(self):
        # for callers that are no kernels: functions that only numba compiles
        module = self.alone.clone()
        _link_all_called(self, module)
        return module

    def get_pointer_to_function(self, name):
        # what a call from Python would jump to: sets TypeError, returns NULL
        return ctypes.cast(ctypes.pythonapi.PyErr_BadArgument, ctypes.c_void_p).value

    @property
    def codegen(self):
        return _WithoutEnvironment


class _WithoutEnvironment:
    """Stands for the code generator of a library that has no machine code yet."""

    @staticmethod
    def set_env(name, environment):
        pass


class _ChooseLibrary(FunctionPass):
    """Before anything is lowered: say which library is to take the code."""

    library = None

    def __init__(self):
        super().__init__()

    def run_pass(self, state):
        state.flags.no_cpython_wrapper = self.library is not _EntryLibrary
        state.flags.no_cfunc_wrapper = True
        code_generator = state.targetctx.codegen()
        state.library = self.library(code_generator, state.func_id.func_qualname)
        state.library.enable_object_caching()
        return True


@register_pass(mutates_CFG=False, analysis_only=False)
class _ChooseEntryLibrary(_ChooseLibrary):
    _name = "fastmlp_entry_library"
    library = _EntryLibrary


@register_pass(mutates_CFG=False, analysis_only=False)
class _ChooseInnerLibrary(_ChooseLibrary):
    _name = "fastmlp_inner_library"
    library = _InnerLibrary


@contextmanager
def _without_garbage_collection():
    """The compiler makes many objects and few cycles: looking for them is a tenth."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


#: Passes that look for what kernels have none of: closures, inlined functions, array
#: expressions and others; and references that must be given up.
_NEEDLESS = (
    WithLifting,
    InlineClosureLikes,
    RewriteDynamicRaises,
    MakeFunctionToJitFunction,
    InlineInlinables,
    FindLiterallyCalls,
    LiteralUnroll,
    LiteralPropagationSubPipelinePass,
    InlineOverloads,
    NopythonRewrites,
    IRLegalization,
    DumpParforDiagnostics,
)


@register_pass(mutates_CFG=False, analysis_only=True)
class _RefuseArrays(AnalysisPass):
    """Kernels take addresses: nobody would check where an index leads."""

    _name = "fastmlp_refuse_arrays"

    def __init__(self):
        super().__init__()

    def run_pass(self, state):
        for kind in state.typemap.values():
            if isinstance(kind, types.Buffer | types.List):
                raise errors.TypingError(
                    f"the kernel {state.func_id.func_qualname} has a variable of type "
                    f"{kind}: kernels take addresses"
                )
        return False


class _EntryCompiler(CompilerBase):
    choice = _ChooseEntryLibrary

    def define_pipelines(self):
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [each for each in passes.passes if each[0] not in _NEEDLESS]
        passes.add_pass_after(self.choice, IRProcessing)
        passes.add_pass_after(_RefuseArrays, NopythonTypeInference)
        passes.finalize()
        return [passes]

    def compile_extra(self, function):
        with explained_wait(), _without_garbage_collection():
            return super().compile_extra(function)


class _InnerCompiler(_EntryCompiler):
    choice = _ChooseInnerLibrary


def _compile_inner(dispatcher, signature):
    """`dispatcher.compile`, but for timers that would run while others are compiled."""
    arguments, result = sigutils.normalize_signature(signature)
    with global_compiler_lock:
        compiled = dispatcher.overloads.get(arguments)
        if compiled is None:
            with dispatcher._compiling_counter:  # by which recursion is recognised
                compiled = dispatcher._compiler.compile(arguments, result)
            dispatcher.add_overload(compiled)
        return compiled.entry_point


class _ExportedLibrary(_EntryLibrary):
    """An entry point with all that it calls, which this process does not run."""

    _finalize_final_module = _InnerLibrary.finalize
    codegen = _InnerLibrary.codegen

    def get_pointer_to_function(self, name):
        self._ensure_finalized()
        return _InnerLibrary.get_pointer_to_function(self, name)


@register_pass(mutates_CFG=False, analysis_only=False)
class _ChooseExportedLibrary(_ChooseLibrary):
    _name = "fastmlp_exported_library"
    library = _ExportedLibrary


class _ExportingCompiler(_EntryCompiler):
    choice = _ChooseExportedLibrary


def object_code(entry, arguments, symbol, renamed):
    """Object code of an entry point that may stand anywhere in memory.

    Parameters
    ----------
    entry : callable
        What `jit` returned.
    arguments : sequence
        One of each type that it is to be compiled for.
    symbol : str
        Its name in the object file.
    renamed : dict of str to str
        New names of functions of the system.

    Returns
    -------
    bytes
    """
    options = {k: v for k, v in entry.targetoptions.items() if k != "nopython"}
    function = numba.njit(**options, pipeline_class=_ExportingCompiler)(entry.py_func)
    signature = tuple(map(numba.typeof, arguments))
    function.compile(signature)
    compiled = function.overloads[signature]
    module = compiled.library._final_module
    module.get_function(compiled.fndesc.llvm_func_name).name = symbol
    for each in module.functions:
        each.name = renamed.get(each.name, each.name)
    for variable in module.global_variables:
        if not variable.is_declaration:  # numba's, alike in all objects
            variable.linkage = Linkage.internal
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    machine = Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="default"
    )
    return machine.emit_object(module)


def _cache_is_off():
    return os.environ.get("FASTMLP_NO_CACHE", "0") not in ("", "0")


def _cache_root():
    """The directory that holds the caches of all versions and processors."""
    if chosen := os.environ.get("FASTMLP_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastmlp"


@cache
def _fingerprint():
    """Hash of everything that decides what machine code the sources become."""
    digest = SOURCES.copy()
    config = numba.config
    decisive = (
        sys.version,
        platform.machine(),
        numba.__version__,
        llvmlite.__version__,
        cpu_target.target_context.codegen().magic_tuple(),
        config.OPT,
        config.BOUNDSCHECK,
        config.DEBUGINFO_DEFAULT,
        config.LOOP_VECTORIZE,
        config.SLP_VECTORIZE,
        config.ENABLE_AVX,
    )
    digest.update(repr(decisive).encode())
    return digest.hexdigest()[:32]


def cache_directory():
    """Where the compiled kernels of this version, on this processor, are kept.

    Returns
    -------
    pathlib.Path or None
        ``$FASTMLP_CACHE_DIR`` or the user's cache directory, and in it a
        directory named by a hash of sources, versions and processor; None when
        ``FASTMLP_NO_CACHE=1`` or no home directory is known.
    """
    if _cache_is_off():
        return None
    try:
        return _cache_root() / _fingerprint()
    except (OSError, RuntimeError):
        return None


def cache_size():
    """Bytes on disk that `cache_directory` takes (0 if it does not exist)."""
    directory = cache_directory()
    if directory is None or not directory.is_dir():
        return 0
    return sum(path.stat().st_size for path in directory.iterdir() if path.is_file())


class _KernelCache:
    """The disk cache of one entry point: what numba's dispatcher asks of a cache."""

    _has_warned = False  # in this process, of any kernel: all fail alike

    def __init__(self, function):
        self._name = f"{function.__module__}.{function.__qualname__}"

    @property
    def cache_path(self):
        return str(cache_directory())

    def load_overload(self, signature, target_context):
        """The compile result stored for `signature`, or None."""
        self._started = time.perf_counter()
        # what stored code may call; numba's own caches also load all that is needed
        # to compile, which takes longer than all the rest of a first fit
        rtsys.initialize(target_context)
        try:
            path = self._path(signature)
            if path is None or not path.is_file() or not _is_private(path.parent):
                return None
            content = path.read_bytes()
            digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
            if hashlib.sha256(payload).digest() != digest:
                logger.info("ignoring the damaged cache file %s", path)
                return None
            identity, reduced = pickle.loads(payload)
            if identity != self._identity(signature):
                return None
            return CompileResultCacheImpl.rebuild(None, target_context, reduced)
        except Exception as error:  # whatever is wrong with a file, we can compile
            logger.info("could not load %s from the cache: %r", self._name, error)
            return None

    def save_overload(self, signature, compiled):
        """Store `compiled` for `signature`; all failures cost one warning."""
        seconds = time.perf_counter() - self._started
        if seconds > 1:
            logger.info("compiled %s in %.1f s", self._name, seconds)
        path = self._path(signature)
        if path is None:
            return
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_private(path.parent):
                raise OSError(f"{path.parent} belongs to, or can be changed by, others")
            payload = serialize.dumps((self._identity(signature), compiled._reduce()))
            handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(payload).digest() + payload)
                os.replace(temporary, path)
            except BaseException as error:
                os.unlink(temporary)
                # on Windows a file that another process has open stays: it is as good
                if not (isinstance(error, PermissionError) and path.is_file()):
                    raise
        except Exception as error:  # the kernel is compiled: the fit can run
            logger.info("could not store %s in the cache: %r", self._name, error)
            if not _KernelCache._has_warned:
                _KernelCache._has_warned = True
                warnings.warn(
                    f"fastmlp cannot keep compiled kernels on disk ({error}); every "
                    "new process will compile them again. Set FASTMLP_CACHE_DIR to a "
                    "directory that you can write to, or FASTMLP_NO_CACHE=1.",
                    RuntimeWarning,
                    stacklevel=1,
                )

    def flush(self):
        """Nothing to do: a changed source changes the directory."""

    def _identity(self, signature):
        return (self._name, str(signature), _fingerprint())

    def _path(self, signature):
        directory = cache_directory()
        if directory is None:
            return None
        key = hashlib.sha256(repr(self._identity(signature)).encode()).hexdigest()
        return directory / f"{self._name.rpartition('.')[2]}-{key[:16]}.kernel"


def _is_private(directory):
    """Whether nobody but this user, or root, can have put files into `directory`."""
    if not hasattr(os, "getuid"):
        return True
    status = os.stat(directory)
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return status.st_uid in (os.getuid(), 0) and not others_write
