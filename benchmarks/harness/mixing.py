"""Mixers and what they are held against: the layers, their seconds, and the memory that each needs."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headwise.mixers import MIXERS, Mixer, create

from .machine import declare_torchvision_operators

__all__ = ["PEERS", "cost_of", "made", "memory_of", "mixers", "peak_of", "seconds_of", "work_of"]

BLOCK, HALO = 8, 3


class Sdpa(nn.Module):
    """``scaled_dot_product_attention`` between two linear maps: nothing more is possible."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def parts(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        return self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)

    def forward(self, x: Tensor) -> Tensor:
        out = F.scaled_dot_product_attention(*self.parts(x))
        return self.proj(out.transpose(1, 2).reshape(x.shape))


class Maps(Sdpa):
    """The same with the N x N maps written out."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.parts(x)
        out = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v
        return self.proj(out.transpose(1, 2).reshape(x.shape))


class Convolutions(nn.Module):
    """Large kernel attention on a map, as torch's convolutions are written one after the other; or the three alone."""

    def __init__(self, dim: int, whole: bool) -> None:
        super().__init__()
        self.whole = whole
        self.three = nn.Sequential(
            nn.Conv2d(dim, dim, 5, padding=2, groups=dim),
            nn.Conv2d(dim, dim, 7, padding=9, dilation=3, groups=dim),
            nn.Conv2d(dim, dim, 1),
        )
        if whole:
            self.pre, self.post = nn.Conv2d(dim, dim, 1), nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.whole:
            return self.three(x)
        u = F.gelu(self.pre(x))
        return x + self.post(u * self.three(u))


def _halo_attn(dim: int, heads: int) -> nn.Module:
    kept = declare_torchvision_operators()
    from timm.layers.halo_attn import HaloAttn

    del kept
    return HaloAttn(dim, num_heads=heads, block_size=BLOCK, halo_size=HALO)


def _gpsa(dim: int, heads: int) -> nn.Module:
    kept = declare_torchvision_operators()
    from timm.models.convit import GPSA

    del kept
    return GPSA(dim, heads)


# name -> (layer, whether it takes maps instead of tokens)
PEERS: dict[str, tuple[Callable[[int, int], nn.Module], bool]] = {
    "scaled_dot_product_attention": (Sdpa, False),
    "attention with N x N maps": (Maps, False),
    "timm HaloAttn": (_halo_attn, True),
    "timm GPSA": (_gpsa, False),
    "torch convolutions, whole layer": (lambda dim, heads: Convolutions(dim, True), True),
    "torch convolutions, the three alone": (lambda dim, heads: Convolutions(dim, False), True),
}


def mixers() -> list[str]:
    """Token mixers that take one grid after another, softmax first: the yardstick."""
    names = [name for name in MIXERS.names() if issubclass(MIXERS.get(name), Mixer)]
    return sorted(names, key=lambda name: name != "softmax")


