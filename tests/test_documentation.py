"""The documentation speaks of what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headwise
from headwise.dissect import __all__ as DISSECTION

ROOT = Path(__file__).parents[1]


def test_the_api_page_lists_the_public_names() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = re.findall(r"auto(?:class|function|exception):: headwise\.(\w+)", page)
    assert sorted(listed) == sorted(set(headwise.__all__) - {"__version__"})


def test_the_page_of_dissection_lists_the_names_of_its_room() -> None:
    page = (ROOT / "docs" / "dissection.md").read_text(encoding="utf-8")
    listed = re.findall(r"auto(?:class|function):: headwise\.dissect\.(\w+)", page)
    assert sorted(listed) == sorted(set(DISSECTION) - {"Dissection", "dissect"})


def test_links_between_files_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    missing = []
    for page in pages:
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        # pages of the gallery are made from its scripts
        links = [re.sub(r"auto_gallery/(.*)\.rst$", r"gallery/\1.py", link) for link in links]
        missing += [f"{page.name}: {link}" for link in links if not (page.parent / link).exists()]
    assert not missing


def test_constraints_pin_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    names = {re.match(r"[\w.-]+", r)[0] for r in wanted} - {"headwise"}
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M))
    assert names == pinned


@pytest.mark.parametrize(
    "name",
    [
        "docs/quickstart.md",
        "docs/concepts.md",
        "docs/data.md",
        "docs/dissection.md",
        "docs/forecast.md",
        "docs/mixers.md",
        "docs/modules.md",
        "docs/scale.md",
        "docs/theory.md",
        pytest.param("README.md", marks=pytest.mark.slow),
    ],
)
def test_examples_run(name, tmp_path, monkeypatch):
    """Python blocks of a page, one after the other, beside a small folder of photographs."""
    rng = np.random.default_rng(0)
    for label in ("dark", "light"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 120, size=(32, 32, 3)) + 100 * (label == "light")
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / label / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    held: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, name, "exec"), held)
