"""All blocks with linear and gated activations, certified, and with ReLU; beside softmax probes trained by AdamW.

    python benchmarks/heads_table.py --data FOLDER
    python benchmarks/heads_table.py --only motifs digits      # what needs no folder

For every head beta is chosen on the validation samples along a path (first gate seed); the other seeds are fitted at
that beta. ReLU heads are made from the gated ones (gaussian) where those are small enough; they are approximate.
Probes: learning rate chosen with the first seed, epoch with every seed, both on the validation samples. The test
samples are looked at once for each fit. Every fit is written to ``results/heads/DATASET/`` when it is done, and a later
run with the same settings goes on where this one stopped. Seconds are those of the processor, so that other work beside
a run of hours hardly changes them; compare those of runs with one number of threads.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from harness.data import add_data_option
from harness.heads.cells import Cell, Limits, cells, check_relu_size, feasible, record, relu_record
from harness.heads.datasets import DATASETS, Dataset
from harness.heads.probe import PROBES, train_probe
from harness.kept import kept, slug
from harness.machine import described
from harness.report import Table, number

from headwise import InputError
from headwise.files import replacing

RELU = "ReLU"
HEADER = (
    "head",
    "activation",
    "test accuracy",
    "certified gap",
    "rank",
    "parameters",
    "CPU seconds",
    "beta",
    "remarks",
)


def spread(values: list[float]) -> str:
    """Mean in per cent, with the standard deviation where there are several."""
    mean = f"{100 * statistics.fmean(values):.1f} %"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean


def empty_row(cell: Cell, said: str, activation: str | None = None) -> list[str]:
    return [cell.name, activation or cell.activation, *["-"] * 6, said]


def cell_rows(cell: Cell, dataset: Dataset, folder: Path, seeds: int, limits: Limits) -> Iterator[list[str]]:
    """The row of a cell, and that of the ReLU head made from it where it has gates for that."""
    components, said = feasible(cell, dataset, limits)
    records, config = list[dict[str, Any]](), dict[str, Any]()
    if said:
        yield empty_row(cell, said)
    else:
        try:
            config, records = fitted(cell, dataset, folder, components, seeds, limits)
            yield head_row(cell, dataset, components, records, limits)
        except InputError as error:  # a head that these tokens do not allow says so in the table
            yield empty_row(cell, f"refused: {error}")
    if not cell.gives_relu:
        return
    if not records:
        yield empty_row(cell, "not feasible: there is no gated head", RELU)
        return
    try:
        check_relu_size(cell, dataset, components)
        yield relu_row(cell, dataset, folder, config, records, limits)
    except InputError as error:
        yield empty_row(cell, f"not feasible: {error}", RELU)


def fitted(
    cell: Cell, dataset: Dataset, folder: Path, components: int | None, seeds: int, limits: Limits
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What decides the fits of a cell, and one record for each seed of its gates."""
    config = {
        "parts": [part.to_dict() for part in cell.parts],
        "components": components,
        "conditioner": asdict(dataset.conditioner),
        "tokens": dataset.source.fingerprint,
        "rows": {part: [int(rows[0]), int(rows[-1]), len(rows)] for part, rows in dataset.rows.items()},
        "limits": {k: v for k, v in asdict(limits).items() if k in ("betas", "ratio", "tol")},
    }
    records: list[dict[str, Any]] = []
    for seed in range(seeds if cell.gated else 1):
        beta = records[0]["beta"] if records else None
        file = folder / f"{slug(cell.name, cell.activation)}-{seed}.json"
        what = f"{dataset.name}: {cell.name}, {cell.activation}, seed {seed}"

        def work(seed: int = seed, beta: float | None = beta) -> dict[str, Any]:
            return record(cell, dataset, components, seed, beta, limits)

        records.append(kept(file, {**config, "seed": seed, "beta": beta}, work, what))
    return config, records


def head_row(
    cell: Cell, dataset: Dataset, components: int | None, records: list[dict[str, Any]], limits: Limits
) -> list[str]:
    remarks = [cell.collapses] if cell.collapses else []
    if components != dataset.components[0]:
        remarks.append(f"{components} components")
    open_gaps = [r for r in records if r["relative_gap"] > limits.tol]
    if open_gaps:
        remarks.append(f"{len(open_gaps)} of {len(records)} above the tolerance")
    return [
        cell.name,
        cell.activation,
        spread([r["accuracy"]["test"] for r in records]),
        f"{max(r['relative_gap'] for r in records):.0e}",
        number(statistics.fmean(r["rank"] for r in records)),
        number(statistics.fmean(r["parameters"] for r in records)),
        number(records[0]["seconds"]),
        f"{records[0]['beta']:.2g}",
        "; ".join(remarks),
    ]


