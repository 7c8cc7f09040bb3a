"""The adaptive Fourier neural operator: one small network for every frequency, in blocks of channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_nonnegative, check_whole
from . import MIXERS
from .kinds import Mixer
from .options import Grid, MixerConfig, check_divides
from .spectral import at_least_single, complex_matrix, parts
from .traits import Traits

__all__ = ["Afno", "AfnoConfig"]


@dataclass(frozen=True)
class AfnoConfig(MixerConfig):
    """Options of `Afno`.

    Parameters
    ----------
    num_blocks : int
        Groups of channels, each with its own small network; divides ``dim``.
    hidden_factor : int
        Width between the two layers of the network, in widths of a group.
    threshold : float
        Soft threshold: how much nearer to zero every real and imaginary part comes; at least 0.
    """

    num_blocks: int = 8
    hidden_factor: int = 1
    threshold: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divides(self, "num_blocks", "dim")
        check_whole("hidden_factor", self.hidden_factor, least=1)
        check_nonnegative("threshold", self.threshold)


@MIXERS.register("afno")
class Afno(Mixer):
    r"""Adaptive Fourier neural operator on the grid of the tokens.

    .. math:: Y = X + \mathcal{F}^{-1}\Big(S_\lambda\big(W_2\, \mathrm{ReLU}(W_1 \mathcal{F}(X)_k + b_1) + b_2\big)\Big)

    with complex weights in blocks of channels, the same for all frequencies k; ReLU and the soft threshold
    ``S(z) = sign(z) max(|z| - lambda, 0)`` take real and imaginary parts apart; the transform is orthonormal.

    Notes
    -----
    Guibas et al., "Adaptive Fourier Neural Operators" (arXiv 2111.13587). Residual, orthonormal transform, thresholds
    of both parts and the start of the weights (normal, 0.02) are those of the official code; its fraction of kept
    frequencies, 1 by default, is not here. Where a frequency is its own mirror image, the network's imaginary part has
    no meaning and is dropped.

    Not equivariant to shifts: a shift turns the phase of each frequency, and ReLU and biases know phases apart.

    Tokens (B, N, D) of any grid; a token that is not real counts as a zero token.

    Cost: ``16 F h D^2 / blocks`` FLOPs for ``F = rows (columns // 2 + 1)`` frequencies and a hidden factor h, and the
    transforms (in the order of ``N D log N``, which torch does not count); ``4 h D^2 / blocks + 2 (h + 1) D``
    parameters.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> mixer = create("afno", dim=8, num_blocks=4)
    >>> mixer(torch.randn(1, 35, 8), grid=(5, 7)).shape
    torch.Size([1, 35, 8])
    """

    name = "afno"
    traits = Traits(1.0, grid="any", mask=True)
    Config = AfnoConfig

    def __init__(self, config: AfnoConfig) -> None:
        super().__init__(config)
        blocks, width = config.num_blocks, config.dim // config.num_blocks
        hidden = width * config.hidden_factor
        self.w1 = nn.Parameter(0.02 * torch.randn(2, blocks, width, hidden))
        self.b1 = nn.Parameter(0.02 * torch.randn(2, blocks, hidden))
        self.w2 = nn.Parameter(0.02 * torch.randn(2, blocks, hidden, width))
        self.b2 = nn.Parameter(0.02 * torch.randn(2, blocks, width))

    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        assert grid is not None
        field = at_least_single(x).unflatten(1, grid)
        z = torch.fft.fft(torch.fft.rfft(field, dim=2, norm="ortho"), dim=1, norm="ortho")
        y = self._layer(parts(z.unflatten(-1, (self.config.num_blocks, -1))), self.w1, self.b1)
        y = self._layer(F.relu(y), self.w2, self.b2)
        y = F.softshrink(y.to(field.dtype), self.config.threshold)
        y = torch.complex(*y.chunk(2, -1)).flatten(-2)
        # one axis after the other: transforms of two axes to real numbers differ between devices on such input
        y = torch.fft.irfft(torch.fft.ifft(y, dim=1, norm="ortho"), n=grid[1], dim=2, norm="ortho")
        return x + y.flatten(1, 2).to(x.dtype)

    @staticmethod
    def _layer(z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.einsum("...gi,gio->...go", z, complex_matrix(weight).to(z.dtype)) + torch.cat([*bias], -1)

    def _frequencies(self, grid: Grid | None) -> int:
        assert grid is not None  # `cost` has given one
        return grid[0] * (grid[1] // 2 + 1)

    def flops(self, num_tokens: int, grid: Grid | None) -> int:
        d, blocks = self.config.dim, self.config.num_blocks
        return 16 * self._frequencies(grid) * self.config.hidden_factor * d * d // blocks

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        numbers = 2 * self._frequencies(grid) * self.config.dim  # of the transform
        return 2 * numbers * (1 + self.config.hidden_factor) + 2 * self.w1.numel()
