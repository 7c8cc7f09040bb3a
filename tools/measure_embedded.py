"""Measure the embedded backbone on images and labels that it has not seen, and write its model card.

    python tools/measure_embedded.py --images test_5k.npz --weights embedded.safetensors --card README.md

20 nearest neighbours (cosine, on the class token joined with the mean patch token, each of unit length) and ridge
logistic regression, next to raw pixels and to the same network untrained.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from headwise.backbones.embedded import load_embedded
from headwise.backbones.plain import PlainBackbone
from headwise.backbones.vit import VisionTransformer, VisionTransformerConfig

CARD = """# Model card: the embedded backbone

A plain vision transformer: {parameters:,} parameters, 32 x 32 RGB, patch 4 (8 x 8 tokens and one class token), width
128, 6 layers of 4 attention heads. Weights in float16, {size:.1f} MB, keys as in timm's `VisionTransformer`.
Input: resize to 32 x 32 (bicubic), scale to [0, 1], subtract 0.5, divide by 0.5.

## What it is for

The default of `headwise study`: it makes every part of headwise run at once and offline. It is small; for work of your
own take a larger backbone (`timm/NAME`).

## How it was made

- Data: 10,000 natural images (1,000 of each class of the CIFAR-10 training set, decoded from JPEG), **without labels**.
- Teacher: a ViT-Ti/16 pretrained on ImageNet with labels (timm `vit_tiny_patch16_224`, Apache-2.0), at 160 pixels.
- Recipe: 6 seeded views of each image (crops, brightness, contrast, saturation, grey), horizontal flips; half of what
  the student sees is coarse, grey, inverted or of hard contrast. It predicts the teacher's last tokens of the clean
  view, standardised per feature, at the class token and at the patches it sees (smooth L1), and there also the clean
  pixels of the patch and its eight neighbours (weight 0.5). Half of the patches are dropped in the first nine tenths
  of the steps. AdamW, learning rate 1e-3 (warm-up 300 steps, linear decay over the last fifth), weight decay 0.05,
  batch 128, {steps} steps, seed {seed}.
- The run was stopped and resumed several times, so a fresh run of the script gives slightly other weights.
- Script: `tools/pretrain_embedded.py`. Made {today}. Measured by `tools/measure_embedded.py`.

## Measured quality

Test accuracy in percent; images and labels that neither training nor any choice has seen.

| features | CIFAR-10, 20-NN | CIFAR-10, linear | digits, 20-NN | digits, linear |
|---|---|---|---|---|
{rows}

CIFAR-10: 5,000 images of its test set, classifiers fitted on the first 2,500 and measured on the last 2,500. Digits:
scikit-learn's, fitted on the first 1,000 and measured on the other 797. Linear: logistic regression on standardised
features, the best of C = 0.001, 0.01, 0.1, 1 by 5-fold cross-validation on the fitting part. Features: class token
joined with the mean patch token; 20-NN uses each at unit length (pixels: the whole vector) and cosine similarity.

## Limits

It has seen ten kinds of things at 32 x 32 pixels. Its class token knows ImageNet's classes through the teacher, so it
carries that data set's biases. Not for decisions about people.

## Licence

Apache-2.0, as the package. CIFAR-10 (Krizhevsky 2009) states no licence; no image of it is contained.
"""


def features(model: PlainBackbone, images: np.ndarray) -> np.ndarray:
    found = []
    for start in range(0, len(images), 250):
        tokens = model.tokens(model.preprocess(list(images[start : start + 250])))[0]
        found.append(torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], dim=1))
    return torch.cat(found).numpy()


def unit(x: np.ndarray, parts: int) -> np.ndarray:
    """Each of ``parts`` equal runs of the features at unit length."""
    runs = torch.from_numpy(x).double().chunk(parts, dim=1)
    return torch.cat([F.normalize(run, dim=1) for run in runs], dim=1).numpy()


def accuracies(train: np.ndarray, y: np.ndarray, test: np.ndarray, z: np.ndarray, parts: int) -> tuple[float, float]:
    near = KNeighborsClassifier(20).fit(unit(train, parts), y).score(unit(test, parts), z)
    best = None
    from sklearn.model_selection import cross_val_score

    for strength in (1e-3, 1e-2, 1e-1, 1.0):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=200, tol=1e-3))
        found = cross_val_score(model, train, y, cv=5).mean()
        if best is None or found > best[0]:
            best = (found, model)
    assert best is not None
    return 100 * near, 100 * best[1].fit(train, y).score(test, z)


def untrained() -> PlainBackbone:
    torch.manual_seed(0)
    model = load_embedded()
    fresh = VisionTransformer(VisionTransformerConfig())
    model.model.load_state_dict(fresh.state_dict())
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help=".npz with uint8 `images` and `labels`, held out")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--card", type=Path, help="write the model card here")
    args = parser.parse_args()
    held = np.load(args.images)
    images, labels = held["images"], held["labels"].astype(int)
    digits = load_digits()
    small = np.rint(digits.images * 255 / 16).astype(np.uint8)
    trained = load_embedded(args.weights)
    rows = []
    for name, model in (("raw pixels", None), ("untrained network", untrained()), ("**embedded backbone**", trained)):
        x = images.reshape(len(images), -1) / 255.0 if model is None else features(model, images)
        d = digits.data / 16 if model is None else features(model, small)
        parts = 1 if model is None else 2  # pixels are one vector; tokens are the class token and the mean patch token
        found = (
            *accuracies(x[:2500], labels[:2500], x[2500:], labels[2500:], parts),
            *accuracies(d[:1000], digits.target[:1000], d[1000:], digits.target[1000:], parts),
        )
        rows.append(f"| {name} | " + " | ".join(f"{a:.1f}" for a in found) + " |")
        print(rows[-1], flush=True)
    if args.card:
        with safe_open(args.weights, "pt") as handle:
            made = handle.metadata() or {}
        args.card.write_text(
            CARD.format(
                parameters=trained.num_parameters,
                size=args.weights.stat().st_size / 1e6,
                steps=made.get("steps", "?"),
                seed=made.get("seed", "?"),
                today=date.today().isoformat(),
                rows="\n".join(rows),
            )
        )


if __name__ == "__main__":
    main()
