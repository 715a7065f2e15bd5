"""What `tutelage plan` says of limits, shortlists, long texts, people's audit and what is known already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_room import LADDER, call, good, with_ladder, with_pool
from servers.chat import ChatServer

from agent import config
from agent.certify import accuracy_needed, risk_of_look, wrong_allowed
from agent.cli.target import Target, target, words
from agent.loop.people import split

NOWHERE = "http://127.0.0.1:9/v1"
PRICED = "usd_per_mtok_in = 1.0\nusd_per_mtok_out = 1.0\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pool of 60 rows, which is the current one."""
    return with_pool(tmp_path, monkeypatch)


def openai(url: str = NOWHERE, more: str = "") -> None:
    rung = f'oracle = "openai"\nname = "llm"\nmodel = "able"\nbase_url = "{url}"\n{more}'
    Path("tutelage.toml").write_text(LADDER.replace('oracle = "scripted"\naccuracy = 0.9', rung))


def of(line: str, *options: str) -> str:
    """The line of the plan that begins so."""
    found = [one for one in call("plan", *options).stdout.splitlines() if one.startswith(line)]
    assert len(found) == 1, found
    return found[0]


def machine(*options: str) -> dict[str, Any]:
    (row,) = (row for row in good("plan", *options)["ladder"] if row["name"] == "llm")
    return row  # type: ignore[no-any-return]


def test_limits_a_minute_bound_the_time(here: Path) -> None:
    openai()
    free = good("plan")["seconds"]
    openai(more="requests_per_minute = 6\n")
    slow = good("plan")["seconds"]
    assert free[1] == 60 and slow[1] >= 600 and slow[0] > free[0]
    assert "slowed by requests_per_minute = 6 of llm" in of("machines")
    openai(more="tokens_per_minute = 100\n")
    assert good("plan")["seconds"][1] > 600 and "tokens_per_minute = 100" in of("machines")


def test_the_students_time_is_not_forgotten(here: Path) -> None:
    openai()
    assert "the student's time comes on top" in of("machines")


def test_a_pilot_that_measured_nothing_is_not_called_measured(here: Path) -> None:
    openai(more=PRICED)
    done = call("plan", "--pilot", "10", "--yes", "--budget", "0.001")
    assert "at an assumed pace" in done.stdout and "these are guesses" in done.stdout
    assert "the budget of $0.0010 in all stops it before" in done.stderr
    assert "the budget stops it at $0.0010" in done.stdout and "$0.00;" not in done.stdout


def test_price_and_budget_are_taken_as_run_takes_them(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYKEY", "x")
    openai("https://models.example/v1", 'api_key_env = "MYKEY"')
    body = good("plan", "--price", "1000,1000", "--budget", "7")
    assert not body["unpriced"] and body["worst_usd"] > 1 and body["budget_usd"] == 7
    assert good("run", "--dry-run", "--price", "llm=1000,1000", "--budget", "7")["worst_usd"] == body["worst_usd"]
    assert call("plan", "--price", "dear").exit_code == 2
    refused = call("plan", "--pilot", "5", "--yes")
    assert refused.exit_code == 2 and "--budget none" in refused.stderr
    agreed = call("plan", "--pilot", "5", "--budget", "none")
    assert agreed.exit_code == 2 and "llm takes, whose price is not known: add --yes to spend it" in agreed.stderr


def test_the_prompt_of_many_labels_is_the_one_that_is_sent(here: Path) -> None:
    names = ["billing", "technical", *(f"team{i}" for i in range(38))]
    labels = ", ".join(f'{name} = "about {name}"' for name in names)
    with ChatServer(right="billing") as server:
        openai(server.url, "shortlist = 5\n")
        told = Path("tutelage.toml").read_text()
        Path("tutelage.toml").write_text(told.replace('billing = "money", technical = "faults"', labels))
        shown = good("plan", "--limit", "12")["prompts"]["llm"]
        assert call("run", "--limit", "12").exit_code in (0, 3, 4, 5)
        sent = ["\n".join(f"[{m['role']}]\n{m['content']}" for m in r.body["messages"]) for r in server.requests]
    assert "none of these (the right label is not shown here)" in shown

    def head(text: str) -> str:
        return text[: text.index("Codes:")]

    assert head(shown) == head(sent[0])
    assert shown.count("(about ") == 5 == sent[0].count("(about ")


def test_long_texts_are_counted_by_their_parts(here: Path) -> None:
    openai(more='overflow = "chunk"\nmax_chars = 10\n')
    row = machine()
    assert row["parts"] > 1.5 and row["calls_at_most"] == pytest.approx(60 * row["parts"], rel=0.01)
    assert "asked about in parts" in call("plan").stdout


def test_votes_are_not_expected_where_log_probabilities_came(here: Path) -> None:
    with ChatServer(right="billing") as server:
        openai(server.url)
        assert machine()["answers_at_most"] > 60
        call("plan", "--pilot", "10")
        assert machine()["answers_at_most"] == 60 and "votes are counted" not in call("plan").stdout


def test_what_an_audit_can_prove(here: Path) -> None:
    with_ladder(here)
    found = good("plan")["people"]
    assert (
        found["certifies_with_wrong"] == wrong_allowed(38, 15, 1 - 1 / 38, risk_of_look(0.1, 1))
        and "15 audit answers" in found["goal"]
    )
    assert words(Target(60, 0, 1.0, (30, 0)), 0.95) == (
        "60 audit answers can prove 95 % only if all of them are right; for room give 30 minutes more"
    )
    assert "at most 2 of them are wrong" in words(Target(200, 2, 0.98), 0.95)
    assert "cannot prove 95 %, even if all" in words(Target(5, -1, None, (10, 20)), 0.95)
    assert "no audit" in words(Target(0, -1, None), 0.95)


def test_people_who_see_every_item_leave_nothing_to_prove() -> None:
    said = words(Target(audit=150, wrong=150, needed=0.0), 0.95)
    assert "every item" in said and "150" not in said


@pytest.mark.parametrize("audit", [None, 15])
def test_the_minutes_that_give_room_do(here: Path, audit: int | None) -> None:
    told = "" if audit is None else f"audit = {audit}\n"
    Path("t.toml").write_text(LADDER.replace("pilot = 12\naudit = 15\n", told))
    goal = ["goal.accuracy=0.9", "goal.person_minutes=20"]
    read, total = config.load("t.toml", goal), 2000
    assert read.person is not None
    seconds = float(read.person.settings.seconds)
    found = target(read, split(20, seconds, read.goal.pilot, read.goal.audit, total), total)
    minutes, write = found.room
    assert minutes > 0 and (write > 0) == (audit is not None)
    share = split(20 + minutes, seconds, read.goal.pilot, write or None, total)
    machine, risk = total - share.pilot - share.escalations, risk_of_look(read.goal.delta, 1)
    needed = accuracy_needed(machine, share.audit, 1 - 200 / machine, risk)
    assert found.needed is None or found.needed > 0.95
    assert needed is not None and needed <= 0.955
