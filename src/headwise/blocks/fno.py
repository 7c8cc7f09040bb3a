"""Global circular convolution over the tokens (Fourier neural operator), whole or in channel groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from ..contracts import GateKind, GateValues, TokenShape
from ..errors import InputError
from . import BLOCKS
from .linear import PooledFeatures
from .weights import token_weights

__all__ = ["BlockFno", "Fno"]


@BLOCKS.register("fno")
class Fno(PooledFeatures):
    """``f = p^T (D o (u * X)) v^T``: every atom convolves all tokens with a filter as large as the grid, circularly.

    ``(u * X)[t] = sum_k sum_q X[t - k, q] u[k, q]``. Pooled over t, an atom sees only the correlation of the (gated)
    pooling weights with the tokens, s d numbers a sample, found by one Fourier transform. Where every token has outputs
    of its own, each pass transforms the tokens.

    Parameters
    ----------
    shape : TokenShape
    gated : bool
        Whether gates are used; changes nothing here.
    dims : {1, 2}, optional
        Circles of the token sequence, or of the rows and columns of the grid; 2 where there is a grid.

    Notes
    -----
    Sahiner et al., arXiv 2205.08078 (Fourier neural operator). Without gates and with mean pooling it is the linear
    head: every shift of the tokens has the same mean.

    Examples
    --------
    >>> import torch
    >>> block = Fno(TokenShape(6, 4, grid=(2, 3)), gated=True)
    >>> block.statistics(torch.ones(5, 6, 4), torch.full((5, 6), 1 / 6))["features"].shape
    torch.Size([5, 24])
    """

    name = "fno"
    gates: tuple[GateKind, ...] = ("token",)
    hides = False

    def __init__(self, shape: TokenShape, gated: bool = False, dims: Literal[1, 2] | None = None) -> None:
        if dims not in (None, 1, 2):
            raise InputError(f"{self.name} takes dims 1 or 2, got {dims!r}")
        self._sides: tuple[int, ...] = (shape.num_tokens,)
        if dims == 2 or (dims is None and shape.grid is not None):
            if shape.grid is None:
                raise InputError(f"{self.name} with dims=2 needs a token grid; these tokens have none: take dims=1")
            if shape.grid[0] * shape.grid[1] != shape.num_tokens:
                raise InputError(
                    f"{self.name} needs one token for each place of its grid: {shape.grid[0]} x {shape.grid[1]} places "
                    f"but {shape.num_tokens} tokens; let it act on the patch tokens"
                )
            self._sides = shape.grid
        self.u_shape = (shape.num_tokens, shape.width)

    def _fft(self, x: Tensor) -> Tensor:
        """Transform over the places of ``(..., s, d)``."""
        folded = x.reshape(*x.shape[:-2], *self._sides, x.shape[-1])
        return torch.fft.rfftn(folded, dim=tuple(range(-1 - len(self._sides), -1)))

    def _back(self, x: Tensor) -> Tensor:
        folded = torch.fft.irfftn(x, s=self._sides, dim=tuple(range(-1 - len(self._sides), -1)))
        return folded.flatten(-1 - len(self._sides), -2)

    def _correlated(self, weights: Tensor, x: Tensor) -> Tensor:
        """``sum_t weights[t] x[t - k]`` for every shift k, ``(..., s, d)``."""
        return self._back(self._fft(weights[..., None]) * self._fft(x).conj())

    def statistics(self, values: Tensor, pooling: Tensor | None, gate: GateValues | None = None) -> dict[str, Tensor]:
        """ "features" of each sample; or its "tokens" and the "mask" on what they become."""
        if pooling is None:
            return {"tokens": values, "mask": token_weights(torch.ones_like(values[..., 0]), gate)}
        weights = token_weights(pooling, gate)
        return {"features": self._correlated(weights, values).flatten(1)}

    def inner(self, stats: Mapping[str, Tensor], u: Tensor) -> Tensor:
        if "features" in stats:
            return super().inner(stats, u)
        tokens, mask = stats["tokens"], stats["mask"]
        if not len(u):  # there is no transform of an empty batch
            return tokens.new_zeros(mask.numel(), 0, 1)
        # the product of two complex tensors, summed over features, by real ones: ONNX has no complex matrix product
        x, filters = torch.view_as_real(self._fft(tokens)), torch.view_as_real(self._fft(u))
        conjugate = torch.stack([filters[..., 0], -filters[..., 1]], dim=-1)
        turned = torch.stack([filters[..., 1], filters[..., 0]], dim=-1)
        parts = [torch.einsum("n...dk,r...dk->n...r", x, own) for own in (conjugate, turned)]
        convolved = self._back(torch.view_as_complex(torch.stack(parts, dim=-1)))
        return (convolved * mask[..., None]).flatten(0, 1).unsqueeze(-1)

    def inner_adjoint(self, stats: Mapping[str, Tensor], grad: Tensor) -> Tensor:
        if "features" in stats:
            return super().inner_adjoint(stats, grad)
        tokens, mask = stats["tokens"], stats["mask"]
        if not grad.shape[1]:
            return tokens.new_zeros(0, *self.u_shape)
        each = self._fft(grad.view(*mask.shape, -1) * mask[..., None])
        return self._back(torch.einsum("n...r,n...d->r...d", each, self._fft(tokens).conj()))

    def adjoint(self, stats: Mapping[str, Tensor], theta: Tensor) -> Tensor:
        if "features" in stats:
            return super().adjoint(stats, theta)
        return self.inner_adjoint(stats, theta[..., None]).flatten(1).T  # each output is one more atom

    def mean_square(self, stats: Mapping[str, Tensor]) -> Tensor:
        if "features" in stats:
            return super().mean_square(stats)
        return (stats["mask"].square() * stats["tokens"].square().sum((1, 2))[:, None]).flatten()

    def scores(self, values: Tensor, u: Tensor) -> Tensor:
        return self._back((self._fft(values) * self._fft(u)).sum(-1, keepdim=True)).squeeze(-1)

    def token_outputs(
        self, values: Tensor, pooling: Tensor, u: Tensor, v: Tensor, gate: GateValues | None = None
    ) -> Tensor:
        # the token at place j reaches every place t through the filter's entry t - j
        if not len(u):  # there is no transform of an empty batch
            return values.new_zeros(*values.shape[:2], v.shape[-1])
        weights = token_weights(pooling, gate)
        reach = self._correlated(weights[:, None], u[None])
        return torch.einsum("njd,nrjd->njr", values, reach) @ v.flatten(0, 1)


@BLOCKS.register("bfno")
class BlockFno(Fno):
    """Fourier neural operator within channel groups: group b of the features gives group b of the outputs.

    Each group is a part of its own with its own nuclear norm. Features and outputs are cut into ``groups`` runs, as
    even as they can be (where 4 does not divide 10 outputs the runs are 3, 3, 2 and 2).

    Notes
    -----
    Sahiner et al., arXiv 2205.08078 (block-diagonal Fourier neural operator, after adaptive FNO).

    Examples
    --------
    >>> BlockFno(TokenShape(6, 4, grid=(2, 3))).u_shape
    (6, 4)
    """

    name = "bfno"
    groups = 4
