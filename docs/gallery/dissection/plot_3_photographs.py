"""
One photograph, mode by mode
============================

An attention map shows where a token looks. The modes of an attention head show which
features it compares: what a patch has when it asks, and what a patch has when it
answers. Here is one photograph, taken apart layer by layer.
"""

# %%
# A photograph and a backbone, both there after installation
# ----------------------------------------------------------

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

import headwise as hw
from headwise.dissect import all_modes, overlays, top_examples

model = hw.load_backbone("embedded")
photographs = [
    Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")
]
temple = photographs[0].crop((106, 0, 533, 427))
batch = model.preprocess([temple])
print(f"{model.name}: {model.depth} layers, patches in a grid of {model.grid}")

# %%
# Leading modes of each layer
# ---------------------------
# Of each layer the two attention heads whose leading mode has the largest share of
# their logits on this photograph, and two modes of each. Red: patches that ask (the
# projection on u); cyan: patches that answer (on v); white: both. L2 H1 M0 is mode 0 of
# attention head 1 of layer 2. A cosine near 1 groups patches that are alike, one near 0
# compares different features.

made = overlays(model, batch, per_layer=2, per_head=2)
layers = sorted({each.layer for each in made})
fig, axes = plt.subplots(
    len(layers), 5, figsize=(9, 1.9 * len(layers)), layout="constrained"
)
for row, layer in zip(axes, layers, strict=True):
    row[0].imshow(temple.resize((96, 96)))
    row[0].set_ylabel(f"layer {layer}")
    for axis, each in zip(
        row[1:], [each for each in made if each.layer == layer], strict=True
    ):
        axis.imshow(np.stack([each.query_map, each.key_map, each.key_map], -1))
        axis.set_title(f"L{layer} H{each.head} M{each.mode}", fontsize=9)
        axis.set_xlabel(f"share {each.share:.2f}, cosine {each.cosine:.2f}", fontsize=8)
for axis in axes.ravel():
    axis.set(xticks=[], yticks=[])

# %%
# Maps are clipped at their 30th and 95th percentile, so that no single patch outshines
# the rest. Patches of high norm are named besides, as their projections say more about
# the norm than about the picture:

print("patches of high norm:", sum(len(each.high_norm) for each in made))

# %%
# Pictures that excite a mode
# ---------------------------
# Six hundred crops of the two photographs go through the backbone once, and for every
# mode of every attention head the best of them are kept, for both of its signs. Tokens
# of a layer share a constant part, so that one of the signs may fire on none of them:
# below is the mode with the largest share among those above that have examples of both.
# Squares mark the patch that asks (red) and the one that answers (cyan), numbers are
# scores.

rng = np.random.default_rng(0)
crops = []
for _ in range(600):
    picture = photographs[rng.integers(len(photographs))]
    side = int(rng.integers(48, 160))
    x = int(rng.integers(picture.width - side))
    y = int(rng.integers(picture.height - side))
    crops.append(picture.crop((x, y, x + side, y + side)).resize((32, 32)))

modes = all_modes(model.query_keys())
batches = [model.preprocess(crops[i : i + 100]) for i in range(0, 600, 100)]
top = top_examples(model, batches, modes=modes)


def examples(each, sign):
    return top[each.layer].of(each.head, each.mode, sign=sign)


both = [each for each in made if all(len(examples(each, sign)) == 7 for sign in "+-")]
best = max(both, key=lambda each: each.share)
fig, axes = plt.subplots(2, 7, figsize=(9, 3), layout="constrained")
for row, sign in zip(axes, "+-", strict=True):
    for axis, example in zip(row, examples(best, sign), strict=True):
        axis.imshow(crops[example.sample])
        for place, colour in (
            (example.query_place, "red"),
            (example.key_place, "cyan"),
        ):
            y, x = divmod(place - model.num_prefix_tokens, model.grid[1])
            axis.plot(4 * x + 1.5, 4 * y + 1.5, "s", mfc="none", mec=colour)
        axis.set_xlabel(f"{example.score:.0f}", fontsize=8)
    row[0].set_ylabel(f"sign {sign}")
for axis in axes.ravel():
    axis.set(xticks=[], yticks=[])
fig.suptitle(f"L{best.layer} H{best.head} M{best.mode}, with scores")
plt.show()
