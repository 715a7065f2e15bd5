"""`tutelage eval` on small files: what it prints, what it writes, and what it refuses with which words."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
from cli_room import LADDER, WORDS, call, good, read

ROWS = 120
QUICK = ("--students", "tfidf", "--strategies", "random,margin", "--seeds", "2", "--labels", "24", "--batch", "12")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with mail.csv, which is the current one."""
    monkeypatch.chdir(tmp_path)
    write("mail.csv", mail())
    return tmp_path


def mail() -> list[dict[str, str]]:
    """Rows of two labels that words tell apart, every tenth in the other's words."""
    rng, rows = random.Random(1), []
    for i in range(ROWS):
        label = list(WORDS)[i % 2]
        words = WORDS[list(WORDS)[(i + (i % 10 == 0)) % 2]]
        rows.append({"id": f"m{i}", "body": " ".join([*rng.choices(words, k=3), f"number {i}"]), "label": label})
    return rows


def write(name: str, rows: list[dict[str, str]]) -> None:
    with open(name, "w", newline="") as stream:
        out = csv.DictWriter(stream, list(rows[0]))
        out.writeheader()
        out.writerows(rows)


def refused(*words: str) -> str:
    """What is said on stderr when a call is bad input."""
    done = call("eval", *words, *QUICK)
    assert done.exit_code == 2, done.output
    return done.stderr.splitlines()[-1]


def test_a_table_against_the_gold_column_and_files_of_the_curves(here: Path) -> None:
    done = call("eval", "mail.csv", "--gold", "label", *QUICK, "-q")
    assert done.exit_code == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "120 rows, 77 to ask about, tested on a fifth of the rows, another for each seed (5 folds), 2 labels"
    )
    assert lines[1] == "against the gold column 'label' of mail.csv"
    assert lines[2] == "answers: gold; 24 labels in steps of 12; 2 seeds"
    rows = [line.split() for line in lines if line.startswith("tfidf")]
    assert {row[1] for row in rows} == {"random", "margin", "all"}
    assert (here / "tutelage-eval" / "curves.png").read_bytes().startswith(b"\x89PNG")
    points = read("tutelage-eval/curves.csv")
    assert len(points) == 2 * 2 * 3 and {p["labels"] for p in points} == {"0", "12", "24"}
    body = json.loads((here / "tutelage-eval" / "eval.json").read_text())
    assert body["gold"] is True and body["oracle"] == "gold"


def test_the_same_as_json_and_the_same_again(here: Path) -> None:
    one, two = (good("eval", "mail.csv", "--gold", "label", *QUICK) for _ in range(2))
    assert figures(one) == figures(two)
    found = one["students"]["tfidf"]["strategies"]["margin"]
    assert found["labels"] == [0, 12, 24] and len(found["accuracy"]) == 3 and found["seeds"] == 2
    assert one["students"]["tfidf"]["full"] > 0.7 and found["right_answers"] == 1
    assert one["alt"].startswith("mail.csv") and one["picture"].endswith("curves.png")


def figures(body: dict[str, Any]) -> Any:
    """What must not change from call to call."""
    return {name: one["accuracy"] for name, one in body["students"]["tfidf"]["strategies"].items()}


def test_rows_of_the_split_are_tested_on_and_never_asked_about(here: Path) -> None:
    write("split.csv", [row | {"split": "test" if i % 4 == 0 else "train"} for i, row in enumerate(mail())])
    body = good("eval", "split.csv", "--gold", "label", *QUICK)
    assert body["test"] == "split" and body["asked_about"] == 90 - 18  # a fifth of the 90 is the pilot


def test_rows_with_several_labels_count_each_of_them(here: Path) -> None:
    rows = [
        row | {"label": "|".join(sorted({row["label"], "odd"})) if i % 3 else "odd"} for i, row in enumerate(mail())
    ]
    write("several.csv", rows)
    body = good("eval", "several.csv", "--gold", "label", *QUICK)
    assert body["choices"] == [["no", "yes"]] * 3 and body["students"]["tfidf"]["full"] > 0.7


def test_noisy_answers_are_told_with_how_right_they_were(here: Path) -> None:
    done = call("eval", "mail.csv", "--gold", "label", *QUICK, "--oracle", "noisy:0.7x2", "-q")
    assert done.exit_code == 0
    assert "right answers among those asked for: tfidf/" in done.stdout


