"""People: names and tokens, overlap, agreement, who settles a difference, what comes of it. Real ledgers and pages."""

from __future__ import annotations

import contextlib
import json
import math
import re
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_room import call
from hypothesis import given
from hypothesis import strategies as st
from review_room import Room, furnish
from web_room import at_work, named, site_of

from agent import agreement, claim, opinions, prompt
from agent import config as settings
from agent.board import Board
from agent.cli import raters
from agent.errors import UserError
from agent.prompt import extra_recipe, second_recipe, settled_recipe
from agent.review import people, team
from agent.review.settle import Differences
from agent.store.settling import Ruling
from agent.types import Answer, Call, Task, Value

# ---------------------------------------------------------------- names and tokens


@given(st.text(max_size=80))
def test_a_name_is_kept_only_as_what_can_be_seen(name: str) -> None:
    try:
        kept = people.named(name)
    except UserError:
        return
    assert kept.isprintable() and 1 <= len(kept) <= people.LONGEST
    assert people.named(kept) == kept


@pytest.mark.parametrize("name", ["", "   ", "a" * 61, "ada\u202egro", "ada\x00", "ada\x1fsettles", "a\u200bda"])
def test_names_that_hide_something_are_refused(name: str) -> None:
    with pytest.raises(UserError):
        people.named(name)


def test_a_token_opens_until_a_new_one_is_given_or_its_person_goes(tmp_path: Path) -> None:
    store = furnish(tmp_path).store
    ada, first = people.add(store, "Ada", "owner")
    assert len(first) >= 22 and re.fullmatch(r"[\w-]+", first)  # 128 bits and more
    assert people.find(store, first) == ada and people.find(store, first[:-1]) is None
    assert first not in json.dumps([one.token_sha256 for one in store.review.people().values()])
    store.review.open_session("hash", ada)
    _, second = people.renew(store, "Ada")
    assert people.find(store, first) is None and people.find(store, second) is not None
    assert store.review.session("hash", 1e9) is None
    with pytest.raises(UserError, match="already"):
        people.add(store, "ADA")
    with pytest.raises(UserError, match="only owner"):
        people.remove(store, "Ada")
    with pytest.raises(UserError, match="only owner"):
        people.appoint(store, "Ada", "annotator")
    _, third = people.add(store, "Bo")
    assert people.appoint(store, "Bo", "adjudicator").role == "adjudicator"
    assert (people.find(store, third) or ada).role == "adjudicator"  # the same token, another role
    people.remove(store, "Bo")
    assert people.find(store, third) is None
    with pytest.raises(UserError, match="nobody is called"):
        people.renew(store, "Bo")
    with pytest.raises(UserError, match="no role"):
        people.add(store, "Cy", "gone")
    assert people.add(store, "Bo")[0].role == "annotator"  # may come back


def test_the_verb_prints_a_token_once_and_keeps_none(tmp_path: Path) -> None:
    room = furnish(tmp_path)
    room.store.close()
    at = ["-c", str(tmp_path / "tutelage.toml")]
    told = json.loads(call("people", "add", "Ada", "--role", "owner", "--json", *at).stdout)
    assert told["link"].endswith(f"/login#{told['token']}")
    assert "Ada" in call("people", "list", *at).stdout
    again = call("people", "token", "Ada", *at).stdout
    assert told["token"] not in again
    assert call("people", "remove", "Ada", *at).exit_code == 2
    assert "rung" in call("people", "add", "PERSON", *at).stderr
    assert "'Ada' already, and names that look so much alike" in call("people", "add", "ada", *at).stderr
    call("people", "add", "Bo", *at)
    assert call("people", "remove", "Bo", *at).exit_code == 0
    listed = json.loads(call("people", "list", "--json", *at).stdout)["people"]
    assert listed == [{"name": "Ada", "role": "owner"}, {"name": "Bo", "role": "gone"}]
    held = (tmp_path / "tutelage-run" / "ledger.db").read_bytes()
    assert told["token"].encode() not in held


