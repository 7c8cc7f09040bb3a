"""What was measured on: the machine and the versions, said under every table."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

__all__ = ["declare_torchvision_operators", "described", "processor"]


def processor() -> str:
    """Name of the processor, as the system tells it, its cores, and the system."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def described(packages: Sequence[str] = ()) -> str:
    """One sentence for under a table: processor, threads, Python, torch, headwise, and ``packages`` where installed."""
    import headwise

    said = [processor(), f"{torch.get_num_threads()} threads", f"Python {platform.python_version()}"]
    said += [f"torch {torch.__version__}", f"headwise {headwise.__version__}"]
    for package in packages:
        try:
            said.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            said.append(f"no {package}")
    return ", ".join(said)


def declare_torchvision_operators() -> object:
    """Let timm import where torchvision's compiled part does not belong to this torch; keep what is returned."""
    if hasattr(torch.ops.torchvision, "nms"):
        return None
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
