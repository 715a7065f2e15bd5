"""Guidelines that people wrote, put into tutelage.toml for machines to read. Knows what that makes stale; asks nobody.

No example goes there whose item is in the audit or the pilot, nor one with the text of such an item: a machine that has
read the answer would be measured by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import config as settings
from agent import prompt
from agent.config import Config
from agent.errors import UserError
from agent.loop import past
from agent.loop.ground import open_ground
from agent.pool import Pool
from agent.relabel import file
from agent.review import guide
from agent.store import Store
from agent.store.guides import Guide

MEASURING = ("audit", "pilot")


@dataclass(frozen=True)
class Draft:
    """What would be written. texts: path -> what it would hold; added: examples that are new to the file; kept: those
    that stay with people; stale: machine -> (answers that would have to be asked again, dollars that these cost)."""

    texts: Mapping[Path, str]
    added: int
    kept: int
    stale: Mapping[str, tuple[int, float]]


def draft(path: Path, config: Config, store: Store, pool: Pool, newest: Guide) -> Draft | None:
    """The newest guidelines as the configuration would hold them; None where it says all of it already.

    Raises:
        UserError: the file cannot be edited.
    """
    every = [one for one in guide.samples(newest) if not one.file]
    allowed = _allowed(config, store, pool, every)
    told = guide.text(newest)
    changed = told != config.task.guidelines.strip()
    if not changed and not allowed:
        return None
    texts = _edited(path, config, told if changed else None, allowed)
    return Draft(texts, len(allowed), len(every) - len(allowed), _stale(config))


def write(made: Draft) -> list[Path]:
    """Puts the texts in their places; the files as they were are kept beside them under these names."""
    return [file.replaced(path, text) for path, text in made.texts.items()]


def _allowed(config: Config, store: Store, pool: Pool, samples: Sequence[guide.Sample]) -> list[guide.Sample]:
    recipe = prompt.person_recipe(settings.the_task(config))
    measured = {call.item for call in store.asked(recipe) if call.purpose in MEASURING}
    texts = {_plain(pool.item(pool.position(item)).text) for item in measured}
    known = set(config.task.labels)
    single = config.task.kind == "single"
    return [
        one
        for one in samples
        if one.item not in measured
        and _plain(one.text) not in texts
        and set(one.label) <= known
        and (not single or len(one.label) == 1)
    ]


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _edited(path: Path, config: Config, told: str | None, samples: Sequence[guide.Sample]) -> dict[Path, str]:
    import tomlkit

    document = tomlkit.parse(path.read_bytes().decode("utf-8-sig"))
    task: Any = document["task"]
    texts: dict[Path, str] = {}
    if told is not None:
        named = str(task.get("guidelines", ""))
        if named.endswith((".md", ".txt")) and "\n" not in named:
            texts[config.root / named] = told + "\n"
        else:
            task["guidelines"] = tomlkit.string(told, multiline="\n" in told)
    for one in samples:
        entry: Any = tomlkit.inline_table()
        entry.update({"text": one.text, "label": one.label[0] if config.task.kind == "single" else list(one.label)})
        _append(task, entry)
    text = tomlkit.dumps(document)
    if text != path.read_text("utf-8"):
        texts[path] = text
    made = settings.parse(text, str(path), path.resolve().parent)
    if told is not None and path in texts and len(texts) == 1 and made.task.guidelines.strip() != told:
        raise UserError(f"{path}: [task] guidelines stand there in a way that cannot be edited here")
    return texts


def _append(task: Any, entry: Any) -> None:
    import tomlkit
    from tomlkit.items import AoT

    if "examples" not in task:
        task["examples"] = tomlkit.array().multiline(True)
    examples = task["examples"]
    if isinstance(examples, AoT):
        table: Any = tomlkit.table()
        table.update(entry)
        examples.append(table)
    else:
        examples.append(entry)


def _stale(config: Config) -> dict[str, tuple[int, float]]:
    """Machine -> its answers under today's settings, and what so many cost by what they cost so far."""
    alone = config.model_copy(update={"run": config.run.model_copy(update={"duplicates": False})})
    ground = open_ground(alone, None, None, False, look=True)
    try:
        by, out = ground.store.spend().by, {}
        answered = ground.store.answered()
        for machine in ground.machines:
            recipes = past.recipes_of(ground, machine)
            count = sum(n for (_, recipe), n in answered.items() if recipe in recipes)
            usage = by.get(machine.rung.name)
            each = usage.usd / usage.answers if usage is not None and usage.answers else 0.0
            if count:
                out[machine.rung.name] = (count, count * each)
        return out
    finally:
        ground.store.close()
