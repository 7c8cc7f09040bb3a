"""A realistic study and its arrays, for the tests and to look at: ``python tests/report/example.py OUT.html``."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits, load_sample_images

LAYERS, HEADS = 6, 4


def example_study() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Digits on a small backbone: seven heads, a path, a dissection with 12 overlays on two photographs."""
    rng = np.random.default_rng(0)
    digits = load_digits()
    arrays: dict[str, np.ndarray] = {}
    bump = _bump(8, 3.4, 3.6, 1.9)
    arrays["token_use/mean"] = (bump / bump.sum()).astype(np.float32)
    examples = []
    for i, predicted in zip((3, 8, 14, 21, 38, 5), ("3", "8", "4", "1", "8", "9"), strict=True):
        image = np.kron(digits.images[i] / 16 * 255, np.ones((4, 4)))
        arrays[f"photo/{i}"] = np.repeat(image.astype(np.uint8)[..., None], 3, axis=2)
        use = np.kron(digits.images[i], np.ones((1, 1))) * (0.4 + rng.random((8, 8)))
        arrays[f"token_use/{i}"] = (use / use.sum()).astype(np.float32)
        label = str(digits.target[i])
        examples.append(
            {"image_key": f"photo/{i}", "map_key": f"token_use/{i}", "label": label, "predicted": predicted}
        )
    photos, overlays = [], []
    sample = load_sample_images()
    for name, photo in zip(("china.jpg", "flower.jpg"), sample.images, strict=True):
        key = f"photo/{name}"
        side = min(photo.shape[:2])
        left = (photo.shape[1] - side) // 2
        arrays[key] = photo[:side, left : left + side]
        photos.append({"key": key, "name": name})
        small = arrays[key][::53, ::53].astype(np.float64)[:8, :8]
        light, green = small.mean(axis=2), small[..., 1] - small[..., 0]
        for layer, head, mode in ((0, 1, 0), (1, 3, 0), (2, 3, 1), (3, 0, 0), (4, 2, 0), (5, 1, 2)):
            query = light * rng.choice([-1, 1]) + 12 * rng.standard_normal((8, 8))
            key_map = (query if layer < 3 else 2 * green) + 20 * rng.standard_normal((8, 8))
            stem = f"overlay/{name}/{layer}.{head}.{mode}"
            arrays[f"{stem}/query"], arrays[f"{stem}/key"] = query.astype(np.float32), key_map.astype(np.float32)
            overlays.append(
                {
                    "photo_key": key,
                    "layer": layer,
                    "head": head,
                    "mode": mode,
                    "sigma": 3.1 - 0.3 * layer,
                    "cosine": 0.82 - 0.17 * layer,
                    "share": 0.31 - 0.04 * layer,
                    "query_key": f"{stem}/query",
                    "key_key": f"{stem}/key",
                }
            )
    fall = np.linspace(0.62, 0.03, LAYERS)[:, None] + 0.09 * rng.standard_normal((LAYERS, HEADS))
    ranks = 6 + 12 * rng.random((LAYERS, HEADS))
    path = [_path_point(step) for step in range(12)]
    study = {
        "format_version": 1,
        "title": "Handwritten digits on the embedded backbone",
        "created": "2026-11-21T04:46:00+00:00",
        "headwise_version": "0.1.0",
        "command": "headwise study --out headwise-study",
        "seed": 0,
        "settings": {
            "data": "photos",
            "backbone": "embedded",
            "layer": -1,
            "tol": 1e-3,
            "betas": 10,
            "n_components": 64,
        },
        "versions": {"python": "3.11.9", "torch": "2.13.0", "numpy": "2.4.6", "scikit-learn": "1.7.2"},
        "device": "cpu (2 cores)",
        "timings": [
            {"step": "load backbone", "seconds": 0.21},
            {"step": "extract tokens", "seconds": 8.4},
            {"step": "fit the beta path", "seconds": 31.2},
            {"step": "dissect the backbone's attention", "seconds": 0.08},
            {"step": "write the report", "seconds": 0.9},
        ],
        "warnings": ["2 of 1,799 images could not be read and were skipped."],
        "backbone": {
            "name": "embedded",
            "parameters": 1_213_056,
            "width": 128,
            "depth": LAYERS,
            "num_heads": HEADS,
            "grid": [8, 8],
            "num_prefix": 1,
            "weights_hash": "9f0c3b7d" * 8,
            "layer": -1,
            "description": "A ViT of 32 x 32 pixels, patch 4, distilled on natural images.",
        },
        "data": {
            "name": "scikit-learn digits",
            "description": "1,797 scans of handwritten digits of 8 x 8 pixels, enlarged to 32 x 32.",
            "num_samples": 1797,
            "num_tokens": 65,
            "token_width": 128,
            "classes": [str(i) for i in range(10)],
            "counts": {
                "train": [107, 109, 106, 110, 109, 109, 109, 107, 104, 108],
                "val": [35, 37, 35, 36, 36, 36, 36, 36, 35, 36],
                "test": [36, 36, 36, 37, 36, 37, 36, 36, 35, 36],
            },
            "skipped": ["broken_0.png", "broken_1.png"],
        },
        "heads": _heads(),
        "comparison": {
            "best": "linear + attention",
            "linear": "linear on the class token",
            "metric": "accuracy",
            "difference": 0.0249,
            "low": 0.0083,
            "high": 0.0443,
            "level": 0.95,
            "num_test": 361,
            "linear_is_enough": False,
            "method": "paired bootstrap",
        },
        "path": path,
        "paths": {
            "linear + attention": path,
            "attention": [dict(p, accuracy_val=p["accuracy_val"] - 0.01) for p in path],
        },
        "certificate": {
            "primal": 0.2143187,
            "dual": 0.2141502,
            "gap": 0.0001685,
            "relative_gap": 0.000786,
            "beta": 0.2 * 10 ** (-8 / 4.5),
            "kind": "exact",
            "failure_probability": 0.0,
            "num_samples": 1078,
        },
        "relu": {
            "gated": "gated MLP",
            "gated_objective": 0.31274,
            "gated_relative_gap": 6.4e-4,
            "gated_atoms": 41,
            "gated_scores": _relu_scores(0.952, 0.949),
            "refused": None,
            "objective": 87.4193,
            "ratio": 87.4193 / 0.31274,
            "atoms": 82,
            "scores": _relu_scores(0.951, 0.948),
            "seconds": 19.2,
        },
        "token_use": {
            "head": "linear + attention",
            "grid": [8, 8],
            "map_key": "token_use/mean",
            "prefix_share": 0.34,
            "patch_share": 0.66,
            "examples": examples,
            "note": "How far the outputs move when a token is taken away, averaged over the test samples.",
        },
        "dissection": {
            "weighted_cosine": fall.round(4).tolist(),
            "effective_rank": ranks.round(2).tolist(),
            "chance": 0.12,
            "check": {"largest_difference": 3.1e-9, "bound": 1e-6},
            "overlays": overlays,
            "photos": photos,
        },
        "confusions": {"matrix": _confusions()},
        "calibration": _calibration(),
        "forecast": _forecast(),
    }
    return study, arrays


