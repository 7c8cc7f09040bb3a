"""
The certificate: a line that no head can cross
==============================================

An optimiser that has stopped moving may be done, or stuck. The certificate tells: it is
a proved lower bound of the objective of *every* head of the same kind, on the same
tokens, with the same penalty.
"""

# %%
# A small attention head
# ----------------------

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.nn.functional import cross_entropy

import headwise as hw

rng = np.random.default_rng(0)
n, s, d = 300, 6, 6
X, y = rng.normal(size=(n, s, d)), np.arange(n) % 2
X[:, :, 1] = 0.8 * X[:, :, 1] + 0.6 * np.where(y == 1, 1, -1)[:, None] * X[:, :, 0]
beta = 0.02
model = hw.HeadClassifier("attention", beta=beta, tol=1e-4, condition=False).fit(X, y)
certificate = model.certificate_
print(certificate)

# %%
# The same head, trained by Adam
# ------------------------------
# The network with weight decay and the convex problem have the same optimum. Here is
# the network, with eight atoms (U, V), at four learning rates.

tokens, labels = torch.from_numpy(X), torch.from_numpy(y)


def adam(rate, steps=1000, atoms=8):
    torch.manual_seed(0)
    U = (0.3 * torch.randn(atoms, d, d, dtype=torch.float64)).requires_grad_()
    V = (0.3 * torch.randn(atoms, d, 2, dtype=torch.float64)).requires_grad_()
    b = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([U, V, b], lr=rate)
    mean, gram, history = tokens.mean(1), tokens.transpose(1, 2) @ tokens, []
    for _ in range(steps):
        seen = torch.einsum("nd,rde,nef->nrf", mean, U, gram)
        logits = torch.einsum("nrf,rfc->nc", seen, V) + b
        objective = cross_entropy(logits, labels) + beta / 2 * (
            U.square().sum() + V.square().sum()
        )
        history.append(objective.item())
        optimiser.zero_grad()
        objective.backward()
        optimiser.step()
    return history


fig, axis = plt.subplots(figsize=(7, 4.4), layout="constrained")
rates = {1e-3: "-", 3e-3: "--", 1e-2: "-.", 0.5: ":"}
for rate, style in rates.items():
    axis.plot(adam(rate), linestyle=style, linewidth=1.4, label=f"Adam, rate {rate:g}")
axis.axhspan(0, certificate.dual, color="0.5", alpha=0.25, linewidth=0)
axis.axhline(certificate.primal, color="C5", linewidth=2.5, label="headwise")
axis.text(500, 0.43, "no attention head gets here: proved", ha="center", va="center")
axis.set(
    xlabel="steps of Adam", ylabel="objective (nats)", xlim=(0, 1000), ylim=(0.4, 0.75)
)
fig.legend(loc="outside lower center", ncols=3)

# %%
# Read it like this: the head's objective is ``primal``, every head's is at least
# ``dual``, and ``relative_gap`` is their distance as a share of the objective. It is
# about optimisation on *these* samples. It says nothing about new samples, other blocks
# or other betas.
#
# Check a claim
# -------------
# A saved head carries its certificate and the hashes of what it is about. ``verify``
# recomputes all of it from the head and the token store, and trusts neither.

folder = Path(tempfile.mkdtemp())
store = hw.TokenStore.from_arrays(folder / "tokens", X, y, dtype="float64")
hw.HeadClassifier("attention", beta=beta, condition=False).fit(
    store
).head_.save_pretrained(folder / "head")
check = hw.verify(folder / "head", folder / "tokens")
print(f"holds: {check.holds}")
print(f"gap claimed {check.claimed.gap:.2e}, gap found {check.found.gap:.2e}")

# %%
# Change one label, and the claim falls:

y[0] = 1 - y[0]
other = hw.TokenStore.from_arrays(folder / "other-tokens", X, y, dtype="float64")
check = hw.verify(folder / "head", folder / "other-tokens")
print(f"holds: {check.holds}")
print(*check.reasons, sep="\n")
plt.show()

# %%
# On the command line this is ``headwise verify HEAD --tokens STORE``, with exit code 1
# where a claim does not hold.
