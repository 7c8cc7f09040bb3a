"""The second solver: accelerated proximal gradient on whole matrices Z.

It shares nothing with the factored solver but the problem and the certificate, so that each can check the other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..contracts import Progress
from .certificate import best_scale, centre_intercept, dual_point
from .fista import Iterate, Numbers, Point, dual_terms, minimise, stacked
from .problem import Factors, Problem
from .solution import Solution

__all__ = ["solve_proximal"]


class _Samples:
    """The loss over all samples; the image is the outputs ``(n, c)``."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        # Left at 1, the intercept would crawl at the step that features far larger than 1 allow. A third of their size,
        # since the direction that decides the step holds a share of their square only.
        square = 0.0
        for _, stats in problem.passes.chunks(torch.float64):
            found = (part.block.mean_square(s) for part, s in zip(problem.parts, stats, strict=True))
            square += sum(float(f.sum()) for f in found)
        total = torch.full((), square, dtype=torch.float64, device=problem.device)
        problem.passes.processes.add(total)
        self.unit = (float(total) / problem.passes.num_samples) ** 0.5 / 3 or 1.0

    def image(self, iterate: Iterate) -> Tensor:
        # the few atoms that thresholding leaves cost far less than one atom for each row of Z
        return self.problem.outputs(iterate.factors)

    def gradient(self, image: Tensor) -> Numbers:
        theta = self.problem.loss.gradient(image)
        free = self.unit * theta.sum(0) if self.problem.fit_intercept else torch.zeros_like(theta[0])
        return [*stacked(self.problem, self.problem.adjoint(theta)), free]

    def excess(self, new: Tensor, old: Tensor) -> float:
        loss, move = self.problem.loss, new - old
        before, slope = float(loss.value(old)), loss.gradient(old)
        found = 2 * (float(loss.value(new)) - before - float((slope * move).sum()))
        if found > 1e-8 * abs(before):
            return found
        # rounding would decide: on short moves the change of the gradient says the same with more digits
        return float(((loss.gradient(new) - slope) * move).sum())

    def look(self, point: Point, beta: float) -> tuple[float, float]:
        problem, outputs = self.problem, point.image
        if problem.fit_intercept:
            outputs = outputs + centre_intercept(problem, outputs)
        primal = float(problem.loss.value(outputs) + beta * problem.penalty(point.iterate.factors))
        theta = dual_point(problem, outputs)
        bound, ridge = dual_terms(problem, stacked(problem, problem.adjoint(theta)))
        return primal, primal - best_scale(problem, theta, bound, ridge, beta)

    def finished(self, point: Point) -> Factors:
        return point.iterate.factors


def solve_proximal(
    problem: Problem,
    beta: float,
    *,
    tol: float = 1e-3,
    start: Factors | None = None,
    max_iterations: int = 5000,
    check_every: int = 25,
    progress: Progress | None = None,
) -> Solution:
    """Minimise ``L + beta sum penalties`` over whole matrices, to a certified relative gap.

    For small and medium problems, and to check `solve`: it has no factors, so no saddle points and no choice of atoms.

    Parameters
    ----------
    problem : Problem
    beta : float
        Strength of the penalty.
    tol : float
        Relative gap at which the fit is done.
    start : Factors, optional
        Warm start; none by default (Z = 0, best constant output).
    max_iterations : int
        Most proximal steps.
    check_every : int
        Steps between two looks at the gap.
    progress : callable, optional
        Told ``("fit", steps, max_iterations)`` at each look.

    Returns
    -------
    Solution

    Raises
    ------
    InputError
        Z of some part has more than `MATRIX_LIMIT` numbers.

    Notes
    -----
    FISTA with backtracking (Beck and Teboulle, "A Fast Iterative Shrinkage-Thresholding Algorithm", SIAM Journal on
    Imaging Sciences 2009), restarted where the momentum points uphill (O'Donoghue and Candès, "Adaptive Restart for
    Accelerated Gradient Schemes", Foundations of Computational Mathematics 2015).

    Examples
    --------
    >>> import torch
    >>> from headwise.blocks.linear import Linear
    >>> from headwise.contracts import TokenShape
    >>> from headwise.losses.multinomial import Multinomial
    >>> from headwise.penalties.nuclear import Nuclear
    >>> from headwise.solvers import HeldPasses, Part, Problem
    >>> tokens, pooling = torch.eye(4, dtype=torch.float64)[:, None], torch.ones(4, 1, dtype=torch.float64)
    >>> block = Linear(TokenShape(1, 4))
    >>> passes = HeldPasses([block.statistics(tokens, pooling)])
    >>> problem = Problem([Part(block, Nuclear())], passes, Multinomial(torch.tensor([0, 0, 1, 1]), 2))
    >>> solve_proximal(problem, 0.1).status.name
    'CERTIFIED'
    """
    return minimise(
        _Samples(problem),
        beta,
        tol=tol,
        start=start,
        max_iterations=max_iterations,
        check_every=check_every,
        progress=progress,
    )
