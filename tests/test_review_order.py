"""The order in which people are asked: laws that hold whatever is open; it is a function of the ledger and the seed."""

from __future__ import annotations

import random
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from review_room import Room, furnish

from agent import certify, prompt
from agent.review.book import Book
from agent.review.order import BLIND, NEAR, RUN, Arranged, Entry, arrange, blind
from agent.types import Answer, Call, Decision

ENTRIES = st.lists(
    st.builds(
        Entry,
        item=st.uuids(version=4).map(str),
        purpose=st.sampled_from(["pilot", "audit", "audit", "escalation", "escalation", "escalation"]),
        turn=st.sampled_from([1, 1, 1, 2, -1]),
        seq=st.just(0),
        worth=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]),
        leader=st.sampled_from(["", "", "a", "b", "c"]),
    ),
    max_size=90,
    unique_by=lambda entry: entry.item,
).map(lambda entries: [Entry(e.item, e.purpose, e.turn, i, e.worth, e.leader) for i, e in enumerate(entries)])
SEEDS = st.integers(0, 5)


def streams(entries: list[Entry]) -> tuple[list[str], list[str], list[str]]:
    """Items of the first stream (pilot and finished files), of the audit, of escalation; in order of reservation."""
    first = [e.item for e in entries if e.purpose == "pilot" or e.turn < 0]
    rest = [e for e in entries if e.purpose != "pilot" and e.turn >= 0]
    return first, *([e.item for e in rest if (e.purpose == "audit") == audit] for audit in (True, False))  # type: ignore[return-value]


@given(ENTRIES, SEEDS)
def test_everything_comes_once_the_pilot_first_and_the_audit_as_drawn(entries: list[Entry], seed: int) -> None:
    items = arrange(entries, seed).items
    first, audit, chosen = streams(entries)
    assert sorted(items) == sorted(e.item for e in entries)
    assert items[: len(first)] == first
    assert [item for item in items if item in set(audit)] == [audit[i] for i in certify.draw(audit, seed)]
    assert set(items[len(first) :]) == {*audit, *chosen}


@given(ENTRIES, SEEDS)
def test_runs_are_alike_short_and_apart(entries: list[Entry], seed: int) -> None:
    made = arrange(entries, seed)
    by = {e.item: e for e in entries}
    place = {item: i for i, item in enumerate(made.items)}
    for run in made.runs:
        assert 2 <= len(run) <= RUN and len({by[item].leader for item in run}) == 1
        assert {by[item].purpose for item in run} == {"escalation"}
        worths = [by[item].worth for item in run]
        assert worths == sorted(worths, reverse=True) and worths[-1] >= NEAR * worths[0]
        assert [place[item] for item in run] == list(range(place[run[0]], place[run[0]] + len(run)))
    assert len({item for run in made.runs for item in run}) == sum(map(len, made.runs))


def stretches(made: Arranged, entries: list[Entry]) -> list[list[str]]:
    """The parts between runs, as purposes; the first stream left out."""
    first = set(streams(entries)[0])
    inside = {item for run in made.runs for item in run}
    by = {e.item: e for e in entries}
    out: list[list[str]] = [[]]
    for item in made.items:
        if item in inside and out[-1]:
            out.append([])
        elif item not in inside and item not in first:
            out[-1].append(by[item].purpose)
    return [part for part in out if part]


