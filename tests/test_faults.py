"""Whole runs against a server that fails: each ends with the right labels, items set aside, or an orderly pause.

And when the server is well again, running again finishes, and nothing that was answered is asked twice.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from agent import config as settings
from agent import loop
from agent.ask import Policy
from agent.config import Config
from agent.store import Store
from tests.cli_room import child
from tests.servers.faulty import MODES, Faulty

N, SLOTS = 24, 8
LABELS = ("spam", "ham")

FAST = Policy(
    attempts=4, wait_s=0.01, longest_wait_s=0.05, deadline_s=8.0, stall_s=8.0, patience_s=0.9, breaker=6, unread=8
)

FINE = {
    "ok",
    "nologprobs400",
    "top5",
    "noseed400",
    "nousage",
    "duplicate",
    "modelchange",
    "slowstart",
    "500burst",
    "wrongtype",
}
"""Modes in which a whole run is answered rightly, by reading log-probabilities."""

VOTED = {"nologprobs", "nanlogprobs"}
"""Modes in which answers are counted instead."""

DOOMED = {
    "401": "refuses the key.*api_key_env",
    "403": "refuses the key",
    "402": "credit is used up.*add credit",
    "quota429": "credit is used up.*add credit",
    "quota403": "credit is used up.*add credit",
    "quota200": "credit is used up.*add credit",
    "404": "does not answer for model 'tiny' .*mend model or base_url",
    "redirect": "redirects.*write the final base_url",
    "429long": "HTTP 429.*asked again in 3600 s",
}
"""Modes that end a run at once, and what it says."""

BROKEN = {
    "hang": "no answer within|no answer has come",
    "drip": "no answer within|no answer has come",
    "cut": "the connection to .* broke",
    "reset": "the connection to .* broke",
    "html200": "a page, not JSON",
    "empty200": "without a body|broken JSON",
    "badjson": "broken JSON",
    "badutf8": "broken JSON",
    "list200": "JSON that is no object",
    "huge": "no answer within|which is no answer",
    "err200": "HTTP 200 with an error: upstream_error",
    "nochoices": "without choices",
    "emptychoices": "without choices",
    "429": "HTTP 429",
    "429seconds": "HTTP 429",
    "429date": "HTTP 429",
    "503": "HTTP 503",
    "500": "HTTP 500",
    "529": "HTTP 529",
}
"""Modes that may pass: some failures are asked again, too many in a row are a pause that says why."""

SILENT = {"hang", "drip", "huge"}
"""Modes that end by our deadline only."""

BAD_ITEM = {
    "400context": "too long.*max_chars",
    "413": "too long.*max_chars",
    "400filter": "refuses the question.*content_filter",
    "nullcontent": "answered nothing",
    "length": "max_tokens",
    "reasoning": "max_tokens",
    "ignore": "none of the options",
    "wrongcode": "none of the options",
}
"""Modes that say that an item cannot be answered, and its reason in the ledger."""


def test_every_mode_is_held_against_its_ending() -> None:
    assert set(MODES) == FINE | VOTED | {*DOOMED, *BROKEN, *BAD_ITEM}
    assert len(MODES) >= 25


def truth(i: int) -> str:
    return LABELS[i % 2]


def project(
    here: Path, server: Faulty, marked: str = "", bad: tuple[int, ...] = (), oracle: str = 'oracle = "openai"'
) -> Config:
    """A pool of N items, marked for the server, and one machine; the items `bad` bring their own fault."""
    with open(here / "pool.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "text"])
        for i in range(N):
            own = f" {marked}" if i in bad else ""
            writer.writerow([f"m{i}", f"message about {i} SENTINEL [[m{i} {truth(i)}{own}]]"])
    (here / "tutelage.toml").write_text(f"""
