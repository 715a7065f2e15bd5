"""Answers that came back in a file, matched with the questions by key and taken. Knows no tool's format.

A row is found again by its key; the user's own id and the text beside it must still be the item's, so that columns
sorted apart, or a changed text, are noticed. What cannot be taken is reported with row and id, and the rest goes on.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agent import config as settings
from agent.config import Config
from agent.errors import Unparsable
from agent.review.order import blind
from agent.review.queue import LEASE, Items, written
from agent.review.trips import words
from agent.review.trips.questions import find
from agent.review.trips.report import Report
from agent.review.trips.standing import Standing
from agent.store import Store
from agent.store.spoken import beside
from agent.types import Answer, Call, Item, Task

KEY = re.compile("[0-9a-f]{64}")
CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f]+")
CELL = 32_000
"""Characters of a text after which it is compared no further: a spreadsheet's cell ends at 32,767."""
NOBODY = "somebody"
"""Who answered where nothing says it."""
LONGEST = 200
"""Characters of a person's name."""
TRIES = 5
"""Times that answers are placed anew when others answered between the look and the commit."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a file says about one question by one person.

    row: the line, or the number of the record from 1 on. labels: as written; None leaves the question open, () is "no
    label applies" (kind multi; nothing said elsewhere). who: "" where the file names nobody. texts: the text as it came
    back, None where the file has none. shown: the machines' labels that stood beside it; None is a blind card.
    led: some guess stood there that we had not sent. wrong: why the row could not be read at all.
    """

    row: int
    key: str = ""
    id: str = ""
    labels: tuple[str, ...] | None = None
    who: str = ""
    seconds: float = 0.0
    note: str = ""
    texts: tuple[str, ...] | None = None
    shown: tuple[str, ...] | None = None
    led: bool = False
    wrong: str = ""


@dataclass
class _Taking:
    """One file on its way into the ledger."""

    task: Task
    pool: Items
    tool: str
    seed: int
    standing: Standing
    report: Report
    new: list[tuple[Told, Call, Answer]] = field(default_factory=list)


def take(
    config: Config,
    store: Store,
    pool: Items,
    told: Sequence[Told],
    tool: str,
    who: str | None = None,
    login: str = NOBODY,
) -> Report:
    """Commit a file's answers; doing it twice adds nothing.

    The first person's answer to an open question is the answer. Another's is the second person's where one is wanted of
    this item, else an extra opinion. Who has answered an item before is not heard again about it.

    Args:
        tool: a flag on each answer that says where it came from. who: who answered where the file does not say, and
            what the one person is called that it names. login: who answered where nobody says.
    """
    report = Report()
    rows = _named(told, who, login, report)
    rows = _agreeing(rows, report)
    report.people = sorted({row.who for row in rows if row.labels is not None})
    task = settings.the_task(config)
    for last in [False] * (TRIES - 1) + [True]:
        standing = Standing.of(store, task, [row.key for row in rows if KEY.fullmatch(row.key)])
        taking = _Taking(task, pool, tool, config.run.seed, standing, report)
        for row in rows:
            _place(taking, row)
        rows = _commit(store, taking)
        if not rows:
            break
        if last:
            for row in rows:
                report.refuse(row.row, row.id, "others were answering it just then; import the file again")
    return report


def _named(told: Sequence[Told], who: str | None, login: str, report: Report) -> list[Told]:
    """Every row with a person; what could not be read is reported."""
    told = [replace(row, who=_clean(row.who)) for row in told]
    named = {row.who for row in told if row.who and row.labels is not None}
    if len(named) > 1 and who:
        report.notes.append(f"--who {who} is not used where the file says who answered")
    one = who if len(named) <= 1 else None
    rows = []
    for row in told:
        if row.wrong:
            report.refuse(row.row, row.id, row.wrong)
        else:
            rows.append(replace(row, who=one or row.who or who or login))
    return rows


def _clean(who: str) -> str:
    """A name that can be shown anywhere."""
    return "".join(c if c.isprintable() else "\ufffd" for c in who.strip()[:LONGEST])


def _agreeing(rows: Sequence[Told], report: Report) -> list[Told]:
    """One row for a key and person. Two different labels by one person for one key are both left."""
    groups: dict[tuple[str, str], list[Told]] = {}
    for row in rows:
        groups.setdefault((row.key, row.who), []).append(row)
    kept: list[Told] = []
    for same in groups.values():
        filled = [row for row in same if row.labels is not None] or same
        if len({_plain(row.labels) for row in filled}) == 1:
            kept.append(filled[0])
            continue
        for row in filled:
            others = ", ".join(str(other.row) for other in filled if other is not row)
            report.refuse(row.row, row.id, f"the same key has another label in row {others}; keep one of them")
    answered = {row.key for row in kept if row.labels is not None}
    return [row for row in kept if row.labels is not None or row.key not in answered]


