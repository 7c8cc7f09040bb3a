"""The application: every module of ``commands`` is one command."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Annotated, Any

import typer

from ..errors import unknown_name
from ..version import __version__
from . import commands

__all__ = ["build"]

ORDER = (
    "study",
    "extract",
    "fit",
    "relu",
    "predict",
    "explain",
    "dissect",
    "forecast",
    "verify",
    "theory",
    "info",
    "doctor",
)


class _Commands(typer.core.TyperGroup):
    """Unknown commands are answered with the closest names."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if found is None:
            raise unknown_name("command", cmd_name, self.commands)
        return found


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"headwise {__version__}")
        raise typer.Exit


def build() -> typer.Typer:
    """The typer application with all commands, the main ones first."""
    app = typer.Typer(
        name="headwise",
        cls=_Commands,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        help="Certified heads on frozen transformers, and what every attention head of the backbone does.",
        epilog="Exit codes: 0 done, 1 a claim does not hold, 2 bad input, 70 an error inside headwise, "
        "75 a process of the job ended, 130 stopped.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
        ] = False,
    ) -> None:
        pass

    names = [module.name for module in pkgutil.iter_modules(commands.__path__)]
    for name in sorted(names, key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n)):
        app.command(name.replace("_", "-"))(importlib.import_module(f"{commands.__name__}.{name}").command)
    return app
