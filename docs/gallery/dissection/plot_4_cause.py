"""
Cause: take a mode out, and see what moves
==========================================

That a mode fires where an attention head looks proves nothing. Taking it out of the
running model does. Here is an attention head whose modes we have planted, so that what
must happen can be written down.
"""

# %%
# Eight planted modes
# -------------------
# Mode n looks from feature n for feature n (the first four, which group their like) or
# for another one (the last four). M is their sum, with singular values from 8 to 3.

import matplotlib.pyplot as plt
import numpy as np
import torch

import headwise as hw
from headwise.dissect import effect

d, modes = 32, 8
sigma = torch.tensor([8, 7, 6, 5, 4.5, 4, 3.5, 3])
asks, answers = list(range(8)), [0, 1, 2, 3, 8, 9, 10, 11]
weight = torch.zeros(3, d, d)  # of queries, keys and values
for n in range(modes):
    weight[0, n, asks[n]] = weight[1, n, answers[n]] = sigma[n] ** 0.5
weight[2] = torch.eye(d)
attention = torch.nn.MultiheadAttention(d, 1, bias=False, batch_first=True)
attention.in_proj_weight.data = weight.flatten(0, 1)
model = hw.load_backbone(attention)

found = hw.dissect(model)
print("mode  planted  found  cosine planted  found")
for row in found.modes_of(layer=0, head=0)[:modes]:
    n = row["mode"]
    cosine = float(asks[n] == answers[n])
    print(f"{n:4} {sigma[n]:8} {row['sigma']:6.3f} {cosine:14} {row['cosine']:8.3f}")

# %%
# A question and an answer
# ------------------------
# Nine tokens. The first has the feature with which mode 5 asks, the eighth the one that
# answers; their logit is 4, and all others of the first token are 0. So it gives the
# eighth token the share 1 / (1 + 8 exp(-4)) of its attention, and 1 / 9 without mode 5.

count, mode = 9, 5
size = (4 / sigma[mode] * d**0.5) ** 0.5
tokens = torch.zeros(1, count, d)
tokens[0, 0, asks[mode]] = tokens[0, 7, answers[mode]] = size
tokens[0, :, 16:] = 0.1 * torch.randn(
    count, 16, generator=torch.Generator().manual_seed(0)
)
tokens[0, 1, 1] = tokens[0, 3, 10] = 1.0  # features of other modes
first, eighth = torch.arange(count)[None] == 0, torch.arange(count)[None] == 7

factors = np.linspace(0, 2, 9)
caused = {
    factor: effect(
        model,
        tokens,
        [(0, 0, mode, float(factor))],
        region=eighth,
        queries=first,
        draws=20,
    )
    for factor in factors
}
row = caused[0].heads[0]
predicted = 1 / (1 + 8 * np.exp(-4)), 1 / 9
print(f"attention before  {row['mass_before']:.6f}, predicted {predicted[0]:.6f}")
print(f"without mode {mode}    {row['mass_after']:.6f}, predicted {predicted[1]:.6f}")

# %%
# Dots: the running model when mode 5 is multiplied by a factor. The line is
# the prediction. Grey dots: the same attention head with a random mode of the same
# strength added instead, twenty for each factor.

fig, axis = plt.subplots(figsize=(7, 4), layout="constrained")
for factor, each in caused.items():
    control = each.layers[0].control_mass[:, 0]
    axis.plot([factor] * len(control), control, "o", color="0.6", ms=3, alpha=0.6)
line = np.linspace(0, 2, 100)
axis.plot(line, 1 / (1 + 8 * np.exp(-4 * line)), color="C0", label="predicted")
measured = [each.heads[0]["mass_after"] for each in caused.values()]
axis.plot(factors, measured, "o", color="C0", label="mode 5 times the factor")
axis.plot([], [], "o", color="0.6", ms=3, label="random modes of that strength")
axis.set(
    xlabel="factor of the mode (0 removes it)",
    ylabel="attention of the first token to the eighth",
    ylim=(0, 1.02),
)
axis.legend(loc="lower right")

# %%
# The control, in numbers
# -----------------------
# Removing mode 5 against adding random modes of its strength: the change of attention
# and the total variation, with the mean and the standard deviation of the control.

print(f"change           {row['mass_change']:+.3f}")
print(
    f"random modes     {row['control_mass_change']:+.3f}"
    f" +- {row['control_mass_change_spread']:.3f}"
)
print(f"variation         {row['variation']:.3f}")
print(
    f"random modes      {row['control_variation']:.3f}"
    f" +- {row['control_variation_spread']:.3f}"
)
