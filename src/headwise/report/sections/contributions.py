"""Samples with what each token and each atom adds to the output that is highest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import fmt
from ..called import called, of_texts
from ..check import Arrays, Study, map_of, photo_of
from ..figures.overlay import cards, contribution_card

__all__ = ["view"]


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    samples = study.get("samples") or []
    if not samples:
        return None
    classes = bool((study.get("head") or {}).get("classes"))
    quoted = of_texts(study)
    mapped = any(s.get("map_key") or _coloured(s) for s in samples)
    return {
        "cards": cards([_card(study, s, arrays, classes) for s in samples], "texts" if quoted else "samples"),
        "mapped": mapped,
        "pictures": any(s.get("image_key") for s in samples),
        "what": "the predicted class" if classes else "the highest output",
        "reading": called(study, _reading(samples, mapped, quoted)),
    }


def _coloured(sample: Mapping[str, Any]) -> bool:
    return any(fmt.finite(value) is not None for _, value in sample.get("pieces") or [])


def _card(study: Study, sample: Mapping[str, Any], arrays: Arrays, classes: bool) -> Any:
    photo = photo_of(arrays, sample["image_key"]) if sample.get("image_key") else None
    values = map_of(arrays, sample["map_key"]) if sample.get("map_key") else None
    mean = fmt.percent(sample["mean"]) if classes else fmt.significant(sample["mean"], 4)
    output = f"“{sample['output']}”, {mean}" if classes else f"{sample['output']}: {mean}"
    moved = [(j + 1, fmt.signed(value)) for j, value in sample.get("atoms") or [] if abs(value) >= 0.005]
    atoms = ", ".join(f"{number} ({value})" for number, value in moved)
    note = f"most from atoms {atoms}" if atoms else ""
    pieces = [(str(text), fmt.finite(value)) for text, value in sample.get("pieces") or []]
    return contribution_card(photo, values, str(sample["name"]), output, _lines(study, sample), note, pieces)


def _lines(study: Study, sample: Mapping[str, Any]) -> list[tuple[str, str]]:
    shares = [("intercept", sample.get("intercept")), ("prefix tokens", sample.get("prefix"))]
    shares.append((called(study, "patch tokens"), sample.get("patch")))
    shares.append(("output", sample.get("value")))
    return [(name, fmt.signed(value)) for name, value in shares if fmt.finite(value) is not None]


def _reading(samples: list[Mapping[str, Any]], mapped: bool, quoted: bool) -> str:
    if not mapped:
        if any(fmt.finite(s.get("prefix")) and fmt.finite(s.get("patch")) is not None for s in samples):
            nothing = "no word is coloured" if quoted else "there is nothing to map"
            return f"Patch tokens add next to nothing to these outputs, so {nothing}."
        if quoted:
            return (
                "This head reads prefix tokens alone. What the words say has reached these inside the backbone: no "
                "word has a share of its own, and none is coloured."
            )
        return "What this head reads has no place in a picture (prefix tokens, or a single token): nothing is mapped."
    prefix = [abs(float(s["prefix"])) for s in samples if fmt.finite(s.get("prefix")) is not None]
    if not prefix or not any(prefix):
        return ""
    patch = [abs(fmt.finite(s.get("patch")) or 0.0) for s in samples]
    share = sum(prefix) / ((sum(prefix) + sum(patch)) or 1.0)
    place = "text" if quoted else "picture"
    return f"Prefix tokens have no place in the {place}; here they add {fmt.percent(share, 0)} of what tokens add."
