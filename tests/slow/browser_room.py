"""A real browser before the real command: a small made-up run, `tutelage review --web` as a process, Chromium.

Browsers are Debian's Chromium, driven by Playwright. Where one of them is absent the tests skip and say so.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.cli import example

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run", "--disable-dev-shm-usage"]  # fmt: skip
PAGES = ["/", "/guidelines", "/confusions", "/settle", "/team", "/me", "/dashboard"]
"""What somebody who is signed in can open; those that are not there answer 404, which is a page, too."""
TOML = """
[task]
name = "tickets"
question = "Which team should get this ticket?"
guidelines = "Say which team can solve it. A refund is billing, whatever went wrong before."
[task.labels]
billing = "money: charges, invoices, refunds, prices"
delivery = "parcels: late, lost, damaged, sent to the wrong place"
technical = "things that do not work: the app, the site, the device"
account = "the account itself: sign-in, password, address data, closing it"
[pool]
path = "tickets.csv"
text = "text"
id = "id"
gold = "label"
[goal]
accuracy = 0.95
person_minutes = 20
[review]
overlap = 0.2
[[rung]]
student = "tfidf"
[[rung]]
oracle = "scripted"
accuracy = 0.8
[[rung]]
oracle = "person"
"""


def absent() -> str:
    """Why there is no browser here, or ""."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed: pip install 'tutelage[browser]'"
    return "" if program() else "there is no chromium here: on Debian, apt-get install chromium"


def program() -> str:
    """Chromium's path, or ""."""
    return os.environ.get("TUTELAGE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window."""
    if reason := absent():
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def tickets(folder: Path, count: int = 200, toml: str = TOML) -> Path:
    """A folder with made-up tickets and a ladder of fast plug-ins, not yet run."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "tickets.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerows([("id", "text", "label"), *example.rows(count)])
    (folder / "tutelage.toml").write_text(toml, encoding="utf-8")
    return folder


def verb(folder: Path, *words: str, codes: Sequence[int] = (0,)) -> str:
    """One command in the folder; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "agent", *words], cwd=folder, env=surroundings(), capture_output=True, text=True,
        check=False, timeout=110,
    )  # fmt: skip
    assert done.returncode in codes, done.stderr
    return done.stdout


def begun(folder: Path, count: int = 200, toml: str = TOML) -> Path:
    """A folder whose run waits for people."""
    verb(tickets(folder, count, toml), "run", codes=(0, 4))
    return folder


def surroundings() -> dict[str, str]:
    """A child's environment."""
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@dataclass
class Served:
    """`tutelage review --web` as a process. at: its address; link: what it printed to open."""

    process: subprocess.Popen[str]
    at: str
    link: str

    @property
    def port(self) -> str:
        return self.at.rpartition(":")[2]

    def kill(self) -> None:
        """SIGKILL: nothing is said, nothing is tidied."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=20)

    def end(self) -> tuple[int, str]:
        """Ctrl-C; the exit code and what stood on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


def serve(folder: Path, *words: str, port: str = "0") -> Served:
    """Starts the command; returns when it listens. Whoever calls ends or kills it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "agent", "review", "--web", "--no-open", "--json", "--port", port, *words],
        cwd=folder, env=surroundings(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = ""
    for line in process.stdout:
        lines += line
        if line.rstrip() == "}":
            told = json.loads(lines)
            return Served(process, told["url"], told["login"])
    raise AssertionError(process.communicate(timeout=10)[1])


@contextmanager
def reviewing(folder: Path, *words: str) -> Iterator[Served]:
    """The command while something is tried; ended by Ctrl-C."""
    served = serve(folder, *words)
    try:
        yield served
    finally:
        served.end()


def invited(folder: Path, name: str, served: Served, role: str = "annotator") -> str:
    """Name somebody by `tutelage people add`; their link."""
    return f"{served.at}/login#{secret(verb(folder, 'people', 'add', name, '--role', role))}"


def secret(said: str) -> str:
    """The token in what `tutelage people` printed."""
    found = re.search(r"#([\w-]{20,})", said)
    assert found is not None, said
    return found[1]


@dataclass
class Watch:
    """What a page complained of: errors on the console (a breach of the CSP is one), scripts that failed."""

    errors: list[str] = field(default_factory=list)

    def follow(self, page: Any) -> Any:
        page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        return page


@contextmanager
def window(
    browser: Any, dark: bool = False, width: int = 1280, height: int = 800, looks_in: bool = False, script: bool = True
) -> Iterator[Any]:
    """A page of a browser of its own. looks_in: axe may be put into it, past the CSP."""
    context = browser.new_context(
        color_scheme="dark" if dark else "light", viewport={"width": width, "height": height}, bypass_csp=looks_in,
        java_script_enabled=script, reduced_motion="reduce",
    )  # fmt: skip
    context.set_default_timeout(15_000)
    try:
        yield context.new_page()
    finally:
        context.close()


def sign_in(page: Any, link: str) -> Any:
    """Through the link, as a click in the terminal does; the page is the first one then."""
    page.goto(link)
    page.wait_for_url(lambda url: "/login" not in url)
    return page


def enter(page: Any, served: Served, cookies: list[Any]) -> Any:
    """In by somebody's cookies, as they were taken from another window."""
    page.context.add_cookies(cookies)
    page.goto(served.at)
    return page


def axe(page: Any) -> list[str]:
    """What axe-core finds wrong with the page: "rule: the element"."""
    import axe_playwright_python

    file = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js"))
    if not page.evaluate("() => Boolean(window.axe)"):
        page.evaluate(file.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run({resultTypes: ['violations']})")
    return [
        f"{one['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def too_wide(page: Any) -> int:
    """Pixels by which the page is wider than its window: nobody should have to scroll sideways."""
    wide: int = page.evaluate("() => document.scrollingElement.scrollWidth - window.innerWidth")
    return max(wide, 0)


def until(what: Any, seconds: float = 15.0) -> None:
    """Waits for something to become true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)
