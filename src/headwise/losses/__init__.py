"""Convex losses, one a file."""

from ..contracts import Loss
from ..registry import Registry

LOSSES: Registry[type[Loss]] = Registry("loss", __name__)

__all__ = ["LOSSES"]
