"""Open questions about given texts, and the tools of round trips played by the formats they really write."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from review_room import TOML, Room

from agent import config as settings
from agent import prompt
from agent.pool import Pool
from agent.prompt import person_recipe
from agent.review.trips import tools
from agent.review.trips.report import Report
from agent.store import Store
from agent.types import Call, Decision, Item, Part, Stream, Value

ENDINGS = {"label-studio": "json", "argilla": "json", "prodigy": "jsonl", "csv": "csv"}
Said = tuple[str, list[str] | None]
"""Who, and their labels; None where they skipped it."""


def furnished(
    folder: Path,
    texts: Sequence[tuple[str, ...]],
    labels: Sequence[str] = ("billing", "technical", "other"),
    kind: str = "single",
    streams: Sequence[Stream] = (),
    review: str = "",
    names: bool = True,
    sure: Value | None = None,
) -> Room:
    """A run folder with one open question a text. sure: what the machines say of each item."""
    columns = f"\ntext = {json.dumps([f'c{i}' for i in range(len(texts[0]))])}" if len(texts[0]) > 1 else ""
    told = TOML.format(kind=kind, labels=json.dumps(list(labels), ensure_ascii=False))
    told = told.replace('path = "pool.csv"', 'path = "pool.csv"' + columns) + (
        f"[review]\n{review}\n" if review else ""
    )
    (folder / "tutelage.toml").write_text(told, encoding="utf-8")
    config = settings.load(folder / "tutelage.toml")
    run = folder / "tutelage-run"
    run.mkdir()
    items = [
        Item(f"{i:032x}", tuple(Part("text/plain", part) for part in parts), None, f"T-{i}" if names else None)
        for i, parts in enumerate(texts)
    ]
    pool = Pool(run / "pool")
    pool.append([(item, "pool.csv", i + 2) for i, item in enumerate(items)])
    store = Store.open(run / "ledger.db")
    store.add_items([item.id for item in items], [item.name for item in items], "0")
    recipe = person_recipe(settings.the_task(config))
    kinds: list[Stream] = [*streams, *["escalation"] * (len(items) - len(streams))]  # type: ignore[list-item]
    calls = [
        Call(prompt.key(recipe, item.id, 0), recipe, item.id, "person", purpose=stream, probability=0.25, turn=1)
        for item, stream in zip(items, kinds, strict=True)
    ]
    store.reserve(calls, None)
    if sure is not None:
        store.decide([Decision(item.id, "ask", "student", sure, 0.4, turn=1) for item in items])
    return Room(config, store, pool, folder, {call.item: call.purpose for call in calls})


def out(room: Room, tool: str, name: str = "out") -> Path:
    """The open questions, exported for a tool."""
    path = room.folder / f"{name}.{ENDINGS[tool]}"
    tools.export(room.config, room.store, room.pool, str(path), tool, force=True)
    return path


def take(room: Room, path: Path, form: str | None = None, who: str | None = None) -> Report:
    """Answers brought back."""
    return tools.take(room.config, room.store, room.pool, str(path), form, who, "login")


def second(room: Room, item: str) -> Call:
    """A second person is wanted for this item."""
    recipe = prompt.second_recipe(room.recipe)
    call = Call(prompt.key(recipe, item, 0), recipe, item, "person", purpose="audit", turn=1)
    room.store.reserve([call], None)
    return call


def options(path: Path, tool: str) -> list[str]:
    """What a person may choose in the tool, as it comes back, "cannot tell" last; of a sheet: nothing."""
    if tool == "label-studio":
        tree = ElementTree.parse(path.with_suffix(".xml"))
        return [choice.attrib["alias"] for choice in tree.iter("Choice")]
    if tool == "argilla":
        told = json.loads(path.with_suffix(".settings.json").read_text("utf-8"))
        return [option["value"] for option in told["questions"][0]["settings"]["options"]]
    return [option["id"] for option in json.loads(path.read_text("utf-8").split("\n")[0])["options"]]


def keys(path: Path, tool: str) -> list[str]:
    """The questions' keys in the order in which they went out."""
    if tool == "csv":
        return [row["key"] for row in sheet_rows(path)]
    if tool == "prodigy":
        return [row["tutelage_key"] for row in map(json.loads, path.read_text("utf-8").split("\n")[:-1])]
    rows = json.loads(path.read_text("utf-8"))
    return [row["id"] if tool == "argilla" else row["data"]["tutelage_key"] for row in rows]


