"""Reports: plain data in, one self-contained HTML page out."""

from .render import render
from .summary import summary_html

__all__ = ["render", "summary_html"]
