"""From tokens, labels and parts to a problem, and from a solution to a head."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..blocks import BLOCKS
from ..contracts import TokenSource
from ..errors import InputError
from ..losses.multinomial import Multinomial
from ..penalties import PENALTIES
from ..solvers import HeldPasses, Part, Problem, Solution
from ..version import __version__
from .conditioning import Conditioner, FittedConditioner
from .head import Head, TokenFacts, Training
from .parts import PartSpec, part_tokens

__all__ = ["Prepared", "held_passes", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """A problem on the training rows, ready for any beta."""

    source: TokenSource
    rows: np.ndarray
    weights: np.ndarray | None
    specs: tuple[PartSpec, ...]
    conditioners: tuple[FittedConditioner, ...]
    problem: Problem

    def head(self, solution: Solution, classes: Sequence[Any]) -> Head:
        """The head of a solution, its certificate filled with what it is about."""
        certificate = replace(solution.certificate, context=context(self))
        loss = self.problem.loss.state()
        facts, training = TokenFacts.of(self.source), Training(self.rows, self.weights)
        return Head(
            self.specs,
            self.conditioners,
            solution.factors,
            classes,
            facts,
            certificate,
            training,
            loss,
            self.problem.fit_intercept,
        )


def build_problem(
    source: TokenSource,
    rows: np.ndarray,
    targets: np.ndarray,
    num_classes: int,
    specs: Sequence[PartSpec],
    conditioners: Sequence[FittedConditioner],
    weights: np.ndarray | None,
    fit_intercept: bool,
) -> Problem:
    """The convex problem of some parts in fitted coordinates."""
    loss_weights = None if weights is None else torch.as_tensor(weights)
    loss = Multinomial(torch.as_tensor(targets, dtype=torch.int64), num_classes, loss_weights)
    parts = []
    for spec, conditioner in zip(specs, conditioners, strict=True):
        raw = source.width * (source.num_prefix if spec.tokens == "prefix" else 1)
        parts.append(Part(BLOCKS.get(spec.block)(), PENALTIES.get(spec.penalty)(), conditioner.width(raw)))
    return Problem(parts, held_passes(source, rows, specs, conditioners), loss, fit_intercept)


def prepare(
    source: TokenSource,
    rows: np.ndarray,
    targets: np.ndarray,
    num_classes: int,
    specs: tuple[PartSpec, ...],
    conditioner: Conditioner | None,
    weights: np.ndarray | None = None,
    fit_intercept: bool = True,
) -> Prepared:
    """Fit the conditioning on the training rows and condense their tokens.

    Parameters
    ----------
    source : TokenSource
    rows : ndarray of int
        Training samples.
    targets : ndarray of int
        Class of each row, 0 to ``num_classes - 1``.
    specs : tuple of PartSpec
    conditioner : Conditioner or None
        None fits in raw token coordinates without the constant.
    weights : ndarray, optional
        Sample weights of the rows.
    """
    if len(rows) != len(targets):
        raise InputError(f"{len(rows)} samples but {len(targets)} labels")
    tensor_weights = None if weights is None else torch.as_tensor(weights)
    fitted = []
    for spec in specs:
        if conditioner is None:
            fitted.append(FittedConditioner.identity())
            continue
        # a linear part has its own intercept and costs little: no constant, all components
        own = replace(conditioner, constant=False, n_components=None) if spec.block == "linear" else conditioner
        fitted.append(own.fit(source, rows, spec, BLOCKS.get(spec.block)(), tensor_weights))
    problem = build_problem(source, rows, targets, num_classes, specs, fitted, weights, fit_intercept)
    return Prepared(source, rows, weights, specs, tuple(fitted), problem)


def held_passes(
    source: TokenSource, rows: np.ndarray, specs: Sequence[PartSpec], conditioners: Sequence[FittedConditioner]
) -> HeldPasses:
    """Statistics of ``rows`` for every part, in float64, from one pass over the tokens."""
    stats: list[dict[str, Tensor]] = [{} for _ in specs]
    blocks = [BLOCKS.get(spec.block)() for spec in specs]
    start = 0
    for chunk, tokens in source.chunks(rows):
        for index, (spec, conditioner, block) in enumerate(zip(specs, conditioners, blocks, strict=True)):
            values, pooling = part_tokens(spec, replace(tokens, values=tokens.values.double()))
            found = block.statistics(conditioner(values, pooling), pooling)
            for name, value in found.items():
                if name not in stats[index]:
                    stats[index][name] = value.new_empty(len(rows), *value.shape[1:])
                stats[index][name][start : start + len(chunk)] = value
        start += len(chunk)
    return HeldPasses(stats)


def context(prepared: Prepared) -> dict[str, Any]:
    """What a certificate is about."""
    return {
        "tokens": prepared.source.fingerprint,
        "rows": hashlib.sha256(np.ascontiguousarray(prepared.rows, dtype=np.int64).tobytes()).hexdigest(),
        "conditioning": [c.fingerprint for c in prepared.conditioners],
        "parts": [s.to_dict() for s in prepared.specs],
        "gates": None,
        "loss": prepared.problem.loss.state(),
        "versions": {"headwise": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }
