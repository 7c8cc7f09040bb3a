"""Models of Hugging Face's transformers, from a folder or the local cache: vision transformers and text models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..contracts import Preprocessing
from ..errors import InputError
from ..files import hash_tensors, read_json
from ..hub import cached, is_repo_id
from . import BACKBONES
from .language import LanguageBackbone
from .plain import VisionBackbone
from .wrapped import WrappedModule

__all__ = ["import_transformers", "load_hf"]

_FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by the numbers of PIL
_TOKENIZER = ("tokenizer*.json", "vocab.*", "*.model")
"""Files that hold a tokenizer."""


def import_transformers() -> Any:
    """The transformers package; an `InputError` in one sentence where it is missing or cannot be imported."""
    try:
        import transformers
    except (ImportError, RuntimeError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"transformers cannot be imported ({reason}); install headwise with its extra: pip install 'headwise[hf]'"
        ) from None
    return transformers


@BACKBONES.register("hf")
def load_hf(rest: str, device: str = "cpu") -> WrappedModule:
    """A model of transformers: a folder, or ``USER/NAME`` where it is in the local cache. The network is not used.

    Models of images and text (CLIP) are taken by their vision tower. Weights are read from safetensors, run in float32,
    and code that comes with a model is never run.

    Returns
    -------
    VisionBackbone, LanguageBackbone or WrappedModule
        The second for models of text whose folder holds their tokenizer, the last for all others, which can be
        dissected and make no tokens of images or texts.

    Raises
    ------
    InputError
        No such model here, weights that are no safetensors, code of its own, quantised weights, an attention that is
        not understood, images without a description of their preprocessing, or a tokenizer that cannot be read.
    """
    if not rest:
        raise InputError("which model? Give hf/FOLDER or hf/USER/NAME, for example hf/facebook/dinov2-small")
    transformers = import_transformers()
    folder = _folder(rest)
    config = _config(folder)
    with torch.random.fork_rng(devices=[]):
        try:
            loaded, told = transformers.AutoModel.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
            raise InputError(f"hf/{rest} cannot be loaded: {_first_line(error)}") from None
    # what is missing was drawn at random; outside the layers (poolers, mask tokens) it changes no token
    missing = sorted(k for k in told["missing_keys"] if any(part.isdigit() for part in k.split(".")))
    if missing:
        raise InputError(f"hf/{rest} lacks weights of its layers: {', '.join(missing[:3])} ({len(missing)} in all)")
    model = getattr(loaded, "vision_model", loaded)
    sees = model is not loaded or getattr(model, "main_input_name", "") == "pixel_values"
    stored = config.get("dtype") or config.get("torch_dtype") or "float32"
    about = f"{type(model).__name__} of the transformers library" + (
        "" if stored == "float32" else f", stored in {stored} and run in float32"
    )
    model = model.eval().requires_grad_(False).to(device)
    if not sees:
        reads = getattr(model, "main_input_name", "") == "input_ids" and not config.get("is_encoder_decoder")
        tokenizer = _tokenizer(transformers, folder) if reads else None
        if tokenizer is None:
            return WrappedModule(f"hf/{rest}", model, about)
        return LanguageBackbone(f"hf/{rest}", model, tokenizer, about, device)
    how = _preprocessing(folder)

    def forward(images: Tensor) -> Tensor:
        found: Tensor = model(pixel_values=images).last_hidden_state
        return found

    grid, prefix = _layout(model, how, forward)
    digest = hash_tensors(model.state_dict())
    return VisionBackbone(f"hf/{rest}", model, forward, how, grid, prefix, digest, about, device)


def _folder(rest: str) -> Path:
    folder = Path(rest).expanduser()
    if folder.is_dir():
        return folder
    if is_repo_id(rest):
        return cached(rest)
    raise InputError(f"there is no folder {rest}; give the folder of a model, or USER/NAME of one in the local cache")


def _config(folder: Path) -> dict[str, Any]:
    """The configuration, where the model can be loaded without risk."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} has no config.json; give the folder of a model that transformers has saved")
    config: dict[str, Any] = read_json(folder / "config.json")
    if "auto_map" in config:
        raise InputError(f"{folder} names code of its own in config.json (auto_map), which is never run")
    if "quantization_config" in config:
        raise InputError(f"{folder} holds quantised weights, which are not read; give the weights that they came from")
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{folder} has no .safetensors file; pickled weights are never read")
    return config


