"""Linear head on the pooled token."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from . import BLOCKS

__all__ = ["Linear"]


@BLOCKS.register("linear")
class Linear:
    """``f = p^T X Z``: the pooled token times a d x c matrix.

    Examples
    --------
    >>> import torch
    >>> block = Linear()
    >>> stats = block.statistics(torch.ones(2, 3, 4), torch.full((2, 3), 1 / 3))
    >>> block.inner(stats, torch.ones(1, 4)).shape
    torch.Size([2, 1, 1])
    """

    name = "linear"
    degree = 1

    def statistics(self, values: Tensor, pooling: Tensor) -> dict[str, Tensor]:
        return {"pooled": torch.einsum("nsd,ns->nd", values, pooling)}

    def u_shape(self, width: int) -> tuple[int, ...]:
        return (width,)

    def inner_width(self, width: int) -> int:
        return 1

    def inner(self, stats: Mapping[str, Tensor], u: Tensor) -> Tensor:
        return (stats["pooled"] @ u.T).unsqueeze(-1)

    def inner_adjoint(self, stats: Mapping[str, Tensor], grad: Tensor) -> Tensor:
        return grad.squeeze(-1).T @ stats["pooled"]

    def adjoint(self, stats: Mapping[str, Tensor], theta: Tensor) -> Tensor:
        return stats["pooled"].T @ theta

    def mean_square(self, stats: Mapping[str, Tensor]) -> Tensor:
        return stats["pooled"].square().sum(1)

    def token_outputs(self, values: Tensor, pooling: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return (values * pooling[..., None]) @ u.T @ v.flatten(0, 1)
