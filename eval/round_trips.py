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
from collections.abc import Sequence
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
KINDS = (("single", False), ("multi", False), ("single", True))
"""Kind of label, and whether machines' labels are shown."""
FORMS = {"label_studio": ("JSON", "JSON_MIN"), "argilla": ("flat",), "csv": ("filled",)}
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
    folder.mkdir()
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


def peer(name: str, folders: Sequence[Path]) -> list[dict[str, Any]]:
    """What a tool's own script says of each folder; nothing where it is not installed."""
    home = ROOT / f".venv-peer-{name.replace('_', '')}"
    if not (home / ".ready").exists():
        return []
    script = ROOT / "eval" / "peers" / f"{name}.py"
    command = [str(home / "bin" / "python"), "-I", str(script), *map(str, folders)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    told: list[dict[str, Any]] = json.loads(done.stdout.decode().splitlines()[-1])
    return told


def spreadsheet(folder: Path, run: Run, many: bool) -> None:
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


def one(tool: str, n: int, seed: int) -> list[Row]:
    """A tool's way there and back, by each of the formats it writes; none where it is not installed."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / f"{kind}-{assisted}" for kind, assisted in KINDS]
        for folder, (kind, assisted) in zip(folders, KINDS, strict=True):
            send(tool, folder, furnished(folder, n, kind, assisted, seed))
        sheets = [{"version": "", "valid": n}] * len(folders)
        told = sheets if tool == "csv" else peer(tool, folders)
        for folder, (kind, assisted), says in zip(folders, KINDS, told, strict=False):
            for form in FORMS[tool]:
                # The same questions again, so that one format's answers do not stand in the way of the other's.
                run = furnished(folder / form, n, kind, assisted, seed)
                path = folder / (f"{form}.csv" if tool == "csv" else f"{form}.json")
                same, left, refused, again = back(run, path)
                guesses = 0 if tool == "csv" else (folder / "tasks.json").read_text("utf-8").count('"tutelage_shown"')
                given = sum(labels is not None for labels in run.said.values())
                title = f"{tool.replace('_', ' ')} {form}" if tool != "csv" else "sheet"
                shown = f"{kind}{', assisted' * assisted}"
                counts = (n, says["valid"], guesses, given, same, left, refused, again)
                rows.append(Row(title, says["version"], shown, *counts))
                run.store.close()
    return rows


def send(tool: str, folder: Path, run: Run) -> None:
    """The files for the tool's script; a sheet is filled in at once."""
    if tool == "csv":
        tools.export(run.config, run.store, run.pool, str(folder / "sheet.csv"))
        spreadsheet(folder, run, run.config.task.kind == "multi")
    else:
        tools.export(run.config, run.store, run.pool, str(folder / "tasks.json"), tool.replace("_", "-"))
        (folder / "said.json").write_text(json.dumps(run.said), "utf-8")
    run.store.close()


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
    n = 60 if options.quick else 120
    rows: list[Row] = []
    for tool in ("csv", "argilla") if options.quick else ("csv", "argilla", "label_studio"):
        rows += one(tool, n, seed=7)
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
