"""Singular values of pure noise in the limit of large matrices, and the scale of noise that is read from them.

Entries are independent with variance ``1 / num_inputs``, the matrix is ``num_outputs x num_inputs``, and the aspect is
``A = num_outputs / num_inputs``, of any size. All singular values are in units of the noise.

References
----------
Marchenko and Pastur, "Distribution of eigenvalues for some sets of random matrices", Mathematics of the USSR-Sbornik 1,
1967. The integral of the density in closed form is derived here; the tests integrate it numerically.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from ..checks import check_number, check_whole
from ..errors import InputError
from .curves import Floats
from .inputs import not_negative

__all__ = ["bulk_density", "bulk_edges", "bulk_quantiles", "bulk_tail", "noise_scale"]


def bulk_edges(aspect: float) -> tuple[float, float]:
    """Least and largest singular value of pure noise.

    Examples
    --------
    >>> bulk_edges(0.25)
    (0.5, 1.5)
    """
    check_number("aspect", aspect)
    return abs(1 - aspect**0.5), 1 + aspect**0.5


def bulk_density(values: ArrayLike, aspect: float) -> Floats:
    """Density of the singular values of pure noise, zero outside the bulk.

    For an aspect above one, of the ``num_inputs`` singular values that are not zero by the shape alone.

    Examples
    --------
    >>> bulk_density([0.1, 1.0], aspect=0.25).round(4)
    array([0.    , 1.2328])
    """
    x = not_negative("singular values", values)
    least, largest = bulk_edges(aspect)
    inside = (x > least) & (x < largest)
    y = np.where(inside, x, 1.0)
    root = np.sqrt(np.maximum(4 * aspect - (y**2 - 1 - aspect) ** 2, 0))
    return np.where(inside, root / (np.pi * min(aspect, 1) * y), 0.0)


def bulk_tail(values: ArrayLike, aspect: float) -> Floats:
    """Share of the singular values of pure noise that are larger than the given ones, in closed form.

    Examples
    --------
    >>> bulk_tail([0.4, 1.6], aspect=0.25)
    array([1., 0.])
    """
    x = not_negative("singular values", values)
    check_number("aspect", aspect)
    cosine = np.clip((x**2 - 1 - aspect) / (2 * aspect**0.5), -1, 1)
    return _tail(np.arccos(cosine), aspect)


def bulk_quantiles(count: int, aspect: float) -> Floats:
    """``count`` singular values that stand for those of pure noise, from large to small: quantiles, not draws.

    The k-th has a share ``(k + 1/2) / count`` of the bulk above it.

    Examples
    --------
    >>> bulk_quantiles(3, aspect=0.25).round(3)
    array([1.25 , 0.957, 0.69 ])
    """
    check_whole("count", count)
    check_number("aspect", aspect)
    return _quantiles(count, float(aspect)).copy()


def noise_scale(data: ArrayLike, aspect: float) -> float:
    """Scale of the noise from the singular values of the data: their median over that of pure noise of scale one.

    Right where most of the modes are noise. Entries of the noise then have the standard deviation
    ``noise_scale / sqrt(num_inputs)``.

    Parameters
    ----------
    data : array, shape (min(num_outputs, num_inputs),)
        All singular values of the data.
    aspect : float
        ``num_outputs / num_inputs``.

    Examples
    --------
    >>> import numpy as np
    >>> noise = 0.3 * np.random.default_rng(0).normal(size=(100, 200)) / np.sqrt(200)
    >>> round(noise_scale(np.linalg.svd(noise, compute_uv=False), aspect=0.5), 2)
    0.3
    """
    x = not_negative("singular values of the data", data)
    if not x.size:
        raise InputError("the noise is estimated from all singular values of the data, got none")
    return float(np.median(x) / bulk_quantiles(1, aspect)[0])


@lru_cache(maxsize=64)
def _quantiles(count: int, aspect: float) -> Floats:
    share = (np.arange(count) + 0.5) / max(count, 1)
    low, high = np.zeros(count), np.full(count, np.pi)
    angle = np.pi * share
    for _ in range(60):  # Newton's steps, halvings where these leave the bracket; about ten are the rule
        excess = _tail(angle, aspect) - share
        low, high = np.where(excess > 0, low, angle), np.where(excess > 0, angle, high)
        slope = 2 * aspect * np.sin(angle) ** 2 / (np.pi * min(aspect, 1) * _squares(angle, aspect))
        stepped = angle - np.divide(excess, slope, out=np.full(count, np.inf), where=slope > 0)
        last, angle = angle, np.where((low <= stepped) & (stepped <= high), stepped, (low + high) / 2)
        if (np.abs(angle - last) <= 1e-12).all():  # the step after it would be far below rounding
            break
    return np.sqrt(_squares(angle, aspect))


def _squares(angle: Floats, aspect: float) -> Floats:
    """Squared singular values of the bulk, from its upper edge at angle 0 to the lower one at pi."""
    return np.maximum(1 + aspect + 2 * aspect**0.5 * np.cos(angle), np.finfo(float).tiny)


def _tail(angle: Floats, aspect: float) -> Floats:
    """Share of the bulk above ``x``, with ``x^2 = 1 + A + 2 sqrt(A) cos(angle)``.

    The density becomes ``2 A sin(angle)^2 / (pi min(A, 1) x^2)``, whose integral from 0 is elementary.
    """
    root = aspect**0.5
    turned = 2 * abs(1 - aspect) * np.arctan2(abs(1 - root) * np.sin(angle / 2), (1 + root) * np.cos(angle / 2))
    share = ((1 + aspect) * angle - 2 * root * np.sin(angle) - turned) / (2 * np.pi * min(aspect, 1))
    return np.clip(share, 0, 1)
