"""The card page in a real browser: hundreds of cards by keyboard, slips of the hand, lost servers, hostile texts."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from browser_room import Watch, axe, chromium, serve, sign_in, too_wide, window
from card_room import ask
from review_room import Room
from web_room import Client, at_work, named, site_of

from agent.review.queue import LEASE

pytestmark = pytest.mark.slow

SAID = "() => getComputedStyle(document.querySelector('#card .said')).visibility"
QUIET = 0.27
"""Seconds after which the key that brought a card may answer it, and a little more."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@contextmanager
def seated(browser: Any, client: Client, room: Room, name: str = "ada", **look: Any) -> Iterator[tuple[Any, Watch]]:
    """Somebody's window with the first card, and what it complained of."""
    watch = Watch()
    with window(browser, **look) as page:
        watch.follow(page)
        sign_in(page, f"http://{client.at}/login#{named(room, name)}")
        page.wait_for_selector("#card")
        yield page, watch


def key(page: Any) -> str:
    found: str = page.evaluate("() => document.getElementById('card').dataset.key")
    return found


def changed(page: Any, before: str) -> str:
    """The key of the card that shows once `before` is gone."""
    page.wait_for_function("k => document.getElementById('card').dataset.key !== k", arg=before, polling=5)
    return key(page)


def press(page: Any, *keys: str) -> str:
    """Keys of which the last brings another card; its key."""
    before = key(page)
    for one in keys:
        page.keyboard.press(one)
    after = changed(page, before)
    page.wait_for_timeout(1000 * QUIET)
    return after


def answers(room: Room) -> dict[str, str]:
    """Key -> what stands."""
    return {call.key: "?" if answer.unsure else answer.text for call, answer in room.answers()}


def rows(data_dir: Path, name: str, count: int) -> tuple[list[str], list[str], list[str]]:
    """Texts and labels of a public set, and all its labels."""
    table = parquet.read_table(data_dir / name / "data.parquet")
    labels = sorted(set(table["label"].to_pylist()))
    step = len(table) // count
    chosen = table.take(list(range(0, step * count, step)))
    return chosen["text"].to_pylist(), chosen["label"].to_pylist(), labels


# ------------------------------------------------------------------------------------------------ an hour's work


@pytest.mark.parametrize("name", ["banking77", "ag_news"])
def test_two_hundred_cards_by_keyboard(browser: Any, tmp_path: Path, data_dir: Path, name: str) -> None:
    if not (data_dir / name / "data.parquet").exists():
        pytest.skip(f"the data set {name} is not here")
    texts, gold, labels = rows(data_dir, name, 204)
    room = ask(tmp_path, texts, ["audit", "escalation", "escalation"] * 68, labels)
    meant = {item: gold[int(str(room.pool.item(room.pool.position(item)).name)[2:])] for item in room.purpose}
    took: list[float] = []
    last, shown = "", 0.0
    with at_work(site_of(room)) as client, seated(browser, client, room) as (page, watch):
        for _ in range(200):
            card = key(page)
            label = meant[room.store.calls([card])[card].item]
            if len(labels) > 10:
                page.keyboard.type(label[-7:])
                assert page.evaluate("() => document.querySelector('.choice.marked').value") is not None
                pressed = "Enter"
                while page.evaluate("() => document.querySelector('.choice.marked').value") != label:
                    page.keyboard.press("ArrowDown")
            else:
                pressed = str(labels.index(label) + 1)
            if pressed == last:
                time.sleep(max(0.0, QUIET - (time.perf_counter() - shown)))
            began = time.perf_counter()
            page.keyboard.press(pressed)
            changed(page, card)
            shown = time.perf_counter()
            took.append(shown - began)
            last = pressed
        assert page.inner_text(".progress").startswith("200 answered · 4 left")
    said = {call.item: answer.text for call, answer in room.answers()}
    assert len(said) == 200 and all(meant[item] == label for item, label in said.items())
    assert all(0 < answer.seconds < 60 for _, answer in room.answers())
    assert watch.errors == []
    took.sort()
    p50, p95, most = (1000 * took[i] for i in (100, 190, -1))
    print(f"\n{name}: key to next card p50 {p50:.0f}, p95 {p95:.0f}, most {most:.0f} ms")


