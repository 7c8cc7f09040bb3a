"""What every backbone promises, checked on all kinds that there are; and loading by name."""

from __future__ import annotations

import builtins
import random
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import headwise
from headwise.backbones.embedded import WEIGHTS, load_embedded
from headwise.backbones.plain import PlainBackbone
from headwise.backbones.timm_models import import_timm
from headwise.contracts import Backbone, Preprocessing
from headwise.errors import InputError

HALF = (0.5, 0.5, 0.5)
TINY = "timm/vit_tiny_patch16_224"


def small(**options):
    """A small vision transformer of timm, wrapped as `load_backbone` wraps the large ones."""
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 48, "depth": 3, "num_heads": 4, "num_classes": 0}
    torch.manual_seed(0)
    module = import_timm().models.VisionTransformer(**sizes | options)
    how = Preprocessing((16, 16), HALF, HALF)
    return PlainBackbone("small", module, module.forward_features, how, (4, 4), module.num_prefix_tokens, "none")


def embedded_copy(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "copy.safetensors"
    shutil.copy(WEIGHTS, file)
    return load_embedded(file)


# name: how it is made, prefix tokens, grid, width, layers, attention heads
KINDS = {
    "embedded": (embedded_copy, 1, (8, 8), 128, 6, 4),
    "timm": (lambda _: headwise.load_backbone(f"{TINY}@random"), 1, (14, 14), 192, 12, 3),
    "distilled": (
        lambda _: headwise.load_backbone("timm/deit_tiny_distilled_patch16_224@random"),
        2,
        (14, 14),
        192,
        12,
        3,
    ),
    "registers": (lambda _: small(reg_tokens=4, no_embed_class=True, init_values=0.1), 5, (4, 4), 48, 3, 4),
    "no class token": (lambda _: small(class_token=False, global_pool="avg"), 0, (4, 4), 48, 3, 4),
    "query and key norms": (lambda _: small(qk_norm=True), 1, (4, 4), 48, 3, 4),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request, tmp_path_factory):
    make, *wanted = KINDS[request.param]
    return make(tmp_path_factory), wanted


@pytest.fixture
def batch(kind):
    side = kind[0].preprocessing.image_size[0]
    return torch.randn(2 if side < 64 else 1, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_sizes(kind):
    model, (prefix, grid, width, depth, heads) = kind
    assert isinstance(model, Backbone)
    assert (model.num_prefix_tokens, model.grid) == (prefix, grid)
    assert (model.width, model.depth, model.num_heads) == (width, depth, heads)
    assert model.num_parameters == sum(p.numel() for p in model.model.parameters())
    assert not model.model.training and not any(p.requires_grad for p in model.model.parameters())
    assert model.device.type == "cpu"


@pytest.mark.parametrize("at", ["output", "block_input"])
def test_tokens_come_in_the_order_asked_for(kind, batch, at):
    model, (prefix, grid, width, depth, _) = kind
    layers = [-1, 0, depth - 1, 1, -depth, 0]
    found = model.tokens(batch, layers, at)
    assert [t.shape for t in found] == [(len(batch), prefix + grid[0] * grid[1], width)] * 6
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], found[4]) and torch.equal(found[1], found[5])
    assert not torch.equal(found[1], found[3])
    assert model.tokens(batch, [], at) == []
    assert not any(b._forward_hooks or b._forward_pre_hooks for b in model.blocks)  # none is left behind


def test_the_last_output_is_that_of_the_model(kind, batch):
    model, _ = kind
    forward = getattr(model.model, "forward_features", model.model)
    with torch.no_grad():
        wanted = forward(batch)
    (got,) = model.tokens(batch)
    assert torch.equal(got, wanted)
    assert torch.equal(model.tokens(batch)[0], got)  # nothing is random
    assert not got.requires_grad


def test_a_layer_takes_what_the_one_before_gives(kind, batch):
    model, _ = kind
    depth = model.depth
    outputs = model.tokens(batch, range(depth))
    inputs = model.tokens(batch, range(depth), at="block_input")
    assert all(torch.equal(outputs[i], inputs[i + 1]) for i in range(depth - 1))
    with torch.no_grad():
        last = model.blocks[-1](inputs[-1])
        # the last output is after the norm; timm has none there where it pools patches
        assert torch.equal(last, outputs[-1]) == isinstance(model.model.norm, torch.nn.Identity)
        torch.testing.assert_close(model.model.norm(last), outputs[-1])


