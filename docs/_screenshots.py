"""Takes the pictures of the review's pages for docs/: `make screenshots`. All texts are made up.

It makes a small run in a temporary folder, lets three made-up people answer, opens every page in Debian's Chromium and
writes docs/review-*.png. What the pictures look like depends on the fonts that are there: with fonts-noto-core and
fonts-wqy-microhei every script is shown.
"""

from __future__ import annotations

import contextlib
import csv
import io
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "slow")]

import browser_room as room  # noqa: E402

from agent import config as settings  # noqa: E402
from agent.cli import example  # noqa: E402
from agent.pool import Pool  # noqa: E402
from agent.review import Desk, Queue, guide  # noqa: E402
from agent.store import Store  # noqa: E402

MOST = 150_000
"""Bytes of a picture."""
TALLEST = 1800
"""Pixels of a page that are shown."""
TICKETS = 240
SLIPS = {"ada": 0.02, "ben": 0.1, "chao": 0.04}
"""How often each of them errs."""
PAGES = {"guidelines": "/guidelines", "confusions": "/confusions", "team": "/team", "dashboard": "/dashboard"}
TOML = room.TOML.replace("overlap = 0.2", "overlap = 0.4").replace("accuracy = 0.8", "accuracy = 0.92")
RULES = """Say which team can solve it.

- A refund is billing, whatever went wrong before.
- A parcel that came broken is `delivery`, even where money is asked for.
"""
EXAMPLE = ("The box came in pieces and I want my money back.", ("delivery",), "delivery has to see the box first")
SCRIPTS = """
[task]
name = "letters"
question = "What is this letter about?"
labels = ["退款 refund", "配送 delivery", "حساب account", "שאלה question", "praise", "complaint", "price", "invoice",
          "warranty", "opening hours", "job", "press"]
[pool]
path = "letters.csv"
text = ["subject", "body"]
[goal]
person_minutes = 3
[[rung]]
student = "tfidf"
[[rung]]
oracle = "person"
"""
LETTERS = [
    ("订单 4471 还没有到",
     "مرحبا، طلبت الكتاب قبل أسبوعين ولم يصل حتى الآن. رقم الطلب 4471. أرجو الرد قريبا، شكرا لكم."),
    ("请帮我退款", "שלום, שילמתי פעמיים על אותה הזמנה\u200b. אשמח לקבל החזר. תודה! (order \u202e1744\u202c)"),
]  # fmt: skip


def people_answer(folder: Path, share: float, seed: int) -> None:
    """Three people answer this share of what is open, each as well as `SLIPS` says."""
    config = settings.load(folder / "tutelage.toml")
    truth = {text: label for _, text, label in example.rows(TICKETS)}
    rng = random.Random(seed)
    store = Store.open(config.store_url)
    try:
        pool = Pool(config.folder / "pool", store.shards())
        task, kind = settings.the_task(config), settings.kind(config)
        queue = Queue(store, pool, task, kind, config.run.seed, config.review.order, config.review.assisted)
        version = guide.current(store, config).version
        desks = [Desk(queue, who, version) for who in SLIPS]
        for _ in range(round(share * queue.left())):
            desk = rng.choice(desks)
            card = desk.next_card()
            if card is not None:
                right = truth[card.item.text]
                wrong = rng.choice([label for label in task.labels if label != right])
                slips = rng.random() < SLIPS[desk.who]
                desk.answer(card.key, wrong if slips else right, rng.uniform(2, 11))
        for desk in desks:
            desk.leave()
    finally:
        store.close()
    _at_their_pace(config.store_url)


def _at_their_pace(ledger: str) -> None:
    """These people answered within a second what would have taken them an hour: the made-up ledger's clock says so."""
    keepers = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'answers'"
    with contextlib.closing(sqlite3.connect(ledger)) as database, database:
        held = database.execute(keepers).fetchall()
        for name, _ in held:
            database.execute(f'DROP TRIGGER "{name}"')
        at = dict.fromkeys(SLIPS, time.time())
        for seq, who, seconds in database.execute("SELECT seq, who, seconds FROM answers ORDER BY seq DESC").fetchall():
            if who in at:
                database.execute("UPDATE answers SET at = ? WHERE seq = ?", (at[who], seq))
                at[who] -= seconds + 2
        for _, sql in held:
            database.execute(sql)


