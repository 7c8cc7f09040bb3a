"""Modes of all attention heads of a model: batched thin factors against full decompositions.

vit_tiny: trained weights, read from --weights or from vit_tiny_patch16_224_in1k/model.safetensors in the folder that
HEADWISE_DATA names (left out without them), against the d x d decomposition of each head, head by head.
vit_b: random weights of the size of a ViT-B (12 layers, 12 heads, width 768), against batched d x d decompositions of
the heads of one layer, times the number of layers.
llama: a stack of 32 layers (32 query heads, 8 key heads, width 4096), random weights, one layer in memory at a time,
with the most memory that was in use beyond one layer's weights.

All in float64, with the norm folded in, in this process; what is compared takes turns.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from harness.machine import declare_torchvision_operators, described
from harness.mixing import peak_of
from torch import Tensor

import headwise
from headwise.contracts import Norm, QueryKey
from headwise.dissect import Modes, all_modes, modes
from headwise.dissect.modes import folded_weights

MODEL = "vit_tiny_patch16_224"
TINY_TARGET, BASE_TARGET, STACK_TARGET = 0.3, 1.0, 60.0
"""Seconds for all attention heads."""
RATIO, MEMORY = 30.0, 2.0
"""Of batched decompositions of a ViT-B to ours, and GB beyond one layer's weights."""


@dataclass(frozen=True)
class Size:
    layers: int
    heads: int
    key_heads: int
    head_dim: int
    width: int


VIT_B, LLAMA = Size(12, 12, 12, 64, 768), Size(32, 32, 8, 128, 4096)
SMALL = Size(2, 4, 2, 8, 64)


def random_layers(size: Size, kind: str) -> Iterator[QueryKey]:
    """Records with Gaussian weights in float32, one after the other."""
    generator = torch.Generator().manual_seed(0)
    for layer in range(size.layers):
        query, key = (
            torch.randn(heads, size.head_dim, size.width, generator=generator) / size.width**0.5
            for heads in (size.heads, size.key_heads)
        )
        norm = Norm(kind, 1 + 0.1 * torch.randn(size.width, generator=generator), None, 1e-6)  # type: ignore[arg-type]
        groups = size.heads // size.key_heads
        yield QueryKey(layer, f"layers.{layer}", query, key, input_norm=norm, groups=groups)