def test_undo_skip_flag_and_the_other_keys(browser: Any, tmp_path: Path) -> None:
    room = ask(tmp_path, [f"text {i}" for i in range(9)])
    with at_work(site_of(room)) as client, seated(browser, client, room) as (page, watch):
        first = key(page)
        press(page, "1")
        again = press(page, "u")
        assert again != first and page.inner_text("#asked ~ .texts") == "text 0" and answers(room) == {}
        second = press(page, "s")
        assert page.inner_text("#asked ~ .texts") == "text 1"
        page.keyboard.press("f")
        page.keyboard.type("12 u s n ? both, I think")
        assert key(page) == second and answers(room) == {}
        page.keyboard.press("Enter")
        press(page, "2")
        assert [a.flags for _, a in room.answers()] == [("flagged: 12 u s n ? both, I think",)]
        press(page, "n")
        assert sorted(answers(room).values()) == ["?", "technical"]
        page.keyboard.press("g")
        page.wait_for_selector("#panel .text")
        assert "Refunds are billing." in page.inner_text("#panel") and key(page)
        page.keyboard.press("Escape")
        assert page.is_hidden("#panel")
        page.keyboard.press("?")
        assert page.is_visible("#help")
        page.keyboard.press("1")
        page.keyboard.press("Escape")
        for combined in ("Control+1", "Alt+2", "Meta+3"):
            page.keyboard.press(combined)
        page.evaluate("() => document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '1', code: 'Digit1', "
                      "isComposing: true, bubbles: true}))")  # fmt: skip
        page.wait_for_timeout(300)
        assert len(answers(room)) == 2
        before = key(page)  # a keyboard that writes another script: the key's place tells
        page.evaluate("() => document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '\u0661', code: 'Digit1', "
                      "bubbles: true}))")  # fmt: skip
        changed(page, before)
        assert list(answers(room).values()).count("billing") == 1
        page.click("text=Add as example")
        page.wait_for_function("() => document.getElementById('word').textContent === 'Proposed as an example.'")
        assert [error for error in watch.errors if "404" not in error] == []


def test_a_slip_of_the_hand_counts_once(browser: Any, tmp_path: Path) -> None:
    room = ask(tmp_path, [f"text {i}" for i in range(9)])
    with at_work(site_of(room)) as client, seated(browser, client, room) as (page, watch):
        before = key(page)
        page.keyboard.press("1")
        page.keyboard.press("1")
        changed(page, before)
        page.keyboard.press("1")
        page.wait_for_timeout(1000 * QUIET)
        assert len(answers(room)) == 1
        before = key(page)
        for _ in range(40):  # held down: the keyboard repeats it
            page.keyboard.down("2")
            page.wait_for_timeout(15)
        page.keyboard.up("2")
        assert len(answers(room)) == 2 and key(page) != before
        before = key(page)
        page.dblclick("#label-3")
        changed(page, before)
        page.wait_for_timeout(1000 * QUIET)
        assert len(answers(room)) == 3
        before = key(page)  # submitted twice at once, past all that the page does against it
        page.evaluate(
            "() => { const form = document.getElementById('answer');"
            " const body = new URLSearchParams([...new FormData(form), ['label', 'other']]);"
            " return Promise.all([1, 2, 3].map(() => fetch('/answer', {method: 'POST', body})))}"
        )
        assert len(answers(room)) == 4 and watch.errors == []


def test_several_labels_by_keyboard(browser: Any, tmp_path: Path) -> None:
    room = ask(tmp_path / "few", [f"text {i}" for i in range(9)], labels=("toxic", "rude", "mild"), kind="multi")
    with at_work(site_of(room)) as client, seated(browser, client, room) as (page, watch):
        press(page, "1", "3", "2", "2", "Enter")
        page.keyboard.press("Enter")
        assert "Enter again" in page.inner_text("#net")
        press(page, "Enter")
        press(page, "x")
        assert [a.text for _, a in room.answers()] == ['["mild", "toxic"]', "[]", ""]
    names = [f"{what} {which}" for what in ("red", "green", "blue") for which in ("fish", "bird", "tree", "door")]
    room = ask(tmp_path / "many", [f"text {i}" for i in range(3)], labels=names, kind="multi")
    with at_work(site_of(room)) as client, seated(browser, client, room) as (page, watch):
        seen = []
        for typed in ("bird gr", "blue tr"):
            page.keyboard.type(typed)
            page.keyboard.press("Enter")
            seen.append(page.locator("#labels .choice").first.inner_text())
        assert seen == ["green bird", "green bird"], "what is chosen stands first"
        press(page, "Enter")
        assert [a.text for _, a in room.answers()] == ['["blue tree", "green bird"]'] and watch.errors == []


