"""What `tutelage plan` tells before a run, and what its pilot asks and measures."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cli_room import LADDER, call, good, with_ladder, with_pool
from servers.able import Able
from servers.chat import ChatServer

from agent import config
from agent.belief import believe
from agent.board import PILOT, Board
from agent.certify import draw
from agent.cli.pilot import interval, rows
from agent.cli.plan import span
from agent.kinds import single
from agent.loop import forming, measure, people
from agent.loop.ground import open_ground
from agent.pool import Pool
from agent.store import Store
from agent.types import Layout, Task

TWO = """[[rung]]
oracle = "scripted"
name = "cheap"
accuracy = 0.7
bill_usd = 0.0
[[rung]]
oracle = "scripted"
name = "dear"
accuracy = 0.95
bill_usd = 0.01
[[rung]]
oracle = "person"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pool of 60 rows, which is the current one."""
    return with_pool(tmp_path, monkeypatch)


@pytest.fixture
def ready(here: Path) -> Path:
    """The same with a tutelage.toml of fast plug-ins."""
    return with_ladder(here)


@pytest.fixture
def two(here: Path) -> Path:
    """Two machines, the second of which sends bills; no student."""
    (here / "tutelage.toml").write_text(LADDER[: LADDER.index("[[rung]]")] + TWO)
    return here


def spent() -> tuple[int, int, float]:
    """Calls, answers, dollars of the ledger."""
    with Store.open(Path("tutelage-run/ledger.db")) as store:
        found = store.spend()
    return found.calls, found.answers, round(found.usd, 6)


def openai(url: str, more: str = "") -> str:
    rung = f'oracle = "openai"\nname = "llm"\nmodel = "able"\nbase_url = "{url}"\n{more}'
    return LADDER.replace('oracle = "scripted"\naccuracy = 0.9', rung)


# Without asking anybody.


def test_a_plan_spends_and_makes_nothing(ready: Path) -> None:
    body = good("plan", "--set", "rung.scripted.bill_usd=0.01", "--set", "rung.scripted.samples=2")
    assert body["items"] == 60 and body["worst_usd"] == pytest.approx(1.2)
    assert 0 < body["usd"][0] <= body["usd"][1] <= body["worst_usd"] + 1e-9
    assert (body["people"]["pilot"], body["people"]["audit"], body["people"]["escalations"]) == (12, 15, 10)
    assert [row["bar"] for row in body["ladder"]] == [0.97, 0.97, None]
    assert "number 0" in body["prompts"]["scripted"] and "billing" in body["prompts"]["scripted"]
    assert body["pilot"] is None and not (ready / "tutelage-run").exists()


def test_what_matters_comes_first(ready: Path) -> None:
    done = call("run", "--dry-run", "--limit", "7", "--set", "rung.scripted.bill_usd=0.01").stdout.splitlines()
    assert done[0].startswith("7 items") and done[2].startswith("money") and "$" in done[2]
    assert [line.split()[0] for line in done[2:6]] == ["money", "machines", "people", "goal"]
    assert "minutes" in done[4] and any("tutelage plan --pilot 7" in line for line in done[6:9])
    assert any("what scripted is sent" in line for line in done) and not (ready / "tutelage-run").exists()


def test_votes_are_counted_in(here: Path) -> None:
    Path("votes.toml").write_text(openai("http://127.0.0.1:9/v1", "votes = 3"))
    (row,) = (row for row in good("plan", "-c", "votes.toml")["ladder"] if row["name"] == "llm")
    assert (row["calls_at_most"], row["answers_at_most"]) == (60, 240) and row["tokens_from"] == "estimated"
    assert "up to 60 × 4 = 240 answers" in call("plan", "-c", "votes.toml").stdout
    Path("several.toml").write_text(openai("http://127.0.0.1:9/v1").replace("[task]", '[task]\nkind = "multi"'))
    (row,) = (row for row in good("plan", "-c", "several.toml")["ladder"] if row["name"] == "llm")
    assert row["answers_at_most"] == 60


def test_tokens_are_counted_where_that_is_free(here: Path) -> None:
    with ChatServer(right="billing", vllm=True) as server:
        Path("t.toml").write_text(openai(server.url))
        (row,) = (row for row in good("plan", "-c", "t.toml")["ladder"] if row["name"] == "llm")
        assert row["tokens_from"] == "counted by its /tokenize" and not server.requests
        before = len(server.others)
        (row,) = (row for row in good("plan", "--offline", "-c", "t.toml")["ladder"] if row["name"] == "llm")
    assert row["tokens_from"] == "estimated" and len(server.others) == before


def test_a_pilot_and_offline_are_a_contradiction(ready: Path) -> None:
    done = call("plan", "--pilot", "5", "--offline")
    assert done.exit_code == 2 and "leave one of the two out" in done.stderr


def test_lengths_of_time_are_in_the_unit_that_fits() -> None:
    assert [span(s) for s in (0.4, 59, 600, 7200, 200_000)] == ["0 s", "59 s", "10 min", "2.0 h", "2.3 days"]


def test_a_price_that_is_not_known_is_no_price_of_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYKEY", "x")
    Path("t.toml").write_text(openai("https://models.example/v1", 'api_key_env = "MYKEY"'))
    assert good("plan", "-c", "t.toml")["unpriced"] == {"llm": "able"}
    assert "money        not known: no price for able (rung llm)" in call("plan", "-c", "t.toml").stdout
    done = call("plan", "--pilot", "5", "--yes", "-c", "t.toml")
    assert done.exit_code == 2 and "the price of able is not known" in done.stderr and spent()[0] == 0


# The pilot.


def test_a_pilot_is_measured_and_never_paid_for_twice(two: Path) -> None:
    body = good("plan", "--pilot", "40", "--yes")
    found = body["pilot"]["machines"]
    # 40 items and every fourth of them a second time, for two machines
    assert spent() == (100, 100, pytest.approx(0.5)) and body["pilot"]["usd"] == pytest.approx(0.5)
    assert found["dear"]["usd"] == pytest.approx(0.01) and found["cheap"]["usd"] == 0
    assert found["dear"]["answered"] == 50 and found["dear"]["same"][1] == 10
    assert found["cheap"]["with_others"]["dear"][1] == 40 and sum(found["dear"]["shares"].values()) == pytest.approx(1)
    assert found["dear"]["pace"] > 0 and found["dear"]["comes"] is not None and found["cheap"]["comes"] is None
    again = good("plan", "--pilot", "40")
    assert spent()[0] == 100 and again["pilot"]["usd"] == 0
    assert again["pilot"]["machines"]["dear"]["pace"] == pytest.approx(found["dear"]["pace"])


def test_the_run_uses_what_the_pilot_asked(two: Path) -> None:
    assert call("plan", "--pilot", "30", "--yes").exit_code == 0
    told = recipes()
    with Store.open(Path("tutelage-run/ledger.db")) as store:
        before = {call.key for _, _, call, _ in store.events_since(0, told)}
    assert call("run", "--people", "gold").exit_code in (0, 3, 4, 5)
    with Store.open(Path("tutelage-run/ledger.db")) as store:
        keys = Counter(call.key for _, _, call, _ in store.events_since(0, told))
        used = store.spend()
    assert len(before) == 76 and before <= set(keys) and set(keys.values()) == {1}
    assert used.by["cheap"].calls == used.by["cheap"].answers, "nothing was asked twice"


def recipes() -> list[str]:
    ground = open_ground(config.load("tutelage.toml"), None, None, False)
    try:
        forming.begin(ground)
        return list(ground.recipes)
    finally:
        ground.store.close()


def test_money_is_not_spent_without_a_word(two: Path) -> None:
    done = call("plan", "--pilot", "10")
    assert done.exit_code == 2 and "add --yes to spend it" in done.stderr and "$0.1300" in done.stderr
    assert spent() == (0, 0, 0)


def test_a_pilot_stays_within_the_budget(two: Path) -> None:
    done = call("plan", "--pilot", "40", "--yes", "--set", "goal.budget_usd=0.1")
    assert done.exit_code == 0 and "it was cut short" in done.stdout
    assert spent()[2] <= 0.1


def test_why_a_machine_whose_form_the_pilot_chooses_is_not_asked(two: Path) -> None:
    text = Path("tutelage.toml").read_text()
    forms = 'name = "cheap"\nform = "pilot"\ntemplates = ["words.j2", "codes.j2"]'
    text = (
        text.replace('name = "cheap"', forms).replace("pilot = 12", "pilot = 45").replace("minutes = 5", "minutes = 9")
    )
    Path("tutelage.toml").write_text(text)

    def why() -> str:
        return str(good("plan", "--pilot", "10", "--yes")["pilot"]["machines"]["cheap"]["why"])

    assert why() == "its form is chosen by people's pilot answers, which are not there yet"
    ground = open_ground(config.load("tutelage.toml"), "gold", None, False)
    try:
        ground.store.reserve(people.random_streams(ground, 2), None)
        asyncio.run(people.answer(ground))
    finally:
        ground.store.close()
    assert "puts people's pilot items to it in each form next" in why()


def test_people_say_how_right_it_is(two: Path) -> None:
    call("run", "--people", "gold")
    body = good("plan", "--pilot", "20", "--yes")
    found = body["pilot"]["machines"]["dear"]
    right, of = found["right"]
    assert of == 12 and 0 <= found["low"] <= right / of <= found["high"] <= 1
    assert body["pilot"]["right"][1] == 12 and 0 <= body["pilot"]["covers"] <= 1
    text = call("plan", "--pilot", "20", "--yes").stdout
    assert "by people (" in text and "all machines together are right in" in text


def test_a_machine_that_waits_for_examples_is_not_asked(two: Path) -> None:
    body = good("plan", "--pilot", "10", "--yes", "--set", "rung.dear.shots=2")
    assert "examples" in body["pilot"]["machines"]["dear"]["why"] and body["pilot"]["machines"]["cheap"]["answered"] > 0


def test_which_items_are_asked_about_does_not_depend_on_the_audit(two: Path) -> None:
    """Among the items that people's pilot leaves, those of the audit are as likely as others."""
    audited, others = 0, 0
    for seed in range(40):
        read = config.load("tutelage.toml", [f"run.seed={seed}", f"run.dir=run{seed}"])
        ground = open_ground(read, None, None, False)
        try:
            people, drawn = rows(ground, 36)
        finally:
            ground.store.close()
        order = draw(ground.pool.ids, seed)
        assert people == order[:12] and not set(people) & set(drawn) and len(drawn) == 24
        audited += len(set(order[12:27]) & set(drawn))
        others += len(set(order[27:]) & set(drawn))
    low, high = interval(audited, audited + others)
    assert low < 15 / 48 < high


