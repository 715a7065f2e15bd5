"""Climbing by fixed bars: accept, ask the next rung, or abstain. Knows no prices, no store and no oracle.

What is done before anything is known of what asking is worth, and in ladders that nobody can measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.types import Bools, Floats, Ints

ACCEPT, ASK, ABSTAIN = 0, 1, 2
NOBODY = -1
"""The rung of an item that no rung was heard on and none can be asked about."""


@dataclass(frozen=True, slots=True)
class Routes:
    """One row an item. `action`: ACCEPT, ASK or ABSTAIN; `rung`: who settled it, or who is to be asked next; `saves`:
    dollars that asking is expected to save, `again`: it is another vote that is asked for; None where items climb by
    bars."""

    action: Ints
    rung: Ints
    saves: NDArray[np.float64] | None = None
    again: Bools | None = None


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
