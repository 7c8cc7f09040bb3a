"""Halo attention, one query and one place of its window at a time."""

import torch

CASES = [
    {"dim": 8, "num_heads": 2, "block_size": 4, "halo_size": 1},
    {"dim": 8, "num_heads": 2, "block_size": 2, "halo_size": 1, "grid": (3, 5), "mask_padding": True},
    {"dim": 6, "num_heads": 3, "dim_head": 4, "block_size": 2, "halo_size": 0, "qkv_bias": True},
    {"dim": 4, "num_heads": 1, "block_size": 1, "halo_size": 2, "scale_pos_embed": True},
    {"dim": 8, "num_heads": 2, "block_size": 4, "halo_size": 1, "grid": (5, 7), "stride": 2, "mask_padding": True},
    {"dim": 8, "num_heads": 2, "block_size": 2, "halo_size": 1, "stride": 2},
    {"dim": 8, "num_heads": 2, "block_size": 3, "halo_size": 1, "grid": (5, 3), "stride": 2, "avg_down": True},
]


def reference(module, x, mask=None, causal=False, grid=None):
    return torch.stack([_sample(module, s, None if mask is None else mask[i], grid) for i, s in enumerate(x)])


def _sample(module, tokens, mask, grid):
    c = module.config
    rows, columns = grid
    tokens = {(r, s): tokens[r * columns + s] for r in range(rows) for s in range(columns)}
    real = {place: mask is None or bool(mask[place[0] * columns + place[1]]) for place in tokens}
    if c.stride == 1:
        outputs = [_query(module, tokens, real, at, at) for at in tokens]
        return torch.stack(outputs)
    outputs = []
    for r in range(0, rows, 2):
        for s in range(0, columns, 2):
            if not c.avg_down:
                index = (r % c.block_size // 2 + r // c.block_size * c.block_size,)
                index += (s % c.block_size // 2 + s // c.block_size * c.block_size,)
                outputs.append(_query(module, tokens, real, (r, s), index))
                continue
            four = [(r + i, s + j) for i in (0, 1) for j in (0, 1)]
            four = [at for at in four if real.get(at, False)]
            got = [_query(module, tokens, real, at, at) for at in four]
            outputs.append(sum(got) / len(got) if got else torch.zeros(c.dim, dtype=module.q.weight.dtype))
    return torch.stack(outputs)


def _query(module, tokens, real, at, index):
    """The output at ``at``; ``index`` stands for it where distances to keys are counted."""
    c = module.config
    dtype = module.q.weight.dtype
    if not real[at]:
        return torch.zeros(c.dim, dtype=dtype)
    b, h, d = c.block_size, c.halo_size, module.q.out_features // c.num_heads
    w, dv = b + 2 * h, c.dim // c.num_heads
    corner = tuple(a // b * b for a in at)
    q = module.q(tokens[at])
    out = []
    for head in range(c.num_heads):
        own = q[head * d : (head + 1) * d]
        logits, values = [], []
        for k in range(w):
            for m in range(w):
                place = (corner[0] - h + k, corner[1] - h + m)
                if place in tokens:
                    if not real[place]:
                        continue
                    kv = module.kv(tokens[place])[head * (d + dv) : (head + 1) * (d + dv)]
                elif c.mask_padding:
                    continue
                else:
                    kv = torch.zeros(d + dv, dtype=dtype)
                relative = own @ module.height_rel[k - (index[0] - corner[0]) + w - 1]
                relative = relative + own @ module.width_rel[m - (index[1] - corner[1]) + w - 1]
                logits.append(own @ kv[:d] / d**0.5 + relative / (d**0.5 if c.scale_pos_embed else 1))
                values.append(kv[d:])
        out.append(torch.softmax(torch.stack(logits), 0) @ torch.stack(values))
    return torch.cat(out)
