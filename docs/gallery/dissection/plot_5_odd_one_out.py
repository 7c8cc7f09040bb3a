"""
The odd one out: grouping or contrast?
======================================

Among equal objects one is different. Does a patch of the odd object attend to itself,
to the others, or to the background? And a patch of the others? The answer is a
behaviour; the weighted cosine of the modes is read off the weights. Here are both, for
the embedded backbone, layer by layer.
"""

# %%
# Images with exact masks
# -----------------------
# A grid of equal objects on a texture; one differs in colour, shape, size or
# orientation. The masks are those of the drawing.

import matplotlib.pyplot as plt

import headwise as hw
from headwise.dissect import odd_images, odd_one_out

images = odd_images(48, size=96, rows=3, seed=0)
fig, axes = plt.subplots(2, 4, figsize=(9, 4.6), layout="constrained")
for (above, below), one in zip(axes.T, images, strict=False):
    above.imshow(one.image)
    above.set_title(one.differs)
    below.imshow(one.target * 1.0 + one.distractors * 0.4, cmap="gray", vmin=0, vmax=1)
for axis in axes.flat:
    axis.set_axis_off()

# %%
# The test
# --------
# For each image one query lies on the odd object, another on one of the others. Shares
# of attention are divided by the shares of the patches that each region covers:
# otherwise the background wins for its size. The query's own patch, which is always the
# same as itself, is left out.

model = hw.load_backbone("embedded")
found = odd_one_out(model, images)
preferred = found.preference("others")
print("layer   same  different  background   weighted cosine")
for layer, (same, different, background) in enumerate(preferred.tolist()):
    cosine = found.layer_cosine[layer]
    print(f"{layer:5} {same:6.2f} {different:10.2f} {background:11.2f} {cosine:17.2f}")
print(found.correlation("others"))

# %%
# The curves
# ----------

fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
for i, (side, style) in enumerate(
    (("same", "o-"), ("different", "s--"), ("background", "^:"))
):
    left.plot(preferred[:, i], style, label=side)
left.axhline(1 / 3, color="0.5", linewidth=0.8)
left.set(xlabel="layer", ylabel="preference (sum 1)", ylim=(0, None))
left.legend()
right.plot(found.layer_cosine, "o-", label="weighted cosine")
right.plot(preferred[:, 0] - preferred[:, 1], "s--", label="same minus different")
right.axhline(0, color="0.5", linewidth=0.8)
right.set(xlabel="layer")
right.legend()

# %%
# Layers 0 to 4 prefer what is the same, most of all layers 1 to 3; the last one prefers
# what is different, by a little. The weighted cosine falls from the first to the last
# layer as well, but the two do not go together layer by layer: over these six layers
# their correlation is near zero. What a layer does with its modes depends on the tokens
# that reach it, which the weights alone do not show.
