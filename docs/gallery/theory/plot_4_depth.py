"""
Depth makes an order
====================

One layer learns all modes at the same rate. With two or more the strong ones come
first: growth is faster the further a mode has grown. That order is what makes early
stopping a filter against noise.
"""

# %%
# One layer, two, three
# ---------------------
# Three modes of a teacher and the strongest mode of the noise, each as a share of its
# final strength.

import matplotlib.pyplot as plt
import numpy as np

from headwise import theory

curves = theory.THEORIES.get("deep_linear")
fig, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained", sharey=True)
for axis, depth, end in zip(axes, (1, 2, 3), (6, 4, 12), strict=True):
    config = curves.config(strengths=(6.0, 4.0, 2.5), depth=depth, end=end)
    modes = theory.deep_linear.modes(config)
    final = np.append(config.seen.data, config.seen.bulk[0])
    for (name, values), most in zip(modes.series.items(), final, strict=True):
        grey = {"color": "0.5", "linestyle": "--"} if "noise" in name else {}
        axis.plot(modes.points, values / most, label=name, **grey)
    axis.set(xlabel="time (tau)", title=f"{depth} layer{'s' * (depth > 1)}")
axes[0].set_ylabel("share of the final strength")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)

# %%
# Times to half of the final strength
# -----------------------------------
# In closed form for every depth. A start that is a thousand times smaller costs two
# layers a fixed time for each mode, and deeper networks a plateau.

data = np.array([6.0, 4.0, 2.5])
print(f"{'layers':>8}{'start':>10}   time to half of each mode (tau)")
for depth in (1, 2, 3, 4):
    for start in (1e-3, 1e-6):
        times = theory.mode_growth.time_to_learn(data, data / 2, start, depth)
        print(f"{depth:8}{start:10g}   {times.round(2)}")
