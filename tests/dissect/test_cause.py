"""Modes edited in running models: logits as predicted, everything else untouched, and effects beside chance."""

from __future__ import annotations

import json
from dataclasses import replace
from math import exp

import pytest
import torch
from torch import nn

import headwise
from headwise.backbones.timm_models import import_timm
from headwise.dissect import edited, effect, modes
from headwise.dissect.editing import added, edited_modes, mode_terms, random_terms
from headwise.dissect.faithful import observe
from headwise.dissect.logits import centred, mode_factors
from headwise.dissect.sinks import attention
from headwise.errors import InputError

VIT = {"img_size": 16, "patch_size": 4, "embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 0}
TEXT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32, "vocab_size": 50}


def shake(module):
    """Weights far from their start: no norm is the identity, no bias is zero."""
    generator = torch.Generator().manual_seed(5)
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def timm(**options):
    return shake(import_timm().models.VisionTransformer(**VIT | options))


def beit():
    options = {"init_values": 0.1, "qkv_bias": True, "use_rel_pos_bias": True}
    return shake(import_timm().models.Beit(**VIT | options))


def hf(config, **options):
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'headwise[hf]'")
    return shake(transformers.AutoModel.from_config(getattr(transformers, config)(**options)))


def encoder(**options):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(24, 4, 32, **{"batch_first": True, "norm_first": True} | options)
    return shake(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))


def mixer(name, **options):
    from headwise.mixers import create

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.mixer = nn.LayerNorm(24), create(name, dim=24, **options)

        def forward(self, x):
            return x + self.mixer(self.norm1(x))

    return shake(nn.Sequential(Layer(), Layer()))


def images():
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def sequence():
    return torch.randn(2, 7, 24, generator=torch.Generator().manual_seed(3))


def words():
    ids = torch.randint(2, 50, (2, 9), generator=torch.Generator().manual_seed(2))
    mask = torch.arange(9) < torch.tensor((9, 6))[:, None]
    return {"input_ids": ids.masked_fill(~mask, 0), "attention_mask": mask.long()}


GPT2 = {"n_embd": 24, "n_layer": 2, "n_head": 4, "vocab_size": 50}
SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}

# name: the module, its inputs
MODELS = {
    "timm": (timm, images),
    "timm without bias": (lambda: timm(qkv_bias=False), images),
    "timm, own biases of queries": (beit, images),
    "bert": (lambda: hf("BertConfig", **TEXT), words),
    "gpt2": (lambda: hf("GPT2Config", **GPT2), words),
    "swin": (lambda: hf("SwinConfig", **SWIN), lambda: {"pixel_values": torch.randn(2, 3, 32, 32)}),
    "torch encoder": (encoder, sequence),
    "torch encoder, norm last": (lambda: encoder(norm_first=False), sequence),
    "torch encoder, tokens first": (lambda: encoder(batch_first=False), sequence),
    "torch attention without bias": (lambda: shake(nn.MultiheadAttention(24, 4, bias=False)), sequence),
    "grouped queries": (lambda: mixer("grouped_query", num_heads=6, num_kv_heads=3), sequence),
}
EDITS = [(0, 1, 0, 0.0), (0, 1, 2, -1.5), (0, 0, 3, 3.0)]


def seen(model, inputs):
    """Every layer at work, after the check of its record."""
    found = []
    observe(model, model.query_keys(), inputs, lambda each: found.append(each))
    return found


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_untouched(before, module):
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_that_are_predicted(name):
    make, inputs = MODELS[name]
    model, inputs = headwise.load_backbone(make().double()), inputs()
    before, kept = seen(model, inputs), weights(model.model)
    first = before[0]
    found = modes(model.query_keys()[0])
    left, right = mode_factors(found, first.record, first.tokens)
    wanted = first.logits.clone()
    for _, head, mode, factor in EDITS:
        wanted[:, head] += (factor - 1) * left[:, head, :, mode, None] * right[:, head, None, :, mode]
    with edited(model, EDITS):
        got = seen(model, inputs)  # which checks them against outputs of fused kernels as well
        changed = modes(model.query_keys()[0])
    expected = (wanted, got[0].logits)
    torch.testing.assert_close(*(centred(side, first.used) for side in expected), atol=1e-9, rtol=0)
    assert (wanted - first.logits)[first.used].abs().max() > 0.1
    # singular values, in their new order
    sigma = found.sigma.clone()
    for _, head, mode, factor in EDITS:
        sigma[head, mode] *= abs(factor)
    torch.testing.assert_close(changed.sigma, sigma.sort(-1, descending=True).values, atol=1e-9, rtol=0)
    assert_untouched(kept, model.model)
    for one, two in zip(before, seen(model, inputs), strict=True):
        assert torch.equal(one.logits, two.logits)


