"""
Time to an event: the Cox loss
==============================

Who is at risk sooner? Some samples are observed until the event, others leave before it
(they are censored). The Cox partial likelihood uses both, and the head ranks samples by
risk.
"""

# %%
# Survival times with censoring
# -----------------------------
# Targets are time and event, ``(n, 2)``, or a structured array as scikit-survival has
# it. The risk comes from pairs of tokens here: how often the second feature goes with
# the first.

import matplotlib.pyplot as plt
import numpy as np

import headwise as hw

rng = np.random.default_rng(0)
n, s, d = 900, 8, 3
together = rng.uniform(-1, 1, n)
X = rng.normal(size=(n, s, d))
X[:, :, 1] = (
    together[:, None] * X[:, :, 0] + np.sqrt(1 - together**2)[:, None] * X[:, :, 1]
)
X[:, :, 2] = 1
event_time = rng.exponential(np.exp(-2 * together))
leaves = rng.exponential(3.0, n)
y = np.stack([np.minimum(event_time, leaves), event_time <= leaves], 1)
train, test = np.arange(n) < 600, np.arange(n) >= 600
print(f"{100 * (1 - y[:, 1].mean()):.0f} % are censored")

# %%
# Concordance
# -----------
# ``score`` is Harrell's concordance: the share of pairs of samples whose order is
# right, 0.5 for guessing.

models = {
    block: hw.HeadRegressorCV(block, loss="cox", condition=False, betas=8).fit(
        X[train], y[train]
    )
    for block in ("linear", "attention")
}
for block, model in models.items():
    score = model.score(X[test], y[test])
    print(f"{block}: concordance {score:.2f}, rank {model.rank_}")
    print(f"  {model.certificate_}")

# %%
# Three risk groups
# -----------------
# Kaplan-Meier curves of the test samples, cut into thirds by predicted risk.


def kaplan_meier(time, event):
    order = np.argsort(time)
    at_risk = len(time) - np.arange(len(time))
    return np.r_[0, time[order]], np.r_[1, np.cumprod(1 - event[order] / at_risk)]


fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
risk = models["attention"].predict(X[test])
for name, group, style in zip(
    ("low", "middle", "high"),
    np.array_split(np.argsort(risk), 3),
    (":", "--", "-"),
    strict=True,
):
    left.step(
        *kaplan_meier(*y[test][group].T),
        style,
        where="post",
        label=f"{name} predicted risk",
    )
left.set(
    xlabel="time (years)",
    ylabel="share without the event",
    xlim=(0, 4),
    ylim=(0, 1),
    title="Test samples, attention head",
)
left.legend()
for (block, model), marker in zip(models.items(), "so", strict=True):
    right.scatter(
        2 * together[test],
        model.predict(X[test]),
        s=10,
        marker=marker,
        alpha=0.7,
        label=block,
    )
right.set(
    xlabel="true log risk",
    ylabel="predicted log risk",
    title="A risk that only pairs show",
)
right.legend()
plt.show()
