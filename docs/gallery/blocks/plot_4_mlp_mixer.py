"""
MLP-Mixer: which place holds what
=================================

A feature is positive on some places of a 6 x 6 grid and negative on the others; class 1
has the opposite sign. The mean token is the same in both classes. A mixer has a weight
for every place, and finds the pattern.
"""

# %%
# A planted map
# -------------

import matplotlib.pyplot as plt
import numpy as np
import torch

import headwise as hw

rng = np.random.default_rng(0)
n, side, d = 400, 6, 5
rows, columns = np.mgrid[:side, :side]
pattern = np.where((rows - 2.5) ** 2 + (columns - 2.5) ** 2 < 7, 1.0, -1.0)
pattern -= pattern.mean()
y = np.arange(n) % 2
X = rng.normal(size=(n, side * side, d))
X[:, :, 0] += np.where(y == 1, 0.35, -0.35)[:, None] * pattern.ravel()
train, test = np.arange(n) < 250, np.arange(n) >= 250

# %%
# It collapses, and that is what we want here
# -------------------------------------------
# With a mean over tokens and no gates, only one weight for each place is left of the
# mixing matrix. It is still more than the linear head, which sees the mean token alone.

print(hw.PartSpec("mlp_mixer").collapses)
heads = {}
for block in ("linear", "attention", "mlp_mixer"):
    heads[block] = hw.HeadClassifierCV(
        block, condition=False, betas=8, rule="one_standard_error"
    ).fit(X[train], y[train])
    score = heads[block].score(X[test], y[test])
    print(f"{block}: test accuracy {score:.2f}, rank {heads[block].rank_}")
print(heads["mlp_mixer"].certificate_)

# %%
# The map that it found
# ---------------------
# The logit of a sample that is empty but for feature 0 at one place, less that of an
# empty one.

probe = torch.zeros(side * side + 1, side * side, d)
probe[: side * side, :, 0] = torch.eye(side * side)
logit = heads["mlp_mixer"].decision_function(probe)
found = (logit[:-1] - logit[-1]).reshape(side, side)

fig, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
shown = {
    "planted": 0.7 * pattern,
    "one sample of class 1": X[1, :, 0].reshape(side, side),
    "found by the mixer": found,
}
for axis, (title, values) in zip(axes, shown.items(), strict=True):
    limit = abs(values).max()
    image = axis.imshow(values, cmap="PuOr_r", vmin=-limit, vmax=limit)
    axis.set(title=title, xlabel="column of the grid")
    fig.colorbar(
        image, shrink=0.75, label="logit (nats)" if axis is axes[-1] else "feature 0"
    )
axes[0].set_ylabel("row of the grid")
correlation = np.corrcoef(found.ravel(), pattern.ravel())[0, 1]
print(f"correlation of found and planted: {correlation:.2f}")
plt.show()

# %%
# One atom is enough: one map of places, one direction of features. Where the pattern
# may stand anywhere, places are the wrong thing to learn; see
# :ref:`sphx_glr_auto_gallery_blocks_plot_5_fno.py`.
