"""Labels a second that one client gets out of a server that is never the bottleneck: `python -m eval.throughput`.

The server answers each question after 50 ms, whatever is asked at once (`eval/_server.py`, on a core of its own). Each
client is a process of its own on the other core with 256 questions in flight; its CPU seconds count from the first to
the last label, starting Python aside. Ours keeps every answer in a ledger on disk (synchronous=FULL); the plain client
keeps nothing. Peers run in their own environments (`make peers`); one that is not there is left out with a word.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from eval import _log

ROOT = Path(__file__).parent.parent
GOALS = {"plain": 4.0, "curator": 10.0, "docetl": 10.0, "autolabel": 10.0}
"""How many times as many labels a second as a peer ours is to bring."""
LABELS_A_SECOND = 1000
MS_A_LABEL = 0.8


@dataclass(frozen=True, slots=True)
class Ran:
    """One client: labels that came back right, seconds, CPU seconds."""

    client: str
    asked: int
    labels: int
    seconds: float
    cpu: float

    @property
    def ms(self) -> float:
        """Milliseconds of CPU a label."""
        return 1000 * self.cpu / max(self.labels, 1)

    @property
    def rate(self) -> float:
        """Labels a second."""
        return self.labels / self.seconds


def measure(client: str, command: Sequence[str], url: str, count: int) -> Ran | str:
    """Run one client; what went wrong, in words, when it brought nothing."""
    try:
        done = subprocess.run([*command, url, str(count)], cwd=ROOT, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return f"{client}: no end within 600 s"
    last = done.stdout.strip().splitlines()[-1:] or [""]
    if done.returncode or not last[0].startswith("{"):
        return f"{client}: {(done.stderr.strip().splitlines() or ['ended without a word'])[-1][:200]}"
    found = json.loads(last[0])
    return Ran(client, count, found["labels"], found["seconds"], found["cpu"])


def all_of_them(quick: bool) -> tuple[list[Ran], list[str]]:
    """Every client in turn at one server, and what is to be said of those that did not run."""
    ours = [sys.executable, "-m", "eval.peers.tutelage"]
    runs: list[tuple[str, list[str], int]] = [
        ("tutelage, asking", [*ours, "ask"], 4_000 if quick else 20_000),
        ("tutelage run, whole", [*ours, "run"], 4_000 if quick else 20_000),
        ("plain", [sys.executable, "-m", "eval.peers.plain"], 500 if quick else 3_000),
    ]
    ran, words = [], []
    for name in [name for name in tomllib.loads((ROOT / "eval" / "peers.toml").read_text()) if name in GOALS]:
        python = ROOT / f".venv-peer-{name}" / "bin" / "python"
        if (python.parent.parent / ".ready").exists():
            runs.append((name, [str(python), "-m", f"eval.peers.{name}"], 300 if quick else 2_000))
        else:
            words.append(f"{name}: not installed (make peers)")
    server = subprocess.Popen([sys.executable, "-m", "eval._server"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        for client, command, count in runs:
            result = measure(client, command, url, count)
            if isinstance(result, Ran):
                ran.append(result)
            else:
                words.append(result)
    finally:
        server.kill()
        server.wait()
    return ran, words


def table(ran: Sequence[Ran]) -> list[str]:
    """The figures as Markdown. Ratios are against `tutelage, asking` of the same run."""
    ours = next((r for r in ran if r.client == "tutelage, asking"), None)
    lines = [
        "| client | labels | labels/s | CPU ms a label | ours is faster | goal | ours takes less CPU |",
        "|" + "---|" * 7,
    ]
    for r in ran:
        peer = ours is not None and r.client in GOALS
        faster, less = (f"{ours.rate / r.rate:.1f} ×", f"{r.ms / ours.ms:.1f} ×") if peer and ours else ("", "")
        goal = f"≥ {GOALS[r.client]:g}" if r.client in GOALS else f"≥ {LABELS_A_SECOND:,}/s, ≤ {MS_A_LABEL} ms"
        lines.append(
            f"| {r.client} | {r.labels:,} of {r.asked:,} | {r.rate:,.0f} | {r.ms:.2f} | {faster} | {goal} | {less} |"
        )
    return lines


def main() -> None:
    """Measure, print, log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer labels")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    ran, words = all_of_them(options.quick)
    lines = [*table(ran), "", *words]
    print("\n".join(lines))
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(r) for r in ran], indent=1))
    _log.append("throughput", lines, options.quick)


if __name__ == "__main__":
    main()
