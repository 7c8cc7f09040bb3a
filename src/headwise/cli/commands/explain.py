"""``headwise explain``: what a saved head is made of, and what it sees in samples."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from ..console import out, print_json, say
from ..options import DeviceOption, JsonOption, StrictOption


def command(
    head: Annotated[Path, typer.Argument(metavar="HEAD", help="Folder of a saved head")],
    path: Annotated[
        str,
        typer.Argument(metavar="PATH", help="One image, a folder or a table of images, arrays, or a token store"),
    ],
    page: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.html", help="The page to write")] = Path(
        "explanation.html"
    ),
    samples: Annotated[int, typer.Option("--samples", help="Samples to show, spread over the data; 100 at most")] = 8,
    backbone: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Option("--backbone", "-b", metavar="NAME", help="Backbone for images; without it, that of the head"),
    ] = None,
    layer: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--layer", help="Layer of the backbone; without it, that of the head"),
    ] = None,
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
