"""
Block FNO: sensors that answer their own question
=================================================

Four sensors, four yes/no questions: does the signal of sensor b oscillate fast? A block
FNO keeps the sensors apart; an FNO that may use every sensor for every question has
four times as many weights to go wrong with.
"""

# %%
# Four signals, four labels
# -------------------------
# Slow and fast waves start anywhere. The number of groups is an option of the block;
# labels are zeros and ones, one column each, with ``loss="binary"``.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score

import headwise as hw

rng = np.random.default_rng(0)
n, s, sensors = 1000, 12, 4
y = rng.integers(0, 2, size=(n, sensors))
time = np.arange(s)
start = rng.uniform(0, 2 * np.pi, (n, 1, sensors))
X = np.cos(
    2 * np.pi * time[:, None] * np.where(y, 5, 1)[:, None] / s + start
) + 1.2 * rng.normal(size=(n, s, sensors))
test = slice(600, n)

# %%
# Few samples
# -----------
# Without gates a block FNO is no more than a linear head in each group, so both get
# Gaussian gates. ``condition=False`` keeps channels where they are: a projection on
# principal components would mix the groups.

print(hw.PartSpec("bfno").collapses)


def part(block, **options):
    return [hw.PartSpec(block, gate="gaussian", num_gates=8, options=options)]


heads = {"fno": part("fno"), "bfno, 4 groups": part("bfno", groups=4)}
sizes = [40, 80, 160, 320]
scores = {name: [] for name in heads}
for size in sizes:
    for name, parts in heads.items():
        model = hw.HeadClassifier(parts, beta=0.03, loss="binary", condition=False).fit(
            X[:size], y[:size]
        )
        scores[name].append(roc_auc_score(y[test], model.predict_proba(X[test])))
        print(
            f"{size} samples, {name}: AUROC {scores[name][-1]:.2f}, rank {model.rank_}"
        )
print(model.certificate_)

# %%
# Each question asks its own sensor
# ---------------------------------
# Replace one sensor by noise of the same size and see which answers suffer.

lost = np.zeros((sensors, sensors))
base = roc_auc_score(y[test], model.predict_proba(X[test]), average=None)
for sensor in range(sensors):
    broken = X[test].copy()
    broken[:, :, sensor] = rng.permutation(broken[:, :, sensor])
    lost[sensor] = base - roc_auc_score(
        y[test], model.predict_proba(broken), average=None
    )

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.7), layout="constrained")
for (name, values), style in zip(scores.items(), ("s--", "o-"), strict=True):
    left.plot(sizes, values, style, label=name)
left.set(
    xscale="log",
    xticks=sizes,
    xticklabels=sizes,
    xlabel="training samples",
    ylabel="area under the ROC curve (test)",
)
left.minorticks_off()
left.legend()
image = right.imshow(lost, cmap="viridis", vmin=0)
right.set(
    xticks=range(4),
    yticks=range(4),
    xlabel="question",
    ylabel="sensor that was shuffled",
    title="Area that is lost",
)
fig.colorbar(image, label="area under the ROC curve")
plt.show()
