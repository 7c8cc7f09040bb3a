"""Frozen backbones: one adapter a file."""

from __future__ import annotations

from collections.abc import Callable

from ..contracts import Backbone
from ..devices import choose_device
from ..errors import InputError
from ..registry import Registry

__all__ = ["BACKBONES", "list_backbones", "load_backbone"]

BACKBONES: Registry[Callable[[str, str], Backbone]] = Registry("backbone", __name__)
"""Adapters by the word before the slash: called with what follows it and the device."""


def list_backbones() -> list[str]:
    """Families of backbones that `load_backbone` knows.

    Examples
    --------
    >>> import headwise
    >>> headwise.list_backbones()
    ['embedded', 'timm']
    """
    return BACKBONES.names()


def load_backbone(name: str, device: str = "cpu") -> Backbone:
    """Load a frozen backbone.

    Parameters
    ----------
    name : str
        "embedded" (ships with the package), "timm/NAME" (weights from timm's hub or its cache),
        "timm/NAME@FILE.safetensors" (local weights, no network) or "timm/NAME@random" (untrained, seed 0).
    device : str
        Where it runs: "cpu", "cuda", "mps", or "auto" (CUDA where there is one).

    Returns
    -------
    Backbone
        In evaluation mode, without gradients.

    Raises
    ------
    InputError
        An unknown name (with the closest ones), weights that do not fit, a structure that the adapter does not
        understand, a device that is not there, or a missing package.

    Examples
    --------
    >>> import headwise
    >>> model = headwise.load_backbone("timm/vit_tiny_patch16_224@random")  # doctest: +SKIP
    >>> model.grid  # doctest: +SKIP
    (14, 14)
    """
    if not isinstance(name, str) or not name:
        raise InputError(f"a backbone is given by its name, got {name!r}; known: {', '.join(list_backbones())}")
    family, _, rest = name.partition("/")
    return BACKBONES.get(family)(rest, choose_device(device))
