"""The dissection of a whole backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks import check_backbone
from ..contracts import Backbone
from .capture import BOUND, check_logits
from .metrics import (
    chance_band,
    effective_rank,
    mode_cosines,
    permuted_weighted_cosine,
    symmetric_share,
    weighted_cosine,
)
from .modes import Modes, all_modes

__all__ = ["Dissection", "dissect"]


@dataclass(frozen=True)
class Dissection:
    """Modes and metrics of every attention head, layer by layer.

    Attributes
    ----------
    modes : list of Modes
    weighted_cosine, effective_rank, symmetric_share : Tensor, shape (layers, heads)
    chance : float
        Band of single mode cosines: 99 % of random directions lie within plus or minus this.
    weighted_chance : Tensor, shape (layers, heads)
        The same for the weighted cosine of each head, from permutations of its key features.
    difference : float or None
        Largest difference between the model's logits and those of the modes, as a share of their spread; None where no
        images were given.
    """

    modes: list[Modes]
    weighted_cosine: Tensor
    effective_rank: Tensor
    symmetric_share: Tensor
    chance: float
    weighted_chance: Tensor
    difference: float | None

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON; the modes themselves are left out.

        Returns
        -------
        dict
            ``weighted_cosine``, ``effective_rank``, ``symmetric_share`` and ``weighted_chance``: lists of layers, each
            a list of attention heads. ``chance``: a number. ``norm_folded``: whether the norm is part of the modes.
            ``check``: ``{"largest_difference": ..., "bound": ...}``, or None where no check was made.
        """
        return {
            "weighted_cosine": self.weighted_cosine.tolist(),
            "effective_rank": self.effective_rank.tolist(),
            "symmetric_share": self.symmetric_share.tolist(),
            "chance": self.chance,
            "weighted_chance": self.weighted_chance.tolist(),
            "norm_folded": self.modes[0].norm_folded,
            "check": None if self.difference is None else {"largest_difference": self.difference, "bound": BOUND},
        }


@torch.no_grad()
def dissect(
    model: Backbone, images: Tensor | None = None, *, fold: bool = True, draws: int = 100, seed: int = 0
) -> Dissection:
    """Decompose the query-key interaction of every attention head of a backbone.

    Parameters
    ----------
    model : Backbone
    images : Tensor, optional
        A preprocessed batch; the modes are then checked against the logits that the model computes.
    fold : bool
        Fold the norm in front of each layer into its matrix. The check needs it.
    draws, seed : int
        Permutations behind the chance band of the weighted cosine.

    Returns
    -------
    Dissection

    Raises
    ------
    InputError
        What is given is no backbone, or a layer with something that modes do not describe, by name.
    HeadwiseError
        Modes that do not reproduce the model's logits.

    Examples
    --------
    >>> import headwise
    >>> model = headwise.load_backbone("embedded")  # doctest: +SKIP
    >>> headwise.dissect(model).weighted_cosine.shape  # doctest: +SKIP
    torch.Size([6, 4])
    """
    check_backbone(model, "query_keys")
    records = model.query_keys()
    found = all_modes(records, fold)
    difference = max(check_logits(model, records, found, images)) if images is not None and fold else None
    permuted = [permuted_weighted_cosine(r, draws, seed, fold).abs().quantile(0.99, dim=0) for r in records]
    return Dissection(
        found,
        torch.stack([weighted_cosine(m) for m in found]),
        torch.stack([effective_rank(m) for m in found]),
        torch.stack([symmetric_share(m) for m in found]),
        chance_band(records[0].query.shape[2]),
        torch.stack(permuted),
        difference,
    )


def layer_cosines(found: list[Modes]) -> Tensor:
    """Mean mode cosine of each layer, ``(layers,)``."""
    return torch.stack([mode_cosines(m).mean() for m in found])
