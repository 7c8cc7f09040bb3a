"""
Scan and snap: which tokens attention keeps
===========================================

A one-layer transformer learns to tell classes of sequences. Tokens that all classes
share tell nothing, and lose attention. Tokens of one class gain it, the frequent ones
first. Then the pattern freezes: sparse, but never on one token alone.
"""

# %%
# Attention in training
# ---------------------
# Two classes, ten common tokens, ten distinct ones a class with weights from 0.1 to 1.
# Lines are the limit of infinitely long sequences, dots sequences of 128 tokens (mean
# of three draws), which sharpen attention a little.

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from headwise import theory

training = theory.THEORIES.get("scan_and_snap")
config = training.config(rate_y=2.0)
predicted, drawn = training.predict(config), training.simulate(config, range(3))

fig, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.8), layout="constrained", width_ratios=(1, 1.25)
)
some = slice(None, None, 10)
left.plot(predicted.points, predicted["common tokens"], color="C1")
left.plot(drawn.points[some], drawn["common tokens"][some], "C1o", ms=4)
left.set(title="all common tokens together", ylabel="share of attention", ylim=(0, 1))
distinct = [name for name in predicted.series if name.startswith("distinct")]
weights = ScalarMappable(Normalize(0.1, 1), "viridis")
for weight, name in zip(np.linspace(0.1, 1, 10), distinct, strict=True):
    colour = weights.to_rgba(weight)
    right.plot(predicted.points, predicted[name], color=colour)
    right.plot(drawn.points[some], drawn[name][some], "o", ms=3, color=colour)
right.set(title="each distinct token", ylabel="share of attention", ylim=(0, None))
fig.colorbar(weights, ax=right, label="weight of the token in its class")
for axis in (left, right):
    axis.set_xlabel("step")

# %%
# Learning rates decide how sparse
# --------------------------------
# Entropy of the attention on distinct tokens after 100 steps. A faster attention
# (eta_Z) makes it sparser; a faster decoder (eta_Y) makes it snap early, and so denser.

ratios = [1, 1.5, 2, 3, 4, 5]
axes = theory.scan_and_snap.entropy_of_rates([0.5, 1, 2], ratios).plot()
axes.axhline(2.151, color="0.5", linestyle=":")
axes.text(5, 2.151, "before training", ha="right", va="bottom", color="0.5")
axes.set_ylim(1.8, 2.2)

# %%
# The start is a prior
# --------------------
# Among tokens of nearly the same weight, random logits at the start decide which wins.

near = training.config(lowest=0.95, start_spread=0.2, num_steps=60, shared_query=True)
print("winners of five starts:", theory.scan_and_snap.winners(near, range(5)))
