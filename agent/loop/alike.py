"""Near-duplicates of the pool, found once and kept on disk. Knows no answers."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from agent import duplicates
from agent.pool import BLOCK, Pool
from agent.types import Ints

VERSION = f"1 {duplicates.SIMILARITY}"
"""Another one when the same texts may be grouped otherwise."""


def first_of(pool: Pool, n: int, cache: Path) -> Ints | None:
    """(n,) the first item of each one's near-duplicates, its own number where it is alone; None where all are alone."""
    digest = hashlib.sha256("\n".join([VERSION, *pool.ids[:n]]).encode()).hexdigest()[:16]
    path = cache / f"alike-{digest}.npy"
    try:
        found: Ints = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        texts = [text for begin in range(0, n, BLOCK) for text in pool.texts(begin, min(begin + BLOCK, n))]
        found = duplicates.group(texts)
        _keep(found, path)
    return found if (found != np.arange(n)).any() else None


def others(graph: Ints, first: Ints | None) -> Ints:
    """Of each item the likest others, (n, k), but for its near-duplicates (-1): they have its own answers."""
    if first is None:
        return graph
    same = (graph >= 0) & (first[graph] == first[:, None])
    return np.where(same, -1, graph)


def _keep(found: Ints, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.stem}.{os.getpid()}.npy")
    try:
        np.save(draft, found, allow_pickle=False)
        os.replace(draft, path)
    except OSError:
        pass  # no room, or no right to write: they are found again next time
    finally:
        draft.unlink(missing_ok=True)
