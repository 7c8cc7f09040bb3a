"""Names of devices."""

from __future__ import annotations

import torch

from .errors import InputError

__all__ = ["choose_device", "fitting_device", "free_memory", "has_float64", "heads_device"]


def choose_device(name: str | torch.device) -> str:
    """The device that a name means ("auto": CUDA where there is one), checked."""
    name = str(name)
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.ones(1, device=name).item()  # a device that only pretends to compute fails here
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        if reason.startswith("Expected one of"):
            reason = "there is no such kind of device"
        elif reason.startswith("Could not run"):
            reason = "torch cannot compute on it here"
        there = ["auto", "cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        there += ["mps"] if torch.backends.mps.is_available() else []
        raise InputError(f"device {name!r} cannot be used ({reason}); here are {', '.join(there)}") from None
    return name


def has_float64(device: str | torch.device) -> bool:
    """Whether a device computes in float64, as certificates do; Apple's (mps) does not."""
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except TypeError:
        return False
    return True


def fitting_device(name: str | torch.device) -> torch.device:
    """The device that a name means for fits.

    Raises
    ------
    InputError
        There is no such device here, or it has no float64.

    Examples
    --------
    >>> fitting_device("cpu")
    device(type='cpu')
    """
    device = torch.device(choose_device(name))
    if not has_float64(device):
        raise InputError(
            f"device {str(device)!r} has no float64, and certificates are computed in float64; fit with device 'cpu' "
            "(the backbone may stay where it is)"
        )
    return device


def heads_device(name: str | torch.device) -> str:
    """Where heads compute beside a backbone on a device: there, or on the processor where it has no float64.

    Examples
    --------
    >>> heads_device("cpu")
    'cpu'
    """
    name = choose_device(name)
    return name if has_float64(name) else "cpu"


def free_memory(device: torch.device) -> int | None:
    """Free bytes of an accelerator; None where the processor's memory is meant."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
