"""Whether the head to use is right as often as it says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .. import fmt
from ..answer import used_head
from ..check import Arrays, Study
from ..figures.reliability import reliability_chart

__all__ = ["view"]


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    found = study.get("calibration")
    if not found:
        return None
    bins = [(fmt.finite(confidence), fmt.finite(accuracy), int(n)) for confidence, accuracy, n in found["bins"]]
    chart = reliability_chart(bins, "how often it is right, by how sure it is")
    if chart is None:
        return None
    head = used_head(study)
    name = f"“{head['name']}”" if head else "the head"
    sentences = [_mean(found, name, sum(n for *_, n in bins)), _fullest(bins), _error(found)]
    return {"chart": chart, "reading": " ".join(filter(None, sentences))}


def _mean(found: Mapping[str, Any], name: str, total: int) -> str:
    confidence, accuracy = fmt.finite(found.get("confidence")), fmt.finite(found.get("accuracy"))
    if confidence is None or accuracy is None:
        return ""
    said = (
        f"On the test samples the mean confidence of {name} is {fmt.percent(confidence)}, and "
        f"{fmt.percent(accuracy)} of its predictions are right: on the whole it is "
    )
    # what the mean of so many hits and misses varies by on its own (95 %)
    if abs(accuracy - confidence) <= 1.96 * math.sqrt(accuracy * (1 - accuracy) / total):
        return said + "as sure as it should be, as far as these samples tell."
    return said + ("less sure than it could be." if accuracy > confidence else "more sure than it should be.")


def _fullest(bins: list[tuple[float | None, float | None, int]]) -> str:
    total = sum(n for *_, n in bins)
    place = max(range(len(bins)), key=lambda i: bins[i][2])
    _, accuracy, n = bins[place]
    low, high = place / len(bins), (place + 1) / len(bins)
    sure = f"at least {fmt.percent(low, 0)}" if place == len(bins) - 1 else fmt.range_percent(low, high)
    return (
        f"The fullest bin holds {fmt.count(n)} of {fmt.count(total)} predictions, with a confidence of {sure}; "
        f"{fmt.percent(accuracy)} of these are right."
    )


def _error(found: Mapping[str, Any]) -> str:
    error, chance = fmt.finite(found.get("error")), fmt.finite(found.get("by_chance"))
    if error is None:
        return ""
    said = f"The calibration error is {fmt.percent(error)}"
    if fmt.finite(found.get("low")) is not None and fmt.finite(found.get("high")) is not None:
        said += (
            f" ({fmt.percent(found.get('level', 0.95), 0)} bootstrap interval "
            f"{fmt.range_percent(found['low'], found['high'])})"
        )
    if chance is None:
        return said + "."
    return (
        f"{said}. Bins of few samples miss their confidence by chance: a head that is right exactly as often as it "
        f"says would show about {fmt.percent(chance)} on as many samples."
    )
