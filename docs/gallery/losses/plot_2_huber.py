"""
Numbers with outliers: the Huber loss
=====================================

Some measurements are plainly wrong, and nobody says which. The squared loss follows
them; the Huber loss counts an error beyond ``delta`` only by its size, so a few wild
targets cannot pull the head away.
"""

# %%
# Diabetes progression, with broken records
# -----------------------------------------
# scikit-learn's diabetes data; in a growing share of the training records the target is
# replaced by a large number.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes

import headwise as hw

X, y = load_diabetes(return_X_y=True)
spread = y.std()
rng = np.random.default_rng(0)
order = rng.permutation(len(y))
train, test = order[:300], order[300:]


def broken(share):
    targets = y[train].copy()
    targets[: int(share * len(train))] = y.max() + 6 * spread
    return targets


# %%
# Two losses
# ----------
# ``delta`` is in units of the target: errors beyond it count linearly. Half a standard
# deviation is a fair start.

losses = {
    "squared": {},
    "huber": {"loss": "huber", "loss_options": {"delta": 0.5 * spread}},
}
shares = [0, 0.02, 0.05, 0.1, 0.15, 0.2]
models = {
    (name, share): hw.HeadRegressor("linear", beta=0.5, **options).fit(
        X[train], broken(share)
    )
    for name, options in losses.items()
    for share in shares
}
for name in losses:
    model = models[name, 0.1]
    score = model.score(X[test], y[test])
    print(f"{name}, 10 % broken: test R2 {score:.2f}, {model.certificate_}")

# %%
# What it costs, and what it saves
# --------------------------------
# On clean data both are equal. Test records are never touched.

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for name, style in zip(losses, ("s--", "o-"), strict=True):
    error = [
        np.abs(models[name, share].predict(X[test]) - y[test]).mean()
        for share in shares
    ]
    left.plot(100 * np.array(shares), error, style, label=name)
    right.scatter(
        y[test], models[name, 0.1].predict(X[test]), s=12, marker=style[0], label=name
    )
left.set(
    xlabel="broken training records (%)",
    ylabel="mean absolute error on test (units of y)",
    ylim=(0, None),
)
left.legend()
right.plot([25, 345], [25, 345], color="0.6", linewidth=1, zorder=0)
right.set(
    xlabel="disease progression (units of y)",
    ylabel="prediction (units of y)",
    title="10 % broken",
)
right.legend()
plt.show()
