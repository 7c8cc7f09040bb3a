"""cvxpy with a conic solver on the same problem written out densely; in a process of its own, so that it can be cut."""

from __future__ import annotations

import multiprocessing as mp
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from headwise.solvers import Problem

from ..measure import Moment, Setting
from .textbook import factors_of

__all__ = ["Conic"]


class Conic:
    """One nuclear-norm part with mean pooling and the multinomial loss. The seconds are the solver's own: compiling
    the problem, which cvxpy does in front of it, is not counted.
    """

    restarts = True

    def __init__(self, solver: str, **options: Any) -> None:
        said = ", ".join(f"{k} {v:g}" for k, v in options.items())
        self.name, self.solver, self.options = f"cvxpy {solver}" + (f" ({said})" if said else ""), solver, options

    def run(self, setting: Setting, budget: float, skip: int = 0) -> Iterator[Moment]:
        problem = setting.problem
        job = (features(problem), problem.loss.targets.numpy(), problem.loss.num_outputs, problem.parts[0].p)
        context = mp.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_solve, args=(theirs, job, setting.beta, self.solver, self.options))
        child.start()
        theirs.close()
        try:
            if not ours.poll(budget):
                raise TimeoutError(f"not finished after {budget:.0f} s")
            z, b, seconds = ours.recv()
        except EOFError:
            raise RuntimeError("the solver ended without a result (out of memory?)") from None
        finally:
            child.terminate()
            child.join()
        if isinstance(z, str):
            raise RuntimeError(z)
        yield Moment(factors_of(problem, [torch.from_numpy(z)], torch.from_numpy(b)), seconds)


def features(problem: Problem) -> np.ndarray:
    """What multiplies Z, ``(n, p, k)``: the inner features of the unit matrices."""
    (part,) = problem.parts
    eye = torch.eye(part.p, dtype=torch.float64).view(part.p, *part.u_shape)
    found = [part.block.inner(stats[0], eye) for _, stats in problem.passes.chunks(torch.float64)]
    return torch.cat(found).numpy()


def _solve(pipe: Any, job: tuple[Any, ...], beta: float, solver: str, options: dict[str, Any]) -> None:
    import cvxpy as cp

    phi, y, c, p = job
    n, _, k = phi.shape
    z, b = cp.Variable((p, k * c)), cp.Variable(c)
    flat = phi.reshape(n, p * k)
    outputs = cp.vstack([flat @ cp.reshape(z[:, out::c], (p * k,), order="C") + b[out] for out in range(c)]).T
    loss = cp.sum(cp.log_sum_exp(outputs, axis=1) - cp.sum(cp.multiply(np.eye(c)[y], outputs), axis=1)) / n
    program = cp.Problem(cp.Minimize(loss + beta * cp.normNuc(z)))
    try:
        program.solve(solver=solver, **options)
        stats = program.solver_stats
        seconds = (stats.solve_time or 0.0) + (stats.setup_time or 0.0)
        pipe.send((np.asarray(z.value), np.asarray(b.value), seconds))
    except Exception as error:  # sent to the parent, which says it in the table
        pipe.send((f"{type(error).__name__}: {error}", None, 0.0))
