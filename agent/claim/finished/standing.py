"""Where the audit of a finished file stands: answers heard in the order of the draw. Asks nobody, writes nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agent import certify
from agent import config as settings
from agent.certify import strata
from agent.claim.classes import Part, bears, differs, judge, within
from agent.claim.finished.folder import Room, cards_of, texts_of
from agent.claim.finished.heard import Word, Words, by_row, differing
from agent.claim.finished.terms import Committed, Promise, item_id
from agent.data import Whole
from agent.types import Certificate, Ints, Value


@dataclass(frozen=True)
class Standing:
    """The audit so far. certificate: what may be said now. heard: units in the order of the draw that are answered;
    asked: units put to people; open: questions without an answer. corrections: row -> what people said, where the label
    is another."""

    certificate: Certificate
    committed: Promise
    folder: str
    heard: int
    asked: int
    open: int
    corrections: Mapping[int, Value]

    @property
    def proved(self) -> bool:
        """Whether the target is certified, for the classes that were named as well."""
        return self.certificate.met and all(row["certified"] for row in self.certificate.classes)

    @property
    def over(self) -> bool:
        """Whether no further answer can change anything: all that may be asked is answered."""
        return self.heard >= self.committed.most

    @property
    def decided(self) -> bool:
        """Whether there is a certificate to write down."""
        return self.certificate.met or self.over or bool(self.certificate.extra["early"])


def asked_of(room: Room) -> set[str]:
    """Items that are in the queue or answered."""
    return {call.item for call in room.store.asked(room.recipe)}


@dataclass
class Tally:
    """What was heard so far, in the order of the draw. losses: (predicted risk, share wrong) of each unit, of rows that
    somebody could tell; said: what was said of each question."""

    test: strata.Test | None
    heard: int = 0
    missing: int = 0
    wrong: int = 0
    losses: list[list[float]] = field(default_factory=list)
    said: list[tuple[str, str]] = field(default_factory=list)
    who: set[str] = field(default_factory=set)


class Hearing:
    """An audit while it is heard: what was read and tested stays, so that the next answers cost only themselves."""

    def __init__(self, room: Room, whole: Whole, made: Promise, upto: int | None = None) -> None:
        self.room, self.whole, self.made = room, whole, made
        self.words = Words(room, upto)
        self._cards: dict[int, dict[str, list[int]]] = {}
        self._tally: Tally | None = None

    def cards(self, units: Sequence[int]) -> dict[int, dict[str, list[int]]]:
        """The questions of these units, as `cards_of`."""
        new = [unit for unit in units if unit not in self._cards]
        texts = texts_of(self.whole, self.made, new)
        self._cards |= {unit: cards_of(self.whole, self.made, texts, unit) for unit in new}
        return self._cards

    def tally(self, made: Committed, units: Sequence[int], early: bool) -> Tally:
        """Hear these units in their order: all, or up to the first that is open or with which the test ends."""
        cards = self.cards(units)
        if self.words.read() or self._tally is None:
            self._tally = Tally(None if made.exact else strata.Test(made.plan))
        tally = Tally(None) if early and made.exact else self._tally
        for unit in units[tally.heard :]:
            if not early and any(item not in self.words.last for item in cards[unit]):
                break
            if tally.test and tally.test.certified and tally.test.wrong_at_most + tally.missing <= made.plan.allowed:
                break
            self._hear(made, tally, unit)
        return tally

    def _hear(self, made: Committed, tally: Tally, unit: int) -> None:
        task, kind = settings.the_task(self.room.config), settings.kind(self.room.config)
        wrong = missing = size = 0
        for item, rows in self._cards[unit].items():
            word = self.words.last.get(item, Word(None, ""))
            tally.said.append((item, json.dumps(word.value)))
            tally.who |= {word.who} - {""}
            size += len(rows)
            for row in rows:
                missing += word.value is None
                given = self.whole.names[self.whole.label[row]]
                wrong += word.value is not None and kind.loss(task, given, word.value) > 0
        tally.heard, tally.missing = tally.heard + 1, tally.missing + missing
        tally.wrong += wrong + missing
        if size > missing:
            tally.losses.append([round(float(self.made.units.risk[unit]), 6), wrong / (size - missing)])
        if tally.test is not None:
            tally.test.hear(unit, (wrong + missing) / size)


def stand(told: Hearing, made: Committed, early: bool = False) -> Standing:
    """Hear the answers there are. `early`: what is asked and not answered counts as wrong, and is not waited for.

    The any-time test ends at the first moment at which it certifies, and before the first question without an answer:
    it holds at every moment, so also at those. What is found wrong behind it is corrected as well.
    """
    room, whole = told.room, told.whole
    asked = asked_of(room)
    put = made.most if early and made.exact else _put(whole, made, asked)
    units = made.order[:put].tolist()
    tally = told.tally(made, units, early)
    words = told.words.last
    who = sorted(tally.who)
    base = _certificate(made, tally, told.words.seen, early)
    certificate = dataclasses.replace(
        base,
        classes=judge(parts_of(room, whole, made, words, early), made.body["target"], made.body["risk_of_this_look"]),
        extra={**base.extra, "heard": tally.losses},
        audit_sha256=certify.sha256_of(tally.said),
        truth=", ".join(who) if len(who) <= 5 else f"{len(who)} people",
    )
    cards = told.cards(units)
    alike = {item: rows for unit in units for item, rows in cards[unit].items()}
    said = by_row(whole, words) | {row: words[item] for item in alike if item in words for row in alike[item]}
    return Standing(
        certificate=certificate,
        committed=made,
        folder=str(room.folder),
        heard=tally.heard,
        asked=put,
        open=len(asked - set(words)),
        corrections=differing(room, whole, said),
    )


def members(whole: Whole, made: Committed, name: str) -> Ints:
    """The rows of a class in the order of the draw."""
    codes = [code for code, value in enumerate(whole.names) if within(value, name)]
    return made.order[np.isin(whole.label[made.order], codes)]


def parts_of(room: Room, whole: Whole, made: Committed, words: Mapping[str, Word], early: bool) -> list[Part]:
    """The classes and what was heard of each, in its own order of the draw up to its first gap."""
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    out = []
    for name in made.body["classes"]:
        rows = members(whole, made, name)
        drawn = rows[np.isin(rows, made.order[: made.most])] if made.exact else rows
        heard: list[Word] = []
        for row in drawn.tolist():
            word = words.get(item_id(whole, row), Word(None, "") if early else None)
            if word is None:
                break
            heard.append(word)
        wrong = np.zeros(len(heard), bool)
        for k, (row, word) in enumerate(zip(drawn.tolist(), heard, strict=False)):
            given = whole.names[whole.label[row]]
            if word.value is not None:
                wrong[k] = differs(given, word.value, name, kind.loss(task, given, word.value))
        part = Part(name, 0, len(rows), wrong, np.array([word.value is None for word in heard], bool))
        if not made.exact:
            plan = strata.part(made.plan, made.units.risk, rows, bears(part, made.body["target"]))
            spent = made.body["risk_of_this_look"] / len(made.body["classes"])
            part = dataclasses.replace(part, plan=dataclasses.replace(plan, delta=spent), units=np.arange(len(heard)))
        out.append(part)
    return out


def _put(whole: Whole, made: Committed, asked: set[str]) -> int:
    """How many units of the order were put to people, from its front."""
    if made.units.size is None:
        flags = (item_id(whole, int(unit)) in asked for unit in made.order[: made.most])
    else:
        flags = (any(item_id(whole, row) in asked for row in made.units.rows_of(int(u)).tolist()) for u in made.order)
    return next((n for n, there in enumerate(flags) if not there), made.most)


def _certificate(made: Committed, tally: Tally, seen: int, early: bool) -> Certificate:
    """What the test says. Wrong labels that people put right are mended; those that nobody could tell stay wrong."""
    body, test = made.body, tally.test
    heard, wrong, missing = tally.heard, tally.wrong, tally.missing
    rows, delta = int(body["rows"]), float(body["risk_of_this_look"])
    mended = wrong - missing
    if test is None:
        left = certify.wrong_at_most(rows, heard, wrong, delta) - mended
    else:
        left = test.wrong_at_most + missing
    met = left <= int(body["allowed"]) and (test is not None or heard >= made.most)
    return Certificate(
        items=rows,
        people=0,
        machine=rows,
        audited=heard,
        wrong=wrong,
        missing=missing,
        delta=float(body["delta"]),
        wrong_at_most=left,
        accuracy_at_least=1 - left / rows,
        accuracy_estimate=_estimate(made, heard, wrong),
        target=float(body["target"]),
        met=met,
        look=int(body["look"]),
        seed=int(body["seed"]),
        turn=-1,
        labels_sha256=str(body["labels_sha256"]),
        audit_sha256="",
        truth="",
        method="hypergeometric" if test is None else "betting",
        extra={
            "risk_of_this_look": delta,
            "answers_up_to": seen,
            "file_sha256": body["sha256"],
            "early": early,
            "mended": mended,
        },
        commitment=dict(body),
    )


def _estimate(made: Committed, heard: int, wrong: int) -> float:
    """The share of right labels among the audited, where they are a plain random sample; else what is left unsaid."""
    plain = len(made.plan.weight) == 1 and made.units.size is None
    return 1 - wrong / heard if heard and plain else float("nan")
