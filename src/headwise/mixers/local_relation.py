"""UniFormer's local relation aggregator: an affinity of tokens that is learned and stands still."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..checks import check_whole
from ..errors import InputError
from . import MIXERS
from .attending import near_on_grid
from .kinds import Mixer
from .options import Grid, MixerConfig
from .traits import Traits

__all__ = ["LocalRelation", "LocalRelationConfig"]


@dataclass(frozen=True)
class LocalRelationConfig(MixerConfig):
    """Options of `LocalRelation`.

    Parameters
    ----------
    kernel_size : int
        Rows and columns of the neighbourhood; odd.
    """

    kernel_size: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("kernel_size", self.kernel_size, least=1)
        if self.kernel_size % 2 == 0:
            raise InputError(f"kernel_size must be odd, so that a token is in the middle, got {self.kernel_size}")


@MIXERS.register("local_relation")
class LocalRelation(Mixer):
    r"""Tokens gather their neighbours by weights that depend on the distance alone.

    .. math::

        Y = \mathrm{concat}_n(A_n V_n)\, U + b_U, \qquad (A_n V_n)_i = b_n + \sum_{j \in \Omega_i} a_n[j - i] V_n[j]

    with ``V = X W_V + b_V``, one attention head n for each channel and a window :math:`\Omega_i` of k x k places: a
    linear map, a depthwise convolution with zeros around the grid, and a linear map, nothing between them.

    Notes
    -----
    Li et al., "UniFormer: Unifying Convolution and Self-attention for Visual Recognition" (arXiv 2201.09450): the
    multi-head relation aggregator of its first stages. The paper counts i - j, which mirrors the stored weights and
    nothing else. The biases are those of the official code, which gives each of the three maps one. The batch norm
    before, the residual and the dynamic position embedding belong to the block. Tokens that a mask leaves out count as
    places outside the grid.

    Cost: ``4 N D^2 + 2 N k^2 D`` FLOPs.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> create("local_relation", dim=8, kernel_size=3)(torch.randn(1, 12, 8), grid=(3, 4)).shape
    torch.Size([1, 12, 8])
    """

    name = "local_relation"
    traits = Traits(1.0, grid="any", mask=True)
    Config = LocalRelationConfig

    def __init__(self, config: LocalRelationConfig) -> None:
        super().__init__(config)
        dim, k = config.dim, config.kernel_size
        self.v = nn.Linear(dim, dim)
        self.affinity = nn.Conv2d(dim, dim, k, padding=k // 2, groups=dim)
        self.proj = nn.Linear(dim, dim)

    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        v = self.v(x)
        if mask is not None:
            v = torch.where(mask[..., None], v, torch.zeros_like(v))
        maps = v.transpose(1, 2).unflatten(2, grid)
        return self.proj(self.affinity(maps).flatten(2).transpose(1, 2))

    def pair_mask(self, x: Tensor, grid: Grid | None = None) -> Tensor:
        """Which token sees which, ``(B, N, N)``: the window mask as a gate of a convex head. It does not look at x."""
        rows, columns = self._grid(x.shape[1], grid)  # type: ignore[misc]
        reach = self.config.kernel_size // 2
        near = [(p[:, None] - p).abs() <= reach for p in (torch.arange(s, device=x.device) for s in (rows, columns))]
        return near_on_grid(near[0], near[1], len(x))

    def flops(self, num_tokens: int, grid: Grid | None) -> int:
        dim = self.config.dim
        return 4 * num_tokens * dim * dim + 2 * num_tokens * self.config.kernel_size**2 * dim

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        return 2 * num_tokens * self.config.dim
