"""Images or texts through a frozen backbone into a token store; stops at any moment and goes on."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checks import check_backbone, check_whole
from ..contracts import Backbone, Progress, TextBackbone
from ..devices import choose_device
from ..errors import InputError, unknown_name
from .augmentation import Augmentation
from .feeds import Feed, ImageFeed, TextFeed, check_fits
from .from_arrays import shard_samples, split_codes
from .job import Job
from .manifest import DTYPES, Manifest
from .readers import open_data
from .samples import ImageSamples, TextSamples, skipped_samples
from .splits import fill_splits
from .store import TokenStore
from .table import as_labels, encode_names, hash_columns, hash_samples
from .writer import StoreWriter

__all__ = ["extract"]


def extract(
    backbone: Backbone | TextBackbone,
    samples: ImageSamples | TextSamples | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    layer: int = -1,
    at: str = "output",
    dtype: str = "float16",
    batch_size: int = 64,
    views: int = 1,
    view_seed: int = 0,
    augmentation: Augmentation | None = None,
    max_tokens: int | None = None,
    device: str | torch.device = "cpu",
    shard_size: int | None = None,
    fractions: Sequence[float] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    overwrite: bool = False,
    strict: bool = False,
    announce: Callable[[str], object] | None = None,
) -> TokenStore:
    """Tokens of all images or texts on disk.

    A run that was stopped (also killed) goes on where it was when it is started again with the same samples and
    settings; ``batch_size``, ``device``, ``strict`` and the reports may differ. Images that cannot be decoded are left
    out of the store and listed in ``store.skipped``, and so are texts that are empty or repeat another one. Where the
    store is complete already, its shards are only hashed.

    Texts have as many tokens as they have: they are padded to the longest, and the store holds a mask.

    Parameters
    ----------
    backbone : Backbone or TextBackbone
        The frozen network, for example of `headwise.load_backbone`; it must be in evaluation mode.
    samples : ImageSamples, TextSamples, str or path
        Images or texts with labels, or what `headwise.open_data` takes.
    path : path
        Folder of the store.
    layer : int
        Layer of the backbone, negative from the end; stored as a number from 0.
    at : {"output", "block_input"}
        Where in the layer.
    dtype : {"float16", "bfloat16", "float32", "float64"}
        Number format on disk.
    batch_size : int
        Images or texts that go through the backbone at once.
    views : int
        Views of each image: the image itself, then ``views - 1`` random crops and flips.
    view_seed : int
        Decides the crops and flips, image by image and view by view, whatever the batches.
    augmentation : Augmentation or None
        Limits of the crops, and whether to flip; ``Augmentation()`` by default.
    max_tokens : int or None
        Longer texts are cut; by default as many as the backbone takes. The manifest says how many were cut.
    device : str or torch.device
        Where the backbone runs ("auto": CUDA where there is one); it is moved there.
    shard_size : int or None
        Images or texts in a shard; by default as many as take 8 MiB, in large stores up to 32 MiB.
    fractions : three floats or None
        Shares of train, val and test, such as ``(0.6, 0.2, 0.2)`` (those of ``headwise extract``): parts that the data
        do not give are made by `headwise.tokens.make_splits`. By default none are made: where the data give none, a
        head is fitted on all samples.
    seed : int
        Decides which samples go into which part.
    progress : callable or None
        See `headwise.contracts.Progress`.
    overwrite : bool
        Replace a store made with other settings.
    strict : bool
        Stop at the first image or text that cannot be used.
    announce : callable or None
        Gets sentences for people: the expected size and time before the work, what was skipped after it.

    Returns
    -------
    store : TokenStore

    Raises
    ------
    InputError
        No backbone, data that are neither images nor texts or not what the backbone takes, settings or a device that
        are not there, a folder with something else, too little disk space, a full disk, tokens that are NaN or
        infinite, no sample that can be used, or (``strict``) one that cannot.
    """
    check_backbone(backbone, "tokens")
    found = open_data(samples)
    if not isinstance(found, (ImageSamples, TextSamples)):
        raise InputError(f"images or texts are needed to extract tokens from, got tokens ({type(found).__name__})")
    samples = found
    check_fits(backbone, samples, max_tokens)
    for name, value in (("batch_size", batch_size), ("views", views)):
        check_whole(name, value, least=1)
    check_whole("view_seed", view_seed)
    check_whole("seed", seed)
    device = choose_device(device)
    if not len(samples):
        raise InputError("there is nothing to extract tokens from")
    if fractions is not None:
        samples = samples.with_split(fill_splits(samples, fractions, seed))
    feed = _feed(backbone, samples, views, view_seed, augmentation, max_tokens)
    manifest = _plan(feed, layer, at, dtype, shard_size)
    writer = StoreWriter(Path(path), manifest, _config(manifest), overwrite)
    writer.resume()
    job = Job(feed, manifest, batch_size, torch.device(device), strict, writer.path)
    if strict and writer.skipped:
        position, reason = writer.skipped[0]
        raise feed.unreadable(samples.ids[position], reason)
    if not writer.pending and announce is not None:
        announce(f"the tokens in {path} are complete and are used again")
    try:
        if writer.pending:
            job.start(writer.pending, writer, announce)
        for k in writer.pending:
            tokens, mask, skipped = job.shard(writer.inputs(k), progress)
            writer.write(k, tokens, mask, skipped)
    except KeyboardInterrupt:
        if announce is not None:
            announce(f"{writer.finished} of {manifest.num_shards} shards of tokens are finished and kept in {path}")
        raise
    if len(writer.skipped) == len(samples):
        raise InputError(f"none of the {len(samples)} {feed.many} could be read; the first is {samples.ids[0]}")
    labels, _ = as_labels(samples.labels, len(samples), samples.class_names or None)
    split, _ = split_codes(samples.split)
    groups, _ = encode_names(samples.groups)
    writer.finish(labels, samples.ids, split, groups)
    store = TokenStore.open(path)
    if announce is not None and store.skipped:
        announce(skipped_samples(store.skipped, samples, len(samples)))
    return store


def _feed(
    backbone: Any,
    samples: ImageSamples | TextSamples,
    views: int,
    view_seed: int,
    augmentation: Augmentation | None,
    max_tokens: int | None,
) -> Feed:
    if isinstance(samples, TextSamples):
        if views > 1 or augmentation is not None:
            raise InputError("views are crops and flips of images, and the data are texts; leave views out")
        return TextFeed(backbone, samples, max_tokens)
    return ImageFeed(backbone, samples, views, view_seed, augmentation or Augmentation())


def _plan(feed: Feed, layer: int, at: str, dtype: str, shard_size: int | None) -> Manifest:
    backbone, samples = feed.backbone, feed.samples
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    if at not in ("output", "block_input"):
        raise unknown_name("place in a layer", at, ("output", "block_input"))
    if not isinstance(layer, (int, np.integer)) or not -backbone.depth <= layer < backbone.depth:
        raise InputError(
            f"layer {layer} is asked for; {backbone.name} has layers 0 to {backbone.depth - 1}, or -1 for the last"
        )
    shape = (len(samples), feed.num_views, feed.num_tokens, backbone.width)
    size = shard_samples(shard_size, math.prod(shape[1:]) * DTYPES[dtype].itemsize, len(samples))
    labels, class_names = as_labels(samples.labels, len(samples), samples.class_names or None)
    columns = (samples.ids, labels, class_names, samples.split, samples.groups)
    return Manifest(
        dtype=dtype,
        shape=shape,
        num_inputs=len(samples),
        shard_size=size,
        num_prefix=backbone.num_prefix_tokens,
        has_mask=feed.masked,
        class_names=class_names,
        split_names=split_codes(samples.split)[1],
        group_names=encode_names(samples.groups)[1],
        backbone=backbone.name,
        weights_hash=backbone.weights_hash,
        layer=layer % backbone.depth,
        at=at,
        preprocessing=dataclasses.asdict(backbone.preprocessing),
        source={
            "description": samples.description,
            "hash": hash_samples(*columns),
            "columns": hash_columns(columns),
            "content": samples.fingerprint,
            **feed.told(),
        },
        **feed.facts(),
    )


def _config(manifest: Manifest) -> dict[str, Any]:
    """What decides the tokens, each setting under the name that it is asked for by."""
    found = {"shards", "samples", "skipped", "complete", "format_version", "split_names", "group_names"}
    apart = {"shape", "augmentation", "seed"}
    config = {name: value for name, value in manifest.to_json().items() if name not in found | apart}
    _, views, *shape = manifest.shape
    config |= {"shape": shape, "views": views}
    if isinstance(manifest.augmentation, Mapping):
        config |= {"view_seed": manifest.seed, **manifest.augmentation}
    return config
