"""``headwise dissect``: what every attention head of a model does, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ..console import out, paragraph, print_json, say
from ..options import DeviceOption, JsonOption, SeedOption

if TYPE_CHECKING:
    from ...dissect import Dissection

COLUMNS = {
    "layer": "layer",
    "head": "head",
    "weighted_cosine": "cosine",
    "weighted_chance": "chance",
    "effective_rank": "rank",
    "symmetric_share": "symmetric",
    "content_share": "content",
    "key_only_share": "key-only",
    "position_share": "position",
    "turning_share": "turning",
    "prefix_mass": "prefix",
    "sink_mass": "sinks",
    "high_norm_mass": "high-norm",
    "served_by": "served-by",
}
"""Columns of the table by the names of `Dissection.heads`; those without evidence are left out."""


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="embedded, timm/NAME, timm/NAME@weights.safetensors, hf/FOLDER")
    ],
    images: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Option("--images", metavar="PATH", help="Images to check on; without it, photographs of the package"),
    ] = None,
    num_images: Annotated[int, typer.Option("--num-images", min=1, help="Images used, spread over those given")] = 8,
    layers: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option("--layer", min=0, help="Layer to print, from 0; may be repeated. Without it, all"),
    ] = None,
    context: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--context", min=1, help="Tokens over which rotary embeddings are averaged, for models of text"),
    ] = None,
    fold: Annotated[bool, typer.Option(help="Fold the norm in front of each layer into its modes")] = True,
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", metavar="DIR", help="Folder for dissection.json and dissection.safetensors"),
    ] = None,
    device: DeviceOption = "cpu",
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Take the query-key interaction of every attention head apart, and prove it on images.

    Weighted cosine (1: tokens look for their like, 0: for something else) beside its chance band, effective rank, what
    the logits' variance comes from, and how much attention prefix tokens, sinks and high-norm patches take.
    """
    from ...backbones import load_backbone
    from ...dissect import dissect
    from ...errors import InputError

    loaded: Any = load_backbone(model, device)
    batch = None
    if hasattr(loaded, "preprocess"):
        batch = loaded.preprocess(_pictures(images, num_images)).to(loaded.device)
    elif images is not None:
        raise InputError(f"{model} takes no images; leave --images out")
    else:
        say(f"{model} takes no images: nothing is checked or measured; from Python, give its inputs (check=...)")
    found = dissect(loaded, batch, fold=fold, context=context, seed=seed)
    for layer in layers or ():
        if layer >= len(found.modes):
            raise InputError(f"{model} has layers 0 to {len(found.modes) - 1}, got {layer}")
    if folder is not None:
        found.save(folder)
    if json:
        print_json(found.to_dict())
        return
    _print(found, layers)
    if folder is not None:
        out.print(f"dissection: {folder}", markup=False, soft_wrap=True)


def _pictures(path: str | None, count: int) -> list[Any]:
    import numpy as np

    from ...errors import InputError
    from ...tokens import ImageSamples, open_samples, read_photographs

    samples = read_photographs() if path is None else open_samples(path)
    if not isinstance(samples, ImageSamples):
        raise InputError(f"{path} holds no images; give an image, a folder of images or a list of them")
    rows = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int))
    return [samples.image(int(i)) for i in rows]


def _print(found: Dissection, layers: list[int] | None) -> None:
    rows = [row for row in found.heads if not layers or row["layer"] in layers]
    columns = [name for name in COLUMNS if any(row.get(name) is not None for row in rows)]
    lines = [[COLUMNS[name] for name in columns], *([_written(row.get(name)) for name in columns] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:  # as wide as it is: a table that is wrapped cannot be read
        cells = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        out.print("  ".join(cells), markup=False, soft_wrap=True)
    if found.evidence is not None:
        paragraph(
            out,
            "content, key-only, position, turning: shares of the logits' variance; prefix, sinks, high-norm: shares of "
            "attention",
        )
    for about in dict.fromkeys(each.about for each in found.modes if each.about):
        paragraph(out, f"modes: {about}")
    if found.check is not None:
        paragraph(
            out,
            f"proved: the logits rebuilt differ from the model's by {found.check.largest:.1e} of their spread, outputs "
            f"with its own kernels by {max(found.check.outputs):.1e}",
        )
        if found.check.left_out:
            paragraph(out, f"not described: {', '.join(found.check.left_out)}")


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return "" if value is None else str(value)