# ------------------------------------------------------------------------------------------------ several people


def test_two_people_get_different_cards_and_an_expired_lease_loses_nothing(browser: Any, tmp_path: Path) -> None:
    room = ask(tmp_path, [f"text {i}" for i in range(6)])
    with (
        at_work(site_of(room)) as client,
        seated(browser, client, room) as (hers, _),
        seated(browser, client, room, "bob") as (his, _),
    ):
        seen = {key(hers)}
        assert key(his) not in seen
        press(his, "1")
        assert key(his) not in seen
        lent = key(hers)
        with sqlite3.connect(room.folder / "tutelage-run" / "ledger.db", timeout=20) as ledger:
            ledger.execute("UPDATE leases SET until = until - ? WHERE who = 'ada'", [2 * LEASE])
        for _ in range(5):
            if lent in answers(room):
                break
            press(his, "2")
        assert answers(room)[lent] == "technical"
        before = key(hers)
        assert before == lent
        hers.keyboard.press("1")
        hers.wait_for_function("() => document.getElementById('word').textContent.includes('further opinion')")
        stand = [(a.text, a.who) for c, a in room.answers() if c.key == lent]
        assert stand == [("technical", "bob")], "the late answer is kept beside it, under a key of its own"
        assert sum(a.who == "ada" for _, a in room.answers()) == 1


def test_a_closed_page_gives_its_cards_back_and_a_reloaded_one_keeps_them(browser: Any, tmp_path: Path) -> None:
    room = ask(tmp_path, ["one", "two", "three", "four"])  # two for each: one in hand, one ahead
    with at_work(site_of(room)) as client, seated(browser, client, room, "bob") as (his, _):
        his.wait_for_timeout(300)
        with seated(browser, client, room) as (hers, _):
            held = key(hers)
            assert held
            hers.wait_for_timeout(300)
            hers.reload()
            hers.wait_for_selector("#card")
            hers.wait_for_timeout(300)
            assert key(hers) == held
            press(his, "1")
            press(his, "2")
            assert key(his) == "" and "on other people’s desks" in his.inner_text("#asked")
            hers.goto("about:blank")
            hers.wait_for_timeout(300)
        his.reload()
        assert key(his) in room.store.calls([held, key(his)])


# ------------------------------------------------------------------------------------------------ what may go wrong


def test_a_killed_server_loses_nothing_and_the_page_goes_on_by_itself(browser: Any, tmp_path: Path) -> None:
    room = ask(tmp_path, [f"text {i}" for i in range(20)])
    link = named(room, "ada")
    served = serve(room.folder)
    watch, acknowledged = Watch(), {}
    try:
        with window(browser) as page:
            watch.follow(page)
            sign_in(page, f"{served.at}/login#{link}")
            page.wait_for_selector("#card")
            for turn in range(2):
                for digit in "12":
                    card = key(page)
                    press(page, digit)
                    acknowledged[card] = {"1": "billing", "2": "technical"}[digit]
                served.kill()
                assert answers(room).items() >= acknowledged.items()
                card = key(page)
                page.keyboard.press("g")
                page.wait_for_function("() => document.getElementById('net').textContent.includes('be read')")
                assert page.is_hidden("#panel")
                page.wait_for_selector("#net", state="hidden")
                page.keyboard.press("3")
                page.wait_for_selector("#net:not([hidden])")
                assert "Not saved yet: trying again" in page.inner_text("#net")
                page.keyboard.press("1")  # one more while it waits: used for nothing
                assert key(page) == card
                assert page.evaluate(SAID) == "hidden", "what was saved before does not stand beside it"
                page.wait_for_function("() => document.getElementById('net').textContent.includes('Not saved yet')")
                served = serve(room.folder, port=served.port)
                changed(page, card)
                acknowledged[card] = "other"
                assert page.is_hidden("#net") and answers(room) == acknowledged, turn
                page.wait_for_timeout(1000 * QUIET)
            back = press(page, "u")
            assert len(answers(room)) == 5 and back not in acknowledged
    finally:
        served.end()
    assert room.store.verify() == []
    assert all("Failed to" in error or "ERR_" in error for error in watch.errors), watch.errors


