"""`tutelage certify FILE --left people`: the walk, then the rest; by the command itself, and its law."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_room import call, good, read, surroundings, with_ladder, with_pool
from file_room import write

from agent.claim import finished
from agent.data import Wanted, whole

LABELS = ["billing", "technical", "other"]
TOML = "labels-certify/tutelage.toml"
WALK = ["--left", "people", "--target", "0.9"]


def rows_of(n: int, seed: int = 1) -> list[dict[str, Any]]:
    """n rows, as often right as their confidence says; too many are wrong to be certified as they are."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for i in range(n):
        truth, sure = rng.choice(LABELS), round(0.4 + 0.6 * rng.random() ** 0.5, 2)
        label = truth if rng.random() < sure else rng.choice([name for name in LABELS if name != truth])
        row = {"id": f"a{i}", "text": f"message {i} on {truth}", "label": label, "confidence": sure, "truth": truth}
        rows.append(row)
    return rows


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(rows: Sequence[dict[str, Any]], unsure: int = 0, leave: int = 0) -> int:
    """People answer what is open, by sheet: the first `unsure` they cannot tell, the last `leave` they leave out."""
    Path("questions.csv").unlink(missing_ok=True)
    good("review", "-c", TOML, "--export", "questions.csv")
    by_text = {row["text"]: row["truth"] for row in rows}
    sheet = read("questions.csv")
    for k, row in enumerate(sheet):
        row["label"] = "?" if k < unsure else by_text[row["text"]] if k < len(sheet) - leave else ""
    write(sheet, "questions.csv")
    return int(good("review", "-c", TOML, "--import", "questions.csv", "--who", "ada")["taken"])


def delivered(path: str = "labels-certify/labels.csv") -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist() if path.endswith(".parquet") else read(path)


def certified(row: dict[str, Any]) -> bool:
    return str(row["certified"]) == "True"


def test_people_walk_and_then_label_the_rest_until_all_labels_are_certified(here: Path) -> None:
    rows = write(rows_of(600))
    first = good("certify", "labels.csv", "--id", "id", *WALK, code=4)
    half, most = first["expected"]["as the confidences say"]
    assert 0 < half <= most < 600 and first["open"] > 20 and first["certificate"] is None
    with sqlite3.connect("labels-certify/ledger.db") as ledger:
        ((kept,),) = ledger.execute("SELECT body FROM commitments")
    assert json.loads(kept) == first["commitment"], "the promise is in the ledger before there is an answer"
    before, body = -1, first
    for _ in range(30):
        if body["walk"]["ended"]:
            break
        assert body["walk"]["stands"] > before, "the walk goes on with every batch that is answered"
        before = body["walk"]["stands"]
        assert answer(rows, leave=1) == body["open"] - 1
        gap = good("certify", "labels.csv", code=4)
        assert gap["walk"]["stands"] >= before and not gap["walk"]["ended"], "an open answer is not passed"
        answer(rows)
        body = good("certify", "labels.csv", code=4)
    left = body["walk"]["left_open"]
    assert body["certificate"] and not body["met"] and left > 50
    assert f"have labeled the other {left}" in body["claim"]
    assert body["minutes_left"] == pytest.approx(left * body["seconds_each"] / 60, abs=0.1)
    assert good("certify", "labels.csv", "--verify")["verified"], "the walk by itself has a certificate"
    wrong = sum(d["label"] != r["truth"] for d, r in zip(delivered(), rows, strict=True) if certified(d))
    assert wrong <= body["walk"]["wrong_at_most"] and sum(map(certified, delivered())) == 600 - left
    answer(rows)
    body = good("certify", "labels.csv")
    made, out = body["certificate"], delivered()
    assert body["met"] and body["open"] == 0 and made["wrong_at_most"] <= first["allowed"] == 60
    assert [d["id"] for d in out] == [r["id"] for r in rows] and [d["text"] for d in out] == [r["text"] for r in rows]
    assert sum(d["by"] == "person" for d in out) == made["people"] == made["accepted"]["people"] == body["answered"]
    assert sum(d["by"] == "machine" and certified(d) for d in out) == made["accepted"]["machine"]
    assert all(d["label"] == r["truth"] for d, r in zip(out, rows, strict=True) if d["by"] == "person")
    assert all(d["label"] == r["label"] for d, r in zip(out, rows, strict=True) if d["by"] == "machine")
    assert sum(d["label"] != r["truth"] for d, r in zip(out, rows, strict=True)) <= 60
    assert made["truth"] == "ada" and good("certify", "labels.csv", "--verify")["verified"]
    assert good("certify", "labels.csv")["certificate"] == made, "looking again changes nothing"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_recorded_answers_take_about_what_was_forecast(here: Path, ending: str) -> None:
    rows = write(rows_of(900, seed=2), f"labels.{ending}")
    half, most = good("certify", f"labels.{ending}", *WALK, code=4)["expected"]["as the confidences say"]
    done = good("certify", f"labels.{ending}", "--gold-by", "column:truth")
    # Half and nine tenths of walks are that far apart; twice that beyond is some 4 standard deviations.
    assert half - 3 * (most - half) - 20 < done["answered"] < most + 2 * (most - half) + 20
    assert "simulated from column truth" in done["claim"] and done["labels"] == f"labels-certify/labels.{ending}"
    out = delivered(done["labels"])
    assert sum(d["label"] != r["truth"] for d, r in zip(out, rows, strict=True)) <= 90
    assert all(map(certified, out)) and good("certify", f"labels.{ending}", "--verify")["verified"]


