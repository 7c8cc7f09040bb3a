"""One function that writes an element of HTML or SVG, with everything from the data escaped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from markupsafe import Markup, escape

__all__ = ["join", "tag"]


def tag(name: str, content: Any = "", **attributes: Any) -> Markup:
    """An element. Strings are escaped, `Markup` is not; ``class_`` means ``class``, ``stroke_width`` ``stroke-width``.

    Examples
    --------
    >>> str(tag("text", "<b>", x="5%", class_="tick"))
    '<text x="5%" class="tick">&lt;b&gt;</text>'
    """
    said = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _short(value))
        for key, value in attributes.items()
        if value is not None
    )
    inner = escape(content) if not isinstance(content, (list, tuple)) else join(content)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), said, inner)


def join(parts: Iterable[Any]) -> Markup:
    """Parts one after the other, strings escaped."""
    return Markup("").join(escape(part) for part in parts)


def _short(value: Any) -> Any:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
