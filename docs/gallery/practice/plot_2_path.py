"""
The beta path: how strong a penalty?
====================================

Beta is the one number that has to be chosen. ``HeadClassifierCV`` starts where the head
is empty, walks down, starts each solution from the one before, and keeps the beta that
is best on held-out samples.
"""

# %%
# Pairs among noise
# -----------------
# Two directions of a token go together in class 1; the other features are noise. There
# are few samples, so a weak penalty overfits.

import matplotlib.pyplot as plt
import numpy as np

import headwise as hw

rng = np.random.default_rng(0)
n, s, d = 1200, 8, 10
X, y = rng.normal(size=(n, s, d)), np.arange(n) % 2
X[:, :, 1] = 0.8 * X[:, :, 1] + 0.6 * np.where(y == 1, 1, -1)[:, None] * X[:, :, 0]
few, test = slice(0, 200), slice(600, n)

# %%
# One call
# --------
# The table of the path is shown by itself in a notebook; ``to_dict()`` gives it as
# data.

options = {"condition": hw.Conditioner(layer_norm=False), "betas": 8, "ratio": 1e-2}
model = hw.HeadClassifierCV("attention", **options).fit(X[few], y[few])
model.path_

# %%
# Held-out loss falls while the head learns the pair and rises when it learns the noise;
# the rank counts its atoms. The path ends by itself once two betas in a row have not
# been better.

axes = model.path_.plot()
score = model.score(X[test], y[test])
axes.set_title(f"beta {model.beta_:.3g}, rank {model.rank_}, test accuracy {score:.2f}")

# %%
# One split, or folds; the best, or the simplest that is as good
# --------------------------------------------------------------
# By default a fifth of the samples is held out. ``cv=5`` takes folds (stratified, and
# never through one of the ``groups`` given to ``fit``); ``rule="one_standard_error"``
# takes the largest beta whose loss is within one standard error of the best.

rules = {
    "one split": {},
    "5 folds": {"cv": 5},
    "5 folds, one standard error": {"cv": 5, "rule": "one_standard_error"},
}
found = {
    name: hw.HeadClassifierCV("attention", **options, **rule).fit(X[few], y[few])
    for name, rule in rules.items()
}
fig, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.6), layout="constrained", sharey=True
)
left.barh(list(found), [m.beta_ for m in found.values()], color="C1")
left.set(xlabel="chosen beta")
left.invert_yaxis()
bars = right.barh(
    list(found), [m.score(X[test], y[test]) for m in found.values()], color="C0"
)
right.bar_label(bars, fmt="%.2f", padding=3)
right.set(xlim=(0.5, 1.05), xlabel="test accuracy (0.5 is chance)")
for name, m in found.items():
    print(
        f"{name}: beta {m.beta_:.3g}, certified on {m.certificate_.num_samples} samples"
    )
plt.show()

# %%
# After the choice the head is fitted once more on all samples that it was given;
# ``refit=False`` keeps the one of the training part. The certificate is always that of
# the last fit.
