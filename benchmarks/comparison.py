"""headwise against other ways of solving the same problems, by objective and seconds.

    python benchmarks/comparison.py --data FOLDER             # all tasks
    python benchmarks/comparison.py --only conic gated_mlp    # some of them

Objectives are compared, never a solver's own tolerance: every peer's solution is evaluated by one float64 function on
the same statistics (`harness.measure.Setting.objective`), against a proved lower bound of the optimum. Everything runs
in one process, one after the other. Results go to ``results/NAME.json`` and ``NAME.svg`` beside this file.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch
from harness.context import FULL, QUICK, Context
from harness.data import add_data_option
from harness.machine import described
from harness.report import write
from harness.tasks import TASKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument(
        "--only", nargs="+", choices=list(TASKS), default=list(TASKS), metavar="NAME", help=", ".join(TASKS)
    )
    parser.add_argument("--repeats", type=int, default=5, help="runs whose median is taken (5)")
    parser.add_argument(
        "--quick", action="store_true", help="tiny generated tokens: shows that it runs, measures nothing"
    )
    parser.add_argument("--threads", type=int, help="threads of torch; what torch chooses where it is not given")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the results")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    repeats = 1 if args.quick else args.repeats
    context = Context(args.data, QUICK if args.quick else FULL, args.quick, repeats, partial(print, "..", flush=True))
    machine = described(("numpy", "scipy", "scikit-learn", "cvxpy", "scs", "clarabel", "pyscnn"))
    print(machine, flush=True)
    for name in args.only:
        report = TASKS[name](context)
        write(report, args.out, machine)
        print(f"\n{report}\n", flush=True)


if __name__ == "__main__":
    main()
