"""Token mixers of the literature as layers: one mechanism a file, each proved by the same tests."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import InputError, unknown_name
from ..registry import Registry
from .base import Cost, Fusion, Mechanism, Mixer, MixerConfig, Recalibration, Traits

__all__ = [
    "MIXERS",
    "Cost",
    "Fusion",
    "Mechanism",
    "Mixer",
    "MixerConfig",
    "Recalibration",
    "Traits",
    "create",
    "list_mixers",
    "load",
]

MIXERS: Registry[type[Mechanism]] = Registry(
    "mixer", __name__, {"self_attention": "softmax", "mhsa": "softmax", "mha": "softmax"}
)
KINDS = ("tokens", "map", "pair")


def create(name: str, **options: Any) -> Mechanism:
    """A mechanism by its name, with fresh weights.

    Parameters
    ----------
    name : str
        As in `list_mixers`.
    **options
        Fields of its configuration: ``dim`` always, and what its class documents.

    Returns
    -------
    Mechanism

    Raises
    ------
    InputError
        An unknown name or option, or options that do not go together.

    Examples
    --------
    >>> import torch
    >>> create("softmax", dim=8, num_heads=2)(torch.randn(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """
    mechanism = MIXERS.get(name)
    known = [f.name for f in fields(mechanism.Config)]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of {name}", option, known)
    if "dim" not in options:
        raise InputError(f"{name} needs dim: create({name!r}, dim=192, ...)")
    return mechanism(mechanism.Config(**options))


def list_mixers(kind: str | None = None) -> list[str]:
    """Names of the mechanisms, all or those of one kind.

    Parameters
    ----------
    kind : {"tokens", "map", "pair"}, optional
        "tokens" for `Mixer`, "map" for `Recalibration`, "pair" for `Fusion`.

    Examples
    --------
    >>> "softmax" in list_mixers("tokens")
    True
    """
    if kind is not None and kind not in KINDS:
        raise unknown_name("kind of mixer", kind, KINDS)
    return [name for name in MIXERS.names() if kind in (None, MIXERS.get(name).kind)]


def load(path: str | Path) -> Mechanism:
    """A mechanism that `Mechanism.save_pretrained` wrote.

    Raises
    ------
    InputError
        No mixer is there, or one of another format.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     create("softmax", dim=8, num_heads=2).save_pretrained(folder)
    ...     load(folder).config.num_heads
    2
    """
    from .saving import read

    name, config, tensors = read(path)
    made = create(name, **config)
    made.load_state_dict(tensors)
    return made.eval()
