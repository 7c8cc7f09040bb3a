"""The odd-one-out test on models that look for their own colour, or for another."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

import headwise
from headwise.backbones.images import preprocess_images
from headwise.backbones.plain import PlainBackbone
from headwise.backbones.vit import VisionTransformer, VisionTransformerConfig
from headwise.contracts import Preprocessing
from headwise.dissect import OddImage, OddOneOut, odd_images, odd_one_out
from headwise.dissect.odd_one_out import _batches
from headwise.errors import InputError

SMALL = VisionTransformerConfig(image_size=48, patch_size=8, width=8, depth=2, num_heads=2)


def backbone(config=SMALL, scale=1.0):
    torch.manual_seed(0)
    model = VisionTransformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    side = (config.image_size,) * 2
    half = (0.5, 0.5, 0.5)
    return PlainBackbone("vit", model, model, Preprocessing(side, half, half), config.grid, 1, "0")


def coloured(signs):
    """Layers of one attention head whose tokens look for their own colour, or for its opposite."""
    config = VisionTransformerConfig(image_size=48, patch_size=8, width=8, depth=len(signs), num_heads=1)
    made = backbone(config)
    model = made.model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for channel in range(3):
            model.patch_embed.proj.weight[channel, channel] = 1 / 64
            model.patch_embed.proj.weight[channel + 3, channel] = -1 / 64
        for block, sign in zip(model.blocks, signs, strict=True):
            block.norm1.weight.fill_(1)
            block.norm2.weight.fill_(1)
            block.attn.qkv.weight[:8] = sign * 2 * torch.eye(8)
            block.attn.qkv.weight[8:16] = 2 * torch.eye(8)
        model.norm.weight.fill_(1)
    return made


def colours(count=12, side=48, seed=0):
    """A red square among cyan ones, on a grey that is nearly even, on whole patches."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        image = np.full((side, side, 3), 128, dtype=np.uint8)
        image += rng.integers(0, 2, image.shape, dtype=np.uint8)
        target, distractors = np.zeros((side, side), dtype=bool), np.zeros((side, side), dtype=bool)
        where = rng.permutation(9)[:4]
        for n, place in enumerate(where):
            row, column = (side // 3 * int(k) for k in divmod(place, 3))
            part = np.s_[row : row + side // 6, column : column + side // 3]
            (target if n == 0 else distractors)[part] = True
        image[target], image[distractors] = (200, 60, 60), (60, 200, 200)
        yield OddImage(str(i), image, target, distractors)


def by_hand(model, images):
    """Masses and areas from the softmax of each layer, written out, image by image."""
    masses, areas = [], []
    net = model.model.double()
    for one in images:
        x = net.embed(model.preprocess([one.image]).double())
        masks = torch.stack([torch.from_numpy(m).double() for m in (one.target, one.distractors)])
        rows, columns = model.grid
        masks = masks.view(2, rows, masks.shape[1] // rows, columns, masks.shape[2] // columns).mean((2, 4)).flatten(1)
        masks = torch.cat((masks, 1 - masks.sum(0, keepdim=True)))
        places = masks[:2].argmax(1)
        per_layer = []
        for block in net.blocks:
            heads, width = block.attn.num_heads, x.shape[-1]
            q, k, _ = block.attn.qkv(block.norm1(x))[0].view(-1, 3, heads, width // heads).permute(1, 2, 0, 3)
            maps = (q @ k.mT * (width // heads) ** -0.5).softmax(-1)[:, 1 + places, 1:]  # (heads, 2, patches)
            without = maps.clone()
            without[:, [0, 1], places] = 0
            per_layer.append(torch.stack([m @ masks.T for m in (maps, without)]))
            x = block(x)
        masses.append(torch.stack(per_layer))
        own = masks[:, places].T
        count = masks.shape[1]
        whole = masks.sum(1).expand(2, 3)
        areas.append(torch.stack((whole / count, (whole - own) / (count - 1))))
    return torch.stack(masses).mean(0), torch.stack(areas).mean(0)


@pytest.mark.parametrize("batch_size", [5, 8])
def test_masses_are_those_of_the_softmax(batch_size):
    images = list(colours(7))
    found = odd_one_out(backbone(), images, batch_size=batch_size)
    masses, areas = by_hand(backbone(), images)
    assert len(found.mass) == 2 and found.mass[0].shape == (2, 2, 2, 3) and found.num_images == 7
    torch.testing.assert_close(torch.stack(found.mass), masses, atol=1e-9, rtol=0)
    torch.testing.assert_close(found.area, areas, atol=1e-6, rtol=0)  # images are float32
    assert torch.stack([m.sum(-1) for m in found.mass]).max() < 1  # the class token takes the rest


def test_a_model_that_groups_and_one_that_contrasts():
    found = odd_one_out(coloured([1.0, -1.0]), colours())
    for version in ("all", "others"):
        grouping, contrasting = found.preference(version)
        assert grouping[0] > 0.9 and contrasting[1] > 0.9, version
        torch.testing.assert_close(found.preference(version).sum(-1), torch.ones(2, dtype=torch.float64))
    assert found.layer_cosine[0] == pytest.approx(1) and found.layer_cosine[1] == pytest.approx(-1)
    same, different, background = found.sides()[0][0].tolist()
    assert same > 4 and different < 0.5 and background < 0.5
    # sides are the means of the two queries
    mass, area = found.mass[0][1, 0], found.area[1]
    assert found.sides("others")[0][0, 1] == pytest.approx(float(mass[0, 1] / area[0, 1] + mass[1, 0] / area[1, 0]) / 2)


def test_enrichment_of_even_attention_is_one():
    """With equal logits every region gets its area, apart from the class token."""
    found = odd_one_out(coloured([0.0]), colours())
    even = 36 / 37
    assert found.sides()[0][0].tolist() == pytest.approx([even] * 3)
    assert found.sides("others")[0][0].tolist() == pytest.approx([35 / 37] * 3)
    raw = found.sides(enriched=False)[0][0]
    assert raw[2] > 3 * raw[0], "without it, the background is preferred for its size"


def test_the_correlation_goes_over_layers():
    found = odd_one_out(coloured([1.0, -1.0, 0.5, -0.2, 0.1]), colours(4))
    margin = found.preference()[:, 0] - found.preference()[:, 1]
    said = found.correlation()
    assert said["layers"] == 5
    assert said["pearson"] == pytest.approx(stats.pearsonr(margin, found.layer_cosine).statistic)
    assert said["spearman"] == pytest.approx(stats.spearmanr(margin, found.layer_cosine).statistic)
    assert np.isnan(odd_one_out(coloured([1.0, -1.0]), colours(2)).correlation()["pearson"])


def test_rows_and_numbers_for_json():
    found = odd_one_out(backbone(), colours(3))
    assert [(row["layer"], row["head"]) for row in found.heads] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    row = found.layers[1]
    assert row["name"] == "blocks.1.attn"
    assert row["same_preference_others"] == pytest.approx(float(found.preference("others")[1, 0]))
    assert row["same"] == pytest.approx(np.mean([r["same"] for r in found.heads[2:]]))
    assert row["background_enriched"] == pytest.approx(float(found.sides()[1][:, 2].mean()))
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["num_images"] == 3 and told["correlation"]["all"] == {"pearson": None, "spearman": None, "layers": 2}


def test_a_region_that_is_the_query_alone_is_not_known():
    """Without the query's own patch nothing is left of the target."""
    image = next(colours(1))
    target = np.zeros_like(image.target)
    target[:8, :8] = True
    one = OddImage("one", image.image, target, image.distractors & ~target)
    found = odd_one_out(backbone(), [one])
    assert found.sides("others")[0][:, 0].isnan().all() and not found.sides()[0].isnan().any()
    assert found.to_dict()["heads"][0]["same_enriched_others"] is None


def shares(how, mask, grid=(2, 2)):
    model = SimpleNamespace(grid=grid, preprocess=lambda images: preprocess_images(images, how))
    one = OddImage("one", np.zeros((*mask.shape, 3), dtype=np.uint8), mask, ~mask)
    ((_, found),) = _batches(model, [one], 1)
    return found[0].view(3, *grid)


def test_masks_are_averaged_over_patches_as_their_image_is_prepared():
    colours = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.1)}
    mask = np.zeros((8, 16), dtype=bool)
    mask[:4, :6] = True
    plain = Preprocessing((8, 16), **colours, interpolation="box")
    torch.testing.assert_close(shares(plain, mask)[0], torch.tensor([[0.75, 0.0], [0.0, 0.0]]).double())
    # the middle half of the width is left by the crop
    center = Preprocessing((8, 8), **colours, interpolation="nearest")
    torch.testing.assert_close(shares(center, mask)[0], torch.tensor([[0.5, 0.0], [0.0, 0.0]]).double())
    # half of the height is a border: it is no object, whatever its colour
    border = Preprocessing((16, 16), **colours, interpolation="nearest", crop_mode="border")
    found = shares(border, mask)
    torch.testing.assert_close(found[0], torch.tensor([[0.375, 0.0], [0.0, 0.0]]).double())
    torch.testing.assert_close(found[2], torch.full((2, 2), 0.5).double())
    # pixels behind the last whole patch belong to none
    uneven = Preprocessing((9, 17), **colours, crop_mode="squash")
    assert shares(uneven, np.ones((9, 17), dtype=bool))[0].tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_images_whose_target_is_cropped_away_are_left_out():
    images = list(colours(3))
    wide = np.zeros((48, 150), dtype=bool)
    target, distractors = wide.copy(), wide.copy()
    target[:8, :8], distractors[20:30, 70:80] = True, True
    images.insert(1, OddImage("wide", np.zeros((48, 150, 3), dtype=np.uint8), target, distractors))
    steps = []
    found = odd_one_out(backbone(), images, batch_size=2, progress=lambda *step: steps.append(step))
    assert found.left_out == ("wide",) and found.num_images == 3
    assert steps == [("odd-one-out test", 2, 4), ("odd-one-out test", 4, 4)]
    with pytest.raises(InputError, match="none of the 1 images shows a target and a distractor"):
        odd_one_out(backbone(), images[1:2])
    with pytest.raises(InputError, match="there are no images that show a target"):
        odd_one_out(backbone(), [])


def test_models_that_cannot_be_tested():
    with pytest.raises(InputError, match="takes no images"):
        odd_one_out(headwise.load_backbone(torch.nn.MultiheadAttention(8, 2)), colours(1))
    with pytest.raises(InputError, match="a backbone is needed"):
        odd_one_out("embedded", colours(1))
    other = backbone()
    other.grid, other.num_prefix_tokens = (3, 3), 1
    with pytest.raises(InputError, match=r"blocks\.0\.attn sees 37 tokens at a time and not the 10"):
        odd_one_out(other, colours(1))
    with pytest.raises(InputError, match="version must be one of all, others"):
        odd_one_out(backbone(), colours(1)).sides("self")


def test_drawn_images_on_the_embedded_backbone():
    found = odd_one_out(headwise.load_backbone("embedded"), odd_images(8, size=96, rows=3))
    assert isinstance(found, OddOneOut) and len(found.mass) == 6 and len(found.heads) == 24
    for version in ("all", "others"):
        assert bool(found.preference(version).isfinite().all())
    assert repr(found).startswith("OddOneOut(8 images; preference for the same 0.")


@pytest.mark.slow
def test_a_supervised_model_groups_early_and_not_late(data_dir):
    """As the literature has it, on real weights: a preference for the same object that later layers lose."""
    file = data_dir / "vit_tiny_patch16_224_in1k" / "model.safetensors"
    model = headwise.load_backbone(f"timm/vit_tiny_patch16_224@{file}")
    found = odd_one_out(model, odd_images(12))
    same = found.preference()[:, 0]
    assert same[:3].min() > 0.8 and same[-2:].max() < 0.5
    assert found.correlation()["pearson"] > 0.4
    others = found.preference("others")[:, 0]
    assert others[1:3].min() > 0.75 and others[-2:].max() < 0.5
