"""Ultra-light subspace attention, one group and one place at a time (batch norms as in eval)."""

import torch

CASES = [
    {"dim": 4, "num_groups": 2},
    {"dim": 6, "num_groups": 2, "variant": "official"},
    {"dim": 3, "num_groups": 1},
]


def normed(norm, value, channel):
    scale = norm.weight[channel] / torch.sqrt(norm.running_var[channel] + norm.eps)
    return torch.clamp((value - norm.running_mean[channel]) * scale + norm.bias[channel], min=0)


def reference(module, x):
    groups, official = module.config.num_groups, module.config.variant == "official"
    _, d, rows, columns = x.shape
    width = d // groups
    samples = []
    for sample in x:
        channels = []
        for n in range(groups):
            scaled = []
            for c in range(n * width, (n + 1) * width):
                t = sample[c] * module.depthwise.weight[c, 0, 0, 0]
                if official:
                    t = normed(module.norms[0], t + module.depthwise.bias[c], c)
                scaled.append(t)
            logits = []
            for r in range(rows):
                for q in range(columns):
                    near = [t[max(0, r - 1) : r + 2, max(0, q - 1) : q + 2].max() for t in scaled]
                    a = sum(w * m for w, m in zip(module.pointwise.weight[n, :, 0, 0], near, strict=True))
                    if official:
                        a = normed(module.norms[1], a + module.pointwise.bias[n], n)
                    logits.append(a)
            logits = torch.stack(logits)
            attention = torch.exp(logits - logits.max().detach())
            attention = (attention / attention.sum()).view(rows, columns)
            channels += [sample[c] * attention + sample[c] for c in range(n * width, (n + 1) * width)]
        samples.append(torch.stack(channels))
    return torch.stack(samples)
