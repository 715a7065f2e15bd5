"""The items whose distribution is the flattest. Knows no features."""

from __future__ import annotations

from agent.acquire import _score
from agent.types import Picks, PoolView


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """The n candidates of the highest doubt by `_score.entropy`; several atoms: by the least sure one.

    The chance is 1 given the student's probabilities, or taken / tied at the last score (see `_score.top`).
    """
    return _score.highest(view, _score.ENTROPY, n, seed)
