"""Guidelines by version, on the page and in the file; examples that measure stay with people; what is confused."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from cli_room import call as verb
from hypothesis import given
from hypothesis import strategies as st
from review_room import Room, furnish
from web_room import Client, at_work, named, site_of

from agent import config as settings
from agent import prompt
from agent.config import Config, parse
from agent.review import guide
from agent.review.confusions import Pair, confusions, words
from agent.store import Store
from agent.types import Answer, Call
from agent.web.outline import outline


def written(folder: Path, text: str, labels: str = 'a = "first", b = ""', examples: str = "") -> Config:
    told = json.dumps(text)
    task = f"[task]\nguidelines = {told}\nlabels = {{{labels}}}\n{examples}\n"
    return parse(f'{task}[pool]\npath = "x"\n[[rung]]\noracle = "person"\n', "t.toml", folder)


def test_the_file_is_the_first_version_and_each_part_follows_the_file_when_it_changes(tmp_path: Path) -> None:
    with Store.open(tmp_path / "ledger.db") as store:
        one = guide.current(store, written(tmp_path, "old"))
        assert (one.version, one.who, guide.text(one), guide.labels(one)) == (
            1,
            "tutelage.toml",
            "old",
            {"a": "first", "b": ""},
        )
        assert guide.current(store, written(tmp_path, "old")).version == 1
        two = guide.write(store, "ada", "mended\r\n", 1)
        assert two is not None and (two.version, guide.text(two)) == (2, "mended")
        assert guide.current(store, written(tmp_path, "old")).version == 2, "the page's text stands"
        three = guide.current(store, written(tmp_path, "old", 'a = "first", b = "second"'))
        assert (three.version, guide.text(three), guide.labels(three)["b"]) == (3, "mended", "second")
        four = guide.current(store, written(tmp_path, "new", 'a = "first", b = "second"'))
        assert guide.text(four) == "new"
        assert "- mended" in guide.difference(three, four) and "+ new" in guide.difference(three, four)
        again = guide.write(store, "bo", "new", 4)
        assert again is not None and again.version == 4, "nothing new is no version"
        assert guide.write(store, "bo", "late", 3) is None and guide.in_force(store).version == 4


def test_an_example_waits_for_the_owner_and_the_files_examples_come_and_go(tmp_path: Path) -> None:
    with Store.open(tmp_path / "ledger.db") as store:
        guide.current(store, written(tmp_path, "x"))
        sample = guide.Sample("a text", ("a",), "because", item="i")
        guide.propose(store, "ada", sample)
        guide.propose(store, "ada", sample)
        guide.propose(store, "bo", sample)
        assert guide.in_force(store).version == 1 and guide.samples(guide.in_force(store)) == []
        (waiting,) = guide.offers(store, ["r"])
        assert waiting.who == ("ada", "bo") and waiting.sample.text == "a text"
        assert [one.state for one in guide.own_offers(store, "ada")] == ["proposed"]
        other = guide.Sample("a text", ("b",), item="i")
        guide.propose(store, "bo", other)
        assert guide.accept(store, "olga", guide.sign(waiting.sample), ["r"])
        assert not guide.accept(store, "olga", guide.sign(waiting.sample), ["r"]), "it was judged"
        assert guide.decline(store, "olga", guide.sign(other), ["r"]) and guide.offers(store, ["r"]) == []
        assert [one.state for one in guide.own_offers(store, "bo")] == ["declined", "accepted"]
        found = guide.in_force(store)
        assert [s.text for s in guide.samples(found)] == ["a text"] and found.version == 2
        config = written(tmp_path, "x", examples='examples = [{text = "of the file", label = "b"}]')
        found = guide.current(store, config)
        assert [(s.text, s.file) for s in guide.samples(found)] == [("of the file", True), ("a text", False)]
        found = guide.current(store, written(tmp_path, "x"))
        assert [s.text for s in guide.samples(found)] == ["a text"]
        guide.propose(store, "ada", replace(sample, text="another"))
        assert guide.take_out(store, "olga", guide.sign(sample)) and not guide.take_out(store, "olga", "0" * 16)
        assert guide.samples(guide.in_force(store)) == [] and len(guide.offers(store, ["r"])) == 1


def test_what_has_left_the_file_does_not_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    with at_work(site_of(room)) as client:  # it has read the file as it is, and goes on for days
        olga = come(client, room, "olga")
        assert olga.post("/guidelines", {"text": "mended", "version": "1"}).status == 303
        assert verb("guidelines", "write", "--yes").exit_code == 0
        assert "mended" in olga.get("/guidelines").text and "mended" in olga.get("/panel").text
        toml = tmp_path / "tutelage.toml"
        toml.write_text(toml.read_text().replace("mended", "of the file"))
        assert "of the file" in verb("guidelines", "show").output
        page = olga.get("/guidelines").text
        assert olga.get("/").status == 200 and guide.text(guide.in_force(room.store)) == "of the file"
        newest = guide.in_force(room.store)
        assert f"version {newest.version}<" in page and guide.write(room.store, "olga", "later", newest.version)
        assert guide.text(guide.noted(room.store, settings.load(toml))) == "later", "what was saved meanwhile stands"
        assert "later" in verb("guidelines", "show").output


def test_what_eight_do_at_once_is_all_kept_and_no_old_text_comes_back(tmp_path: Path) -> None:
    with Store.open(tmp_path / "ledger.db") as store, ThreadPoolExecutor(8) as eight:
        config = written(tmp_path, "old")
        first = guide.current(store, config)

        def work(k: int) -> guide.Guide | None:
            sample = guide.Sample(f"text {k}", ("a",))
            guide.propose(store, f"p{k}", sample)
            guide.append(store, f"p{k}", f"rule {k}")
            assert guide.accept(store, "olga", guide.sign(sample), ["r"])
            guide.current(store, config)
            return guide.write(store, f"p{k}", f"mine {k}", first.version)

        assert list(eight.map(work, range(8))) == [None] * 8, "whoever wrote on top of an older version is told so"
        newest = guide.in_force(store)
        assert sorted(guide.text(newest).split("\n\n")) == ["old", *(f"rule {k}" for k in range(8))]
        assert sorted(one.text for one in guide.samples(newest)) == [f"text {k}" for k in range(8)]
        assert newest.version == 17, "a proposal is no version"
        texts = [set(guide.text(one).split("\n\n")) for one in store.review.guides()]
        assert all(before <= after for before, after in pairwise(texts))
        last = list(eight.map(lambda k: guide.write(store, "olga", f"mine {k}", newest.version), range(8)))
        assert sum(one is not None for one in last) == 1


@given(st.text("ab#-1. `\n", max_size=60))
def test_an_outline_loses_no_word(text: str) -> None:
    told = " ".join(line for block in outline(text) for line in block.lines)
    assert sorted(re.findall("[ab]", told)) == sorted(re.findall("[ab]", text))


def come(client: Client, room: Room, name: str, role: str = "owner") -> Client:
    return Client(client.at).sign_in(named(room, name, role))


def test_the_owner_writes_and_nobody_overwrites_another(tmp_path: Path) -> None:
    room = furnish(tmp_path)
    with at_work(site_of(room)) as client:
        olga, ada = come(client, room, "olga"), come(client, room, "ada", "annotator")
        page = olga.get("/guidelines")
        assert page.status == 200 and "Refunds are billing." in page.text and "version 1" in page.text
        text = "# Rules\n- <script>alert(1)</script>\n- `billing` first\n\nEnd \u202e"
        assert olga.post("/guidelines", {"text": text, "version": "1"}).status == 303
        page = ada.get("/guidelines")
        assert '<h2><bdi dir="auto">Rules</bdi></h2>' in page.text and "<code>billing</code>" in page.text
        assert "<script>alert" not in page.text and "&lt;script&gt;" in page.text and "RLO</span>" in page.text
        assert "textarea" not in page.text and "version 2" in page.text and "olga" in page.text
        late = olga.post("/guidelines", {"text": "mine", "version": "1"})
        assert late.status == 409 and ">\nmine</textarea>" in late.text
        assert ada.post("/guidelines", {"text": "x", "version": "2"}).status == 403
        assert olga.ask("POST", "/guidelines", b"text=x&version=2").status == 403, "without a token"
        assert guide.text(guide.current(room.store, room.config)) == text


def test_an_example_is_proposed_from_a_card_whatever_it_was_asked_for(tmp_path: Path) -> None:
    room = furnish(tmp_path)
    with at_work(site_of(room)) as client:
        ada, olga = come(client, room, "ada", "annotator"), come(client, room, "olga")
        desk, told = room.desk("ada"), {}
        for _ in range(12):
            card = desk.next_card()
            assert card is not None
            desk.answer(card.key, "billing", 1.0)
            got = ada.post("/guidelines/example", {"key": card.key, "label": "billing", "why": "so"})
            told[room.purpose[card.item.id]] = (got.status, got.headers["location"])
            sign = guide.sign(guide.Sample(card.item.text, ("billing",)))
            assert sign in olga.get("/guidelines").text and card.item.id in room.store.review.shown_to("olga")
            got = olga.post("/guidelines/judge", {"sign": sign, "word": "accept"})
            assert got.headers["location"] == "/guidelines?said=accepted"
        assert "accepted</span>" in ada.get("/guidelines").text
        mine = next(call for call, answer in room.answers() if answer.who == "ada")
        assert olga.post("/guidelines/example", {"key": mine.key, "label": "nonsense"}).status == 422
        bo = come(client, room, "bo", "annotator")
        assert bo.post("/guidelines/example", {"key": "0" * 64, "label": "billing"}).status == 422


@pytest.mark.parametrize("purpose", ["audit", "escalation"])
def test_nobody_sees_what_was_proposed_of_a_text_that_waits(tmp_path: Path, purpose: str) -> None:
    room = furnish(tmp_path, counts={purpose: 1})
    (first,) = room.pending()
    room.store.reserve([second(room, first)], None)
    with at_work(site_of(room)) as client:
        ada, bob = come(client, room, "ada", "annotator"), come(client, room, "bob", "annotator")
        olga = come(client, room, "olga")
        key = re.search(r'name="key" value="([0-9a-f]{64})"', ada.get("/").text)
        assert key is not None and ada.post("/answer", {"key": key[1], "label": "billing", "seconds": "2"}).status < 400
        given = {"key": key[1], "label": "billing", "why": "because money"}
        assert ada.post("/guidelines/example", given).headers["location"] == "/guidelines?said=proposed"
        page = ada.get("/guidelines").text
        assert "because money" in page and "waits</span>" in page and "version 1" in page
        for other in (bob, olga):
            page = other.get("/guidelines").text
            assert "because money" not in page and "roposed" not in page
        text = room.pool.item(room.pool.position(first.item)).text
        sign = guide.sign(guide.Sample(text, ("billing",)))
        for word in ("accept", "decline"):
            got = olga.post("/guidelines/judge", {"sign": sign, "word": word})
            assert got.headers["location"] == "/guidelines?said=late"
        assert not any(room.store.review.shown_to(name) for name in ("ada", "bob", "olga"))
        desk = room.desk("bob")
        card = desk.next_card()
        assert card is not None and card.item.id == first.item
        assert desk.answer(card.key, "technical", 1.0).status == "saved"
        assert "because money" not in bob.get("/guidelines").text
        assert "because money" in olga.get("/guidelines").text and room.store.review.shown_to("olga") == {first.item}
        assert (
            olga.post("/guidelines/judge", {"sign": sign, "word": "decline"}).headers["location"].endswith("declined")
        )
        assert "declined</span>" in ada.get("/guidelines").text and room.store.review.shown_to("ada") == {first.item}
        assert guide.current(room.store, room.config).version == 1


def test_what_measures_is_never_written_for_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    guide.current(room.store, room.config)
    for item, purpose in room.purpose.items():
        text = room.pool.item(room.pool.position(item)).text
        sample = guide.Sample(text, ("billing",), purpose, item=item)
        guide.propose(room.store, "olga", sample)
        assert guide.accept(room.store, "olga", guide.sign(sample), [])
    newest = guide.current(room.store, room.config)
    guide.write(room.store, "olga", 'Now:\n"""quoted""" \\ and\nmore', newest.version)
    before = (tmp_path / "tutelage.toml").read_text()
    refused = verb("guidelines", "write")
    assert refused.exit_code == 2 and "--yes" in refused.output and (tmp_path / "tutelage.toml").read_text() == before
    done = verb("guidelines", "write", "--yes", "--json")
    assert done.exit_code == 0, done.output
    config = settings.load(tmp_path / "tutelage.toml")
    assert config.task.guidelines.strip() == 'Now:\n"""quoted""" \\ and\nmore'
    given = {example.text for example in config.task.examples}
    due = {i for i, purpose in room.purpose.items() if purpose == "escalation"}
    assert given == {room.pool.item(room.pool.position(i)).text for i in due}
    assert (tmp_path / "tutelage.toml.before-1").read_text() == before
    again = verb("guidelines", "write", "--yes")
    assert again.exit_code == 0 and "nothing was written" in again.output
    shown = verb("guidelines", "show")
    assert "quoted" in shown.output and verb("guidelines", "versions").exit_code == 0


def second(room: Room, call: Call) -> Call:
    recipe = prompt.second_recipe(room.recipe)
    return Call(prompt.key(recipe, call.item, 0), recipe, call.item, "person", 0, call.purpose, turn=1)


def test_confusions_count_people_and_machines_and_nothing_of_the_audit(tmp_path: Path) -> None:
    room = furnish(tmp_path, counts={"pilot": 6, "audit": 6, "escalation": 6})
    store, task, kind = room.store, settings.the_task(room.config), settings.kind(room.config)
    for call in room.pending():
        store.record_now(call.key, Answer("billing", who="ada"))
        again = second(room, call)
        store.reserve([again], None)
        number = int(call.item, 16)
        store.record_now(again.key, Answer("technical" if number % 2 else "billing", who="bo"))
        machine = Call(f"m{number}", "r", call.item, "small", 0, "pick", turn=1)
        store.reserve([machine], None)
        store.record_now(machine.key, Answer("other" if number % 3 == 0 else "billing"))

    def find(item: str):  # type: ignore[no-untyped-def]
        return room.pool.item(room.pool.position(item))

    found = confusions(store, find, task, kind)
    free = [int(i, 16) for i, purpose in room.purpose.items() if purpose != "audit"]
    first, then = found
    assert (first.one, first.other) == ("billing", "technical") and (then.one, then.other) == ("billing", "other")
    odd, third = sum(n % 2 for n in free), sum(n % 3 == 0 for n in free)
    assert (first.against["people"].differ, first.against["people"].of) == (odd, len(free))
    assert (then.against["small"].differ, then.against["small"].of) == (third, len(free))
    shown = {one.item for pair in found for one in pair.examples}
    assert all(room.purpose[item] != "audit" for item in shown) and len(first.examples) == 5
    assert words(first, "a text") == f"Is “a text” billing or technical? Two people differed on {odd} of {len(free)}."
    with at_work(site_of(room)) as client:
        olga = come(client, room, "olga")
        page = olga.get("/confusions")
        assert page.status == 200 and "billing" in page.text and f"Two people differed on {odd}" in page.text
        assert store.review.shown_to("olga") == shown
        done = olga.post("/confusions", {"label": ["billing", "technical"], "words": "Money first."})
        assert done.status == 303
        assert guide.text(guide.current(store, room.config)).endswith("## `billing` or `technical`?\n\nMoney first.")
        assert come(client, room, "ada", "annotator").get("/confusions").status == 403
    assert not confusions(store, find, task, kind), "ada may come in now, and can take each of her answers back"


def test_of_several_labels_a_pair_is_one_for_another_or_one_too_many(tmp_path: Path) -> None:
    room = furnish(tmp_path, kind="multi", counts={"escalation": 4})
    said = [('["billing"]', '["technical"]'), ('["billing"]', '["billing", "other"]'), ("[]", "[]"), ('["other"]',) * 2]
    for call, (one, other) in zip(room.pending(), said, strict=True):
        room.store.record_now(call.key, Answer(one, who="ada"))
        again = second(room, call)
        room.store.reserve([again], None)
        room.store.record_now(again.key, Answer(other, who="bo"))
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    found = confusions(room.store, lambda item: room.pool.item(room.pool.position(item)), task, kind)
    counts = {(p.one, p.other): (p.against["people"].differ, p.against["people"].of) for p in found}
    assert counts == {("billing", "technical"): (1, 2), ("other", ""): (1, 2)}
    assert "or not?" in words(Pair("other", ""), "x")
