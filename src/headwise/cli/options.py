"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Optional

import typer

from ..errors import unknown_name

__all__ = [
    "BackboneOption",
    "BatchOption",
    "DataArgument",
    "DeviceOption",
    "HeadArgument",
    "HeadBackboneOption",
    "HeadLayerOption",
    "JsonOption",
    "LabelColumnOption",
    "MaxTokensOption",
    "OverwriteOption",
    "SeedOption",
    "StrictOption",
    "TextColumnOption",
    "TolOption",
    "one_of",
    "text_columns",
]


def one_of(kind: str, *names: str) -> Callable[[str], str]:
    """A callback that answers other words in one line, with the closest names."""

    def check(value: str) -> str:
        if value not in names:
            raise unknown_name(kind, value, names)
        return value

    return check


def text_columns(text: str | None, label: str | None) -> tuple[str, str] | None:
    """Names of the columns of texts and labels; None where neither is given."""
    return None if text is None and label is None else (text or "text", label or "label")


BackboneOption = Annotated[
    str,
    typer.Option(
        "--backbone",
        "-b",
        metavar="NAME",
        help="embedded, timm/NAME, timm/NAME@weights.safetensors, or hf/FOLDER (also for texts)",
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", help="Where the backbone runs: auto, cpu, cuda, mps")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what headwise made there with other settings")
]
MaxTokensOption = Annotated[
    Optional[int],  # noqa: UP045 - typer reads it at run time
    typer.Option("--max-tokens", min=1, help="Cut longer texts; without it, at what the backbone takes"),
]
TextColumnOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--text-column", metavar="NAME", help="Column of a table that holds texts; without it, text"),
]
LabelColumnOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--label-column", metavar="NAME", help="Column of the texts' labels; without it, label"),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Decides splits, resamples and gates")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Stop at the first image or text that cannot be used")]
TolOption = Annotated[float, typer.Option("--tol", help="Certified relative gap to reach")]
BatchOption = Annotated[int, typer.Option("--batch-size", help="Images or texts in one pass of the backbone")]
HeadArgument = Annotated[Path, typer.Argument(metavar="HEAD", help="Folder of a saved head")]
DataArgument = Annotated[
    str,
    typer.Argument(metavar="PATH", help="An image, a folder or a table of images, a table of texts, arrays, a store"),
]
HeadBackboneOption = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it at run time
    typer.Option("--backbone", "-b", metavar="NAME", help="Backbone for images or texts; without it, that of the head"),
]
HeadLayerOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--layer", help="Layer of the backbone; without it, that of the head"),
]
