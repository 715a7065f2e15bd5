"""What became of questions that were put into files: counts and words. Knows no file, ledger or provider."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.types import Call


@dataclass
class Sent:
    """What became of questions and batches. `again`: failed or expired, and open again; `tired`: calls given up.

    `waiting`: one line a batch whose answers are still to come. `paused`: why nothing more can be done now.
    """

    answered: int = 0
    failed: int = 0
    again: int = 0
    refused: int = 0
    short: str = ""
    tired: list[Call] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    paused: str = ""
