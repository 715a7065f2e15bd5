"""Open questions out to the real tools and their answers back: is every answer the one that was given, and none twice?

Label Studio is a server of its own on loopback that is answered over its API; of Argilla its client reads and writes
the files (`make peers`). A spreadsheet is played by Python's csv. Prodigy is sold and is not among them.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent import config as settings
from agent import prompt
from agent.cli import example
from agent.pool import Pool
from agent.review.trips import tools, words
from agent.store import Store
from agent.types import Call, Decision, Item, Part, Stream
from eval import _log

ROOT = Path(__file__).resolve().parent.parent
SKIPPED, UNSURE = 0.1, 0.1
"""Shares of questions that are laid aside, and that cannot be told."""
LABELS = ("billing & more", "$price", "=SUM(A1)", "\u202eturned", "\U0001f600 other", "?", "a<b>\"c'", "\u4e2d\u6587")
ODD = ("=1+1", "line\r\nbreak\tand $text", "\u202egnirts", "<script>alert(1)</script>", '"quoted", and | ; more')
TOML = """
[task]
kind = {kind!r}
question = "Which team costs $5 & <more>?"
labels = {labels}
[pool]
path = "pool.csv"
[[rung]]
oracle = "person"
[review]
assisted = {assisted}
"""


@dataclass
class Row:
    """One file's way there and back. same: answers in the ledger as given; again: added by a second import."""

    tool: str
    version: str
    labels: str
    sent: int
    valid: int
    guesses: int
    given: int
    same: int
    open: int
    refused: int
    again: int


@dataclass
class Run:
    """A run folder with open questions, and what people are going to say to each: None skips it."""

    config: settings.Config
    store: Store
    pool: Pool
    said: dict[str, list[str] | None]


def furnished(folder: Path, n: int, kind: str, assisted: bool, seed: int) -> Run:
    """`n` questions, a third of them the audit's."""
    told = TOML.format(kind=kind, labels=json.dumps(list(LABELS), ensure_ascii=False), assisted=str(assisted).lower())
    (folder / "tutelage.toml").write_text(told, encoding="utf-8")
    config = settings.load(folder / "tutelage.toml")
    texts = [f"{ODD[i % len(ODD)]} {text}" if i % 4 == 0 else text for i, (_, text, _) in enumerate(example.rows(n))]
    items = [Item(f"{i:032x}", (Part("text/plain", text),), None, f"T-{i}") for i, text in enumerate(texts)]
    (folder / "tutelage-run").mkdir()
    pool = Pool(folder / "tutelage-run" / "pool")
    pool.append([(item, "pool.csv", i + 2) for i, item in enumerate(items)])
    store = Store.open(folder / "tutelage-run" / "ledger.db")
    store.add_items([item.id for item in items], [item.name for item in items], "0")
    task = settings.the_task(config)
    recipe = prompt.person_recipe(task)
    streams: list[Stream] = ["audit", "escalation", "escalation"]
    calls = [
        Call(prompt.key(recipe, item.id, 0), recipe, item.id, "person", purpose=streams[i % 3], turn=1)
        for i, item in enumerate(items)
    ]
    store.reserve(calls, None)
    store.decide([Decision(item.id, "ask", "student", LABELS[0], 0.4, turn=1) for item in items])
    rng = random.Random(seed)
    most = 1 if kind == "single" else 3
    said: dict[str, list[str] | None] = {}
    for call in calls:
        draw = rng.random()
        picked = sorted(rng.sample(LABELS, rng.randint(1 if kind == "single" else 0, most)))
        said[call.key] = None if draw < SKIPPED else [words.sign(task)] if draw < SKIPPED + UNSURE else picked
    return Run(config, store, pool, said)


def back(run: Run, path: Path, form: str | None = None) -> tuple[int, int, int, int]:
    """(same, open, refused, added by the second import) of a file that came back."""
    report = tools.take(run.config, run.store, run.pool, str(path), form, None, "ada")
    sign = words.sign(settings.the_task(run.config))
    same = 0
    answers = run.store.answers_since(0)
    for _, call, answer in answers:
        given = run.said[call.key]
        text = given and (given[0] if run.config.task.kind == "single" else json.dumps(given, ensure_ascii=False))
        if given == []:
            text = "[]"
        same += answer.unsure if given == [sign] else answer.text == text
    tools.take(run.config, run.store, run.pool, str(path), form, None, "ada")
    return same, report.empty, report.rejected, len(run.store.answers_since(0)) - len(answers)


