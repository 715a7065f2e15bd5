"""`tutelage suspects`: likely wrong labels first, people's own too; what is put to people changes no old claim."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from cli_room import LADDER, call, good, read, with_pool

SLIPS = (2, 9, 16, 23, 30, 37)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run in which people gave the wrong label of six texts; all others are plain."""
    here = with_pool(tmp_path, monkeypatch)
    other = {"billing": "technical", "technical": "billing"}
    with open("people.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "annotator", "label"])
        for i, row in enumerate(read("mail.csv")):
            writer.writerow([row["id"], "ann", other[row["label"]] if i in SLIPS else row["label"]])
    words = LADDER.replace("person_minutes = 5", "person_minutes = 6").replace("pilot = 12", "pilot = 36")
    words = words.replace("audit = 15", "audit = 6")
    (here / "tutelage.toml").write_text(words)
    good("run", "--people", "people.csv")
    return here


def test_people_who_slipped_stand_before_all_others(run: Path) -> None:
    found = good("suspects", "--of", "people", "--top", "60")["suspects"]
    slipped = {f"m{i}" for i in SLIPS} & {one["id"] for one in found}
    assert len(slipped) >= 3, "the pilot holds 36 of 60 items, so about four of the six"
    assert {one["id"] for one in found[: len(slipped)]} == slipped
    assert all(one["by"] == "person" and one["rather"] != one["label"] for one in found)
    chances = [one["chance_wrong"] for one in found]
    assert chances == sorted(chances, reverse=True)


def test_audited_labels_are_judged_by_what_machines_say_alone(run: Path) -> None:
    body = good("suspects", "--of", "machines", "--top", "60")
    assert 0 < len(body["suspects"]) <= body["labels"], "what was audited is known already"
    assert all(one["by"] != "person" for one in body["suspects"])


def test_what_is_put_to_people_is_a_question_and_leaves_the_old_certificate_as_it_was(run: Path) -> None:
    assert call("certify").exit_code == 5
    before = good("status")
    put = good("suspects", "--ask", "3", "--of", "people")["put_to_people"]
    assert put["machine_labels"] == 0 and put["people_labels_again"] == 3
    assert put["minutes"] > 0
    again = good("suspects", "--ask", "3", "--of", "people")["put_to_people"]
    assert again["people_labels_again"] == 0, "what waits already is not put twice"
    assert good("status") != before
    assert good("certify", "--verify")["verified"]
    good("run", "--people", "people.csv")
    assert call("status").output.count("open") == 0
    good("certify", code=5)
    assert good("certify", "--verify")["verified"]


def test_without_a_run_it_says_what_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = with_pool(tmp_path, monkeypatch)
    (here / "tutelage.toml").write_text(LADDER)
    done = call("suspects")
    assert done.exit_code == 2
    assert "begin with  tutelage run" in done.output


def test_nobody_is_asked_where_nobody_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = with_pool(tmp_path, monkeypatch)
    words = LADDER.replace('[[rung]]\noracle = "person"\n', "")
    (here / "tutelage.toml").write_text(words.replace("person_minutes = 5\npilot = 12\naudit = 15\n", ""))
    good("run")
    assert good("suspects", "--top", "3")["suspects"]
    refused = call("suspects", "--ask", "3")
    assert refused.exit_code == 2
    assert 'oracle = "person"' in refused.output