def sheet_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def play(path: Path, tool: str, said: Mapping[str, Sequence[Said]], many: bool = False) -> Path:
    """The file that the tool writes once people have answered; by key, the earliest answer first."""
    back = path.with_name(f"back.{ENDINGS[tool]}")
    told = path.read_text("utf-8")
    if tool == "label-studio":
        rows = [_label_studio(i, row, said) for i, row in enumerate(json.loads(told), 1)]
        back.write_text(json.dumps(rows), "utf-8")
    elif tool == "argilla":
        rows = [_argilla(row, said.get(row["id"], ()), many) for row in json.loads(told)]
        back.write_text(json.dumps(rows), "utf-8")
    elif tool == "prodigy":
        lines = [line for row in told.split("\n") if row for line in _prodigy(json.loads(row), said)]
        back.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    else:
        written = sheet_rows(path)
        for cells in written:
            for _, labels in said.get(cells["key"], ()):
                cells["label"] = "" if labels is None else ("|".join(labels) or ("|" if many else ""))
        with back.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(written[0]))
            writer.writeheader()
            writer.writerows(written)
    return back


def _label_studio(i: int, row: dict[str, Any], said: Mapping[str, Sequence[Said]]) -> dict[str, Any]:
    annotations = []
    for n, (who, labels) in enumerate(said.get(row["data"]["tutelage_key"], ()), 1):
        region = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": labels}}
        annotations.append(
            {"id": 10 * i + n, "completed_by": {"id": n, "email": who} if "@" in who else int(who or n),
             "result": [{**region, "origin": "manual"}] if labels else [], "was_cancelled": labels is None,
             "created_at": f"2026-01-01T00:00:0{n}Z", "lead_time": 4.25, "prediction": {}}
        )  # fmt: skip
    made = {"id": i, "annotations": annotations[::-1], "drafts": [], "predictions": row.get("predictions", [])}
    return {**made, "data": row["data"], "meta": {}, "project": 1}


def least(back: Path) -> Path:
    """JSON-MIN of a JSON export of Label Studio."""
    rows = []
    for task in json.loads(back.read_text("utf-8")):
        for one in [one for one in task["annotations"] if not one["was_cancelled"]]:
            by = one["completed_by"]
            found = [region["value"]["choices"] for region in one["result"]]
            label = {"label": found[0][0] if len(found[0]) == 1 else {"choices": found[0]}} if found else {}
            named = {"annotator": by["email"] if isinstance(by, dict) else by, "annotation_id": one["id"]}
            rows.append({**task["data"], "id": task["id"], **label, **named, "lead_time": one["lead_time"]})
    path = back.with_name("least.json")
    path.write_text(json.dumps(rows), "utf-8")
    return path


def _argilla(row: dict[str, Any], said: Sequence[Said], many: bool) -> dict[str, Any]:
    flat = {"id": row["id"], "status": "completed", "_server_id": "s", **row["fields"], **row["metadata"]}
    if said:
        flat["label.responses"] = [(labels if many else next(iter(labels or []), None)) for _, labels in said]
        flat["label.responses.users"] = [who for who, _ in said]
        flat["label.responses.status"] = ["discarded" if labels is None else "submitted" for _, labels in said]
    for name, suggestion in row.get("suggestions", {}).items():
        flat |= {f"{name}.suggestion": suggestion["value"], f"{name}.suggestion.score": None}
    return flat


def _prodigy(row: dict[str, Any], said: Mapping[str, Sequence[Said]]) -> list[dict[str, Any]]:
    lines = []
    for n, (who, labels) in enumerate(said.get(row["tutelage_key"], ()), 1):
        answer = {
            "accept": labels or [],
            "answer": "ignore" if labels is None else "accept",
            "_timestamp": 1_700_000_000 + n,
        }
        lines.append({**row, **answer, "_input_hash": n, "_task_hash": -n, "_view_id": "choice", "_session_id": who})
    return lines
