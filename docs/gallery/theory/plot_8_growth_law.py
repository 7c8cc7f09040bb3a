"""
Why attention freezes: the growth law
=====================================

While the decoder learns, the attention logits grow like a power of time; once it has
learned, like a logarithm. The turn is sharp, and comes at ``2 K ln M / eta_Y`` for K
classes and M tokens: a faster decoder freezes attention earlier.
"""

# %%
# The law and the model
# ---------------------
# Lines are the closed form; dots are the gradient flow of the model itself, decoder and
# attention together. The decoder is a hundred times faster than attention, as the law
# assumes.

from dataclasses import replace

import matplotlib.pyplot as plt

from headwise import theory

law = theory.THEORIES.get("growth_law")
config = law.config(num_classes=5, contrast=20.0, rate_y=50.0)
axes = law.plot(config, seeds=[0])

# %%
# The phase transition
# --------------------
# How far the logit of the common token has fallen, on logarithmic axes: slope two, then
# nearly flat. Dotted lines are the times of the turn.

fig, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
for i, rate in enumerate((0.5, 1, 2, 5)):
    found = law.predict(law.config(rate_y=rate, end=3000))
    fallen = -found["common token"]
    axis.loglog(found.points, fallen, color=f"C{i}", label=f"eta_Y = {rate:g}")
    axis.axvline(found.marks["snap"], color=f"C{i}", linestyle=":", linewidth=1)
axis.set(
    xlabel="time (steps x step size)",
    ylabel="fall of the common token's logit",
    title="10 classes, 1000 tokens, eta_Z = 0.5",
)
axis.legend()

# %%
# Where the law ends
# ------------------
# With a decoder that is no faster than attention the model lags behind: the decoder
# remembers what attention looked like before.

for rate in (50.0, 5.0, 0.5):
    one = replace(config, rate_y=rate, num_times=40)
    model, closed = law.simulate(one, [0])["common token"], law.predict(one)
    ratio = model[-1] / closed["common token"][-1]
    print(f"eta_Y / eta_Z = {rate / one.rate_z:5g}: model / law at the end {ratio:.2f}")
