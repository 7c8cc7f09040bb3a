"""Two layers, or two checkpoints, compared: which attention heads and modes are the same, and what moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import degrees
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..checks import check_flag, check_whole, told
from ..errors import InputError
from .dissection import Dissection
from .matching import MatchedHeads, match_heads
from .metrics import effective_rank, weighted_cosine
from .modes import Modes

__all__ = ["Comparison", "LayerComparison", "compare"]


@dataclass(frozen=True, repr=False)
class LayerComparison:
    """Two layers beside each other.

    Attributes
    ----------
    layers : (int, int)
    similarity : Tensor, shape (heads, heads')
        ``<M, M'> / (||M|| ||M'||)`` of each two attention heads: 1 where they are the same up to a factor.
    best : tuple of (int, int)
        The matching of the attention heads with the largest sum of similarities.
    pairs : tuple of MatchedHeads
        Those that are compared: of the same number, or of ``best``.
    distance : Tensor, shape (pairs,)
        ``||M' - M|| / ||M||`` of each pair: 0 where they are the same.
    weighted_cosine, effective_rank : Tensor, shape (2, pairs)
        Of both heads of each pair.
    """

    layers: tuple[int, int]
    similarity: Tensor
    best: tuple[tuple[int, int], ...]
    pairs: tuple[MatchedHeads, ...]
    distance: Tensor
    weighted_cosine: Tensor
    effective_rank: Tensor

    def __repr__(self) -> str:
        one, two = self.layers
        return f"LayerComparison(layers {one} and {two}, {len(self.pairs)} attention heads)"

    @property
    def heads(self) -> list[dict[str, Any]]:
        """One row of plain numbers for each pair of attention heads; see `Comparison.heads`."""
        best = dict(self.best)
        rows = []
        for i, pair in enumerate(self.pairs):
            head, other = pair.heads
            row: dict[str, Any] = {"layer": self.layers[0], "other_layer": self.layers[1], "head": head}
            row |= {"other_head": other, "best_head": best.get(head)}
            row |= {"similarity": float(self.similarity[head, other]), "distance": float(self.distance[i])}
            for name in ("weighted_cosine", "effective_rank"):
                one, two = getattr(self, name)[:, i].tolist()
                row |= {name: one, f"other_{name}": two, f"{name}_change": two - one}
            for name, angles in (("query", pair.query_angles), ("key", pair.key_angles)):
                row |= {f"{name}_angle": degrees(float(angles[0])), f"mean_{name}_angle": degrees(float(angles.mean()))}
            row["dimensions"] = list(pair.dimensions)
            rows.append(row)
        return rows


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two models, or two layers, beside each other.

    Attributes
    ----------
    layers : list of LayerComparison
    """

    layers: list[LayerComparison]

    def __repr__(self) -> str:
        distances = torch.cat([each.distance for each in self.layers])
        said = f"distances {float(distances.min()):.2g} to {float(distances.max()):.2g}"
        return f"Comparison({len(self.layers)} layers, {len(distances)} attention heads; {said})"

    @property
    def heads(self) -> list[dict[str, Any]]:
        """One row of plain numbers for each pair of attention heads: ``pandas.DataFrame(found.heads)``.

        ``layer``, ``head``, and the same with ``other_``; ``best_head``, the match when heads may be permuted;
        ``similarity`` and ``distance`` of M; ``weighted_cosine`` and ``effective_rank`` of both with their change; the
        largest and the mean principal angle of the leading query directions and key directions, in degrees;
        ``dimensions``, how many lead on either side.
        """
        return [row for layer in self.layers for row in layer.heads]

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON: rows of `heads`, and by layer the ``similarity`` of all heads and the ``best`` match."""
        return {
            "heads": self.heads,
            "layers": [
                {
                    "layers": list(each.layers),
                    "similarity": each.similarity.tolist(),
                    "best": [list(pair) for pair in each.best],
                }
                for each in self.layers
            ],
        }


def compare(
    first: Dissection | Sequence[Modes] | Modes,
    second: Dissection | Sequence[Modes] | Modes,
    *,
    leading: int = 8,
    permuted: bool = False,
) -> Comparison:
    """Compare the modes of two checkpoints, layer by layer, or of two layers.

    Parameters
    ----------
    first, second : Dissection, sequence of Modes, or Modes
        Layers are compared in order. For two layers give theirs: ``compare(found.modes[3], found.modes[7])``.
    leading : int
        Modes whose spans are compared by principal angles.
    permuted : bool
        Compare each attention head with its best match, and not with that of the same number.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        Other numbers of layers or, unless ``permuted``, of attention heads; residual streams of other widths, whose
        directions cannot be compared; directions of some modes alone (a dissection that was saved with fewer); the norm
        folded into one of the two alone.

    Notes
    -----
    Directions are compared in the coordinates of the residual stream, which two checkpoints share where one was trained
    from the other. Modes go together by the assignment with the largest sum of
    ``sqrt(sigma sigma') |u . u'| |v . v'|``, so that strong modes choose first. ``<M, M'>`` is
    ``sum_nm sigma_n sigma'_m (u_n . u'_m) (v_n . v'_m)``: no d x d matrix is formed.

    Examples
    --------
    >>> import headwise, torch
    >>> from headwise.dissect import compare
    >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> before = headwise.dissect(headwise.load_backbone(layer), draws=1)
    >>> layer.self_attn.in_proj_weight.data[:4] *= 2  # queries of the first attention head
    >>> after = headwise.dissect(headwise.load_backbone(layer), draws=1)
    >>> [round(row["distance"], 3) for row in compare(before, after).heads]
    [1.0, 0.0]
    """
    check_whole("leading", leading, least=1)
    check_flag("permuted", permuted)
    one, two = _layers(first), _layers(second)
    if len(one) != len(two):
        raise InputError(
            f"there are {len(one)} layers and {len(two)}; name those that belong together, for example "
            "compare(first.modes[3], second.modes[5])"
        )
    return Comparison([_compare(a, b, leading, permuted) for a, b in zip(one, two, strict=True)])


def _layers(given: Dissection | Sequence[Modes] | Modes) -> list[Modes]:
    if isinstance(given, Modes):
        return [given]
    rows = given.modes if isinstance(given, Dissection) else given
    found = list(rows) if isinstance(rows, Iterable) else []
    if not found or not all(isinstance(each, Modes) for each in found):
        raise InputError(
            f"compare takes two results of headwise.dissect, or the Modes of layers, got {told(given)}; dissect the "
            "models first: compare(headwise.dissect(first), headwise.dissect(second))"
        )
    return found


def _compare(one: Modes, two: Modes, leading: int, permuted: bool) -> LayerComparison:
    where = f"layer {one.layer} of the first and layer {two.layer} of the second"
    if one.u.shape[-1] != two.u.shape[-1]:
        raise InputError(
            f"{where} have residual streams of width {one.u.shape[-1]} and {two.u.shape[-1]}, which share no "
            "directions; singular values, weighted cosines and effective ranks can still be compared (the rows of "
            "Dissection.heads)"
        )
    for each in (one, two):
        if each.u.shape[1] < each.sigma.shape[1]:
            raise InputError(
                f"{where}: the directions of {each.u.shape[1]} of {each.sigma.shape[1]} modes are known, and all are "
                "compared; give a dissection that was saved with all modes, or dissect the model again"
            )
    if one.norm_folded != two.norm_folded:
        raise InputError(f"{where}: the norm is folded into one of them alone; dissect both with the same fold")
    sigma, u, v = (t.to(one.u) for t in (two.sigma, two.u, two.v))
    two = Modes(two.layer, sigma, u, v, two.norm_folded)
    similarity = _similarity(one, two)
    rows, columns = linear_sum_assignment(similarity.cpu().numpy(), maximize=True)
    best = tuple(zip(rows.tolist(), columns.tolist(), strict=True))
    if not permuted and len(one.sigma) != len(two.sigma):
        raise InputError(
            f"{where} have {len(one.sigma)} and {len(two.sigma)} attention heads; compare(..., permuted=True) takes "
            "each with its best match"
        )
    pairs = best if permuted else tuple((head, head) for head in range(len(one.sigma)))
    left, right = ([pair[side] for pair in pairs] for side in (0, 1))
    return LayerComparison(
        (one.layer, two.layer),
        similarity,
        best,
        tuple(match_heads(one, two, pair, leading) for pair in pairs),
        _distance(one, two, left, right),
        torch.stack((weighted_cosine(one)[left], weighted_cosine(two)[right])),
        torch.stack((effective_rank(one)[left], effective_rank(two)[right])),
    )


def _similarity(one: Modes, two: Modes) -> Tensor:
    """``<M, M'>`` over both norms, (heads, heads')."""
    heads, count = two.sigma.shape
    u, v = two.u.flatten(0, 1), (two.sigma[..., None] * two.v).flatten(0, 1)
    inner = []
    for sigma, own_u, own_v in zip(one.sigma, one.u, one.v, strict=True):  # one at a time, for their memory
        products = (own_u @ u.mT) * ((sigma[:, None] * own_v) @ v.mT)
        inner.append(products.sum(0).view(heads, count).sum(-1))
    norms = one.sigma.norm(dim=-1)[:, None] * two.sigma.norm(dim=-1)
    return torch.stack(inner) / norms.clamp(min=torch.finfo(norms.dtype).tiny)


def _distance(one: Modes, two: Modes, heads: list[int], others: list[int]) -> Tensor:
    """``||M' - M|| / ||M||`` of pairs of heads: from thin factors, since traces would lose half of the digits."""
    sigma, other = one.sigma[heads], two.sigma[others]
    left = torch.cat((-sigma[..., None] * one.u[heads], other[..., None] * two.u[others]), 1)
    right = torch.cat((one.v[heads], two.v[others]), 1)
    factors = (torch.linalg.qr(side.mT, mode="r").R for side in (left, right))
    first, second = factors
    tiny = torch.finfo(sigma.dtype).tiny
    return torch.linalg.matrix_norm(first @ second.mT) / sigma.norm(dim=-1).clamp(min=tiny)
