"""Large kernel attention: numbers of the official code, what its kernel reaches, and what a masked margin means."""

from __future__ import annotations

import pytest
import torch

from headwise import InputError
from headwise.mixers import create
from headwise.mixers.maps import as_map, as_tokens


@pytest.fixture
def module():
    return create("large_kernel", dim=4, grid=(9, 9)).double().eval()


def pairs(*convs):
    return [p for conv in convs for p in (conv.weight, conv.bias)]


def test_golden_gate(module, golden):
    golden.fill(*pairs(module.depthwise, module.dilated, module.pointwise))
    x = golden.cosine(1, 4, 9, 9)
    first = [-0.2222213, -0.21473517, -0.20368079, -0.18089425, -0.16595203]
    golden.check(x * module.gate(x), 0.56457312, 8.14720122, first)


def test_golden_whole(module, golden):
    golden.fill(*pairs(module.pre, module.depthwise, module.dilated, module.pointwise, module.post))
    out = as_map(module(as_tokens(golden.cosine(1, 4, 9, 9))), (9, 9))
    first = [0.73501529, 0.72601318, 0.70845335, 0.68323846, 0.64661326]
    golden.check(out, -40.3314475, 174.40118771, first)


def test_parameters_of_the_specification():
    d = 10
    module = create("large_kernel", dim=d)
    gate = [p.numel() for part in (module.depthwise, module.dilated, module.pointwise) for p in part.parameters()]
    assert sum(gate) == d * d + 77 * d
    assert module.cost(1).parameters == 3 * d * d + 79 * d


def test_the_kernel_reaches_eleven_places_to_each_side():
    module = create("large_kernel", dim=2).double().eval()
    x = torch.randn(1, 31 * 31, 2, dtype=torch.float64, requires_grad=True)
    middle = module(x, grid=(31, 31)).view(31, 31, 2)[15, 15].sum()
    seen = torch.autograd.grad(middle, x)[0].view(31, 31, 2).abs().sum(-1) > 0
    assert seen[4:27, 4:27].all() and seen.sum() == 23 * 23


@pytest.mark.parametrize("options", [{}, {"kernel_size": 7, "dilation": 2}])
def test_a_masked_margin_is_no_part_of_the_map(options):
    module = create("large_kernel", dim=4, **options).double().eval()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn_like(p))
    small = torch.randn(2, 4, 3, 4, dtype=torch.float64)
    large, real = torch.full((2, 4, 5, 6), torch.nan, dtype=torch.float64), torch.zeros(2, 5, 6, dtype=torch.bool)
    large[:, :, :3, :4], real[:, :3, :4] = small, True
    out = as_map(module(as_tokens(large), mask=real.view(2, 30), grid=(5, 6)), (5, 6))
    wanted = as_map(module(as_tokens(small), grid=(3, 4)), (3, 4))
    torch.testing.assert_close(out[:, :, :3, :4], wanted, rtol=0, atol=1e-12)


def test_what_it_refuses():
    with pytest.raises(InputError, match=r"^kernel_size=2 is below dilation=3"):
        create("large_kernel", dim=4, kernel_size=2)
    with pytest.raises(InputError, match="padding"):
        create("large_kernel", dim=4, padding="mirror")
    with pytest.raises(InputError, match="dilation"):
        create("large_kernel", dim=4, dilation=0)
