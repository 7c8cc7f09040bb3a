"""A mixer on disk: its configuration in ``config.json`` beside its weights in ``model.safetensors``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import InputError
from ..files import read_json, write_json, write_tensors, writing

__all__ = ["fill", "read", "write"]

FORMAT_VERSION = 1
KIND = "headwise mixer"


def write(path: str | Path, name: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write a mixer into a folder, which may hold an earlier state of the same mixer and nothing else."""
    path = Path(path)
    wanted = {"format_version": FORMAT_VERSION, "kind": KIND, "name": name, "config": config}
    file = path / "config.json"
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        # as JSON has it: tuples are lists there
        if file.exists() and read_json(file) != json.loads(json.dumps(wanted)):
            raise InputError(
                f"{path} holds something else than this {name} mixer; give another folder, or remove it first"
            )
        write_tensors(path / "model.safetensors", tensors, {"format": "pt"})
        write_json(file, wanted)


def read(path: str | Path) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Name, configuration and weights of a mixer."""
    path = Path(path)
    if path.is_file():
        raise InputError(f"{path} is a file; give the folder that save_pretrained wrote")
    if not (path / "config.json").is_file():
        raise InputError(f"{path} holds no mixer: it has no config.json; give a folder that save_pretrained wrote")
    found = read_json(path / "config.json")
    kind = found.get("kind") if isinstance(found, dict) else None
    if kind != KIND:
        raise InputError(f"{path} holds {kind or 'something else'!r}, not a {KIND}")
    if found.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{path} has format {found.get('format_version')}, this version of headwise reads {FORMAT_VERSION}; "
            "install the version that wrote it"
        )
    name, config = found.get("name"), found.get("config")
    if not isinstance(name, str) or not isinstance(config, dict):
        raise InputError(f"{path}/config.json says neither name nor configuration of a mixer; save it again")
    try:
        tensors = load_file(path / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise InputError(f"the weights of {path} cannot be read: {error}") from None
    return name, config, tensors


def fill(module: nn.Module, tensors: dict[str, Tensor], path: str | Path) -> None:
    """Give a module the weights that were read, in their own precision."""
    wanted = module.state_dict()
    wrong = [f"no {name}" for name in wanted if name not in tensors]
    wrong += [f"{name}, which it does not have" for name in tensors if name not in wanted]
    for name in wanted.keys() & tensors.keys():
        ours, theirs = wanted[name], tensors[name]
        if ours.shape != theirs.shape or ours.is_floating_point() != theirs.is_floating_point():
            wrong.append(f"{name} of {theirs.dtype} {tuple(theirs.shape)} in place of {ours.dtype} {tuple(ours.shape)}")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise InputError(
            f"the weights of {path} do not belong to its configuration: there is {'; '.join(sorted(wrong)[:3])}{more}; "
            "save the mixer again, or put the files of one together"
        )
    # copies: what was read may be a view of the file
    module.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, assign=True)
