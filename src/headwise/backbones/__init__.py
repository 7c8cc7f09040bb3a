"""Frozen backbones: one adapter a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, overload

from torch import nn

from ..contracts import AttentionModel, Backbone, QueryKey
from ..devices import choose_device
from ..errors import InputError
from ..registry import Registry

__all__ = ["BACKBONES", "READERS", "list_backbones", "load_backbone"]

BACKBONES: Registry[Callable[[str, str], Any]] = Registry("backbone", __name__)
"""Adapters by the word before the slash: called with what follows it and the device."""

READERS: Registry[Callable[[Any], QueryKey | None]] = Registry("attention reader", __name__)
"""What attention modules are, by their structure: called with a `Place`, they give its record, or None for a module
that they do not know."""


def list_backbones() -> list[str]:
    """Families of backbones that `load_backbone` knows.

    Examples
    --------
    >>> import headwise
    >>> headwise.list_backbones()
    ['embedded', 'hf', 'timm']
    """
    return BACKBONES.names()


@overload
def load_backbone(name: str, device: str = "cpu") -> Backbone: ...
@overload
def load_backbone(name: nn.Module) -> AttentionModel: ...
def load_backbone(name: str | nn.Module, device: str = "cpu") -> Any:
    """Load a frozen backbone, or read the attention layers of a torch module.

    Parameters
    ----------
    name : str or nn.Module
        "embedded" (ships with the package), "timm/NAME" (weights from timm's hub or its cache),
        "timm/NAME@FILE.safetensors" (local weights, no network), "timm/NAME@random" (untrained, seed 0), "hf/FOLDER" or
        "hf/USER/NAME" (a Hugging Face model in a folder or in the local cache, no network). A module is taken as it is,
        and stays where it is; attention layers are found by their structure.
    device : str
        Where it runs: "cpu", "cuda", "mps", or "auto" (CUDA where there is one).

    Returns
    -------
    Backbone
        In evaluation mode, without gradients. A Hugging Face text model with its tokenizer is a
        `headwise.contracts.TextBackbone`. A module, or a model that takes neither images nor texts, is an
        `headwise.contracts.AttentionModel`, which can be dissected and makes no tokens of either.

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
    >>> import torch
    >>> headwise.load_backbone(torch.nn.MultiheadAttention(8, 2)).num_heads
    2
    """
    if isinstance(name, nn.Module):
        from .wrapped import WrappedModule

        return WrappedModule(type(name).__name__, name)
    if not isinstance(name, str) or not name:
        raise InputError(f"a backbone is given by its name, got {name!r}; known: {', '.join(list_backbones())}")
    family, _, rest = name.partition("/")
    if family not in BACKBONES.names() and Path(name).is_dir():
        raise InputError(f"{name!r} is a folder; of a Hugging Face model say 'hf/{name}'")
    return BACKBONES.get(family)(rest, choose_device(device))
