"""`tutelage run --wait`: stays while people answer, until there is enough to go on with. Knows no label."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.cli.house import many

if TYPE_CHECKING:
    from agent.config import Config

POLL = 2.0
"""Seconds between looks at the ledger."""

FEW, SHARE = 20, 0.25
"""So many new answers, or this share of the questions that were open, are worth a turn."""


def for_people(config: Config, flags: str, tell: Callable[[str], None]) -> None:
    """Return once no question to people is open, or enough of them were answered to learn from.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    from agent.cli.figures import opened
    from agent.report.standing import cards

    with opened(config, flags) as store:
        most = left = len(cards(config, store))
        tell(f"{many(left, 'open question')}: answer with  tutelage review{flags}  and the run goes on; Ctrl-C ends it")
        while left and most - left < max(FEW, SHARE * most):
            time.sleep(POLL)
            left = len(cards(config, store))
            most = max(most, left)
