"""What is of the wrong kind is refused where it enters, in words: what was given, and what is needed."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import headwise
from headwise import Dissection, InputError
from headwise.dissect import (
    ExampleSearch,
    all_modes,
    chance_band,
    check,
    compare,
    dissect,
    edited,
    effect,
    effective_rank,
    high_norm_tokens,
    load_examples,
    mode_cosines,
    mode_maps,
    modes,
    odd_images,
    odd_one_out,
    overlays,
    permuted_weighted_cosine,
    read_odd_images,
    save_examples,
    subspace_cosines,
    subspaces,
    symmetric_share,
    top_examples,
    weighted_cosine,
    weighted_cosine_band,
)

EDITS = [(0, 1, 0, 0.0)]
TOKENS = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0))
HOLED = torch.zeros(2, 3, 32, 32)
HOLED[1, 0, 0, 0] = torch.nan


@pytest.fixture(scope="module")
def has(tmp_path_factory):
    """A module of tokens, a backbone of images, and what dissection made of the module."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(12, 3, 16, dropout=0, norm_first=True, batch_first=True)
    module = headwise.load_backbone(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))
    return SimpleNamespace(
        module=module,
        embedded=headwise.load_backbone("embedded"),
        found=dissect(module, TOKENS, draws=2),
        examples=top_examples(module, [TOKENS], per_mode=2),
        folder=tmp_path_factory.mktemp("wrong"),
    )


def _edit(model, edits):
    with edited(model, edits):
        pass


def _effect(has, inputs=TOKENS, edits=EDITS, score=None, **options):
    return effect(has.module, inputs, edits, score, **{"draws": 2} | options)


OF_MODES = "modes must be a list of Modes, as headwise.dissect(...).modes is"
OF_PAIRS = "pairs must be a list of (attention head, mode)"
OF_EDITS = "edits must be a list of (layer, head, mode, factor)"
OF_RECORDS = "records must be a list of records, as model.query_keys() gives them"
OF_IMAGES = "images must be a list of OddImage, as odd_images and read_odd_images give them"
OF_REGION = "region is a mask (n, s) that holds at least one token: bool, or the share of each token, from 0 to 1; got"
OF_PATH = "must be a path (str or pathlib.Path), got"
TWO = "compare takes two results of headwise.dissect, or the Modes of layers, got"
DOES_NOT_RUN = "TransformerEncoder does not run on a tensor (1, 2, 5, 12) of float"
NO_NUMBERS = "embedded does not run on a tensor (2, 3, 32, 32) of int64"

