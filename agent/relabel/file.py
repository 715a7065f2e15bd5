"""tutelage.toml with other labels: comments and order stay. Knows TOML; nothing of a ledger."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.config import Config, parse
from agent.errors import UserError
from agent.relabel.change import Change

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

Entries = Iterable[tuple[str, Any]]


def edited(path: Path, change: Change) -> str:
    """The file's text with the labels as `change` has them; examples, classes and what is known of labels along.

    Raises:
        UserError: the file is written in a way that cannot be edited here, or would not be a configuration any more.
    """
    import tomlkit

    document = tomlkit.parse(path.read_bytes().decode("utf-8-sig"))
    task: Any = document.get("task", {})
    _labels(task, change)
    _examples(task, change)
    goal: Any = document.get("goal", {})
    if goal.get("classes"):
        kept = _several([goal["classes"]] if isinstance(goal["classes"], str) else goal["classes"], change)
        goal["classes"] = _array(kept)
    if "knowledge" in document:
        _knowledge(document, change)
    text = tomlkit.dumps(document)
    made = parse(text, str(path), path.resolve().parent)
    if dict(made.task.labels) != dict(change.labels) or list(made.task.labels) != list(change.labels):
        raise UserError(f"{path}: [task] labels stand there in a way that cannot be edited here: write them as a table")
    return text


def replaced(path: Path, text: str) -> Path:
    """Puts `text` in the file's place, at once and durably; the file as it was is kept beside it under this name."""
    number = 1
    while (kept := path.with_name(f"{path.name}.before-{number}")).exists():
        number += 1
    _write(kept, path.read_bytes())
    write(path, text)
    return kept


def write(path: Path, text: str) -> None:
    """Puts `text` in the file's place, at once and durably."""
    target = path.resolve()  # a link stays a link
    fresh = target.with_name(f".{target.name}.new")
    _write(fresh, text.encode())
    os.chmod(fresh, target.stat().st_mode & 0o777 if target.exists() else 0o644)
    os.replace(fresh, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write(path: Path, body: bytes) -> None:
    with open(path, "wb") as handle:
        handle.write(body)
        handle.flush()
        os.fsync(handle.fileno())


def lost(config: Config, change: Change) -> list[str]:
    """What of the file has no place any more, in words: examples and knowledge of labels that are split."""
    gone = [e for e in config.task.examples if not set(e.label).isdisjoint(_split(change))]
    out = [f"{len(gone)} of [task] examples bear a label that is split and are left out"] if gone else []
    return out + [f"[knowledge.{label}] is left out" for label in config.knowledge if label in _split(change)]


def _split(change: Change) -> set[str]:
    return {label for label, now in change.became.items() if len(now) > 1}


def _several(names: Iterable[str], change: Change) -> list[str]:
    return list(dict.fromkeys(now for name in names for now in change.became.get(name, (name,))))


def _array(names: Iterable[str]) -> Any:
    import tomlkit

    out = tomlkit.array()
    out.extend(names)
    return out


def _labels(task: Any, change: Change) -> None:
    """Whatever form they stand in: a list of names stays one unless there is something to describe."""
    labels = task.get("labels")
    first: dict[str, str] = {}  # label afterwards -> where it stands: at the first of those it came from
    for label, now in change.became.items():
        for name in now:
            first.setdefault(name, label)
    of: dict[str, list[str]] = {}
    for name in change.labels:
        of.setdefault(first.get(name, ""), []).append(name)

    def entries(label: str, item: Any) -> Entries:
        for name in of.get(label, []):
            same = label in change.became and item == change.labels[name]
            yield name, item if same and (name == label or len(of[label]) == 1) else change.labels[name]

    if isinstance(labels, list):
        if any(change.labels.values()):
            task["labels"] = _table(change.labels)
        else:
            task["labels"] = _array(change.labels)
    else:
        task["labels"] = _rebuilt(labels, entries, [(name, change.labels[name]) for name in of.get("", [])])


def _table(labels: Mapping[str, str]) -> Any:
    import tomlkit

    out = tomlkit.inline_table()
    out.update(labels)
    return out


def _rebuilt(table: Any, entries: Callable[[str, Any], Entries], more: Entries) -> Any:
    """A table of the same form, each entry replaced by those that `entries` gives; comments and blank lines stay."""
    import tomlkit
    from tomlkit.items import InlineTable, Table

    out: Any = tomlkit.inline_table() if isinstance(table, InlineTable) else tomlkit.table()
    more = list(more)
    body = list(table.value.body) if isinstance(table, InlineTable | Table) else []
    if not body:
        raise UserError("[task] labels stand in the file in a way that cannot be edited here: write them as one table")
    tail: list[Any] = []  # blank lines and comments behind the last label belong to what follows
    while body and body[-1][0] is None:
        tail.insert(0, body.pop()[1])
    for key, item in body:
        if key is None:
            aside: Any = item
            if isinstance(out, Table):
                out.add(aside)
            continue
        for name, value in entries(key.key, item):
            out.append(name, value)
    for name, value in more:
        out.append(name, value)
    for item in tail if isinstance(out, Table) else ():
        out.add(item)
    return out


def _examples(task: Any, change: Change) -> None:
    examples = task.get("examples")
    if not examples:
        return
    split = _split(change)
    for number in reversed(range(len(examples))):
        label = examples[number]["label"]
        names = [label] if isinstance(label, str) else list(label)
        if not split.isdisjoint(names):
            del examples[number]
        elif (now := _several(names, change)) != names:
            examples[number]["label"] = now[0] if isinstance(label, str) else _array(now)


def _knowledge(document: TOMLDocument, change: Change) -> None:
    """A table a label: renamed, or put together with those that it is merged with."""
    import tomlkit

    table: Any = document["knowledge"]
    merged: dict[str, Any] = {}
    for label in list(table):
        now = change.became.get(label, (label,))
        if now == (label,) and sum(label in into for into in change.became.values()) == 1:
            continue
        own = table.pop(label)
        if len(now) != 1:
            continue
        fresh = merged.setdefault(now[0], tomlkit.table())
        for name, listed in own.items():
            fresh[name] = _array(dict.fromkeys([*fresh.get(name, []), *listed]))
    for label, fresh in merged.items():
        table[label] = fresh
    if not table:
        del document["knowledge"]
