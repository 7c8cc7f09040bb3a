"""Linear head on the pooled token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..contracts import GateKind, GateValues, TokenShape
from . import BLOCKS
from .weights import token_weights

__all__ = ["Linear", "PooledFeatures"]


class PooledFeatures:
    """What blocks share whose output is linear in one vector of features a row of outputs: ``f = features^T Z``.

    Subclasses say which features (`statistics`, under the name "features", ``(n, p)`` or, without pooling, ``(n, s,
    p)``) and what shape u has. A "gate" ``(n, 1)`` or ``(n, s)`` beside them multiplies each row of features.
    """

    degree = 1
    inner_width = 1
    per_token = True
    u_shape: tuple[int, ...]

    @staticmethod
    def merged(stats: Sequence[Mapping[str, Tensor]], counts: Sequence[int]) -> dict[str, Tensor]:
        """Statistics of several gates on the same features as one, for so many atoms of each, one after the other."""
        columns = torch.stack([own["gate"].flatten() for own in stats], dim=1)
        owner = torch.repeat_interleave(torch.tensor(counts, device=columns.device))
        return {"features": stats[0]["features"], "gates": columns[:, owner]}

    @staticmethod
    def adjoints(stats: Sequence[Mapping[str, Tensor]], theta: Tensor) -> Tensor:
        """`adjoint` of several gates on the same features, ``(gates, p, c)``, some gates in each product."""
        features, c = stats[0]["features"].flatten(0, -2), theta.shape[1]
        gates = torch.stack([own["gate"].flatten() for own in stats], dim=1)
        few = max(1, features.shape[1] // c)  # as large as the features, at most
        found = [features.T @ (own[:, :, None] * theta[:, None]).flatten(1) for own in gates.split(few, dim=1)]
        return torch.cat(found, dim=1).view(features.shape[1], len(stats), c).transpose(0, 1)

    def inner(self, stats: Mapping[str, Tensor], u: Tensor) -> Tensor:
        return _gated(stats, stats["features"].flatten(0, -2) @ u.flatten(1).T).unsqueeze(-1)

    def inner_adjoint(self, stats: Mapping[str, Tensor], grad: Tensor) -> Tensor:
        return (_gated(stats, grad.squeeze(-1)).T @ stats["features"].flatten(0, -2)).view(-1, *self.u_shape)

    def adjoint(self, stats: Mapping[str, Tensor], theta: Tensor) -> Tensor:
        return stats["features"].flatten(0, -2).T @ _gated(stats, theta)

    def mean_square(self, stats: Mapping[str, Tensor]) -> Tensor:
        squares = stats["features"].square().sum(-1).flatten()
        return squares * stats["gate"].flatten().square() if "gate" in stats else squares


def _gated(stats: Mapping[str, Tensor], rows: Tensor) -> Tensor:
    """Rows ``(rows, ...)`` under the gate of their features, where they have one, or the gate of each atom."""
    if "gates" in stats:
        return rows * stats["gates"]
    return rows * stats["gate"].reshape(-1, 1) if "gate" in stats else rows


@BLOCKS.register("linear")
class Linear(PooledFeatures):
    """``f = p^T X Z``: the pooled token, or every token, times a d x c matrix.

    Examples
    --------
    >>> import torch
    >>> from headwise.contracts import TokenShape
    >>> block = Linear(TokenShape(3, 4))
    >>> stats = block.statistics(torch.ones(2, 3, 4), torch.full((2, 3), 1 / 3))
    >>> block.inner(stats, torch.ones(1, 4)).shape
    torch.Size([2, 1, 1])
    """

    name = "linear"
    gates: tuple[GateKind, ...] = ()
    hides = True

    def __init__(self, shape: TokenShape, gated: bool = False) -> None:
        self.u_shape = (shape.width,)

    def statistics(self, values: Tensor, pooling: Tensor | None, gate: GateValues | None = None) -> dict[str, Tensor]:
        if gate is not None and (pooling is None or values.shape[1] == 1):
            # a row of outputs has one token, and all gates share its features
            pooling = torch.ones_like(values[..., 0]) if pooling is None else pooling
            return {"features": values, "gate": token_weights(pooling, gate)}
        if pooling is None:
            return {"features": values}
        weights = token_weights(pooling, gate)
        return {"features": torch.einsum("nsd,ns->nd", values, weights)}

    def scores(self, values: Tensor, u: Tensor) -> Tensor:
        return values @ u

    def token_outputs(
        self, values: Tensor, pooling: Tensor, u: Tensor, v: Tensor, gate: GateValues | None = None
    ) -> Tensor:
        weights = token_weights(pooling, gate)
        return (values * weights[..., None]) @ u.T @ v.flatten(0, 1)
