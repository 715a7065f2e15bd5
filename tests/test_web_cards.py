"""The page on which a person answers, over real HTTP: what is saved, what is told; no card tells its purpose."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from card_room import SCRIPT, ask, field, key, word
from hypothesis import given
from hypothesis import strategies as st
from review_room import Room
from web_room import Client, Got, at_work, named, site_of

from agent.errors import UserError
from agent.kinds import multi, single
from agent.review import guide, order
from agent.types import Task
from agent.web import form as forms

LABELS = ("billing", "technical", "other")


def come(client: Client, room: Room, name: str) -> Client:
    """A browser of `name`, signed in."""
    return Client(client.at).sign_in(named(room, name))


def answer(client: Client, card: str, label: str = "billing", **more: Any) -> Got:
    """A label chosen by the page's script."""
    return client.post("/answer", {"key": card, "label": label, **more}, **SCRIPT)


def given_answers(room: Room) -> list[tuple[str, str, float, tuple[str, ...], str]]:
    return [(a.text, a.who, a.seconds, a.flags, c.key) for c, a in room.answers()]


# ------------------------------------------------------------------------------------------------ answering


def test_an_answer_is_saved_before_the_next_card_shows(tmp_path: Path) -> None:
    room = ask(tmp_path, ["no money back", "does not start", "hello"])
    with at_work(site_of(room)) as client:
        ada = come(client, room, "ada")
        page = ada.get("/")
        assert page.status == 200 and "no money back" in page.text and "Which team?" in page.text
        got = answer(ada, key(page), "billing", seconds="3.25", flag="two  things\nin one")
        assert got.status == 200 and word(got) == "Saved: billing" and "does not start" in got.text
        assert "<html" not in got.text and key(got) != key(page)
        assert given_answers(room) == [("billing", "ada", 3.25, ("flagged: two things in one",), key(page))]
        (_, kept) = room.answers()[0]
        assert kept.guide == guide.current(room.store, room.config).version
        slow = answer(ada, key(got), "other", seconds="9999")
        assert given_answers(room)[1][2:4] == (600.0, ("idle",))
        assert word(ada.get("/card", **SCRIPT)) == "Every answer is saved at once." and key(slow)
        ended = answer(ada, key(slow), "other", seconds="nonsense")
        assert key(ended) == "" and "Nothing to answer just now" in ended.text


def test_without_a_script_the_page_is_made_of_plain_forms(tmp_path: Path) -> None:
    room = ask(tmp_path, ["one", "two"])
    with at_work(site_of(room)) as client:
        ada = come(client, room, "ada")
        page = ada.get("/")
        done = ada.post("/answer", {"key": key(page), "label": "technical"})
        assert (done.status, done.headers["location"]) == (303, "/?said=saved")
        after = ada.get("/?said=saved")
        assert word(after) == "Saved." and "two" in after.text
        back = ada.post("/undo", {"answered": field(after, "answered")})
        assert (back.status, back.headers["location"]) == (303, "/?said=undone")
        assert ada.get("/").text.count("one") >= 1 and room.answers() == []
        assert ada.post("/skip", {"key": key(ada.get("/"))}).headers["location"] == "/?said=skipped"
        assert word(ada.get("/?said=<script>")) == "Every answer is saved at once."
        refused = ada.post("/answer", {"key": key(ada.get("/")), "label": "nonsense"})
        assert refused.status == 422 and "<html" in refused.text and "no label of this task" in word(refused)


