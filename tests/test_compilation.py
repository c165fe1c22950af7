"""The jit decorator and the disk cache, each case in processes of its own."""

import contextlib
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import processes
import pytest

import fastmlp
from fastmlp.compilation import compiler, jit
from fastmlp.compilation.compiler import ALLOWED_FLAGS

pytestmark = pytest.mark.slow

PACKAGE = Path(fastmlp.__file__).parent

#: How every script begins; one that hangs says where.
HEAD = """
import faulthandler, importlib.util, os, sys, time, warnings
from pathlib import Path
faulthandler.dump_traceback_later(120, exit=True)
warnings.simplefilter("always")
# without its __init__, which takes the most time of all: it imports scikit-learn
package = importlib.util.module_from_spec(importlib.util.find_spec("fastmlp"))
sys.modules["fastmlp"] = package
import llvmlite, numba
import numpy as np
"""

#: Calls a small kernel with a number of each type, and says what the cache did.
SCRIPT = """
from fastmlp.compilation import jit
from fastmlp.compilation.compiler import cache_directory

@jit
def twice(x):
    return x + x

@jit(entry=True)
def thrice(x):
    return twice(x) + x

for kind in sys.argv[1:]:
    assert thrice(np.dtype(kind).type(14)) == 42
print("hits", sum(thrice.stats.cache_hits.values()))
print("directory", cache_directory())
"""

KINDS = ("int32", "int64", "float32", "float64")

#: Takes from root what sets it above permissions.
WITHOUT_PRIVILEGES = """
import ctypes, os
if os.getuid() == 0:
    this_thread = (ctypes.c_uint32 * 2)(0x20080522, 0)
    no_capabilities = (ctypes.c_uint32 * 6)()
    ctypes.CDLL(None).capset(this_thread, no_capabilities)
"""

x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="names x86 processors"
)


def start(environment, *, script=SCRIPT, before="", package=PACKAGE, kinds=KINDS):
    """A process that runs `script`; `before`, with fastmlp not yet imported."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("FASTMLP_")}
    variables |= {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    variables |= environment
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + before + script, *kinds],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={k: str(v) for k, v in variables.items() if v is not None},
        cwd=package.parent,
    )  # fmt: skip


def finish(process):
    """(cache hits, cache directory, stderr) of a process."""
    try:
        output, errors = process.communicate(timeout=150)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        pytest.fail(f"does not end\n{output}\n{errors}")
    assert process.returncode == 0, errors
    lines = dict(line.split(" ", 1) for line in output.splitlines())
    return int(lines["hits"]), Path(lines["directory"]), errors


def run(environment, **options):
    return finish(start(environment, **options))


def warns_once(errors):
    ours = errors.count("RuntimeWarning: fastmlp cannot keep compiled kernels on disk")
    return ours == errors.count("Warning:") == 1


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache directory with the kernels of SCRIPT, not to be changed."""
    root = tmp_path_factory.mktemp("filled")
    hits, directory, errors = run({"FASTMLP_CACHE_DIR": root})
    assert (hits, directory.parent, errors) == (0, root, "")
    assert len(list(directory.iterdir())) == len(KINDS)
    return directory


@pytest.fixture
def directory(filled, tmp_path):
    """A copy of the filled cache directory."""
    return Path(shutil.copytree(filled, tmp_path / "cache" / filled.name))


@pytest.fixture
def environment(tmp_path):
    """What makes a process use that copy, or else an empty cache."""
    return {"FASTMLP_CACHE_DIR": tmp_path / "cache"}


@pytest.fixture
def package(tmp_path):
    """A copy of the package, to be edited."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(PACKAGE, tmp_path / "fastmlp", ignore=ignored))


def test_flags_are_a_closed_list():
    with pytest.raises(ValueError, match="flags must be among"):
        jit(lambda x: x, flags=("nnan",))
    assert not ALLOWED_FLAGS & {"nnan", "ninf", "fast"}


# --- What is reused, and what never is ------------------------------------------------


def test_second_process_loads_all(filled):
    assert run({"FASTMLP_CACHE_DIR": filled.parent}) == (len(KINDS), filled, "")
    if hasattr(os, "getuid"):
        assert filled.stat().st_mode & 0o077 == 0


def test_functions_of_one_name_from_several_processes_stay_apart(environment):
    """What numba calls alike, since it counts from the start in each process."""
    kernels = ["ones", "thousands"]
    script = """
from fastmlp.compilation import jit
from fastmlp.compilation.compiler import cache_directory

