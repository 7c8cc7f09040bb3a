"""Distinct tokens: those of one class of sequences alone, with weights that grow linearly to 1; how they compete."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import check_number
from ..errors import InputError
from .curves import Floats

__all__ = ["check_lowest", "compete", "names", "weights"]


def weights(lowest: float, count: int) -> Floats:
    """Weights of the tokens of a class, from the rarest to the most frequent one.

    Examples
    --------
    >>> weights(0.1, 4).round(2)
    array([0.1, 0.4, 0.7, 1. ])
    >>> weights(0.1, 1)
    array([1.])
    """
    return np.linspace(1, lowest, count)[::-1]


def names(lowest: float, count: int) -> list[str]:
    """A name for the curve of each token, numbered where weights look the same.

    Examples
    --------
    >>> names(0.5, 2)
    ['distinct, weight 0.5', 'distinct, weight 1']
    """
    found = [f"distinct, weight {weight:.3g}" for weight in weights(lowest, count)]
    return found if len(set(found)) == count else [f"{name} ({i})" for i, name in enumerate(found)]


def check_lowest(lowest: Any) -> None:
    """Refuse what is no weight of the rarest token."""
    check_number("lowest", lowest)
    if lowest > 1:
        raise InputError(f"lowest is the weight of the rarest distinct token and at most 1, got {lowest!r}")


def compete(weights: Floats, growth: Floats) -> Floats:
    r"""Logits of distinct tokens that share one growth: the rich get richer.

    Parameters
    ----------
    weights : array, shape (tokens,)
        Probabilities of the tokens of one class, in any unit.
    growth : array, shape (points,)
        :math:`B = \eta_Z \int \xi_n`, at least 0.

    Returns
    -------
    array, shape (points, tokens)
        :math:`z_l - z_l(0)`; they add up to the growth.

    Notes
    -----
    With :math:`u_l = w_l e^{z_l}` and the norm over the distinct tokens alone, :math:`dz_l / dB = u_l^2 / \sum u^2`
    makes :math:`1/u_l^2` fall at the same rate for all tokens. That is the ratio law of Theorem 3 of arXiv 2305.16380
    (from the paper's text): :math:`r = (u_l / u_{l'})^2 - 1` grows as :math:`r(t) = r(0) e^{2 (z_l(t) - z_l(0))}`.
    Hence :math:`z_l = -\tfrac12 \ln(1 - s w_l^2)` with s from :math:`\sum_l z_l = B` (derived here; the tests
    integrate the equation).

    Examples
    --------
    >>> z = compete(np.array([1.0, 2.0]), np.array([0.0, 1.0]))
    >>> z[0].tolist(), round(float(z[1].sum()), 9)
    ([0.0, 0.0], 1.0)
    """
    square = np.asarray(weights, dtype=float) ** 2
    square = square / square.max()
    growth = np.asarray(growth, dtype=float)
    # s = 1 - e^{-v}: the logit of the most likely token is v / 2, and the sum of all lies between v / 2 and n v / 2
    low, high = np.zeros_like(growth), 2 * growth

    def logits(v: Floats) -> Floats:
        rest = (1 - square) + square * np.exp(-v)[:, None]
        return np.asarray(0.5 * np.log(1 / rest))

    for _ in range(100):
        middle = (low + high) / 2
        above = logits(middle).sum(1) > growth
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return logits((low + high) / 2)
