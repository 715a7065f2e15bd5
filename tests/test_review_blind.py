"""Nobody speaks twice of an item, nor after what others or machines said of it was shown: asked, written, imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from review_room import Room, furnish

from agent import claim, opinions, prompt
from agent import config as settings
from agent.review import Desk, Queue
from agent.review.settle import Differences
from agent.review.trips import match
from agent.review.trips.match import Told
from agent.store.spoken import SIDES
from agent.types import Answer, Call, Decision


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = furnish(tmp_path, counts={"audit": 1})
    made.store.reserve(claim.second_questions(made.recipe, made.store.item_ids(), 1, "audit"), None)
    yield made
    made.store.close()


def say(desk: Desk, label: str) -> str:
    card = desk.next_card()
    return "" if card is None else desk.answer(card.key, label).status


def reopen(desk: Desk) -> None:
    """Takes the last answer back and leaves the question to others."""
    card = desk.undo()
    assert card is not None
    desk.skip(card.key)
    desk.leave()


def stand(room: Room, *recipes: str) -> list[tuple[str, str]]:
    return [(answer.who, answer.text) for _, _, answer in room.store.answers_since(0, list(recipes or [room.recipe]))]


@pytest.mark.parametrize("shared", [True, False], ids=["one process", "two processes"])
def test_who_answered_second_is_not_asked_first_when_that_is_open_again(room: Room, shared: bool) -> None:
    queue = room.queue()
    ada, bob = Desk(queue, "ada"), Desk(queue if shared else room.queue(), "bob")
    assert say(ada, "billing") == say(bob, "technical") == "saved"
    reopen(ada)
    bob.queue.refresh(0)
    assert bob.next_card() is None and room.desk("bob").next_card() is None
    key = room.store.open_calls("person")[0].key
    assert bob.answer(key, "technical").status == "gone", "nor by the key itself"
    assert stand(room) == []
    assert say(ada, "other") == "saved", "who took their own answer back answers that question again"
    reopen(room.desk("ada"))
    assert say(room.desk("cleo"), "other") == "saved"
    assert Desk(room.queue(), "ada").next_card() is None


def test_who_answered_first_and_took_it_back_is_not_the_second(room: Room) -> None:
    ada, bob = room.desk("ada"), room.desk("bob")
    assert say(ada, "billing") == "saved"
    reopen(ada)
    assert say(bob, "technical") == "saved"
    assert room.desk("ada").next_card() is None and say(room.desk("cleo"), "other") == "saved"


def test_two_at_once_do_not_get_round_it(room: Room) -> None:
    """A card that was lent before is no more this person's once they have spoken of the item elsewhere."""
    ada, bob = room.desk("ada"), room.desk("bob")
    assert say(ada, "billing") == "saved"
    assert say(bob, "technical") == "saved"
    held = ada.undo()
    assert held is not None
    assert bob.answer(held.key, "technical").status == "gone" and not bob.keep(held.key)
    assert ada.answer(held.key, "other").status == "saved"


def test_who_settles_or_sees_both_sides_is_not_asked(room: Room) -> None:
    ada, bob = room.desk("ada"), room.desk("bob")
    room.store.review.set_person("eve", "adjudicator", "x")
    room.store.review.set_person("fay", "adjudicator", "y")
    assert say(ada, "billing") == say(bob, "technical") == "saved"
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    court = Differences(room.store, room.pool, task, kind, 0)
    seen = court.next("fay")
    assert seen is not None
    court.skip("fay", seen.key)
    dispute = court.next("eve")
    assert dispute and court.settle("eve", dispute.key, dispute.mark, "technical", 1.0) == "saved"
    reopen(ada)
    for who in ("eve", "fay"):
        desk = room.desk(who)
        assert desk.next_card() is None
        assert desk.answer(room.store.open_calls("person")[0].key, "technical").status == "gone"
    assert court.undo("eve") and room.desk("eve").next_card() is None, "what was seen stays seen"
    assert stand(room) == []


def test_a_label_that_is_asked_once_more_is_asked_of_another_person(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"escalation": 1})
    ada = room.desk("ada")
    assert say(ada, "billing") == "saved"
    item = room.pool.ids[0]
    anew = Call(prompt.key(room.recipe, item, 1), room.recipe, item, "person", 1, "escalation", turn=2)
    room.store.reserve([anew], None)
    assert room.desk("ada").next_card() is None and say(room.desk("bob"), "other") == "saved"
    room.store.close()


