"""The samples that excite each mode most, in one call that can be stopped and goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import Tensor

from ..checks import check_called
from ..contracts import AttentionModel, Backbone, Progress, TextBackbone
from ..errors import InputError
from .examples import Examples, as_file, load_examples, save_examples
from .modes import Modes
from .samples import chained, cut
from .search import ExampleSearch

__all__ = ["top_examples"]

_EVERY = 60.0
"""Seconds between two times that a long pass is kept."""


def top_examples(
    model: Backbone | TextBackbone | AttentionModel,
    batches: Iterable[Any],
    *,
    modes: Sequence[Modes] | None = None,
    per_mode: int = 7,
    most_modes: int | None = None,
    context: int | None = None,
    high_norm: bool = False,
    keep: str | Path | None = None,
    announce: Callable[[str], object] | None = None,
    progress: Progress | None = None,
) -> list[Examples]:
    """The samples that excite each mode of each attention head most, in one pass of the backbone.

    Parameters
    ----------
    model : Backbone, TextBackbone or AttentionModel
        A module that is neither of images nor of texts takes tensors, all of whose tokens count.
    batches : iterable
        What ``model.preprocess`` gives, batch by batch; read once, so a generator will do.
    modes : sequence of Modes, optional
        Of the layers to look at, with the norm folded in; by default those of all layers. Signs are theirs.
    per_mode : int
        Samples kept for each mode, sign and ranking.
    most_modes : int, optional
        The leading modes of each attention head alone.
    context : int, optional
        Of modes that are made here, as in `headwise.dissect`: by default as many tokens as an image has.
    high_norm : bool
        Let tokens of high norm (`high_norm_tokens`) count. By default they are left out, and ``left_out`` says how many
        there were: what they fire on is often the same in every sample (registers, sinks).
    keep : path, optional
        File for what was found so far: written about once a minute, when the pass is stopped, and at its end. Where it
        is there already, the pass goes on after the samples that it has seen; give the same batches, in any sizes. It
        holds a hash of these samples, and others, or the same in another order, are refused.
    announce : callable, optional
        Gets sentences for people: how long it takes, what was cut, where a stopped pass is kept.
    progress : callable, optional
        See `headwise.contracts.Progress`; it counts batches.

    Returns
    -------
    list of Examples
        One for each layer.

    Raises
    ------
    InputError
        No backbone, no batches or one that is not put into a list, what the model does not take, tokens that are NaN
        or infinite, a text longer than the model takes, rotary embeddings of texts without a context, more samples a
        mode than 8 GiB hold, or a file to ``keep`` that was made with another model, modes, settings or samples.

    Notes
    -----
    Tokens are read where they enter the layer, and projected on all query and key directions of a layer in one matrix
    product, in the precision of the model and at least float32; only the maxima over the tokens of a sample stay. Where
    the norm in front of the layer is folded into the modes, tokens are over the spread that it divides by, so that a
    large norm alone gives no large projection. Prefix tokens, padding, and tokens that the tokenizer adds at the end of
    a text never count.

    What is kept takes 168 bytes for each mode and sample kept (28 for each of 3 rankings and 2 signs), so
    ``168 per_mode`` bytes a mode, however many samples are seen. While a batch of B samples of s tokens is in work
    there are also the inputs of all layers, and of one layer ``2 B s`` projections for each mode.

    The search is that of Pan et al. (arXiv 2405.14880), there without the norm and with high-norm patches.

    Examples
    --------
    >>> import headwise, numpy as np
    >>> from headwise.dissect import top_examples
    >>> model, rng = headwise.load_backbone("embedded"), np.random.default_rng(0)
    >>> pictures = list(rng.integers(0, 256, size=(10, 32, 32, 3), dtype=np.uint8))
    >>> batches = [model.preprocess(pictures[i : i + 5]) for i in (0, 5)]
    >>> found = top_examples(model, batches, per_mode=3, most_modes=8)
    >>> best = found[2].of(head=1, mode=0)[0]
    >>> best.score > 0 and best.sample in range(10) and best.query_place in range(1, 65)
    True
    """
    if isinstance(batches, (Tensor, Mapping, str)) or not isinstance(batches, Iterable):
        raise InputError(
            f"batches are what preprocess gives, one after the other, got {type(batches).__name__}; put a single batch "
            "into a list"
        )
    check_called("announce", announce, "announce(sentence)")
    check_called("progress", progress, "progress(step, done, total)")
    keep = None if keep is None else as_file("keep", keep)
    if keep is not None and not keep.parent.is_dir():
        raise InputError(f"the folder of {keep} is not there; make it, or give another file")
    search = ExampleSearch(
        model,
        modes=modes,
        per_mode=per_mode,
        most_modes=most_modes,
        context=context,
        high_norm=high_norm,
        begin=load_examples(keep) if keep is not None and keep.exists() else None,
    )
    tell = announce or (lambda said: None)
    total = len(batches) if isinstance(batches, Sized) else 0
    skip, skipped = search.num_samples, ""
    if skip:
        tell(f"examples of {skip} samples are in {keep}; the pass goes on after them")
    new, written = False, perf_counter()
    try:
        for done, inputs in enumerate(batches, 1):
            rest, new_here = inputs, True
            if skip:
                again, rest, count = cut(inputs, skip)
                skip, new_here = skip - count, rest is not None
                skipped = chained(skipped, again)
                if not skip and search.samples_hash not in ("", skipped):
                    raise InputError(
                        f"{keep} holds examples of {search.num_samples} samples, and the batches begin with others, or "
                        "with the same in another order; give the batches that it was made of, or another file"
                    )
            if new_here:
                before = perf_counter()
                search.update(rest)
                if total and not new:
                    minutes = (perf_counter() - before) * (total - done + 1) / 60
                    took = f"about {minutes:.0f} minutes" if minutes >= 1.5 else "about a minute or less"
                    layers = f"{len(search.found)} layer{'s' * (len(search.found) != 1)}"
                    tell(f"examples of the modes of {layers} in {total} batch{'es' * (total != 1)}: {took}")
                new = True
            if progress is not None:
                progress("look for examples", done, max(total, done))
            if keep is not None and new and perf_counter() - written > _EVERY:
                save_examples(search.found, keep)
                written = perf_counter()
    except BaseException:  # stopped, or a sample that cannot be read
        if keep is not None and new:
            save_examples(search.found, keep)
            tell(f"examples of {search.num_samples} samples are kept in {keep}; the same call goes on from there")
        raise
    if skip:
        raise InputError(
            f"{keep} holds examples of {search.num_samples} samples, and there are {search.num_samples - skip} in the "
            "batches: it was made of others; give another file"
        )
    if not search.num_samples:
        raise InputError("there are no samples to look at: the batches are empty")
    if keep is not None and new:
        save_examples(search.found, keep)
    if search.filled:
        most = search.most_tokens
        tell(f"{search.filled} texts fill all {most} tokens that {model.name} takes: what they had beyond was cut off")
    return search.found
