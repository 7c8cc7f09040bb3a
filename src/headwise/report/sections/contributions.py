"""Samples with what each token and each atom adds to the output that is highest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import fmt
from ..check import Arrays, Study, map_of, photo_of
from ..figures.overlay import cards, contribution_card

__all__ = ["view"]


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    samples = study.get("samples") or []
    if not samples:
        return None
    classes = bool((study.get("head") or {}).get("classes"))
    mapped = any(s.get("map_key") for s in samples)
    return {
        "cards": cards([_card(s, arrays, classes) for s in samples], "samples"),
        "mapped": mapped,
        "pictures": any(s.get("image_key") for s in samples),
        "what": "the predicted class" if classes else "the highest output",
        "reading": _reading(samples, mapped),
    }


def _card(sample: Mapping[str, Any], arrays: Arrays, classes: bool) -> Any:
    photo = photo_of(arrays, sample["image_key"]) if sample.get("image_key") else None
    values = map_of(arrays, sample["map_key"]) if sample.get("map_key") else None
    mean = fmt.percent(sample["mean"]) if classes else fmt.significant(sample["mean"], 4)
    output = f"“{sample['output']}”, {mean}" if classes else f"{sample['output']}: {mean}"
    return contribution_card(photo, values, str(sample["name"]), output, _lines(sample))


def _lines(sample: Mapping[str, Any]) -> list[tuple[str, str]]:
    shares = [("intercept", sample.get("intercept")), ("prefix tokens", sample.get("prefix"))]
    shares.append(("patch tokens", sample.get("patch")))
    lines = [(name, fmt.signed(value)) for name, value in shares if fmt.finite(value) is not None]
    lines.append(("output", fmt.signed(sample.get("value"))))
    atoms = ", ".join(f"{j + 1} ({fmt.signed(value)})" for j, value in sample.get("atoms") or [])
    return [*lines, ("most from atoms", atoms)] if atoms else lines


def _reading(samples: list[Mapping[str, Any]], mapped: bool) -> str:
    if not mapped:
        return "This head reads only prefix tokens, which have no place in the picture: there is nothing to map."
    prefix = [abs(float(s["prefix"])) for s in samples if fmt.finite(s.get("prefix")) is not None]
    if not prefix or not any(prefix):
        return ""
    patch = [abs(float(s["patch"])) for s in samples]
    share = sum(prefix) / ((sum(prefix) + sum(patch)) or 1.0)
    return f"Prefix tokens have no place in the picture; here they add {fmt.percent(share, 0)} of what tokens add."
