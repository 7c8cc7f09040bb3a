"""Vision transformers of timm."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..contracts import Preprocessing
from ..errors import InputError, unknown_name
from ..files import hash_tensors
from . import BACKBONES
from .plain import PlainBackbone

__all__ = ["import_timm", "load_timm"]


def import_timm() -> Any:
    """The timm package; an `InputError` in one sentence where it is missing or does not fit the installed torch."""
    try:
        import timm
    except (ImportError, RuntimeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"timm cannot be imported with torch {_version('torch')} and torchvision {_version('torchvision')} "
            f"({reason}); "
            "install torch and torchvision whose versions belong together, both for the CPU or both for CUDA, then "
            "pip install 'headwise[timm]'"
        ) from None
    return timm


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


@BACKBONES.register("timm")
def load_timm(rest: str, device: str = "cpu") -> PlainBackbone:
    """A timm vision transformer: ``NAME``, ``NAME@FILE.safetensors`` or ``NAME@random``.

    Raises
    ------
    InputError
        An unknown name, a file that cannot be read or does not fit, weights that cannot be loaded, or a structure that
        is not understood. The file is read before the model is built.
    """
    if not rest:
        raise InputError("which timm model? Give timm/NAME, for example timm/vit_tiny_patch16_224")
    timm = import_timm()
    name, at, weights = rest.partition("@")
    if not timm.is_model(name.split(".")[0]):
        raise unknown_name("timm model", name, timm.list_models())
    if at and not weights:
        raise InputError(f"timm/{name}@ names no weights; give timm/{name}@FILE.safetensors or timm/{name}@random")
    file = Path(weights) if weights and weights != "random" else None
    found = _read(file) if file else {}
    if not weights:
        _check_before_download(timm, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            model = timm.create_model(name, pretrained=not weights)
        except (RuntimeError, OSError, ValueError) as error:
            raise InputError(
                f"the weights of {name} cannot be loaded ({str(error).splitlines()[0]}); "
                f"give a local file: timm/{name}@weights.safetensors"
            ) from None
    check_structure(model, f"timm/{name}")
    if file is not None:
        _fill(model, found, file, name)
    config = timm.data.resolve_model_data_config(model)
    if config["input_size"][0] != 3:
        raise InputError(f"timm/{name} takes {config['input_size'][0]} channels; RGB images were expected")
    how = Preprocessing(
        tuple(config["input_size"][1:]),
        tuple(config["mean"]),
        tuple(config["std"]),
        config["interpolation"],
        float(config["crop_pct"]),
        config["crop_mode"],
    )
    grid = model.patch_embed.grid_size
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


HEADS = ("head.", "head_dist.", "fc_norm.")
"""The classifier. It is not used: tokens are those before it, and its size does not matter."""

# Layers whose forward is: tokens + f(attention(norm1(tokens))), with one softmax of q k^T for each attention head
# (rotary embeddings and biases aside, which records name). Others can have the same parts in another order, so their
# parts alone do not tell; hence by the class itself, not by what it derives from.
_LAYERS = ("vision_transformer.Block", "vision_transformer_relpos.RelPosBlock", "beit.Block", "eva.EvaBlock")
_ATTENTION = (
    "attention.Attention",
    "attention.AttentionRope",
    "vision_transformer.Attention",  # where timm kept it before
    "vision_transformer_relpos.RelPosAttention",
    "beit.Attention",
    "eva.EvaAttention",
)


def _kind(module: Any) -> str:
    return f"{type(module).__module__.rpartition('.')[2]}.{type(module).__name__}"


def check_structure(model: Any, name: str) -> None:
    """Refuse a timm model that is not a plain pre-norm vision transformer.

    Parameters
    ----------
    model : nn.Module
    name : str
        For messages.

    Raises
    ------
    InputError
        Names the module's path, its type and what was expected.
    """
    for attribute in ("blocks", "patch_embed", "forward_features", "num_prefix_tokens"):
        if not hasattr(model, attribute):
            raise InputError(
                f"{name} is a {type(model).__name__} without .{attribute}; a plain vision transformer was expected"
            )
    for layer, block in enumerate(model.blocks):
        path = f"{name}: blocks.{layer}"
        if _kind(block) not in _LAYERS:
            raise InputError(
                f"{path} is a {_kind(block)}; a plain pre-norm layer was expected ({', '.join(_LAYERS)} of timm)"
            )
        if _kind(block.attn) not in _ATTENTION:
            raise InputError(
                f"{path}.attn is a {_kind(block.attn)}; plain softmax attention was expected "
                f"({', '.join(_ATTENTION)} of timm)"
            )
    if getattr(model.patch_embed, "grid_size", None) is None:
        raise InputError(
            f"{name}: patch_embed is a {_kind(model.patch_embed)} without a grid_size; patches on a fixed grid were "
            "expected"
        )


def _check_before_download(timm: Any, name: str) -> None:
    """Refuse by its structure alone a model whose weights would be downloaded, from a copy without numbers."""
    try:
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False)
    except (NotImplementedError, RuntimeError, TypeError, ValueError):
        return  # its constructor needs numbers: the check after the download has to do
    check_structure(model, f"timm/{name}")


def _read(file: Path) -> dict[str, Tensor]:
    if file.suffix != ".safetensors":
        raise InputError(f"{file} is not a .safetensors file; pickled weights are never read")
    try:
        return {k: v.float() for k, v in load_file(file).items()}
    except (FileNotFoundError, SafetensorError, OSError) as error:
        raise InputError(f"{file} cannot be read: {error}") from None


def _fill(model: Any, found: dict[str, Tensor], file: Path, name: str) -> None:
    own = model.state_dict()
    wrong = [
        f"{k}: {tuple(found[k].shape)} in the file, {tuple(v.shape)} needed"
        for k, v in own.items()
        if k in found and found[k].shape != v.shape and not k.startswith(HEADS)
    ]
    missing = [k for k in own if k not in found and not k.startswith(HEADS)]
    if wrong or missing:
        said = wrong[:3] + [f"{k} is missing" for k in missing[:3]]
        raise InputError(f"{file} does not fit {name}: {'; '.join(said)} ({len(wrong) + len(missing)} tensors differ)")
    model.load_state_dict({k: v for k, v in found.items() if k in own and v.shape == own[k].shape}, strict=False)
