"""The explorer page as text: what is in it, that nothing breaks out, and that it keeps within its size."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import numpy as np
import pytest

from headwise.errors import InputError
from headwise.report import render_explorer
from headwise.report.packing import ALPHABET, Packed, as_levels, compact


def payload(page: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found)


def examples_of(data: dict[str, Any]) -> list[Any]:
    layers = (layer for layer in data["evidence"] if layer)
    return [e for layer in layers for head in layer for mode in head for by in mode for sign in by for e in sign]


def test_all_of_it_is_there(explored: Any) -> None:
    found, arrays = explored()
    page = render_explorer(found, arrays)
    data = payload(page)
    assert [len(line) for line in data["heads"]] == [4, 4, 4]
    names = [number["key"] for number in data["numbers"]]
    assert names[0] == "weighted_cosine" and "prefix_mass" in names and "sink_mass" not in names
    row = data["heads"][1][1]
    assert row["values"][0] == found["dissection"]["weighted_cosine"][1][1]
    assert row["sigma"] == pytest.approx(arrays["layer/1/sigma"][1], rel=1e-3) and row["of"] == [0, 1, 2, 2, 4, 5]
    assert "goes to prefix tokens; what lifts them most is mode 2 (60" in row["serves"]
    assert len(examples_of(data)) == sum(int((arrays[f"layer/{i}/samples"] >= 0).sum()) for i in range(3))
    sample, score, start, query, _ = data["evidence"][2][3][4][0][1][0]
    at = (0, 3, 4, 1, 0)
    assert (sample, start) == (arrays["layer/2/samples"][at], 1)
    assert score == pytest.approx(arrays["layer/2/scores"][at], rel=1e-2)
    assert [ALPHABET.index(letter) for letter in query] == arrays["layer/2/queries"][at].tolist()
    assert data["samples"][str(sample)]["picture"].startswith("data:image/jpeg;base64,")
    assert data["evidence"][0][0][5][0][1] == []  # none with this sign
    assert "To keep this page within its size" not in page
    assert "broken.png" in page and "The logits rebuilt from the modes" in page
    for word in ("word-mode", "word-subspace", "word-chance-band", *(f"word-{n['word']}" for n in data["numbers"])):
        assert f'id="{word}"' in page


def test_it_allows_its_own_script_and_no_other(explored: Any) -> None:
    page = render_explorer(*explored())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert "unsafe-inline'; script" in policy and policy.count("unsafe") == 1  # of styles alone
    assert "innerHTML" not in script and "eval(" not in script
    assert not re.search(r'(?:src|href)="(?!data:,|#)', page), "the page loads nothing"


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_names_and_texts_stay_text(explored: Any, hostile: Any, kind: str) -> None:
    found, arrays = explored(kind)
    evil = hostile(found)
    evil["evidence"]["kind"] = kind
    evil["dissection"]["heads"] = found["dissection"]["heads"]
    page = render_explorer(evil, arrays)
    assert page.count("<script") == 2 and "<img" not in page
    data = payload(page)
    assert data["samples"]["0"]["name"].startswith("<script>alert(1)</script>")  # as it is, once it is read
    assert compact("</script>\u2028&") == '"\\u003c/script\\u003e\\u2028\\u0026"'


def test_without_evidence(explored: Any) -> None:
    data = payload(render_explorer(*explored(None)))
    assert data["kind"] is None and data["evidence"] == [] and data["samples"] == {} and data["vocabulary"] == []


def test_texts_with_both_sides_and_words(explored: Any) -> None:
    found, arrays = explored("texts")
    data = payload(render_explorer(found, arrays))
    assert data["by"] == ["both", "query", "key"]
    example = data["evidence"][0][0][0][1][0][0]
    assert example[4] == "" and len(example[3]) == 8  # the query side alone
    assert data["vocabulary"][2][3][0]["key-"][1] == ["##ing", 0.4]
    assert data["samples"]["0"]["tokens"][:2] == ["", " w0x0"]


def test_what_does_not_fit_is_left_out_and_counted(explored: Any) -> None:
    found, arrays = explored(modes=24)
    whole = render_explorer(found, arrays)
    empty = len(render_explorer(*explored(None, modes=24)).encode())
    every = len(examples_of(payload(whole)))
    seen = []
    for room in (1.05 * len(whole.encode()), (3 * len(whole.encode()) + empty) // 4, empty + 12_000, empty + 3000):
        page = render_explorer(found, arrays, room)
        assert len(page.encode()) <= room
        data = payload(page)
        kept = examples_of(data)
        seen.append(len(kept))
        if len(kept) < every:
            assert f": {len(kept):,} of {every:,} examples" in page
            assert len(data["samples"]) == len({e[0] for e in kept})
        modes = max((len(head) for layer in data["evidence"] if layer for head in layer), default=0)
        if 0 < modes < 24:
            assert f"evidence of the first {modes} modes of each attention head, of 24" in page
    assert seen[0] == every and seen == sorted(seen, reverse=True) and seen[-1] < seen[1] < every


def test_fewer_examples_come_before_fewer_modes(explored: Any) -> None:
    found, arrays = explored()
    for i in range(3):
        for name in ("samples", "scores", "starts", "queries", "keys"):
            values = arrays[f"layer/{i}/{name}"]
            arrays[f"layer/{i}/{name}"] = np.concatenate([values, values], axis=4)
    packed = Packed(found["evidence"], None, arrays)
    assert list(packed.choices()) == [
        (6, 6), (5, 6), (4, 6), (3, 6), (3, 5), (3, 4), (3, 3), (3, 2), (3, 1), (2, 1), (1, 1), (0, 0)
    ]  # fmt: skip
    sizes = [packed.size(*choice) for choice in packed.choices()]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] == 0


def test_spectra_are_shortened_last(explored: Any) -> None:
    found, arrays = explored(None, layers=4, heads=8, modes=300)
    whole = len(render_explorer(found, arrays).encode())
    page = render_explorer(found, arrays, whole - 20_000)
    data = payload(page)
    kept = len(data["heads"][0][0]["sigma"])
    assert 1 <= kept < 300 and f"the first {kept} modes of each spectrum, of 300" in page
    assert data["heads"][0][0]["all"] == 300
    assert data["heads"][0][0]["total"] == pytest.approx(arrays["layer/0/sigma"][0].sum(), rel=1e-3)
    with pytest.raises(InputError, match=r"may take 1.KB, and without any evidence it takes .+KB; give a larger"):
        render_explorer(found, arrays, 1000)


def test_the_page_states_its_size(explored: Any) -> None:
    page = render_explorer(*explored())
    ((said, unit),) = re.findall(r"one file of ([\d.]+)\u202f(KB|MB)", page)
    assert float(said) == pytest.approx(len(page.encode()) / {"KB": 2**10, "MB": 2**20}[unit], abs=0.6)


def test_levels() -> None:
    values = np.array([[-2.0, 0.0, 0.5, 1.0, 3.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    found = as_levels(values, np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    assert found.tolist() == [[0, 0, 32, 63, 63], [0, 0, 0, 0, 0]]


def test_what_is_missing_is_said(explored: Any) -> None:
    found, arrays = explored()
    for name in ("layer/1/cosine", "layer/1/keys", "sample/3"):
        with pytest.raises(InputError, match=name.rpartition("/")[0]):
            render_explorer(found, {k: v for k, v in arrays.items() if k != name})
    with pytest.raises(InputError, match="format version"):
        render_explorer(found | {"format_version": 2}, arrays)
    arrays["layer/1/scores"] = arrays["layer/1/scores"][0]
    with pytest.raises(InputError, match="orders, heads, modes, 2, examples"):
        render_explorer(found, arrays)


def test_what_was_never_drawn_is_counted_too(explored: Any) -> None:
    found, arrays = explored()
    found["evidence"] |= {"modes": 50, "examples": 9999}
    page = render_explorer(found, arrays)
    kept = len(examples_of(payload(page)))
    assert f"evidence of the first 6 modes of each attention head, of 50: {kept} of 9,999 examples" in page
