"""A run folder whose open questions are told one by one, as the tests of the card page want it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from review_room import Room
from web_room import Got

from agent import config as settings
from agent import prompt
from agent.pool import Pool
from agent.prompt import person_recipe
from agent.store import Store
from agent.types import Call, Decision, Item, Part

TOML = """
[task]
kind = {kind}
question = "Which team?"
guidelines = "Refunds are billing."
labels = {labels}
[pool]
path = "pool.csv"
text = {columns}
[review]
assisted = {assisted}
[[rung]]
student = "tfidf"
[[rung]]
oracle = "person"
"""
SCRIPT = {"HX-Request": "true"}
"""What the page's own script adds to its requests."""


def ask(
    folder: Path,
    texts: Sequence[str | tuple[str, ...]],
    purposes: Sequence[str] = (),
    labels: Sequence[str] = ("billing", "technical", "other"),
    kind: str = "single",
    guess: str | None = None,
    first: int = 0,
) -> Room:
    """Questions about `texts`, of the streams `purposes` (escalations where none are told), reserved in that order.

    guess: what the machines have decided of each item; the project is assisted then. first: number of the first item.
    """
    rows = [(text,) if isinstance(text, str) else text for text in texts]
    names = ["text"] if len(rows[0]) == 1 else [f"field {i}" for i in range(len(rows[0]))]
    told = {"kind": kind, "labels": list(labels), "columns": names, "assisted": guess is not None}
    folder.mkdir(exist_ok=True)
    (folder / "tutelage.toml").write_text(TOML.format(**{name: json.dumps(value) for name, value in told.items()}))
    config = settings.load(folder / "tutelage.toml")
    run = folder / "tutelage-run"
    run.mkdir()
    items = [
        Item(f"{i:032x}", tuple(Part("text/plain", part) for part in row), None, f"T-{i}")
        for i, row in enumerate(rows, first)
    ]
    pool = Pool(run / "pool")
    pool.append([(item, "pool.csv", i + 2) for i, item in enumerate(items)])
    store = Store.open(run / "ledger.db")
    store.add_items([item.id for item in items], [item.name for item in items], "0")
    recipe = person_recipe(settings.the_task(config))
    streams = list(purposes) or ["escalation"] * len(items)
    calls = [
        Call(prompt.key(recipe, item.id, 0), recipe, item.id, "person", purpose=stream, probability=0.25, turn=1)  # type: ignore[arg-type]
        for item, stream in zip(items, streams, strict=True)
    ]
    assert len(store.reserve(calls, None)) == len(items)
    if guess is not None:
        store.decide([Decision(item.id, "ask", "tfidf", guess, 0.61, turn=1) for item in items])
    return Room(config, store, pool, folder, {call.item: call.purpose for call in calls})


def key(got: Got) -> str:
    """The card's key, "" where no card is shown."""
    found = re.search(r'id="card" data-key="([0-9a-f]*)"', got.text)
    assert found is not None, got.text
    return found[1]


def word(got: Got) -> str:
    """What the page says of the last thing done."""
    found = re.search(r'<p id="word">(.*?)</p>', got.text, re.DOTALL)
    assert found is not None, got.text
    return re.sub("<[^>]*>", "", found[1]).strip()


def field(got: Got, name: str) -> str:
    """The value of a hidden field or attribute."""
    found = re.search(rf'name="{name}" value="([^"]*)"|data-{name}="([^"]*)"', got.text)
    assert found is not None, got.text
    return found[1] or found[2]
