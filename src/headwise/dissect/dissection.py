"""The dissection of a whole backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks import check_backbone
from ..contracts import AttentionModel, QueryKey
from ..errors import InputError
from . import faithful
from .faithful import Faithful
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
    check : Faithful or None
        Differences between the logits that the model computes and those of its records and modes; None where no inputs
        were given.
    """

    modes: list[Modes]
    weighted_cosine: Tensor
    effective_rank: Tensor
    symmetric_share: Tensor
    chance: float
    weighted_chance: Tensor
    check: Faithful | None

    @property
    def difference(self) -> float | None:
        """Largest difference of all attention heads, as a share of the logits' spread; None without a check."""
        return None if self.check is None else self.check.largest

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON; the modes themselves are left out.

        Returns
        -------
        dict
            ``weighted_cosine``, ``effective_rank``, ``symmetric_share`` and ``weighted_chance``: lists of layers, each
            a list of attention heads. ``chance``: a number. ``norm_folded``: whether the norm is part of the modes.
            ``check``: the largest difference, its bound and what was left out (`Faithful.to_dict`), or None where no
            check was made.
        """
        return {
            "weighted_cosine": self.weighted_cosine.tolist(),
            "effective_rank": self.effective_rank.tolist(),
            "symmetric_share": self.symmetric_share.tolist(),
            "chance": self.chance,
            "weighted_chance": self.weighted_chance.tolist(),
            "norm_folded": self.modes[0].norm_folded,
            "check": None if self.check is None else self.check.to_dict(),
        }


@torch.no_grad()
def dissect(
    model: AttentionModel, check: Any = None, *, fold: bool = True, draws: int = 100, seed: int = 0
) -> Dissection:
    """Decompose the query-key interaction of every attention head of a backbone.

    Parameters
    ----------
    model : AttentionModel
        From `headwise.load_backbone`: a backbone by its name, or a torch module.
    check : Tensor or mapping, optional
        Inputs of the model (a preprocessed batch). The logits that it computes are then compared, in float64, with
        those of its records and modes; see `headwise.dissect.check`.
    fold : bool
        Fold the norm in front of each layer into its matrix. Without it the check is one of the records alone.
    draws, seed : int
        Permutations behind the chance band of the weighted cosine.

    Returns
    -------
    Dissection

    Raises
    ------
    InputError
        What is given is no backbone, or a layer with something that modes do not describe, by name; or layers whose
        attention heads differ in number.
    HeadwiseError
        Records or modes that do not reproduce the model's logits, by the name of the layer.

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
    _check_heads(records)
    checked = None if check is None else faithful.check(model, records, check, found if fold else None)
    permuted = [permuted_weighted_cosine(r, draws, seed, fold).abs().quantile(0.99, dim=0) for r in records]
    return Dissection(
        found,
        torch.stack([weighted_cosine(m) for m in found]),
        torch.stack([effective_rank(m) for m in found]),
        torch.stack([symmetric_share(m) for m in found]),
        chance_band(records[0].query.shape[2]),
        torch.stack(permuted),
        checked,
    )


def _check_heads(records: list[QueryKey]) -> None:
    counts = {len(record.query): record.name for record in records}
    if len(counts) > 1:
        (a, first), (b, second), *_ = counts.items()
        raise InputError(
            f"{first} has {a} attention heads and {second} has {b}; give a model, or a part of one, where they agree: "
            "headwise.load_backbone(model.vision_model)"
        )


def layer_cosines(found: list[Modes]) -> Tensor:
    """Mean mode cosine of each layer, ``(layers,)``."""
    return torch.stack([mode_cosines(m).mean() for m in found])
