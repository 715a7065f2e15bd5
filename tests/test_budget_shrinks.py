"""What a call may take shrinks once a server is known: small budgets are spent, and what is left is told in numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from oracle_room import SINGLE, asked, context
from servers.chat import ChatServer

from agent.ask import Asked, Policy, ask
from agent.oracles import openai
from agent.store import Store
from agent.types import Budget, Call, Prompt

Jobs = list[tuple[Call, Prompt]]


def questions(oracle: openai.OpenAI, names: Sequence[int]) -> Jobs:
    """Questions as a list made beforehand has them: each at what it might take before anything is known."""
    made = []
    for i in names:
        prompt = asked(SINGLE, oracle, str(i))
        most = oracle.most(prompt)
        sizes = {"usd": most.usd, "tokens": most.tokens, "requests": most.requests}
        made.append((Call(prompt.key, "recipe", f"item{i}", "far", **sizes), prompt))  # type: ignore[arg-type]
    return made


def run(folder: Path, server: ChatServer, names: Sequence[int], budget: Budget | None) -> Asked:
    """One run: a process of its own knows nothing of what the one before has learnt."""
    settings = openai.Settings("tiny", server.url, in_flight=16, deadline=5.0, usd_per_mtok_in=1.0)
    oracle = openai.build(settings, context(SINGLE))

    async def go(store: Store) -> Asked:
        try:
            return await ask(store, oracle, questions(oracle, names), Policy(budget=budget, wait_s=0.01))
        finally:
            await oracle.close()

    with Store.open(folder / "ledger.db") as store:
        found = asyncio.run(go(store))
        total = store.spend().total
        assert (total.held_requests, total.held_tokens) == (0, 0)
        assert budget is None or budget.calls is None or total.requests <= budget.calls
        assert store.verify() == []
    return found


def test_a_small_budget_is_spent_to_its_last_call(tmp_path: Path) -> None:
    with ChatServer(right="good") as server:
        found = run(tmp_path, server, range(40), Budget(calls=20))
        assert found.answered == 19 == len(server.requests)
        assert (found.lack.short, found.lack.left, found.lack.needs) == ("calls", 1, 2)


@pytest.mark.parametrize("of", ["tokens", "usd"])
def test_tokens_and_dollars_shrink_alike(of: str, tmp_path: Path) -> None:
    with ChatServer(right="good") as server:
        run(tmp_path, server, range(1), None)
        first = 102 if of == "tokens" else 100e-6
        budget = Budget(tokens=30 * 102) if of == "tokens" else Budget(usd=30 * 100e-6)
        found = run(tmp_path, server, range(1, 60), budget)
        assert 8 <= found.answered < 30 and found.lack.short == of
        assert found.lack.left < found.lack.needs < 20 * first


def test_an_earlier_run_tells_that_no_votes_are_needed(tmp_path: Path) -> None:
    with ChatServer(right="good") as server:
        assert run(tmp_path, server, range(2), None).answered == 2
        found = run(tmp_path, server, range(2, 10), Budget(calls=9))
        assert found.answered == 6, "11 calls are not put by for a question that will need 1"


def test_where_the_hope_was_wrong_votes_are_reserved_and_no_budget_is_exceeded(tmp_path: Path) -> None:
    with ChatServer(right="good") as server:
        assert run(tmp_path, server, range(2), None).answered == 2
        server.mode = "nologprobs"
        found = run(tmp_path, server, range(2, 30), Budget(calls=60))
        assert found.answered >= 10 and found.failed == found.given_up == 0 and not found.paused
