"""The Fourier layer as a token mixer: a global convolution by weights for each low frequency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_whole
from . import MIXERS
from .kinds import Mixer
from .options import Grid, MixerConfig, check_divides
from .spectral import at_least_single, complex_matrix, parts
from .traits import Traits

__all__ = ["Fno", "FnoConfig"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "none": lambda x: x}


@dataclass(frozen=True)
class FnoConfig(MixerConfig):
    """Options of `Fno`.

    Parameters
    ----------
    modes : (int, int)
        Highest frequencies along rows and columns that have weights.
    num_blocks : int
        Groups of channels that do not meet in the convolution (B-FNO); divides ``dim``.
    bypass : bool
        The term ``X W``, which does not mix tokens.
    activation : {"relu", "gelu", "none"}
        What is applied to the sum of both terms.
    projection : bool
        A last product in each group of channels, as in the layer whose training is a convex problem.
    variant : {"paper", "official"}
        Frequencies ``-m .. m`` along both axes, or ``-m .. m - 1`` along rows and ``-(m - 1) .. m - 1`` along columns.
    """

    modes: tuple[int, int] = (4, 4)
    num_blocks: int = 1
    bypass: bool = True
    activation: Literal["relu", "gelu", "none"] = "relu"
    projection: bool = False
    variant: Literal["paper", "official"] = "paper"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divides(self, "num_blocks", "dim")
        for m in self.modes:
            check_whole("each of modes", m, least=0 if self.variant == "paper" else 1)


@MIXERS.register("fno")
class Fno(Mixer):
    r"""The layer of the Fourier neural operator on the grid of the tokens.

    .. math:: Y = \sigma\big(X W + b + \mathcal{F}^{-1}(R_k\, \mathcal{F}(X)_k)\big)

    with one complex matrix ``R_k`` for each frequency k up to ``modes``, and none above. X is real, so ``R_{-k}`` is
    the conjugate of ``R_k``; where both have weights, their conjugate-symmetric part acts. A grid that is too small for
    a frequency leaves it out: one layer serves grids of any size.

    Notes
    -----
    Li et al., "Fourier Neural Operator for Parametric Partial Differential Equations" (arXiv 2010.08895), equations 2
    and 5, reconstructed from memory as far as ``variant="paper"`` and ReLU go: paper and official code keep different
    frequencies, and later code has GELU.

    ``bypass=False, projection=True`` and ``modes`` of half the grid is the circular convolution over all tokens
    ``relu(circ(X) W_1) W_2`` of Sahiner et al. (arXiv 2205.08078), whose global optimum the head ``fno`` of this
    library finds, and the head ``bfno`` with ``num_blocks``.

    Tokens (B, N, D) of any grid; a sequence of N tokens is the grid ``(1, N)``. A token that is not real counts as a
    zero token. Weights start as in the official code: uniform on [0, 1), divided by the square of the group's width.

    Cost: ``2 N D^2 + 8 K D^2 / blocks`` FLOPs for K frequencies, ``2 N D^2 / blocks`` more with a projection, and the
    transforms (in the order of ``N D log N``, which torch does not count); ``D^2 + D + 2 K D^2 / blocks`` parameters.
    For modes m and m', K is ``(2 m + 1) (m' + 1)``, official ``2 m m'``; of the FLOPs it counts the frequencies that
    the grid has. While they are made real matrices, the numbers of the weights are held five times.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> mixer = create("fno", dim=8, modes=(2, 2), num_blocks=4)
    >>> mixer(torch.randn(1, 35, 8), grid=(5, 7)).shape
    torch.Size([1, 35, 8])
    """

    name = "fno"
    traits = Traits(1.0, shift_equivariant=True, grid="any", mask=True)
    Config = FnoConfig

    def __init__(self, config: FnoConfig) -> None:
        super().__init__(config)
        d, blocks, more = config.dim, config.num_blocks, int(config.variant == "paper")
        self._non_negative = config.modes[0] + more  # frequencies along rows from 0 on; below 0 there are modes[0]
        width, columns = d // blocks, config.modes[1] + more
        # along rows in the order of the transform: 0, 1, ..., then -m, ..., -1
        self.weight = nn.Parameter(
            torch.rand(2, self._non_negative + config.modes[0], columns, blocks, width, width) / width**2
        )
        self.bypass = nn.Linear(d, d) if config.bypass else None
        self.projection = nn.Parameter(torch.randn(blocks, width, width) * width**-0.5) if config.projection else None

    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        assert grid is not None
        out = self._convolved(at_least_single(x).unflatten(1, grid), grid).flatten(1, 2).to(x.dtype)
        if self.bypass is not None:
            out = out + self.bypass(x)
        out = ACTIVATIONS[self.config.activation](out)
        if self.projection is not None:
            out = torch.einsum("...gi,gio->...go", out.unflatten(-1, self.projection.shape[:2]), self.projection)
            out = out.flatten(-2)
        return out

    def _kept(self, grid: Grid) -> tuple[int, int, int]:
        """Frequencies with weights that a grid has: along rows from 0 on and below 0, and along columns."""
        rows, columns = grid
        above, below = min(self._non_negative, (rows + 1) // 2), min(self.config.modes[0], rows // 2)
        return above, below, min(self.weight.shape[2], columns // 2 + 1)

    def _convolved(self, x: Tensor, grid: Grid) -> Tensor:
        """The convolution of ``(B, rows, columns, D)``: only frequencies with weights are ever multiplied."""
        (rows, columns), (above, below, kept) = grid, self._kept(grid)
        z = torch.fft.fft(torch.fft.rfft(x, dim=2)[:, :, :kept], dim=1)
        z = torch.cat([z[:, :above], z[:, rows - below :]], 1)
        last = self.weight.shape[1]
        weight = torch.cat([self.weight[:, :above, :kept], self.weight[:, last - below :, :kept]], 1)
        z = z.unflatten(-1, (self.config.num_blocks, -1))
        y = torch.einsum("bklgi,klgio->bklgo", parts(z), complex_matrix(weight).to(x.dtype)).to(x.dtype)
        y = torch.complex(*y.chunk(2, -1)).flatten(-2)
        empty = y.new_zeros(y.shape[0], rows - above - below, kept, y.shape[-1])
        y = torch.cat([y[:, :above], empty, y[:, above:]], 1)
        return torch.fft.irfft(torch.fft.ifft(y, dim=1), n=columns, dim=2)

    def _weights(self, grid: Grid | None) -> int:
        """Numbers of the weights that a grid uses."""
        assert grid is not None  # `cost` has given one
        above, below, kept = self._kept(grid)
        return 2 * (above + below) * kept * self.config.dim**2 // self.config.num_blocks

    def flops(self, num_tokens: int, grid: Grid | None) -> int:
        d, blocks = self.config.dim, self.config.num_blocks
        found = 4 * self._weights(grid)
        if self.bypass is not None:
            found += 2 * num_tokens * d * d
        if self.projection is not None:
            found += 2 * num_tokens * d * d // blocks
        return found

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        # the weights in use, both halves of their real matrices and these are held before anything of the grid is
        return max(2 * num_tokens * self.config.dim, 5 * self._weights(grid))