@pytest.mark.parametrize("name", ["timm", "timm without bias", "bert", "torch encoder"])
def test_random_terms_are_exact_too(name):
    make, inputs = MODELS[name]
    model, inputs = headwise.load_backbone(make().double()), inputs()
    first, (records, found) = seen(model, inputs)[0], edited_modes(model, EDITS)
    terms = random_terms(found, mode_terms(found, EDITS), torch.Generator().manual_seed(0))
    wanted, z = first.logits.clone(), first.tokens
    for term in terms:
        assert term.u.norm() == pytest.approx(1) and term.v.norm() == pytest.approx(1)
        one = replace(found[0], sigma=found[0].sigma[:, :1] * 0 + term.strength)
        one = replace(one, u=term.u.expand(len(one.sigma), 1, -1), v=term.v.expand(len(one.sigma), 1, -1))
        left, right = mode_factors(one, first.record, z)
        wanted[:, term.head] += (left @ right.mT)[:, term.head]
    with added(model, records, terms):
        got = seen(model, inputs)[0].logits
    torch.testing.assert_close(*(centred(side, first.used) for side in (wanted, got)), atol=1e-9, rtol=0)


def test_a_factor_of_one_changes_nothing():
    model, inputs = headwise.load_backbone(encoder().double()), sequence()
    before = seen(model, inputs)
    with edited(model, [(1, 2, 0, 1)]):
        for one, two in zip(before, seen(model, inputs), strict=True):
            torch.testing.assert_close(one.logits, two.logits, atol=1e-12, rtol=0)


def test_other_heads_and_earlier_layers_do_not_change():
    model, inputs = headwise.load_backbone(timm().double()), images()
    before = seen(model, inputs)
    with edited(model, [(1, 2, 0, 0.0)]):
        after = seen(model, inputs)
    assert torch.equal(before[0].logits, after[0].logits)
    assert torch.equal(before[1].logits[:, :2], after[1].logits[:, :2])
    assert not torch.allclose(before[1].logits[:, 2], after[1].logits[:, 2])


def test_a_model_in_training_keeps_its_gradients_and_its_precision():
    module = encoder()
    module.train()
    model, kept = headwise.load_backbone(module), weights(module)
    with edited(model, EDITS):
        assert not torch.equal(module.layers[0].self_attn.in_proj_weight, kept["layers.0.self_attn.in_proj_weight"])
        module(sequence()).sum().backward()
    assert module.training and all(p.requires_grad and p.grad is not None for p in module.parameters())
    assert_untouched(kept, module)


def test_edits_may_stand_in_edits():
    model = headwise.load_backbone(encoder().double())
    kept, whole = weights(model.model), modes(model.query_keys()[0]).sigma[1]
    with edited(model, [(0, 1, 0, 0.0)]):
        with edited(model, [(0, 1, 0, 0.0)]):  # the largest of those that are left
            assert modes(model.query_keys()[0]).sigma[1].tolist() == pytest.approx(
                [*whole[2:].tolist(), 0, 0], abs=1e-9
            )
        assert modes(model.query_keys()[0]).sigma[1].tolist() == pytest.approx([*whole[1:].tolist(), 0], abs=1e-9)
    assert_untouched(kept, model.model)


