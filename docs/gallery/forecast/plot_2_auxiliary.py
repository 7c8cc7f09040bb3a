"""
Would a second label set help?
==============================

Two label sets on the same features, learned together by a probe of two layers. The
forecast says from both whether that is better for the first one than learning it alone,
and by how much. Strong labels of a related question help; unrelated ones cost.
"""

# %%
# A hurried rater
# ---------------
# Samples of 40 features, and numbers that a hurried rater gave them: one direction of
# the features and a lot of noise. There are four other label sets. A careful rater was
# asked the same, a related question (cosine 0.7) or an unrelated one; the last set is
# random.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import headwise as hw

work = Path(tempfile.mkdtemp())
d, n, hurried, careful = 40, 300, 1.6, 0.3
cosines = {"same question": 1.0, "related": 0.7, "unrelated": 0.0}


def draw(seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n + 100, d))
    first, other = np.linalg.qr(rng.normal(size=(d, 2)))[0].T
    truth = features @ first
    labels = truth + hurried * rng.normal(size=len(features))
    others = {
        name: features @ (q * first + (1 - q**2) ** 0.5 * other)
        + careful * rng.normal(size=len(features))
        for name, q in cosines.items()
    }
    others["random"] = rng.normal(size=len(features))
    return features, truth, labels, others


# %%
# The forecast
# ------------
# ``value`` is the least error alone minus the least error together, as a share of what
# there is to learn.

split = np.repeat(["train", "val"], [n, 100])


def forecast(seed):
    features, _, labels, others = draw(seed)
    store = hw.TokenStore.from_arrays(work / f"{seed}", features, labels, split=split)
    return hw.forecast(store, auxiliary=others, depths=(2,), train=False)


seeds = range(6)
benefits = [forecast(seed).benefits for seed in seeds]
for benefit in benefits[0]:
    print(f"{benefit.name} (cosine {benefit.alignment:.2f}): {benefit.status}")

# %%
# The experiment
# --------------
# The same by gradient descent: two layers from small random weights, on whitened
# features, each label set in units of its noise, stopped when the error against the
# truth is least. With features that are whitened on the training samples the gradient
# depends on them through their covariance with the labels alone.


def least_error(covariance, truth, seed):
    rng = np.random.default_rng(seed)
    inner = 0.03 * rng.normal(size=(4, d)) / d**0.5
    outer = 0.03 * rng.normal(size=(len(covariance), 4)) / 2
    least = 1.0
    for _ in range(3000):
        gap = covariance - outer @ inner
        outer, inner = outer + 0.01 * gap @ inner.T, inner + 0.01 * outer.T @ gap
        least = min(least, ((outer[0] @ inner - truth) ** 2).sum() / (truth @ truth))
    return least


def measure(seed):
    features, truth, labels, others = draw(seed)
    centred = features[:n] - features[:n].mean(0)
    white = np.linalg.qr(centred)[0] * n**0.5
    truth, labels = (y[:n] @ white / n / hurried for y in (truth, labels))
    alone = least_error(labels[None], truth, seed)
    found = []
    for name, values in others.items():
        noise = careful if name in cosines else 1.0
        both = np.stack([labels, values[:n] @ white / n / noise])
        found.append(alone - least_error(both, truth, seed))
    return found


said = np.array([[one.value for one in draws] for draws in benefits])
seen = np.array([measure(seed) for seed in seeds])

# %%
# Bars are means over six draws, with their standard deviation.

names = [one.name for one in benefits[0]]
places = np.arange(len(names))
fig, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
for shift, values, label in ((-0.2, said, "forecast"), (0.2, seen, "measured")):
    axis.bar(places + shift, values.mean(0), 0.4, yerr=values.std(0), label=label)
axis.axhline(0, color="0.5", linewidth=1)
axis.set(xlabel="second label set", ylabel="benefit (share of the signal)")
axis.set_xticks(places, names)
axis.legend()

# %%
# On real tokens
# --------------
# Digits on the embedded backbone. Somebody says which are even, and is wrong in one
# case of seven; on the same digits there may be their names, or coins that were tossed.

rng = np.random.default_rng(0)
digits = hw.open_data("digits").select(rng.permutation(1797)[:900])
store = hw.extract(hw.load_backbone("embedded"), digits, work / "digits")
wrong = rng.random(900) < 0.15
even = (store.labels % 2 == 0) ^ wrong
found = hw.forecast(
    store,
    even.astype(int),
    auxiliary={"the digits": store.labels, "coins": rng.integers(2, size=900)},
    train=False,
)
print(found)
