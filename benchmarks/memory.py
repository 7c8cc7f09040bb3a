"""What a fit under ``--max-memory`` takes on a store several times as large: peak memory, seconds, certified gap.

    python benchmarks/memory.py                        # 4 GiB of tokens under a limit of 1 GiB

The store is generated in ``benchmarks/.cache`` (twice its size of disk while it is made) and deleted at the end, unless
``--keep``; the fit keeps its statistics on disk too. ``headwise fit`` and a process that has only imported headwise run
in fresh processes, so that each peak is its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from harness.data import CACHE
from harness.machine import described

TOKENS, WIDTH, CLASSES = 197, 192, 10  # as of ViT-Ti: a class token and 14 x 14 patches
AT_ONCE = 256


def peak() -> int:
    """Most bytes that this process ever held."""
    status = Path("/proc/self/status")
    if status.exists():  # the other counter starts with what the process had that made this one
        found = re.search(r"VmHWM:\s+(\d+)", status.read_text())
        assert found is not None, "Linux tells every process its peak"
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def generate(path: Path, gigabytes: float) -> None:
    """A float16 store of about that size, with a decaying spectrum and a class mean in the patch tokens."""
    from headwise import TokenStore

    with contextlib.suppress(ValueError):  # it is not there, or not whole
        TokenStore.open(path)
        return
    n = max(2 * CLASSES, round(gigabytes * 2**30 / (2 * TOKENS * WIDTH)))
    labels = np.arange(n) % CLASSES
    rng = np.random.default_rng(0)
    spectrum = (1 / (1 + np.arange(WIDTH))).astype(np.float32) ** 0.5
    means = 0.2 * spectrum * rng.standard_normal((CLASSES, 1, WIDTH), dtype=np.float32)
    file = path.with_suffix(".npy")
    try:
        values = np.lib.format.open_memmap(file, "w+", np.float16, (n, TOKENS, WIDTH))
        for start in range(0, n, AT_ONCE):
            own = labels[start : start + AT_ONCE]
            some = rng.standard_normal((len(own), TOKENS, WIDTH), dtype=np.float32) * spectrum
            values[start : start + AT_ONCE] = some + means[own]
        TokenStore.from_arrays(path, values, labels, num_prefix=1, grid=(14, 14))
    finally:
        file.unlink(missing_ok=True)


def fit(words: list[str]) -> dict[str, float]:
    """``headwise fit`` in this process, and what it took."""
    from headwise.cli import main as headwise

    began = time.perf_counter()
    try:
        headwise(["fit", *words])
    except SystemExit as end:
        if end.code:
            raise
    return {"peak": peak(), "seconds": time.perf_counter() - began}


def idle() -> dict[str, float]:
    """A process that has the estimators and stores, and did nothing."""
    from headwise import HeadClassifier, TokenStore

    assert HeadClassifier is not None and TokenStore is not None
    return {"peak": peak()}


def child(*words: object) -> dict[str, float]:
    call = [sys.executable, __file__, "--child", *map(str, words)]
    done = subprocess.run(call, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)  # it has said why
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4, help="size of the store")
    parser.add_argument("--max-memory", default="1GB")
    parser.add_argument("--block", default="default")
    parser.add_argument("--components", type=int, default=64)
    parser.add_argument("--beta", type=float, default=5e-3)
    parser.add_argument("--tol", type=float, default=1e-3)
    parser.add_argument("--keep", action="store_true", help="leave the store there for the next run")
    parser.add_argument("--quick", action="store_true", help="a tiny store: only to see that it runs")
    args = parser.parse_args()
    if args.quick:
        args.gigabytes, args.components, args.tol = 0.01, 4, 0.05
    store = CACHE / f"memory_{args.gigabytes:g}GB"
    head = store.with_suffix(".head")
    CACHE.mkdir(exist_ok=True)
    try:
        generate(store, args.gigabytes)
        words = ["--block", args.block, "--components", args.components, "--beta", args.beta, "--tol", args.tol]
        found = child("fit", store, head, *words, "--max-memory", args.max_memory, "--overwrite", "--json")
        gap = json.loads((head / "certificate.json").read_text())["relative_gap"]
        before = child("idle")["peak"]
    finally:
        shutil.rmtree(head, ignore_errors=True)
        if not args.keep:
            shutil.rmtree(store, ignore_errors=True)
    from headwise.heads.memory import as_memory

    limit = as_memory(args.max_memory).limit
    assert limit is not None
    kept = "kept" if found["peak"] <= limit else "NOT KEPT"
    print(described())
    print(f"{args.gigabytes:g} GiB of float16 tokens {TOKENS} x {WIDTH}, {args.block}, {args.components} components\n")
    print("| limit (MiB) | peak of the process (MiB) | idle process (MiB) | peak less idle (MiB) | seconds | gap | |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {limit / 2**20:.0f} | {found['peak'] / 2**20:.0f} | {before / 2**20:.0f} | "
        f"{(found['peak'] - before) / 2**20:.0f} | {found['seconds']:.0f} | {gap:.1e} | {kept} |"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(idle() if sys.argv[2] == "idle" else fit(sys.argv[3:])))
    else:
        main()
