"""First screen of the page of a head: what it is, and how many atoms carry it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import fmt
from ..called import short_name
from ..check import Arrays, Study

__all__ = ["view"]


def view(study: Study, arrays: Arrays) -> dict[str, Any]:
    head, atoms = study.get("head") or {}, study.get("atoms") or []
    return {"answer": _answer(atoms), "what": _what(head), "facts": _facts(head, atoms)}


def heaviest(atoms: Sequence[Mapping[str, Any]], share: float = 0.9) -> int:
    """How many of the heaviest atoms carry ``share`` of the weight."""
    weights, total, carried = [float(a["weight"]) for a in atoms], sum(float(a["weight"]) for a in atoms), 0.0
    for number, weight in enumerate(weights, start=1):
        carried += weight
        if carried >= share * total:
            return number
    return len(weights)


def _answer(atoms: Sequence[Mapping[str, Any]]) -> str:
    if not atoms:
        return "This head has no atoms: it always answers with its intercept."
    if len(atoms) == 1:
        return "This head is a single atom."
    few = heaviest(atoms)
    some = "the heaviest one carries" if few == 1 else f"the {few} heaviest carry"
    return f"This head is {fmt.count(len(atoms))} atoms; {some} 90\u202f% of their weight."


def _what(head: Mapping[str, Any]) -> str:
    parts = [str(part) for part in head.get("parts") or []]
    outputs = head.get("outputs") or []
    kind = "class" if head.get("classes") else "output"
    many = f"{fmt.count(len(outputs))} {kind}{'' if len(outputs) == 1 else 'es' if kind == 'class' else 's'}"
    said = f"It is {' + '.join(parts)}, for {many}." if parts else ""
    if head.get("backbone"):
        said += f" Its tokens come from the {short_name(str(head['backbone']))} backbone."
    return said.strip()


def _facts(head: Mapping[str, Any], atoms: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    facts = [{"value": fmt.count(len(atoms)), "what": f"atom{'' if len(atoms) == 1 else 's'}"}]
    gates = {(a["part"], a["gate"], a["group"]) for a in atoms if a.get("gate") is not None}
    if gates:
        facts.append({"value": fmt.count(len(gates)), "what": f"gate{'' if len(gates) == 1 else 's'} with atoms"})
    if head.get("parameters") is not None:
        facts.append({"value": fmt.count(head["parameters"]), "what": "parameters"})
    gap = fmt.finite((head.get("certificate") or {}).get("relative_gap"))
    if gap is not None:
        what = "from the best possible training objective, proved"
        facts.append({"value": f"≤ {fmt.percent_at_most(gap)}", "what": what})
    return [{"sure": "", **fact} for fact in facts]