def test_what_is_sent_twice_counts_once(tmp_path: Path) -> None:
    room = ask(tmp_path, ["one", "two", "three"])
    with at_work(site_of(room)) as client:
        ada = come(client, room, "ada")
        card = key(ada.get("/"))
        first = answer(ada, card)
        again = answer(ada, card, "technical")
        assert word(again) == "That card was saved before: it counts once." and key(again) == key(first)
        assert [row[0] for row in given_answers(room)] == ["billing"]
        both: list[Got] = []
        csrf = ada.csrf
        threads = [
            threading.Thread(target=lambda: both.append(answer(ada, key(first), csrf=csrf)), daemon=True)
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(word(got)[:5] for got in both) == ["Saved", "That ", "That ", "That "]
        assert len(room.answers()) == 2
        count = field(ada.get("/"), "answered")
        assert word(ada.post("/undo", {"answered": count}, **SCRIPT)) == "Taken back: answer it again."
        assert word(ada.post("/undo", {"answered": count}, **SCRIPT)) == "Taken back: answer it again."
        assert word(ada.post("/undo", {"answered": "7"}, **SCRIPT)).startswith("Nothing was taken back")
        assert len(room.answers()) == 1


def test_undo_asks_the_same_again_and_skip_lays_it_at_the_end(tmp_path: Path) -> None:
    room = ask(tmp_path, ["one", "two", "three"])
    with at_work(site_of(room)) as client:
        ada = come(client, room, "ada")
        assert word(ada.post("/undo", {"answered": "0"}, **SCRIPT)) == "There is nothing to take back."
        answer(ada, key(ada.get("/")), "billing")
        back = ada.post("/undo", {"answered": "1"}, **SCRIPT)
        assert ">one<" in back.text and word(back) == "Taken back: answer it again."
        skipped = ada.post("/skip", {"key": key(back)}, **SCRIPT)
        assert ">two<" in skipped.text and word(skipped) == "Skipped: it comes back at the end."
        third = answer(ada, key(skipped))
        assert ">one<" in answer(ada, key(third)).text
        assert "counts as a wrong label" in ada.get("/").text


def test_two_people_get_different_cards_and_a_late_answer_is_kept_as_an_opinion(tmp_path: Path) -> None:
    room = ask(tmp_path, ["one", "two", "three"])
    with at_work(site_of(room)) as client:
        ada, bob = come(client, room, "ada"), come(client, room, "bob")
        hers, his = key(ada.get("/")), key(bob.get("/"))
        assert hers != his
        assert ada.get(f"/text/{his}/0").status == 404, "nobody reads what is on another's desk"
        page = ada.get("/")
        assert ada.post("/leave", {"visit": field(page, "visit")}).status == 204
        page = answer(bob, his)
        while key(page) != hers:  # what was given back goes to somebody else
            page = answer(bob, key(page))
        assert word(answer(bob, hers, "technical")) == "Saved: technical"
        assert "kept as a further opinion" in word(answer(ada, hers, "other"))
        assert [row[:2] for row in given_answers(room) if row[4] == hers] == [("technical", "bob")]
        kept = len(room.answers())
        gone = answer(ada, "f" * 64)
        assert word(gone) == "That question was withdrawn: there was nothing to save." and len(room.answers()) == kept


def test_only_the_newest_page_of_a_person_gives_cards_back_and_keeping_tells_which_are_held(tmp_path: Path) -> None:
    room = ask(tmp_path, ["one", "two"])
    with at_work(site_of(room)) as client:
        ada, bob = come(client, room, "ada"), come(client, room, "bob")
        old, new = ada.get("/"), ada.get("/")
        assert key(old) == key(new)
        ada.post("/leave", {"visit": field(old, "visit")})
        assert key(bob.get("/")) != key(new)
        kept = ada.post("/keep", {"key": [key(new), key(bob.get("/"))]})
        assert kept.text == f'{{"held":["{key(new)}"]}}'
        ada.post("/leave", {"visit": field(new, "visit")})
        assert key(ada.get("/")) == key(new)
        carl = come(client, room, "carl").get("/")
        assert key(carl) == "" and "on other people’s desks" in carl.text


def test_the_card_after_is_sent_ahead_and_not_sent_twice(tmp_path: Path) -> None:
    room = ask(tmp_path, ["one", "two", "three"])
    with at_work(site_of(room)) as client:
        ada = come(client, room, "ada")
        now = key(ada.get("/"))
        ahead = ada.get("/ahead", **SCRIPT)
        assert ahead.status == 200 and key(ahead) != now and "two" in ahead.text
        bob = come(client, room, "bob")
        assert key(bob.get("/")) not in (now, key(ahead)), "what was sent ahead is this person's"
        short = answer(ada, now, ready=key(ahead))
        assert key(short) == key(ahead) and "data-there" in short.text and "two" not in short.text
        assert word(short) == "Saved: billing"
        assert "two" in ada.get("/card", **SCRIPT).text
        assert ada.get("/ahead", **SCRIPT).status == 204
        full = answer(ada, key(short), ready="0" * 64)
        assert "data-there" not in full.text


# ------------------------------------------------------------------------------------------------ kinds and texts


def test_several_labels_are_switches_and_none_must_be_said(tmp_path: Path) -> None:
    room = ask(tmp_path, ["one", "two", "three"], labels=("toxic", "rude"), kind="multi")
    with at_work(site_of(room)) as client:
        ada = come(client, room, "ada")
        page = ada.get("/")
        assert page.text.count('type="checkbox" name="label"') == 2 and 'data-key="2"' in page.text
        empty = ada.post("/answer", {"key": key(page)}, **SCRIPT)
        assert empty.status == 422 and key(empty) == key(page) and "no label is chosen" in word(empty)
        torn = ada.post("/answer", {"key": key(page), "label": "rude", "say": "none"}, **SCRIPT)
        assert torn.status == 422 and "switch them off" in word(torn)
        two = answer(ada, key(page), label=["toxic", "rude"])
        three = ada.post("/answer", {"key": key(two), "say": "none"}, **SCRIPT)
        assert word(three) == "Saved: none of these"
        assert word(ada.post("/answer", {"key": key(three), "say": "unsure"}, **SCRIPT)) == "Saved: cannot tell"
        assert [(a.text, a.unsure) for _, a in room.answers()] == [
            ('["rude", "toxic"]', False),
            ("[]", False),
            ("", True),
        ]


def test_more_than_ten_labels_are_found_by_typing_and_each_is_still_a_button(tmp_path: Path) -> None:
    names = [f"label {i}" for i in range(12)]
    room = ask(tmp_path, ["one"], labels=names)
    with at_work(site_of(room)) as client:
        page = come(client, room, "ada").get("/").text
    assert page.count('name="label"') == 12 and 'id="find"' in page and 'data-key="1"' not in page


def test_a_field_has_its_name_and_a_long_text_comes_in_part(tmp_path: Path) -> None:
    long = "word " * 200_000
    room = ask(tmp_path, [("a subject", long)])
    with at_work(site_of(room)) as client:
        ada = come(client, room, "ada")
        page = ada.get("/")
        assert "field 0" in page.text and "field 1" in page.text and "a subject" in page.text
        assert len(page.body) < 20_000 + 12_000 and "1,000,000 characters" in page.text
        whole = ada.get(f"/text/{key(page)}/1", **SCRIPT)
        assert whole.text.count("word ") == 200_000 and whole.text.startswith("<bdi")
        assert "<html" in ada.get(f"/text/{key(page)}/1").text
        assert ada.get(f"/text/{key(page)}/2").status == 404


HOSTILE = "<script>alert(1)</script><svg onload=alert(2)><img src=x onerror=alert(3)>\"'&{{7*7}}\u202eright\x00"


def test_texts_and_labels_of_strangers_stay_text(tmp_path: Path) -> None:
    evil = '"><b hx-on:load=x>&'
    room = ask(tmp_path, [HOSTILE], labels=(evil, "other"))
    with at_work(site_of(room)) as client:
        ada = come(client, room, "ada")
        page = ada.get("/")
        for part in ("<script>alert", "<svg", "<img", "<b hx", "\u202e", "\x00", "49"):
            assert part not in re.sub(r"[0-9a-f]{64}|[0-9a-f]{16}", "", page.text)
        assert "RLO" in page.text and "{{7*7}}" in page.text
        flagged = answer(ada, key(page), evil, flag="<script>")
        assert flagged.status == 200 and "<b hx" not in flagged.text
        assert room.answers()[0][1].text == evil


def test_the_guidelines_in_force_are_shown_and_stand_in_the_answer(tmp_path: Path) -> None:
    room = ask(tmp_path, ["one", "two"])
    with at_work(site_of(room)) as client:
        ada = come(client, room, "ada")
        panel = ada.get("/panel", **SCRIPT)
        assert "Refunds are billing." in panel.text and "version 1" in panel.text
        answer(ada, key(ada.get("/")))
    guide.write(room.store, "owner", "Refunds are technical now.", 1)
    with at_work(site_of(room)) as client:  # the version is looked up every few seconds; here by a new server
        ada = come(client, room, "ada")
        assert "technical now" in ada.get("/panel", **SCRIPT).text
        answer(ada, key(ada.get("/")))
    assert [a.guide for _, a in room.answers()] == [1, 2]


# ------------------------------------------------------------------------------------------------ what a page may tell


def seen(room: Room, label: str = "billing") -> list[tuple[dict[str, str], str]]:
    """Headers and bodies of all a person gets to see until nothing is open; what differs by chance is blanked."""
    with at_work(site_of(room)) as client:
        ada = come(client, room, "ada")
        told = [ada.get("/")]
        for _ in range(6):
            card = key(told[-1])
            if not card:
                break
            told += [ada.get("/ahead", **SCRIPT), ada.get(f"/text/{card}/0", **SCRIPT)]
            told.append(ada.post("/skip", {"key": card}, **SCRIPT))
            told.append(answer(ada, key(told[-1]), label))
        else:
            raise AssertionError("the cards never end")
        csrf, visit = ada.csrf, field(told[0], "visit")
    return [
        ({k: v for k, v in got.headers.items() if k != "date"}, got.text.replace(csrf, "CSRF").replace(visit, "VISIT"))
        for got in told
    ]


@pytest.mark.parametrize(
    "kind, labels, text",
    [("single", LABELS, "short"), ("multi", LABELS, "long " * 900), ("single", [f"l {i}" for i in range(20)], "short")],
)
def test_a_card_that_measures_is_byte_for_byte_one_that_repairs(
    tmp_path: Path, kind: str, labels: tuple[str, ...], text: str
) -> None:
    pages = {}
    for purpose in ("audit", "escalation"):
        room = ask(tmp_path / purpose, [text], [purpose], labels, kind)
        pages[purpose] = seen(room, labels[0])
    assert pages["audit"] == pages["escalation"]
    assert not re.search("audit|escalation|pilot|purpose|probab|0[.]25|turn\\b", pages["audit"][0][1])


def test_in_an_assisted_project_only_what_repairs_shows_a_guess_and_its_answer_says_so(tmp_path: Path) -> None:
    i = next(i for i in range(99) if order.blind(f"{i:032x}", 0))  # one of those that stay blind
    blind = [seen(ask(tmp_path / p, ["text"], [p], guess="technical", first=i)) for p in ("audit", "escalation")]
    assert blind[0] == blind[1] == seen(ask(tmp_path / "plain", ["text"], ["audit"], first=i))
    room = ask(
        tmp_path / "many", [f"text {i}" for i in range(8)], ["audit"] * 2 + ["escalation"] * 6, guess="technical"
    )
    shown: dict[str, bool] = {}
    with at_work(site_of(room)) as client:
        ada = come(client, room, "ada")
        page = ada.get("/")
        while card := key(page):
            shown[card] = "machines say" in page.text
            told = {"guessed": "1", "guess": "technical"} if shown[card] else {}
            assert "chosen" not in page.text and "autofocus" not in page.text
            page = answer(ada, card, "other", **told)
    for call, given_ in room.answers():
        assert given_.flags == (("assisted: technical",) if shown[call.key] else ())
        assert call.purpose == "escalation" or not shown[call.key]
    hidden = sum(not shown[c.key] for c, _ in room.answers() if c.purpose == "escalation")
    assert 0 < hidden < 6 and len(shown) == 8


def test_nothing_is_done_without_a_session_and_its_token(tmp_path: Path) -> None:
    room = ask(tmp_path, ["one"])
    with at_work(site_of(room)) as client:
        for path in ("/answer", "/undo", "/skip", "/keep", "/leave"):
            assert client.post(path, {"csrf": "0" * 64}, **SCRIPT).status == 401
            assert come(client, room, "ada").post(path, {"csrf": "0" * 64}, **SCRIPT).status == 403
        assert client.get("/card", **SCRIPT).status == 401
        assert client.get("/").headers["location"] == "/login"


# ------------------------------------------------------------------------------------------------ the form itself


NAMES = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), min_size=2, max_size=14, unique=True)


