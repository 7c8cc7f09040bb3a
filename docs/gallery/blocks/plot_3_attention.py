"""
Attention: which tokens occur together
======================================

Each sample shows six motifs at random places. In class 1 one motif occurs twice. Every
motif is as frequent in both classes, so a head that looks at tokens one by one, or at
their mean, cannot do better than chance.
"""

# %%
# Planted pairs
# -------------

import matplotlib.pyplot as plt
import numpy as np
import torch

import headwise as hw

rng = np.random.default_rng(0)
n, s, d = 1200, 6, 8
motifs = np.linalg.qr(rng.normal(size=(d, d)))[0]
shown = np.stack([rng.permutation(d)[:s] for _ in range(n)])
y = np.arange(n) % 2
shown[y == 1, 0] = shown[y == 1, 1]
shown = rng.permuted(shown, axis=1)
X = motifs[shown] + 0.15 * rng.normal(size=(n, s, d))
train, test = np.arange(n) < 700, np.arange(n) >= 700

# %%
# Four heads
# ----------

heads = {
    "linear": hw.HeadClassifier("linear", beta=3e-3),
    "mlp, 16 gates": hw.HeadClassifier("mlp", beta=3e-3, gate="gaussian", num_gates=16),
    "fno, 16 gates": hw.HeadClassifier("fno", beta=3e-3, gate="gaussian", num_gates=16),
    "attention": hw.HeadClassifier("attention", beta=3e-3),
}
for model in heads.values():
    model.set_params(condition=hw.Conditioner(layer_norm=False)).fit(X[train], y[train])
    assert model.certificate_.relative_gap <= 1e-3
accuracy = {name: model.score(X[test], y[test]) for name, model in heads.items()}

# %%
# What attention learned
# ----------------------
# Its logit is a sum over pairs of tokens. Put motif a at one place and motif b at
# another, leave the rest empty, and take away what either does alone: what is left is
# how the pair counts. The diagonal is the rule of the task.

probe = torch.zeros(d + 1, d + 1, s, d)  # the last row and column: no motif
for a in range(d):
    probe[a, :, 0] = torch.from_numpy(motifs[a])
    probe[:, a, 1] = torch.from_numpy(motifs[a])
logit = heads["attention"].decision_function(probe.flatten(0, 1)).reshape(d + 1, d + 1)
pairs = (logit - logit[:, -1:] - logit[-1:] + logit[-1, -1])[:d, :d]

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
bars = left.barh(
    list(accuracy), list(accuracy.values()), color=["C0", "C0", "C0", "C1"]
)
left.bar_label(bars, fmt="%.2f", padding=3)
left.axvline(0.5, color="0.5", linestyle=":")
left.set(
    xlim=(0, 1.05),
    xlabel="test accuracy (dotted: chance)",
    title="Only attention sees pairs",
)
left.invert_yaxis()
limit = abs(pairs).max()
image = right.imshow(pairs, cmap="PuOr_r", vmin=-limit, vmax=limit)
right.set(
    xlabel="second motif", ylabel="first motif", title="Evidence of a pair for class 1"
)
fig.colorbar(image, label="logit (nats)")
print(f"rank {heads['attention'].rank_}: {heads['attention'].certificate_}")
plt.show()

# %%
# Attention here is a bilinear score of all pairs of tokens that weighs their values,
# without the softmax. It is the second part of the ``"default"`` head.
