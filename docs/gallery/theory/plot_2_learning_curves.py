"""
Learning curves of deep linear networks
=======================================

A deep linear network learns the modes of its data one after the other, and each has its
own closed form. Together with what noise does to the modes that gives the training
error and the error on the truth at every time, without training anything.
"""

# %%
# Theory on top of simulation
# ---------------------------
# 100 inputs, 50 outputs, one mode of strength 3 (in units of the noise), two layers.
# Lines are predicted. Dots are the mean of ten students that start along the modes of
# the data, as the theory has it.

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from headwise import theory

curves = theory.THEORIES.get("deep_linear")
config = curves.config(strengths=(3.0,), end=8.0, num_times=81)
axes = curves.plot(config, seeds=range(10))
axes.set_title("Students that start along the modes of the data")

# %%
# Students that start from small random weights, trained by gradient flow, come a little
# later: first they have to turn towards the modes. The least error is the same.

random = curves.simulate(replace(config, student="random"), range(2))
predicted = curves.predict(config)
axes = random.plot(predicted.plot(), over=predicted)
axes.set_title("Students that start from random weights")
late = random.marks["best stopping time"] - predicted.marks["best stopping time"]
least = random["test error"].min()
print(f"random start: {late:.1f} tau later, least error {least:.3f}")
print(f"predicted least error {predicted['test error'].min():.3f}")

# %%
# Mode by mode
# ------------
# Strong modes are learned first, and noise last; hence the best time to stop.

three = curves.config(strengths=(5.0, 3.0, 1.5))
axes = theory.deep_linear.modes(three).plot()
axes.legend(loc="center right", bbox_to_anchor=(1, 0.79))
axes.axvline(curves.predict(three).marks["best stopping time"], color="0.5", ls=":")

# %%
# Random labels are slower
# ------------------------
# Labels without structure have the same variance but no strong mode, so their training
# error falls late: the strongest mode takes about twice as long. Both are learned by
# heart in the end.

teacher = curves.config(strengths=(5.0, 4.0, 3.0), end=6.0)
labels = {
    "labels of a teacher": teacher,
    "random labels": replace(teacher, labels="random"),
}
fig, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for i, (name, one) in enumerate(labels.items()):
    training, drawn = curves.predict(one), curves.simulate(one, range(3))
    axis.plot(training.points, training["training error"], color=f"C{i}", label=name)
    some = slice(None, None, 8)
    axis.plot(drawn.points[some], drawn["training error"][some], f"C{i}o", ms=4)
axis.set(xlabel="time (tau)", ylabel="relative squared training error", ylim=(0, None))
axis.legend()
strongest = teacher.seen.data[0], labels["random labels"].seen.bulk[0]
print("strongest mode:", np.round(strongest, 2))