def test_the_interval_is_clopper_and_pearsons() -> None:
    assert interval(9, 10) == (pytest.approx(0.5550, abs=1e-4), pytest.approx(0.9975, abs=1e-4))
    assert interval(0, 0) == (0.0, 1.0) and interval(5, 5)[1] == 1.0


def test_a_server_is_measured_for_real(here: Path) -> None:
    with Able(cached=40) as server:
        Path("t.toml").write_text(openai(server.url, "usd_per_mtok_in = 1.0\nusd_per_mtok_out = 1.0\n"))
        body = good("plan", "--pilot", "20", "--yes", "-c", "t.toml")
        text = call("plan", "--pilot", "20", "-c", "t.toml").stdout
    found = body["pilot"]["machines"]["llm"]
    assert (found["tokens_in"], found["tokens_cached"], found["tokens_out"]) == (80, 40, 1)
    (row,) = (row for row in body["ladder"] if row["name"] == "llm")
    assert row["tokens_each"] == 80 and row["usd"][1] == pytest.approx(60 * found["usd"])
    assert "50% of them from the cache" in text and np.isfinite(row["seconds"]).all()


def test_agreement_with_people_is_told_by_answers_that_nothing_was_fitted_on(tmp_path: Path) -> None:
    """What people said of an item changes nothing of what a machine is taken to have said of it when it is judged."""
    names, pilot, n = tuple("abcdef"), 40, 300
    layout, draw = Layout(("label",), (names,)), np.random.default_rng(0)
    task = Task("t", "single", dict.fromkeys(names, ""))
    board = Board(task, single, layout, Pool(tmp_path), n, ["machine"], "person")
    truth = draw.integers(0, 6, n)
    logs = draw.normal(0, 1, (n, 6)) + draw.normal(0, 1, 6)
    logs[np.arange(n), truth] += 1.2
    board.machine["machine"].logs += logs.astype(np.float32)
    board.machine["machine"].soft += 1
    board.people.said[np.arange(pilot), truth[:pilot]] = 1
    board.people.answered[:pilot], board.people.stream[:pilot] = True, PILOT
    machine: Any = SimpleNamespace(
        rung=SimpleNamespace(name="machine"), traits=SimpleNamespace(calibrate=True), ways=None
    )
    ground: Any = SimpleNamespace(board=board, layout=layout, machines=[machine])
    rows, before = measure.crossed(ground, [machine])
    fitted = believe(board, None, {"machine": True}, True).machine
    assert rows.tolist() == list(range(pilot)) and board.pilot.sum() == pilot, "the board is as it was"
    assert (before.argmax(axis=1) == truth[:pilot]).mean() > 0.3
    for row in range(0, pilot, 7):
        kept = board.people.said[row].copy()
        board.people.said[row] = np.roll(kept, 1)
        assert np.array_equal(measure.crossed(ground, [machine])[1][row], before[row])
        assert not np.array_equal(believe(board, None, {"machine": True}, True).machine[row], fitted[row])
        board.people.said[row] = kept
    board.machine["machine"].soft[5] = 0
    assert 5 not in measure.crossed(ground, [machine])[0]
