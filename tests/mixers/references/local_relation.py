"""UniFormer's local aggregator, one token and one neighbour at a time."""

import torch

CASES = [
    {"dim": 4, "kernel_size": 3},
    {"dim": 6},
    {"dim": 3, "kernel_size": 1},
    {"dim": 4, "kernel_size": 3, "grid": (3, 5)},
]


def reference(module, x, mask=None, causal=False, grid=None):
    rows, columns = grid
    reach = module.config.kernel_size // 2
    samples = []
    for b, tokens in enumerate(x):
        outs = []
        for t in range(len(tokens)):
            row, column = divmod(t, columns)
            if mask is not None and not mask[b, t]:
                outs.append(torch.zeros_like(tokens[t]))
                continue
            gathered = module.affinity.bias
            for r in range(max(0, row - reach), min(rows, row + reach + 1)):
                for c in range(max(0, column - reach), min(columns, column + reach + 1)):
                    u = r * columns + c
                    if mask is None or mask[b, u]:
                        weight = module.affinity.weight[:, 0, r - row + reach, c - column + reach]
                        gathered = gathered + weight * (module.v.weight @ tokens[u] + module.v.bias)
            outs.append(module.proj.weight @ gathered + module.proj.bias)
        samples.append(torch.stack(outs))
    return torch.stack(samples)
