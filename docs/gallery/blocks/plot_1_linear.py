"""
Linear: how many directions do the classes need?
================================================

Eight classes lie on a circle in a plane, and the plane lies somewhere in 30 features. A
linear head with the **nuclear norm** finds that two directions are enough; **ridge**,
the penalty of ordinary logistic regression, spreads its weights over seven.
"""

# %%
# A planted plane
# ---------------
# ``(n, d)`` arrays are one token a sample. The centres of the classes span two
# directions, the noise all 30.

import matplotlib.pyplot as plt
import numpy as np
import torch

import headwise as hw

rng = np.random.default_rng(0)
plane = np.linalg.qr(rng.normal(size=(30, 2)))[0].T
angles = 2 * np.pi * np.arange(8) / 8
centres = 4 * np.stack([np.cos(angles), np.sin(angles)], 1) @ plane
y = np.repeat(np.arange(8), 100)
X = centres[y] + rng.normal(size=(800, 30))
train, test = np.arange(800) % 2 == 0, np.arange(800) % 2 == 1

# %%
# Two penalties along a beta path
# -------------------------------
# ``condition=False`` keeps the coordinates as they are, so that directions below are
# directions of the data. A path goes from a strong penalty to a weak one; of each we
# take the largest beta within 0.02 of the best held-out accuracy. Every fit ends with a
# certificate: the objective is at most that share above the best that any linear head
# can have.

penalties = {"nuclear": "linear", "ridge": [hw.PartSpec("linear", penalty="ridge")]}
paths, models = {}, {}
for name, block in penalties.items():
    paths[name] = (
        hw.HeadClassifierCV(block, condition=False, refit=False)
        .fit(X[train], y[train])
        .path_
    )
    enough = max(point.score for point in paths[name]) - 0.02
    beta = next(point.beta for point in paths[name] if point.score >= enough)
    models[name] = hw.HeadClassifier(block, beta=beta, condition=False).fit(
        X[train], y[train]
    )
    score = models[name].score(X[test], y[test])
    print(f"{name}: test accuracy {score:.2f}, {models[name].certificate_}")

# %%
# What was found
# --------------
# A linear head is its outputs on the unit vectors, less those on zero. The nuclear norm
# leaves two singular values and a plane that is the planted one.


def weights(model):
    head = model.to_module(torch.float64)
    with torch.no_grad():
        return (
            head(torch.eye(30, dtype=torch.float64))
            - head(torch.zeros(1, 30, dtype=torch.float64))
        ).numpy()


fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for (name, model), marker in zip(models.items(), "os", strict=True):
    sizes = np.linalg.svd(weights(model), compute_uv=False)
    left.plot(np.arange(1, 9), sizes / sizes[0], marker + "-", label=name)
left.set(
    xlabel="direction",
    ylabel="singular value (share of the largest)",
    title="Directions that the head uses",
)
left.legend()

directions = np.linalg.svd(weights(models["nuclear"]))[0][:, :2]
at = X[test] @ directions
right.scatter(*at.T, color=[f"C{k % 4}" for k in y[test]], s=14)
right.set(
    xlabel="direction 1 (feature units)",
    ylabel="direction 2 (feature units)",
    title="Test samples in the plane found",
)
right.set_aspect("equal")

overlap = np.linalg.svd(plane @ directions, compute_uv=False)
print(f"rank {models['nuclear'].rank_}")
print(f"cosines between the plane found and the planted one: {overlap.round(2)}")
plt.show()

# %%
# The rank is a result: one two-dimensional picture holds all that the classes differ
# in. ``HeadClassifierCV`` chooses by held-out log-loss, which also asks for well-sized
# probabilities and so prefers weaker penalties here.
#
# Use ``"linear_prefix"`` for the class token of a backbone, and ``"default"`` for the
# sum of it and attention on the patch tokens.
