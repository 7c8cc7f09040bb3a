"""The small vision transformer that ships with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..contracts import Preprocessing
from ..errors import InputError
from ..files import hash_file
from . import BACKBONES
from .plain import PlainBackbone
from .vit import VisionTransformer, VisionTransformerConfig

__all__ = ["WEIGHTS", "load_embedded"]

WEIGHTS = Path(str(files(__package__))) / "weights" / "embedded.safetensors"


def load_embedded(path: Path = WEIGHTS, device: str = "cpu") -> PlainBackbone:
    """The embedded backbone: 32 x 32 RGB, patch 4, 6 layers of 4 attention heads, width 128, one class token.

    Its model card, with data, recipe and measured quality, lies beside the weights.
    """
    config = VisionTransformerConfig()
    model = VisionTransformer(config)
    try:
        model.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    except (FileNotFoundError, SafetensorError, RuntimeError) as error:
        raise InputError(f"the embedded weights cannot be read ({error}); install headwise again") from None
    half = (0.5, 0.5, 0.5)
    side = config.image_size
    return PlainBackbone(
        "embedded",
        model,
        model,
        Preprocessing((side, side), half, half, crop_mode="squash"),
        config.grid,
        1,
        hash_file(path),
        "A small vision transformer that ships with headwise, distilled on natural images without labels.",
        device,
    )


@BACKBONES.register("embedded")
def _load(rest: str, device: str) -> PlainBackbone:
    if rest:
        raise InputError(f"the embedded backbone has no variants, got 'embedded/{rest}'")
    with torch.random.fork_rng(devices=[]):  # the initial weights are replaced; leave the caller's seed alone
        return load_embedded(device=device)
