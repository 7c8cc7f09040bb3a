"""``headwise dissect``: what every attention head of a model does, as a table and as a page to explore."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ..console import out, paragraph, print_json, progress_bars, say
from ..options import (
    BatchOption,
    DeviceOption,
    JsonOption,
    MaxTokensOption,
    OverwriteOption,
    SeedOption,
    StrictOption,
    TextColumnOption,
    text_columns,
)

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
        typer.Option("--images", metavar="PATH", help="Images to look at; without it, photographs of the package"),
    ] = None,
    texts: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--text", metavar="FILE", help="Texts to look at: a table (CSV, TSV) with a column text, or a line each"
        ),
    ] = None,
    text_column: TextColumnOption = None,
    max_tokens: MaxTokensOption = None,
    checked: Annotated[
        int, typer.Option("--check", min=1, help="Images or texts on which the logits are checked, spread over all")
    ] = 8,
    layers: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--layers", "--layer", metavar="0,5,-1", help="Layers to print and to show examples of; -1 is the last"
        ),
    ] = None,
    context: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--context", min=1, help="Tokens over which rotary embeddings are averaged, for models of text"),
    ] = None,
    fold: Annotated[bool, typer.Option(help="Fold the norm in front of each layer into its modes")] = True,
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--out", "-o", metavar="DIR", help="Folder for the dissection (JSON, safetensors), examples and the page"
        ),
    ] = None,
    examples: Annotated[
        int,
        typer.Option(
            "--examples",
            min=0,
            help="With --out: images or texts among which those that excite each mode are looked for",
        ),
    ] = 1000,
    modes: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--modes", min=1, help="With --out: leading modes whose directions are written; as many as fit 512 MiB"
        ),
    ] = None,
    page_size: Annotated[
        str, typer.Option("--page-size", metavar="SIZE", help="With --out: what the page may take (900KB, 20MB)")
    ] = "20MB",
    batch_size: BatchOption = 32,
    device: DeviceOption = "cpu",
    seed: SeedOption = 0,
    strict: StrictOption = False,
    json: JsonOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Take the query-key interaction of every attention head apart, and prove it on images or texts.

    Weighted cosine (1: tokens look for their like, 0: for something else) beside its chance band, effective rank, what
    the logits' variance comes from, and how much attention prefix tokens, sinks and high-norm patches take. With --out
    also a page to explore in a browser: each attention head, its modes, and what excites them. A run that is stopped
    goes on from what is in the folder.
    """
    from ...backbones import load_backbone
    from ...checks import as_bytes
    from ...errors import InputError
    from ...study import explore

    if images is not None and texts is not None:
        raise InputError("--images and --text are both given; a model takes one of them")
    numbers, room = _numbers(layers), as_bytes("--page-size", page_size)
    loaded: Any = load_backbone(model, device)
    if images is not None and not hasattr(loaded, "preprocess"):
        raise InputError(f"{model} takes no images; leave --images out")
    if texts is not None and not hasattr(loaded, "preprocess"):
        raise InputError(f"{model} takes no texts (its folder holds no tokenizer); leave --text out")
    samples = _samples(images, texts, text_columns(text_column, None))
    about = getattr(loaded, "description", "")
    if "stored in" in about:
        say(f"{model}: {about}")
    if images is None and texts is None and not hasattr(loaded, "grid"):
        what = "no texts are given (--text FILE)" if hasattr(loaded, "encode") else f"{model} takes no images"
        say(f"{what}: nothing is checked or measured; from Python, give its inputs (check=...)")
    with progress_bars(quiet=folder is None) as progress:
        made = explore(
            loaded,
            samples,
            folder,
            layers=numbers,
            checked=checked,
            examples=0 if folder is None else examples,
            modes=modes,
            context=context,
            fold=fold,
            max_tokens=max_tokens,
            max_bytes=room or 0,
            batch_size=batch_size,
            seed=seed,
            strict=strict,
            overwrite=overwrite,
            progress=progress,
            announce=say,
            command=shlex.join(["headwise", *sys.argv[1:]]),
        )
    found = made.dissection
    if json:
        print_json(found.to_dict())
        return
    _print(found, numbers)
    if folder is not None:
        out.print(f"dissection: {folder}", markup=False, soft_wrap=True)
        out.print(f"page: {made.page}", markup=False, soft_wrap=True)


def _samples(images: str | None, texts: str | None, columns: tuple[str, str] | None) -> Any:
    """Images or texts, as the option that names them says; None where neither is given."""
    from ...errors import InputError
    from ...tokens import ImageSamples, TextSamples, open_samples

    if texts is not None and Path(texts).is_dir():
        raise InputError(f"--text {texts} is a folder; give a table (CSV, TSV) or a .txt file with one text a line")
    path = images if texts is None else texts
    if path is None:
        return None
    found = open_samples(path, columns)
    if images is not None and isinstance(found, TextSamples):
        raise InputError(f"--images {path} holds texts; give them with --text, and a model that takes texts")
    if texts is not None and isinstance(found, ImageSamples):
        raise InputError(f"--text {path} holds images; give them with --images, and a model that takes images")
    return found


def _numbers(layers: list[str] | None) -> list[int] | None:
    """Numbers of layers, from options that may each hold several."""
    from ...errors import InputError

    if layers is None:
        return None
    try:
        return [int(part) for option in layers for part in option.split(",")]
    except ValueError:
        raise InputError(f"--layers takes numbers such as 0,5,-1, got {','.join(layers) or 'nothing'}") from None


def _print(found: Dissection, layers: list[int] | None) -> None:
    shown = range(len(found.modes)) if not layers else [i % len(found.modes) for i in layers]
    rows = [row for row in found.heads if row["layer"] in shown]
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
