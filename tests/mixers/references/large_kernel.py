"""Large kernel attention, one place and one tap at a time."""

import torch
from torch.nn.functional import gelu

CASES = [
    {"dim": 4},
    {"dim": 3, "kernel_size": 7, "dilation": 2, "padding": "circular"},
    {"dim": 2, "kernel_size": 5, "dilation": 1, "grid": (3, 5)},
]
LENGTHS = (6, 5, 1)


def depthwise(conv, places, rows, columns, circular, real):
    """A list of places, each a vector over channels; a place outside, or not real, is skipped."""
    side, step = conv.weight.shape[-1], conv.dilation[0]
    before = step * (side - 1) // 2
    out = []
    for r in range(rows):
        for c in range(columns):
            total = conv.bias
            for i in range(side):
                for j in range(side):
                    u, v = r + i * step - before, c + j * step - before
                    if circular:
                        u, v = u % rows, v % columns
                    if not (0 <= u < rows and 0 <= v < columns) or not real[u * columns + v]:
                        continue
                    total = total + conv.weight[:, 0, i, j] * places[u * columns + v]
            out.append(total)
    return out


def pointwise(conv, places):
    return [conv.weight[:, :, 0, 0] @ p + conv.bias for p in places]


def reference(module, x, mask=None, causal=False, grid=None):
    (rows, columns), circular = grid, module.config.padding == "circular"
    samples = []
    for b, tokens in enumerate(x):
        real = [True] * len(tokens) if mask is None else mask[b].tolist()
        tokens = [t if yes else torch.zeros_like(t) for t, yes in zip(tokens, real, strict=True)]
        u = [gelu(p) for p in pointwise(module.pre, tokens)]
        near = depthwise(module.depthwise, u, rows, columns, circular, real)
        far = depthwise(module.dilated, near, rows, columns, circular, real)
        gated = [a * g for a, g in zip(u, pointwise(module.pointwise, far), strict=True)]
        out = [t + y for t, y in zip(tokens, pointwise(module.post, gated), strict=True)]
        samples.append(torch.stack([y if yes else torch.zeros_like(y) for y, yes in zip(out, real, strict=True)]))
    return torch.stack(samples)