def _bump(size: int, row: float, column: float, width: float) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2)) + 0.08


def _path_point(step: int) -> dict[str, Any]:
    beta = 0.2 * 10 ** (-step / 4.5)
    return {
        "beta": beta,
        "relative_gap": (9.5e-4, 4.1e-4, 7.9e-4)[step % 3],
        "rank": round(18 * (1 - math.exp(-step / 4))),
        "accuracy_val": 0.975 - 0.6 * math.exp(-step / 1.6) * (step < 8) - 0.0006 * max(0, step - 8),
        "log_loss_val": 0.098 + 1.9 * math.exp(-step / 1.5) * (step < 8) + 0.002 * max(0, step - 8) ** 2,
        "seconds": 1.2 + 0.2 * step,
        "chosen": step == 8,
    }


def _heads() -> list[dict[str, Any]]:
    def head(
        name: str, block: str, what: str, val: float, test: float, loss: float | None, **more: Any
    ) -> dict[str, Any]:
        scores = {
            "val": {"accuracy": val, "log_loss": loss, "balanced_accuracy": val - 0.001},
            "test": {
                "accuracy": test,
                "log_loss": None if loss is None else loss + 0.012,
                "balanced_accuracy": test - 0.001,
            },
        }
        base = {
            "kind": "baseline",
            "beta": None,
            "relative_gap": None,
            "certificate_kind": None,
            "rank": None,
            "parameters": None,
        }
        last = {"seconds": 0.02, "chosen": False, "linear": False}
        return {"name": name, "block": block, "what": what, "scores": scores, **base, **last, **more}

    proof = {"kind": "certified", "certificate_kind": "exact"}
    return [
        head("majority", "none", "Always says the most frequent class.", 0.103, 0.102, 2.302),
        head("20 nearest neighbours", "none", "Vote of the 20 closest mean tokens.", 0.941, 0.931, None, seconds=0.11),
        head(
            "raw pixels", "linear", "Logistic regression on the pixels, no backbone.", 0.955, 0.947, 0.181,
            parameters=650, seconds=0.4,
        ),
        head(
            "linear on the class token", "linear", "Linear map of the class token.", 0.952, 0.945, 0.172,
            beta=0.002, relative_gap=6.2e-4, parameters=1290, seconds=1.3, linear=True, **proof,
        ),
        head(
            "linear on the mean", "linear", "Linear map of the mean patch token.", 0.961, 0.953, 0.149,
            beta=0.002, relative_gap=8.8e-4, parameters=1290, seconds=1.2, linear=True, **proof,
        ),
        head(
            "attention", "attention", "Linear attention over the patch tokens.", 0.969, 0.961, 0.121,
            beta=0.005, relative_gap=9.1e-4, rank=13, parameters=63_635, seconds=12.4, **proof,
        ),
        head(
            "linear + attention", "linear + attention", "Linear on the class token plus attention on the patch tokens.",
            0.975, 0.9695, 0.098, beta=0.2 * 10 ** (-8 / 4.5), relative_gap=7.86e-4, rank=16, parameters=79_610,
            seconds=15.8, chosen=True, **proof,
        ),
    ]  # fmt: skip