def test_a_server_that_hangs_is_told_of_before_it_is_given_up(browser: Any, tmp_path: Path) -> None:
    room = ask(tmp_path, [f"text {i}" for i in range(4)])
    link, served = named(room, "ada"), serve(room.folder)
    try:
        with window(browser) as page:
            sign_in(page, f"{served.at}/login#{link}")
            page.wait_for_selector("#card")
            card = key(page)
            served.process.send_signal(signal.SIGSTOP)
            page.keyboard.press("1")
            page.wait_for_selector("#net:not([hidden])", timeout=10_000)
            assert "Not saved yet: the server is slow" in page.inner_text("#net") and key(page) == card
            served.process.send_signal(signal.SIGCONT)
            changed(page, card)
            assert page.is_hidden("#net") and answers(room) == {card: "billing"}
    finally:
        served.process.send_signal(signal.SIGCONT)
        served.end()


def test_a_lost_line_and_a_lost_session(browser: Any, tmp_path: Path) -> None:
    room = ask(tmp_path, [f"text {i}" for i in range(6)])
    with at_work(site_of(room)) as client, seated(browser, client, room) as (page, _):
        card = key(page)
        page.context.set_offline(True)
        page.keyboard.press("1")
        page.wait_for_selector("#net:not([hidden])")
        assert key(page) == card and answers(room) == {}
        page.context.set_offline(False)
        card = changed(page, card)
        assert len(answers(room)) == 1
        page.wait_for_timeout(1000 * QUIET)
        token = named(room, "ada")  # a new token ends the sessions of the old one
        page.keyboard.press("2")
        page.wait_for_url("**/login?next=/")
        sign_in(page, f"http://{client.at}/login#{token}")
        page.wait_for_selector("#card")
        assert key(page) == card and len(answers(room)) == 1
        assert "was not saved" in page.inner_text("#net")


def test_an_answer_whose_acknowledgement_is_lost_counts_once(browser: Any, tmp_path: Path) -> None:
    room = ask(tmp_path, [f"text {i}" for i in range(4)])
    sent: list[str] = []

    def lose_the_first(route: Any) -> None:
        sent.append(route.request.post_data)
        if len(sent) == 1:
            assert route.fetch().status == 200
            route.abort("connectionreset")
        else:
            route.continue_()

    with at_work(site_of(room)) as client, seated(browser, client, room) as (page, _):
        page.route("**/answer", lose_the_first)
        press(page, "1")
        assert sent[0] == sent[1] and len(sent) == 2
        assert page.inner_text("#word") == "That card was saved before: it counts once."
        page.unroute("**/answer")
        page.route("**/undo", lose_the_first)
        sent.clear()
        press(page, "2")
        press(page, "u")
        assert len(sent) == 2 and list(answers(room).values()) == ["billing"], "one answer is taken back, not two"


EVIL = (
    "<script>document.title = 'taken'</script><svg onload=\"document.title='taken'\"><img src=x onerror=\"alert(1)\">"
    "<b hx-get=/logout hx-trigger=load>b</b> {{ 7 * 7 }} \u202etxt.exe\u202c "
    "\u200f\u0645\u0631\u062d\u0628\u0627 \u4f60\u597d"
)


