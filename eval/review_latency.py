"""From the key to the next card while the loop trains beside: `python -m eval.review_latency`.

A ledger of 100,000 made-up items; `tutelage run --wait` labels them with recorded answers, teaches its student after
each turn and goes on while people answer; `tutelage review --web` is a process beside it, both as users start them.
One reviewer answers: over HTTP (POST of an answer to the whole response, which says or brings the next card), and in
Chromium (keydown to the frame in which the next card stands).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent import config as settings
from agent.store import Store
from eval import _log
from eval._reviewers import ROOT, Reviewer, Server, invite

GOAL = 100.0
LABELS = ("billing", "technical", "delivery", "account", "refund", "invoice", "login", "other")
WORDS = ("please", "again", "still", "order", "card", "app", "today", "number", "error", "late", "charge", "help")
THOUGHT = 0.35
"""Seconds between a card and its key: the page takes no key sooner than a quarter of a second after the one before."""
WATCH = """() => {
  window.took = [];
  let begun = 0, key = document.getElementById("card").dataset.key;
  document.addEventListener("keydown", () => { begun = performance.now(); }, true);
  new MutationObserver(() => {
    const now = document.getElementById("card")?.dataset.key;
    if (!now || now === key) return;
    key = now;
    requestAnimationFrame(() => window.took.push(performance.now() - begun));
  }).observe(document.getElementById("desk"), { childList: true, subtree: true, attributes: true });
}"""


def furnish(folder: Path, items: int) -> None:
    """The pool, the recorded answers (85 of 100 right) and a configuration."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = np.random.default_rng(0)
    truth, said = draw.integers(0, len(LABELS), (2, items))
    words = draw.integers(0, len(WORDS), (items, 6))
    texts = [
        f"ticket {i}: my {LABELS[t]}, " + " ".join(WORDS[w] for w in row)
        for i, (t, row) in enumerate(zip(truth.tolist(), words.tolist(), strict=True))
    ]
    said = np.where(draw.random(items) < 0.85, truth, said)
    ids = [str(i) for i in range(items)]
    pq.write_table(pa.table({"id": ids, "text": texts}), folder / "pool.parquet")
    pq.write_table(pa.table({"id": ids, "label": [LABELS[k] for k in said.tolist()]}), folder / "votes.parquet")
    (folder / "tutelage.toml").write_text(
        f"""
[task]
question = "Which team?"
labels = {json.dumps(list(LABELS))}
[pool]
path = "pool.parquet"
text = ["text"]
id = "id"
[goal]
person_minutes = 400
pilot = 400
audit = 300
[[rung]]
student = "tfidf"
[[rung]]
oracle = "replay"
path = "votes.parquet"
[[rung]]
oracle = "person"
seconds = 6
"""
    )


class Beside:
    """`tutelage run --wait` as a process; how much of a core it took."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = open(folder / "run.log", "w")  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent", "run", "--wait", "--json"], cwd=folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self._log,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip

    def until(self, open_questions: int, answers: int, seconds: float) -> None:
        """Wait until so many questions are open to people and machines gave so many answers."""
        end, config = time.monotonic() + seconds, settings.load(self.folder / "tutelage.toml")
        while time.monotonic() < end and self.process.poll() is None:
            if (config.folder / "ledger.db").exists():
                with Store.open(config.store_url) as store:
                    waiting, heard = len(store.open_calls(annotator="person")), sum(store.answered().values())
                if waiting >= open_questions and heard >= answers:
                    return
            time.sleep(2)
        raise RuntimeError(f"the run did not come so far: {(self.folder / 'run.log').read_text()[-800:]}")

    def cpu(self) -> float:
        """CPU seconds so far."""
        ticks = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")

    def told(self) -> dict[str, int]:
        """Turns begun, and machines' answers in the ledger."""
        with Store.open(settings.load(self.folder / "tutelage.toml").store_url) as store:
            return {"turns": store.last_turn(), "answers": sum(store.answered().values())}

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._log.close()


