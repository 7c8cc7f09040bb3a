"""Photographs with maps on them, and texts, as cards with a caption."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from .. import images
from ..markup import tag
from .quotation import Pieces, quotation

__all__ = [
    "cards",
    "cluster_card",
    "contribution_card",
    "example_card",
    "mode_card",
    "photo_card",
    "quotation_card",
]


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


def contribution_card(
    photo: np.ndarray | None,
    values: np.ndarray | None,
    title: str,
    caption: str,
    lines: Sequence[tuple[str, str]],
    note: str,
    pieces: Pieces = (),
) -> Markup:
    """A sample, and what each of its tokens adds (orange) and takes away (blue); below a sum, its result last."""
    pictures = [] if photo is None else [_image(images.fit(photo), f"the sample {title}")]
    if values is not None:
        under = images.blank(*values.shape) if photo is None else photo
        pictures.append(_image(images.signed(under, values), f"what each token adds, {title}"))
    shown = [tag("div", pictures, class_="pair" if len(pictures) > 1 else None)] if pictures else []
    shown += [quotation(pieces)] if pieces else []
    sums = tag("dl", [tag("div", [tag("dt", name), tag("dd", value)]) for name, value in lines], class_="sums")
    told = [tag("p", note)] if note else []
    return tag("div", [*shown, tag("p", [tag("strong", title), " ", caption]), sums, *told], class_="card")


def cluster_card(photo: np.ndarray | None, query: np.ndarray, key: np.ndarray | None, title: str) -> Markup:
    """A sample with the clusters of its tokens; beside each other where tokens ask and answer in different ones."""
    under = images.blank(*query.shape) if photo is None else photo
    told = [(query, "clusters of its tokens" if key is None else "clusters of the tokens as they ask")]
    if key is not None:
        told.append((key, "clusters of the tokens as they answer"))
    pictures = [_image(images.clusters(under, labels), f"{title}: {said}") for labels, said in told]
    return _card([tag("div", pictures, class_="pair" if key is not None else None)], title, "")


def quotation_card(pieces: Pieces, title: str, caption: str) -> Markup:
    """A text with the number of each of its tokens in colour."""
    return _card([quotation(pieces)], title, caption)


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
