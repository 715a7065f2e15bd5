"""Where the walk through a finished file stands, and which rows people label next. Knows cards; its law is elsewhere.

The walk hears the first answer to a question that was not taken back, so that a second try at what nobody could tell
does not bend it. Who could not tell counts as an error found, and the row waits for a person's label with the rest.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent import certify
from agent.claim.finished.folder import Room, ask
from agent.claim.finished.heard import Word, by_row, differing
from agent.claim.finished.paced import Paced, Way, way
from agent.claim.finished.standing import Hearing, Standing, stand
from agent.claim.finished.terms import Committed, item_id
from agent.data import Whole
from agent.types import Bools, Certificate, Ints, Value

ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
AHEAD = (100, 500)
"""Audits put to people at once: as many, or one in so many rows where that is more. What lies behind the walk's end
goes to people anyway, so none is in vain."""
REST = (500, 50)
"""The same for rows of the rest."""


@dataclass(frozen=True)
class Along(Standing):
    """The walk so far. rest: rows that wait for a person's label, the riskiest first; given_up: of these nobody could
    tell, twice. spoken: row -> what people say it is. seconds: that one answer takes. labels_file: where all labels are
    delivered."""

    way: Way
    rest: Ints
    given_up: int
    spoken: Mapping[int, Value]
    seconds: float
    labels_file: str

    @property
    def over(self) -> bool:
        """Whether no further answer can change anything."""
        return self.way.ended and len(self.rest) == self.given_up

    @property
    def decided(self) -> bool:
        """Whether there is a certificate to write down: of the walk, once it has ended."""
        return self.way.ended


def place_of(room: Room, whole: Whole) -> Path:
    """Where the delivered labels stand: labels.parquet -> labels-certify/labels.parquet."""
    ending = os.path.splitext(whole.path)[1].casefold()
    return room.folder / f"labels{ending if ending in ENDINGS else '.csv'}"


def hear(told: Hearing, made: Committed | Paced, early: bool = False) -> Standing | Along:
    """Where the audit of either promise stands; as `stand`. early: a walk is left where it stands."""
    return _along(told, made, early) if isinstance(made, Paced) else stand(told, made, early)


def _along(told: Hearing, made: Paced, early: bool) -> Along:
    told.words.read()
    room, whole, seen = told.room, told.whole, told.words.seen
    first, last = by_row(whole, told.words.first), by_row(whole, told.words.last)
    place = np.empty(whole.rows, np.int64)
    place[made.order] = np.arange(whole.rows)
    heard, wrong, spoken = (np.zeros(whole.rows, bool) for _ in range(3))
    differ = differing(room, whole, last)
    heard[place[list(first)]] = True
    wrong[place[[row for row, word in first.items() if word.value is None]]] = True
    wrong[place[list(differing(room, whole, first))]] = True
    said = {row: word.value for row, word in last.items() if word.value is not None}
    spoken[place[list(said)]] = True
    now = way(made, heard, wrong, spoken, early)
    waits = ~spoken
    waits[: now.accepted] &= heard[: now.accepted] & now.audited[: now.accepted]  # set aside: nobody could tell
    rest = made.order[np.flatnonzero(waits)[::-1]]
    lost = sum(row in last and last[row].tries > 1 for row in rest.tolist())
    certificate = _certificate(made, now, first, last, spoken, wrong, rest, lost, seen, early, len(differ))
    open_now = len(room.store.open_calls(annotator="person"))
    seconds = float(room.config.person.settings.seconds) if room.config.person else 0.0
    return Along(
        certificate=certificate,
        committed=made,
        folder=str(room.folder),
        heard=len(last),
        asked=len(last) + open_now,
        open=open_now,
        corrections=differ,
        way=now,
        rest=rest,
        given_up=lost,
        spoken=said,
        seconds=seconds,
        labels_file=str(place_of(room, whole)),
    )


def _certificate(
    made: Paced, now: Way, first: Mapping[int, Word], last: Mapping[int, Word], spoken: Bools, wrong: Bools,
    rest: Ints, lost: int, seen: int, early: bool, mended: int,
) -> Certificate:  # fmt: skip
    """What may be said. Until a person has labeled them, the rows of the rest count as wrong."""
    body, rows = made.body, len(made.order)
    places = np.flatnonzero(now.audited)
    audited = made.order[places].tolist()
    people, found = int(spoken.sum()), int(wrong[places].sum())
    bears = min(made.bears, int((~spoken[: now.accepted]).sum()))
    left = min(bears + len(rest), rows)
    said = [(row, json.dumps(first[row].value), json.dumps(last[row].value)) for row in sorted(first) if row in last]
    who = sorted({word.who for word in last.values()} - {""})
    return Certificate(
        items=rows,
        people=people,
        machine=rows - people,
        audited=len(audited),
        wrong=found,
        missing=sum(first[row].value is None for row in audited),
        delta=float(body["delta"]),
        wrong_at_most=left,
        accuracy_at_least=1 - left / rows,
        accuracy_estimate=float("nan"),
        target=float(body["target"]),
        met=now.ended and left <= int(body["allowed"]),
        look=int(body["look"]),
        seed=int(body["seed"]),
        turn=-1,
        labels_sha256=str(body["labels_sha256"]),
        audit_sha256=certify.sha256_of((str(row), one, two) for row, one, two in said),
        truth=", ".join(who) if len(who) <= 5 else f"{len(who)} people",
        method="paced walk",
        extra={
            "risk_of_this_look": float(body["risk_of_this_look"]),
            "answers_up_to": seen,
            "file_sha256": body["sha256"],
            "early": early,
            "mended": mended,
            "heard": np.stack([made.units.risk[audited].round(6), wrong[places]], axis=1).tolist(),
        },
        accepted={
            "claim": "walk",
            "ended": now.ended,
            "stands": now.stands,
            "prefix": now.accepted,
            "labels": rows - len(rest),
            "people": people,
            "machine": rows - len(rest) - people,
            "left_open": len(rest),
            "given_up": lost,
            "errors_found": found,
            "errors_it_may_find": len(made.share),
            "wrong_at_most": bears,
            "all": len(rest) == 0,
        },
        commitment=dict(body),
    )


def put(room: Room, whole: Whole, made: Paced, standing: Along) -> int:
    """Put the next rows to people: along the walk, then the rest, then once more what nobody could tell. How many."""
    asked = Counter(call.item for call in room.store.asked(room.recipe))
    if not standing.way.ended:
        rows = [row for row in made.order[standing.way.ask].tolist() if not asked[item_id(whole, row)]]
        return ask(room, whole, made, rows[: _batch(AHEAD, whole)])
    for tries in (1, 2):
        rows = [row for row in standing.rest.tolist() if asked[item_id(whole, row)] < tries][: _batch(REST, whole)]
        if rows:
            return ask(room, whole, made, rows, "escalation", tries)
    return 0


def _batch(size: tuple[int, int], whole: Whole) -> int:
    return max(size[0], whole.rows // size[1])
