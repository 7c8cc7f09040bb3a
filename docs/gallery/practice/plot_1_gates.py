"""
Gates: which tokens see which
=============================

A gate is a fixed mask between tokens, or on tokens: it depends on the data, never on
what is fitted. So the problem stays convex, and the head gains what an activation gives
a network. Four families, and the tasks that each is made for.
"""

# %%
# What a mask looks like
# ----------------------
# One sample: 16 tokens on a 4 x 4 grid, of four kinds. Written out in numpy, these are
# the masks; headwise never builds them in a fit.

import matplotlib.pyplot as plt
import numpy as np

import headwise as hw

rng = np.random.default_rng(3)
corners = np.array([[2, 2], [2, -2], [-2, 2], [-2, -2]])


def tokens_of_kinds(n):
    """Features: where the token's kind lies (2), and what it says (1)."""
    kind = rng.permuted(np.tile(np.arange(4).repeat(4), (n, 1)), axis=1)
    return kind, np.concatenate(
        [
            corners[kind] + 0.3 * rng.normal(size=(n, 16, 2)),
            rng.normal(size=(n, 16, 1)),
        ],
        axis=2,
    )


kind, sample = (part[0] for part in tokens_of_kinds(1))
sample = sample[np.argsort(kind)]  # by kind, so that groups can be seen
row, column = np.divmod(np.arange(16), 4)
a, b, H = rng.normal(size=3), rng.normal(size=3), rng.normal(size=(3, 3))
masks = {
    "gaussian: sign of X H Xᵀ": sample @ H @ sample.T >= 0,
    "rank_one: same side of planes": (sample @ a >= 0)[:, None] == (sample @ b >= 0),
    "cluster: same kind of token": np.sort(kind)[:, None] == np.sort(kind),
    "window: near on the grid": (abs(row[:, None] - row) <= 1)
    & (abs(column[:, None] - column) <= 1),
}
fig, axes = plt.subplots(1, 4, figsize=(11, 3.1), layout="constrained", sharey=True)
for axis, (title, mask) in zip(axes, masks.items(), strict=True):
    axis.imshow(mask, cmap="cividis", vmin=0, vmax=1)
    axis.set(title=title, xlabel="key token")
    axis.title.set_fontsize(10)
axes[0].set_ylabel("query token (light: sees the key)")

# %%
# Three tasks
# -----------
# In all three the mean token says nothing.
#
# - *tails*: what tokens say has the same mean and variance, but is even in one class
#   and mostly quiet in the other;
# - *kinds agree*: tokens of one kind all say the same (a random sign for each kind), or
#   each speaks for itself;
# - *neighbours*: two marked tokens lie side by side, or apart.


def tails(n):
    y, (_, X) = np.arange(n) % 2, tokens_of_kinds(n)
    loud = rng.random((n, 16)) < 0.3
    X[:, :, 2] = rng.choice([-1, 1], (n, 16)) * np.where(
        y[:, None] == 1, loud / 0.3**0.5, 1
    )
    return X, y


def kinds_agree(n):
    y, (kind, X) = np.arange(n) % 2, tokens_of_kinds(n)
    shared = np.take_along_axis(rng.choice([-1, 1], (n, 4)), kind, axis=1)
    X[:, :, 2] = np.where(
        y[:, None] == 1, shared, rng.choice([-1, 1], (n, 16))
    ) + 0.3 * rng.normal(size=(n, 16))
    return X, y


def neighbours(n):
    y, X = np.arange(n) % 2, 0.3 * rng.normal(size=(n, 16, 3))
    first, second = rng.integers(16, size=(2, 40 * n))
    apart = np.maximum(abs(first // 4 - second // 4), abs(first % 4 - second % 4))
    for label, fits in ((1, apart == 1), (0, apart > 1)):
        here = np.flatnonzero(y == label)
        X[here, first[fits][: len(here)], 0] += 2
        X[here, second[fits][: len(here)], 1] += 2
    return X, y


# %%
# Attention under each family
# ---------------------------

gates = {
    "none": {},
    "gaussian": {"gate": "gaussian", "num_gates": 8},
    "rank_one": {"gate": "rank_one", "num_gates": 8},
    "cluster": {"gate": "cluster", "num_gates": 4},
    "window": {"gate": "window", "num_gates": 1},
}
tasks = {"tails": tails, "kinds agree": kinds_agree, "neighbours": neighbours}
accuracy = np.zeros((len(tasks), len(gates)))
for i, make in enumerate(tasks.values()):
    X, y = make(900)
    for j, options in enumerate(gates.values()):
        model = hw.HeadClassifier(
            "attention",
            beta=1e-2,
            condition=hw.Conditioner(layer_norm=False),
            grid=(4, 4),
            **options,
        ).fit(X[:600], y[:600])
        accuracy[i, j] = model.score(X[600:], y[600:])

fig, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
image = axis.imshow(accuracy, cmap="cividis", vmin=0.5, vmax=1, aspect="auto")
for (i, j), value in np.ndenumerate(accuracy):
    axis.text(
        j,
        i,
        f"{value:.2f}",
        ha="center",
        va="center",
        color="white" if value < 0.75 else "black",
    )
axis.set(
    xticks=range(len(gates)),
    xticklabels=gates,
    yticks=range(len(tasks)),
    yticklabels=tasks,
    xlabel="gates of attention",
)
fig.colorbar(image, label="test accuracy")
plt.show()

# %%
# Take the gate that says what you know: ``window`` for places, ``cluster`` for kinds.
# ``rank_one`` and ``gaussian`` know nothing and stand for an activation; rank-one gates
# cost no more than attention without gates. More gates never have a worse optimum on
# the training samples, and may have a worse score on others: choose on held-out
# samples.