@given(ENTRIES, SEEDS)
def test_audit_cards_lie_among_at_least_as_many_escalations(entries: list[Entry], seed: int) -> None:
    made = arrange(entries, seed)
    parts = stretches(made, entries)
    if parts:  # what finds no company comes when no escalation is left
        while parts[-1] and parts[-1][-1] == "audit" and parts[-1].count("audit") > parts[-1].count("escalation"):
            parts[-1].pop()
    assert all(part.count("audit") <= part.count("escalation") for part in parts)
    _, audit, chosen = streams(entries)
    alone = len(audit) - sum(part.count("audit") for part in parts)
    single = len(chosen) - sum(map(len, made.runs))
    assert alone == max(len(audit) - single, 0)
    assert single >= min(len(audit), len(chosen) // 2)


def test_which_escalations_stay_blind_hangs_on_nothing_but_the_item_and_the_seed() -> None:
    share = [sum(blind(f"i{i}", seed) for i in range(4_000)) / 4_000 for seed in range(3)]
    assert all(abs(one - BLIND) < 0.04 for one in share)
    assert {blind("i0", seed) for seed in range(40)} == {True, False}


@given(ENTRIES, SEEDS, st.randoms(use_true_random=False))
def test_the_order_does_not_hang_on_how_the_rows_came(entries: list[Entry], seed: int, dice: random.Random) -> None:
    mixed = entries[:]
    dice.shuffle(mixed)
    assert arrange(mixed, seed) == arrange(entries, seed)


def test_what_mends_most_comes_first() -> None:
    dice = random.Random(3)
    entries = [Entry(f"i{i}", "escalation", 1, i, dice.random()) for i in range(50)]
    assert arrange(entries, 0).items == [e.item for e in sorted(entries, key=lambda e: -e.worth)]
    same = [Entry(e.item, e.purpose, 1, e.seq) for e in entries]
    assert arrange(same, 0).items == [e.item for e in same]


def ask(folder: Path, n: int = 60) -> tuple[Room, Book, list[Call]]:
    """A book over a ledger of audit cards and escalations, half of them alike by threes, with worths."""
    room = furnish(folder, counts={"pilot": 2, "audit": n // 3, "escalation": n - n // 3})
    calls = room.store.open_calls("person")
    worths = [(c.item, (i * 37 % 11) / 11, calls[i - i % 3].item if i % 2 else "") for i, c in enumerate(calls)]
    room.store.review.add_worths(1, worths)
    return room, Book(room.store, room.recipe, 0, "value"), calls


def test_answers_take_cards_out_and_move_none(tmp_path: Path) -> None:
    """A queue that saw every answer come and one that is opened afterwards tell the same order."""
    room, book, _ = ask(tmp_path)
    store, recipe = room.store, room.recipe
    book.refresh()
    before = [call.key for call in book.front()]
    dice, gone = random.Random(5), set()
    for key in dice.sample(before, 25):
        store.record_now(key, Answer("billing", who="ada"))
        gone.add(key)
        if len(gone) % 5 == 0:
            book.refresh()
            fresh = Book(store, recipe, 0, "value")
            fresh.refresh()
            left = [key for key in before if key not in gone]
            assert [call.key for call in book.front()] == left
            assert [call.key for call in fresh.front()] == left


def test_new_questions_and_new_worths_make_a_new_order_wherever_it_is_read(tmp_path: Path) -> None:
    room, book, calls = ask(tmp_path)
    store, recipe = room.store, room.recipe
    book.refresh()
    for key in [call.key for call in book.front()][:20]:
        store.record_now(key, Answer("billing", who="ada"))
    time.sleep(0.01)  # the clock must tell the answers before from those after
    items = [f"new{i}" for i in range(9)]
    new = [Call(prompt.key(recipe, x, 0), recipe, x, "person", purpose="escalation", turn=2) for x in items]
    store.reserve(new, None)
    store.review.add_worths(2, [(call.item, 0.95, "") for call in new])
    store.decide([Decision(calls[-1].item, "ask", "s", "billing", 0.2, "", 2)])
    book.refresh()
    fresh = Book(store, recipe, 0, "value")
    fresh.refresh()
    order = [call.item for call in book.front()]
    assert order == [call.item for call in fresh.front()] and len(order) == 60 + 2 - 20 + 9
    chosen = [call.item for call in book.front() if call.purpose == "escalation"]
    assert {call.item for call in new} <= set(chosen[:9])


def test_without_worths_the_machines_doubt_orders_and_fifo_takes_them_as_they_came(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"escalation": 12})
    calls = room.store.open_calls("person")
    doubt = {call.item: (i * 5 % 12) / 12 for i, call in enumerate(calls)}
    room.store.decide([Decision(item, "ask", "s", "billing", 1 - d, "", 1) for item, d in doubt.items()])
    orders = {}
    for by in ("value", "fifo"):
        book = Book(room.store, room.recipe, 0, by)
        book.refresh()
        orders[by] = [call.item for call in book.front()]
    assert orders["value"] == sorted(doubt, key=lambda item: -doubt[item])
    assert orders["fifo"] == [call.item for call in calls]
    room.store.close()