def summing(unit):
    @jit
    def fibonacci(n):  # no compiler puts all of its calls into the caller
        if n < 2:
            return unit
        return fibonacci(n - 1) + fibonacci(n - 2)
    return fibonacci

one, many = summing(1), summing(1000)

@jit(entry=True)
def ones(n):
    return one(n)

@jit(entry=True)
def thousands(n):
    return many(n)

kernels = {"ones": ones, "thousands": thousands}
for name in sys.argv[1:]:
    assert kernels[name](20) == {"ones": 10946, "thousands": 10946000}[name]
print("hits", sum(sum(k.stats.cache_hits.values()) for k in kernels.values()))
print("directory", cache_directory())
"""
    for kinds, expected in ((["ones"], 0), (["thousands"], 0), (kernels, 2)):
        hits, _, errors = run(environment, script=script, kinds=kinds)
        assert (hits, errors) == (expected, "")


def test_an_edited_callee_of_a_kernel_is_compiled_anew(environment, package):
    script = """
from fastmlp.compilation.compiler import cache_directory
from fastmlp.kernels.shuffling import STATE_WORDS, shuffle
state, numbers, room = np.ones(STATE_WORDS, "u4"), np.arange(9), np.empty(999, "u4")
shuffle(*(a.ctypes.data for a in (state, numbers)), len(numbers), room.ctypes.data)
assert sorted(numbers) == list(range(9)) != list(numbers)
print("hits", sum(shuffle.stats.cache_hits.values()))
print("directory", cache_directory())
"""
    hits, first, errors = run(environment, package=package, script=script)
    assert (hits, errors) == (0, "")
    assert run(environment, package=package, script=script) == (1, first, "")
    # a callee, not the entry point, in another file: numba's cache would not notice
    with open(package / "kernels" / "simd.py", "a") as file:
        file.write("\n# edited\n")
    hits, second, _ = run(environment, package=package, script=script)
    assert hits == 0
    assert second != first


def test_an_edit_of_any_source_of_kernels_changes_the_directory(environment, package):
    script = """
from fastmlp.compilation import compiler as compilation, sources

def directory():
    compilation.SOURCES = sources.hash_of_sources()  # as a new process would
    compilation._fingerprint.cache_clear()
    return compilation.cache_directory()

seen = {directory()}
here = Path(compilation.__file__).parents[1]
for path in here.rglob("*.py"):
    source = path.read_bytes()
    room = path.relative_to(here).parts[0]
    decides = room in ("kernels", "tables") or b"njit(" in source
    decides &= path.name != "functions.py"  # of users, which are not stored
    assert decides or b"@intrinsic" not in source, path
    if decides:
        path.write_bytes(source[:-1] + b"#")  # as long as before
        assert directory() not in seen, path
        seen.add(directory())
        path.write_bytes(source)
for folder in ("", "layers"):
    (here / "kernels" / folder / "another.py").touch()
    assert directory() not in seen, folder
    seen.add(directory())
print("hits", len(seen) - 3)
print("directory", directory())
"""
    edited = run(environment, package=package, script=script)[0]
    assert edited > len(list(PACKAGE.glob("kernels/**/*.py")))


def test_code_is_stored_under_the_sources_in_memory(environment, package):
    """Another version may be installed between the import and the first use."""
    shuffling = """
state, numbers, room = np.ones(STATE_WORDS, "u4"), np.arange(9), np.empty(999, "u4")
shuffle(*(a.ctypes.data for a in (state, numbers)), len(numbers), room.ctypes.data)
print("hits", sum(shuffle.stats.cache_hits.values()))
print("directory", cache_directory())
"""
    imports = """
from fastmlp.compilation.compiler import cache_directory
from fastmlp.kernels.shuffling import STATE_WORDS, shuffle
"""
    source = package / "kernels" / "simd.py"
    upgrade = f"""
with open({str(source)!r}, "a") as file:
    file.write("\\n# upgraded\\n")
