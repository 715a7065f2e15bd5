"""Items drawn uniformly at random. Knows nothing of them."""

from __future__ import annotations

from agent.acquire import _score
from agent.types import Picks, PoolView


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """n of the N candidates without replacement; each had the chance n / N."""
    return _score.uniform(len(view.probabilities), n, seed)
