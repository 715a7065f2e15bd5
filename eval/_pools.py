"""Made-up pools for `eval/selection.py`: embeddings in clusters and a student's probabilities. Knows no strategy.

77 classes of three clusters each, four classes close together; a cluster's spread falls off as j^−½ over its
directions and is wider for some items, as embeddings' are. The student is a softmax over its class centres, about as
sure as one that was taught a thousand labels (mean p₁ .58); members are students of disturbed centres.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from agent.types import Floats

CLASSES, WIDTH, LABELED, MEMBERS = 77, 384, 1_000, 10
STEP = 10_000
SHARPNESS, DISTURBED = 10.0, 0.35


def _units(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _centres(width: int) -> tuple[Floats, Floats]:
    """Centres of the clusters, (classes * 3, width), and of the classes as the student knows them."""
    rng = np.random.default_rng(0)
    common, groups, own, parts = (_units(rng.normal(size=(n, width))) for n in (1, 20, CLASSES, 3 * CLASSES))
    classes = _units(0.75 * groups[np.arange(CLASSES) % 20] + 0.66 * own)
    clusters = 0.45 * common + 0.55 * np.repeat(classes, 3, axis=0) + 0.3 * parts
    return np.asarray(clusters, dtype=np.float32), classes


def blocks(n: int, width: int = WIDTH) -> Iterator[tuple[Floats, Floats]]:
    """Embeddings (STEP, width) and the student's logits (STEP, classes); the same first n for every n."""
    clusters, classes = _centres(width)
    spread = (np.arange(1, width + 1) ** -0.5).astype(np.float32)
    spread /= np.linalg.norm(spread)
    for number in range(-(-n // STEP)):
        rng = np.random.default_rng([1, number])
        home = rng.choice(len(clusters), STEP, p=_shares(len(clusters)))
        wide = rng.uniform(0.3, 1.1, (STEP, 1)).astype(np.float32)
        x = _units(clusters[home] + wide * spread * rng.standard_normal((STEP, width), dtype=np.float32))
        yield x[: n - number * STEP], SHARPNESS * (x @ classes.T)[: n - number * STEP]


def _shares(count: int) -> Floats:
    """The biggest cluster has seven times the items of the smallest."""
    sizes = np.random.default_rng(2).uniform(1, 7, count)
    return np.asarray(sizes / sizes.sum())


def softmax(logits: Floats) -> Floats:
    """Rows that sum to one."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def make(folder: Path, n: int, members: bool) -> None:
    """features, probabilities, labeled, targets (and members) as .npy files in `folder`, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "targets.npy").exists():
        x = open_memmap(folder / "features.npy", "w+", np.float32, (n, WIDTH))
        p = open_memmap(folder / "probabilities.npy", "w+", np.float32, (n, CLASSES))
        for number, (rows, logits) in enumerate(blocks(n + LABELED)):
            first = number * STEP
            x[first : first + STEP] = rows[: max(0, n - first)]
            p[first : first + STEP] = softmax(logits)[: max(0, n - first)]
        np.save(folder / "labeled.npy", rows[-LABELED:])
        said = logits[-LABELED:].argmax(axis=1)
        np.save(folder / "targets.npy", np.eye(CLASSES, dtype=np.float32)[said])
    if members and not (folder / "members.npy").exists():
        _members(folder, n)


def _members(folder: Path, n: int) -> None:
    _, classes = _centres(WIDTH)
    rng = np.random.default_rng(3)
    heads = [_units(classes + DISTURBED * _units(rng.normal(size=classes.shape))) for _ in range(MEMBERS)]
    features = np.load(folder / "features.npy", mmap_mode="r")
    part = folder / "members.part.npy"
    out = open_memmap(part, "w+", np.float32, (MEMBERS, n, CLASSES))
    for place, head in enumerate(heads):
        for first in range(0, n, STEP):
            out[place, first : first + STEP] = softmax(SHARPNESS * (features[first : first + STEP] @ head.T))
    part.rename(folder / "members.npy")


def make_mapped(folder: Path, n: int, width: int) -> None:
    """The same of float16, (n, width) and (n, classes), for the pool that is memory-mapped."""
    folder.mkdir(parents=True, exist_ok=True)
    x = open_memmap(folder / "features.npy", "w+", np.float16, (n, width))
    p = open_memmap(folder / "probabilities.npy", "w+", np.float16, (n, CLASSES))
    for number, (rows, logits) in enumerate(blocks(n, width)):
        x[number * STEP : (number + 1) * STEP] = rows
        p[number * STEP : (number + 1) * STEP] = softmax(logits)