def relu_row(
    cell: Cell, dataset: Dataset, folder: Path, config: dict[str, Any], gated: list[dict[str, Any]], limits: Limits
) -> list[str]:
    """The ReLU heads made from gated ones: no gap, but both objectives."""

    def one(found: dict[str, Any]) -> dict[str, Any]:
        file = folder / f"{slug(cell.name, RELU)}-{found['seed']}.json"
        what = f"{dataset.name}: {cell.name}, ReLU, seed {found['seed']}"
        own = {**config, "seed": found["seed"], "beta": found["beta"]}
        return kept(file, own, lambda: relu_record(cell, dataset, found, limits), what)

    records = [one(found) for found in gated]
    ours, theirs = (statistics.fmean(r[key] for r in records) for key in ("objective", "gated_objective"))
    means = f", means of {len(records)} seeds" if len(records) > 1 else ""
    return [
        cell.name,
        RELU,
        spread([r["accuracy"]["test"] for r in records]),
        "approximate",
        number(statistics.fmean(r["rank"] for r in records)),
        number(statistics.fmean(r["parameters"] for r in records)),
        number(records[0]["seconds"]),
        f"{records[0]['beta']:.2g}",
        f"approximate objective {number(ours)}, of the gated head {number(theirs)}{means}",
    ]


def probe_row(
    name: str, dataset: Dataset, folder: Path, seeds: int, rates: tuple[float, ...], epochs: int
) -> list[str]:
    def one(lr: float, seed: int) -> dict[str, Any]:
        config = {"tokens": dataset.source.fingerprint, "lr": lr, "seed": seed, "epochs": epochs}
        file = folder / f"{slug(name, 'lr', f'{lr:g}')}-{seed}.json"
        what = f"{dataset.name}: {name}, learning rate {lr:g}, seed {seed}"
        return kept(file, config, lambda: train_probe(name, dataset, lr, seed, epochs), what)

    tried = [one(lr, 0) for lr in rates]
    best = max(tried, key=lambda r: (r["accuracy"]["val"], -r["val_loss"]))
    records = [best, *(one(best["lr"], seed) for seed in range(1, seeds))]
    chosen = [r["epoch"] for r in records]
    return [
        name,
        "softmax",
        spread([r["accuracy"]["test"] for r in records]),
        "-",
        "-",
        number(best["parameters"]),
        number(sum(r["seconds"] for r in tried)),
        "-",
        f"AdamW, learning rate {best['lr']:g} of {len(rates)} tried, epoch {min(chosen)} to {max(chosen)}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--only", nargs="+", choices=list(DATASETS), default=list(DATASETS), metavar="NAME")
    parser.add_argument("--blocks", nargs="+", metavar="NAME", help="only these heads")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the gates, and of the probes (5)")
    parser.add_argument("--gates", type=int, default=8, help="gates of a gated head (8)")
    parser.add_argument("--memory", type=float, default=6.0, help="GiB that the statistics of a head may take (6)")
    parser.add_argument(
        "--work",
        type=float,
        default=Limits.work,
        help=f"multiplications of a pass for atoms; above, fewer components are kept ({Limits.work:g})",
    )
    parser.add_argument("--quick", action="store_true", help="tiny data: shows that it runs, measures nothing")
    parser.add_argument("--threads", type=int, help="threads of torch; what torch chooses where it is not given")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the results")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    limits = Limits(memory=args.memory * 2**30, work=args.work)
    seeds, gates, rates, epochs = args.seeds, args.gates, (3e-4, 1e-3, 3e-3), 60
    if args.quick:
        limits, rates, epochs = Limits(betas=2, ratio=0.1), (1e-2,), 2
        seeds, gates = min(seeds, 2), 2
    machine = described(("numpy", "scipy"))
    print(machine, flush=True)
    for name in args.only:
        dataset = DATASETS[name](args.data, args.quick)
        folder = args.out / "heads" / name
        rows = []
        for cell in cells(dataset, gates):
            if args.blocks and cell.name not in args.blocks:
                continue
            rows += cell_rows(cell, dataset, folder, seeds, limits)
        for probe in PROBES:
            if not args.blocks or probe in args.blocks:
                rows.append(probe_row(probe, dataset, folder, seeds, rates, epochs))
        sizes = ", ".join(f"{len(found)} {part}" for part, found in dataset.rows.items())
        title = f"### {name}\n\n{dataset.said}; {sizes} samples, {seeds} seeds."
        table = Table(HEADER, rows, title)
        if not args.blocks:  # a part of the table does not replace the whole
            args.out.mkdir(parents=True, exist_ok=True)
            with replacing(args.out / f"heads_{name}.md") as part:
                part.write_text(f"{table}\n\n{machine}\n", encoding="utf-8")
        print(f"\n{table}\n", flush=True)


if __name__ == "__main__":
    main()
