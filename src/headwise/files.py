"""Files written whole or not at all, hashes, and folders that know who made them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from .errors import InputError

__all__ = [
    "DISK_FULL",
    "MARKER",
    "claim_folder",
    "hash_file",
    "hash_tensors",
    "read_json",
    "replacing",
    "write_json",
    "write_tensors",
    "writing",
]

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
MARKER = ".headwise.json"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without an error."""
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.chmod(0o666 & ~_umask())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    """Write JSON atomically; NaN and infinities are refused."""
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read JSON, with the path in the error where it is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid JSON: {error}; was it cut short? Make it again") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write safetensors atomically."""
    data = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, dict(metadata or {}))
    with replacing(path) as part:
        part.write_bytes(data)


def hash_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and values, in the order of the names."""
    return hash_chunks({name: (value.dtype, tuple(value.shape), [value]) for name, value in tensors.items()})


def hash_chunks(tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...], Iterable[Tensor]]]) -> str:
    """`hash_tensors` of tensors that come in chunks: dtype and shape of each, and its values in order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        dtype, shape, chunks = tensors[name]
        digest.update(f"{name}|{dtype}|{shape}|".encode())
        for chunk in chunks:
            digest.update(chunk.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def claim_folder(
    path: str | os.PathLike[str],
    kind: str,
    config: Mapping[str, Any],
    overwrite: bool = False,
    told: Mapping[str, str] | None = None,
) -> bool:
    """Make ``path`` a folder of ours, or check that it already is.

    Parameters
    ----------
    path : path
        Folder to write in.
    kind : str
        What will be in it ("study", "store", "head").
    config : mapping
        What was asked for, JSON. The same configuration resumes in an existing folder.
    overwrite : bool
        Accept an existing headwise folder made with another configuration. One in which nothing was finished (a run
        that was refused or stopped early) is always accepted.
    told : mapping, optional
        What differs, in words, for settings whose values would tell people nothing.

    Returns
    -------
    resumed : bool
        True where the folder was made before with the same configuration.

    Raises
    ------
    InputError
        The folder holds files that headwise did not make, was made with another configuration, or cannot be written.
    """
    path = Path(path)
    marker = path / MARKER
    wanted = json.loads(json.dumps({"kind": kind, "config": config}))
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        if marker.exists():
            found = read_json(marker)
            if found == wanted:
                return True
            if _holds_work(path) and (not overwrite or found.get("kind") != kind):
                raise InputError(
                    f"{path} holds {_difference(found, wanted, told or {})}; give another folder, "
                    "or say to overwrite it (overwrite=True, or --overwrite on the command line)"
                )
        elif any(not _left_over(entry) for entry in path.iterdir()):
            raise InputError(f"{path} holds files that headwise did not make; give an empty or a new folder")
        write_json(marker, wanted)
    return False


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns the system's refusal of a folder into an error that names it; a full disk stays what it is."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise InputError(f"cannot write in {path}: {error.strerror or error}; give another folder") from None


def _holds_work(path: Path) -> bool:
    """Whether anything but markers lies in a folder of ours."""
    return any(entry.is_file() and entry.name != MARKER and not _left_over(entry) for entry in path.rglob("*"))


def _left_over(entry: Path) -> bool:
    """What a kill during the first write of the marker leaves behind."""
    return entry.name.startswith(f".{MARKER}.") and entry.name.endswith(".part")


_WORDS = {"n_components": "components", "num_gates": "number of gates", "gate_seed": "seed of the gates"}
"""Settings whose names in a marker are not words for people."""


def _told(config: Mapping[str, Any], name: str) -> str:
    return repr(config[name]) if name in config else "none"


def _difference(found: Any, wanted: Any, told: Mapping[str, str]) -> str:
    if found.get("kind") != wanted["kind"]:
        return f"a headwise {found.get('kind', 'folder')}, not a {wanted['kind']}"
    before, now = found.get("config", {}), wanted["config"]
    changed = [k for k in sorted(set(before) | set(now)) if before.get(k) != now.get(k)]
    said = [
        f"{_WORDS.get(k, k)}: {told[k] if k in told else f'{_told(before, k)} there, {_told(now, k)} asked'}"
        for k in changed
    ]
    return f"a {wanted['kind']} made with other settings ({', '.join(said)})"
