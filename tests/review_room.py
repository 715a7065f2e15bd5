"""A run folder with open questions to people, as the tests of the review want it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from agent import config as settings
from agent import prompt
from agent.pool import Pool
from agent.prompt import person_recipe
from agent.review import Desk, Queue, pending, terminal
from agent.store import Store
from agent.types import Answer, Call, Item, Part

LABELS = ["billing", "technical", "other"]
TOML = """
[task]
kind = {kind!r}
question = "Which team?"
guidelines = "Refunds are billing."
labels = {labels}
[pool]
path = "pool.csv"
[[rung]]
student = "tfidf"
[[rung]]
oracle = "person"
"""

COUNTS = {"pilot": 3, "audit": 4, "escalation": 5}


@dataclass
class Room:
    """A run folder with open questions. `purpose`: item id -> stream."""

    config: settings.Config
    store: Store
    pool: Pool
    folder: Path
    purpose: dict[str, str]

    def queue(self, assisted: bool = False, order: str = "value") -> Queue:
        config = self.config
        task, kind = settings.the_task(config), settings.kind(config)
        return Queue(self.store, self.pool, task, kind, config.run.seed, order, assisted)

    def desk(self, who: str = "ada") -> Desk:
        """A person in a process of their own."""
        return Desk(self.queue(), who)

    @property
    def recipe(self) -> str:
        return person_recipe(settings.the_task(self.config))

    def pending(self, seed: int = 0) -> list[Call]:
        return pending(self.store, seed, self.recipe)

    def answers(self) -> list[tuple[Call, Answer]]:
        return [(call, answer) for _, call, answer in self.store.answers_since(0)]

    def said(self) -> dict[str, str]:
        """The user's id -> what was answered, "?" for cannot tell."""
        out = {}
        for call, answer in self.answers():
            out[str(self.pool.item(self.pool.position(call.item)).name)] = "?" if answer.unsure else answer.text
        return out

    def type(self, text: str, limit: int | None = None, who: str = "ada") -> tuple[int, str]:
        """A sitting driven by a pipe: lines in, what was shown out."""
        out = io.StringIO()
        console = Console(file=out, width=100, height=40)
        n = terminal.session(self.config, self.store, self.pool, who, limit, io.StringIO(text), console)
        return n, out.getvalue()


def furnish(
    folder: Path, labels: Sequence[str] = LABELS, kind: str = "single", counts: dict[str, int] = COUNTS,
    text: str = "ticket", endings: str = "",
) -> Room:  # fmt: skip
    """`endings`: how the texts end, a letter each, instead of by their number."""
    (folder / "tutelage.toml").write_text(TOML.format(kind=kind, labels=json.dumps(list(labels), ensure_ascii=False)))
    config = settings.load(folder / "tutelage.toml")
    run = folder / "tutelage-run"
    run.mkdir()
    n = sum(counts.values())
    gold = labels[0] if kind == "single" else (labels[0],)
    texts = [f"{text} {endings[i] if endings else i}" for i in range(n)]
    items = [Item(f"{i:032x}", (Part("text/plain", told),), gold, f"T-{i}") for i, told in enumerate(texts)]
    pool = Pool(run / "pool")
    pool.append([(item, "pool.csv", i + 2) for i, item in enumerate(items)])
    store = Store.open(run / "ledger.db")
    store.add_items([item.id for item in items], [item.name for item in items], "0")
    recipe = person_recipe(settings.the_task(config))
    streams = [stream for stream, count in counts.items() for _ in range(count)]
    streams.sort(key=lambda s: s == "pilot")  # the pilot is reserved last and still comes first
    calls = [
        Call(prompt.key(recipe, item.id, 0), recipe, item.id, "person", purpose=stream, probability=0.25, turn=1)  # type: ignore[arg-type]
        for item, stream in zip(items, streams, strict=True)
    ]
    assert len(store.reserve(calls, None)) == n
    return Room(config, store, pool, folder, {c.item: c.purpose for c in calls})