def full(records: list[QueryKey]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The definition: the d x d matrix of each attention head, decomposed whole, head by head."""
    found = []
    for record in records:
        for query, key in zip(*folded_weights(record), strict=True):
            u, sigma, vh = torch.linalg.svd(query.T @ key)
            rank = len(query)
            found.append((u[:, :rank].T, sigma[:rank], vh[:rank]))
    return found


def batched(record: QueryKey) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The same for the heads of one layer in one call."""
    query, key = folded_weights(record)
    u, sigma, vh = torch.linalg.svd(query.mT @ key)
    rank = query.shape[1]
    return [(u[h, :, :rank].T, sigma[h, :rank], vh[h, :rank]) for h in range(len(u))]


def compare(ours: list[Modes], theirs: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[float, float]:
    """Largest difference of singular values and of matrices, as a share of each head's largest singular value."""
    values = matrices = 0.0
    heads = [(each.u[h], each.sigma[h], each.v[h]) for each in ours for h in range(len(each.sigma))]
    for (u, sigma, v), (u_full, sigma_full, v_full) in zip(heads, theirs, strict=True):
        largest = float(sigma_full[0])
        values = max(values, float((sigma - sigma_full).abs().max()) / largest)
        difference = u.T * sigma @ v - u_full.T * sigma_full @ v_full
        matrices = max(matrices, float(torch.linalg.matrix_norm(difference, "fro")) / largest)
    return values, matrices


def timed(work: Callable[[], Any]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def said(name: str, value: float, target: float, unit: str, least: bool = False) -> str:
    met = value >= target if least else value <= target
    return f"{name} {value:.4g} {unit}; target {target:g} {unit}: {'met' if met else 'missed'}"


def table(rows: list[tuple[str, list[float]]]) -> None:
    print(f"{'':36}{'seconds':>10}   range")
    for name, found in rows:
        print(f"{name:36}{median(found):10.4f}   [{min(found):.4f}, {max(found):.4f}]")


def vit_tiny(weights: Path | None, rounds: int) -> float:
    """Trained weights; returns the largest difference."""
    if weights is None and "HEADWISE_DATA" in os.environ:
        weights = Path(os.environ["HEADWISE_DATA"]) / "vit_tiny_patch16_224_in1k" / "model.safetensors"
    if weights is None:
        print("vit_tiny is left out: it needs --weights FILE or HEADWISE_DATA=FOLDER")
        return 0.0
    kept = declare_torchvision_operators()
    model = headwise.load_backbone(f"timm/{MODEL}@{weights}")
    del kept
    records = model.query_keys()
    values, matrices = compare(all_modes(records), full(records))  # and the warm-up of both
    fast, slow = [], []
    for _ in range(rounds):
        fast.append(timed(lambda: all_modes(records)))
        slow.append(timed(lambda: full(records)))
    heads = sum(len(record.query) for record in records)
    print(f"\n{heads} attention heads of {MODEL}, median of {rounds} rounds [smallest, largest]\n")
    table([("batched thin factors (ours)", fast), ("full d x d, head by head", slow)])
    print(f"\nfull / ours {median(slow) / median(fast):.1f}; {said('ours', median(fast), TINY_TARGET, 's')}")
    print(f"largest difference, as a share of the largest singular value: values {values:.1e}, matrices {matrices:.1e}")
    return max(values, matrices)


def vit_b(size: Size, rounds: int) -> float:
    """Random weights; returns the largest difference in one layer."""
    records = list(random_layers(size, "layer"))
    values, matrices = compare(all_modes(records[:1]), batched(records[0]))
    fast, slow = [], []
    for _ in range(rounds):
        fast.append(timed(lambda: all_modes(records)))
        slow.append(size.layers * timed(lambda: batched(records[0])))
    print(f"\n{size.layers * size.heads} attention heads of width {size.width}, median of {rounds} rounds\n")
    table([("batched thin factors (ours)", fast), (f"full d x d, batched (1 layer x {size.layers})", slow)])
    print(f"\n{said('ours', median(fast), BASE_TARGET, 's')}")
    print(said("full / ours", median(slow) / median(fast), RATIO, "x", least=True))
    print(f"largest difference, as a share of the largest singular value: values {values:.1e}, matrices {matrices:.1e}")
    return max(values, matrices)


def stack(size: Size) -> None:
    """Layers one after the other."""
    seconds = []

    def run() -> None:
        for record in random_layers(size, "rms"):
            seconds.append(timed(lambda record=record: modes(record)))  # type: ignore[misc]

    peak = peak_of(run)
    weights = 4 * size.head_dim * size.width * (size.heads + size.key_heads)
    print(f"\n{size.layers} layers of {size.heads} query heads, {size.key_heads} key heads, width {size.width}\n")
    print(said("all layers", sum(seconds), STACK_TARGET, "s"))
    print(said("memory beyond one layer's weights", (peak - weights) / 1e9, MEMORY, "GB"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = ("vit_tiny", "vit_b", "llama")
    parser.add_argument("--size", nargs="+", choices=sizes, default=sizes, help="what to measure (all)")
    parser.add_argument("--weights", type=Path, help="a .safetensors file of timm's vit_tiny_patch16_224")
    parser.add_argument("--rounds", type=int, default=7, help="rounds whose median is printed (7; of vit_b at most 3)")
    parser.add_argument("--threads", type=int, help="threads of torch; what torch chooses where it is not given")
    parser.add_argument("--quick", action="store_true", help="tiny sizes in place of vit_b and llama: a test run")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds must be 1 or more")
    if args.threads:
        torch.set_num_threads(args.threads)
    worst = 0.0
    try:
        if "vit_tiny" in args.size:
            worst = max(worst, vit_tiny(args.weights, args.rounds))
    except headwise.InputError as error:
        print(error, file=sys.stderr)
        return 2
    if "vit_b" in args.size:
        worst = max(worst, vit_b(SMALL if args.quick else VIT_B, min(args.rounds, 3)))
    if "llama" in args.size:
        stack(SMALL if args.quick else LLAMA)
    print(described())
    return 0 if worst < 1e-10 else 1


if __name__ == "__main__":
    raise SystemExit(main())