# ---------------------------------------------------------------- overlap


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_overlap_chooses_its_share_by_the_item_alone(share: float) -> None:
    n = 4_000
    chosen = [claim.overlapped(7, f"item {i}", share) for i in range(n)]
    # Binomial: five standard deviations are passed once in two million runs, and this one is always the same.
    assert abs(sum(chosen) - n * share) <= 5 * math.sqrt(n * share * (1 - share))
    assert chosen == [claim.overlapped(7, f"item {i}", share) for i in range(n)]
    wider = [claim.overlapped(7, f"item {i}", min(share + 0.2, 1.0)) for i in range(n)]
    assert all(b or not a for a, b in zip(chosen, wider, strict=True))  # a larger share keeps those of the smaller


def test_of_many_who_begin_at_once_one_becomes_the_owner_and_a_name_is_one_persons(tmp_path: Path) -> None:
    room = furnish(tmp_path)
    owners: list[object] = []
    named_so: list[str] = []

    def begin(name: str) -> None:
        owners.append(people.first(room.store, name))
        with contextlib.suppress(UserError):
            named_so.append(people.add(room.store, "Twin" if int(name) % 2 else "twin")[1])

    threads = [threading.Thread(target=begin, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one is not None for one in owners) == 1 and len(named_so) == 1
    assert people.find(room.store, named_so[0]) is not None
    roles = [one.role for one in room.store.review.people().values()]
    assert roles.count("owner") == 1 and roles.count("annotator") == 1


# ---------------------------------------------------------------- a room where people differ


def put(
    room: Room, item: int, who: str, value: Value | None, recipe: str, flags: tuple[str, ...] = (), n: int = 0
) -> str:
    """An answer of a person under a recipe; its question is made where there is none. Returns the key."""
    one = f"{item:032x}"
    key = prompt.key(recipe, one, n)
    room.store.reserve([Call(key, recipe, one, "person", n, room.purpose[one], turn=1)], None)  # type: ignore[arg-type]
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    assert room.store.record_now(key, Answer(text, unsure=value is None, who=who, seconds=4.0, flags=flags))
    return key


def pair(
    room: Room,
    item: int,
    one: Value | None,
    two: Value | None,
    who: tuple[str, str] = ("ada", "bo"),
    flags: tuple[str, ...] = (),
) -> None:
    put(room, item, who[0], one, room.recipe, flags)
    put(room, item, who[1], two, second_recipe(room.recipe), flags)


def look(room: Room) -> None:
    """A certificate that has read all there is."""
    last = max(seq for seq, _, _ in room.store.answers_since(0))
    room.store.add_certificate("x", {"met": False, "extra": {"answers_up_to": last}})


def of(room: Room) -> tuple[Task, Differences]:
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    return task, Differences(room.store, room.pool, task, kind, room.config.run.seed)


def stream(room: Room, purpose: str) -> list[int]:
    return [int(item, 16) for item, what in room.purpose.items() if what == purpose]


@pytest.fixture
def room(tmp_path: Path) -> Room:
    made = furnish(tmp_path, counts={"pilot": 4, "audit": 30, "escalation": 30})
    for name, role in {
        "ada": "annotator",
        "bo": "annotator",
        "cy": "adjudicator",
        "di": "owner",
        "ed": "annotator",
    }.items():
        named(made, name, role)
    return made


def test_agreement_is_that_of_the_tables(room: Room) -> None:
    """The same numbers as `agent.agreement` gives of the votes, over items that two answered blind."""
    draw = np.random.default_rng(3)
    labels = list(room.config.task.labels)
    said = []
    for item in range(40):
        one = labels[draw.integers(3)]
        two = one if draw.random() < 0.7 else labels[draw.integers(3)]
        pair(room, item, one, two, flags=("sheet",))
        said.append([labels.index(one), labels.index(two)])
    put(room, 41, "ada", labels[0], room.recipe)  # alone: counts nowhere
    look(room)
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    found = opinions.of_run(room.store, room.pool, task, kind)
    votes = np.array(said)
    a, same = agreement.alpha(votes), agreement.pairs(votes)
    assert found.alpha is not None and found.alpha[0] == pytest.approx(a.value)
    # The ends are 2.5 % points of 1,000 draws, and labels bear other numbers there: of a spread σ each has the error
    # √(.025 · .975 / 1,000) / φ(1.96) σ = .085 σ; five times that of a difference of two is never seen.
    spread = 5 * math.sqrt(2) * 0.085 * (a.high - a.low) / 3.92
    assert found.alpha[1:] == pytest.approx((a.low, a.high), abs=spread)
    assert found.share == pytest.approx((same.value, same.low, same.high))
    assert (found.doubled, found.items, found.people, found.enough) == (40, 40, 2, True)
    for one_label in found.labels:
        code = labels.index(one_label.name)
        both = int(((votes == code).sum(axis=1) == 2).sum())
        assert one_label.said == int((votes == code).sum()) and one_label.share == pytest.approx(
            2 * both / one_label.said
        )
    assert "two people say the same" in opinions.told(found)


def test_only_blind_answers_of_different_people_are_compared(room: Room) -> None:
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    r, second, extra = room.recipe, second_recipe(room.recipe), extra_recipe(room.recipe)
    chosen = stream(room, "escalation")
    for item, flag in zip(chosen, ["assisted: other", "group", "settled: k"], strict=False):
        put(room, item, "ada", "billing", r, (flag,))
        put(room, item, "bo", "other", second)
    put(room, chosen[3], "ada", "billing", r)
    put(room, chosen[3], "ada", "other", second)  # the same person
    put(room, chosen[4], "ada", "billing", r)
    key = put(room, chosen[4], "bo", "other", second)
    room.store.withdraw(key, "bo")
    assert opinions.of_run(room.store, room.pool, task, kind).doubled == 0
    assert not of(room)[1].open()
    assert opinions.of_run(room.store, room.pool, task, kind).later == 0
    for who in ("ada", "bo", "ed"):
        named(room, who, "gone")  # they can take nothing back any more
    put(room, chosen[5], "ada", "billing", r)
    put(room, chosen[5], "ed", "other", extra)  # a late answer is an opinion, too
    put(room, chosen[6], "ada", "billing", r)
    put(room, chosen[6], "bo", "other", r, n=1)  # asked once more because it was doubted: no random pair
    found = opinions.of_run(room.store, room.pool, task, kind)
    assert (found.doubled, found.enough, found.alpha) == (1, False, None)
    assert "not enough doubled answers" in opinions.told(found)


def test_what_the_audit_says_counts_in_no_agreement_before_a_certificate_has_read_it(room: Room) -> None:
    """Not in the run's, not in a label's, not in anybody's own figures, not in the plan's ceiling."""
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    audit, repair = stream(room, "audit"), stream(room, "escalation")

    def told() -> tuple[object, ...]:
        found = opinions.of_run(room.store, room.pool, task, kind)
        own = [(one.name, one.doubled, one.share, one.mixed) for one in team.figures(room.store, room.pool, task, kind)]
        return replace(found, later=0), own, raters.consent(room.config)

    for item in repair[:20]:
        pair(room, item, "billing", "other", flags=("sheet",))
    before = told()
    for item in audit[:22]:
        pair(room, item, "technical", "billing", flags=("sheet",))
    assert told() == before
    assert opinions.of_run(room.store, room.pool, task, kind).later == 22
    look(room)
    found = opinions.of_run(room.store, room.pool, task, kind)
    assert (found.items, found.later) == (42, 0)
    seen = told()
    assert seen != before and {mix.own for mix in team.figures(room.store, room.pool, task, kind)[0].mixed} == {
        "billing",
        "technical",
    }
    pair(room, audit[22], "other", "billing", flags=("sheet",))
    assert told() == seen, "the look did not read it"


def test_too_few_items_say_what_is_left_out_and_until_when(room: Room) -> None:
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    for item in stream(room, "audit"):
        pair(room, item, "technical", "billing")
    words = opinions.told(opinions.of_run(room.store, room.pool, task, kind))
    assert words.startswith("not enough doubled answers: 0 of the 20") and "30 more items count once" in words
    assert raters.consent(room.config) is None and "30 more items" in raters.waits(room.config)
    with at_work(site_of(room)) as client:
        assert "30 more items count once" in client.sign_in(named(room, "olga", "owner")).get("/team").text


def test_nobody_learns_what_another_one_said_while_they_can_take_their_own_word_back(room: Room) -> None:
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    repair = stream(room, "escalation")
    pair(room, repair[0], "billing", "technical")
    for who, others in (("ada", repair[1:21]), ("bo", stream(room, "audit")[:19])):
        for item in others:
            assert opinions.of_run(room.store, room.pool, task, kind).doubled == 0
            assert not any(one.mixed or one.share for one in team.figures(room.store, room.pool, task, kind))
            put(room, item, who, "other", room.recipe)
    key = put(room, stream(room, "audit")[20], "bo", "other", room.recipe)
    found = {one.name: one for one in team.figures(room.store, room.pool, task, kind)}
    assert found["bo"].mixed == (team.Mix("technical", "billing", 1),)
    room.store.withdraw(key, "bo")
    desk = room.desk("bo")
    while (card := desk.undo()) is not None:
        assert card.item.id != f"{repair[0]:032x}", "what figures tell of is out of reach"


# ---------------------------------------------------------------- settling


def test_a_third_person_settles_and_the_word_becomes_the_label_outside_the_audit(room: Room) -> None:
    repair, audit = stream(room, "escalation")[0], stream(room, "audit")[0]
    for item in (repair, audit):
        pair(room, item, "billing", "technical")
    agreeing = stream(room, "escalation")[1]
    pair(room, agreeing, "other", "other")
    _, court = of(room)
    assert {int(item, 16) for item in court.open()} == {repair, audit}
    for _ in range(2):
        card = court.next("cy")
        assert card is not None and card.item.gold is None
        assert {side.value for side in card.sides} == {"billing", "technical"}
        assert court.settle("cy", card.key, card.mark, "technical", 3.0) == "saved"
        assert court.settle("cy", card.key, card.mark, "technical", 3.0) == "again"  # a double press
    assert court.next("cy") is None and not court.open()
    said = [(int(c.item, 16), c.purpose, a) for _, c, a in room.store.answers_since(0, [room.recipe]) if a.who == "cy"]
    assert [(item, purpose) for item, purpose, _ in said] == [(repair, "escalation")]
    assert said[0][2].text == "technical" and said[0][2].seconds == 0 and opinions.marked(said[0][2], "settled")
    assert len(room.store.answers_since(0, [settled_recipe(room.recipe)])) == 2
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    layout = settings.layout(room.config)
    board = Board(task, kind, layout, room.pool, len(room.pool), [], room.recipe)
    board.refresh(room.store, {})
    assert board.layout.choices[0][int(board.people.said[repair].argmax())] == "technical"
    assert board.layout.choices[0][int(board.audit.said[audit].argmax())] == "billing"
    assert court.undo("cy") and court.undo("cy") and not court.undo("cy")
    assert len(court.open()) == 2
    assert [a.who for _, _, a in room.store.answers_since(0, [room.recipe])].count("cy") == 0


def test_who_answered_an_item_cannot_settle_it_not_even_in_the_ledger(room: Room) -> None:
    item = stream(room, "escalation")[0]
    pair(room, item, "billing", None, who=("cy", "bo"))
    _, court = of(room)
    assert court.next("cy") is None and court.left("cy") == (0, 1)
    card = court.next("di")
    assert card is not None
    assert court.settle("cy", card.key, card.mark, "billing", 1.0) == "refused"  # answered it
    assert court.settle("ed", card.key, card.mark, "billing", 1.0) == "refused"  # no role
    assert court.settle("nobody", card.key, card.mark, "billing", 1.0) == "refused"
    named(room, "di", "gone")
    assert court.settle("di", card.key, card.mark, "billing", 1.0) == "refused"
    first = room.store.calls([prompt.key(room.recipe, f"{item:032x}", 0)]).popitem()[1]
    word = replace(first, key="k", recipe=settled_recipe(room.recipe))
    recipes = (room.recipe, second_recipe(room.recipe), extra_recipe(room.recipe))
    asked = Ruling("cy", first.item, Answer("billing", who="cy"), [first.key], recipes, word.recipe, [word], [first])
    assert room.store.review.settling.settle(asked) == "refused"  # whatever a page would let through
    assert not room.store.answers_since(0, [settled_recipe(room.recipe)])


def test_two_adjudicators_at_once_settle_each_difference_once(room: Room) -> None:
    chosen = stream(room, "escalation")[:6]
    for item in chosen:
        pair(room, item, "billing", "technical")
    one, two = of(room)[1], of(room)[1]
    a, b = one.next("cy"), two.next("di")
    assert a is not None and b is not None and a.key != b.key  # leased to one of them
    said: list[str] = []

    def press(who: str, value: str) -> None:
        court = of(room)[1]
        for key, mark in marks:
            said.append(court.settle(who, key, mark, value, 1.0))

    one.skip("cy", a.key)
    two.skip("di", b.key)
    marks = []
    for _ in chosen:
        card = one.next("cy")
        assert card is not None
        marks.append((card.key, card.mark))
        one.skip("cy", card.key)
    assert len(set(marks)) == len(chosen)
    threads = [threading.Thread(target=press, args=pressed) for pressed in (("cy", "billing"), ("di", "technical"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said.count("saved") == len(chosen) and said.count("late") == len(chosen)
    assert len(room.store.answers_since(0, [settled_recipe(room.recipe)])) == len(chosen)
    assert room.store.verify() == []


def test_a_word_counts_for_the_answers_that_were_seen(room: Room) -> None:
    item = stream(room, "escalation")[0]
    pair(room, item, "billing", "technical")
    _, court = of(room)
    card = court.next("cy")
    assert card is not None
    room.store.withdraw(prompt.key(room.recipe, f"{item:032x}", 0), "ada")
    put(room, item, "ada", "other", room.recipe, n=1)
    assert court.settle("cy", card.key, card.mark, "billing", 1.0) == "gone"
    fresh = court.next("cy")
    assert fresh is not None and court.settle("cy", fresh.key, fresh.mark, None, 1.0) == "saved"
    assert not court.open()  # nobody can tell: settled, and no label is left behind
    assert all(answer.who != "cy" for _, _, answer in room.store.answers_since(0, [room.recipe]))
    with pytest.raises(UserError, match="labels shown"):
        court.settle("cy", fresh.key, fresh.mark, "no such label", 1.0)


# ---------------------------------------------------------------- estimates without assisted labels


def test_an_assisted_answer_measures_nothing(room: Room) -> None:
    """Whatever it was asked for: not as a pilot's, not as an audit's, not in anybody's figures."""
    pilot, audit, repair = (stream(room, name)[0] for name in ("pilot", "audit", "escalation"))
    for item in (pilot, audit, repair):
        put(room, item, "ada", "billing", room.recipe, ("assisted: billing",))
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    board = Board(task, kind, settings.layout(room.config), room.pool, len(room.pool), [], room.recipe)
    board.refresh(room.store, {})
    assert not board.pilot.any() and board.spoken[[pilot, repair]].all()
    assert not board.audit.answered.any() and board.audit.unsure[audit]
    (ada,) = [one for one in team.figures(room.store, room.pool, task, kind) if one.name == "ada"]
    assert (ada.answers, ada.beside, ada.seconds, ada.doubled) == (3, 3, None, 0)


def test_a_persons_figures_are_those_of_the_ledger(room: Room) -> None:
    for number, item in enumerate(range(20)):
        pair(room, item, "billing", "billing" if number < 15 else "technical", flags=("sheet",))
    put(room, 30, "bo", None, room.recipe)
    look(room)
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    found = {one.name: one for one in team.figures(room.store, room.pool, task, kind)}
    assert list(found) == sorted(found)
    ada, bo = found["ada"], found["bo"]
    assert (ada.answers, ada.unsure, bo.answers, bo.unsure) == (20, 0, 21, 1)
    assert ada.seconds == 4.0 and ada.doubled == bo.doubled == 20
    assert ada.share == bo.share == (0.75, *agreement.wilson(15, 20))
    assert ada.mixed == (team.Mix("billing", "technical", 5),) and bo.mixed == (team.Mix("technical", "billing", 5),)
    assert found["ed"].answers == 0 and found["ed"].share is None


@pytest.mark.parametrize(
    ("clock", "expected"),
    [([], None), ([float(i * 10) for i in range(11)], 360.0), ([*range(0, 110, 10), *range(9000, 9110, 10)], 360.0)],
)
def test_pace_leaves_out_what_lies_between_sittings(clock: list[float], expected: float | None) -> None:
    assert team.pace(clock) == expected


# ---------------------------------------------------------------- pages


def test_team_is_the_owners_and_me_is_ones_own(room: Room) -> None:
    for item in range(22):
        pair(room, item, "billing", "billing" if item else "technical", flags=("sheet",))
    look(room)
    tokens = {name: named(room, name, role) for name, role in (("ada", "annotator"), ("di", "owner"))}
    with at_work(site_of(room)) as client:
        assert client.get("/team").status == 303
        client.sign_in(tokens["ada"])
        assert client.get("/team").status == 403 and client.get("/settle").status == 403
        assert client.post("/settle", {"key": "k", "mark": "m", "label": "billing"}).status == 403
        own = client.get("/me").text
        assert "ada" in own and "<bdi>bo</bdi>" not in own and "others" in own
    with at_work(site_of(room)) as client:
        page = client.sign_in(tokens["di"]).get("/team").text
        assert all(f"<bdi>{name}</bdi>" in page for name in ("ada", "bo", "di", "ed"))
        assert "Krippendorff" in page and "1 to settle" in page
        assert "<style" not in page and "<script>" not in page and " style=" not in page


def test_the_page_settles_blind_and_by_form(room: Room) -> None:
    audit, repair = stream(room, "audit")[0], stream(room, "escalation")[0]
    for item in (audit, repair):
        put(room, item, "ada", "billing", room.recipe, ("flagged: <b>two\u202e requests</b>",))
        put(room, item, "bo", None, second_recipe(room.recipe))
    token = named(room, "cy", "adjudicator")
    with at_work(site_of(room)) as client:
        client.sign_in(token)
        pages = []
        for _ in range(2):
            page = client.get("/settle").text
            pages.append(page)
            assert "could not tell" in page and "&lt;b&gt;two" in page and "\u202e" not in page
            assert "<bdi>ada</bdi>" not in page and "<bdi>bo</bdi>" not in page
            assert not re.search(r"audit|escalation|purpose|guess|probab|recipe", page)
            key, mark = (re.search(rf'name="{name}" value="([0-9a-f]+)"', page) for name in ("key", "mark"))
            assert key is not None and mark is not None
            told = {"key": key[1], "mark": mark[1], "label": "other", "seconds": "2.5"}
            assert client.post("/settle", {**told, "csrf": "0" * 64}).status == 403
            assert client.post("/settle", {**told, "label": ["other", "billing"]}).status == 422
            assert client.post("/settle", told).headers["location"] == "/settle?said=saved"
            assert client.post("/settle", told).headers["location"] == "/settle?said=again"
        # But for keys, the text, how many are left, the sides' order (drawn by lot) and undo, which the second page has
        # something for, nothing tells an audit's page from a repair's.
        drawn = r'(?s)[0-9a-f]{64}|ticket \d+|<b>\d</b>|<ul class="sides">.*?</ul>|<button form="undo".*?</button>'
        bare = ["".join(re.sub(drawn, "", page).split()) for page in pages]
        assert bare[0] == bare[1]
        assert "Nothing to settle" in client.get("/settle").text
        assert client.post("/settle/undo", {}).headers["location"] == "/settle?said=undone"
        assert "Which team?" in client.get("/settle").text
        assert client.post("/settle/skip", {"key": told["key"]}).status == 303
    assert len(room.store.answers_since(0, [settled_recipe(room.recipe)])) == 1


def test_who_answers_is_not_told_that_somebody_differs(room: Room) -> None:
    """An owner's own differences are counted nowhere he looks: he could take his answer back and give the other's."""
    pair(room, 0, "billing", "technical", who=("di", "bo"))
    pair(room, 1, "billing", "technical")
    token = named(room, "di", "owner")
    with at_work(site_of(room)) as client:
        client.sign_in(token)
        assert "1 to settle" in client.get("/team").text
        settle = client.get("/settle").text
        assert "<b>1</b> to settle" in settle and "more" not in re.findall(r'<p class="number">.*?</p>', settle)[0]
