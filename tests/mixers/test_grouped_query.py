"""The family of grouped queries: published numbers, torch and transformers, conversion, allotment, noise."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from headwise import InputError
from headwise.mixers import create, load
from headwise.mixers.allotting import allot, owners, squeeze_the_largest
from headwise.mixers.dynamic_grouped_query import DynamicGroupedQuery, _at_random
from headwise.mixers.grouped_query import GroupedQuery
from headwise.mixers.key_driven_grouped_query import KeyDrivenGroupedQuery

FAMILY = ("grouped_query", "key_driven_grouped_query", "dynamic_grouped_query", "perturbed_grouped_query")
by_hand = runpy.run_path(str(Path(__file__).parent / "references" / "key_driven_grouped_query.py"))["allotment"]


def filled(name: str, **options):
    """The module whose outputs the authors' code gives: 24 wide, 6 query heads, 3 key heads."""
    module = create(name, dim=24, num_heads=6, num_kv_heads=3, **options).double().eval()
    with torch.no_grad():
        for k, (part, what) in enumerate((p, w) for p in ("q", "k", "v", "proj") for w in ("weight", "bias")):
            tensor = getattr(getattr(module, part), what)
            steps = torch.arange(tensor.numel(), dtype=torch.float64)
            tensor.copy_((0.3 * torch.sin(1 + 0.5 * k + 0.17 * steps)).view_as(tensor))
    return module, torch.cos(0.1 * torch.arange(240, dtype=torch.float64)).view(2, 5, 24)


def is_published(out, total, squares, first):
    assert out.sum().item() == pytest.approx(total, abs=1e-7)
    assert out.square().sum().item() == pytest.approx(squares, abs=1e-7)
    assert out.flatten()[:5].tolist() == pytest.approx(first, abs=1e-8)


UNIFORM = (7.57051114, 127.63363402, [-0.34581775, 0.81343218, -1.56092372, 0.0935061, 0.54597701])
NORMS = [20.11410447, 19.96587758, 20.28772353]


@pytest.mark.parametrize("name", ["grouped_query", "dynamic_grouped_query", "perturbed_grouped_query"])
def test_uniform_groups_give_the_numbers_of_the_authors_code(name):
    module, x = filled(name)
    is_published(module(x), *UNIFORM)


def test_key_driven_gives_the_numbers_of_the_authors_code():
    module, x = filled("key_driven_grouped_query")
    assert module.allotment(x).tolist() == [2, 0, 4]
    first = [-0.40308691, 0.69340508, -1.36176489, -0.02190177, 0.48324725]
    is_published(module(x), 7.63865668, 126.66419162, first)


@pytest.mark.parametrize("rule", ["ema", "diff"])
def test_dynamic_evaluation_of_the_authors_code(rule):
    module, x = filled("dynamic_grouped_query", rule=rule, update_in_eval=True)
    is_published(module(x), *UNIFORM)
    assert module.allotment.tolist() == [2, 2, 2]
    assert module.norms.tolist() == pytest.approx(NORMS, abs=1e-8)
    out = module(x)  # the same batch again: 0 / 0 for "diff", which never ends in that code
    assert torch.isfinite(out).all() and module.allotment.tolist() == [2, 2, 2]


@pytest.mark.parametrize("causal", [False, True])
def test_grouped_query_is_that_of_torch(causal):
    module, x = filled("grouped_query")
    q, k, v = (
        part(x).view(2, 5, heads, 4).transpose(1, 2) for part, heads in ((module.q, 6), (module.k, 3), (module.v, 3))
    )
    wanted = F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
    wanted = module.proj(wanted.transpose(1, 2).reshape(2, 5, 24))
    torch.testing.assert_close(module(x, causal=causal), wanted, rtol=0, atol=1e-12)


