"""Every page in a real browser: axe-core, dark and light, phone and zoom, the console; and the door itself."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import browser_room as room
import pytest

from agent.config import load
from agent.store import Store

pytestmark = pytest.mark.slow
CARDS = 12
"""Questions that are answered before the pages are looked at, so that they have something to show."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> Path:
    """A run that waits for people. `chromium`: without one there is nothing to make it for."""
    return room.begun(tmp_path_factory.mktemp("shell"), 160)


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[room.Served]:
    with room.reviewing(folder) as found:
        yield found


@pytest.fixture(scope="module")
def owner(chromium: Any, served: room.Served, folder: Path) -> list[Any]:
    """The owner's cookies, after some cards were answered by the owner and by an annotator."""
    kept = []
    for link in (served.link, room.invited(folder, "bea", served)):
        with room.window(chromium) as page:
            room.sign_in(page, link)
            kept.append(page.context.cookies())
            for i in range(CARDS):
                before = page.locator("#card").get_attribute("data-key")
                page.keyboard.press("1234"[i % 4])
                page.wait_for_function("key => document.querySelector('#card')?.dataset.key !== key", arg=before)
    return kept[0]


@pytest.fixture(scope="module")
def pages(folder: Path) -> list[str]:
    """Every page there is, by its path; an item's, too."""
    store = Store.open(load(folder / "tutelage.toml").store_url)
    try:
        answered = next(call.item for _, call, _ in store.answers_since(0))
    finally:
        store.close()
    return [*room.PAGES, f"/item/{answered}", "/no-such-page"]


def loaded(page: Any, served: room.Served, path: str) -> int:
    """The status of a page that has come to rest."""
    status: int = page.goto(served.at + path).status
    page.wait_for_function("() => !document.querySelector('.htmx-request, [data-soon]')", timeout=30_000)
    return status


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_on_any_page(
    chromium: Any, served: room.Served, owner: list[Any], pages: list[str], dark: bool
) -> None:
    found = {}
    with room.window(chromium, dark=dark, looks_in=True) as page:
        page.goto(served.at + "/login")
        found["/login"] = room.axe(page)
        room.enter(page, served, owner)
        for path in pages:
            assert loaded(page, served, path) < 500, path
            found[path] = room.axe(page)
    assert {path: said for path, said in found.items() if said} == {}


def test_no_page_is_wider_than_a_phone_or_a_zoomed_window(
    chromium: Any, served: room.Served, owner: list[Any], pages: list[str]
) -> None:
    wide = []
    for width, height in ((360, 740), (640, 400)):  # 640: a window of 1280 at 200 %
        with room.window(chromium, width=width, height=height) as page:
            page.goto(served.at + "/login")
            wide += [("/login", width)] * bool(room.too_wide(page))
            room.enter(page, served, owner)
            for path in pages:
                loaded(page, served, path)
                wide += [(path, width)] * bool(room.too_wide(page))
    assert wide == []


@pytest.mark.parametrize("role", ["owner", "annotator", "adjudicator"])
def test_no_page_complains_and_the_navigation_leads_only_where_one_may_go(
    chromium: Any, served: room.Served, owner: list[Any], folder: Path, pages: list[str], role: str
) -> None:
    watch = room.Watch()
    with room.window(chromium) as page:
        if role == "owner":
            room.enter(page, served, owner)
        else:
            room.sign_in(page, room.invited(folder, role, served, role))
        watch.follow(page)
        links = page.locator(".top nav a").evaluate_all("links => links.map(a => a.getAttribute('href'))")
        assert "/" in links
        for path in links:
            assert loaded(page, served, path) == 200, path
            assert page.locator(f".top nav a[href='{path}'][aria-current=page]").count() == 1
        assert watch.errors == []
        for path in set(pages) - set(links):
            assert loaded(page, served, path) in (200, 403, 404), path
        # A page that is refused is told of on the console by the browser itself; nothing else may stand there.
        assert [line for line in watch.errors if "responded with a status of 40" not in line] == []


