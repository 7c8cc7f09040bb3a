"""``headwise forecast``: how a probe on a token store will learn, before it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ..console import out, paragraph, print_json
from ..options import JsonOption, OverwriteOption, SeedOption

NUMBERS, FIGURE = "forecast.json", "forecast.png"


def command(
    tokens: Annotated[Path, typer.Option("--tokens", metavar="STORE", help="Token store")],
    auxiliary: Annotated[
        Optional[list[Path]],  # noqa: UP045 - typer reads it at run time
        typer.Option(
            "--auxiliary", metavar="STORE", help="A store whose labels may help, of the same backbone; may be repeated"
        ),
    ] = None,
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="DIR", help=f"Folder for {NUMBERS} and {FIGURE}"),
    ] = None,
    n_components: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--components", help="Directions kept; without it all, at most half as many as samples"),
    ] = None,
    start: Annotated[float, typer.Option("--start", help="Strength of the probe's modes at time zero")] = 1e-3,
    train: Annotated[bool, typer.Option(help="Train the probes too, and show them beside the forecast")] = True,
    seed: SeedOption = 0,
    json: JsonOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Forecast a linear probe's learning curve, when to stop, what more data or other labels would bring.

    The forecast is made from the training samples; the validation samples measure the probe itself beside it.
    """
    from ...files import claim_folder, replacing, write_json
    from ...forecast import forecast
    from ...tokens import TokenStore

    stores = [TokenStore.open(path) for path in (tokens, *(auxiliary or ()))]
    if folder is not None:
        settings = {
            "stores": [store.fingerprint[:12] for store in stores],
            "n_components": n_components,
            "start": start,
            "train": train,
            "seed": seed,
        }
        claim_folder(folder, "forecast", settings, overwrite)  # before the work, not after it
    found = forecast(stores[0], auxiliary=stores[1:], start=start, n_components=n_components, train=train, seed=seed)
    if folder is not None:
        write_json(folder / NUMBERS, found.to_dict())
        with replacing(folder / FIGURE) as part:
            found.plot().savefig(part, format="png", dpi=150)
    if json:
        print_json(found.to_dict())
        return
    for line in found.lines():
        paragraph(out, line)
    if folder is not None:
        out.print(f"forecast: {folder}", markup=False, soft_wrap=True)
