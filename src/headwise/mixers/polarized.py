"""Polarized self-attention: a gate for each channel and one for each place, parallel or one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import InputError
from . import MIXERS
from .kinds import Recalibration
from .options import Grid, MixerConfig
from .traits import Traits

__all__ = ["PolarizedConfig", "PolarizedParallel", "PolarizedSequential", "PolarizedSequentialConfig"]


@dataclass(frozen=True)
class PolarizedConfig(MixerConfig):
    """Options of `PolarizedParallel`; ``dim`` is even.

    Parameters
    ----------
    variant : {"paper", "official"}
        The gates of the paper, or those that the official code computes.
    """

    variant: Literal["paper", "official"] = "paper"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % 2:
            raise InputError(f"dim must be even: half of the channels make the gates; got {self.dim}")


@dataclass(frozen=True)
class PolarizedSequentialConfig(PolarizedConfig):
    """Options of `PolarizedSequential`: as `PolarizedConfig`, but the official variant needs ``dim`` 16, 24, 32, ..."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant == "official" and (self.dim % 8 or self.dim < 16):
            raise InputError(
                "dim must be a multiple of 8 from 16 on: an eighth of the channels is normalised, and the norm of one "
                f"is zero; got {self.dim}"
            )


class _Polarized(Recalibration):
    """Both gates. They need no map of half the channels: what is linear moves behind the means over places."""

    traits = Traits(1.0, permutation_equivariant=True, shift_equivariant=True, grid="any")
    Config = PolarizedConfig

    def __init__(self, config: PolarizedConfig) -> None:
        super().__init__(config)
        d, half, bias = config.dim, config.dim // 2, config.variant == "paper"
        self.q_r = nn.Linear(d, 1, bias=bias)
        self.v_r = nn.Linear(d, half, bias=bias)
        self.up = nn.Sequential(*self._up(d, half))
        self.q_l = nn.Linear(d, half, bias=bias)
        self.v_l = nn.Linear(d, half, bias=bias)
        for layer in (self.q_r, self.v_r, self.q_l, self.v_l):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            if bias:
                nn.init.zeros_(layer.bias)

    def _up(self, d: int, half: int) -> list[nn.Module]:
        if self.config.variant == "paper":
            return [nn.Linear(half, d), nn.LayerNorm(d)]
        return [nn.Linear(half, d, bias=False)]

    def channel_gate(self, x: Tensor) -> Tensor:
        """``(B, D, 1)`` for places ``(B, D, N)``; weights over places add up to one, so biases pass unchanged."""
        attention = torch.softmax(_on_places(self.q_r.weight, self.q_r.bias, x), -1)
        pooled = (x @ attention.transpose(1, 2).to(x.dtype)).squeeze(-1)
        return self.up(self.v_r(pooled)).sigmoid()[..., None]

    def spatial_gate(self, x: Tensor) -> Tensor:
        """``(B, 1, N)`` for places ``(B, D, N)``."""
        query = self.q_l(x.mean(-1))
        if self.config.variant == "official":
            return torch.softmax((query @ self.v_l.weight)[:, None] @ x, -1).sigmoid()
        query = torch.softmax(query, -1)
        return ((query @ self.v_l.weight)[:, None] @ x + (query @ self.v_l.bias)[:, None, None]).sigmoid()

    def flops(self, num_tokens: int, grid: Grid | None) -> int:
        d = self.config.dim
        return 6 * num_tokens * d + 4 * d * d

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        return num_tokens * self.config.dim


