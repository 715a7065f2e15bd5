"""What attempts that came to nothing are booked at: what left, and what it took; real servers on loopback."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from oracle_room import SINGLE, asked, context
from servers.chat import ChatServer

from agent.ask import Asked, Policy, ask
from agent.oracles import openai
from agent.store import Store
from agent.store.rows import Usage
from agent.types import Answer, Budget, Call

N = 12


def run(folder: Path, url: str, policy: Policy, **more: object) -> tuple[Asked, Usage]:
    settings = openai.Settings("tiny", url, in_flight=8, deadline=2.0, **more)  # type: ignore[arg-type]
    oracle = openai.build(settings, context(SINGLE))
    jobs = []
    for i in range(N):
        prompt = asked(SINGLE, oracle, str(i))
        most = oracle.most(prompt)
        jobs.append((Call(prompt.key, "recipe", f"item{i}", "far", tokens=most.tokens, requests=most.requests), prompt))

    async def go(store: Store) -> Asked:
        try:
            return await ask(store, oracle, jobs, policy)
        finally:
            await oracle.close()

    with Store.open(folder / "ledger.db") as store:
        found = asyncio.run(go(store))
        assert store.verify() == []
        return found, store.spend().total


FAST = Policy(attempts=2, wait_s=0.01, longest_wait_s=0.02, deadline_s=5.0, breaker=3, unread=4, stall_s=3.0)


def test_a_port_where_nobody_listens_costs_no_call(tmp_path: Path) -> None:
    with ChatServer() as gone:
        pass
    found, total = run(tmp_path, gone.url, Policy(budget=Budget(calls=50)))
    assert "no endpoint answers" in found.paused
    assert (total.requests, total.tokens, total.errors, total.held_requests) == (0, 0, 0, 0)


def test_without_a_key_no_call_is_counted(tmp_path: Path) -> None:
    found, total = run(tmp_path, "https://api.openai.com/v1", FAST, api_key_env="NO_SUCH_KEY")
    assert "needs a key" in found.paused
    assert (total.requests, total.errors) == (0, 0)


@pytest.mark.parametrize("mode", ["401", "402", "404", "quota429", "redirect"])
def test_a_refusal_for_good_is_one_request_and_one_error(mode: str, tmp_path: Path) -> None:
    with ChatServer(mode) as server:
        found, total = run(tmp_path, server.url, FAST)
        assert found.paused
        assert total.requests == total.errors == len(server.requests) == 1


@pytest.mark.parametrize("mode", ["nousage", "null", "500", "html200"])
def test_what_came_back_is_booked_as_the_requests_it_was(mode: str, tmp_path: Path) -> None:
    with ChatServer("ok" if mode == "nousage" else mode, right="good") as server:
        server.usage = mode != "nousage"
        _, total = run(tmp_path, server.url, FAST)
        assert total.requests == len(server.requests) > 0


def test_what_a_killed_process_left_is_told_apart(tmp_path: Path) -> None:
    with Store.open(tmp_path / "ledger.db") as store:
        calls = [Call(f"key{i}", "r", f"item{i}", "far", usd=0.5, tokens=900, requests=11) for i in range(3)]
        store.reserve(calls, None)
        store.record_now("key0", Answer("A", usd=0.1, tokens_in=80, requests=1))
        store.cut_short(["far"])
        total = store.spend().total
    assert (total.requests, total.tokens, total.usd) == (23, 1880, 1.1)
    assert (total.lost_requests, total.lost_tokens, total.lost_usd, total.errors) == (22, 1800, 1.0, 0)


def test_a_server_that_goes_away_is_said_once_and_waited_for_only_so_long(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ChatServer(right="good") as server:
        settings = openai.Settings("tiny", server.url, in_flight=4, deadline=2.0)
        oracle = openai.build(settings, context(SINGLE))
        asyncio.run(_known(oracle))
    jobs = []
    for i in range(N):
        prompt = asked(SINGLE, oracle, str(i))
        jobs.append((Call(prompt.key, "recipe", f"item{i}", "far", tokens=900, requests=2), prompt))
    policy = Policy(stall_s=60.0, gone_s=2.0, attempts=2, wait_s=0.01, breaker=3)
    with Store.open(tmp_path / "ledger.db") as store:

        async def go() -> Asked:
            try:
                return await asyncio.wait_for(ask(store, oracle, jobs, policy), 30)
            finally:
                await oracle.close()

        found = asyncio.run(go())
        total = store.spend().total
    assert f"no server answers at {server.url} since" in found.paused and "start it again" in found.paused
    assert (total.requests, total.errors, total.held_requests, found.given_up) == (0, 0, 0, 0)
    said = [r.getMessage() for r in caplog.records if r.name == "tutelage"]
    assert len(said) == 1 and "waiting until" in said[0]


async def _known(oracle: openai.OpenAI) -> None:
    await oracle.answer(asked(SINGLE, oracle, "first"))
    await oracle.close()


def test_a_page_for_people_pauses_at_the_third_question(tmp_path: Path) -> None:
    with ChatServer("html200") as server:
        found, total = run(tmp_path, server.url, Policy(wait_s=5.0))
        assert "a page, not JSON" in found.paused
        assert total.requests == len(server.requests) <= 9