CALLS = [
    # what is looked for, and in what
    (lambda has: top_examples(has.module, [TOKENS], modes="abc"), f"{OF_MODES}, got 'abc'"),
    (lambda has: top_examples(has.module, [TOKENS], modes=[None]), f"{OF_MODES}; the one at place 0 is None"),
    (lambda has: top_examples(has.module, [TOKENS], modes=has.found), f"{OF_MODES}, got a Dissection"),
    (lambda has: top_examples(has.module, [TOKENS], modes=has.found.modes[0]), f"{OF_MODES}, got a Modes"),
    (lambda has: top_examples(has.module, [TOKENS], keep=5), f"keep {OF_PATH} 5"),
    (lambda has: top_examples(has.module, [TOKENS], keep=has.folder), "keep is the folder"),
    (lambda has: top_examples(has.module, [TOKENS], per_mode=10**9), "of 24 modes take 3,755.1 GiB, and at most 8 GiB"),
    (lambda has: top_examples(has.module, [TOKENS], announce=3), "announce must be a function, called as announce("),
    (lambda has: top_examples(has.module, [TOKENS], progress=3), "progress must be a function"),
    (lambda has: top_examples(has.module, [None]), "takes a tensor or a mapping of its arguments to tensors, got None"),
    (lambda has: top_examples(has.module, "ab"), "batches are what preprocess gives, one after the other, got str"),
    (lambda has: top_examples(has.module, [TOKENS[None]]), DOES_NOT_RUN),
    (
        lambda has: top_examples(has.module, [TOKENS[0]]),
        "makes tokens (5, 12) of a tensor (5, 12) of float32; give a batch",
    ),
    (lambda has: top_examples(has.module, [TOKENS[..., :11]]), "(its attention reads tokens of width 12)"),
    (lambda has: top_examples(has.embedded, [HOLED.isnan().long()]), f"{NO_NUMBERS}: "),
    (lambda has: top_examples(has.embedded, [HOLED.isnan().long()]), "; give what its preprocess gives"),
    (
        lambda has: ExampleSearch(has.module, begin=5),
        "begin must be a list of Examples, as an earlier search has found them, got 5",
    ),
    (lambda has: ExampleSearch(has.module, begin=[1]), "the one at place 0 is 1"),
    # maps and overlays
    (lambda has: mode_maps(has.module, TOKENS, 0, None), f"{OF_PAIRS}, got None"),
    (lambda has: mode_maps(has.module, TOKENS, 0, "ab"), f"{OF_PAIRS}, got 'ab'"),
    (lambda has: mode_maps(has.module, TOKENS, 0, [0]), "a pair is (attention head, mode), got 0"),
    (lambda has: mode_maps(has.module, TOKENS, 0, [(0, 0)], "abc"), f"{OF_MODES}, got 'abc'"),
    (lambda has: mode_maps(has.module, TOKENS[None], 0, [(0, 0)]), DOES_NOT_RUN),
    (lambda has: mode_maps(has.embedded, HOLED, 0, [(0, 0)]), "the inputs hold NaN or infinity; give finite numbers"),
    (lambda has: mode_maps(has.embedded, HOLED[:0], 0, [(0, 0)]), "the inputs are empty, of shape (0, 3, 32, 32)"),
    (lambda has: overlays(has.embedded, HOLED), "the inputs hold NaN or infinity; give finite numbers"),
    (lambda has: overlays(has.embedded, HOLED.isnan().long()), NO_NUMBERS),
    (lambda has: overlays(has.embedded, HOLED, layers=4), "layers must be a list of numbers of layers, got 4"),
    (lambda has: overlays(has.embedded, HOLED, heads=4), "heads must be a list of numbers of attention heads, got 4"),
    (lambda has: overlays(has.module, TOKENS), "TransformerEncoder takes no images; an overlay needs a backbone"),
    (lambda has: overlays(None, TOKENS), "a backbone is needed, got a NoneType"),
    # odd ones
    (lambda has: odd_one_out(has.embedded, None), f"{OF_IMAGES}, got None"),
    (lambda has: odd_one_out(has.embedded, "str"), f"{OF_IMAGES}, got 'str'"),
    (lambda has: odd_one_out(has.embedded, [None]), f"{OF_IMAGES}; the one at place 0 is None"),
    (lambda has: odd_one_out(has.embedded, [Image.new("RGB", (32, 32))]), "the one at place 0 is an Image"),
    (lambda has: odd_one_out(has.embedded, odd_images(1)[0]), f"{OF_IMAGES}, got an OddImage"),
    (lambda has: odd_one_out(has.embedded, odd_images(1), progress=3), "progress must be a function"),
    (lambda has: odd_images(3, size=(10,)), "size is a number of pixels, or (height, width), got (10,)"),
    (lambda has: odd_images(3, size=None), "size: the height must be a whole number of at least 1, got None"),
    (lambda has: odd_images(3, size=10**6), "at most 1,000,000 are drawn, of 67,108,864 pixels or fewer"),
    (lambda has: odd_images(10**6 + 1), "1,000,001 images of 224 x 224 pixels"),
    (
        lambda has: odd_images(3, differs=None),
        "differs is a list of attributes (colour, shape, size, orientation), got None",
    ),
    (lambda has: odd_images(3)["a"], "an image is asked for by its number from 0, or some by a slice, got 'a'"),
    (lambda has: odd_images(3)[0.5], "or some by a slice, got 0.5"),
    (lambda has: odd_images(3)[True], "or some by a slice, got True"),
    (lambda has: odd_images(3)["a":], "images cannot be cut by slice('a', None, None)"),
    # edits and what they cause
    (lambda has: _edit(has.module, None), f"{OF_EDITS}, got None"),
    (lambda has: _edit(has.module, 5), f"{OF_EDITS}, got 5"),
    (lambda has: _edit(has.module, ["abcd"]), "an edit is (layer, head, mode, factor), got 'abcd'"),
    (lambda has: _effect(has, edits=None), f"{OF_EDITS}, got None"),
    (lambda has: _effect(has, edits=5), f"{OF_EDITS}, got 5"),
    (lambda has: _effect(has, TOKENS[None]), DOES_NOT_RUN),
    (lambda has: _effect(has, TOKENS[..., :11]), "layers.0.self_attn reads tokens of width 12, floating-point numbers"),
    (lambda has: _effect(has, TOKENS[..., :11]), "these inputs give layers.0.norm1 (2, 5, 11) of float64"),
    (lambda has: _effect(has, TOKENS.long()), "these inputs give layers.0.norm1 (2, 5, 12) of int64"),
    (lambda has: _effect(has, score=5), "score must be a function, called as score(model), or None, got 5"),
    (lambda has: _effect(has, score=lambda model: None), "score(model) must return a finite number, got None"),
    (lambda has: _effect(has, score=lambda model: "1"), "score(model) must return a finite number, got '1'"),
    (lambda has: _effect(has, score=lambda model: torch.ones(3)), "must return a finite number, got a Tensor"),
    (lambda has: _effect(has, score=lambda model: np.nan), "score(model) must return a finite number, got nan"),
    (lambda has: _effect(has, region=torch.full((2, 5), 5.0)), f"{OF_REGION} numbers from 5 to 5"),
    (lambda has: _effect(has, region=-torch.rand(2, 5)), OF_REGION),
    (lambda has: _effect(has, region=torch.full((2, 5), torch.nan)), f"{OF_REGION} numbers from nan"),
    (lambda has: _effect(has, region=torch.zeros(2, 5).bool()), f"{OF_REGION} numbers from 0 to 0"),
    # dissections
    (lambda has: dissect(has.module, TOKENS[None]), DOES_NOT_RUN),
    (lambda has: dissect(has.module, TOKENS[..., :11]), "layers.0.self_attn reads tokens of width 12"),
    (lambda has: check(has.module, None, TOKENS), f"{OF_RECORDS}, got None"),
    (lambda has: all_modes(None), f"{OF_RECORDS}, got None"),
    (lambda has: modes(1), f"{OF_RECORDS}; the one at place 0 is 1"),
    (lambda has: compare(has.found, None), f"{TWO} None"),
    (lambda has: compare(has.found, 5), f"{TWO} 5"),
    (lambda has: compare(has.module, has.module), f"{TWO} a WrappedModule; dissect the models first"),
    (lambda has: has.found.save(None), f"path {OF_PATH} None"),
    (lambda has: has.found.save(5), f"path {OF_PATH} 5"),
    (lambda has: has.found.save(""), f"path {OF_PATH} ''"),
    (lambda has: has.found.save(has.folder / "made", records=[1]), f"{OF_RECORDS}; the one at place 0 is 1"),
    (lambda has: has.found.save(has.folder / "made", records=has.module.query_keys()[:1]), "1 records are given, and"),
    (lambda has: has.found.save(has.folder / "made", records=has.embedded.query_keys()[:2]), "has 4 of width 128"),
    (lambda has: Dissection.load(None), f"path {OF_PATH} None"),
    (lambda has: Dissection.load(5), f"path {OF_PATH} 5"),
    (lambda has: read_odd_images(None), f"folder {OF_PATH} None"),
    (lambda has: read_odd_images(5), f"folder {OF_PATH} 5"),
    (lambda has: save_examples(has.examples, None), f"path {OF_PATH} None"),
    (lambda has: save_examples(has.examples, has.folder), "path is the folder"),
    (lambda has: save_examples(["a"], has.folder / "made"), "Examples, as top_examples gives them; the one at place 0"),
    (lambda has: save_examples(has.examples[0], has.folder / "made"), "as top_examples gives them, got an Examples"),
    (lambda has: load_examples(None), f"path {OF_PATH} None"),
    (lambda has: load_examples(5), f"path {OF_PATH} 5"),
    (lambda has: load_examples(has.folder), "examples are one file, for example"),
]


