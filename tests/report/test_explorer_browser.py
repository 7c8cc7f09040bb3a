"""The explorer page in a real browser: by keyboard and by mouse, linked, in both themes, on a phone."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headwise.report import render_explorer

FOCUSED = (
    "document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.tagName"
)
CELLS = "[...document.querySelectorAll('#map td')].map(c => c.textContent)"
SELECTED = "[...document.querySelectorAll('#map td[aria-selected]')].map(c => c.getAttribute('aria-label'))"
DRAWN = """
[...document.querySelectorAll('#mode-body canvas')].map(c => {
  const seen = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  return [c.width, c.height,
    ...[0, 1].map(k => seen.reduce((most, v, i) => i % 4 === k ? Math.max(most, v) : most, 0))];
})
"""


@pytest.fixture
def show(browser: Any, explored: Any, tmp_path: Path) -> Any:
    """Write a page, open it, and give its path."""

    def opened(
        kind: str | None = "images", width: int = 1280, theme: str = "light", fragment: str = "", **sizes: int
    ) -> Path:
        path = tmp_path / "explorer.html"
        path.write_text(render_explorer(*explored(kind, **sizes)), encoding="utf-8")
        browser.open(path, width, theme, fragment=fragment)
        return path

    return opened


def test_by_keyboard_to_a_mode_and_back(browser: Any, show: Any) -> None:
    show()
    tabs = 0
    while not browser.evaluate("document.activeElement.closest('#map td') !== null"):
        browser.press("Tab")
        tabs += 1
        assert tabs < 8, browser.evaluate(FOCUSED)
    assert browser.evaluate(FOCUSED).startswith("layer 0, head 0: weighted cosine +0.90")
    browser.press("ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight")  # the last one leads nowhere
    assert browser.evaluate(FOCUSED).startswith("layer 1, head 3")
    browser.press("Home", "ArrowRight")
    assert browser.evaluate(FOCUSED).startswith("layer 1, head 1")
    outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is seen"
    browser.press("Enter")
    assert browser.evaluate("location.hash") == "#l1h1" and browser.evaluate(FOCUSED) == "title-head"
    assert "Layer 1, head 1" in browser.evaluate("document.activeElement.textContent")
    assert len(browser.evaluate(SELECTED)) == 1
    browser.press("Tab")
    for _ in range(30):
        if browser.evaluate("document.activeElement.closest('#modes') !== null && document.activeElement.id !== ''"):
            break
        browser.press("Tab")
    assert browser.evaluate(FOCUSED) == "mode-0"
    browser.press("ArrowDown", "ArrowDown")
    assert browser.evaluate(FOCUSED) == "mode-2"
    browser.press("Enter")
    assert browser.evaluate("location.hash") == "#l1h1m2" and browser.evaluate(FOCUSED) == "title-mode"
    assert browser.evaluate("document.getElementById('title-mode').textContent") == "Layer 1, head 1, mode 2"
    browser.press("Escape")
    assert browser.evaluate("location.hash") == "#l1h1" and browser.evaluate(FOCUSED) == "mode-2"
    browser.press("Escape")
    assert browser.evaluate("location.hash") == "" and browser.evaluate(FOCUSED).startswith("layer 1, head 1")
    assert browser.evaluate("document.getElementById('attention-head').hidden")
    # one cell and one mode are in the order of tabs, however many there are
    assert browser.evaluate("document.querySelectorAll('#map td[tabindex=\"0\"]').length") == 1
    assert browser.complaints() == []


def test_by_mouse_and_by_history(browser: Any, show: Any) -> None:
    show()
    browser.evaluate("document.querySelectorAll('#map tbody tr')[2].cells[1].click()")
    browser.evaluate("document.querySelectorAll('#spectrum .hit')[4].dispatchEvent(new MouseEvent('click'))")
    assert browser.evaluate("location.hash") == "#l2h0m4"
    browser.evaluate("document.getElementById('mode-1').click()")
    assert browser.evaluate("location.hash") == "#l2h0m1"
    browser.evaluate("history.back()")
    browser.settle(
        "location.hash === '#l2h0m4' && document.getElementById('title-mode').textContent.endsWith('mode 4')"
    )
    browser.evaluate("document.querySelector('#head-facts a.word').click()")  # a word leaves what is shown
    assert browser.evaluate("document.getElementById('title-mode').textContent").endswith("mode 4")
    assert browser.evaluate("location.hash").startswith("#word-")
    assert browser.complaints() == []


def test_a_view_is_linked(browser: Any, show: Any) -> None:
    show(fragment="#l2h3m2/effective_rank")
    assert browser.evaluate("document.getElementById('title-mode').textContent") == "Layer 2, head 3, mode 2"
    assert browser.evaluate("document.getElementById('number').value") == "effective_rank"
    assert browser.evaluate(CELLS)[:4] == ["2.5", "3.5", "4.5", "5.5"]
    said = browser.evaluate("document.getElementById('mode-body').textContent")
    assert "modes 2 to 3" in said and "this mode alone is arbitrary" in said
    listed = browser.evaluate("document.getElementById('modes').textContent")
    assert "modes 2 to 3: one subspace, cosine" in listed
    browser.settle("[...document.querySelectorAll('#mode-body canvas')].every(c => c.height === 192)")
    drawn = browser.evaluate(DRAWN)
    assert len(drawn) == 6 and all(size == [256, 192] and red > 60 and cyan > 60 for *size, red, cyan in drawn)


@pytest.mark.parametrize("fragment", ["#l9h9m9", "#l0h0m99", "#l0", "#nonsense", "#l0h0/nothing"])
def test_addresses_that_name_nothing(browser: Any, show: Any, fragment: str) -> None:
    show(fragment=fragment)
    assert browser.complaints() == []
    assert browser.evaluate("document.getElementById('number').value") == "weighted_cosine"
    assert browser.evaluate("document.getElementById('attention-head').hidden") == (not fragment.startswith("#l0h0"))


def test_other_numbers_colour_the_map(browser: Any, show: Any) -> None:
    show()
    before = browser.evaluate("document.querySelector('#map td').style.cssText")
    assert browser.evaluate("document.querySelectorAll('#map td.hatched').length") == 1  # |0.027| is within chance
    browser.evaluate(
        "(s => { s.value = 'prefix_mass'; s.dispatchEvent(new Event('change')); })(document.getElementById('number'))"
    )
    assert browser.evaluate("location.hash") == "#/prefix_mass"
    assert browser.evaluate("document.querySelector('#map td').style.cssText") != before
    assert [text.strip() for text in browser.evaluate(CELLS)[:2]] == ["5\u202f%", "40\u202f%"]
    assert browser.evaluate("document.querySelectorAll('#map td.hatched').length") == 0
    assert browser.evaluate("document.querySelectorAll('#curve circle').length") == 12


@pytest.mark.parametrize(
    ("kind", "width", "theme", "heads"),
    [
        ("images", 1280, "light", 4),
        ("images", 390, "dark", 12),
        ("texts", 390, "light", 4),
        ("texts", 1280, "dark", 32),
        (None, 360, "light", 4),
    ],
)
def test_page(
    browser: Any,
    browser_module: ModuleType,
    show: Any,
    tmp_path: Path,
    kind: str | None,
    width: int,
    theme: str,
    heads: int,
) -> None:
    path = show(kind, width, theme, "#l1h1m2", heads=heads, modes=20)
    scroll, client = browser.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert scroll <= client, browser.evaluate(browser_module.STICKS_OUT)
    assert browser.evaluate(browser_module.STICKS_OUT) == []
    assert browser.evaluate(browser_module.SMALLEST_TEXT) >= 10
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith(("data:", path.as_uri()))] == []
    shot = tmp_path / "page.png"
    browser.screenshot(shot)
    with Image.open(shot) as picture:
        colours = np.asarray(picture.convert("L"), dtype=float)
    paper = np.median(colours)
    assert paper > 230 if theme == "light" else paper < 50
    for top in range(0, len(colours) - 900, 900):
        assert np.abs(colours[top : top + 900] - paper).max() > 100
    said = browser.evaluate("document.getElementById('mode-body').textContent")
    if kind == "texts":
        assert "w1x" in said or "w2x" in said or "w3x" in said
        assert "win" in said and "the query side alone: what asks" in said
        tokens = "[...document.querySelectorAll('.quotation span')].map(s => s.style.getPropertyValue('--q'))"
        assert len(set(browser.evaluate(tokens))) > 5
    if kind is None:
        assert "No images or texts were looked at" in said


def test_names_from_the_data_are_text(browser: Any, explored: Any, hostile: Any, tmp_path: Path) -> None:
    found, arrays = explored("texts")
    evil = hostile(found)
    evil["dissection"]["heads"] = found["dissection"]["heads"]
    path = tmp_path / "evil.html"
    path.write_text(render_explorer(evil, arrays), encoding="utf-8")
    browser.open(path, 390, "light", fragment="#l1h1m1")
    assert "<script>alert(1)</script>" in browser.evaluate("document.getElementById('mode-body').textContent")
    assert browser.evaluate("document.querySelectorAll('main script, main img').length") == 0
    scroll, client = browser.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert scroll <= client
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith(("data:", path.as_uri()))] == []


def test_without_its_script(browser: Any, show: Any) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        show()
        page = browser.call("DOM.getDocument", depth=-1)["root"]
        noted = browser.call("DOM.querySelector", nodeId=page["nodeId"], selector="noscript p")
        assert noted["nodeId"], "what is missing is said"
        cells = browser.call("DOM.querySelectorAll", nodeId=page["nodeId"], selector="#map td")["nodeIds"]
        text = browser.call("DOM.getOuterHTML", nodeId=cells[0])["outerHTML"]
        assert "+0.90" in text
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_a_mode_takes_the_width_of_the_page(browser: Any, show: Any) -> None:
    """Texts stand in two columns below a short list of modes, one below the other on a phone; and images beside it."""
    edges = (
        "[document.querySelector('main section'), document.getElementById('modes-box'),"
        " ...document.querySelectorAll('#mode-body .examples')]"
        ".map(e => e.getBoundingClientRect()).map(r => [r.left, r.right, r.top, r.bottom].map(Math.round))"
    )
    show("texts", fragment="#l1h1m0")
    page, listed, positive, negative, *others = browser.evaluate(edges)
    assert positive[0] == page[0] and negative[1] == page[1]  # as wide as the page,
    assert positive[2] == negative[2] >= listed[3]  # side by side, below the list
    assert len(others) == 4 and others[0][2] >= max(positive[3], negative[3])
    show("texts", width=390, fragment="#l1h1m0")
    page, _, positive, negative, *_ = browser.evaluate(edges)
    assert positive[:2] == negative[:2] == page[:2] and negative[2] >= positive[3]
    show("images", fragment="#l1h1m0")
    page, listed, positive, *_ = browser.evaluate(edges)
    assert positive[0] > listed[1] and positive[1] == page[1] and positive[2] < listed[3]


def test_an_ellipsis_stands_for_words_that_are_left_out(browser: Any, explored: Any, tmp_path: Path) -> None:
    found, arrays = explored("texts")  # 8 tokens are shown, from the second on; the first is one that a tokenizer adds
    added, words, longer = "", [f" w{i}" for i in range(8)], [f" w{i}" for i in range(9)]
    texts = found["evidence"]["tokens"]
    texts |= {n: [added, *(words if int(n) % 2 else longer), added] for n in texts}
    path = tmp_path / "explorer.html"
    path.write_text(render_explorer(found, arrays), encoding="utf-8")
    browser.open(path, 1280, "light", fragment="#l1h1m0")
    said = browser.evaluate("[...document.querySelectorAll('#mode-body .quotation')].map(q => q.textContent)")
    assert set(said) == {"".join(words), "".join(words) + " …"}