def peer(name: str, folder: Path) -> dict[str, Any] | None:
    """What a tool's own script says; None where it is not installed."""
    home = ROOT / f".venv-peer-{name.replace('_', '')}"
    if not (home / ".ready").exists():
        return None
    script = ROOT / "eval" / "peers" / f"{name}.py"
    done = subprocess.run(
        [home / "bin" / "python", "-I", script, folder], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    told: dict[str, Any] = json.loads(done.stdout.decode().splitlines()[-1])
    return told


def spreadsheet(folder: Path, run: Run, many: bool) -> Path:
    """The exported sheet, filled in."""
    with (folder / "sheet.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        labels = run.said[row["key"]]
        row["label"] = "" if labels is None else ("|".join(labels) or "|" * many)
    with (folder / "filled.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "filled.csv"


def one(tool: str, n: int, kind: str, assisted: bool, seed: int) -> list[Row]:
    """A tool's way there and back, by each of the formats it writes; none where it is not installed."""
    formats = {"label_studio": ("JSON", "JSON_MIN"), "argilla": ("flat",), "csv": ("csv",)}[tool]
    rows = []
    told: dict[str, Any] | None = None
    kept = Path(tempfile.mkdtemp())
    for form in formats:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            run = furnished(folder, n, kind, assisted, seed)
            if tool == "csv":
                tools.export(run.config, run.store, run.pool, str(folder / "sheet.csv"))
                told, path = {"version": "", "valid": n}, spreadsheet(folder, run, kind == "multi")
                guesses = 0
            else:
                out = folder / "tasks.json"
                tools.export(run.config, run.store, run.pool, str(out), tool.replace("_", "-"))
                guesses = out.read_text("utf-8").count('"tutelage_shown"')
                if told is None:
                    for name, where in (("tasks.json", out), ("config.xml", folder / "tasks.xml"),
                                        ("settings.json", folder / "tasks.settings.json")):  # fmt: skip
                        if where.exists():
                            (kept / name).write_bytes(where.read_bytes())
                    (kept / "said.json").write_text(json.dumps(run.said), "utf-8")
                    told = peer(tool, kept)
                path = kept / f"{form}.json"
            if told is not None:
                same, left, refused, again = back(run, path)
                given = sum(labels is not None for labels in run.said.values())
                shown = f"{kind}{', assisted' if assisted else ''}"
                title = f"{tool.replace('_', ' ')} {form}" if form != tool else tool
                rows.append(
                    Row(title, told["version"], shown, n, told["valid"], guesses, given, same, left, refused, again)
                )
            run.store.close()
    return rows


def table(rows: list[Row]) -> list[str]:
    """The rows as Markdown."""
    heads = ["tool and format", "version", "labels", "questions", "valid to the tool", "with a guess", "answered"]
    heads += ["came back as given", "left open", "refused", "added by a second import"]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for r in rows:
        lines.append(
            f"| {r.tool} | {r.version} | {r.labels} | {r.sent} | {r.valid} | {r.guesses} | {r.given} | {r.same} (goal "
            f"{r.given}) | {r.open} | {r.refused} (goal 0) | {r.again} (goal 0) |"
        )
    return lines


def main() -> None:
    """Prints the table."""
    asked = argparse.ArgumentParser(prog="python -m eval.round_trips", description=(__doc__ or "").split("\n\n")[0])
    asked.add_argument("--quick", action="store_true", help="60 questions, no Label Studio server")
    asked.add_argument("--json", metavar="FILE", help="write the rows here too")
    options = asked.parse_args()
    n = 60 if options.quick else 300
    rows: list[Row] = []
    for tool in ("csv", "argilla") if options.quick else ("csv", "argilla", "label_studio"):
        for kind, assisted in (("single", False), ("multi", False), ("single", True)):
            rows += one(tool, n, kind, assisted, seed=7)
    lines = table(rows)
    missing = [name for name in ("argilla", "labelstudio") if not (ROOT / f".venv-peer-{name}" / ".ready").exists()]
    if missing:
        lines.append(f"\nNot installed (`make peers`): {', '.join(missing)}.")
    print("\n".join(lines))
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    _log.append("round_trips", lines, quick=options.quick)


if __name__ == "__main__":
    main()
