"""What an answer is booked at where a server counts no tokens, or loses a part of what it was asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from oracle_room import MULTI, SINGLE, ask, asked, chat, context
from servers.chat import ChatServer
from servers.decide import DecideServer

from agent.ask import Policy
from agent.ask import ask as ask_all
from agent.errors import CallFailed, EndpointDown
from agent.oracles import _bodies, decisions, openai
from agent.store import Store
from agent.types import Budget, Call, Item, Message, Option, Part, Prompt, Question
from tests.servers.faulty import Faulty

PRICES = {"usd_per_mtok_in": 1.0, "usd_per_mtok_out": 10.0}


@pytest.mark.parametrize(("logprobs", "answers"), [("auto", 1), ("no", 5)])
def test_a_server_that_counts_no_tokens_is_booked_at_the_most_for_every_answer_drawn(logprobs, answers):
    with ChatServer(right="good") as server:
        server.usage = False
        oracle = chat(server, logprobs=logprobs, max_tokens=16, **PRICES)
        made = asked(SINGLE, oracle)
        (answer,) = ask(oracle, made)
    assert (answer.tokens_in, answer.tokens_out) == (_bodies.tokens(made), 16 * answers)
    assert answer.usd == pytest.approx((answer.tokens_in + 10 * answer.tokens_out) / 1e6)
    most = chat(server, logprobs=logprobs, **PRICES).most(made)
    assert answer.usd <= most.usd and answer.tokens_in + answer.tokens_out <= most.tokens


def test_a_second_longer_answer_is_booked_with_its_own_room():
    with ChatServer("roomy", right="good") as server:
        server.usage = False
        oracle = chat(server, max_tokens=16)
        made = asked(SINGLE, oracle)
        (answer,) = ask(oracle, made)
    assert answer.requests == 2 and answer.tokens_in == 2 * _bodies.tokens(made)
    assert answer.tokens_out == 16 + _bodies.longer(16)


@pytest.mark.parametrize("task", [SINGLE, MULTI])
def test_decisions_that_count_no_tokens_are_booked_at_the_most(task):
    with DecideServer("nousage", right="good") as server:
        oracle = decisions.build(decisions.Settings("d", base_url=server.url, **PRICES), context(task))
        made = asked(task, oracle)
        (answer,) = ask(oracle, made)
    most = oracle.most(made)
    assert (answer.tokens_in + answer.tokens_out, answer.usd) == (most.tokens, pytest.approx(most.usd))


def test_votes_that_were_lost_on_the_way_are_booked_with_those_that_came():
    with ChatServer("nologprobs", right="good") as server:
        server.drawn, server.later = ["good"], "cut"
        oracle = chat(server, logprobs="no", max_tokens=16)
        made = asked(SINGLE, oracle)
        (answer,) = ask(oracle, made)
        assert len(server.requests) == 2
    assert "votes" in answer.flags and answer.served_model == "tiny-2026" and answer.requests == 2
    assert answer.tokens_in == 100 + _bodies.tokens(made)
    assert answer.tokens_out == 2 * 5 + 16 * 4, "five were asked for and one came; then four that never did"


def test_votes_that_were_refused_on_the_way_cost_nothing():
    with ChatServer("nologprobs", right="good") as server:
        server.drawn, server.later = ["good"], "long400"
        oracle = chat(server, logprobs="no")
        (answer,) = ask(oracle, asked(SINGLE, oracle))
    assert (answer.tokens_in, answer.requests) == (100, 2)


@pytest.mark.parametrize(("later", "kind"), [("401", EndpointDown), ("long400", CallFailed)])
def test_what_was_paid_before_a_refusal_is_said(later, kind):
    with ChatServer("roomy", right="good") as server:
        server.later = later
        oracle = chat(server)
        with pytest.raises(kind) as caught:
            ask(oracle, asked(SINGLE, oracle))
        assert len(server.requests) == 2 and caught.value.billed


@pytest.mark.parametrize(("budget", "usd"), [(Budget(tokens=60_000), None), (Budget(0.1), 1.0)])
@pytest.mark.parametrize("logprobs", ["auto", "no"])
def test_a_budget_holds_with_a_server_that_counts_no_tokens(tmp_path: Path, budget: Budget, usd, logprobs) -> None:
    async def main(oracle: openai.OpenAI, store: Store) -> int:
        jobs = []
        for i in range(200):
            said = Message("user", f"A: a\nB: b\n{'word ' * 100}[[{i} a]]")
            question = Question(Item(f"i{i}", (Part("text/plain", "t"),)), (Option("A", "a"), Option("B", "b")))
            prompt = Prompt(f"k{i}", question, (said,))
            most = oracle.most(prompt)
            taken = {"usd": most.usd, "tokens": most.tokens, "requests": most.requests}
            jobs.append((Call(f"k{i}", "r", f"i{i}", "x", **taken), prompt))
        asked_all = await ask_all(store, oracle, jobs, Policy(budget=budget))
        await oracle.close()
        assert asked_all.refused_by_budget and asked_all.answered
        return asked_all.answered

    with Faulty("nousage") as server, Store.open(tmp_path / "ledger.db") as store:
        settings = openai.Settings("tiny", server.url, logprobs=logprobs, usd_per_mtok_in=usd, usd_per_mtok_out=usd)
        answered = asyncio.run(main(openai.OpenAI(settings), store))
        total = store.spend().total
        assert total.tokens >= answered * 500 and total.tokens <= (budget.tokens or 10**9)
        assert total.usd <= (budget.usd or 0.0) and (total.usd > 0) == bool(usd)
