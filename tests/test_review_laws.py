"""Whatever people do at the queue, in whatever order: what a process remembers is what another reads in the ledger."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from review_room import Room, furnish
from sqlalchemy import delete

from agent import prompt
from agent.review import Desk
from agent.review.book import Book
from agent.store.tables import leases
from agent.types import Call

WHO = ("ada", "ben", "cleo")
DEEDS = ("answer", "answer", "answer", "group", "undo", "skip", "leave", "keep", "ahead", "stale", "elsewhere", "ask",
         "twice", "worth", "late", "refresh")  # fmt: skip


def furnished(folder: Path) -> Room:
    text = "the parcel that was ordered on monday has not arrived at the door of the house yet and"
    counts = {"pilot": 2, "audit": 5, "escalation": 9}
    return furnish(folder, counts=counts, text=text, endings="abcdefghijklmnopqrstuvwxyz")


def same(book: Book, room: Room) -> None:
    """A book that followed all along and one that is opened now agree."""
    fresh = Book(room.store, room.recipe, 0, "value")
    fresh.refresh()
    assert [call.key for call in book.front()] == [call.key for call in fresh.front()]
    assert {call.key for call in book.again()} == {call.key for call in fresh.again()}
    assert book.left() == fresh.left() and book.said == fresh.said
    for who in WHO:
        assert book.count[who] == fresh.count[who] and book.last(who) == fresh.last(who)
    opened = {call.key for call in room.store.open_calls("person") if call.recipe == room.recipe}
    assert {call.key for call in book.front()} == opened


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])
@given(st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 2), st.integers(0, 20)), min_size=10, max_size=60))
def test_what_a_process_remembers_is_what_the_ledger_says(deeds: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        room = furnished(Path(folder))
        queue = room.queue()
        second, seen = prompt.second_recipe(room.recipe), [call.key for call in room.store.open_calls("person")]
        for turn, (deed, who, pick) in enumerate(deeds):
            desk = Desk(queue, WHO[who])
            item = room.pool.ids[pick % len(room.pool)]
            if deed in ("answer", "group", "keep", "skip") and (card := desk.next_card()) is not None:
                mates = [mate.key for mate in card.group][: pick % 4] if deed == "group" else []
                if deed == "skip":
                    desk.skip(card.key)
                elif deed == "keep":
                    assert desk.keep(card.key)
                else:
                    assert desk.answer(card.key, "billing", mates=mates).status == "saved"
            elif deed == "undo":
                desk.undo()
            elif deed == "leave":
                desk.leave()
            elif deed == "ahead":
                desk.ahead(pick % 3)
            elif deed == "stale":
                room.store._do(lambda c: c.execute(delete(leases)).rowcount)
            elif deed == "late":
                desk.answer(seen[pick % len(seen)], "other")
            elif deed == "elsewhere":
                other = room.desk(WHO[who])
                if (card := other.next_card()) is not None:
                    other.answer(card.key, "technical")
            elif deed == "ask":
                key = prompt.key(room.recipe, item, 50 + turn)
                room.store.reserve([Call(key, room.recipe, item, "person", 50 + turn, "escalation", turn=2)], None)
            elif deed == "twice":
                key = prompt.key(second, item, 0)
                room.store.reserve([Call(key, second, item, "person", 1, "audit", turn=1)], None)
            elif deed == "worth":
                room.store.review.add_worths(2, [(item, pick / 20, room.pool.ids[pick % 4])])
            elif deed == "refresh":
                queue.refresh(0)
        queue.refresh(0)
        same(queue.book, room)
        assert room.store.verify() == []
        room.store.close()
