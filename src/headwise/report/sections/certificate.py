"""The certificate in plain words."""

from __future__ import annotations

import math
from typing import Any

from .. import numbers
from ..answer import by_name
from ..check import Arrays, Study
from ..figures.bracket import bracket

__all__ = ["view"]


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    certificate = study.get("certificate") or {}
    dual, primal = numbers.finite(certificate.get("dual")), numbers.finite(certificate.get("primal"))
    if dual is None or primal is None:
        return None
    gap = numbers.finite(certificate.get("gap"))
    gap = primal - dual if gap is None else gap
    relative = numbers.finite(certificate.get("relative_gap"))
    digits = _digits(primal, primal - dual)
    head = next((h for h in study.get("heads") or [] if h.get("chosen")), None) or by_name(
        study, (study.get("comparison") or {}).get("best")
    )
    claim = (
        f"No head of this kind, with this penalty, on these training tokens can have an objective lower than "
        f"{numbers.significant(dual, digits)}. Ours has {numbers.significant(primal, digits)}: at most {numbers.significant(gap, 2)} above that"
    )
    claim += f", or {numbers.percent(relative, 2)}." if relative is not None else "."
    return {
        "claim": claim,
        "head": str(head["name"]) if head else None,
        "block": str(head.get("block") or "") if head else None,
        "chart": bracket(dual, primal, digits) if primal >= dual else None,
        "kind": _kind(certificate),
        "about": (
            f"This is about the training objective (loss plus penalty) on "
            f"{numbers.count(certificate.get('num_samples')) + ' ' if certificate.get('num_samples') else ''}training samples, with the tokens "
            "conditioned as they were for this head. It says that more training could not help. It says nothing about test accuracy: "
            "that is measured above, on other samples."
        ),
        "beta": numbers.short(certificate.get("beta")),
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
        failure = numbers.finite(certificate.get("failure_probability"))
        chance = f"at most {numbers.significant(failure, 2)}" if failure is not None else "a stated, tiny amount"
        return f"The bound is probabilistic: it was computed from random starts, and the probability that it is false is {chance}."
    return ""
