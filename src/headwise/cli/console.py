"""Consoles and progress bars. Results go to standard output, everything else to standard error."""

from __future__ import annotations

import json
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from .. import processes
from ..contracts import Progress as Told

__all__ = ["clean_warnings", "err", "out", "paragraph", "print_json", "progress_bars", "say"]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line on standard error; names of files in it are printed as they are."""
    err.print(text, markup=False, soft_wrap=True)


def paragraph(console: Console, text: str, style: str | None = None) -> None:
    """Sentences on lines as wide as the console. Rich would also break at no-break spaces, between number and unit."""
    console.print(textwrap.fill(text, console.width), style=style, markup=False, soft_wrap=True)


def print_json(data: Any) -> None:
    """JSON on standard output, nothing else on the line."""
    print(json.dumps(data, indent=2, ensure_ascii=False))


@contextmanager
def clean_warnings() -> Iterator[None]:
    """Warnings as sentences for people, without a place in the source, by the first process of a job alone."""

    def told(message: Warning | str, *_: Any, **__: Any) -> None:
        if processes.speaks():
            say(f"warning: {' '.join(str(message).split())}")

    with warnings.catch_warnings():
        warnings.showwarning = told
        yield


@contextmanager
def progress_bars(quiet: bool = False) -> Iterator[Told]:
    """A callback that draws one bar for each step, on standard error; plain lines where that is no terminal."""
    if quiet:
        yield lambda step, done, total: None
        return
    if not err.is_terminal:
        last: dict[str, bool] = {}

        def line(step: str, done: int, total: int) -> None:
            if step not in last:
                err.print(f"{step} ...")
                last[step] = True

        yield line
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as bars:
        tasks: dict[str, TaskID] = {}

        def bar(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)

        yield bar
