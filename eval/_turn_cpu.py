"""One run over a pool of many items with a student and an LLM that cost nothing: what a turn itself costs.

Run as a process of its own by `eval.overhead`, so that the peak memory is that of a run: prints one JSON object.
"""

from __future__ import annotations

import csv
import json
import resource
import sys
import time
from itertools import pairwise
from pathlib import Path

from agent import config as settings
from agent import loop

LABELS = [f"label {i:02d}" for i in range(20)]


def main(folder: Path, items: int, turns: int) -> None:
    """CPU seconds of each turn, and the peak resident memory in GB."""
    with open(folder / "pool.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "text", "label"])
        writer.writerows(
            (i, f"item number {i}, of no particular interest to anybody", LABELS[i % 20]) for i in range(items)
        )
    (folder / "tutelage.toml").write_text(
        f"""
[task]
labels = {json.dumps(LABELS)}
[pool]
path = "pool.csv"
text = ["text"]
id = "id"
gold = "label"
[[rung]]
student = "eval._fixed:plugin"
[[rung]]
oracle = "scripted"
[[rung]]
oracle = "person"
people = "gold"
[run]
batch = 256
max_turns = {turns}
acquire = "margin"
"""
    )
    marks: list[float] = []

    def mark(event: loop.Event) -> None:
        if event.kind in ("turn", "stop"):
            marks.append(time.process_time())

    loop.run(settings.load(folder / "tutelage.toml"), report=mark)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(json.dumps({"turns": [b - a for a, b in pairwise(marks)], "peak_gb": peak}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
