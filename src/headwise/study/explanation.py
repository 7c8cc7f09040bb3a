"""What a saved head is made of and what it sees in some samples, as one page."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..contracts import Backbone, TextBackbone, Tokens
from ..errors import InputError
from ..files import replacing
from ..heads import Atoms, Head
from ..heads.atoms import atom_outputs
from ..heads.clusters import GateClusters, clusters
from ..heads.content import array_source
from ..heads.explain import token_outputs
from ..heads.save import as_head
from ..report import render_explanation
from ..tokens import ArrayData, TextSamples, TokenStore, open_samples
from ..tokens.feeds import read_samples
from ..tokens.table import no_labels
from ..version import __version__
from . import facts
from .origin import backbone_of, check_store
from .pictures import as_seen
from .prediction import feed_of, none_left, tell_left_out
from .quotations import Span, quoted
from .result import FORMAT_VERSION

__all__ = ["Explanation", "explain"]

MOST_SAMPLES = 100  # of a page: a hundred cards are some megabytes
MOST_GATES = 6
GATE_SAMPLES = 4  # samples on which each gate is shown
LIGHT = 0.001  # share of the weight of all atoms below which a gate is not shown
FAINT = 0.01  # share of all contributions below which those of patch tokens get no map: it would show rounding
A_ROW = 32  # tokens without a grid are drawn as lines of text, this many in each


@dataclass
class Explanation:
    """An explanation of a head: plain data, and the arrays behind the pictures.

    Attributes
    ----------
    data : dict
        Atoms, gates, and for each sample the parts of its output.
    arrays : dict of ndarray
        Pictures, maps of what each token adds, and cluster labels, by the keys in ``data``.
    """

    data: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(repr=False)

    def html(self) -> str:
        """One page that needs nothing else."""
        return render_explanation(self.data, self.arrays)

    def save(self, path: str | Path) -> Path:
        """Write the page into a file."""
        path = Path(path)
        if path.is_dir() or not path.name:
            raise InputError(f"{path} is a folder; give a file such as explanation.html")
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text(self.html(), encoding="utf-8")
        return path


@dataclass(frozen=True)
class _Samples:
    """Names, tokens and, where there are any, the pictures that the backbone saw, or the texts with their spans."""

    names: list[str]
    tokens: Tokens
    pictures: list[NDArray[Any]] | None = None
    texts: list[tuple[str, list[Span]]] | None = None
    of_texts: bool = False


@torch.inference_mode()
def explain(
    head: Any,
    data: Any,
    *,
    samples: int = 8,
    backbone: str | Backbone | TextBackbone | None = None,
    layer: int | None = None,
    columns: tuple[str, str] | None = None,
    device: str = "cpu",
    strict: bool = False,
    announce: Callable[[str], object] | None = None,
    command: str | None = None,
) -> Explanation:
    """Take a head apart, and some samples with it.

    Parameters
    ----------
    head : Head, fitted estimator, str or path
        The head, or the folder where it was saved.
    data : str, path, ImageSamples, TextSamples, ArrayData, TokenStore, array or Tensor
        What `headwise.tokens.open_samples` takes: an image, a folder or a table of images, a table of texts, arrays in
        a file, or a token store; or tokens ``(n, s, d)`` or ``(n, d)``. Labels are not needed. Only images give
        pictures, and texts quotations; tokens give maps alone.
    samples : int
        How many samples to show, spread evenly over the data; 100 at most.
    backbone, layer, columns, strict, announce
        As in `predict`.
    device : str
        Where the backbone runs.
    command : str, optional
        How to run the same again, for the page.

    Returns
    -------
    Explanation
        ``html()`` is the page, ``save(file)`` writes it.

    Raises
    ------
    InputError
        Data that cannot be read, or tokens or a backbone that are not those of the head.

    Examples
    --------
    >>> import headwise
    >>> headwise.explain("my-study/head", "photos/").save("explanation.html")  # doctest: +SKIP
    """
    if not 1 <= samples <= MOST_SAMPLES:
        raise InputError(f"{samples} samples are asked for; 1 to {MOST_SAMPLES} can be shown")
    head = as_head(head)
    shown = _open(head, data, samples, backbone, layer, columns, device, strict, announce)
    found = head.atoms()
    arrays: dict[str, NDArray[Any]] = {}
    told = _sample_facts(head, shown, found, arrays)
    gates, hidden = _gate_facts(head, shown, found, arrays)
    result = {
        "format_version": FORMAT_VERSION,
        "title": f"What the head sees in {_called(data)}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "headwise_version": __version__,
        "command": command,
        "versions": facts.versions(),
        "kind": "texts" if shown.of_texts else "tokens" if shown.pictures is None else "images",
        "head": {
            "parts": [part.words for part in head._parts()],
            "outputs": head.output_names,
            "classes": head.classes is not None,
            "parameters": head.num_parameters,
            "backbone": (head.facts.origin or {}).get("backbone"),
            "certificate": head.certificate.to_dict() if head.certificate else None,
        },
        "atoms": [
            {**{k: v for k, v in row.items() if k != "loadings"}, "strongest": found.strongest(number, 4)}
            for number, row in enumerate(found.to_dict())
        ],
        "samples": told,
        "gates": gates,
        "gates_left_out": hidden,
    }
    return Explanation(result, arrays)


def _called(data: Any) -> str:
    """What to call the data in a title."""
    if isinstance(data, TokenStore):
        data = data.path
    if isinstance(data, (str, os.PathLike)):
        return Path(data).name or str(data)
    return str(getattr(data, "description", "arrays"))


def _open(
    head: Head,
    data: Any,
    count: int,
    backbone: str | Backbone | TextBackbone | None,
    layer: int | None,
    columns: tuple[str, str] | None,
    device: str,
    strict: bool,
    announce: Callable[[str], object] | None,
) -> _Samples:
    """Some samples of the data, as tokens that fit the head."""
    if isinstance(data, (np.ndarray, Tensor)):
        values: Any = data
        data = ArrayData(values, no_labels(len(values)), (), "arrays")
    found = open_samples(data, columns)
    total = len(found)
    rows = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))
    if isinstance(found, TokenStore):
        check_store(head, found)
        tokens = found.read(rows)
        of_texts = found.manifest.source.get("cut") is not None
        return _Samples([found.ids[i] for i in rows], head.batch(tokens.values, tokens.mask), of_texts=of_texts)
    if isinstance(found, ArrayData):
        mask = None if found.mask is None else found.mask[rows]
        source = array_source(head.facts, replace(found, tokens=found.tokens[rows], mask=mask))
        head.check_source(source)
        _, tokens = next(iter(source.chunks(size=len(rows))))
        names = [found.ids[i] if found.ids else str(i) for i in rows]
        return _Samples(names, head.batch(tokens.values, tokens.mask))
    model, layer, at = backbone_of(head, backbone, layer, device)
    feed = feed_of(head, model, found)
    read, skipped = read_samples(feed, rows.tolist(), strict)
    if not read:
        raise none_left(feed, skipped)
    if announce:
        tell_left_out(feed, skipped, len(rows), announce)
    values, mask = feed.tokens(read, layer, at)
    names = [found.ids[i] for i, _ in read]
    batch = head.batch(values[:, 0], None if mask is None else mask[:, 0])
    if isinstance(found, TextSamples):
        spans = [model.spans(found.texts[i], head.facts.num_tokens) for i, _ in read]
        known = None if None in spans else [(found.texts[i], each) for (i, _), each in zip(read, spans, strict=True)]
        return _Samples(names, batch, texts=known, of_texts=True)
    return _Samples(names, batch, as_seen(model.preprocess([image for _, image in read]), model.preprocessing))


def _sample_facts(head: Head, shown: _Samples, found: Atoms, arrays: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """For each sample what its tokens and atoms add to the output of the predicted class."""
    tokens = shown.tokens
    outputs = head(tokens.values, tokens.mask)
    each, by_atom = token_outputs(head, tokens), atom_outputs(head, tokens, found)
    means, names, prefix = head.link(outputs), head.output_names, tokens.num_prefix
    reads = {spec.tokens for spec in head.specs}
    told = []
    for i, name in enumerate(shown.names):
        k = int(outputs[i].argmax())
        own, atoms = each[i, :, k], by_atom[i, :, k]
        heaviest = atoms.abs().argsort(descending=True)[:3].tolist()
        entry: dict[str, Any] = {
            "name": name,
            "output": names[k],
            "mean": float(means[i, k]),
            "value": float(outputs[i, k]),
            "intercept": float(head.intercept[k]),
            "prefix": float(own[:prefix].sum()) if reads & {"prefix", "all"} and prefix else None,
            "patch": float(own[prefix:].sum()) if reads & {"patch", "all"} and len(own) > prefix else None,
            "atoms": [[j, float(atoms[j])] for j in heaviest if atoms[j]],
            "image_key": None,
            "map_key": None,
        }
        if shown.pictures is not None:
            entry["image_key"] = f"sample/{i}/image"
            arrays[entry["image_key"]] = shown.pictures[i]
        patches = own[prefix:]
        if tokens.mask is not None and tokens.grid is None:
            patches = patches[tokens.mask[i, prefix:]]
        seen = float(patches.abs().sum()) > FAINT * float(own.abs().sum())
        if shown.texts is not None:
            pieces, _ = quoted(*shown.texts[i], own.numpy(force=True))
            entry["pieces"] = pieces if seen else [(piece, None) for piece, _ in pieces]
        elif seen and len(patches) > 1:
            entry["map_key"] = f"sample/{i}/map"
            arrays[entry["map_key"]] = _placed(patches.numpy(force=True).astype(np.float32), tokens.grid, 0)
        told.append(entry)
    return told


def _gate_facts(
    head: Head, shown: _Samples, found: Atoms, arrays: dict[str, NDArray[Any]]
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Gates with their labels on some of the samples, and how many are not shown, by the reason."""
    tokens = shown.tokens
    prefix, total = tokens.num_prefix, sum(atom.weight for atom in found)
    active: dict[tuple[int, int, int | None], float] = {}
    for atom in found:
        if atom.gate is not None:
            place = (atom.part, atom.gate, atom.group)
            active[place] = active.get(place, 0.0) + atom.weight
    heavy = {place for place, weight in active.items() if weight >= LIGHT * total}
    sorting = [
        gate for gate in clusters(head, tokens, found) if (gate.part, gate.gate, gate.group) in heavy and _sorts(gate)
    ]
    told = []
    picked = np.unique(np.linspace(0, len(shown.names) - 1, GATE_SAMPLES).round().astype(int)).tolist()
    for number, gate in enumerate(sorting[:MOST_GATES]):
        labels = []
        same = bool((gate.query == gate.key).all())
        for i in picked:
            entry = {"sample": i, "query_key": f"gate/{number}/{i}/query", "key_key": None}
            arrays[f"gate/{number}/{i}/query"] = _placed(gate.query[i, prefix:], tokens.grid, -1)
            if not same:
                entry["key_key"] = f"gate/{number}/{i}/key"
                arrays[f"gate/{number}/{i}/key"] = _placed(gate.key[i, prefix:], tokens.grid, -1)
            labels.append(entry)
        sizes = np.bincount(gate.key[:, prefix:][gate.key[:, prefix:] >= 0])
        told.append(
            {
                "gate": gate.gate,
                "group": gate.group,
                "block": gate.block,
                "weight": gate.weight,
                "share": gate.weight / total,
                "kind": "token" if gate.table is None else "pair",
                "sizes": sizes.tolist(),
                "labels": labels,
            }
        )
    return told, {
        "without_clusters": len(heavy) - len(sorting),
        "light": len(active) - len(heavy),
        "more": len(sorting) - len(told),
    }


def _sorts(gate: GateClusters) -> bool:
    """Whether patch tokens share clusters: in a window gate every place is a cluster of its own."""
    read = gate.key[0] >= 0
    return int(read.sum()) > 1 and (gate.table is None or len(gate.table) < gate.key.shape[1] - (~read).sum())


def _placed(values: NDArray[Any], grid: Sequence[int] | None, fill: int) -> NDArray[Any]:
    """Patch tokens on their grid; without one, in lines like text, the last one filled up."""
    if grid is not None:
        return values.reshape(grid[0], grid[1])
    columns = min(A_ROW, len(values))
    padded = np.full(-(-len(values) // columns) * columns, fill, dtype=values.dtype)
    padded[: len(values)] = values
    return padded.reshape(-1, columns)