@given(names=NAMES, data=st.data())
def test_every_label_can_be_chosen_and_nothing_else(names: list[str], data: st.DataObject) -> None:
    for kind, module in (("single", single), ("multi", multi)):
        task = Task("t", kind, dict.fromkeys(names, ""))
        form = forms.draw(task, module)
        assert [choice.name for choice in form.choices] == names and form.many == (kind == "multi")
        keys = [choice.key for choice in form.choices]
        assert form.typed == (len(names) > 10) and (form.typed or sorted(set(keys)) == sorted(keys))
        chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=1 if kind == "single" else 3))
        value = forms.read(form, "", chosen)
        assert value == (chosen[0] if kind == "single" else tuple(sorted(set(chosen))))
        assert value is not None and module.atoms(task, value)
        assert forms.read(form, "unsure", chosen) is None
        with pytest.raises(UserError, match="no label of this task"):
            forms.read(form, "", [*chosen, "".join(names) + "?"])


def test_a_kind_without_a_template_says_which_file_is_missing(tmp_path: Path) -> None:
    room = ask(tmp_path, ["one"])
    site = site_of(room)
    site.task = replace(site.task, kind="my.rank:ing")
    with at_work(site) as client:
        got = come(client, room, "ada").get("/")
    assert got.status == 501 and "card_my_rank_ing.html" in got.text


