"""Modes of all attention heads of a ViT-Tiny: batched thin factors against a full decomposition of every head.

The weights are read from --weights, or from vit_tiny_patch16_224_in1k/model.safetensors in the folder that
HEADWISE_DATA names. Both ways run in this process, one after the other in every round, in float64 and with the norm
folded in.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from harness.machine import declare_torchvision_operators, described
from torch import Tensor

import headwise
from headwise.contracts import QueryKey
from headwise.dissect import Modes, all_modes
from headwise.dissect.modes import folded_weights

MODEL = "vit_tiny_patch16_224"
TARGET = 0.3
"""Seconds for all attention heads."""


def full(records: list[QueryKey]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The definition: the d x d matrix of each attention head, decomposed whole, head by head."""
    found = []
    for record in records:
        for query, key in zip(*folded_weights(record), strict=True):
            u, sigma, vh = torch.linalg.svd(query.T @ key)
            rank = len(query)
            found.append((u[:, :rank].T, sigma[:rank], vh[:rank]))
    return found


def compare(ours: list[Modes], theirs: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[float, float]:
    """Largest difference of singular values and of matrices, as a share of each head's largest singular value."""
    values = matrices = 0.0
    heads = [(each.u[h], each.sigma[h], each.v[h]) for each in ours for h in range(len(each.sigma))]
    for (u, sigma, v), (u_full, sigma_full, v_full) in zip(heads, theirs, strict=True):
        largest = float(sigma_full[0])
        values = max(values, float((sigma - sigma_full).abs().max()) / largest)
        difference = u.T * sigma @ v - u_full.T * sigma_full @ v_full
        matrices = max(matrices, float(torch.linalg.matrix_norm(difference, 2)) / largest)
    return values, matrices


def timed(work: Callable[[], Any]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a .safetensors file of timm's vit_tiny_patch16_224")
    parser.add_argument("--rounds", type=int, default=7, help="rounds whose median is printed (7)")
    parser.add_argument("--threads", type=int, help="threads of torch; what torch chooses where it is not given")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds must be 1 or more")
    weights = args.weights
    if weights is None and "HEADWISE_DATA" in os.environ:
        weights = Path(os.environ["HEADWISE_DATA"]) / "vit_tiny_patch16_224_in1k" / "model.safetensors"
    if weights is None:
        print("benchmarks/modes.py is left out: it needs --weights FILE or HEADWISE_DATA=FOLDER")
        return 0
    if args.threads:
        torch.set_num_threads(args.threads)
    kept = declare_torchvision_operators()
    try:
        model = headwise.load_backbone(f"timm/{MODEL}@{weights}")
    except headwise.InputError as error:
        print(error, file=sys.stderr)
        return 2
    del kept

    records = model.query_keys()
    values, matrices = compare(all_modes(records), full(records))  # and the warm-up of both
    fast, slow = [], []
    for _ in range(args.rounds):
        fast.append(timed(lambda: all_modes(records)))
        slow.append(timed(lambda: full(records)))
    heads = sum(len(record.query) for record in records)
    print(f"{heads} attention heads of {MODEL}, median of {args.rounds} rounds [smallest, largest]\n")
    print(f"{'':28}{'seconds':>10}   range")
    for name, found in (("batched thin factors (ours)", fast), ("full d x d, head by head", slow)):
        print(f"{name:28}{median(found):10.4f}   [{min(found):.4f}, {max(found):.4f}]")
    said = "met" if median(fast) <= TARGET else "missed"
    print(f"\nfull / ours {median(slow) / median(fast):.1f}; target {TARGET} s: {said}")
    print(f"largest difference, as a share of the largest singular value: values {values:.1e}, matrices {matrices:.1e}")
    print(described())
    return 0 if max(values, matrices) < 1e-10 else 1


if __name__ == "__main__":
    raise SystemExit(main())
