"""``headwise doctor``: what this machine and installation can do."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..console import err, out, print_json
from ..options import JsonOption

EXTRAS = {"timm": ("timm",), "hf": ("transformers", "huggingface_hub"), "onnx": ("onnx", "onnxscript")}


def command(json: JsonOption = False) -> None:
    """Versions, device, optional packages and free disk; says what to do where something is missing."""
    facts, advice = _look()
    if json:
        print_json({**facts, "advice": advice})
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        out.print(f"{name:<{width}}  {value}", markup=False)
    for line in advice:
        err.print(f"note: {line}", markup=False)


def _look() -> tuple[dict[str, Any], list[str]]:
    import torch

    from ...errors import InputError

    facts: dict[str, Any] = {"headwise": _version("headwise"), "python": platform.python_version()}
    facts |= {n: _version(n) for n in ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "safetensors")}
    facts["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    facts["threads"] = torch.get_num_threads()
    facts["cores"] = os.cpu_count()
    facts["free disk here"] = f"{shutil.disk_usage('.').free / 2**30:.1f} GiB"
    advice = []
    for extra, packages in EXTRAS.items():
        missing = [p for p in packages if _version(p) == "not installed"]
        facts[f"extra {extra}"] = "not installed" if missing else ", ".join(f"{p} {_version(p)}" for p in packages)
        if missing and extra == "timm":  # the others add to what a head can do; their errors name them
            advice.append(f"for {extra} models: pip install 'headwise[{extra}]'")
    if _version("timm") != "not installed":
        from ...backbones import load_backbone

        try:
            load_backbone("timm/vit_tiny_patch16_224@random")
        except InputError as error:
            facts["extra timm"] = "does not import"
            advice.append(str(error))
    return facts, advice


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
