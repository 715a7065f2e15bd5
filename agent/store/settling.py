"""What settles a difference between two people: one transaction that sees to who may. Knows rows; no label, no page.

Whoever settles is named as owner or adjudicator and has not answered the item himself. Both are looked up in the
transaction that writes, and there is only one of those at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import exists, insert, select
from sqlalchemy.engine import Connection

from agent.store.reading import CALL, READ
from agent.store.rows import answer_of, answer_row, call_of, call_row, plain
from agent.store.tables import answers, calls, people
from agent.types import Answer, Call

MAY = ("owner", "adjudicator")
FLAG = "settled"
"""Flag of an answer that was given with both sides in sight; the label it left behind names its key after a colon."""

Settled = Literal["saved", "again", "late", "gone", "refused"]
Said = tuple[int, Call, Answer]


@dataclass(frozen=True, slots=True)
class Ruling:
    """The word of a third person. who: gives it; item: about which; shown: keys of the answers that were seen.

    recipes: under which people answer the item; recipe: under which such words stand, its `calls` to keep this one
    under, the first that is free; copies: calls under which the word becomes the item's label, outside the audit.
    """

    who: str
    item: str
    answer: Answer
    shown: Sequence[str]
    recipes: Sequence[str]
    recipe: str
    calls: Sequence[Call]
    copies: Sequence[Call]


class Settling:
    """The differences' own rows; `Store.review.settling`. Whatever writes returns after its commit."""

    def __init__(
        self, do: Callable[[Callable[[Connection], Any]], Any], read: Callable[[Callable[[Connection], Any]], Any]
    ) -> None:
        self._do = do
        self._read = read

    def several(self, recipes: Sequence[str], among: Sequence[str]) -> list[Said]:
        """Good answers under `recipes` which are not withdrawn, oldest first, about items that `among` asked about."""
        found: list[Said] = self._read(lambda connection: several(connection, recipes, among))
        return found

    def recent(self, who: str, recipes: Sequence[str], most: int) -> list[tuple[int, str, tuple[str, ...]]]:
        """(number, item, flags) of a person's last `most` answers, newest first; also of those that were taken back."""
        found: list[tuple[int, str, tuple[str, ...]]] = self._read(lambda c: recent(c, plain(who), recipes, most))
        return found

    def settle(self, ruling: Ruling) -> Settled:
        """Records a ruling, and makes it the item's label unless the item is audited.

        Returns: "saved"; "again": this person's stands already; "late": somebody else's does; "gone": an answer that
        was shown was taken back meanwhile; "refused": this person may not settle, or has answered the item.
        """
        done: Settled = self._do(lambda connection: settle(connection, ruling))
        return done

    def take_back(self, who: str, key: str) -> bool:
        """Takes a ruling of `who` back, and the label it left; False where it is not theirs, or was taken back."""
        return bool(self._do(lambda connection: take_back(connection, plain(who), key)))


def several(connection: Connection, recipes: Sequence[str], among: Sequence[str]) -> list[Said]:
    asked = select(calls.c.item).where(calls.c.recipe.in_(among))
    query = (
        select(answers.c.seq, *CALL, *READ)
        .join_from(answers, calls, answers.c.key == calls.c.key)
        .where(answers.c.status == "ok", calls.c.recipe.in_(recipes), calls.c.item.in_(asked), ~_taken_back())
        .order_by(answers.c.seq)
    )
    middle = 1 + len(CALL)
    return [(row[0], call_of(row[1:middle]), answer_of(row[middle:])) for row in connection.execute(query)]


def recent(
    connection: Connection, who: str, recipes: Sequence[str], most: int
) -> list[tuple[int, str, tuple[str, ...]]]:
    query = (
        select(answers.c.seq, calls.c.item, answers.c.body)
        .join_from(answers, calls, answers.c.key == calls.c.key)
        .where(answers.c.who == who, answers.c.status == "ok", calls.c.recipe.in_(recipes))
        .order_by(answers.c.seq.desc())
        .limit(most)
    )
    return [(seq, item, tuple(json.loads(body).get("flags", ()))) for seq, item, body in connection.execute(query)]


