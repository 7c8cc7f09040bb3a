"""
What each mixer costs
=====================

Every mechanism has a cost card: its parameters, its multiplications and additions, and
the numbers in the largest tensors that it must hold, as functions of the number of
tokens. Tests hold the cards to what torch counts.
"""

# %%
# One layer of each
# -----------------
# All mix tokens of width 192 on a square grid, with the options that they come with.

import math

import matplotlib.pyplot as plt

from headwise import mixers

DIM, SIDES = 192, (8, 16, 32, 64)


def card(name, side):
    options = {
        "gated_positional": {"num_heads": 4},
        "routing": {"num_clusters": side},  # the root of the number of tokens
    }.get(name, {})
    mixer = mixers.create(name, dim=DIM, grid=(side, side), **options)
    return mixer.cost(side * side)


cards = {n: [card(n, side) for side in SIDES] for n in mixers.list_mixers("tokens")}

# %%
# Multiplications and additions
# -----------------------------
# Each panel has one mechanism in blue and softmax attention in grey. The slope is the
# exponent: 2 for all pairs of tokens, 1 where a token looks at so many others always.

tokens = [side * side for side in SIDES]
softmax = [c.flops for c in cards["softmax"]]
rows = math.ceil(len(cards) / 4)
figure, axes = plt.subplots(
    rows, 4, figsize=(10, 2.1 * rows), sharex=True, sharey=True, layout="constrained"
)
for axis, (name, found) in zip(axes.flat, cards.items(), strict=False):
    axis.loglog(tokens, softmax, color="0.7")
    axis.loglog(tokens, [c.flops for c in found], color="#0072b2", marker="o", ms=3)
    axis.set_title(name.replace("_", " "), fontsize=9)
for axis in axes.flat[len(cards) :]:
    axis.set_axis_off()
figure.supxlabel("tokens")
figure.supylabel("multiplications and additions of one sample")
plt.show()

# %%
# The cards side by side
# ----------------------
# At 1,024 tokens. Memory is that of the numbers that a forward pass holds at one time
# beyond input, output and weights; torch's own attention kernel holds no map of N x N.

print(f"{'':27s}{'parameters':>11s}{'GFLOP':>8s}{'M numbers':>11s}")
for name, found in cards.items():
    at = found[SIDES.index(32)]
    print(f"{name:27s}{at.parameters:11,}{at.flops / 1e9:8.2f}{at.memory / 1e6:11.2f}")