def test_records_project_as_the_model_does(kind, batch):
    model, (_, _, width, depth, heads) = kind
    records = model.query_keys()
    assert [r.layer for r in records] == list(range(depth))
    record, x = records[1], model.tokens(batch, [1], "block_input")[0]
    assert record.query.shape == record.key.shape == (heads, width // heads, width)
    assert record.scale == pytest.approx((width // heads) ** -0.5)
    norm = record.input_norm
    x = torch.nn.functional.layer_norm(x, (width,), norm.weight, norm.bias, norm.eps)
    q, k, _ = model.blocks[1].attn.qkv(x).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    for got, weight, bias in ((q, record.query, record.query_bias), (k, record.key, record.key_bias)):
        wanted = torch.einsum("bsd,hed->bhse", x, weight) + bias[:, None]
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-4)


def test_images_become_a_batch(kind):
    model, _ = kind
    side = model.preprocessing.image_size[0]
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    found = model.preprocess([image, Image.fromarray(image), image[..., 0]])
    assert found.shape == (3, 3, side, side) and found.dtype == torch.float32
    assert torch.equal(found[0], found[1])
    assert model.tokens(found[:1])[0].isfinite().all()


def test_wrong_use_is_told(kind, batch):
    model, _ = kind
    side = batch.shape[-1]
    for wrong in (batch[..., 1:], batch[:, :1], batch[0], batch[None]):
        with pytest.raises(InputError, match=rf"takes images \(B, 3, {side}, {side}\), got \("):
            model.tokens(wrong)
    for layer in (model.depth, -model.depth - 1):
        with pytest.raises(InputError, match=f"has layers 0 to {model.depth - 1}, got {layer}"):
            model.tokens(batch, [0, layer])
    with pytest.raises(InputError, match="at must be 'output' or 'block_input', got 'input'"):
        model.tokens(batch, at="input")


@pytest.mark.parametrize("name", ["embedded", f"{TINY}@random"])
def test_loading_leaves_the_random_numbers_alone(name):
    torch.manual_seed(11), np.random.seed(11), random.seed(11)  # noqa: NPY002
    wanted = torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
    torch.manual_seed(11), np.random.seed(11), random.seed(11)  # noqa: NPY002
    headwise.load_backbone(name)
    got = torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
    assert torch.equal(got[0], wanted[0]) and (got[1] == wanted[1]).all() and got[2] == wanted[2]


def test_untrained_weights_are_the_same_each_time():
    torch.manual_seed(1)
    first = headwise.load_backbone(f"{TINY}@random")
    torch.manual_seed(2)
    again = headwise.load_backbone(f"{TINY}@random")
    assert first.weights_hash == again.weights_hash and first.name == f"{TINY}@random"


def test_registers_of_a_pretrained_layout_are_prefix_tokens():
    model = headwise.load_backbone("timm/vit_small_patch14_reg4_dinov2@random")
    assert (model.num_prefix_tokens, model.grid) == (5, (37, 37))


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(headwise.load_backbone(f"{TINY}@random").model.state_dict(), file)
    return file


def changed(file, path, **changes):
    save_file({k: v for k, v in (load_file(file) | changes).items() if v is not None}, path)
    return path


def test_local_weights(tiny_weights, tmp_path):
    hashes = set()
    for change in (
        {"head.weight": torch.zeros(7, 192), "head.bias": torch.zeros(7)},
        {"head.weight": None, "head.bias": None},
    ):
        file = changed(tiny_weights, tmp_path / "w.safetensors", **change, **{"norm.bias": torch.full((192,), 5.0)})
        model = headwise.load_backbone(f"{TINY}@{file}")
        hashes.add(model.weights_hash)
        assert bool((model.model.norm.bias == 5).all())
    assert len(hashes) == 1, "the classifier does not belong to the backbone"


def test_the_same_weights_are_the_same_backbone(tiny_weights):
    random = headwise.load_backbone(f"{TINY}@random").weights_hash
    assert headwise.load_backbone(f"{TINY}@{tiny_weights}").weights_hash == random


def test_weights_that_do_not_fit_are_told(tiny_weights, tmp_path):
    change = {"pos_embed": torch.zeros(1, 50, 192), "norm.weight": None}
    file = changed(tiny_weights, tmp_path / "w.safetensors", **change)
    wanted = (
        r"pos_embed: \(1, 50, 192\) in the file, \(1, 197, 192\) needed; norm.weight is missing \(2 tensors differ\)"
    )
    with pytest.raises(InputError, match=wanted):
        headwise.load_backbone(f"{TINY}@{file}")


@pytest.mark.parametrize("suffix", ["bin", "pt", "pth", "pkl"])
def test_pickled_weights_are_never_read(tmp_path, suffix):
    file = tmp_path / f"weights.{suffix}"
    torch.save({}, file)
    with pytest.raises(InputError, match="pickled weights are never read"):
        headwise.load_backbone(f"{TINY}@{file}")


def test_files_that_are_not_weights(tmp_path):
    with pytest.raises(InputError, match=r"none\.safetensors cannot be read"):
        headwise.load_backbone(f"{TINY}@{tmp_path / 'none.safetensors'}")
    file = tmp_path / "pickle.safetensors"  # the name alone does not make it safe
    torch.save({}, file)
    with pytest.raises(InputError, match=r"pickle\.safetensors cannot be read"):
        headwise.load_backbone(f"{TINY}@{file}")
    with pytest.raises(InputError, match="cannot be read"):
        headwise.load_backbone(f"{TINY}@{tmp_path}.safetensors/")


def test_names_that_are_not_known():
    assert headwise.list_backbones() == ["embedded", "hf", "timm"]
    with pytest.raises(InputError, match=r"unknown backbone 'embeded'; did you mean embedded\?"):
        headwise.load_backbone("embeded")
    with pytest.raises(
        InputError, match="unknown timm model 'vit_tiny_patch16_223'; did you mean vit_tiny_patch16_224 or"
    ):
        headwise.load_backbone("timm/vit_tiny_patch16_223@random")
    with pytest.raises(InputError, match="which timm model"):
        headwise.load_backbone("timm")
    for name in ("", None, 3):
        with pytest.raises(InputError, match="known: embedded, hf, timm"):
            headwise.load_backbone(name)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("swin_tiny_patch4_window7_224", "SwinTransformer without .blocks"),
        ("resnet18", "ResNet without .blocks"),
        ("mixer_s32_224", "MlpMixer without .patch_embed"),
        ("samvit_base_patch16_224", "VisionTransformerSAM without .num_prefix_tokens"),
    ],
)
def test_other_structures_are_refused_by_name(name, found):
    with pytest.raises(InputError, match=f"timm/{name} is a .*; a plain vision transformer was expected") as caught:
        headwise.load_backbone(f"timm/{name}@random")
    assert found in str(caught.value)


