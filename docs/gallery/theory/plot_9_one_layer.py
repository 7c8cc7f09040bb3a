"""
One layer is enough: a construction
===================================

Any continuous map of short sequences is one attention layer and one hidden layer of
ReLU, to any accuracy. Here the weights are written down, not trained: heads copy every
position to every token, and the network interpolates the map along straight directions.
The error has a bound, and the bound has sources.
"""

# %%
# Error against width
# -------------------
# The sine of the sum of two tokens. Lines are bounds, dots what a search finds.
# Interpolation between knots decides: twice the width, a quarter of the error.

from dataclasses import replace

import matplotlib.pyplot as plt
import torch

from headwise import theory

error = theory.THEORIES.get("approximation")
axes = error.plot(error.config(), seeds=[0])
axes.lines[3].set_linestyle("--")  # the total lies on the knots
axes.set_ylim(1e-16, 10)
axes.legend(loc="center right", bbox_to_anchor=(1, 0.68))

# %%
# How sharp attention has to be
# -----------------------------
# Softmax never looks at one position alone. What leaks from the others falls
# exponentially with the logit of a copied position, here for the product of two tokens.

product = error.config(target="product", kind="even but for a square")
sharpness = [2, 4, 6, 8, 10, 14, 18]
fig, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for i, knots in enumerate((16, 64)):
    configs = [replace(product, knots=(knots,), sharpness=s) for s in sharpness]
    bounds = [error.predict(c)["total"][0] for c in configs]
    found = [error.simulate(c, [0])["total"][0] for c in configs]
    label = f"{knots} knots a unit of length"
    axis.semilogy(sharpness, bounds, color=f"C{i}", label=label)
    axis.semilogy(sharpness, found, "o", color=f"C{i}")
axis.set(xlabel="logit of the copied position", ylabel="largest absolute error")
axis.legend()

# %%
# A function of your own
# ----------------------
# ``approximate`` chooses series, knots and sharpness for a tolerance; the result is a
# module.


def mean_and_gap(x):
    """Two numbers for each token: the mean so far, and how far the token is from it."""
    steps = torch.arange(1, x.shape[1] + 1)[:, None]
    mean = x.cumsum(1) / steps
    return torch.cat([mean, (x - mean) ** 2], dim=2)


layer = theory.approximation.approximate(mean_and_gap, 0.01, num_tokens=2)
print(f"{layer.width} hidden units; {layer.verdict}")
print(f"measured: {layer.measured.total:.2g}")
print(f"without positions no layer errs by less than {layer.without_positions:.2g}")
