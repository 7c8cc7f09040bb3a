"""
MLP: when each token has to be bent
===================================

Tokens of class 1 are louder, not shifted: their first feature has the same mean and a
larger size. No linear head can see that. A gated MLP bends every token before it
averages them.
"""

# %%
# Loud and quiet tokens
# ---------------------

import matplotlib.pyplot as plt
import numpy as np
import torch

import headwise as hw

rng = np.random.default_rng(0)
n, s, d = 600, 9, 4
X, y = rng.normal(size=(n, s, d)), np.arange(n) % 2
X[y == 1, :, 0] *= 1.7
train, test = np.arange(n) < 300, np.arange(n) >= 300

# %%
# Without gates it is the linear head
# -----------------------------------
# headwise says which heads are a simpler one in disguise, so that nobody reads a
# difference into a table.

print(hw.PartSpec("mlp").collapses)
print(hw.PartSpec("mlp", gate="gaussian").collapses)

# %%
# Gates are the hinges
# --------------------
# A Gaussian gate is the pattern of a ReLU neuron with random weights; which tokens it
# lets through is fixed before the fit, and that keeps the problem convex. More gates,
# more hinges.

raw = hw.Conditioner(
    layer_norm=False
)  # the size of a token is what matters here: keep it


def fit(block, **gates):
    return hw.HeadClassifier(block, beta=3e-3, condition=raw, **gates).fit(
        X[train], y[train]
    )


linear = fit("linear")
counts = [1, 2, 4, 8, 16, 32]
gated = {count: fit("mlp", gate="gaussian", num_gates=count) for count in counts}
for name, model in (("linear", linear), ("32 gates", gated[32])):
    print(f"{name}: test accuracy {model.score(X[test], y[test]):.2f}")
print(gated[32].certificate_)

# %%
# The curve that was learned
# --------------------------
# The head averages a function of each token. Its shape: the logit of samples whose
# tokens all are ``(x, 0, 0, 0)``.

x = torch.linspace(-3, 3, 121)
probe = torch.zeros(len(x), s, d)
probe[:, :, 0] = x[:, None]

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for name, model, style in (
    ("linear", linear, "--"),
    ("mlp, 4 gates", gated[4], "-."),
    ("mlp, 32 gates", gated[32], "-"),
):
    left.plot(x, model.decision_function(probe), style, label=name)
left.axhline(0, color="0.6", linewidth=0.8, zorder=0)
left.set(
    xlabel="first feature of the tokens",
    ylabel="logit of class 1 (nats)",
    title="What a head makes of a token",
)
left.legend()

right.plot(
    counts,
    [m.score(X[test], y[test]) for m in gated.values()],
    "o-",
    color="C2",
    label="mlp",
)
right.axhline(
    linear.score(X[test], y[test]), linestyle="--", color="C0", label="linear"
)
right.set(
    xscale="log",
    xticks=counts,
    xticklabels=counts,
    xlabel="gates",
    ylabel="test accuracy",
    title="More hinges",
)
right.set(ylim=(0.4, 1))
right.legend()
plt.show()

# %%
# An MLP never lets two tokens meet. Where the answer lies in pairs of tokens, see
# :ref:`sphx_glr_auto_gallery_blocks_plot_3_attention.py`.