def test_a_norm_whose_shift_cannot_be_taken_back():
    """Without a bias of the queries something must be the same for all tokens, and here nothing is."""
    module = timm(qkv_bias=False).double()
    norm = module.blocks[0].norm1
    norm.bias.data -= norm.weight.data * (norm.bias.data / norm.weight.data).mean()
    model = headwise.load_backbone(module)
    with (
        pytest.raises(InputError, match=r"blocks\.0\.attn has queries without a bias behind a norm"),
        edited(model, [(0, 0, 0, 0.0)]),
    ):
        pass


def rotary():
    options = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32}
    return hf("LlamaConfig", **options, vocab_size=50)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (rotary, r"layers\.0\.self_attn has rotary embeddings, so that M is another for each pair of places"),
        (lambda: timm(qk_norm=True), r"blocks\.0\.attn has a norm of its queries or keys"),
        (lambda: mixer("selective", num_heads=4), r"0\.mixer has temperatures of .*, which its record leaves out"),
    ],
)
def test_layers_whose_modes_no_weights_change_are_refused(make, said):
    model = headwise.load_backbone(make())
    with pytest.raises(InputError, match=said), edited(model, [(0, 0, 0, 0.0)]):
        pass


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ([], "no edits were given"),
        ([(0, 0, 0)], r"an edit is \(layer, head, mode, factor\), got \(0, 0, 0\)"),
        ([0], r"an edit is \(layer, head, mode, factor\), got 0"),
        ([(2, 0, 0, 0.0)], "layers are 0 to 1, got 2"),
        ([(-1, 0, 0, 0.0)], "the layer of an edit must be a whole number of at least 0, got -1"),
        ([(1, 4, 0, 0.0)], "layer 1 has attention heads 0 to 3, got 4"),
        ([(1, 3, 6, 0.0)], "attention heads of layer 1 have modes 0 to 5, got 6"),
        ([(0, 0, 0, float("nan"))], "the factor of an edit must be a finite number"),
        ([(0, 0, 0, True)], "the factor of an edit must be a finite number"),
        ([(0, 0, 0, 0.0), (0, 0, 0, 2.0)], "mode 0 of attention head 0 in layer 0 is edited twice"),
    ],
)
def test_edits_that_make_no_sense(edits, said):
    model = headwise.load_backbone(encoder())
    with pytest.raises(InputError, match=said), edited(model, edits):
        pass


def test_a_record_that_holds_copies_is_refused():
    model = headwise.load_backbone(encoder())
    records = [replace(record, query=record.query.clone()) for record in model.query_keys()]
    model.query_keys = lambda: records
    kept = weights(model.model)
    with pytest.raises(InputError, match=r"the record of layers\.0\.self_attn holds copies"), edited(model, EDITS):
        pass
    assert_untouched(kept, model.model)


# a planted model: what each mode does is known

SIGMA = (8.0, 7.0, 6.0, 5.0, 4.5, 4.0, 3.5, 3.0)
ASKS, ANSWERS = range(8), (0, 1, 2, 3, 8, 9, 10, 11)  # features of each mode: the first four look for their like
COUNT, WIDTH, MODE = 9, 32, 5
SIZE = (4.0 / SIGMA[MODE] * WIDTH**0.5) ** 0.5  # of the features: the logit between them is 4


def planted():
    """One attention head whose modes are known."""
    module = nn.MultiheadAttention(WIDTH, 1, bias=False, batch_first=True).double()
    eye = torch.eye(WIDTH, dtype=torch.float64)
    query, key = torch.zeros(2, WIDTH, WIDTH, dtype=torch.float64)
    for n, (sigma, asks, answers) in enumerate(zip(SIGMA, ASKS, ANSWERS, strict=True)):
        query[n], key[n] = sigma**0.5 * eye[asks], sigma**0.5 * eye[answers]
    module.in_proj_weight.data = torch.cat((query, key, eye))
    module.out_proj.weight.data = eye
    return headwise.load_backbone(module)


