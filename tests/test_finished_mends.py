"""`tutelage certify FILE` where something goes otherwise: answers taken back, strange columns, forgeries."""

from __future__ import annotations

import csv
import json
import random
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cli_room import call, good, read

from agent import config as settings
from agent.claim.finished.folder import opened
from agent.review import Desk, Queue

TRUTH = ["--gold-by", "column:truth"]


def rows_of(n: int, wrong: float, seed: int = 1, sure: float = 0.97) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for i in range(n):
        truth = rng.choice("ab")
        label = "ba"["ab".index(truth)] if rng.random() < wrong else truth
        rows.append({"id": f"i{i}", "text": f"text {i}", "label": label, "confidence": sure, "truth": truth})
    return rows


def write(rows: Sequence[dict[str, Any]], path: str = "labels.csv", encoding: str = "utf-8") -> list[dict[str, Any]]:
    with open(path, "w", newline="", encoding=encoding) as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return list(rows)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def people(rows: Sequence[dict[str, Any]], undo: bool = False) -> int:
    """People answer all that is open; the first answer is taken back and given once more where they undo."""
    said = {row["text"]: str(row["truth"]) for row in rows}
    with opened("labels.csv") as room:
        task, kind = settings.the_task(room.config), settings.kind(room.config)
        desk, count = Desk(Queue(room.store, room.pool, task, kind, 0), "ann"), 0
        card = desk.next_card()
        while card is not None:
            count += desk.answer(card.key, said[card.item.parts[0].data]).status == "saved"
            card = desk.undo() if undo else desk.next_card()
            undo = False
        return count


@pytest.mark.parametrize("left", ["open", "people"])
def test_an_answer_that_is_taken_back_and_given_again_stalls_nothing(left: str) -> None:
    rows = write(rows_of(300, 0.02))
    body = good("certify", "labels.csv", "--target", "0.9", "--left", left, code=4)
    for _ in range(12):
        if body["met"]:
            break
        people(rows, undo=body["answered"] == 0)
        body = json.loads(call("certify", "labels.csv", "--json").stdout)
    assert body["met"] and good("certify", "labels.csv", "--verify")["verified"]


def test_a_question_that_was_withdrawn_is_put_anew() -> None:
    rows = write(rows_of(200, 0.0))
    good("certify", "labels.csv", "--target", "0.9", code=4)
    write([{**row, "label": "a"} for row in rows])
    good("certify", "labels.csv", "--again", code=4)
    write(rows)
    back = good("certify", "labels.csv", "--again", code=4)
    assert back["open"] == 50 and people(rows) == 50, "those of the first look were withdrawn"


def test_many_recorded_answers_are_put_in_growing_batches_and_say_what_one_reading_says() -> None:
    rows = write(rows_of(900, 0.12))
    body = good("certify", "labels.csv", *TRUTH, "--target", "0.95")
    assert body["certificate"]["audited"] > 600 and good("certify", "labels.csv", "--verify")["verified"]
    wrong = sum(row["label"] != row["truth"] for row in rows)
    assert wrong - len(body["corrections"]) <= 45
    with sqlite3.connect("labels-certify/ledger.db") as ledger:
        (answered,) = ledger.execute("SELECT count(*) FROM answers").fetchone()
        said = {row["text"] for row in rows if row["label"] != row["truth"]}
        assert answered >= body["certificate"]["audited"] and len(body["corrections"]) <= len(said)
    assert len(read("labels-certify/corrections.csv")) == len(body["corrections"]), "also what is behind the last one"


def test_all_wrong_labels_a_class_counts_as_mended_are_listed() -> None:
    rows = rows_of(1000, 0.0)
    for i, row in enumerate(rows):
        row["label"] = row["truth"] = "b" if i % 10 else "a"
        row["truth"] = "b" if i % 40 == 0 else row["truth"]
    write(rows)
    done = call("certify", "labels.csv", *TRUTH, "--class", "a", "--json")
    body = json.loads(done.stdout)
    (row,) = body["certificate"]["classes"]
    listed = [line for line in read("labels-certify/corrections.csv") if line["label"] == "a"]
    assert row["certified"] and row["wrong"] == len(listed) > body["certificate"]["wrong"], "25 of 100 were wrong"
    assert sum(r["label"] == "a" != r["truth"] for r in rows) - len(listed) <= row["wrong_at_most"] <= 5
    assert "mended" in call("certify", "labels.csv").stdout.partition("Classes")[2]


@pytest.mark.parametrize("test", [["--test", "exact", "--audit", "150"], ["--test", "anytime"]])
def test_labels_that_are_worse_than_they_say_raise_the_alarm_in_either_test(test: list[str]) -> None:
    write(rows_of(300, 0.3, sure=0.99))
    body = json.loads(call("certify", "labels.csv", *TRUTH, "--target", "0.9", *test, "--json").stdout)
    assert body["drift"]["alarm"]
    told = call("certify", "labels.csv").stdout
    assert "Alarm" in told and "more than 1,000,000 : 1" in told


def test_what_nobody_can_tell_is_no_sign_of_drift() -> None:
    rows = rows_of(200, 0.0)
    for row in rows[::2]:
        row["truth"] = ""
    write(rows)
    body = good("certify", "labels.csv", *TRUTH, code=5)
    assert body["not_told"] == 100 and not body["drift"]["alarm"]


