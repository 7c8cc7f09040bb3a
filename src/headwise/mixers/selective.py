"""Selective self-attention: each token sets the temperature of its own query and weighs its own value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts import QueryKey
from ..errors import InputError
from . import MIXERS
from .attending import attend, join_heads, split_heads
from .options import Grid
from .softmax import Softmax, SoftmaxConfig
from .traits import Traits

__all__ = ["Selective", "SelectiveConfig"]

PARTS = ("queries", "keys", "values")
TERMS = ("token", "position")
STARTS = {"sigmoid": -4.0, "exponential": 2.0, "linear": 1e-5}
GROWTHS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "exponential": lambda a: torch.exp(-torch.exp(a)),
    "linear": lambda a: a,
}


@dataclass(frozen=True)
class SelectiveConfig(SoftmaxConfig):
    """Options of `Selective`, with those of `Softmax`.

    Parameters
    ----------
    parts : tuple of {"queries", "keys", "values"}
        What is multiplied by temperatures of its own.
    terms : tuple of {"token", "position"}
        What a temperature depends on.
    growth : {"sigmoid", "exponential", "linear"}
        Growth g of the temperature with the logarithm of the position, from a learned number a: ``sigmoid(a)`` of the
        paper, ``exp(-exp(a))`` of the authors' code, or ``a`` itself, its variant without a function.
    """

    parts: tuple[Literal["queries", "keys", "values"], ...] = ("queries", "values")
    terms: tuple[Literal["token", "position"], ...] = ("token", "position")
    growth: Literal["sigmoid", "exponential", "linear"] = "sigmoid"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, given, known in (("parts", self.parts, PARTS), ("terms", self.terms, TERMS)):
            if not given or len(set(given)) < len(given):
                raise InputError(f"{name} must be a tuple of different ones of {', '.join(known)}, got {given!r}")


@MIXERS.register("selective")
class Selective(Softmax):
    r"""Softmax attention with a temperature for each query and a weight for each value (SSA).

    .. math::
        Y &= \mathrm{concat}_h\big(\mathrm{softmax}((\tau^q_h \odot Q_h) K_h^T / \sqrt{d})
             (\tau^v_h \odot V_h)\big) W_o + b_o \\
        \tau_{h,n} &= 1 + \tanh(u_h \cdot \mathrm{GELU}(z_{h,n})) + g \log n

    with z the query or value that is scaled, u a learned vector of each attention head, n the position from 1 (among
    real tokens, where a mask of tokens is given) and g the growth. A large temperature sharpens: it is an inverse one.

    Notes
    -----
    Zhang et al., "Selective Attention: Enhancing Transformer through Principled Context Control" (NeurIPS 2024, arXiv
    2411.12892). The sum of a term of the token, ``tanh`` of a small network that shares weights with the projections,
    and of a term of the position, ``1 + sigmoid(a) log n``, is reconstructed, and so is the form of the network: u, one
    a head, starts at zero, and a, one a part of the layer, at -4, so that the layer starts near `Softmax`.

    The authors' code holds the position's temperature of the queries alone, one a layer, with another growth:
    ``parts=("queries",), terms=("position",), growth="exponential"`` (a starts at 2), or ``growth="linear"`` (at 1e-5).

    A value is scaled where it is looked at, not the output of the token that looks. A temperature below zero, which
    takes u far from its start, turns preferences round: `temperatures` shows them.

    For dissection (`query_key`) the temperatures are one: its record says that it leaves them out.

    Cost: ``8 N D^2 + 4 N^2 D`` FLOPs, those of `Softmax`. Each part has D parameters more for the term of the token and
    one more for that of the position. The kernel of torch holds no N x N map where it need not.

    Examples
    --------
    >>> import torch
    >>> from headwise.mixers import create
    >>> mixer = create("selective", dim=8, num_heads=2)
    >>> mixer(torch.randn(1, 3, 8), causal=True).shape
    torch.Size([1, 3, 8])
    """

    name = "selective"
    traits = Traits(2.0, causal=True, mask=True, pair_mask=True, prefix=True, query_key=True)
    Config = SelectiveConfig

    def __init__(self, config: SelectiveConfig) -> None:
        super().__init__(config)
        n, width = len(config.parts), config.dim // config.num_heads
        token, position = (term in config.terms for term in TERMS)
        self.directions = nn.Parameter(torch.zeros(n, config.num_heads, 1, width)) if token else None
        self.growths = nn.Parameter(torch.full((n,), STARTS[config.growth])) if position else None

    def query_key(self) -> QueryKey:
        """The logits at unit temperature."""
        scaled = " and ".join(part for part in self.config.parts if part != "values")
        return replace(super().query_key(), leaves_out=f"temperatures of {scaled}" if scaled else "")

    def temperatures(self, x: Tensor, *, mask: Tensor | None = None) -> dict[str, Tensor]:
        """What multiplies queries, keys or values, ``(B, num_heads, N)`` for each part that has temperatures."""
        self._check_mask(x, mask)
        if mask is not None and mask.ndim == 2:
            x = torch.where(mask[..., None], x, torch.zeros_like(x))
        parts = self._parts(x)
        return {p: self._temperature(p, parts[p], mask).expand(parts[p].shape[:3]) for p in self.config.parts}

    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        parts = self._parts(x)
        for p in self.config.parts:
            parts[p] = parts[p] * self._temperature(p, parts[p], mask)[..., None].to(parts[p].dtype)
        q, k, v = parts.values()
        return self.proj(join_heads(attend(q, k, v, mask, causal)))

    def _parts(self, x: Tensor) -> dict[str, Tensor]:
        chunks = self.qkv(x).chunk(3, dim=-1)
        return {p: split_heads(chunk, self.config.num_heads) for p, chunk in zip(PARTS, chunks, strict=True)}

    def _temperature(self, part: str, z: Tensor, mask: Tensor | None) -> Tensor:
        """``(B, H, N)``, or one that is expanded to it."""
        found = torch.ones((1, 1, 1), dtype=z.dtype, device=z.device)
        place = self.config.parts.index(part)
        if self.directions is not None:
            found = found + torch.tanh((F.gelu(z) * self.directions[place]).sum(-1))
        if self.growths is not None:
            growth = GROWTHS[self.config.growth](self.growths[place])
            found = found + growth * _positions(z, mask).log()[:, None]
        return found


def _positions(z: Tensor, mask: Tensor | None) -> Tensor:
    """Places of tokens from 1, ``(B or 1, N)``; padding does not count."""
    if mask is not None and mask.ndim == 2:
        places = mask.cumsum(1).clamp(min=1)
    else:
        places = torch.arange(1, z.shape[2] + 1, device=z.device)[None]
    return places.to(torch.promote_types(z.dtype, torch.float32))