@MIXERS.register("polarized_parallel")
class PolarizedParallel(_Polarized):
    r"""Polarized self-attention, both gates on the input.

    .. math::
        Y &= (g_c + g_s) \odot X \\
        g_c &= \sigma\big(\mathrm{LN}(W_z W_v X \,\mathrm{softmax}_N(W_q X)^T)\big), \quad
        g_s = \sigma\big(\mathrm{softmax}_{D/2}(\mathrm{mean}_N(W_q' X))^T\, W_v' X\big)

    for the map X as ``(D, N)``, N = HW: a gate for each channel and one for each place.

    Notes
    -----
    Liu et al., "Polarized Self-Attention" (arXiv 2107.00782). ``variant="paper"`` is reconstructed: the equations from
    memory, biases as in a third party's code. ``variant="official"``: no biases, no norm in the first gate, and
    ``g_s = sigmoid(softmax over the N places of mean(W_q' X)^T W_v' X)``, which lies between 0.5 and 0.73 and is
    nearly 0.5 on large maps. Never compare numbers across the two.

    Products with ``W_v``, ``W_q'`` and ``W_v'`` are taken after the sums over places: the same numbers for
    ``6 N D + 4 D^2`` FLOPs, where maps of D / 2 channels would take ``3 N D^2``. Parameters: ``2 D^2 + 5.5 D + 1``,
    official ``2 D^2 + D``. Maps (B, D, H, W) of any size, D even; the order of the places makes no difference.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> create("polarized_parallel", dim=8)(torch.randn(1, 8, 5, 6)).shape
    torch.Size([1, 8, 5, 6])
    """

    name = "polarized_parallel"

    def recalibrate(self, x: Tensor) -> Tensor:
        places = x.flatten(2)
        return (places * self.channel_gate(places) + places * self.spatial_gate(places)).view(x.shape)


@MIXERS.register("polarized_sequential")
class PolarizedSequential(_Polarized):
    r"""Polarized self-attention, the gate of the places on what the gate of the channels leaves.

    .. math:: Y = g_s(Z) \odot Z, \quad Z = g_c(X) \odot X

    with the gates of `PolarizedParallel`.

    Notes
    -----
    Liu et al., "Polarized Self-Attention" (arXiv 2107.00782). ``variant="paper"`` is reconstructed as in
    `PolarizedParallel`. ``variant="official"`` differs from that of the parallel layout: ``W_z`` is a bottleneck
    (D / 8 channels, layer norm, ReLU, with biases), and ``g_s = sigmoid(mean(W_q' Z)^T softmax_N(W_v' Z))`` with a
    softmax over places for each of D / 2 channels. Both gates are below 1 and there is no residual: a stack of these
    without norms fades.

    FLOPs: ``6 N D + 4 D^2``, official ``N D^2 + 5 N D + 19/8 D^2``. Parameters: ``2 D^2 + 5.5 D + 1``, official
    ``27/16 D^2 + 19/8 D``. Maps (B, D, H, W) of any size, D even (official: 16, 24, 32, ...); the order of the places
    makes no difference.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> create("polarized_sequential", dim=16, variant="official")(torch.randn(1, 16, 5, 6)).shape
    torch.Size([1, 16, 5, 6])
    """

    name = "polarized_sequential"
    Config = PolarizedSequentialConfig

    def _up(self, d: int, half: int) -> list[nn.Module]:
        if self.config.variant == "paper":
            return super()._up(d, half)
        return [nn.Linear(half, half // 4), nn.LayerNorm(half // 4), nn.ReLU(), nn.Linear(half // 4, d)]

    def recalibrate(self, x: Tensor) -> Tensor:
        places = x.flatten(2)
        places = places * self.channel_gate(places)
        return (places * self.spatial_gate(places)).view(x.shape)

    def spatial_gate(self, x: Tensor) -> Tensor:
        if self.config.variant == "paper":
            return super().spatial_gate(x)
        values = torch.softmax(_on_places(self.v_l.weight, None, x), -1)
        return (self.q_l(x.mean(-1))[:, None] @ values.to(x.dtype)).sigmoid()

    def flops(self, num_tokens: int, grid: Grid | None) -> int:
        if self.config.variant == "paper":
            return super().flops(num_tokens, grid)
        n, d = num_tokens, self.config.dim
        return n * d * d + 5 * n * d + 19 * d * d // 8

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        return num_tokens * self.config.dim * (1 if self.config.variant == "paper" else 2)


def _on_places(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """A linear layer at every place of ``(B, D, N)``: ``(B, out, N)``."""
    out = weight @ x
    return out if bias is None else out + bias[:, None]
