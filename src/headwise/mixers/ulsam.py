"""Ultra-light subspace attention: one map of attention for each group of channels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import MIXERS
from .kinds import Recalibration
from .options import Grid, MixerConfig, check_divides
from .traits import Traits

__all__ = ["Ulsam", "UlsamConfig"]


@dataclass(frozen=True)
class UlsamConfig(MixerConfig):
    """Options of `Ulsam`.

    Parameters
    ----------
    num_groups : int
        Groups of neighbouring channels (subspaces), each with a map of its own; divides ``dim``.
    variant : {"paper", "official"}
        Without norms, activations and biases, or with all three after both convolutions as in the official code.
    """

    num_groups: int = 4
    variant: Literal["paper", "official"] = "paper"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divides(self, "num_groups", "dim")


@MIXERS.register("ulsam")
class Ulsam(Recalibration):
    r"""Ultra-lightweight subspace attention: a map of attention over all places for each group of channels.

    .. math:: Y_n = X_n \odot (1 + A_n), \quad
              A_n = \mathrm{softmax}_{HW}\big(\mathrm{PW}(\mathrm{maxpool}_{3 \times 3}(\mathrm{DW}(X_n)))\big)

    for group n of channels: DW scales each channel, PW adds the channels of the group to one map. With
    ``variant="official"`` DW and PW have biases, and batch norm and ReLU follow each.

    Notes
    -----
    Saini et al., "ULSAM: Ultra-Lightweight Subspace Attention Module" (arXiv 2006.15102). ``variant="paper"`` is
    reconstructed: the equation from memory, without biases so that it has the ``2 D`` parameters that the paper counts.
    The official batch norms have momentum 0.9: their running statistics follow the last batch. In training they make
    samples of a batch depend on one another.

    The mean of ``1 + A`` over the places is ``1 + 1 / HW``: on large maps the module is nearly the identity.

    Maps (B, D, H, W) of any size. Cost: ``4 H W D`` FLOPs; ``2 D`` parameters, official ``5 D + 3 groups``.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> create("ulsam", dim=8, num_groups=2)(torch.randn(1, 8, 5, 6)).shape
    torch.Size([1, 8, 5, 6])
    """

    name = "ulsam"
    traits = Traits(1.0, grid="any", batch_independent=False)
    Config = UlsamConfig

    def __init__(self, config: UlsamConfig) -> None:
        super().__init__(config)
        d, groups, official = config.dim, config.num_groups, config.variant == "official"
        self.traits = replace(self.traits, batch_independent=not official)
        self.depthwise = nn.Conv2d(d, d, 1, groups=d, bias=official)
        self.pointwise = nn.Conv2d(d, groups, 1, groups=groups, bias=official)
        self.norms = nn.ModuleList([nn.BatchNorm2d(k, momentum=0.9) for k in (d, groups)] if official else [])

    def recalibrate(self, x: Tensor) -> Tensor:
        t = self._normed(self.depthwise(x), 0)
        a = self._normed(self.pointwise(F.max_pool2d(t, 3, stride=1, padding=1)), 1)
        attention = torch.softmax(a.flatten(2), -1).view(a.shape).to(x.dtype)
        groups = x.unflatten(1, (self.config.num_groups, -1))
        return (groups * (1 + attention[:, :, None])).flatten(1, 2)

    def _normed(self, x: Tensor, which: int) -> Tensor:
        return F.relu(self.norms[which](x)) if self.norms else x

    def flops(self, num_tokens: int, grid: Grid | None) -> int:
        return 4 * num_tokens * self.config.dim

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        return 2 * num_tokens * self.config.dim
