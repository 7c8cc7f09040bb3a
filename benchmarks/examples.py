"""Top images per mode, in one pass over a folder of images, against extraction of the same images.

    python benchmarks/examples.py --data FOLDER

ViT-Ti, the modes of all its attention heads, on pictures of the CIFAR-10 subset that are written into a folder first.
Both read, decode and resize every picture and run the backbone once, in batches of the same size, in this process, and
take turns: extraction writes tokens of the last layer as float16, the pass ranks every sample for every mode.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from harness.data import WEIGHTS, add_data_option, data_folder
from harness.machine import declare_torchvision_operators, described
from harness.measure import timed
from harness.report import Bar, Table
from PIL import Image

import headwise
from headwise.dissect import Examples, top_examples
from headwise.tokens import ImageSamples, TokenStore

RATIO = 1.5
"""Of the pass to extraction, at most."""


def drawn(folder: Path, pixels: np.ndarray) -> ImageSamples:
    """Pictures as files of two classes, which a folder of images needs."""
    for k in (0, 1):
        (folder / str(k)).mkdir(parents=True)
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / str(i % 2) / f"{i:06d}.png")
    samples = headwise.open_data(folder)
    assert isinstance(samples, ImageSamples)
    return samples


def batches(model: Any, samples: ImageSamples, size: int) -> Iterator[torch.Tensor]:
    for start in range(0, len(samples), size):
        yield model.preprocess([samples.image(i) for i in range(start, min(start + size, len(samples)))])


def measured(
    model: Any, samples: ImageSamples, args: argparse.Namespace, work: Path
) -> tuple[list[float], list[float], list[Examples]]:
    """Seconds of extraction and of the pass, round by round, and what the last pass has found."""

    def extract() -> TokenStore:
        return headwise.extract(model, samples, work / "tokens", batch_size=args.batch)

    def search() -> list[Examples]:
        return top_examples(model, batches(model, samples, args.batch), per_mode=args.per_mode)

    first = samples.select(range(min(len(samples), args.batch)))
    headwise.extract(model, first, work / "warm", batch_size=args.batch)
    top_examples(model, batches(model, first, args.batch))
    extracting: list[float] = []
    searching: list[float] = []
    found: list[Examples] = []
    for number in range(args.rounds):
        turns: list[tuple[Callable[[], Any], list[float]]] = [(extract, extracting), (search, searching)]
        for task, seconds in turns if number % 2 == 0 else reversed(turns):
            if task is extract and (work / "tokens").exists():
                shutil.rmtree(work / "tokens")  # a complete store would not be made again
            spent, result = timed(task)
            seconds.append(spent)
            found = result if task is search else found
    return extracting, searching, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--images", type=int, default=5000, help="pictures (5000; at most 10,000)")
    parser.add_argument("--batch", type=int, default=64, help="pictures that go through the backbone at once (64)")
    parser.add_argument("--per-mode", type=int, default=7, help="pictures kept for each mode and sign (7)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds whose median is printed (3)")
    parser.add_argument("--threads", type=int, help="threads of torch; what torch chooses where it is not given")
    parser.add_argument("--quick", action="store_true", help="a few drawn pictures on the embedded backbone")
    args = parser.parse_args()
    if min(args.rounds, args.images, args.batch, args.per_mode) < 1:
        parser.error("--rounds, --images, --batch and --per-mode must be 1 or more")
    if args.threads:
        torch.set_num_threads(args.threads)
    keep = declare_torchvision_operators()
    if args.quick:
        pixels = np.random.default_rng(0).integers(0, 256, size=(12, 32, 32, 3), dtype=np.uint8)
        model = headwise.load_backbone("embedded")
        args.batch, args.rounds = 5, 1
    else:
        data = data_folder(args.data)
        pixels = np.load(data / "cifar10_subset" / "train_10k.npz")["images"][: args.images]
        model = headwise.load_backbone(f"timm/vit_tiny_patch16_224@{data / WEIGHTS}")
    with tempfile.TemporaryDirectory() as folder:
        samples = drawn(Path(folder) / "pictures", pixels)
        extracting, searching, found = measured(model, samples, args, Path(folder))
    del keep
    heads = sum(each.scores.shape[1] for each in found)
    count = sum(each.scores.shape[1] * each.scores.shape[2] for each in found)
    size = sum(t.nbytes for e in found for t in (e.scores, e.samples, e.query_places, e.key_places))
    print(f"{len(samples)} pictures, {count} modes of {heads} attention heads of {model.name}\n")
    rows = [
        (name, f"{median(some):.2f}", f"{min(some):.2f} to {max(some):.2f}", f"{len(samples) / median(some):.0f}")
        for name, some in (("extraction", extracting), ("top images per mode", searching))
    ]
    print(Table(("", "seconds", f"range of {args.rounds}", "pictures a second"), rows))
    bar = Bar("top images per mode / extraction", median(searching) / median(extracting), RATIO, "x")
    print(f"\n{Table(('bar', 'measured', 'asked', 'met'), [bar.row()])}")
    print(f"\nkept: {size / 2**20:.1f} MiB, whatever the number of pictures")
    print(described(["timm"]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
