"""What `tutelage serve` takes and how soon it sees drift: `python -m eval.serving [--quick] [--json FILE]`.

A real server process on loopback with a student taught 3,000 banking77 questions; a client process that asks as fast as
it is answered (`eval/_load.py`). Texts a second are those of one core: texts over the server's CPU seconds. Latencies
are those of this machine at that moment, with client and server on the same cores. The drift monitor runs on every row.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from agent import drift, plugins, teach
from agent.kinds import single
from agent.types import Context, Item, Part, Task
from eval import _drifting, _log, _sets

ROOT = Path(__file__).parent.parent
TAUGHT = 3_000
HEAD = ("what", "ours", "goal", "met", "beside it")


@dataclass(frozen=True)
class Line:
    """A row of the table. goal: in words; met: None where it is only reported."""

    what: str
    ours: str
    goal: str = ""
    met: bool | None = None
    beside: str = ""

    def cells(self) -> tuple[str, ...]:
        return self.what, self.ours, self.goal, {None: "", True: "yes", False: "no"}[self.met], self.beside


def model(name: str, folder: Path) -> Path:
    """A student of that name, taught and saved with its reference."""
    data = _sets.load("banking77")
    rows = _sets.sample(data.train, TAUGHT, 0)
    task = Task("banking77", "single", dict.fromkeys(data.labels, ""))
    layout = single.choices(task)
    module = plugins.load("students", name)
    student = module.build(module.Settings(), Context(task, layout, 0, _drifting.CACHE, "."))
    features = student.features([Item(str(i), (Part("text/plain", row.text),)) for i, row in enumerate(rows)])
    targets = np.zeros((len(rows), layout.width), dtype=np.float32)
    targets[np.arange(len(rows)), [data.labels.index(row.label) for row in rows]] = 1
    lesson = teach.Lesson(np.arange(len(rows)), targets, np.ones(len(rows), dtype=np.float32))
    said = teach.teach(student, features, lesson, len(rows), 3, 0)
    student.save(str(folder / name))
    made = drift.reference(features, said, layout)
    assert made is not None
    drift.write(made, folder / name)
    return folder / name


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_of(pid: int) -> float:
    """The most memory it ever had, MB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1_000


def loads(folder: Path, cases: Sequence[tuple[int, int]], seconds: float) -> list[dict[str, float]]:
    """One server, each case (connections, texts a request) in turn."""
    texts = "\n".join(" ".join(row.text.split()) for row in _sets.load("banking77").test)
    env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "agent", "serve", "--model", str(folder), "--port", "0", "--quiet"]
    out = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=env) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip() + "/predict"
            for connections, size in cases:
                words = [sys.executable, "-m", "eval._load", url, str(connections), str(size), str(seconds)]
                client = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                assert client.stdin is not None and client.stdout is not None
                client.stdin.write(texts)
                client.stdin.close()
                client.stdout.readline()  # counting begins
                before = cpu_of(server.pid)
                found = json.loads(client.stdout.readline())
                found["cpu"] = cpu_of(server.pid) - before
                client.wait()
                out.append(found | {"peak": peak_of(server.pid)})
        finally:
            server.terminate()
    return out


