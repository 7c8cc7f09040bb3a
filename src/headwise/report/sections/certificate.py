"""The certificate in plain words."""

from __future__ import annotations

import math
from typing import Any

from .. import fmt
from ..answer import used_head
from ..check import Arrays, Study
from ..figures.bracket import bracket

__all__ = ["view"]


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    certificate = study.get("certificate") or {}
    dual, primal = fmt.finite(certificate.get("dual")), fmt.finite(certificate.get("primal"))
    if dual is None or primal is None:
        return None
    gap = fmt.finite(certificate.get("gap"))
    gap = primal - dual if gap is None else gap
    relative = fmt.finite(certificate.get("relative_gap"))
    digits = _digits(primal, primal - dual)
    head = used_head(study)
    claim = (
        f"No head of this kind, with this penalty, on these training tokens can have an objective lower than "
        f"{fmt.at_least(dual, digits)}. Ours has {fmt.at_most(primal, digits)}: at most "
        f"{fmt.at_most(gap, 2)} above that"
    )
    claim += f", or {fmt.percent_at_most(relative)}." if relative is not None else "."
    if dual > primal:
        claim = "This certificate does not hold: its lower bound is above the objective that was reached."
    samples = f"{fmt.count(certificate['num_samples'])} " if certificate.get("num_samples") else ""
    views = (certificate.get("context") or {}).get("views", 1)
    each = f" ({views} views of each)" if isinstance(views, int) and views > 1 else ""
    return {
        "claim": claim,
        "head": str(head["name"]) if head else None,
        "block": str(head.get("block") or "") if head else None,
        "chart": bracket(dual, primal, digits) if primal >= dual else None,
        "kind": _kind(certificate),
        "about": (
            f"This is about the training objective (loss plus penalty) on {samples}training samples{each}, with the "
            "tokens conditioned as they were for this head: more training could lower it by no more than that. It says "
            "nothing about test accuracy, which is measured above, on other samples."
        ),
        "beta": fmt.short(certificate.get("beta")),
    }


def _digits(value: float, gap: float) -> int:
    """Significant digits at which ``value`` and ``value - gap`` read differently."""
    if gap <= 0 or value == 0:
        return 4
    return min(12, max(4, math.ceil(math.log10(abs(value) / gap)) + 2))


def _kind(certificate: Any) -> str:
    if certificate.get("kind") == "exact":
        return "The bound is exact: it was computed in float64 with a rounding margin, and no chance is involved."
    if certificate.get("kind") == "probabilistic":
        failure = fmt.finite(certificate.get("failure_probability"))
        chance = f"at most {fmt.at_most(failure, 2)}" if failure is not None else "a stated, tiny amount"
        return (
            "The bound is probabilistic: it was computed from random starts, and the probability that it is "
            f"false is {chance}."
        )
    return ""
