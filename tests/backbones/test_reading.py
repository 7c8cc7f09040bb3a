"""Attention layers of modules of one's own, by their structure."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import headwise
from headwise.backbones.reading import as_norm, query_keys
from headwise.dissect import check
from headwise.errors import InputError


class Mine(nn.Module):
    """Attention whose parts are what a test asks for; queries may be grouped."""

    def __init__(self, apart=False, heads=4, key_heads=4, width=6, d=24, **settings):
        super().__init__()
        self.sizes = [heads * width, key_heads * width, key_heads * width]
        if apart:
            self.q_proj, self.k_proj, self.v_proj = (nn.Linear(d, size) for size in self.sizes)
        else:
            self.qkv_proj = nn.Linear(d, sum(self.sizes))
        self.out = nn.Linear(heads * width, d)
        self.width, self.groups = width, heads // key_heads
        self.config = SimpleNamespace(num_attention_heads=heads, **settings)

    def forward(self, x):
        if hasattr(self, "qkv_proj"):
            parts = self.qkv_proj(x).split(self.sizes, -1)
        else:
            parts = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        q, k, v = (part.unflatten(-1, (-1, self.width)).transpose(1, 2) for part in parts)
        y = F.scaled_dot_product_attention(q, k, v, enable_gqa=self.groups > 1)
        return self.out(y.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, norm="input_layernorm", **options):
        super().__init__()
        self.attention = Mine(**options)
        if norm:
            setattr(self, norm, nn.LayerNorm(24))
        self.norm = norm

    def forward(self, x):
        return x + self.attention(getattr(self, self.norm)(x) if self.norm else x)


def net(**options):
    torch.manual_seed(3)
    return nn.Sequential(*(Layer(**options) for _ in range(2)))


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("norm", ["input_layernorm", "norm1", "ln_1", ""])
def test_structure_is_found_and_holds(apart, key_heads, norm):
    module = net(apart=apart, key_heads=key_heads, norm=norm, head_dim=6)
    records = query_keys(module)
    assert [(r.layer, r.name) for r in records] == [(0, "0.attention"), (1, "1.attention")]
    for record in records:
        assert record.query.shape == (4, 6, 24) and record.key.shape == (key_heads, 6, 24)
        assert record.groups == 4 // key_heads
        assert record.reads == (f"{record.layer}.{norm}" if norm else "") and (record.input_norm is None) == (not norm)
    model = headwise.load_backbone(module)
    assert check(model, records, torch.randn(2, 5, 24)).largest < 1e-9


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"heads": 5, "key_heads": 5, "width": 5}, r"0\.attention\.qkv_proj has 75 outputs"),
        ({"heads": 4, "key_heads": 2, "head_dim": 20}, r"48 outputs, which 4 attention heads of width 20 cannot share"),
        ({"heads": 4, "key_heads": 3, "apart": True}, r"0\.attention\.k_proj has 18 rows of keys, which do not make"),
    ],
)
def test_widths_that_heads_do_not_share(options, said):
    module = net(**options)
    if options.get("width") == 5:
        module[0].attention.config.num_attention_heads = 4
    with pytest.raises(InputError, match=said):
        query_keys(module)


def test_maps_that_are_not_linear_are_refused():
    module = net(apart=True)
    module[1].attention.q_proj = nn.Bilinear(24, 24, 24)
    with pytest.raises(InputError, match=r"1\.attention\.q_proj is a Bilinear; a linear map"):
        query_keys(module)


def test_quantised_weights_are_refused():
    module = net(apart=True)
    module[0].attention.q_proj.weight = nn.Parameter(torch.zeros(24, 24, dtype=torch.int8), requires_grad=False)
    with pytest.raises(InputError, match=r"0\.attention has weights of torch\.int8: quantised models are not read"):
        query_keys(module)


def test_norms_of_several_heads_together_are_refused():
    module = net()
    module[0].attention.q_norm = module[0].attention.k_norm = nn.RMSNorm(24)
    with pytest.raises(InputError, match=r"0\.attention\.q_norm acts on \(24,\) features; one attention head has 6"):
        query_keys(module)


def test_norms():
    assert as_norm(None, "n") is None and as_norm(nn.Identity(), "n") is None
    found = as_norm(nn.LayerNorm(4, eps=1e-3), "n")
    assert found.kind == "layer" and found.eps == 1e-3 and found.weight.shape == (4,)
    found = as_norm(nn.RMSNorm(4), "n")
    assert found.kind == "rms" and found.eps == torch.finfo(torch.float32).eps and found.bias is None
    with pytest.raises(InputError, match="n is a BatchNorm1d; a LayerNorm, an RMSNorm or an identity was expected"):
        as_norm(nn.BatchNorm1d(4), "n")


def test_attention_between_two_inputs_is_left_out_and_named():
    layer = nn.TransformerDecoderLayer(24, 4, 32, batch_first=True)
    model = headwise.load_backbone(nn.TransformerDecoder(layer, 2))
    assert [r.name for r in model.query_keys()] == ["layers.0.self_attn", "layers.1.self_attn"]
    inputs = {"tgt": torch.randn(2, 5, 24), "memory": torch.randn(2, 7, 24)}
    found = check(model, model.query_keys(), inputs)
    assert found.largest < 1e-9
    assert found.left_out == ("layers.0.multihead_attn", "layers.1.multihead_attn")


@pytest.mark.parametrize("batch_first", [True, False])
def test_tokens_of_a_module(batch_first):
    layer = nn.TransformerEncoderLayer(24, 4, 32, batch_first=batch_first)
    module = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval()
    model = headwise.load_backbone(module)
    x = torch.randn(2, 5, 24)
    given = x if batch_first else x.transpose(0, 1)
    first, last = model.tokens(given, [0, 2])
    assert first.shape == last.shape == (2, 5, 24)
    entered = model.tokens(given, [0, 1], at="block_input")
    assert torch.equal(entered[0], x) and torch.equal(entered[1], first)
    wanted = module(given)
    torch.testing.assert_close(last, wanted if batch_first else wanted.transpose(0, 1))
    with pytest.raises(InputError, match="has layers 0 to 2, got 3"):
        model.tokens(given, [3])
    with pytest.raises(InputError, match="takes a tensor or a mapping of its arguments to tensors, got list"):
        model.tokens([x])
    with pytest.raises(InputError, match="at must be 'output' or 'block_input', got 'input'"):
        model.tokens(given, at="input")


def test_the_module_is_not_changed():
    module = net()
    model = headwise.load_backbone(module)
    assert model.model is module and module.training and all(p.requires_grad for p in module.parameters())
    assert model.num_parameters == sum(p.numel() for p in module.parameters())
    assert len(model.weights_hash) > 10


def test_layers_with_other_numbers_of_attention_heads():
    module = nn.Sequential(Layer(heads=4, key_heads=4, width=6), Layer(heads=2, key_heads=2, width=6))
    found = headwise.dissect(headwise.load_backbone(module), draws=2)
    assert found.effective_rank.isnan().tolist() == [[False] * 4, [False, False, True, True]]


def test_a_model_in_training_gives_the_tokens_of_evaluation_and_stays_in_training():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True)
    backbone, inputs = (
        headwise.load_backbone(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)),
        torch.randn(2, 5, 8),
    )
    backbone.model.layers[0].norm1.eval()
    before = [module.training for module in backbone.model.modules()]
    (first,), (second,) = backbone.tokens(inputs), backbone.tokens(inputs)
    assert torch.equal(first, second) and any(before)
    assert [module.training for module in backbone.model.modules()] == before
