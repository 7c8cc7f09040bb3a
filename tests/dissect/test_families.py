"""Records of many families of models against the logits that the models compute: tiny sizes, random weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import headwise
from headwise.backbones.timm_models import import_timm
from headwise.contracts import Windows
from headwise.dissect import check, dissect
from headwise.errors import HeadwiseError, InputError

TEXT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32, "vocab_size": 50}
VISION = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 16, "patch_size": 4}
GROUPED = TEXT | {"num_key_value_heads": 2, "head_dim": 8}
VIT = {"img_size": 16, "patch_size": 4, "embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 0}
SWIN = {"img_size": 64, "patch_size": 4, "window_size": 4, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4)}


def shake(module):
    """Weights far from their start: no norm is the identity, no bias and no table is zero."""
    generator = torch.Generator().manual_seed(5)
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def images(side=16):
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def words(lengths=(9, 6), pad=0):
    """Token numbers and their mask, the second sample padded."""
    ids = torch.randint(2, 50, (2, 9), generator=torch.Generator().manual_seed(2))
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    return {"input_ids": ids.masked_fill(~mask, pad), "attention_mask": mask.long()}


def sequence():
    return torch.randn(2, 7, 24, generator=torch.Generator().manual_seed(3))


def layer(**options):
    return nn.TransformerEncoderLayer(24, 4, 32, **{"batch_first": True} | options)


def encoder(**options):
    return nn.TransformerEncoder(layer(**options), 2, enable_nested_tensor=False)


def padded():
    mask = torch.arange(7) >= torch.tensor([7, 4])[:, None]
    return {"src": sequence(), "src_key_padding_mask": mask}


def causal():
    return {"src": sequence(), "mask": nn.Transformer.generate_square_subsequent_mask(7), "is_causal": True}


class Own(nn.Module):
    """A module of somebody's own, with attention that is no repeated layer."""

    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(24)
        self.attn = nn.MultiheadAttention(24, 4, batch_first=True)

    def forward(self, x):
        y = self.norm1(x)
        return x + self.attn(y, y, y)[0]


# name: the module, its inputs, layers
TORCH = {
    "attention": (lambda: nn.MultiheadAttention(24, 4, batch_first=True), sequence, 1),
    "attention, tokens first": (lambda: nn.MultiheadAttention(24, 4), sequence, 1),
    "attention without bias": (lambda: nn.MultiheadAttention(24, 4, bias=False, batch_first=True), sequence, 1),
    "attention with values of their own": (
        lambda: nn.MultiheadAttention(24, 4, vdim=8, batch_first=True),
        lambda: {"query": sequence(), "key": sequence(), "value": sequence()[..., :8]},
        1,
    ),
    "one layer": (layer, sequence, 1),
    "encoder, norm last": (encoder, sequence, 2),
    "encoder, norm first": (lambda: encoder(norm_first=True), sequence, 2),
    "encoder, tokens first": (lambda: encoder(norm_first=True, batch_first=False), sequence, 2),
    "encoder, padded": (lambda: encoder(norm_first=True), padded, 2),
    "encoder, causal": (lambda: encoder(norm_first=True), causal, 2),
    "own": (Own, sequence, 1),
}


def timm(name, **options):
    models = import_timm().models
    return {
        "vit": lambda: models.VisionTransformer(**VIT | options),
        "distilled": lambda: models.VisionTransformerDistilled(**VIT | options),
        "relpos": lambda: models.VisionTransformerRelPos(**VIT | options),
        "beit": lambda: models.Beit(**VIT | {"init_values": 0.1} | options),
        "eva": lambda: models.Eva(**VIT | options),
        "swin": lambda: models.SwinTransformer(**SWIN | {"num_classes": 0} | options),
    }[name]()


def rms(**options):
    from timm.layers import RmsNorm

    return timm("vit", norm_layer=RmsNorm, **options)