def test_another_look_at_the_same_file_keeps_the_seed_and_draws_anew() -> None:
    write(rows_of(200, 0.0))
    first = good("certify", "labels.csv", code=4)["commitment"]
    refused = call("certify", "labels.csv", "--again", "--target", "0.9", "--seed", "3")
    assert refused.exit_code == 2 and "keeps seed 0" in refused.stderr
    second = good("certify", "labels.csv", "--again", "--target", "0.9", "--test", "exact", code=4)["commitment"]
    third = good("certify", "labels.csv", "--again", "--target", "0.8", code=4)["commitment"]
    assert len({c["order_sha256"] for c in (first, second, third)}) == 3


@pytest.mark.parametrize("other", [["--delta", "0.2"], ["--target", "0.8"], ["--test", "exact"]])
def test_a_block_has_the_terms_of_its_stream(other: list[str]) -> None:
    write(rows_of(60, 0.0), "week1.csv")
    write(rows_of(60, 0.0, seed=2), "week2.csv")
    good("certify", "week1.csv", "--target", "0.9", code=4)
    refused = call("certify", "week2.csv", "--after", "week1.csv", *other)
    assert refused.exit_code == 2 and f"{other[0]} {other[1]}: all blocks after week1.csv have" in refused.stderr
    assert not Path("week2-certify").exists()
    assert good("certify", "week2.csv", "--after", "week1.csv", "--target", "0.9", code=4)["block"] == 2


def test_a_truth_with_a_label_of_its_own_finds_wrong_labels() -> None:
    rows = rows_of(200, 0.0)
    for row in rows[::20]:
        row["truth"] = "third"
    write(rows)
    body = good("certify", "labels.csv", *TRUTH, "--target", "0.9")
    assert body["not_told"] == 0 and set(body["corrections"].values()) <= {"third"} and body["corrections"]
    assert good("certify", "labels.csv", "--verify")["verified"]


def test_people_and_recordings_are_not_mixed() -> None:
    rows = write(rows_of(200, 0.0))
    good("certify", "labels.csv", code=4)
    people(rows)
    refused = call("certify", "labels.csv", *TRUTH)
    assert refused.exit_code == 2 and "people answered already" in refused.stderr


@pytest.mark.parametrize(
    ("columns", "words", "said"),
    [
        ({}, ["--gold-by", "column:label"], "these are the labels themselves"),
        ({}, ["--gold-by", "robots"], "--gold-by takes people, column:NAME, or a file"),
        ({}, ["--gold-by", "votes.csv"], "no id of votes.csv is an id of labels.csv"),
        ({}, ["--id", "label"], "ids must differ"),
        ({}, ["--label", "nope"], "has no column 'nope' (--label)"),
        ({"confidence": 97}, [], "divide percentages by 100"),
        ({}, ["--class", "praise"], "no row of labels.csv has this label"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_no_folder(
    columns: dict[str, Any], words: list[str], said: str
) -> None:
    write([{**row, **columns} for row in rows_of(60, 0.0)])
    write([{"id": "other", "annotator": "ann", "label": "a"}], "votes.csv")
    done = call("certify", "labels.csv", *words)
    assert done.exit_code == 2 and said in done.stderr, done.stderr
    assert not Path("labels-certify").exists()


def test_bytes_that_are_no_utf8_are_named_before_anything_begins() -> None:
    rows = rows_of(60, 0.0)
    rows[4]["text"] = "caff\u00e8"
    write(rows, encoding="latin-1")
    done = call("certify", "labels.csv")
    assert done.exit_code == 2 and "row 5" in done.stderr and "save the file as UTF-8" in done.stderr
    assert not Path("labels-certify").exists()
    Path("labels.csv").write_text("")
    assert "is empty" in call("certify", "labels.csv").stderr


def test_two_files_of_one_name_do_not_share_a_folder() -> None:
    rows = write(rows_of(60, 0.0))
    good("certify", "labels.csv", code=4)
    Path("labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused = call("certify", "labels.jsonl")
    assert refused.exit_code == 2 and "is the audit of labels.csv, not of labels.jsonl" in refused.stderr


@pytest.mark.parametrize(
    "change",
    [
        lambda body: {**body, "extra": {**body["extra"], "people_are": "ada, ben"}},
        lambda body: {**body, "extra": {**body["extra"], "mended": 0}},
        lambda body: {**body, "extra": {k: v for k, v in body["extra"].items() if k != "heard"}},
        lambda body: {**body, "extra": {**body["extra"], "drift": {**body["extra"]["drift"], "evidence": 1.0}}},
        lambda body: {**body, "sentence": "99.9 % are right"},
    ],
)
def test_no_word_of_a_certificate_can_be_changed(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    write(rows_of(200, 0.02))
    good("certify", "labels.csv", *TRUTH, "--target", "0.9")
    file = Path("labels-certify/certificate.json")
    assert good("certify", "labels.csv", "--verify")["verified"]
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    done = call("certify", "labels.csv", "--verify")
    assert done.exit_code == 1 and "does not hold" in done.stderr


def test_clusters_are_called_so() -> None:
    rows = rows_of(240, 0.0)
    for i, row in enumerate(rows):
        row["doc"] = f"doc{i // 4}"
    write(rows)
    first = call("certify", "labels.csv", "--cluster", "doc", "--target", "0.9").stdout
    assert "Clusters, of 4 rows on average, that will be asked about" in first
    done = call("certify", "labels.csv", *TRUTH).stdout
    assert "clusters drawn at random" in done
