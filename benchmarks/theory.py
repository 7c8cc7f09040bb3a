"""Closed forms of learning theory against simulating the same curves: seconds, and how many times more.

    python benchmarks/theory.py                            # all of them, 20 draws
    python benchmarks/theory.py --only deep_linear --draws 5

A curve of the theory is a mean over draws, so it is held against as many simulations as give that mean. Students are
trained by gradient flow from small random weights; only random matrices have nothing to train. Draws beyond --budget
seconds are not made: their seconds are taken to be those of the draws before. Results go to ``results/theory.json``
beside this file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from harness.machine import described
from harness.measure import median, timed
from harness.report import Bar, Report, Table, number, write

from headwise.theory import THEORIES, Curves, marchenko_pastur
from headwise.theory.deep_linear import DeepLinear
from headwise.theory.deep_linear import simulate as simulate_student
from headwise.theory.gradient_flow import small_layers, train
from headwise.theory.growth_law import GrowthLaw
from headwise.theory.random_matrix import RandomMatrix, draw
from headwise.theory.shrinkage import Shrinkage, denoise
from headwise.theory.transfer import Transfer, draw_benefits

TARGET = 1000
"""A closed form should be at least so many times faster."""
NAMES = ("random_matrix", "deep_linear", "shrinkage", "transfer", "growth_law")
TIMES = 101
"""Times at which a trained student is looked at."""
END = 4.0
"""Last time of a trained student, in tau: by then the strongest noise is learned, and the best stop is past."""


@dataclass(frozen=True)
class Case:
    """One curve: how it is predicted, and one draw of its simulation."""

    config: Any
    draw: Callable[[Any, int], Any]
    draws: int | None = None
    """How many draws the mean needs where that is not ``--draws``: one, where nothing is drawn."""


def trained_error(teacher: np.ndarray, data: np.ndarray, start: float, seed: int) -> float:
    """Least error on the teacher's outputs of a student of the data, over its training from small random weights."""
    outputs, inputs = data.shape
    layers = small_layers([inputs, min(data.shape), outputs], start, np.random.default_rng([seed, 2]))
    identity = np.eye(inputs)
    found = train(layers, identity, data, np.linspace(0, END, TIMES), 1.0, identity)
    return min(float(((seen[: len(teacher)] - teacher) ** 2).sum()) for seen, _ in found) / float((teacher**2).sum())


def draw_shrinkage(config: Shrinkage, seed: int) -> list[tuple[float, float]]:
    found = []
    for strength in config.strengths:
        teacher, data = draw([strength], config.num_inputs, config.num_outputs, seed)
        shrunk = float(((denoise(data)[0] - teacher) ** 2).sum()) / strength**2
        found.append((shrunk, trained_error(teacher, data, config.start, seed)))
    return found


def draw_transfer(config: Transfer, seed: int) -> np.ndarray:
    return draw_benefits(config, seed, lambda teacher, data: trained_error(teacher, data, config.start, seed))


def one_draw(name: str) -> Callable[[Any, int], Curves]:
    return lambda config, seed: THEORIES.get(name).simulate(config, [seed])


def cases(quick: bool) -> dict[str, Case]:
    sides = {"num_inputs": 20, "num_outputs": 10} if quick else {}
    hidden = {"hidden": 10} if quick else {}
    few = (1.5, 3.0)
    student = DeepLinear(**sides, **hidden, end=END, num_times=TIMES)
    matrix = RandomMatrix(**sides, strengths=few) if quick else RandomMatrix()
    shrinkage = Shrinkage(**sides, strengths=few) if quick else Shrinkage()
    pairs = Transfer(auxiliary=(3.0,)) if not quick else Transfer(20, 10, 10, auxiliary=(3.0,), alignments=(0.0, 1.0))
    logits = GrowthLaw(num_classes=3, vocabulary=50, num_times=20) if quick else GrowthLaw()
    return {
        "random_matrix": Case(matrix, one_draw("random_matrix")),
        "deep_linear": Case(student, lambda one, seed: simulate_student(replace(one, student="random"), [seed])),
        "shrinkage": Case(shrinkage, draw_shrinkage),
        "transfer": Case(pairs, draw_transfer),
        "growth_law": Case(logits, one_draw("growth_law"), draws=1),
    }


def predict(name: str, config: Any) -> Any:
    """The closed form as a first call has it: nothing is remembered from the last one."""
    marchenko_pastur._quantiles.cache_clear()  # the one thing that outlives a call
    return THEORIES.get(name).predict(replace(config))


def report(args: argparse.Namespace) -> Report:
    rows, bars, numbers = [], [], {}
    for name, case in cases(args.quick).items():
        if name not in args.only:
            continue
        predict(name, case.config)
        closed = [timed(lambda name=name, case=case: predict(name, case.config))[0] for _ in range(args.repeats)]
        draws, seconds = case.draws or args.draws, []
        while len(seconds) < draws and (not seconds or sum(seconds) < args.budget):
            seed = len(seconds)
            seconds.append(timed(lambda case=case, seed=seed: case.draw(case.config, seed))[0])
        simulated = sum(seconds) / len(seconds) * draws
        ratio = simulated / median(closed)
        made = f"{len(seconds)} of {draws}"
        rows.append([name, number(1e3 * median(closed)), number(simulated), made, number(ratio)])
        if case.draws is None:  # a mean over draws; what is integrated once is shown without a bar
            bars.append(Bar(f"{name}: simulation / closed form", ratio, TARGET, "x", at_least=True))
        numbers[name] = {"closed form": closed, "draws": seconds, "draws needed": draws}
        print(f".. {name}", flush=True)
    said = (
        f"Closed form: median of {args.repeats} first calls. Simulation: the seconds of all draws that the mean over "
        f"{args.draws} takes, from those that were made; students of two layers are trained from random weights."
    )
    header = ("theory", "closed form (ms)", "simulation (s)", "draws made", "ratio")
    return Report("theory", said, [Table(header, rows)], bars, numbers=numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", default=NAMES, help=", ".join(NAMES))
    parser.add_argument("--draws", type=int, default=20, help="draws that a mean is over (20)")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of draws of one theory (60), one at least")
    parser.add_argument("--repeats", type=int, default=7, help="calls of a closed form whose median is taken (7)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the results")
    args = parser.parse_args()
    if min(args.draws, args.repeats) < 1:
        parser.error("--draws and --repeats must be 1 or more")
    if args.quick:
        args.draws, args.repeats, args.budget = 1, 1, 0.0
    machine = described(("numpy", "scipy"))
    print(machine, flush=True)
    found = report(args)
    write(found, args.out, machine)
    print(f"\n{found}\n", flush=True)


if __name__ == "__main__":
    main()
