"""Attention head, its output pooled or one for each token: linear activation, or gated."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..contracts import GateKind, GateValues, PairGate, TokenShape
from . import BLOCKS
from .pieces import inner_adjoint_in_pieces, inner_in_pieces

__all__ = ["Attention"]


@BLOCKS.register("attention")
class Attention:
    """``f = p^T (D o (X U X^T)) X V``, summed over atoms (U, V) and gates D.

    With a pooled output the s x s scores are never needed: token u is looked at through ``m_u = sum_t p_t D[t, u]
    x_t`` alone, and ``f = sum_u (m_u^T U x_u) x_u^T V``. Where D depends on labels of the tokens, all keys of one label
    share m, and one Gram matrix a label is enough: d + d^2 numbers a sample without a gate, built once. The smaller
    of the two forms is kept.

    Where every token has outputs of its own, ``f_t = sum_u D[t, u] (x_t^T U x_u) x_u^T V``, every token is a query of
    the same Gram matrices; a mask that is not one of labels is kept with the tokens.

    Notes
    -----
    Sahiner et al., "Unraveling Attention via Convex Duality" (arXiv 2205.08078), self-attention with linear and gated
    ReLU activation: Z has rows (query feature, key feature) and columns (value feature, output).

    Examples
    --------
    >>> import torch
    >>> from headwise.contracts import TokenShape
    >>> block = Attention(TokenShape(3, 4))
    >>> stats = block.statistics(torch.ones(2, 3, 4), torch.full((2, 3), 1 / 3))
    >>> block.inner(stats, torch.ones(5, 4, 4)).shape
    torch.Size([2, 5, 4])
    """

    name = "attention"
    degree = 3
    gates: tuple[GateKind, ...] = ("pair",)
    hides = True
    per_token = True

    def __init__(self, shape: TokenShape, gated: bool = False) -> None:
        self.u_shape: tuple[int, ...] = (shape.width, shape.width)
        self.inner_width = shape.width

    def statistics(self, values: Tensor, pooling: Tensor | None, gate: GateValues | None = None) -> dict[str, Tensor]:
        """ "query" with the Gram matrices of the groups' keys, ``(n, groups d, d)``, or with the keys themselves.

        Queries are ``(n, groups, d)``, or without pooling ``(n, s groups, d)``. To keys ``(n, s, d)`` there is one for
        each; without pooling the keys are the queries, with a "mask" ``(n, s, s)``.
        """
        if gate is None:
            query = values if pooling is None else torch.einsum("nsd,ns->nd", values, pooling)[:, None]
            return {"query": query, "gram": values.transpose(1, 2) @ values}
        s, d = values.shape[1:]
        labels = gate.table.shape[1] if isinstance(gate, PairGate) else s
        if pooling is None:
            if not isinstance(gate, PairGate) or (2 * labels - 1) * d > 2 * s:
                mask = gate.mask() if isinstance(gate, PairGate) else gate
                return {"keys": values, "mask": mask.to(values)}
            query = (gate.table.to(values)[gate.query][..., None] * values[:, :, None]).flatten(1, 2)
        else:
            if not isinstance(gate, PairGate) or labels * d > 2 * s:
                return {"query": _looked_at_through(values, pooling, gate), "keys": values}
            weights = pooling[..., None] * gate.table.to(values)[gate.query]
            query = weights.transpose(1, 2) @ values
        member = torch.nn.functional.one_hot(gate.key, labels).to(values)
        # keys of each label, one under the other: (n, labels d, d)
        gram = torch.cat([values.transpose(1, 2) @ (values * member[..., k, None]) for k in range(labels)], dim=1)
        return {"query": query, "gram": gram}

    def scores(self, values: Tensor, u: Tensor) -> Tensor:
        return values @ u @ values.transpose(1, 2)

    def inner(self, stats: Mapping[str, Tensor], u: Tensor) -> Tensor:
        return inner_in_pieces(self._inner, stats, u, _numbers(stats, len(u)))

    def inner_adjoint(self, stats: Mapping[str, Tensor], grad: Tensor) -> Tensor:
        return inner_adjoint_in_pieces(self._inner_adjoint, stats, grad, _numbers(stats, grad.shape[1]))

    def _inner(self, stats: Mapping[str, Tensor], u: Tensor) -> Tensor:
        query = _queries(stats)
        n, d = query.shape[0], query.shape[2]
        atoms = len(u)
        if _few_products(stats, atoms):
            scores = (_products(stats) @ u.reshape(atoms, d * d).T).view(n, -1, atoms)
            return scores.transpose(1, 2) @ stats["keys"]
        seen = query.reshape(-1, d) @ u.permute(1, 0, 2).reshape(d, atoms * d)
        if "gram" in stats:
            gram = stats["gram"]
            groups = gram.shape[1] // d
            each = query.shape[1] // groups
            seen = seen.view(n, each, groups, atoms, d).transpose(2, 3).reshape(n, each * atoms, groups * d)
            return (seen @ gram).view(n * each, atoms, d)
        keys = stats["keys"]
        s = keys.shape[1]
        if "mask" in stats:
            scores = (seen.view(n, s * atoms, d) @ keys.transpose(1, 2)).view(n, s, atoms, s)
            return ((scores * stats["mask"][:, :, None]).view(n, s * atoms, s) @ keys).view(n * s, atoms, d)
        return torch.einsum("nura,nua->nru", seen.view(n, s, atoms, d), keys) @ keys

    def _inner_adjoint(self, stats: Mapping[str, Tensor], grad: Tensor) -> Tensor:
        query = _queries(stats)
        n, d = query.shape[0], query.shape[2]
        atoms = grad.shape[1]
        if _few_products(stats, atoms):
            weights = (stats["keys"] @ grad.transpose(1, 2)).reshape(-1, atoms)
            return (weights.T @ _products(stats)).view(atoms, d, d)
        if "gram" in stats:
            gram = stats["gram"].unflatten(1, (-1, d))  # each is its own transpose
            groups = gram.shape[1]
            each = query.shape[1] // groups
            seen = grad.reshape(n, 1, each * atoms, d) @ gram
            seen = seen.view(n, groups, each, atoms, d).transpose(1, 2)
        elif "mask" in stats:
            keys, s = stats["keys"], query.shape[1]
            scores = (grad.reshape(n, s * atoms, d) @ keys.transpose(1, 2)).view(n, s, atoms, s)
            seen = (scores * stats["mask"][:, :, None]).view(n, s * atoms, s) @ keys
        else:
            keys = stats["keys"]
            seen = torch.einsum("nru,nua->nura", grad @ keys.transpose(1, 2), keys)
        found = query.reshape(-1, d).T @ seen.reshape(n * query.shape[1], atoms * d)
        return found.view(d, atoms, d).permute(1, 0, 2)

    def adjoint(self, stats: Mapping[str, Tensor], theta: Tensor) -> Tensor:
        query = _queries(stats)
        n, d = query.shape[0], query.shape[2]
        c = theta.shape[1]
        if "gram" in stats and theta.shape[0] > n:  # all rows of a sample share its Gram matrices
            each = theta.shape[0] // n
            left = query.reshape(n, each, -1).transpose(1, 2) @ theta.reshape(n, each, c)
        elif "mask" in stats:
            left = stats["mask"].transpose(1, 2) @ (query[..., None] * theta.view(n, -1, 1, c)).flatten(2)
        else:
            left = query[:, :, :, None] * theta[:, None, None, :]
        left = left.reshape(-1, d * c)
        # products of two features of a key are symmetric: half of them is enough for the one large product
        row, column = torch.triu_indices(d, d, device=query.device)
        if "gram" in stats:
            pairs = stats["gram"].reshape(-1, d, d)[:, row, column]
        else:
            keys = stats["keys"].reshape(-1, d)
            pairs = keys[:, row] * keys[:, column]
        half = left.T @ pairs
        full = half.new_empty(d * c, d, d)
        full[:, row, column] = half
        full[:, column, row] = half
        return full.view(d, c, d, d).permute(0, 2, 3, 1).reshape(d * d, d * c)

    def mean_square(self, stats: Mapping[str, Tensor]) -> Tensor:
        query = _queries(stats)
        n, d = query.shape[0], query.shape[2]
        if "gram" in stats:
            gram = stats["gram"].reshape(n, -1, d * d)
            overlap = (gram @ gram.transpose(1, 2))[:, None]
            query = query.reshape(n, -1, gram.shape[1], d)
            return ((query @ query.transpose(2, 3)) * overlap).sum((2, 3)).flatten()
        overlap = (stats["keys"] @ stats["keys"].transpose(1, 2)).square()
        if "mask" in stats:
            mask = stats["mask"]
            return (query.square().sum(2) * ((mask @ overlap) * mask).sum(2)).flatten()
        return ((query @ query.transpose(1, 2)) * overlap).sum((1, 2))

    def token_outputs(
        self, values: Tensor, pooling: Tensor, u: Tensor, v: Tensor, gate: GateValues | None = None
    ) -> Tensor:
        # token u enters as a key and value: its score under each atom times its own value
        query = torch.einsum("nsd,ns->nd", values, pooling)[:, None]
        if gate is not None:
            query = _looked_at_through(values, pooling, gate)
        seen = torch.einsum("nud,rde->nure", query, u)
        scores = (seen * values[:, :, None]).sum(-1)
        return torch.einsum("nsr,nsd,rdc->nsc", scores, values, v)


def _queries(stats: Mapping[str, Tensor]) -> Tensor:
    """The queries; under a mask between all tokens they are the keys."""
    return stats["query"] if "query" in stats else stats["keys"]


def _numbers(stats: Mapping[str, Tensor], atoms: int) -> int:
    """Numbers of the largest tensor that products with atoms make of one sample."""
    query = _queries(stats)
    count, d = query.shape[1:]
    if _few_products(stats, atoms):
        return count * d * d
    return max(count * atoms * d, count * atoms * stats["keys"].shape[1] if "mask" in stats else 1)


def _looked_at_through(values: Tensor, pooling: Tensor, gate: GateValues) -> Tensor:
    """``m_u = sum_t p_t D[t, u] x_t`` for every token u, ``(n, s, d)``."""
    if isinstance(gate, PairGate):
        weights = pooling[..., None] * gate.table.to(values)[gate.query]
        by_label = weights.transpose(1, 2) @ values
        return by_label.gather(1, gate.key[..., None].expand_as(values))
    return (gate.to(values) * pooling[..., None]).transpose(1, 2) @ values


def _few_products(stats: Mapping[str, Tensor], atoms: int) -> bool:
    """Whether each key has a query of its own, and the products of their features are no more than those atoms give."""
    return "keys" in stats and "mask" not in stats and atoms >= stats["keys"].shape[2]


def _products(stats: Mapping[str, Tensor]) -> Tensor:
    """Products of the features of each key and its query, ``(n s, d d)``."""
    return (stats["query"][..., :, None] * stats["keys"][..., None, :]).flatten(0, 1).flatten(1)
