"""The atoms of a head, from the heaviest to the lightest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import fmt
from ..check import Arrays, Study

__all__ = ["view"]

OPEN_ROWS = 20
LIGHT = 0.001  # share of the weight of all atoms below which an atom is folded away


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    atoms = study.get("atoms") or []
    if not atoms:
        return None
    parts = (study.get("head") or {}).get("parts") or []
    rows = [_row(number, atom, atoms[0]["weight"]) for number, atom in enumerate(atoms, start=1)]
    total = sum(float(a["weight"]) for a in atoms)
    shown = min(OPEN_ROWS, sum(float(a["weight"]) >= LIGHT * total for a in atoms))
    return {
        "rows": rows[:shown],
        "others": rows[shown:],
        "shares": any(fmt.finite(a.get("share")) is not None for a in atoms),
        "many_parts": len(parts) > 1,
        "gates": any(a.get("gate") is not None or a.get("group") is not None for a in atoms),
        "part": str(atoms[0].get("block") or ""),
        "reading": _reading(atoms),
    }


def _row(number: int, atom: Mapping[str, Any], largest: float) -> dict[str, Any]:
    gate = "" if atom.get("gate") is None else str(atom["gate"])
    if atom.get("group") is not None:
        gate = f"group {atom['group']}" + (f", {gate}" if gate else "")
    signed = bool(atom.get("signed"))
    return {
        "number": number,
        "weight": fmt.significant(atom["weight"], 3),
        "width": round(100 * float(atom["weight"]) / float(largest), 2),
        "share": _share(atom.get("share")),
        "part": str(atom.get("block") or ""),
        "gate": gate or fmt.MISSING,
        "strongest": [
            {
                "name": str(name),
                "value": (fmt.MINUS if value < 0 else "+" if signed else "") + fmt.significant(abs(value), 2),
            }
            for name, value in atom.get("strongest") or []
        ],
    }


def _share(share: Any) -> str:
    number = fmt.finite(share)
    return f"< 0.1{fmt.THIN}%" if number is not None and number < 0.0005 else fmt.percent(number)


def _reading(atoms: list[Mapping[str, Any]]) -> str:
    said = "Each output is the intercept plus what the atoms add to it, sample by sample. "
    kinds = {bool(a.get("signed")) for a in atoms}
    if True in kinds:
        said += (
            "A number with a sign says how an atom moves an output when its pattern is there; all signs of one atom "
            "may be turned around together. "
        )
    if False in kinds:
        said += (
            "A number without a sign says how strongly an output reads an atom: the atom has several inner features, "
            "and which way it moves the output depends on the sample. "
        )
    if len({a.get("share") is None for a in atoms}) == 2:
        said += (
            "A dash for the share: the atoms of a ridge part are the singular triples of its matrix, which the nuclear "
            "norm does not count. "
        )
    return said.strip()
