"""Attentive convolution: each image makes its own small depth-wise kernels, and their taps compete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_whole
from ..errors import InputError
from . import MIXERS
from .kinds import Mixer
from .maps import as_map, as_tokens
from .options import Grid, MixerConfig
from .traits import Traits

__all__ = ["AttentiveConvolution", "AttentiveConvolutionConfig"]


@dataclass(frozen=True)
class AttentiveConvolutionConfig(MixerConfig):
    """Options of `AttentiveConvolution`.

    Parameters
    ----------
    kernel_size : int
        Side k of the kernels; odd.
    approximate : {"none", "tanh"}
        GELU as it is (classifiers), or by tanh (the official diffusion models).
    """

    kernel_size: int = 3
    approximate: Literal["none", "tanh"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("kernel_size", self.kernel_size, least=1)
        if self.kernel_size % 2 == 0:
            raise InputError(f"kernel_size must be odd, got {self.kernel_size}; take {self.kernel_size + 1}")


@MIXERS.register("attentive_convolution")
class AttentiveConvolution(Mixer):
    r"""Convolution with one kernel for each sample and channel, made from the sample.

    .. math::
        A &= \mathrm{GELU}(\mathrm{pool}_{k^2}(X) W_a + b_a)^T\, W_k^T + b_k \\
        Y &= \mathrm{DW}\big(X W_x + b_x;\; A_c - \sigma(\delta_c)\, \mathrm{mean}(A_c)\big) W_o + b_o

    ``pool`` takes the means of k^2 strips of tokens in their order, row after row, which overlap where k^2 does not
    divide N; ``W_k`` ``(k^2, k^2)`` is shared by all channels; DW is a depth-wise convolution with zeros outside the
    grid. The learned share of the mean that is taken away is the competition of the taps.

    Notes
    -----
    Yu et al., "Attentive Convolution" (arXiv 2510.20092), as the official code computes it. Here the means are taken
    before the product with ``W_a``, which gives the same numbers. Layers on channels are linear: ``kernel_proj``,
    ``x_proj`` and ``proj`` of the official classifiers are convolutions of side 1 with the same weights.

    Tokens (B, N, D) of any grid. The strips are those of the whole grid, so it takes no mask, and does not follow
    shifts; trained on one size of grid, it means something else on another.

    Cost: ``4 N D^2 + 2 k^2 N D + 2 k^2 D (D + k^2)`` FLOPs, ``3 (D^2 + D) + k^4 + k^2 + D`` parameters.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> mixer = create("attentive_convolution", dim=8)
    >>> mixer(torch.randn(1, 35, 8), grid=(7, 5)).shape
    torch.Size([1, 35, 8])
    """

    name = "attentive_convolution"
    traits = Traits(1.0, grid="any")
    Config = AttentiveConvolutionConfig

    def __init__(self, config: AttentiveConvolutionConfig) -> None:
        super().__init__(config)
        d, taps = config.dim, config.kernel_size**2
        self.delta = nn.Parameter(torch.zeros(d))
        self.kernel_proj = nn.Linear(d, d)
        self.kernel_gen = nn.Linear(taps, taps)
        self.x_proj = nn.Linear(d, d)
        self.proj = nn.Linear(d, d)
        for layer in (self.kernel_proj, self.kernel_gen, self.x_proj, self.proj):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def kernels(self, x: Tensor) -> Tensor:
        """The kernels ``(B, D, k, k)`` that tokens ``(B, N, D)`` make."""
        k = self.config.kernel_size
        means = F.adaptive_avg_pool1d(x.transpose(1, 2), k * k)
        found = F.gelu(self.kernel_proj(means.transpose(1, 2)), approximate=self.config.approximate)
        found = self.kernel_gen(found.transpose(1, 2))
        found = found - self.delta.sigmoid()[:, None] * found.mean(-1, keepdim=True)
        return found.unflatten(-1, (k, k))

    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        assert grid is not None
        kernels = self.kernels(x).flatten(0, 1)[:, None]
        field = as_map(self.x_proj(x), grid)
        # samples and channels as channels of one map, each with a kernel of its own
        y = F.conv2d(field.flatten(0, 1)[None], kernels, padding=self.config.kernel_size // 2, groups=kernels.shape[0])
        return self.proj(as_tokens(y.view(field.shape)))

    def flops(self, num_tokens: int, grid: Grid | None) -> int:
        n, d, taps = num_tokens, self.config.dim, self.config.kernel_size**2
        return 4 * n * d * d + 2 * taps * n * d + 2 * taps * d * (d + taps)

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        return 2 * num_tokens * self.config.dim
