"""Ridge penalty."""

from __future__ import annotations

from typing import Literal

from . import PENALTIES

__all__ = ["Ridge"]


@PENALTIES.register("ridge")
class Ridge:
    """``beta/2 ||Z||_F^2``, for linear parts. Its dual term is ``-||A*(theta)||_F^2 / (2 beta)``; it needs no bound.

    Examples
    --------
    >>> from headwise.penalties import PENALTIES
    >>> PENALTIES.get("ridge").kind
    'quadratic'
    """

    name = "ridge"
    kind: Literal["norm", "quadratic"] = "quadratic"