def test_grouped_query_is_that_of_transformers():
    llama = pytest.importorskip("transformers.models.llama", reason="transformers is not installed (extra hf)")
    module, x = filled("grouped_query")
    config = llama.LlamaConfig(
        hidden_size=24,
        num_attention_heads=6,
        num_key_value_heads=3,
        attention_bias=True,
        attn_implementation="sdpa",  # the other one has its softmax in single precision
    )
    theirs = llama.modeling_llama.LlamaAttention(config, layer_idx=0).double().eval()
    for ours, name in (("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj"), ("proj", "o_proj")):
        getattr(theirs, name).load_state_dict(getattr(module, ours).state_dict())
    unrotated = (torch.ones(1, 5, 4).double(), torch.zeros(1, 5, 4).double())
    torch.testing.assert_close(module(x, causal=True), theirs(x, unrotated, None)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_conversion_averages_consecutive_heads(bias):
    softmax = create("softmax", dim=24, num_heads=6, qkv_bias=bias).double()
    made = GroupedQuery.from_softmax(softmax, num_kv_heads=2)
    keys = softmax.qkv.weight[24:48]
    for g in range(2):
        for channel in range(4):
            wanted = sum(keys[(3 * g + j) * 4 + channel] for j in range(3)) / 3
            torch.testing.assert_close(made.k.weight[4 * g + channel], wanted)
    if bias:
        values = softmax.qkv.bias[48:].view(2, 3, 4).mean(1).flatten()
        torch.testing.assert_close(made.v.bias, values)
    x = torch.randn(2, 5, 24).double()
    # heads that agree lose nothing by it, and as many key heads as query heads is the same layer
    torch.testing.assert_close(GroupedQuery.from_softmax(softmax, num_kv_heads=6)(x), softmax(x))
    with torch.no_grad():
        for part in (softmax.qkv.weight[24:48], softmax.qkv.weight[48:]):
            part.copy_(part.view(2, 3, 4, 24)[:, :1].expand(2, 3, 4, 24).reshape(24, 24))
        if bias:
            for part in (softmax.qkv.bias[24:48], softmax.qkv.bias[48:]):
                part.copy_(part.view(2, 3, 4)[:, :1].expand(2, 3, 4).reshape(24))
    torch.testing.assert_close(GroupedQuery.from_softmax(softmax, num_kv_heads=2)(x), softmax(x))


def test_conversion_takes_options_and_stays_in_evaluation():
    softmax = create("softmax", dim=24, num_heads=6, num_prefix_tokens=1).eval()
    made = DynamicGroupedQuery.from_softmax(softmax, 3, rule="diff")
    assert (made.config.rule, made.config.num_prefix_tokens, made.training) == ("diff", 1, False)


@pytest.mark.parametrize("name", FAMILY)
def test_heads_and_groups_that_do_not_divide_are_refused(name):
    with pytest.raises(InputError, match=r"num_kv_heads must divide num_heads=6, got 5; the next below that does is 3"):
        create(name, dim=24, num_heads=6, num_kv_heads=5)
    with pytest.raises(InputError, match="num_heads must divide dim=24"):
        create(name, dim=24, num_heads=5)


def test_query_key_gives_the_logits_of_each_group():
    module, x = filled("grouped_query")
    found = module.query_key()
    q = torch.einsum("hdc,bnc->bhnd", found.query, x) + found.query_bias[:, None]
    k = torch.einsum("hdc,bnc->bhnd", found.key, x) + found.key_bias[:, None]
    logits = q @ k.repeat_interleave(found.groups, 1).transpose(-2, -1) * found.scale
    v = module.v(x).view(2, 5, 3, 4).transpose(1, 2).repeat_interleave(2, 1)
    out = (logits.softmax(-1) @ v).transpose(1, 2).reshape(2, 5, 24)
    torch.testing.assert_close(module(x), module.proj(out))


def test_allotments_by_hand():
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        groups = int(torch.randint(1, 8, (), generator=generator))
        heads = groups * int(torch.randint(1, 5, (), generator=generator))
        norms = torch.rand(groups, generator=generator, dtype=torch.float64)
        scaled = (norms - norms.min()) / (norms.max() - norms.min())
        found = allot(scaled, heads, squeeze_the_largest)
        assert found.tolist() == by_hand(norms.tolist(), heads)
        served = [g for g, count in enumerate(found.tolist()) for _ in range(count)]
        assert owners(found, heads).tolist() == served
        at_random = allot(norms, heads, _at_random)
        assert at_random.sum() == heads and (at_random >= 0).all()


def test_halves_round_to_even_and_the_first_gives_way():
    assert allot(torch.tensor([1.0, 1.0, 2.0, 0.0]), 2, squeeze_the_largest).tolist() == [1, 0, 1, 0]  # .5, .5, 1, 0
    assert allot(torch.tensor([3.0, 3.0, 2.0]), 4, squeeze_the_largest).tolist() == [1, 2, 1]  # 1.5, 1.5, 1
    for nothing in (torch.zeros(3), torch.tensor([torch.nan, 1, 1]), torch.tensor([torch.inf, 1, 1])):
        assert allot(nothing, 6, squeeze_the_largest).tolist() == [2, 2, 2]


def test_key_driven_allotment_knows_neither_scale_nor_order():
    module, x = filled("key_driven_grouped_query")
    counts = module.allotment(x)
    assert torch.equal(module.allotment(x[:, [3, 1, 4, 0, 2]]), counts)
    with torch.no_grad():
        module.k.weight.mul_(7)
        module.k.bias.mul_(7)
    assert torch.equal(module.allotment(x), counts)


def test_padding_counts_in_no_norm():
    module, x = filled("key_driven_grouped_query")
    padded = torch.cat([x, torch.full((2, 3, 24), torch.nan).double()], 1)
    real = torch.arange(8).expand(2, 8) < 5
    torch.testing.assert_close(module(padded, mask=real)[:, :5], module(x), rtol=0, atol=1e-12)


def test_equal_or_unknown_norms_give_the_uniform_allotment():
    module, x = filled("key_driven_grouped_query")
    assert module.allotment(torch.full_like(x, torch.nan)).tolist() == [2, 2, 2]
    with torch.no_grad():
        module.k.weight.zero_()
        module.k.bias.fill_(1.0)
    assert module.allotment(x).tolist() == [2, 2, 2]


@pytest.mark.parametrize("rule", ["ema", "diff"])
def test_dynamic_training_step_by_step(rule):
    """Against a loop in Python numbers over nine steps in two epochs, window 3."""
    module, _ = filled("dynamic_grouped_query", rule=rule, window=3)
    module.train()
    generator = torch.Generator().manual_seed(1)
    remembered, changes = [0.0] * 3, 0
    for step in [0, 1, 2, 3, 4, 5, 0, 1, 2]:
        if step == 0:
            module.start_epoch()
        x = torch.randn(2, 5, 24, generator=generator).double()
        norms = [0.0] * 3
        for sample in module.k(x).detach():
            for g in range(3):
                norms[g] += math.sqrt(sum(v * v for v in sample[:, 4 * g : 4 * g + 4].flatten().tolist()))
        before = module.allotment.tolist()
        module(x)
        counts = module.allotment.tolist()
        assert sum(counts) == 6 and min(counts) >= 0
        if step % 3:
            assert counts == before
        else:
            pairs = list(zip(remembered, norms, strict=True))
            share = [0.9 * m + 0.1 * c if rule == "ema" else abs(c - m) for c, m in pairs]
            rounded = [round(s / sum(share) * 6) for s in share]
            excess = sum(rounded) - 6
            moves = [(r - c) * (1 if excess > 0 else -1) for r, c in zip(rounded, counts, strict=True)]
            assert min(moves) >= 0 and sum(moves) == abs(excess)
            remembered = [(c + m) / 3 for c, m in pairs]
            changes += counts != before
        assert module.norms.tolist() == pytest.approx(remembered, rel=1e-12)
    assert int(module.step) == 3


def test_dynamic_evaluation_changes_nothing_and_the_state_is_saved(tmp_path):
    module, x = filled("dynamic_grouped_query", rule="diff", window=1)
    module.train()
    with torch.no_grad():
        module.k.weight[4:8] *= 5  # a key head that outweighs the others
    module(x)
    assert module.allotment.tolist() != [2, 2, 2]
    module.eval()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    out = module(x)
    torch.testing.assert_close(module(x[:1]), out[:1], rtol=0, atol=1e-12)
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    module.save_pretrained(tmp_path / "mixer")
    again = load(tmp_path / "mixer")
    assert torch.equal(again.allotment, module.allotment) and torch.equal(again.step, module.step)
    torch.testing.assert_close(again(x), out, rtol=0, atol=0)


def test_norms_that_are_not_finite_are_not_remembered():
    module, x = filled("dynamic_grouped_query", window=1)
    module.train()
    module(x)
    before = module.norms.clone()
    module(torch.full_like(x, torch.nan))
    assert torch.equal(module.norms, before) and module.allotment.tolist() == [2, 2, 2]


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_step_under_gradient_checkpointing_counts_once(reentrant):
    module, x = filled("dynamic_grouped_query", rule="diff", window=1)
    module.train()
    x = x.requires_grad_()
    checkpoint(module, x, use_reentrant=reentrant).square().sum().backward()
    assert int(module.step) == 1
    found, x.grad = x.grad, None
    again, _ = filled("dynamic_grouped_query", rule="diff", window=1)
    again.train()(x).square().sum().backward()
    torch.testing.assert_close(found, x.grad)


@pytest.mark.parametrize("shown", [None, "tokens", "pairs"])
def test_noise_on_maps_by_hand(shown):
    module, x = filled("perturbed_grouped_query", noise_in_eval=True)
    real = torch.tensor([[True] * 5, [True, True, True, False, False]])
    pairs = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(5)) < 0.6
    mask = {None: None, "tokens": real, "pairs": pairs}[shown]
    torch.manual_seed(3)
    found = module(x, mask=mask)
    torch.manual_seed(3)
    drawn = torch.randn(6, 5, 5, dtype=torch.float64)
    wanted = torch.zeros_like(x)
    for b in range(2):
        for t in range(5):
            if shown == "tokens" and not real[b, t]:
                continue
            row = []
            for h in range(6):
                g = h // 2
                seen = [u for u in range(5) if mask is None or bool((real if shown == "tokens" else pairs[:, t])[b, u])]
                own = slice(4 * g, 4 * g + 4)
                q = module.q(x[b, t])[4 * h : 4 * h + 4]
                if not seen:
                    row.append(torch.zeros_like(q))
                    continue
                weights = torch.stack([q @ module.k(x[b, u])[own] / 2 for u in seen]).softmax(0)
                std = weights.std() if len(seen) > 1 else 0.0
                noise = [0.0 if u == t else weights.mean() + std * drawn[h, t, u] for u in seen]
                row.append(sum((w - e) * module.v(x[b, u])[own] for w, e, u in zip(weights, noise, seen, strict=True)))
            wanted[b, t] = module.proj(torch.cat(row))
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


