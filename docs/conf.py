"""The site's build: `make docs`. Pages of rules are written from the rules before Sphinx reads them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from extensions.api import write_lists
from extensions.rules import write_pages
from extensions.tree import write_linked

import manual_backprop

project = "manual_backprop"
author = "the developers of manual_backprop"
release = version = manual_backprop.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "extensions.mathml",
    "extensions.docstrings",
    "extensions.snippets",
    "extensions.tree",
]
exclude_patterns = ["_build", "derivations/*", "extensions/*"]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_update_mathjax = False
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_ipywidgets_js = {}
html_theme = "furo"
html_title = f"manual_backprop {version}"
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
autodoc_inherit_docstrings = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
suppress_warnings = ["myst.xref_missing"]


def setup(app):
    write_pages(Path(app.srcdir) / "rules")
    write_linked(Path(app.srcdir))
    write_lists(Path(app.srcdir) / "api")
