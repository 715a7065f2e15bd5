"""Answers that were recorded before, in people's place: a column of the file, or people's votes. Tests nothing."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable

from agent import config as settings
from agent.claim.evidence import people_are
from agent.claim.finished.folder import Room
from agent.data import Whole
from agent.errors import DataError
from agent.types import Answer, Item, Value

Answerer = Callable[[Item, int], Answer]


def fits(file: Whole, gold: str) -> None:
    """Whether the file's ids tell its rows apart, and the recorded votes are about them.

    Raises:
        DataError: they do not, or there are none of this name.
    """
    recorded = gold != "people" and not gold.startswith("column:")
    if file.wanted.id is None and not recorded:
        return
    ids = Counter(file.ids(range(file.rows)))
    if file.wanted.id and (twice := next((name for name, n in ids.items() if n > 1), None)) is not None:
        raise DataError(f"--id {file.wanted.id}: {file.path} has {ids[twice]:,} rows {twice!r}; ids must differ")
    if not recorded:
        return
    if not os.path.exists(gold):
        raise DataError(f"{gold} cannot be read: --gold-by takes people, column:NAME, or a file of recorded votes")
    from agent.oracles import table

    if not any(str(row["id"]) in ids for row in table(gold, ["id"])):
        raise DataError(f"no id of {gold} is an id of {file.path}: name the column of its ids with --id")


def answerer(room: Room, file: Whole, gold: str) -> Answerer | None:
    """Who answers in people's place, and a note in the ledger that it is so; None for people.

    Raises:
        DataError: somebody else has answered already, people or other recordings.
    """
    if gold == "people":
        return None
    from agent.oracles import person

    if file.truth is not None:
        said, found = f"simulated from column {file.wanted.truth}", _from_column(room, file)
    else:
        said = f"simulated from recorded people's votes in {gold.rsplit('/', 1)[-1]}"
        seed = int(room.store.commitments()[-1]["body"]["seed"])
        found = person.recorded(gold, settings.the_task(room.config), seed)
    if (then := people_are(room.store)) != said:
        if room.store.events_since(0, [room.recipe]):
            raise DataError(
                f"--gold-by {gold}: {then or 'people'} answered already, and one certificate rests on one kind of "
                "answers: certify a copy of the file"
            )
        room.store.end_turn(-1, {"people_are": said})
    return found


def _from_column(room: Room, file: Whole) -> Answerer:
    truth, known = file.truth, set(settings.the_task(room.config).labels)
    assert truth is not None
    for name in (file.names[code] for code in set(truth.tolist()) - {-1}):
        if strange := set([name] if isinstance(name, str) else name) - known:
            raise DataError(
                f"column {file.wanted.truth!r} holds {min(strange)!r}, which is none of the labels people choose from: "
                f"remove {room.folder} and begin with --gold-by column:{file.wanted.truth}"
            )

    def answer(item: Item, sample: int) -> Answer:
        code = int(truth[int(item.id.rpartition("-")[2]) - 1])
        value: Value | None = None if code < 0 else file.names[code]
        text = value if isinstance(value, str) else json.dumps(value)
        return Answer("" if value is None else text, unsure=value is None, who=f"column {file.wanted.truth}")

    return answer
