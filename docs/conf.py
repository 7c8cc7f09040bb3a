"""Sphinx configuration. Nothing is fetched: no inventories of other projects, no mathematics from a server."""

from __future__ import annotations

from typing import Any

import headwise

project = "headwise"
author = "The headwise authors"
copyright = "The headwise authors, Apache-2.0"
release = version = headwise.__version__

extensions = ["sphinx.ext.autodoc", "myst_parser", "numpydoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autosummary_generate = False  # numpydoc brings autosummary along; pages are written by hand
autodoc_typehints = "none"  # the docstrings say types with their shapes
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # autodoc lists them
default_role = "py:obj"  # `Name` in a docstring is a link where there is such a thing

html_theme = "furo"
html_title = f"headwise {release}"


def _skip_foreign(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what estimators inherit from scikit-learn: its docstrings refer to its own documentation."""
    return True if str(getattr(member, "__module__", "")).startswith("sklearn") else None


def setup(app: Any) -> None:
    app.connect("autodoc-skip-member", _skip_foreign)
