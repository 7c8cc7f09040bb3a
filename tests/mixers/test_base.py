"""The contract of pairs, which no mechanism of the package has yet: a small one of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from headwise import InputError
from headwise.mixers import Fusion, MixerConfig, Traits
from headwise.mixers.attending import attend


class Looking(Fusion):
    """Tokens look at the context as it is."""

    name = "looking"
    traits = Traits(1.0, mask=True)

    def fuse(self, x, context, mask):
        q, k = x[:, None], context[:, None]
        return attend(q, k, k, mask)[:, 0]

    def flops(self, num_tokens, grid):
        return 4 * num_tokens * num_tokens * self.config.dim

    def memory(self, num_tokens, grid):
        return num_tokens * self.config.dim


def pair(batch=2):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(batch, n, 4, generator=generator, dtype=torch.float64) for n in (5, 3))


def test_padding_of_the_context_never_tells():
    module, (x, context) = Looking(MixerConfig(dim=4)), pair()
    mask = torch.tensor([[True, False, True], [False, False, False]])
    wanted = torch.zeros_like(x)
    wanted[0] = torch.softmax(x[0] @ context[0, ::2].T / 2, -1) @ context[0, ::2]
    poisoned = torch.where(mask[..., None], context, torch.full_like(context, torch.nan))
    for i in (slice(None), slice(1), slice(1, 2)):  # together, and each alone
        torch.testing.assert_close(module(x[i], poisoned[i], mask=mask[i]), wanted[i], rtol=0, atol=1e-12)


def test_what_does_not_fit_is_refused():
    module, (x, context) = Looking(MixerConfig(dim=4)), pair()
    for wrong in ((x[..., 1:], context), (x, context[..., 1:]), (x[0], context), (x, context[:1])):
        with pytest.raises(InputError, match=r"\(B, N, 4\)"):
            module(*wrong)
    for wrong in ((x[:0], context[:0]), (x[:, :0], context), (x, context[:, :0])):
        with pytest.raises(InputError, match="at least one"):
            module(*wrong)
    for wrong in (torch.ones(2, 3), torch.ones(2, 5, dtype=torch.bool), torch.ones(2, 3, 3, dtype=torch.bool)):
        with pytest.raises(InputError, match="mask must be"):
            module(x, context, mask=wrong)
    module.traits = replace(module.traits, mask=False)
    with pytest.raises(InputError, match="no mask of the context"):
        module(x, context, mask=torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(InputError, match="prefix"):
        Looking(MixerConfig(dim=4, num_prefix_tokens=1))
