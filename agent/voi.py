"""What a person's answer about an item is expected to buy, in wrong labels mended. Arrays only; knows no queue.

The field's name for it is the value of information (Howard 1966, IEEE Trans. SSC 2:22).
"""

from __future__ import annotations

import numpy as np

from agent.types import Doubles, Floats


def own(confidence: Floats) -> Doubles:
    """(n,) chance that the label in hand is wrong: what an answer mends of the item itself."""
    return np.clip(1.0 - np.asarray(confidence, np.float64), 0.0, 1.0)
