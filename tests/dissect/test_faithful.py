"""The check of records and modes against the logits that models compute, and the dissection of whole backbones."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import headwise
from headwise.backbones.plain import PlainBackbone
from headwise.backbones.timm_models import import_timm
from headwise.backbones.vit import VisionTransformer, VisionTransformerConfig
from headwise.contracts import Preprocessing, Rotary
from headwise.dissect import Dissection, all_modes, check, dissect, mode_cosines, weighted_cosine
from headwise.dissect.faithful import BOUND
from headwise.errors import HeadwiseError, InputError

SIZES = {"img_size": 16, "patch_size": 4, "embed_dim": 48, "depth": 3, "num_heads": 4, "num_classes": 0}


def shake(module):
    """Weights far from their start: no norm is the identity, no bias is zero."""
    generator = torch.Generator().manual_seed(5)
    for parameter in module.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return module


def wrap(module, forward, prefix=1):
    half = (0.5, 0.5, 0.5)
    return PlainBackbone("small", shake(module), forward, Preprocessing((16, 16), half, half), (4, 4), prefix, "none")


def own():
    module = VisionTransformer(VisionTransformerConfig(image_size=16, width=48, depth=3))
    return wrap(module, module)


def timm_model(**options):
    module = import_timm().models.VisionTransformer(**SIZES | options)
    return wrap(module, module.forward_features, module.num_prefix_tokens)


def rms():
    from timm.layers import RmsNorm

    return timm_model(norm_layer=RmsNorm)


MODELS = {
    "own": own,
    "timm": timm_model,
    "no bias": lambda: timm_model(qkv_bias=False),
    "registers": lambda: timm_model(reg_tokens=4, init_values=0.1),
    "norm first": lambda: timm_model(pre_norm=True),
    "rms": rms,
}


@pytest.fixture
def images():
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MODELS)
def test_modes_describe_the_logits_of_the_model(name, images):
    model = MODELS[name]()
    records = model.query_keys()
    before = {k: v.clone() for k, v in model.model.state_dict().items()}
    found = check(model, records, images, all_modes(records))
    assert found.names == tuple(f"blocks.{i}.attn" for i in range(3)) and not found.left_out
    assert [d.shape for d in found.differences] == [(4,)] * 3 and 0 < found.largest < 1e-9
    assert check(model, records, images).largest <= found.largest
    # the model ran in double precision and is as it was
    after = model.model.state_dict()
    assert all(torch.equal(before[k], after[k]) and before[k].dtype == after[k].dtype for k in before)


def eva(**options):
    """No rotary embedding, and a bias of queries and values that is not a part of the linear map."""
    module = import_timm().models.Eva(**SIZES | {"use_rot_pos_emb": False, "qkv_fused": True} | options)
    return wrap(module, module.forward_features, module.num_prefix_tokens)


def test_a_bias_outside_the_linear_map(images):
    model = eva()
    assert model.blocks[0].attn.q_bias is not None and model.blocks[0].attn.qkv.bias is None
    records = model.query_keys()
    assert check(model, records, images, all_modes(records)).largest < 1e-9
    records[1] = replace(records[1], query_bias=None)
    with pytest.raises(HeadwiseError, match=r"blocks\.1\.attn"):
        check(model, records, images, all_modes(records))


@pytest.mark.parametrize("name", ["own", "timm"])
@pytest.mark.parametrize("factor", [2.0, 1 + 1e-4, 0.0])
def test_a_wrong_scale_fails_by_the_name_of_its_layer(name, factor, images):
    model = MODELS[name]()
    records = model.query_keys()
    records[2] = replace(records[2], scale=records[2].scale * factor)
    with pytest.raises(HeadwiseError, match=r"the record of blocks\.2\.attn does not describe its logits"):
        check(model, records, images, all_modes(records))


def test_a_scale_that_the_module_has_is_taken(images):
    model = timm_model()
    records = model.query_keys()
    model.blocks[1].attn.scale *= 3
    model.blocks[1].attn.fused_attn = False  # the fused kernel has its own scale
    with pytest.raises(HeadwiseError, match=r"blocks\.1\.attn"):
        check(model, records, images, all_modes(records))
    assert [r.scale for r in model.query_keys()] == [records[0].scale, 3 * records[1].scale, records[2].scale]


def test_the_check_takes_two_passes_whatever_the_depth(images):
    model = own()
    records = model.query_keys()
    passes = []
    hook = model.blocks[-1].register_forward_hook(lambda *_: passes.append(1))
    check(model, records, images, all_modes(records))
    hook.remove()
    assert len(passes) == 2  # observed, and with the kernels of the model
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.model.modules())  # none is left behind


def test_a_norm_after_attention_is_found_by_the_check(images):
    layer = import_timm().models.vision_transformer.ResPostBlock
    with pytest.raises(HeadwiseError, match=r"the record of blocks\.0\.attn does not describe its logits"):
        dissect(timm_model(block_fn=layer), images)


FIELDS = ["query", "key", "query_bias", "gain", "shift", "heads swapped"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_wrong_record_fails_by_the_name_of_its_layer(field, images):
    model = own()
    records = model.query_keys()
    good = records[1]
    norm = good.input_norm
    bad = {
        "query": lambda: replace(good, query=good.query * (1 + 1e-4 * torch.randn(good.query.shape))),
        "key": lambda: replace(good, key=good.key * (1 + 1e-4 * torch.randn(good.key.shape))),
        "query_bias": lambda: replace(good, query_bias=None),
        "gain": lambda: replace(good, input_norm=replace(norm, weight=None)),
        "shift": lambda: replace(good, input_norm=replace(norm, bias=None)),
        "heads swapped": lambda: replace(good, query=good.query.flip(0), key=good.key.flip(0)),
    }[field]()
    records[1] = bad
    with pytest.raises(HeadwiseError, match=r"the record of blocks\.1\.attn does not describe its logits") as caught:
        check(model, records, images, all_modes(records))
    assert not isinstance(caught.value, InputError)
    assert next(model.model.parameters()).dtype == torch.float32  # also after an error


def test_a_wrong_mode_fails(images):
    model = own()
    records = model.query_keys()
    found = all_modes(records)
    found[2] = replace(found[2], sigma=found[2].sigma * torch.tensor([1.0] * 11 + [0.0]))
    with pytest.raises(HeadwiseError, match=r"the modes of blocks\.2\.attn"):
        check(model, records, images, found)


def test_not_a_number_fails(images):
    model = own()
    records = model.query_keys()
    found = all_modes(records)
    found[0] = replace(found[0], u=found[0].u * float("nan"))
    with pytest.raises(HeadwiseError, match=r"the modes of blocks\.0\.attn"):
        check(model, records, images, found)


def test_modes_without_the_norm_do_not_pass_for_logits(images):
    model = own()
    records = model.query_keys()
    with pytest.raises(HeadwiseError, match=r"the modes of blocks\.0\.attn"):
        check(model, records, images, all_modes(records, fold=False))


def test_norms_of_queries_and_keys_are_stated(images):
    found = dissect(timm_model(qk_norm=True), images, draws=2)
    assert found.difference < 1e-9
    assert all(each.about.startswith("queries and keys at unit norm") for each in found.modes)
    assert set(found.to_dict()["about"]) == {found.modes[0].about}


def test_dissection_of_a_backbone(images):
    model = own()
    found = dissect(model, images, draws=10)
    assert found.difference is not None and found.difference < BOUND
    for values in (found.weighted_cosine, found.effective_rank, found.symmetric_share, found.weighted_chance):
        assert values.shape == (3, 4) and bool(values.isfinite().all())
    assert bool((found.weighted_cosine.abs() <= 1).all())
    assert bool(((found.effective_rank >= 1) & (found.effective_rank <= 12)).all())
    assert bool(((found.symmetric_share >= 0) & (found.symmetric_share <= 1)).all())
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["weighted_cosine"] == found.weighted_cosine.tolist()
    assert told["check"].pop("outputs") < 1e-12
    assert told["check"] == {"largest_difference": found.difference, "bound": BOUND, "left_out": []}
    again = dissect(model, draws=10)
    assert again.difference is None and again.to_dict()["check"] is None
    assert torch.equal(again.weighted_chance, found.weighted_chance)


def test_the_numbers_for_json_are_those_that_the_docstring_names(images):
    told = dissect(own(), images, draws=2).to_dict()
    said = Dissection.to_dict.__doc__
    assert set(re.findall(r"``(\w+)``", said)) == set(told)
    assert "spectra" not in said


def test_without_the_norm_the_records_are_checked(images):
    found = dissect(own(), images, fold=False, draws=2)
    assert found.difference < 1e-9 and found.to_dict()["norm_folded"] is False


@pytest.mark.slow
def test_first_layers_group_and_last_layers_do_not(data_dir):
    """Trained weights: the first layer's attention heads look for their own features, the last layer's do not."""
    file = data_dir / "vit_tiny_patch16_224_in1k" / "model.safetensors"
    if not file.is_file():
        pytest.skip(f"no {file}")
    model = headwise.load_backbone(f"timm/vit_tiny_patch16_224@{file}")
    raw = torch.stack([weighted_cosine(m) for m in all_modes(model.query_keys(), fold=False)])
    torch.testing.assert_close(raw[0], torch.tensor([0.974, 0.840, 0.751]).double(), rtol=0, atol=6e-4)
    # without modes: the trace over the sum of singular values, from the weights as they lie in the file
    query, key, _ = load_file(file)["blocks.0.attn.qkv.weight"].double().view(3, 3, 64, 192)
    matrix = query.mT @ key
    wanted = matrix.diagonal(dim1=-1, dim2=-2).sum(-1) / torch.linalg.svdvals(matrix).sum(-1)
    torch.testing.assert_close(raw[0], wanted, rtol=0, atol=1e-10)
    assert float(raw[0].min()) > 0.7 and float(raw[-1].abs().max()) < 0.1

    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    found = dissect(model, image, draws=20)
    assert found.difference is not None and found.difference <= 1e-6
    means = found.weighted_cosine.mean(1)
    assert float(means[0]) > 0.7 and abs(float(means[-1])) < 0.1
    assert bool((found.weighted_cosine[0] > found.weighted_chance[0]).all())
    assert float(mode_cosines(found.modes[0]).mean()) > found.chance


def test_the_name_of_a_backbone_is_no_backbone():
    with pytest.raises(InputError, match=r"a backbone is needed, got 'embedded'; give headwise\.load_backbone"):
        dissect("embedded")


def test_a_kernel_that_does_something_else_is_found(images, monkeypatch):
    """Fused kernels show no logits: what they give is compared with what the logits that were seen give."""
    model = own()
    check(model, model.query_keys(), images)
    attention = torch.nn.functional.scaled_dot_product_attention

    def other(query, key, value, **options):
        if torch.backends.cuda.flash_sdp_enabled():  # which is off while logits are observed
            value = value * (1 + 1e-4)
        return attention(query, key, value, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", other)
    with pytest.raises(HeadwiseError, match=r"blocks\.0\.attn gives other outputs with its own kernel"):
        check(model, model.query_keys(), images)


def test_every_attention_head_has_a_row(images):
    model = own()
    found = dissect(model, images, draws=5)
    assert [(row["layer"], row["head"]) for row in found.heads] == [(i, j) for i in range(3) for j in range(4)]
    for row in found.heads:
        shares = [row[f"{name}_share"] for name in ("content", "key_only", "position", "turning")]
        assert sum(shares) == pytest.approx(1) and shares[2:] == [0, 0]
        assert row["weighted_cosine"] == float(found.weighted_cosine[row["layer"], row["head"]])
        assert 0 <= row["prefix_mass"] <= 1 and row["name"] == f"blocks.{row['layer']}.attn"
        assert ("prefix" in row["serves"]) == (row["prefix_mass"] >= 0.3)
        assert (row["served_by"] is None) == (not row["serves"])
    layers = found.layers
    assert [row["heads"] for row in layers] == [4] * 3
    assert layers[1]["weighted_cosine"] == pytest.approx(float(found.weighted_cosine[1].mean()))
    assert layers[2]["content_share"] == pytest.approx(sum(row["content_share"] for row in found.heads[8:]) / 4)
    modes = found.modes_of(1, 2)
    assert [row["mode"] for row in modes] == list(range(12))
    assert sum(row["share"] for row in modes) == pytest.approx(1)
    assert sum(row["share"] * row["cosine"] for row in modes) == pytest.approx(float(found.weighted_cosine[1, 2]))
    served = found.evidence[1].sinks.served["prefix"].modes[2]
    assert [row["prefix_advantage"] for row in modes] == served.tolist()
    with pytest.raises(InputError, match="layers are 0 to 2, got 3"):
        found.modes_of(3, 0)
    with pytest.raises(InputError, match="layer 0 has attention heads 0 to 3, got 4"):
        found.modes_of(0, 4)


def test_rows_without_inputs_have_no_evidence():
    row = dissect(own(), draws=2).heads[0]
    assert "content_share" not in row and "prefix_mass" not in row and "weighted_cosine" in row
    assert dissect(own(), draws=2).modes_of(0, 0)[0].keys() >= {"sigma", "cosine", "subspace", "dimension"}


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize("options", [{}, {"rotary": True}])
def test_saved_and_loaded(images, tmp_path, inputs, options):
    model = eva(use_rot_pos_emb=True) if options else own()
    found = dissect(model, images if inputs else None, draws=2)
    found.save(tmp_path / "made")
    again = Dissection.load(tmp_path / "made")
    assert again.to_dict() == found.to_dict() and again.modes_of(1, 2) == found.modes_of(1, 2)
    for ours, theirs in zip(again.modes, found.modes, strict=True):
        assert torch.equal(ours.sigma, theirs.sigma) and torch.equal(ours.u, theirs.u) and torch.equal(ours.v, theirs.v)
        assert ours.about == theirs.about and (ours.turn is None) == (not options)
    if inputs:
        assert again.check.names == found.check.names and again.check.outputs == found.check.outputs
        for ours, theirs in zip(again.evidence, found.evidence, strict=True):
            assert torch.equal(ours.sinks.high_norm, theirs.sinks.high_norm)
            assert ours.sinks.places == theirs.sinks.places
            assert ours.sinks.served.keys() == theirs.sinks.served.keys()
    else:
        assert again.check is None and again.evidence is None
    found.save(tmp_path / "made")  # again, over what is there
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dissection.json").write_text("{}")
    with pytest.raises(InputError, match="holds no dissection"):
        Dissection.load(tmp_path / "other")
    with pytest.raises(InputError, match="files that headwise did not make"):
        found.save(tmp_path / "other")
    newer = json.loads((tmp_path / "made" / "dissection.json").read_text()) | {"format_version": 99}
    (tmp_path / "made" / "dissection.json").write_text(json.dumps(newer))
    with pytest.raises(InputError, match="is newer; upgrade this one"):
        Dissection.load(tmp_path / "made")


def test_rotary_backbones_are_averaged_over_the_places_of_an_image(images):
    model = eva(use_rot_pos_emb=True)
    found, blind = dissect(model, images, draws=2), dissect(model, draws=2)
    assert found.difference < 1e-9
    said = "the mean over the pairs of places that see each other among 17 tokens"
    assert [each.about for each in found.modes] == [each.about for each in blind.modes] == [said] * 3
    torch.testing.assert_close(blind.weighted_cosine, found.weighted_cosine, rtol=0, atol=1e-6)
    assert all(row["turning_share"] != 0 for row in found.heads)


def test_a_model_without_an_image_needs_inputs_or_a_context(make_record):
    class Words:
        model = torch.nn.Identity()

        def __init__(self, record):
            self.record = record

        def query_keys(self):
            return [self.record]

    angles = torch.arange(100.0)[:, None] * torch.tensor([1.0, 0.1])
    turned = make_record(rotary=Rotary(lambda n: (angles[:n].cos(), angles[:n].sin()), "halves"))
    with pytest.raises(InputError, match="give context, the number of tokens to average over"):
        dissect(Words(turned))
    assert dissect(Words(turned), context=20, draws=2).modes[0].about.endswith("among 20 tokens")
    with pytest.raises(InputError, match="context must be a whole number of at least 1 or None, got 0"):
        dissect(Words(turned), context=0)


@pytest.mark.parametrize(("spoil", "said"), [(lambda x: x[:0], "are empty"), (lambda x: x * torch.nan, "hold NaN")])
def test_inputs_without_numbers_are_refused(images, spoil, said):
    with pytest.raises(InputError, match=said):
        dissect(headwise.load_backbone("embedded"), check=spoil(images))
