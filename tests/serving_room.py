"""What the tests of serving share: small saved models, a slow one, a server in a thread, one in a process, a client."""

from __future__ import annotations

import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent import drift, plugins, serve
from agent.types import Context, Floats, Item, Layout, Part, Task

TESTS = Path(__file__).resolve().parent
SINGLE = Task("t", "single", {"good": "", "bad": "", "so so": ""}, "Is it kind?")
MULTI = Task("t", "multi", {"rude": "", "toxic": "", "spam": ""})
WORDS = {
    "good": "lovely kind warm thanks",
    "bad": "awful cruel cold liar",
    "so so": "fair enough middling plain",
    "rude": "idiot shut fool",
    "toxic": "poison hate vile",
    "spam": "buy offer cheap click",
}


def items(texts: Sequence[str]) -> list[Item]:
    return [Item(str(i), (Part("text/plain", text),)) for i, text in enumerate(texts)]


def saved(task: Task, folder: Path) -> Path:
    """A tf-idf student taught 120 made-up texts, with its reference."""
    rng = random.Random(0)
    layout = plugins.load("kinds", task.kind).choices(task)
    made = [rng.choice(list(task.labels)) for _ in range(120)]
    texts = [" ".join(rng.choices(WORDS[name].split(), k=4)) + f" number {i}" for i, name in enumerate(made)]
    targets = np.zeros((120, layout.width), dtype=np.float32)
    for i, name in enumerate(made):
        for atom, choices, s in zip(layout.atoms, layout.choices, layout.slices, strict=True):
            targets[i, s.start + choices.index(("no", "yes")[atom == name] if task.kind == "multi" else name)] = 1
    module = plugins.load("students", "tfidf")
    student = module.build(module.Settings(l2=0.001), Context(task, layout))
    features = student.features(items(texts))
    student.fit(features, targets, np.ones(120, dtype=np.float32))
    student.save(str(folder))
    found = drift.reference(features, student.predict(features), layout)
    assert found is not None
    drift.write(found, folder)
    return folder


class Slow:
    """A student that thinks .4 s about a text that says so, cannot take another, and says "good" of every other."""

    def __init__(self) -> None:
        self.layout = Layout(("label",), (tuple(SINGLE.labels),))
        self.labels = dict(SINGLE.labels)
        self.batches: list[int] = []
        self.broken = False

    def features(self, items: Sequence[Item]) -> Any:
        texts = [item.text for item in items]
        self.batches.append(len(texts))
        if self.broken or any("SENTINEL bomb" in text for text in texts):
            raise RuntimeError(f"cannot take {texts}")
        if any("slow" in text for text in texts):
            time.sleep(0.4)
        return np.zeros((len(texts), 2), dtype=np.float32)

    def predict(self, features: Any) -> Floats:
        return np.tile(np.array([0.7, 0.2, 0.1], dtype=np.float32), (len(features), 1))


class Plug:
    """The plug-in `slow`."""

    @staticmethod
    def load_from(folder: str) -> Slow:
        return Slow()


slow = Plug()


def slow_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of the student `slow`, an entry point of a package that is installed for this test."""
    package = folder / "slow-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[tutelage.students]\nslow = serving_room:slow\n")
    monkeypatch.syspath_prepend(str(folder))
    (folder / "student.json").write_text(json.dumps({"student": "slow"}))
    return folder


@contextmanager
def serving(service: serve.Service) -> Iterator[str]:
    """A server in a thread; gives its address."""
    listener = serve.bind("127.0.0.1", 0)
    thread = threading.Thread(target=serve.run, args=(service, listener))
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        service.stop()
        thread.join(20)


def started(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> tuple[subprocess.Popen[str], str]:
    """`tutelage serve` as a process, ready; its address."""
    places = os.pathsep.join([str(TESTS.parent), str(TESTS), str(folder)])
    process = subprocess.Popen(
        [sys.executable, "-m", "agent", "serve", "--model", str(folder), "--port", "0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": places} | dict(env or {}),
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip().removeprefix("http://")


def call(at: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
    """(status, JSON or text, headers) of one request; a body makes it a POST, bytes are sent as they are."""
    client = http.client.HTTPConnection(at, timeout=20)
    try:
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        client.request("GET" if body is None else "POST", path, sent, headers)
        got = client.getresponse()
        raw = got.read()
        form = got.getheader("content-type") or ""
        return got.status, json.loads(raw) if "json" in form else raw.decode(), dict(got.getheaders())
    finally:
        client.close()


def wait_ready(at: str) -> None:
    for _ in range(400):
        try:
            if call(at, "/health")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise AssertionError("the server did not become ready")
