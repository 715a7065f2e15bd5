"""`tutelage init --example`: a pool to try things on, made anew the same."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from agent.cli import example
from tests.cli_room import call, good


def test_the_example_is_a_pool_and_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert good("init", "--example")["items"] == 600
    with open(tmp_path / "tickets.csv", newline="", encoding="utf-8") as file:
        written = [(row["id"], row["text"]) for row in csv.DictReader(file)]
    made = example.rows()
    assert written == [(own, text) for own, text, _ in made]
    assert len({text for _, text, _ in made}) == 600
    assert Counter(label for *_, label in made) == dict.fromkeys(example.labels(), 150)
    assert sum(not text.isascii() for _, text, _ in made) == 48  # right to left, and Chinese
    assert 'billing" = "money' in (tmp_path / "tutelage.toml").read_text()


def test_the_example_overwrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tickets.csv").write_text("mine")
    done = call("init", "--example")
    assert done.exit_code == 2 and "is there already" in done.output
    assert (tmp_path / "tickets.csv").read_text() == "mine"
    assert not (tmp_path / "tutelage.toml").exists()
    done = call("init", "--example", "other.csv")
    assert done.exit_code == 2 and "leave out FILE" in done.output
