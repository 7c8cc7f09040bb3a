"""A ReLU head beside the gated head that it is made from: both objectives and both scores."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..contracts import Progress
from ..errors import InputError
from ..heads import relu
from ..heads.baselines import score
from ..heads.compare import HeadResult, Splits
from ..tokens import TokenStore

__all__ = ["relu_facts"]


def relu_facts(
    gated: HeadResult, store: TokenStore, splits: Splits, names: list[str], path: Path, progress: Progress
) -> dict[str, Any]:
    """What the report tells of the ReLU head of a gated one, saved in ``path``; why there is none, where there is none.

    Parameters
    ----------
    gated : HeadResult
        A certified head with gates.
    store : TokenStore
        The tokens that it was fitted on.
    splits : Splits
    names : list of str
        Names of the classes.
    path : Path
        Folder for the ReLU head.
    progress : callable
        See `headwise.contracts.Progress`.

    Returns
    -------
    dict
        JSON: under ``"refused"`` the reason why there is no ReLU head, or None.
    """
    assert gated.head is not None and gated.head.certificate is not None
    told = {
        "gated": gated.name,
        "gated_objective": gated.head.certificate.primal,
        "gated_relative_gap": gated.relative_gap,
        "gated_atoms": gated.rank,
        "gated_scores": {part: asdict(found) for part, found in gated.scores.items()},
        "refused": None,
    }
    began = time.perf_counter()
    try:
        found = relu(gated.head, store, progress=progress)
    except InputError as error:
        return {**told, "refused": str(error)}
    found.module.class_names = list(names)
    found.save_pretrained(path, overwrite=True)
    scores = {}
    for part in ("val", "test"):
        outputs = found.module.outputs(store, splits.rows[part])
        scores[part] = asdict(score(found.module.link(outputs).numpy(), splits.targets[part]))
    return {
        **told,
        "objective": found.objective,
        "ratio": found.ratio,
        "atoms": found.module.rank,
        "scores": scores,
        "seconds": time.perf_counter() - began,
    }
