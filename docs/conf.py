"""How Sphinx builds the site, see CONTRIBUTING.md."""

import html
import os
import re
import sys
import textwrap
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import MathError, tex2mathml
from numpydoc.docscrape import NumpyDocString
from PIL import Image, ImageOps
from sphinx import addnodes
from sphinx.util.logging import getLogger

import fastmlp
from fastmlp.estimators.parameters import SOLVERS_OF, groups_of, solvers_sentence

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for the extension `notebooks`
logger = getLogger(__name__)

# notebooks run in processes of their own: the code that is documented, and no display
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)
os.environ["MPLBACKEND"] = "Agg"
os.environ["FASTMLP_QUIET"] = "1"

project = "fastmlp"
author = "The fastmlp developers"
copyright = author
version = release = fastmlp.__version__

extensions = [
    "myst_nb",
    "notebooks",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}
exclude_patterns = [
    "_build",
    "examples",
    "**sg_execution_times.rst",
    "auto_examples/**.ipynb",
    "**/.*",
]
templates_path = ["_templates"]
default_role = "py:obj"
smartquotes = False  # values are written 'so', to be copied
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

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

#: Pages about each group of parameters.
FORMULAS = "Formulas </tables>"
GUIDES = {
    "Ensemble": ["/guide/ensembles"],
    "Network and data": ["/guide/choosing", "/guide/scaling", FORMULAS],
    "Loss": ["/guide/choosing", "/guide/weights", FORMULAS],
    "Solver": ["/guide/choosing", "/learn/descent", FORMULAS],
    "Learning rate": ["/guide/choosing", FORMULAS],
    "Regularization": ["/guide/choosing"],
    "Stopping": ["/guide/early-stopping", "/guide/long-fits"],
    "Progress and resuming": ["/guide/long-fits"],
    "Computation": ["/guide/reproducibility", "/guide/searching"],
}
ESTIMATORS = (
    fastmlp.MLPClassifier,
    fastmlp.MLPRegressor,
    fastmlp.MLPEstimator,
    fastmlp.MLPEnsembleClassifier,
    fastmlp.MLPEnsembleRegressor,
)

#: Longer lists of parameters are folded.
MOST_PARAMETERS = 12

# --- gallery -------------------------------------------------------------------------

#: What thumbnails show of the first figure: left, top, right and bottom, as fractions.
THUMBNAILS = {
    "losses/plot_calibration": (0.09, 0, 1, 0.68),
    "losses/plot_imbalanced": (0, 0, 0.5, 1),
    "losses/plot_quantiles": (0.02, 0, 0.42, 0.9),
    "losses/plot_robust_losses": (0.03, 0.12, 0.64, 0.92),
    "speed/plot_grid_search": (0, 0, 0.4, 0.95),
    "speed/plot_sparse": (0.16, 0, 0.6, 1),
    "tables/plot_tabular": (0, 0, 0.48, 1),
    "training/plot_callbacks": (0.51, 0, 1, 0.78),
    "training/plot_early_stopping": (0, 0, 0.53, 1),
    "training/plot_overfitting": (0.02, 0, 0.88, 1),
    "training/plot_schedules": (0, 0, 0.55, 1),
    "understanding/plot_activations": (0.05, 0.285, 0.66, 0.86),
    "understanding/plot_digits_weights": (0.01, 0.06, 0.83, 0.655),
}
THUMBNAIL_SIZE = (480, 336)

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "subsection_order": [
        f"examples/{group}"
        for group in ("tables", "training", "losses", "understanding", "speed")
    ],
    "gallery_dirs": "auto_examples",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "doc_module": ("fastmlp",),
    "reference_url": {"fastmlp": None},
    "capture_repr": (),
    "show_memory": False,
    "show_signature": False,
    "thumbnail_size": THUMBNAIL_SIZE,
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
    "header_links_before_dropdown": 8,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}  # fmt: skip
#: For search engines, of pages whose first sentences do not say what they are about.
DESCRIPTIONS = {
    "faq": "Answers to frequent questions about fastmlp: slow first fit, bad scores, "
    "ConvergenceWarning, missing values, threads, GPU, Docker and ONNX.",
    "guide/from-scikit-learn": "How to move from scikit-learn's MLPClassifier and "
    "MLPRegressor to fastmlp: change the import, convert models, what is new.",
    "guide/large-data": "How to train multi-layer perceptrons on many rows, memory "
    "maps, sparse matrices and streams, and how to predict single rows fast.",
    "guide/long-fits": "How to watch, limit and resume a long fit: progress line, "
    "callbacks, time limits, checkpoints, warm starts and partial_fit.",
    "guide/reproducibility": "How to get the same results again: random_state, "
    "threads, float32 and float64, and comparing loss curves with scikit-learn.",
    "guide/scaling": "Why neural networks need scaled features and targets, and how to "
    "scale them: standardize=True, or a scaler in a pipeline.",
    "guide/weights": "How to train on imbalanced data: sample_weight, class_weight, "
    "and what they do to predicted probabilities.",
}
html_sidebars = {"index": [], "install": [], "tabular": []}

# only what one types, not what is printed
copybutton_selector = (
    "div:not(.highlight-text, .highlight-none, .output) > div.highlight > pre"
)
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True


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
        lines[i] = re.sub(r":(?:ref|term):`([^<`]+?)(?: <[^>`]*>)?`", r"``\1``", line)


