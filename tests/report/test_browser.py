"""The report in a real browser, at desktop and phone width, light and dark."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headwise.report import render


@pytest.mark.parametrize(
    ("names", "width", "theme"),
    [
        ("plain", 1280, "light"),
        ("plain", 1280, "dark"),
        ("plain", 390, "light"),
        ("plain", 390, "dark"),
        ("plain", 360, "light"),
        ("hostile", 1280, "light"),
        ("hostile", 360, "dark"),
    ],
)
def test_page(
    browser: Any,
    browser_module: ModuleType,
    study: dict[str, Any],
    arrays: dict[str, np.ndarray],
    hostile: Any,
    tmp_path: Path,
    width: int,
    theme: str,
    names: str,
) -> None:
    if names == "hostile":
        study = hostile(study)
        study["title"] += "x" * 400
        study["command"] += "/long/path" * 60
    path = tmp_path / "report.html"
    path.write_text(render(study, arrays), encoding="utf-8")
    browser.open(path, width, theme)

    scroll, client = browser.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert scroll <= client, browser.evaluate(browser_module.STICKS_OUT)
    assert browser.evaluate(browser_module.STICKS_OUT) == []
    assert browser.evaluate(browser_module.SMALLEST_TEXT) >= 10
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith(("data:", path.as_uri()))] == []
    assert browser.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert browser.evaluate("document.querySelectorAll('script').length") == 0

    shot = tmp_path / f"{names}-{width}-{theme}.png"
    browser.screenshot(shot)
    with Image.open(shot) as picture:
        colours = np.asarray(picture.convert("L"), dtype=float)
    paper = np.median(colours)
    assert paper > 230 if theme == "light" else paper < 50
    # Ink in every stretch of a window's height: no section came out blank.
    for top in range(0, len(colours) - 900, 900):
        assert np.abs(colours[top : top + 900] - paper).max() > 100


def test_links_to_words_work(
    browser: Any, study: dict[str, Any], arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(render(study, arrays), encoding="utf-8")
    browser.open(path, 1280, "light")
    browser.evaluate("document.querySelector('a.word').click()")
    assert browser.evaluate("location.hash").startswith("#word-")
    assert browser.evaluate("document.querySelector(':target').getBoundingClientRect().top") < 900
