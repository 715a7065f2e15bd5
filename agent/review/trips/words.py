"""What people write into a file, read as an answer: labels, or "cannot tell". Knows the task's labels and no file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from agent import data
from agent.errors import Unparsable
from agent.types import Task, Value

UNSURE = ("?", "none")
"""What a person writes who cannot tell (where no label is called so)."""
SIGNS = ("?", "cannot tell")
"""How other tools are told "cannot tell": the first of these that could not be taken for a label."""
SPOKEN = ("(cannot tell)", "(it cannot be told)")


def sign(task: Task) -> str:
    """The option that stands for "cannot tell" beside this task's labels."""
    return _free(task, SIGNS)


def spoken(task: Task) -> str:
    """What that option is called where people read it."""
    return _free(task, SPOKEN)


def _free(task: Task, names: Sequence[str]) -> str:
    """The first that is no label; the last with a ? more until it is none."""
    taken = {label.casefold() for label in task.labels}
    name = next((name for name in names if name not in taken), names[-1])
    while name in taken:
        name += "?"
    return name


def value(task: Task, names: Sequence[str]) -> Value | None:
    """The label meant, or the labels; None for "cannot tell".

    Args:
        names: as they were written: letter case and surrounding space aside, they must be the task's.

    Raises:
        Unparsable: says what is wrong in plain words, with the nearest label.
    """
    if len(names) == 1 and names[0].strip().casefold() == sign(task):
        return None
    if task.kind == "single":
        if len(names) != 1:
            raise Unparsable(f"{len(names)} labels, where one is wanted")
        return _name(task, names[0])
    if len(names) == 1 and not _known(task, names[0]):
        if names[0].strip() == "?":
            return None
        if names[0].strip().casefold() == "none":
            raise Unparsable('"none" may mean two things: write | for "no label applies", ? for "cannot tell"')
        names = tuple(part for part in re.split("[,;]", names[0]) if part.strip())
    found = [None if name.strip() == sign(task) else _name(task, name) for name in names]
    if None in found:
        raise Unparsable(f'"{sign(task)}" stands beside other labels: it must stand alone for "cannot tell"')
    return tuple(sorted({name for name in found if name is not None}))


def _name(task: Task, told: str) -> str | None:
    """The label called so, letter case aside; None for "cannot tell"."""
    if found := _known(task, told):
        return found
    if told.strip().casefold() in UNSURE:
        return None
    near = {label.casefold(): label for label in task.labels}
    close = get_close_matches(told.strip().casefold(), near, 1, 0.5)
    hint = f"did you mean {near[close[0]]!r}?" if close else "write one of " + ", ".join(list(task.labels)[:12])
    raise Unparsable(f"{told.strip()[:60]!r} is not a label; {hint}")


def _known(task: Task, told: str) -> str | None:
    for spelling in (told.strip(), data.excel_plain(told.strip())):
        if spelling in task.labels:
            return spelling
        same = [label for label in task.labels if label.casefold() == spelling.casefold()]
        if len(same) == 1:
            return same[0]
    return None
