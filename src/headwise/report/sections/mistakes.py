"""Confusion matrix of the head to use on the test split."""

from __future__ import annotations

from typing import Any

from .. import fmt
from ..answer import used_head
from ..check import Arrays, Study
from ..colours import sequential
from ..figures.matrix import matrix_table

__all__ = ["view"]

MOST_CLASSES = 30


def view(study: Study, arrays: Arrays) -> dict[str, Any] | None:
    matrix = (study.get("confusions") or {}).get("matrix")
    if not matrix:
        return None
    names = [str(c) for c in (study.get("data") or {}).get("classes") or range(len(matrix))]
    total = sum(map(sum, matrix))
    pairs = [(n, t, p) for t, line in enumerate(matrix) for p, n in enumerate(line) if t != p and n]
    pairs.sort(key=lambda pair: -pair[0])
    wrong = sum(n for n, _, _ in pairs)
    head = used_head(study)
    whose = f"By “{head['name']}”, " if head else ""
    reading = f"{whose}{fmt.count(wrong)} of {fmt.count(total)} test samples are taken for another class."
    if pairs:
        n, t, p = pairs[0]
        reading += (
            f" Most often “{names[t]}” is taken for “{names[p]}” ({fmt.count(n)} {'time' if n == 1 else 'times'})."
        )
        recalls = [(line[i] / sum(line), i) for i, line in enumerate(matrix) if sum(line)]
        worst, i = min(recalls)
        reading += (
            f" The class that is recognised least is “{names[i]}”, {fmt.percent(worst)} of its "
            f"{fmt.count(sum(matrix[i]))} samples."
        )
    table = None
    if len(matrix) <= MOST_CLASSES:
        largest = max(1, *(n for line in matrix for n in line))
        # The square root keeps single mistakes visible beside a diagonal of hundreds.
        table = matrix_table(
            [[float(n) for n in line] for line in matrix],
            names,
            names,
            "Confusion matrix: rows are true classes, columns predicted classes, cells numbers of test samples",
            lambda v: "·" if not v else fmt.count(v),
            lambda v, theme: sequential((v / largest) ** 0.5, theme),
            corner="true ╲ predicted",
            class_="numbers",
        )
    listed = [] if table is not None else [(names[t], names[p], fmt.count(n)) for n, t, p in pairs[:15]]
    return {"table": table, "pairs": listed, "reading": reading}