def test_other_structures_are_refused_before_their_weights_are_downloaded(monkeypatch):
    timm = import_timm()
    asked = []
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: (asked.append(pretrained), create(name))[1])
    with pytest.raises(InputError, match=r"ResNet without \.blocks"):
        headwise.load_backbone("timm/resnet18")
    assert asked == [False]
    headwise.load_backbone(TINY)
    assert asked == [False, False, True]


@pytest.mark.parametrize("name", ["embedded", f"{TINY}@random"])
def test_devices_that_are_not_there_are_refused(name):
    with pytest.raises(InputError, match="device 'gpu' cannot be used"):
        headwise.load_backbone(name, "gpu")


LAYER, ATTENTION = "a plain pre-norm layer was expected", "plain softmax attention was expected"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("vit_base_patch16_rpn_224", rf"blocks\.0 is a vision_transformer\.ResPostBlock; {LAYER}"),
        ("vit_relpos_small_patch16_rpn_224", rf"blocks\.0 is a .*relpos\.ResPostRelPosBlock; {LAYER}"),
        ("vit_pwee_patch16_reg1_gap_256", rf"blocks\.0 is a vision_transformer\.ParallelScalingBlock; {LAYER}"),
        ("vit_dpwee_patch16_reg1_gap_256", rf"blocks\.0 is a vision_transformer\.DiffParallelScalingBlock; {LAYER}"),
        ("vit_small_patch16_18x2_224", rf"blocks\.0 is a vision_transformer\.ParallelThingsBlock; {LAYER}"),
        ("vit_dwee_patch16_reg1_gap_256", rf"blocks\.0\.attn is a diff_attention\.DiffAttention; {ATTENTION}"),
        ("cait_xxs24_224", rf"blocks\.0 is a cait\.LayerScaleBlock; {LAYER}"),
        ("xcit_nano_12_p16_224", rf"blocks\.0 is a xcit\.XCABlock; {LAYER}"),
    ],
)
def test_layers_that_are_not_plain_are_refused_by_name(name, found):
    """Most of these have norm1 and a fused attn.qkv, in another order or with another meaning."""
    with pytest.raises(InputError, match=f"timm/{name}: {found}"):
        headwise.load_backbone(f"timm/{name}@random")


