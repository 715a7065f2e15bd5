"""What the house itself costs: `python -m eval.overhead [--quick] [--json FILE]`. Knows nothing of labels or models.

Ledger: answers committed a second with 64 questions in flight, each awaiting its own commit on this disk
(SQLite, synchronous=FULL); CPU seconds to write 100,000 decisions and to read 100,000 answers back.
Start: CPU seconds of `import agent` in a process of its own, less those of an empty Python.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.store import Store
from agent.types import Answer, Call, Decision
from eval import _log

IN_FLIGHT = 64


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table. `goal`: at least this when `more_is_better`, else at most."""

    what: str
    ours: float
    goal: float
    unit: str
    more_is_better: bool = False

    @property
    def met(self) -> bool:
        return self.ours >= self.goal if self.more_is_better else self.ours <= self.goal

    def cells(self) -> tuple[str, str, str, str]:
        sign = "≥" if self.more_is_better else "<"
        digits = 0 if self.goal >= 100 else 2
        ours, goal = f"{self.ours:,.{digits}f} {self.unit}", f"{sign} {self.goal:,g} {self.unit}"
        return self.what, ours.strip(), goal.strip(), "yes" if self.met else "no"


def _key(i: int) -> str:
    return hashlib.sha256(str(i).encode()).hexdigest()


def answers_per_second(folder: Path, quick: bool) -> list[Measured]:
    """Reserved beforehand; timed from the first record to the last acknowledgement."""
    number = 6_000 if quick else 30_000
    calls = [Call(_key(i), "recipe", _key(-i), "small", usd=0.001, turn=1) for i in range(number)]
    answer = Answer("A", {"A": -0.05, "B": -3.2, "C": -5.1}, 0.0005, 220, 1, 180, "model")
    with Store.open(folder / "answers.db") as store:
        store.reserve(calls, None)

        async def all_of_them() -> float:
            left = iter(calls)

            async def place() -> None:
                for call in left:
                    await store.record(call.key, answer)

            start = time.perf_counter()
            await asyncio.gather(*(place() for _ in range(IN_FLIGHT)))
            return time.perf_counter() - start

        seconds = asyncio.run(all_of_them())
        assert len(store.answers_since(0)) == number
        start = time.process_time()
        store.answers_since(0)
        reading = (time.process_time() - start) * 100_000 / number
    return [
        Measured(f"committed answers, {IN_FLIGHT} in flight", number / seconds, 5_000, "/s", more_is_better=True),
        Measured("reading 100,000 answers back, CPU", reading, 2.0, "s"),
    ]


def decisions_cpu(folder: Path, quick: bool) -> list[Measured]:
    """100,000 decisions in one transaction (a tenth of it, scaled, when quick)."""
    number = 10_000 if quick else 100_000
    decisions = [Decision(_key(i), "accept", "student", "spam", 0.97, "above its bar", 1) for i in range(number)]
    with Store.open(folder / "decisions.db") as store:
        start = time.process_time()
        store.decide(decisions)
        seconds = (time.process_time() - start) * 100_000 / number
    return [Measured("writing 100,000 decisions, CPU", seconds, 0.7, "s")]


def import_cpu(folder: Path, quick: bool) -> list[Measured]:
    """The least of several tries: the rest is the machine's other work."""

    def child(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    tries = 3 if quick else 7
    ours = min(child("import agent") for _ in range(tries)) - min(child("pass") for _ in range(tries))
    return [Measured("import agent, CPU", max(0.0, ours), 0.3, "s")]


def turn_cpu(folder: Path, quick: bool) -> list[Measured]:
    """Turns over 100,000 items, 20 labels: all but the student's training and the LLM (a tenth of it when quick)."""
    items = 10_000 if quick else 100_000
    command = [sys.executable, "-m", "eval._turn_cpu", str(folder), str(items), "5"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    # The last interval holds a turn, every decision written once more, the certificate and the check against gold.
    return [
        Measured(f"a turn on {items:,} items, CPU, the dearest of the first four", max(found["turns"][:-1]), 3.0, "s"),
        Measured(
            f"the last turn and the end (all decisions, certificate), {items:,} items, CPU",
            found["turns"][-1],
            5.0,
            "s",
        ),
        Measured(f"peak memory of that run ({items:,} items)", found["peak_gb"], 1.0, "GB"),
    ]


MEASURES: tuple[Callable[[Path, bool], list[Measured]], ...] = (answers_per_second, decisions_cpu, import_cpu, turn_cpu)
"""Each is given an empty folder and whether to be quick."""


def table(measured: Sequence[Measured]) -> list[str]:
    """The rows as a Markdown table."""
    rows = [("what", "ours", "goal", "met"), *(one.cells() for one in measured)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines


def main() -> int:
    """Measures, prints the table, notes it in the log."""
    parser = argparse.ArgumentParser(prog="python -m eval.overhead", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="less of everything, within 50 seconds; not logged")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    parser.add_argument("--folder", type=Path, help="where the ledgers are written (default: the temporary folder)")
    options = parser.parse_args()
    measured: list[Measured] = []
    for measure in MEASURES:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            measured += measure(Path(folder), options.quick)
    lines = table(measured)
    print("\n".join(lines))
    if options.json:
        options.json.write_text(json.dumps([{**asdict(one), "met": one.met} for one in measured], indent=1) + "\n")
    _log.append("overhead", lines, options.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