TIMM = {
    "vit": lambda: timm("vit"),
    "vit without bias": lambda: timm("vit", qkv_bias=False),
    "vit with q/k norm": lambda: timm("vit", qk_norm=True),
    "vit with q/k norm, rms": lambda: rms(qk_norm=True),
    "deit, distilled": lambda: timm("distilled"),
    "dinov2 with registers": lambda: timm("vit", reg_tokens=4, init_values=0.1, no_embed_class=True),
    "siglip": lambda: timm("vit", class_token=False, global_pool="map"),
    "eva-02": lambda: timm("eva", use_rot_pos_emb=True, qkv_fused=False, swiglu_mlp=True, ref_feat_shape=(3, 3)),
    "eva, fused": lambda: timm("eva", use_rot_pos_emb=True),
    "rope, mixed": lambda: timm(
        "eva", use_rot_pos_emb=True, attn_type="rope", rope_type="mixed", rope_grid_indexing="xy"
    ),
    "dinov3": lambda: timm(
        "eva", use_rot_pos_emb=True, attn_type="rope", rope_type="dinov3", rope_rotate_half=True, num_reg_tokens=4
    ),
    "rope, grouped queries": lambda: timm(
        "eva", use_rot_pos_emb=True, attn_type="rope", qkv_fused=False, num_kv_heads=1, qk_norm=True
    ),
    "beit": lambda: timm("beit", qkv_bias=True, use_rel_pos_bias=True),
    "beit, shared bias": lambda: timm("beit", qkv_bias=True, use_shared_rel_pos_bias=True),
    "relpos": lambda: timm("relpos", rel_pos_type="bias"),
    "relpos, small network": lambda: timm("relpos", rel_pos_type="mlp"),
    "relpos, shared": lambda: timm("relpos", rel_pos_type="bias", shared_rel_pos=True),
    "swin": lambda: timm("swin"),
}


# name: the configuration, its options, the inputs, attention layers
HF = {
    "vit": ("ViTConfig", VISION | {"intermediate_size": 32}, images, 2),
    "beit": ("BeitConfig", VISION | {"intermediate_size": 32, "use_relative_position_bias": True}, images, 2),
    "beit, shared bias": (
        "BeitConfig",
        VISION | {"intermediate_size": 32, "use_shared_relative_position_bias": True},
        images,
        2,
    ),
    "swin": (
        "SwinConfig",
        {"image_size": 32, "patch_size": 4, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4},
        lambda: images(32),
        4,
    ),
    "dinov2": ("Dinov2Config", VISION | {"mlp_ratio": 2}, images, 2),
    "dinov2 with registers": ("Dinov2WithRegistersConfig", VISION | {"mlp_ratio": 2}, images, 2),
    "clip": (
        "CLIPConfig",
        {
            "text_config": TEXT | {"eos_token_id": 1},
            "vision_config": VISION | {"intermediate_size": 32},
            "projection_dim": 8,
        },
        lambda: words() | {"pixel_values": images()},
        4,
    ),
    "siglip": ("SiglipVisionConfig", VISION | {"intermediate_size": 32}, images, 2),
    "bert": ("BertConfig", TEXT, words, 2),
    "roberta": ("RobertaConfig", TEXT, lambda: words(pad=1), 2),
    "gpt2": ("GPT2Config", {"n_embd": 24, "n_layer": 2, "n_head": 4, "vocab_size": 50}, words, 2),
    "gpt2, scaled by layer": (
        "GPT2Config",
        {"n_embd": 24, "n_layer": 2, "n_head": 4, "vocab_size": 50, "scale_attn_by_inverse_layer_idx": True},
        words,
        2,
    ),
    "llama": ("LlamaConfig", GROUPED, words, 2),
    "llama with biases": ("LlamaConfig", GROUPED | {"attention_bias": True}, words, 2),
    "mistral": ("MistralConfig", GROUPED | {"sliding_window": 4}, words, 2),
    "qwen2": ("Qwen2Config", TEXT | {"num_key_value_heads": 2}, words, 2),
    "qwen3": ("Qwen3Config", GROUPED, words, 2),
}


def transformers_module():
    return pytest.importorskip("transformers", reason="needs transformers: pip install 'headwise[hf]'")


def hf(name, attention="sdpa"):
    transformers = transformers_module()
    config, options, inputs, layers = HF[name]
    model = transformers.AutoModel.from_config(getattr(transformers, config)(**options), attn_implementation=attention)
    return shake(model), inputs(), layers


