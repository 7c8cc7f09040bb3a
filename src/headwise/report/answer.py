"""The answer of a study: which head to use, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import fmt
from .check import Study

__all__ = ["answer_sentences", "score", "test_count", "used_head"]


def used_head(study: Study) -> Mapping[str, Any] | None:
    """The head to use, marked ``chosen``: the one that the study saved and describes."""
    return next((h for h in study.get("heads") or [] if h.get("chosen")), None)


def score(head: Mapping[str, Any] | None, split: str, metric: str) -> float | None:
    """One score of a head, None where it was not measured."""
    scores = ((head or {}).get("scores") or {}).get(split) or {}
    return fmt.finite(scores.get(metric))


def test_count(study: Study) -> int | None:
    """Number of test samples."""
    found = (study.get("comparison") or {}).get("num_test")
    counts = ((study.get("data") or {}).get("counts") or {}).get("test")
    if found is None and counts:
        found = sum(counts)
    return int(found) if found else None


def answer_sentences(study: Study) -> tuple[str, str]:
    """The answer, and what it stands on. Plain text, not escaped."""
    head = used_head(study)
    if head is None:
        return "No head was fitted.", ""
    name = head["name"]
    comparison = study.get("comparison") or {}
    accuracy = score(head, "test", "accuracy")
    scored = f" “{name}” has a test accuracy of {fmt.percent(accuracy)}." if accuracy is not None else ""
    scored += _better_baseline(study, head, "val", "the validation split")
    scored += _better_baseline(study, head, "test", "this test split")
    if not comparison or fmt.finite(comparison.get("difference")) is None:
        return f"Use “{name}”.", scored.strip()
    low, high = comparison.get("low"), comparison.get("high")
    found = (
        f"{difference_text(comparison, comparison['difference'])} on {fmt.count(comparison.get('num_test'))} test "
        "samples"
    )
    if fmt.finite(low) is not None and fmt.finite(high) is not None:
        found += (
            f" ({fmt.percent(comparison.get('level', 0.95), 0)} interval {end_text(comparison, low)} to "
            f"{end_text(comparison, high)})"
        )
    if comparison.get("best") == comparison.get("linear"):
        others = any(h.get("kind") == "certified" and not h.get("linear") for h in study.get("heads") or [])
        why = (
            "No other certified head has a lower log-loss on the validation split."
            if others
            else "These samples have one token each, which leaves nothing to attend to: only linear heads were fitted."
        )
        return f"Use “{name}”: the linear head is enough here.", why + scored
    if comparison.get("linear_is_enough"):
        why = f"“{comparison.get('best')}” minus “{comparison.get('linear')}” is {found}."
        return f"Use “{name}”: the linear head is enough here.", why + scored
    return f"Use “{name}”.", f"Against “{comparison.get('linear')}” it makes a difference of {found}.{scored}"


def _better_baseline(study: Study, head: Mapping[str, Any], split: str, where: str) -> str:
    """A sentence where a baseline has the higher accuracy on a split, else nothing."""
    accuracy = score(head, split, "accuracy")
    found = [
        (value, str(h["name"]))
        for h in study.get("heads") or []
        if h.get("kind") == "baseline" and (value := score(h, split, "accuracy")) is not None
    ]
    if accuracy is None or not found or max(found)[0] <= accuracy:
        return ""
    value, name = max(found)
    return f" A baseline does better on {where}: “{name}”, with {fmt.percent(value)} against {fmt.percent(accuracy)}."


def difference_text(comparison: Mapping[str, Any], value: Any) -> str:
    """A difference with its unit: points of accuracy, or the metric's own scale."""
    metric = str(comparison.get("metric", "accuracy")).replace("_", " ")
    if metric.endswith("accuracy"):
        return f"{fmt.points(value)} points of {metric}"
    return f"{fmt.signed(value, 3)} in {metric}"


def end_text(comparison: Mapping[str, Any], value: Any) -> str:
    """One end of the interval, without its unit."""
    return fmt.points(value) if str(comparison.get("metric", "accuracy")).endswith("accuracy") else fmt.signed(value, 3)
