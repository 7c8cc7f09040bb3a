"""
Like to like, or to others
==========================

Does an attention head compare tokens with their like, or look for something else? The
weighted cosine says so in one number for each head: 1 where query and key directions
are the same, 0 where they have nothing to do with each other, -1 where they are
opposite.
"""

# %%
# One backbone, in one call
# -------------------------
# The embedded backbone on two photographs. Before anything is told, the logits are
# rebuilt from the modes and held against those that the model computes.

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images

import headwise as hw

model = hw.load_backbone("embedded")
found = hw.dissect(model, check=model.preprocess(load_sample_images().images))
print(f"largest difference: {found.difference:.0e} of the logits' spread")

for row in found.layers:
    print(
        f"layer {row['layer']}: weighted cosine {row['weighted_cosine']:5.2f},"
        f" chance up to {row['weighted_chance']:.2f}"
    )

# %%
# Trained backbones
# -----------------
# The same of a ViT-Ti that was trained on labels, and of a DINOv2-S that was trained
# without and then tuned to find what stands out. Their weights are too large for this
# page: ``benchmarks/layer_curves.py`` writes the numbers that are drawn here, and holds
# the logits against the models' own first.

kept = json.loads(Path("layer_curves.json").read_text())
print(kept["machine"])

names = {
    "ViT-Ti": "ViT-Ti, from labels",
    "DINOv2": "DINOv2-S, without labels, tuned for saliency",
    "embedded": "embedded backbone",
}
fig, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
for (name, label), marker in zip(names.items(), "osx", strict=True):
    curve = kept["backbones"][name]
    heads = np.array(curve["weighted_cosine"])
    depth = np.linspace(0, 1, len(heads))
    (line,) = axis.plot(depth, heads.mean(1), marker=marker, label=label)
    axis.plot(
        np.repeat(depth, heads.shape[1]),
        heads.ravel(),
        ".",
        ms=4,
        alpha=0.4,
        color=line.get_color(),
    )
    bare = np.array(curve["without_norm"]).mean(1)
    print(
        f"{name}: {heads[0].mean():.2f} in the first layer, {heads[-1].mean():.2f} in"
        f" the last ({bare[0]:.2f} and {bare[-1]:.2f} with the norm left out)"
    )
axis.axhline(0, color="0.5", lw=0.8)
axis.set(xlabel="depth (share of the layers)", ylabel="weighted cosine")
axis.legend()

# %%
# Lines are means over the attention heads of a layer, dots single heads. Trained on
# labels, attention starts with like to like and ends with a cosine about zero: the last
# layers bring things together that differ. Without labels it falls as well, and rises
# again in the last layer. Chance is within 0.06 everywhere, so most of these numbers
# are far from it; they tell what the weights prefer, not what attention does on a
# picture (:ref:`sphx_glr_auto_gallery_dissection_plot_5_odd_one_out.py` does).
