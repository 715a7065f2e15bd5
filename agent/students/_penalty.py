"""Chooses the penalty of a linear head, and its temperature, on held-out rows. Knows heads and arrays, no texts.

The two are chosen together, each penalty judged at its best temperature: the penalty that ranks best flattens the
probabilities, and one that is to leave them calibrated by itself is several times too weak to rank well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from agent.students import _head
from agent.types import Floats

GRID = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
CHOOSE_FROM, CHOOSE_FROM_SPARSE = 3_000, 800
"""Rows at most that the penalty is chosen on."""
FLOOR = 2.0
"""No penalty much below this over the number of choices: rows that were picked are harder than those they stand for."""
HOTTEST = 4.0
ALIKE = 1.015
"""Of penalties whose losses differ by less than this factor the strongest is taken: it is the quickest to fit."""
ENOUGH = 1e-4
"""Share of the loss that a fit may leave where heads are only compared."""


def choose(
    features: Any,
    targets: Floats,
    weights: Floats,
    slices: _head.Slices,
    extra: tuple[Any, Floats, Floats] | None,
    max_iter: int,
    seed: int,
    device: str = "auto",
    near: float = 0.1,
) -> tuple[float, float]:
    """The penalty of `GRID` with the least weighted log-loss on held-out rows, and by what its logits are multiplied.

    5 folds, 3 from 1,000 rows on. Walks from `near` downhill, as the loss over the penalty has one valley.

    Args:
        extra: rows (features, targets, weights) that are in every training part and in no held-out part.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(features.shape[0])[:CHOOSE_FROM]
    if hasattr(features, "tocsr"):
        rows = np.sort(rows[:CHOOSE_FROM_SPARSE])
        every, targets, weights = _head.with_rows((features[rows], targets[rows], weights[rows]), extra)
        turned, n = _head.turn(every)[0], len(rows)
        extra = (turned[n:], targets[n:], weights[n:]) if extra else None
        features, targets, weights, rows = turned[:n], targets[:n], weights[:n], rng.permutation(n)
    folds = 5 if len(rows) < 1_000 else 3
    fold = np.arange(len(rows)) % folds
    heads: list[_head.Head | None] = [None] * folds

    @cache
    def judged(place: int) -> tuple[float, float]:
        said = np.empty((len(rows), targets.shape[1]), dtype=np.float32)
        for number in range(folds):
            train, held = np.sort(rows[fold != number]), rows[fold == number]
            x, t, w = _head.with_rows((features[train], targets[train], weights[train]), extra)
            heads[number] = head = _head.quick(x, t, w, slices, GRID[place], max_iter, heads[number], device, ENOUGH)
            said[fold == number] = features[held] @ head.weight[:-1] + head.weight[-1]
        return warmth(said, targets[rows], weights[rows], slices)

    weakest = _place(FLOOR / max(atom.stop - atom.start for atom in slices))
    place = _valley(lambda place: judged(place)[0], min(_place(near), weakest), weakest)
    bound = ALIKE * judged(place)[0]
    while place > 0 and judged(place - 1)[0] <= bound:
        place -= 1
    return GRID[place], judged(place)[1]


def warmth(logits: Floats, targets: Floats, weights: Floats, slices: _head.Slices) -> tuple[float, float]:
    """(log-loss, heat): the least weighted log-loss that one number times the logits can give, and that number.

    Temperature scaling (Guo et al. 2017, section 4.2), heat = 1 / temperature, between a quarter and `HOTTEST`.
    """
    from scipy.optimize import minimize_scalar

    pull = weights[:, None] * targets

    def lost(log_heat: float) -> float:
        hot = logits * np.float32(np.exp(log_heat))
        logs = _head.softmax(hot, slices)[1]
        known = np.stack([pull[:, atom].sum(axis=1) for atom in slices], axis=1)
        return float((known * logs).sum(dtype=np.float64) - (pull * hot).sum(dtype=np.float64))

    found = minimize_scalar(lost, bounds=(np.log(0.25), np.log(HOTTEST)), method="bounded", options={"xatol": 0.02})
    return float(found.fun), float(np.exp(found.x))


def _place(l2: float) -> int:
    """Where the grid is nearest to a penalty."""
    return int(np.argmin(np.abs(np.log(np.array(GRID) / l2))))


def _valley(lost: Callable[[int], float], here: int, last: int) -> int:
    """The place of the least loss up to `last`, walking downhill from `here`."""
    for step in (1, -1):
        while 0 <= here + step <= last and lost(here + step) < lost(here):
            here += step
    return here
