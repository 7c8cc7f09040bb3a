"""Attentive convolution, one sample, channel, place and tap at a time, in the order of the official code."""

import torch
from torch.nn.functional import gelu

CASES = [
    {"dim": 4},
    {"dim": 3, "kernel_size": 5, "approximate": "tanh"},
    {"dim": 2, "grid": (4, 5)},
]
LENGTHS = (6, 5, 27, 1)


def reference(module, x, mask=None, causal=False, grid=None):
    (rows, columns), k = grid, module.config.kernel_size
    n, taps = rows * columns, k * k
    samples = []
    for tokens in x:
        made = [module.kernel_proj.weight @ t + module.kernel_proj.bias for t in tokens]
        strips = []
        for t in range(taps):
            first, end = t * n // taps, -(-(t + 1) * n // taps)
            strips.append(sum(made[first:end]) / (end - first))
        values = [module.x_proj.weight @ t + module.x_proj.bias for t in tokens]
        channels = []
        for c in range(x.shape[2]):
            strip = gelu(torch.stack([s[c] for s in strips]), approximate=module.config.approximate)
            kernel = module.kernel_gen.weight @ strip + module.kernel_gen.bias
            kernel = kernel - torch.sigmoid(module.delta[c]) * sum(kernel) / taps
            places = []
            for r in range(rows):
                for q in range(columns):
                    total = torch.zeros((), dtype=x.dtype)
                    for i in range(k):
                        for j in range(k):
                            u, v = r + i - k // 2, q + j - k // 2
                            if 0 <= u < rows and 0 <= v < columns:
                                total = total + kernel[i * k + j] * values[u * columns + v][c]
                    places.append(total)
            channels.append(torch.stack(places))
        samples.append(torch.stack([module.proj.weight @ y + module.proj.bias for y in torch.stack(channels, 1)]))
    return torch.stack(samples)