def _taken_back() -> Any:
    other = answers.alias("taken_back")
    return exists().where(other.c.key == answers.c.key, other.c.status == "withdrawn")


def settle(connection: Connection, ruling: Ruling) -> Settled:
    who = plain(ruling.who)
    role = select(people.c.role).where(people.c.name == who).order_by(people.c.seq.desc()).limit(1)
    if connection.execute(role).scalar() not in MAY:
        return "refused"
    said = _of_item(connection, [*ruling.recipes, ruling.recipe], ruling.item)
    words = [(seq, call, answer) for seq, call, answer in said if call.recipe != ruling.recipe]
    own = [(seq, call, answer) for seq, call, answer in words if not _copied(answer)]
    if any(plain(answer.who) == who for _, _, answer in own):
        return "refused"
    before = [(seq, answer) for seq, call, answer in said if call.recipe == ruling.recipe]
    newest = max((seq for seq, call, _ in own if call.key in set(ruling.shown)), default=0)
    if before and before[-1][0] > newest:
        return "again" if plain(before[-1][1].who) == who else "late"
    if not set(ruling.shown) <= {call.key for _, call, _ in own}:
        return "gone"
    given = replace(ruling.answer, who=who, flags=(*ruling.answer.flags, FLAG))
    kept, copy = _free(connection, ruling.calls), _free(connection, ruling.copies)
    if kept is None or copy is None:
        return "gone"  # it was settled and taken back as often as there are calls for it
    rows = [(kept, given)]
    asked = select(calls.c.purpose).where(calls.c.recipe.in_(ruling.recipes), calls.c.item == ruling.item)
    if not given.unsure and "audit" not in set(connection.execute(asked).scalars()):
        label = replace(given, seconds=0.0, flags=(*ruling.answer.flags, f"{FLAG}: {kept.key}"))
        rows.append((copy, label))
    connection.execute(insert(calls), [call_row(call) for call, _ in rows])
    connection.execute(insert(answers), [answer_row(call.key, answer, "ok") for call, answer in rows])
    return "saved"


def _copied(answer: Answer) -> bool:
    return any(flag.partition(":")[0] == FLAG for flag in answer.flags)


def _of_item(connection: Connection, recipes: Sequence[str], item: str) -> list[Said]:
    query = (
        select(answers.c.seq, *CALL, *READ)
        .join_from(answers, calls, answers.c.key == calls.c.key)
        .where(answers.c.status == "ok", calls.c.recipe.in_(recipes), calls.c.item == item, ~_taken_back())
        .order_by(answers.c.seq)
    )
    middle = 1 + len(CALL)
    return [(row[0], call_of(row[1:middle]), answer_of(row[middle:])) for row in connection.execute(query)]


def _free(connection: Connection, wanted: Sequence[Call]) -> Call | None:
    """The first of these calls that is not in the ledger."""
    there = set(connection.execute(select(calls.c.key).where(calls.c.key.in_([c.key for c in wanted]))).scalars())
    return next((call for call in wanted if call.key not in there), None)


def take_back(connection: Connection, who: str, key: str) -> bool:
    query = (
        select(calls.c.item, answers.c.who)
        .join_from(answers, calls, answers.c.key == calls.c.key)
        .where(answers.c.key == key, answers.c.status == "ok", ~_taken_back())
    )
    row = connection.execute(query).first()
    if row is None or row[1] != who:
        return False
    copies = (
        select(answers.c.key, answers.c.body)
        .join_from(answers, calls, answers.c.key == calls.c.key)
        .where(calls.c.item == row[0], calls.c.annotator == "person", answers.c.status == "ok", ~_taken_back())
    )
    left = [one for one, body in connection.execute(copies) if f'"{FLAG}: {key}"' in body]
    connection.execute(insert(answers), [answer_row(one, Answer("", who=who), "withdrawn") for one in (key, *left)])
    return True
