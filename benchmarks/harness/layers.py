"""Pooled features of several layers of a backbone, read in one pass of the images and kept in ``benchmarks/.cache``."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headwise.files import write_json, write_tensors

from .data import CACHE, WEIGHTS
from .machine import declare_torchvision_operators

__all__ = ["LAYERED", "Layered", "layer_features"]

BATCH = 32
SIDE = 112
"""Pixels of an image for DINOv2: a quarter of the patches of its own 224, and of the time."""


@dataclass(frozen=True)
class Layered:
    """A backbone and the layers that are looked at."""

    load: Callable[[Path], Any]
    layers: tuple[int, ...]


def _embedded(data: Path) -> Any:
    from headwise import load_backbone

    return load_backbone("embedded")


def _vit_tiny(data: Path) -> Any:
    from headwise import load_backbone

    keep = declare_torchvision_operators()
    model = load_backbone(f"timm/vit_tiny_patch16_224@{data / WEIGHTS}")
    del keep
    return model


def _dinov2(data: Path) -> Any:
    """The weights of the saliency model in a folder that transformers can read."""
    from headwise import load_backbone

    folder = CACHE / "dinov2_saliency"
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "dinov2",
        "architectures": ["Dinov2Model"],
        "hidden_size": 384,
        "num_hidden_layers": 12,
        "num_attention_heads": 6,
        "patch_size": 14,
        "image_size": 518,
        "dtype": "float16",
    }
    prepare = {
        "size": {"height": SIDE, "width": SIDE},
        "do_center_crop": False,
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
    }
    write_json(folder / "config.json", config)
    write_json(folder / "preprocessor_config.json", prepare)
    weights = folder / "model.safetensors"
    if not weights.exists():
        os.symlink((data / "dinov2_small_saliency" / "model.safetensors").resolve(), weights)
    keep = declare_torchvision_operators()
    model = load_backbone(f"hf/{folder}")
    del keep
    return model


LAYERED = {
    "embedded": Layered(_embedded, (1, 3, 5)),
    "ViT-Ti": Layered(_vit_tiny, (2, 5, 8, 11)),
    "DINOv2": Layered(_dinov2, (2, 5, 8, 11)),
}


@torch.inference_mode()
def layer_features(name: str, data: Path, samples: Any, said: str) -> dict[int, np.ndarray]:
    """Class token joined with the mean patch token, ``(images, 2 d)``, for each layer of the backbone ``name``.

    Parameters
    ----------
    name : str
        One of `LAYERED`.
    data : Path
        Folder with the weights.
    samples : ImageSamples
    said : str
        What the images are: part of the name of the file.
    """
    from safetensors.torch import load_file

    chosen = LAYERED[name]
    file = CACHE / f"layers_{name}_{said}_{len(samples)}_{samples.fingerprint[:8]}.safetensors"
    if not file.exists():
        print(f".. {name}: layers {', '.join(map(str, chosen.layers))} of {len(samples)} images of {said}", flush=True)
        model = chosen.load(data)
        found: list[list[torch.Tensor]] = [[] for _ in chosen.layers]
        for start in range(0, len(samples), BATCH):
            images = [samples.image(i) for i in range(start, min(start + BATCH, len(samples)))]
            tokens = model.tokens(model.preprocess(images), chosen.layers)
            for kept, values in zip(found, tokens, strict=True):
                prefix = values[:, : model.num_prefix_tokens].flatten(1)
                kept.append(torch.cat([prefix, values[:, model.num_prefix_tokens :].mean(1)], dim=1).float())
        CACHE.mkdir(parents=True, exist_ok=True)
        write_tensors(file, {str(k): torch.cat(v) for k, v in zip(chosen.layers, found, strict=True)})
    stored = load_file(file)
    return {layer: stored[str(layer)].numpy() for layer in chosen.layers}
