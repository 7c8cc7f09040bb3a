"""Plain facts for the report: data, backbone, versions."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import takes_texts
from ..contracts import Backbone, TextBackbone
from ..heads.calibration import chance_error, reliability
from ..heads.compare import HeadResult, Splits
from ..heads.metrics import evaluate
from ..report.called import short_name
from ..tokens import TokenStore
from ..version import __version__

__all__ = ["backbone_facts", "calibration_facts", "data_facts", "left_out", "path_rows", "title", "versions"]


def title(model: Backbone | TextBackbone | None, data: str) -> str:
    name = Path(data).name or data
    if model is None:
        return f"{name}: tokens from disk"
    return f"{name} on the {short_name(model.name)} backbone"


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


def backbone_facts(model: Any, layer: int) -> dict[str, Any] | None:
    if model is None:
        return None
    return {
        "name": model.name,
        "parameters": model.num_parameters,
        "width": model.width,
        "depth": model.depth,
        "num_heads": model.num_heads,
        "grid": None if takes_texts(model) else list(model.grid),
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
    cut = store.manifest.source.get("cut")  # of texts; None for all else
    return {
        "name": Path(name).name or name,
        "description": getattr(found, "description", "") or store.manifest.source.get("description", ""),
        "num_samples": store.num_samples,
        "num_tokens": store.num_tokens,
        "padded": store.manifest.has_mask,
        "cut": cut,
        "token_width": store.width,
        "classes": names,
        "counts": {part: np.bincount(t, minlength=splits.num_classes).tolist() for part, t in splits.targets.items()},
        "skipped": [name if cut is None else f"{name}: {why}" for name, why in store.skipped],
    }


def left_out(store: TokenStore) -> list[str]:
    """Sentences about samples, and ends of texts, that the store does not hold."""
    count, cut = len(store.skipped), store.manifest.source.get("cut")
    told = []
    if count and cut is not None:
        are, left = ("text is", "is") if count == 1 else ("texts are", "are")
        told.append(f"{count} {are} empty or the same as an earlier one, and {left} left out")
    elif count:
        told.append(f"{count} {'image' if count == 1 else 'images'} could not be read and left out")
    if cut:
        are = "text is" if cut == 1 else "texts are"
        told.append(f"{cut} {are} longer than {store.num_tokens} tokens; what is beyond them is left out")
    return told
