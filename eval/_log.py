"""Appends what an evaluation printed to eval/LOG.md, dated. Knows nothing of what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

LOG = Path(__file__).with_name("LOG.md")


def append(name: str, lines: Sequence[str], quick: bool = False) -> None:
    """One dated entry. Quick runs are for trying out and leave no trace."""
    if quick:
        return
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    if not LOG.exists():
        LOG.write_text("# Log of measurements\n\nDated, newest last; what did not work stays.\n")
    with LOG.open("a", encoding="utf-8") as handle:
        handle.write(f"\n## {stamp} · `python -m eval.{name}`\n\n" + "\n".join(lines) + "\n")
