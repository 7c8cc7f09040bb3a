"""
FNO: textures, wherever they start
==================================

Stripes run one way in class 0 and another way in class 1, with a random start in every
sample. Both classes show the same values equally often, at every place: only the order
in space differs. A Fourier neural operator (FNO) filters the whole grid.
"""

# %%
# Stripes with random starts
# --------------------------

import matplotlib.pyplot as plt
import numpy as np
import torch

import headwise as hw

rng = np.random.default_rng(0)
n, side = 600, 8
place = np.mgrid[:side, :side].reshape(2, -1).T
waves = np.array([[1, 2], [2, 1]])  # periods in rows and columns


def stripes(wave, start):
    return np.cos(2 * np.pi * (wave @ place.T) / side + start[:, None])


y = np.arange(n) % 2
pictures = stripes(waves[y], rng.uniform(0, 2 * np.pi, n)) + 2 * rng.normal(
    size=(n, side * side)
)
X = pictures[:, :, None]  # one feature
train, test = np.arange(n) < 400, np.arange(n) >= 400

# %%
# Gates make the difference
# -------------------------
# The mean of a convolution is linear in the mean token, so without gates there is
# nothing to gain:

print(hw.PartSpec("fno").collapses)


def fit(block, **gates):
    model = hw.HeadClassifier(
        block, beta=1e-2, condition=False, grid=(side, side), **gates
    )
    return model.fit(X[train], y[train])


counts = [1, 2, 4, 8, 16]
fno = {count: fit("fno", gate="gaussian", num_gates=count) for count in counts}
others = {
    "linear": fit("linear"),
    "attention": fit("attention"),
    "mlp, 16 gates": fit("mlp", gate="gaussian", num_gates=16),
}
accuracy = {name: model.score(X[test], y[test]) for name, model in others.items()}
print(accuracy | {"fno, 16 gates": fno[16].score(X[test], y[test])})
print(fno[16].certificate_)

# %%
# Which waves the head reacts to
# ------------------------------
# Pure stripes of every direction, averaged over their start. The two planted waves
# stand out, one for each class.

starts = np.linspace(0, 2 * np.pi, 24, endpoint=False)
reaction = np.zeros((5, 5))
for k in range(5):
    for m in range(5):
        pure = stripes(np.tile([k, m], (len(starts), 1)), starts)[:, :, None]
        reaction[k, m] = fno[16].decision_function(torch.from_numpy(pure)).mean()

fig, axes = plt.subplots(
    1, 3, figsize=(11, 3.5), layout="constrained", width_ratios=(1, 1.2, 1.2)
)
axes[0].imshow(
    np.hstack(
        [
            pictures[0].reshape(side, side),
            np.full((side, 1), np.nan),
            pictures[1].reshape(side, side),
        ]
    ),
    cmap="gray",
)
axes[0].set(title="class 0 and class 1", xticks=[], yticks=[])
axes[1].plot(
    counts,
    [m.score(X[test], y[test]) for m in fno.values()],
    "o-",
    color="C1",
    label="fno",
)
for (name, value), style in zip(accuracy.items(), ("--", "-.", ":"), strict=True):
    axes[1].axhline(value, linestyle=style, color="C0", label=name)
axes[1].set(
    xscale="log",
    xticks=counts,
    xticklabels=counts,
    xlabel="gates of the fno",
    ylabel="test accuracy",
    ylim=(0.4, 1.02),
)
axes[1].legend()
limit = abs(reaction).max()
image = axes[2].imshow(reaction, cmap="PuOr_r", vmin=-limit, vmax=limit, origin="lower")
axes[2].set(
    xlabel="periods along columns",
    ylabel="periods along rows",
    title="Reaction to pure stripes",
)
fig.colorbar(image, label="logit of class 1 (nats)")
plt.show()
