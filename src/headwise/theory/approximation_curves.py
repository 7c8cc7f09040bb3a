"""Error of a constructed transformer layer against its width, predicted and measured, by source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ..checks import check_number, check_whole
from ..errors import InputError
from . import THEORIES
from .cosine_ridges import KINDS, CosineSeries, Kind, Ridges, cosine_series, ridges
from .curves import Curves, Floats, Theory, over_seeds
from .inputs import as_row, check_one_of, on
from .measured_layer import ApproximateLayer, compile_layer, measure

__all__ = ["TARGETS", "Approximation", "predict", "simulate"]

SOURCES = ("truncation", "knots", "leakage", "total")
LARGEST = 200_000  # hidden units


def _all(values: Tensor, like: Tensor) -> Tensor:
    return values.expand(-1, like.shape[1], -1)


TARGETS: dict[str, Callable[[Tensor], Tensor]] = {
    "running mean": lambda x: x.cumsum(1) / torch.arange(1, x.shape[1] + 1, device=x.device)[:, None],
    "running maximum": lambda x: x.cummax(1).values,
    "sort": lambda x: x.sort(1).values,
    "shift": lambda x: x.roll(1, 1),
    "product": lambda x: _all(x.prod(1, keepdim=True), x),
    "sine of the sum": lambda x: _all(torch.sin(2 * torch.pi * x.sum(1, keepdim=True)), x),
    "parity of signs": lambda x: _all(torch.where(x >= 0.5, 1.0, -1.0).to(x).prod(1, keepdim=True), x),
}


@dataclass(frozen=True)
class Approximation:
    """A map of sequences of numbers in [0, 1], and how finely it is built.

    Parameters
    ----------
    target : str
        One of `TARGETS`. "parity of signs" jumps: its bound is infinite, and so `predict` refuses it.
    num_tokens : int
        Length of the sequences, 1 to 4.
    knots : sequence of int
        Knots for a unit of length of every direction, increasing; a point of the curves each.
    drop : float
        Most that cosine coefficients left out may add up to.
    kind : {"even", "even but for a square", "periodic"}
        Extension of the target beyond the box, see `cosine_series`.
    grid : int
        Cells along each axis at which the target is sampled, a power of two of at least 16.
    sharpness : float
        Logit of the position that a head copies, at most 700; leakage falls as its negative exponential.

    Raises
    ------
    InputError
        Values outside these ranges.

    Examples
    --------
    >>> Approximation(target="product").num_tokens
    2
    """

    target: str = "sine of the sum"
    num_tokens: int = 2
    knots: Sequence[int] = (4, 8, 16, 32, 64)
    drop: float = 1e-6
    kind: Kind = "periodic"
    grid: int = 64
    sharpness: float = 25.0

    def __post_init__(self) -> None:
        check_one_of("target", self.target, TARGETS)
        check_one_of("kind", self.kind, KINDS)
        check_whole("num_tokens", self.num_tokens, 1)
        check_whole("grid", self.grid, 16)
        check_number("drop", self.drop)
        check_number("sharpness", self.sharpness, below=701)
        if self.grid & (self.grid - 1) or (self.grid.bit_length() - 1) * self.num_tokens > 20:
            raise InputError(
                f"grid must be a power of two with at most {2**20:,} cells in all, got {self.grid} for "
                f"{self.num_tokens} tokens"
            )
        object.__setattr__(self, "knots", as_row("knots", self.knots, "whole numbers of at least 1", check_whole))
        if any(b <= a for a, b in pairwise((0, *self.knots))):
            raise InputError(f"knots must be increasing whole numbers of at least 1, got {self.knots!r}")


@on(Approximation)
def predict(config: Approximation) -> Curves:
    r"""Bounds of the error, by source, against the number of hidden units.

    Parameters
    ----------
    config : Approximation

    Returns
    -------
    Curves
        "truncation", "knots" (falls with the square of the number of knots), "leakage" and "total".

    Raises
    ------
    InputError
        The target jumps, and so has no bound; or more hidden units than a small demonstration should build.

    Notes
    -----
    ``truncation`` :math:`= \sum |a_k|` of what is left out, and of what the grid does not resolve (an estimate);
    ``knots`` :math:`= \sum_r h_r^2 \max|g_r''| / 8`; ``leakage`` :math:`= \mathrm{Lip} \, (n-1) / (e^\tau + n - 1)`
    with the Lipschitz constant of the network that was built. Derived here; the existence theorem is claimed in
    arXiv 2507.10581.

    Examples
    --------
    >>> curves = predict(Approximation(knots=(8, 16)))
    >>> round(float(curves["knots"][0] / curves["knots"][1]), 2)
    4.0
    """
    series = _series(config)
    if not np.isfinite(series.unresolved).all():
        raise InputError(
            f"the coefficients of {config.target!r} do not fall on a grid of {config.grid}, so there is no bound; take "
            "a target that is continuous, or a finer grid"
        )
    layers = [layer for layer, _ in _layers(config, series)]
    return _curves(config, layers, [astuple(layer.bound) for layer in layers])


@on(Approximation)
def simulate(config: Approximation, seeds: Sequence[int] = range(5)) -> Curves:
    """Errors that a search over the box finds, by source, for the same layers; the mean over searches.

    Examples
    --------
    >>> config = Approximation(knots=(8, 16))
    >>> bool((simulate(config, [0])["total"] <= predict(config)["total"]).all())
    True
    """
    return over_seeds(lambda seed: _searched(config, seed), seeds)


def _searched(config: Approximation, seed: int) -> Curves:
    layers = []
    for layer, parts in _layers(config, _series(config)):
        measure(layer, TARGETS[config.target], parts, seed)
        layers.append(layer)
    return _curves(config, layers, [astuple(layer.measured) for layer in layers])


def _series(config: Approximation) -> CosineSeries:
    def target(points: Floats) -> Floats:
        return TARGETS[config.target](torch.as_tensor(points)[..., None])[..., 0].numpy()

    return cosine_series(target, config.num_tokens, config.grid, config.kind)


def _layers(config: Approximation, series: CosineSeries) -> list[tuple[ApproximateLayer, list[Ridges]]]:
    n = config.num_tokens
    parts = [ridges(series.only(slice(i, i + 1)), config.drop) for i in range(n)]
    made = []
    for number in config.knots:
        intervals = [np.ceil(part.length * number).astype(np.int64) for part in parts]
        units = int(sum(pieces.sum() for pieces in intervals))
        if units > LARGEST:
            raise InputError(
                f"{number} knots make about {units:,} hidden units, at most {LARGEST:,} are built; take fewer knots, a "
                "larger drop, or another kind of series"
            )
        made.append((compile_layer(parts, series.unresolved, intervals, n, sharpness=config.sharpness), parts))
    return made


def _curves(config: Approximation, layers: list[ApproximateLayer], errors: list[tuple[float, ...]]) -> Curves:
    return Curves(
        f"{config.target.capitalize()} of {config.num_tokens} tokens by one layer",
        "width",
        [layer.width for layer in layers],
        dict(zip(SOURCES, np.array(errors).T, strict=True)),
        unit="hidden units",
        value="largest absolute error",
        log_axis=True,
        log_value=True,
    )


THEORIES.register("approximation")(Theory(Approximation, predict, simulate))
