"""``headwise study``: the main job."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..console import err, out, paragraph, print_json, progress_bars, say
from ..options import (
    BackboneOption,
    BatchOption,
    JsonOption,
    LabelColumnOption,
    MaxTokensOption,
    OverwriteOption,
    SeedOption,
    StrictOption,
    TextColumnOption,
    TolOption,
    text_columns,
)


def command(
    backbone: BackboneOption = "embedded",
    data: Annotated[
        str,
        typer.Option(
            "--data", "-d", metavar="PATH", help="digits, an image folder, arrays, a table of images or texts, a store"
        ),
    ] = "digits",
    out_dir: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for report, head and tokens")
    ] = Path("headwise-study"),
    device: Annotated[
        str,
        typer.Option("--device", help="Where the backbone runs and heads are fitted: auto, cpu, cuda, mps"),
    ] = "auto",
    layer: Annotated[int, typer.Option("--layer", help="Layer whose tokens are used, negative from the end")] = -1,
    max_tokens: MaxTokensOption = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    betas: Annotated[int, typer.Option("--betas", help="Points of each beta path")] = 10,
    n_components: Annotated[
        int, typer.Option("--components", help="Components kept for other than linear parts", min=1)
    ] = 32,
    relu: Annotated[
        bool, typer.Option("--relu", help="Fit a gated MLP too, and make an approximate ReLU head of it on small data")
    ] = False,
    tol: TolOption = 1e-3,
    seed: SeedOption = 0,
    batch_size: BatchOption = 64,
    strict: StrictOption = False,
    json: JsonOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Images, texts or tokens with labels in; a certified head, a dissected backbone and a report out."""
    from ...report import relu_sentence
    from ...study import study

    words = ["headwise", *sys.argv[1:]] if len(sys.argv) > 1 else ["headwise", "study"]
    with progress_bars() as progress:
        result = study(
            data,
            backbone,
            out_dir,
            device=device,
            layer=layer,
            columns=text_columns(text_column, label_column),
            max_tokens=max_tokens,
            seed=seed,
            tol=tol,
            betas=betas,
            n_components=n_components,
            relu=relu,
            batch_size=batch_size,
            strict=strict,
            overwrite=overwrite,
            progress=progress,
            announce=say,
            command=shlex.join(words),
        )
    if json:
        print_json(result.data)
        return
    out.print(_table(result.data))
    out.print(f"* the head to use, saved in {result.path / 'head'}\n", markup=False, soft_wrap=True)
    for warning in result.data["warnings"]:
        paragraph(err, f"note: {warning}")
    if made := result.data.get("relu"):
        paragraph(out, relu_sentence(made))
    paragraph(out, result.answer, style="bold")
    out.print(f"report: {result.report}", markup=False, soft_wrap=True)


def _table(data: dict) -> object:  # type: ignore[type-arg]
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("head")
    for name in ("val acc", "test acc", "test log-loss", "gap", "rank", "seconds"):
        table.add_column(name, justify="right")
    for row in data["heads"]:
        test, gap, rank = row["scores"]["test"], row["relative_gap"], row["rank"]
        table.add_row(
            row["name"] + (" *" if row["chosen"] else ""),
            f"{100 * row['scores']['val']['accuracy']:.1f} %",
            f"{100 * test['accuracy']:.1f} %",
            f"{test['log_loss']:.3f}",
            "–" if gap is None else f"{gap:.0e}",
            "–" if rank is None else str(rank),
            f"{row['seconds']:.1f}",
            style="bold" if row["chosen"] else None,
        )
    return table
