"""Small things that are said, or were not: examples nobody gives, texts in parts, a second column, a way forward."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from cli_room import LADDER, call, good, with_ladder, with_pool
from click.testing import Result

from agent.cli.progress import State
from agent.loop import Event


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return with_pool(tmp_path, monkeypatch)


def alone(here: Path, rung: str = "", prefix: str = "") -> Result:
    """A run without people."""
    ladder = LADDER.partition("[[rung]]\nstudent")[0]
    (here / "tutelage.toml").write_text(f'{ladder}\n[[rung]]\noracle = "scripted"\naccuracy = 0.9\n{rung}\n{prefix}')
    return call("run")


def test_examples_that_nobody_gives_are_spoken_of(here: Path) -> None:
    assert "shots = 4 shows nothing" in alone(here, "shots = 4").stderr
    with_ladder(here)
    assert "shows nothing" not in call("run", "--people", "gold", "--set", "rung.1.shots=2").stderr


def test_a_ladder_without_people_that_accepts_little_names_the_way_forward(here: Path) -> None:
    done = alone(here, "bar = 0.9999999")
    assert 'add a rung with oracle = "person", or lower the bar' in done.stdout
    assert "lower the bar" not in alone(here, "bar = 0.1").stdout


def test_texts_asked_in_parts_are_counted(here: Path) -> None:
    with open("mail.csv", newline="") as stream:
        rows = list(csv.reader(stream))
    rows[1][1] = "a long text. " * 900
    with open("mail.csv", "w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    done = alone(here, 'overflow = "chunk"')
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("texts in parts for scripted")]
    assert " 1 " in line and line in call("status").stdout
    assert "texts in parts for scripted" in Path("tutelage-run/report.md").read_text()


def test_a_rationale_that_never_came_has_its_column_all_the_same(here: Path) -> None:
    alone(here, "rationale = true")
    assert "rationale" in good("export", "labels", "out.csv")["columns"]


def test_init_speaks_of_a_second_text_and_names_few_of_many_labels(here: Path) -> None:
    with open("two.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["title", "body", "state"])
        writer.writerows([f"about matter {i}", f"a much longer text on matter {i}", "open"] for i in range(20))
    many = ",".join(f"label{i}" for i in range(60))
    done = call("init", "two.csv", "--labels", many)
    assert "--text title --text body" in done.stderr and "state" not in done.stderr
    assert "60 labels: label0" in done.stdout and "label59" not in done.stdout
    both = call("init", "two.csv", "--labels", many, "--force", "--text", "title", "--text", "body")
    assert "seems to hold text" not in both.stderr


def test_the_first_answer_foretells_nothing() -> None:
    state = State(None)
    state.take(Event("ask", 1, "asking", 0, 300), 0.0)
    state.take(Event("answer", 1, "", 1, 300), 8.0)
    assert "left" not in state.line(8.0)
    state.take(Event("answer", 1, "", 20, 300), 9.0)
    assert state.line(9.0).endswith("left")


def test_while_nothing_comes_no_time_to_go_is_told() -> None:
    from agent.cli.progress import State
    from agent.loop import Event

    state = State(None)
    state.take(Event("ask", 1, "asking far about 100 items", 0, 100, {"rung": "far"}), 0.0)
    for second in range(1, 31):
        state.take(Event("answer", 1, "", second, 100, {}), float(second))
    assert "left" in state.line(31.0)
    state.take(Event("answer", 1, "", 30, 100, {}), 60.0)  # an attempt that failed
    assert "no answer for 40 s" in state.line(70.0) and "left" not in state.line(70.0)
