"""A ReLU head beside the gated head that it is made from: whether there can be one, objectives and scores."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..contracts import Progress
from ..errors import InputError
from ..heads import Conditioner, relu
from ..heads.baselines import score
from ..heads.compare import GATES, HeadResult, Splits
from ..heads.facts import TokenFacts
from ..heads.fitted_part import FittedPart
from ..heads.parts import resolve_parts
from ..heads.relu import check_cones
from ..tokens import TokenStore

__all__ = ["GATED", "check_relu_size", "relu_facts"]

GATED = "mlp"
"""The head with gates of which a ReLU head is made."""


def check_relu_size(tokens: TokenFacts, num_samples: int, conditioner: Conditioner) -> None:
    """Refuse a ReLU head before anything is fitted, by the rule that `headwise.relu` has.

    Parameters
    ----------
    tokens : TokenFacts
    num_samples : int
        Training rows; each view is one.
    conditioner : Conditioner

    Raises
    ------
    InputError
        The cones of the gates would be too large.
    """
    for spec in resolve_parts(GATED, tokens, GATES[GATED]):
        try:
            check_cones(FittedPart.unfitted(spec, tokens, conditioner, 1), num_samples)
        except InputError as error:
            raise InputError(f"no ReLU head can be made of these tokens: {error}; or study without relu") from None


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
