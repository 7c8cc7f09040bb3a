"""Mean predictions of a saved head, from tokens or from images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..contracts import Backbone, Progress
from ..devices import heads_device
from ..errors import InputError
from ..heads import Head
from ..heads.head import Views
from ..heads.inputs import as_source
from ..heads.origin import At
from ..heads.save import as_head
from ..tokens import ArrayData, ArrayTokens, ImageSamples, TokenStore, UnreadableImage, open_samples
from ..tokens.samples import skipped_images
from .origin import backbone_of, check_store

__all__ = ["predict", "read_images"]

BATCH = 64  # images in one pass of the backbone


def predict(
    head: Any,
    data: Any,
    *,
    backbone: str | Backbone | None = None,
    layer: int | None = None,
    views: Views = "first",
    device: str = "cpu",
    strict: bool = False,
    progress: Progress | None = None,
    announce: Callable[[str], object] | None = None,
) -> tuple[list[str], NDArray[Any]]:
    """Ids and mean predictions (class probabilities, numbers, rates) of a head on tokens or images.

    Images go through the head's own backbone, at its own layer, in chunks; nothing is written.

    Parameters
    ----------
    head : Head, fitted estimator or path
        For example of `Head.from_pretrained`, or its folder.
    data : str, path, ImageSamples, ArrayData, TokenStore, array or Tensor
        What `headwise.tokens.open_samples` takes: an image, a folder or a table of images, arrays in a file, or a token
        store; or tokens ``(n, s, d)`` or ``(n, d)``. Labels are not needed.
    backbone : str, Backbone or None
        For images: the one that made the head's tokens, where the head does not say which, or where its weights are in
        a file of their own. One with other weights is refused.
    layer : int or None
        For images: layer of the backbone, where the head does not say which; the last by default.
    views : {"first", "average"}
        Outputs of view 0, or their mean over the views of each sample; for a token store, which holds the views.
    device : str
        Where the backbone runs and the head computes ("auto": CUDA where there is one). The head computes on the
        processor where the device has no float64 ("mps").
    strict : bool
        Stop at the first image that cannot be read, instead of leaving it out.
    progress : callable, optional
        See `headwise.contracts.Progress`.
    announce : callable, optional
        Given a sentence about the images that were left out.

    Returns
    -------
    ids : list of str
        Of the samples that could be read; numbers where they have no names.
    predictions : array, shape (len(ids), outputs)
        Or (len(ids), tokens, outputs) where the head gives every token its own.

    Raises
    ------
    InputError
        No head, no such device, data that cannot be read, a store whose files have changed, no readable image, tokens
        or a backbone that are not those of the head, or an average over views that are not there.

    Examples
    --------
    >>> import headwise, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(40, 5, 4)), np.repeat([0, 1], 20)
    >>> model = headwise.HeadClassifier("linear", beta=0.1).fit(X, y)
    >>> ids, probabilities = headwise.predict(model, X[:3])
    >>> ids, probabilities.shape
    (['0', '1', '2'], (3, 2))
    """
    head = copy.deepcopy(as_head(head)).to(heads_device(device))  # the caller's own stays where it is
    if isinstance(data, (np.ndarray, Tensor)):
        source = as_source(data)  # the layout is the head's: outputs refuses tokens that do not fit it
        return [str(i) for i in range(source.num_samples)], head.link(head.outputs(source)).numpy()
    found = open_samples(data)
    if views != "first" and not isinstance(found, TokenStore):
        raise InputError(
            f"views={views!r} is asked for, but {data} is no token store and has no views; make one with "
            "headwise extract --views K and predict on that"
        )
    if isinstance(found, (TokenStore, ArrayData)) and (backbone is not None or layer is not None):
        raise InputError(f"{data} holds tokens, so no backbone is needed; leave the backbone and the layer out")
    if isinstance(found, TokenStore):
        found.verify_content()
        check_store(head, found)
        return list(found.ids), head.link(head.outputs(found, views=views)).numpy()
    if isinstance(found, ArrayData):
        arrays = ArrayTokens(found.tokens, found.mask)
        ids = list(found.ids) if found.ids else [str(i) for i in range(len(found))]
        return ids, head.link(head.outputs(arrays)).numpy()
    model, layer, at = backbone_of(head, backbone, layer, device)
    pieces, ids, skipped = list[Tensor](), list[str](), list[tuple[str, UnreadableImage]]()
    for start in range(0, len(found), BATCH):
        names, images = read_images(found, range(start, min(start + BATCH, len(found))), strict, skipped)
        if images:
            pieces.append(head.link(_outputs(head, model, images, layer, at)))
            ids += names
        if progress:
            progress("predict", min(start + BATCH, len(found)), len(found))
    if not ids:
        raise InputError(f"none of the {len(found)} images could be read; the first: {skipped[0][1]}")
    if skipped and announce:
        announce(skipped_images([name for name, _ in skipped], len(found)))
    return ids, torch.cat(pieces).numpy()


def read_images(
    samples: ImageSamples, rows: Iterable[int], strict: bool, skipped: list[tuple[str, UnreadableImage]]
) -> tuple[list[str], list[Image.Image]]:
    """Names and images of the rows that can be read; names and errors of the others are added to ``skipped``."""
    names, images = [], []
    for i in rows:
        try:
            images.append(samples.image(i))
            names.append(samples.ids[i])
        except UnreadableImage as error:
            if strict:
                raise
            skipped.append((samples.ids[i], error))
    return names, images


@torch.inference_mode()
def _outputs(head: Head, model: Backbone, images: list[Image.Image], layer: int, at: At) -> Tensor:
    tokens = model.tokens(model.preprocess(images), layers=(layer,), at=at)[0]
    return head(tokens.to(head.intercept.device)).cpu()
