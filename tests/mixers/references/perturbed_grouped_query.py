"""PGQA in evaluation is grouped queries. Its noise is in a test of its own."""

from pathlib import Path
from runpy import run_path

plain = run_path(str(Path(__file__).with_name("grouped_query.py")))["reference"]

CASES = [
    {"dim": 12, "num_heads": 6, "num_kv_heads": 3},
    {"dim": 8, "num_heads": 4, "num_kv_heads": 2, "noise_on": "outputs", "num_prefix_tokens": 1},
]


def reference(module, x, mask=None, causal=False, grid=None):
    return plain(module, x, mask, causal, grid)