def test_what_nobody_can_tell_is_an_error_found_and_asked_once_more(here: Path) -> None:
    rows = write(rows_of(300))
    good("certify", "labels.csv", *WALK, code=4)
    answer(rows, unsure=4)
    body = good("certify", "labels.csv", code=4)
    assert body["not_told"] >= 1 and body["wrong"] >= body["not_told"]
    while not body["met"]:
        answer(rows)
        body = json.loads(call("certify", "labels.csv", "--json").stdout)
    assert body["walk"]["left_open"] == 0 and body["not_told"] >= 1, (
        "the second try gave each a label; the walk forgot none"
    )
    with sqlite3.connect("labels-certify/ledger.db") as ledger:
        again = ledger.execute("SELECT count(*) FROM calls WHERE sample = 1 AND purpose = 'escalation'").fetchone()
    assert again == (4,) and good("certify", "labels.csv", "--verify")["verified"]


def test_rows_that_nobody_ever_labels_count_as_wrong(here: Path) -> None:
    rows = rows_of(300)
    for row in sorted(rows, key=lambda row: row["confidence"])[:20]:
        row["truth"] = ""
    write(rows)
    body = good("certify", "labels.csv", "--gold-by", "column:truth", *WALK, code=5)
    assert body["walk"]["left_open"] == 20 and body["wrong_at_most"] == body["walk"]["wrong_at_most"] + 20
    assert "20 that no person labeled count as wrong" in body["claim"] and "is not met" in body["claim"]
    assert sum(not certified(d) for d in delivered()) == 20
    assert good("certify", "labels.csv", "--verify")["verified"]


def test_without_confidences_and_with_hardly_an_error_allowed(here: Path) -> None:
    rows = write(rows_of(200))
    first = good("certify", "labels.csv", "--left", "people", "--confidence", "none", "--target", "0.995", code=4)
    shutil.rmtree("labels-certify")
    more = good("certify", "labels.csv", "--left", "people", "--confidence", "none", code=4)["expected"]
    assert list(more) == ["7.5 % of them", "10 % of them", "20 % of them"]
    half, twice, four = (pair[0] for pair in more.values())
    assert half < twice < four < 200
    shutil.rmtree("labels-certify")
    assert first["walk"]["prefix"] == 1 and first["walk"]["ended"], (
        "no walk pays: one row may be wrong, 199 are people's"
    )
    done = good("certify", "labels.csv", "--left", "people", "--confidence", "none", "--target", "0.995",
                "--gold-by", "column:truth")  # fmt: skip
    assert done["answered"] == 199 and sum(d["by"] == "machine" for d in delivered()) == 1 and len(rows) == 200


def test_a_walk_may_be_left_where_it_stands(here: Path) -> None:
    rows = write(rows_of(400))
    good("certify", "labels.csv", *WALK, code=4)
    answer(rows, leave=10)
    stands = good("certify", "labels.csv", code=4)["walk"]["stands"]
    body = good("certify", "labels.csv", "--now", code=4)
    assert body["walk"]["ended"] and body["walk"]["prefix"] >= stands and body["certificate"]["extra"]["early"]
    assert good("certify", "labels.csv", "--verify")["verified"]
    assert not good("certify", "labels.csv", code=4)["walk"]["ended"], "and goes on when it is asked to"


