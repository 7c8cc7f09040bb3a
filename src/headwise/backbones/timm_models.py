"""Vision transformers of timm."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..contracts import Preprocessing
from ..errors import InputError, unknown_name
from ..files import hash_tensors
from . import BACKBONES
from .plain import PlainBackbone, check_pre_norm

__all__ = ["import_timm", "load_timm"]

HEADS = ("head.", "head_dist.", "fc_norm.")
"""The classifier. It is not used: tokens are those before it, and its size does not matter."""


def import_timm() -> Any:
    """The timm package; an `InputError` in one sentence where it is missing or does not fit the installed torch."""
    try:
        import timm
    except (ImportError, RuntimeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"timm cannot be imported with torch {_version('torch')} and torchvision {_version('torchvision')} "
            f"({reason}); "
            "install a torch and torchvision that belong together, then pip install 'headwise[timm]'"
        ) from None
    return timm


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


@BACKBONES.register("timm")
def load_timm(rest: str, device: str = "cpu") -> PlainBackbone:
    """A timm vision transformer: ``NAME``, ``NAME@FILE.safetensors`` or ``NAME@random``."""
    if not rest:
        raise InputError("which timm model? Give timm/NAME, for example timm/vit_tiny_patch16_224")
    timm = import_timm()
    name, _, weights = rest.partition("@")
    if not timm.is_model(name.split(".")[0]):
        raise unknown_name("timm model", name, timm.list_models())
    file = Path(weights) if weights and weights != "random" else None
    found = None if file is None else _read_file(file)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            model = timm.create_model(name, pretrained=not weights)
        except (RuntimeError, OSError, ValueError) as error:
            raise InputError(
                f"the weights of {name} cannot be loaded ({str(error).splitlines()[0]}); "
                f"give a local file: timm/{name}@weights.safetensors"
            ) from None
    if found is not None:
        _fill(model, found, f"{file} does not fit {name}")
    for attribute in ("blocks", "patch_embed", "forward_features", "num_prefix_tokens"):
        if not hasattr(model, attribute):
            raise InputError(
                f"timm/{name} is a {type(model).__name__} without .{attribute}; a plain vision transformer was expected"
            )
    grid = getattr(model.patch_embed, "grid_size", None)
    if grid is None:
        raise InputError(
            f"timm/{name} has a {type(model.patch_embed).__name__} as patch_embed; one with a grid_size was expected"
        )
    check_pre_norm(model, tuple(model.patch_embed.img_size), int(model.num_prefix_tokens) + grid[0] * grid[1])
    config = timm.data.resolve_model_data_config(model)
    if config["crop_mode"] not in ("center", "squash"):
        raise InputError(f"timm/{name} crops its images by {config['crop_mode']!r}; center or squash was expected")
    how = Preprocessing(
        tuple(config["input_size"][1:]),
        tuple(config["mean"]),
        tuple(config["std"]),
        config["interpolation"],
        float(config["crop_pct"]),
        config["crop_mode"],
    )
    # of the numbers and not of the file: the same weights from a hub and from a file are the same backbone
    digest = hash_tensors({k: v for k, v in model.state_dict().items() if not k.startswith(HEADS)})
    return PlainBackbone(
        f"timm/{name}" + ("@random" if weights == "random" else ""),
        model,
        model.forward_features,
        how,
        (int(grid[0]), int(grid[1])),
        int(model.num_prefix_tokens),
        digest,
        f"{name} of the timm library",
        device,
    )


def _read_file(file: Path) -> dict[str, torch.Tensor]:
    if file.suffix != ".safetensors":
        raise InputError(f"{file} is not a .safetensors file; pickled weights are never read")
    try:
        return {k: v.float() for k, v in load_file(file).items()}
    except (FileNotFoundError, SafetensorError, OSError) as error:
        raise InputError(f"{file} cannot be read: {error}") from None


def _fill(model: Any, found: dict[str, torch.Tensor], problem: str) -> None:
    own = model.state_dict()
    wrong = [
        f"{k}: {tuple(found[k].shape)} in the file, {tuple(v.shape)} needed"
        for k, v in own.items()
        if k in found and found[k].shape != v.shape and not k.startswith(HEADS)
    ]
    missing = [k for k in own if k not in found and not k.startswith(HEADS)]
    if wrong or missing:
        said = wrong[:3] + [f"{k} is missing" for k in missing[:3]]
        raise InputError(f"{problem}: {'; '.join(said)} ({len(wrong) + len(missing)} tensors differ)")
    model.load_state_dict({k: v for k, v in found.items() if k in own and v.shape == own[k].shape}, strict=False)
