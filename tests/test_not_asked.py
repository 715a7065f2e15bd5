"""What is said of items that nobody was asked about, or was asked about in vain: never that they have an answer."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from cli_room import call, good, read
from servers.faulty import Faulty

from agent.report.page import cell

MANY = 40

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


def ready(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
    monkeypatch.chdir(folder)
    with open("mail.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["body"])
        writer.writerows([f"[[{i} {'billing' if i % 2 else 'technical'}]]"] for i in range(MANY))
    Path("tutelage.toml").write_text(LADDER.format(url=url) + more)


def exported() -> list[dict[str, str]]:
    assert call("export", "labels", "out.csv").exit_code == 0
    return read("out.csv")


def test_an_item_never_asked_about_has_no_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Faulty("ok") as server:
        ready(tmp_path, server.url, monkeypatch)
        done = call("run", "--budget-calls", "0")
        assert done.exit_code == 3 and "unsure" not in done.stdout, done.output
        assert "not asked, no label" in done.stdout and server.total == 0
        rows = exported()
        assert {(row["status"], row["label"], row["probability"], row["by"]) for row in rows} == {
            ("not asked", "", "", "nobody")
        }
        found = good("status")
        assert (found["not_asked"], found["unsure"], found["waiting"], found["open"]) == (MANY, 0, 0, 0)
        page = Path("tutelage-run/report.md").read_text()
        assert f"| Not asked: no label | {MANY} |" in page and "| Unsure: best guess given | 0 |" in page
        assert found["next"][0].startswith("tutelage run")
        good("run")
        assert {row["status"] for row in exported()} == {"accepted"} and good("status")["not_asked"] == 0


def test_who_was_asked_in_vain_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Faulty("413", share=0.2) as server:
        ready(tmp_path, server.url, monkeypatch)
        done = call("run")
        rows = exported()
    lost = [row for row in rows if row["by"] == "nobody"]
    assert lost and all(row["flags"].startswith("no answer: ") and "413" in row["flags"] for row in lost)
    assert {row["flags"] for row in rows if row["by"] != "nobody"} == {""}, "no flag is an empty cell"
    counted = good("status")["no_answer"]
    assert counted == dict(Counter(row["flags"].removeprefix("no answer: ") for row in lost))
    for reason, count in counted.items():
        (line,) = [line for line in done.stdout.splitlines() if reason in line]
        assert str(count) in line
        assert f"no answer: {cell(reason)} | {count} |" in Path("tutelage-run/report.md").read_text()
    found = good("status")
    assert found["items"] == sum(found["accepted"].values()) + found["unsure"] + found["not_asked"] == MANY


def test_after_a_pause_only_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = '[[rung]]\noracle = "person"\n'
    with Faulty("quota429") as server:
        ready(tmp_path, server.url, monkeypatch, people)
        assert good("run", code=3)["next"] == good("status")["next"] == ["tutelage run"]


def test_as_many_wait_for_people_as_have_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = '[[rung]]\noracle = "person"\n[goal]\nperson_minutes = 1\n'
    with Faulty("ok") as server:
        ready(tmp_path, server.url, monkeypatch, people)
        done = call("run", "--set", "rung.0.bar=0.9999999")
        assert done.exit_code == 4, done.output
    waiting = good("status")["waiting"]
    told = [line for line in done.stderr.splitlines() if "for people" in line]
    assert waiting <= sum(good("status")["questions_to_people"].values())
    assert all(int(line.partition(" wait")[0].rpartition(" ")[2]) <= waiting for line in told)
    assert all("asked" not in row["why"] or "not asked" in row["status"] for row in exported())
