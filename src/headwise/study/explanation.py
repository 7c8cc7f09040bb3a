"""What a saved head is made of and what it sees in some samples, as one page."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..contracts import Backbone, TextBackbone
from ..errors import InputError
from ..files import replacing
from ..heads import Atoms, Head
from ..heads.atoms import atom_outputs
from ..heads.explain import token_outputs
from ..heads.save import as_head
from ..report import render_explanation
from ..tokens import TokenStore
from ..version import __version__
from . import facts
from .gate_facts import gate_facts
from .pictures import placed
from .quotations import quoted
from .result import FORMAT_VERSION
from .shown_samples import ShownSamples, shown_samples

__all__ = ["Explanation", "explain"]

MOST_SAMPLES = 100  # of a page: a hundred cards are some megabytes
FAINT = 0.01  # share of all contributions below which those of patch tokens get no map: it would show rounding


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
    shown = shown_samples(head, data, samples, backbone, layer, columns, device, strict, announce)
    found = head.atoms()
    arrays: dict[str, NDArray[Any]] = {}
    told = _sample_facts(head, shown, found, arrays)
    gates, hidden = gate_facts(head, shown, found, arrays)
    result = {
        "format_version": FORMAT_VERSION,
        "title": f"What the head sees in {_called(data)}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "headwise_version": __version__,
        "command": command,
        "versions": facts.versions(),
        "kind": "texts" if shown.of_texts else "tokens" if shown.pictures is None else "images",
        "head": {
            "parts": head.part_words(),
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


def _sample_facts(
    head: Head, shown: ShownSamples, found: Atoms, arrays: dict[str, NDArray[Any]]
) -> list[dict[str, Any]]:
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
            arrays[entry["map_key"]] = placed(patches.numpy(force=True).astype(np.float32), tokens.grid, 0)
        told.append(entry)
    return told
