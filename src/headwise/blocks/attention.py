"""Linear-activation attention head with a pooled output."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from . import BLOCKS

__all__ = ["Attention"]


@BLOCKS.register("attention")
class Attention:
    """``f = p^T (X U X^T) X V``, summed over atoms.

    With a pooled output the s x s scores are never needed: ``f = x^T U G V`` with the pooled token ``x = X^T p`` and
    the Gram matrix ``G = X^T X``, d + d^2 numbers a sample, built once.

    Notes
    -----
    Sahiner et al., "Unraveling Attention via Convex Duality" (arXiv 2205.08078), self-attention with linear activation:
    the convex program has the matrix Z with rows (query feature, key feature) and columns (value feature, output).

    Examples
    --------
    >>> import torch
    >>> block = Attention()
    >>> stats = block.statistics(torch.ones(2, 3, 4), torch.full((2, 3), 1 / 3))
    >>> block.inner(stats, torch.ones(5, 4, 4)).shape
    torch.Size([2, 5, 4])
    """

    name = "attention"
    degree = 3

    def statistics(self, values: Tensor, pooling: Tensor) -> dict[str, Tensor]:
        return {"pooled": torch.einsum("nsd,ns->nd", values, pooling), "gram": values.transpose(1, 2) @ values}

    def u_shape(self, width: int) -> tuple[int, ...]:
        return (width, width)

    def inner_width(self, width: int) -> int:
        return width

    def inner(self, stats: Mapping[str, Tensor], u: Tensor) -> Tensor:
        pooled, gram = stats["pooled"], stats["gram"]
        atoms, d, _ = u.shape
        keys = (pooled @ u.permute(1, 0, 2).reshape(d, atoms * d)).view(-1, atoms, d)
        return keys @ gram

    def inner_adjoint(self, stats: Mapping[str, Tensor], grad: Tensor) -> Tensor:
        pooled, gram = stats["pooled"], stats["gram"]
        n, atoms, d = grad.shape
        keys = (grad @ gram).reshape(n, atoms * d)
        return (pooled.T @ keys).view(d, atoms, d).permute(1, 0, 2)

    def adjoint(self, stats: Mapping[str, Tensor], theta: Tensor) -> Tensor:
        pooled, gram = stats["pooled"], stats["gram"]
        n, d = pooled.shape
        c = theta.shape[1]
        left = (pooled[:, :, None] * theta[:, None, :]).reshape(n, d * c)
        # G is symmetric: half of it is enough for the one large product
        row, column = torch.triu_indices(d, d, device=gram.device)
        half = left.T @ gram[:, row, column]
        full = half.new_empty(d * c, d, d)
        full[:, row, column] = half
        full[:, column, row] = half
        return full.view(d, c, d, d).permute(0, 2, 3, 1).reshape(d * d, d * c)

    def mean_square(self, stats: Mapping[str, Tensor]) -> Tensor:
        return stats["pooled"].square().sum(1) * stats["gram"].square().sum((1, 2))

    def token_outputs(self, values: Tensor, pooling: Tensor, u: Tensor, v: Tensor) -> Tensor:
        # token t enters as a key and value: its score under each atom times its own value
        keys = torch.einsum("nsd,ns,rde->nre", values, pooling, u)
        scores = torch.einsum("nse,nre->nsr", values, keys)
        return torch.einsum("nsr,nsd,rdc->nsc", scores, values, v)
