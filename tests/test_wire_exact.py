"""The oracle `openai`: exact log-probabilities of models that would rather write something else; keys."""

from __future__ import annotations

import asyncio

import pytest
from oracle_room import SINGLE, ask, asked, chat, one, read
from servers.chat import ChatServer

from agent.errors import CallFailed, EndpointDown, Transient
from agent.types import Answer


def test_a_first_token_that_is_no_option_leaves_the_codes_to_be_read():
    with ChatServer("astray", right="good", vllm=True) as server:
        made, answer = one(server)
        assert len(server.requests) == 1
    assert read(SINGLE, made, answer)["label"]["good"] == pytest.approx(0.7 / 0.9)
    assert "mass=0.90" in answer.flags and answer.requests == 1


def test_a_model_that_thinks_first_gets_room_and_is_read_behind_its_thoughts():
    with ChatServer("thinks", right="good", vllm=True) as server:
        oracle = chat(server, usd_per_mtok_in=1.0, usd_per_mtok_out=1.0)
        prompts = [asked(SINGLE, oracle, str(i)) for i in range(5)]
        first = oracle.most(prompts[0])
        answers = ask(oracle, *prompts)
        bodies = [request.body for request in server.requests]
    assert [body["max_tokens"] for body in bodies] == [1, 256] * 3 + [256] * 2
    assert all(("structured_outputs" in body) == (body["max_tokens"] > 1) for body in bodies)
    assert not any("min_tokens" in body for body in bodies if body["max_tokens"] > 1)
    assert [answer.requests for answer in answers] == [2, 2, 2, 1, 1] and answers[0].usd <= first.usd
    for made, answer in zip(prompts, answers, strict=True):
        assert read(SINGLE, made, answer)["label"]["good"] == pytest.approx(0.7 / 0.9)


def test_thoughts_are_not_read_where_only_the_likeliest_are_listed():
    with ChatServer("thinks", right="good") as server:
        made, answer = one(server, max_tokens=300)
    assert read(SINGLE, made, answer)["label"]["good"] == pytest.approx(0.7 / 0.9, abs=0.02)


def test_exact_ones_that_are_refused_in_mid_run_are_done_without():
    with ChatServer(right="good", vllm=True) as server:
        oracle = chat(server)
        prompts = [asked(SINGLE, oracle, str(i)) for i in range(4)]

        async def run() -> list[Answer]:
            answers = [await oracle.answer(prompts[0])]
            server.mode = "noids400"
            with pytest.raises(Transient, match="logprob_token_ids") as caught:
                await oracle.answer(prompts[1])
            assert not caught.value.billed and caught.value.after == 0
            answers += [await oracle.answer(made) for made in prompts[1:]]
            await oracle.close()
            return answers

        answers = asyncio.run(run())
        bodies = [request.body for request in server.requests]
    assert len(bodies) == 5 and [answer.requests for answer in answers] == [1] * 4
    assert all(body["top_logprobs"] == 20 and body["max_tokens"] == 16 for body in bodies[2:])
    for made, answer in zip(prompts, answers, strict=True):
        assert read(SINGLE, made, answer)["label"]["good"] == pytest.approx(0.7 / 0.9)


@pytest.mark.parametrize(("then", "kind"), [("429", Transient), ("bad400", CallFailed)])
def test_a_question_whose_second_request_fails_was_paid_for(then, kind):
    with ChatServer("roomy", right="good") as server:
        server.then = then
        with pytest.raises(kind) as caught:
            one(server)
        assert len(server.requests) == 2 and caught.value.billed


def test_exact_ones_that_are_refused_at_first_are_no_answer_of_one_token():
    with ChatServer("noids400", right="good", vllm=True) as server:
        oracle = chat(server)
        made = asked(SINGLE, oracle)
        (answer,) = ask(oracle, made)
        refused, short, whole = (request.body for request in server.requests)
    assert (refused["max_tokens"], short["max_tokens"], whole["max_tokens"]) == (1, 1, 16)
    assert answer.requests == 3 and answer.tokens_in == 200


# Keys.

HOSTED = {"OPENAI_API_KEY": "sk-openai", "AZURE_OPENAI_API_KEY": "sk-azure", "MY_KEY": "sk-mine"}


@pytest.mark.parametrize(
    ("host", "named", "key"),
    [
        ("api.openai.com", None, "sk-openai"),
        ("eu.api.openai.com", None, "sk-openai"),
        ("mine.openai.azure.com", None, "sk-azure"),
        ("mine.cognitiveservices.azure.com", None, "sk-azure"),
        ("api.openai.com", "MY_KEY", "sk-mine"),
        ("models.example", "MY_KEY", "sk-mine"),
        ("models.example", None, None),
        ("evilapi.openai.com.models.example", None, None),
        ("notopenai.com", None, None),
    ],
)
def test_a_key_goes_only_where_it_belongs(monkeypatch, host, named, key):
    for name, value in HOSTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-ours")
    with ChatServer(right="good") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        where = {"base_url": f"http://{host}/v1", "api_key_env": named}
        if key is None:
            with pytest.raises(
                EndpointDown, match=rf'{host}/v1 needs a key: write api_key_env = "NAME" \(the variable'
            ):
                one(proxy, **where)
            assert not proxy.requests and not proxy.others
            return
        one(proxy, **where)
        (request,) = proxy.requests
    assert request.headers["authorization"] == f"Bearer {key}"
    assert ("openai-organization" in request.headers) == host.endswith("api.openai.com")


def test_a_server_near_by_is_told_no_key_unless_one_is_named_for_it(monkeypatch):
    for name, value in HOSTED.items():
        monkeypatch.setenv(name, value)
    with ChatServer(right="good") as server:
        one(server)
        one(server, api_key_env="MY_KEY")
        first, second = (request.headers["authorization"] for request in server.requests)
    assert not any(value in first for value in HOSTED.values()) and second == "Bearer sk-mine"
