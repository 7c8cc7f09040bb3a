"""Gated positional attention: published numbers, timm, what it is at the ends of its gates, other grids."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from headwise import InputError
from headwise.mixers import create


def filled():
    """The module whose outputs are published: 16 wide, 4 heads, a grid of 3 x 3."""
    module = create("gated_positional", dim=16, num_heads=4).double().eval()
    parts = [module.gating_param, module.qk.weight, module.v.weight, module.proj.weight, module.proj.bias]
    with torch.no_grad():
        for k, tensor in enumerate([*parts, module.pos_proj.weight, module.pos_proj.bias]):
            steps = torch.arange(tensor.numel(), dtype=torch.float64)
            tensor.copy_((0.3 * torch.sin(1 + 0.5 * k + 0.17 * steps)).view_as(tensor))
    return module, torch.cos(0.1 * torch.arange(288, dtype=torch.float64)).view(2, 9, 16)


def begun(module):
    with torch.no_grad():
        module.gating_param.fill_(1)
        module.pos_proj.bias.zero_()
    module.init_local()
    return module


def is_published(out, total, squares, first):
    assert out.sum().item() == pytest.approx(total, abs=1e-7)
    assert out.square().sum().item() == pytest.approx(squares, abs=1e-7)
    assert out.flatten()[:5].tolist() == pytest.approx(first, abs=1e-8)


def test_published_numbers():
    module, x = filled()
    first = [0.02968741, -0.00341916, -0.05579421, -0.11923282, -0.13674175]
    is_published(module(x, grid=(3, 3)), -56.44159349, 18.72686154, first)


def test_published_numbers_of_the_local_init():
    module, x = filled()
    begun(module)
    assert module.pos_proj.weight.tolist() == [[-1, -1, -1], [-1, 1, -1], [1, -1, -1], [1, 1, -1]]
    first = [-0.21297627, -0.42001947, 0.9471137, -1.5328158, 1.43996501]
    is_published(module(x, grid=(3, 3)), -56.78581408, 251.14518703, first)
    row = [0.231435, 0.160332, 0.021699, 0.207042, 0.187452, 0.021699, 0.021699, 0.136426, 0.012218]
    assert module.attention(x, grid=(3, 3))[0, 0, 4].tolist() == pytest.approx(row, abs=1e-6)
    far = [0.87901845, 0.8551978, 0.87906548, 0.8585739]
    assert module.non_locality(x, grid=(3, 3)).tolist() == pytest.approx(far, abs=1e-7)


@pytest.mark.parametrize("heads", [4, 9, 5])
def test_is_that_of_timm(heads):
    convit = pytest.importorskip("timm.models.convit", reason="timm is not installed (extra timm)")
    theirs = convit.GPSA(36 if heads != 5 else 20, num_heads=heads, qkv_bias=True, locality_strength=0.7)
    ours = create("gated_positional", dim=theirs.dim, num_heads=heads, qkv_bias=True, locality_strength=0.7)
    theirs.local_init()
    kept = int(heads**0.5) ** 2
    torch.testing.assert_close(ours.pos_proj.weight[:kept], theirs.pos_proj.weight[:kept])
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(0.3 * torch.randn_like(p))
    ours.load_state_dict(theirs.state_dict())
    ours, theirs = ours.double(), theirs.double()
    x = torch.randn(2, 16, theirs.dim).double()
    torch.testing.assert_close(ours(x, grid=(4, 4)), theirs(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.attention(x, grid=(4, 4)), theirs.get_attention(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.non_locality(x, grid=(4, 4)), theirs.get_attention_map(x), rtol=0, atol=1e-12)


def test_open_gates_and_strong_locality_are_a_convolution():
    """Nine heads are the nine taps of a kernel of 3 x 3, away from the border."""
    module = create("gated_positional", dim=18, num_heads=9, locality_strength=50.0).double()
    with torch.no_grad():
        module.gating_param.fill_(50.0)
    x = torch.randn(2, 5 * 7, 18).double()
    kernel = torch.zeros(18, 18, 3, 3).double()
    for head in range(9):
        own = slice(2 * head, 2 * head + 2)
        kernel[:, own, head % 3, head // 3] = module.proj.weight[:, own]
    wanted = F.conv2d(x.transpose(1, 2).unflatten(2, (5, 7)), kernel, module.proj.bias)
    found = module(x, grid=(5, 7)).unflatten(1, (5, 7))[:, 1:-1, 1:-1].permute(0, 3, 1, 2)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


def test_closed_gates_are_softmax_attention():
    module, x = filled()
    softmax = create("softmax", dim=16, num_heads=4, qkv_bias=False).double()
    with torch.no_grad():
        module.gating_param.fill_(-60.0)
        softmax.qkv.weight.copy_(torch.cat([module.qk.weight, module.v.weight]))
        softmax.proj.load_state_dict(module.proj.state_dict())
    torch.testing.assert_close(module(x, grid=(3, 3)), softmax(x))
    ours, theirs = module.query_key(), softmax.query_key()
    assert torch.equal(ours.query, theirs.query) and torch.equal(ours.key, theirs.key) and ours.scale == theirs.scale


def test_gates_mix_probabilities_and_rows_sum_to_one():
    module, x = filled()
    for given in ({}, {"causal": True}, {"mask": torch.arange(9).expand(2, 9) < 7}):
        maps = module.attention(x, grid=(3, 3), **given)
        torch.testing.assert_close(maps.sum(-1), torch.ones_like(maps.sum(-1)), rtol=0, atol=1e-12)


def test_rows_and_columns_are_not_exchanged():
    """On a grid of 2 x 5 with open gates, head 1 of 4 looks below and to the left."""
    module = create("gated_positional", dim=8, num_heads=4, locality_strength=20.0)
    with torch.no_grad():
        module.gating_param.fill_(50.0)
    seen = module.attention(torch.randn(1, 10, 8), grid=(2, 5))[0, 1, 2].view(2, 5)
    torch.testing.assert_close(seen[:, 1:3], torch.full((2, 2), 0.25))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_grids_in_half_precision(dtype):
    """Squares of offsets are past what bfloat16 counts."""
    module = create("gated_positional", dim=8, num_heads=4, locality_strength=0.01)
    x = torch.randn(1, 40 * 20, 8)
    wanted = module(x, grid=(40, 20))
    found = module.to(dtype)(x.to(dtype), grid=(40, 20)).float()
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.02 * wanted.abs().max().item())


def test_masks_in_mixed_precision():
    module, x = filled()
    module, x = module.float(), x.float()
    given = {"mask": torch.arange(9).expand(2, 9) < 7, "causal": True, "grid": (3, 3)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module(x, **given)
    torch.testing.assert_close(found.float(), module(x, **given), rtol=0, atol=0.02)


def test_what_is_wrong_is_named():
    with pytest.raises(InputError, match="prefix tokens"):
        create("gated_positional", dim=8, num_heads=4, num_prefix_tokens=1)
    with pytest.raises(InputError, match="locality_strength"):
        create("gated_positional", dim=8, num_heads=4, locality_strength=0.0)
    with pytest.raises(InputError, match="the default num_heads=9 does not divide dim=8; give num_heads=8"):
        create("gated_positional", dim=8)
    with pytest.raises(InputError, match="2 x 4 has 8 places"):
        create("gated_positional", dim=8, num_heads=4)(torch.randn(1, 9, 8), grid=(2, 4))
