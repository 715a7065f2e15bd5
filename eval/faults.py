"""A run against every fault of the fault server: `python -m eval.faults [--quick] [--items N] [--json FILE]`.

For each mode of `tests.servers.faulty`, 100 items are labeled by a whole run with one machine, and by the plain
`openai` client (max_retries = 2) in a gather loop over the same texts. Faults that pass hit a fifth of the requests, by
seed; the others hit all. Counted: labels that are right, wrong (another label, or a text that is no label, taken for
one), items without a label, requests, the most requests for one item, seconds. Ours waits shorter between attempts
than by default (0.05 s, not 1 s), and an attempt has 1 s; so has the client's. Goal: nothing wrong, and nothing lost
without a reason; a doomed run sends at most one request a place (8).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import json
import logging
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from agent import config as settings
from agent import loop
from agent.ask import Policy
from agent.store import Store
from eval import _log
from tests.servers.faulty import BODIES, MODES, SAID, Faulty

LABELS = ("spam", "ham")
SECONDS = 1.0
POLICY = Policy(wait_s=0.05, longest_wait_s=0.5, deadline_s=3.0, stall_s=6.0, patience_s=30.0)

PASSING = {
    "hang", "drip", "cut", "reset", "html200", "empty200", "badjson", "badutf8", "huge", "wrongtype", "list200",
    "err200", "nochoices", "emptychoices", "nullcontent", "length", "reasoning", "ignore", "wrongcode", "400context",
    "413", "400filter", "429", "429seconds", "429date", "503", "500", "529",
}  # fmt: skip
"""Modes that hit a fifth of the requests."""


@dataclass
class Row:
    """What became of one mode, by one way of asking."""

    mode: str
    right: int
    wrong: int
    without: int
    hits: int
    worst: int
    seconds: float
    end: str = ""


def truth(i: int) -> str:
    """The right label of item i."""
    return LABELS[i % 2]


def text(i: int) -> str:
    """Item i, with the mark by which the server knows it."""
    return f"message {i} [[m{i} {truth(i)}]]"


def server(mode: str) -> Faulty:
    """The fault server in a mode, a fifth of the time where the fault passes."""
    return Faulty(mode, share=0.2 if mode in PASSING else 1.0, after=0.2, seed=5)


def ours(mode: str, items: int) -> Row:
    """A whole run."""
    with tempfile.TemporaryDirectory() as folder, server(mode) as faulty:
        here = Path(folder)
        with open(here / "pool.csv", "w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows([["id", "text"], *([f"m{i}", text(i)] for i in range(items))])
        (here / "tutelage.toml").write_text(
            '[task]\nlabels = { spam = "unwanted", ham = "wanted" }\n'
            '[pool]\npath = "pool.csv"\ntext = "text"\nid = "id"\n'
            f'[[rung]]\noracle = "openai"\nmodel = "tiny"\nbase_url = "{faulty.url}"\ndeadline = {SECONDS}\n'
        )
        config, began = settings.load(here / "tutelage.toml", ()), time.perf_counter()
        finished = loop.run(config, policy=POLICY)
        took = time.perf_counter() - began
        right, wrong = _labels(config)
        end = finished.reason if finished.code else _reason(config)
        worst = max(faulty.hits.values(), default=0)
        return Row(mode, right, wrong, items - right - wrong, faulty.total, worst, took, _plain(end))


def _labels(config: settings.Config) -> tuple[int, int]:
    """Labels that are right and wrong, of the items that were answered."""
    from agent import export
    from agent.pool import Pool

    with Store.open(config.store_url) as store:
        pool = Pool(config.folder / "pool", store.shards())
        answered = {str(pool.item(pool.position(call.item)).name) for _, call, _ in store.answers_since(0)}
        table = export.labels(config, store, pool)
    pairs = [(name, label) for name, label in zip(table["id"], table["label"], strict=True) if name in answered]
    right = sum(label == truth(int(name[1:])) for name, label in pairs)
    return right, len(pairs) - right


def _reason(config: settings.Config) -> str:
    """Why items were set aside: the most frequent reason among calls that have no answer."""
    from sqlalchemy import text as sql

    query = sql(
        "SELECT body FROM answers WHERE status <> 'ok' AND key NOT IN (SELECT key FROM answers WHERE status = 'ok')"
    )
    with Store.open(config.store_url) as store:
        found = Counter(asyncio.run(store.do(lambda connection: list(connection.execute(query).scalars()))))
    return f"set aside: {json.loads(found.most_common(1)[0][0])['error']}" if found else ""


def _plain(reason: str) -> str:
    """A reason without the address of this run."""
    return re.sub(r"http://127\.0\.0\.1:\d+(/v1)?", "SERVER", reason)


def peer(mode: str, items: int) -> Row:
    """The plain client, as a script would use it."""
    import openai

    found: list[str | None] = [None] * items

    async def one(client: openai.AsyncOpenAI, i: int) -> None:
        prompt = f"Codes:\nA: spam\nB: ham\n\nAnswer with one code.\n\n{text(i)}"
        try:
            reply = await client.chat.completions.create(
                model="tiny", messages=[{"role": "user", "content": prompt}], max_tokens=16, temperature=0.0
            )
            said = reply.choices[0].message.content
        except Exception:  # noqa: BLE001 - a script passes over what fails
            return
        found[i] = {"A": "spam", "B": "ham"}.get(said, said) if said else None

    async def everything(url: str) -> None:
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=2, timeout=SECONDS) as client:
            await asyncio.gather(*(one(client, i) for i in range(items)))

    with server(mode) as faulty:
        began = time.perf_counter()
        with contextlib.suppress(TimeoutError):
            asyncio.run(asyncio.wait_for(everything(faulty.url), 60))
        took = time.perf_counter() - began
        right = sum(label == truth(i) for i, label in enumerate(found))
        without = sum(label is None for label in found)
        worst = max(faulty.hits.values(), default=0)
        gone = f"{faulty.elsewhere} texts sent elsewhere" if faulty.elsewhere else ""
        return Row(mode, right, items - right - without, without, faulty.total, worst, took, gone)


def table(rows: list[tuple[Row, Row]], items: int) -> list[str]:
    """Ours and the peer's, side by side."""
    lines = [
        f"{items} items; ours: right / wrong / without a label; the client alone: the same",
        "",
        "| mode | ours | requests (most for one item) | s | how it ended | client | requests (most) | s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for a, b in rows:
        share = f"{a.mode}, a fifth" if a.mode in PASSING else a.mode
        of_ours, of_client = (f"{row.right} / {row.wrong} / {row.without}" for row in (a, b))
        lines.append(
            f"| {share} | {of_ours} | {a.hits} ({a.worst}) | {a.seconds:.1f} | {a.end} | "
            f"{of_client}{'; ' + b.end if b.end else ''} | {b.hits} ({b.worst}) | {b.seconds:.1f} |"
        )
    total = [[sum(getattr(row, name) for row in side) for name in ("right", "wrong", "without", "hits")]
             for side in zip(*rows, strict=True)]  # fmt: skip
    lines.append(
        f"| all | {' / '.join(map(str, total[0][:3]))} | {total[0][3]} | | goal: 0 wrong | "
        f"{' / '.join(map(str, total[1][:3]))} | {total[1][3]} | |"
    )
    return lines


def main() -> int:
    """Run every mode, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 items and a quarter of the modes; not logged")
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    assert set(MODES) >= PASSING and set(SAID) | set(BODIES) <= set(MODES)
    items, modes, rows = (20, MODES[::4], []) if options.quick else (options.items, MODES, [])
    for mode in modes:
        rows.append((ours(mode, items), peer(mode, items)))
        print(f"{mode}: {rows[-1][0].seconds:.1f} s and {rows[-1][1].seconds:.1f} s", file=sys.stderr)
    lines = table(rows, items)
    print("\n".join(lines))
    if options.json:
        options.json.write_text(json.dumps([{"ours": asdict(a), "client": asdict(b)} for a, b in rows], indent=1))
    _log.append("faults", lines, options.quick)
    return int(any(a.wrong for a, _ in rows))


if __name__ == "__main__":
    sys.exit(main())
