"""Reviewers without screens before a real `tutelage review --web`, and what the ledger says afterwards.

A reviewer does what the page does: signs in by a token, reads the card, posts the answer with the card's key, takes the
next card from the response (or the one that was sent ahead), and repeats a request that was not answered until it is.
The label follows from the card's key, so that each acknowledged answer can be told from any other. Knows no table.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from agent import config as settings
from agent import prompt
from agent.pool import Pool
from agent.review import people
from agent.store import Store
from agent.types import Call, Item, Part

ROOT = Path(__file__).resolve().parent.parent
LABELS = ("billing", "technical", "delivery", "account")
WAIT = 60.0
"""Seconds a reviewer keeps trying before it gives up."""
_KEY = re.compile(r'<section id="card" data-key="([^"]*)"( data-there)?')
_CSRF = re.compile(r'data-csrf="([0-9a-f]+)"')


def furnish(folder: Path, count: int, url: str | None = None) -> Path:
    """A run folder with `count` open questions, a tenth of them audit cards; `url`: of the ledger, if not SQLite."""
    folder.mkdir(parents=True, exist_ok=True)
    ledger = f'[run]\nstore = "{url}"\n' if url else ""
    task = f'[task]\nquestion = "Which team?"\nlabels = {json.dumps(list(LABELS))}\n[pool]\npath = "pool.csv"\n'
    rungs = '[[rung]]\nstudent = "tfidf"\n[[rung]]\noracle = "person"\n'
    (folder / "tutelage.toml").write_text(task + ledger + rungs)
    config = settings.load(folder / "tutelage.toml")
    config.folder.mkdir(exist_ok=True)
    texts = [f"ticket {i}: {hashlib.sha256(str(i).encode()).hexdigest()[:24]}" for i in range(count)]
    items = [Item(f"{i:032x}", (Part("text/plain", text),), None, f"T-{i}") for i, text in enumerate(texts)]
    Pool(config.folder / "pool").append([(item, "pool.csv", i + 2) for i, item in enumerate(items)])
    recipe = prompt.person_recipe(settings.the_task(config))
    with Store.open(config.store_url) as store:
        store.add_items([item.id for item in items], [item.name for item in items], "0")
        calls = [
            Call(
                prompt.key(recipe, item.id, 0), recipe, item.id, "person", turn=1,
                purpose="audit" if i % 10 == 0 else "escalation",
            )
            for i, item in enumerate(items)
        ]  # fmt: skip
        assert len(store.reserve(calls, None)) == count
    return folder


def invite(folder: Path, count: int) -> list[str]:
    """Name `count` reviewers; their tokens."""
    config = settings.load(folder / "tutelage.toml")
    with Store.open(config.store_url) as store:
        return [people.add(store, f"reviewer {i}")[1] for i in range(count)]


@dataclass
class Server:
    """`tutelage review --web` as a process, on one port whatever becomes of it."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[str] | None = None
    kills: int = 0

    @property
    def at(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it listens."""
        words = ["review", "--web", "--no-open", "--json", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent", *words], cwd=self.folder, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        said, stream = "", self.process.stdout
        assert stream is not None
        for line in stream:
            said += line
            if line.rstrip() == "}":
                self.port = int(str(json.loads(said)["url"]).rpartition(":")[2])
                return
        raise RuntimeError(f"tutelage review --web ended with {self.process.wait()}")

    def kill(self) -> None:
        """SIGKILL: nothing is said, nothing is tidied."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=20)
        self.kills += 1

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.communicate(timeout=30)


@dataclass
class Reviewer:
    """One browser without a screen. `took`: seconds from the post of an answer to the next card in the response, of
    those answered at the first try; `saved`: key -> label of what was acknowledged; `tries`: requests repeated."""

    server: Server
    token: str
    pause: float = 0.0
    took: list[float] = field(default_factory=list)
    saved: dict[str, str] = field(default_factory=dict)
    odd: Counter[str] = field(default_factory=Counter)
    tries: int = 0
    cookie: str = ""
    csrf: str = ""
    failed: str = ""
    _line: http.client.HTTPConnection | None = None

    def work(self, most: Callable[[], bool]) -> None:
        """Answer until nothing is left or `most` says so."""
        try:
            self._sign_in()
            card = self._open()
            while card and not most():
                card = self._answer(card)
        except Exception as error:  # noqa: BLE001 - whatever it is, the table tells it
            self.failed = repr(error)
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None

    def _sign_in(self) -> None:
        self._ask("POST", "/login", {"token": self.token}, want=303)

    def _open(self) -> str:
        """The page; the key of the card on it."""
        page = self._ask("GET", "/")[0]
        found = _CSRF.search(page)
        assert found is not None, page[:400]
        self.csrf = found[1]
        return self._key(page)

    def _key(self, page: str) -> str:
        found = _KEY.search(page)
        assert found is not None, page[:400]
        return found[1]

    def _answer(self, key: str) -> str:
        """Send ahead for the next card, answer this one; the key of the next."""
        ahead = self._ask("GET", "/ahead", none=204)[0]
        ready = self._key(ahead) if ahead else ""
        if self.pause:
            time.sleep(self.pause)
        label = label_of(key)
        begun = time.perf_counter()
        page, first = self._ask(
            "POST", "/answer", {"key": key, "label": label, "seconds": "2.50", "ready": ready, "csrf": self.csrf}
        )
        took = time.perf_counter() - begun
        if first:
            self.took.append(took)
        word = re.search(r'<p id="word">(.*?)</p>', page, re.S)
        told = re.sub(r"<.*?>", "", word[1]).strip() if word else ""
        if told.startswith(("Saved", "That card was saved before")):
            self.saved[key] = label
        self.odd[told.partition(":")[0]] += 1
        return self._key(page)

    def _ask(
        self, method: str, path: str, form: Mapping[str, str] | None = None, want: int = 200, none: int = 200
    ) -> tuple[str, bool]:
        """One request, repeated until the server has it; the body, and whether the first try was answered."""
        end, first = time.monotonic() + WAIT, True
        while True:
            try:
                status, body = self._once(method, path, form)
                if status in (want, none):
                    return body, first
                if status not in (429, 500, 502, 503):
                    raise RuntimeError(f"{method} {path}: {status} {body[:200]}")
            except (OSError, http.client.HTTPException):
                status = 0
            if time.monotonic() > end:
                raise RuntimeError(f"{method} {path}: no answer in {WAIT:.0f} s, last {status}")
            first = False
            self._hang_up()
            self.tries += 1
            time.sleep(0.05)

    def _once(self, method: str, path: str, form: Mapping[str, str] | None) -> tuple[int, str]:
        if self._line is None:
            self._line = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        sent = {"Origin": f"http://{self.server.at}", "Cookie": self.cookie}
        if path not in ("/", "/login"):
            sent["HX-Request"] = "true"
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        self._line.request(method, path, urlencode(form) if form is not None else None, sent)
        got = self._line.getresponse()
        body = got.read().decode()
        for name, value in got.getheaders():
            if name.lower() == "set-cookie":
                self.cookie = value.partition(";")[0]
        return got.status, body


def label_of(key: str) -> str:
    """The label that a card gets."""
    return LABELS[hashlib.sha256(key.encode()).digest()[0] % len(LABELS)]


@dataclass(frozen=True)
class Held:
    """Acknowledged answers against the ledger. lost: acknowledged, and not there, or with another label; doubled: more
    than one answer to a question or to an item; seconds: from the first request to the last."""

    acknowledged: int
    lost: int
    doubled: int
    in_ledger: int
    repeated: int
    seconds: float
    kills: int
    odd: Mapping[str, int]
    failed: tuple[str, ...]
    took: tuple[float, ...]

    def at(self, share: float) -> float:
        """The share-th quantile of the latency, milliseconds."""
        ranked = sorted(self.took)
        return 1000 * ranked[min(int(share * len(ranked)), len(ranked) - 1)] if ranked else 0.0


def load(folder: Path, tokens: list[str], answers: int, kills: int = 0, pause: float = 0.0) -> Held:
    """Let one reviewer a token answer, all at once, until `answers` are acknowledged; the server is killed and started
    again on its port `kills` times, evenly over the answers. Then everything acknowledged is looked up."""
    server = Server(folder)
    server.start()
    reviewers = [Reviewer(server, token, pause) for token in tokens]

    def count() -> int:
        return sum(len(one.saved) for one in reviewers)

    threads = [threading.Thread(target=one.work, args=(lambda: count() >= answers,)) for one in reviewers]
    begun = time.perf_counter()
    try:
        for thread in threads:
            thread.start()
        for number in range(kills):
            due = answers * (number + 1) // (kills + 1)
            while count() < due and any(thread.is_alive() for thread in threads):
                time.sleep(0.01)
            server.kill()
            server.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - begun
    finally:
        server.end()
    return _compared(folder, reviewers, seconds, server.kills)


def _compared(folder: Path, reviewers: list[Reviewer], seconds: float, kills: int) -> Held:
    config = settings.load(folder / "tutelage.toml")
    with Store.open(config.store_url) as store:
        rows = [(call, answer) for _, call, answer in store.answers_since(0)]
    text = {call.key: answer.text for call, answer in rows}
    by_key, by_item = Counter(call.key for call, _ in rows), Counter(call.item for call, _ in rows)
    saved = [pair for one in reviewers for pair in one.saved.items()]
    twice = Counter(key for key, _ in saved)
    return Held(
        acknowledged=len(saved),
        lost=sum(text.get(key) != label for key, label in saved),
        doubled=sum(
            count - 1 for counts in (by_key, by_item, twice) for count in counts.values()
        ),
        in_ledger=len(rows),
        repeated=sum(one.tries for one in reviewers),
        seconds=seconds,
        kills=kills,
        odd=dict(sum((one.odd for one in reviewers), Counter())),
        failed=tuple(one.failed for one in reviewers if one.failed),
        took=tuple(took for one in reviewers for took in one.took),
    )  # fmt: skip
