"""KDGQA: the allotment by hand in Python numbers, then grouped queries one at a time."""

import math
from pathlib import Path
from runpy import run_path

grouped = run_path(str(Path(__file__).with_name("grouped_query.py")))["grouped"]

CASES = [
    {"dim": 12, "num_heads": 6, "num_kv_heads": 3},
    {"dim": 24, "num_heads": 12, "num_kv_heads": 6, "qkv_bias": False},
    {"dim": 8, "num_heads": 4, "num_kv_heads": 1},
    {"dim": 8, "num_heads": 4, "num_kv_heads": 2, "num_prefix_tokens": 1},
]


def norms_of(module, x, mask):
    groups, d = module.config.num_kv_heads, x.shape[2] // module.config.num_heads
    norms = [0.0] * groups
    for b, tokens in enumerate(x.detach()):
        squares = [0.0] * groups
        for t, token in enumerate(tokens):
            if mask is None or mask.ndim == 3 or mask[b, t]:
                key = module.k(token).tolist()
                for g in range(groups):
                    squares[g] += sum(value**2 for value in key[g * d : (g + 1) * d])
        norms = [n + math.sqrt(s) for n, s in zip(norms, squares, strict=True)]
    return norms


def allotment(norms, heads):
    low, high = min(norms), max(norms)
    if high == low:
        return [heads // len(norms)] * len(norms)
    scaled = [(n - low) / (high - low) for n in norms]
    counts = [round(s / sum(scaled) * heads) for s in scaled]  # Python rounds half to even
    while sum(counts) > heads:
        counts[counts.index(max(counts))] -= 1
    while sum(counts) < heads:
        counts[counts.index(min(counts))] += 1
    return counts


def reference(module, x, mask=None, causal=False, grid=None):
    counts = allotment(norms_of(module, x, mask), module.config.num_heads)
    return grouped(module, x, mask, causal, counts)
