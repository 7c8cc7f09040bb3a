"""Penalties, one a file."""

from ..contracts import Penalty
from ..registry import Registry

PENALTIES: Registry[type[Penalty]] = Registry("penalty", __name__)

__all__ = ["PENALTIES"]
