"""Texts in the report: quoted in full, coloured by their tokens, and never more than text."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from headwise.report import render
from headwise.report.figures.quotation import quotation


def test_the_strongest_colour_is_the_largest_number() -> None:
    page = str(quotation([("win", 2.0), (" ", None), ("at", -1.0), (" home", 0.0)]))
    styles = re.findall(r'<span title="([^"]+)" style="--l:(#\w+)', page)
    assert [title for title, _ in styles] == ["+2.000", "\u22121.000", "0.000"]
    assert len({colour for _, colour in styles}) == 3
    assert styles[2][1] == "#f1f1ee", "nothing looks like nothing"
    assert re.sub(r"<[^>]+>", "", page) == "win at home"


def test_pieces_without_numbers_are_plain_text() -> None:
    assert str(quotation([("<b>", None)])) == '<blockquote class="quotation">&lt;b&gt;</blockquote>'
    assert "nan" not in str(quotation([("a", 0.0)]))


def test_texts_stand_where_pictures_do(study: dict[str, Any], arrays: dict[str, np.ndarray], hostile: Any) -> None:
    study["token_use"] = {
        "head": study["token_use"]["head"],
        "prefix_share": 0.3,
        "patch_share": 0.7,
        "texts": [
            {
                "name": "line 2",
                "label": "ham",
                "predicted": "ham",
                "pieces": [["see", 1.0], [" you", None]],
                "others": 0.2,
            },
            {"name": "line 3", "label": "ham", "predicted": "spam", "pieces": [["win", -1.0]], "others": 0.0},
        ],
        "note": "Averaged over 2 test samples.",
    }
    for head in study["heads"]:
        head["what"] = str(head["what"]).replace("patch", "text")
    study["forecast"]["features"] = "the prefix tokens joined with the mean text token"
    study["dissection"]["overlays"] = []
    study["data"] |= {"padded": True, "cut": 3}
    study["backbone"]["name"] = "hf//home/me/models/small"
    page = render(study, arrays)
    said = re.sub(r"<style>.*?</style>|<[^>]+>", "", page, flags=re.DOTALL)
    assert "hf/…/models/small (" in said and said.count("hf//home/me/models/small") == 1
    assert re.findall(r"\w+ patch token\w*|[^.]*[Pp]atch token", said.split("One vector of the backbone")[0]) == []
    assert "comes from prefix tokens, 70" in said and "from text tokens." in said
    assert "right (line 2); tokens that are not of the text add +0.200" in page
    assert "wrong, taken for “spam” (line 3)" in page
    assert "at most " in page and "texts that were cut" in page
    assert 'id="token_use"' in page and 'id="overlays"' not in page
    study["token_use"] = hostile(study["token_use"])
    assert "<script>alert" not in render(study, arrays)
