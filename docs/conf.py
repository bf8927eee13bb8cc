"""Configuration of the documentation site. `make docs` builds it; nothing is loaded from the network."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

import dmmcheck  # noqa: E402  # found through the line above

project = "dmmcheck"
author = "The dmmcheck authors"
release = version = dmmcheck.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "check_reference",
    "plain_docstrings",
]
exclude_patterns = ["_ext", "_static"]
default_role = "literal"  # docstrings write code in single backticks

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings give shapes and units, which the annotations cannot
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"dmmcheck {release}"
html_static_path = ["_static"]
html_css_files = ["figures.css"]
html_copy_source = False
html_show_sourcelink = False
