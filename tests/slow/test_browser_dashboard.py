"""The dashboard and an item's page in a real browser: they refresh by themselves, and axe finds nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser_room as room
import pytest

from agent import claim, prompt
from agent.config import load
from agent.report.overview import kept_apart
from agent.store import Store
from agent.types import Answer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> Path:
    """A finished run with a certificate, and some questions that were put to people afterwards."""
    made = room.tickets(tmp_path_factory.mktemp("board"), 240, room.TOML.replace("accuracy = 0.95", "accuracy = 0.6"))
    room.verb(made, "run", "--people", "gold", codes=(0, 4, 5))
    room.verb(made, "suspects", "--ask", "4", "--of", "machines")
    return made


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[room.Served]:
    with room.reviewing(folder) as found:
        yield found


def test_the_owner_looks_clicks_and_puts_to_people(chromium: Any, served: room.Served, folder: Path) -> None:
    watch, faults = room.Watch(), dict[str, list[str]]()
    with room.window(chromium, looks_in=True) as page, Store.open(load(folder / "tutelage.toml").store_url) as store:
        page.set_default_timeout(60_000)
        watch.follow(room.sign_in(page, served.link))
        page.goto(served.at + "/dashboard")
        page.wait_for_selector("#rest .plot svg")
        assert page.locator("#top dl > div").count() == 5
        page.wait_for_selector("#likely table")
        page.click("#d-sources summary")
        faults["dashboard"] = room.axe(page)
        # Somebody answers: the page sees it by itself, and what was opened stays open.
        card = store.open_calls("person")[0]
        before = page.locator("#top p.number").inner_text()
        store.record_now(card.key, Answer("billing", who="eve", seconds=5.0))
        page.wait_for_function("text => document.querySelector('#top p.number').innerText !== text", arg=before)
        assert page.evaluate("document.querySelector('#d-sources').open")
        # Likely errors are looked for beside the server.
        page.click("text=Look for likely errors")
        page.wait_for_selector("#likely th:text('rather')")
        listed = page.locator("#likely table a").evaluate_all("links => links.map(a => a.getAttribute('href'))")
        items = [re.sub("^/item/", "", at) for at in listed]
        assert items and not set(items) & kept_apart(load(folder / "tutelage.toml"), store)
        # One of them: warned first, then shown and explained.
        page.goto(f"{served.at}/item/{items[0]}")
        faults["item, shut"] = room.axe(page)
        page.click("text=Show it to me")
        page.wait_for_selector("#h-said")
        assert store.review.shown_to(page.locator(".who").inner_text()) == {items[0]}
        page.click("text=Work it out")
        page.wait_for_selector("#why table")
        faults["item"] = room.axe(page)
        page.click("text=Put it to people")
        page.wait_for_url("**/dashboard?said=put")
        recipe = claim.person_recipe(load(folder / "tutelage.toml"))
        assert store.review.waits(items[0], prompt.open_recipes(recipe))
        page.goto(f"{served.at}/item/{items[0]}")
        assert "People are being asked" in page.locator("main").inner_text()
    assert {name: found for name, found in faults.items() if found} == {}
    assert watch.errors == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_everything_opened_is_readable_in_both_lights_and_on_a_phone(
    chromium: Any, served: room.Served, folder: Path, dark: bool
) -> None:
    with room.window(chromium, dark=dark, width=390, looks_in=True) as page:
        page.set_default_timeout(60_000)
        room.sign_in(page, room.invited(folder, f"owner{dark}", served, "owner"))
        page.goto(served.at + "/dashboard")
        page.wait_for_selector("#rest .plot svg")
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert room.too_wide(page) == 0
        assert room.axe(page) == []
