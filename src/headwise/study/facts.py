"""Plain facts for the report: data, backbone, versions."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ..contracts import Backbone
from ..heads.calibration import chance_error, reliability
from ..heads.compare import HeadResult, Splits
from ..heads.metrics import evaluate
from ..tokens import TokenStore
from ..version import __version__

__all__ = ["backbone_facts", "calibration_facts", "data_facts", "path_rows", "title", "versions"]


def title(model: Backbone | None, data: str) -> str:
    name = Path(data).name or data
    if model is None:
        return f"{name}: tokens from disk"
    return f"{name} on the {model.name} backbone"


def path_rows(result: HeadResult) -> list[dict[str, Any]]:
    return [
        {
            "beta": p.beta,
            "relative_gap": p.relative_gap,
            "rank": p.rank,
            "accuracy_val": p.score,
            "log_loss_val": p.loss,
            "seconds": p.seconds,
            "chosen": p.beta == result.beta,
        }
        for p in result.path or ()
    ]


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "headwise": __version__}
    for name in (
        "torch",
        "torchvision",
        "numpy",
        "scipy",
        "scikit-learn",
        "safetensors",
        "pillow",
        "timm",
        "transformers",
    ):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def backbone_facts(model: Backbone | None, layer: int) -> dict[str, Any] | None:
    if model is None:
        return None
    return {
        "name": model.name,
        "parameters": model.num_parameters,
        "width": model.width,
        "depth": model.depth,
        "num_heads": model.num_heads,
        "grid": list(model.grid),
        "num_prefix": model.num_prefix_tokens,
        "weights_hash": model.weights_hash,
        "layer": layer % model.depth,
        "description": getattr(model, "description", ""),
    }


def calibration_facts(result: HeadResult, splits: Splits, seed: int) -> dict[str, Any]:
    """Bins of confidence on the test samples, the calibration error, and what chance alone would make of it."""
    p, y, level = result.probabilities, splits.targets["test"], 0.95
    bins = reliability(p, y)
    error = evaluate("classes", p, y, metrics=["calibration_error"], intervals=level, seed=seed)["calibration_error"]
    return {
        "bins": [list(each) for each in bins],
        "confidence": float(p.max(axis=1).mean()),
        "accuracy": float((p.argmax(axis=1) == y).mean()),
        "error": error.value,
        "low": error.low,
        "high": error.high,
        "level": level,
        "by_chance": chance_error(bins),
    }


def data_facts(name: str, found: Any, store: TokenStore, splits: Splits, names: list[str]) -> dict[str, Any]:
    return {
        "name": Path(name).name or name,
        "description": getattr(found, "description", "") or store.manifest.source.get("description", ""),
        "num_samples": store.num_samples,
        "num_tokens": store.num_tokens,
        "token_width": store.width,
        "classes": names,
        "counts": {part: np.bincount(t, minlength=splits.num_classes).tolist() for part, t in splits.targets.items()},
        "skipped": [name for name, _ in store.skipped],
    }
