"""The Fourier layer, one frequency at a time and with sums over tokens instead of a fast transform."""

import cmath

import torch
from torch.nn.functional import gelu

CASES = [
    {"dim": 4, "modes": (1, 2)},
    {"dim": 4, "modes": (2, 1), "num_blocks": 2, "variant": "official", "activation": "gelu"},
    {"dim": 4, "modes": (2, 2), "num_blocks": 2, "bypass": False, "projection": True, "grid": (4, 4)},
    {"dim": 2, "modes": (1, 1), "activation": "none", "grid": (3, 5)},
]
LENGTHS = (6, 5, 12, 1)


def reference(module, x, mask=None, causal=False, grid=None):
    config, (rows, columns), d = module.config, grid, x.shape[2]
    width, n = d // config.num_blocks, rows * columns
    (m, m2), paper = config.modes, config.variant == "paper"
    # a grid of 4 rows has the frequencies -2, -1, 0, 1; along columns those below zero follow from those above
    along_rows = [k for k in range(-m, m + paper) if -(rows // 2) <= k <= (rows - 1) // 2]
    along_columns = [k for k in range(m2 + paper) if k <= columns // 2]
    samples = []
    for b, tokens in enumerate(x):
        real = torch.ones(n, dtype=torch.bool) if mask is None else mask[b]
        tokens = torch.stack([t if yes else torch.zeros_like(t) for t, yes in zip(tokens, real, strict=True)])
        out = [torch.zeros(d, dtype=x.dtype) for _ in range(n)]
        for j in along_rows:
            for k in along_columns:
                wave = [cmath.exp(2j * cmath.pi * (j * (p // columns) / rows + k * (p % columns) / columns))
                        for p in range(n)]  # fmt: skip
                z = sum(t * w.conjugate() for t, w in zip(tokens, wave, strict=True))
                filtered = []
                for g in range(config.num_blocks):
                    at = module.weight[:, j, k, g]  # below zero: from the end, as Python counts
                    filtered.append(torch.complex(at[0], at[1]).T @ z[g * width : (g + 1) * width])
                y = torch.cat(filtered)
                twice = 1 if k == 0 or 2 * k == columns else 2  # a frequency and its mirror image
                out = [o + twice * (y * w).real / n for o, w in zip(out, wave, strict=True)]
        if module.bypass is not None:
            out = [o + module.bypass.weight @ t + module.bypass.bias for o, t in zip(out, tokens, strict=True)]
        if config.activation == "relu":
            out = [torch.clamp(o, min=0) for o in out]
        elif config.activation == "gelu":
            out = [gelu(o) for o in out]
        if module.projection is not None:
            out = [
                torch.cat([module.projection[g].T @ o[g * width : (g + 1) * width] for g in range(config.num_blocks)])
                for o in out
            ]
        samples.append(torch.stack(out) * real[:, None])
    return torch.stack(samples)
