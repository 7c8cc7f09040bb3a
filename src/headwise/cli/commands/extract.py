"""``headwise extract``: images or texts through a backbone, or arrays of tokens, into a token store."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ...errors import InputError
from ..console import out, paragraph, print_json, progress_bars, say
from ..options import (
    BackboneOption,
    BatchOption,
    DeviceOption,
    JsonOption,
    LabelColumnOption,
    MaxTokensOption,
    OverwriteOption,
    StrictOption,
    TextColumnOption,
    one_of,
    text_columns,
)

if TYPE_CHECKING:
    from ...tokens import ArrayData

FORMATS = ("float16", "bfloat16", "float32", "float64")

ARRAYS, TEXTS, IMAGES = "tokens", "texts", "images"

OF_A_BACKBONE = {
    "backbone": "--backbone makes tokens of images or texts",
    "layer": "--layer is a layer of a backbone",
    "at": "--at is a place in a backbone",
}
OF_VIEWS = {
    "views": "views are made of images",
    "view_seed": "--view-seed is for views of images",
    "crop_scale": "--crop-scale is for views of images",
    "crop_ratio": "--crop-ratio is for views of images",
    "flip": "--flip and --no-flip are for views of images",
}
OF_TEXTS = {"max_tokens": "--max-tokens is for texts"}
OF_ARRAYS = {
    "num_prefix": "--num-prefix is for arrays: a backbone knows its prefix tokens",
    "grid": "--grid is for arrays: a backbone knows its grid",
}

FOREIGN = {
    ARRAYS: OF_A_BACKBONE | OF_VIEWS | OF_TEXTS,
    TEXTS: OF_VIEWS | OF_ARRAYS,
    IMAGES: OF_TEXTS | OF_ARRAYS,
}
"""Options that mean nothing for some data, and why."""


def _dtype(value: str | None) -> str | None:
    return value if value is None else one_of("dtype", *FORMATS)(value)


def _grid(value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    rows, _, columns = value.lower().partition("x")
    if not (rows.isdecimal() and columns.isdecimal()):
        raise InputError(f"--grid is {value!r}; rows and columns are needed, such as 8x8")
    return int(rows), int(columns)


def _as_told(samples: ArrayData, data: str, num_prefix: int | None, grid: tuple[int, int] | None) -> ArrayData:
    """The arrays with the layout of the options; refused where their file says another."""
    if num_prefix is not None and samples.num_prefix not in (0, num_prefix):
        raise InputError(
            f"--num-prefix is {num_prefix}, and {data} says num_prefix {samples.num_prefix}; leave one out"
        )
    if grid is not None and samples.grid not in (None, grid):
        raise InputError(f"--grid is {grid}, and {data} says grid {samples.grid}; leave one out")
    num_prefix = samples.num_prefix if num_prefix is None else num_prefix
    return dataclasses.replace(samples, num_prefix=num_prefix, grid=samples.grid if grid is None else grid)


def command(
    ctx: typer.Context,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="digits, an image folder, a table of images or texts, or arrays")
    ],
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store")],
    backbone: BackboneOption = "embedded",
    layer: Annotated[int, typer.Option("--layer", help="Layer of the backbone, negative from the end")] = -1,
    at: Annotated[
        str,
        typer.Option(
            "--at",
            help="Where in the layer: output or block_input",
            callback=one_of("place in a layer", "output", "block_input"),
        ),
    ] = "output",
    dtype: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Option(
            "--dtype",
            help=f"Number format on disk: {', '.join(FORMATS)}; by default float16 for images and texts, that of the "
            "arrays for arrays",
            callback=_dtype,
        ),
    ] = None,
    views: Annotated[
        int, typer.Option("--views", help="Views of each image: itself, and random crops and flips of it")
    ] = 1,
    view_seed: Annotated[int, typer.Option("--view-seed", help="Decides crops and flips", min=0)] = 0,
    crop_scale: Annotated[
        tuple[float, float], typer.Option("--crop-scale", metavar="MIN MAX", help="Area of the crops, as a share")
    ] = (0.4, 1.0),
    crop_ratio: Annotated[
        tuple[float, float], typer.Option("--crop-ratio", metavar="MIN MAX", help="Width over height of the crops")
    ] = (3 / 4, 4 / 3),
    flip: Annotated[bool, typer.Option(help="Flip every other view left to right")] = True,
    num_prefix: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--num-prefix", min=0, help="Arrays: class and register tokens, first in each sample"),
    ] = None,
    grid: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--grid", metavar="ROWSxCOLUMNS", help="Arrays: how the patch tokens lie, such as 8x8"),
    ] = None,
    max_tokens: MaxTokensOption = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    device: DeviceOption = "auto",
    batch_size: BatchOption = 64,
    seed: Annotated[int, typer.Option("--seed", help="Decides splits")] = 0,
    strict: StrictOption = False,
    json: JsonOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write the tokens of images or texts, or tokens that are arrays already, to a store; a stopped run goes on."""
    from ...backbones import load_backbone
    from ...devices import choose_device
    from ...study.data import store_arrays
    from ...tokens import ArrayData, Augmentation, TextSamples, TokenStore, extract, open_data
    from ...tokens.splits import FRACTIONS

    samples = open_data(data, text_columns(text_column, label_column))
    if isinstance(samples, TokenStore):
        raise InputError(f"{data} is a token store already; give it to 'headwise fit' or 'headwise study' as it is")
    texts = isinstance(samples, TextSamples)
    kind = ARRAYS if isinstance(samples, ArrayData) else TEXTS if texts else IMAGES
    for name, why in FOREIGN[kind].items():
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise InputError(f"{data} holds {kind}, and {why}; leave it out")
    if isinstance(samples, ArrayData):
        samples = _as_told(samples, data, num_prefix, _grid(grid))
        with progress_bars() as progress:
            made = store_arrays(samples, store, seed=seed, overwrite=overwrite, progress=progress, dtype=dtype)
    else:
        model = load_backbone(backbone, choose_device(device))
        with progress_bars() as progress:
            made = extract(
                model,
                samples,
                store,
                layer=layer,
                at=at,
                dtype=dtype or "float16",
                views=views,
                view_seed=view_seed,
                augmentation=None if texts else Augmentation(crop_scale, crop_ratio, flip),
                max_tokens=max_tokens,
                device=choose_device(device),
                batch_size=batch_size,
                fractions=FRACTIONS,
                seed=seed,
                strict=strict,
                overwrite=overwrite,
                progress=progress,
                announce=say,
            )
    if json:
        print_json(
            {
                "store": str(store),
                "shape": list(made.manifest.shape),
                "num_prefix": made.num_prefix,
                "grid": made.grid,
                "skipped": [list(s) for s in made.skipped],
            }
        )
    else:
        of = f" x {made.num_views} views" if made.num_views > 1 else ""
        out.print(
            f"{made.num_samples} samples{of} x {made.num_tokens} tokens x {made.width} features in {store}",
            markup=False,
            soft_wrap=True,
        )
        if made.num_tokens > 1:
            patches = made.num_tokens - made.num_prefix
            what = "text" if texts else "patch"
            lie = f" on a grid of {made.grid[0]} x {made.grid[1]}" if made.grid else ""
            silent = kind == ARRAYS and num_prefix is None and not made.num_prefix
            more = "; where the first are class or register tokens, say so with --num-prefix" if silent else ""
            paragraph(out, f"of each sample {made.num_prefix} prefix and {patches} {what} tokens{lie}{more}")