def _options(name: str, dim: int, heads: int, side: int) -> dict[str, object]:
    """Sizes that all share, where the mechanism has them; the number of clusters is the root of that of tokens."""
    known = MIXERS.get(name).Config.__dataclass_fields__
    wanted: dict[str, object] = {"dim": dim, "num_heads": heads, "head_dim": dim // heads, "num_clusters": side}
    if MIXERS.get(name).traits.grid != "none":
        wanted["grid"] = (side, side)
    if name == "halo":
        wanted |= {"block_size": BLOCK, "halo_size": HALO}
    if name == "mlp_mixer":
        del wanted["num_heads"]  # its default form has none
    if name in ("grouped_query", "key_driven_grouped_query", "dynamic_grouped_query", "perturbed_grouped_query"):
        wanted["num_kv_heads"] = 1
    return {key: value for key, value in wanted.items() if key in known}


def made(name: str, dim: int, heads: int, tokens: int, batch: int) -> tuple[nn.Module, Tensor]:
    """A layer, ours or a peer, and an input of its own layout for a square grid."""
    side = math.isqrt(tokens)
    torch.manual_seed(0)
    if name in PEERS:
        layer, maps = PEERS[name]
        return layer(dim, heads), torch.randn(batch, dim, side, side) if maps else torch.randn(batch, tokens, dim)
    return create(name, **_options(name, dim, heads, side)), torch.randn(batch, tokens, dim)


def cost_of(name: str, dim: int, heads: int, tokens: int) -> tuple[int, int]:
    """FLOPs and bytes of one sample by the cost card, without making the weights."""
    with torch.device("meta"):
        layer = create(name, **_options(name, dim, heads, math.isqrt(tokens)))
    card = layer.cost(tokens)
    return card.flops, 4 * (card.memory + card.parameters)


def work_of(layer: nn.Module, x: Tensor, backward: bool) -> Callable[[], object]:
    """One forward in eval, or one forward and backward in training."""
    layer.train(backward)

    def forward() -> object:
        with torch.no_grad():
            return layer(x)

    def both() -> object:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        return layer(x).sum().backward()

    x.requires_grad_(backward)
    return both if backward else forward


def seconds_of(
    works: dict[str, Callable[[], object]], repeats: int, least: float, budget: float = math.inf
) -> dict[str, list[float]]:
    """Seconds of one run of each, ``repeats`` times in turn.

    It is fewer times, but three, where that would take over ``budget`` seconds. A run that is shorter than ``least``
    seconds is made several times in a row.
    """
    often, total = {}, 0.0
    for name, work in works.items():
        took = _clock(work, 1)
        if took < least:
            took = _clock(work, 1)  # the first one is dear
        often[name] = max(1, min(100, math.ceil(least / max(took, 1e-9))))
        total += took * often[name]
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(min(repeats, max(3, int(budget / total)))) if budget < math.inf else range(repeats):
        for name in list(works)[:: 1 if turn % 2 == 0 else -1]:
            seconds[name].append(_clock(works[name], often[name]))
    return seconds


def _clock(work: Callable[[], object], often: int) -> float:
    began = time.perf_counter()
    for _ in range(often):
        work()
    return (time.perf_counter() - began) / often


def memory_of(name: str, dim: int, heads: int, tokens: int, batch: int) -> tuple[int, int] | tuple[None, None]:
    """Bytes that one forward, and one forward and backward, add to the resident set of a fresh process at their peak.

    None where Linux does not tell. The allocator of that process gives freed blocks back at once, and each run is the
    second of its kind: what libraries load and keep on first use is not counted. What stays after a run (gradients of
    weights and inputs) is.
    """
    if not Path("/proc/self/clear_refs").exists():
        return None, None
    given = json.dumps([name, dim, heads, tokens, batch, torch.get_num_threads()])
    here = Path(__file__).resolve().parents[1]
    environment = {
        **os.environ,
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "65536",
        "PYTHONPATH": os.pathsep.join([str(here), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    done = subprocess.run(
        [sys.executable, "-m", "harness.mixing", given], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"the process that measures {name} failed: {done.stderr[-1000:]}")
    forward, both = map(int, done.stdout.split())
    return forward, both


def peak_of(run: Callable[[], object]) -> int:
    """Bytes of this process at the peak of ``run`` over those before it."""
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    kept = run()
    peak = _status("VmHWM")
    del kept
    return max(peak - before, 0)


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


def _measure(given: str) -> None:
    name, dim, heads, tokens, batch, threads = json.loads(given)
    torch.set_num_threads(threads)
    found = []
    for backward in (False, True):
        layer, x = made(name, dim, heads, tokens, batch)
        work = work_of(layer, x, backward)
        work()
        layer.zero_grad(set_to_none=True)
        x.grad = None
        found.append(peak_of(work))
        del layer, x, work
    print(*found)


if __name__ == "__main__":
    _measure(sys.argv[1])
