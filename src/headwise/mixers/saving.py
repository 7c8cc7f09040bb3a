"""Mixers on disk: their configuration as JSON and their weights as safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import InputError
from ..files import read_json, write_json, write_tensors

__all__ = ["read", "write"]

FORMAT_VERSION = 1
KIND = "headwise mixer"


def write(path: str | Path, name: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write a mixer into a folder, which may hold an earlier state of the same mixer and nothing else."""
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    wanted = {"format_version": FORMAT_VERSION, "kind": KIND, "name": name, "config": config}
    file = path / "config.json"
    if file.exists() and read_json(file) != wanted:
        raise InputError(f"{path} holds something else than this {name} mixer; give another folder, or remove it first")
    write_tensors(path / "model.safetensors", tensors, {"format": "pt"})
    write_json(file, wanted)


def read(path: str | Path) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Name, configuration and weights of a mixer."""
    path = Path(path)
    if not (path / "config.json").is_file():
        raise InputError(f"{path} holds no mixer: it has no config.json; give a folder that save_pretrained wrote")
    found = read_json(path / "config.json")
    if found.get("kind") != KIND:
        raise InputError(f"{path} holds {found.get('kind', 'something else')!r}, not a {KIND}")
    if found.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{path} has format {found.get('format_version')}, this version of headwise reads {FORMAT_VERSION}; "
            "install the version that wrote it"
        )
    try:
        tensors = load_file(path / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise InputError(f"the weights of {path} cannot be read: {error}") from None
    config = {k: tuple(v) if isinstance(v, list) else v for k, v in found["config"].items()}
    return found["name"], config, tensors
