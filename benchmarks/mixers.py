"""Seconds and peak memory of every token mixer over the number of tokens, beside what the mechanism is held against.

    python benchmarks/mixers.py                            # all of them, 256 to 16,384 tokens
    python benchmarks/mixers.py --only halo routing        # softmax is always there

Forward is that in eval without gradients, backward a forward and backward in training, all in float32 on random tokens.
A layer and what it is held against run in turn in one process; memory is that of a fresh process each. Results go to
``results/mixers.json`` and ``mixers.svg`` (seconds of the forward against tokens) beside this file.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from harness.machine import described
from harness.measure import Curve, median
from harness.mixing import PEERS, cost_of, made, memory_of, mixers, seconds_of, work_of
from harness.report import Axes, Bar, Report, Table, number, write

RIVALS = {
    "softmax": ("scaled_dot_product_attention", "attention with N x N maps"),
    "halo": ("timm HaloAttn", "attention with N x N maps"),
    "large_kernel": ("torch convolutions, whole layer", "torch convolutions, the three alone"),
    "routing": ("softmax",),
    "gated_positional": ("timm GPSA",),
}
"""What a mechanism is timed in turn with; the first one is that of its bar."""
LIMITS = {"softmax": 1.1, "halo": 1.1, "large_kernel": 1.1, "gated_positional": 1.2}
MANY = 4096
"""From so many tokens on routing must be faster than softmax, and here halo is held against N x N maps."""
BATCH_TOKENS = 4096
"""A batch has as many samples as make so many tokens, and at least one."""
WITH_MAPS = ("attention with N x N maps", "timm GPSA", "perturbed_grouped_query")
"""What writes N x N maps out, if only in training: three of them are counted."""
MOST_FLOPS, MOST_BYTES = 5e11, 2e9
"""What takes more for one forward of one sample is left out: it would be minutes, or more memory than many have."""
BUDGET = 60.0
"""Seconds of a comparison in turn beyond which it is made fewer times than asked for, but three."""
MODES = (("forward", False), ("backward", True))

Key = tuple[str, int, bool]


def feasible(name: str, dim: int, heads: int, tokens: int) -> bool:
    """Whether one sample of so many tokens stays within the limits."""
    if name in WITH_MAPS and 3 * heads * tokens**2 * 4 > MOST_BYTES:
        return False
    if name in PEERS:
        return 4 * tokens**2 * dim <= MOST_FLOPS
    flops, memory = cost_of(name, dim, heads, tokens)
    return flops <= MOST_FLOPS and memory <= MOST_BYTES


def batch_of(args: argparse.Namespace, tokens: int) -> int:
    """Samples of a batch."""
    return 1 if args.quick else max(1, BATCH_TOKENS // tokens)


def measured(args: argparse.Namespace) -> tuple[dict[Key, list[float]], dict[Key, int | None]]:
    """Seconds and memory by layer, tokens and direction."""
    seconds: dict[Key, list[float]] = {}
    memory: dict[Key, int | None] = {}
    for tokens in args.tokens:
        batch = batch_of(args, tokens)
        for name in args.only:
            family = [n for n in (name, *RIVALS.get(name, ())) if feasible(n, args.dim, args.heads, tokens)]
            if name not in family:
                print(f".. {name}: {tokens} tokens are left out", flush=True)
                continue
            for mode, backward in MODES:
                works = {n: work_of(*made(n, args.dim, args.heads, tokens, batch), backward) for n in family}
                for n, found in seconds_of(works, args.repeats, args.least, BUDGET).items():
                    # softmax beside routing is timed again, so that the two share the moment
                    seconds[(n if n == name or n in PEERS else f"{n} beside {name}", tokens, backward)] = found
                del works
                print(f".. {name}: {tokens} tokens, {mode}", flush=True)
            for n in family:
                if (n, tokens, False) not in memory:
                    both = memory_of(n, args.dim, args.heads, tokens, batch)
                    memory[n, tokens, False], memory[n, tokens, True] = both
    return seconds, memory


def bars(
    args: argparse.Namespace, seconds: dict[Key, list[float]], memory: dict[Key, int | None]
) -> tuple[list[Bar], list[list[str]]]:
    """What was asked for, and a row of seconds for every comparison."""
    found, rows = [], []
    for name in args.only:
        for tokens in args.tokens:
            for mode, backward in MODES:
                for rival in RIVALS.get(name, ()):
                    other = rival if rival in PEERS else f"{rival} beside {name}"
                    ours, theirs = (seconds.get((n, tokens, backward)) for n in (name, other))
                    if ours is None or theirs is None:
                        continue
                    # pairs of neighbouring runs: what slows the machine down slows both
                    ratio = median([a / b for a, b in zip(ours, theirs, strict=True)])
                    low, high = (f"{number(1e3 * median(times))}" for times in (ours, theirs))
                    rows.append([name, rival, str(tokens), mode, low, high, f"{ratio:.2f}"])
                    what = f"{name} / {rival}, {tokens} tokens, {mode}"
                    if rival == RIVALS[name][0] and name in LIMITS:
                        found.append(Bar(what, ratio, LIMITS[name], "x"))
                    elif name == "routing" and tokens >= MANY:
                        found.append(Bar(what, ratio, 1.0, "x"))
    for mode, backward in MODES:
        halo, maps = (memory.get((n, MANY, backward)) for n in ("halo", "attention with N x N maps"))
        if halo and maps:
            found.append(Bar(f"memory of N x N maps / halo, {MANY} tokens, {mode}", maps / halo, 4, "x", at_least=True))
    return found, rows


def over_tokens(args: argparse.Namespace, values: dict[Key, float | None], backward: bool, title: str) -> Table:
    """One row a layer, one column a number of tokens."""
    names = dict.fromkeys(name for name, *_ in values)
    rows = [[name, *(number(values.get((name, n, backward))) for n in args.tokens)] for name in names]
    return Table(("layer", *(f"N = {n}" for n in args.tokens)), rows, title)


def report(args: argparse.Namespace) -> Report:
    seconds, memory = measured(args)
    found, rows = bars(args, seconds, memory)
    times = {key: median(given) for key, given in seconds.items() if " beside " not in key[0]}
    mib = {key: None if given is None else given / 2**20 for key, given in memory.items()}
    milliseconds: dict[Key, float | None] = {key: 1e3 * given for key, given in times.items()}
    said = (
        f"dim {args.dim}, {args.heads} attention heads, float32, batches of {BATCH_TOKENS} tokens (one sample where it "
        f"has more), median of {args.repeats} (of 3 or more where all would take over {BUDGET:g} s). Backward is "
        "forward and backward. Memory is what one run adds."
    )
    tables = [Table(("layer", "against", "N", "what", "ms", "ms of the other", "ratio"), rows, "In turn")]
    for mode, backward in MODES:
        tables.append(over_tokens(args, milliseconds, backward, f"Milliseconds of a batch, {mode}"))
        tables.append(over_tokens(args, mib, backward, f"Peak memory (MiB), {mode}"))
    curves = []
    for name in args.only:
        points = [(float(n), times[name, n, False]) for n in args.tokens if (name, n, False) in times]
        points = [(n, t / batch_of(args, int(n))) for n, t in points]
        curves.append(Curve(name, points))
    numbers = {
        "seconds": [[*key, given] for key, given in seconds.items()],
        "bytes": [[*key, given] for key, given in memory.items()],
    }
    axes = Axes("tokens", "seconds of one sample, forward", line=None)
    return Report("mixers", said, tables, found, curves, numbers, axes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=mixers(), metavar="NAME", help=", ".join(mixers()))
    parser.add_argument("--tokens", nargs="+", type=int, default=[256, 1024, 4096, 16384], help="squares of 8, 16, ...")
    parser.add_argument("--repeats", type=int, default=7, help="runs whose median is taken (7)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    parser.add_argument("--threads", type=int, help="threads of torch; what torch chooses where it is not given")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the results")
    args = parser.parse_args()
    if any(n < 1 or math.isqrt(n) ** 2 != n or math.isqrt(n) % 8 for n in args.tokens):
        parser.error(f"--tokens must be squares of multiples of 8 (blocks of halo), got {args.tokens}")
    if args.threads:
        torch.set_num_threads(args.threads)
    args.only = ["softmax", *(name for name in args.only or mixers() if name != "softmax")]
    args.dim, args.heads, args.least = 192, 3, 0.2
    if args.quick:
        args.tokens, args.repeats, args.dim, args.least = [64], 1, 48, 0.0
    machine = described(("timm",))
    print(machine, flush=True)
    found = report(args)
    write(found, args.out, machine)
    print(f"\n{found}\n", flush=True)


if __name__ == "__main__":
    main()
