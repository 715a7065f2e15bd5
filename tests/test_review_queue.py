"""Several people at one queue: nothing twice, nothing lost, whoever is late, double, killed or of two minds."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from review_room import Room, furnish
from sqlalchemy import update

from agent import prompt
from agent.errors import UserError
from agent.review import Desk, Queue
from agent.review.queue import LEASE
from agent.store import Store
from agent.store.tables import leases
from agent.types import Answer, Call, Decision


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = furnish(tmp_path)
    yield made
    made.store.close()


def expire(store: Store, *keys: str) -> None:
    """The leases run out, as after ten minutes without a key."""
    store._do(lambda c: c.execute(update(leases).where(leases.c.key.in_(keys)).values(until=1.0)).rowcount)


def sit(desk: Desk, prefetch: int = 0, label: str = "billing") -> int:
    """Answer until nothing is there; how many answers were saved."""
    saved = 0
    while (card := desk.next_card()) is not None:
        if prefetch:
            desk.ahead(prefetch)
        saved += desk.answer(card.key, label).status == "saved"
    return saved


def standing(room: Room, recipe: str = "") -> list[tuple[Call, Answer]]:
    return [(call, answer) for call, answer in room.answers() if call.recipe == (recipe or room.recipe)]


# Several people


@pytest.mark.parametrize("together", [True, False])
def test_people_in_threads_at_one_queue_get_every_card_once(tmp_path: Path, together: bool) -> None:
    room = furnish(tmp_path, counts={"pilot": 10, "audit": 40, "escalation": 50})
    shared = room.queue()
    counts: Counter[str] = Counter()
    fails: list[BaseException] = []

    def work(who: str) -> None:
        try:
            desk = Desk(shared if together else room.queue(), who)
            counts[who] = sit(desk, prefetch=2)
            if desk.undo():
                counts[who] += sit(desk) - 1
        except BaseException as error:  # noqa: BLE001  (a thread's failure is the test's)
            fails.append(error)

    threads = [threading.Thread(target=work, args=(f"p{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not fails
    answered = standing(room)
    assert len(answered) == len({call.item for call, _ in answered}) == 100
    assert Counter(answer.who for _, answer in answered) == counts
    assert room.store.leases() == {} and room.store.verify() == []
    assert shared.left() == 0
    room.store.close()


def test_the_same_key_twice_at_the_same_moment_counts_once(room: Room) -> None:
    queue = room.queue()
    card = Desk(queue, "ada").next_card()
    assert card
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda: said.append(Desk(queue, "ada").answer(card.key, "other").status))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(said) == {"saved": 1, "again": 7} and len(room.answers()) == 1


def test_an_answer_after_its_lease_ran_out_counts_where_nobody_else_answered(room: Room) -> None:
    ada, grace = room.desk("ada"), room.desk("grace")
    card = ada.next_card()
    assert card
    expire(room.store, card.key)
    assert ada.card(card.key) is None
    theirs = grace.next_card()
    assert theirs and theirs.key == card.key, "a card whose lease ran out goes to the next who comes"
    assert not ada.keep(card.key)
    assert ada.answer(card.key, "billing").status == "saved"
    assert grace.answer(card.key, "other").status == "late"
    ((_, first),) = standing(room)
    ((call, late),) = standing(room, prompt.extra_recipe(room.recipe))
    assert (first.who, first.text, late.who, late.text) == ("ada", "billing", "grace", "other")
    assert (call.item, call.sample) == (card.item.id, 0)


def test_late_answers_are_kept_once_a_person(room: Room) -> None:
    card = room.desk("ada").next_card()
    assert card
    assert room.desk("ada").answer(card.key, "billing").status == "saved"
    for who in ("ben", "cleo", "ben"):
        room.desk(who).answer(card.key, "other")
    assert room.desk("ben").answer(card.key, "technical").status == "again"
    late = standing(room, prompt.extra_recipe(room.recipe))
    assert [(answer.who, call.sample) for call, answer in late] == [("ben", 0), ("cleo", 1)]
    assert {call.purpose for call, _ in late} == {standing(room)[0][0].purpose}


def test_what_was_taken_back_or_never_asked_is_gone(room: Room) -> None:
    desk = room.desk()
    card = desk.next_card()
    assert card and desk.answer(card.key, "billing").status == "saved"
    assert desk.undo()
    assert desk.answer(card.key, "billing").status == "gone"
    assert desk.answer("f" * 64, "billing").status == "gone"
    assert room.answers() == []


def test_prefetched_cards_are_leased_and_as_many_follow(room: Room) -> None:
    ada, grace = room.desk("ada"), room.desk("grace")
    first = ada.next_card()
    ahead = ada.ahead(2)
    assert first and len(ahead) == 2 and len(room.store.leases()) == 3
    hers = grace.next_card()
    assert hers and hers.key not in {first.key, *(card.key for card in ahead)}
    ada.answer(first.key, "billing")
    assert len(room.store.leases()) == 4, "one keypress answers and leases the next"
    again = ada.next_card()
    assert again and again.key == ahead[0].key
    assert next(card.key for card in ada.ahead(2)) == ahead[1].key
    ada.skip(again.key)
    moved = ada.next_card()
    assert moved and moved.key == ahead[1].key
    ada.leave()
    assert set(room.store.leases()) == {hers.key}


def test_keeping_and_coming_back_extend_a_lease(room: Room) -> None:
    desk = room.desk()
    card = desk.next_card()
    assert card
    room.store.lease(card.key, "ada", 5)
    assert desk.next_card() and room.store.leases()[card.key][1] > LEASE / 2
    room.store.lease(card.key, "ada", 5)
    assert desk.keep(card.key) and room.store.leases()[card.key][1] > LEASE / 2
    ahead = [one.key for one in desk.ahead(2)]
    assert desk.keep(card.key) and desk.next_card() == card, "the card in hand stays the first"
    expire(room.store, card.key, *ahead)
    assert all(desk.keep(key) for key in (card.key, *ahead)) and desk.next_card() == card
    assert [one.key for one in desk.ahead(2)] == ahead
    room.desk("ben").answer(card.key, "other")
    assert not desk.keep(card.key)


def test_questions_put_and_answers_given_elsewhere_are_seen(room: Room) -> None:
    queue = room.queue()
    assert queue.left() == 12
    item = room.pool.ids[0]
    extra = Call(prompt.key(room.recipe, item, 7), room.recipe, item, "person", 7, "escalation", turn=3)
    room.store.reserve([extra], None)
    elsewhere = room.desk("grace")
    card = elsewhere.next_card()
    assert card and elsewhere.answer(card.key, "other").status == "saved"
    elsewhere.leave()
    assert queue.left() == 12 and queue.refresh(60) is False
    assert sit(Desk(queue, "ada")) == 11 and len(standing(room)) == 12, "nobody answers one item twice"
    assert sit(room.desk("ben")) == 1


def test_a_question_put_anew_to_repair_is_ordered_as_such(room: Room) -> None:
    audit = next(call for call in room.store.open_calls("person") if call.purpose == "audit")
    room.store.record_now(audit.key, Answer("", unsure=True, who="ben"))
    anew = Call(prompt.key(room.recipe, audit.item, 1), room.recipe, audit.item, "person", 1, "escalation", turn=2)
    room.store.reserve([anew], None)
    room.store.review.add_worths(1, [(audit.item, 0.9, "")])
    chosen = [call for call in room.pending() if call.purpose == "escalation"]
    assert chosen[0] == anew and sit(room.desk("ben")) == 12, "who could not tell may be asked once more"


def test_a_pool_that_grew_is_opened_further(room: Room) -> None:
    from agent.pool import Pool
    from agent.types import Item, Part

    queue = room.queue()
    assert queue.left() == 12
    new = Item("e" * 32, (Part("text/plain", "new"),), None, "N")
    other = Pool(room.folder / "tutelage-run" / "pool")
    other.append([(new, "more.csv", 2)])
    room.store.add_items([new.id], ["N"], "1")
    room.store.reserve([Call(prompt.key(room.recipe, new.id, 0), room.recipe, new.id, "person", turn=2)], None)
    assert queue.left() == 13 and sit(Desk(queue, "ada")) == 13


# Taking back


def test_undo_goes_on_after_the_process_died(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"pilot": 25})
    ada, grace = room.desk("ada"), room.desk("grace")
    keys = []
    for desk, times in ((ada, 22), (grace, 2)):
        for _ in range(times):
            card = desk.next_card()
            assert card
            desk.answer(card.key, "other")
            keys += [card.item.id] * (desk is ada)
    back = []
    while (card := room.desk("ada").undo()) is not None:  # each time by a process that has never seen her
        back.append(card.item.id)
        assert room.desk("ada").next_card() == card, "what was taken back is the card in hand"
    assert back == keys[:1:-1] and room.desk("ada").answered() == 2 and room.desk("grace").answered() == 2
    assert room.store.verify() == []
    room.store.close()


def test_undo_reaches_no_answers_but_those_given_here(room: Room) -> None:
    calls = room.store.open_calls("person")
    for call, flag in zip(calls, ("carried", "settled", "sheet", "import: x.csv"), strict=False):
        room.store.record_now(call.key, Answer("billing", who="ada", flags=(flag,)))
    room.store.record_now(calls[4].key, Answer("billing", who="grace"))
    assert room.desk("ada").undo() is None
    assert len(room.answers()) == 5


def test_a_mended_answer_is_a_new_sample_in_its_old_place(room: Room) -> None:
    queue = room.queue()
    desk = Desk(queue, "ada")
    items = [call.item for call in queue.book.front()] if queue.refresh(0) else []
    for _ in range(3):
        card = desk.next_card()
        assert card
        desk.answer(card.key, "other")
    again = desk.undo()
    assert again and again.item.id == items[2]
    desk.leave()
    assert [call.item for call in queue.book.front()] == items[2:]
    fresh = room.queue()
    fresh.refresh()
    assert [call.item for call in fresh.book.front()] == items[2:]


# Second questions


def test_second_questions_come_last_and_only_to_somebody_else(room: Room) -> None:
    second = prompt.second_recipe(room.recipe)
    chosen = [call.item for call in room.store.open_calls("person")[:5]]
    twice = [Call(prompt.key(second, item, 0), second, item, "person", 1, "audit", turn=1) for item in chosen]
    room.store.reserve(twice, None)
    ada, grace = room.desk("ada"), room.desk("grace")
    assert grace.queue.left() == 12, "a second question waits for its first answer"
    assert sit(ada) == 12 and ada.queue.left() == 5
    assert sit(ada) == 0
    card = grace.next_card()
    assert card and ada.answer(card.key, "other").status == "gone", "not even by the key itself"
    assert sit(grace) == 5 and len(standing(room, second)) == 5
    assert room.desk("grace").undo() is not None and len(standing(room, second)) == 4


# Near-duplicates


def alike(folder: Path, audit: int = 2) -> tuple[Room, Queue]:
    """Questions whose texts are near-duplicates of one another, all of them; two of them measure."""
    text = "the parcel that was ordered on monday has not arrived at the door of the house yet and"
    room = furnish(folder, counts={"audit": audit, "escalation": 14}, text=text, endings="abcdefghijklmnopqrstuvwxyz")
    return room, room.queue()


def test_near_duplicates_are_confirmed_with_a_card_and_taken_back_with_it(tmp_path: Path) -> None:
    room, queue = alike(tmp_path)
    desk, other = Desk(queue, "ada"), Desk(queue, "grace")
    held = other.next_card()
    while (card := desk.next_card()) is not None and not card.group:
        desk.answer(card.key, "billing")
    assert card and held
    keys = [mate.key for mate in card.group]
    assert len(keys) == 9 and card.key not in keys and held.key not in keys
    told = {call.key: call.purpose for call in room.store.open_calls("person")}
    assert {told[key] for key in keys} == {"escalation"}
    before = len(standing(room))
    outcome = desk.answer(card.key, "technical", 4.0, ["flagged: odd"], mates=[*keys[:3], held.key, "f" * 64])
    assert (outcome.status, set(outcome.mates)) == ("saved", set(keys[:3]))
    new = standing(room)[before:]
    assert [(a.text, a.seconds, a.flags) for _, a in new] == [
        ("technical", 4.0, ("flagged: odd",)),
        *[("technical", 0.0, ("flagged: odd", "group"))] * 3,
    ]
    following = desk.next_card()
    assert following and not {mate.key for mate in following.group} & set(keys[:3])
    again = room.desk("ada").undo()
    assert again and again.item.id == card.item.id and len(standing(room)) == before
    assert {call.item for call in room.store.open_calls("person")} >= {call.item for call, _ in new}
    room.store.close()


def test_what_one_has_ahead_is_confirmed_too(tmp_path: Path) -> None:
    room, queue = alike(tmp_path, audit=0)
    desk = Desk(queue, "ada")
    card, ahead = desk.next_card(), desk.ahead(2)
    assert card and {one.key for one in ahead} <= {mate.key for mate in card.group}
    outcome = desk.answer(card.key, "billing", mates=[mate.key for mate in card.group])
    assert len(outcome.mates) == 9 and len(standing(room)) == 10
    following = desk.next_card()
    assert following and following.key not in outcome.mates and not set(outcome.mates) & room.store.leases().keys()
    room.store.close()


def test_many_questions_are_compared_beside_the_work(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"escalation": 510}, text="the very same words once more", endings="a" * 510)
    queue = room.queue()
    card = Desk(queue, "ada").next_card()
    queue.settle()
    call = card and queue.book.call(card.key)
    assert call and len(queue.mates(call, "ada")) == 9
    room.store.close()


def test_what_measures_has_no_group_and_is_in_none(tmp_path: Path) -> None:
    room, queue = alike(tmp_path, audit=8)
    purpose = {call.key: call.purpose for call in room.store.open_calls("person")}
    desk = Desk(queue, "ada")
    shown: Counter[tuple[str, bool]] = Counter()
    while (card := desk.next_card()) is not None:
        shown[purpose[card.key], bool(card.group)] += 1
        assert all(purpose[mate.key] == "escalation" for mate in card.group)
        assert purpose[card.key] == "escalation" or not card.group
        desk.answer(card.key, "billing")
    assert shown["audit", False] == 8 and shown["escalation", True] == 13, "the last one of all is alone"
    room.store.close()


# Assisted


def decided(room: Room, label: str = "technical") -> None:
    room.store.decide([Decision(id, "ask", "s", label, 0.6, "", 1) for id in room.pool.ids])


def test_only_questions_that_repair_show_a_guess_and_some_of_them_do_not(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"pilot": 4, "audit": 10, "escalation": 40})
    decided(room)
    purpose = {call.key: call.purpose for call in room.store.open_calls("person")}
    desk = Desk(room.queue(assisted=True), "ada")
    seen: Counter[tuple[str, object]] = Counter()
    while (card := desk.next_card()) is not None:
        seen[purpose[card.key], card.guess] += 1
        desk.answer(card.key, "billing", guess=card.guess)
    assert {key for key in seen if key[0] != "escalation"} == {("pilot", None), ("audit", None)}
    assert 10 <= seen["escalation", "technical"] <= 30 and seen.total() == 54
    flags = Counter((call.purpose, answer.flags) for call, answer in room.answers())
    assert flags["escalation", ("assisted: technical",)] == seen["escalation", "technical"]
    assert flags["audit", ()] == 10 and flags["pilot", ()] == 4, "what measures is never marked by a page's word"
    plain = room.queue()
    assert plain.assisted is False and all(plain.guess(call) is None for call in plain.book.front())
    room.store.close()


def test_what_two_people_answer_stays_blind(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"escalation": 20})
    decided(room)
    calls, second = room.store.open_calls("person"), prompt.second_recipe(room.recipe)
    queue = room.queue(assisted=True)
    queue.refresh()
    shown = [call for call in calls if queue.guess(call) is not None]
    assert 5 <= len(shown) <= 15
    item = shown[0].item
    room.store.reserve([Call(prompt.key(second, item, 0), second, item, "person", 1, "escalation", turn=1)], None)
    queue.refresh(0)
    assert [call for call in calls if queue.guess(call) is not None] == shown[1:]
    room.store.close()


def test_who_has_seen_what_machines_say_is_not_asked_blind(room: Room) -> None:
    from agent.review import people

    calls = room.store.open_calls("person")
    audit = next(call for call in calls if call.purpose == "audit")
    repair = next(call for call in calls if call.purpose == "escalation")
    people.add(room.store, "ada", "owner")
    for call in (audit, repair):
        room.store.review.show("ada", call.item)
    assert sit(room.desk("ada")) == 11, "an audit card is nobody's who has seen its page; a repair is, of one alone"
    assert {a.flags for c, a in standing(room) if c.item == repair.item} == {("assisted: (page)",)}
    people.add(room.store, "ben", "annotator")
    assert room.desk("ada").undo() is not None
    room.desk("ada").leave()
    assert sit(room.desk("ben")) == 2


def test_an_answer_that_measures_cannot_be_given_anew_after_its_page_was_seen(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"audit": 2})
    desk = room.desk("ada")
    card = desk.next_card()
    assert card and desk.answer(card.key, "billing").status == "saved"
    room.store.review.show("ada", card.item.id)
    assert desk.undo() is None and len(room.answers()) == 1
    room.store.close()


# What is written


def test_the_guidelines_version_stands_with_the_answer(room: Room) -> None:
    desk = Desk(room.queue(), "ada", guide=3)
    card = desk.next_card()
    assert card and desk.answer(card.key, "billing").status == "saved"
    assert [answer.guide for _, answer in room.answers()] == [3]


def test_a_wrong_label_changes_nothing(room: Room) -> None:
    desk = room.desk()
    card = desk.next_card()
    assert card
    with pytest.raises(UserError, match="take one of the labels shown"):
        desk.answer(card.key, "nonsense")
    assert desk.next_card() == card and room.answers() == []


def test_odd_names_are_one_person(room: Room) -> None:
    desk = room.desk("a\0n")
    card = desk.next_card()
    assert card and desk.next_card() == card
    assert desk.answer(card.key, "billing").status == "saved" and desk.answer(card.key, "other").status == "again"
    assert desk.answered() == 1 and room.desk("a\0n").undo() is not None


def test_a_queue_is_read_by_others_while_one_brings_it_up_to_date(room: Room) -> None:
    queue = room.queue()
    queue.refresh()
    stop = time.monotonic() + 0.5
    wrong: list[int] = []

    def look() -> None:
        while time.monotonic() < stop:
            queue.refresh(0)
            with queue.lock:
                wrong.extend([n] if (n := len(list(queue.book.front()))) != 12 else [])

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