CALLS += [
    (lambda has, f=f: f(5), "the modes of one layer are needed, such as headwise.dissect(model).modes[0], got")
    for f in (mode_cosines, weighted_cosine, effective_rank, symmetric_share, subspaces, subspace_cosines)
] + [
    (lambda has: weighted_cosine_band(None), "the modes of one layer are needed"),
    (lambda has: weighted_cosine_band(has.found.modes[0], level=1), "level must be a positive number below 1, got 1"),
    (lambda has: subspaces(has.found.modes[0], factor="a"), "factor must be a positive number, got 'a'"),
    (lambda has: chance_band("a"), "width must be a whole number of at least 1, got 'a'"),
    (lambda has: permuted_weighted_cosine(None), "a record is needed, such as model.query_keys()[0], got None"),
    (lambda has: permuted_weighted_cosine(has.module.query_keys()[0], draws=0), "draws must be a whole number of at"),
    (lambda has: high_norm_tokens(None), "tokens must be a tensor of real numbers, (n, s, d), got None"),
    (lambda has: high_norm_tokens(TOKENS[0]), "tokens must be a tensor of real numbers, (n, s, d), got"),
]


@pytest.mark.parametrize(("call", "said"), CALLS, ids=[str(i) for i in range(len(CALLS))])
def test_it_is_said_what_is_needed(has, call, said):
    weights = [p.detach().clone() for p in has.module.model.parameters()]
    with pytest.raises(InputError) as refused:
        call(has)
    assert said in str(refused.value)
    assert not (has.folder / "made").exists()  # nothing is begun that cannot be ended
    assert all(torch.equal(p, kept) for p, kept in zip(has.module.model.parameters(), weights, strict=True))


