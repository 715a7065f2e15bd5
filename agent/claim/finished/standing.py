"""Where the audit of a finished file stands: answers heard in the order of the draw. Asks nobody, writes nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from agent import certify
from agent import config as settings
from agent.certify import strata
from agent.claim.classes import Part, bears, differs, judge, within
from agent.claim.finished.folder import Room, cards_of, texts_of
from agent.claim.finished.terms import Committed, Promise, item_id
from agent.data import Whole
from agent.errors import Unparsable
from agent.types import Certificate, Ints, Value


@dataclass(frozen=True)
class Word:
    """What came of a question. value None: nobody could tell. sample: 1 where it was put a second time."""

    value: Value | None
    who: str
    sample: int = 0


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


def words_of(room: Room, upto: int | None = None, first: bool = False) -> tuple[dict[str, Word], int]:
    """Item -> the last word on it, and the number of the last answer read. `upto`: read none after this number.
    `first`: only answers to questions as they were put the first time."""
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    words: dict[str, Word] = {}
    seen = 0
    for seq, status, call, answer in room.store.events_since(0, [room.recipe]):
        if upto is not None and seq > upto:
            break
        seen = seq
        if first and call.sample:
            continue
        if status != "ok":
            words.pop(call.item, None)
            continue
        value: Value | None = None
        if not answer.unsure:
            question = kind.question(task, room.pool.item(room.pool.position(call.item)), call.sample)
            try:
                read = kind.parse(task, question, answer) or {}
            except Unparsable:
                read = {}
            if read:
                value = kind.value(task, {atom: max(d, key=d.__getitem__) for atom, d in read.items()})
        words[call.item] = Word(value, answer.who, call.sample)
    return words, seen


def asked_of(room: Room) -> set[str]:
    """Items that are in the queue or answered."""
    return {call.item for call in room.store.asked(room.recipe)}


def stand(room: Room, whole: Whole, made: Committed, early: bool = False, upto: int | None = None) -> Standing:
    """Hear the answers there are. `early`: what is asked and not answered counts as wrong, and is not waited for.

    The any-time test ends at the first moment at which it certifies, and before the first question without an answer:
    it holds at every moment, so also at those.
    """
    words, seen = words_of(room, upto)
    asked = asked_of(room)
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    put = _put(whole, made, asked)
    texts = texts_of(whole, made, [int(u) for u in made.order[:put]])
    test = None if made.exact else strata.Test(made.plan)
    heard = missing = wrong = 0
    losses: list[list[float]] = []
    corrections: dict[int, Value] = {}
    said: list[tuple[str, str]] = []
    who: set[str] = set()
    for unit in made.order[:put].tolist():
        cards = cards_of(whole, made, texts, unit)
        if not early and any(item not in words for item in cards):
            break
        if test is not None and test.certified and test.wrong_at_most + missing <= made.plan.allowed:
            break
        heard, bad, size = heard + 1, 0, 0
        for item, rows in cards.items():
            word = words.get(item, Word(None, ""))
            said.append((item, json.dumps(word.value)))
            who |= {word.who} - {""}
            size += len(rows)
            for row in rows:
                if word.value is None:
                    missing, bad = missing + 1, bad + 1
                elif kind.loss(task, whole.names[whole.label[row]], word.value) > 0:
                    corrections[row], bad = word.value, bad + 1
        wrong += bad
        losses.append([round(float(made.units.risk[unit]), 6), bad / size])
        if test is not None:
            test.hear(unit, bad / size)
    people = ", ".join(sorted(who)) if len(who) <= 5 else f"{len(who)} people"
    base = _certificate(made, heard, wrong, missing, test, seen, early)
    certificate = dataclasses.replace(
        base,
        classes=judge(parts_of(room, whole, made, words, early), made.body["target"], made.body["risk_of_this_look"]),
        extra={**base.extra, "heard": losses},
        audit_sha256=certify.sha256_of(said),
        truth=people,
    )
    return Standing(certificate, made, str(room.folder), heard, put, len(asked - set(words)), corrections)


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


def _certificate(
    made: Committed, heard: int, wrong: int, missing: int, test: strata.Test | None, seen: int, early: bool
) -> Certificate:
    """What the test says. Wrong labels that people put right are mended; those that nobody could tell stay wrong."""
    body = made.body
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
