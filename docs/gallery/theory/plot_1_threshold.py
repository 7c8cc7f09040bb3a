"""
What data show of the truth: a threshold
========================================

A mode of the truth that is weak beside the noise leaves no trace in the data, however
one looks. With A outputs for each input the threshold is ``A ** 0.25`` in units of the
noise: below it the strongest direction of the data is noise alone, above it the
direction turns towards the truth quickly.
"""

# %%
# Formula and draws
# -----------------
# Teachers with one mode in Gaussian noise, 400 inputs and 200 outputs, one sample an
# input. Lines are the formula, dots the mean of five draws with their standard
# deviation. Close to the threshold the formula needs larger matrices.

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from headwise import theory

transition = theory.THEORIES.get("random_matrix")
config = transition.config(num_inputs=400, num_outputs=200)
drawn = transition.simulate(config, range(5))
predicted = transition.predict(replace(config, strengths=np.linspace(0.2, 3, 281)))

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
panels = {"output overlap": left, "input overlap": left, "data singular value": right}
for i, (name, axis) in enumerate(panels.items()):
    axis.plot(predicted.points, predicted[name], color=f"C{i}", label=name)
    bars = {"yerr": drawn.spread[name], "fmt": "o", "ms": 4, "color": f"C{i}"}
    axis.errorbar(drawn.points, drawn[name], **bars)
for axis in (left, right):
    axis.axvline(predicted.marks["threshold"], color="0.5", linestyle=":")
    axis.set_xlabel("teacher singular value (noise = 1)")
right.axline((1, 1), slope=1, color="0.5", linewidth=1, label="without noise")
right.set(ylabel="data singular value (noise = 1)", xlim=(0, 3.1), ylim=(0, 3.6))
left.set_ylabel("squared cosine of data and teacher")
for axis in (left, right):
    axis.legend()

# %%
# More outputs make it harder
# ---------------------------
# Every output adds noise, and the mode has to stand out of all of it.

strengths = np.linspace(0.2, 3, 281)
fig, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for aspect in (0.01, 0.1, 0.5, 1):
    overlap = theory.random_matrix.input_overlap(strengths, aspect)
    axis.plot(strengths, overlap, label=f"{aspect:g} outputs for each input")
axis.set(
    xlabel="teacher singular value (noise = 1)",
    ylabel="squared cosine, input side",
)
axis.legend()

# %%
# The way back
# ------------
# From the singular values of data alone: how strong were the modes behind them?

_, data = theory.random_matrix.draw([4, 2, 0.5], 400, 200, seed=0)
values = np.linalg.svd(data, compute_uv=False)
print("data   ", values[:4].round(2))
print("teacher", theory.random_matrix.teacher_value(values[:4], aspect=0.5).round(2))
