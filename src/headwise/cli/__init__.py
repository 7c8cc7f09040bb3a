"""The command line: one command a file in ``commands``; each parses, calls and prints."""

from __future__ import annotations

import errno
import os
import sys
import time

__all__ = ["main"]

STOPPED = {
    "dissect": "; with --out what is written there is kept: the same command goes on from it",
    "extract": "; finished shards are kept: the same command goes on from them",
    "fit": "; solutions of the beta path that were finished are kept: the same command goes on from them",
    "study": "; finished shards of tokens and finished solutions of the beta paths are kept: the same command goes on "
    "from them",
}
"""What a command that was stopped leaves behind."""


REFUSED = (
    errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM, errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR
)  # fmt: skip
"""The system's refusals that only the user can do something about."""


PAUSE = 2.0
"""Seconds that a process waits before it leaves without a word: torchrun ends all as soon as one is gone, and the first
has to say why."""


def main(args: list[str] | None = None) -> None:
    """Run the command line.

    Exit codes: 0 done, 1 a claim does not hold, 2 bad input, 70 an error inside headwise, 75 another process of the job
    ended, 130 stopped by the user.
    """
    from rich.markup import escape

    from ..errors import ClaimError, HeadwiseError, LostProcessError
    from ..processes import speaks
    from .app import build
    from .console import clean_warnings, err

    words = sys.argv[1:] if args is None else args
    stopped = "stopped" + next((STOPPED[word] for word in words if word in STOPPED), "")
    try:
        with clean_warnings():
            build()(args=args, standalone_mode=True)
    except SystemExit as stop:
        if stop.code == 130:  # typer turns Ctrl-C into this exit, without a word
            err.print(stopped, soft_wrap=True)
        raise
    except ClaimError as error:
        err.print(f"[bold red]claim:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
    except LostProcessError as error:
        err.print(f"[bold red]stopped:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(75)
    except HeadwiseError as error:
        if speaks(error):
            err.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        else:
            time.sleep(PAUSE)
        sys.exit(2)
    except KeyboardInterrupt:
        err.print(stopped, soft_wrap=True)
        sys.exit(130)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in REFUSED:
            err.print(f"[bold red]error:[/] {escape(str(error))}; make room or choose another folder", soft_wrap=True)
            sys.exit(2)
        if os.environ.get("HEADWISE_TRACEBACK"):
            raise
        said = " ".join(str(error).split()) or "no message"
        err.print(
            f"[bold red]error:[/] {type(error).__name__}: {escape(said)}. This is a fault of headwise: please "
            "report it with the output of the same command under HEADWISE_TRACEBACK=1",
            soft_wrap=True,
        )
        sys.exit(70)
