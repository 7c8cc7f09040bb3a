"""Which backbone, which layer: scores of features against the measured accuracy of certified heads.

    python benchmarks/ranking.py --data FOLDER               # CIFAR-10 and digits, three backbones
    python benchmarks/ranking.py --data FOLDER --only digits # one set of images

Tasks are label sets on the same images: all classes, some of them, or groups. Candidates are layers of the embedded
backbone, of ViT-Ti and of DINOv2 as fine-tuned for saliency. For every task and candidate the scores are made from the
training samples, and a certified linear head on the class token and the mean patch token is fitted on them, with beta
chosen on a fifth of them; its accuracy is that on test samples. Each such triple is written to ``results/ranking/``
when it is done, and a later run goes on from there. NCE needs classes that the backbone gives the samples; most of
these layers have no classifier, so the nearest of 30 centroids (k-means on the training features) stands for it.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness.data import add_data_option, data_folder
from harness.kept import kept, slug
from harness.layers import LAYERED, layer_features
from harness.machine import described
from harness.report import Bar, Report, Table, number, write
from scipy.stats import weightedtau

from headwise import HeadClassifierCV, open_data
from headwise.forecast import agreement, compare_scores, estimate_spectrum

SCORES = {"forecast": "forecast (ours)", "logme": "LogME", "h_score": "H-score", "nce": "NCE of clusters"}
CLUSTERS = 30
ROAD, AIR_AND_SEA, ANIMALS = (1, 9), (0, 8), (2, 3, 4, 5, 6, 7)

Groups = Sequence[tuple[int, ...]]


def single(*classes: int) -> Groups:
    return [(k,) for k in classes]


TASKS: dict[str, dict[str, Groups]] = {
    "cifar": {
        "ten classes": single(*range(10)),
        "animals or vehicles": [ANIMALS, AIR_AND_SEA + ROAD],
        "three kinds": [ROAD, AIR_AND_SEA, ANIMALS],
        "animals": single(*ANIMALS),
        "vehicles": single(*AIR_AND_SEA, *ROAD),
        "mammals": single(3, 4, 5, 7),
        "cat or dog": single(3, 5),
    },
    "digits": {
        "ten digits": single(*range(10)),
        "even or odd": [(0, 2, 4, 6, 8), (1, 3, 5, 7, 9)],
        "3, 5, 8 or 9": single(3, 5, 8, 9),
    },
}
"""Groups of classes by task, for each set of images; classes in no group are left out."""


@dataclass(frozen=True)
class Images:
    """Features of a set of images by backbone and layer; training images come first."""

    name: str
    labels: np.ndarray
    num_train: int
    features: dict[tuple[str, int], np.ndarray]


def cifar(data: Path, train: int = 1000, test: int = 500) -> Images:
    folder = data_folder(data) / "cifar10_subset"
    parts = [open_data(folder / "train_10k.npz").select(np.arange(train))]
    parts.append(open_data(folder / "test_5k.npz").select(np.arange(test)))
    features: dict[tuple[str, int], np.ndarray] = {}
    for name in LAYERED:
        both = [layer_features(name, data, part, f"cifar_{i}") for i, part in enumerate(parts)]
        features |= {(name, layer): np.concatenate([one[layer] for one in both]) for layer in both[0]}
    return Images("cifar", np.concatenate([part.labels for part in parts]), train, features)


def digits(data: Path, train: int = 600, test: int = 300) -> Images:
    samples = open_data("digits").select(np.arange(train + test))
    order = np.random.default_rng(0).permutation(train + test)  # writers stand together
    features = {
        (name, layer): values[order]
        for name in LAYERED
        for layer, values in layer_features(name, data_folder(data), samples, "digits").items()
    }
    return Images("digits", samples.labels[order], train, features)


def generated(name: str, train: int = 120, test: int = 60) -> Images:
    """Classes among noise of several strengths, in place of layers."""
    rng = np.random.default_rng(len(name))
    labels = np.arange(train + test) % 10
    centres = rng.normal(size=(10, 8))
    strengths = {("a", 0): 0.3, ("a", 1): 0.8, ("b", 0): 1.5, ("b", 1): 3.0}
    return Images(
        name,
        labels,
        train,
        {key: centres[labels] + s * rng.normal(size=(train + test, 8)) for key, s in strengths.items()},
    )


SETS = {"cifar": cifar, "digits": digits}


def scores_of(features: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """All scores, from training samples alone."""
    from sklearn.cluster import KMeans

    x, began = features.astype(np.float64), time.process_time()
    spread = (x - x.mean(0)) / np.maximum(x.std(0), 1e-12)
    clusters = KMeans(min(CLUSTERS, len(x) // 4), n_init=1, random_state=0).fit_predict(spread)
    found = compare_scores(estimate_spectrum(x, labels), x, labels, clusters.astype(np.int64))
    return {**found.to_dict(), "seconds": time.process_time() - began}


def head_of(features: np.ndarray, labels: np.ndarray, num_train: int, betas: int) -> dict[str, Any]:
    """A certified linear head fitted on the first samples, and its accuracy on the others."""
    x, began = features.astype(np.float64), time.process_time()
    head = HeadClassifierCV("linear", betas=betas).fit(x[:num_train], labels[:num_train])
    seconds = time.process_time() - began
    return {
        "accuracy": head.score(x[num_train:], labels[num_train:]),
        "relative_gap": head.certificate_.relative_gap,
        "beta": head.beta_,
        "samples": num_train,
        "seconds": seconds,
    }


def triples(images: Images, folder: Path, betas: int) -> Iterator[dict[str, Any]]:
    for task, groups in TASKS[images.name].items():
        codes = np.full(10, -1)
        for code, group in enumerate(groups):
            codes[list(group)] = code
        labels = codes[images.labels]
        inside = labels >= 0
        num_train = int(inside[: images.num_train].sum())
        for (backbone, layer), features in images.features.items():
            x, y = features[inside], labels[inside]
            name = folder / images.name / slug(task, backbone, layer)
            digest = hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()[:12]
            config = {"groups": [list(group) for group in groups], "features": digest}
            said = f"{images.name}, {task}: {backbone}, layer {layer}"

            def head(x: np.ndarray = x, y: np.ndarray = y, num_train: int = num_train) -> dict[str, Any]:
                return head_of(x, y, num_train, betas)

            def scores(x: np.ndarray = x[:num_train], y: np.ndarray = y[:num_train]) -> dict[str, Any]:
                return scores_of(x, y)

            fitted = kept(Path(f"{name}-head.json"), {**config, "betas": betas}, head, f"{said}: head")
            scored = kept(Path(f"{name}-scores.json"), config, scores, f"{said}: scores")
            place = {"images": images.name, "task": task, "backbone": backbone, "layer": layer}
            yield {**place, **{k: scored[k] for k in SCORES}, **{k: v for k, v in fitted.items() if k != "seconds"}}


def within_tasks(rows: list[dict[str, Any]], score: str, resamples: int = 1000) -> tuple[float, float, float]:
    """Mean over tasks of the weighted tau over candidates, with its 95 % bootstrap interval."""
    tasks: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        tasks.setdefault((row["images"], row["task"]), []).append((row[score], row["accuracy"]))
    pairs = [np.array(values).T for values in tasks.values()]
    rng, means = np.random.default_rng(0), []
    for _ in range(resamples):
        found = []
        for x, y in pairs:
            drawn = rng.integers(len(x), size=len(x))
            if np.ptp(x[drawn]) > 0 and np.ptp(y[drawn]) > 0:
                found.append(float(weightedtau(x[drawn], y[drawn])[0]))
        means.append(float(np.mean(found)))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(np.mean([weightedtau(x, y)[0] for x, y in pairs])), float(low), float(high)


def report(rows: list[dict[str, Any]]) -> Report:
    measured = [row["accuracy"] for row in rows]
    taus, lines, numbers = {}, [], {}
    for score, name in SCORES.items():
        over_all = agreement([row[score] for row in rows], measured)
        mean, low, high = within_tasks(rows, score)
        taus[score] = (over_all.tau, mean)
        numbers[score] = {
            "all triples": [over_all.tau, over_all.low, over_all.high],
            "mean over tasks": [mean, low, high],
        }
        ends = "-" if over_all.low is None else f"{over_all.low:.2f} to {over_all.high:.2f}"
        lines.append([name, f"{over_all.tau:.2f}", ends, f"{mean:.2f}", f"{low:.2f} to {high:.2f}"])
    header = ("score", "tau, all triples", "95 % interval", "mean tau within tasks", "95 % interval")
    table = Table(header, lines, "Weighted Kendall tau against the accuracy of certified heads")
    each = [
        [
            *(row[key] for key in ("images", "task", "backbone", "layer")),
            f"{100 * row['accuracy']:.1f} %",
            f"{row['relative_gap']:.0e}",
            *(number(row[score]) for score in SCORES),
        ]
        for row in rows
    ]
    columns = ("images", "task", "backbone", "layer", "test accuracy", "gap", *SCORES.values())
    bars = []
    for place, over in enumerate(("all triples", "the mean within tasks")):
        others = max(taus[score][place] for score in SCORES if score != "forecast")
        ours = taus["forecast"][place]
        bars.append(Bar(f"tau over {over}: ours less the best of the others", ours - others, 0, "", at_least=True))
    said = f"{len(rows)} triples of a task, a backbone and a layer."
    tables = [table, Table(columns, each, "Each triple")]
    return Report("ranking", said, tables, bars, numbers={**numbers, "triples": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=list(SETS), metavar="IMAGES")
    parser.add_argument("--betas", type=int, default=10, help="points of the path of each head (10)")
    parser.add_argument("--threads", type=int, help="threads of torch; what torch chooses where it is not given")
    parser.add_argument("--quick", action="store_true", help="tiny generated features: shows that it runs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the results")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    machine = described(("numpy", "scipy"))
    print(machine, flush=True)
    rows: list[dict[str, Any]] = []
    for name in args.only:
        images = generated(name) if args.quick else SETS[name](args.data)
        rows += triples(images, args.out / "ranking", 3 if args.quick else args.betas)
    found = report(rows)
    write(found, args.out, machine)
    print(f"\n{found}\n", flush=True)


if __name__ == "__main__":
    main()