def proved(module, inputs, layers):
    """The check of all layers of a module and of their modes, and what is measured on the way."""
    before = {name: value.clone() for name, value in module.state_dict().items()}
    model = headwise.load_backbone(module)
    records = model.query_keys()
    assert [record.layer for record in records] == list(range(layers))
    dissected = dissect(model, inputs, draws=1)
    found = dissected.check
    assert found.largest < 1e-9 and max(found.outputs) < 1e-9
    for row in dissected.heads:
        assert sum(row[f"{part}_share"] for part in ("content", "key_only", "position", "turning")) == pytest.approx(1)
        assert all(0 <= row[f"{kind}_mass"] < 1 + 1e-9 for kind in ("prefix", "sink", "high_norm"))
    for record, modes in zip(records, dissected.modes, strict=True):
        rotary, normed, placed = record.rotary, record.q_norm, record.bias is not None or record.window is not None
        assert ("among" in modes.about) == (rotary is not None) and ("unit norm" in modes.about) == (normed is not None)
        assert ("content alone" in modes.about) == placed
    after = module.state_dict()
    assert all(torch.equal(before[k], after[k]) and before[k].dtype == after[k].dtype for k in before)
    return model, records, found


@pytest.mark.parametrize("name", TORCH)
def test_torch_modules(name):
    make, inputs, layers = TORCH[name]
    module = shake(make())
    _, records, found = proved(module, inputs(), layers)
    assert not found.left_out
    first = name == "own" or any(getattr(part, "norm_first", False) for part in module.modules())
    assert all((record.input_norm is not None) == first for record in records)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", TIMM)
def test_timm(name, fused):
    module = shake(TIMM[name]())
    for part in module.modules():
        if hasattr(part, "fused_attn"):
            part.fused_attn = fused
    swin = name == "swin"
    _, records, found = proved(module, images(64 if swin else 16), 4 if swin else 2)
    assert found.left_out == (("attn_pool",) if name == "siglip" else ())
    assert all(isinstance(r.window, Windows) == swin for r in records)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", HF)
def test_hugging_face(name, attention):
    module, inputs, layers = hf(name, attention)
    if isinstance(inputs, torch.Tensor):
        inputs = {"pixel_values": inputs}
    _, records, found = proved(module, inputs, layers)
    assert len(found.left_out) == (name == "siglip"), found.left_out
    assert all((r.rotary is not None) == (name in ("mistral", "qwen2", "qwen3") or "llama" in name) for r in records)
    assert all((r.q_norm is not None) == (name == "qwen3") for r in records)


MUTANTS = {
    "rotary": lambda r: replace(r, rotary=None),
    "layout": lambda r: replace(
        r, rotary=replace(r.rotary, layout="halves" if r.rotary.layout == "neighbours" else "neighbours")
    ),
    "bias": lambda r: replace(r, bias=None),
    "window": lambda r: replace(r, window=None),
    "q_norm": lambda r: replace(r, q_norm=None),
    "k_norm": lambda r: replace(r, k_norm=None),
    "input_norm": lambda r: replace(r, input_norm=None),
    "query_bias": lambda r: replace(r, query_bias=None),
    "scale": lambda r: replace(r, scale=1.001 * r.scale),
    "groups": lambda r: replace(r, key=r.key.roll(1, 0)),
    "causal": lambda r: replace(r, causal=not r.causal),
}


def assert_noticed(module, inputs, fields):
    model = headwise.load_backbone(module)
    records = model.query_keys()
    for field in fields:
        wrong = [*records[:-1], MUTANTS[field](records[-1])]
        with pytest.raises(HeadwiseError, match=records[-1].name.replace(".", r"\.")):
            check(model, wrong, inputs)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("vit with q/k norm", ["q_norm", "k_norm", "input_norm", "scale"]),
        ("eva-02", ["rotary", "layout", "query_bias"]),
        ("dinov3", ["rotary", "layout"]),
        ("beit", ["bias", "query_bias"]),
        ("swin", ["bias", "window"]),
    ],
)
def test_what_a_record_lacks_is_noticed(name, fields):
    assert_noticed(shake(TIMM[name]()), images(64 if name == "swin" else 16), fields)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("gpt2", ["query_bias", "input_norm", "scale", "causal"]),
        ("llama", ["rotary", "layout", "groups", "causal"]),
        ("mistral", ["window"]),
        ("qwen3", ["q_norm", "k_norm", "rotary"]),
        ("beit", ["bias", "query_bias"]),
        ("beit, shared bias", ["bias"]),
    ],
)
def test_what_a_record_of_hugging_face_lacks_is_noticed(name, fields):
    module, inputs, _ = hf(name)
    assert_noticed(module, inputs, fields)


