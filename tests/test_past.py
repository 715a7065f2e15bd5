"""What a changed set-up does to answers that were paid for: kept where it cannot change them, said where it does."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_room import call, good
from servers.faulty import Faulty

MANY = 12

LADDER = """
[task]
labels = {{ billing = "money", technical = "faults" }}
[pool]
path = "mail.csv"
text = "body"
[[rung]]
oracle = "openai"
model = "tiny"
base_url = "{url}"
bar = 0.5
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    """A server, and a run at it that is done."""
    monkeypatch.chdir(tmp_path)
    with open("mail.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["body"])
        writer.writerows([f"[[{i} {'billing' if i % 2 else 'technical'}]]"] for i in range(MANY))
    with Faulty("ok") as at:
        (tmp_path / "tutelage.toml").write_text(LADDER.format(url=at.url))
        good("run")
        yield at


@pytest.mark.parametrize("change", ["name=large", "max_tokens=32", "logprobs=yes"])
def test_what_cannot_change_an_answer_asks_nothing_again(server: Faulty, change: str) -> None:
    before = server.total
    again = call("run", "--set", f"rung.0.{change}")
    assert again.exit_code == 0 and server.total == before, again.output
    assert "other settings" not in again.stderr
    (said,) = [line for line in again.stdout.splitlines() if line.startswith("accepted, by")]
    assert f"{MANY}" in said


def test_answers_under_other_settings_are_counted_aloud(server: Faulty) -> None:
    before, change = server.total, ("--set", "rung.0.revision=new", "--set", "rung.0.name=large")
    words = f"{MANY} answers of the ledger were asked under other settings than today's and not used (openai {MANY})"
    planned = call("plan", *change)
    assert planned.exit_code == 0 and words in planned.stdout and server.total == before
    assert words in call("run", *change).stderr and server.total > before
    assert words not in call("plan", "--set", "rung.0.name=large").stdout


def test_two_rungs_alike_are_two_annotators(server: Faulty, tmp_path: Path) -> None:
    path = tmp_path / "tutelage.toml"
    rung = path.read_text().partition("[[rung]]")[2]
    sure = path.read_text().replace("bar = 0.5", "bar = 0.9999999")
    path.write_text(f"{sure}\n[[rung]]\nname = 'second'{rung}\n")
    before = server.total
    good("run")
    assert server.total >= before + MANY, "the second was asked, the first was not"
    answers = good("status")["annotators"]
    assert answers["openai"]["answers"] == answers["second"]["answers"] == MANY
