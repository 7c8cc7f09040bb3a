"""Families of heads, one a file."""

from ..contracts import Block
from ..registry import Registry

BLOCKS: Registry[type[Block]] = Registry("block", __name__)

__all__ = ["BLOCKS"]