def test_hostile_and_huge_texts_are_inert_and_quick(browser: Any, tmp_path: Path) -> None:
    huge = ("lorem ipsum dolor <i>sit</i> amet\n" * 32_000)[:1_000_000] + " NEEDLE"
    room = ask(tmp_path, [EVIL, huge, "a" * 1_000_000, EVIL])
    with at_work(site_of(room)) as client, seated(browser, client, room) as (page, watch):
        page.on("dialog", lambda dialog: watch.errors.append("a dialog"))
        for _ in range(4):
            assert (
                page.title() == "Answer · tutelage"
                and page.query_selector(".texts :is(svg, img, b, i, script)") is None
            )
            if page.query_selector("[data-do=more]"):
                assert len(page.inner_html(".piece .text")) < 50_000
                began = time.perf_counter()
                page.keyboard.press("m")
                page.wait_for_function("() => document.querySelector('.piece .text').textContent.length >= 1e6")
                page.fill("[data-seek]", "needle")
                page.wait_for_function("() => /found/.test(document.querySelector('[data-count]').textContent)")
                told = page.inner_text("[data-count]")
                print(f"\n1 MB shown and searched in {time.perf_counter() - began:.1f} s: {told}")
                assert told in ("1 found", "0 found")
                page.keyboard.press("Escape")
            else:
                assert "RLO" in page.inner_text(".texts") and "{{ 7 * 7 }}" in page.inner_text(".texts")
            press(page, "1")
        assert len(answers(room)) == 4 and watch.errors == []


# ------------------------------------------------------------------------------------------------ for everybody


def test_no_script_is_needed(browser: Any, tmp_path: Path) -> None:
    room = ask(tmp_path, ["one", "two"])
    with at_work(site_of(room)) as client, window(browser, script=False) as page:
        ada = Client(client.at).sign_in(named(room, "ada"))
        page.context.add_cookies(
            [{"name": k, "value": v, "url": f"http://{client.at}"} for k, v in ada.cookies.items()]
        )
        page.goto(f"http://{client.at}/")
        page.fill("#flag", "odd")
        page.keyboard.press("Enter")  # must not choose the first label
        assert answers(room) == {}
        page.click("text=technical")
        page.wait_for_url("**/?said=saved")
        page.click("text=Undo")
        page.wait_for_url("**/?said=undone")
        page.click("text=other")
        page.wait_for_url("**/?said=saved")
        assert list(answers(room).values()) == ["other"]


@pytest.mark.parametrize("kind", ["single", "multi", "typed"])
def test_axe_finds_nothing_and_a_phone_needs_no_sideways_scrolling(browser: Any, tmp_path: Path, kind: str) -> None:
    labels = [f"label number {i}" for i in range(30)] if kind == "typed" else ["one", "two", "three"]
    texts = ["short text", EVIL, "long text " * 300]
    room = ask(tmp_path, texts, labels=labels, kind="multi" if kind == "multi" else "single")
    with at_work(site_of(room)) as client:
        for i, dark in enumerate((False, True)):
            with seated(browser, client, room, f"p{i}", dark=dark, looks_in=True) as (page, _):
                faults = axe(page)
                page.evaluate("() => { const f = document.querySelector('[data-do=flag]'); f.click(); }")
                page.evaluate("() => document.querySelector('[data-do=guide]').click()")
                page.wait_for_selector("#panel .spread")
                faults += axe(page)
                page.evaluate("() => document.querySelector('[data-do=help]').click()")
                faults += axe(page)
                assert faults == []
                for width in (640, 360):  # 200 % zoom of a laptop, and a phone
                    page.set_viewport_size({"width": width, "height": 700})
                    assert too_wide(page) == 0


def test_the_announcer_says_what_was_saved_and_focus_goes_to_the_card(browser: Any, tmp_path: Path) -> None:
    room = ask(tmp_path, ["one", "two", "three"])
    with at_work(site_of(room)) as client, seated(browser, client, room) as (page, _):
        press(page, "2")
        assert page.inner_text("#live").strip() == "Saved: technical"
        assert page.evaluate("() => document.activeElement.id") == "asked"
        marks = json.loads(
            page.evaluate(
                "() => JSON.stringify([...document.querySelectorAll('button[data-key]')].map(b =>"
                " [b.dataset.key, b.getAttribute('aria-keyshortcuts')]))"
            )
        )
        assert marks and all(ours == told for ours, told in marks)