def test_noise_on_outputs_by_hand():
    """The noise of the authors' code: uniform, diagonal zero, rows standardised, then scaled as the outputs are."""
    module, x = filled("perturbed_grouped_query", noise_on="outputs", noise_in_eval=True)
    plain, _ = filled("grouped_query")
    with torch.no_grad():
        for each in (module, plain):
            each.proj.weight.copy_(torch.eye(24))
            each.proj.bias.zero_()
    torch.manual_seed(3)
    found = module(x)
    torch.manual_seed(3)
    drawn = torch.rand(3, 2, 20, dtype=torch.float64)
    heads = plain(x).view(2, 5, 6, 4).clone()
    for b in range(2):
        for g in range(3):
            for i in range(2):
                rows = heads[b, :, 2 * g + i].clone()
                noise = drawn[g, i].clone()
                noise[i] = 0
                noise = (noise - noise.mean()) / noise.std()
                heads[b, :, 2 * g + i] = rows - (rows.mean() + rows.std() * noise).view(5, 4)
    torch.testing.assert_close(found, heads.view(2, 5, 24), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("noise_on", ["maps", "outputs"])
def test_noise_is_repeatable_and_keeps_what_every_mixer_promises(noise_on):
    module, x = filled("perturbed_grouped_query", noise_on=noise_on)
    module.train()
    torch.manual_seed(0)
    out = module(x)
    torch.manual_seed(0)
    assert torch.equal(module(x), out)
    assert not torch.equal(module(x), out)
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[:, 3:] = False
    torch.manual_seed(0)
    wanted = module(x, mask=mask)
    torch.manual_seed(0)
    poisoned = x.clone()
    poisoned[:, 3:] = torch.nan
    assert torch.equal(module(poisoned, mask=mask), wanted) and not wanted[:, 3:].any()
    assert not module(x, mask=torch.zeros_like(mask)).any()
    x = x.requires_grad_()
    for given in ({}, {"mask": mask}, {"mask": torch.zeros(2, 5, 5, dtype=torch.bool)}):
        out = checkpoint(module, x, use_reentrant=False, **given)
        assert torch.isfinite(torch.autograd.grad(out.square().sum(), x)[0]).all()
    one = module(x[:, :1])
    assert torch.isfinite(one).all() and torch.isfinite(torch.autograd.grad(one.sum(), x)[0]).all()


def test_noise_makes_the_maps_of_a_group_less_alike():
    """Query heads of a group that are the same have the same maps; the noise parts them."""
    module, x = filled("perturbed_grouped_query", noise_in_eval=True, noise_on="outputs")
    with torch.no_grad():
        module.q.weight.view(3, 2, 4, 24)[:, 1] = module.q.weight.view(3, 2, 4, 24)[:, 0]
        module.q.bias.view(3, 2, 4)[:, 1] = module.q.bias.view(3, 2, 4)[:, 0]
        module.proj.weight.copy_(torch.eye(24))
        module.proj.bias.zero_()
    heads = module(x).view(2, 5, 3, 2, 4)
    assert (heads[..., 0, :] - heads[..., 1, :]).abs().max() > 0.1


def test_programs_of_the_authors_switches():
    """What evaluation by the authors' code needs runs in one compiled program as well."""
    module = create("dynamic_grouped_query", dim=12, num_heads=6, num_kv_heads=3, update_in_eval=True).eval()
    x = torch.randn(2, 5, 12)
    out = torch.compile(module, backend="eager", fullgraph=True)(x)
    assert module.norms.all() and torch.isfinite(out).all()
    assert KeyDrivenGroupedQuery.traits.batch_independent is False
