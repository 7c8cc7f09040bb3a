"""Table and chart of all heads and baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import fmt
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
    best = (study.get("comparison") or {}).get("best")
    chart = accuracy_chart(
        [Row(str(h["name"]), score(h, "val", "accuracy"), score(h, "test", "accuracy"), h is used) for h in heads],
        test_count(study),
    )
    return {
        "chart": chart,
        "far": chart is not None and "◂" in chart,
        "rows": [_row(h, h is used, h.get("name") == best) for h in heads],
        "reading": _reading(heads, used),
        "has_beta": any(fmt.finite(h.get("beta")) is not None for h in heads),
    }


def _row(head: Mapping[str, Any], used: bool, best: bool) -> dict[str, Any]:
    cells = []
    for metric in METRICS:
        for split in ("val", "test"):
            value = score(head, split, metric)
            cells.append(fmt.fixed(value) if metric == "log_loss" else fmt.percent(value).removesuffix(fmt.THIN + "%"))
    chips = ["use this"] if used else []
    if best and not used:
        chips.append("best on validation")
    return {
        "name": str(head["name"]),
        "what": str(head.get("what") or ""),
        "chips": chips,
        "used": used,
        "certified": head.get("kind") == "certified",
        "scores": cells,
        "gap": fmt.percent_at_most(head.get("relative_gap")),
        "beta": fmt.short(head.get("beta")),
        "rank": fmt.count(head.get("rank")),
        "parameters": fmt.count(head.get("parameters")),
        "seconds": fmt.seconds(head.get("seconds")),
    }


def _reading(heads: list[Mapping[str, Any]], used: Mapping[str, Any] | None) -> str:
    tested = [(score(h, "test", "accuracy"), h) for h in heads]
    ranked = sorted(((a, h) for a, h in tested if a is not None), key=lambda pair: -pair[0])
    if len(ranked) < 2:
        return ""
    best = fmt.percent(ranked[0][0])
    first = [h for a, h in ranked if fmt.percent(a) == best]  # what reads the same is called the same
    names = [f"“{h['name']}”" for h in first]
    said = f"The highest test accuracy is {best}, {', '.join(names[:-1])}{' and ' if names[1:] else ''}{names[-1]}"
    if len(first) < len(ranked):
        second, runner = ranked[len(first)]
        said += f"; next comes “{runner['name']}” with {fmt.percent(second)}"
    said += ". "
    baselines = [(a, h) for a, h in ranked if h.get("kind") == "baseline"]
    if baselines and not any(h.get("kind") == "baseline" for h in first):
        a, h = baselines[0]
        said += f"The best baseline, “{h['name']}”, reaches {fmt.percent(a)}. "
    if used is not None:
        said += (
            f"“{used['name']}” was not chosen by these test numbers: the certified heads are compared by their "
            "log-loss on the validation split, and a small difference on one test split may be luck. "
        )
    gaps = [g for h in heads if (g := fmt.finite(h.get("relative_gap"))) is not None]
    if gaps:
        said += (
            f"Every certified head is proved to be within {fmt.percent_at_most(max(gaps))} of its best possible "
            "training objective."
        )
    return said.strip()
