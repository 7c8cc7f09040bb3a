"""Best head minus linear head, with its interval."""

from __future__ import annotations

from typing import Any

from .. import fmt
from ..answer import difference_text, end_text
from ..check import Arrays, Study
from ..figures.interval import interval_chart

__all__ = ["view"]


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    comparison = study.get("comparison") or {}
    values = [fmt.finite(comparison.get(key)) for key in ("difference", "low", "high")]
    if any(v is None for v in values):
        return None
    difference, low, high = (float(v) for v in values if v is not None)
    best, linear = str(comparison.get("best")), str(comparison.get("linear"))
    if best == linear:
        return {
            "chart": None,
            "best": best,
            "linear": linear,
            "reading": f"“{linear}”, a linear head, was the best on the validation split, so there is nothing to "
            "compare: the linear head is enough here.",
        }
    in_points = str(comparison.get("metric", "accuracy")).endswith("accuracy")
    factor = 100.0 if in_points else 1.0
    metric = str(comparison.get("metric", "accuracy")).replace("_", " ")
    lower_is_better = metric.replace("-", " ") == "log loss"
    names = ("best head better", "linear better") if lower_is_better else ("linear better", "best head better")
    reading = _reading(comparison, low, high, lower_is_better)
    return {
        "chart": interval_chart(
            factor * difference,
            factor * low,
            factor * high,
            names,
            f"difference in {metric} ({'points' if in_points else 'nats' if lower_is_better else 'own scale'})",
            reading,
        ),
        "best": best,
        "linear": linear,
        "reading": reading,
    }


def _reading(comparison: Any, low: float, high: float, lower_is_better: bool) -> str:
    num = fmt.count(comparison.get("num_test"))
    said = (
        f"On {num} test samples “{comparison.get('best')}” minus “{comparison.get('linear')}” is "
        f"{difference_text(comparison, comparison['difference'])}; "
        f"the {fmt.percent(comparison.get('level', 0.95), 0)} interval goes from {end_text(comparison, low)} to "
        f"{end_text(comparison, high)} "
        f"({comparison.get('method', 'paired bootstrap')}: both heads answer the same samples). "
    )
    if low <= 0 <= high:
        said += "The interval holds zero: with this many test samples the two cannot be told apart. "
    elif (high < 0) != lower_is_better:
        said += "The whole interval is on the side of the linear head. "
    else:
        said += "The whole interval is on the side of the best head. "
    if comparison.get("linear_is_enough"):
        said += "The linear head is enough here."
    return said.strip()