def test_a_file_that_was_not_certified_is_walked_at_a_smaller_risk_and_keeps_its_answers(here: Path) -> None:
    rows = write(rows_of(300))
    good("certify", "labels.csv", "--target", "0.9", code=4)
    answer(rows)
    refused = call("certify", "labels.csv", "--left", "people")
    assert refused.exit_code == 2 and "committed to open" in refused.stderr and "--again" in refused.stderr
    walked = good("certify", "labels.csv", "--left", "people", "--again", code=4)
    assert walked["commitment"]["look"] == 2 and walked["commitment"]["target"] == 0.9 and walked["answered"] == 50
    assert walked["commitment"]["risk_of_this_look"] == pytest.approx(0.05 * 6 / math.pi**2 / 4)
    third = good("certify", "labels.csv", "--target", "0.85", "--again", code=4)
    assert third["commitment"]["left"] == "people", "what is not told stays"
    assert third["commitment"]["coins_sha256"] != walked["commitment"]["coins_sha256"], "new coins for every look"
    open_again = good("certify", "labels.csv", "--left", "open", "--again", code=4)
    assert open_again["commitment"]["test"] == "anytime" and open_again["commitment"]["look"] == 4


def test_a_stream_of_walks_shares_the_risk(here: Path) -> None:
    for week in (1, 2):
        write(rows_of(300, seed=week), f"week{week}.csv")
    good("certify", "week1.csv", "--gold-by", "column:truth", *WALK)
    second = good("certify", "week2.csv", "--gold-by", "column:truth", "--after", "week1.csv")
    assert second["commitment"]["left"] == "people" and second["commitment"]["look"] == 2
    assert second["drift"]["blocks"] == 2 and not second["drift"]["alarm"]
    assert good("certify", "week2.csv", "--verify")["verified"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--test", "exact"], "--test does not go with --left people"),
        (["--audit", "20"], "--audit does not go with --left people"),
        (["--class", "other"], "--class does not go with --left people"),
        (["--cluster", "text"], "--cluster does not go with --left people"),
        (["--left", "machines"], "'machines' is not one of"),
        (["--gold-by", "column:people"], "has no column 'people'"),
    ],
)
def test_a_wrong_input_is_named(here: Path, words: list[str], said: str) -> None:
    write(rows_of(60))
    done = call("certify", "labels.csv", "--left", "people", *words)
    assert done.exit_code == 2 and said in done.stderr, done.stderr
    assert not Path("labels-certify/certificate.json").exists()


def test_what_was_tampered_with_is_found(here: Path) -> None:
    write(rows_of(300))
    good("certify", "labels.csv", "--gold-by", "column:truth", *WALK)
    file, labels = Path("labels-certify/certificate.json"), Path("labels-certify/labels.csv")
    sound, body, told = file.read_text(), json.loads(file.read_text()), labels.read_text()
    for name, value in [("wrong_at_most", 1), ("people", 3), ("accepted", {**body["accepted"], "prefix": 299})]:
        file.write_text(json.dumps({**body, name: value}))
        done = call("certify", "labels.csv", "--verify")
        assert done.exit_code == 1 and f"{name}: the file says" in done.stderr
    file.write_text(sound)
    labels.write_text(told.replace(",machine,", ",person,", 1))
    done = call("certify", "labels.csv", "--verify")
    assert done.exit_code == 1 and "holds other labels than file and ledger give" in done.stderr
    labels.write_text(told)
    with sqlite3.connect("labels-certify/ledger.db") as ledger:
        (sql,) = ledger.execute("SELECT sql FROM sqlite_master WHERE name = 'commitments_no_update'").fetchone()
        (promise,) = ledger.execute("SELECT body FROM commitments").fetchone()
        ledger.execute("DROP TRIGGER commitments_no_update")
        shares = [0.01, *json.loads(promise)["shares"][1:]]
        ledger.execute("UPDATE commitments SET body = ?", (json.dumps({**json.loads(promise), "shares": shares}),))
        ledger.execute(sql)
    done = call("certify", "labels.csv", "--verify")
    assert "another hash" in done.stderr and "shares: look 1 committed to" in done.stderr


