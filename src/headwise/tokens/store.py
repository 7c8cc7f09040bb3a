"""Tokens on disk: safetensors shards, a table of samples and a manifest."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..contracts import Progress, Tokens
from ..errors import InputError
from ..files import hash_file, read_json
from .layout import ShardLayout
from .manifest import DTYPES, Manifest
from .rows import as_rows, chunk_size, pieces, working_dtype
from .samples_table import read_samples_table
from .writer import MANIFEST_FILE, NO_SPLIT

__all__ = ["TokenStore"]


class TokenStore:
    """Tokens of a data set on disk, as a `headwise.contracts.TokenSource`.

    Open one with `TokenStore.open`, make one with `TokenStore.from_arrays` or `headwise.tokens.extract`. Reading takes
    only the samples that are asked for.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from headwise.tokens import TokenStore
    >>> tokens = np.random.default_rng(0).normal(size=(6, 4, 3)).astype("float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = TokenStore.from_arrays(folder, tokens, [0, 1, 0, 1, 0, 1], grid=(2, 2), dtype="float32")
    ...     store.read([5, 0]).values.shape
    torch.Size([2, 4, 3])
    """

    def __init__(self, path: Path, manifest: Manifest, table: Mapping[str, np.ndarray], ids: Sequence[str]) -> None:
        self.path = path
        self.manifest = manifest
        self._table = dict(table)
        self._ids = tuple(ids)
        self._starts = np.cumsum([0, *(shard.samples for shard in manifest.shards)])
        self._layouts = [ShardLayout.read(path / shard.name, shard.samples, manifest) for shard in manifest.shards]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> TokenStore:
        """Open a store; only headers and the table of samples are read.

        Raises
        ------
        InputError
            The folder is no token store, is incomplete, was made by a newer headwise, or a file is missing, cut short
            or does not fit the manifest. `verify_content` checks the bytes as well.
        """
        folder = Path(path)
        where = folder / MANIFEST_FILE
        if not where.is_file():
            why = f"it has no {MANIFEST_FILE}" if folder.is_dir() else "it is a file"
            why = why if folder.exists() else "it does not exist"
            raise InputError(
                f"{folder} is not a token store: {why}. Make one of images, or of arrays of tokens, with "
                "'headwise extract DATA STORE'"
            )
        manifest = Manifest.from_json(read_json(where), str(where))
        if not manifest.complete:
            raise InputError(
                f"{folder} is not finished: {len(manifest.shards)} of {manifest.num_shards} shards are there. "
                "Run the command that makes it again: it goes on from there"
            )
        return cls(folder, manifest, *read_samples_table(folder, manifest))

    @classmethod
    def from_arrays(
        cls,
        path: str | os.PathLike[str],
        tokens: Any,
        labels: Any,
        *,
        split: Any = None,
        groups: Any = None,
        class_names: Sequence[str] | None = None,
        mask: Any = None,
        grid: tuple[int, int] | None = None,
        num_prefix: int = 0,
        ids: Sequence[str] | None = None,
        dtype: str = "float16",
        description: str = "arrays",
        shard_size: int | None = None,
        progress: Progress | None = None,
        overwrite: bool = False,
    ) -> TokenStore:
        """Write arrays as a store, shard by shard, and open it; memory maps are never read whole.

        Parameters
        ----------
        path : path
            Folder to make.
        tokens : array or Tensor, shape (n, d), (n, s, d) or (n, views, s, d)
            Tokens, prefix tokens first; a matrix means one token a sample.
        labels : array-like, shape (n,) or (n, k)
            Text or whole numbers: classes. Real numbers: targets of a regression. Text is stored as codes of the sorted
            names (or of ``class_names``), and the names are kept.
        split : array-like of str, shape (n,), or None
            Split of each sample ("train", "val", "test"); "" for none.
        groups : array-like, shape (n,), or None
            Group of each sample (patient, scene); samples of a group are never parted.
        class_names : sequence of str or None
            Names of the classes, in the order of their codes.
        mask : array or Tensor of bool, shape (n, s) or (n, views, s), or None
            True where a token is real. Tokens behind the mask are stored as zero.
        grid : (int, int) or None
            Rows and columns of the patch tokens: ``rows x columns + num_prefix = s``.
        num_prefix : int
            Prefix tokens, first in each sample.
        ids : sequence of str or None
            Names of the samples, each once; their numbers by default.
        dtype : {"float16", "bfloat16", "float32", "float64"}
            Number format on disk. float16, the default, keeps three digits and numbers up to 65,504; certificates are
            about the tokens as stored.
        description : str
            What the data is, for people.
        shard_size : int or None
            Samples in a shard; by default as many as take 8 MiB, in large stores up to 32 MiB.
        progress : callable or None
            See `headwise.contracts.Progress`.
        overwrite : bool
            Replace the store that is there.

        Returns
        -------
        store : TokenStore

        Raises
        ------
        InputError
            Shapes that do not fit, ragged tokens without a mask, NaN or infinities (also those that ``dtype`` makes),
            ids that repeat, a full disk, or a folder that holds something else.

        Examples
        --------
        >>> import tempfile, numpy as np
        >>> from headwise.tokens import TokenStore
        >>> tokens = np.random.default_rng(0).normal(size=(4, 5, 3))  # a class token and 2 x 2 patches
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = TokenStore.from_arrays(folder, tokens, ["cat", "dog", "cat", "dog"], num_prefix=1, grid=(2, 2))
        >>> store.labels.tolist(), store.class_names, store.manifest.dtype
        ([0, 1, 0, 1], ('cat', 'dog'), 'float16')
        """
        from .from_arrays import write_arrays  # a store is opened far more often than made

        write_arrays(
            path,
            tokens,
            labels,
            split=split,
            groups=groups,
            class_names=class_names,
            mask=mask,
            grid=grid,
            num_prefix=num_prefix,
            ids=ids,
            dtype=dtype,
            description=description,
            shard_size=shard_size,
            progress=progress,
            overwrite=overwrite,
        )
        return cls.open(path)

    @property
    def num_samples(self) -> int:
        """n."""
        return self.manifest.shape[0]

    @property
    def num_views(self) -> int:
        """Views of each sample; view 0 is the sample itself."""
        return self.manifest.shape[1]

    @property
    def num_tokens(self) -> int:
        """s, prefix tokens included."""
        return self.manifest.shape[2]

    @property
    def width(self) -> int:
        """d."""
        return self.manifest.shape[3]

    @property
    def num_prefix(self) -> int:
        """Prefix tokens."""
        return self.manifest.num_prefix

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the patch tokens."""
        return self.manifest.grid

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the shards' hashes and the layout; read from the manifest, see `verify_content`."""
        return self.manifest.fingerprint

    @property
    def labels(self) -> np.ndarray:
        """Labels ``(n,)``: int64 codes of ``class_names`` (plain numbers without names) or float64 targets."""
        return self._table["labels"]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; empty where labels are plain numbers."""
        return self.manifest.class_names

    @property
    def split(self) -> np.ndarray | None:
        """Split name of each sample ("" for none), or None where there are no splits."""
        if "split" not in self._table:
            return None
        names = np.array([*self.manifest.split_names, ""])
        codes = self._table["split"].astype(np.int64)
        return names[np.where(codes == NO_SPLIT, len(names) - 1, codes)]

    @property
    def groups(self) -> np.ndarray | None:
        """Group name of each sample, or None where there are no groups."""
        return np.array(self.manifest.group_names)[self._table["group"]] if "group" in self._table else None

    @property
    def ids(self) -> tuple[str, ...]:
        """Name of each sample, for example its file."""
        return self._ids

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Id and reason of each sample that could not be read."""
        return self.manifest.skipped

    def rows(self, split: str) -> np.ndarray:
        """Rows of the samples in ``split``.

        Raises
        ------
        InputError
            The store has no such split.
        """
        names = self.split
        if names is None:
            raise InputError(
                f"{self.path} has no splits; make it with some: headwise extract, "
                "headwise.extract(..., fractions=(0.6, 0.2, 0.2)), or "
                "split=headwise.tokens.make_splits(labels) for arrays"
            )
        if split not in self.manifest.split_names:
            raise InputError(f"{self.path} has no split {split!r}; it has {', '.join(self.manifest.split_names)}")
        return np.flatnonzero(names == split)

    def chunks(
        self,
        rows: np.ndarray | None = None,
        size: int | None = None,
        view: int = 0,
        dtype: torch.dtype | None = None,
    ) -> Iterator[tuple[np.ndarray, Tokens]]:
        """Yield ``(rows, tokens)`` in the order of ``rows``, at most ``size`` samples at a time.

        Parameters
        ----------
        rows : array of int, or None
            Samples in any order, repeats allowed; all by default.
        size : int or None
            Samples of a chunk; by default as many as take about 8 MiB.
        view : int
            Which view of the samples.
        dtype : torch.dtype or None
            Type of the values given; by default float64 where stored so, else float32.

        Raises
        ------
        InputError
            A row or the view does not exist.
        """
        if not 0 <= view < self.num_views:
            raise InputError(f"view {view} is asked for; the store has {self.num_views}, from 0")
        dtype = dtype or working_dtype(DTYPES[self.manifest.dtype])
        size = chunk_size(size, self.num_tokens * self.width * dtype.itemsize)
        for part in pieces(as_rows(rows, self.num_samples), size):
            yield part, self._gather(part, view, dtype)

    def read(self, rows: Any = None, view: int = 0, dtype: torch.dtype | None = None) -> Tokens:
        """Tokens of ``rows`` (all by default) at once, in their order."""
        rows = as_rows(rows, self.num_samples)
        for _, tokens in self.chunks(rows, max(1, len(rows)), view, dtype):
            return tokens
        return self._gather(rows, view, dtype or working_dtype(DTYPES[self.manifest.dtype]))

    def _gather(self, rows: np.ndarray, view: int, dtype: torch.dtype) -> Tokens:
        values = torch.empty((len(rows), self.num_tokens, self.width), dtype=dtype)
        mask = torch.empty((len(rows), self.num_tokens), dtype=torch.bool) if self.manifest.has_mask else None
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        for k in np.unique(shards):
            place = np.flatnonzero(shards == k)
            place = place[np.argsort(rows[place], kind="stable")]  # read a shard front to back
            local = rows[place] - self._starts[k]
            where = torch.from_numpy(place)
            values[where] = self._layouts[k].tokens(local, view).to(dtype)
            if mask is not None:
                mask[where] = self._layouts[k].mask(local, view)
        return Tokens(values, self.num_prefix, self.grid, mask)

    def check(self, expected: Mapping[str, Any]) -> None:
        """Compare manifest fields with what is expected.

        Raises
        ------
        InputError
            Lists each field that differs, with what was asked and what is there.
        """
        said = self.manifest.differences(expected)
        if said:
            raise InputError(f"{self.path} was made with other settings ({'; '.join(said)}); give another folder")

    def verify_content(self) -> None:
        """Hash all files again; slow, since every byte is read.

        Raises
        ------
        InputError
            Names each file whose content is not what was written.
        """
        wanted = {shard.name: shard.sha256 for shard in self.manifest.shards} | dict(self.manifest.samples)
        wrong = []
        for name, digest in wanted.items():
            file = self.path / name
            if not file.is_file():
                wrong.append(f"{name} is missing")
            elif hash_file(file) != digest:
                wrong.append(f"{name} has changed")
        if wrong:
            raise InputError(f"{self.path}: {', '.join(wrong)} since the store was made; make it again")

    def __len__(self) -> int:
        return self.num_samples

    def __repr__(self) -> str:
        shape = "x".join(str(v) for v in self.manifest.shape)
        return f"TokenStore({self.path.name!r}, {shape} {self.manifest.dtype}, {self.manifest.backbone or 'arrays'})"
