"""DGQA in evaluation: grouped queries one at a time, split as the state says. Its training is in a test of its own."""

from pathlib import Path
from runpy import run_path

grouped = run_path(str(Path(__file__).with_name("grouped_query.py")))["grouped"]

CASES = [
    {"dim": 12, "num_heads": 6, "num_kv_heads": 3},
    {"dim": 8, "num_heads": 4, "num_kv_heads": 2, "rule": "diff", "window": 2, "num_prefix_tokens": 1},
]


def reference(module, x, mask=None, causal=False, grid=None):
    return grouped(module, x, mask, causal, module.allotment.tolist())
