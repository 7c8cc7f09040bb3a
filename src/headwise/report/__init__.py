"""Reports: plain data in, one self-contained HTML page out."""

from .answer import answer_sentences
from .explorer import render_explorer
from .render import render, render_explanation
from .sections.relu import relu_sentence
from .summary import summary_html

__all__ = ["answer_sentences", "relu_sentence", "render", "render_explanation", "render_explorer", "summary_html"]
