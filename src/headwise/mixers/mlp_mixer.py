"""The token-mixing part of MLP-Mixer: weights for each place, one network for all channels."""

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
from .options import Grid, MixerConfig, told
from .traits import Traits

__all__ = ["MlpMixer", "MlpMixerConfig"]


@dataclass(frozen=True)
class MlpMixerConfig(MixerConfig):
    """Options of `MlpMixer`; ``grid`` is needed, and a sequence of N tokens is the grid ``(1, N)``.

    Parameters
    ----------
    form : {"mlp", "heads"}
        The two layers over tokens of the paper, or the sum of heads whose training is a convex problem.
    hidden : int, optional
        Width between the two layers of "mlp"; half of ``dim`` by default, as in all models of the paper.
    num_heads : int
        Heads of "heads".
    """

    form: Literal["mlp", "heads"] = "mlp"
    hidden: int | None = None
    num_heads: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("hidden", self.hidden, least=1, or_none=True)
        check_whole("num_heads", self.num_heads, least=1)
        if self.form == "heads" and self.hidden is not None:
            raise InputError(f"form='heads' has num_heads and no hidden width, got hidden={self.hidden}")
        if self.form == "mlp" and self.num_heads != 1:
            raise InputError(
                f"{told(self, 'form')} has a hidden width and no heads, got num_heads={self.num_heads}; give form heads"
            )


@MIXERS.register("mlp_mixer")
class MlpMixer(Mixer):
    r"""Mixing over tokens with weights for each place, the same for every channel.

    .. math:: Y = W_2\, \mathrm{GELU}(W_1 X + b_1) + b_2

    with X ``(N, D)``, ``W_1`` ``(hidden, N)`` and ``W_2`` ``(N, hidden)``; or, with ``form="heads"``,

    .. math:: Y = \sum_j \mathrm{ReLU}(U_j X) V_j

    with ``U_j`` ``(N, N)`` and ``V_j`` ``(D, D)``, the layer for which the head ``mlp_mixer`` of this library finds the
    global optimum.

    Notes
    -----
    Tolstikhin et al., "MLP-Mixer: An all-MLP Architecture for Vision" (arXiv 2105.01601), equation 1 without the norm
    and the residual, which belong to the block around it. Sahiner et al. (arXiv 2205.08078) for the sum of heads.

    Tokens (B, N, D) of the grid of the configuration. A token that is not real counts as a zero token.

    Cost of "mlp": ``4 N D hidden`` FLOPs, ``(2 N + 1) hidden + N`` parameters; of "heads": ``2 N D (N + D)`` FLOPs and
    ``N^2 + D^2`` parameters for each head.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> mixer = create("mlp_mixer", dim=8, grid=(3, 4))
    >>> mixer(torch.randn(1, 12, 8)).shape
    torch.Size([1, 12, 8])
    """

    name = "mlp_mixer"
    traits = Traits(1.0, grid="fixed", mask=True)
    Config = MlpMixerConfig

    def __init__(self, config: MlpMixerConfig) -> None:
        super().__init__(config)
        assert config.grid is not None  # Mechanism has asked for it
        n, d = config.grid[0] * config.grid[1], config.dim
        if config.form == "mlp":
            hidden = config.hidden or max(1, d // 2)
            self.into = nn.Linear(n, hidden)
            self.back = nn.Linear(hidden, n)
        else:
            self.traits = replace(self.traits, exponent=2.0)
            self.places = nn.Parameter(torch.randn(config.num_heads, n, n) * n**-0.5)
            self.channels = nn.Parameter(torch.randn(config.num_heads, d, d) * (d * config.num_heads) ** -0.5)

    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        if self.config.form == "mlp":
            return self.back(F.gelu(self.into(x.transpose(1, 2)))).transpose(1, 2)
        return (F.relu(self.places @ x[:, None]) @ self.channels).sum(1)

    def flops(self, num_tokens: int, grid: Grid | None) -> int:
        n, d = num_tokens, self.config.dim
        if self.config.form == "mlp":
            return 4 * n * d * self.into.out_features
        return 2 * n * d * (n + d) * self.config.num_heads

    def memory(self, num_tokens: int, grid: Grid | None) -> int:
        d = self.config.dim
        if self.config.form == "mlp":
            return num_tokens * d + 2 * d * self.into.out_features
        return 2 * self.config.num_heads * num_tokens * d
