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

import matplotlib.pyplot as plt
import numpy as np

import headwise as hw
from headwise.tokens import read_photographs

model = hw.load_backbone("embedded")
photographs = read_photographs()
batch = model.preprocess([photographs.image(i) for i in range(len(photographs))])
found = hw.dissect(model, check=batch)
print(f"largest difference: {found.difference:.0e} of the logits' spread")

for row in found.layers:
    print(
        f"layer {row['layer']}: weighted cosine {row['weighted_cosine']:5.2f},"
        f" chance up to {row['weighted_chance']:.2f}"
    )

# %%
# Trained backbones
# -----------------
# The same of a ViT-Ti that was trained on labels and of a DINOv2-S that was trained
# without and then made to find what stands out. Their weights are too large for this
# page: ``benchmarks/layer_curves.py`` writes the numbers that are drawn here.

with open("layer_curves.json") as file:
    kept = json.load(file)
print(kept["machine"])

names = {
    "ViT-Ti": "ViT-Ti, from labels",
    "DINOv2": "DINOv2-S, without labels",
    "embedded": "embedded",
}
fig, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
for (name, label), marker in zip(names.items(), "osx", strict=True):
    curve = kept["backbones"][name]
    heads = np.array(curve["weighted_cosine"])
    depth = np.linspace(0, 1, len(heads))
    (line,) = axis.plot(depth, heads.mean(1), marker=marker, label=label)
    axis.scatter(
        np.repeat(depth, heads.shape[1]), heads, s=8, alpha=0.4, color=line.get_color()
    )
    print(f"{name}: first layer {heads[0].mean():.2f}, last {heads[-1].mean():.2f}")
axis.axhline(0, color="0.5", lw=0.8)
axis.set(xlabel="depth (share of the layers)", ylabel="weighted cosine")
axis.legend()