def test_recorded_votes_answer_and_name_items_by_id(here: Path) -> None:
    votes = [{"id": row["id"], "label": row["label"], "model": m} for row in mail()[:100] for m in ("a", "b")]
    votes[0]["label"] = "technical"
    write("votes.csv", votes)
    given = ("mail.csv", "--gold", "label", "--oracle", "votes:votes.csv")
    body = good("eval", *given, "--id", "id", *QUICK)
    assert body["students"]["tfidf"]["strategies"]["random"]["right_answers"] > 0.9
    assert "name the column of ids with --id" in refused(*given)
    few = call("eval", *given, "--id", "id", *QUICK[:-4], "--labels", "90")
    assert few.exit_code == 2 and "of them stand for a pilot: give --labels" in few.stderr
    votes[3]["label"] = "weather"
    write("votes.csv", votes)
    assert "votes.csv, row 5: the vote 'weather' is no label of the data" in refused(*given, "--id", "id")


def test_the_configuration_gives_pool_gold_and_student(here: Path) -> None:
    (here / "tutelage.toml").write_text(LADDER)
    body = good("eval", *QUICK[2:])
    assert list(body["students"]) == ["tfidf"] and body["against"] == "the gold column 'label'"


def test_without_gold_the_labels_of_a_run_stand_in_and_it_is_said(here: Path) -> None:
    (here / "tutelage.toml").write_text(LADDER)
    assert call("run", "-q").exit_code in (0, 4)
    text = (here / "tutelage.toml").read_text()
    (here / "tutelage.toml").write_text(text.replace('gold = "label"\n', ""))
    done = call("eval", *QUICK, "-q")
    assert done.exit_code == 0, done.output
    assert "labels that the run in" in done.stdout and "no gold" in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("mail.csv", "--gold", "lable"), "no column 'lable'"),
        (("mail.csv", "--gold", "label", "--text", "label"), "named as text and as gold"),
        (("mail.csv", "--gold", "id", "--text", "body"), "holds 120 different values in 120 rows"),
        (("mail.csv", "--gold", "label", "--oracle", "noisy:85"), "write noisy:0.85"),
        (("mail.csv", "--gold", "label", "--oracle", "oracle"), "write gold, noisy:0.85 or votes:FILE"),
        (("mail.csv", "--gold", "label", "--strategies", "margni"), "did you mean 'margin'?"),
        (("mail.csv", "--gold", "label", "--strategies", "margin,margin"), "name each one once"),
        (("nail.csv",), "did you mean mail.csv?"),
    ],
)
def test_nonsense_is_refused_with_the_mend(here: Path, words: tuple[str, ...], told: str) -> None:
    done = call("eval", *QUICK[:2], *QUICK[4:], *words)
    assert done.exit_code == 2 and told in done.stderr, done.output


def test_a_row_whose_gold_is_no_label_of_the_task_is_named(here: Path) -> None:
    (here / "tutelage.toml").write_text(LADDER)
    rows = mail()
    rows[4]["label"] = "weather"
    write("mail.csv", rows)
    assert refused().endswith(
        "mail.csv, row 6: column 'label' says 'weather', which is no label of the task; add it to task.labels, "
        "or correct the row"
    )


def test_rows_without_a_label_are_counted_and_too_few_are_refused(here: Path) -> None:
    rows = mail()
    for row in rows[:5]:
        row["label"] = ""
    write("mail.csv", rows)
    done = call("eval", "mail.csv", "--gold", "label", *QUICK)
    assert "left out: 5 rows without a label in column 'label'" in done.stderr and "115 rows," in done.stdout
    write("mail.csv", rows[:20])
    assert "15 rows with a label in column 'label', and at least 20 are needed" in refused(
        "mail.csv", "--gold", "label"
    )


def test_votes_need_no_more_than_ids_and_labels(here: Path) -> None:
    """Two columns, neither of which is a text."""
    rows = mail()
    with open("votes.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "label"])
        writer.writerows([row["id"], row["label"]] for row in rows)
    given = ("mail.csv", "--gold", "label", "--id", "id", "--oracle", "votes:votes.csv", "--students", "tfidf")
    good("eval", *given, "--seeds", "1", "--labels", "20", "--batch", "10", "--strategies", "random")
