"""What is kept between turns of the items by which picks are judged. Knows arrays only; a run does as well without."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agent.types import Floats, Ints, Tried


@dataclass
class Yard:
    """`rows`: (m,) items drawn at random; `said`: (m, width) what the student said of them before the last batch.

    `batch`: who chose the last batch, and how many it was. `took`: machines' answers at the last
    turn, and what they cost; `moves`: what each turn's answers changed; `worths`: what was written of open questions.
    """

    rows: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    said: Floats | None = None
    batch: tuple[str, int] | None = None
    tried: list[Tried] | None = None
    new: Tried | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    knowledge: Floats | None = None
    took: tuple[int, float] | None = None
    moves: list[dict[str, Any]] | None = None
    worths: dict[str, tuple[float, str]] = field(default_factory=dict)