"""
    original = source.read_bytes()
    hits, old, errors = run(
        environment, package=package, script=imports + upgrade + shuffling
    )
    assert (hits, errors) == (0, "")
    assert source.read_bytes() != original
    hits, new, _ = run(environment, package=package, script=imports + shuffling)
    assert hits == 0
    assert new != old
    source.write_bytes(original)
    assert run(environment, package=package, script=imports + shuffling) == (1, old, "")


#: What decides about machine code, as variables and as what they run `before`.
CHANGES = {
    "processor": ({"NUMBA_CPU_NAME": "generic"}, ""),
    "features": ({"NUMBA_CPU_FEATURES": "+sse2,-avx"}, ""),
    "optimisation": ({"NUMBA_OPT": "1"}, ""),
    "numba": ({}, "numba.__version__ = '99.0.0'"),
    "llvmlite": ({}, "llvmlite.__version__ = '99.0.0'"),
    "Python": ({}, "sys.version = '99' + sys.version"),
}


@pytest.mark.parametrize(
    "change", [pytest.param(c, marks=x86 if c == "features" else ()) for c in CHANGES]
)
def test_code_of_another_processor_or_version_is_never_used(
    change, directory, environment
):
    variables, before = CHANGES[change]
    hits, other, errors = run(environment | variables, before=before)
    assert (hits, errors) == (0, "")
    assert other != directory
    assert other.parent == directory.parent
    assert len(list(other.iterdir())) == len(KINDS)


@x86
def test_a_file_copied_from_another_processor_is_compiled_over(environment):
    other = {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "+sse2,-avx"}
    files = []
    for variables in (environment, environment | other):
        _, directory, _ = run(variables, kinds=["float64"])
        files += directory.iterdir()
    ours, theirs = files
    shutil.copyfile(theirs, ours)
    assert run(environment, kinds=["float64"]) == (0, ours.parent, "")
    assert ours.read_bytes() != theirs.read_bytes()
    assert run(environment, kinds=["float64"])[0] == 1


# --- Files that are not as they were stored -------------------------------------------


def test_damaged_files_are_compiled_over(directory, environment):
    files = list(directory.iterdir())
    whole = files[0].read_bytes()
    one_bit_flipped = bytearray(whole)
    one_bit_flipped[len(whole) // 2] ^= 1  # amidst the machine code
    rubbish = hashlib.sha256(b"rubbish").digest() + b"rubbish"
    damaged = [bytes(one_bit_flipped), whole[:1000], b"", rubbish]
    for file, content in zip(files, damaged, strict=True):
        file.write_bytes(content)
    assert run(environment) == (0, directory, "")
    assert not set(damaged) & {file.read_bytes() for file in files}
    assert run(environment)[0] == len(KINDS)


def test_swapped_files_are_noticed(directory, environment):
    files = list(directory.iterdir())
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, contents[1:] + contents[:1], strict=True):
        file.write_bytes(content)
    assert run(environment) == (0, directory, "")


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of POSIX")
def test_a_directory_that_others_can_write_to_is_not_trusted(directory, environment):
    directory.chmod(0o777)
    hits, _, errors = run(environment)
    assert hits == 0
    assert "can be changed by, others" in errors


# --- Nowhere to store -----------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners of files")
@pytest.mark.parametrize(
    ("owner", "mode", "trusted"),
    [(0, 0o755, True), (1000, 0o700, True), (1001, 0o755, False), (0, 0o775, False)],
)
def test_files_of_this_user_and_of_root_are_trusted(owner, mode, trusted, monkeypatch):
    """Root may have filled the cache of a container's image."""
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(
        os, "stat", lambda _: SimpleNamespace(st_uid=owner, st_mode=stat.S_IFDIR | mode)
    )
    assert compiler._is_private("cache") == trusted


