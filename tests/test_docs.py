"""Pages of the documentation: their code runs and prints what they say, links lead on.

The notebooks of docs/learn and the scripts of docs/examples are run by Sphinx.
"""

import contextlib
import importlib.util
import io
import re
import runpy
import sys
import warnings
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import nbformat
import pytest
from sklearn.exceptions import ConvergenceWarning

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

#: What Sphinx makes and runs.
_OTHERS = {"_build", "auto_examples", "generated", "jupyter_execute", "learn"}

PAGES = [
    path
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]
    if not _OTHERS.intersection(path.relative_to(ROOT).parts)
]

#: A block of Python, and what it prints where that is said.
_BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<printed>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)
_FENCED = re.compile(r"^(```+|:::+).*?^\1", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NUMBER = re.compile(r"-?\d+\.\d+")


def name_of(path):
    return str(path.relative_to(ROOT))


def blocks_of(path):
    """(first line, code, what it prints or None) of a page."""
    text = path.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code"))
        yield line, match["code"], match["printed"]


def assert_prints(printed, expected):
    """The same words, and numbers with a point that are within a tenth or so."""
    assert _NUMBER.sub("#", printed).split() == _NUMBER.sub("#", expected).split()
    numbers = [
        [float(n) for n in _NUMBER.findall(text)] for text in (printed, expected)
    ]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.1, abs=0.06)


WITH_CODE = [path for path in PAGES if next(blocks_of(path), None)]


@pytest.mark.parametrize("path", WITH_CODE, ids=name_of)
def test_code_runs_and_prints_what_the_page_says(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("Agg")
    # functions of a page are pickled by reference, as those of any module
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    for line, code, expected in blocks_of(path):
        compiled = compile("\n" * line + code, str(path), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            exec(compiled, vars(module))
        if expected is not None:
            assert_prints(printed.getvalue(), expected)
    plt.close("all")


def test_what_is_compared_of_outputs():
    assert_prints("a 0.97\n", "a   1.00")
    for printed in ("b 0.97", "a 0.7", "a", "a 1", "a 0.97 0.97"):
        with pytest.raises(AssertionError):
            assert_prints(printed, "a 0.97")


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_between_pages_lead_to_files(path):
    text = _FENCED.sub("", path.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if re.match(r"https?://[\w.-]+\.\w+(/|$)", link) or link.startswith("#"):
            continue
        target = (path.parent / link.partition("#")[0]).resolve()
        # the gallery is made with the site
        assert target.exists() or "auto_examples" in link, link
        assert target.is_relative_to(ROOT), link


def test_broken_links_of_a_site_are_found(tmp_path):
    broken_links = runpy.run_path(str(DOCS / "check_links.py"))["broken_links"]
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here">1</a><a href="https://example.org/x">2</a>'
        '<a href="#me" id="me">3</a><img src="data:,">'
    )
    (tmp_path / "b.html").write_text('<p id="here"><a href="sub/../a.html">4</a>')
    assert not list(broken_links(tmp_path))
    bad = ["c.html", "b.html#there", "#other", "http://x", "../up.html", "file:///a"]
    (tmp_path / "c0.html").write_text("".join(f'<a href="{link}">' for link in bad))
    assert [str(link) for _, link, _ in broken_links(tmp_path)] == bad


def test_drawings_are_up_to_date():
    """`python docs/drawings.py` makes them anew."""
    page = runpy.run_path(str(DOCS / "drawings.py"))
    drawn = {draw.__name__: draw().svg() for draw in page["DRAWINGS"]}
    kept = {path.stem: path.read_text("utf-8") for path in page["PLACE"].glob("*.svg")}
    assert kept == drawn


def test_notebooks_hold_the_code_of_their_pages():
    """Those of the tutorial, which readers download."""
    specification = importlib.util.spec_from_file_location(
        "notebooks", DOCS / "notebooks.py"
    )
    notebooks = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(notebooks)
    pages = notebooks.pages()
    assert len(pages) >= 5
    for page in pages:
        made = notebooks.notebook(page)
        nbformat.validate(made)
        cells = [
            cell["source"] for cell in made["cells"] if cell["cell_type"] == "code"
        ]
        text = page.read_text(encoding="utf-8")
        assert len(cells) == text.count("```{code-cell} python")
        for cell in cells:
            assert cell in text
            compile(cell.removeprefix("%matplotlib inline"), page.name, "exec")
