"""How long people are wanted: a guess that follows counts and clocks, and nothing that an answer says."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from review_room import Room, furnish

from agent import prompt
from agent.review import minutes
from agent.types import Answer, Call

COUNTS = {"pilot": 3, "audit": 8, "escalation": 7}
seconds = st.floats(0.5, 600)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = furnish(tmp_path, counts=COUNTS)
    yield made
    made.store.close()


def left(room: Room, now: float | None = None) -> minutes.Minutes:
    return minutes.left(room.store, room.config, time.time() if now is None else now)


def afresh(room: Room, now: float) -> minutes.Minutes:
    """As a server that has just begun would say it."""
    minutes._clocks.pop(room.store, None)
    return left(room, now)


def answer(room: Room, call: Call, label: str = "billing", who: str = "ada", took: float = 6.0, *flags: str) -> None:
    assert room.store.record_now(call.key, Answer(label, who=who, seconds=took, flags=flags))


# Laws of the arithmetic

pairs = st.tuples(seconds, seconds).map(lambda p: (min(p), max(p)))
counts = st.tuples(st.integers(0, 5_000), st.integers(0, 5_000)).map(lambda p: (min(p), max(p)))


@given(counts, pairs, st.integers(1, 20), st.integers(0, 500))
def test_more_questions_take_longer_and_more_people_less(
    wanted: tuple[int, int], pace: tuple[float, float], people: int, more: int
) -> None:
    found = minutes.told(wanted[0], wanted, pace, people, False, 0.95)
    assert 0 <= found.low <= found.high and found.answers == wanted[1]
    longer = minutes.told(wanted[0], (wanted[0] + more, wanted[1] + more), pace, people, False, 0.95)
    assert longer.low >= found.low and longer.high >= found.high
    shared = minutes.told(wanted[0], wanted, pace, people + 1, False, 0.95)
    assert shared.high <= found.high
    assert found.high == pytest.approx(wanted[1] * pace[1] / 60 / people)


@given(st.lists(seconds, max_size=300).map(sorted), seconds)
def test_a_pace_holds_the_median_and_moves_with_it(took: list[float], assumed: float) -> None:
    low, high = minutes.pace(took, assumed)
    middle = assumed
    if len(took) >= minutes.ENOUGH:
        middle = (took[(len(took) - 1) // 2] + took[len(took) // 2]) / 2
    assert low < middle < high
    twice = minutes.pace([2 * each for each in took], 2 * assumed)
    assert twice == pytest.approx((2 * low, 2 * high))


@given(st.floats(0, 5_000), st.floats(0, 5_000))
def test_a_range_is_rounded_outwards(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    words = minutes.span(low, high)
    if words == "about a minute":
        assert high <= 1
        return
    unit = 60 if words.endswith("hours") else 1
    numbers = [unit * float(word) for word in words.split() if word.replace(".", "").isdigit()]
    assert numbers[-1] >= high - 1e-6 and numbers[0] <= max(low, numbers[-1])
    assert not words.startswith("about") or numbers[0] <= low + 1e-6


def test_the_words_are_those_people_use() -> None:
    told = minutes.told
    assert told(60, (60, 60), (30, 50), 1, False, 0.95).words == (
        "about 30 to 50 minutes more to the certificate: 60 answers"
    )
    assert told(1, (1, 9), (2, 6), 3, False, 0.95).words == (
        "about a minute more to the certificate: up to 9 answers, shared by 3 people"
    )
    assert told(0, (0, 0), (2, 6), 1, False, 0.95).words.startswith("nothing waits for people")
    assert told(2, (2, 2), (2, 6), 1, True, 0.95).words == (
        "the certificate is there: 95 % is certified; 2 questions are still open"
    )
    assert minutes.span(150, 290) == "about 2.5 to 5 hours"


# What the ledger says


def test_open_questions_and_expected_repairs_are_wanted(room: Room) -> None:
    assert left(room).answers == 18 == left(room).open
    room.store.end_turn(1, {"people_expected": [10, 12]})
    assert left(room).answers == 18 + 12 - 7, "seven of the repairs were asked for in that turn"
    assert left(room).words.endswith("up to 23 answers")
    room.store.end_turn(1, {"people_expected": [3, 3], "final": True, "code": 4})
    assert left(room).answers == 23, "the end of a run that waits has asked already"
    room.store.end_turn(2, {"final": True, "code": 0, "stop": "enough"})
    assert left(room).answers == 18, "a run that came to its end expects nothing"


def test_assumed_seconds_give_way_to_measured_ones(room: Room) -> None:
    assumed = float(room.config.person.settings.seconds)  # type: ignore[union-attr]
    assert left(room).high == pytest.approx(18 * assumed * (1 + minutes.UNKNOWN) / 60)
    for call in room.store.open_calls("person")[:12]:
        answer(room, call, took=30.0)
    found = left(room)
    assert found.high == pytest.approx(6 * 30 * (1 + minutes.LEAST) / 60) and found.done == 12
    assert minutes.own(room.store, room.config, "ada") == (12, 30.0)
    assert minutes.own(room.store, room.config, "eve") == (0, 0.0)


def test_who_answered_lately_shares_the_rest(room: Room) -> None:
    first, second, third, *_ = room.store.open_calls("person")
    for call, who in ((first, "ada"), (second, "bob"), (third, "ada")):
        answer(room, call, who=who)
    assert left(room).people == 2
    assert left(room, time.time() + minutes.ACTIVE + 60).people == 1, "nobody there counts as one"


def test_labels_beside_a_machines_do_not_tell_a_pace(room: Room) -> None:
    for call in room.store.open_calls("person")[:12]:
        answer(room, call, "billing", "ada", 1.0, "assisted: billing")
    assumed = float(room.config.person.settings.seconds)  # type: ignore[union-attr]
    assert left(room).high == pytest.approx(6 * assumed * (1 + minutes.UNKNOWN) / 60)


def test_a_certificate_says_so_until_somebody_answers_more(room: Room) -> None:
    cards = room.store.open_calls("person")
    answer(room, cards[0])
    seen = room.store.review.newest()
    room.store.add_certificate("x", {"met": False, "extra": {"answers_up_to": seen}})
    assert "to the certificate" in left(room).words
    room.store.add_certificate("x", {"met": True, "extra": {"answers_up_to": seen}})
    assert left(room).words.startswith("the certificate is there: 95 % is certified; 17 questions")
    answer(room, cards[1])
    assert "to the certificate" in left(room).words


LABEL = st.sampled_from(["billing", "technical", "other", "?"])


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_it_depends_on_no_word_and_what_is_read_in_steps_is_what_is_read_at_once(data: st.DataObject) -> None:
    """Two ledgers, the same but for what people said; one is watched all along, the other is read at the end."""
    steps = data.draw(st.lists(st.tuples(st.integers(0, 17), st.booleans(), seconds, LABEL, LABEL), max_size=25))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        rooms = [furnish(Path(folder), counts=COUNTS) for folder in (one, two)]
        for number, undo, took, *words in steps:
            for room, word in zip(rooms, words, strict=True):
                _step(room, number, undo, took, word)
            left(rooms[0])
        now = time.time()
        watched, late = left(rooms[0], now), afresh(rooms[1], now)
        for room in rooms:
            room.store.close()
    assert watched == late


def _step(room: Room, number: int, undo: bool, took: float, word: str) -> None:
    """An answer to a question, or its answer taken back and the question asked anew."""
    item = room.store.item_ids()[number]
    last = max((call for call, _ in room.store.review.of_item(item)), key=lambda call: call.sample)
    if not undo:
        given = Answer("" if word == "?" else word, unsure=word == "?", who="ada", seconds=took)
        room.store.record_now(last.key, given)
        return
    again = Call(
        prompt.key(last.recipe, item, last.sample + 1), last.recipe, item, "person", last.sample + 1, last.purpose
    )
    room.store.reserve([again], None)
    room.store.withdraw(last.key, "ada")
