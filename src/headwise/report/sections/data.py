"""What the data are, and how they were split."""

from __future__ import annotations

from typing import Any

from .. import fmt
from ..check import Arrays, Study

__all__ = ["view"]

OPEN_ROWS = 12


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    data = study.get("data")
    if not data:
        return None
    classes = [str(c) for c in data.get("classes") or []]
    counts = {split: list(n) for split, n in (data.get("counts") or {}).items() if n is not None}
    splits = [s for s in ("train", "val", "test") if s in counts] + [
        s for s in counts if s not in ("train", "val", "test")
    ]
    rows = [(name, [_at(counts[s], i) for s in splits]) for i, name in enumerate(classes)]
    skipped = [str(s) for s in data.get("skipped") or []]
    return {
        "name": str(data.get("name") or ""),
        "description": str(data.get("description") or ""),
        "facts": [(k, v) for k, v in _facts(study, data) if v],
        "splits": [{"val": "validation"}.get(s, s) for s in splits],
        "rows": [(name, [fmt.count(n) for n in line]) for name, line in rows],
        "totals": [fmt.count(sum(counts[s])) for s in splits],
        "collapsed": len(rows) > OPEN_ROWS,
        "reading": _reading(counts, splits, classes),
        "skipped": skipped,
    }


def _at(values: list[int], index: int) -> int | None:
    return values[index] if index < len(values) else None


def _facts(study: Study, data: Any) -> list[tuple[str, str]]:
    backbone = study.get("backbone") or {}
    grid = backbone.get("grid")
    facts = [
        ("samples", fmt.count(data.get("num_samples"))),
        ("tokens per sample", ("at most " if data.get("padded") else "") + fmt.count(data.get("num_tokens"))),
        ("texts that were cut", fmt.count(data["cut"]) if data.get("cut") else ""),
        ("numbers per token", fmt.count(data.get("token_width"))),
        ("classes", fmt.count(len(data.get("classes") or []))),
    ]
    if backbone:
        facts += [
            ("backbone", str(backbone.get("name") or "")),
            (
                "its layers × attention heads",
                f"{fmt.count(backbone.get('depth'))} × {fmt.count(backbone.get('num_heads'))}",
            ),
            ("its width", fmt.count(backbone.get("width"))),
            ("token grid", f"{grid[0]} × {grid[1]} patches" if grid else ""),
            ("prefix tokens", fmt.count(backbone.get("num_prefix"))),
            ("tokens from layer", _layer(backbone.get("layer"))),
            ("about the backbone", str(backbone.get("description") or "")),
        ]
    return facts


def _layer(layer: Any) -> str:
    if layer is None:
        return ""
    return "the last" if layer == -1 else str(layer)


def _reading(counts: dict[str, list[int]], splits: list[str], classes: list[str]) -> str:
    total = sum(sum(counts[s]) for s in splits)
    if not total:
        return ""
    shares = ", ".join(f"{fmt.percent(sum(counts[s]) / total, 0)} {'validation' if s == 'val' else s}" for s in splits)
    said = f"The samples are split into {shares}. "
    train = counts.get("train") or []
    if len(train) > 1 and len(train) == len(classes) and min(train) > 0:
        most, least = max(range(len(train)), key=train.__getitem__), min(range(len(train)), key=train.__getitem__)
        ratio = train[most] / train[least]
        if ratio < 1.5:
            said += "The classes are about equally frequent."
        else:
            said += (
                f"The most frequent class, “{classes[most]}”, has {fmt.significant(ratio, 2)} times as many "
                f"training samples as the rarest, “{classes[least]}”."
            )
    return said.strip()