def by_http(server: Server, token: str, answers: int) -> list[float]:
    """Milliseconds of each answer."""
    one = Reviewer(server, token, THOUGHT)
    one.work(lambda: len(one.saved) >= answers)
    if one.failed:
        raise RuntimeError(one.failed)
    return [1000 * took for took in one.took]


def by_key(server: Server, token: str, answers: int) -> list[float]:
    """Milliseconds from keydown to the next card, in Chromium."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--no-first-run", "--disable-dev-shm-usage"]  # fmt: skip
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        page: Any = browser.new_page()
        page.goto(f"http://{server.at}/login#{token}")
        page.wait_for_url(lambda url: "/login" not in url)
        page.wait_for_selector("#card[data-key]")
        page.evaluate(WATCH)
        for number in range(answers):
            time.sleep(THOUGHT)
            page.keyboard.press(str(1 + number % len(LABELS)))
            page.wait_for_function(f"() => window.took.length > {number}", timeout=30_000)
        took: list[float] = page.evaluate("() => window.took")
        browser.close()
    return took


def quantile(took: Sequence[float], share: float) -> float:
    """Of the sorted times."""
    ranked = sorted(took)
    return ranked[min(int(share * len(ranked)), len(ranked) - 1)]


def table(found: dict[str, Any]) -> list[str]:
    """The figures as Markdown."""
    head = "| from the key to the next card, ms | answers | p50 | p95 | p99 | most | goal |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for name in ROWS:
        took = found.get(name) or []
        at = [f"{quantile(took, share):,.1f}" for share in (0.5, 0.95, 0.99)] if took else [""] * 3
        most = f"{max(took):,.1f}" if took else ""
        goal = f"p95 ≤ {GOAL:.0f}" if "beside" in name else ""
        lines.append(f"| {name} | {len(took) or ''} | {' | '.join(at)} | {most} | {goal} |")
    return [*lines, "", found["note"]]


ROWS = ("HTTP, loop beside", "Chromium, loop beside", "HTTP, no loop")


def measure(items: int, answers: int, heard: int) -> dict[str, Any]:
    """All rows of the table."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        furnish(folder, items)
        run, server = Beside(folder), Server(folder)
        try:
            run.until(3 * answers + 20, heard, 280)
            tokens = invite(folder, 3)
            server.start()
            cpu, clock, before = run.cpu(), time.monotonic(), run.told()
            found[ROWS[0]] = by_http(server, tokens[0], answers)
            found[ROWS[1]] = by_key(server, tokens[1], answers)
            share, after = (run.cpu() - cpu) / (time.monotonic() - clock), run.told()
            load = os.getloadavg()[0]
            run.end()
            found[ROWS[2]] = by_http(server, tokens[2], answers)
        finally:
            run.end()
            server.end()
    found["note"] = (
        f"{items:,} items. While people answered the loop took {share:.2f} of a core; machines' answers in the ledger "
        f"went from {before['answers']:,} to {after['answers']:,}, turns from {before['turns']} to {after['turns']}. "
        f"{os.cpu_count()} cores, load average {load:.1f}, all that ran counted; {THOUGHT} s of thought before a key."
    )
    return found


def main() -> None:
    """Measure, print, log."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="5,000 items, 20 answers a row")
    options.add_argument("--json", type=Path, help="write the figures there")
    options.add_argument("--answers", type=int, default=200, help="a row")
    options.add_argument("--log", action="store_true", help="write the table into the log")
    chosen = options.parse_args()
    few = chosen.quick
    found = measure(5_000 if few else 100_000, 20 if few else chosen.answers, 500 if few else 10_000)
    lines = table(found)
    print("\n".join(lines))
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    _log.append("review_latency", lines, quick=few or not chosen.log)


if __name__ == "__main__":
    main()
