"""Several heads where there is one: what the data leave open is where they differ. Knows arrays only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.students import _head
from agent.types import Floats

PUT_OUT = 0.1
"""Share of the inputs that a member does without."""
MEMBER = 1e-2
"""Share of the loss that a member's fit may leave: members differ by more."""


@dataclass(frozen=True)
class Taught:
    """What a head was fitted to, and its penalty."""

    features: Any
    targets: Floats
    weights: Floats
    l2: float


def heads(
    warm: _head.Warm, taught: Taught | None, slices: _head.Slices, count: int, seed: int, device: str
) -> Iterator[_head.Head]:
    """Heads of the Bayesian bootstrap (Rubin 1981: weights times draws from Exp(1)) with inputs dropped out.

    Begins at a head and its curvature, and leaves both as they are.
    """
    assert warm.head is not None
    rng = np.random.default_rng(seed)
    d = len(warm.head.weight) - 1
    for _ in range(count):
        head = warm.head
        if taught is not None:
            drawn = (taught.weights * rng.exponential(size=len(taught.weights))).astype(np.float32)
            begin = _head.Warm(head, warm.bend)
            head = _head.fit(taught.features, taught.targets, drawn, slices, taught.l2, 20, begin, device, MEMBER)
        weight = head.weight.copy()
        kept = rng.random(d) >= PUT_OUT
        weight[:-1] *= (kept / (1 - PUT_OUT)).astype(np.float32)[:, None]
        yield _head.Head(weight)
