"""Any continuous map of short sequences as one transformer layer: weights without training, with an error budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..checks import check_number, check_whole
from ..errors import InputError
from .cosine_ridges import KINDS, CosineSeries, Ridges, cosine_series, ridges
from .curves import Floats
from .measured_layer import ApproximateLayer, compile_layer, measure, on_unit_box
from .piecewise_ridges import PiecewiseRidges
from .ridge_fan import fan
from .ridge_pursuit import pursue

__all__ = ["approximate"]

# parts of the tolerance; the rest is for leakage and rounding
TRUNCATION, KNOTS = 0.45, 0.45
SMALLEST_GRID = 16  # below it there are too few shells of coefficients to see them fall
JUMP_SAMPLES = 4096  # a series without a sum gains nothing from a finer grid
NARROW = 1000  # units below which a finer grid is not tried for a narrower network
MORE = 1.4


def approximate(
    function: Callable[[Tensor], Tensor],
    tolerance: float,
    num_tokens: int,
    num_features: int = 1,
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
        ``(samples, num_tokens, num_features)`` float64 tensor -> ``(samples, num_tokens, outputs)``, continuous.
    tolerance : float
        Largest absolute error of any output on the box.
    num_tokens, num_features : int
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
    at the border of the box. Where that takes more than ``max_width`` units (kinks in three inputs), the functions of
    one variable are fitted by least squares instead (see `ridge_pursuit` and, for functions that bend in two directions
    only, `ridge_fan`). The number of units grows exponentially
    with ``num_tokens * num_features`` for functions that depend on all inputs in a general way.

    Existence is claimed by Gumaan 2025 (arXiv 2507.10581; a preprint, its theorem quoted as a claim). The
    construction, its bounds and the sum of cosines along common directions are derived here and tested.

    Examples
    --------
    >>> def pairs(x):
    ...     return (x[:, :1] * x[:, 1:]).expand(-1, 2, -1)
    >>> layer = approximate(pairs, 0.01, num_tokens=2)
    >>> layer.measured.total <= layer.bound.total <= 0.01
    True
    >>> layer.width
    44
    """
    check_number("tolerance", tolerance)
    check_whole("max_width", max_width, 1)
    check_whole("max_samples", max_samples, 1)
    check_whole("seed", seed)
    sampled = on_unit_box(function, num_tokens, num_features, low, high)
    num_inputs = num_tokens * num_features
    if SMALLEST_GRID**num_inputs > max_samples:
        raise InputError(
            f"{num_inputs} inputs need at least {SMALLEST_GRID**num_inputs:,} samples on a grid, max_samples is "
            f"{max_samples:,}; take shorter sequences or fewer features"
        )
    plan = _search(sampled, tolerance, num_tokens, num_inputs, max_width, max_samples, np.random.default_rng(seed))
    if plan.width > max_width:
        raise InputError(
            f"{plan.width:,} hidden units are needed for a tolerance of {tolerance:g}, max_width is {max_width:,}; "
            "give a larger tolerance or a larger max_width"
        )
    layer = compile_layer(plan.parts, plan.unresolved, plan.intervals, num_tokens, num_features, low, high, tolerance)
    measure(layer, function, plan.parts, seed)
    return layer


@dataclass(frozen=True)
class _Plan:
    parts: list[Ridges]
    intervals: list[NDArray[np.int64]]
    unresolved: Floats
    width: int
    truncation: float


def _search(
    sampled: Callable[[Floats], Floats],
    tolerance: float,
    num_tokens: int,
    num_inputs: int,
    max_width: int,
    max_samples: int,
    random: np.random.Generator,
) -> _Plan:
    """The narrowest plan on the coarsest grid that keeps the tolerance, or the most faithful one."""
    points = random.random((512, num_inputs))
    values = sampled(points)
    grid, narrowest, refused = SMALLEST_GRID, None, None
    while True:
        last = (2 * grid) ** num_inputs > max_samples
        every = [cosine_series(sampled, num_inputs, grid, kind) for kind in KINDS]
        good = [one for one in every if one.unresolved.max() <= (0.9 if last else 0.3) * TRUNCATION * tolerance]
        plans = []
        for one in good:
            try:
                plans.append(_plan(one, tolerance, num_tokens, max_width))
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
    if narrowest and narrowest.width <= max_width:
        return narrowest
    if all(np.isfinite(one.unresolved).all() for one in every[:2]):  # what jumps is not fitted either
        for fit in (pursue, fan):
            fitted = fit(sampled, num_inputs, (TRUNCATION + KNOTS) * tolerance, max_width // num_tokens, max_samples)
            if fitted and (as_fitted := _of_profiles(fitted, num_tokens)).width <= max_width:
                return as_fitted
    if narrowest:
        return narrowest
    if refused:
        raise refused
    # a function that were periodic would have been found above
    best = min(every[:2], key=lambda one: float(one.unresolved.max()))
    if not np.isfinite(best.unresolved).all():
        while grid**num_inputs > JUMP_SAMPLES and grid > SMALLEST_GRID:
            grid //= 2
        best = cosine_series(sampled, num_inputs, grid, KINDS[0])
        best = replace(best, unresolved=np.full_like(best.unresolved, np.inf))
    return _plan(best, tolerance, num_tokens, max_width)


def _plan(series: CosineSeries, tolerance: float, num_tokens: int, max_width: int) -> _Plan:
    """Which cosines, and how many knots."""
    per_position = [series.only(part) for part in _positions(series.coefficients.shape[-1], num_tokens)]
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


def _of_profiles(found: PiecewiseRidges, num_tokens: int) -> _Plan:
    """Directions and profiles as they were fitted; every position has units of its own."""
    num_outputs = len(found.constant)
    parts: list[Ridges] = [found.only(part) for part in _positions(num_outputs, num_tokens)]
    width = num_tokens * (int((found.pieces - 1).sum()) + 1) + num_outputs
    return _Plan(parts, [found.pieces] * num_tokens, np.zeros(num_outputs), width, float(found.dropped.max()))


def _intervals(part: Ridges, budget: float) -> NDArray[np.int64]:
    """Pieces of each ridge: the fewest units whose bounds add up to the budget."""
    bend, length = part.bend().max(1), part.length
    total = float((length ** (2 / 3) * bend ** (1 / 3)).sum())
    if not total:
        return np.ones(len(length), dtype=np.int64)
    scale = np.sqrt(8 * budget / total)
    return np.maximum(np.ceil(length / scale * (bend / length) ** (1 / 3)), 1).astype(np.int64)


def _positions(num_columns: int, num_tokens: int) -> list[slice]:
    each = num_columns // num_tokens
    return [slice(i * each, (i + 1) * each) for i in range(num_tokens)]
