"""Review in a spreadsheet: the open questions out, the filled-in labels back. Knows rows and keys, and no screen.

A row is found again by its `key`, whatever happened to the order of rows; the user's own id beside it must still be the
same, so that columns which were sorted apart are noticed. Rows to check and rows to repair look alike.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from agent import config as settings
from agent import data
from agent.config import Config
from agent.errors import DataError, Unparsable, UserError
from agent.prompt import person_recipe, second_recipe
from agent.review.queue import Items, first_word, number, pending, written
from agent.store import Store
from agent.types import Answer, Call, Item, Task, Value

KEY, ID, LABEL, NOTE = "key", "id", "label", "note"
UNSURE = ("?", "none")
"""What a person writes who cannot tell (where no label is called so)."""
MOST_NAMES = 30
"""Labels that are named on one line."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a sheet's rows. `taken` and `unsure` are new answers; `already`: the same answer was there before.

    `bad_labels`: (row, why it was not taken); `unknown_keys`: keys that are no question of today's labels, in the
    rows `unknown_rows`.
    """

    taken: int = 0
    unsure: int = 0
    empty: int = 0
    unknown_keys: list[str] = field(default_factory=list)
    bad_labels: list[tuple[int, str]] = field(default_factory=list)
    already: int = 0
    unknown_rows: list[int] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        """How many rows say something that was not taken."""
        return len(self.bad_labels) + len(self.unknown_keys)

    def __str__(self) -> str:
        """In plain words, a line for every row that was not taken."""
        numbers = f"{number(self.taken, 'label')} taken, {self.unsure:,} marked as cannot tell"
        lines = [f"{numbers}, {self.empty:,} left empty, {self.already:,} known already"]
        unknown = [
            (row, f"its key {key[:16]!r} is no open question of this run, or of older labels")
            for row, key in zip(self.unknown_rows, self.unknown_keys, strict=True)
        ]
        alike: dict[str, list[str]] = {}
        for row, why in sorted([*self.bad_labels, *unknown]):
            alike.setdefault(why, []).append(str(row))
        lines += [f"row{'s' * (len(rows) > 1)} {', '.join(rows)}: {why}" for why, rows in alike.items()]
        if self.rejected:
            lines.append(f"{number(self.rejected, 'row')} not taken: mend the sheet and import it again")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    key: str
    id: str
    note: str
    label: Value | None


def export(config: Config, store: Store, pool: Items, path: str, force: bool = False) -> int:
    """Write the open questions to `path` (.csv, .tsv, .jsonl, .json, .parquet), in the queue's order.

    Columns: key, id (the user's own), the text columns, label (empty), note (empty). CSV is safe to open in a
    spreadsheet. Nothing tells why a row is asked.

    Returns: the number of rows; nothing is written when there are none.
    Raises:
        UserError: the file is there and may hold answers; `force` overwrites it.
        DataError: its folder is not there, the place cannot be written, or its ending tells no format.
    """
    task = settings.the_task(config)
    queue = [(call, _find(pool, call.item)) for call in pending(store, config.run.seed, person_recipe(task))]
    calls = [call for call, item in queue if item is not None]
    items = [item for _, item in queue if item is not None]
    if not calls:
        return 0
    if path != "-":
        _free(path, force)
    names = _columns(config, max((len(item.parts) for item in items), default=1))
    columns: dict[str, Sequence[str]] = {
        KEY: [call.key for call in calls],
        ID: [item.name or "" for item in items],
    }
    for i, name in enumerate(names):
        columns[name] = [item.parts[i].data if i < len(item.parts) else "" for item in items]
    columns |= {LABEL: [""] * len(calls), NOTE: [""] * len(calls)}
    return data.write(columns, path)


def _free(path: str, force: bool) -> None:
    """Raise when a sheet must not, or cannot, be made here. A device or a pipe may be written to."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise DataError(f"{path} cannot be written: there is no folder {folder}; make it, or name another place")
    if not force and (os.path.isfile(path) or (path.endswith("/") and os.path.isdir(path))):
        raise UserError(
            f"{path} is there already, perhaps with answers: read them with --import first, name another file, "
            "or overwrite it with --force"
        )


def how_to(task: Task) -> str:
    """How the exported sheet is filled in, in one line."""
    names = list(task.labels)
    shown = ", ".join(names if len(names) <= MOST_NAMES else names[:MOST_NAMES])
    more = f" … ({len(names)} labels, all of them under [task.labels])" if len(names) > MOST_NAMES else ""
    several = "; several labels joined by |; | alone = none of the labels" if task.kind != "single" else ""
    return f"fill in `label` with one of: {shown}{more}{several}; ? = cannot tell; an empty cell stays open"


def take(config: Config, store: Store, pool: Items, path: str, who: str) -> Report:
    """Read a sheet that was filled in and commit its answers; reading it twice adds nothing.

    A label is one of the task's, letter case aside; several are apart by "|", and "|" alone is none of them. "?" is
    "cannot tell", an empty cell leaves the question open. What cannot be taken is reported with its row, and the rest
    goes on. An answer that is in the ledger stands; a sheet that says otherwise is reported. How long an answer took
    is not known here and is kept as 0 seconds.

    Raises:
        DataError: there is no such file, or it has no columns `key` and `label`.
    """
    task = settings.the_task(config)
    report = Report()
    rows = _agreeing(list(_rows(config, path, report)), report)
    calls = store.calls([row.key for row in rows])
    recipe = person_recipe(task)
    recipes = [recipe, second_recipe(recipe)]
    before = {call.key: answer for _, call, answer in store.answers_since(0, recipes)}
    first = first_word(store, recipe) if any(call.recipe == recipes[1] for call in calls.values()) else {}
    new: list[tuple[_Row, Answer]] = []
    empty = already = 0
    for row in rows:
        call = calls.get(row.key)
        item = None if call is None or call.recipe not in recipes else _find(pool, call.item)
        if call is None or item is None:
            report.unknown_keys.append(row.key)
            report.unknown_rows.append(row.number)
        elif not _same_id(row.id, item):
            why = f"its id is {row.id!r}, the question's is {item.name!r}: were columns sorted apart? It was not taken"
            report.bad_labels.append((row.number, why))
        elif row.label is None:
            empty += 1
        elif call.recipe != recipe and row.key not in before and first.get(call.item, who) == who:
            why = "a second person is to answer this one, and the first was you: it was not taken"
            report.bad_labels.append((row.number, why))
        else:
            answer = _answer(task, row, call, who, report)
            old = before.get(row.key)
            if answer is not None and old is None:
                new.append((row, answer))
            elif answer is not None and old is not None:
                already += _agrees(row, answer, old, report)
    added = asyncio.run(_record(store, new))
    good = [answer for (_, answer), ok in zip(new, added, strict=True) if ok]
    unsure = sum(answer.unsure for answer in good)
    already += len(new) - len(good)
    report.bad_labels.sort()
    return Report(
        len(good) - unsure, unsure, empty, report.unknown_keys, report.bad_labels, already, report.unknown_rows
    )


async def _record(store: Store, new: Sequence[tuple[_Row, Answer]]) -> list[bool]:
    """All at once, so that many answers share a commit."""
    return list(await asyncio.gather(*(store.record(row.key, answer) for row, answer in new)))


def _find(pool: Items, item: str) -> Item | None:
    try:
        return pool.item(pool.position(item))
    except KeyError:
        return None


def _columns(config: Config, parts: int) -> list[str]:
    """Names of the text columns: the pool's own where they are told and free."""
    own = list(config.pool.text)
    if len(own) == parts and not {KEY, ID, LABEL, NOTE} & set(own):
        return own
    return ["text"] if parts == 1 else [f"text_{i + 1}" for i in range(parts)]


def _rows(config: Config, path: str, report: Report) -> Iterator[_Row]:
    kind = "multi" if config.task.kind != "single" else "single"
    wanted = ((KEY, ID, NOTE), (KEY, ID), (KEY, NOTE), (KEY,))
    for columns in wanted:
        source = data.Source(path, text=columns, gold=LABEL, kind=kind, given=True)
        try:
            read = [row for batch in data.read(source) for row in batch]
            break
        except DataError as error:
            problem = error
    else:
        raise DataError(
            f"{path} cannot be read as an answered sheet: it needs the columns key and label, as "
            f"`tutelage review --export` writes them ({problem})"
        ) from problem
    for row in read:
        if isinstance(row, data.Entry):
            told = dict(zip(columns, (part.data for part in row.item.parts), strict=True))
            own = data.excel_plain(told.get(ID, ""))
            yield _Row(row.row, told[KEY].strip(), own, data.excel_plain(told.get(NOTE, "")), row.item.gold)
        else:
            report.bad_labels.append((row.row, row.reason))


def _agreeing(rows: Sequence[_Row], report: Report) -> list[_Row]:
    """One row a key. A key that stands there with two different labels is taken from neither row."""
    by_key: dict[str, list[_Row]] = {}
    for row in rows:
        by_key.setdefault(row.key, []).append(row)
    kept: list[_Row] = []
    for same in by_key.values():
        filled = [row for row in same if row.label is not None] or same
        if len({_plain(row.label) for row in filled}) == 1:
            kept.append(filled[0])
            continue
        for row in filled:
            others = ", ".join(str(other.number) for other in filled if other is not row)
            report.bad_labels.append((row.number, f"the same key has another label in row {others}; keep one of them"))
    return kept


def _plain(label: Value | None) -> tuple[str, ...] | None:
    names = (label,) if isinstance(label, str) else label
    return names and tuple(name.strip().casefold() for name in names)


def _same_id(told: str, item: Item) -> bool:
    """Whether the id is the item's; none told is none to check. Spreadsheets turn 007 into 7, which is the same."""
    if not told or item.name is None or told.strip() == item.name.strip():
        return True
    try:
        return float(told) == float(item.name)
    except ValueError:
        return False


def _answer(task: Task, row: _Row, call: Call, who: str, report: Report) -> Answer | None:
    """The row's label as an answer; None, and a line in the report, when it is no label."""
    flags = ("sheet", *([f"note: {row.note[:500]}"] if row.note.strip() else []))
    try:
        value = _value(task, row.label)
    except Unparsable as error:
        report.bad_labels.append((row.number, str(error)))
        return None
    return Answer("" if value is None else written(value), unsure=value is None, who=who, flags=flags)


def _value(task: Task, label: Value | None) -> Value | None:
    """The label meant, None for "cannot tell". Raises Unparsable with the nearest label."""
    if isinstance(label, str):
        return _name(task, label)
    names = label or ()
    if len(names) == 1 and not _known(task, names[0]):
        if names[0].strip() == "?":
            return None
        if names[0].strip().casefold() == "none":
            raise Unparsable('"none" may mean two things: write | for "no label applies", ? for "cannot tell"')
        names = tuple(part for part in re.split("[,;]", names[0]) if part.strip())
    found = [_name(task, name) for name in names]
    if None in found:
        raise Unparsable('"?" stands beside other labels: write it alone for "cannot tell"')
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


def _agrees(row: _Row, answer: Answer, old: Answer, report: Report) -> bool:
    """Whether the ledger's answer is the sheet's; a line in the report when not."""
    if (answer.unsure, answer.text) == (old.unsure, old.text):
        return True
    said = "cannot tell" if old.unsure else old.text
    report.bad_labels.append((row.number, f"was answered {said!r} before, and that stands; this row was not taken"))
    return False
