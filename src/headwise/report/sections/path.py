"""Accuracy, log-loss, rank and certified gap along the beta path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import fmt
from ..check import Arrays, Study
from ..figures.path import path_panel

__all__ = ["view"]

Points = Sequence[Mapping[str, Any]]


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    points = _usable(study.get("path"))
    panels = _panels(points)
    if not panels:
        return None
    others = []
    for name, path in (study.get("paths") or {}).items():
        usable = _usable(path)
        if _numbers(usable) == _numbers(points):
            continue
        if drawn := _panels(usable):
            others.append({"name": str(name), "panels": drawn, "reading": _reading(usable)})
    return {"panels": panels, "reading": _reading(points), "others": others}


def _usable(path: Points | None) -> list[Mapping[str, Any]]:
    return [p for p in path or [] if (b := fmt.finite(p.get("beta"))) is not None and b > 0]


def _numbers(path: Points) -> list[tuple[Any, ...]]:
    return [(p["beta"], p.get("accuracy_val"), p.get("rank"), p.get("relative_gap")) for p in path]


def _column(path: Points, key: str, factor: float = 1.0) -> list[float | None]:
    values = [fmt.finite(p.get(key)) for p in path]
    return [None if v is None else factor * v for v in values]


def _panels(path: Points) -> list[Any]:
    betas = [float(p["beta"]) for p in path]
    chosen = next((float(p["beta"]) for p in path if p.get("chosen")), None)
    drawn = [
        path_panel("Accuracy on validation (%)", betas, _column(path, "accuracy_val", 100), chosen, within=(0, 100)),
        path_panel("Log-loss on validation (nats)", betas, _column(path, "log_loss_val"), chosen),
        path_panel("Rank (number of atoms)", betas, _column(path, "rank"), chosen, integers=True),
        path_panel(
            "Certified relative gap (%, log scale)",
            betas,
            _column(path, "relative_gap", 100),
            chosen,
            log=True,
            line=False,
        ),
    ]
    return [panel for panel in drawn if panel is not None]


def _reading(path: Points) -> str:
    ordered = sorted(path, key=lambda p: -p["beta"])
    said = (
        f"The penalty was lowered in {len(ordered)} steps, from beta {fmt.short(ordered[0]['beta'])} to "
        f"{fmt.short(ordered[-1]['beta'])} (read from right to left). "
    )
    ranks = [p.get("rank") for p in ordered]
    if fmt.finite(ranks[0]) is not None and fmt.finite(ranks[-1]) is not None:
        first, last = fmt.count(ranks[0]), fmt.count(ranks[-1])
        if first != last:
            said += f"The rank goes from {first} to {last}. "
        else:
            said += f"The rank is {first} {'throughout' if set(ranks) == {ranks[0]} else 'at both ends'}. "
    scored = [p for p in ordered if fmt.finite(p.get("accuracy_val")) is not None]
    chosen = next((p for p in ordered if p.get("chosen")), None)
    if chosen is not None:
        said += f"The chosen beta, that of the lowest log-loss on validation, is {fmt.short(chosen['beta'])}"
        got = []
        if fmt.finite(chosen.get("accuracy_val")) is not None:
            got.append(f"accuracy {fmt.percent(chosen['accuracy_val'])}")
        if fmt.finite(chosen.get("log_loss_val")) is not None:
            got.append(f"log-loss {fmt.significant(chosen['log_loss_val'])}")
        said += f", with {' and '.join(got)} there. " if got else ". "
        best = max(scored, key=lambda p: p["accuracy_val"], default=None)
        if best is not None and chosen in scored and best["accuracy_val"] > chosen["accuracy_val"]:
            said += (
                f"The highest validation accuracy on the path is {fmt.percent(best['accuracy_val'])}, at beta "
                f"{fmt.short(best['beta'])}. "
            )
        if len(ordered) > 2 and chosen is ordered[-1]:
            said += "It is the smallest beta that was tried: a smaller one might do better. "
    gaps = [g for p in ordered if (g := fmt.finite(p.get("relative_gap"))) is not None]
    if gaps:
        said += f"Every head on the path is certified to be within {fmt.percent_at_most(max(gaps))} of its optimum."
    return said.strip()
