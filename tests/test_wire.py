"""The oracle `openai` against a real server on loopback: what leaves, what is read, every fault, what it may take."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from dataclasses import replace
from datetime import date
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle_room import MULTI, SINGLE, TEXT, ask, asked, chat, context, one, read
from servers.chat import BODIES, ChatServer, completion

from agent import oracles, plugins
from agent.errors import CallFailed, EndpointDown, Transient, TutelageError, Unparsable
from agent.oracles import openai
from agent.types import Answer, Item, Task

KEY = "sk-KEYSENTINEL"


# What leaves, and what is read.


def test_the_key_is_in_the_header_only_and_the_item_comes_last(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-ours")
    with ChatServer(right="good") as server:
        one(server, api_key_env="MY_KEY")
        (request,) = server.requests
    assert not [name for name in request.headers if name.startswith(("openai-", "x-stainless"))]
    assert request.headers["authorization"] == f"Bearer {KEY}"
    body = json.dumps(request.body)
    assert KEY not in body and body.count("SENTINEL") == 1
    content = request.body["messages"][-1]["content"]
    assert content.index(TEXT) > content.rindex("so so") and len(content.split(TEXT)[1]) < 16
    assert "gold" not in body


def test_a_line_end_behind_a_key_is_left_out_and_other_signs_are_no_key(monkeypatch):
    monkeypatch.setenv("MY_KEY", f" {KEY}\r\n")
    with ChatServer(right="good") as server:
        one(server, api_key_env="MY_KEY")
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        for wrong in (f"{KEY}\nX-Other: 1", f"{KEY}\x1b", f"{KEY}\u00a0b"):
            monkeypatch.setenv("MY_KEY", wrong)
            with pytest.raises(EndpointDown, match="MY_KEY holds a line's end") as caught:
                one(server, api_key_env="MY_KEY")
            assert "SENTINEL" not in str(caught.value)
        assert len(server.requests) == 1


def test_what_cannot_be_sent_is_said_before_anything_is_asked():
    with pytest.raises(ValueError, match="extra holds a value that is no JSON"):
        openai.Settings("tiny", extra={"until": date(2026, 1, 1)})


@pytest.mark.parametrize("mode", ["ok", "space"])
@pytest.mark.parametrize("vllm", [False, True])
def test_the_distribution_is_read_from_log_probabilities(mode, vllm):
    with ChatServer(mode, right="good", vllm=vllm) as server:
        made, answer = one(server)
        body = server.requests[0].body
    assert read(SINGLE, made, answer)["label"]["good"] == pytest.approx(0.7 / 0.9)
    assert "mass=0.90" in answer.flags and answer.served_model == "tiny-2026"
    assert (answer.tokens_in, answer.tokens_out, answer.tokens_cached, answer.usd) == (100, 2, 64, 0.0)
    assert ("logprob_token_ids" in body) == vllm and ("top_logprobs" in body) != vllm
    assert "structured_outputs" not in body, "a constraint would scale the codes' mass to one"
    assert body["max_tokens"] == (1 if vllm else 16)


def test_a_code_that_was_not_listed_is_less_likely_than_all_that_were():
    with ChatServer("unlisted", right="good") as server:
        _, answer = one(server)
    scores = sorted(answer.logprobs.values())
    assert len(scores) == 3 and scores[0] == pytest.approx(math.log(0.05) - 1)


@pytest.mark.parametrize("mode", ["nologprobs", "nologprobs400"])
def test_without_log_probabilities_votes_are_counted_and_it_is_said_once(mode, caplog):
    with caplog.at_level(logging.WARNING), ChatServer(mode, right="good") as server:
        oracle = chat(server)
        prompts = [asked(SINGLE, oracle, name) for name in ("i", "j", "k")]
        answers = ask(oracle, *prompts)
        votes = [r.body for r in server.requests if r.body.get("n")]
    for made, answer in zip(prompts, answers, strict=True):
        assert read(SINGLE, made, answer)["label"]["good"] == pytest.approx(5.5 / 6.5)
        assert "votes" in answer.flags
    assert [v["n"] for v in votes] == [5, 5, 5] and {v["temperature"] for v in votes} == {0.7}
    assert answers[0].tokens_in == 200 and answers[1].tokens_in == 100
    assert len({v["seed"] for v in votes}) == 3
    said = [r.getMessage() for r in caplog.records if "log-probabilities" in r.getMessage()]
    assert said == [f"{server.url} gives no log-probabilities: asking 5 times and counting votes"]


def test_votes_that_differ_are_shares():
    with ChatServer("nologprobs") as server:
        server.drawn = ["good", "good", "good", "bad", "so so"]
        made, answer = one(server, logprobs="no")
    label = read(SINGLE, made, answer)["label"]
    assert label == pytest.approx({"good": 3.5 / 6.5, "bad": 1.5 / 6.5, "so so": 1.5 / 6.5})
    assert answer.text == next(o.code for o in made.question.options if o.choice == "good")


@pytest.mark.parametrize(("mode", "logprobs"), [("prose", "auto"), ("prose", "no")])
def test_prose_is_handed_on_and_never_becomes_a_label(mode, logprobs):
    with ChatServer(mode) as server:
        made, answer = one(server, logprobs=logprobs)
    assert answer.logprobs is None
    with pytest.raises(Unparsable):
        read(SINGLE, made, answer)


def test_several_labels_are_asked_for_with_a_schema_and_read_from_the_text():
    with ChatServer(right="toxic") as server:
        made, answer = one(server, MULTI)
        (request,) = server.requests
    assert request.body["response_format"]["json_schema"]["schema"]["properties"]["labels"]["items"]["enum"]
    assert {name for name, p in read(MULTI, made, answer).items() if p["yes"] == 1} == {"toxic"}


def test_many_classes_get_no_grammar():
    task = Task("t", "single", {f"label {i}": "" for i in range(60)})
    with ChatServer(right="label 7", vllm=True) as server:
        made, answer = one(server, task)
        assert "structured_outputs" not in server.requests[0].body
    assert max(read(task, made, answer)["label"].items(), key=lambda pair: pair[1])[0] == "label 7"


def test_a_truncated_item_is_flagged_in_its_answer():
    with ChatServer(right="good") as server:
        _, answer = one(server, max_chars=10)
    assert "truncated" in answer.flags


# Faults.

FAULTS = [
    ("401", EndpointDown, "MY_KEY", None),
    ("402", EndpointDown, "credit", None),
    ("quota429", EndpointDown, "credit", None),
    ("404", EndpointDown, "'tiny' (HTTP 404): mend model or base_url", None),
    ("redirect", EndpointDown, "redirects", None),
    ("429", Transient, "429", False),
    ("503", Transient, "503", False),
    ("err200", Transient, "upstream_error", False),
    ("html200", Transient, "page", False),
    ("badjson", Transient, "broken JSON", True),
    ("nochoices", Transient, "without choices", True),
    ("emptychoices", Transient, "without choices", True),
    ("list200", Transient, "no object", True),
    ("cut", Transient, "broke", True),
    ("hang", Transient, "deadline", True),
    ("drip", Transient, "deadline", True),
    ("500", Transient, "500", False),
    ("reset", Transient, "broke", True),
    ("empty200", Transient, "without a body", True),
    ("204", Transient, "without a body", True),
    ("huge", Transient, "32 MB", True),
    ("quota200", EndpointDown, "add credit, then run again", None),
    ("501", EndpointDown, "HTTP 501", None),
    ("thinking", CallFailed, "enable_thinking", None),
    ("declines", CallFailed, "declines", None),
    ("filtered", CallFailed, "content filter", None),
    ("null", CallFailed, "nothing", None),
    ("length", CallFailed, "max_tokens", None),
    ("long400", CallFailed, "max_chars", None),
    ("bad400", CallFailed, "content_filter", None),
]


@pytest.mark.parametrize(("mode", "kind", "says", "billed"), FAULTS)
@pytest.mark.parametrize("task", [SINGLE, MULTI], ids=["single", "multi"])
def test_every_fault_has_a_name_and_a_mend_and_tells_nothing(monkeypatch, caplog, mode, kind, says, billed, task):
    monkeypatch.setenv("MY_KEY", KEY)
    deadline = 0.6 if mode in ("hang", "drip") else 5.0
    with caplog.at_level(logging.INFO), ChatServer() as second, ChatServer(mode, to=second.url) as server:
        with pytest.raises(TutelageError) as caught:
            one(server, task, api_key_env="MY_KEY", deadline=deadline)
        expected = 2 if mode == "length" else 1
        assert len(server.requests) == expected, "an oracle retries nothing, but asks again with more room"
        assert second.requests == second.others == []
    message = str(caught.value)
    assert type(caught.value) is kind and says in message, message
    assert billed is None or caught.value.billed is billed
    chain = caught.value
    while chain is not None:  # what a traceback would print
        assert "SENTINEL" not in str(chain) and "SECRET" not in str(chain)
        chain = None if chain.__suppress_context__ and chain.__cause__ is None else chain.__cause__ or chain.__context__
    assert "SENTINEL" not in caplog.text


def test_a_model_that_is_not_served_is_said_with_those_that_are():
    with (
        ChatServer("404") as server,
        pytest.raises(EndpointDown, match=r"no model 'small'.*serves tiny, big: mend model"),
    ):
        one(server, model="small")


@pytest.mark.parametrize("after", ["7", formatdate(usegmt=True), "soon", ""], ids=["seconds", "date", "words", "empty"])
@pytest.mark.parametrize("mode", ["429", "503"])
def test_retry_after_in_seconds_and_as_a_date(mode, after):
    with ChatServer(mode, after=after) as server, pytest.raises(Transient) as caught:
        one(server)
    assert caught.value.after == {"7": 7.0, "soon": None, "": None}.get(after, caught.value.after)
    assert caught.value.after is None or 0 <= caught.value.after <= 7


def test_nobody_there_is_said_at_the_first_question_and_waited_for_later():
    with ChatServer(right="good") as server:
        oracle = chat(server)
        made = asked(SINGLE, oracle)
    with pytest.raises(EndpointDown, match=r"no endpoint answers at .*; start the server or mend base_url"):
        ask(oracle, made)

    async def later() -> None:
        with ChatServer(right="good") as server:
            oracle = chat(server)
            await oracle.answer(made)
            await oracle.close()
        with pytest.raises(Transient) as caught:
            await oracle.answer(made)
        await oracle.close()
        assert caught.value.billed is False

    asyncio.run(later())


def test_one_oracle_serves_several_event_loops_and_many_questions_at_once():
    with ChatServer(right="good") as server:
        oracle = chat(server)
        prompts = [asked(SINGLE, oracle, str(i)) for i in range(40)]

        async def run() -> list[Answer]:
            try:
                return await asyncio.gather(*map(oracle.answer, prompts))
            finally:
                await oracle.close()

        first, second = asyncio.run(run()), asyncio.run(run())
        assert len(server.requests) == 80 and len(server.others) <= 2
    assert first == second
    for made, answer in zip(prompts, first, strict=True):
        assert read(SINGLE, made, answer)["label"]["good"] > 0.7


def test_a_field_the_server_refuses_is_left_out_from_then_on():
    with ChatServer("nologprobs400", right="good") as server:
        oracle = chat(server, logprobs="auto")
        ask(oracle, asked(SINGLE, oracle), asked(SINGLE, oracle, "j"))
        assert sum("logprobs" in r.body for r in server.requests) == 1


def test_an_attempt_to_vote_that_fails_can_be_made_again():
    with ChatServer("nologprobs", right="good") as server:
        oracle = chat(server, votes=3)
        made = asked(SINGLE, oracle)

        async def run() -> Answer:
            await oracle.answer(made)
            server.mode = "429"
            with pytest.raises(Transient):
                await oracle.answer(made)
            server.mode, server.drawn = "nologprobs", ["good", "good", "bad"]
            answer = await oracle.answer(made)
            await oracle.close()
            return answer

        assert read(SINGLE, made, asyncio.run(run()))["label"]["good"] == pytest.approx(2.5 / 4.5)


def test_early_hints_are_no_answer():
    with ChatServer("early", right="good") as server:
        made, answer = one(server)
    assert read(SINGLE, made, answer)["label"]["good"] > 0.7


def test_votes_elsewhere_are_drawn_by_a_schema():
    with ChatServer("schema", right="good") as server:
        made, answer = one(server, logprobs="no")
        schema = server.requests[0].body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["label"]["enum"] == ["A", "B", "C"]
    assert read(SINGLE, made, answer)["label"]["good"] == pytest.approx(5.5 / 6.5)


def test_one_odd_answer_without_log_probabilities_is_asked_again_and_three_pause():
    with ChatServer(right="good") as server:
        oracle = chat(server)
        made = asked(SINGLE, oracle)

        async def run() -> list[type]:
            await oracle.answer(made)
            kinds: list[type] = []
            for mode in ("nologprobs", "ok", "nologprobs", "nologprobs", "nologprobs"):
                server.mode = mode
                try:
                    kinds.append(type(await oracle.answer(made)))
                except TutelageError as error:
                    kinds.append(type(error))
            await oracle.close()
            return kinds

        assert asyncio.run(run()) == [Transient, Answer, Transient, Transient, EndpointDown]
        assert not any(r.body.get("n") for r in server.requests)


def test_an_answer_cut_short_gets_more_room_once_and_then_for_good():
    with ChatServer("roomy", right="good") as server:
        oracle = chat(server, usd_per_mtok_in=1.0, usd_per_mtok_out=1.0)
        prompts = [asked(SINGLE, oracle, str(i)) for i in range(5)]
        first = oracle.most(prompts[0])
        answers = ask(oracle, *prompts)
        rooms = [r.body["max_tokens"] for r in server.requests]
    assert rooms == [16, 256] * 3 + [256] * 2
    assert [answer.requests for answer in answers] == [2, 2, 2, 1, 1]
    assert answers[0].tokens_in == 200 and answers[0].usd <= first.usd and first.requests >= 2
    assert read(SINGLE, prompts[0], answers[0])["label"]["good"] > 0.7


@pytest.mark.parametrize("pin", [False, True])
def test_another_model_in_mid_run_is_flagged_or_pauses(pin, caplog):
    with caplog.at_level(logging.WARNING), ChatServer(right="good") as server:
        oracle = chat(server, pin=pin)
        made = asked(SINGLE, oracle)

        async def run() -> list[Answer]:
            answers = [await oracle.answer(made)]
            server.served = "tiny-2027"
            answers.append(await oracle.answer(made))
            if pin:
                with pytest.raises(EndpointDown, match="tiny-2027"):
                    await oracle.answer(made)
            else:
                answers.append(await oracle.answer(made))
            await oracle.close()
            return answers

        before, *after = asyncio.run(run())
    assert not any(flag.startswith("model=") for flag in before.flags)
    assert all("model=tiny-2027" in answer.flags for answer in after) and len(after) == (1 if pin else 2)
    assert len([r for r in caplog.records if "tiny-2027" in r.getMessage()]) == 1


@pytest.mark.parametrize("mode", ["why", "nologprobs"])
def test_a_reason_is_kept_apart_from_the_label(mode):
    with ChatServer("why", right="good") as server:
        oracle = chat(server, logprobs="auto" if mode == "why" else "no")
        made = replace(asked(SINGLE, oracle), rationale=True)
        (answer,) = ask(oracle, made)
        body = server.requests[0].body
    assert answer.rationale == "Because it says so." and answer.text in "ABC" and body["max_tokens"] == 80
    assert read(SINGLE, made, answer)["label"]["good"] > 0.7 and "structured_outputs" not in body


def test_a_server_that_refuses_all_from_the_start_pauses_the_run():
    with ChatServer("bad400") as server:
        oracle = chat(server)
        made = asked(SINGLE, oracle)

        async def run() -> list[type]:
            kinds = []
            for _ in range(openai.REFUSED):
                try:
                    await oracle.answer(made)
                except TutelageError as error:
                    kinds.append(type(error))
            await oracle.close()
            return kinds

        kinds = asyncio.run(run())
    assert kinds == [CallFailed] * (openai.REFUSED - 1) + [EndpointDown]


def test_the_first_question_finds_out_for_all_what_is_refused():
    with ChatServer("nologprobs400", right="good") as server:
        oracle = chat(server, in_flight=32)
        prompts = [asked(SINGLE, oracle, str(i)) for i in range(32)]

        async def run() -> list[Answer]:
            most = oracle.most(prompts[0])
            answers = await asyncio.gather(*map(oracle.answer, prompts))
            await oracle.close()
            assert max(answer.requests for answer in answers) <= most.requests
            return answers

        answers = asyncio.run(run())
        assert sum(answer.requests for answer in answers) == len(server.requests) == 32 + 2
        assert sum("logprobs" in r.body for r in server.requests) == 1


def test_bodies_and_answers_by_file_are_those_of_the_wire():
    with ChatServer(right="good") as server:
        oracle = chat(server, extra={"top_p": 1})
        made = asked(SINGLE, oracle)
        assert oracle.body(made)["top_logprobs"] == 20
        (answer,) = ask(oracle, made)
        assert oracle.body(made) == server.requests[0].body and server.requests[0].body["top_p"] == 1
        response = completion(server, oracle.body(made))
    assert oracle.read(made, response) == answer
    with pytest.raises(Transient, match="without choices"):
        oracle.read(made, {"choices": []})
    with pytest.raises(CallFailed, match="used up max_tokens"):
        oracle.read(made, BODIES["length"])
    hosted = openai.build(openai.Settings("gpt-4.1-mini"), context(SINGLE))
    assert hosted.read(made, response).usd == pytest.approx((36 * 0.4 + 64 * 0.1 + 2 * 1.6) / 2e6)


def test_azure_is_addressed_by_deployment_and_version(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with ChatServer(right="good") as server:
        url = server.url.removesuffix("/v1")
        one(server, base_url=url, azure_api_version="2024-10-21", api_key_env="MY_KEY")
        (request,) = server.requests
    assert request.path == "/openai/deployments/tiny/chat/completions?api-version=2024-10-21"
    assert request.headers["api-key"] == KEY and not server.others


def test_far_servers_are_reached_by_the_environments_proxy_and_near_ones_are_not(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with ChatServer(right="good") as proxy, ChatServer(right="good") as near:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        one(near)
        assert near.requests and not proxy.requests
        one(proxy, base_url="http://far.example/v1", api_key_env="MY_KEY")
        (request,) = proxy.requests
    assert request.path == "http://far.example/v1/chat/completions" and TEXT in str(request.body)


def test_a_connection_that_is_not_safe_and_a_proxy_that_is_not_there_are_said(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with ChatServer(right="good") as server:
        with pytest.raises(EndpointDown, match=r"no safe connection to https://127.*is it http"):
            one(server, base_url=server.url.replace("http:", "https:"))
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
    with pytest.raises(EndpointDown, match="proxy does not lead to http://far"):
        one(server, base_url="http://far.example/v1", api_key_env="MY_KEY")


def test_the_address_is_not_part_of_the_recipe():
    at = openai.Settings("m", "http://127.0.0.1:1/v1")
    assert at.recipe == replace(at, base_url=("http://127.0.0.1:3/v1", "http://127.0.0.1:2/v1")).recipe
    assert at.recipe != replace(at, revision="b").recipe != replace(at, extra={"top_p": 1}).recipe
    traits = openai.build(replace(at, base_url=("http://127.0.0.1:3/v1", "http://10.0.0.2/v1")), context(SINGLE)).traits
    assert traits.hosts == ("127.0.0.1", "10.0.0.2") and not traits.local
    with pytest.raises(ValueError, match=r"extra\.model cannot be set"):
        replace(at, extra={"model": "x"})


# Settings, prices, traits.


def test_a_price_is_never_guessed_for_a_hosted_model():
    known = openai.build(openai.Settings("gpt-4.1-mini-2025-04-14"), context(SINGLE))
    assert known.unpriced == "" and known.price.usd_in == 0.4 and known.price.as_of
    for settings in (
        openai.Settings("gpt-4.1-mini-audio"),
        openai.Settings("gpt-4.1-mini", "https://cheap.example/v1"),
        openai.Settings("m", ("http://127.0.0.1:1/v1", "https://far.example/v1"), usd_per_mtok_in=1.0),
    ):
        assert openai.build(settings, context(SINGLE)).unpriced == settings.model
    own = openai.Settings("gpt-4.1-mini", usd_per_mtok_in=7.0)
    price = openai.build(own, context(SINGLE)).price
    assert (price.usd_in, price.usd_out, price.usd_cached) == (7.0, 1.6, 7.0)
    for near in ("http://127.0.0.1:1/v1", "http://10.0.0.7/v1"):
        oracle = openai.build(openai.Settings("m", near), context(SINGLE))
        assert oracle.unpriced == "" and oracle.most(asked(SINGLE, oracle)).usd == 0


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost:8000", "must be an address"),
        ("http://host/v1 ", "^base_url must be an address"),
        (("http://a/v1", ""), "^address 2 of base_url is empty"),
        (("http://a/v1", "b/v1", "http://c/v1"), "^address 2 of base_url must be an address"),
        ((), "no address"),
        (("http://a/v1", "http://a/v1"), "twice"),
        ("https://me:SECRET@host/v1", "no password"),
        ("https://host/v1?key=SECRET", "end with its path"),
    ],
)
def test_addresses_that_cannot_be_used(url, says):
    with pytest.raises(ValueError, match=says) as caught:
        openai.Settings("m", url)
    assert "SECRET" not in str(caught.value)


def test_a_model_without_a_name_is_refused():
    with pytest.raises(ValueError, match="model is empty"):
        openai.Settings(" ", "http://127.0.0.1:1/v1")


def test_what_is_reserved_covers_what_is_paid():
    with ChatServer("nologprobs", right="good") as server:
        oracle = chat(server, usd_per_mtok_in=1.0, usd_per_mtok_out=10.0)
        prompts = [asked(SINGLE, oracle, name) for name in "ij"]

        async def run() -> None:
            for made in prompts:
                reserved = oracle.most(made).usd
                answer = await oracle.answer(made)
                assert 0 < answer.usd <= reserved
                assert answer.usd == pytest.approx((answer.tokens_in + 10 * answer.tokens_out) / 1e6)
            await oracle.close()

        asyncio.run(run())


def test_a_missing_key_is_named_before_anything_leaves():
    settings = openai.Settings("m", "https://8.8.8.8/v1", "NO_SUCH_KEY", usd_per_mtok_in=1, usd_per_mtok_out=1)
    oracle = openai.build(settings, context(SINGLE))
    with pytest.raises(EndpointDown, match="NO_SUCH_KEY"):
        ask(oracle, asked(SINGLE, oracle))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000/v1", "here"),
        ("http://localhost/v1", "here"),
        ("http://[::1]:8/v1", "here"),
        ("http://192.168.1.4/v1", "near"),
        ("https://api.openai.com/v1", "far"),
        ("http://localhost.evil.com/v1", "far"),
        ("http://8.8.8.8/v1", "far"),
    ],
)
def test_how_far_an_endpoint_is(url, expected):
    assert oracles.nearness(url) == expected
    settings = openai.Settings("m", url, usd_per_mtok_in=0, usd_per_mtok_out=0)
    assert openai.build(settings, context(SINGLE)).traits.local == (expected == "here")


# Reading codes.


@given(st.floats(0.01, 0.99), st.integers(2, 60))
def test_one_certain_option_leaves_the_rest_to_the_others(share, count):
    task = Task("t", "single", {f"label {i}": "" for i in range(count)})
    made = plugins.load("kinds", "single").question(task, Item("i", ()), 0)
    scores = oracles.certain(made, made.options[0].code, share)
    assert sum(map(math.exp, scores.values())) == pytest.approx(1)
    assert scores[made.options[0].code] == pytest.approx(math.log(share))


def test_codes_of_several_tokens_are_read_along_their_path():
    task = Task("t", "single", {f"label {i}": "" for i in range(60)})
    made = plugins.load("kinds", "single").question(task, Item("i", ()), 0)
    tokens = [oracles.Token("0", math.log(0.8), {}), oracles.Token("7", math.log(0.5), {})]
    scores, mass = oracles.read_codes(made, "07", tokens)
    assert math.exp(scores["07"]) == pytest.approx(0.4) and mass == 1
    assert math.exp(scores["08"]) == pytest.approx(0.6 / 59)
