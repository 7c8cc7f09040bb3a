"""``headwise verify``: check a stored certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import out, print_json
from ..options import JsonOption


def command(
    head: Annotated[Path, typer.Argument(metavar="HEAD", help="Folder of a saved head")],
    tokens: Annotated[
        Path,
        typer.Option("--tokens", metavar="TOKENS", help="The token store, or the file of arrays, it was fitted on"),
    ],
    json: JsonOption = False,
) -> None:
    """Recompute a head's certificate from its weights and the tokens alone; exit 1 if the claim does not hold."""
    from ...errors import ClaimError
    from ...heads import verify

    found = verify(head, tokens)
    if json:
        print_json(
            {
                "holds": found.holds,
                "reasons": list(found.reasons),
                "claimed": found.claimed.to_dict(),
                "found": found.found.to_dict() if found.found else None,
            }
        )
        if not found.holds:
            raise typer.Exit(1)
        return
    numbers = f"claimed: {found.claimed}" + (f"\nfound:   {found.found}" if found.found else "")
    if not found.holds:
        raise ClaimError(f"the certificate does not hold: {'; '.join(found.reasons)}\n{numbers}")
    out.print(numbers, markup=False)
    out.print("the claim holds")
