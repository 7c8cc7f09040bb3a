"""``headwise theory``: a closed form of learning theory as a figure and numbers, beside its simulation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from ..console import out, print_json, say
from ..options import JsonOption, OverwriteOption

if TYPE_CHECKING:
    from ...theory import Curves


def command(
    name: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Argument(metavar="NAME", help="A theory; without one, all are listed"),
    ] = None,
    given: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", metavar="FIELD=VALUE", help="A field of the theory; several times for several fields"),
    ] = None,
    fields: Annotated[bool, typer.Option("--fields", help="List the fields of NAME and their defaults")] = False,
    seeds: Annotated[int, typer.Option("--seeds", min=0, help="Draws to simulate beside the prediction")] = 0,
    out_dir: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", metavar="DIR", help="Folder for both; headwise-theory-NAME where it is not given"),
    ] = None,
    form: Annotated[Literal["png", "svg"], typer.Option("--format", help="Of the figure")] = "png",
    json: JsonOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write what a theory predicts, and with --seeds what simulations show: a figure, and the numbers as JSON.

    For example: `headwise theory deep_linear --set strengths=5,3 --set depth=3 --seeds 5`
    """
    from dataclasses import asdict

    from ...errors import InputError
    from ...files import claim_folder, write_json
    from ...study.facts import versions
    from ...theory import THEORIES
    from ..fields import list_fields, parse_fields

    if name is None:
        if given or fields or seeds or out_dir:
            raise InputError(f"say which theory; they are {', '.join(THEORIES.names())}")
        _list({each: THEORIES.get(each).about for each in THEORIES.names()}, json)
        return
    theory = THEORIES.get(name)
    if fields:
        takes = list_fields(theory.config)
        _list({field: f"{default} ({kind})" for field, (kind, default) in takes.items()}, json)
        return
    config = theory.config(**parse_fields(name, theory.config, given or []))
    predicted = theory.predict(config)  # what is refused leaves no folder behind
    folder = out_dir or Path(f"headwise-theory-{name}")
    if not claim_folder(folder, "theory", {"theory": name, **asdict(config), "seeds": seeds}, overwrite):
        for old in ("numbers.json", "figure.png", "figure.svg"):  # of other settings
            (folder / old).unlink(missing_ok=True)
    if seeds:
        say(f"simulating {seeds} draws ...")
    simulated = theory.simulate(config, range(seeds)) if seeds else None
    facts = {
        "theory": name,
        "about": theory.about,
        "config": asdict(config),
        "seeds": list(range(seeds)),
        "versions": versions(),
        "predicted": predicted.to_dict(),
        "simulated": simulated and simulated.to_dict(),
    }
    figure, numbers = folder / f"figure.{form}", folder / "numbers.json"
    write_json(numbers, facts)
    _draw(predicted, simulated, figure, form)
    if json:
        print_json({"figure": str(figure), "numbers": str(numbers), **facts})
        return
    for mark, at in predicted.marks.items():
        out.print(f"{mark}: {at:.4g} {predicted.unit}".rstrip(), markup=False)
    out.print(f"figure: {figure}", markup=False, soft_wrap=True)
    out.print(f"numbers: {numbers}", markup=False, soft_wrap=True)


def _list(lines: dict[str, str], json: bool) -> None:
    if json:
        print_json(lines)
        return
    width = max(map(len, lines))
    for name, line in lines.items():
        out.print(f"{name:<{width}}  {line}", markup=False, soft_wrap=True)


def _draw(predicted: Curves, simulated: Curves | None, path: Path, form: str) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from ...files import replacing

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes: Any = predicted.plot(figure.subplots())
    if simulated is not None:
        simulated.plot(axes, over=predicted)
    with rc_context({"svg.hashsalt": "headwise"}), replacing(path) as part:
        figure.savefig(part, format=form, dpi=200, metadata={"Date": None} if form == "svg" else None)
