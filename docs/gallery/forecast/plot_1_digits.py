"""
How a probe will learn, before it is trained
============================================

The learning curve of a linear probe on frozen tokens can be written down from the
training samples alone: when to stop, how good it will be then, and what twice the
samples would bring. Here are digits on the embedded backbone, and the probe itself as
trained.
"""

# %%
# Tokens, once
# ------------

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import headwise as hw

work = Path(tempfile.mkdtemp())
order = np.random.default_rng(0).permutation(1797)[:1000]  # writers stand together
digits = hw.open_data("digits").select(order)
store = hw.extract(hw.load_backbone("embedded"), digits, work / "tokens")
tokens, labels = store.read().values.numpy(), store.labels

# %%
# One call
# --------
# The first 300 digits train, the last 400 are looked at to measure. Errors are shares
# of the labels' variance: 1 is the error of always giving the class frequencies.


def forecast(n, first=0):
    kept = np.r_[:n, 600:1000]
    split = np.repeat(["train", "val"], [n, 400])
    some = hw.TokenStore.from_arrays(
        work / f"{n}-digits-from-token-{first}",
        tokens[kept, first:],
        labels[kept],
        split=split,
        num_prefix=1 - first,
    )
    return hw.forecast(some)


found = forecast(300)
print(found)

# %%
# Lines are the forecast, dots the probe. With one layer all modes of the labels are
# learned at one rate; with two, strong ones come first, and the noise comes late. The
# scale of time is that of the learning rate: steps times learning rate.

fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharey=True)
for axis, curve in zip(axes, found.curves, strict=True):
    curve.curves.plot(axis)
    curve.measured_curves.plot(axis, over=curve.curves)

# %%
# More samples
# ------------
# The same with fewer and with more digits. A forecast for twice the samples stands at
# those, to be held against what is measured there: 150 and 300 digits keep half as
# many directions as samples, more digits keep more, and end above that forecast.

sizes = (150, 300, 600)
probes = {n: forecast(n).curve(2) for n in sizes}
print("samples   stop: forecast  measured   error: forecast  measured   R2")
for n, probe in probes.items():
    seen = probe.measured
    print(
        f"{n:7} {probe.best.time:16.1f} {seen.best.time:9.1f}"
        f" {probe.best.error:17.3f} {seen.best.error:9.3f} {seen.r2:7.3f}"
    )

fig, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
axis.plot(sizes, [p.best.error for p in probes.values()], "o-", label="forecast")
axis.plot(
    [2 * n for n in sizes],
    [p.doubled.error for p in probes.values()],
    "s--",
    label="forecast from half the samples",
)
seen = [probe.measured.best.error for probe in probes.values()]
axis.plot(sizes, seen, "x", label="measured")
axis.set(xscale="log", xlabel="training samples", ylabel="least held-out error")
axis.set_xticks([150, 300, 600, 1200], ["150", "300", "600", "1200"])
axis.set_xticks([], minor=True)
axis.legend()

# %%
# Which tokens for these labels?
# ------------------------------
# Another score of the same forecast: the share of the labels' variance that the best
# probe will explain on unseen samples. It is made from training samples alone, beside
# scores of the literature. Patch tokens without the class token:

print(found.scores.to_dict())
print(forecast(300, first=1).scores.to_dict())
