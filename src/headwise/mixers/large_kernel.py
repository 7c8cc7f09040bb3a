"""Large kernel attention: a gate for each place and channel, from a large convolution in three small ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_whole
from ..errors import InputError
from . import MIXERS
from .kinds import Mixer
from .maps import as_map, as_tokens, on_map, wrapped
from .options import Grid, MixerConfig, told
from .traits import Traits

__all__ = ["LargeKernel", "LargeKernelConfig"]


@dataclass(frozen=True)
class LargeKernelConfig(MixerConfig):
    """Options of `LargeKernel`.

    Parameters
    ----------
    kernel_size : int
        Side K of the convolution that the three small ones stand for; at least ``dilation``.
    dilation : int
        Dilation d: the first kernel has the side ``2 d - 1``, the second ``ceil(K / d)``.
    padding : {"zeros", "circular"}
        What lies outside the grid: zeros as in the paper, or the other side of it (a torus).
    """

    kernel_size: int = 21
    dilation: int = 3
    padding: Literal["zeros", "circular"] = "zeros"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("dilation", self.dilation, least=1)
        check_whole("kernel_size", self.kernel_size, least=1)
        if self.kernel_size < self.dilation:
            said = told(self, "kernel_size")
            raise InputError(f"{said} is below dilation={self.dilation}; give a kernel_size from {self.dilation} on")


@MIXERS.register("large_kernel")
class LargeKernel(Mixer):
    r"""Large kernel attention with the two projections and the inner residual of the Visual Attention Network.

    .. math:: Y = X + W_2 \big(U \odot W_g\, \mathrm{DW}_{d}(\mathrm{DW}(U))\big), \quad U = \mathrm{GELU}(W_1 X)

    on the grid of the tokens: DW is a depth-wise convolution of side 2d - 1, ``DW_d`` one of side ``ceil(K / d)`` with
    dilation d; all five convolutions have biases. The gate is neither bounded nor normalised.

    Notes
    -----
    Guo et al., "Visual Attention Network" (arXiv 2202.09741). The inner residual is that of the official code; the
    block around it adds its own.

    A token that is not real counts as a place outside the grid with zeros: before each depth-wise convolution its place
    is set to zero again, so that a map with a masked margin gives what the map without that margin gives.

    Cost for K = 21, d = 3: ``6 N D^2 + 148 N D`` FLOPs, ``3 D^2 + 79 D`` parameters. Tokens (B, N, D) of any grid.
    Shift-equivariant on the torus with ``padding="circular"`` only.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> mixer = create("large_kernel", dim=8)
    >>> mixer(torch.randn(1, 12, 8), grid=(3, 4)).shape
    torch.Size([1, 12, 8])
    """

    name = "large_kernel"
    traits = Traits(1.0, grid="any", mask=True)
    Config = LargeKernelConfig

    def __init__(self, config: LargeKernelConfig) -> None:
        super().__init__(config)
        self.traits = replace(self.traits, shift_equivariant=config.padding == "circular")
        d, near, far = config.dim, 2 * config.dilation - 1, -(-config.kernel_size // config.dilation)
        self.pre = nn.Conv2d(d, d, 1)
        self.depthwise = nn.Conv2d(d, d, near, padding="same", groups=d)
        self.dilated = nn.Conv2d(d, d, far, padding="same", dilation=config.dilation, groups=d)
        self.pointwise = nn.Conv2d(d, d, 1)
        self.post = nn.Conv2d(d, d, 1)
        for conv in (self.pre, self.depthwise, self.dilated, self.pointwise, self.post):
            nn.init.normal_(conv.weight, std=(2 * conv.groups / (conv.weight[0, 0].numel() * d)) ** 0.5)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # torch says that a bias may be None

    def gate(self, u: Tensor, real: Tensor | None = None) -> Tensor:
        """The attention of a map ``(B, D, H, W)``: what the map is multiplied with, of the same shape."""
        return self.pointwise(self._spread(self.dilated, self._spread(self.depthwise, u, real), real))

    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        assert grid is not None
        u = F.gelu(self.pre(as_map(x, grid)))
        return x + as_tokens(self.post(u * self.gate(u, on_map(mask, grid))))

    def _spread(self, conv: nn.Conv2d, x: Tensor, real: Tensor | None) -> Tensor:
        if real is not None:
            x = torch.where(real, x, torch.zeros_like(x))
        if self.config.padding == "zeros":
            return conv(x)
        reach = conv.dilation[0] * (conv.kernel_size[0] - 1)
        x = wrapped(x, reach // 2, reach - reach // 2)
        return F.conv2d(x, conv.weight, conv.bias, dilation=conv.dilation, groups=conv.groups)

    def flops(self, num_tokens: int, grid: Grid | None) -> int:
        d = self.config.dim
        taps = self.depthwise.weight[0, 0].numel() + self.dilated.weight[0, 0].numel()
        return num_tokens * (6 * d * d + 2 * taps * d)

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        return 3 * num_tokens * self.config.dim
