"""Named things found in a package: one file each, no list to keep."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from .errors import unknown_name

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Names of the things that the modules of a package register when they are imported.

    Parameters
    ----------
    kind : str
        What is registered, for error messages ("block", "loss").
    package : str
        Package whose modules are imported on first use.
    elsewhere : mapping, optional
        Names that other libraries use, with ours, for error messages.

    Examples
    --------
    >>> from headwise.blocks import BLOCKS
    >>> "attention" in BLOCKS.names()
    True
    """

    def __init__(self, kind: str, package: str, elsewhere: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self.package = package
        self._elsewhere = elsewhere
        self._items: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers a class or function under ``name``."""

        def add(item: T) -> T:
            if name in self._items and self._items[name] is not item:
                raise RuntimeError(f"{self.kind} {name!r} is registered twice")
            self._items[name] = item
            return item

        return add

    def _load(self) -> None:
        if not self._loaded:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            self._loaded = True

    def names(self) -> list[str]:
        self._load()
        return sorted(self._items)

    def get(self, name: str) -> T:
        """The thing called ``name``; an `InputError` with close matches where there is none."""
        self._load()
        if not isinstance(name, str) or name not in self._items:
            raise unknown_name(self.kind, name, self._items, self._elsewhere)
        return self._items[name]