def test_one_click_signs_in_and_leaves_no_token_behind(chromium: Any, served: room.Served, folder: Path) -> None:
    link = room.invited(folder, "cleo", served)
    token = link.rpartition("#")[2]
    asked: list[str] = []
    with room.window(chromium) as page:
        page.on("request", lambda request: asked.append(request.url))
        page.goto(served.at)  # the door is open in this window already
        room.sign_in(page, link)
        assert page.url == served.at + "/" and page.locator(".who").inner_text() == "cleo"
        assert not any(token in url for url in asked)
        cookie = page.context.cookies()[0]
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and page.evaluate("document.cookie") == ""
        page.go_back()
        assert token not in page.url
        page.goto(served.at + "/guidelines")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/login")
        page.context.add_cookies([cookie])
        page.goto(served.at + "/guidelines")
        assert page.url == served.at + "/login?next=/guidelines"  # the session has ended for the server, too


def test_a_token_can_be_pasted_and_no_script_is_needed_for_it(chromium: Any, served: room.Served, folder: Path) -> None:
    token = room.invited(folder, "dora", served).rpartition("#")[2]
    with room.window(chromium, script=False) as page:
        page.goto(served.at + "/guidelines")
        page.get_by_label("Your token").fill("wrong")
        page.keyboard.press("Enter")
        assert "opens nothing" in page.get_by_role("alert").inner_text()
        page.get_by_label("Your token").fill(token)
        page.keyboard.press("Enter")
        page.wait_for_url("**/guidelines")


@contextmanager
def elsewhere(body: str) -> Iterator[str]:
    """A page of somebody else's, at another port of this machine."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *words: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_other_sites_can_neither_post_nor_frame_nor_read(chromium: Any, served: room.Served, owner: list[Any]) -> None:
    evil = f"""<!doctype html><iframe name=in src="{served.at}/"></iframe>
      <form method=post action="{served.at}/logout"><input name=csrf value=x><button>win</button></form>"""
    with elsewhere(evil) as at, room.window(chromium) as page:
        room.enter(page, served, owner)
        page.goto(at)
        assert "tickets" not in page.frame("in").content()  # type: ignore[union-attr]
        read = page.evaluate(f"fetch('{served.at}/', {{credentials: 'include'}}).then(a => a.text(), e => 'refused')")
        assert read == "refused"
        with page.expect_response(f"{served.at}/logout") as got:
            page.get_by_role("button", name="win").click()
        assert got.value.status in (401, 403)
        page.goto(served.at + "/who")
        assert page.locator("body").inner_text() == '{"in":true}'


def test_who_is_signed_in_is_so_after_the_server_was_killed(chromium: Any, folder: Path) -> None:
    first = room.serve(folder)
    try:
        with room.window(chromium) as page:
            room.sign_in(page, room.invited(folder, "ed", first))
            key = page.locator("#card").get_attribute("data-key")
            first.kill()
            second = room.serve(folder, port=first.port)
            try:
                page.goto(second.at)
                assert page.url == second.at + "/" and page.locator("#card").get_attribute("data-key") == key
                assert page.locator(".who").inner_text() == "ed"
            finally:
                code, said = second.end()
            assert code == 0 and "every answer is in the ledger" in said and "Traceback" not in said
    finally:
        first.end()


def test_the_page_wakes_when_the_first_question_comes(chromium: Any, tmp_path: Path) -> None:
    folder = room.tickets(tmp_path / "later", 80)
    nobody = ["--set", "goal.pilot=0", "--set", "goal.audit=0", "--set", "goal.person_minutes=0"]
    room.verb(folder, "run", *nobody, codes=(0, 3, 4))
    with room.reviewing(folder) as served, room.window(chromium) as page:
        room.sign_in(page, served.link)
        assert page.locator("#card").get_attribute("data-key") == ""
        assert "Nothing to answer" in page.locator("h1").inner_text()
        room.verb(folder, "run", codes=(0, 3, 4))  # the loop works beside the page, in the same folder
        page.wait_for_function("() => document.querySelector('#card')?.dataset.key", timeout=30_000)