def test_full_memory_is_not_called_a_wrong_input(has):
    def full(*given, **options):
        raise torch.OutOfMemoryError("no memory is left")

    model = SimpleNamespace(**vars(has.module) | {"tokens": full, "query_keys": has.module.query_keys})
    for call in (lambda: mode_maps(model, TOKENS, 0, [(0, 0)]), lambda: check(model, model.query_keys(), TOKENS)):
        with pytest.raises(torch.OutOfMemoryError):
            call()


def test_a_score_is_refused_before_anything_is_measured(has):
    seen = []
    hook = has.module.model.register_forward_hook(lambda *given: seen.append(1))
    with pytest.raises(InputError, match="must return a finite number"):
        _effect(has, score=lambda model: None)
    hook.remove()
    assert not seen


def test_what_is_read_once_will_do(has):
    """Edits, pairs, layers and modes from generators: none is read twice."""
    wanted, got = (_effect(has, edits=edits) for edits in (EDITS, iter(EDITS)))
    assert got.outputs == wanted.outputs and got.edits == tuple(EDITS)
    with edited(has.module, iter(EDITS)):
        assert float(all_modes(has.module.query_keys())[0].sigma[1, -1]) < 1e-6
    maps = [mode_maps(has.module, TOKENS, 1, pairs)[0] for pairs in ([(0, 1)], iter([(0, 1)]), np.array([[0, 1]]))]
    assert torch.equal(maps[0], maps[1]) and torch.equal(maps[0], maps[2])
    assert len(overlays(has.embedded, HOLED.nan_to_num(), layers=iter([0, 2]), heads=iter([1]))) == 4


def test_a_region_may_be_of_shares(has):
    whole, half = (_effect(has, region=torch.full((2, 5), share)).layers[0].mass for share in (1.0, 0.5))
    torch.testing.assert_close(2 * half, whole)


def test_some_images_by_a_slice():
    drawn = odd_images(6, size=64, rows=2)
    some = drawn[4:0:-2]
    assert some.names == (drawn.names[4], drawn.names[2]) and [each.name for each in some] == list(some.names)
    assert np.array_equal(some[-1].image, drawn[2].image) and len(drawn[6:]) == 0
    assert drawn[np.int64(1)].name == drawn.names[1]
    with pytest.raises(IndexError, match="image 6 is asked for; there are 6, from 0"):
        drawn[6]


def test_a_file_among_images_that_is_none(tmp_path):
    drawn = odd_images(1, size=32, rows=2)[0]
    for part, pixels in (("images", drawn.image), ("targets", drawn.target), ("distractors", drawn.distractors)):
        (tmp_path / part).mkdir()
        Image.fromarray(pixels).save(tmp_path / part / "one.png")
    stray = tmp_path / "images" / "notes.txt"
    stray.write_text("taken in May")
    with pytest.raises(InputError) as refused:
        read_odd_images(tmp_path)
    assert f"{stray} needs files of the same name in targets/" in str(refused.value)
    assert "move it out of the folder where it is no image" in str(refused.value)


