"""The adaptive Fourier neural operator, one frequency at a time and with sums over tokens."""

import cmath

import torch

CASES = [
    {"dim": 4, "num_blocks": 2},
    {"dim": 3, "num_blocks": 1, "hidden_factor": 2, "threshold": 0.1},
    {"dim": 4, "num_blocks": 4, "threshold": 0, "grid": (3, 4)},
]
LENGTHS = (6, 5, 12, 1)


def shrunk(a, by):
    return torch.where(a > by, a - by, torch.where(a < -by, a + by, torch.zeros_like(a)))


def network(module, z):
    """The network of one frequency."""
    blocks, width = module.w1.shape[1], module.w1.shape[2]
    out = []
    for g in range(blocks):
        w1, b1, w2, b2 = (torch.complex(*p[:, g]) for p in (module.w1, module.b1, module.w2, module.b2))
        hidden = w1.T @ z[g * width : (g + 1) * width] + b1
        hidden = torch.complex(torch.clamp(hidden.real, min=0), torch.clamp(hidden.imag, min=0))
        y = w2.T @ hidden + b2
        out.append(torch.complex(shrunk(y.real, module.config.threshold), shrunk(y.imag, module.config.threshold)))
    return torch.cat(out)


def reference(module, x, mask=None, causal=False, grid=None):
    rows, columns = grid
    n = rows * columns
    samples = []
    for b, tokens in enumerate(x):
        real = torch.ones(n, dtype=torch.bool) if mask is None else mask[b]
        tokens = torch.stack([t if yes else torch.zeros_like(t) for t, yes in zip(tokens, real, strict=True)])
        out = list(tokens)
        for j in range(rows):
            for k in range(columns // 2 + 1):
                wave = [cmath.exp(2j * cmath.pi * (j * (p // columns) / rows + k * (p % columns) / columns))
                        for p in range(n)]  # fmt: skip
                y = network(module, sum(t * w.conjugate() for t, w in zip(tokens, wave, strict=True)) / n**0.5)
                twice = 1 if k == 0 or 2 * k == columns else 2  # a frequency and its mirror image
                out = [o + twice * (y * w).real / n**0.5 for o, w in zip(out, wave, strict=True)]
        samples.append(torch.stack(out) * real[:, None])
    return torch.stack(samples)
