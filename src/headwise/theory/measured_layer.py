"""A transformer layer by construction that knows how well it does: its bound, and the error found by search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..checks import check_whole
from ..errors import InputError
from .copy_heads import CopyHeadsLayer, interpolate, leakage
from .cosine_ridges import Ridges
from .curves import Floats

__all__ = ["ApproximateLayer", "ErrorSources", "compile_layer", "measure", "on_unit_box"]

Function = Callable[[Tensor], Tensor]
LEAKAGE = 0.05  # part of the tolerance
SHARPEST = 700.0  # e^709 is the largest number


@dataclass(frozen=True)
class ErrorSources:
    """Largest absolute error over the box and the outputs, and where it comes from.

    Parameters
    ----------
    truncation : float
        Cosines that were left out, or that the grid of samples does not resolve.
    knots : float
        Linear interpolation between knots.
    leakage : float
        Attention on positions other than the one that is copied.
    total : float
        All together; of a bound the sum with rounding, of a measurement less than the sum.
    """

    truncation: float
    knots: float
    leakage: float
    total: float


class ApproximateLayer(CopyHeadsLayer):
    """A `CopyHeadsLayer` that knows how well it does.

    Attributes
    ----------
    tolerance : float or None
        What was asked for.
    bound : ErrorSources
        Predicted from the coefficients. Knots and leakage are proved for what the coefficients say the function is;
        truncation is, beyond the grid of samples, the estimate that coefficients go on to fall as they did.
        Infinite where they do not fall (the function has jumps, or kinks too strong for absolute sums of
        coefficients), and where the search for ``measured`` refutes it.
    measured : ErrorSources
        Found by search over the box: never above the true error.
    without_positions : float
        No layer without positional information comes closer than this to the function: half of what the function
        changes when tokens are permuted and its outputs are permuted back.
    """

    tolerance: float | None
    bound: ErrorSources
    measured: ErrorSources
    without_positions: float

    @property
    def verdict(self) -> str:
        """What bound and measurement say about the tolerance, in a sentence."""
        if self.tolerance is None:
            return f"bound {self.bound.total:.3g}, measured error {self.measured.total:.3g}"
        if self.measured.total > self.tolerance:
            why = (
                "the function seems to jump: its coefficients do not fall"
                if not np.isfinite(self.bound.total)
                else "more samples or more hidden units are needed"
            )
            return f"measured error {self.measured.total:.3g} is above the tolerance {self.tolerance:g}; {why}"
        if self.bound.total > self.tolerance:
            return (
                f"measured error {self.measured.total:.3g} is within the tolerance {self.tolerance:g}, which the bound "
                f"{self.bound.total:.3g} does not promise"
            )
        return f"bound {self.bound.total:.3g} is within the tolerance {self.tolerance:g}"


def compile_layer(
    parts: list[Ridges],
    unresolved: Floats,
    intervals: list[NDArray[np.int64]],
    num_tokens: int,
    num_features: int = 1,
    low: float = 0.0,
    high: float = 1.0,
    tolerance: float | None = None,
    sharpness: float | None = None,
) -> ApproximateLayer:
    """Write the weights down, with the bound of their error.

    Parameters
    ----------
    parts : list of Ridges
        The outputs of each position as functions of the whole sequence.
    unresolved : array, shape (num_tokens * outputs,)
        Error of the parts that is not in their ``dropped``.
    intervals : list of int array
        Pieces of each ridge.
    num_tokens, num_features, low, high, tolerance
        As in `approximate`.
    sharpness : float, optional
        Logit of a copied position; by default what keeps leakage within its part of the tolerance.
    """
    weight, bias, out, steepness = interpolate(parts, intervals)
    if sharpness is None:
        allowed = LEAKAGE * (1.0 if tolerance is None else tolerance)
        sharpness = min(max(float(np.log(max(num_tokens - 1, 1) * max(steepness.max() / allowed, 1.0))), 1.0), SHARPEST)
    layer = ApproximateLayer(num_tokens, num_features, low, high, sharpness, weight, bias, out)
    truncation = np.concatenate([part.dropped for part in parts]) + unresolved
    knots = np.concatenate(
        [
            ((part.length / pieces)[:, None] ** 2 * part.bend() / 8).sum(0)
            for part, pieces in zip(parts, intervals, strict=True)
        ]
    )
    leaked = (steepness * leakage(sharpness, num_tokens)).ravel()
    rounding = 4 * np.finfo(float).eps * float((np.abs(out) @ (np.abs(weight).sum(1) + np.abs(bias))).max())
    layer.bound = ErrorSources(
        float(truncation.max()),
        float(knots.max()),
        float(leaked.max()),
        float((truncation + knots + leaked).max() + rounding),
    )
    layer.tolerance = tolerance
    return layer


def measure(layer: ApproximateLayer, function: Function, parts: list[Ridges], seed: int = 0) -> None:
    """Largest errors at random points, corners, and by a search that starts from the worst of them.

    Fills in ``measured`` and ``without_positions``; makes a bound infinite that is refuted.
    """
    random = np.random.default_rng(seed)
    n, d = layer.num_tokens, layer.num_features
    low, high, num_inputs = layer.low, layer.high, n * d
    sampled = on_unit_box(function, n, d, low, high)
    chunk = max(1, 4_000_000 // (layer.width * n))

    def errors(points: Floats) -> Floats:
        """Of truncation, knots, leakage and all together, shape (points, 4)."""
        found = []
        for at in range(0, len(points), chunk):
            v = points[at : at + chunk]
            target = sampled(v)
            series = np.concatenate([part(v) for part in parts], axis=1)
            with torch.no_grad():
                exact = torch.as_tensor(v)[:, None].expand(-1, n, -1)
                copied = layer.network(exact).flatten(1).numpy()
                whole = layer(torch.as_tensor(low + (high - low) * v).reshape(-1, n, d)).flatten(1).numpy()
            pairs = ((target, series), (series, copied), (copied, whole), (target, whole))
            found.append(np.stack([np.abs(a - b).max(1) for a, b in pairs], axis=1))
        return np.concatenate(found)

    corners = np.array(list(product((0.0, 1.0), repeat=num_inputs))) if num_inputs <= 8 else np.zeros((0, num_inputs))
    points = np.concatenate([random.random((2048, num_inputs)), corners])
    seen = errors(points)
    worst = seen.max(0)
    best, scores = points[np.argsort(-seen[:, 3])[:16]], np.sort(seen[:, 3])[::-1][:16]
    for radius in 0.1 * 0.4 ** np.arange(5):
        near = np.clip(best[:, None] + radius * random.standard_normal((len(best), 8, num_inputs)), 0, 1)
        seen = errors(near.reshape(-1, num_inputs))
        worst = np.maximum(worst, seen.max(0))
        totals = seen[:, 3].reshape(len(best), 8)
        at = totals.argmax(1)
        better = totals.max(1) > scores
        best = np.where(better[:, None], near[np.arange(len(best)), at], best)
        scores = np.maximum(scores, totals.max(1))
    layer.measured = ErrorSources(*worst.tolist())
    if layer.measured.total > layer.bound.total:  # a bound that is refuted is none
        layer.bound = replace(layer.bound, truncation=float("inf"), total=float("inf"))
    layer.without_positions = _asymmetry(sampled, random.random((256, num_inputs)), n, d)


def _asymmetry(sampled: Callable[[Floats], Floats], points: Floats, n: int, d: int) -> float:
    """Half the largest difference between permuting before and after a function."""
    orders = list(permutations(range(n)))[1:64]
    after = sampled(points).reshape(len(points), n, -1)
    worst = 0.0
    for order in orders:
        moved = points.reshape(-1, n, d)[:, list(order)].reshape(len(points), -1)
        before = sampled(moved).reshape(len(points), n, -1)
        worst = max(worst, float(np.abs(before - after[:, list(order)]).max()) / 2)
    return worst


def on_unit_box(function: Function, n: int, d: int, low: float, high: float) -> Callable[[Floats], Floats]:
    """The function on the unit box, in NumPy, refusing what is no map of sequences."""
    check_whole("num_tokens", n, 1)
    check_whole("num_features", d, 1)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise InputError(f"the box needs finite low < high, got {low!r} and {high!r}")
    if not callable(function):
        raise InputError(f"function must be callable, got {function!r}")

    def values(points: Floats) -> Floats:
        x = torch.as_tensor(low + (high - low) * points).reshape(-1, n, d)
        y = function(x)
        if not isinstance(y, Tensor) or y.ndim != 3 or y.shape[:2] != x.shape[:2] or not y.shape[2]:
            got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise InputError(
                f"the function must turn a tensor {tuple(x.shape)} into one of shape ({len(x)}, {n}, outputs), "
                f"got {got}"
            )
        out = y.detach().to(torch.float64).flatten(1).numpy()
        if not np.isfinite(out).all():
            at = x[int(np.flatnonzero(~np.isfinite(out).all(1))[0])].flatten().tolist()
            raise InputError(f"the function is not finite at {at}; it must be continuous on [{low:g}, {high:g}]")
        return np.asarray(out)

    return values