def labeled(folder: Path) -> Path:
    """A run in its third turn, with guidelines in their second version."""
    room.begun(folder, TICKETS, TOML)
    for seed in range(3):  # what a second person is asked comes when the first has answered
        people_answer(folder, 1.0, seed)
    room.verb(folder, "run", codes=(0, 4))
    better_guided(folder)
    people_answer(folder, 0.5, 9)
    room.verb(folder, "run", codes=(0, 4))
    return folder


def better_guided(folder: Path) -> None:
    """The owner writes a second version, with an example."""
    config = settings.load(folder / "tutelage.toml")
    store = Store.open(config.store_url)
    try:
        guide.current(store, config)
        guide.write(store, "ada", RULES, guide.in_force(store).version)
        guide.propose(store, "ada", guide.Sample(*EXAMPLE))
        guide.accept(store, "ada", guide.sign(guide.Sample(*EXAMPLE)), [])
    finally:
        store.close()


def letters(folder: Path) -> Path:
    """A small pool in four scripts, of two columns, with more labels than keys."""
    room.tickets(folder, 1, SCRIPTS)
    with open(folder / "letters.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("subject", "body"))
        writer.writerows([(f"{subject} ({i})", body) for i in range(20) for subject, body in LETTERS])
    room.verb(folder, "run", codes=(0, 4))
    return folder


def keep(page: Any, name: str, whole: bool = False) -> None:
    """docs/review-NAME.png, in few colours, so that it is small."""
    from PIL import Image

    page.mouse.move(0, 0)
    page.wait_for_function("() => !document.querySelector('.htmx-request, [data-soon]')", timeout=60_000)
    page.wait_for_timeout(500)
    picture = Image.open(io.BytesIO(page.screenshot(full_page=whole))).convert("RGB")
    picture = picture.crop((0, 0, picture.width, min(picture.height, TALLEST)))
    for colours in (192, 96, 48, 24):
        out = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() <= MOST:
            break
    (ROOT / "docs" / f"review-{name}.png").write_bytes(out.getvalue())
    sys.stderr.write(f"docs/review-{name}.png: {out.tell() // 1000} kB\n")


def english(page: Any) -> None:
    """Answers until a card is in English: other scripts have a picture of their own."""
    while not page.locator("#card .text").inner_text().isascii():
        before = page.locator("#card").get_attribute("data-key")
        page.keyboard.press("4")
        page.wait_for_function("key => document.querySelector('#card')?.dataset.key !== key", arg=before)


def of_pages(browser: Any, served: room.Served, folder: Path, links: Mapping[str, str]) -> None:
    """Every page of the tickets' run, as the owner sees it; the disputes as their judge does."""
    with room.window(browser, height=760) as page:
        page.goto(served.at + "/login")
        keep(page, "login")
        english(room.sign_in(page, links["ada"]))
        keep(page, "card")
        for name, path in PAGES.items():
            page.goto(served.at + path)
            keep(page, name, whole=True)
        page.goto(served.at + item(folder))
        keep(page, "item", whole=True)
    with room.window(browser, height=760) as page:
        room.sign_in(page, links["judge"])
        page.goto(served.at + "/settle")
        keep(page, "settle", whole=True)
    for name, dark, width, height in (("card-dark", True, 1280, 760), ("card-phone", False, 390, 844)):
        with room.window(browser, dark=dark, width=width, height=height) as page:
            english(room.sign_in(page, links["ben"]))
            keep(page, name)


def item(folder: Path) -> str:
    """The path of the page of an item that people have answered."""
    config = settings.load(folder / "tutelage.toml")
    store = Store.open(config.store_url)
    try:
        return f"/item/{next(call.item for _, call, _ in store.answers_since(0) if call.annotator == 'person')}"
    finally:
        store.close()


def main() -> None:
    """All pictures."""
    with tempfile.TemporaryDirectory() as place, room.chromium() as browser:
        folder = labeled(Path(place) / "tickets")
        roles = {"ada": "owner", "ben": "annotator", "chao": "annotator", "judge": "adjudicator"}
        given = {name: room.verb(folder, "people", "add", name, "--role", role) for name, role in roles.items()}
        with room.reviewing(folder) as served:
            links = {name: f"{served.at}/login#{room.secret(said)}" for name, said in given.items()}
            of_pages(browser, served, folder, links)
        with room.reviewing(letters(Path(place) / "letters")) as served, room.window(browser, height=760) as page:
            room.sign_in(page, served.link)
            keep(page, "scripts")


if __name__ == "__main__":
    main()