def swin_v2():
    return import_timm().models.SwinTransformerV2(**SWIN | {"num_classes": 0})


def uneven_swin():
    return timm("swin", img_size=24)


class Odd(nn.Module):
    """Attention that no reader knows."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Module()])
        self.layers[0].attention = OddAttention()


class OddAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.everything = nn.Linear(24, 96)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (swin_v2, r"layers\.0\.blocks\.0\.attn has cosine attention \(logit_scale\), which no record describes"),
        (uneven_swin, r"layers\.0\.blocks\.0\.attn has windows of 4 x 4 tokens on a grid of 6 x 6"),
        (
            Odd,
            r"layers\.0\.attention is a OddAttention with everything, attention of a kind that is not understood",
        ),
        (lambda: nn.Linear(3, 3), "Linear has no attention layer that is understood; to teach it, register a reader"),
        (lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True), "has keys that are no tokens"),
        (lambda: nn.MultiheadAttention(8, 2, add_zero_attn=True), "has keys that are no tokens"),
        (lambda: nn.MultiheadAttention(8, 2, kdim=6), "only self-attention is described"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(make, said):
    with pytest.raises(InputError, match=said):
        headwise.load_backbone(make())


@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        (
            "T5Config",
            {"d_model": 24, "d_kv": 8, "num_layers": 1, "num_heads": 3, "d_ff": 32},
            "relative biases by bucket",
        ),
        ("GPTNeoXConfig", TEXT, "GPTNeoXAttention with .*, attention of a kind that is not understood"),
        ("Gemma2Config", GROUPED, "capped logits"),
        ("GptOssConfig", GROUPED | {"num_local_experts": 2, "num_experts_per_tok": 1}, "learned sinks"),
    ],
)
def test_hugging_face_models_that_are_not_understood(config, options, said):
    transformers = transformers_module()
    module = transformers.AutoModel.from_config(getattr(transformers, config)(**options))
    with pytest.raises(InputError, match=said):
        headwise.load_backbone(module)


def test_a_norm_with_a_gain_about_one_is_found_by_the_check():
    """Gemma multiplies by one more than the weight."""
    transformers = transformers_module()
    module = transformers.AutoModel.from_config(transformers.GemmaConfig(**GROUPED))
    model = headwise.load_backbone(shake(module))
    with pytest.raises(HeadwiseError, match=r"the record of layers\.0\.self_attn does not describe its logits"):
        check(model, model.query_keys(), words())


def test_keys_of_other_tokens_are_found_by_the_check():
    model = headwise.load_backbone(nn.MultiheadAttention(24, 4, batch_first=True))
    inputs = {"query": sequence(), "key": sequence().flip(1), "value": sequence()}
    with pytest.raises(HeadwiseError, match="does not describe its logits"):
        check(model, model.query_keys(), inputs)


def test_layers_that_the_inputs_do_not_run():
    module = nn.ModuleDict({"layers": nn.ModuleList([layer(), layer()])})
    module.forward = lambda x: module["layers"][0](x)
    model = headwise.load_backbone(module)
    with pytest.raises(InputError, match=r"these inputs do not run layers\.1\.self_attn \(1 layers in all\)"):
        check(model, model.query_keys(), sequence())


def test_a_model_goes_back_to_training():
    module = encoder()
    module.train()
    module.layers[0].dropout.eval()
    model = headwise.load_backbone(module)
    check(model, model.query_keys(), sequence())
    assert module.training and module.layers[1].dropout.training and not module.layers[0].dropout.training
    assert all(p.requires_grad and p.dtype == torch.float32 for p in module.parameters())
    assert torch.backends.mha.get_fastpath_enabled() and torch.backends.cuda.flash_sdp_enabled()


def test_half_precision_is_checked_as_it_is():
    module = shake(encoder()).to(torch.bfloat16)
    model = headwise.load_backbone(module)
    found = dissect(model, sequence(), draws=2)
    assert found.difference < 1e-9 and found.modes[0].sigma.dtype == torch.float64
    assert found.modes[0].about == "of weights in bfloat16"
    assert all(p.dtype == torch.bfloat16 for p in module.parameters())


def test_weights_without_numbers_are_refused():
    with torch.device("meta"):
        module = encoder()
    model = headwise.load_backbone(module)
    with pytest.raises(InputError, match="on the meta device"):
        check(model, model.query_keys(), sequence())
    with pytest.raises(InputError, match=r"layers\.0\.self_attn is on the meta device"):
        dissect(model)


def test_layers_with_other_numbers_of_attention_heads():
    found = dissect(headwise.load_backbone(shake(TIMM["swin"]())), images(64), draws=2)
    assert found.weighted_cosine.shape == (4, 4)
    assert found.weighted_cosine.isnan().tolist() == [[False, False, True, True]] * 2 + [[False] * 4] * 2
    assert found.to_dict()["weighted_cosine"][0][2:] == [None, None]
    assert [len(each.sigma) for each in found.modes] == [2, 2, 4, 4] and len(found.heads) == 12
    assert [row["heads"] for row in found.layers] == [2, 2, 4, 4]


def test_a_class_token_that_timm_declares_is_a_prefix():
    found = dissect(headwise.load_backbone(shake(TIMM["dinov2 with registers"]())), images(), draws=2)
    assert all(row["prefix_mass"] > 0 for row in found.heads)  # of a module that is not loaded as a backbone
    assert found.evidence[0].sinks.high_norm.shape == (2, 21)


def mixed(name, **options):
    """Two mixers behind norms, in layers as other models have them."""
    from headwise.mixers import create

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.mixer = nn.LayerNorm(24), create(name, dim=24, **options)

        def forward(self, x):
            return x + self.mixer(self.norm1(x))

    return nn.Sequential(Layer(), Layer())


MIXED = {
    "softmax": {"num_heads": 4},
    "softmax without bias": {"num_heads": 4, "qkv_bias": False},
    "grouped_query": {"num_heads": 6, "num_kv_heads": 3},
    "perturbed_grouped_query": {"num_heads": 6, "num_kv_heads": 2},
}


@pytest.mark.parametrize("name", MIXED)
def test_mixers(name):
    module = shake(mixed(name.split()[0], **MIXED[name]))
    _, records, found = proved(module, sequence(), 2)
    assert [record.name for record in records] == ["0.mixer", "1.mixer"]
    assert [record.reads for record in records] == ["0.norm1", "1.norm1"]
    assert not found.left_out


def test_a_mixer_alone():
    from headwise.mixers import create

    proved(shake(create("softmax", dim=24, num_heads=3)), sequence(), 1)


def test_a_temperature_of_values_leaves_the_logits_as_they_are():
    proved(shake(mixed("selective", num_heads=4, parts=("values",))), sequence(), 2)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("gated_positional", {"num_heads": 4, "grid": (1, 7)}, "a positional map, and gates between the two maps"),
        ("selective", {"num_heads": 4}, "temperatures of queries"),
    ],
)
def test_mixers_whose_attention_has_more_to_it(name, options, said):
    """Their modes say what is left out; their logits are not those of the model, which is refused."""
    model = headwise.load_backbone(shake(mixed(name, **options)))
    found = dissect(model, draws=2)
    assert [(each.leaves_out, each.about) for each in found.modes] == [(said, f"without {said}")] * 2
    with pytest.raises(InputError, match=rf"0\.mixer has {said}, which its record leaves out"):
        dissect(model, sequence())


def test_mixers_that_have_no_logits_of_their_own():
    with pytest.raises(InputError, match=r"0\.mixer: key_driven_grouped_query has no logits of its own: which"):
        headwise.load_backbone(mixed("key_driven_grouped_query", num_heads=6, num_kv_heads=3))
    module = nn.Sequential(*mixed("fno", grid=(4, 4)), *mixed("softmax", num_heads=4))
    assert [record.name for record in headwise.load_backbone(module).query_keys()] == ["2.mixer", "3.mixer"]
