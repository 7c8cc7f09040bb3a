"""Forecast against measurement on real tokens: learning curves, stopping times, twice the samples.

    python benchmarks/forecast.py                        # scikit-learn's digits on the embedded backbone
    python benchmarks/forecast.py --data FOLDER          # and ViT-Ti on the CIFAR-10 subset
    python benchmarks/forecast.py --tokens STORE         # a token store of your own alone

For several numbers of training samples a forecast is made, and the probe trained beside it, on the same held-out
samples. "Cost" is what stopping at the forecast's time costs: the measured error there less the least one. The last
column is the measured least error with twice the samples, to hold against the forecast of it. Results go to
``results/forecast.json`` beside this file.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness.data import data_folder, large_store
from harness.machine import described
from harness.report import Bar, Report, Table, write

import headwise
from headwise.forecast import estimate_spectrum, learning_curve, measure
from headwise.tokens import TokenStore
from headwise.tokens.pooling import pooled_tokens

R2, TIME = 0.95, 0.25
"""What the curve's R2 and the relative error of the stopping time have to meet."""
HEADER = (
    "samples",
    "kept",
    "layers",
    "best time, forecast",
    "measured",
    "cost",
    "least error, forecast",
    "measured",
    "R2 of the curve",
    "twice the samples, forecast",
    "measured",
)


@dataclass(frozen=True)
class Case:
    """Features and labels to train on, the first of them where fewer are asked for, and others to measure on."""

    name: str
    features: np.ndarray
    labels: np.ndarray
    held_out: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, name: str, store: TokenStore, quick: bool) -> Case:
        """Training and test samples of a store; where it has none, a third of its samples is held out."""
        order = np.random.default_rng(0).permutation(store.num_samples)
        parts = store.split
        if parts is not None and {"train", "test"} <= set(parts):
            rest, out = (order[parts[order] == part] for part in ("train", "test"))
        else:
            out, rest = np.split(order, [len(order) // 3])
        if quick:
            rest, out = rest[: len(rest) // 5], out[: len(out) // 5]
        features = [pooled_tokens(store, rows).astype(float) for rows in (rest, out)]
        return cls(name, features[0], store.labels[rest], (features[1], store.labels[out]))


def cases(args: argparse.Namespace) -> Iterator[Case]:
    if args.tokens is not None:
        yield Case.of(args.tokens.name, TokenStore.open(args.tokens), args.quick)
        return
    with tempfile.TemporaryDirectory() as folder:
        digits = headwise.extract(headwise.load_backbone("embedded"), headwise.open_data("digits"), Path(folder) / "t")
        yield Case.of("digits on the embedded backbone", digits, args.quick)
    if args.data is not None:
        store = TokenStore.open(large_store(data_folder(args.data)))
        yield Case.of("CIFAR-10 subset on ViT-Ti", store, args.quick)


def measured(case: Case, depths: list[int]) -> list[dict[str, Any]]:
    rows = []
    for n in [len(case.labels) // k for k in (8, 4, 2, 1)]:
        spectrum = estimate_spectrum(case.features[:n], case.labels[:n])
        for depth in depths:
            curve = learning_curve(spectrum, depth)
            found = measure(spectrum, curve, *case.held_out)
            told = {k: v for k, v in curve.to_dict().items() if k in ("depth", "best", "doubled", "least")}
            seen = {"best": found.best._asdict(), "cost": found.excess, "r2": found.r2, "time_error": found.time_error}
            rows.append({"samples": n, "kept": spectrum.num_directions, **told, "measured": seen})
    return rows


def meets(row: dict[str, Any]) -> bool:
    r2, time = row["measured"]["r2"], row["measured"]["time_error"]
    return r2 is not None and r2 >= R2 and time is not None and abs(time) <= TIME


def table(case: Case, rows: list[dict[str, Any]]) -> Table:
    # errors are in units of each sample's own label variance, which is nearly the same for all of them
    least = {(row["samples"], row["depth"]): row["measured"]["best"]["error"] for row in rows}
    lines = []
    for row in rows:
        seen = row["measured"]
        twice = [e for (n, d), e in least.items() if d == row["depth"] and abs(n - 2 * row["samples"]) <= 1]
        lines.append(
            [row["samples"], row["kept"], row["depth"]]
            + [f"{time:.2f}" for time in (row["best"]["time"], seen["best"]["time"])]
            + [f"{error:.4f}" for error in (seen["cost"], row["best"]["error"], seen["best"]["error"])]
            + ["-" if seen["r2"] is None else f"{seen['r2']:.3f}", f"{row['doubled']['error']:.4f}"]
            + [f"{twice[0]:.4f}" if twice else "-"]
        )
    count, width = len(case.held_out[1]), case.features.shape[1]
    said = f"{case.name}: {count} held-out samples, {width} features, errors as shares of the labels' variance"
    return Table(HEADER, lines, said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=Path, help="a token store, and nothing else")
    parser.add_argument("--data", type=Path, help="folder with real weights and data; without it digits alone")
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 2], help="layers of the probes (1 2)")
    parser.add_argument("--threads", type=int, help="threads of torch; what torch chooses where it is not given")
    parser.add_argument("--quick", action="store_true", help="a fifth of the samples, for the tests")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the results")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    machine = described(("numpy", "scipy"))
    print(machine, flush=True)
    tables, bars, numbers = [], [], {}
    for case in cases(args):
        rows = measured(case, args.depths)
        tables.append(table(case, rows))
        numbers[case.name] = rows
        said = f"{case.name}: rows of {len(rows)} with R2 >= {R2} and a stopping time within {TIME:.0%}"
        bars.append(Bar(said, sum(map(meets, rows)), len(rows), "", at_least=True))
        print(f".. {case.name}", flush=True)
    found = Report("forecast", "Probes under gradient descent, forecast and trained.", tables, bars, numbers=numbers)
    write(found, args.out, machine)
    print(f"\n{found}\n", flush=True)


if __name__ == "__main__":
    main()
