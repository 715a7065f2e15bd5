"""`tutelage certify FILE`, through the command itself: real files, a real ledger, answers by sheet and from columns."""

from __future__ import annotations

import json
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

import pytest
from cli_room import call, good, read, surroundings
from file_room import write

LABELS = ["billing", "technical", "other"]
TOML = "labels-certify/tutelage.toml"


def rows_of(n: int, wrong: float, seed: int = 1) -> list[dict[str, Any]]:
    """n rows of which a share is wrong, the unsure ones more often."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for i in range(n):
        truth, sure = rng.choice(LABELS), rng.choice([0.6, 0.8, 0.95, 0.99])
        bad = rng.random() < wrong * {0.6: 2.4, 0.8: 1.0, 0.95: 0.4, 0.99: 0.2}[sure]
        label = rng.choice([name for name in LABELS if name != truth]) if bad else truth
        row = {"id": f"a{i}", "text": f"message {i} on {truth}", "label": label, "confidence": sure, "truth": truth}
        rows.append(row)
    return rows


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(rows: Sequence[dict[str, Any]], skip: int = 0) -> int:
    """People answer all that is open, by sheet; they leave the first `skip` out."""
    Path("questions.csv").unlink(missing_ok=True)
    good("review", "-c", TOML, "--export", "questions.csv")
    by_text = {row["text"]: row["truth"] for row in rows}
    sheet = read("questions.csv")
    for row in sheet[skip:]:
        row["label"] = by_text[row["text"]]
    write(sheet, "questions.csv")
    return int(good("review", "-c", TOML, "--import", "questions.csv", "--who", "ada")["taken"])


def commitments() -> list[dict[str, Any]]:
    found = sqlite3.connect("labels-certify/ledger.db").execute("SELECT body FROM commitments ORDER BY look")
    return [json.loads(body) for (body,) in found]


def test_people_answer_until_the_file_is_certified_and_the_certificate_is_derived_again(here: Path) -> None:
    rows = write(rows_of(400, 0.01))
    first = good("certify", "labels.csv", "--target", "0.9", "--id", "id", code=4)
    assert first["answered"] == 0 and first["open"] == 50 and list(first["expected"]) == ["0.92", "0.94", "0.96"]
    assert first["commitment"] == commitments()[0], "the promise is in the ledger before there is an answer"
    body = first
    for _ in range(20):
        if body["met"]:
            break
        assert answer(rows, skip=3) and not good("certify", "labels.csv", code=4)["met"], "a gap is waited at"
        answer(rows)
        done = call("certify", "labels.csv", "--json")
        body = json.loads(done.stdout)
        assert done.exit_code == (0 if body["met"] else 4)
    made = body["certificate"]
    truth = sum(row["label"] != row["truth"] for row in rows)
    assert (
        body["met"] and truth - len(body["corrections"]) <= made["wrong_at_most"] <= made["commitment"]["allowed"] == 40
    )
    assert all(rows[int(n) - 1]["truth"] == said for n, said in body["corrections"].items())
    listed = read("labels-certify/corrections.csv") if body["corrections"] else []
    assert [row["row"] for row in listed] == list(body["corrections"])
    assert made["truth"] == "ada" and "ada" in body["claim"] and len(commitments()) == 1
    assert good("certify", "labels.csv", "--verify")["verified"]
    again = good("certify", "labels.csv")
    assert again["certificate"] == made, "looking again changes nothing and spends nothing"


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_the_same_labels_are_certified_in_any_format_by_recorded_answers(here: Path, ending: str) -> None:
    rows = write(rows_of(1000, 0.02), f"labels.{ending}")
    found = good("certify", f"labels.{ending}", "--gold-by", "column:truth", "--target", "0.9")
    wrong = sum(row["label"] != row["truth"] for row in rows)
    made = found["certificate"]
    assert wrong - len(found["corrections"]) <= made["wrong_at_most"] <= 100
    assert (
        "simulated from column truth" in found["claim"] and found["commitment"]["columns"]["confidence"] == "confidence"
    )
    assert len(found["commitment"]["strata"]) == 4
    assert good("certify", f"labels.{ending}", "--verify")["verified"]
    with sqlite3.connect("labels-certify/ledger.db") as ledger:
        (asked,) = ledger.execute("SELECT count(*) FROM items").fetchone()
    assert asked < 500, "only what is asked about is copied"


def test_bad_labels_are_certified_only_when_so_many_were_mended_that_it_is_true(here: Path) -> None:
    rows = write(rows_of(300, 0.3))
    found = good("certify", "labels.csv", "--gold-by", "column:truth", "--confidence", "none")
    wrong = sum(row["label"] != row["truth"] for row in rows)
    assert found["certificate"]["audited"] > 150 and wrong - len(found["corrections"]) <= 15


def test_what_nobody_can_tell_counts_as_wrong_and_stays_so(here: Path) -> None:
    rows = rows_of(200, 0.0)
    for i, row in enumerate(rows):
        row["truth"] = "" if i % 2 else row["truth"]
    write(rows)
    found = good("certify", "labels.csv", "--gold-by", "column:truth", code=5)
    made = found["certificate"]
    assert made["missing"] == 100 == made["wrong_at_most"] and not found["corrections"]
    assert "nobody could tell" in found["claim"] and "is not met" in found["claim"]
    assert good("certify", "labels.csv", "--verify")["verified"], "what is not met is derived again as well"


def test_people_are_asked_in_the_order_of_the_draw(here: Path) -> None:
    write(rows_of(200, 0.0))
    good("certify", "labels.csv", "--confidence", "none", code=4)
    good("review", "-c", TOML, "--export", "questions.csv")
    with sqlite3.connect("labels-certify/ledger.db") as ledger:
        drawn = [item for (item,) in ledger.execute("SELECT item FROM calls ORDER BY seq")]
        keys = dict(ledger.execute("SELECT key, item FROM calls"))
    assert [keys[row["key"]] for row in read("questions.csv")] == drawn


def test_a_file_that_has_changed_needs_another_look_at_a_smaller_risk(here: Path) -> None:
    rows = write(rows_of(400, 0.01))
    good("certify", "labels.csv", "--gold-by", "column:truth", "--target", "0.9")
    changed = [{**row, "label": row["truth"]} for row in rows]
    write(changed)
    refused = call("certify", "labels.csv")
    assert (
        refused.exit_code == 2 and "has changed since it was frozen" in refused.stderr and "--again" in refused.stderr
    )
    stale = call("certify", "labels.csv", "--verify")
    assert stale.exit_code == 1 and "not the file that was certified" in stale.stderr
    found = good("certify", "labels.csv", "--again", "--gold-by", "column:truth")
    first, second = commitments()
    assert (first["look"], second["look"]) == (1, 2) and second["target"] == 0.9
    assert second["risk_of_this_look"] == pytest.approx(first["risk_of_this_look"] / 4)
    assert found["certificate"]["look"] == 2 and good("certify", "labels.csv", "--verify")["verified"]
    assert "nothing to look at again" in call("certify", "labels.csv", "--again").stderr


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--target", "0.9", "committed to 0.95"), ("--delta", "0.2", "committed to 0.05"),
        ("--seed", "9", "committed to 0"), ("--test", "exact", "committed to anytime"),
        ("--confidence", "truth", "committed to confidence"),
    ],
)  # fmt: skip
def test_terms_hold_once_they_are_committed(here: Path, option: str, value: str, said: str) -> None:
    write(rows_of(100, 0.0))
    good("certify", "labels.csv", code=4)
    refused = call("certify", "labels.csv", option, value)
    assert refused.exit_code == 2 and said in refused.stderr and "--again" in refused.stderr
    if option == "--target":
        assert good("certify", "labels.csv", option, value, "--again", code=4)["commitment"]["look"] == 2


def test_questions_hold_once_they_are_committed(here: Path) -> None:
    write(rows_of(100, 0.0))
    good("certify", "labels.csv", "--question", "What is it about?", code=4)
    toml = Path(TOML)
    assert "What is it about?" in toml.read_text()
    toml.write_text(toml.read_text().replace("about?", "about, mostly?"))
    refused = call("certify", "labels.csv")
    assert refused.exit_code == 2 and "not those that were committed" in refused.stderr


def test_the_exact_test_looks_once(here: Path) -> None:
    rows = write(rows_of(500, 0.0))
    first = good("certify", "labels.csv", "--test", "exact", "--target", "0.9", code=4)
    draws = first["commitment"]["draws"]
    assert first["open"] == draws > 30 and first["wrong_at_most"] is None
    answer(rows, skip=1)
    half = good("certify", "labels.csv", code=4)
    assert half["wrong_at_most"] is None and half["certificate"] is None, "nothing is told before all is answered"
    answer(rows)
    made = good("certify", "labels.csv")["certificate"]
    assert made["audited"] == draws and made["method"] == "hypergeometric" and made["met"]
    assert good("certify", "labels.csv", "--verify")["verified"]


def test_an_early_look_of_the_exact_test_is_its_only_one(here: Path) -> None:
    write(rows_of(500, 0.0))
    good("certify", "labels.csv", "--test", "exact", "--target", "0.9", code=4)
    unmet = good("certify", "labels.csv", "--now", code=5)
    assert unmet["certificate"]["missing"] == unmet["certificate"]["audited"] and unmet["certificate"]["extra"]["early"]
    assert unmet["open"] == 0 and not good("review", "-c", TOML, "--export", "questions.csv")["questions"]
    assert good("certify", "labels.csv", code=5)["certificate"] == unmet["certificate"], "the look is spent"
    assert good("certify", "labels.csv", "--verify")["verified"]


def test_rows_alike_are_asked_once_and_rows_of_a_cluster_together(here: Path) -> None:
    rows = rows_of(300, 0.0)
    for i, row in enumerate(rows):
        row["text"], row["truth"] = f"Text number {i // 3}" + " " * (i % 3), LABELS[i // 3 % 3]
        row["label"] = row["truth"] if i % 30 else "other"
        row["doc"] = f"doc{i // 6}"
    write(rows)
    found = good("certify", "labels.csv", "--cluster", "text", "--gold-by", "column:truth", "--target", "0.9")
    assert found["commitment"]["units"] == 100
    with sqlite3.connect("labels-certify/ledger.db") as ledger:
        (asked,) = ledger.execute("SELECT count(*) FROM calls").fetchone()
    assert asked <= 100 * 3
    assert good("certify", "labels.csv", "--verify")["verified"]
    shutil.rmtree("labels-certify")
    found = good("certify", "labels.csv", "--cluster", "doc", "--text", "text", "--gold-by", "column:truth",
                 "--target", "0.9")  # fmt: skip
    assert found["commitment"]["units"] == 50 and found["commitment"]["columns"]["cluster"] == "doc"


@pytest.mark.parametrize("test", ["anytime", "exact"])
def test_a_class_that_is_bad_is_not_hidden_by_the_others(here: Path, test: str) -> None:
    rows = rows_of(1500, 0.0)
    for row in rows[:60]:
        row["label"] = row["truth"] = "other"
    for row in rows[60:100]:
        row["label"], row["truth"] = "rare", "other"
    for row in rows[100:110]:
        row["label"] = row["truth"] = "rare"
    write(rows)
    words = ["--gold-by", "column:truth", "--test", test, "--target", "0.9", "--class", "rare", "--class", "billing"]
    done = call("certify", "labels.csv", *words, "--json")
    found = json.loads(done.stdout)
    rare, billing = found["certificate"]["classes"]
    assert found["met"] and billing["certified"] and billing["wrong_at_most"] <= 0.1 * billing["labels"]
    wrong = sum(row["label"] == "rare" != row["truth"] for row in rows)
    mended = rare["wrong"] - rare["missing"]
    assert rare["labels"] == 50 and wrong - mended <= rare["wrong_at_most"]
    if test == "exact":
        assert done.exit_code == 5 and not rare["certified"]
    else:
        assert done.exit_code == 0 and rare["audited"] >= 40, "only then is it true"
    assert "Classes" in call("certify", "labels.csv").stdout and good("certify", "labels.csv", "--verify")["verified"]


def test_blocks_of_a_stream_share_the_risk_and_an_alarm_tells_of_drift(here: Path) -> None:
    for week, wrong in ((1, 0.01), (2, 0.01), (3, 0.30)):
        rows = rows_of(240, wrong, seed=week)
        for row in rows:
            row["confidence"] = 0.97
        write(rows, f"week{week}.csv")
    words = ["--gold-by", "column:truth", "--target", "0.85"]
    first = good("certify", "week1.csv", *words)
    second = good("certify", "week2.csv", *words[:2], "--after", "week1.csv")
    third = good("certify", "week3.csv", *words[:2], "--after", "week2.csv")
    spent = [found["commitment"]["risk_of_this_look"] for found in (first, second, third)]
    assert spent[1] == pytest.approx(spent[0] / 4) and spent[2] == pytest.approx(spent[0] / 9)
    assert [found["commitment"]["block"] for found in (first, second, third)] == [1, 2, 3]
    assert not first["drift"]["alarm"] and not second["drift"]["alarm"] and third["drift"]["alarm"]
    assert "Alarm" in call("certify", "week3.csv").stdout and "Block 2" in call("certify", "week2.csv").stdout
    assert good("certify", "week3.csv", "--verify")["verified"]
    write(rows_of(100, 0.0), "other.csv")
    fork = call("certify", "other.csv", "--after", "week1.csv")
    assert fork.exit_code == 2 and "followed by week2-certify already" in fork.stderr
    assert call("certify", "other.csv", "--after", "week9.csv").exit_code == 2
    older = call("certify", "week1.csv", "--again", "--target", "0.5")
    assert older.exit_code == 2 and "followed by week2-certify" in older.stderr


def bad_rows(**changes: Any) -> list[dict[str, Any]]:
    rows = rows_of(60, 0.0)
    for row in rows[3:5]:
        row.update(changes)
    return rows


@pytest.mark.parametrize(
    ("rows", "words", "said"),
    [
        ([{"text": "a", "kind": "x"}], [], "which column holds the labels"),
        (bad_rows(label=""), [], "2 of 60 rows have no label in column 'label' (the first is row 4)"),
        (bad_rows(confidence=7.5), [], "something else than chances between 0 and 1"),
        (bad_rows(), ["--label", "lable"], "did you mean 'label'"),
        (bad_rows(), ["--confidence", "truth"], "holds no numbers"),
        (bad_rows(), ["--cluster", "document"], "has no column 'document' (--cluster)"),
        (bad_rows(), ["--class", "praise"], "no row of labels.csv has this label"),
        (bad_rows(), ["--class", "other", "--cluster", "id"], "classes are audited row by row"),
        (bad_rows(), ["--gold-by", "column:people"], "has no column 'people'"),
        (bad_rows(), ["--gold-by", "votes.csv"], "votes.csv cannot be read"),
        (bad_rows(), ["--test", "exact", "--audit", "5"], "--audit 5: of 60 rows at least"),
        (bad_rows(), ["--test", "exact", "--cluster", "id"], "clusters are audited with the any-time test"),
        ([{"text": f"t{i}", "label": "spam"} for i in range(50)], [], "--labels yes,no"),
        ([{"text": f"t{i}", "label": f"l{i}"} for i in range(1200)], [], "1,200 different values: is it the label?"),
    ],
)
def test_a_wrong_input_is_named_with_its_mend(
    here: Path, rows: list[dict[str, Any]], words: list[str], said: str
) -> None:
    write(rows)
    done = call("certify", "labels.csv", *words)
    assert done.exit_code == 2 and said in done.stderr, done.stderr
    assert not Path("labels-certify/certificate.json").exists()


def test_a_file_that_is_gone_or_broken_is_named(here: Path) -> None:
    write(rows_of(60, 0.0))
    assert "did you mean" in call("certify", "labls.csv").stderr
    missing = call("certify", "labels.csv", "--verify")
    assert missing.exit_code == 2 and "no audit of labels.csv has begun" in missing.stderr
    good("certify", "labels.csv", code=4)
    os.rename("labels.csv", "elsewhere.csv")
    gone = call("certify", "labels.csv")
    assert gone.exit_code == 2 and "there is no file labels.csv" in gone.stderr
    with open("broken.csv", "w") as stream:
        stream.write('text,label\na,x\n"b,y\nc,x\n')
    broken = call("certify", "broken.csv")
    assert broken.exit_code == 2 and "row 3" in broken.stderr
    assert call("certify", "--label", "x").exit_code == 2, "an option of files without a file"


def test_answers_for_another_file_are_not_taken(here: Path) -> None:
    rows = write(rows_of(100, 0.0))
    write(rows[:90], "others.csv")
    good("certify", "labels.csv", code=4)
    good("certify", "others.csv", code=4)
    good("review", "-c", "others-certify/tutelage.toml", "--export", "questions.csv")
    sheet = [{**row, "label": "other"} for row in read("questions.csv")]
    write(sheet, "questions.csv")
    report = good("review", "-c", TOML, "--import", "questions.csv", "--who", "eve", code=2)
    assert report["taken"] == 0 and len(report["refused"]) == len(sheet)
    assert all("is no open question of this run" in one["why"] for one in report["refused"])


def test_what_was_tampered_with_is_found(here: Path) -> None:
    write(rows_of(600, 0.01))
    good("certify", "labels.csv", "--gold-by", "column:truth", "--target", "0.9")
    file = Path("labels-certify/certificate.json")
    sound = file.read_text()
    body = json.loads(sound)
    for name, value in [("wrong_at_most", 1), ("audited", 999), ("target", 0.99), ("truth", "the board"),
                        ("commitment", {**body["commitment"], "seed": 4})]:  # fmt: skip
        file.write_text(json.dumps({**body, name: value}))
        done = call("certify", "labels.csv", "--verify")
        assert done.exit_code == 1 and f"{name}: the file says" in done.stderr
    file.write_text(sound)
    ledger = sqlite3.connect("labels-certify/ledger.db")
    triggers = list(ledger.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
    for name, _ in triggers:
        ledger.execute(f"DROP TRIGGER {name}")
    key, answered = ledger.execute("SELECT key, body FROM answers WHERE status = 'ok' LIMIT 1").fetchone()
    said = json.loads(answered)
    other = next(name for name in LABELS if name != said["text"])
    ledger.execute("UPDATE answers SET body = ? WHERE key = ?", (json.dumps({**said, "text": other}), key))
    for _, sql in triggers:
        ledger.execute(sql)
    ledger.commit()
    assert "audit_sha256" in call("certify", "labels.csv", "--verify").stderr, "an answer that was changed"
    ledger.execute("DROP TRIGGER commitments_no_update")  # whoever opens the ledger puts it back
    (body,) = ledger.execute("SELECT body FROM commitments").fetchone()
    ledger.execute("UPDATE commitments SET body = ?", (json.dumps({**json.loads(body), "allowed": 500}),))
    ledger.commit()
    done = call("certify", "labels.csv", "--verify")
    assert "another hash" in done.stderr and "allowed: look 1" in done.stderr


def test_killed_at_any_moment_it_goes_on_and_comes_to_the_same(here: Path) -> None:
    """Five kills, at moments from the start to past the end of a whole run; what was committed or answered stays."""
    rows = rows_of(300, 0.02)
    words = ["--gold-by", "column:truth", "--target", "0.9"]
    for folder in ("killed", "whole"):
        (here / folder).mkdir()
        write(rows, f"{folder}/labels.csv")
    os.chdir("whole")
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "agent", "certify", "labels.csv", *words], env=surroundings(), check=True)
    took = time.monotonic() - begun
    whole = good("certify", "labels.csv", *words)["certificate"]
    os.chdir("../killed")
    for attempt in range(5):
        child = subprocess.Popen(
            [sys.executable, "-m", "agent", "certify", "labels.csv", *words], env=surroundings(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(took * (0.4 + 0.17 * attempt))
        child.send_signal(signal.SIGKILL)
        child.wait()
    made = good("certify", "labels.csv", *words)["certificate"]
    assert {k: v for k, v in made.items() if k != "extra"} == {k: v for k, v in whole.items() if k != "extra"}
    assert len(commitments_of("labels-certify")) == 1 and good("certify", "labels.csv", "--verify")["verified"]


def commitments_of(folder: str) -> list[Any]:
    return list(sqlite3.connect(f"{folder}/ledger.db").execute("SELECT look FROM commitments"))
