"""Any continuous map of short sequences as one transformer layer: weights without training, with an error budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..checks import check_number, check_whole
from ..errors import InputError
from .copy_heads import CopyHeadsLayer, interpolate, leakage
from .cosine_ridges import KINDS, CosineSeries, Ridges, cosine_series, ridges

__all__ = ["ApproximateLayer", "ErrorSources", "approximate", "compile_layer", "measure"]

Array = NDArray[np.float64]
Function = Callable[[Tensor], Tensor]
# parts of the tolerance
TRUNCATION, KNOTS, LEAKAGE = 0.45, 0.45, 0.05
SMALLEST_GRID = 16  # below it there are too few shells of coefficients to see them fall
JUMP_SAMPLES = 4096  # a series without a sum gains nothing from a finer grid
NARROW = 1000  # units below which a finer grid is not tried for a narrower network
MORE = 1.4
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


def approximate(
    function: Function,
    tolerance: float,
    n_tokens: int,
    n_features: int = 1,
    low: float = 0.0,
    high: float = 1.0,
    max_width: int = 20_000,
    max_samples: int = 2**18,
    seed: int = 0,
) -> ApproximateLayer:
    r"""One transformer layer that is within a tolerance of a function, by construction.

    Parameters
    ----------
    function : callable
        ``(samples, n_tokens, n_features)`` float64 tensor -> ``(samples, n_tokens, outputs)``, continuous.
    tolerance : float
        Largest absolute error of any output on the box.
    n_tokens, n_features : int
        Shape of a sample.
    low, high : float
        The box that every feature lies in.
    max_width : int
        Most hidden units.
    max_samples : int
        Most places at which the function is sampled on a grid.
    seed : int
        Of the points at which the error is measured.

    Returns
    -------
    ApproximateLayer
        With ``bound``, ``measured``, ``width`` and ``verdict``.

    Raises
    ------
    InputError
        A tolerance that is not positive; a function of another shape or with values that are not finite; more inputs
        than can be sampled; more hidden units than ``max_width``, with their number.

    Notes
    -----
    Heads copy all positions to every token (see `copy_heads`). The network interpolates the function's cosine series,
    gathered into functions of one variable along integer directions (see `cosine_ridges`), with knots
    so dense that :math:`\sum_r h_r^2 \max|g_r''| / 8` is its part of the tolerance at the least number of units,
    :math:`h_r \propto (R_r / \max|g_r''|)^{1/3}` for a direction of range :math:`R_r`. Even extension leaves no jump
    at the border of the box. The number of units grows exponentially with ``n_tokens * n_features`` for functions that
    depend on all inputs in a general way.

    Existence is claimed by Gumaan 2025 (arXiv 2507.10581; a preprint, its theorem quoted as a claim). The
    construction, its bounds and the sum of cosines along common directions are derived here and tested.

    Examples
    --------
    >>> def pairs(x):
    ...     return (x[:, :1] * x[:, 1:]).expand(-1, 2, -1)
    >>> layer = approximate(pairs, 0.01, n_tokens=2)
    >>> layer.measured.total <= layer.bound.total <= 0.01
    True
    >>> layer.width
    44
    """
    check_number("tolerance", tolerance)
    check_whole("max_width", max_width, 1)
    check_whole("max_samples", max_samples, 1)
    check_whole("seed", seed)
    sampled = _sampled(function, n_tokens, n_features, low, high)
    n_inputs = n_tokens * n_features
    if SMALLEST_GRID**n_inputs > max_samples:
        raise InputError(
            f"{n_inputs} inputs need at least {SMALLEST_GRID**n_inputs:,} samples on a grid, max_samples is "
            f"{max_samples:,}; take shorter sequences or fewer features"
        )
    plan = _search(sampled, tolerance, n_tokens, n_inputs, max_width, max_samples, np.random.default_rng(seed))
    if plan.width > max_width:
        raise InputError(
            f"{plan.width:,} hidden units are needed for a tolerance of {tolerance:g}, max_width is {max_width:,}; "
            "give a larger tolerance or a larger max_width"
        )
    layer = compile_layer(plan.parts, plan.unresolved, plan.intervals, n_tokens, n_features, low, high, tolerance)
    measure(layer, function, plan.parts, seed)
    return layer


@dataclass(frozen=True)
class _Plan:
    parts: list[Ridges]
    intervals: list[NDArray[np.int64]]
    unresolved: Array
    width: int
    truncation: float


def _search(
    sampled: Callable[[Array], Array],
    tolerance: float,
    n_tokens: int,
    n_inputs: int,
    max_width: int,
    max_samples: int,
    random: np.random.Generator,
) -> _Plan:
    """The narrowest plan on the coarsest grid that keeps the tolerance, or the most faithful one."""
    points = random.random((512, n_inputs))
    values = sampled(points)
    grid, narrowest, refused = SMALLEST_GRID, None, None
    while True:
        last = (2 * grid) ** n_inputs > max_samples
        every = [cosine_series(sampled, n_inputs, grid, kind) for kind in KINDS]
        good = [one for one in every if one.unresolved.max() <= (0.9 if last else 0.3) * TRUNCATION * tolerance]
        plans = []
        for one in good:
            try:
                plans.append(_plan(one, tolerance, n_tokens, max_width))
            except InputError as error:  # another kind of series may do with fewer cosines
                refused = error
        for plan in sorted(plans, key=lambda plan: plan.width):
            # between the points of the grid the function may be another
            if np.abs(np.concatenate([part(points) for part in plan.parts], axis=1) - values).max() <= plan.truncation:
                if narrowest is None or plan.width < narrowest.width:
                    narrowest = plan
                break
        # other kinds of series may need a finer grid, and far fewer units
        if last or (narrowest and narrowest.width <= NARROW):
            break
        grid *= 2
    if narrowest:
        return narrowest
    if refused:
        raise refused
    # a function that were periodic would have been found above
    best = min(every[:2], key=lambda one: float(one.unresolved.max()))
    if not np.isfinite(best.unresolved).all():
        while grid**n_inputs > JUMP_SAMPLES and grid > SMALLEST_GRID:
            grid //= 2
        best = cosine_series(sampled, n_inputs, grid, KINDS[0])
        best = replace(best, unresolved=np.full_like(best.unresolved, np.inf))
    return _plan(best, tolerance, n_tokens, max_width)


def _plan(series: CosineSeries, tolerance: float, n_tokens: int, max_width: int) -> _Plan:
    """Which cosines, and how many knots."""
    per_position = [series.only(part) for part in _positions(series.coefficients.shape[-1], n_tokens)]
    unresolved = float(series.unresolved.max())
    budget = TRUNCATION * tolerance
    # coefficients that do not fall cannot be dropped to a tolerance: as many as there are units for are kept
    hopeless = unresolved > budget
    drop = budget if hopeless else budget - unresolved
    while True:
        try:
            parts = [ridges(one, drop) for one in per_position]
        except InputError:
            if not hopeless:
                raise
            drop *= MORE
            continue
        intervals = [_intervals(part, KNOTS * tolerance) for part in parts]
        width = sum(
            int((pieces - 1).sum()) + part.slope.shape[1] + 1 for part, pieces in zip(parts, intervals, strict=True)
        )
        if width <= max_width or not hopeless or not any(len(part.owner) for part in parts):
            break
        drop *= MORE
    truncation = max(float(part.dropped.max()) for part in parts) + unresolved
    return _Plan(parts, intervals, series.unresolved, width, truncation)


def _intervals(part: Ridges, budget: float) -> NDArray[np.int64]:
    """Pieces of each ridge: the fewest units whose bounds add up to the budget."""
    bend, length = part.bend().max(1), part.length
    total = float((length ** (2 / 3) * bend ** (1 / 3)).sum())
    if not total:
        return np.ones(len(length), dtype=np.int64)
    scale = np.sqrt(8 * budget / total)
    return np.maximum(np.ceil(length / scale * (bend / length) ** (1 / 3)), 1).astype(np.int64)


def compile_layer(
    parts: list[Ridges],
    unresolved: Array,
    intervals: list[NDArray[np.int64]],
    n_tokens: int,
    n_features: int = 1,
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
    unresolved : array, shape (n_tokens * outputs,)
        Error of the parts that is not in their ``dropped``.
    intervals : list of int array
        Pieces of each ridge.
    n_tokens, n_features, low, high, tolerance
        As in `approximate`.
    sharpness : float, optional
        Logit of a copied position; by default what keeps leakage within its part of the tolerance.
    """
    weight, bias, out, steepness = interpolate(parts, intervals)
    if sharpness is None:
        allowed = LEAKAGE * (1.0 if tolerance is None else tolerance)
        sharpness = min(max(float(np.log(max(n_tokens - 1, 1) * max(steepness.max() / allowed, 1.0))), 1.0), SHARPEST)
    layer = ApproximateLayer(n_tokens, n_features, low, high, sharpness, weight, bias, out)
    truncation = np.concatenate([part.dropped for part in parts]) + unresolved
    knots = np.concatenate(
        [
            ((part.length / pieces)[:, None] ** 2 * part.bend() / 8).sum(0)
            for part, pieces in zip(parts, intervals, strict=True)
        ]
    )
    leaked = (steepness * leakage(sharpness, n_tokens)).ravel()
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
    n, d = layer.n_tokens, layer.n_features
    low, high, n_inputs = layer.low, layer.high, n * d
    sampled = _sampled(function, n, d, low, high)
    chunk = max(1, 4_000_000 // (layer.width * n))

    def errors(points: Array) -> Array:
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

    corners = np.array(list(product((0.0, 1.0), repeat=n_inputs))) if n_inputs <= 8 else np.zeros((0, n_inputs))
    points = np.concatenate([random.random((2048, n_inputs)), corners])
    seen = errors(points)
    worst = seen.max(0)
    best, scores = points[np.argsort(-seen[:, 3])[:16]], np.sort(seen[:, 3])[::-1][:16]
    for radius in 0.1 * 0.4 ** np.arange(5):
        near = np.clip(best[:, None] + radius * random.standard_normal((len(best), 8, n_inputs)), 0, 1)
        seen = errors(near.reshape(-1, n_inputs))
        worst = np.maximum(worst, seen.max(0))
        totals = seen[:, 3].reshape(len(best), 8)
        at = totals.argmax(1)
        better = totals.max(1) > scores
        best = np.where(better[:, None], near[np.arange(len(best)), at], best)
        scores = np.maximum(scores, totals.max(1))
    layer.measured = ErrorSources(*worst.tolist())
    if layer.measured.total > layer.bound.total:  # a bound that is refuted is none
        layer.bound = replace(layer.bound, truncation=float("inf"), total=float("inf"))
    layer.without_positions = _asymmetry(sampled, random.random((256, n_inputs)), n, d)


def _asymmetry(sampled: Callable[[Array], Array], points: Array, n: int, d: int) -> float:
    """Half the largest difference between permuting before and after a function."""
    orders = list(permutations(range(n)))[1:64]
    after = sampled(points).reshape(len(points), n, -1)
    worst = 0.0
    for order in orders:
        moved = points.reshape(-1, n, d)[:, list(order)].reshape(len(points), -1)
        before = sampled(moved).reshape(len(points), n, -1)
        worst = max(worst, float(np.abs(before - after[:, list(order)]).max()) / 2)
    return worst


def _positions(n_columns: int, n_tokens: int) -> list[slice]:
    each = n_columns // n_tokens
    return [slice(i * each, (i + 1) * each) for i in range(n_tokens)]


def _sampled(function: Function, n: int, d: int, low: float, high: float) -> Callable[[Array], Array]:
    """The function on the unit box, in NumPy, refusing what is no map of sequences."""
    check_whole("n_tokens", n, 1)
    check_whole("n_features", d, 1)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise InputError(f"the box needs finite low < high, got {low!r} and {high!r}")
    if not callable(function):
        raise InputError(f"function must be callable, got {function!r}")

    def values(points: Array) -> Array:
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
