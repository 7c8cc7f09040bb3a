"""A small table and the answer, for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from . import fmt
from .answer import answer_sentences, score, used_head
from .check import check_study
from .markup import tag

__all__ = ["summary_html"]

COLUMNS = ("Head", "Test accuracy", "Validation accuracy", "Certified gap", "Rank")


def summary_html(study: Mapping[str, Any]) -> str:
    """A fragment of HTML: the answer in a sentence, and one line a head. Everything from the data is escaped.

    Raises
    ------
    InputError
        The format version is unknown.

    Examples
    --------
    >>> print(summary_html({"format_version": 1, "heads": []}))
    <div><p><strong>No head was fitted.</strong> </p></div>
    """
    check_study(study)
    answer, why = answer_sentences(study)
    parts: list[Markup] = [tag("p", [tag("strong", answer), " ", why])]
    heads = study.get("heads") or []
    if heads:
        used = used_head(study)
        header = tag("tr", [tag("th", c, scope="col", style=_align(i)) for i, c in enumerate(COLUMNS)])
        parts.append(tag("table", [tag("thead", header), tag("tbody", [_row(h, h is used) for h in heads])]))
    return str(tag("div", parts))


def _row(head: Mapping[str, Any], used: bool) -> Markup:
    values = (
        fmt.percent(score(head, "test", "accuracy")),
        fmt.percent(score(head, "val", "accuracy")),
        fmt.percent_at_most(head.get("relative_gap")),
        fmt.count(head.get("rank")),
    )
    name: Any = head.get("name")
    first = tag("th", tag("strong", name) if used else name, scope="row", style=_align(0))
    return tag("tr", [first, *(tag("td", v, style=_align(1)) for v in values)])


def _align(column: int) -> str:
    return "text-align:left;font-weight:inherit" if column == 0 else "text-align:right"
