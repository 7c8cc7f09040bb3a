"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "BackboneOption",
    "BatchOption",
    "DeviceOption",
    "JsonOption",
    "OverwriteOption",
    "SeedOption",
    "StrictOption",
    "TolOption",
]

BackboneOption = Annotated[
    str, typer.Option("--backbone", "-b", metavar="NAME", help="embedded, timm/NAME or timm/NAME@weights.safetensors")
]
DeviceOption = Annotated[str, typer.Option("--device", help="Where the backbone runs: auto, cpu, cuda, mps")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what headwise made there with other settings")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Decides splits and resamples")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Stop at the first image that cannot be read")]
TolOption = Annotated[float, typer.Option("--tol", help="Certified relative gap to reach")]
BatchOption = Annotated[int, typer.Option("--batch-size", help="Images in one pass of the backbone")]