def test_near_duplicates_get_the_same_label_only_when_that_is_asked_for(tmp_path: Path) -> None:
    ends = ("again", "please", "today", "sadly", "though")
    alike = [f"the parcel with my order of last week has still not arrived {end}" for end in ends]
    room = ask(tmp_path, [*alike[:4], "something else altogether", alike[4]], ["escalation"] * 5 + ["audit"])
    with at_work(site_of(room)) as client:
        ada = come(client, room, "ada")
        page = ada.get("/")
        while "and 3 that say nearly the same" not in page.text:
            page = answer(ada, key(page), "other")
        before = len(room.answers())
        mates = re.findall(r'name="mate" value="([0-9a-f]+)" checked', page.text)
        assert len(mates) == 3 and 'aria-keyshortcuts="a"' in page.text
        next_one = answer(ada, key(page), "billing", mate=mates)
        assert word(next_one) == "Saved: billing" and len(room.answers()) == before + 1
        back = ada.post("/undo", {"answered": field(next_one, "answered")}, **SCRIPT)
        mates = re.findall(r'name="mate" value="([0-9a-f]+)" checked', back.text)
        assert len(mates) == 3, "what this person has ahead is among them"
        done = answer(ada, key(back), "technical", mate=mates[1:], together="1")
        assert word(done) == "Saved for 3: technical"
        said = {c.key: a for c, a in room.answers()}
        assert {said[mate].text for mate in mates[1:]} == {"technical"} and mates[0] not in said
        back = ada.post("/undo", {"answered": field(done, "answered")}, **SCRIPT)
        assert word(back).startswith("Taken back") and len(room.answers()) == before
    assert all(c.purpose != "audit" or "group" not in a.flags for c, a in room.answers())
