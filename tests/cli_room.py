"""The ground the tests of the command line stand on: a pool, a ladder of fast plug-ins, ways to call a verb."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agent.cli import main

ROOT = Path(__file__).resolve().parent.parent
WORDS = {
    "billing": ["refund", "invoice", "charge", "card", "payment"],
    "technical": ["crash", "error", "bug", "freeze"],
}

LADDER = """
[task]
labels = { billing = "money", technical = "faults" }
[pool]
path = "mail.csv"
text = "body"
id = "id"
gold = "label"
[goal]
accuracy = 0.97
delta = 0.1
person_minutes = 5
pilot = 12
audit = 15
[[rung]]
student = "tfidf"
[[rung]]
oracle = "scripted"
accuracy = 0.9
[[rung]]
oracle = "person"
"""


def with_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pool of 60 rows, which is the current one."""
    monkeypatch.chdir(tmp_path)
    rng = random.Random(1)
    with open("mail.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "body", "label"])
        for i in range(60):
            label = list(WORDS)[i % 2]
            writer.writerow([f"m{i}", " ".join([*rng.choices(WORDS[label], k=3), f"number {i}"]), label])
    return tmp_path


def with_ladder(here: Path) -> Path:
    """The same with a tutelage.toml of fast plug-ins."""
    (here / "tutelage.toml").write_text(LADDER)
    return here


def call(*words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(main, list(words), prog_name="tutelage", input=typed)


def good(*words: str, code: int = 0) -> dict[str, Any]:
    """The JSON that a verb prints on stdout; nothing else may stand there."""
    done = call(*words, "--json")
    assert done.exit_code == code, done.output
    body: dict[str, Any] = json.loads(done.stdout)
    assert body["tutelage"] == 1
    return body


def child(*words: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent", *words],
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        env=surroundings(),
    )


def surroundings() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def read(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))