[task]
labels = {{ spam = "unwanted", ham = "wanted" }}
[pool]
path = "pool.csv"
text = "text"
id = "id"
[[rung]]
{oracle}
model = "tiny"
base_url = "{server.url}"
deadline = {0.3 if server.mode in SILENT else 5.0}
in_flight = {SLOTS}
""")
    return settings.load(here / "tutelage.toml", ())


def answers(config: Config) -> dict[str, str]:
    """Item -> the label its good answer says, by the code of the right option."""
    with Store.open(config.store_url) as store:
        names = dict(zip(store.item_ids(), store.names(), strict=True))
        assert store.verify() == []
        return {str(names[call.item]): answer.text for _, call, answer in store.answers_since(0)}


def errors(config: Config) -> list[str]:
    """The reasons in the ledger."""
    with Store.open(config.store_url) as store:
        query = text("SELECT body FROM answers WHERE status <> 'ok'")
        with store._reading.begin() as connection:
            return list(connection.execute(query).scalars())


def table(config: Config) -> Mapping[str, list[Any]]:
    """The labels as they are given out."""
    from agent import export
    from agent.pool import Pool

    with Store.open(config.store_url) as store:
        return export.labels(config, store, Pool(config.folder / "pool", store.shards()))


def labels(config: Config) -> dict[str, str]:
    """Item -> label, of the items that a machine answered."""
    known, given = answers(config), table(config)
    return {name: label for name, label in zip(given["id"], given["label"], strict=True) if name in known}


def right(config: Config, lost: int = 0) -> bool:
    found = labels(config)
    return len(found) == N - lost and all(label == truth(int(name[1:])) for name, label in found.items())


def healed(config: Config, server: Faulty) -> None:
    """The server is well again: a second run ends with every label right, and nothing was answered twice."""
    before = Counter(server.good)
    server.heal()
    finished = loop.run(config, policy=FAST)
    assert finished.code == 0, finished.reason
    assert right(config)
    assert all(server.good[name] == before[name] for name in before if before[name])


@pytest.mark.parametrize("mode", sorted(FINE | VOTED))
def test_a_server_that_only_wants_to_be_understood_costs_no_label(mode: str, tmp_path: Path) -> None:
    with Faulty(mode) as server:
        config = project(tmp_path, server)
        finished = loop.run(config, policy=FAST)
        assert finished.code == 0, finished.reason
        assert right(config)
        assert server.total <= 2 * N


@pytest.mark.parametrize("mode", sorted(DOOMED))
def test_a_server_that_refuses_us_ends_the_run_at_one_request_a_place(mode: str, tmp_path: Path) -> None:
    with Faulty(mode) as server:
        config = project(tmp_path, server)
        finished = loop.run(config, policy=FAST)
        assert finished.code == loop.PAUSED
        assert re.search(DOOMED[mode], finished.reason)
        assert server.total <= SLOTS
        assert server.elsewhere == 0
        assert "SECRET" not in finished.reason and "SENTINEL" not in finished.reason
        healed(config, server)


@pytest.mark.parametrize("mode", sorted(BROKEN))
def test_a_server_that_is_broken_is_a_pause_and_none_is_asked_twice_after_it(mode: str, tmp_path: Path) -> None:
    with Faulty(mode, after=0.1) as server:
        config = project(tmp_path, server)
        finished = loop.run(config, policy=FAST)
        assert finished.code == loop.PAUSED
        assert re.search(BROKEN[mode], finished.reason)
        assert server.total <= FAST.attempts * (2 * SLOTS + FAST.breaker)
        assert max(server.hits.values()) <= FAST.attempts
        assert not any("SENTINEL" in reason for reason in errors(config))
        healed(config, server)


@pytest.mark.parametrize("mode", ["hang", "cut", "reset", "html200", "badjson", "nochoices", "429seconds", "500"])
def test_trouble_now_and_then_costs_no_label(mode: str, tmp_path: Path) -> None:
    with Faulty(mode, share=0.12, seed=2, after=0.05) as server:
        config = project(tmp_path, server)
        finished = loop.run(config, policy=FAST)
        assert finished.code == 0, finished.reason
        assert right(config)
        assert N < server.total <= FAST.attempts * N
        assert max(server.good.values()) == 1


@pytest.mark.parametrize("mode", sorted(BAD_ITEM))
def test_a_bad_item_is_set_aside_with_its_reason_and_the_others_are_labeled(mode: str, tmp_path: Path) -> None:
    bad = (3, 7, 20)
    with Faulty() as server:
        config = project(tmp_path, server, mode, bad)
        loop.run(config, policy=FAST)
        assert right(config, lost=len(bad))
        assert set(answers(config)) == {f"m{i}" for i in range(N) if i not in bad}
        given = table(config)
        lost = {name: (by, status) for name, by, status in zip(given["id"], given["by"], given["status"], strict=True)}
        assert {lost[f"m{i}"] for i in bad} == {("nobody", "unsure")}, "nobody spoke, so nobody is named"
        assert {by for name, (by, _) in lost.items() if int(name[1:]) not in bad} == {"openai"}
        reasons = [reason for reason in errors(config) if re.search(BAD_ITEM[mode], reason)]
        assert len(reasons) >= len(bad)
        assert not any("SENTINEL" in reason for reason in errors(config))
        assert max(server.hits.values()) <= 2 and server.total <= N + 2 * len(bad)


@pytest.mark.parametrize("mode", ["413", "nullcontent", "length", "ignore"])
def test_where_no_item_can_be_answered_the_run_pauses_instead_of_losing_all(mode: str, tmp_path: Path) -> None:
    with Faulty(mode) as server:
        config = project(tmp_path, server)
        finished = loop.run(config, policy=FAST)
        assert finished.code == loop.PAUSED
        assert re.search(BAD_ITEM[mode], finished.reason)
        assert not answers(config)
        assert server.total < 2 * N


@pytest.mark.parametrize("mode", ["400context", "400filter", "nullcontent"])
def test_a_server_that_refuses_everything_after_a_while_closes_no_item(mode: str, tmp_path: Path) -> None:
    with Faulty(mode, late=5) as server:
        config = project(tmp_path, server)
        finished = loop.run(config, policy=FAST)
        assert finished.code == loop.PAUSED
        assert re.search(f"{FAST.unread} questions in a row failed.*{BAD_ITEM[mode]}.*context length", finished.reason)
        assert len(answers(config)) == 5 and server.total <= 5 + FAST.unread + SLOTS
        healed(config, server)


@pytest.mark.parametrize("wire", ["decisions", "systemone"])
def test_the_wires_of_decisions_hold_as_well(wire: str, tmp_path: Path) -> None:
    endings = {"reset": BROKEN["reset"], "nochoices": "did not answer", "quota429": DOOMED["quota429"]}
    for mode, said in endings.items():
        here = tmp_path / mode
        here.mkdir()
        with Faulty(mode) as server:
            config = project(here, server, oracle=f'oracle = "decisions"\nwire = "{wire}"')
            finished = loop.run(config, policy=FAST)
            assert re.search(said, finished.reason)
            assert finished.code == loop.PAUSED
            healed(config, server)


def test_an_item_that_always_fails_does_not_hold_up_the_others(tmp_path: Path) -> None:
    with Faulty() as server:
        config = project(tmp_path, server, "500", (5,))
        loop.run(config, policy=FAST)
        assert right(config, lost=1)
        assert server.hits["m5"] <= FAST.attempts


def test_the_command_says_why_it_paused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Faulty("quota429") as server:
        config = project(tmp_path, server)
        done = child("run", "--json")
        assert done.returncode == 3, done.stderr
        assert "add credit, then run again" in json.loads(done.stdout)["reason"]
        assert server.total <= SLOTS
        healed(config, server)


def test_the_server_can_be_started_by_hand(root: Path) -> None:
    import subprocess
    import sys
    import urllib.request

    command = [sys.executable, "-m", "tests.servers.faulty", "--mode", "quota429"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/models") as got:  # it serves, and fails only where it is asked questions
            assert json.load(got)["data"][0]["id"] == "tiny"
        server.terminate()
