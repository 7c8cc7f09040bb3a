"""A small dissection with evidence, as the explorer page takes it: 3 layers of 4 heads with 6 modes, made up."""

from __future__ import annotations

from typing import Any

import numpy as np

LAYERS, HEADS, MODES, GRID, SAMPLES = 3, 4, 6, (4, 4), 10


def example(kind: str | None = "images", layers: int = LAYERS, heads: int = HEADS, modes: int = MODES) -> Any:
    """``(found, arrays)``; ``kind`` None is a page without evidence."""
    rng = np.random.default_rng(0)
    cosines = np.linspace(0.9, -0.2, layers * heads).reshape(layers, heads).round(3)
    rows = [
        {
            "layer": i,
            "head": j,
            "name": f"blocks.{i}.attn",
            "sigma": 3.0 + i,
            "weighted_cosine": float(cosines[i, j]),
            "mean_cosine": 0.1,
            "chance": 0.25,
            "weighted_chance": 0.08,
            "weighted_band": 0.07,
            "effective_rank": 2.5 + j,
            "symmetric_share": 0.5 + 0.1 * j,
            "content_share": 0.8,
            "key_only_share": 0.2,
            "prefix_mass": 0.4 if j == 1 else 0.05,
            "serves": ["prefix"] if j == 1 else [],
            "served_by": "mode 2" if j == 1 else None,
            "served_share": 0.6 if j == 1 else None,
        }
        for i in range(layers)
        for j in range(heads)
    ]
    found: dict[str, Any] = {
        "format_version": 1,
        "title": "What the attention heads of a made-up model do",
        "about": "made-up: a model that is not there.",
        "created": "2026-11-21T04:46:00+00:00",
        "headwise_version": "0.1.0",
        "command": "headwise dissect made-up --out folder",
        "notes": ["skipped 1 of 11 images that cannot be read: broken.png."],
        "dissection": {
            "weighted_cosine": cosines.tolist(),
            "effective_rank": [[2.5 + j for j in range(heads)]] * layers,
            "chance": 0.08,
            "names": [f"blocks.{i}.attn" for i in range(layers)],
            "about": ["", *["of content alone, biases by place apart"] * (layers - 1)],
            "check": {"largest_difference": 2e-9, "bound": 1e-6, "left_out": []},
            "heads": rows,
        },
        "evidence": None,
        "vocabulary": None,
    }
    arrays: dict[str, np.ndarray] = {}
    sigma = np.sort(rng.uniform(0.1, 3.0, (layers, heads, modes)))[..., ::-1].copy()
    sigma[:, :, 3] = sigma[:, :, 2] / 1.01  # a subspace of two
    subspace = np.tile(np.arange(modes), (heads, 1))
    subspace[:, 3] = 2
    for i in range(layers):
        arrays |= {f"layer/{i}/sigma": sigma[i], f"layer/{i}/subspace": subspace}
        arrays[f"layer/{i}/cosine"] = rng.uniform(-1, 1, (heads, modes))
    if kind is None:
        return found, arrays
    by = ["both"] if kind == "images" else ["both", "query", "key"]
    tokens, kept = (GRID[0] * GRID[1], 3) if kind == "images" else (8, 3)
    texts = {str(n): ["", *[f" w{n}x{i}" for i in range(12)]] for n in range(SAMPLES)}
    found["evidence"] = {
        "kind": kind,
        "what": f"Of {SAMPLES} {kind}, those that excite the mode most.",
        "layers": list(range(layers)),
        "by": by,
        "names": {str(n): f"sample {n}" for n in range(SAMPLES)},
        "grid": list(GRID) if kind == "images" else None,
        "tokens": {} if kind == "images" else texts,
    }
    for i in range(layers):
        shape = (len(by), heads, modes, 2, kept)
        samples = rng.integers(0, SAMPLES, shape)
        samples[:, :, -1, 1] = -1  # of the last mode's second sign there are none
        arrays |= {f"layer/{i}/samples": samples, f"layer/{i}/starts": np.ones(shape, dtype=int)}
        arrays[f"layer/{i}/scores"] = rng.uniform(0, 9, shape)
        for side in ("queries", "keys"):
            arrays[f"layer/{i}/{side}"] = rng.integers(0, 64, (*shape, tokens)).astype(np.uint8)
        if kind == "texts":
            arrays[f"layer/{i}/keys"][1] = 255  # of the query side alone
    if kind == "images":
        for n in range(SAMPLES):
            arrays[f"sample/{n}"] = rng.integers(0, 255, (24, 32, 3)).astype(np.uint8)
    else:
        sides = ("query+", "query-", "key+", "key-")
        words = [[{side: [("win", 0.5), ("##ing", 0.4)] for side in sides}] * 3 for _ in range(heads)]
        found["vocabulary"] = [words] * layers
    return found, arrays
