"""A task of 1,000 labels: does a list of 20 hold the right one? `python -m eval.shortlist [--quick] [--json FILE]`.

clinc150 twice over: each of the 150 intents is two labels (twins), its texts divided between them at random, so that no
text can tell its twin; 700 synthetic labels are made of two words of the intents' names, "card_weather". Recall is the
share of test texts whose label is among the 20 that the student ranks first: by the labels' names alone, and taught n
texts a label (train split, gold). Then a run on such a task against a loopback server that calls itself vLLM: what
constraints did its requests carry?
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from agent import config as settings
from agent import loop, plugins, shortlist
from agent.types import Context, Item, Part, Task
from eval import _log, _sets

LABELS = 1_000
GOAL = 0.98
TWIN = "_other"


@dataclass(frozen=True, slots=True)
class World:
    """Labels, and rows (text, label): those to learn from and those to test on."""

    labels: list[str]
    train: list[tuple[str, str]]
    test: list[tuple[str, str]]


def world(seed: int) -> World:
    """The 1,000-label task. Raises FileNotFoundError when clinc150_oos is absent."""
    draw = random.Random(seed)
    data = _sets.load("clinc150_oos")
    intents = sorted(set(data.labels) - {"oos"})
    words = sorted({word for name in intents for word in name.split("_") if len(word) > 2})
    labels = [name + end for name in intents for end in ("", TWIN)]
    known = set(labels)
    while len(known) < LABELS:
        known.add("_".join(draw.sample(words, 2)))
    labels += sorted(known - set(labels))

    def split(rows: list[_sets.Row]) -> list[tuple[str, str]]:
        return [(row.text, row.label + draw.choice(("", TWIN))) for row in rows if row.label != "oos"]

    return World(labels, split(data.train), split(data.test))


@dataclass(frozen=True, slots=True)
class Cell:
    """What the student knew, and how often the list of 20 held the label (and its intent, whichever twin)."""

    knew: str
    taught: int
    recall: float
    intent: float
    texts: int
    seconds: float


def recalls(it: World, counts: list[int], tests: int, seed: int, folder: str) -> list[Cell]:
    """Recall at 20 by names alone and after `counts` texts a label."""
    task = Task("many", "single", dict.fromkeys(it.labels, ""))
    layout = plugins.load("kinds", "single").choices(task)
    plugin = plugins.load("students", "linear")
    student = plugin.build(plugin.Settings(), Context(task, layout, seed, folder))
    column = {name: number for number, name in enumerate(it.labels)}
    rows = random.Random(seed + 1).sample(it.test, tests)
    shown = student.features(_items(rows))
    by: dict[str, list[tuple[str, str]]] = {}
    for row in random.Random(seed + 2).sample(it.train, len(it.train)):
        by.setdefault(row[1], []).append(row)
    cells = []
    for count in [0, *counts]:
        taught = [row for name in sorted(by) for row in by[name][:count]]
        began = time.perf_counter()
        if taught:
            targets = np.zeros((len(taught), len(it.labels)), np.float32)
            targets[np.arange(len(taught)), [column[label] for _, label in taught]] = 1
            fitted = student.fresh()
            fitted.fit(student.features(_items(taught)), targets, np.ones(len(taught), np.float32))
        else:
            fitted = student
        best = shortlist.likeliest(fitted.predict(shown), shortlist.SHOWN).tolist()
        lists = [{it.labels[c] for c in some} for some in best]
        hit = [label in some for (_, label), some in zip(rows, lists, strict=True)]
        near = [bool({label, _twin(label)} & some) for (_, label), some in zip(rows, lists, strict=True)]
        knew = f"{count} texts a label" if count else "names alone"
        seconds = time.perf_counter() - began
        cells.append(Cell(knew, len(taught), float(np.mean(hit)), float(np.mean(near)), len(rows), seconds))
        print(f"{knew}: {cells[-1].recall:.3f}", flush=True)
    return cells


def _twin(label: str) -> str:
    return label.removesuffix(TWIN) if label.endswith(TWIN) else label + TWIN


def _items(rows: list[tuple[str, str]]) -> list[Item]:
    return [Item(str(number), (Part("text/plain", text),)) for number, (text, _) in enumerate(rows)]


class Server(ThreadingHTTPServer):
    """Says that it is vLLM, keeps every body, and answers with a code; every third shortlist holds none of it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[dict[str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._send({"data": [{"id": "m", "owned_by": "vllm"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.endswith("/chat/completions"):
            self._send({"tokens": [1], "count": 1})
            return
        self.server.bodies.append(body)
        options = re.findall(r"^(\w+): (.+)$", body["messages"][-1]["content"], re.MULTILINE)
        none = next((code for code, name in options if name.startswith("none of these")), "")
        code = none if none and len(self.server.bodies) % 3 == 0 else options[0][0]
        choice = {"index": 0, "message": {"role": "assistant", "content": code}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}
        self._send({"id": "1", "model": "m", "object": "chat.completion", "choices": [choice], "usage": usage})

    def _send(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Sent:
    """Requests that a run sent: how many, how many about all labels, and the constraints they carried."""

    requests: int
    full: int
    grammars: int
    choices_at_most: int
    letters_at_most: int


def sent(it: World, items: int) -> Sent:
    """Label a few texts of the 1,000-label task through the loopback server."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            _project(Path(folder), it, items, server.server_address[1])
            loop.run(settings.load(Path(folder) / "tutelage.toml"), calls=items)
    finally:
        server.shutdown()
        server.server_close()
    grammars, choices = 0, [0]
    for body in server.bodies:
        told = {**(body.get("structured_outputs") or {}), **(body.get("response_format") or {})}
        choices.append(len(told.pop("choice", ())))
        grammars += bool(told) or any(key.startswith("guided_") or key == "grammar" for key in body)
    full = sum(_options(body) == LABELS for body in server.bodies)
    letters = max(len(body["messages"][0]["content"]) for body in server.bodies)
    return Sent(len(server.bodies), full, grammars, max(choices), letters)


def _options(body: dict[str, Any]) -> int:
    return len(re.findall(r"^\w+: ", body["messages"][-1]["content"], re.MULTILINE))


def _project(folder: Path, it: World, items: int, port: int) -> None:
    with open(folder / "pool.jsonl", "w") as handle:
        for number, (text, _) in enumerate(it.test[:items]):
            handle.write(json.dumps({"id": str(number), "text": text}) + "\n")
    (folder / "tutelage.toml").write_text(
        f"""
[task]
labels = {json.dumps(it.labels)}
[pool]
path = "pool.jsonl"
text = "text"
id = "id"
[goal]
budget_usd = 1
[[rung]]
student = "linear"
bar = 1.0
[[rung]]
oracle = "openai"
model = "m"
base_url = "http://127.0.0.1:{port}/v1"
votes = 1
[run]
max_turns = 3
"""
    )


def table(cells: list[Cell], said: Sent) -> list[str]:
    """The figures as Markdown."""
    lines = ["| the student knew | texts taught | recall at 20 | its intent | goal |", "|---|---|---|---|---|"]
    for cell in cells:
        error = (cell.recall * (1 - cell.recall) / cell.texts) ** 0.5
        lines.append(
            f"| {cell.knew} | {cell.taught:,} | {cell.recall:.3f} ({error:.3f}) | {cell.intent:.3f} | {GOAL} |"
        )
    lines += ["", f"{cells[0].texts:,} test texts, {LABELS:,} labels; standard errors in brackets."]
    lines.append(
        f"Of {said.requests} requests to a server that calls itself vLLM ({said.full} about all {LABELS:,} labels) "
        f"{said.grammars} carried a grammar; the largest list of allowed answers had {said.choices_at_most} codes."
    )
    return lines


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(prog="python -m eval.shortlist", description=__doc__)
    parser.add_argument("--texts", type=int, default=800, help="test texts")
    parser.add_argument("--counts", default="5,10,20", help="texts a label, comma-separated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", default="", help="folder for embeddings; none keeps them in memory")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--quick", action="store_true", help="few texts, to see that all runs; not logged")
    args = parser.parse_args()
    counts, tests = ([2], 200) if args.quick else (list(map(int, args.counts.split(","))), args.texts)
    it = world(args.seed)
    cells = recalls(it, counts, tests, args.seed, args.cache)
    said = sent(it, 12 if args.quick else 60)
    lines = table(cells, said)
    print("\n".join(["", *lines]))
    if args.json:
        args.json.write_text(json.dumps({"recall": [asdict(c) for c in cells], "sent": asdict(said)}, indent=1) + "\n")
    _log.append("shortlist", lines, quick=args.quick)


if __name__ == "__main__":
    main()