def _plain(labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if labels is None else tuple(sorted(name.strip().casefold() for name in labels))


def _place(taking: _Taking, row: Told) -> None:
    """Reports the row, or adds it to what is new."""
    report, standing = taking.report, taking.standing
    call = standing.calls.get(row.key)
    item = None if call is None else find(taking.pool, call.item)
    if call is None or item is None:
        why = f"its key {row.key[:16]!r} is no open question of this run, or of older labels"
        report.refuse(row.row, row.id, why)
        return
    if why := _changed(row, item):
        report.refuse(row.row, row.id, why)
        return
    if row.labels is None or (taking.task.kind == "single" and not row.labels):
        report.empty += 1
        return
    try:
        answer = _answer(taking, row)
    except Unparsable as error:
        report.refuse(row.row, row.id, str(error))
        return
    old = standing.said(call, row.who)
    if old is not None and (old.unsure, old.text) == (answer.unsure, answer.text):
        report.already += 1
    elif why := standing.closed(call, row.who) or _led(row, call, taking):
        report.refuse(row.row, row.id, why)
    else:
        answer = beside(answer, standing.guessed(call, row.who))
        taking.new.append((row, standing.place(call, row.who, answer), answer))


def _changed(row: Told, item: Item) -> str:
    """Why the row is not about this item; "" where it is."""
    if not _same_id(row.id, item):
        return f"its id is {row.id!r}, the question's is {item.name!r}: were columns sorted apart? It was not taken"
    if row.texts is not None and not _same_text(row.texts, item):
        return "its text is not the text that was asked about: another item was judged; it was not taken"
    return ""


def _same_id(told: str, item: Item) -> bool:
    """Whether the id is the item's; none told is none to check. Spreadsheets turn 007 into 7, which is the same."""
    if not told or item.name is None or told.strip() == item.name.strip():
        return True
    try:
        return float(told) == float(item.name)
    except ValueError:
        return False


def _same_text(told: Sequence[str], item: Item) -> bool:
    """White space, line ends, how letters are encoded and the apostrophe before a formula aside: tools change those."""
    back, ours = (_read(texts) for texts in (told, [part.data for part in item.parts]))
    return back == ours or (len(back) >= CELL and ours.startswith(back[:CELL]))


def _read(texts: Sequence[str]) -> str:
    text = CONTROL.sub(" ", " ".join(text.lstrip("'") for text in texts))
    return " ".join((text if text.isascii() else unicodedata.normalize("NFC", text)).split())


def _led(row: Told, call: Call, taking: _Taking) -> str:
    """Why an answer was not given blind although it must be; "" where all is well."""
    standing = taking.standing
    may = call.recipe == standing.recipe and call.purpose == "escalation" and not blind(call.item, taking.seed)
    if (row.led and row.shown is None) or (row.shown is not None and not may):
        return "a guess stood beside it that tutelage did not send: it must be answered blind; it was not taken"
    if call.item in standing.seen(row.who):
        return f"{row.who} opened this item's page, where guesses stand: somebody else must answer it"
    return ""


def _answer(taking: _Taking, row: Told) -> Answer:
    """The row as an answer. Raises Unparsable when it is no label."""
    value = words.value(taking.task, row.labels or ())
    seconds = row.seconds if math.isfinite(row.seconds) and row.seconds > 0 else 0.0
    flags = [taking.tool]
    if row.note.strip():
        flags.append(f"note: {row.note[:500]}")
    if seconds > LEASE:
        flags.append("idle")
    if row.shown is not None:
        flags.append(f"assisted: {written(row.shown[0] if taking.task.kind == 'single' else row.shown)[:500]}")
    text = "" if value is None else written(value)
    return Answer(text, unsure=value is None, who=row.who, seconds=min(seconds, LEASE), flags=tuple(flags))


def _commit(store: Store, taking: _Taking) -> list[Told]:
    """Write what is new, many answers to a commit; the rows whose question others answered meanwhile."""
    extra = taking.standing.is_extra
    late = [call for _, call, _ in taking.new if extra(call)]
    granted = {call.key for call in store.reserve(late, None)} if late else set()
    ready = [(row, call, answer) for row, call, answer in taking.new if not extra(call) or call.key in granted]
    added = store.review.enter(taking.standing.upto, [(call.key, answer) for _, call, answer in ready])
    done = set()
    for (row, call, answer), ok in zip(ready, added, strict=True):
        if ok:
            done.add(id(row))
            taking.report.count(answer, extra(call))
    return [row for row, _, _ in taking.new if id(row) not in done]
