"""Names of devices."""

from __future__ import annotations

import torch

from .errors import InputError

__all__ = ["choose_device"]


def choose_device(name: str | torch.device) -> str:
    """The device that a name means ("auto": CUDA where there is one), checked."""
    name = str(name)
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        if reason.startswith("Expected one of"):
            reason = "there is no such kind of device"
        raise InputError(f"device {name!r} cannot be used ({reason}); give auto, cpu, cuda, cuda:1 or mps") from None
    return name