def group_parameters(app, what, name, obj, options, lines):
    """Parameters of the estimators in groups, each with the solvers that use it."""
    if what != "class" or obj not in ESTIMATORS:
        return
    head, groups, rest = "\n".join(lines).partition("Parameters by purpose:\n")
    attributes = rest[rest.index("Attributes\n----------\n") :]
    if not groups:
        raise ValueError(f"{name}: no groups of parameters in the docstring")
    entries = {entry.name: entry for entry in NumpyDocString(obj.__doc__)["Parameters"]}
    # the same titles are on other pages
    label = f"{obj.__name__.lower()}-{{}}".format
    titles = {title: title.lower().replace(" ", "-") for title in groups_of(obj)}
    links = " · ".join(
        f":ref:`{title} <{label(anchor)}>`" for title, anchor in titles.items()
    )
    text = [
        head, ".. rubric:: Parameters", "", links, "",
        "Labels such as :solver:`sgd` name the solvers that use a parameter. Without a "
        "label, all solvers do.", "",
    ]  # fmt: skip
    for title, names in groups_of(obj).items():
        guides = ", ".join(f":doc:`{page}`" for page in GUIDES[title])
        text += [
            f".. _{label(titles[title])}:", "",
            f".. rubric:: {title}", "   :class: group-of-parameters", "",
            ".. rst-class:: guides-of-group", "", f"Guide: {guides}", "",
            ".. rst-class:: parameters", "",
        ]  # fmt: skip
        for parameter in names:
            entry = entries.pop(parameter)
            note = solvers_sentence(parameter)
            description = "\n".join(entry.desc).removesuffix(note).rstrip()
            text += [
                f"**{parameter}** : {entry.type}{solver_labels(parameter)}",
                textwrap.indent(description, "    "), "",
            ]  # fmt: skip
    if entries:
        raise ValueError(f"{name}: in no group: {list(entries)}")
    lines[:] = "\n".join([*text, attributes]).splitlines()


def solver_labels(parameter):
    """Which solvers use a parameter, as further classifiers of its entry."""
    solvers = SOLVERS_OF.get(parameter, ())
    if len(solvers) == 5 and "lbfgs" not in solvers:
        return " : :solver:`all but lbfgs`"
    return "".join(f" : :solver:`{solver}`" for solver in solvers)


def fold_signatures(app, doctree, page):
    """Long lists of parameters in signatures open with a click."""
    if app.builder.format != "html":
        return
    for parameters in list(doctree.findall(addnodes.desc_parameterlist)):
        if len(parameters) > MOST_PARAMETERS:
            fold = (
                f'<details class="signature"><summary>({len(parameters)} parameters)'
                "</summary>"
            )
            parameters.parent.insert(
                parameters.parent.index(parameters), nodes.raw("", fold, format="html")
            )
            parameters.parent.insert(
                parameters.parent.index(parameters) + 1,
                nodes.raw("", "</details>", format="html"),
            )


def first_sentences(doctree):
    """The beginning of a page in some 160 characters."""
    for paragraph in doctree.findall(nodes.paragraph):
        inside = paragraph.parent
        while not isinstance(inside, nodes.document | nodes.note):
            inside = inside.parent
        if isinstance(inside, nodes.document):
            break
    else:
        return ""
    text, *rest = re.split(r"(?<=[.?!])\s+", " ".join(paragraph.astext().split()))
    for sentence in rest:
        if len(text) + 1 + len(sentence) > 160:
            break
        text += " " + sentence
    return textwrap.shorten(text.rstrip(":"), 200, placeholder=" …")


def describe(app, page, template, context, doctree):
    """Descriptions for search engines, by default the first sentences of a page."""
    if doctree is None or 'name="description"' in context.get("metatags", ""):
        return
    text = DESCRIPTIONS.get(page) or first_sentences(doctree)
    context["metatags"] = (
        context.get("metatags", "")
        + f'\n<meta name="description" content="{html.escape(text)}" />'
    )


def crop_thumbnails(app):
    """Thumbnails of the gallery: one part of a figure, large enough to be seen."""
    for path, box in THUMBNAILS.items():
        folder, name = path.split("/")
        images = Path(app.srcdir, "auto_examples", folder, "images")
        source = images / f"sphx_glr_{name}_001.png"
        if not source.exists():  # the scripts did not run
            continue
        with Image.open(source) as figure:
            edges = zip(box, figure.size * 2, strict=True)
            part = figure.convert("RGB").crop([round(f * n) for f, n in edges])
        part = ImageOps.pad(part, THUMBNAIL_SIZE, color="white")
        part.save(images / "thumb" / f"sphx_glr_{name}_thumb.png")


def solver_label(name, rawtext, text, lineno, inliner, options=None, content=None):
    """The role `solver`: a label."""
    return [nodes.inline(rawtext, text, classes=["solver"])], []


def setup(app):
    """Called by Sphinx."""
    app.add_role("solver", solver_label)
    app.add_html_math_renderer("mathml", (write_math, None), (write_math, None))
    app.connect("builder-inited", crop_thumbnails, priority=900)  # after the gallery
    app.connect("doctree-resolved", inline_drawings)
    # before numpydoc, which makes lists of the sections that are left
    app.connect("autodoc-process-docstring", without_their_links, priority=300)
    # and after it, for it adds the docstrings of properties
    app.connect("autodoc-process-docstring", without_their_links, priority=600)
    app.connect("autodoc-process-docstring", group_parameters, priority=400)
    app.connect("doctree-resolved", fold_signatures)
    app.connect("html-page-context", describe)
