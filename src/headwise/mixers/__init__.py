"""Token mixers of the literature as layers: one mechanism a file, each proved by the same tests."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import InputError, unknown_name
from ..registry import Registry
from .base import Mechanism
from .kinds import Fusion, Mixer, Recalibration
from .options import MixerConfig
from .saving import fill, read
from .traits import Cost, Traits

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
        ``dim`` always, and what else stands under "Parameters" in the docstring of its class:
        ``help(create("halo", dim=8))``, or the page of the mixers.

    Returns
    -------
    Mechanism
        In training, as layers of torch begin.

    Raises
    ------
    InputError
        An unknown name or option, an option of another type, or options that do not go together.

    Examples
    --------
    >>> import torch
    >>> create("softmax", dim=8, num_heads=2)(torch.randn(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """
    return _made(name, options)


def _made(name: str, options: dict[str, Any]) -> Mechanism:
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
        "tokens" for `Mixer`, "map" for `Recalibration`, "pair" for `Fusion`, of which the package has no mechanism yet:
        its contract is there for those of others.

    Raises
    ------
    InputError
        Another kind.

    Examples
    --------
    >>> "softmax" in list_mixers("tokens"), list_mixers("pair")
    (True, [])
    """
    if kind is not None and kind not in KINDS:
        raise unknown_name("kind of mixer", kind, KINDS)
    return [name for name in MIXERS.names() if kind in (None, MIXERS.get(name).kind)]


def load(path: str | Path) -> Mechanism:
    """A mechanism that `Mechanism.save_pretrained` wrote: in evaluation, with its weights in the precision saved.

    Say ``.train()`` to train it further.

    Raises
    ------
    InputError
        No mixer is there, one of another format, or files that are damaged or do not belong together.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     create("softmax", dim=8, num_heads=2).double().save_pretrained(folder)
    ...     again = load(folder)
    >>> again.config.num_heads, again.proj.weight.dtype, again.training
    (2, torch.float64, False)
    """
    name, config, tensors = read(path)
    try:
        made = _made(name, config)
    except InputError as error:
        raise InputError(f"the configuration in {path} cannot be used: {error}") from None
    fill(made, tensors, path)
    return made.eval()
