"""A certified attention head on 5,000 x 196 patch tokens of ViT-Ti, against the same head trained with Adam.

    python benchmarks/attention_head.py --data FOLDER

FOLDER holds ``cifar10_subset/train_10k.npz`` and ``vit_tiny_patch16_224_in1k/model.safetensors``. Tokens are extracted
once into ``benchmarks/.cache`` and not counted. Each fit runs in a fresh process, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from harness.data import add_data_option, cifar_store, data_folder
from harness.machine import described

if TYPE_CHECKING:
    from headwise import TokenStore
    from headwise.heads.fitting import Prepared


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _problem(tokens: TokenStore, rows: np.ndarray, components: int) -> Prepared:
    from headwise import Conditioner, PartSpec
    from headwise.heads.fitting import prepare
    from headwise.heads.targets import bind, encode

    loss = bind("multinomial", encode("classes", tokens.labels[rows], np.arange(10)))
    return prepare(tokens, rows, loss, (PartSpec("attention"),), Conditioner(n_components=components))


def fit(path: Path, beta: float, components: int, tol: float) -> dict[str, float]:
    """One certified fit with its parts timed."""
    from headwise import TokenStore
    from headwise.solvers import beta_max, solve

    before = peak()
    tokens = TokenStore.open(path)
    rows, test = tokens.rows("train"), tokens.rows("test")
    began = time.perf_counter()
    prepared = _problem(tokens, rows, components)
    condensed = time.perf_counter() - began
    solution = solve(prepared.problem, beta, tol=tol)
    total = time.perf_counter() - began
    most = peak()
    head = prepared.head(solution, list(range(10)))

    def accuracy(which: np.ndarray) -> float:
        return float((head.outputs(tokens, which).argmax(1).numpy() == tokens.labels[which]).mean())

    return {
        "beta": beta,
        "beta_max": beta_max(prepared.problem),
        "gap": solution.certificate.relative_gap,
        "objective": solution.certificate.primal,
        "dual": solution.certificate.dual,
        "rank": solution.rank,
        "condition_s": condensed,
        "solve_s": solution.seconds,
        "total_s": total,
        "train": accuracy(rows[:1000]),
        "test": accuracy(test),
        "peak": most,
        "before": before,
        "tokens": len(rows) * tokens.num_tokens * tokens.width * 4,
    }


def adam(path: Path, beta: float, components: int, lr: float, seconds: float) -> dict[str, object]:
    """The same objective on the same statistics, 16 atoms, mini-batches of 250, Adam with a cosine schedule by time."""
    import torch

    from headwise import TokenStore

    tokens = TokenStore.open(path)
    rows = tokens.rows("train")
    labels = torch.from_numpy(tokens.labels[rows])
    prepared = _problem(tokens, rows, components)
    (part,) = prepared.problem.parts
    chunks = [s[0] for _, s in prepared.problem.passes.chunks(torch.float32)]
    stats = {k: torch.cat([c[k] for c in chunks]) for k in chunks[0]}
    torch.manual_seed(0)
    u = (0.3 * torch.randn(16, *part.u_shape) / prepared.parts[0].shape.width).requires_grad_()
    v = (0.3 * torch.randn(16, part.k, 10) / part.k**0.5).requires_grad_()
    b = torch.zeros(10, requires_grad=True)
    optimiser = torch.optim.Adam([u, v, b], lr=lr)

    def objective(which: torch.Tensor) -> torch.Tensor:
        h = part.block.inner({k: x[which] for k, x in stats.items()}, u).flatten(1) @ v.flatten(0, 1) + b
        return torch.nn.functional.cross_entropy(h, labels[which]) + beta / 2 * (u.square().sum() + v.square().sum())

    curve, began, spent = [], time.perf_counter(), 0.0
    while spent < seconds:
        for group in optimiser.param_groups:
            group["lr"] = lr * 0.5 * (1 + np.cos(np.pi * min(1.0, spent / seconds)))
        for which in torch.randperm(len(rows)).split(250):
            optimiser.zero_grad()
            objective(which).backward()
            optimiser.step()
        spent = time.perf_counter() - began
        if not curve or spent - curve[-1][0] > 2:
            paused = time.perf_counter()
            with torch.no_grad():
                whole = float(objective(torch.arange(len(rows))))
            began += time.perf_counter() - paused  # looking is not counted
            curve.append((spent, whole))
    with torch.no_grad():
        return {"lr": lr, "objective": float(objective(torch.arange(len(rows)))), "curve": curve, "seconds": spent}


def child(kind: str, *args: object) -> dict:
    call = [sys.executable, __file__, "--child", kind, *map(str, args)]
    done = subprocess.run(call, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--store", type=Path, help="a token store with splits train and test, instead of one of --data")
    parser.add_argument("-n", type=int, default=5000)
    parser.add_argument("--components", type=int, default=64)
    parser.add_argument("--betas", type=float, nargs="+", default=[5e-3, 1e-3])
    parser.add_argument("--seconds", type=float, default=30, help="time for each Adam run")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        kind, path, *rest = args.child
        numbers = [float(x) for x in rest]
        found = (
            fit(Path(path), numbers[0], int(numbers[1]), numbers[2])
            if kind == "fit"
            else adam(Path(path), numbers[0], int(numbers[1]), numbers[2], numbers[3])
        )
        print(json.dumps(found))
        return
    path = args.store or cifar_store(data_folder(args.data), args.n)
    print(described())
    print(f"{path.name}, {args.components} components, 10 classes\n")
    print(
        "| beta | beta / beta_max | certified gap | rank | objective | condition (s) | solve (s) | total (s) "
        "| train acc | held-out acc | peak memory / float32 tokens |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for beta in args.betas:
        r = child("fit", path, beta, args.components, 1e-3)
        print(
            f"| {beta:g} | {beta / r['beta_max']:.2f} | {r['gap']:.1e} | {r['rank']} | {r['objective']:.5f} | "
            f"{r['condition_s']:.1f} | {r['solve_s']:.1f} | {r['total_s']:.1f} | {100 * r['train']:.1f} % | "
            f"{100 * r['test']:.1f} % | {r['peak'] / r['tokens']:.2f} ({r['peak'] / 2**20:.0f} MiB, "
            f"{r['before'] / 2**20:.0f} before loading) |",
            flush=True,
        )
    print(f"\nAdam on the same statistics and objective, {args.seconds:.0f} s each:\n")
    print("| beta | learning rate | objective reached | above the proved optimum |")
    print("|---|---|---|---|")
    for beta in args.betas:
        dual = child("fit", path, beta, args.components, 1e-3)["dual"]
        for lr in (1e-3, 1e-2, 5e-2):
            r = child("adam", path, beta, args.components, lr, args.seconds)
            print(
                f"| {beta:g} | {lr:g} | {r['objective']:.5f} | {100 * (r['objective'] / dual - 1):.2f} % |", flush=True
            )


if __name__ == "__main__":
    main()
