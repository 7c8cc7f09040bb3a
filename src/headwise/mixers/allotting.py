"""How query heads are allotted to key heads by the norms of the keys, and what mechanisms that do it share.

Allotments are found in tensors alone and with loops of known length, so that they run inside one compiled program.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from ..contracts import QueryKey
from ..errors import InputError
from .attending import attend, join_heads
from .grouped_query import GroupedQuery
from .options import Grid
from .traits import Traits

__all__ = ["AllottedQuery", "allot", "even", "key_norms", "owners", "squeeze_the_largest"]

Repair = Callable[[Tensor, Tensor], Tensor]


def key_norms(k: Tensor, real: Tensor | None) -> Tensor:
    """Frobenius norm of each key head over its tokens and channels, summed over the batch.

    Parameters
    ----------
    k : Tensor, shape (B, G, N, d)
    real : bool Tensor, shape (B, N), optional
        Tokens that count; all by default.

    Returns
    -------
    Tensor, shape (G,)
        At least in single precision, without a gradient.
    """
    k = k.detach().to(torch.promote_types(k.dtype, torch.float32))
    if real is not None:
        k = torch.where(real[:, None, :, None], k, torch.zeros_like(k))
    return torch.linalg.vector_norm(k, dim=(2, 3)).sum(0)


def even(num_kv_heads: int, num_heads: int, device: torch.device) -> Tensor:
    """The uniform allotment ``(G,)``."""
    return torch.full((num_kv_heads,), num_heads // num_kv_heads, device=device)


def allot(weights: Tensor, num_heads: int, repair: Repair) -> Tensor:
    """Query heads in proportion to weights, rounded half to even, then repaired until they are ``num_heads``.

    Parameters
    ----------
    weights : Tensor, shape (G,)
        Nonnegative. Where they are all zero, or not finite, the allotment is uniform: their ratios say nothing.
    num_heads : int
    repair : callable
        ``repair(counts, excess)`` moves the counts ``(G,)`` one head towards an excess of zero.

    Returns
    -------
    Tensor, shape (G,)
        Whole numbers that sum to ``num_heads``.
    """
    total = weights.sum()
    says = torch.isfinite(total) & (total > 0)
    uniform = even(len(weights), num_heads, weights.device)
    counts = torch.where(says, (weights / total * num_heads).round(), uniform.to(weights)).long()
    for _ in range(len(weights) // 2):  # roundings are off by at most one half each
        excess = counts.sum() - num_heads
        counts = torch.where(excess == 0, counts, repair(counts, excess))
    return counts


def squeeze_the_largest(counts: Tensor, excess: Tensor) -> Tensor:
    """Take a head from the first largest count, or give one to the first smallest."""
    places = torch.arange(len(counts), device=counts.device)
    return torch.where(
        excess > 0, counts - (places == counts.argmax()).long(), counts + (places == counts.argmin()).long()
    )


def owners(counts: Tensor, num_heads: int) -> Tensor:
    """The key head of each query head ``(num_heads,)``: the first ``counts[0]`` belong to key head 0, and so on."""
    return (torch.arange(num_heads, device=counts.device)[:, None] >= counts.cumsum(0)).sum(1)


class AllottedQuery(GroupedQuery):
    """Grouped queries whose key heads serve as many query heads as `_allot` gives them."""

    traits = Traits(2.0, permutation_equivariant=True, batch_independent=False, mask=True, pair_mask=True, prefix=True)

    @abstractmethod
    def _allot(self, k: Tensor, mask: Tensor | None) -> Tensor:
        """Query heads that each key head serves, ``(num_kv_heads,)``, for keys ``(B, num_kv_heads, N, d)``."""

    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        q, k, v = self.heads(x)
        own = owners(self._allot(k, mask), self.config.num_heads)
        return self.proj(join_heads(attend(q, k[:, own], v[:, own], mask, causal)))

    def query_key(self) -> QueryKey:
        raise InputError(
            f"{self.name} has no logits of its own: which key head a query head meets depends on its batches; "
            "grouped_query has them"
        )

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        return super().memory(num_tokens, grid) + 2 * num_tokens * self.config.dim
