"""First screen: what was done, the answer, and the four numbers behind it."""

from __future__ import annotations

from typing import Any

from .. import fmt
from ..answer import answer_sentences, difference_text, end_text, score, test_count, used_head
from ..called import short_name
from ..check import Arrays, Study
from ..figures.accuracy import wilson

__all__ = ["view"]


def view(study: Study, arrays: Arrays) -> dict[str, Any]:
    answer, why = answer_sentences(study)
    return {
        "done": _done(study),
        "answer": answer,
        "why": why,
        "facts": _facts(study),
        "warnings": [str(w) for w in study.get("warnings") or []],
    }


def _done(study: Study) -> str:
    heads = study.get("heads") or []
    certified = sum(h.get("kind") == "certified" for h in heads)
    baselines = len(heads) - certified
    parts = [
        f"{n} {word}{'' if n == 1 else 's'}"
        for n, word in ((certified, "certified head"), (baselines, "baseline"))
        if n
    ]
    sentence = (
        f"{' and '.join(parts) or 'No heads'} {'was' if len(heads) == 1 else 'were'} fitted on the frozen tokens of "
    )
    backbone, data = study.get("backbone"), study.get("data") or {}
    if backbone:
        sentence += f"the backbone {short_name(str(backbone.get('name')))}"
        if fmt.finite(backbone.get("parameters")) is not None:
            sentence += f" ({fmt.count(backbone['parameters'])} parameters)"
    else:
        sentence += "a store"
    if data:
        sentence += f" for {data.get('name')}: {fmt.count(data.get('num_samples'))} samples"
        if data.get("classes"):
            sentence += f" in {fmt.count(len(data['classes']))} classes"
    return (
        sentence
        + ". Each beta and the best head were chosen by their log-loss on the validation split; the test split gives "
        "the scores, and shows whether the linear head is enough."
    )


def _facts(study: Study) -> list[dict[str, str]]:
    """Tiles: value, what it is, how sure."""
    head, num = used_head(study), test_count(study)
    facts = []
    accuracy = score(head, "test", "accuracy")
    if accuracy is not None:
        sure = f"{fmt.range_percent(*wilson(accuracy, num))} (95\u202f% interval)" if num else ""
        facts.append({"value": fmt.percent(accuracy), "what": "test accuracy", "sure": sure})
    comparison = study.get("comparison") or {}
    if fmt.finite(comparison.get("difference")) is not None and comparison.get("best") != comparison.get("linear"):
        value, _, unit = difference_text(comparison, comparison["difference"]).partition(" ")
        sure = f"{end_text(comparison, comparison.get('low'))} to {end_text(comparison, comparison.get('high'))}"
        facts.append(
            {
                "value": value,
                "what": f"{unit}, best head minus linear",
                "sure": f"{sure} ({_level(comparison)} interval)",
            }
        )
    gap = fmt.finite((head or {}).get("relative_gap"))
    if gap is not None:
        kind = {"exact": "no chance involved", "probabilistic": "up to a tiny probability"}.get(
            str((head or {}).get("certificate_kind")), ""
        )
        facts.append(
            {
                "value": f"≤ {fmt.percent_at_most(gap)}",
                "what": "from the best possible training objective, proved",
                "sure": kind,
            }
        )
    if head is not None and fmt.finite(head.get("parameters")) is not None:
        rank = fmt.finite(head.get("rank"))
        facts.append(
            {
                "value": fmt.count(head["parameters"]),
                "what": "parameters in the head",
                "sure": f"rank {fmt.count(rank)}" if rank is not None else "",
            }
        )
    return facts


def _level(comparison: Any) -> str:
    return fmt.percent(comparison.get("level", 0.95), 0)
