"""The three kinds of mechanisms: tokens in and out, maps in and out, tokens that take in a context."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from ..checks import check_flag
from ..errors import InputError
from .base import Mechanism
from .options import Grid

__all__ = ["Fusion", "Mixer", "Recalibration"]


class Mixer(Mechanism):
    """Tokens ``(B, N, D)`` in and out; as many, but where a stride of the configuration asks for fewer."""

    kind = "tokens"

    def forward(
        self, x: Tensor, *, mask: Tensor | None = None, causal: bool = False, grid: Grid | None = None
    ) -> Tensor:
        """Mix tokens.

        Parameters
        ----------
        x : Tensor, shape (B, N, dim)
            B and N are at least 1.
        mask : bool Tensor, shape (B, N) or (B, N, N), optional
            True where a token is real, or where token t may look at token u. Outputs of tokens that are not real are
            zero; a token that may look at none takes in nothing.
        causal : bool
            No token looks at a later one.
        grid : (int, int), optional
            Rows and columns of the tokens after the prefix; that of the configuration by default.

        Returns
        -------
        Tensor, shape (B, N, dim)
            A strided mechanism gives fewer tokens: those of `out_grid`.

        Raises
        ------
        InputError
            What the mechanism does not take (see `Traits`), what is no tensor, or shapes that do not match.
        """
        _check_numbers("x", x)
        if x.ndim != 3 or x.shape[2] != self.config.dim:
            raise InputError(f"{self.name} takes tokens (B, N, {self.config.dim}), got shape {tuple(x.shape)}")
        if 0 in x.shape:
            raise InputError(f"{self.name} takes at least one sample of at least one token, got {tuple(x.shape)}")
        self._check_prefix(x.shape[1])
        self._check_mask(x, mask)
        check_flag("causal", causal)
        if causal and not self.traits.causal:
            raise InputError(
                f"{self.name} cannot be causal; give causal=False, or take a mixer whose traits say causal"
            )
        grid = self._grid(x.shape[1], grid)
        real = mask if mask is not None and mask.ndim == 2 else None
        if real is not None:  # whatever stands in padding, NaN included, ends here
            x = torch.where(real[..., None], x, torch.zeros_like(x))
        out = self.mix(x, mask, causal, grid)
        if real is None:
            return out
        return torch.where(self.out_mask(real, grid)[..., None], out, torch.zeros_like(out))

    @abstractmethod
    def mix(self, x: Tensor, mask: Tensor | None, causal: bool, grid: Grid | None) -> Tensor:
        """`forward` after the checks; tokens that are not real are zero already."""

    def out_grid(self, grid: Grid | None) -> Grid | None:
        """Rows and columns of the outputs for tokens on ``grid``: the same but where a mechanism has strides."""
        return grid

    def out_mask(self, mask: Tensor, grid: Grid | None) -> Tensor:
        """Which outputs are real where the tokens of ``mask`` ``(B, N)`` are: the same but where there are strides."""
        return mask

    def _check_mask(self, x: Tensor, mask: Tensor | None) -> None:
        if mask is None:
            return
        _check_boolean(mask)
        b, n, _ = x.shape
        if tuple(mask.shape) not in ((b, n), (b, n, n)):
            raise InputError(f"mask must be ({b}, {n}) or ({b}, {n}, {n}) like the tokens, got {tuple(mask.shape)}")
        takes = self.traits.mask if mask.ndim == 2 else self.traits.pair_mask
        if not takes:
            what, why = ("tokens", "leave a token out") if mask.ndim == 2 else ("pairs", "choose what each token sees")
            raise InputError(f"{self.name} takes no mask of {what}: it cannot {why}")


class Recalibration(Mechanism):
    """Maps ``(B, C, H, W)`` in and out."""

    kind = "map"

    def forward(self, x: Tensor) -> Tensor:
        """Weigh a map ``(B, dim, H, W)``; B, H and W are at least 1."""
        _check_numbers("x", x)
        if x.ndim != 4 or x.shape[1] != self.config.dim:
            raise InputError(f"{self.name} takes maps (B, {self.config.dim}, H, W), got shape {tuple(x.shape)}")
        if 0 in x.shape:
            raise InputError(f"{self.name} takes at least one map of at least one place, got {tuple(x.shape)}")
        return self.recalibrate(x)

    @abstractmethod
    def recalibrate(self, x: Tensor) -> Tensor:
        """`forward` after the checks."""


class Fusion(Mechanism):
    """Tokens ``(B, N, D)`` that take in a context ``(B, M, D)``."""

    kind = "pair"

    def forward(self, x: Tensor, context: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Tokens of the shape of ``x``; ``mask`` ``(B, M)`` is True where a context token is real."""
        d = self.config.dim
        for what, given in (("x", x), ("context", context)):
            _check_numbers(what, given)
            if given.ndim != 3 or given.shape[2] != d or given.shape[0] != x.shape[0]:
                raise InputError(f"{self.name} takes {what} (B, N, {d}), got shape {tuple(given.shape)}")
            if 0 in given.shape:
                raise InputError(f"{self.name} takes at least one sample and token of {what}, got {tuple(given.shape)}")
        if mask is not None:
            if not self.traits.mask:
                raise InputError(f"{self.name} takes no mask of the context: it cannot leave a token out")
            _check_boolean(mask)
            if mask.shape != context.shape[:2]:
                wanted = tuple(context.shape[:2])
                raise InputError(f"mask must be boolean {wanted} like the context, got {tuple(mask.shape)}")
            context = torch.where(mask[..., None], context, torch.zeros_like(context))
        return self.fuse(x, context, mask)

    @abstractmethod
    def fuse(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """`forward` after the checks."""


def _check_numbers(what: str, given: Any) -> None:
    """Refuse what is no tensor of floating-point numbers."""
    if not isinstance(given, Tensor):
        raise InputError(f"{what} must be a torch tensor, got {type(given).__name__}; give torch.as_tensor({what})")
    if not given.is_floating_point():
        raise InputError(f"{what} must hold floating-point numbers, got {given.dtype}; give {what}.float()")


def _check_boolean(mask: Any) -> None:
    """Refuse what is no boolean tensor."""
    if not isinstance(mask, Tensor):
        raise InputError(
            f"mask must be a boolean torch tensor, got {type(mask).__name__}; give torch.as_tensor(mask).bool()"
        )
    if mask.dtype != torch.bool:
        raise InputError(f"mask must be boolean (True: real, or may be looked at), got {mask.dtype}; use mask.bool()")
