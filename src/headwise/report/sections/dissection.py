"""Layer x attention head map of weighted cosines, next to the chance band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import fmt
from ..check import Arrays, Study
from ..colours import diverging, sequential
from ..figures.matrix import matrix_table

__all__ = ["view"]

Matrix = Sequence[Sequence[float | None]]


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    dissection = study.get("dissection") or {}
    cosines = _matrix(dissection.get("weighted_cosine"))
    if not cosines:
        return None
    chance = fmt.finite(dissection.get("chance"))
    # The scale is symmetric about 0 and never finer than ±0.5, so that noise does not shine.
    reach = max([0.5, *(abs(v) for line in cosines for v in line if v is not None)])
    bands = _matrix(dissection.get("weighted_chance"))
    inside = _inside(cosines, bands, chance)
    rows, columns = _names(cosines)
    table = matrix_table(
        cosines,
        rows,
        columns,
        "Weighted cosine of each attention head; rows are layers, columns attention heads",
        fmt.signed,
        lambda v, theme: diverging(v / reach, theme),
        corner="layer ╲ head",
        marked=lambda i, j: inside[i][j],
    )
    return {
        "table": table,
        "reading": " ".join(
            filter(None, (_reading(cosines, chance, inside, bool(bands)), _about(dissection.get("about"))))
        ),
        "chance": None if chance is None else fmt.significant(chance, 2),
        "reach": fmt.significant(reach, 2),
        "ramp": {theme: ",".join(diverging(i / 4 - 1, theme) for i in range(9)) for theme in ("light", "dark")},
        "ranks": _ranks(_matrix(dissection.get("effective_rank"))),
        "check": _check(dissection.get("check")),
    }


def _matrix(values: Matrix | None) -> list[list[float | None]]:
    lines = [[fmt.finite(v) for v in line] for line in values or []]
    width = max((len(line) for line in lines), default=0)
    return [line + [None] * (width - len(line)) for line in lines] if width else []


def _names(values: Matrix) -> tuple[list[str], list[str]]:
    return [str(i) for i in range(len(values))], [str(i) for i in range(len(values[0]))]


def _inside(cosines: Matrix, bands: Matrix, chance: float | None) -> list[list[bool]]:
    """Which attention heads lie in their chance bands: each in its own where that is known."""

    def within(i: int, j: int) -> bool:
        value, band = cosines[i][j], bands[i][j] if bands else chance
        return value is not None and band is not None and abs(value) <= band

    return [[within(i, j) for j in range(len(line))] for i, line in enumerate(cosines)]


def _reading(cosines: Matrix, chance: float | None, inside: Sequence[Sequence[bool]], own: bool) -> str:
    means = [sum(known) / len(known) if (known := [v for v in line if v is not None]) else None for line in cosines]
    first, last = means[0], means[-1]
    said = ""
    if len(means) > 1 and first is not None and last is not None:
        said += (
            f"The mean weighted cosine is {fmt.signed(first)} in the first layer ({_kind(first, all(inside[0]))}) and "
            f"{fmt.signed(last)} in the last ({_kind(last, all(inside[-1]))}). "
        )
    flat = [(v, i, j) for i, line in enumerate(cosines) for j, v in enumerate(line) if v is not None]
    if flat:
        (high, i, j), (low, k, m) = max(flat), min(flat)
        said += f"Highest: layer {i}, head {j} ({fmt.signed(high)}); lowest: layer {k}, head {m} ({fmt.signed(low)}). "
        if chance is not None:
            each = "; each has its own, no wider than this" if own else ""
            said += (
                f"{sum(map(sum, inside))} of {len(flat)} attention heads lie in the chance band of "
                f"±{fmt.significant(chance, 2)} (hatched{each}): their cosine is "
                "no larger than that of unrelated weights."
            )
    return said.strip()


def _about(about: Sequence[str] | None) -> str:
    """What the modes leave out of the logits, as a sentence."""
    said = dict.fromkeys(text for text in about or () if text)
    return f"The modes are {', or '.join(said)}." if said else ""


def _kind(value: float, inside: bool) -> str:
    """A layer by its mean, and whether all of its attention heads lie in their chance bands."""
    if inside:
        return "within chance"
    if value < 0:
        return "tokens avoid their like"
    return "grouping: tokens look for tokens like themselves" if value >= 0.5 else "some grouping"


def _ranks(ranks: list[list[float | None]]) -> Any:
    known = [v for line in ranks for v in line if v is not None]
    if not known:
        return None
    largest = max(known) or 1.0
    return matrix_table(
        ranks,
        *_names(ranks),
        "Effective rank of each attention head's query–key matrix; rows are layers, columns attention heads",
        lambda v: fmt.significant(v),
        lambda v, theme: sequential(v / largest, theme),
        corner="layer ╲ head",
    )


def _check(check: Mapping[str, Any] | None) -> str:
    largest, bound = (fmt.finite((check or {}).get(key)) for key in ("largest_difference", "bound"))
    if largest is None or bound is None:
        return ""
    what = str(
        (check or {}).get("what")
        or "The logits rebuilt from the modes were compared with those that the backbone computes on the photographs."
    )
    verdict = "within" if largest <= bound else "which is not within"
    return (
        f"{what} Largest difference: {fmt.significant(largest, 2)}, {verdict} the allowed {fmt.significant(bound, 2)}."
    )
