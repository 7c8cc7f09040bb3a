"""``headwise explain``: what a saved head is made of, and what it sees in samples."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..console import out, print_json, say
from ..options import (
    DataArgument,
    DeviceOption,
    HeadArgument,
    HeadBackboneOption,
    HeadLayerOption,
    JsonOption,
    LabelColumnOption,
    StrictOption,
    TextColumnOption,
    text_columns,
)


def command(
    head: HeadArgument,
    path: DataArgument,
    page: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.html", help="The page to write")] = Path(
        "explanation.html"
    ),
    samples: Annotated[int, typer.Option("--samples", help="Samples to show, spread over the data; 100 at most")] = 8,
    backbone: HeadBackboneOption = None,
    layer: HeadLayerOption = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    device: DeviceOption = "auto",
    strict: StrictOption = False,
    json: JsonOption = False,
) -> None:
    """Write a page: the atoms of a head, what each token adds to its outputs, and the clusters of its gates."""
    from ...devices import choose_device
    from ...heads.save import load_head
    from ...study import explain

    fitted = load_head(head)
    found = explain(
        fitted,
        path,
        samples=samples,
        backbone=backbone,
        layer=layer,
        columns=text_columns(text_column, label_column),
        device=choose_device(device),
        strict=strict,
        announce=say,
        command=shlex.join(["headwise", *sys.argv[1:]]),
    )
    written = found.save(page)
    if json:
        print_json(found.data)
        return
    out.print(str(fitted.atoms()), markup=False, soft_wrap=True)
    out.print(f"page: {written}", markup=False, soft_wrap=True)
