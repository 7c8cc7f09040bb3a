"""The default solver: grow atoms where the certificate says that they are missing, descend on the factors, prove."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from ..contracts import Progress
from .bounds import leading_pairs
from .certificate import Certificate, best_scale, centre_intercept, certify, dual_point
from .descent import FactorDescent
from .merged import Merged
from .problem import Factors, Problem
from .ridge import solve_ridge
from .solution import Round, Solution, Status

__all__ = ["solve"]

FLOAT32_TOL = 1e-5
"""Least tolerance at which the descent begins in float32."""
FLOAT32_GAP = 1e-4
"""Relative gap below which steps are made in float64: those of float32 lose their digits there."""


def solve(
    problem: Problem,
    beta: float,
    *,
    tol: float = 1e-3,
    start: Factors | None = None,
    max_rounds: int = 60,
    iterations: int = 25,
    new_atoms: int = 8,
    dtype: torch.dtype | None = None,
    progress: Progress | None = None,
) -> Solution:
    """Minimise ``L + beta sum penalties`` to a certified relative gap.

    Parameters
    ----------
    problem : Problem
    beta : float
        Strength of the penalty.
    tol : float
        Relative gap at which the fit is done.
    start : Factors, optional
        Warm start; none by default (no atoms, best constant output).
    max_rounds, iterations : int
        Rounds of (new atoms, descent, proof), and quasi-Newton iterations in each; more where rounds gain little.
    new_atoms : int
        Most atoms added to a part in one round.
    dtype : torch.dtype, optional
        Precision of the first descent; by default float32 where ``tol >= 1e-5``. It goes on in float64 where float32
        stalls, or may hide what is left (a gap below 1e-4 that is not small enough). Certificates are always float64.
    progress : callable, optional
        Told ``("fit", rounds, max_rounds)``.

    Returns
    -------
    Solution

    Notes
    -----
    The leading singular pairs of A*(theta) with ``sigma > beta`` are the best new atoms (Frank-Wolfe direction);
    atoms are kept balanced by the singular value decomposition of Z, which also removes those that vanished.
    """
    if not any(part.factored for part in problem.parts):
        return solve_ridge(problem, beta, tol=tol, start=start, max_rounds=max_rounds, dtype=dtype, progress=progress)
    began = time.perf_counter()
    work = dtype or (torch.float32 if tol >= FLOAT32_TOL else torch.float64)
    factors = (start.clone() if start is not None else problem.zero()).to(work, problem.device)
    history: list[Round] = []
    proved: tuple[Certificate, Factors] | None = None
    status, done, stalls = Status.ROUND_LIMIT, 0, 0
    descent: FactorDescent | None = None
    care, last_gap = 0.05, float("inf")  # a round ends when it gains less than this share of the tolerance
    try:
        for number in range(max_rounds + 1):
            if progress:
                progress("fit", number, max_rounds)
            outputs = problem.outputs(factors)
            primal, gap, outputs, candidates = _look(problem, factors, outputs, beta, new_atoms, tol, stalls > 0)
            atoms = sum(len(u) for part, u in zip(problem.parts, factors.u, strict=True) if part.factored)
            history.append(
                Round(time.perf_counter() - began, done, primal, gap, atoms, str(factors.intercept.dtype)[6:])
            )
            if gap <= 0.98 * tol * problem.size(primal) or number == max_rounds:
                proved = certify(problem, factors, beta, epsilon=_epsilon(tol))
                if proved[0].relative_gap <= tol:
                    status = Status.CERTIFIED
                    break
                if number == max_rounds:
                    break
                factors = factors.to(torch.float64)  # the looser look was float32; go on in float64
            elif gap <= FLOAT32_GAP * problem.size(primal):
                factors = factors.to(torch.float64)
            if gap > last_gap / 2:
                care = max(care / 4, 1e-5)
                iterations = min(2 * iterations, 400)  # each round forgets the curvature that it learnt
            before = primal
            added = any(found is not None and found[1].numel() for found in candidates)
            factors = _add(problem, factors, outputs, candidates, beta)
            problem.passes.processes.agree(*factors.u, *factors.v, factors.intercept)
            if descent is None or added or descent.dtype != factors.intercept.dtype:
                merged = Merged.of(problem, factors)
                descent = FactorDescent(merged.problem, beta, merged.factors)
            earlier, quiet = descent.iterations, 0
            for _ in range(iterations):
                decrease = descent.step()
                quiet = quiet + 1 if decrease < care * tol * abs(primal) / iterations else 0
                if quiet >= 5:
                    break
            done += descent.iterations - earlier
            factors = problem.balanced(merged.split(descent.factors))
            single = factors.intercept.dtype == torch.float32
            still = before - descent.value <= 1e-12 * abs(primal) or (single and descent.iterations == earlier)
            if still and gap > last_gap * 0.9:
                stalls += 1
                if single:
                    factors = factors.to(torch.float64)
                    stalls = 0
                elif stalls >= 4:
                    status = Status.STALLED
                    break
            else:
                stalls = 0
            last_gap = gap
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    if proved is None or status is not Status.CERTIFIED:
        proved = certify(problem, problem.balanced(factors), beta, epsilon=_epsilon(tol))
        if proved[0].relative_gap <= tol:
            status = Status.CERTIFIED
    if progress:
        progress("fit", max_rounds, max_rounds)
    certificate, final = proved
    rank = sum(len(u) for part, u in zip(problem.parts, final.u, strict=True) if part.factored)
    return Solution(final, certificate, history, status, rank, time.perf_counter() - began)


def _epsilon(tol: float) -> float:
    """Looseness of a probabilistic bound that costs at most about a quarter of the tolerance."""
    return min(0.01, tol / 2)


Candidates = list[tuple[Tensor, Tensor, Tensor] | None]


def _look(
    problem: Problem, factors: Factors, outputs: Tensor, beta: float, count: int, tol: float, crowded: bool = False
) -> tuple[float, float, Tensor, Candidates]:
    """Objective, estimated gap, outputs with b at its best and the best new atoms, in the working precision. No proof.

    A matrix that has full rank already needs no atoms, and its descent goes on with the curvature that it has learnt;
    ``crowded`` gives it some all the same.
    """
    dtype, outputs = factors.intercept.dtype, outputs.double()
    if problem.fit_intercept:
        shift = centre_intercept(problem, outputs, 1e-4 * tol)
        factors.intercept = factors.intercept + shift.to(dtype)  # a descent that goes on keeps its own
        outputs = outputs + shift
    primal = float(problem.loss.value(outputs) + beta * problem.penalty(factors))
    theta = dual_point(problem, outputs)
    adjoint = problem.adjoint(theta.to(dtype))
    bound, ridge = 0.0, 0.0
    candidates: Candidates = [None] * len(problem.parts)
    for group in problem.alike:
        matrices = [adjoint[index] for index in group]
        if not problem.parts[group[0]].factored:
            ridge += sum(float(matrix.double().square().sum()) for matrix in matrices)
            continue
        pairs = leading_pairs(matrices, count, [factors.v[index].flatten(1).T for index in group])
        sizes = torch.stack([sigma for _, sigma, _ in pairs])
        bound = max(bound, float(sizes.max()))
        good = (sizes > beta).sum(1).tolist()  # the largest come first
        for index, (u, sigma, v), few in zip(group, pairs, good, strict=True):
            if few and (crowded or len(factors.v[index]) < min(matrices[0].shape)):
                candidates[index] = u[:, :few], sigma[:few], v[:, :few]
    return primal, primal - best_scale(problem, theta, bound, ridge, beta), outputs, candidates


def _add(problem: Problem, factors: Factors, outputs: Tensor, candidates: Candidates, beta: float) -> Factors:
    """Factors, with such outputs, and the candidate atoms added at the scale that lowers the objective most."""
    dtype = factors.intercept.dtype
    us, vs = list(factors.u), list(factors.v)
    c = problem.loss.num_outputs
    fresh = problem.zero(dtype)
    fresh.intercept = torch.zeros_like(factors.intercept)
    weights = 0.0
    for index, (part, found) in enumerate(zip(problem.parts, candidates, strict=True)):
        if found is None or not found[1].numel():
            fresh.v[index] = torch.zeros_like(fresh.v[index])
            continue
        u, sigma, v = found
        root = ((sigma - beta) / (sigma[0] - beta)).sqrt()
        weights += float(root.square().sum())
        fresh.u[index] = (u * root).T.to(dtype).reshape(-1, *part.u_shape).contiguous()
        fresh.v[index] = (-(v * root)).T.to(dtype).reshape(-1, part.k, part.outputs(c)).contiguous()
    if not weights:
        return factors
    change = problem.outputs(fresh).double()
    # Newton on the one scale tau of Z += tau * fresh; where the loss is linear a step is as long as the bounds allow
    tau, unit = 0.0, 1 / max(float(change.abs().max()), 1e-30)
    for _ in range(20):
        here = outputs + tau * change
        slope = float((problem.loss.gradient(here) * change).sum()) + beta * weights
        curve = float((problem.loss.hessian_product(here, change) * change).sum())
        before, tau = tau, min(max(tau - slope / max(curve, 1e-30), tau / 4), 4 * tau + unit)
        if abs(tau - before) <= 1e-3 * max(tau, 1e-30):
            break
    scale = max(tau, 1e-12) ** 0.5
    for index, part in enumerate(problem.parts):
        if part.factored:
            us[index] = torch.cat([us[index], scale * fresh.u[index]])
            vs[index] = torch.cat([vs[index], scale * fresh.v[index]])
    return Factors(us, vs, factors.intercept)
