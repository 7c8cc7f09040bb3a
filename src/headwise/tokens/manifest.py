"""What a token store says about itself: one JSON file, checked field by field when it is read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import InputError

__all__ = ["DTYPES", "FORMAT_VERSION", "ORIGIN", "Manifest", "Shard", "shard_name"]

FORMAT_VERSION = 1

DTYPES: dict[str, torch.dtype] = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}
"""Number formats that tokens may be stored in."""

ORIGIN = ("backbone", "weights_hash", "layer", "at", "preprocessing")
"""Fields of a manifest that say where the tokens came from."""


def shard_name(index: int) -> str:
    """File name of shard ``index``."""
    return f"shard-{index:05d}.safetensors"


@dataclass(frozen=True)
class Shard:
    """One finished file of tokens: its name, how many samples it holds and the SHA-256 of its bytes."""

    name: str
    samples: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Description of a token store.

    Parameters
    ----------
    dtype : str
        Number format of the stored tokens, a key of `DTYPES`.
    shape : (int, int, int, int)
        ``(n, views, s, d)``; n counts the samples that are stored, skipped ones excluded.
    num_inputs : int
        Samples that were asked for; ``n`` plus the skipped ones once the store is complete.
    shard_size : int
        Shard k holds what could be read of inputs ``k * shard_size`` to ``(k + 1) * shard_size - 1``.
    num_prefix : int
        Prefix tokens of each sample.
    grid : (int, int) or None
        Rows and columns of the patch tokens.
    has_mask : bool
        True where shards hold a mask beside the tokens.
    class_names, split_names, group_names : tuple of str
        What the codes in ``samples.safetensors`` mean; empty where there are none.
    shards : tuple of Shard
        Finished shards in order.
    samples : mapping
        SHA-256 of the files that describe the samples, by file name; empty until the store is complete.
    skipped : tuple of (str, str)
        Id and reason of each sample that could not be read.
    complete : bool
        False while samples are still missing.
    backbone, weights_hash, layer, at, preprocessing
        Where the tokens came from; None where they came from arrays.
    source : mapping
        ``description`` of the data, ``hash`` of its ids, labels, splits and groups, and their hashes one by one in
        ``columns``; of texts also how many were ``cut``.
    augmentation : mapping or None
        How views after the first were made: the fields of `headwise.Augmentation`. A sentence in stores of the
        first days.
    seed : int
        Seed of the views.
    format_version : int
        Version of the folder's format.
    """

    dtype: str
    shape: tuple[int, int, int, int]
    num_inputs: int
    shard_size: int
    num_prefix: int = 0
    grid: tuple[int, int] | None = None
    has_mask: bool = False
    class_names: tuple[str, ...] = ()
    split_names: tuple[str, ...] = ()
    group_names: tuple[str, ...] = ()
    shards: tuple[Shard, ...] = ()
    samples: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    complete: bool = False
    backbone: str | None = None
    weights_hash: str | None = None
    layer: int | None = None
    at: str | None = None
    preprocessing: Mapping[str, Any] | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    augmentation: Mapping[str, Any] | str | None = None
    seed: int = 0
    format_version: int = FORMAT_VERSION

    @property
    def num_shards(self) -> int:
        """Shards that the complete store has."""
        return -(-self.num_inputs // self.shard_size)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the shards' hashes and what is needed to read them; equal ones mean equal tokens."""
        facts = [self.dtype, list(self.shape), self.num_prefix, self.grid, self.has_mask]
        text = json.dumps([facts, [shard.sha256 for shard in self.shards]])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def origin(self) -> dict[str, Any] | None:
        """Which backbone made the tokens and how, as JSON data; None where they came from arrays."""
        told = self.to_json()
        return None if self.backbone is None else {name: told[name] for name in ORIGIN}

    def to_json(self) -> dict[str, Any]:
        """The manifest as plain JSON data."""
        return json.loads(json.dumps(dataclasses.asdict(self), allow_nan=False))

    @classmethod
    def from_json(cls, data: Any, where: str) -> Manifest:
        """Read a manifest; ``where`` names the file in errors.

        Raises
        ------
        InputError
            The format is newer than this package knows, a field is missing, unknown, or does not fit the others.
        """
        if not isinstance(data, dict) or "format_version" not in data:
            raise InputError(f"{where} is not the manifest of a token store (no format_version)")
        version = data["format_version"]
        if not _count(version, 1):
            raise InputError(f"{where}: format_version is {version!r}; expected a whole number from 1")
        if version > FORMAT_VERSION:
            raise InputError(
                f"{where} has format version {version}; this headwise reads versions up to {FORMAT_VERSION}. "
                "Install a newer headwise, or extract the tokens again"
            )
        known = {f.name: f for f in dataclasses.fields(cls)}
        unknown = sorted(set(data) - set(known))
        missing = [
            name
            for name, f in known.items()
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and name not in data
        ]
        if unknown or missing:
            said = [f"no field {name}" for name in missing] + [f"unknown field {name}" for name in unknown]
            raise InputError(f"{where} is broken: {', '.join(said)}")
        try:
            values = _typed(data)
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(f"{where} is broken: {error}") from None
        manifest = cls(**values)
        manifest._check(where)
        return manifest

    def _check(self, where: str) -> None:
        n, views, s, d = self.shape
        patches = None if self.grid is None else self.grid[0] * self.grid[1]
        problems = []
        if self.dtype not in DTYPES:
            problems.append(f"dtype {self.dtype!r} is none of {', '.join(DTYPES)}")
        if n < 0 or min(views, s, d, self.num_inputs, self.shard_size) < 1:
            problems.append(f"shape {list(self.shape)}, num_inputs {self.num_inputs} or shard_size is not positive")
        if not 0 <= self.num_prefix <= s:
            problems.append(f"num_prefix {self.num_prefix} does not fit {s} tokens")
        if patches is not None and self.num_prefix + patches != s:
            problems.append(f"grid {list(self.grid or ())} and {self.num_prefix} prefix tokens do not make {s} tokens")
        # Names come from the index alone, so a manifest can never point outside its folder.
        if any(shard.name != shard_name(k) for k, shard in enumerate(self.shards)):
            problems.append("shards are not named shard-00000.safetensors and so on")
        if any(not re.fullmatch("[0-9a-f]{64}", shard.sha256) for shard in self.shards):
            problems.append("a shard's sha256 is not 64 hexadecimal digits")
        if sum(shard.samples for shard in self.shards) != n:
            problems.append(f"the shards hold {sum(shard.samples for shard in self.shards)} samples, shape says {n}")
        if self.complete and self.shard_size > 0 and len(self.shards) != self.num_shards:
            problems.append(f"{len(self.shards)} shards are listed, {self.num_shards} needed")
        if problems:
            raise InputError(f"{where} is broken: {'; '.join(problems)}")

    def differences(self, expected: Mapping[str, Any]) -> list[str]:
        """Sentences about the fields of ``expected`` that are not what this manifest says."""
        there = self.to_json()
        said = []
        for name, value in expected.items():
            asked = json.loads(json.dumps(value))
            if name not in there:
                said.append(f"{name}: {asked!r} asked, no such field")
            elif there[name] != asked:
                said.append(f"{name}: {asked!r} asked, {there[name]!r} there")
        return said


def _count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _typed(data: Mapping[str, Any]) -> dict[str, Any]:
    """JSON lists and objects as the tuples and records of the dataclass."""
    values = dict(data)

    def counts(name: str, size: int) -> tuple[int, ...]:
        value = values[name]
        if not isinstance(value, list) or len(value) != size or not all(_count(v, 0) for v in value):
            raise ValueError(f"{name} is {value!r}; {size} whole numbers needed")
        return tuple(value)

    values["shape"] = counts("shape", 4)
    if values.get("grid") is not None:
        values["grid"] = counts("grid", 2)
    for name in ("num_inputs", "shard_size", "num_prefix"):
        if name in values and not _count(values[name], 0):
            raise ValueError(f"{name} is {values[name]!r}; a whole number needed")
    for name in ("has_mask", "complete"):
        if not isinstance(values.get(name, False), bool):
            raise ValueError(f"{name} is {values[name]!r}; true or false needed")
    for name in ("class_names", "split_names", "group_names"):
        names = values.get(name, [])
        if not isinstance(names, list) or not all(isinstance(v, str) for v in names):
            raise ValueError(f"{name} is not a list of names")
        values[name] = tuple(names)
    if not isinstance(values.get("augmentation"), (dict, str, type(None))):
        raise ValueError("augmentation is not an object")
    for name in ("source", "samples"):
        if not isinstance(values.get(name, {}), dict):
            raise ValueError(f"{name} is not an object")
    shards = [Shard(str(s["name"]), s["samples"], str(s["sha256"])) for s in values.get("shards", [])]
    if not all(_count(shard.samples, 0) for shard in shards):
        raise ValueError("a shard's number of samples is not a whole number")
    values["shards"] = tuple(shards)
    values["skipped"] = tuple((str(name), str(reason)) for name, reason in values.get("skipped", []))
    return values
