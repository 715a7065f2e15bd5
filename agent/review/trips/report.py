"""What became of the rows of a file that came back, in plain words. Knows no format and no ledger."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.review.queue import number
from agent.types import Answer


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that says something and was not taken. id: the user's own, "" where the row has none."""

    row: int
    id: str
    why: str


@dataclass
class Report:
    """`taken` and `unsure` are new answers, of which `late` came after somebody else's and are extra opinions.

    `empty`: left open. `already`: the same person's same answer was there before. `people`: who answered.
    """

    taken: int = 0
    unsure: int = 0
    late: int = 0
    empty: int = 0
    already: int = 0
    people: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        """How many rows say something that was not taken."""
        return len(self.refused)

    def refuse(self, row: int, id: str, why: str) -> None:
        """A row was not taken."""
        self.refused.append(Refused(row, id, why))
        self.refused.sort(key=lambda refused: refused.row)

    def count(self, answer: Answer, late: bool) -> None:
        """An answer is in the ledger."""
        self.unsure += answer.unsure
        self.taken += not answer.unsure
        self.late += late

    def __str__(self) -> str:
        """In plain words, a line for every reason for which rows were not taken."""
        numbers = f"{number(self.taken, 'label')} taken, {self.unsure:,} marked as cannot tell"
        lines = [f"{numbers}, {self.empty:,} left empty, {self.already:,} known already"]
        if self.late:
            lines.append(
                f"of these {number(self.late, 'answer')} came after somebody else's, which stands: kept as an extra "
                "opinion"
            )
        lines += self.notes
        alike: dict[str, list[str]] = {}
        for refused in self.refused:
            alike.setdefault(refused.why, []).append(_row(refused))
        lines += [f"row{'s' * (len(rows) > 1)} {', '.join(rows)}: {why}" for why, rows in alike.items()]
        if self.refused:
            lines.append(f"{number(self.rejected, 'row')} not taken: mend the file and import it again")
        return "\n".join(lines)


def _row(refused: Refused) -> str:
    shown = refused.id if refused.id.isprintable() else ascii(refused.id)[1:-1]
    return f"{refused.row} ({shown[:40]})" if refused.id else str(refused.row)
