"""A ReLU head beside the gated head that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import fmt
from ..answer import score
from ..check import Arrays, Study

__all__ = ["relu_sentence", "view"]


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    made = study.get("relu")
    if not made:
        return None
    gap = made.get("gated_relative_gap")
    proof = f"certified: at most {fmt.percent_at_most(gap)} above its optimum" if fmt.finite(gap) is not None else ""
    gated = {"objective": made.get("gated_objective"), "atoms": made.get("gated_atoms"), "seconds": None}
    rows = [_row(str(made.get("gated")), proof, {**gated, "scores": made.get("gated_scores")})]
    if not made.get("refused"):
        rows.append(_row("ReLU head", "approximate: how far above its optimum is not known", made))
    return {"rows": rows, "reading": _reading(made)}


def _row(name: str, known: str, found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "known": known,
        "objective": fmt.significant(found.get("objective"), 5),
        "atoms": fmt.count(found.get("atoms")),
        "val": fmt.percent(score(found, "val", "accuracy")),
        "test": fmt.percent(score(found, "test", "accuracy")),
        "log_loss": fmt.fixed(score(found, "test", "log_loss")),
    }


def _reading(made: Mapping[str, Any]) -> str:
    if made.get("refused"):
        return relu_sentence(made)
    return (
        f"{relu_sentence(made)} Each atom of the gated head becomes two ReLU atoms whose scores on the training tokens "
        "keep to the pattern of its gate, so both heads have the same outputs there; elsewhere they may differ. The "
        "certificate is that of the gated problem: nothing is proved of the ReLU head, and training a ReLU network "
        "may well reach a lower value."
    )


def relu_sentence(made: Mapping[str, Any]) -> str:
    """Both objectives in one sentence, or why there is no ReLU head. Plain text, not escaped."""
    if made.get("refused"):
        return f"No ReLU head was made of “{made.get('gated')}”: {made['refused']}."
    return (
        f"The ReLU head made of “{made.get('gated')}” has the approximate objective "
        f"{fmt.significant(made.get('objective'), 5)}, {fmt.significant(made.get('ratio'), 3)} times the "
        f"{fmt.significant(made.get('gated_objective'), 5)} of the gated head."
    )
