"""The coordinates in which a head is fitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_number, check_whole
from ..contracts import Block, TokenSource
from ..errors import InputError
from ..processes import current
from .parts import PartSpec, part_tokens
from .reading import Reading

__all__ = ["Conditioner", "FittedConditioner", "spread_samples"]

SPREAD_SAMPLES = 512
"""Samples that set the global scale and the gates: conventions, so a spread subset is enough."""


@dataclass(frozen=True)
class Conditioner:
    """How tokens are prepared: layer norm, projection on leading components, whitening, a constant, one global scale.

    Parameters
    ----------
    layer_norm : bool
        Normalise every token first (zero mean, unit variance over features); tames heavy-tailed token norms.
    n_components : int or None
        Leading principal components kept; None keeps all. Attention is cubic in this number in memory and time.
    floor : float
        Whitening divides by the root of the eigenvalue, but of at least this share of the largest one.
    constant : bool
        Append a constant feature, so that attention contains linear and quadratic terms.
    standardize : bool
        Divide every feature by its standard deviation before the projection: for tables, whose columns have units of
        their own.

    Notes
    -----
    Everything is fitted on the training samples only. The penalty is stated in these coordinates: beta is not
    comparable
    across conditionings. The global scale makes the variance of the features that multiply Z one (summed over
    features): the intercept is free, so what does not vary costs nothing.
    """

    layer_norm: bool = True
    n_components: int | None = 64
    floor: float = 0.01
    constant: bool = True
    standardize: bool = False

    def __post_init__(self) -> None:
        check_whole("n_components", self.n_components, least=1, or_none=True)
        check_number("floor", self.floor)
        if self.floor > 1:
            raise InputError(f"floor must lie in (0, 1], got {self.floor}")

    def fit(
        self,
        source: TokenSource,
        rows: np.ndarray,
        spec: PartSpec,
        block: Callable[[int], Block],
        weights: Tensor | None = None,
        reading: Reading | None = None,
    ) -> FittedConditioner:
        """Mean, projection and scale from the tokens of ``rows``.

        Parameters
        ----------
        source : TokenSource
        rows : ndarray of int
            Training samples.
        spec : PartSpec
            Which tokens.
        block : callable
            The block for tokens of a width; the scale depends on how its features grow.
        weights : Tensor, shape (len(rows),), optional
            Sample weights.
        reading : Reading, optional
            How many samples are read at once, where they go, and who is told.

        Raises
        ------
        InputError
            There are no training tokens, they do not vary, or layer norm was asked for on a single feature.
        """
        if self.layer_norm and source.width == 1:
            raise InputError(
                "the tokens have 1 feature(s); layer norm leaves nothing of a single one, "
                "use Conditioner(layer_norm=False)"
            )
        width = source.width * (source.num_prefix if spec.tokens == "prefix" else 1)
        reading = reading or Reading()
        total = torch.zeros(1, dtype=torch.float64, device=reading.device)
        mean = total.new_zeros(width)
        second = total.new_zeros(width, width)
        for place, tokens in reading.chunks(source, rows, "condition tokens"):
            values, _, visible = part_tokens(spec, tokens)
            w = values.new_ones(len(values)) if weights is None else weights[place].to(values)
            per_token = (w[:, None] * visible).flatten()
            flat = self._norm(values).flatten(0, 1)
            weighted = flat * per_token[:, None]
            mean += weighted.sum(0).double()
            second += (weighted.T @ flat).double()
            total += per_token.double().sum()
        processes = current()
        processes.add(total, mean, second)
        total, mean, second = total.cpu(), mean.cpu(), second.cpu()  # a head is on the processor
        if not float(total) > 0:
            raise InputError("there are no training tokens to condition on")
        mean /= total
        second /= total
        if not bool(torch.isfinite(second).all()):
            raise InputError(f"the tokens of '{spec}' are too large to square; divide them by a common factor")
        covariance = second - torch.outer(mean, mean)
        unit = torch.ones_like(mean)
        if self.standardize:
            varies = covariance.diagonal() > 1e-12 * second.diagonal()  # what is below is rounding
            unit = torch.where(varies, covariance.diagonal().clamp(min=0).sqrt(), torch.inf)
        values_, vectors = torch.linalg.eigh(covariance / unit / unit[:, None])
        keep = self.kept(len(values_))
        values_, vectors = values_.flip(0)[:keep], vectors.flip(1)[:, :keep]
        if float(values_[0]) <= 1e-12 * float((second.diagonal() / unit.square()).max()):
            raise InputError(
                f"the tokens of '{spec}' do not vary over the training samples (n_samples = {len(rows)}); there is "
                "nothing to fit on"
            )
        # the sign of an eigenvector is arbitrary: fix it, so that two machines agree
        vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
        projection = vectors / unit[:, None] / values_.clamp(min=self.floor * float(values_[0])).sqrt()
        processes.agree(projection)
        plain = FittedConditioner(self.layer_norm, self.constant, mean, projection, 1.0)
        return plain.scaled(source, rows, spec, block(plain.width(len(mean))), weights)

    def kept(self, raw: int) -> int:
        """Components of tokens with ``raw`` features that are kept."""
        return raw if self.n_components is None else min(self.n_components, raw)

    def _norm(self, values: Tensor) -> Tensor:
        return F.layer_norm(values, values.shape[-1:], eps=1e-6) if self.layer_norm else values


@dataclass(frozen=True)
class FittedConditioner:
    """A conditioner with its numbers. ``mean=None`` leaves tokens as they are (``condition=False``)."""

    layer_norm: bool
    constant: bool
    mean: Tensor | None
    projection: Tensor | None
    scale: float

    @classmethod
    def identity(cls) -> FittedConditioner:
        """Raw token coordinates."""
        return cls(False, False, None, None, 1.0)

    def width(self, raw: int) -> int:
        """Features after conditioning of tokens with ``raw`` features."""
        return (raw if self.projection is None else self.projection.shape[1]) + self.constant

    def __call__(self, values: Tensor, seen: Tensor) -> Tensor:
        """Conditioned tokens ``(n, s, width)``; tokens that are not seen are zero, the constant included."""
        mean = None if self.mean is None else self.mean.to(values)
        if self.layer_norm:  # the mean goes as its bias: one pass instead of two
            values = F.layer_norm(values, values.shape[-1:], bias=None if mean is None else -mean, eps=1e-6)
        elif mean is not None:
            values = values - mean
        if self.projection is not None:
            values = values @ (self.projection.to(values) * self.scale)
        elif self.scale != 1:
            values = values * self.scale
        if self.constant:
            values = torch.cat([values, torch.full_like(values[..., :1], self.scale)], dim=-1)
        return torch.where(seen[..., None], values, 0)

    def scaled(
        self, source: TokenSource, rows: np.ndarray, spec: PartSpec, block: Block, weights: Tensor | None = None
    ) -> FittedConditioner:
        """The same with the global scale that makes the summed variance of the block's features one."""
        spread = spread_samples(len(rows), weights)
        share = (
            torch.ones(len(spread), dtype=torch.float64, device="cpu") if weights is None else weights[spread].double()
        )
        square, total, mean, start = 0.0, 0.0, torch.zeros((), device="cpu"), 0
        for x, pooling, seen in self.chunks(source, rows[spread], spec):
            stats, own = block.statistics(x, pooling), share[start : start + len(x)]
            start += len(x)
            if pooling is None:  # every token that is seen is a row, with the weight of its sample
                own = (own[:, None] * seen).flatten()
            total += float(own.sum())
            square += float(block.mean_square(stats) @ own)
            mean = mean + block.adjoint(stats, own[:, None])
        square, mean = square / total, mean / total
        size = square - float(mean.square().sum())
        found = size ** (-0.5 / block.degree) if size > 1e-12 * square else 1.0
        scale = torch.tensor(found, dtype=torch.float64, device="cpu")
        current().agree(scale)  # every process has its own sums, which round as its machine does
        return replace(self, scale=float(scale))

    def chunks(
        self, source: TokenSource, rows: np.ndarray, spec: PartSpec
    ) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
        """Conditioned tokens of ``rows``, their pooling weights if any, and what is seen, by chunks, in float64."""
        for _, tokens in source.chunks(rows):
            values, pooling, seen = part_tokens(spec, tokens)
            yield self(values.double(), seen), None if pooling is None else pooling.double(), seen

    def tensors(self) -> dict[str, Tensor]:
        if self.mean is None or self.projection is None:
            return {}
        return {"mean": self.mean, "projection": self.projection}

    def to_dict(self) -> dict[str, Any]:
        return {"layer_norm": self.layer_norm, "constant": self.constant, "scale": self.scale}


def spread_samples(count: int, weights: Tensor | None = None) -> np.ndarray:
    """Places of at most `SPREAD_SAMPLES` samples, evenly among those of positive weight: the others are not there."""
    seen = np.arange(count) if weights is None else np.flatnonzero(weights.numpy(force=True) > 0)
    return seen[np.unique(np.linspace(0, len(seen) - 1, min(len(seen), SPREAD_SAMPLES)).astype(int))]
