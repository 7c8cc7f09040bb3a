"""
Does a second task help?
========================

Two tasks on the same inputs, learned by one network. Whether the second helps the first
depends on how strong its signal is and how well the two are aligned; a strong task that
is not aligned does harm.
"""

# %%
# Benefit over alignment
# ----------------------
# The benefit is the least error on the first task alone minus the least in joint
# training, each at its own best time. Lines are predicted, dots the mean of ten draws
# with their standard deviation.

import matplotlib.pyplot as plt
import numpy as np

from headwise import theory

transfer = theory.THEORIES.get("transfer")
weak = transfer.config(strength=1.0, auxiliary=(1.0, 3.0))
axes = transfer.plot(weak, seeds=range(10))
axes.axhline(0, color="0.5", linewidth=1)

# %%
# The map
# -------
# Blue is help, red is harm, and the line between them is drawn. A weak task gains most,
# from strong tasks that are aligned with it; a strong one has little to gain and can
# lose.

alignments, strengths = np.linspace(0, 1, 13), np.linspace(0.5, 6, 12)
fig, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
for axis, strength in zip(axes, (1.0, 1.5, 3.0), strict=True):
    config = transfer.config(
        strength=strength, auxiliary=strengths, alignments=alignments
    )
    theory.transfer.heat_map(config, axis)
    axis.set_title(f"first task of strength {strength:g}")

# %%
# General teachers
# ----------------
# Any number of tasks of any rank, by a numerical decomposition of the stacked teachers.

rng = np.random.default_rng(0)
directions = np.linalg.qr(rng.normal(size=(100, 3)))[0]


def task(modes, strengths):
    outputs = np.linalg.qr(rng.normal(size=(50, len(modes))))[0]
    return (outputs * strengths) @ directions[:, modes].T


first, same, other = task([0], [1.0]), task([0], [4.0]), task([1, 2], [4.0, 4.0])
alone = theory.joint_teacher.stack([first])
for name, tasks in {"the same input": [same], "other inputs": [other]}.items():
    joint = theory.joint_teacher.stack([first, *tasks])
    print(f"{name}: benefit {theory.joint_teacher.benefit(alone, joint):+.2f}")
