"""Posterior to decision: accept, ask the next rung, or abstain. Works on arrays; knows no store and no oracle.

Cascade, escalation, human review and selective prediction are this one function (DESIGN: the ladder). It may be wrong
without breaking any promise, because the certificate is measured apart from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.types import Bools, Floats, Ints

ACCEPT, ASK, ABSTAIN = 0, 1, 2
NOBODY = -1
"""The rung of an item that no rung was heard on and none can be asked about."""


@dataclass(frozen=True, slots=True)
class Routes:
    """One row an item. `action`: ACCEPT, ASK or ABSTAIN; `rung`: who settled it, or who is to be asked next."""

    action: Ints
    rung: Ints


def route(confidence: Floats, heard: Bools, bars: Sequence[float], open_to: Bools, unsure: Bools) -> Routes:
    """Climb only as far as needed.

    Args:
        confidence: (n,) probability that the label is right, given all who were heard.
        heard: (n, rungs): has this rung spoken on this item (or failed to)? People, if any, are the last rung.
        bars: a rung's bar: with this rung the highest heard, `confidence` must reach it. A bar of 0 always accepts.
        open_to: (n, rungs): may this rung still be asked about this item?
        unsure: (n,): a person was asked and could not tell.
    Returns:
        For each item the action and the rung it concerns. An item no rung was heard on is asked of the first open one;
        where there is none, the rung is NOBODY.
    """
    ladder = np.arange(heard.shape[1])
    level = np.where(heard.any(axis=1), np.where(heard, ladder, -1).max(axis=1), -1)
    bar = np.where(level >= 0, np.asarray(bars, dtype=np.float64)[np.maximum(level, 0)], np.inf)
    above = open_to & ~heard & (ladder[None, :] > level[:, None])
    has_next = above.any(axis=1)
    following = np.where(has_next, above.argmax(axis=1), -1)
    action = np.where(confidence >= bar, ACCEPT, np.where(has_next, ASK, ABSTAIN))
    action = np.where(unsure, ABSTAIN, action)
    rung = np.where(action == ASK, following, level)
    rung = np.where(unsure, len(bars) - 1, rung)
    return Routes(action.astype(np.int64), rung.astype(np.int64))


def expected_gain(before: Floats, asked_before: Floats, asked_after: Floats, bins: int = 8) -> Floats:
    """What asking a rung about an item is expected to take off its predicted error.

    Regresses, by equal-count bins of the error predicted without the rung, the error predicted with it, over items it
    was asked about (STATS §2: r_i(L) regressed on already queried items).

    Args:
        before: (n,) predicted error of the candidates. asked_before, asked_after: (m,) predicted errors of items
            that were asked, without and with the rung's answer.
    Returns:
        (n,) expected gain, ≥ 0; infinite when m < 4 · bins (not known yet: ask).
    """
    if len(asked_before) < 4 * bins:
        return np.full(len(before), np.inf, dtype=np.float32)
    edges = np.quantile(asked_before, np.linspace(0, 1, bins + 1)[1:-1])
    where, mended = np.searchsorted(edges, asked_before), asked_before - asked_after
    drop = np.array([mended[where == b].mean() if (where == b).any() else mended.mean() for b in range(bins)])
    gain: Floats = np.maximum(drop, 0.0)[np.searchsorted(edges, before)].astype(np.float32)
    return gain
