"""Kill -9 at random points: `python -m eval.crash [--quick] [--kills N] [--json FILE]`.

Each run labels a pool through `tutelage run` with 8 calls in flight on an oracle that bills (a line, fsynced, in a
file of its own) before it answers. The process is killed at a random moment, the ledger and the bills are read, and the
run is started again, until it ends by itself. Counted: bills for questions that had an answer in the ledger when the
process died (must be none), bills beyond answers and calls that were under way (must be none), runs that did not end
complete, ledgers that do not verify.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from agent import config as settings
from agent.store import Store
from eval import _log

ITEMS = 240
IN_FLIGHT = 8


def prepare(folder: Path, seed: int) -> None:
    """A pool and a ladder tfidf → scripted (bills first) → recorded people."""
    rng = random.Random(seed)
    words = {"warm": ["sun", "beach", "summer", "sand", "heat"], "cold": ["snow", "ice", "winter", "frost", "wind"]}
    with open(folder / "pool.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "text", "label"])
        for i in range(ITEMS):
            label = rng.choice(sorted(words))
            # Half of the words say nothing, so that the student goes on needing the oracle.
            every = rng.choices(words["warm"] + words["cold"], k=2)
            writer.writerow([i, f"note {i}: {' '.join([rng.choice(words[label]), *every])}", label])
    (folder / "tutelage.toml").write_text(
        f"""
[task]
labels = ["warm", "cold"]
[pool]
path = "pool.csv"
text = ["text"]
id = "id"
gold = "label"
[goal]
accuracy = 0.999
person_minutes = 6
[[rung]]
student = "tfidf"
bar = 1.0
[[rung]]
oracle = "scripted"
accuracy = 0.8
errors = 0.05
latency_s = 0.05
bill_usd = 0.01
in_flight = {IN_FLIGHT}
ledger = "{folder / "bills.txt"}"
[[rung]]
oracle = "person"
people = "gold"
[run]
seed = {seed}
"""
    )


def bills(folder: Path) -> list[str]:
    """Keys of the questions billed, in order."""
    path = folder / "bills.txt"
    return path.read_text().split() if path.exists() else []


def answered(folder: Path) -> set[str]:
    """Keys with a good answer in the ledger."""
    with Store.open(settings.load(folder / "tutelage.toml").store_url) as store:
        return {call.key for _, call, _ in store.answers_since(0) if call.annotator == "scripted"}


def one_run(seed: int, wanted: int, rng: random.Random) -> dict[str, int]:
    """Run until it ends, with up to `wanted` kills; what went wrong, counted."""
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, seed)
        command = [sys.executable, "-m", "agent", "run", "--quiet"]
        while True:
            known = answered(folder) if (folder / "tutelage-run" / "ledger.db").exists() else set()
            before = len(bills(folder))
            process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                _wait_for_a_moment(folder, process, before, rng if found["kills"] < wanted else None)
            finally:
                process.kill()
            _, said = process.communicate()
            found["billed again though answered"] += sum(key in known for key in bills(folder)[before:])
            if process.returncode == -signal.SIGKILL:
                found["kills"] += 1
                found["kills with calls under way"] += len(bills(folder)) > len(answered(folder))
                continue
            if process.returncode != 0:
                sys.exit(f"tutelage run ended with {process.returncode}: {said.decode()[-2000:]}")
            return _judge(folder, found)


def _wait_for_a_moment(folder: Path, process: subprocess.Popen[bytes], before: int, rng: random.Random | None) -> None:
    """Return when it is to be killed: after a random number of new bills, or a random time; or when it has ended."""
    if rng is None:
        process.wait(300)
        return
    more, limit = rng.randint(1, ITEMS // 3), time.monotonic() + rng.uniform(0.3, 12)
    by_time = rng.random() < 0.3
    while process.poll() is None:
        if (by_time or len(bills(folder)) - before < more) and time.monotonic() < limit:
            time.sleep(0.002)
            continue
        time.sleep(rng.uniform(0, 0.05))
        return


def _judge(folder: Path, found: Counter[str]) -> dict[str, int]:
    """After the end: is it complete, does every bill have its answer or its cut-short attempt, does the ledger hold?"""
    with Store.open(settings.load(folder / "tutelage.toml").store_url) as store:
        usage = store.spend().by["scripted"]
        decided = store.decisions()
        found["ledgers that do not verify"] += bool(store.verify())
        found["runs not complete"] += len(decided) != ITEMS or "ask" in decided.actions or bool(store.open_calls())
        counts = Counter(bills(folder))
        keys = answered(folder)
        found["answers without a bill"] += sum(key not in counts for key in keys)
        under_way = found["kills"] * IN_FLIGHT
        found["bills beyond answers and calls under way at a kill"] += max(
            counts.total() - usage.answers - under_way, 0
        )
        found["bills"] += counts.total()
        found["answers"] += usage.answers
        found["bills not in the ledger's money"] += counts.total() * 0.01 > usage.usd + 1e-9
    found["runs"] += 1
    return dict(found)


def main() -> int:
    """Kill, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three kills; not logged")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    kills, rng, total, seed = 3 if options.quick else options.kills, random.Random(7), Counter[str](), 0
    while total["kills"] < kills:
        total.update(one_run(seed, min(6, kills - total["kills"]), rng))
        seed += 1
        print(f"{total['kills']} of {kills} kills", file=sys.stderr)
    bad = {
        "billed again though answered",
        "bills beyond answers and calls under way at a kill",
        "answers without a bill",
        "runs not complete",
        "ledgers that do not verify",
        "bills not in the ledger's money",
    }
    lines = ["| what | count | goal |", "| --- | --- | --- |"]
    lines += [f"| {what} | {total[what]} | {0 if what in bad else ''} |" for what in sorted(total)]
    print("\n".join(lines))
    if options.json:
        options.json.write_text(json.dumps(total, indent=1))
    _log.append("crash", lines, options.quick)
    return int(any(total[what] for what in bad))


if __name__ == "__main__":
    sys.exit(main())