def _relu_scores(val: float, test: float) -> dict[str, Any]:
    return {
        part: {"accuracy": found, "log_loss": 0.17, "balanced_accuracy": found}
        for part, found in (("val", val), ("test", test))
    }


def _calibration() -> dict[str, Any]:
    sizes = [0, 0, 0, 0, 0, 2, 4, 5, 7, 9, 12, 18, 30, 54, 220]
    bins = [[(i + 0.6) / 15, min(1.0, (i + 0.9) / 15), n] if n else [None, None, 0] for i, n in enumerate(sizes)]
    error = {"error": 0.0213, "low": 0.0201, "high": 0.0442, "level": 0.95, "by_chance": 0.0187}
    return {"bins": bins, "confidence": 0.942, "accuracy": 0.9695, **error}


def _forecast() -> dict[str, Any]:
    times = [0.0, *np.geomspace(0.02, 20, 99).tolist()]

    def curve(depth: int, best: float) -> dict[str, Any]:
        learned = [1 - math.exp(-t / best) for t in times]
        noise = [1 - math.exp(-t / 8 / best) for t in times]
        training = [1 - 0.72 * s - 0.2 * w for s, w in zip(learned, noise, strict=True)]
        held_out = [1 - 0.68 * s + 0.12 * w for s, w in zip(learned, noise, strict=True)]
        seen = [error + 0.004 * (-1) ** i for i, error in enumerate(held_out)]
        return {
            "depth": depth,
            "start": 1e-3,
            "times": times,
            "training": training,
            "held_out": held_out,
            "best": {"time": 3.8 * best, "error": min(held_out)},
            "doubled": {"time": 4 * best, "error": min(held_out) - 0.04},
            "least": min(held_out) - 0.01,
            "measured": {
                "training": training,
                "held_out": seen,
                "best": {"time": 4.1 * best, "error": min(seen)},
                "excess": 0.001,
                "samples": 358,
                "r2": 0.996,
                "time_error": -0.07,
            },
        }

    spectrum = {
        "samples": 1078,
        "features": 256,
        "directions": 240,
        "outputs": 9,
        "aspect": 9 / 240,
        "samples_per_direction": 1078 / 240,
        "unseen_length": 1.4,
        "noise_share": 0.31,
        "signal_share": 0.69,
        "hidden_share": 0.0,
        "visible_modes": 8,
        "values": [0.31, 0.3, 0.28, 0.27, 0.25, 0.24, 0.22, 0.2, 0.06],
        "teacher": [0.3, 0.29, 0.27, 0.26, 0.24, 0.23, 0.21, 0.19, 0.0],
        "noise": [0.18] * 9,
        "status": "modes of the labels are above the noise",
    }
    return {
        "refused": None,
        "features": "the prefix tokens joined with the mean patch token",
        "spectrum": spectrum,
        "curves": [curve(1, 1.0), curve(2, 1.6)],
    }


def _confusions() -> list[list[int]]:
    matrix = np.diag([36, 34, 36, 35, 36, 36, 36, 35, 32, 34])
    for true, predicted, times in (
        (1, 8, 2),
        (3, 9, 1),
        (3, 5, 1),
        (7, 9, 1),
        (8, 1, 2),
        (8, 3, 1),
        (9, 3, 1),
        (9, 7, 1),
        (5, 9, 1),
    ):
        matrix[true, predicted] = times
    return matrix.tolist()


if __name__ == "__main__":
    from headwise.report import render

    Path(sys.argv[1]).write_text(render(*example_study()), encoding="utf-8")
