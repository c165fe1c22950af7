"""The pages of the tutorial as Jupyter notebooks: an extension of Sphinx.

Each page in docs/learn with code gets a link to download it; the notebooks are written
beside the pages of the site. By hand: ``python docs/notebooks.py FOLDER``.
"""

import base64
import re
import sys
from pathlib import Path

import nbformat
from docutils import nodes
from nbformat import v4

PAGES = Path(__file__).parent / "learn"

NOTE = (
    "*A page of fastmlp's tutorial as a notebook. It needs fastmlp and its extra "
    "`plot`.*"
)

_HEAD = re.compile(r"\A---\n.*?^---\n", re.DOTALL | re.MULTILINE)
_CELL = re.compile(
    r"^```\{code-cell\} python\n(?P<options>(?::[^\n]*\n)*)(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_LABEL = re.compile(r"^\([\w-]+\)=\n", re.MULTILINE)
_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+\.svg)\)")
_LINK = re.compile(
    r"(?<!!)\[([^\]]+)\]\((?!https?:|attachment:|#)([^)\s#]+)(#[^)]*)?\)"
)
#: What Jupyter would show as it stands: directives, roles, attributes, labels.
_MYST = re.compile(r"^\s*(?:```|:::+)\s*\{|\{[\w:-]+\}`|\)\{[.#]|^\([\w-]+\)=", re.M)


def pages():
    """The pages that are notebooks."""
    return [page for page in sorted(PAGES.glob("*.md")) if _CELL.search(_text(page))]


def notebook(page):
    """A page as a notebook: text in plain Markdown, drawings inside, cells folded."""
    text = _HEAD.sub("", _text(page), count=1)
    cells, end = [_markdown_cell(NOTE, page)], 0
    for match in _CELL.finditer(text):
        cells.append(_markdown_cell(text[end : match.start()], page))
        cells.append(_code_cell(match["code"], match["options"]))
        end = match.end()
    cells.append(_markdown_cell(text[end:], page))
    cells = [cell for cell in cells if cell["source"]]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # the same in every build
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return v4.new_notebook(cells=cells, metadata=metadata)


def write(folder):
    """All notebooks, into a folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for page in pages():
        nbformat.write(notebook(page), Path(folder, f"{page.stem}.ipynb"))


def _text(page):
    return page.read_text(encoding="utf-8")


def _code_cell(code, options):
    cell = v4.new_code_cell(code.strip("\n"))
    folded = {}
    if "hide-input" in options or "hide-cell" in options:
        folded["source_hidden"] = True
    if "hide-cell" in options:
        folded["outputs_hidden"] = True
    if folded:
        cell["metadata"]["jupyter"] = folded
    return cell


def _markdown_cell(text, page):
    attachments = {}

    def attached(match):
        image = (page.parent / match[2]).resolve()
        data = base64.b64encode(image.read_bytes()).decode("ascii")
        attachments[image.name] = {"image/svg+xml": data}
        return f"![{match[1]}](attachment:{image.name})"

    def linked(match):
        target = (page.parent / match[2]).resolve()
        # other notebooks may lie beside this one; other pages do not
        is_notebook = target in pages() and not match[3]
        return f"[{match[1]}]({target.stem}.ipynb)" if is_notebook else match[1]

    text = _LINK.sub(linked, _IMAGE.sub(attached, _LABEL.sub("", text))).strip("\n")
    if left := _MYST.search(text):
        raise ValueError(f"{page.name}: {left[0]!r} is not known to Jupyter")
    cell = v4.new_markdown_cell(text)
    if attachments:
        cell["attachments"] = attachments
    return cell


def add_link(app, doctree, docname):
    """Below the title of a page, a link to its notebook."""
    page = Path(app.srcdir, f"{docname}.md").resolve()
    if app.builder.format != "html" or page not in pages():
        return
    title = next(doctree.findall(nodes.title))
    link = (
        f'<p class="notebook-download"><a href="{page.stem}.ipynb" download>'
        "Download this page as a Jupyter notebook</a></p>"
    )
    title.parent.insert(
        title.parent.index(title) + 1, nodes.raw("", link, format="html")
    )


def write_beside_pages(app, exception):
    """Called when the site is built."""
    if exception is None and app.builder.format == "html":
        write(Path(app.outdir, PAGES.name))


def setup(app):
    """Called by Sphinx."""
    app.connect("doctree-resolved", add_link)
    app.connect("build-finished", write_beside_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    write(sys.argv[1])
