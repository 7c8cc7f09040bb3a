"""From tokens, targets and parts to a problem, and from a solution to a head."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contracts import Loss, TokenSource
from ..errors import InputError
from ..solvers import Factors, Problem, Solution, Solver, check_solver, solver_of
from ..tokens import num_views, view_rows
from ..version import __version__
from .condense import condense
from .conditioning import Conditioner
from .facts import TokenFacts, Training
from .fitted_part import FittedPart
from .head import Head
from .parts import PartSpec, output_rows
from .reading import Reading

__all__ = ["Prepared", "build_problem", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """A problem on the training rows, ready for any beta."""

    source: TokenSource
    rows: np.ndarray
    weights: np.ndarray | None
    parts: tuple[FittedPart, ...]
    problem: Problem
    solver: Solver
    reading: Reading

    def outputs(self, factors: Factors, rows: np.ndarray) -> Tensor:
        """Outputs of factors on other rows of the same source, in float64, on the processor."""
        return self.on(rows)(factors)

    def on(self, rows: np.ndarray) -> Callable[[Factors], Tensor]:
        """`outputs` for several factors: the tokens of the rows are condensed once."""
        # for outputs alone: its loss is that of the training rows
        problem = replace(self.problem, passes=condense(self.source, rows, self.parts, self.reading))
        return lambda factors: problem.outputs(factors.to(torch.float64, problem.device)).cpu()

    def head(self, solution: Solution, classes: Sequence[Any] | None = None) -> Head:
        """The head of a solution, on the processor, its certificate filled with what it is about."""
        head = Head(
            self.parts,
            solution.factors.to(torch.float64, torch.device("cpu")),
            classes,
            TokenFacts.of(self.source),
            None,
            Training(self.rows, self.weights),
            self.problem.loss.state(),
            self.problem.fit_intercept,
        )
        context = {**self.context(), "head": head.fingerprint}
        head.certificate = replace(solution.certificate, num_samples=len(self.rows), context=context)
        return head

    def context(self) -> dict[str, Any]:
        """What a certificate is about."""
        return {
            "tokens": self.source.fingerprint,
            "rows": hashlib.sha256(np.ascontiguousarray(self.rows, dtype=np.int64).tobytes()).hexdigest(),
            "views": num_views(self.source),
            "parts": [p.spec.to_dict() for p in self.parts],
            "gates": [p.describe_gates() for p in self.parts],
            "loss": self.problem.loss.state(),
            "versions": {"headwise": __version__, "torch": torch.__version__, "python": platform.python_version()},
        }


def build_problem(
    source: TokenSource,
    rows: np.ndarray,
    loss: Loss,
    parts: Sequence[FittedPart],
    fit_intercept: bool,
    reading: Reading | None = None,
) -> Problem:
    """The convex problem of some fitted parts."""
    reading = reading or Reading()
    solver_parts = [found for part in parts for found in part.parts()]
    passes = condense(source, rows, parts, reading)
    return Problem(solver_parts, passes, loss, fit_intercept and loss.has_intercept, reading.device)


def prepare(
    source: TokenSource,
    rows: np.ndarray,
    loss: Loss,
    specs: Sequence[PartSpec],
    conditioner: Conditioner | None,
    weights: np.ndarray | None = None,
    fit_intercept: bool = True,
    solver: str = "auto",
    max_rounds: int = 60,
    reading: Reading | None = None,
) -> Prepared:
    """Fit the coordinates and gates on the training rows and condense their tokens.

    Where the source has several views, the loss takes them all. Coordinates and gates are those of view 0, the samples
    as they are, so that a beta means the same with and without views; so are the outputs on held-out rows.

    Parameters
    ----------
    source : TokenSource
    rows : ndarray of int
        Training samples.
    loss : Loss
        Bound to the targets and weights of the rows, with the views of the source, on the device of ``reading``.
    specs : sequence of PartSpec
    conditioner : Conditioner or None
        None fits in raw token coordinates without the constant.
    weights : ndarray, optional
        Sample weights of the rows, or those of their tokens where these have labels; a sample then counts for the
        coordinates as its heaviest token does.
    fit_intercept : bool
    solver, max_rounds
        As in `headwise.solvers.solver_of`.
    reading : Reading, optional
        Within which memory tokens are read, where everything is computed, and who is told.
    """
    check_solver(solver, loss)
    views, each = num_views(source), output_rows(specs, source)
    if len(rows) * views * (each or 1) != loss.num_samples:
        tokens = "" if each is None else f" and {each} tokens"
        raise InputError(f"{len(rows)} samples of {views} view(s){tokens} but {loss.num_samples} labels")
    tensor_weights = None if weights is None else torch.from_numpy(weights)
    if tensor_weights is not None and tensor_weights.ndim == 2:
        tensor_weights = tensor_weights.amax(1)
    reading = reading or Reading()
    parts = tuple(
        FittedPart.fit(spec, source, rows, conditioner, loss.num_outputs, tensor_weights, reading) for spec in specs
    )
    problem = build_problem(*view_rows(source, rows, views), loss, parts, fit_intercept, reading)
    return Prepared(source, rows, weights, parts, problem, solver_of(problem, solver, max_rounds), reading)
