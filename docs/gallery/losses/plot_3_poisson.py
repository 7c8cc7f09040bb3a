"""
Counts: the Poisson loss
========================

How many events will a sample have? Counts are small, skewed and never negative. The
Poisson loss fits the logarithm of the rate, so that effects multiply and predictions
stay positive.
"""

# %%
# Rates that multiply
# -------------------
# Each sample has twelve tokens; its rate is the exponential of a mean over them.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import mean_poisson_deviance

import headwise as hw

rng = np.random.default_rng(0)
n, s, d = 1500, 12, 6
X = rng.normal(size=(n, s, d)) + rng.normal(size=(n, 1, d))
rate = np.exp(0.2 + X.mean(1) @ np.array([0.9, -0.7, 0.5, 0, 0, 0]))
y = rng.poisson(rate)
train, test = np.arange(n) < 800, np.arange(n) >= 800

# %%
# Two losses on the same head
# ---------------------------

poisson = hw.HeadRegressorCV("linear", loss="poisson", condition=False, betas=10).fit(
    X[train], y[train]
)
squared = hw.HeadRegressorCV("linear", condition=False, betas=10).fit(
    X[train], y[train].astype(float)
)
print(poisson.certificate_)
predicted = {"poisson": poisson.predict(X[test]), "squared": squared.predict(X[test])}
negative = (predicted["squared"] < 0).mean()
print(f"{100 * negative:.0f} % of the squared loss's rates are negative")
deviance = {
    name: mean_poisson_deviance(y[test], p.clip(1e-2)) for name, p in predicted.items()
}
print(
    {name: round(value, 2) for name, value in deviance.items()},
    "mean deviance on test, smaller is better",
)

# %%
# Calibration
# -----------
# Test samples in ten groups by predicted rate: does a group have as many events as was
# said? On the right, predicted rates against those that made the data.

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for (name, p), marker in zip(predicted.items(), "os", strict=True):
    groups = np.array_split(np.argsort(p), 10)
    left.plot(
        [p[g].mean() for g in groups],
        [y[test][g].mean() for g in groups],
        marker + "-",
        label=name,
    )
    right.scatter(rate[test], p, s=8, marker=marker, alpha=0.6, label=name)
left.axline((0, 0), slope=1, color="0.6", linewidth=1, zorder=0)
left.set(
    xlabel="predicted rate (events per sample)",
    ylabel="events per sample",
    title="Ten groups of test samples",
)
left.legend()
right.axline((0, 0), slope=1, color="0.6", linewidth=1, zorder=0)
right.set(
    xlabel="true rate (events per sample)",
    ylabel="predicted rate (events per sample)",
    xlim=(0, 15),
    ylim=(-3, 15),
)
right.legend()
plt.show()
