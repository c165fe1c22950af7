"""How Sphinx builds the site, see CONTRIBUTING.md."""

import os
import re
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import MathError, tex2mathml
from sphinx.util.logging import getLogger

import fastmlp

HERE = Path(__file__).parent
logger = getLogger(__name__)

# notebooks run in processes of their own: the code that is documented, and no display
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)
os.environ["MPLBACKEND"] = "Agg"

project = "fastmlp"
author = "The fastmlp developers"
copyright = author
version = release = fastmlp.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}
exclude_patterns = [
    "_build",
    "examples",
    "sg_execution_times.rst",
    "auto_examples/*.ipynb",
    "**/.*",
]
templates_path = ["_templates"]
default_role = "py:obj"
python_use_unqualified_type_names = True

# --- pages in Markdown; those of learn/ are notebooks, which run -------------------

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

# --- reference ---------------------------------------------------------------------

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# --- gallery -------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "doc_module": ("fastmlp",),
    "reference_url": {"fastmlp": None},
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "copyfile_regex": "",
}

# --- how it looks ------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_math_renderer = "mathml"
html_title = "fastmlp"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "fastmlp", "image_light": "_static/favicon.svg",
             "image_dark": "_static/favicon.svg"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}  # fmt: skip
html_sidebars = {"index": [], "install": []}


def inline_drawings(app, doctree, page):
    """Put drawings into the page, so that they take the colours of its theme."""
    if app.builder.format != "html":
        return
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.srcdir, image["uri"])
        if path.suffix == ".svg" and path.parent.name == "drawings":
            text = path.read_text(encoding="utf-8").replace(
                "<svg ", f'<svg role="img" aria-label="{image.get("alt", "")}" ', 1
            )
            image.replace_self(
                nodes.raw("", f'<div class="drawing">{text}</div>', format="html")
            )


def write_math(self, node):
    """Formulas as MathML, by docutils: browsers need no script from the network."""
    block = isinstance(node, nodes.math_block)
    text = node.astext().strip().replace(r"\dots", r"\ldots")
    text = re.sub(r"\\([Bb]igg?)(?=[(\[])", r"\\\1l", text)
    text = re.sub(r"\\([Bb]igg?)(?=[)\]])", r"\\\1r", text)
    try:
        formula = tex2mathml(text, as_block=block)
    except MathError as error:
        logger.warning("%s, in the formula %s", error, text, location=node)
        raise nodes.SkipNode from error
    number = node.get("number")
    if block:
        label = f'<span class="eqno">({number})</span>' if number else ""
        ids = "".join(f'<span id="{name}"></span>' for name in node["ids"])
        formula = f'<div class="formula">{ids}{label}{formula}</div>'
    self.body.append(formula)
    raise nodes.SkipNode


def without_their_links(app, what, name, obj, options, lines):
    """Inherited docstrings have links to sections of scikit-learn's own site."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r":(?:ref|term):`([^<`]+?)(?: <[^>`]*>)?`", r"\1", line)


def setup(app):
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (write_math, None), (write_math, None))
    app.connect("doctree-resolved", inline_drawings)
    app.connect("autodoc-process-docstring", without_their_links)