def test_killed_at_any_moment_it_goes_on_and_comes_to_the_same(here: Path) -> None:
    rows = rows_of(400)
    words = ["certify", "labels.csv", "--gold-by", "column:truth", *WALK]
    for folder in ("killed", "whole"):
        (here / folder).mkdir()
        write(rows, f"{folder}/labels.csv")
    os.chdir("whole")
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "agent", *words], env=surroundings(), check=True, stdout=subprocess.DEVNULL)
    took, at_once = time.monotonic() - began, good(*words)["certificate"]
    os.chdir("../killed")
    for attempt in range(6):
        child = subprocess.Popen(
            [sys.executable, "-m", "agent", *words], env=surroundings(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(took * (0.4 + 0.12 * attempt))
        child.send_signal(signal.SIGKILL)
        child.wait()
    made = good(*words)["certificate"]
    # Where it was killed some answers ahead of the walk had been given: the promise and what it says are the same.
    assert made["commitment"] == at_once["commitment"] and made["met"] and at_once["met"]
    assert made["accepted"] == at_once["accepted"] and made["wrong"] == at_once["wrong"]
    assert good("certify", "labels.csv", "--verify")["verified"]


@pytest.mark.parametrize("world", ["as said", "useless", "reversed", "cliff"])
def test_too_many_wrong_labels_are_delivered_in_no_more_than_delta_of_all_cases(here: Path, world: str) -> None:
    """The product's own promise and steps over many seeds, answers a hundred at a time."""
    n, eps, delta, runs = 500, 0.1, 0.1, 300
    draw = np.random.default_rng(5)
    sure = np.sort(0.4 + 0.6 * draw.random(n) ** 0.5)[::-1].round(3)
    risk = {"as said": 1 - sure, "useless": np.full(n, 0.2), "reversed": sure - 0.4, "cliff": np.arange(n) > 100}[world]
    write([{"text": f"t{i}", "label": LABELS[i % 3], "confidence": float(c)} for i, c in enumerate(sure)])
    file, bad, seen = whole("labels.csv", Wanted()), 0, []
    for seed in range(runs):
        wrong = draw.random(n) < risk
        made = finished.promised(file, finished.Terms(target=1 - eps, delta=delta, seed=seed, left="people"), "", 1)
        assert isinstance(made, finished.Paced)
        heard, by_place = np.zeros(n, bool), wrong[made.order]
        while not (now := finished.way(made, heard, by_place, heard)).ended:
            heard[now.ask[:100]] = True
        heard[now.accepted :] = True
        bad += int((by_place & ~heard).sum() > made.body["allowed"])
        seen.append(heard.mean())
    # The first look may fail with 6/π² of δ; 4 standard deviations of a share among the runs.
    risk_of_look = delta * 6 / math.pi**2
    assert bad / runs <= risk_of_look + 4 * math.sqrt(risk_of_look * (1 - risk_of_look) / runs)
    if world == "as said":
        assert np.mean(seen) < 0.8, "and it saves people something"


def test_a_folder_that_was_removed_begins_anew_with_the_same_promise(here: Path) -> None:
    write(rows_of(100))
    first = good("certify", "labels.csv", *WALK, "--seed", "7", code=4)["commitment"]
    shutil.rmtree("labels-certify")
    assert good("certify", "labels.csv", *WALK, "--seed", "7", code=4)["commitment"] == first


def test_labels_of_a_run_are_carried_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the run's own certificate advises where goal.left is people, with answers that are recorded."""
    here = with_ladder(with_pool(tmp_path, monkeypatch))
    toml = here / "tutelage.toml"
    toml.write_text(toml.read_text().replace('oracle = "person"', 'oracle = "person"\npeople = "gold"'))
    good("run")
    done = call("certify", "--left", "people", "--now", "--json")
    told = json.loads(done.stdout)
    assert not told["met"] and done.exit_code == 5, done.output
    assert "tutelage export labels labels.parquet" in told["advice"][-1] and "--left people" in told["advice"][-1]
    good("export", "labels", "labels.parquet")
    gold = {row["id"]: row["label"] for row in read("mail.csv")}
    rows = [{**row, "gold": gold[row["id"]]} for row in pq.read_table("labels.parquet").to_pylist()]
    write(rows, "labels.parquet")
    body = good("certify", "labels.parquet", "--text", "text", "--id", "id", "--left", "people", "--target", "0.9",
                "--gold-by", "column:gold")  # fmt: skip
    assert body["commitment"]["columns"]["confidence"] == "probability"
    out = delivered("labels-certify/labels.parquet")
    assert sum(d["label"] != gold[d["id"]] for d in out) <= 6 and all(map(certified, out))