def _tokenizer(transformers: Any, folder: Path) -> Any:
    """The tokenizer of a folder; None where there is none."""
    if not any(file for name in _TOKENIZER for file in folder.glob(name)):
        return None
    file = folder / "tokenizer_config.json"
    if file.is_file() and "auto_map" in read_json(file):
        raise InputError(f"{folder} names code of its own in tokenizer_config.json (auto_map), which is never run")
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library behind it raises this very type where a file is broken
        raise InputError(f"the tokenizer of {folder} cannot be read: {_first_line(error)}") from None


def _preprocessing(folder: Path) -> Preprocessing:
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        raise InputError(f"{folder} has no preprocessor_config.json, so that it is not known how images are prepared")
    found: dict[str, Any] = read_json(file)
    size, crop = found.get("size"), found.get("crop_size")
    cropped = bool(found.get("do_center_crop", crop is not None))
    shortest = size if isinstance(size, int) else (size or {}).get("shortest_edge")
    target = _sides(crop) if cropped and crop is not None else None
    if target is None:
        target = _sides(size) or ((shortest, shortest) if shortest else None)
    if target is None:
        raise InputError(f"{file} has size {size!r}, which is not understood")
    plain = found.get("do_normalize", True) is False
    number = found.get("resample", 3)
    if number not in range(len(_FILTERS)):
        raise InputError(f"{file} has resample {number!r}, which is not one of PIL's filters (0 to 5)")
    # the slightly larger denominator keeps the resized side whole after rounding down
    fraction = min(1.0, min(target) / (shortest + 1e-3)) if cropped and shortest and shortest > min(target) else 1.0
    return Preprocessing(
        target,
        (0.0, 0.0, 0.0) if plain else tuple(found.get("image_mean") or (0.5, 0.5, 0.5)),
        (1.0, 1.0, 1.0) if plain else tuple(found.get("image_std") or (0.5, 0.5, 0.5)),
        _FILTERS[number],
        fraction,
        "center" if cropped or (shortest and not isinstance(size, int)) else "squash",
    )


def _sides(size: Any) -> tuple[int, int] | None:
    """Height and width from a number or a mapping; None for a mapping without them."""
    if isinstance(size, int):
        return size, size
    if isinstance(size, dict) and {"height", "width"} <= set(size):
        return int(size["height"]), int(size["width"])
    return None


def _layout(model: Any, how: Preprocessing, forward: Any) -> tuple[tuple[int, int], int]:
    """Grid of the patches and number of prefix tokens, from the tokens of an empty image."""
    patch = getattr(model.config, "patch_size", None)
    rows, columns = (patch, patch) if isinstance(patch, int) else patch or (0, 0)
    if not rows or not columns:
        raise InputError(f"{type(model).__name__} has no patch_size; a vision transformer of patches was expected")
    grid = (how.image_size[0] // rows, how.image_size[1] // columns)
    like = next(model.parameters())
    with torch.no_grad():
        try:
            count = forward(like.new_zeros(1, 3, *how.image_size)).shape[1]
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{type(model).__name__} does not take images of {how.image_size[0]} x {how.image_size[1]} pixels: "
                f"{_first_line(error)}"
            ) from None
    prefix = count - grid[0] * grid[1]
    if prefix < 0:
        raise InputError(
            f"{type(model).__name__} makes {count} tokens of {grid[0]} x {grid[1]} patches; patches on one grid were "
            "expected"
        )
    return grid, prefix


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
