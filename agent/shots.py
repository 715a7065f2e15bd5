"""Which settled items are shown to a model as examples. Works on arrays; knows no text, no model and no ledger.

Items are numbered by their place among the candidates, which stand in the order of the draw. Examples near the item
help most (Liu et al. 2022, arXiv 2101.06804), but a prefix that changes with every item is cached by no engine. So the
pool is divided into blocks around candidates ("anchors"): all items of a block are shown the anchor's neighbours.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.types import Floats, Ints

BLOCK = 48
"""Items a block, on average, as long as there are candidates enough to stand in the middle of them."""

STEP = 16_384
"""Items compared with the anchors at once."""


def balanced(labels: Sequence[Hashable], want: int) -> list[int]:
    """The first candidates whose label has been shown least so far; at most `want`."""
    left, counts = list(range(len(labels))), dict.fromkeys(labels, 0)
    taken: list[int] = []
    while left and len(taken) < want:
        i = min(left, key=lambda row: counts[labels[row]])
        left.remove(i)
        taken.append(i)
        counts[labels[i]] += 1
    return taken


def diverse(features: Any, want: int) -> list[int]:
    """Farthest-first: the first candidate, then again and again the one least like all that were taken.

    features: (m, d), dense or sparse. A longer list begins with the shorter one.
    """
    rows = _unit(features)
    m = rows.shape[0]
    taken = [0] if m and want else []
    nearest = np.full(m, -np.inf)
    while 0 < len(taken) < min(want, m):
        nearest = np.maximum(nearest, _like(rows, rows[taken[-1:]])[:, 0])
        nearest[taken] = np.inf
        taken.append(int(np.argmin(nearest)))
    return taken


@dataclass(frozen=True)
class Blocks:
    """`anchors`: (b,) candidates; `shots`: the candidates shown in each block, the likest last; `own`: (m,) the block
    of each candidate. A candidate that its block shows has a block to itself, without it: those follow the b others."""

    anchors: Ints
    shots: tuple[tuple[int, ...], ...]
    own: Ints


def blocks(features: Any, want: int, items: int) -> Blocks:
    """Anchors for a pool of `items`, each with the `want` candidates most like it (itself among them).

    A pool that grows keeps its anchors and gets more. features: (m, d) of the candidates, m ≥ 1.
    """
    anchors = np.array(diverse(features, max(1, -(-items // BLOCK))), dtype=np.int64)
    rows = _unit(features)
    like = _like(rows[anchors], rows)
    order = np.argsort(-like, axis=1, kind="stable")[:, : want + 1].tolist()
    shots = [tuple(near[:want][::-1]) for near in order]
    own = like.argmax(axis=0).astype(np.int64)
    for candidate, block in enumerate(own.tolist()):
        if candidate in shots[block]:
            own[candidate] = len(shots)
            shots.append(tuple([i for i in order[block] if i != candidate][:want][::-1]))
    return Blocks(anchors, tuple(shots), own)


def nearest(anchors: Any, features: Any) -> Ints:
    """(n,) the number of the anchor that each item is most like. (b, d), (n, d)."""
    middle = _unit(anchors)
    out = np.empty(features.shape[0], dtype=np.int64)
    for begin in range(0, len(out), STEP):
        part = slice(begin, begin + STEP)
        out[part] = _like(_unit(features[part]), middle).argmax(axis=1)
    return out


def _unit(rows: Any) -> Any:
    """Rows of length one."""
    if isinstance(rows, np.ndarray):
        dense = np.asarray(rows, dtype=np.float32)
        return dense / np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-12)
    length = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return rows.multiply((1.0 / np.maximum(length, 1e-12))[:, None]).tocsr()


def _like(a: Any, b: Any) -> Floats:
    """Cosines of unit rows, rounded so that another machine's last bits do not decide. (a, d), (b, d) -> (a, b)."""
    product = a @ b.T
    dense = product if isinstance(product, np.ndarray) else product.toarray()
    return np.asarray(np.round(dense, 4), dtype=np.float32)
