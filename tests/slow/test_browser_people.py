"""A real browser on the pages about people: differences settled by keys, figures, axe, light and dark, phone width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser_room import Watch, axe, enter, reviewing, sign_in, too_wide, window
from review_room import Room, furnish

from agent import prompt
from agent.prompt import second_recipe, settled_recipe
from agent.review import people
from agent.store import Store
from agent.types import Answer, Call

pytestmark = pytest.mark.slow
NAMES = ["billing", "technical", "other"]


def differing(folder: Path, labels: list[str], count: int = 40) -> tuple[Room, dict[str, str]]:
    """A room in which ada and bo differ on every fourth item, and tokens of cy, who settles, and di, the owner."""
    folder.mkdir()
    room = furnish(
        folder, labels=labels, counts={"audit": count // 2, "escalation": count // 2}, text="My order \u202e<b>"
    )
    first, second = room.recipe, second_recipe(room.recipe)
    for i, item in enumerate(room.purpose):
        for recipe, who in ((first, "ada"), (second, "bo")):
            call = Call(prompt.key(recipe, item, 0), recipe, item, "person", purpose="escalation", turn=1)
            room.store.reserve([call], None)
            differs = who == "bo" and i % 4 == 0
            flags = ("flagged: \u05e9\u05d0\u05dc\u05d4 <i>two</i> requests",) if differs else ()
            label = labels[(i + differs) % len(labels)]
            room.store.record_now(call.key, Answer(label, who=who, seconds=5.0, flags=flags))
    tokens = {}
    for name, role in (("ada", "annotator"), ("bo", "annotator"), ("cy", "adjudicator"), ("di", "owner")):
        _, tokens[name] = people.add(room.store, name, role)
    room.store.close()
    return room, tokens


def settled(room: Room) -> list[str]:
    with Store.open(room.config.store_url) as store:
        return [answer.text for _, _, answer in store.answers_since(0, [settled_recipe(room.recipe)])]


def test_differences_are_settled_by_keys_and_a_double_press_counts_once(tmp_path: Path, chromium: Any) -> None:
    room, tokens = differing(tmp_path / "run", NAMES)
    with reviewing(room.folder) as served, window(chromium) as page:
        watch = Watch()
        sign_in(watch.follow(page), f"{served.at}/login#{tokens['cy']}")
        page.goto(f"{served.at}/settle")
        for number in range(10):
            assert page.inner_text("header .number b") == str(10 - number)
            page.wait_for_timeout(300)  # a key that comes sooner is the one before
            page.keyboard.press("2")
            page.keyboard.press("2")
            page.wait_for_url("**/settle?said=*")
            page.wait_for_function(
                "(n) => !document.querySelector('header .number') || "
                "document.querySelector('header .number b').textContent === String(n)",
                arg=9 - number,
            )
        assert settled(room) == ["technical"] * 10
        page.wait_for_timeout(300)
        page.keyboard.press("u")
        page.wait_for_url("**/settle?said=undone")
        page.wait_for_timeout(300)
        page.keyboard.press("f")
        page.keyboard.type("the newest request counts")
        page.keyboard.press("Escape")
        page.keyboard.press("n")
        page.wait_for_url("**/settle?said=saved")
        assert settled(room)[-1] == "" and len(settled(room)) == 10
        assert watch.errors == []


def test_of_many_labels_one_is_found_by_typing(tmp_path: Path, chromium: Any) -> None:
    room, tokens = differing(tmp_path / "run", [f"label number {i}" for i in range(77)], count=8)
    with reviewing(room.folder) as served, window(chromium) as page:
        sign_in(page, f"{served.at}/login#{tokens['cy']}")
        page.goto(f"{served.at}/settle")
        page.wait_for_timeout(300)
        page.keyboard.press("/")
        page.keyboard.type("number 63")
        page.keyboard.press("Enter")
        page.wait_for_url("**/settle?said=saved")
        assert settled(room) == ["label number 63"]


def test_the_pages_are_sound_in_light_and_dark_and_on_a_phone(tmp_path: Path, chromium: Any) -> None:
    room, tokens = differing(tmp_path / "run", NAMES, count=120)
    with reviewing(room.folder) as served:
        with window(chromium) as page:
            sign_in(page, f"{served.at}/login#{tokens['di']}")
            cookies = page.context.cookies()
        for dark in (False, True):
            for width in (1280, 380):
                with window(chromium, dark=dark, width=width, looks_in=True) as page:
                    enter(page, served, cookies)
                    for path in ("/team", "/me", "/settle"):
                        page.goto(served.at + path)
                        for fold in page.query_selector_all("details"):
                            fold.evaluate("(one) => { one.open = true; }")
                        assert axe(page) == [], path
                        assert too_wide(page) == 0, path
                        page.screenshot(path=tmp_path / f"{path[1:]}-{dark}-{width}.png", full_page=True)
