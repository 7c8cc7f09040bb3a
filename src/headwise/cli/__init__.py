"""The command line: one command a file in ``commands``; each parses, calls and prints."""

from __future__ import annotations

import errno
import sys

__all__ = ["main"]


def main(args: list[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 1 a claim does not hold, 2 bad input, 130 stopped by the user."""
    from rich.markup import escape

    from ..errors import ClaimError, HeadwiseError
    from .app import build
    from .console import err

    try:
        build()(args=args, standalone_mode=True)
    except SystemExit as stop:
        if stop.code == 130:  # typer turns Ctrl-C into this exit, without a word
            err.print("stopped; what is done is kept, and the same command goes on from there")
        raise
    except ClaimError as error:
        err.print(f"[bold red]claim:[/] {escape(str(error))}", highlight=False)
        sys.exit(1)
    except HeadwiseError as error:
        err.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("stopped; what is done is kept, and the same command goes on from there")
        sys.exit(130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        err.print(f"[bold red]error:[/] {escape(str(error))}; make room or choose another folder", highlight=False)
        sys.exit(2)
