"""Top samples of modes: against a pass that holds all projections, on planted samples, and with what cannot be used."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import headwise
from headwise.backbones.plain import PlainBackbone
from headwise.backbones.timm_models import import_timm
from headwise.backbones.vit import VisionTransformer, VisionTransformerConfig
from headwise.contracts import Norm, Preprocessing, QueryKey
from headwise.dissect import (
    ExampleSearch,
    all_modes,
    example_pass,
    load_examples,
    mode_maps,
    modes,
    overlays,
    save_examples,
    top_examples,
)
from headwise.dissect.evidence import project
from headwise.dissect.examples import BY, SIGNS
from headwise.dissect.faithful import observe
from headwise.dissect.logits import normalise
from headwise.errors import InputError

WIDTH, GRID, PREFIX = 12, (3, 5), 2


@pytest.fixture(scope="module")
def model():
    """A small vision transformer in float64, so that scores are the same whatever the batches."""
    torch.manual_seed(3)
    module = VisionTransformer(VisionTransformerConfig(image_size=16, width=32, depth=3, num_heads=2)).double()
    half = (0.5, 0.5, 0.5)
    return PlainBackbone("small", module, module, Preprocessing((16, 16), half, half), (4, 4), 1, "none")


def pictures(count=17):
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def given(tokens, *, record=None, prefix=PREFIX, **fields):
    """A stand-in for a backbone of one layer, whose inputs are the numbers of samples with known tokens."""
    if record is None:
        eye = torch.eye(WIDTH, dtype=torch.float64)
        record = QueryKey(0, "layers.0.attn", eye[None, :2], torch.stack([3 * eye[5], eye[6]])[None])
    return SimpleNamespace(
        name="given",
        weights_hash="of the stand-in",
        query_keys=lambda: [record],
        tokens=lambda numbers, layers, at: [tokens[numbers] for _ in layers],
        num_prefix_tokens=prefix,
        grid=GRID,
        **fields,
    )


def noise(count=30, size=1.0):
    shape = (count, PREFIX + GRID[0] * GRID[1], WIDTH)
    return size * torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def numbers(count, size):
    return list(torch.arange(count).split(size))


def reference(x, counted, found, head, mode, by, sign, k):
    """The definition, with all projections in memory: rows of (sample, score, query place, key place)."""
    factor = 1.0 if sign == "+" else -1.0
    sides = []
    for directions in (found.u, found.v):
        values = factor * (x @ directions[head, mode].to(x))
        best = values.masked_fill(~counted, -torch.inf).max(1)
        sides.append([(float(value), int(place) if value > 0 else -1) for value, place in zip(*best, strict=True)])
    rows = []
    for sample, ((query, query_place), (key, key_place)) in enumerate(zip(*sides, strict=True)):
        score = {"both": query * key if min(query, key) > 0 else 0.0, "query": query, "key": key}[by]
        if score > 0:
            rows.append((sample, score, query_place, key_place))
    return sorted(rows, key=lambda row: (-row[1], row[0]))[:k]


def told(example):
    return (example.sample, pytest.approx(example.score, rel=1e-5), example.query_place, example.key_place)


def test_against_all_projections(model):
    images, records = pictures(), model.query_keys()
    found = top_examples(model, images.split(5), per_mode=4)
    assert [each.layer for each in found] == [0, 1, 2]
    inputs = model.tokens(images, range(3), at="block_input")
    for each, directions, record, tokens in zip(found, all_modes(records), records, inputs, strict=True):
        assert each.num_samples == 17 and each.scores.shape == (3, 2, 16, 2, 4) == each.samples.shape
        assert each.scores.dtype == torch.float32 and each.samples.dtype == torch.int64
        x = normalise(tokens, record.input_norm)
        counted = torch.ones(x.shape[:2], dtype=torch.bool)
        counted[:, 0] = False
        for by in BY:
            for sign in SIGNS:
                for head, mode in ((0, 0), (0, 7), (1, 0), (1, 15)):
                    wanted = reference(x, counted, directions, head, mode, by, sign, 4)
                    assert wanted == [told(example) for example in each.of(head, mode, by, sign)]


def test_the_batches_do_not_matter(model):
    images = pictures()
    whole, *others = (top_examples(model, images.split(size), per_mode=3) for size in (17, 1, 4))
    for found in others:
        for one, other in zip(whole, found, strict=True):
            torch.testing.assert_close(one.scores, other.scores)
            for name in ("samples", "query_places", "key_places"):
                assert torch.equal(getattr(one, name), getattr(other, name)), name
            assert one.left_out == other.left_out and one.origin == other.origin


@pytest.mark.parametrize("norm", [None, Norm("rms", None, None, 1e-6), Norm("layer", None, None, 1e-6)])
def test_planted_samples_come_first(norm):
    tokens = noise()
    for sample, sign in ((21, 7.0), (4, -7.0)):
        tokens[sample, PREFIX + 3, 0] += sign
        tokens[sample, PREFIX + 11, 5] += sign
    tokens[:, 0] = 50.0  # a class token that fires more than any patch
    eye = torch.eye(WIDTH, dtype=torch.float64)
    record = QueryKey(0, "attn", eye[None, :2], torch.stack([3 * eye[5], eye[6]])[None], input_norm=norm)
    (found,) = top_examples(given(tokens, record=record), numbers(30, 8))
    positive = bool(modes(record).u[0, 0, 0] > 0)
    for by in BY:
        for sample, sign in ((21, "+" if positive else "-"), (4, "-" if positive else "+")):
            best = found.of(0, 0, by, sign)[0]
            assert best.sample == sample
            assert by == "key" or best.query_place == PREFIX + 3
            assert by == "query" or best.key_place == PREFIX + 11
    assert not ((found.query_places >= 0) & (found.query_places < PREFIX)).any()
    assert not ((found.key_places >= 0) & (found.key_places < PREFIX)).any()


def test_tokens_of_high_norm_count_where_asked():
    tokens = noise()
    tokens[9, PREFIX + 6] *= 40
    tokens[9, PREFIX + 6, :7] = 100.0
    (without,) = top_examples(given(tokens), numbers(30, 10))
    (with_them,) = top_examples(given(tokens), numbers(30, 10), high_norm=True)
    assert (without.left_out, with_them.left_out) == (1, 0)
    assert not ((without.samples == 9) & (without.query_places == PREFIX + 6)).any()
    sign = "+" if with_them.of(0, 0, sign="+")[0].sample == 9 else "-"
    best = with_them.of(0, 0, sign=sign)[0]
    assert (best.sample, best.query_place, best.key_place) == (9, PREFIX + 6, PREFIX + 6)


@pytest.mark.parametrize("size", [1, 4, 9])
def test_of_equal_samples_the_first_are_kept(size):
    tokens = noise(1).expand(9, -1, -1)
    (found,) = top_examples(given(tokens), numbers(9, size), per_mode=3)
    kept = found.samples[found.samples[..., 0] >= 0]
    assert len(kept) and torch.equal(kept, torch.tensor([0, 1, 2]).expand(len(kept), -1))


def test_fewer_samples_than_are_kept():
    tokens = noise(3)
    tokens[2] = 0  # fires on nothing
    (found,) = top_examples(given(tokens), numbers(3, 2), per_mode=5)
    assert found.num_samples == 3 and (found.samples[..., 2:] == -1).all() and not (found.samples == 2).any()
    assert sorted(example.sample for example in found.of(0, 1)) == [0, 1]
    for values in (found.scores, found.query_places + 1, found.key_places + 1):
        assert not values[..., 2:].any()


def test_a_side_that_does_not_fire_has_no_place():
    tokens = noise(4).abs()  # nothing is negative
    (found,) = top_examples(given(tokens), numbers(4, 4))
    sign = "-" if found.of(0, 0, sign="+") else "+"
    assert not found.of(0, 0, sign=sign)
    tokens[:, :, 5] *= -1  # keys are
    (found,) = top_examples(given(tokens), numbers(4, 4))
    assert not found.of(0, 0, sign="+") and not found.of(0, 0, sign="-")
    alone = found.of(0, 0, "query", "+") or found.of(0, 0, "query", "-")
    assert len(alone) == 4 and all(example.key_place == -1 < example.query_place for example in alone)


def test_some_modes_of_some_layers(model):
    images = pictures(6)
    whole = top_examples(model, [images])
    (second,) = top_examples(model, [images], modes=all_modes(model.query_keys())[1:2], most_modes=5)
    assert second.layer == 1 and second.scores.shape == (3, 2, 5, 2, 7)
    torch.testing.assert_close(second.scores, whole[1].scores[:, :, :5])
    assert second.origin != whole[1].origin
    with pytest.raises(InputError, match="attention head 1 of layer 1 has modes 0 to 4 here, got 5"):
        second.of(1, 5)
    with pytest.raises(InputError, match="layer 1 has attention heads 0 to 1, got 2"):
        second.of(2, 0)
    with pytest.raises(InputError, match="the mode must be a whole number of at least 0, got -1"):
        second.of(0, -1)
    with pytest.raises(InputError, match="unknown ranking 'value'"):
        second.of(0, 0, by="value")
    with pytest.raises(InputError, match="unknown sign 'plus'"):
        second.of(0, 0, sign="plus")


def test_files(model, tmp_path):
    found = top_examples(model, pictures(6).split(4), per_mode=2)
    save_examples(found, tmp_path / "found.safetensors")
    read = load_examples(tmp_path / "found.safetensors")
    for one, other in zip(found, read, strict=True):
        for name, value in vars(one).items():
            same = torch.equal(value, getattr(other, name)) if isinstance(value, torch.Tensor) else None
            assert same or value == getattr(other, name), name
    (tmp_path / "wrong.safetensors").write_bytes(b"nothing")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name, why in (("none", "does not exist"), ("wrong", "cannot be read"), ("other", "holds no examples")):
        with pytest.raises(InputError, match=why):
            load_examples(tmp_path / f"{name}.safetensors")
    newer = '{"format_version": 99, "headwise_version": "9.0"}'
    save_file({"x": torch.zeros(1)}, tmp_path / "new.safetensors", {"examples": newer})
    with pytest.raises(InputError, match=r"written by headwise 9\.0, which is newer"):
        load_examples(tmp_path / "new.safetensors")
    with pytest.raises(InputError, match="no examples to write"):
        save_examples([], tmp_path / "empty.safetensors")


def same(found, others):
    return all(
        torch.equal(one.samples, other.samples) and one.num_samples == other.num_samples
        for one, other in zip(found, others, strict=True)
    )


def test_a_stopped_pass_goes_on(model, tmp_path):
    images, file, said = pictures(), tmp_path / "kept.safetensors", []
    whole = top_examples(model, [images], per_mode=3)

    def stopped():
        yield from images[:8].split(4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        top_examples(model, stopped(), per_mode=3, keep=file, announce=said.append)
    assert said == [f"examples of 8 samples are kept in {file}; the same call goes on from there"]
    assert load_examples(file)[0].num_samples == 8
    seen = []
    tokens = model.tokens

    def counted(inputs, *args, **options):
        seen.append(len(inputs))
        return tokens(inputs, *args, **options)

    model.tokens = counted
    try:
        again = top_examples(model, images.split(5), per_mode=3, keep=file, announce=said.append)
    finally:
        del model.tokens
    assert seen == [2, 5, 2] and same(whole, again) and said[1].endswith("the pass goes on after them")
    assert same(whole, top_examples(model, images.split(5), per_mode=3, keep=file))
    for changed in ({"per_mode": 2}, {"high_norm": True}, {"most_modes": 3}):
        with pytest.raises(InputError, match="another model, other modes or other settings"):
            top_examples(model, [images], **{"per_mode": 3, "keep": file} | changed)
    with pytest.raises(InputError, match="holds examples of 17 samples, and there are 6 in the batches"):
        top_examples(model, [images[:6]], per_mode=3, keep=file)
    with pytest.raises(InputError, match=r"the folder of .* is not there"):
        top_examples(model, [images], keep=tmp_path / "nowhere" / "kept.safetensors")


def test_a_pass_that_fails_keeps_what_it_has_seen(model, tmp_path):
    images = pictures()
    images[9, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match=r"sample 9 that enter blocks\.0\.attn hold NaN or infinity"):
        top_examples(model, images.split(4), keep=tmp_path / "kept.safetensors")
    assert load_examples(tmp_path / "kept.safetensors")[0].num_samples == 8


def test_a_long_pass_is_kept_in_between(model, tmp_path, monkeypatch):
    images, file, seen = pictures(), tmp_path / "kept.safetensors", []
    monkeypatch.setattr(example_pass, "_EVERY", 0.0)

    def watched():
        for batch in images.split(6):
            seen.append(load_examples(file)[0].num_samples if file.exists() else 0)
            yield batch

    top_examples(model, watched(), keep=file)
    assert seen == [0, 6, 12] and load_examples(file)[0].num_samples == 17


def test_half_precision_is_ranked_in_single():
    layer = nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, batch_first=True).eval().bfloat16()
    model, tokens = headwise.load_backbone(layer), torch.randn(6, 5, 8)
    (found,) = top_examples(model, tokens.split(4), high_norm=True)
    (record,) = model.query_keys()
    x = normalise(tokens.bfloat16().double(), record.input_norm)
    wanted = reference(x, torch.ones(6, 5, dtype=torch.bool), modes(record), 1, 0, "both", "+", 7)
    assert wanted == [told(example) for example in found.of(1, 0)]


def test_a_search_goes_on_from_another(model):
    images, calls = pictures(), []
    first = ExampleSearch(model, per_mode=3)
    first.update(images[:6])
    second = ExampleSearch(model, per_mode=3, begin=first.found)
    second.update(images[6:])
    assert first.num_samples == 6 and second.num_samples == 17
    whole = top_examples(model, [images], per_mode=3, progress=lambda *given: calls.append(given))
    assert same(second.found, whole) and calls == [("look for examples", 1, 1)]


def test_what_cannot_be_used(model):
    images = pictures(2)
    for batches, why in (
        ([], "no samples to look at"),
        (images, "put a single batch into a list"),
        (5, "got int; put a single batch"),
        ([images[0]], "takes images"),
        ([torch.full((1, 3, 16, 16), torch.inf)], "hold NaN or infinity"),
    ):
        with pytest.raises(InputError, match=why):
            top_examples(model, batches)
    for options, why in (
        ({"per_mode": 0}, "per_mode must be a whole number of at least 1"),
        ({"most_modes": 0}, "most_modes must be"),
        ({"high_norm": "no"}, "high_norm must be True or False"),
        ({"modes": []}, "there are no modes"),
        ({"modes": all_modes(given(noise()).query_keys())}, r"are of 1 attention heads of width 12; blocks\.0\.attn"),
    ):
        with pytest.raises(InputError, match=why):
            top_examples(model, [images], **options)
    with pytest.raises(InputError, match="a backbone is needed, got 'embedded'"):
        top_examples("embedded", [images])
    with pytest.raises(InputError, match="has no attention layer"):
        top_examples(headwise.load_backbone(nn.Linear(2, 2)), [images])
    wrapped = headwise.load_backbone(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))
    with pytest.raises(InputError, match="does not say which of its tokens are padding"):
        top_examples(wrapped, [{"src": torch.zeros(1, 4, 8)}])


def families():
    """Layers of many kinds, with what is given to them."""
    models = import_timm().models
    vit = {"img_size": 16, "patch_size": 4, "embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 0}
    swin = {"patch_size": 4, "window_size": 4, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4), "num_classes": 0}
    image = torch.randn(2, 3, 16, 16)
    layer = nn.TransformerEncoderLayer(24, 4, 32, batch_first=True)
    return {
        "q/k norm": (models.VisionTransformer(**vit, qk_norm=True), image),
        "rotary": (models.Eva(**vit, use_rot_pos_emb=True), image),
        "windows": (models.SwinTransformer(img_size=64, **swin), torch.randn(2, 3, 64, 64)),
        "norm last": (nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), torch.randn(2, 7, 24)),
    }


@pytest.mark.parametrize("name", ["q/k norm", "rotary", "windows", "norm last"])
def test_maps_are_of_what_attention_reads(name):
    module, inputs = families()[name]
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape)
    model = headwise.load_backbone(module.eval().double())
    records, inputs = model.query_keys(), inputs.double()
    found, entered = all_modes(records, context=17), {}  # as many tokens as the rotary one has
    observe(model, records, inputs, lambda seen: entered.update({seen.number: seen.tokens}))
    examples = top_examples(model, [inputs], modes=found, high_norm=True)
    for layer, (record, directions) in enumerate(zip(records, found, strict=True)):
        query, key = mode_maps(model, inputs, layer, [(0, 3), (1, 0)], found)
        wanted = project(directions, normalise(entered[layer], record.input_norm))
        for map_, projected in zip((query, key), wanted, strict=True):
            torch.testing.assert_close(map_, projected[:, [0, 1], [3, 0]])
        first = getattr(module, "num_prefix_tokens", 0)
        for example in examples[layer].of(0, 3):
            assert example.query_place == first + int(query[example.sample, 0, first:].argmax())


def test_maps_that_are_not_there(model):
    images = pictures(2)
    query, _ = mode_maps(model, images, 1, [])
    assert query.shape == (2, 0, 17)
    made, directions = mode_maps(model, images, 1, [(1, 2)]), all_modes(model.query_keys())
    for one, other in zip(made, mode_maps(model, images, 1, [(1, 2)], directions), strict=True):
        torch.testing.assert_close(one, other)
    for layer, pairs, found, why in (
        (3, [], None, "has layers 0 to 2, got 3"),
        (-1, [], None, "layer must be a whole number"),
        (1, [(2, 0)], None, "attention heads 0 to 1, got 2"),
        (1, [(0, 16)], None, "modes 0 to 15 here, got 16"),
        (0, [(0, 0)], directions[1:], "the modes are of layers 1, 2; got 0"),
    ):
        with pytest.raises(InputError, match=why):
            mode_maps(model, images, layer, pairs, found)


def test_overlays_of_chosen_heads(model):
    images = pictures(2)
    made = overlays(model, images, layers=[2, 0], heads=[1, 0], per_head=3)
    assert [(o.layer, o.image, o.head) for o in made] == [
        (x, i, h) for x in (2, 0) for i in (0, 1) for h in (1, 0) for _ in range(3)
    ]
    for first in range(0, len(made), 3):
        shares = [o.share for o in made[first : first + 3]]
        assert shares == sorted(shares, reverse=True) and len({o.mode for o in made[first : first + 3]}) == 3
    best = overlays(model, images, layers=[2])
    leading = [max((o for o in made if (o.layer, o.image) == (2, i)), key=lambda o: o.share) for i in (0, 1)]
    assert [(o.head, o.mode) for o in best] == [(o.head, o.mode) for o in leading]
    for options, why in (
        ({"layers": [3]}, "has layers 0 to 2, got 3"),
        ({"heads": [2]}, "attention heads 0 to 1, got 2"),
        ({"per_head": 0}, "per_head must be a whole number of at least 1"),
    ):
        with pytest.raises(InputError, match=why):
            overlays(model, images, **options)
