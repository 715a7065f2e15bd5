"""Twenty reviewers at once before the real pages, and what the ledger holds of it: `python -m eval.review_load`.

Each reviewer is a thread that does over HTTP what the page does, without a pause for thought, against
`tutelage review --web` as a process of its own; reviewers and server share the cores. Every acknowledged answer is
looked up in the ledger afterwards. Then the same while the server is killed (SIGKILL) ten times and started again.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from eval import _log
from eval._postgres import absent, postgres
from eval._reviewers import Held, furnish, invite, load

PEOPLE, ANSWERS, KILLS = 20, 20_000, 10
ROWS = ("sqlite", "sqlite, killed", "postgresql", "postgresql, killed")


def once(row: str, answers: int) -> Held:
    """One row of the table. SQLite's file lies where temporary files do."""
    database, _, killed = row.partition(", ")
    with tempfile.TemporaryDirectory() as folder, postgres() if database == "postgresql" else nullcontext() as url:
        room = furnish(Path(folder) / "room", answers + 4 * PEOPLE, url)
        return load(room, invite(room, PEOPLE), answers, KILLS if killed else 0)


def table(held: dict[str, Held]) -> list[str]:
    """The figures as Markdown."""
    lines = [
        "| ledger | acknowledged | lost | doubled | killed | requests repeated | answers/s | p50 ms | p95 | p99 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        one = held.get(row)
        figures = [""] * 9
        if one is not None:
            rate = one.acknowledged / one.seconds
            at = [f"{one.at(share):,.0f}" for share in (0.5, 0.95, 0.99)]
            counts = [f"{n:,}" for n in (one.acknowledged, one.lost, one.doubled, one.kills, one.repeated)]
            figures = [*counts, f"{rate:.0f}", *at]
        lines.append(f"| {row} | " + " | ".join(figures) + " |")
    lines += ["| goal | 20,000 | 0 | 0 | 10 |  |  |  |  | told |", ""]
    failed = [f"{row}: {words}" for row, one in held.items() for words in one.failed]
    return lines + NOTES.splitlines() + [f"A reviewer gave up: {words}" for words in failed]


NOTES = f"""
{PEOPLE} reviewers without a pause: GET /ahead, then POST /answer, whose response says or brings the next card, and so
on. Milliseconds are from the POST to its whole response, of requests that were answered at the first try; reviewers and
server shared {os.cpu_count()} cores with whatever else ran (load average of the last quarter of an hour, as this was
written: {os.getloadavg()[2]:.0f}). Doubled counts a second answer to a question or to an item, and an answer that was
acknowledged to two reviewers. Answers under way when enough were acknowledged are saved, too.""".strip()


def main() -> None:
    """Measure, print, log."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="2,000 answers, SQLite only")
    options.add_argument("--json", type=Path, help="gather the figures there")
    options.add_argument("--rows", default="0,1,2,3", help=f"of {', '.join(ROWS)}: numbers from 0 on")
    options.add_argument("--answers", type=int, default=ANSWERS)
    options.add_argument("--log", action="store_true", help="write the table into the log: after the last piece")
    chosen = options.parse_args()
    rows = ROWS[:2] if chosen.quick else [ROWS[int(row)] for row in chosen.rows.split(",") if row]
    known = json.loads(chosen.json.read_text()) if chosen.json and chosen.json.exists() else {}
    held = {row: Held(**told) for row, told in known.items()}
    for row in rows:
        if row.startswith("postgresql") and (why := absent()):
            print(f"left out: {why}")
            continue
        held[row] = once(row, 1_000 if chosen.quick else chosen.answers)
        if chosen.json:
            chosen.json.write_text(json.dumps({row: asdict(one) for row, one in held.items()}) + "\n")
    lines = table(held)
    print("\n".join(lines))
    _log.append("review_load", lines, quick=chosen.quick or not chosen.log)


if __name__ == "__main__":
    main()
