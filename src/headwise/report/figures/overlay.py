"""Photographs with maps on them, as cards with a caption."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from .. import images
from ..markup import tag

__all__ = ["cards", "example_card", "mode_card", "photo_card"]


def mode_card(photo: np.ndarray, query: np.ndarray, key: np.ndarray, title: str, caption: str) -> Markup:
    """One mode on one photograph: query map red, key map cyan, white where they overlap."""
    return _card(
        [_image(images.modes(photo, query, key), f"{title}: query map in red, key map in cyan")], title, caption
    )


def photo_card(photo: np.ndarray, name: str) -> Markup:
    """A photograph as it is."""
    return _card([_image(images.fit(photo, 420), f"photograph {name}")], name, "the photograph")


def example_card(photo: np.ndarray, values: np.ndarray, title: str, caption: str) -> Markup:
    """A sample beside the same sample under the map of its tokens."""
    pictures = [
        _image(images.fit(photo, 224), f"the sample, {title}"),
        _image(images.heat(photo, values), f"its tokens' use, {title}"),
    ]
    return _card([tag("div", pictures, class_="pair")], title, caption)


def cards(items: Sequence[Markup], class_: str = "") -> Markup:
    """Cards in as many columns as fit."""
    return tag("div", items, class_=f"cards {class_}".strip())


def _image(pixels: np.ndarray, alt: str) -> Markup:
    height, width = pixels.shape[:2]
    return tag("img", src=images.data_uri(pixels), alt=alt, width=width, height=height).replace(
        Markup("</img>"), Markup("")
    )


def _card(pictures: list[Markup], title: str, caption: str) -> Markup:
    return tag("div", [*pictures, tag("p", [tag("strong", title), " ", caption])], class_="card")
