"""Tasks, one a file: a problem, who solves it, and the bars. ``TASKS`` maps names to their functions."""

from collections.abc import Callable

from ..context import Context
from ..report import Report
from . import attention, classes, conic, gated_mlp, linear, path, peers, samples

__all__ = ["TASKS"]

TASKS: dict[str, Callable[[Context], Report]] = {
    "attention": attention.run,
    "peers": peers.run,
    "classes": classes.run,
    "samples": samples.run,
    "path": path.run,
    "gated_mlp": gated_mlp.run,
    "linear": linear.run,
    "conic": conic.run,
}
