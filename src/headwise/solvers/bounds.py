"""Upper bounds of the largest singular value of A*(theta): the part of a certificate that must never be too small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, log, sqrt

import torch
from torch import Tensor

from .problem import Part, Problem

__all__ = [
    "EXACT_LIMIT",
    "exact_bound",
    "failure_probability",
    "lanczos_bound",
    "lanczos_steps",
    "leading_pairs",
    "stacks",
    "top_pairs",
]

EXACT_LIMIT = 8192
"""Largest smaller side of A*(theta) for which the exact bound is the default (a 512 MiB Gram matrix)."""


SMALL = 64
"""Smaller side up to which leading pairs come from the whole Gram matrix, of many matrices at once."""

STACKED = 2**22
"""Most numbers in matrices that are worked on at once."""

Pairs = tuple[Tensor, Tensor, Tensor]


def stacks(matrices: Sequence[Tensor]) -> Iterator[Tensor]:
    """Matrices of one shape, in float64, some at a time: ``(some, p, q)``."""
    few = max(1, STACKED // max(matrices[0].numel(), 1)) if matrices else 1
    for at in range(0, len(matrices), few):
        some = matrices[at : at + few]
        yield (torch.stack(list(some)) if len(some) > 1 else some[0][None]).double()  # a large one is not copied


def _gram(matrix: Tensor) -> Tensor:
    return matrix.mT @ matrix if matrix.shape[-2] >= matrix.shape[-1] else matrix @ matrix.mT


def exact_bound(matrix: Tensor) -> float:
    """Largest singular value of a float64 matrix, or of any of several ``(..., p, q)``, rounded up.

    Eigenvalues of the Gram matrix of the smaller side, plus ``64 N eps ||M||_F^2`` for the rounding of the product
    and of the symmetric eigensolver (both backward stable with far smaller constants).
    """
    gram = _gram(matrix.double())
    if not gram.numel():
        return 0.0
    squares = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    margin = 64 * gram.shape[-1] * torch.finfo(torch.float64).eps * squares
    top = torch.linalg.eigvalsh(gram)[..., -1]
    return float((top.clamp(min=0) + margin).max().sqrt())


def leading_pairs(matrices: Sequence[Tensor], count: int, guesses: Sequence[Tensor]) -> list[Pairs]:
    """`top_pairs` of matrices of one shape; several small ones at once, by the Gram matrix of their smaller side."""
    p, q = matrices[0].shape
    if len(matrices) == 1 or min(p, q) > SMALL:
        return [top_pairs(matrix, count, guess) for matrix, guess in zip(matrices, guesses, strict=True)]
    found: list[Pairs] = []
    for stack in stacks(matrices):
        vectors = torch.linalg.eigh(_gram(stack))[1].flip(-1)[..., :count]  # the largest first
        other = (stack if p >= q else stack.mT) @ vectors
        sigma = other.norm(dim=-2)
        other = other / sigma.clamp(min=torch.finfo(torch.float64).tiny)[..., None, :]
        u, v = (other, vectors) if p >= q else (vectors, other)
        found += zip(u, sigma, v, strict=True)
    return found


def top_pairs(matrix: Tensor, count: int, guess: Tensor | None = None, sweeps: int = 4) -> Pairs:
    """Leading singular triples ``(u (p, count), sigma, v (q, count))`` for choosing atoms; lower bounds, never a proof.

    Subspace iteration from the right vectors ``guess`` (those of the atoms at hand) and some fixed random ones.
    """
    p, q = matrix.shape
    count = min(count, p, q)
    generator = torch.Generator().manual_seed(0)  # on the processor: the same numbers for every device
    fresh = torch.randn(q, min(count + 8, q), generator=generator, dtype=torch.float64, device="cpu").to(matrix)
    start = fresh if guess is None else torch.cat([guess.to(matrix), fresh], dim=1)
    basis, _ = torch.linalg.qr(start[:, :q])
    for _ in range(sweeps):
        image, _ = torch.linalg.qr(matrix @ basis)
        basis, _ = torch.linalg.qr(matrix.T @ image)
    left, sigma, right = torch.linalg.svd((matrix @ basis).double(), full_matrices=False)
    v = basis.double() @ right.T
    return left[:, :count], sigma[:count], v[:, :count]


def failure_probability(size: int, steps: int, columns: int, epsilon: float) -> float:
    """Chance that Lanczos on a ``size x size`` matrix misses by more than the factor ``1 - epsilon``.

    ``(1.648 sqrt(N) exp(-sqrt(epsilon) (2k - 1)))^b``: Kuczynski and Woźniakowski (1992), b independent Gaussian
    starts.
    """
    single = log(1.648) + 0.5 * log(size) - sqrt(epsilon) * (2 * steps - 1)
    return min(1.0, exp(columns * min(single, 0.0)))


def lanczos_steps(size: int, columns: int, epsilon: float, probability: float) -> int:
    """Fewest steps whose failure probability is at most ``probability``."""
    need = (log(1.648) + 0.5 * log(size) - log(probability) / columns) / sqrt(epsilon)
    return max(1, int((need + 1) / 2) + 1)


def lanczos_bound(
    problem: Problem,
    index: int,
    theta: Tensor,
    *,
    epsilon: float,
    probability: float,
    generator: torch.Generator,
    columns: int = 8,
) -> tuple[float, float]:
    """Matrix-free upper bound of part ``index``, and its failure probability.

    Block Lanczos with full re-orthogonalisation on the smaller side of A*(theta); every product is one pass over the
    statistics, so A*(theta) is never formed. The start columns are fresh Gaussians.
    """
    part = problem.parts[index]
    p, q = part.p, part.k * part.outputs(problem.loss.num_outputs)
    on_u = p <= q
    size = min(p, q)
    columns = min(columns, size)
    steps = lanczos_steps(size, columns, epsilon, probability)

    def apply(x: Tensor) -> Tensor:
        """One product with the Gram matrix of the smaller side, ``(size, columns)``."""
        return _times(problem, part, index, theta, _times(problem, part, index, theta, x, on_u), not on_u)

    start = torch.randn(size, columns, dtype=torch.float64, generator=generator, device="cpu").to(theta.device)
    problem.passes.processes.agree(start)
    basis, _ = torch.linalg.qr(start)
    image = apply(basis)
    newest = image
    for _ in range(steps - 1):
        if basis.shape[1] >= size:
            break
        room = size - basis.shape[1]
        fresh = newest - basis @ (basis.T @ newest)
        fresh = fresh - basis @ (basis.T @ fresh)
        fresh, _ = torch.linalg.qr(fresh[:, : min(columns, room)])
        fresh = fresh - basis @ (basis.T @ fresh)
        fresh, _ = torch.linalg.qr(fresh)
        newest = apply(fresh)
        basis = torch.cat([basis, fresh], dim=1)
        image = torch.cat([image, newest], dim=1)
    small = basis.T @ image
    top = float(torch.linalg.eigvalsh((small + small.T) / 2)[-1])
    if basis.shape[1] >= size:  # the whole space was spanned: only rounding is left
        margin = 64 * size * torch.finfo(torch.float64).eps * float(small.diagonal().sum())
        return sqrt(max(top, 0.0) + margin), 0.0
    return sqrt(max(top, 0.0) / (1 - epsilon)), failure_probability(size, steps, columns, epsilon)


def _times(problem: Problem, part: Part, index: int, theta: Tensor, x: Tensor, transposed: bool) -> Tensor:
    """``A*(theta)^T x`` (from the u side) or ``A*(theta) x`` (from the v side), for the columns of x."""
    c = part.outputs(theta.shape[1])
    total: Tensor | None = None
    for rows, stats in problem.passes.chunks(theta.dtype):
        if transposed:
            h = part.block.inner(stats[index], x.T.reshape(-1, *part.u_shape))
            found = torch.einsum("nrk,nc->rkc", h, theta[rows, part.columns])
        else:
            g = torch.einsum("nc,rkc->nrk", theta[rows, part.columns], x.T.reshape(-1, part.k, c))
            found = part.block.inner_adjoint(stats[index], g)
        total = found if total is None else total.add_(found)
    assert total is not None
    problem.passes.processes.add(total)
    return total.flatten(1).T
