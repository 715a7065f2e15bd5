"""The dashboard and the pages of items: the figures of `status --json`, and nothing of the audit before a look."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_room import good, with_ladder, with_pool
from review_room import Room, furnish
from web_room import Client, at_work, named, site_of

from agent import config as settings
from agent import prompt
from agent.loop.ground import lock
from agent.report import learning, standing
from agent.report.overview import overview, unstyled
from agent.store import Store
from agent.types import Answer, Decision

LABELS = ("billing", "technical", "other")


def decided(room: Room) -> Room:
    """The same, with a decision about every item and a turn that ended."""
    store, ids = room.store, room.store.item_ids()
    store.begin_turn(1, 0, "c", "1")
    rows = [
        Decision(item, "accept" if i % 3 else "abstain", "student", LABELS[i % 3], 0.5 + i / 40, "sure enough", turn=1)
        for i, item in enumerate(ids)
    ]
    store.decide(rows)
    store.end_turn(1, {"agreement": {"student": [2, 3]}, "answers": {}, "people": 3, "people_expected": [2, 2]})
    return room


def say(room: Room, purpose: str, label: str, who: str = "ada", seconds: float = 4.0) -> list[str]:
    """Answer every open question of a purpose; the items."""
    cards = [call for call in room.store.open_calls("person") if call.purpose == purpose]
    for call in cards:
        room.store.record_now(call.key, Answer(label, who=who, seconds=seconds))
    return [call.item for call in cards]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = decided(furnish(tmp_path, counts={"pilot": 3, "audit": 4, "escalation": 5}))
    yield made
    made.store.close()


@pytest.fixture
def owner(room: Room) -> Iterator[Client]:
    with at_work(site_of(room)) as client:
        yield client.sign_in(named(room, "olga", "owner"))


def other(client: Client, room: Room, name: str, role: str) -> Client:
    return Client(client.at).sign_in(named(room, name, role))


def rest(client: Client, seconds: float = 30.0) -> str:
    """Pictures and tables, once they were read."""
    end = time.monotonic() + seconds
    while "being read from the ledger" in (text := client.get("/dashboard/rest").text):
        assert time.monotonic() < end, "the figures did not come"
        time.sleep(0.2)
    return text


# The same figures


def test_figures_are_those_of_status_number_for_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_ladder(with_pool(tmp_path, monkeypatch))
    good("run", "--people", "gold")
    told = good("status")
    config = settings.load("tutelage.toml")
    with Store.open(config.store_url) as store:
        room = Room(config, store, standing.pool_of(config, store), tmp_path, {})
        with at_work(site := site_of(room)) as client:
            client.sign_in(named(room, "olga", "owner"))
            page, top = rest(client), client.get("/dashboard/top").text
            found = site.notes["dashboard"].figures.found
            shown = json.loads(json.dumps(found["figures"]))
            assert shown == {name: value for name, value in told.items() if name != "tutelage"}
            assert f"{sum(told['accepted'].values()):,}" in top
            for name, used in told["annotators"].items():
                row = re.search(rf"<bdi>{name}</bdi></th>(.*?)</tr>", page[page.index("d-spent") :])
                assert row is not None
                cells = re.findall(r'<td class="number">([^<]*)</td>', row[1])
                numbers = [used["asked"], used["answers"], used["errors"] + used["failed"]]
                assert cells == [*(f"{n:,}" for n in numbers), f"{used['usd']:,.4f}"]
            by = {s["by"]: s["items"] for s in found["tables"]["sources"]}
            assert by == {name: count for name, count in told["accepted"].items() if count}
            assert client.get(f"/dashboard/rest?have={have(page)}").status == 204, "nothing has changed"
            assert page.count("<svg") >= 3 and "style=" not in page and "<style" not in page, "the policy refuses them"


def have(fragment: str) -> str:
    found = re.search(r"have=([0-9a-f]{16})", fragment)
    assert found is not None
    return found[1]


# Nothing of the audit before a look


def test_what_audit_answers_say_changes_nothing_that_is_shown(tmp_path: Path) -> None:
    seen = []
    for label in LABELS[:2]:
        (folder := tmp_path / label / "x").mkdir(parents=True)
        room = decided(furnish(folder))
        audit = say(room, "audit", label)
        say(room, "pilot", "billing")
        figures = overview(room.config)
        for gone in ("folder", "config_sha256"):
            figures["figures"].pop(gone)
        with at_work(site_of(room)) as client:
            client.sign_in(named(room, "olga", "owner"))
            client.post(f"/item/{audit[0]}/show", {})
            pages = [client.get(at).text for at in (f"/item/{audit[0]}", "/dashboard/top")]
        own = r'value="[0-9a-f]{64}"|have=[0-9a-f]{16}'  # a session's token, and the hash of a part that holds it
        seen.append((figures, [re.sub(own, "", page) for page in pages]))
        assert not {row["item"] for row in figures["doubts"]} & set(audit)
        room.store.close()
    assert json.dumps(seen[0], default=str) == json.dumps(seen[1], default=str)


def test_no_page_tells_the_owner_what_the_card_just_answered_was_for(tmp_path: Path) -> None:
    seen = set()
    for purpose in ("pilot", "audit", "escalation"):
        (folder := tmp_path / purpose / "x").mkdir(parents=True)
        room = furnish(folder)
        room.store.begin_turn(1, 0, "c", "1")
        action = {"pilot": "abstain", "audit": "accept", "escalation": "ask"}
        room.store.decide([Decision(i, action[w], "s", "billing", 0.5, "", turn=1) for i, w in room.purpose.items()])  # type: ignore[arg-type]
        room.store.end_turn(1, {"answers": {}, "people": 0, "people_expected": [0, 0]})
        card = next(call for call in room.store.open_calls("person") if call.purpose == purpose)
        with at_work(site_of(room)) as client:
            client.sign_in(named(room, "olga", "owner"))
            room.store.record_now(card.key, Answer("billing", who="olga", seconds=4.0))
            text = rest(client) + client.get("/dashboard/top").text + client.get("/dashboard/doubts").text
            text += client.get("/team").text + client.get("/me").text
        seen.add(re.sub(r'value="[0-9a-f]{64}"|have=[0-9a-f]{16}|data-at="[0-9]+"', "", text))
        assert "11 are open" in text and "Waiting for people" not in text
        room.store.close()
    assert len(seen) == 1


def test_an_audited_item_looks_like_one_that_nobody_was_asked_about(room: Room, owner: Client) -> None:
    [audited, *_] = say(room, "audit", "technical")
    [pilot, *_] = say(room, "pilot", "technical")
    page = {}
    for item in (audited, pilot):
        owner.post(f"/item/{item}/show", {})
        page[item] = owner.get(f"/item/{item}").text
    said = {item: text[text.index('id="h-said"') : text.index('id="h-why"')] for item, text in page.items()}
    assert "Nobody was asked" in said[audited] and "ada" not in said[audited]
    assert "technical" in said[pilot] and "ada" in said[pilot]
    recipe = prompt.person_recipe(settings.the_task(room.config))
    room.store.escalate([], recipe, [audited], 2)
    assert "technical" in owner.get(f"/item/{audited}").text, "from then on it repairs and measures no more"


def test_every_open_question_shuts_its_items_page_by_the_same_words(room: Room, owner: Client) -> None:
    pages = set()
    for purpose in ("pilot", "audit", "escalation"):
        item = next(call.item for call in room.store.open_calls("person") if call.purpose == purpose)
        owner.post(f"/item/{item}/show", {})
        assert item not in room.store.review.shown_to("olga"), "a page that is shut shows nothing"
        own = room.pool.item(room.pool.position(item))
        text = owner.get(f"/item/{item}").text
        assert own.text not in text
        pages.add(text.replace(item, "X").replace(str(own.name), "N"))
    assert len(pages) == 1


# Items


def test_a_page_opens_after_its_warning_and_the_ledger_notes_who_looked(room: Room, owner: Client) -> None:
    [item, *_] = say(room, "escalation", "billing", who="<b>eve</b>")
    text = room.pool.item(room.pool.position(item)).text
    before = owner.get(f"/item/{item}").text
    assert text not in before and "not be asked about this item any more" in before
    assert owner.post(f"/item/{item}/show", {"csrf": "0" * 64}).status == 403
    assert room.store.review.shown_to("olga") == set()
    assert owner.post(f"/item/{item}/show", {}).status == 303
    assert room.store.review.shown_to("olga") == {item}
    after = owner.get(f"/item/{item}").text
    assert text in after and "&lt;b&gt;eve&lt;/b&gt;" in after and "<b>eve" not in after and "Turn 1" in after
    second = other(owner, room, "adam", "adjudicator")
    assert text not in second.get(f"/item/{item}").text, "each for himself"
    second.post(f"/item/{item}/show", {})
    assert text in (seen := second.get(f"/item/{item}").text) and "eve" not in seen
    assert second.post(f"/item/{item}/ask", {}).status == 403
    assert other(owner, room, "ann", "annotator").get(f"/item/{item}").status == 403
    assert owner.get("/item/nothing").status == 404


def test_items_are_put_to_people_and_the_audit_stays_as_it_is(room: Room, owner: Client) -> None:
    audited, repaired, pilots = (
        say(room, "audit", "other"),
        say(room, "escalation", "other"),
        say(room, "pilot", "other"),
    )
    items = [audited[0], repaired[0], pilots[0], "stray"]
    with lock(room.config.folder):
        assert owner.post("/dashboard/ask", {"item": items}).headers["location"].endswith("said=run")
        assert room.store.open_calls("person") == []
    assert owner.post("/dashboard/ask", {"item": items}).headers["location"].endswith("said=put")
    put = {call.item: (call.purpose, call.sample, call.turn) for call in room.store.open_calls("person")}
    assert put == {repaired[0]: ("escalation", 1, 2), pilots[0]: ("pilot", 1, 2)}
    owner.post("/dashboard/ask", {"item": items})
    assert len(room.store.open_calls("person")) == 2, "what waits is not put twice"
    assert room.store.opened(prompt.person_recipe(settings.the_task(room.config))) == {}


def test_who_answers_sees_the_queue_and_own_numbers_only(room: Room, owner: Client) -> None:
    say(room, "escalation", "other", who="ann")
    client = other(owner, room, "ann", "annotator")
    page = client.get("/dashboard").text
    assert "5 of 12 questions" in page and "answers of yours" in page
    for word in ("audit", "random check", "pilot", "Likely", "student", "recipe", "$"):
        assert word not in page
    for at in ("rest", "doubts"):
        assert client.get(f"/dashboard/{at}").status == 403
    for at in ("doubts", "ask"):
        assert client.post(f"/dashboard/{at}", {}).status == 403


def test_pictures_pass_the_content_security_policy(owner: Client) -> None:
    policy = owner.get("/login").headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    drawn = unstyled('<svg a="1"><style>*{x:y}</style><g style="fill: var(--ink); font: 9px var(--sans)"/></svg>')
    assert drawn.endswith('<g fill="var(--ink)" font-size="9px" font-family="var(--sans)"/></svg>')


def test_a_curve_begins_anew_where_the_questions_changed() -> None:
    turns = [(1, 50), (2, 200), (3, 198), (4, 60), (5, 120), (5, 130)]
    noted = [{"turn": turn, "answers": {"a": count}, "agreement": {"student": [1, 2]}} for turn, count in turns]
    assert [(p.turn, p.answers) for p in learning.points(noted)] == [(4, 60), (5, 130)]
    assert [p.answers for p in learning.points(noted[:3])] == [50, 200, 198], "an answer taken back changes nothing"
