"""One process, or several that share the samples of one job and add up their sums."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from .errors import InputError, JobError, LostProcessError

__all__ = ["ALONE", "Processes", "current", "joined", "launched", "speaks"]

PATIENCE = timedelta(minutes=30)  # the first process prepares gates and files while the others wait


@dataclass(frozen=True)
class Processes:
    """This process among those of a job.

    Every process holds the variables and all outputs; each passes over its own run of the samples. What is summed or
    copied between them comes back bit for bit equal in all, so that all take the same decisions.

    Examples
    --------
    >>> Processes(rank=1, size=3).run(10)
    slice(4, 7, None)
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """True in the process that writes files and speaks."""
        return self.rank == 0

    def run(self, count: int) -> slice:
        """This process's samples of ``count``: one run, as even as can be, the longer ones first."""
        each, more = divmod(count, self.size)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def add(self, *tensors: Tensor) -> None:
        """Replace each tensor by its sum over all processes, in place."""
        if self.size > 1:
            for dtype in dict.fromkeys(x.dtype for x in tensors):
                own = [x for x in tensors if x.dtype == dtype]
                flat = torch.cat([x.flatten() for x in own])  # one message costs less than many
                with _answered():
                    dist.all_reduce(flat)
                _unpack(flat, own)

    def agree(self, *tensors: Tensor) -> None:
        """Replace each tensor by that of the first process, in place."""
        if self.size > 1:
            for x in (x for x in tensors if x.numel()):
                kept = x.contiguous()
                with _answered():
                    dist.broadcast(kept, 0)
                x.copy_(kept)

    def first_does(self, work: Callable[[], object]) -> None:
        """Let the first process do something while the others wait; where it is refused, all are.

        Raises
        ------
        InputError
            What ``work`` raised, in the first process; in the others, that there was something.
        """
        refused: InputError | None = None
        if self.first:
            try:
                work()
            except InputError as error:
                refused = error
        told = torch.tensor(float(refused is not None))
        self.agree(told)
        if refused is not None:
            raise refused
        if told:
            raise JobError("the first process of the job was refused; its message says why")

    def check_share(self, count: int) -> None:
        """Refuse fewer samples than processes.

        Raises
        ------
        JobError
        """
        if count < self.size:
            raise JobError(f"{self.size} processes share {count} samples; start at most {count} of them")


ALONE = Processes()

_current: ContextVar[Processes] = ContextVar("processes", default=ALONE)


def current() -> Processes:
    """The processes that share the work now; one alone unless `joined` was entered."""
    return _current.get()


def launched() -> bool:
    """Whether ``torchrun`` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_ADDR" in os.environ


def speaks(error: BaseException | None = None) -> bool:
    """Whether this process tells people of something: of what all processes of a job share, the first one does.

    An error of one process alone is told by that one, since nobody else knows of it.
    """
    shared = error is None or isinstance(error, JobError)
    return not (shared and launched()) or os.environ.get("RANK", "0") == "0"


@contextmanager
def joined(device: str = "cpu") -> Iterator[Processes]:
    """Share the fits inside among the processes that ``torchrun`` started; nothing changes where there is one.

    Parameters
    ----------
    device : str
        Where the fits compute: sums on processors are added up by gloo, those on "cuda" by nccl, where every process
        takes the CUDA device of its number on the machine.

    Raises
    ------
    InputError
        A process group is there already, made by somebody else; or there is no CUDA device for this process.

    Examples
    --------
    >>> with joined() as processes:
    ...     processes.size
    1
    """
    if not launched():
        yield ALONE
        return
    if dist.is_initialized():
        raise InputError("torch.distributed is in use in this process already; start headwise in processes of its own")
    if device.startswith("cuda"):
        _take_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    token = _current.set(Processes(dist.get_rank(), dist.get_world_size()))
    try:
        yield _current.get()
    finally:
        _current.reset(token)
        dist.destroy_process_group()


def _take_device(device: str) -> None:
    """Make "cuda" mean a device of this process's own."""
    number, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if device != "cuda":
        raise InputError(f"device {device!r} is one device, and every process needs its own; give 'cuda'")
    if number >= there:
        raise InputError(
            f"{number + 1} or more processes share this machine, which has {there} CUDA devices; start at most one "
            "process a device (torchrun --nproc-per-node)"
        )
    torch.cuda.set_device(number)


@contextmanager
def _answered() -> Iterator[None]:
    """Turns the end of another process into an error that says so."""
    try:
        yield
    except RuntimeError as error:  # all that gloo and nccl raise
        told = re.sub(r"^\[[^\]]*\] *", "", str(error).splitlines()[0]).split(". ")[0]  # without a place in its source
        raise LostProcessError(
            f"another process of the job ended or does not answer ({told}); what was finished is "
            "kept: start the same job again"
        ) from None


def _unpack(flat: Tensor, into: Sequence[Tensor]) -> None:
    at = 0
    for x in into:
        x.copy_(flat[at : at + x.numel()].view_as(x))
        at += x.numel()