def test_no_cache(environment, tmp_path):
    assert run(environment | {"FASTMLP_NO_CACHE": "1"}) == (0, Path("None"), "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("home", ["a file", "/proc/nowhere"])
def test_a_home_without_room_for_directories_costs_one_warning(home, tmp_path):
    path = tmp_path / "file" if home == "a file" else Path(home)
    (tmp_path / "file").touch()
    if not path.parent.exists():
        pytest.skip("no /proc")
    environment = {"HOME": path, "LOCALAPPDATA": path, "XDG_CACHE_HOME": None}
    hits, directory, errors = run(environment)
    assert hits == 0
    assert path in directory.parents
    assert warns_once(errors)


def test_no_home_at_all_is_no_cache():
    pytest.importorskip("pwd")
    # as in a container that is run as a user of any number
    nobody = "import pwd\npwd.getpwuid = lambda uid: {}[uid]\n"
    environment = {"HOME": None, "XDG_CACHE_HOME": None}
    assert run(environment, before=nobody) == (0, Path("None"), "")


def make_read_only(directory):
    directory.chmod(0o500)
    script = WITHOUT_PRIVILEGES + f"print(os.access({str(directory)!r}, os.W_OK))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    if done.stdout.strip() != "False":
        pytest.skip("cannot take away this user's right to write everywhere")


def test_a_read_only_home_costs_one_warning(tmp_path):
    make_read_only(tmp_path)
    hits, directory, errors = run(
        {"HOME": tmp_path, "XDG_CACHE_HOME": None}, before=WITHOUT_PRIVILEGES
    )
    assert hits == 0
    assert tmp_path in directory.parents
    assert warns_once(errors)


def test_a_read_only_cache_is_read_and_all_that_it_lacks_costs_one_warning(
    directory, environment
):
    make_read_only(directory)
    found = run(environment, before=WITHOUT_PRIVILEGES)
    assert found == (len(KINDS), directory, "")
    directory.chmod(0o700)
    for file in directory.iterdir():
        file.unlink()
    make_read_only(directory)
    hits, _, errors = run(environment, before=WITHOUT_PRIVILEGES)
    assert hits == 0
    assert warns_once(errors)


def test_a_full_disk_costs_one_warning_and_leaves_nothing_behind(environment):
    pytest.importorskip("resource")
    full = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
    hits, directory, errors = run(environment, before=full)
    assert hits == 0
    assert warns_once(errors)
    assert list(directory.iterdir()) == []
    # and when there is room again
    assert run(environment) == (0, directory, "")
    assert run(environment)[0] == len(KINDS)


# --- Several processes ----------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_eight_processes_that_start_cold_at_once(environment, tmp_path):
    """Children of one that has imported what takes long, and compiled nothing."""
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    # nobody moves a file into place before all have found none and written theirs
    meet = f"""
replace, meeting = os.replace, Path({str(meeting)!r})
def replace_together(*names):
    (meeting / str(os.getpid())).touch()
    last = time.monotonic() + 100
    while len(os.listdir(meeting)) < 8 and time.monotonic() < last:
        time.sleep(0.01)
    replace(*names)
os.replace = replace_together
faulthandler.cancel_dump_traceback_later()  # its thread would stay behind
children = []
while len(children) < 7 and all(children):
    children.append(os.fork())
faulthandler.dump_traceback_later(120, exit=True)
"""
    wait = """
assert not thrice.stats.cache_hits
if all(children):  # in the parent
    assert not any(os.waitpid(child, 0)[1] for child in children)
"""
    first = start(environment, before=meet, script=SCRIPT + wait, kinds=["float64"])
    hits, directory, errors = finish(first)
    assert (hits, errors) == (0, "")
    assert len(list(meeting.iterdir())) == 8
    assert len(list(directory.iterdir())) == 1
    assert run(environment, kinds=["float64"]) == (1, directory, "")


def test_a_process_that_hangs_while_it_stores_holds_up_no_other(environment):
    fcntl = pytest.importorskip("fcntl")
    hang = """
def hang(*names):
    faulthandler.cancel_dump_traceback_later()
    print("hangs", flush=True)
    time.sleep(600)
os.replace = hang
"""
    hanging = start(environment, before=hang)
    opened = []

    def lock_all():
        for path in environment["FASTMLP_CACHE_DIR"].rglob("*"):
            opened.append(os.open(path, os.O_RDONLY))
            with contextlib.suppress(BlockingIOError):  # then the other one has it
                fcntl.flock(opened[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)

    try:
        assert hanging.stdout.readline() == "hangs\n"
        lock_all()
        hits, directory, errors = run(environment)
        assert (hits, errors) == (0, "")
        lock_all()  # what has been stored, too
        assert run(environment) == (len(KINDS), directory, "")
    finally:
        hanging.kill()
        hanging.communicate()
        for descriptor in opened:
            os.close(descriptor)
    # half a file that a killed process leaves
    assert run(environment) == (len(KINDS), directory, "")


# --- The package's own functions ------------------------------------------------------


def test_warmup_checks_its_argument():
    for bad in ("float32", ["float16"], [None]):
        with pytest.raises(ValueError, match="precisions must be"):
            fastmlp.warmup(bad)
    assert fastmlp.warmup([]) is None


def test_import_loads_neither_numba_nor_kernels():
    script = "import sys, fastmlp; print('numba' in sys.modules, len([m for m in "
    script += "sys.modules if m.startswith('fastmlp.kernels')]))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.split() == ["False", "0"]


WITHOUT_COMPILER = """
import fastmlp
model = fastmlp.MLPClassifier(max_iter=1)
for use in (fastmlp.warmup, lambda: model.fit([[0.0], [1.0]], [0, 1]), fastmlp.warmup):
    try:
        use()
    except RuntimeError as error:
        print(error)
"""


def test_numba_without_its_compiler_is_an_error_that_says_so(tmp_path):
    printed = processes.run(
        WITHOUT_COMPILER, tmp_path, environment={"NUMBA_DISABLE_JIT": "1"}
    )
    message = "fastmlp needs numba's compiler: unset NUMBA_DISABLE_JIT\n"
    assert printed == 3 * message
