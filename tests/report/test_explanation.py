"""The page of one head: what it says follows the data, and names from data stay text."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from headwise.errors import InputError
from headwise.report import images, render_explanation


def example() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    blocks = ["linear on the prefix tokens", "attention with 2 rank_one gates on the patch tokens"]
    atoms = [
        {"weight": 3.0, "share": 0.6, "part": 1, "block": blocks[1], "gate": 1, "group": None, "signed": False,
         "strongest": [["cat", 2.5], ["dog", 1.5]]},
        {"weight": 1.5, "share": 0.3, "part": 0, "block": blocks[0], "gate": None, "group": None, "signed": True,
         "strongest": [["dog", -1.2], ["cat", 0.7]]},
        {"weight": 0.004, "share": 0.0001, "part": 1, "block": blocks[1], "gate": 0, "group": None, "signed": False,
         "strongest": [["cat", 0.004]]},
    ]  # fmt: skip
    arrays = {
        "image": rng.integers(0, 255, (32, 32, 3)).astype(np.uint8),
        "map": rng.normal(size=(4, 4)).astype(np.float32),
        "query": rng.integers(2, size=(4, 4)),
        "key": rng.integers(-1, 2, size=(4, 4)),
    }
    sample = {"name": "a.png", "output": "cat", "mean": 0.875, "value": 1.95, "intercept": -0.05, "prefix": 0.5,
              "patch": 1.5, "atoms": [[0, 1.4], [1, 0.6], [2, 0.0001]], "image_key": "image",
              "map_key": "map"}  # fmt: skip
    gate = {"gate": 1, "group": None, "block": blocks[1], "share": 2 / 3, "kind": "pair", "sizes": [20, 12]}
    data = {
        "format_version": 1,
        "title": "What the head sees in photos",
        "created": "2026-11-21T04:46:00+00:00",
        "headwise_version": "0.1.0",
        "command": "headwise explain head photos",
        "versions": {"python": "3.11.9"},
        "head": {"parts": blocks, "outputs": ["cat", "dog"], "classes": True, "parameters": 100,
                 "backbone": "embedded", "certificate": {"relative_gap": 0.000786}},
        "atoms": atoms,
        "samples": [sample, {**sample, "name": "b.png", "image_key": None}],
        "gates": [{**gate, "labels": [{"sample": 0, "query_key": "query", "key_key": "key"}]},
                  {**gate, "labels": [{"sample": 1, "query_key": "query", "key_key": None}]},
                  {**gate, "kind": "token", "labels": [{"sample": 1, "query_key": "query", "key_key": None}]}],
        "gates_left_out": {"without_clusters": 0, "light": 1, "more": 0},
    }  # fmt: skip
    return data, arrays


def said(html: str) -> str:
    import html as library
    import re

    text = re.sub(r"<style>.*?</style>|<[^>]+>", "", html, flags=re.S)
    return re.sub(r"\s+", " ", library.unescape(text).replace("\u202f", " "))


def test_the_page_says_what_the_data_say() -> None:
    page = render_explanation(*example())
    text = said(page)
    assert "This head is 3 atoms; the 2 heaviest carry 90 % of their weight." in text
    assert (
        "It is linear on the prefix tokens + attention with 2 rank_one gates on the patch tokens, for 2 classes" in text
    )
    assert "≤ 0.079 %" in text and "< 0.1 %" in text and "The lightest atom" in text
    assert "dog −1.2" in text and "cat +0.70" in text and "cat 2.5" in text
    assert "“cat”, 87.5 %" in text and "most from atoms 1 (+1.40), 2 (+0.60)" in text
    assert "they add 25 % of what tokens add" in text
    assert "Left: clusters of the tokens as they ask" in text and "2 clusters, the largest with 62 %" in text
    assert "open on the coloured tokens, 38 %" in text
    assert "Not drawn: gates 1 whose atoms have less than 0.1 % of the weight" in text
    assert page.count("data:image/jpeg") == 3 + 4 and "<script" not in page and "http" not in page.split("</head>")[1]
    for word in ("atom", "gate", "nuclear-norm", "token"):
        assert f'href="#word-{word}"' in page and f'id="word-{word}"' in page
    assert "word-mode" not in page


@pytest.mark.parametrize("key", ["head", "atoms", "samples", "gates", "gates_left_out", "versions", "command"])
def test_every_part_may_be_missing(key: str) -> None:
    data, arrays = example()
    data.pop(key)
    if key == "samples":
        data.pop("gates")
    assert render_explanation(data, arrays).endswith("</html>")


def test_hostile_names(hostile: Any) -> None:
    data, arrays = example()
    spoilt = hostile(copy.deepcopy(data))
    page = render_explanation(spoilt, arrays)
    assert "<script" not in page and "<img src=x" not in page


def test_what_was_not_given_is_an_error() -> None:
    data, arrays = example()
    arrays.pop("map")
    with pytest.raises(InputError, match="'map'"):
        render_explanation(data, arrays)
    with pytest.raises(InputError, match="format version"):
        render_explanation({**data, "format_version": 9}, arrays)


def test_colours_of_the_films() -> None:
    photo = np.full((32, 32, 3), 128, dtype=np.uint8)
    values = np.array([[1.0, -1.0], [0.0, 0.5]])
    film = images.signed(photo, values).astype(int)
    half = film.shape[0] // 2
    more, less, nothing, some = film[0, 0], film[0, -1], film[-1, 0], film[half + 9, -1]
    assert more[0] > more[2] + 60 and less[2] > less[0] + 60 and np.ptp(nothing) == 0
    assert more[0] - more[2] > some[0] - some[2] > 0
    placed = images.clusters(photo, np.array([[-1, 0], [1, 11]])).astype(int)
    assert np.ptp(placed[0, 0]) == 0 and (placed[-1, 0] == placed[-1, -1]).all()  # ten colours, then again
    assert images.blank(2, 4).shape[1] == 2 * images.blank(2, 4).shape[0]
    assert not np.ptp(images.signed(photo, np.zeros((2, 2))), axis=-1).any()


def test_a_head_that_reads_prefix_tokens_alone_says_so_of_words() -> None:
    data, arrays = example()
    base = {"name": "line 2", "output": "cat", "mean": 0.8, "value": 1.0, "intercept": 0.2, "prefix": 0.8,
            "atoms": []}  # fmt: skip
    quoted = base | {"patch": None, "pieces": [["win", None], [" now", None]], "image_key": None, "map_key": None}
    page = said(render_explanation(data | {"kind": "texts", "samples": [quoted], "gates": []}, arrays))
    assert "This head reads prefix tokens alone" in page and "none is coloured" in page and "Orange" not in page
    data["head"]["backbone"] = "hf//home/me/models/small"
    page = said(render_explanation(data, arrays))
    assert "from the hf/…/models/small backbone" in page and "backbonehf//home/me/models/small" in page
    faint = quoted | {"patch": 1e-9}
    page = said(render_explanation(data | {"kind": "texts", "samples": [faint], "gates": []}, arrays))
    assert "Text tokens add next to nothing to these outputs, so no word is coloured." in page
    coloured = quoted | {"patch": 0.4, "pieces": [["win", 0.5], [" now", -0.1]]}
    page = said(render_explanation(data | {"kind": "texts", "samples": [coloured], "gates": []}, arrays))
    assert "have no place in the text; here they add 67" in page and "Orange" in page
    assert "text tokens+0.40" in page
