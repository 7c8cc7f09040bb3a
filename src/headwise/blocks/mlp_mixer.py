"""Token mixing by a free matrix over token places (MLP-Mixer)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..contracts import GateKind, GateValues, TokenShape
from . import BLOCKS
from .pieces import inner_adjoint_in_pieces, inner_in_pieces
from .weights import feature_weights

__all__ = ["MlpMixer"]


@BLOCKS.register("mlp_mixer")
class MlpMixer:
    """``f = p^T (D o (U X)) V`` with U over token places (s x s) and V over features, summed over atoms and gates.

    Pooled and without gates only ``U^T p`` matters. An atom is then a vector u over the places, standing for ``U = p
    u^T / |p|`` of the same norm, and Z shrinks from ``s^2 x d c`` to ``s x d c``: f = |p| u^T X V. Row t of U is what
    token t takes from the others where every token has outputs of its own.

    Parameters
    ----------
    shape : TokenShape
    gated : bool
        Whether U is whole, as gates and outputs of every token need it.

    Notes
    -----
    Sahiner et al., arXiv 2205.08078 (MLP-Mixer).

    Examples
    --------
    >>> MlpMixer(TokenShape(6, 4)).u_shape, MlpMixer(TokenShape(6, 4), gated=True).u_shape
    ((6,), (6, 6))
    """

    name = "mlp_mixer"
    degree = 1
    gates: tuple[GateKind, ...] = ("feature", "token")
    u_shape: tuple[int, ...]
    hides = False
    per_token = True

    def __init__(self, shape: TokenShape, gated: bool = False) -> None:
        self.gated = gated
        self.u_shape = (shape.num_tokens, shape.num_tokens) if gated else (shape.num_tokens,)
        self.inner_width = shape.width

    def statistics(self, values: Tensor, pooling: Tensor | None, gate: GateValues | None = None) -> dict[str, Tensor]:
        """ "tokens" with the "weights" of what they become in one sum, or with a "mask" on it, row by row."""
        weights = feature_weights(values, pooling, gate).expand_as(values)
        if pooling is None:
            return {"tokens": values, "mask": weights}
        if not self.gated:
            return {"tokens": values * pooling.norm(dim=1)[:, None, None]}
        return {"tokens": values, "weights": weights}

    def scores(self, values: Tensor, u: Tensor) -> Tensor:
        return u @ values

    def inner(self, stats: Mapping[str, Tensor], u: Tensor) -> Tensor:
        if not self.gated:
            return u @ stats["tokens"]
        return inner_in_pieces(self._mixed, stats, u, len(u) * stats["tokens"][0].numel())

    def inner_adjoint(self, stats: Mapping[str, Tensor], grad: Tensor) -> Tensor:
        if not self.gated:
            return torch.einsum("nrd,njd->rj", grad, stats["tokens"])
        return inner_adjoint_in_pieces(self._mixed_adjoint, stats, grad, grad.shape[1] * stats["tokens"][0].numel())

    def _mixed(self, stats: Mapping[str, Tensor], u: Tensor) -> Tensor:
        """`inner` by one product for all atoms and samples: places come first, then samples, then features."""
        tokens, weights = _place_by_place(stats)
        mixed = (u.flatten(0, 1) @ tokens.flatten(1)).view(len(u), *tokens.shape) * weights
        return mixed.permute(2, 1, 0, 3).flatten(0, 1) if "mask" in stats else mixed.sum(1).transpose(0, 1)

    def _mixed_adjoint(self, stats: Mapping[str, Tensor], grad: Tensor) -> Tensor:
        tokens, weights = _place_by_place(stats)
        if "mask" in stats:
            each = grad.unflatten(0, stats["mask"].shape[:2]).permute(2, 1, 0, 3) * weights
        else:
            each = grad.transpose(0, 1)[:, None] * weights
        return each.flatten(2) @ tokens.flatten(1).T

    def adjoint(self, stats: Mapping[str, Tensor], theta: Tensor) -> Tensor:
        tokens = stats["tokens"]
        if not self.gated:
            found = torch.einsum("njd,nc->jdc", tokens, theta)
        else:
            n, s, d = tokens.shape
            weights = stats["mask"] if "mask" in stats else stats["weights"]
            left = (weights[..., None] * theta.view(n, -1, 1, theta.shape[1])).permute(2, 1, 3, 0)  # (d, t, c, n)
            found = left.reshape(d, -1, n) @ tokens.permute(2, 0, 1)  # (d, t c, j)
            found = found.view(d, s, -1, s).permute(1, 3, 0, 2)
        return found.reshape(self.u_shape[0] ** len(self.u_shape), -1)

    def mean_square(self, stats: Mapping[str, Tensor]) -> Tensor:
        if not self.gated:
            return stats["tokens"].square().sum((1, 2))
        reach = stats["tokens"].square().sum(1)
        if "mask" in stats:
            return (stats["mask"].square() @ reach[..., None]).flatten()
        return (stats["weights"].square().sum(1) * reach).sum(1)

    def token_outputs(
        self, values: Tensor, pooling: Tensor, u: Tensor, v: Tensor, gate: GateValues | None = None
    ) -> Tensor:
        stats = self.statistics(values, pooling, gate)
        if not self.gated:
            return torch.einsum("njd,rj,rdc->njc", stats["tokens"], u, v)
        reach = torch.einsum("ntd,rtj->nrjd", stats["weights"], u)
        return torch.einsum("njd,nrjd,rdc->njc", values, reach, v)


def _place_by_place(stats: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Tokens and the weights or mask on what they become, ``(s, n, d)``, in memory too."""
    tokens, weights = stats["tokens"], stats["mask"] if "mask" in stats else stats["weights"]
    return tokens.transpose(0, 1).contiguous(), weights.transpose(0, 1).contiguous()
