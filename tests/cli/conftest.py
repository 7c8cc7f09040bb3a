"""The command line as a user calls it."""

from __future__ import annotations

import pytest

from headwise.cli import main
from headwise.cli.console import err, out


@pytest.fixture
def call(capsys, monkeypatch):
    """Run the command line; returns (exit code, standard output, standard error)."""
    monkeypatch.setenv("COLUMNS", "200")
    for console in (out, err):  # a console keeps the width that it was made with, by whichever test came first
        monkeypatch.setattr(console, "width", 200)

    def run(*args: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in args])
        printed = capsys.readouterr()
        code = stop.value.code
        return (0 if code is None else int(code)), printed.out, " ".join(printed.err.split())

    return run
