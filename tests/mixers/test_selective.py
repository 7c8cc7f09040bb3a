"""Selective attention: published row factors, what it is without temperatures, positions behind padding."""

from __future__ import annotations

import math

import pytest
import torch

from headwise import InputError
from headwise.mixers import create


def pair(**options):
    """A selective layer that knows something, and softmax attention with the same projections."""
    module = create("selective", dim=12, num_heads=3, **options).double()
    softmax = create("softmax", dim=12, num_heads=3).double()
    softmax.load_state_dict({k: v for k, v in module.state_dict().items() if k.startswith(("qkv", "proj"))})
    return module, softmax, torch.randn(2, 6, 12).double()


@pytest.mark.parametrize(("start", "growth"), [(2.0, 6.18e-4), (1.5, 0.0113), (10.5, 0.0)])
def test_growth_of_the_authors_code(start, growth):
    module, _, x = pair(parts=("queries",), terms=("position",), growth="exponential")
    assert module.growths.item() == 2.0
    with torch.no_grad():
        module.growths.fill_(start)
    found = module.temperatures(x)["queries"]
    assert (found[0, 0, 5].item() - 1) / math.log(6) == pytest.approx(growth, rel=2e-3, abs=1e-9)


def test_row_factors_of_the_authors_code():
    module, _, _ = pair(parts=("queries",), terms=("position",), growth="exponential")
    with torch.no_grad():
        module.growths.fill_(1.5)
    found = module.temperatures(torch.randn(1, 1024, 12).double())["queries"]
    assert found.shape == (1, 3, 1024)
    factors = [found[0, 0, n - 1].item() for n in (1, 16, 256, 1024)]
    assert factors == pytest.approx([1, 1.0314, 1.0627, 1.0784], abs=5e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_is_softmax_attention_where_temperatures_are_one(causal):
    module, softmax, x = pair()
    with torch.no_grad():
        module.growths.fill_(-torch.inf)
    torch.testing.assert_close(module(x, causal=causal), softmax(x, causal=causal), rtol=0, atol=1e-12)


def test_starts_near_softmax_attention():
    module, softmax, x = pair()
    assert (module(x) - softmax(x)).abs().max() < 0.05
    assert all(((t >= 1) & (t < 1.04)).all() for t in module.temperatures(x).values())


def test_scaling_a_query_is_scaling_its_logits():
    """The authors' code scales rows of logits; this layer scales queries."""
    module, softmax, x = pair(parts=("queries",), terms=("position",), growth="linear")
    with torch.no_grad():
        module.growths.fill_(0.4)
    q, k, v = (part.view(2, 6, 3, 4).transpose(1, 2) for part in softmax.qkv(x).chunk(3, -1))
    factors = 1 + 0.4 * torch.arange(1, 7).double().log()
    maps = (q @ k.transpose(-2, -1) / 2 * factors[:, None]).softmax(-1)
    torch.testing.assert_close(module(x), softmax.proj((maps @ v).transpose(1, 2).reshape(2, 6, 12)))


def test_values_are_scaled_where_they_are_looked_at():
    """A value of temperature zero is not seen; the token that holds it sees the others still."""
    module, _, x = pair(parts=("values",), terms=("token",))
    with torch.no_grad():
        module.qkv.bias[24:] = 5.0
        module.qkv.weight[24:] = 0.0
        module.directions.fill_(-10.0)
    torch.testing.assert_close(module(x), module.proj.bias.expand(2, 6, 12), rtol=0, atol=1e-10)


def test_padding_in_front_takes_no_place():
    module, _, x = pair()
    with torch.no_grad():
        module.growths.fill_(0.5)
    real = torch.arange(9).expand(2, 9) >= 3
    padded = torch.cat([torch.full((2, 3, 12), torch.nan).double(), x], 1)
    torch.testing.assert_close(module(padded, mask=real, causal=True)[:, 3:], module(x, causal=True))
    found = module.temperatures(padded, mask=real)["queries"]
    torch.testing.assert_close(found[..., 3:], module.temperatures(x)["queries"])


def test_query_key_is_that_at_unit_temperature():
    module, softmax, _ = pair()
    ours, theirs = module.query_key(), softmax.query_key()
    assert torch.equal(ours.query, theirs.query) and torch.equal(ours.key, theirs.key)
    assert torch.equal(ours.query_bias, theirs.query_bias) and ours.scale == theirs.scale


def test_few_new_parameters():
    module, softmax = create("selective", dim=192, num_heads=3), create("softmax", dim=192, num_heads=3)
    new = module.cost(1).parameters - softmax.cost(1).parameters
    assert new == 2 * (192 + 1) and new < 0.005 * softmax.cost(1).parameters


def test_what_is_wrong_is_named():
    with pytest.raises(InputError, match=r"parts must be a tuple .* queries, keys, values, got \(\)"):
        create("selective", dim=8, num_heads=2, parts=())
    with pytest.raises(InputError, match="terms must be a tuple"):
        create("selective", dim=8, num_heads=2, terms="token")
    with pytest.raises(InputError, match=r"one of parts.*did you mean values"):
        create("selective", dim=8, num_heads=2, parts=("value",))
    with pytest.raises(InputError, match="growth"):
        create("selective", dim=8, num_heads=2, growth="log")
