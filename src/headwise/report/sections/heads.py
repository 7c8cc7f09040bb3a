"""Table and chart of all heads and baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import numbers
from ..answer import score, test_count, used_head
from ..check import Arrays, Study
from ..figures.accuracy import Row, accuracy_chart

__all__ = ["view"]

METRICS = ("accuracy", "balanced_accuracy", "log_loss")


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    heads = study.get("heads") or []
    if not heads:
        return None
    used = used_head(study)
    chart = accuracy_chart(
        [Row(str(h["name"]), score(h, "val", "accuracy"), score(h, "test", "accuracy"), h is used) for h in heads],
        test_count(study),
    )
    return {
        "chart": chart,
        "rows": [_row(h, h is used) for h in heads],
        "reading": _reading(heads, used),
        "has_beta": any(numbers.finite(h.get("beta")) is not None for h in heads),
    }


def _row(head: Mapping[str, Any], used: bool) -> dict[str, Any]:
    cells = []
    for metric in METRICS:
        for split in ("val", "test"):
            value = score(head, split, metric)
            cells.append(
                numbers.fixed(value)
                if metric == "log_loss"
                else numbers.percent(value).removesuffix(numbers.THIN + "%")
            )
    chips = ["use this"] if used else []
    if head.get("chosen") and not used:
        chips.append("best on validation")
    return {
        "name": str(head["name"]),
        "what": str(head.get("what") or ""),
        "chips": chips,
        "used": used,
        "certified": head.get("kind") == "certified",
        "scores": cells,
        "gap": numbers.percent(head.get("relative_gap"), 2),
        "beta": numbers.short(head.get("beta")),
        "rank": numbers.count(head.get("rank")),
        "parameters": numbers.count(head.get("parameters")),
        "seconds": numbers.seconds(head.get("seconds")),
    }


def _reading(heads: list[Mapping[str, Any]], used: Mapping[str, Any] | None) -> str:
    tested = [(score(h, "test", "accuracy"), h) for h in heads]
    ranked = sorted(((a, h) for a, h in tested if a is not None), key=lambda pair: -pair[0])
    if len(ranked) < 2:
        return ""
    (best, first), (second, runner) = ranked[0], ranked[1]
    said = f"The highest test accuracy is {numbers.percent(best)}, “{first['name']}”; next comes “{runner['name']}” with {numbers.percent(second)}. "
    baselines = [(a, h) for a, h in ranked if h.get("kind") == "baseline"]
    if baselines and first.get("kind") != "baseline":
        a, h = baselines[0]
        said += f"The best baseline, “{h['name']}”, reaches {numbers.percent(a)}. "
    if used is not None and used is not first:
        said += f"“{used['name']}” was not chosen by these test numbers: heads are chosen on the validation split, and a small difference on one test split may be luck. "
    gaps = [g for h in heads if (g := numbers.finite(h.get("relative_gap"))) is not None]
    if gaps:
        said += f"Every certified head is proved to be within {numbers.percent(max(gaps), 2)} of its best possible training objective."
    return said.strip()
