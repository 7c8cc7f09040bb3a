"""Weighted cosine of the attention heads over the layers of backbones: do tokens look for their like, or for others?

    python benchmarks/layer_curves.py --data FOLDER
    python benchmarks/layer_curves.py --data FOLDER --out docs/gallery/dissection      # what the gallery draws

A supervised ViT-Ti, DINOv2 as fine-tuned for saliency, and the embedded backbone, on the photographs of the package:
the logits rebuilt from the modes are held against those of the model first. Nothing here is a time.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.data import add_data_option, data_folder
from harness.layers import LAYERED
from harness.machine import described

from headwise import dissect
from headwise.files import write_json
from headwise.tokens import read_photographs

IMAGES = 2


def curves(name: str, data: Path) -> dict[str, Any]:
    """One value for each attention head of each layer, with the norm folded in and without it."""
    model = LAYERED[name].load(data)
    photographs = read_photographs()
    batch = model.preprocess([photographs.image(i) for i in range(IMAGES)])
    folded, bare = dissect(model, batch), dissect(model, fold=False)
    return {
        "weighted_cosine": folded.weighted_cosine.tolist(),
        "without_norm": bare.weighted_cosine.tolist(),
        "band": folded.weighted_chance.mean(1).tolist(),
        "difference": folded.difference,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--quick", action="store_true", help="only the embedded backbone: shows that it runs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the results")
    args = parser.parse_args()
    found = {}
    for name in ["embedded"] if args.quick else list(LAYERED):
        found[name] = curves(name, args.data if args.quick else data_folder(args.data))
        print(f"\n{name}: logits to {found[name]['difference']:.0e} of their spread\n")
        print("| layer | weighted cosine | chance band | norm left out |\n|---|---|---|---|")
        for layer, row in enumerate(found[name]["weighted_cosine"]):
            mean, bare = sum(row) / len(row), sum(found[name]["without_norm"][layer]) / len(row)
            print(f"| {layer} | {mean:.2f} | {found[name]['band'][layer]:.2f} | {bare:.2f} |")
    machine = described(("timm", "transformers"))
    print(f"\n{machine}")
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "layer_curves.json", {"machine": machine, "backbones": found})


if __name__ == "__main__":
    main()
