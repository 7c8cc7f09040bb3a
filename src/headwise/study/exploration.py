"""The attention heads of a model taken apart, with what excites their modes, as one page that is explored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..backbones import load_backbone
from ..checks import as_bytes, check_flag, check_whole, takes_texts
from ..contracts import AttentionModel, Progress
from ..dissect import Dissection, Examples, Modes, dissect, load_examples, mode_cosines, subspaces, top_examples
from ..dissect.saving import NUMBERS, TENSORS, kept_modes, write
from ..errors import InputError
from ..files import claim_folder, read_json, replacing
from ..report import render_explorer
from ..report.called import short_name
from ..report.explorer import MAX_BYTES
from ..tokens.rows import spread
from ..version import __version__
from .explored_samples import batch_to_check, feed_for, samples_for
from .explorer_words import compared_words, left_out_words, what_words
from .mode_evidence import Batches, mode_evidence, mode_words
from .pictures import dissection_facts
from .result import FORMAT_VERSION

__all__ = ["EXAMPLES", "PAGE", "Exploration", "explore"]

EXAMPLES, PAGE = "examples.safetensors", "explorer.html"
EXPORT = 512 * 2**20  # bytes of directions and factors

Say = Callable[[str], object]
T = TypeVar("T")


@dataclass
class Exploration:
    """A dissection with its evidence.

    Attributes
    ----------
    dissection : Dissection
    examples : list of Examples
        Of each layer that was looked at; empty without images or texts.
    data : dict
        What the page is made of: see `headwise.report.render_explorer`.
    arrays : dict of ndarray
        Spectra, maps and pictures, by the keys that it names.
    path : Path or None
        Folder where all of it is.
    """

    dissection: Dissection
    examples: list[Examples] = field(repr=False)
    data: dict[str, Any] = field(repr=False)
    arrays: dict[str, NDArray[Any]] = field(repr=False)
    path: Path | None = None

    @property
    def page(self) -> Path | None:
        """The page in that folder."""
        return None if self.path is None else self.path / PAGE

    def html(self, max_bytes: int | str = MAX_BYTES) -> str:
        """The page, at most so large: one file that needs nothing else."""
        return render_explorer(self.data, self.arrays, as_bytes("max_bytes", max_bytes) or MAX_BYTES)


def explore(
    model: str | AttentionModel,
    data: Any = None,
    out: str | Path | None = None,
    *,
    columns: tuple[str, str] | None = None,
    layers: Sequence[int] | None = None,
    checked: int = 8,
    examples: int = 1000,
    per_mode: int = 7,
    modes: int | None = None,
    context: int | None = None,
    fold: bool = True,
    max_tokens: int | None = None,
    max_bytes: int | str = MAX_BYTES,
    batch_size: int = 32,
    device: str = "cpu",
    seed: int = 0,
    strict: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    announce: Say | None = None,
    command: str | None = None,
) -> Exploration:
    """Dissect a model, look for what excites its modes, and write a page on which both are explored.

    Parameters
    ----------
    model : str or AttentionModel
        A backbone, or its name.
    data : str, path, ImageSamples, TextSamples or None
        Images or texts without labels, as `headwise.tokens.open_samples` takes them. Without them photographs of the
        package are taken for a model of images; one of texts is then neither checked nor given evidence.
    out : path, optional
        Folder for ``dissection.json``, ``dissection.safetensors``, ``examples.safetensors`` and ``explorer.html``. Each
        is written as soon as it is there, and the same call goes on from those that are: the search for examples from
        the samples that it has seen.
    columns : (str, str), optional
        Columns of a table that hold texts and labels, as in `headwise.open_data`.
    layers : sequence of int, optional
        Those for which there is evidence, negative from the end; all by default.
    checked : int
        Images or texts on which the model's logits are compared, spread over the data.
    examples : int
        Images or texts among which those that excite each mode are looked for, spread over the data; 0 for none.
    per_mode : int
        Of these, kept for each mode and sign.
    modes : int, optional
        Leading modes of each attention head whose directions are written, and which get evidence; by default as many as
        fit 512 MiB. Singular values and cosines of all of them are always written.
    context, fold, seed
        As in `headwise.dissect`; without ``fold`` there is no evidence.
    max_tokens : int, optional
        Cut longer texts; by default at what the model takes.
    max_bytes : int or str
        Of the page ("20MB"): fewer examples, then fewer modes are kept on it where they do not fit, and it says so.
    batch_size : int
        Images or texts in one pass of the model.
    device : str
        Where a model that is given by name runs.
    strict : bool
        Stop at the first image or text that cannot be used.
    overwrite : bool
        Replace what was made in ``out`` with other settings.
    progress : callable, optional
        See `headwise.contracts.Progress`.
    announce : callable, optional
        Gets sentences: what was left out, cut, read again.
    command : str, optional
        How to run the same again, for the page.

    Returns
    -------
    Exploration

    Raises
    ------
    InputError
        As in `headwise.dissect`; data that the model does not take or that cannot be read, a folder that holds
        something else, or a page that is too large without any evidence.

    Examples
    --------
    >>> import headwise
    >>> made = headwise.explore("embedded", out="embedded-heads", modes=4, checked=2)
    >>> made.dissection.difference < 1e-6, sorted(file.name for file in made.path.glob("e*"))
    (True, ['examples.safetensors', 'explorer.html'])
    """
    for name, value in (("checked", checked), ("per_mode", per_mode), ("batch_size", batch_size)):
        check_whole(name, value, least=1)
    check_whole("examples", examples)
    check_whole("modes", modes, least=1, or_none=True)
    for name, flag in (("fold", fold), ("strict", strict), ("overwrite", overwrite)):
        check_flag(name, flag)
    room = as_bytes("max_bytes", max_bytes) or MAX_BYTES
    tell, say = progress or _quiet, announce or _quiet
    loaded: Any = load_backbone(model, device) if isinstance(model, str) else model
    chosen = _layers(loaded, layers)
    samples = samples_for(loaded, data, columns)
    notes: list[str] = []
    feed = None if samples is None else feed_for(loaded, samples, max_tokens)
    if feed is None:
        notes.append(
            f"{loaded.name} was given no inputs: its logits were not compared with those of its modes, nothing was "
            "measured on tokens, and there are no examples."
        )
    path = None if out is None else Path(out)
    if path is not None:
        settings = {
            "model": loaded.name,
            "weights": loaded.weights_hash,
            "data": None if samples is None else samples.fingerprint,
            "layers": chosen,
            "checked": checked,
            "examples": examples,
            "per_mode": per_mode,
            "modes": modes,
            "context": context,
            "fold": fold,
            "max_tokens": max_tokens,
            "seed": seed,
        }
        if not claim_folder(path, "dissection", settings, overwrite):
            for name in (NUMBERS, TENSORS, EXAMPLES, PAGE):
                (path / name).unlink(missing_ok=True)
    found = None if path is None else _read(Dissection.load, path, (NUMBERS, TENSORS), overwrite, say)
    if found is not None:
        say(f"the dissection in {path} was made with the same settings: it is read and not made again")
    else:
        tell("dissect", 0, 1)
        inputs = None if feed is None else batch_to_check(feed, checked, strict)
        found = dissect(loaded, inputs, fold=fold, context=context, seed=seed)
        tell("dissect", 1, 1)
        if path is not None:
            write(found, path, modes, EXPORT, loaded.query_keys())
    left_out = "" if path is None else read_json(path / NUMBERS).get("left_out", "")
    if left_out:
        say(left_out)
        notes.append(f"{left_out}.")
    most = kept_modes(found, modes, None if path is None else EXPORT)
    kept = [_leading(found.modes[i], most) for i in chosen]
    searched: list[Examples] = []
    arrays: dict[str, NDArray[Any]] = _spectra(found)
    evidence = None
    if feed is not None and examples and fold:
        batches = Batches(feed, spread(len(feed.samples), examples), batch_size, strict)
        keep = None if path is None else path / EXAMPLES
        if path is not None:
            _read(lambda folder: load_examples(folder / EXAMPLES), path, (EXAMPLES,), overwrite, say)
        searched = top_examples(
            loaded, batches, modes=kept, per_mode=per_mode, keep=keep, announce=say, progress=progress
        )
        evidence = mode_evidence(loaded, batches, searched, kept, room, arrays, tell)
        evidence["what"] = what_words(feed, searched)
        notes += left_out_words(batches, say)
    elif feed is not None and examples:
        notes.append("Modes without the norm folded in have no examples: tokens enter a layer through its norm.")
    told = dissection_facts(found)
    if feed is not None:
        told["check"]["what"] = compared_words(feed, checked)
    page = {
        "format_version": FORMAT_VERSION,
        "title": f"What the attention heads of {short_name(loaded.name)} do",
        "about": f"{loaded.name}: {about}." if (about := getattr(loaded, "description", "")) else loaded.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "headwise_version": __version__,
        "command": command,
        "notes": notes,
        "dissection": told,
        "evidence": evidence,
        "vocabulary": mode_words(loaded, kept, len(found.modes), tell) if takes_texts(loaded) else None,
    }
    made = Exploration(found, searched, page, arrays, path)
    if path is not None:
        with replacing(path / PAGE) as part:
            part.write_text(made.html(room), encoding="utf-8")
    return made


def _quiet(*said: Any) -> None:
    """Nobody listens."""


def _read(load: Callable[[Path], T], folder: Path, names: Sequence[str], overwrite: bool, say: Say) -> T | None:
    """What an earlier run left in a folder; None where there is nothing, or where it is damaged and to be replaced."""
    if not (folder / names[0]).exists():
        return None
    try:
        return load(folder)
    except InputError as error:
        if not overwrite:
            raise InputError(
                f"{error}; remove it, or say to overwrite it (overwrite=True, or --overwrite on the command line)"
            ) from None
        say(f"{error}; it is made again")
    for name in names:
        (folder / name).unlink(missing_ok=True)
    return None


def _layers(model: Any, layers: Sequence[int] | None) -> list[int]:
    """Numbers of layers from 0, each once."""
    count = len(model.query_keys())
    if layers is None:
        return list(range(count))
    wrong = [
        i for i in layers if isinstance(i, bool) or not isinstance(i, (int, np.integer)) or not -count <= i < count
    ]
    if wrong or not len(layers):
        raise InputError(
            f"{model.name} has layers 0 to {count - 1} (-1 is the last), got {wrong[0] if wrong else 'none'}"
        )
    return sorted({int(i) % count for i in layers})


def _leading(found: Modes, count: int) -> Modes:
    """The leading modes, as a dissection that was saved has them."""
    sigma, u, v = (values[:, :count] for values in (found.sigma, found.u, found.v))
    return replace(found, sigma=sigma, u=u, v=v, cosines=None)


def _spectra(found: Dissection) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for i, each in enumerate(found.modes):
        for name, values in (("sigma", each.sigma), ("cosine", mode_cosines(each)), ("subspace", subspaces(each))):
            arrays[f"layer/{i}/{name}"] = values.numpy(force=True)
    return arrays