def test_one_other_layer_is_enough(monkeypatch):
    timm = import_timm()
    create = timm.create_model

    def with_another(*args, **options):
        model = create(*args, **options)
        model.blocks[7] = timm.models.vision_transformer.ResPostBlock(192, 3)
        return model

    monkeypatch.setattr(timm, "create_model", with_another)
    with pytest.raises(InputError, match=r"vit_tiny_patch16_224: blocks\.7 is a vision_transformer\.ResPostBlock"):
        headwise.load_backbone(f"{TINY}@random")


def test_other_channels_are_refused(monkeypatch):
    timm = import_timm()
    create = timm.create_model

    def grey(*args, **options):
        model = create(*args, **options, in_chans=1)
        model.pretrained_cfg |= {"input_size": (1, 224, 224)}
        return model

    monkeypatch.setattr(timm, "create_model", grey)
    with pytest.raises(InputError, match="takes 1 channels; RGB images were expected"):
        headwise.load_backbone(f"{TINY}@random")


@pytest.mark.parametrize("name", ["w.bin", "none.safetensors", "broken.safetensors", "folder.safetensors"])
def test_the_file_is_read_before_the_model_is_built(name, tmp_path, monkeypatch):
    (tmp_path / "broken.safetensors").write_bytes(b"these are not weights at all")
    (tmp_path / "folder.safetensors").mkdir()
    monkeypatch.setattr(import_timm(), "create_model", lambda *_, **__: pytest.fail("the model was built"))
    with pytest.raises(InputError, match=f"{name} (cannot be read|is not a .safetensors file)"):
        headwise.load_backbone(f"{TINY}@{tmp_path / name}")


def test_weights_without_a_name_are_not_pretrained_ones():
    with pytest.raises(InputError, match="names no weights"):
        headwise.load_backbone(f"{TINY}@")


def test_other_layers_are_refused_by_name():
    layer = import_timm().models.vision_transformer.ParallelScalingBlock
    with pytest.raises(
        InputError, match=r"blocks\.0\.attn: found .*; expected a pre-norm layer with norm1 and attn\.qkv"
    ):
        small(block_fn=layer)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("eva02_tiny_patch14_224", "rotary"),
        ("vit_relpos_small_patch16_224", "bias"),
        ("vit_srelpos_small_patch16_224", "bias"),  # one bias for all layers, which timm keeps on the model
    ],
)
def test_positions_inside_the_logits_are_recorded_and_told(name, field):
    model = headwise.load_backbone(f"timm/{name}@random")
    assert all(getattr(record, field) is not None for record in model.query_keys())
    found = headwise.dissect(model, draws=1)
    said = "the mean over the pairs of places" if field == "rotary" else "of content alone, biases by place apart"
    assert all(each.about.startswith(said) for each in found.modes)


@pytest.mark.parametrize(
    "error",
    [
        ImportError("No module named 'timm'"),
        RuntimeError("operator torchvision::nms does not exist\nmore"),
        AttributeError(),
    ],
)
def test_a_timm_that_cannot_be_imported_is_told_in_one_sentence(monkeypatch, error):
    real = builtins.__import__

    def fail(name, *args, **kwargs):
        if name == "timm":
            raise error
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(InputError) as caught:
        headwise.load_backbone(f"{TINY}@random")
    said = str(caught.value)
    reason = str(error).splitlines()[0] if str(error) else "AttributeError"
    assert "\n" not in said and reason in said
    assert f"torch {torch.__version__.partition('+')[0]}" in said and "torchvision " in said
    assert "pip install 'headwise[timm]'" in said
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_a_folder_alone_is_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "llama").mkdir()
    with pytest.raises(InputError, match="'llama' is a folder; of a Hugging Face model say 'hf/llama'"):
        headwise.load_backbone("llama")
