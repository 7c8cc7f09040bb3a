"""Nuclear norm."""

from __future__ import annotations

from typing import Literal

from . import PENALTIES

__all__ = ["Nuclear"]


@PENALTIES.register("nuclear")
class Nuclear:
    """``beta ||Z||_*``, the least ``beta/2 sum_j (|u_j|^2 + |v_j|^2)`` over factorisations of Z.

    It is weight decay of the two-layer network (Sahiner et al., arXiv 2205.08078) and makes Z low rank. Its dual
    term is the bound ``||A*(theta)||_2 <= beta``.

    Examples
    --------
    >>> from headwise.penalties import PENALTIES
    >>> PENALTIES.get("nuclear").kind
    'norm'
    """

    name = "nuclear"
    kind: Literal["norm", "quadratic"] = "norm"
