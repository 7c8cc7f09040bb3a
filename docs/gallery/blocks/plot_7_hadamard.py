"""
Hadamard: a token times its neighbours
======================================

Noise pictures with the same mean and the same size of values in both classes: in class
0 neighbours in a row look alike, in class 1 neighbours in a column. A Hadamard head
multiplies each token with a filter of those around it.
"""

# %%
# Two grains
# ----------

import matplotlib.pyplot as plt
import numpy as np
import torch

import headwise as hw

rng = np.random.default_rng(0)
n, side = 600, 8
noise = rng.normal(size=(n, side + 1, side + 1))
along_rows = (noise[:, 1:, 1:] + 0.6 * noise[:, 1:, :-1]) / 1.36**0.5
along_columns = (noise[:, 1:, 1:] + 0.6 * noise[:, :-1, 1:]) / 1.36**0.5
y = np.arange(n) % 2
pictures = np.where(y[:, None, None] == 0, along_rows, along_columns)
X = pictures.reshape(n, side * side, 1)
train, test = np.arange(n) < 400, np.arange(n) >= 400

# %%
# A learned filter of 3 x 3
# -------------------------
# Without an option the block multiplies features of the same token. With
# ``filter_size=3`` it multiplies a feature with the same feature at the nine places
# around, which is what these pictures need.

print(hw.PartSpec("hadamard").collapses)
heads = {
    "linear": "linear",
    "attention": "attention",
    "hadamard, features": "hadamard",
    "hadamard, 3 x 3": [hw.PartSpec("hadamard", options={"filter_size": 3})],
}
models = {}
for name, block in heads.items():
    models[name] = hw.HeadClassifier(
        block, beta=1e-2, condition=False, grid=(side, side)
    ).fit(X[train], y[train])
    print(f"{name}: test accuracy {models[name].score(X[test], y[test]):.2f}")
print(models["hadamard, 3 x 3"].certificate_)

# %%
# The filter
# ----------
# Light up two places, the middle and one beside it, and take away what either does
# alone.

middle = side // 2 * side + side // 2
around = [middle + row * side + column for row in (-1, 0, 1) for column in (-1, 0, 1)]


def lit(*places):
    picture = torch.zeros(1, side * side, 1)
    picture[0, list(places)] = 1
    return float(models["hadamard, 3 x 3"].decision_function(picture)[0])


found = np.array(
    [
        lit(middle, p) - lit(middle) - lit(p) + lit() if p != middle else 0
        for p in around
    ]
).reshape(3, 3)

fig, axes = plt.subplots(
    1, 3, figsize=(11, 3.4), layout="constrained", width_ratios=(1.3, 1.3, 1)
)
axes[0].imshow(
    np.hstack([pictures[0], np.full((side, 1), np.nan), pictures[1]]), cmap="gray"
)
axes[0].set(title="class 0 and class 1", xticks=[], yticks=[])
accuracy = {name: model.score(X[test], y[test]) for name, model in models.items()}
bars = axes[1].barh(
    list(accuracy), list(accuracy.values()), color=["C0", "C0", "C0", "C1"]
)
axes[1].bar_label(bars, fmt="%.2f", padding=3)
axes[1].axvline(0.5, color="0.5", linestyle=":")
axes[1].set(xlim=(0, 1.15), xlabel="test accuracy (dotted: chance)")
axes[1].invert_yaxis()
limit = abs(found).max()
image = axes[2].imshow(
    found, cmap="PuOr_r", vmin=-limit, vmax=limit, extent=(-1.5, 1.5, 1.5, -1.5)
)
axes[2].set(
    xticks=[-1, 0, 1],
    yticks=[-1, 0, 1],
    xlabel="columns away",
    ylabel="rows away",
    title="Pairs that speak for class 1",
)
fig.colorbar(image, label="logit (nats)")
plt.show()
