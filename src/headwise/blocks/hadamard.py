"""Products of features at the same token (gated linear units without a second learned factor)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..checks import check_whole
from ..contracts import GateKind, GateValues, TokenShape
from ..errors import InputError
from . import BLOCKS
from .pieces import inner_adjoint_in_pieces, inner_in_pieces
from .weights import feature_weights

__all__ = ["Hadamard"]


@BLOCKS.register("hadamard")
class Hadamard:
    """``f = p^T (D o (X U) o X) V``, or with depthwise token filters ``f = p^T (D o (u * X) o X) V``.

    One factor of the product is the data itself: with two learned factors the problem would not be convex in this way.
    Inner feature b of an atom is ``sum_a u[a, b] C[a, b]`` with the pooled products ``C[a, b] = sum_t p_t D[t, b]
    x_t[a] x_t[b]``; with filters, a runs over the shifts of the same feature. Where every token has outputs of its own
    the products would be d times the tokens, so they are taken anew in every pass.

    Parameters
    ----------
    shape : TokenShape
    gated : bool
        Whether gates are used; changes nothing here.
    filter_size : int, optional
        Odd side of the depthwise filter, on the grid where there is one, else along the sequence; tokens beyond the
        border count as zero. None mixes features instead.

    Notes
    -----
    The second form is the multiplication of large-kernel attention (Guo et al., "Visual Attention Network", arXiv
    2202.09741) without its non-linearity. Without gates the problem falls into one block of ``d x c`` for each feature
    b.

    Examples
    --------
    >>> Hadamard(TokenShape(6, 4)).u_shape, Hadamard(TokenShape(6, 4, (2, 3)), filter_size=3).u_shape
    ((4, 4), (9, 4))
    """

    name = "hadamard"
    degree = 2
    gates: tuple[GateKind, ...] = ("feature", "token")
    per_token = True
    u_shape: tuple[int, ...]

    def __init__(self, shape: TokenShape, gated: bool = False, filter_size: int | None = None) -> None:
        self.inner_width = shape.width
        self.filter_size, self._grid = filter_size, shape.grid
        self.hides = filter_size is None
        if filter_size is None:
            self.u_shape = (shape.width, shape.width)
            return
        check_whole("filter_size", filter_size, least=1)
        if filter_size % 2 == 0:
            raise InputError(f"hadamard takes an odd filter_size, got {filter_size}")
        if self._grid is not None and self._grid[0] * self._grid[1] != shape.num_tokens:
            raise InputError(
                f"hadamard with a filter needs one token for each of the {self._grid[0]} x {self._grid[1]} places of "
                f"the grid, got {shape.num_tokens} tokens; let it act on the patch tokens"
            )
        self.u_shape = (filter_size ** (1 if self._grid is None else 2), shape.width)

    def _factors(self, values: Tensor) -> Tensor:
        """What u chooses from, ``(n, s, a, d or 1)``: features of the same token, or shifted tokens."""
        if self.filter_size is None:
            return values[..., None]
        half, (n, s, d) = self.filter_size // 2, values.shape
        if self._grid is None:
            padded = torch.nn.functional.pad(values, (0, 0, half, half))
            return padded.unfold(1, self.filter_size, 1).transpose(2, 3)
        image = torch.nn.functional.pad(values.view(n, *self._grid, d), (0, 0, half, half, half, half))
        patches = image.unfold(1, self.filter_size, 1).unfold(2, self.filter_size, 1)
        return patches.reshape(n, s, d, -1).transpose(2, 3)

    def _mixed(self, values: Tensor, u: Tensor) -> Tensor:
        """What each atom makes of the tokens, ``(n, s, atoms, d)``."""
        if self.filter_size is None:
            return torch.einsum("nsa,rab->nsrb", values, u)
        return torch.einsum("nsab,rab->nsrb", self._factors(values), u)

    def _mixed_adjoint(self, values: Tensor, grad: Tensor) -> Tensor:
        """Adjoint of `_mixed` in u, ``(atoms, a, d)``."""
        if self.filter_size is None:
            return torch.einsum("nsa,nsrb->rab", values, grad)
        return torch.einsum("nsab,nsrb->rab", self._factors(values), grad)

    def statistics(self, values: Tensor, pooling: Tensor | None, gate: GateValues | None = None) -> dict[str, Tensor]:
        """ "products" of each sample; or its "tokens" and the "weighted" second factor of each token."""
        weighted = values * feature_weights(values, pooling, gate)
        if pooling is None:
            return {"tokens": values, "weighted": weighted}
        if self.filter_size is None:
            products = values.transpose(1, 2) @ weighted
        else:
            products = (self._factors(values) * weighted[:, :, None]).sum(1)
        # in memory feature by feature: each has a matrix of its own, by which the solver multiplies hundreds of times
        return {"products": products.permute(2, 0, 1).contiguous().permute(1, 2, 0)}

    def scores(self, values: Tensor, u: Tensor) -> Tensor:
        return (self._factors(values) * u).sum(2)

    def inner(self, stats: Mapping[str, Tensor], u: Tensor) -> Tensor:
        if "tokens" in stats:
            return inner_in_pieces(self._of_each_token, stats, u, len(u) * stats["tokens"][0].numel())
        return torch.einsum("nab,rab->nrb", stats["products"], u)

    def inner_adjoint(self, stats: Mapping[str, Tensor], grad: Tensor) -> Tensor:
        if "tokens" in stats:
            numbers = grad.shape[1] * stats["tokens"][0].numel()
            return inner_adjoint_in_pieces(self._of_each_token_adjoint, stats, grad, numbers)
        return torch.einsum("nab,nrb->rab", stats["products"], grad)

    def _of_each_token(self, stats: Mapping[str, Tensor], u: Tensor) -> Tensor:
        return (self._mixed(stats["tokens"], u) * stats["weighted"][:, :, None]).flatten(0, 1)

    def _of_each_token_adjoint(self, stats: Mapping[str, Tensor], grad: Tensor) -> Tensor:
        weighted = stats["weighted"]
        return self._mixed_adjoint(stats["tokens"], grad.unflatten(0, weighted.shape[:2]) * weighted[:, :, None])

    def adjoint(self, stats: Mapping[str, Tensor], theta: Tensor) -> Tensor:
        if "tokens" in stats:  # each output is one more atom, the same for all features
            products = self.inner_adjoint(stats, theta[..., None].expand(-1, -1, self.inner_width)).permute(1, 2, 0)
        else:
            products = (stats["products"].permute(2, 1, 0) @ theta).transpose(0, 1)
        a, d = products.shape[:2]
        found = theta.new_zeros(a, d, d, theta.shape[1])
        index = torch.arange(d, device=theta.device)
        found[:, index, index] = products
        return found.view(a * d, -1)

    def mean_square(self, stats: Mapping[str, Tensor]) -> Tensor:
        if "tokens" in stats:
            return (self._factors(stats["tokens"]).square().sum(2) * stats["weighted"].square()).sum(2).flatten()
        return stats["products"].square().sum((1, 2))

    def token_outputs(
        self, values: Tensor, pooling: Tensor, u: Tensor, v: Tensor, gate: GateValues | None = None
    ) -> Tensor:
        weighted = values * feature_weights(values, pooling, gate)
        return torch.einsum("nsrb,nsb,rbc->nsc", self._mixed(values, u), weighted, v)
