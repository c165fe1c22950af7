"""Rules that no single function shows: import directions, banned flags, docstrings."""

import ast
import doctest
import importlib
import inspect
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import fastmlp

PACKAGE = Path(fastmlp.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

#: Rooms from the ground up: a module imports from its own room, or from lower ones.
ROOMS = [
    "exceptions",
    "sklearn_warnings",
    "native_threads",
    "tables",
    "data",
    "sources",
    "compilation",
    "kernels",
    "engine",
    "training",
    "persistence",
    "estimators",
    "model_selection",
    "exchange",
    "inference",
    "dask",
    "display",
    "",  # the package itself
    "onnx",
    "playground",
    "commands",
    "__main__",
]

#: Where LLVM IR may be written.
LLVM_FILES = {
    "kernels.processor",
    "kernels.simd",
    "kernels.products",
    "kernels.transposing",
}

#: Who may import what of the outside.
OWNERS = {
    "dask": {"dask"},
    "distributed": {"dask"},
    "numba": {"compilation"},
    "llvmlite": {"compilation"},
    "onnx": {"exchange"},
    "pyarrow": {"sources"},
    "skl2onnx": {"exchange"},
    "sklearn": {"commands", "dask", "data", "display", "estimators", "exchange",
                "inference", "model_selection", "persistence", "playground",
                "sklearn_warnings", "training"},
    "torch": {"exchange"},
    "rich": {"commands", "__main__"},
    "starlette": {"playground"},
    "uvicorn": {"playground"},
}  # fmt: skip

BANNED = {"parallel", "fastmath"}
BANNED_FLAGS = {"nnan", "ninf", "fast"}


def name_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(path):
    """(module, line) of every import in a file, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.module, node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def room_of(name):
    return name.partition(".")[0]


def imports_of_ours(path):
    """(module of the package, line) of every import of one."""
    known = {name_of(path) for path in FILES}
    for module, line in imports_of(path):
        top, _, rest = module.partition(".")
        if top == "fastmlp" and rest in known:
            yield rest, line


def test_every_module_is_in_a_room():
    assert {room_of(name_of(path)) for path in FILES} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_run_one_way(path):
    """From a room to itself or down; and nobody imports what others own."""
    mine = name_of(path)
    for name, line in imports_of_ours(path):
        lower = ROOMS.index(room_of(name)) <= ROOMS.index(room_of(mine))
        assert lower, f"{path}:{line} imports {name}"
    for module, line in imports_of(path):
        owners = OWNERS.get(module.partition(".")[0])
        may = owners is None or mine in owners or room_of(mine) in owners
        assert may, f"{path}:{line} imports {module}"


def test_no_modules_import_each_other():
    below = {
        name_of(path): {name for name, _ in imports_of_ours(path)} - {name_of(path)}
        for path in FILES
    }
    # a room itself stands for what its __init__ imports
    assert tuple(TopologicalSorter(below).static_order())


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_banned_flags(path):
    """No parallel=True, prange, nor fastmath but through the one decorator."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in BANNED:
            raise AssertionError(f"{path}:{node.value.lineno} uses {node.arg}=")
        if isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            assert name != "prange", f"{path}:{node.lineno}"
            if name in ("njit", "vectorize", "guvectorize"):
                assert room_of(name_of(path)) == "compilation", f"{path}:{node.lineno}"
        # one of these is the name of a preset, too
        if isinstance(node, ast.Constant) and name_of(path) != "tables.recipes":
            assert node.value not in BANNED_FLAGS, f"{path}:{node.lineno}"


def test_llvm_ir_is_written_in_few_files():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        if name_of(path) not in LLVM_FILES:
            assert not re.search(r"@intrinsic|ir\.IRBuilder", text), path


def test_files_stay_readable():
    for path in FILES:
        length = len(path.read_text(encoding="utf-8").splitlines())
        assert length <= 800, f"{path} has {length} lines"


# --- docstrings ----------------------------------------------------------------------

PUBLIC_CLASSES = [getattr(fastmlp, name) for name in fastmlp.__all__ if name[0] == "M"]


def public_names():
    yield from (f"fastmlp.{name}" for name in fastmlp.__all__ if name[0].islower())
    for cls in PUBLIC_CLASSES:
        yield f"fastmlp.{cls.__name__}"
        for method in (
            "fit", "partial_fit", "predict", "predict_proba", "predict_log_proba",
            "score", "to_sklearn",
        ):  # fmt: skip
            if hasattr(cls, method):
                yield f"fastmlp.{cls.__name__}.{method}"


#: Sections that only examples and cross-references would fill on methods, and style
#: points on which scikit-learn's own docstrings differ.
TOLERATED = {"EX01", "SA01", "ES01", "GL01", "GL02", "GL03", "RT02", "RT03", "SS06"}


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(public_names()))
def test_public_docstrings_follow_numpydoc(name):
    from numpydoc.validate import validate  # which comes with the extra docs

    problems = validate(name)["errors"]
    problems = [p for p in problems if p[0] not in TOLERATED]
    inherited = [p for p in problems if "set_score_request" in p[1]]
    assert problems == inherited


@pytest.mark.parametrize("cls", PUBLIC_CLASSES)
def test_every_parameter_is_documented_with_its_default(cls):
    text = inspect.getdoc(cls)
    assert "%(" not in text
    for name, parameter in inspect.signature(cls).parameters.items():
        assert re.search(rf"^(\w+, )?{name}(, \w+)? : ", text, re.MULTILINE), name
        shown = repr(parameter.default)
        line = next(
            line for line in text.splitlines()
            if re.match(rf"(\w+, )?{name}(, \w+)? : ", line)
        )  # fmt: skip
        if isinstance(parameter.default, float):
            defaults = re.findall(r"[\d.]+(?:e-?\d+)?", line.split("default=")[1])
            assert parameter.default in map(float, defaults), name
        else:
            assert f"default={shown}" in line, name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_examples_run(path):
    name = f"fastmlp.{name_of(path)}".rstrip(".")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in ("dask", "torch"):  # what the tests do without
            raise
        pytest.skip(f"there is no {error.name}")
    result = doctest.testmod(module)
    assert result.failed == 0
    if name == "fastmlp.estimators":
        assert result.attempted >= 12


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_function_that_others_may_use_says_what_it_does(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), path
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
            assert ast.get_docstring(node), f"{path}:{node.lineno} {node.name}"


def test_the_page_on_reliability_names_tests_that_exist():
    page = Path(__file__).parents[1] / "docs" / "reliability.md"
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", page.read_text("utf-8"))
    assert len(named) > 50
    for file, test in named:
        source = (Path(__file__).parent / file).read_text("utf-8")
        assert f"def {test}(" in source, (file, test)
