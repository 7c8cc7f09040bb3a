"""The page of the mixers names every mechanism."""

from __future__ import annotations

from pathlib import Path

from headwise.mixers import MIXERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mixers.md"


def test_every_mechanism_is_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    named = [line.split(":: ")[1] for line in text.splitlines() if line.startswith(".. autoclass:: headwise.mixers.")]
    for name in MIXERS.names():
        mechanism = MIXERS.get(name)
        assert f"{mechanism.__module__}.{mechanism.__name__}" in named, f"{name} is missing in docs/mixers.md"
