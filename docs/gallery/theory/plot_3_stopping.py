"""
When to stop, and why width hardly matters
==========================================

The error on the truth falls while signal is learned and rises while noise is. Stopped
at the right time a network has learned hardly any noise, and then it does not matter
how much room it has for noise. A large start spoils that: all modes are there from the
beginning.
"""

# %%
# Four widths, one minimum
# ------------------------
# One mode of strength 3, 100 inputs, 50 outputs. The curves part after the best time.

import matplotlib.pyplot as plt

from headwise import theory

curves = theory.THEORIES.get("deep_linear")
fig, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for hidden, style in zip((1, 5, 25, 50), (":", "-.", "--", "-"), strict=True):
    found = curves.predict(curves.config(hidden=hidden, end=4.0))
    axis.plot(found.points, found["test error"], style, label=f"width {hidden}")
axis.set(xlabel="time (tau)", ylabel="relative squared test error", ylim=(0, 2))
axis.legend()

# %%
# The least error over width and start
# ------------------------------------

widths = (1, 2, 5, 10, 25, 50)
fig, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.6), layout="constrained", sharey=True
)


def least(strength, start):
    configs = (
        curves.config(strengths=(strength,), start=start, hidden=n) for n in widths
    )
    return [theory.deep_linear.best_stopping(one).error for one in configs]


for strength in (1.5, 2, 3, 5):
    left.plot(widths, least(strength, 1e-3), "o-", label=f"strength {strength}")
for start in (1e-3, 1e-2, 1e-1, 0.5):
    right.plot(widths, least(3, start), "o-", label=f"start {start:g}")
left.set(title="small start (0.001)", ylabel="least relative test error", ylim=(0, 1))
right.set_title("strength 3")
for axis in (left, right):
    axis.set(xscale="log", xlabel="hidden units")
    axis.set_xticks(widths, map(str, widths))
    axis.set_xticks([], minor=True)
    axis.legend()

# %%
# Nothing to learn is an answer
# -----------------------------
# Below the threshold no stop is better than not to start.

for strength in (0.5, 1.0, 3.0):
    stop = theory.deep_linear.best_stopping(curves.config(strengths=(strength,)))
    print(f"strength {strength}: stop at {stop.time:.2f} tau, error {stop.error:.3f}")
