"""The folder beside a finished file: questions, ledger, certificate. Knows rows and cards; tests nothing."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent import certify, prompt
from agent import config as settings
from agent.claim.finished.terms import Promise, Terms, item_id
from agent.config import Config
from agent.data import Whole, beside
from agent.errors import ConfigError, DataError
from agent.pool import Pool
from agent.store import Store
from agent.types import Call, Item, Part, Stream

MOST_LABELS = 1_000


@dataclass(frozen=True)
class Room:
    """The folder, opened."""

    folder: Path
    config: Config
    store: Store
    pool: Pool

    @property
    def recipe(self) -> str:
        """Under which recipe people answer."""
        return prompt.person_recipe(settings.the_task(self.config))

    @property
    def questions(self) -> str:
        """The hash of all that people are shown besides the text."""
        task = settings.the_task(self.config)
        return certify.sha256_of([(self.recipe, task.question, task.guidelines)])


def folder_of(path: str) -> Path:
    """The folder of a file's audit: labels.parquet -> labels-certify."""
    return Path(beside(path, "-certify"))


def begun(path: str) -> bool:
    """Whether there is an audit of this file, or was of one of its name."""
    return (folder_of(path) / "ledger.db").exists()


@contextmanager
def opened(path: str) -> Iterator[Room]:
    """The folder of a file's audit.

    Raises:
        DataError: there is none yet.
    """
    folder = folder_of(path)
    if not begun(path):
        raise DataError(f"no audit of {path} has begun: tutelage certify {path} --gold-by people")
    config = settings.load(folder / "tutelage.toml")
    if (other := os.path.basename(config.pool.path)) != os.path.basename(path):
        raise DataError(f"{folder} is the audit of {other}, not of {os.path.basename(path)}: give one another name")
    with Store.open(config.store_url) as store:
        yield Room(folder, config, store, Pool(config.folder / "pool", store.shards()))


def begin(path: str, whole: Whole, terms: Terms) -> None:
    """Make the folder, its questions and an empty ledger; what is there already stays.

    Raises:
        DataError: the file's labels cannot be put to people as they are.
    """
    folder = folder_of(path)
    if (folder / "ledger.db").exists():
        return
    names = {name for value in whole.names for name in ([value] if isinstance(value, str) else value)}
    labels = [*sorted(names), *(name for name in terms.labels if name not in names)]
    if len(labels) > MOST_LABELS:
        raise DataError(
            f"{path}: column {whole.wanted.label!r} holds {len(labels):,} different values: is it the label? --label"
        )
    several = any(not isinstance(value, str) for value in whole.names)
    text = _toml(path, whole, terms, labels, several)
    try:
        settings.parse(text, str(folder / "tutelage.toml"), folder)
    except ConfigError as error:
        mend = ": name others people may choose, as in --labels yes,no" if len(labels) < 2 else ""
        raise DataError(f"{path}: its labels cannot be put to people: {error}{mend}") from error
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / "tutelage.toml.tmp"
    draft.write_text(text, "utf-8")
    draft.replace(folder / "tutelage.toml")
    Store.open(str(folder / "ledger.db")).close()


def abandon(path: str) -> None:
    """Remove a folder in which nothing is promised; what is not of `begin` stays."""
    with opened(path) as room:
        if room.store.commitments():
            return
    folder = folder_of(path)
    for name in ("tutelage.toml", "ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db-gate"):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _toml(path: str, whole: Whole, terms: Terms, labels: Sequence[str], several: bool) -> str:
    question = terms.question or ("Which labels are right?" if several else "Which label is right?")
    lines = [
        f"# The audit of {os.path.basename(path)}, made by `tutelage certify`. People answer it with `tutelage review`",
        "# in this folder. Changing it now would change the questions: begin a new folder for that.",
        "[task]",
        f"kind = {_quoted('multi' if several else 'single')}",
        f"question = {_quoted(question)}",
        *([f"guidelines = {_quoted(terms.guidelines)}"] if terms.guidelines else []),
        "[task.labels]",
        *(f'{_quoted(name)} = ""' for name in labels),
        "[pool]",
        f"path = {_quoted(os.path.join('..', os.path.basename(path)))}",
        f"text = [{', '.join(map(_quoted, whole.wanted.text))}]",
        "[[rung]]",
        'oracle = "person"',
        "[run]",
        'dir = "."',
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def cards_of(whole: Whole, made: Promise, texts: dict[int, tuple[str, ...]], unit: int) -> dict[str, list[int]]:
    """The questions of a unit: item -> the rows it answers for. Rows of one text in a unit are one question."""
    by_text: dict[tuple[str, ...], list[int]] = {}
    for row in made.units.rows_of(unit).tolist():
        by_text.setdefault(texts[row], []).append(row)
    return {item_id(whole, rows[0]): rows for rows in by_text.values()}


def texts_of(whole: Whole, made: Promise, units: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Row -> its texts, of all rows of these units."""
    rows = [row for unit in units for row in made.units.rows_of(unit).tolist()]
    return dict(zip(rows, whole.texts(rows), strict=True))


def ask(
    room: Room, whole: Whole, made: Promise, units: Sequence[int], purpose: Stream = "audit", tries: int = 1
) -> int:
    """Put questions about these units into the queue, in this order; those that are there already stay. How many.

    tries: 2 to put questions once more that nobody could tell. What was withdrawn is put under a new key.
    """
    texts = texts_of(whole, made, units)
    first = {item: rows[0] for unit in units for item, rows in cards_of(whole, made, texts, unit).items()}
    known = set(room.pool.ids)
    new = {item: row for item, row in first.items() if item not in known}
    names, file = whole.ids(list(new.values())), os.path.basename(whole.path)
    parts = [tuple(Part("text/plain", text) for text in texts[row]) for row in new.values()]
    entries = [
        (Item(item, shown, name=name), file, row + 1)
        for (item, row), shown, name in zip(new.items(), parts, names, strict=True)
    ]
    if entries:
        shard, _ = room.pool.append(entries)
        room.store.add_items(list(new), names, os.path.basename(room.pool.path(shard)))
    recipe = room.recipe
    free = _free(room, list(first))
    there = Counter(call.item for call in room.store.asked(recipe))  # after `free`: a key that came between is seen
    calls = [
        Call(prompt.key(recipe, item, sample), recipe, item, "person", sample, purpose, turn=-1)
        for item, sample in free.items()
        if there[item] < tries
    ]
    return len(room.store.reserve(calls, None))


def _free(room: Room, items: Sequence[str]) -> dict[str, int]:
    """The first sample of each item under which nothing was ever asked."""
    out, left, recipe = dict.fromkeys(items, 0), list(items), room.recipe
    while left:
        known = room.store.calls([prompt.key(recipe, item, out[item]) for item in left])
        left = [item for item in left if prompt.key(recipe, item, out[item]) in known]
        for item in left:
            out[item] += 1
    return out