def predicted(folder: Path) -> list[Line]:
    """`tutelage predict` on a long CSV: rows a CPU second, and the memory of a short and of a long file."""
    texts = [" ".join(row.text.split()) for row in _sets.load("banking77").test]
    peaks, rate = [], 0.0
    for rows in (10_000, 100_000):
        with (folder / "rows.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([("text",), *((texts[i % len(texts)],) for i in range(rows))])
        command = [
            sys.executable,
            "-m",
            "agent",
            "predict",
            str(folder / "rows.csv"),
            "--model",
            str(folder / "static"),
        ]
        command += ["--text", "text", "--out", str(folder / "out.parquet"), "--quiet"]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        _, code, used = os.wait4(process.pid, 0)
        process.returncode = code
        peaks.append(used.ru_maxrss / 1_000)
        rate = rows / (used.ru_utime + used.ru_stime)
    beside = f"with its start; peak {peaks[1]:.0f} MB, of 10,000 rows {peaks[0]:.0f} MB"
    return [Line("static: predict, 100,000 rows of CSV to Parquet", f"{rate:,.0f} /s a core", "", None, beside)]


def served(name: str, cases: Sequence[tuple[int, int]], seconds: float, goal: float | None) -> list[Line]:
    """Lines of one student."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        made = model(name, Path(folder))
        taught = time.process_time() - began
        for (connections, size), found in zip(cases, loads(made, cases, seconds), strict=True):
            rate = found["texts"] / found["cpu"]
            many = f"{connections} connections, " + ("a text a request" if size == 1 else f"{size} texts a request")
            beside = (
                f"p50 {found['p50']:.1f} ms, p99 {found['p99']:.1f} ms; {found['texts'] / found['seconds']:,.0f}/s "
            )
            beside += (
                f"by the clock, {100 * found['cpu'] / found['seconds']:.0f} % of a core; peak {found['peak']:.0f} MB"
            )
            beside += f"; {found['failed']:.0f} failed" if found["failed"] else ""
            wanted = "" if goal is None else f"≥ {goal:,.0f} /s"
            met = None if goal is None else rate >= goal and not found["failed"]
            lines.append(Line(f"{name}: {many}", f"{rate:,.0f} /s a core", wanted, met, beside))
        if name == "static":
            lines += predicted(Path(folder))
        print(f"{name}: taught in {taught:.1f} CPU s", file=sys.stderr)
    return lines


def drifts(quick: bool) -> list[Line]:
    """False alarms and rows until the alarm."""
    lines = []
    worlds = _drifting.worlds(quick)
    bank = next(iter(worlds.values()))
    runs = 40 if quick else 1_000
    highest = np.array([_drifting.stream(bank, 0, seed, 0).highest for seed in range(runs)])
    for alpha in (0.01, 0.05):
        false = int((highest >= 1 / alpha).sum())
        what = f"drift: false alarms in {runs:,} streams of 2,000 rows without a change, alpha {alpha}"
        cell, wanted = false_alarms(false, runs, alpha)
        lines.append(Line(what, *cell, wanted, "rows of the reference taught the student nothing"))
    for name, of in worlds.items():
        for share in (1.0, 0.2):
            heard = [_drifting.stream(of, share, seed) for seed in range(5 if quick else 20)]
            found = [None if one.alarm_at is None else one.alarm_at - _drifting.BEFORE for one in heard]
            seen = [at for at in found if at is not None and at > 0]
            early = sum(at is not None and at <= 0 for at in found)
            middle = f"{np.median(seen):.0f} rows" if seen else "not seen"
            beside = f"seen in {len(seen)} of {len(found)}, {early} too early; alarm after {min(seen, default=0)} to "
            beside += f"{max(seen, default=0)} rows"
            what = f"drift: {name}, {100 * share:.0f} % of the rows: rows until the alarm, median"
            lines.append(Line(what, middle, "", None, beside))
    return lines


def false_alarms(false: int, runs: int, alpha: float) -> tuple[tuple[str, str], bool]:
    """The cells of a line and whether it is met: at most alpha as counted, no allowance for chance.

    Beside it the count that a rate of alpha exceeds once in a hundred: what lies between speaks neither way.
    """
    from scipy.stats import binom

    most = int(binom.ppf(0.99, runs, alpha))
    found = f"{false} ({math.ceil(1_000 * false / runs) / 10:.1f} %; chance allows {most} at that rate)"
    return (found, f"≤ {100 * alpha:g} %"), false <= alpha * runs


def table(lines: Sequence[Line]) -> list[str]:
    """As Markdown."""
    rows = [HEAD, tuple("---" for _ in HEAD), *[line.cells() for line in lines]]
    return ["| " + " | ".join(row) + " |" for row in rows]


def main() -> None:
    """Measure, print, log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=["static", "tfidf", "linear", "drift"])
    args = parser.parse_args()
    seconds = 2.0 if args.quick else 10.0
    short, slow = [(64, 1), (8, 32)], [(1, 1), (8, 1), (32, 1), (8, 32)]
    parts: dict[str, Callable[[], list[Line]]] = {
        "static": lambda: served("static", short, seconds, 2_000),
        "tfidf": lambda: served("tfidf", short, seconds, None),
        "linear": lambda: served("linear", slow[:3] if args.quick else slow, seconds, None),
        "drift": lambda: drifts(args.quick),
    }
    lines = [line for name, part in parts.items() if args.only in (None, name) for line in part()]
    printed = table(lines)
    print("\n".join(printed))
    _log.append("serving" + (f" --only {args.only}" if args.only else ""), printed, args.quick)
    if args.json:
        args.json.write_text(json.dumps([asdict(line) for line in lines], ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
