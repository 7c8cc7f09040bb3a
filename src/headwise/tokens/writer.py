"""Writing a token store shard by shard, so that a stop at any moment loses one shard at most."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import InputError
from ..files import (
    DISK_FULL,
    MARKER,
    claim_folder,
    hash_file,
    read_json,
    replacing,
    write_json,
    write_tensors,
    writing,
)
from .manifest import DTYPES, Manifest, Shard, shard_name
from .table import differing

__all__ = ["IDS_FILE", "MANIFEST_FILE", "NO_SPLIT", "SAMPLES_FILE", "StoreWriter"]

MANIFEST_FILE = "manifest.json"
SAMPLES_FILE = "samples.safetensors"
IDS_FILE = "ids.json"
NO_SPLIT = 255
"""Split code of a sample that belongs to no split."""

_OURS = rf"(?:{re.escape(MARKER)}|manifest\.json|ids\.json|samples\.safetensors|shard-\d{{5,}}\.safetensors)"
_PART = re.compile(rf"\.{_OURS}\.\w+\.part")


class StoreWriter:
    """Writes the shards of one store, skipping those that are already there.

    Parameters
    ----------
    path : path
        Folder of the store.
    manifest : Manifest
        What the store will be; counts and hashes are filled in as shards are finished.
    config : mapping
        What decides the tokens. The same configuration resumes, another is refused unless ``overwrite``.
    overwrite : bool
        Clear a store made with another configuration.
    """

    def __init__(
        self, path: str | Path, manifest: Manifest, config: Mapping[str, Any], overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        self.manifest = manifest
        self._shards: dict[int, Shard] = {}
        self._skipped: dict[int, list[tuple[int, str]]] = {}
        self._finished = False
        asked = config.get("source", {})
        # what `hash` sums up decides; columns are there to say what differs, and older stores have none
        config = {**config, **({"source": {k: v for k, v in asked.items() if k != "columns"}} if asked else {})}
        with self.disk(), writing(self.path):
            self._sweep()
            if overwrite and self._other(config):
                self.clear()
            told = {"source": differing(there, asked)} if (there := self._source()) else {}
            self.resumed = claim_folder(self.path, "store", config, overwrite, told)

    def _other(self, config: Mapping[str, Any]) -> bool:
        marker = self.path / MARKER
        if not marker.exists():
            return False
        found = read_json(marker)
        if found.get("kind") != "store":
            # Overwriting is for stores; a head or a study is never turned into one.
            raise InputError(f"{self.path} holds a headwise {found.get('kind')}, not a store; give another folder")
        return found.get("config") != json.loads(json.dumps(config))

    def _source(self) -> Mapping[str, Any]:
        """What the store that is there says of its source; empty where it has no manifest yet."""
        file = self.path / MANIFEST_FILE
        manifest = read_json(file) if file.is_file() else None
        source = manifest.get("source") if isinstance(manifest, dict) else None
        return source if isinstance(source, dict) else {}

    def _sweep(self) -> None:
        """Remove what a killed run left half-written."""
        if self.path.is_dir():
            for part in self.path.glob(".*.part"):
                if _PART.fullmatch(part.name):
                    part.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove manifest, shards and sample files; the manifest goes first, so that no reader sees half a store."""
        for name in [MANIFEST_FILE, SAMPLES_FILE, IDS_FILE]:
            (self.path / name).unlink(missing_ok=True)
        for shard in self.path.glob("shard-*.safetensors"):
            if re.fullmatch(_OURS, shard.name):
                shard.unlink(missing_ok=True)
        self._shards.clear()
        self._skipped.clear()
        self._finished = False

    @contextmanager
    def disk(self) -> Iterator[None]:
        """Turn a full disk into an error that says how to go on."""
        try:
            yield
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            raise InputError(
                f"the disk of {self.path} is full; {self.finished} of {self.manifest.num_shards} shards are "
                "finished and kept. Make room and run the same command again: it goes on from there"
            ) from error

    def resume(self) -> None:
        """Take over the finished shards of an earlier run; broken ones will be written again."""
        before = None
        if (self.path / MANIFEST_FILE).exists():
            where = str(self.path / MANIFEST_FILE)
            before = Manifest.from_json(read_json(where), where)
        listed = {shard.name: shard.sha256 for shard in before.shards} if before is not None else {}
        for k in range(self.manifest.num_shards):
            file = self.path / shard_name(k)
            if not file.is_file():
                continue
            digest = hash_file(file)
            # A run may die after a shard was put in place and before the manifest lists it: such a shard is whole.
            if listed.get(file.name, digest) == digest and (found := self._inspect(file, k)) is not None:
                samples, skipped = found
                self._shards[k] = Shard(file.name, samples, digest)
                self._skipped[k] = skipped
        if before is not None and before.complete and not self.pending:
            files = {name: self.path / name for name in (SAMPLES_FILE, IDS_FILE)}
            self._finished = all(
                file.is_file() and before.samples.get(name) == hash_file(file) for name, file in files.items()
            )

    def _inspect(self, file: Path, index: int) -> tuple[int, list[tuple[int, str]]] | None:
        """Samples and skipped inputs of a shard, None where it is not what this store needs."""
        try:
            with safe_open(file, framework="pt") as shard:
                metadata = shard.metadata() or {}
                tokens = shard.get_slice("tokens")
                shape, dtype = tuple(tokens.get_shape()), tokens[:0].dtype
                has_mask = "mask" in shard.keys()  # noqa: SIM118 - a safetensors handle is no mapping
            skipped = [(int(position), str(reason)) for position, reason in json.loads(metadata.get("skipped", "[]"))]
        except (SafetensorError, OSError, ValueError, TypeError):
            return None
        inputs = len(self.inputs(index))
        wanted = (inputs - len(skipped), *self.manifest.shape[1:])
        fits = shape == wanted and dtype == DTYPES[self.manifest.dtype] and has_mask == self.manifest.has_mask
        return (shape[0], skipped) if fits else None

    def inputs(self, index: int) -> range:
        """Positions of the inputs that shard ``index`` covers."""
        start = index * self.manifest.shard_size
        return range(start, min(start + self.manifest.shard_size, self.manifest.num_inputs))

    @property
    def pending(self) -> list[int]:
        """Shards that are still to be written."""
        return [k for k in range(self.manifest.num_shards) if k not in self._shards]

    @property
    def finished(self) -> int:
        """How many shards are on disk."""
        return len(self._shards)

    @property
    def skipped(self) -> list[tuple[int, str]]:
        """Position and reason of each input that could not be read so far."""
        return [entry for k in sorted(self._skipped) for entry in self._skipped[k]]

    def write(
        self,
        index: int,
        tokens: Tensor,
        mask: Tensor | None = None,
        skipped: Sequence[tuple[int, str]] = (),
        compare: bool = False,
    ) -> None:
        """Write shard ``index`` and list it in the manifest.

        Parameters
        ----------
        index : int
            Number of the shard.
        tokens : Tensor, shape (m, views, s, d)
            Tokens of the inputs that could be read, in their order.
        mask : Tensor of bool, shape (m, views, s), or None
            True where a token is real.
        skipped : sequence of (int, str)
            Position and reason of the inputs that could not be read.
        compare : bool
            Where the shard is already there, compare instead of writing.

        Raises
        ------
        InputError
            The disk is full, or ``compare`` and the shard that is there holds other tokens.
        """
        content = {"tokens": tokens.to(DTYPES[self.manifest.dtype]).contiguous()}
        if mask is not None:
            content["mask"] = mask.contiguous()
        data = save(content, {"skipped": json.dumps(list(skipped))} if skipped else None)
        digest = hashlib.sha256(data).hexdigest()
        file = self.path / shard_name(index)
        if compare and index in self._shards:
            if self._shards[index].sha256 != digest:
                raise InputError(f"{file} holds other tokens than those given; give another folder or overwrite=True")
            return
        with self.disk():
            with replacing(file) as part:
                part.write_bytes(data)
            self._shards[index] = Shard(file.name, len(tokens), digest)
            self._skipped[index] = list(skipped)
            self._finished = False
            self._save()

    def _save(self, **changes: Any) -> None:
        # Shards are listed in order without holes; one that is finished out of order waits on disk for the others.
        listed = []
        for k in range(self.manifest.num_shards):
            if k not in self._shards:
                break
            listed.append(self._shards[k])
        shape = (sum(shard.samples for shard in listed), *self.manifest.shape[1:])
        manifest = dataclasses.replace(self.manifest, shards=tuple(listed), shape=shape, **changes)
        write_json(self.path / MANIFEST_FILE, manifest.to_json())

    def finish(
        self,
        labels: np.ndarray,
        ids: Sequence[str],
        split: np.ndarray | None = None,
        groups: np.ndarray | None = None,
    ) -> None:
        """Write the table of samples and mark the store complete; all arguments cover all inputs.

        A store that is whole already is left as it is, so that it may lie on a disk that cannot be written.

        Parameters
        ----------
        labels : array, shape (num_inputs,) or (num_inputs, k)
            Labels or targets.
        ids : sequence of str
            Names of the inputs.
        split, groups : array of int, shape (num_inputs,), or None
            Codes into the manifest's ``split_names`` and ``group_names``.
        """
        if self._finished:
            return
        missing = dict(self.skipped)
        kept = np.array([i for i in range(self.manifest.num_inputs) if i not in missing], dtype=np.int64)
        table = {"labels": torch.from_numpy(np.ascontiguousarray(labels[kept]))}
        if split is not None:
            table["split"] = torch.from_numpy(split[kept].astype(np.uint8))
        if groups is not None:
            table["group"] = torch.from_numpy(groups[kept].astype(np.int64))
        with self.disk():
            write_tensors(self.path / SAMPLES_FILE, table)
            write_json(self.path / IDS_FILE, [ids[i] for i in kept])
            hashes = {name: hash_file(self.path / name) for name in (SAMPLES_FILE, IDS_FILE)}
            skipped = tuple((ids[i], reason) for i, reason in self.skipped)
            self._save(samples=hashes, skipped=skipped, complete=True)