def test_a_file_is_held_to_the_same(room: Room) -> None:
    queue = room.queue()
    ada, bob = Desk(queue, "ada"), Desk(queue, "bob")
    assert say(ada, "billing") == say(bob, "technical") == "saved"
    reopen(ada)
    key = room.store.open_calls("person")[0].key

    def take(who: str) -> Sequence[str]:
        row = Told(2, key, labels=("technical",), who=who)
        return [one.why for one in match.take(room.config, room.store, room.pool, [row], "sheet", who).refused]

    assert "somebody else is to answer" in take("bob")[0] and stand(room) == []
    room.store.review.note("cleo", room.pool.ids[0], SIDES)
    assert "somebody else is to answer" in take("cleo")[0]
    assert take("ada") == [] and stand(room) == [("ada", "technical")]


def test_rows_are_not_written_on_what_was_known_before_their_person_spoke(room: Room) -> None:
    first, second = room.store.open_calls("person")
    upto = room.store.review.newest()
    assert say(room.desk("ada"), "billing") == "saved"
    assert room.store.review.enter(upto, [(second.key, Answer("billing", who="ada"))]) == [False]
    assert room.store.review.enter(upto, [(second.key, Answer("billing", who="bob"))]) == [True]
    again = [(first.key, Answer("other", who="cleo")), ("f" * 64, Answer("other", who="cleo"))]
    assert room.store.review.enter(room.store.review.newest(), again) == [False, False]


def test_two_words_of_one_person_are_no_pair_in_the_evidence(room: Room) -> None:
    """As a ledger may hold it that was written before this was seen to."""
    first, second = room.store.open_calls("person")
    room.store.decide([Decision(room.pool.ids[0], "ask", "s", "billing", 0.6, "", 1)])
    room.store.record_now(first.key, Answer("billing", who="bob"))
    room.store.record_now(second.key, Answer("billing", who="bob"))
    evidence = claim.gather(room.config, room.store, room.pool)
    assert evidence.alone == {0} and evidence.twice == (0,)


# What a card showed


def assisted(folder: Path, n: int = 24) -> tuple[Room, Queue]:
    room = furnish(folder, counts={"escalation": n})
    room.store.decide([Decision(id, "ask", "s", "technical", 0.6, "", 1) for id in room.pool.ids])
    return room, room.queue(assisted=True)


def flags(room: Room) -> dict[str, tuple[str, ...]]:
    return {call.item: answer.flags for call, answer in room.answers()}


def test_a_guess_that_was_shown_marks_a_later_answer(tmp_path: Path) -> None:
    room, queue = assisted(tmp_path)
    ada, shown, key = Desk(queue, "ada"), set[str](), {}
    while len(key) < 24:
        card = ada.next_card()
        assert card is not None
        key[card.item.id] = card.key
        shown |= {card.item.id} if card.guess is not None else set()
        ada.skip(card.key)
    ada.leave()
    assert 0 < len(shown) < 24
    plain = room.desk("ada")  # another process; assisted is off there, so that no card shows anything
    while (card := plain.next_card()) is not None:
        assert card.guess is None and plain.answer(card.key, "billing").status == "saved"
    found = flags(room)
    assert {item for item, told in found.items() if told == ("assisted: (page)",)} == shown
    assert all(found[item] == () for item in key.keys() - shown)
    room.store.close()


def test_the_mark_is_that_persons_alone_and_hangs_on_the_ledger_not_on_the_form(tmp_path: Path) -> None:
    room, queue = assisted(tmp_path)
    ada = Desk(queue, "ada")
    while (card := ada.next_card()) is not None and card.guess is None:
        ada.skip(card.key)
    assert card is not None
    other = room.desk("bob")
    ada.leave()
    assert other.answer(card.key, "billing").status == "saved" and flags(room)[card.item.id] == ()
    while (card := ada.next_card()) is not None and card.guess is None:
        ada.answer(card.key, "billing")
    assert card is not None and ada.answer(card.key, "billing").status == "saved", "a page that forgets to say so"
    assert opinions.marked(next(a for c, a in room.answers() if c.item == card.item.id), opinions.ASSISTED)
    again = ada.undo()
    assert again and again.guess == "technical" and ada.answer(again.key, "billing").status == "saved"
    assert opinions.marked(next(a for c, a in room.answers() if c.key == again.key), opinions.ASSISTED)
    room.store.close()


def test_a_page_that_was_opened_a_moment_ago_counts(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"escalation": 1})
    ada = room.desk("ada")
    card = ada.next_card()
    assert card is not None
    room.store.review.show("ada", card.item.id)
    assert ada.answer(card.key, "billing").status == "saved"
    assert flags(room)[card.item.id] == ("assisted: (page)",)
    room.store.close()
