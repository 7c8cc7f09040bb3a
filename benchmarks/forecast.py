"""Forecast against measurement on real tokens: learning curves, stopping times, twice the samples.

    python benchmarks/forecast.py                        # scikit-learn's digits on the embedded backbone
    python benchmarks/forecast.py --tokens STORE         # a token store of your own

For several numbers of training samples a forecast is made, and the probe trained beside it, on the same held-out
samples. The last column is the measured least error with twice the samples, to hold against the forecast of it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from harness.machine import described

import headwise
from headwise.forecast import estimate_spectrum, learning_curve, measure
from headwise.tokens import TokenStore
from headwise.tokens.pooling import pooled_tokens

BARS = {"R2": 0.95, "time": 0.25}
"""What the curve's R2 and the relative error of the stopping time have to meet."""


def digits(folder: Path) -> TokenStore:
    return headwise.extract(headwise.load_backbone("embedded"), headwise.open_data("digits"), folder / "digits")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=Path, help="a token store; digits on the embedded backbone without it")
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 2], help="layers of the probes (1 2)")
    parser.add_argument("--quick", action="store_true", help="a fifth of the samples, for the tests")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = digits(Path(folder)) if args.tokens is None else TokenStore.open(args.tokens)
        features, labels = pooled_tokens(store).astype(float), store.labels
    order = np.random.default_rng(0).permutation(len(labels))
    if args.quick:
        order = order[: len(order) // 5]
    held_out, rest = order[: len(order) // 3], order[len(order) // 3 :]
    sizes = [len(rest) // k for k in (8, 4, 2, 1)]
    print(f"{len(held_out)} held-out samples, {features.shape[1]} features, errors as shares of the labels' variance\n")
    print(f"{'':>24}{'best time':>20}{'least error':>20}{'R2 of':>8}{'twice the samples':>20}")
    print(f"{'samples':>8}{'kept':>8}{'layers':>8}" + f"{'forecast':>10}{'measured':>10}" * 2 + f"{'curve':>8}", end="")
    print(f"{'forecast':>10}{'measured':>10}")
    met = total = 0
    rows = []
    for n in sizes:
        spectrum = estimate_spectrum(features[rest[:n]], labels[rest[:n]])
        for depth in args.depths:
            curve = learning_curve(spectrum, depth)
            found = measure(spectrum, curve, features[held_out], labels[held_out])
            rows.append((n, spectrum.num_directions, depth, curve, found))
    # errors are in units of each sample's own label variance, which is nearly the same for all of them
    least = {(n, depth): found.best.error for n, _, depth, _, found in rows}
    for n, kept, depth, curve, found in rows:
        twice = next((error for (m, d), error in least.items() if d == depth and abs(m - 2 * n) <= 1), None)
        r2 = float("nan") if found.r2 is None else found.r2
        print(f"{n:8}{kept:8}{depth:8}{curve.best.time:10.2f}{found.best.time:10.2f}", end="")
        print(f"{curve.best.error:10.3f}{found.best.error:10.3f}{r2:8.3f}{curve.doubled.error:10.3f}", end="")
        print(f"{'':>10}" if twice is None else f"{twice:10.3f}")
        total += 1
        met += r2 >= BARS["R2"] and found.time_error is not None and abs(found.time_error) <= BARS["time"]
    print(f"\n{met} of {total} rows have R2 >= {BARS['R2']} and a stopping time within {BARS['time']:.0%}")
    print(described())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