def _changed(has, path, name=None, change=None, **told):
    """The examples of the fixture in a file, with one tensor or some of what is told about it changed."""
    save_examples(has.examples, path)
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, it is no mapping
        numbers = json.loads(file.metadata()["examples"]) | told
    if name is not None:
        tensors[name] = change(tensors[name]).contiguous()
    save_file(tensors, path, {"examples": json.dumps(numbers)})
    return path


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("0.scores", lambda x: x * torch.nan, "the scores of layer 0 are not all finite and at least 0"),
        ("1.scores", lambda x: -1 - x, "the scores of layer 1 are not all finite and at least 0"),
        ("0.scores", lambda x: x[:2], r"the scores of layer 0 have the shape \(2, 3, 4, 2, 2\)"),
        ("0.samples", lambda x: x[:, :1], "the tensors of layer 0 have shapes or types that do not fit each other"),
        ("1.key_places", lambda x: x.float(), "the tensors of layer 1 have shapes or types that do not fit"),
        ("0.samples", lambda x: x + 5, "layer 0 names a sample beyond the 2 that were seen"),
        ("0.query_places", lambda x: x - 9, "query_places of layer 0 are below -1"),
    ],
)
def test_examples_that_are_damaged(has, tmp_path, name, change, said):
    with pytest.raises(InputError, match=f"cannot be read: {said}.*; remove it, and look for the examples again"):
        load_examples(_changed(has, tmp_path / "file", name, change))


def test_examples_of_another_version(has, tmp_path):
    file = _changed(has, tmp_path / "file", format_version=99, headwise_version=None)
    with pytest.raises(InputError, match=r"\(of format 99, .*\) was written by another headwise, which is newer; "):
        load_examples(file)
    with pytest.raises(InputError, match="holds no examples; give a file that save_examples has written"):
        load_examples(_changed(has, tmp_path / "file", format_version="1"))
    layers = [{"layer": each.layer, "num_samples": 2, "left_out": 0, "origin": each.origin} for each in has.examples]
    old = load_examples(_changed(has, tmp_path / "file", format_version=1, layers=layers))
    assert [each.samples_hash for each in old] == ["", ""]
    again = top_examples(has.module, [TOKENS, TOKENS], per_mode=2, keep=tmp_path / "file")  # of which no hash is known
    assert again[0].num_samples == 4 and again[0].samples_hash == ""
    (folder := tmp_path / "made").mkdir()
    (folder / "dissection.json").write_text('{"format_version": 99}')
    with pytest.raises(InputError, match="was written by another headwise, which is newer"):
        Dissection.load(folder)


def _rows(count):
    return torch.randn(count, 5, 12, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    "batches",
    [
        [_rows(6).flip(0)],
        [_rows(6)[[0, 2, 1, 3, 4, 5]]],
        [_rows(3), 1 + _rows(6)],
        [_rows(6)[:, :4]],
        [torch.cat((_rows(4), _rows(2)))],
    ],
    ids=["reversed", "swapped", "others", "shorter", "repeated"],
)
def test_a_pass_does_not_go_on_with_other_samples(has, tmp_path, batches):
    file, rows = tmp_path / "kept.safetensors", _rows(9)
    kept = top_examples(has.module, rows[:5].split(2), per_mode=2, keep=file)
    with pytest.raises(
        InputError,
        match="holds examples of 5 samples, and the batches begin with others, or with the same in another",
    ):
        top_examples(has.module, batches, per_mode=2, keep=file)
    assert load_examples(file)[0].samples_hash == kept[0].samples_hash  # the file is as it was
    again = top_examples(has.module, rows.split(4), per_mode=2, keep=file)
    whole = top_examples(has.module, [rows], per_mode=2)
    assert again[0].samples_hash == whole[0].samples_hash and torch.equal(again[0].samples, whole[0].samples)


def test_padding_is_no_part_of_a_text():
    from headwise.dissect.samples import chained, cut

    ids = torch.tensor([[5, 6, 0, 0], [7, 8, 9, 4]])
    given = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    first, rest, count = cut(given, 1)
    assert count == 1 and rest["input_ids"].tolist() == [[7, 8, 9, 4]]
    shorter = {name: value[:, :2] for name, value in first.items()}
    assert chained(chained("", shorter), rest) == chained("", given)
    other = given | {"input_ids": ids.flip(0), "attention_mask": (ids.flip(0) > 0).long()}
    assert chained("", other) != chained("", given)
    with pytest.raises(InputError, match="a batch holds samples along the first axis of a tensor, got None"):
        cut(None, 1)


def test_adapters_say_what_they_are(has):
    assert repr(has.module) == "WrappedModule(TransformerEncoder: 2 attention layers, width 12)"
    assert repr(has.embedded) == "PlainBackbone(embedded: 6 attention layers, width 128)"
