"""Sphinx configuration: four parts of pages in Markdown, and the reference of the Python packages, read from their docstrings.

Built by ``make docs`` with warnings as errors. Kernels are imported uncompiled (``NUMBA_DISABLE_JIT``): their signatures can be read.
"""

import os
import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")

_metadata = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _metadata["name"]
author = "The qkdlink authors"
copyright = author
release = version = _metadata["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinxcontrib.bibtex",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
nitpicky = False

myst_enable_extensions = ["amsmath", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "unsrt"
bibtex_reference_style = "author_year"

apidoc_modules = [
    {
        "path": f"../{package}",
        "destination": f"reference/api/{package}",
        "separate_modules": True,
        "module_first": True,
        "max_depth": 2,
        "automodule_options": {"members", "show-inheritance"},
    }
    for package in ("alice", "bob", "common")
]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the Parameters sections carry shapes and units as well
autodoc_class_signature = "separated"
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# Type names in docstrings are words; several modules may have a field of one name.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = f"qkdlink {version}"
html_static_path = ["_static"] if Path(__file__).with_name("_static").is_dir() else []

_CITATION = re.compile(r"\[([A-Z][A-Za-z]+(?:19|20)\d\d[a-z]?)\]_?")


def _cite(_app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Turn ``[Carter1979]`` in a docstring into a citation, so that a key without an entry in ``references.bib`` is a warning."""
    lines[:] = [_CITATION.sub(r":cite:p:`\1`", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Register the hook that resolves citations in docstrings."""
    app.connect("autodoc-process-docstring", _cite)
