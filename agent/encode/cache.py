"""Vectors on disk, in shards named by their content. Knows texts and arrays, no encoder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from agent.types import Floats, Ints

log = logging.getLogger("tutelage")

SHARD = 2_000
"""Vectors at most a file: what a kill can lose."""

Embed = Callable[[Sequence[str]], Floats]
Progress = Callable[[int, int], None]
"""Called with how many texts are done, and how many there are."""


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` only once it is whole."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            yield file
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


class Cache:
    """Vectors on disk by content (sha256 of the text) and encoder revision.

    `<folder>/<revision>/<name>.npy` holds at most 2,000 vectors, `<name>.json` beside it says whose they are and is
    written last: a kill loses at most the shard at work, and a shard that does not read is computed again. Files are
    named by their content, so two runs may share a folder. An empty `folder` keeps everything in memory.
    """

    def __init__(self, folder: str | Path, revision: str) -> None:
        self.folder = Path(folder) / revision if str(folder) else None
        self.revision = revision
        self._shards: list[Floats] = []
        self._rows: dict[bytes, int] = {}
        self._count = 0
        for index in sorted(self.folder.glob("*.json")) if self.folder else ():
            self._open(index)

    def __len__(self) -> int:
        return len(self._rows)

    def features(self, texts: Sequence[str], embed: Embed, progress: Progress | None = None) -> Floats:
        """The vectors of the texts in their order, (n, d) float32; `embed` is called for those not known yet.

        Above 1 GiB the array is a memory map of a temporary file in the cache's folder.
        """
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._rows}
        missing = list(new.items())
        for start in range(0, len(missing), SHARD):
            part = missing[start : start + SHARD]
            self._add([key for key, _ in part], embed([text for _, text in part]))
            if progress:
                progress(min(start + SHARD, len(missing)), len(missing))
        if not keys:
            return self._shards[0][:0] if self._shards else embed([])
        return self._gather(np.array([self._rows[key] for key in keys], dtype=np.int64))

    def _gather(self, rows: Ints) -> Floats:
        starts = np.cumsum([0] + [len(shard) for shard in self._shards])
        which = np.searchsorted(starts, rows, side="right") - 1
        order = np.argsort(which, kind="stable")
        bounds = np.searchsorted(which[order], np.arange(len(self._shards) + 1))
        out = self._room(len(rows), self._shards[0].shape[1])
        for number, shard in enumerate(self._shards):
            at = order[bounds[number] : bounds[number + 1]]
            if at.size:
                out[at] = shard[rows[at] - starts[number]]
        return out

    def _room(self, n: int, d: int) -> Floats:
        if self.folder is None or n * d * 4 <= 2**30:
            return np.empty((n, d), dtype=np.float32)
        with tempfile.TemporaryFile(dir=self.folder) as file:  # the map outlives the name, and the name dies with us
            return cast(Floats, np.memmap(file, dtype=np.float32, mode="w+", shape=(n, d)))

    def _take(self, keys: Sequence[bytes], vectors: Floats) -> None:
        for offset, key in enumerate(keys):
            self._rows.setdefault(key, self._count + offset)
        self._shards.append(vectors)
        self._count += len(vectors)

    def _open(self, index: Path) -> None:
        try:
            keys = [bytes.fromhex(key) for key in json.loads(index.read_text("utf-8"))["sha256"]]
            vectors = np.load(index.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
            if vectors.dtype != np.float32 or vectors.shape[:1] != (len(keys),) or vectors.ndim != 2:
                raise ValueError("rows and index differ")
            if self._shards and vectors.shape[1] != self._shards[0].shape[1]:
                raise ValueError("another number of dimensions")
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            log.warning("embedding cache: %s does not read (%s) and is computed again", index.name, error)
            return
        self._take(keys, vectors)

    def _add(self, keys: Sequence[bytes], vectors: Floats) -> None:
        self._take(keys, vectors)
        if self.folder is None:
            return
        name = hashlib.sha256(b"".join(keys)).hexdigest()[:16]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _replacing(self.folder / f"{name}.npy") as file:
                np.save(file, vectors, allow_pickle=False)
            with _replacing(self.folder / f"{name}.json") as file:
                record = {"revision": self.revision, "shape": vectors.shape, "sha256": [key.hex() for key in keys]}
                file.write(json.dumps(record).encode())
        except OSError as error:
            log.warning("embedding cache: cannot write to %s (%s); kept in memory only", self.folder, error.strerror)
