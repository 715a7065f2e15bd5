"""What goes out into another tool: the open questions in the queue's order. Knows no tool, and tells no purpose."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent import config as settings
from agent.config import Config
from agent.errors import DataError, UserError
from agent.prompt import person_recipe
from agent.review.queue import Items, Queue, pending
from agent.store import Store
from agent.types import Item, Task, Value

MOST_NAMES = 30
"""Labels that are named on one line."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question that goes out. `guess`: what the machines say, where this person may be shown it; else None."""

    key: str
    item: Item
    guess: Value | None = None


def asked(config: Config, store: Store, pool: Items) -> list[Asked]:
    """Every open question, in the queue's order; those about items that this view of the pool lacks are left out."""
    task, review = settings.the_task(config), config.review
    queue = Queue(store, pool, task, settings.kind(config), config.run.seed, review.order, review.assisted)
    found = [
        (call, find(pool, call.item)) for call in pending(store, config.run.seed, person_recipe(task), review.order)
    ]
    queue.refresh(0)
    return [Asked(call.key, item, queue.guess(call)) for call, item in found if item is not None]


def find(pool: Items, item: str) -> Item | None:
    """The item, None where this view of the pool lacks it."""
    try:
        return pool.item(pool.position(item))
    except KeyError:
        return None


def columns(config: Config, parts: int, taken: Iterable[str]) -> list[str]:
    """Names of the text columns: the pool's own where they are told and none of them is `taken`."""
    own = list(config.pool.text)
    if len(own) == parts and not set(taken) & set(own):
        return own
    return texts(parts)


def texts(parts: int) -> list[str]:
    """Plain names for an item's texts: one is "text", several "text_1", "text_2" and so on."""
    return ["text"] if parts == 1 else [f"text_{i + 1}" for i in range(parts)]


def widest(questions: Sequence[Asked]) -> int:
    """The most parts that an item has."""
    return max((len(question.item.parts) for question in questions), default=1)


def names(question: Asked) -> tuple[str, ...]:
    """The guess as a list of labels; empty where none is shown."""
    guess = question.guess
    return () if guess is None else (guess,) if isinstance(guess, str) else guess


def free(path: str, force: bool) -> None:
    """Raise when a file must not, or cannot, be made here. A device or a pipe may be written to."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise DataError(f"{path} cannot be written: there is no folder {folder}; make it, or name another place")
    if not force and (os.path.isfile(path) or (path.endswith("/") and os.path.isdir(path))):
        raise UserError(
            f"{path} is there already, perhaps with answers: read them with --import first, name another file, "
            "or overwrite it with --force"
        )


def ending(path: str, wanted: str, tool: str) -> None:
    """Raise when the tool could not read a file of this ending."""
    if not path.casefold().endswith(wanted):
        raise UserError(f"{tool} reads {wanted} files: write --export {Path(path).stem or 'questions'}{wanted}")


def beside(path: str, text: str) -> None:
    """A second, small file that goes with the first: whole or not at all."""
    part = f"{path}.{os.getpid()}.tmp"
    try:
        Path(part).write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}; name another place") from error
    finally:
        Path(part).unlink(missing_ok=True)


def described(task: Task) -> str:
    """The labels with their descriptions, a line each; only those that have one."""
    return "\n".join(f"{label}: {text}" for label, text in task.labels.items() if text.strip())


def listed(task: Task) -> str:
    """The labels' names on one line."""
    called = list(task.labels)
    more = f" … ({len(called)} labels, all of them under [task.labels])" if len(called) > MOST_NAMES else ""
    return ", ".join(called[:MOST_NAMES]) + more
