"""Mean predictions of a saved head, from tokens, images or texts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..contracts import Backbone, Progress, TextBackbone
from ..devices import heads_device
from ..errors import InputError
from ..heads import Head
from ..heads.content import array_source
from ..heads.head import Views
from ..heads.inputs import source_of
from ..heads.origin import At
from ..heads.save import as_head
from ..tokens import ArrayData, Augmentation, ImageSamples, TextSamples, TokenStore, open_samples
from ..tokens.feeds import Feed, ImageFeed, TextFeed, check_fits, read_samples
from ..tokens.samples import skipped_samples
from .origin import backbone_of, check_store

__all__ = ["feed_of", "none_left", "predict", "tell_left_out"]

BATCH = 64  # images or texts in one pass of the backbone


def predict(
    head: Any,
    data: Any,
    *,
    backbone: str | Backbone | TextBackbone | None = None,
    layer: int | None = None,
    columns: tuple[str, str] | None = None,
    views: Views = "first",
    device: str = "cpu",
    strict: bool = False,
    progress: Progress | None = None,
    announce: Callable[[str], object] | None = None,
) -> tuple[list[str], NDArray[Any]]:
    """Ids and mean predictions (class probabilities, numbers, rates) of a head on tokens, images or texts.

    Images and texts go through the head's own backbone, at its own layer, in chunks; nothing is written. Texts with
    more tokens than the head was fitted on are cut.

    Parameters
    ----------
    head : Head, fitted estimator or path
        For example of `Head.from_pretrained`, or its folder.
    data : str, path, ImageSamples, TextSamples, ArrayData, TokenStore, array or Tensor
        What `headwise.tokens.open_samples` takes: an image, a folder or a table of images, a table of texts, arrays in
        a file, or a token store; or tokens ``(n, s, d)`` or ``(n, d)``. Labels are not needed.
    backbone : str, Backbone, TextBackbone or None
        For images and texts: the one that made the head's tokens, where the head does not say which, or where its
        weights are in a file of their own. One with other weights is refused.
    layer : int or None
        For images and texts: layer of the backbone, where the head does not say which; the last by default.
    columns : (str, str) or None
        Columns of a table that hold texts and labels; see `headwise.open_data`. Labels are not read.
    views : {"first", "average"}
        Outputs of view 0, or their mean over the views of each sample; for a token store, which holds the views.
    device : str
        Where the backbone runs and the head computes ("auto": CUDA where there is one). The head computes on the
        processor where the device has no float64 ("mps").
    strict : bool
        Stop at the first image or text that cannot be used, instead of leaving it out.
    progress : callable, optional
        See `headwise.contracts.Progress`.
    announce : callable, optional
        Given a sentence about samples that were left out, and about texts that were cut.

    Returns
    -------
    ids : list of str
        Of the samples that could be read; numbers where they have no names.
    predictions : array, shape (len(ids), outputs)
        Or (len(ids), tokens, outputs) where the head gives every token its own.

    Raises
    ------
    InputError
        No head, no such device, data that cannot be read, a store whose files have changed, no sample that can be used,
        tokens or a backbone that are not those of the head, or an average over views that are not there.

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
        source = source_of(head.facts, data)
        return [str(i) for i in range(source.num_samples)], head.link(head.outputs(source)).numpy()
    found = open_samples(data, columns)
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
        arrays = array_source(head.facts, found)
        ids = list(found.ids) if found.ids else [str(i) for i in range(len(found))]
        return ids, head.link(head.outputs(arrays)).numpy()
    model, layer, at = backbone_of(head, backbone, layer, device)
    feed = feed_of(head, model, found)
    pieces, ids, skipped = list[Tensor](), list[str](), list[tuple[int, str]]()
    for start in range(0, len(found), BATCH):
        read, bad = read_samples(feed, range(start, min(start + BATCH, len(found))), strict)
        skipped += bad
        if read:
            pieces.append(head.link(_outputs(head, feed, read, layer, at)))
            ids += [found.ids[i] for i, _ in read]
        if progress:
            progress("predict", min(start + BATCH, len(found)), len(found))
    if not ids:
        raise none_left(feed, skipped)
    if announce:
        tell_left_out(feed, skipped, len(found), announce)
    return ids, torch.cat(pieces).numpy()


def feed_of(head: Head, model: Any, found: ImageSamples | TextSamples) -> Feed:
    """Samples on their way through the backbone of a head; texts are padded and cut to the tokens that it takes."""
    check_fits(model, found)
    if isinstance(found, TextSamples):
        return TextFeed(model, found, head.facts.num_tokens, padded=True)
    return ImageFeed(model, found, 1, 0, Augmentation())


def none_left(feed: Feed, skipped: list[tuple[int, str]]) -> InputError:
    """No sample could be used."""
    row, reason = skipped[0]
    first = feed.unreadable(feed.samples.ids[row], reason)
    return InputError(f"none of the {len(skipped)} {feed.many} could be read; the first: {first}")


def tell_left_out(feed: Feed, skipped: list[tuple[int, str]], total: int, announce: Callable[[str], object]) -> None:
    """Say which samples were left out, and how many texts were cut."""
    if skipped:
        announce(skipped_samples([(feed.samples.ids[i], why) for i, why in skipped], feed.samples, total))
    if isinstance(feed, TextFeed) and feed.cut:
        announce(
            f"{feed.cut} of {len(feed.samples)} texts have more than {feed.num_tokens} tokens, the most that the head "
            "was fitted on; what is beyond them was cut"
        )


@torch.inference_mode()
def _outputs(head: Head, feed: Feed, read: list[tuple[int, Any]], layer: int, at: At) -> Tensor:
    tokens, mask = feed.tokens(read, layer, at)
    device = head.intercept.device
    return head(tokens[:, 0].to(device), None if mask is None else mask[:, 0].to(device)).cpu()