def asking():
    """Tokens of which the first asks with a mode and the last but one answers; the others have other features."""
    tokens = 0.1 * torch.randn(1, COUNT, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens[..., :12] = 0
    tokens[0, 0, ASKS[MODE]], tokens[0, COUNT - 2, ANSWERS[MODE]] = SIZE, SIZE
    tokens[0, 1, 1], tokens[0, 3, 10] = 1.0, 1.0
    return tokens


def masks():
    region, queries = torch.zeros(1, COUNT, dtype=torch.bool), torch.zeros(1, COUNT, dtype=torch.bool)
    region[0, COUNT - 2], queries[0, 0] = True, True
    return {"region": region, "queries": queries}


def share(logit):
    """Attention to one of the tokens, where the others have logit zero."""
    return 1 / (1 + (COUNT - 1) * exp(-logit))


def test_planted_modes_are_recovered():
    found = modes(planted().query_keys()[0])
    assert found.sigma[0, :8].tolist() == pytest.approx(SIGMA) and found.sigma[0, 8:].abs().max() < 1e-12
    assert (found.u * found.v).sum(-1)[0, :8].tolist() == pytest.approx([1] * 4 + [0] * 4, abs=1e-12)


def test_removing_the_planted_mode_moves_attention_as_predicted_and_random_ones_do_not():
    model, tokens = planted(), asking()
    found = effect(model, tokens, [(0, 0, MODE, 0.0)], draws=50, **masks())
    # in closed form: the asking token's only logit that is not zero is 4
    before, after = found.layers[0].mass[:, 0].tolist()
    assert before == pytest.approx(share(4.0), abs=1e-12)
    assert after == pytest.approx(1 / COUNT, abs=1e-12)
    assert found.layers[0].variation.tolist() == pytest.approx([before - after], abs=1e-12)
    # random directions of the same strength move it by far less
    (row,) = found.heads
    assert row["mass_change"] == pytest.approx(after - before)
    assert abs(row["control_mass_change"]) < 0.1 * abs(row["mass_change"])
    moved = (found.layers[0].control_mass[:, 0] - before).abs()
    assert moved.max() < abs(row["mass_change"]) and moved.median() < 0.2 * abs(row["mass_change"])
    assert row["control_variation"] < 0.25 * row["variation"]
    assert found.outputs > 0 and found.control_outputs.shape == (50,)


def test_removing_a_mode_that_does_not_serve_the_query_moves_nothing():
    found = effect(planted(), asking(), [(0, 0, MODE + 1, 0.0)], draws=2, **masks())
    assert float(found.layers[0].variation) < 1e-12
    assert float(found.layers[0].mass[1] - found.layers[0].mass[0]) == pytest.approx(0, abs=1e-12)


def test_all_queries_count_where_none_are_named():
    model, tokens = planted(), asking()
    found = effect(model, tokens, [(0, 0, MODE, 0.5)], draws=2, region=masks()["region"].double())
    maps = [attention(seen(model, tokens)[0])]
    with edited(model, [(0, 0, MODE, 0.5)]):
        maps.append(attention(seen(model, tokens)[0]))
        outputs = model.tokens(tokens)[0].detach()
    masses = [float(each[0, 0, :, COUNT - 2].mean()) for each in maps]
    assert found.layers[0].mass[:, 0].tolist() == pytest.approx(masses, abs=1e-12)
    variation = (maps[0] - maps[1]).abs().sum(-1).mean() / 2
    assert float(found.layers[0].variation) == pytest.approx(float(variation), abs=1e-12)
    plain = model.tokens(tokens)[0].detach()
    assert found.outputs == pytest.approx(float((outputs - plain).norm() / plain.norm()), abs=1e-12)


def test_scores_with_and_without_the_mode():
    model, tokens = planted(), asking()
    kept = weights(model.model)

    def score(given):
        assert given is model and next(given.model.parameters()).dtype == torch.float64
        return float(given.tokens(tokens)[0].detach()[0, 0, ANSWERS[MODE]])  # what it has read

    found = effect(model, tokens, [(0, 0, MODE, 0.0)], score, draws=20)
    before, after = found.scores
    assert before == pytest.approx(SIZE * share(4.0)) and after == pytest.approx(SIZE / COUNT)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["score"]["change"] == pytest.approx(after - before) and told["draws"] == 20
    assert abs(told["score"]["control_change"]) < 0.2 * abs(told["score"]["change"])
    assert told["edits"] == [[0, 0, MODE, 0.0]] and told["heads"][0]["edited"] and "mass_before" not in told["heads"][0]
    assert_untouched(kept, model.model)


def test_a_score_that_fails_leaves_the_model_as_it_was():
    model, tokens = planted(), asking()
    kept, calls = weights(model.model), []

    def score(given):
        calls.append(given)
        if len(calls) == 3:
            raise RuntimeError("out of patience")
        return 0.0

    with pytest.raises(RuntimeError, match="out of patience"):
        effect(model, tokens, [(0, 0, MODE, 0.0)], score, draws=5)
    assert len(calls) == 3
    assert_untouched(kept, model.model)


def test_later_layers_are_measured_and_earlier_ones_left_out():
    model = headwise.load_backbone(timm())
    kept = weights(model.model)
    found = effect(model, images(), [(1, 2, 0, 0.0)], draws=2)
    assert [each.layer for each in found.layers] == [1]
    assert [row["variation"] > 1e-6 for row in found.heads] == [False, False, True]
    found = effect(model, images(), [(0, 1, 0, 0.0), (1, 2, 0, 0.0)], draws=2)
    assert [each.layer for each in found.layers] == [0, 1] and all(row["variation"] > 0 for row in found.heads[3:])
    assert [row["edited"] for row in found.heads] == [False, True, False, False, False, True]
    assert repr(found).startswith("Effect(2 edits; outputs change by 0.")
    assert repr(found.layers[0]).startswith("LayerEffect(blocks.0.attn: attention varies by 0.")
    assert found.layers[0].name == "blocks.0.attn" and found.scores is None and found.layers[0].mass is None
    assert_untouched(kept, model.model)
    assert all(parameter.dtype == torch.float32 for parameter in model.model.parameters())


def test_half_precision_is_measured_in_float64():
    module = encoder().to(torch.bfloat16)
    model = headwise.load_backbone(module)
    found = effect(model, sequence(), [(0, 1, 0, 0.0)], draws=2)
    again = effect(headwise.load_backbone(encoder().to(torch.bfloat16).double()), sequence(), [(0, 1, 0, 0.0)], draws=2)
    torch.testing.assert_close(found.layers[0].variation, again.layers[0].variation)
    assert all(parameter.dtype == torch.bfloat16 for parameter in module.parameters())


def test_padding_and_windows():
    found = effect(headwise.load_backbone(hf("BertConfig", **TEXT)), words(), [(0, 1, 0, 0.0)], draws=2)
    assert len(found.layers) == 2 and 0 < float(found.layers[0].variation[1]) < 1
    region = torch.zeros(2, 64, dtype=torch.bool)
    region[:, :8] = True  # the first row of the grid: of windows of 16 tokens, half have 4 of it
    inputs = {"pixel_values": torch.randn(2, 3, 32, 32)}
    model = headwise.load_backbone(hf("SwinConfig", **SWIN))
    with pytest.raises(InputError, match=r"region is \(2, 64\), and .* sees \(2, 16\) samples and tokens"):
        effect(model, inputs, [(0, 1, 0, 0.0)], region=region, draws=2)


def test_the_same_seed_gives_the_same_control():
    model, tokens = planted(), asking()
    first, second, other = (effect(model, tokens, [(0, 0, MODE, 0.0)], draws=3, seed=s) for s in (1, 1, 2))
    assert torch.equal(first.control_outputs, second.control_outputs)
    assert not torch.equal(first.control_outputs, other.control_outputs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"draws": 1}, "draws must be a whole number of at least 2"),
        ({"region": torch.ones(9)}, r"region is a mask over the tokens of each sample, \(n, s\)"),
        (
            {"region": torch.ones(1, 4, dtype=torch.bool)},
            r"region is \(1, 4\), and .* sees \(1, 9\) samples and tokens",
        ),
        ({"queries": torch.zeros(1, 9, dtype=torch.bool)}, "queries is a bool mask .* at least one token"),
        ({"queries": torch.ones(1, 9)}, "queries is a bool mask"),
    ],
)
def test_masks_that_make_no_sense(options, said):
    with pytest.raises(InputError, match=said):
        effect(planted(), asking(), [(0, 0, MODE, 0.0)], **{"draws": 2} | options)
