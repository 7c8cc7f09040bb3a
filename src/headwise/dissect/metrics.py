"""Numbers that say what the modes of an attention head do, next to what chance would give."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from ..checks import check_flag, check_number, check_whole, told
from ..contracts import QueryKey
from ..errors import InputError
from .modes import Modes, decompose, folded_weights
from .turning import relative_turn

__all__ = [
    "DEGENERATE",
    "chance_band",
    "effective_rank",
    "mode_cosines",
    "permuted_weighted_cosine",
    "subspace_cosines",
    "subspaces",
    "symmetric_share",
    "weighted_cosine",
    "weighted_cosine_band",
]

DEGENERATE = 1.05
"""Neighbouring singular values closer than this factor belong to one subspace: their single modes are arbitrary."""


def mode_cosines(found: Modes) -> Tensor:
    """``u_n . v_n`` of each mode, ``(heads, modes)``: 1 groups equal features, 0 brings in context, -1 avoids."""
    _check_modes(found)
    return (found.u * found.v).sum(-1) if found.cosines is None else found.cosines


def weighted_cosine(found: Modes) -> Tensor:
    """``sum_n sigma_n cos_n / sum_n sigma_n`` of each attention head, ``(heads,)``; equals ``tr(M) / ||M||_*``."""
    cosines = mode_cosines(found)
    return (found.sigma * cosines).sum(-1) / found.sigma.sum(-1).clamp(min=torch.finfo(found.sigma.dtype).tiny)


def effective_rank(found: Modes) -> Tensor:
    """Exponential of the entropy of ``sigma_n / sum sigma`` (Roy and Vetterli 2007), ``(heads,)``: 1 to the modes."""
    _check_modes(found)
    share = found.sigma / found.sigma.sum(-1, keepdim=True).clamp(min=torch.finfo(found.sigma.dtype).tiny)
    return torch.special.entr(share).sum(-1).exp()


def symmetric_share(found: Modes) -> Tensor:
    """Share of ``||M||_F^2`` in the symmetric part of M, ``(heads,)``; 0.5 for unrelated directions.

    The rest is that of the antisymmetric part.
    """
    _check_modes(found)
    # ||(M + M^T)/2||^2 = (||M||^2 + tr(M M)) / 2, and tr(M M) needs only the d_k x d_k matrix v_n . u_m
    cross = found.v @ found.u.transpose(-1, -2)
    trace = torch.einsum("hn,hm,hnm,hmn->h", found.sigma, found.sigma, cross, cross)
    energy = found.sigma.square().sum(-1).clamp(min=torch.finfo(found.sigma.dtype).tiny)
    return (energy + trace) / (2 * energy)


def subspaces(found: Modes, factor: float = DEGENERATE) -> Tensor:
    """The subspace of each mode, ``(heads, modes)``: the number of the first mode in it.

    A mode belongs with the one before it where their singular values are closer than ``factor``, zeros together. Of
    such modes only the subspaces that they span on either side are determined, and the mean of their cosines, nearly.

    Examples
    --------
    >>> import torch
    >>> from headwise.dissect import Modes
    >>> eye = torch.eye(4)[None]
    >>> subspaces(Modes(0, torch.tensor([[3.0, 2.0, 1.99, 0.5]]), eye, eye, True))
    tensor([[0, 1, 1, 3]])
    """
    _check_modes(found)
    check_number("factor", factor)
    sigma = found.sigma
    starts = torch.ones_like(sigma, dtype=torch.bool)
    starts[:, 1:] = sigma[:, :-1] > factor * sigma[:, 1:]
    places = torch.arange(sigma.shape[1], device=sigma.device)
    return (starts * places).cummax(1).values


def subspace_cosines(found: Modes, factor: float = DEGENERATE) -> Tensor:
    """Mean cosine of the modes of each mode's subspace, weighted by their singular values, ``(heads, modes)``.

    Where the singular values of a subspace are equal, any choice of its modes gives this number.
    """
    of = subspaces(found, factor)
    weights = found.sigma.clamp(min=torch.finfo(found.sigma.dtype).tiny)
    total = torch.zeros_like(weights).scatter_add_(1, of, weights)
    summed = torch.zeros_like(weights).scatter_add_(1, of, weights * mode_cosines(found))
    return (summed / total.clamp(min=torch.finfo(weights.dtype).tiny)).gather(1, of)


def _check_modes(found: Modes) -> None:
    if not isinstance(found, Modes):
        raise InputError(
            f"the modes of one layer are needed, such as headwise.dissect(model).modes[0], got {told(found)}"
        )


def _quantile(level: float) -> float:
    check_number("level", level, below=1)
    return float(torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64)))


def chance_band(width: int, level: float = 0.99) -> float:
    """Half-width of the band that holds the cosine of two random directions with probability ``level``.

    The cosine has mean 0 and standard deviation ``1/sqrt(d)`` and is close to normal for the widths of transformers.
    """
    check_whole("width", width, least=1)
    return _quantile(level) / sqrt(width)


def weighted_cosine_band(found: Modes, level: float = 0.99) -> Tensor:
    """Half-width of the band of weighted cosines by chance, ``(heads,)``, in closed form.

    Against a random rotation Q of the key directions, ``tr(M Q)`` has mean 0 and variance ``||M||_F^2 / d``, so the
    weighted cosine has the standard deviation ``||sigma||_2 / (sqrt(d) ||sigma||_1)``.
    """
    _check_modes(found)
    tiny = torch.finfo(found.sigma.dtype).tiny
    norm = found.sigma.square().sum(-1).sqrt() / found.sigma.sum(-1).clamp(min=tiny)
    return _quantile(level) / sqrt(found.u.shape[-1]) * norm


def permuted_weighted_cosine(
    record: QueryKey, draws: int = 100, seed: int = 0, fold: bool = True, *, context: int | None = None
) -> Tensor:
    """Weighted cosines with the features of the key weights permuted, ``(draws, heads)``.

    A permutation keeps the spectrum of M and destroys any relation between query and key directions: the chance level
    for this very head. Singular values do not change, so each draw costs one sum over the entries of M that it brings
    to the diagonal. ``context`` is that of `all_modes`.
    """
    if not isinstance(record, QueryKey):
        raise InputError(f"a record is needed, such as model.query_keys()[0], got {told(record)}")
    for name, value, least in (("draws", draws, 1), ("seed", seed, 0)):
        check_whole(name, value, least)
    check_flag("fold", fold)
    query, key = folded_weights(record, fold, turn=relative_turn(record, context))
    nuclear = decompose(query, key)[1].sum(-1).clamp(min=torch.finfo(query.dtype).tiny)
    width = key.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    orders = torch.stack([torch.randperm(width, generator=generator) for _ in range(draws)]).to(key.device)
    rows = torch.arange(width, device=key.device)
    found = [(q.mT @ k)[rows, orders].sum(-1) / total for q, k, total in zip(query, key, nuclear, strict=True)]
    return torch.stack(found, 1)
