"""The oracles against a real server on loopback, recorded votes in real files, and the shipped test double."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers.chat import ChatServer

from agent import oracles, plugins, prompt
from agent.errors import CallFailed, DataError, EndpointDown, PluginError, Transient, TutelageError, Unparsable
from agent.oracles import openai, person, replay, scripted
from agent.types import Answer, Context, Item, Layout, Oracle, Part, Prompt, Task, Value

SINGLE = Task("t", "single", {"good": "", "bad": "", "so so": ""}, "Is it kind?")
MULTI = Task("t", "multi", {"rude": "", "toxic": "", "spam": ""})
TEXT = "SENTINEL words to label"
KEY = "sk-KEYSENTINEL"


def context(task: Task) -> Context:
    return Context(task, plugins.load("kinds", task.kind).choices(task))


def asked(task: Task, oracle: Oracle, name: str = "i", sample: int = 0, gold: Value | None = None) -> Prompt:
    item = Item(name, (Part("text/plain", TEXT),), gold, name)
    recipe = prompt.recipe(task, task.kind, oracle.traits)
    question = plugins.load("kinds", task.kind).question(task, item, sample)
    return prompt.render(task, question, oracle.traits, recipe, sample)


def ask(oracle: Oracle, *prompts: Prompt) -> list[Answer]:
    """All answers, one after the other, in one event loop."""

    async def run() -> list[Answer]:
        try:
            return [await oracle.answer(p) for p in prompts]
        finally:
            await oracle.close()

    return asyncio.run(run())


def read(task: Task, made: Prompt, answer: Answer):
    return plugins.load("kinds", task.kind).parse(task, made.question, answer)


def chat(server: ChatServer, **more: object) -> openai.OpenAI:
    settings = replace(openai.Settings("tiny", server.url, in_flight=4, deadline=5.0), **more)
    return openai.build(settings, context(SINGLE))


def one(server: ChatServer, task: Task = SINGLE, **more: object):
    oracle = chat(server, **more)
    made = asked(task, oracle)
    return made, ask(oracle, made)[0]


# What leaves, and what is read.


def test_the_key_is_in_the_header_only_and_the_item_comes_last(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with ChatServer(right="good") as server:
        one(server, api_key_env="MY_KEY")
        (request,) = server.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    body = json.dumps(request.body)
    assert KEY not in body and body.count("SENTINEL") == 1
    content = request.body["messages"][-1]["content"]
    assert content.index(TEXT) > content.rindex("so so") and len(content.split(TEXT)[1]) < 16
    assert "gold" not in body


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
    assert body.get("structured_outputs") == ({"choice": ["A", "B", "C"]} if vllm else None)


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
    ("404", EndpointDown, "it serves tiny, big", None),
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
        assert len(server.requests) == 1, "an oracle retries nothing"
        assert second.requests == second.others == []
    message = str(caught.value)
    assert type(caught.value) is kind and says in message, message
    assert billed is None or caught.value.billed is billed
    chain = caught.value
    while chain is not None:  # what a traceback would print
        assert "SENTINEL" not in str(chain) and "SECRET" not in str(chain)
        chain = None if chain.__suppress_context__ and chain.__cause__ is None else chain.__cause__ or chain.__context__
    assert "SENTINEL" not in caplog.text


@pytest.mark.parametrize("after", ["7", formatdate(usegmt=True), "soon", ""])
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


# Settings, prices, traits.


def test_a_price_is_never_guessed_for_a_hosted_model():
    with pytest.raises(ValueError, match="usd_per_mtok_in"):
        openai.Settings("m")
    assert openai.Settings("m", "http://127.0.0.1:1/v1").usd_per_mtok_in is None
    assert openai.Settings("m", "http://10.0.0.7/v1").usd_per_mtok_in is None
    with pytest.raises(ValueError, match="base_url"):
        openai.Settings("m", "localhost:8000")


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


# Recorded votes.


def test_replay_of_real_recorded_votes(data_dir):
    path = data_dir / "banking77" / "votes.parquet"
    described = json.loads((data_dir / "banking77" / "labels.json").read_text())
    task = Task("banking", "single", {entry["name"]: "" for entry in described["labels"]})
    with pytest.raises(DataError, match="several models: choose one with model ="):
        replay.build(replay.Settings(str(path)), context(task))
    oracle = replay.build(replay.Settings(str(path), model="gpt-4", prompt="fewshot_nonrep"), context(task))
    assert not oracle.traits.calibrate and oracle.traits.local
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(data_dir / "banking77" / "data.parquet").to_pylist()
    rows = [row for row in table if row["split"] == "test"][:300]
    prompts = [asked(task, oracle, str(row["id"])) for row in rows]
    right = Counter[bool]()
    for row, made, answer in zip(rows, prompts, ask(oracle, *prompts), strict=True):
        if answer.text:
            right[read(task, made, answer)["label"][row["label"]] == 1] += 1
    assert 0.6 < right[True] / right.total() < 0.9


def votes_file(folder, text: str) -> str:
    path = folder / "votes.csv"
    path.write_text(text)
    return str(path)


def test_replay_turns_confidence_into_log_probabilities(tmp_path):
    path = votes_file(tmp_path, "id,label,confidence\n1,good,0.8\n2,good,\n3,,0.9\n4,nope,0.9\n5,bad,1\n6,bad,0.1\n")
    oracle = replay.build(replay.Settings(path, usd_per_call=0.5), context(SINGLE))
    prompts = [asked(SINGLE, oracle, name) for name in "123456"]
    first, second, third, fourth, fifth, sixth = ask(oracle, *prompts)
    label = read(SINGLE, prompts[0], first)["label"]
    assert label == pytest.approx({"good": 0.8, "bad": 0.1, "so so": 0.1}) and first.usd == 0.5
    assert second.logprobs is None and read(SINGLE, prompts[1], second)["label"]["good"] == 1
    for made, answer in ((prompts[2], third), (prompts[3], fourth)):
        with pytest.raises(Unparsable):
            read(SINGLE, made, answer)
    assert 0.99 < read(SINGLE, prompts[4], fifth)["label"]["bad"] < 1
    assert read(SINGLE, prompts[5], sixth)["label"]["bad"] == pytest.approx(1 / 3)
    with pytest.raises(CallFailed, match="no recorded vote"):
        ask(oracle, asked(SINGLE, oracle, "7"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,other\n1,x\n", "no column 'label'"),
        ("", "no column 'id'"),
        ("id,label,model\n1,good,m\n", "model = 'nope'"),
    ],
)
def test_files_of_votes_that_cannot_be_used(tmp_path, text, says):
    with pytest.raises(DataError, match=says):
        replay.build(replay.Settings(votes_file(tmp_path, text), model="nope"), context(SINGLE))
    with pytest.raises(DataError, match="cannot be read: No such file"):
        replay.build(replay.Settings(str(tmp_path / "gone.csv")), context(SINGLE))
    (tmp_path / "broken.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="cannot be read"):
        replay.build(replay.Settings(str(tmp_path / "broken.parquet")), context(SINGLE))


def test_recorded_people_answer_one_at_a_time(tmp_path):
    path = votes_file(tmp_path, "id,annotator,label\n1,ann,good\n1,bob,bad\n1,eve,nope\n2,ann,bad\n")
    answer = person.recorded(path, SINGLE, 0)
    item = Item("h", (), None, "1")
    said = [answer(item, sample) for sample in range(3)]
    assert {a.who: (a.text, a.unsure) for a in said} == {
        "ann": ("good", False),
        "bob": ("bad", False),
        "eve": ("", True),
    }
    assert said[0] == person.recorded(path, SINGLE, 0)(item, 0)
    first = [person.recorded(path, SINGLE, seed)(item, 0).who for seed in range(200)]
    assert all(40 < first.count(who) < 95 for who in ("ann", "bob", "eve"))
    assert answer(Item("h", (), None, "3"), 0) == Answer("", unsure=True, flags=("no recorded answer",))


def test_gold_stands_in_for_people(tmp_path):
    gold = person.recorded("gold", SINGLE, 0)
    assert gold(Item("h", (), "bad"), 0) == Answer("bad", who="gold")
    assert gold(Item("h", ()), 0) == Answer("", unsure=True, who="gold", flags=("no gold",))
    assert gold(Item("h", (), "nope"), 0) == Answer("", unsure=True, who="gold")
    several = person.recorded("gold", MULTI, 0)(Item("h", (), ("rude", "spam")), 0)
    made = plugins.load("kinds", "multi").question(MULTI, Item("h", ()), 0)
    found = plugins.load("kinds", "multi").parse(MULTI, made, several)
    assert {name for name, p in found.items() if p["yes"]} == {"rude", "spam"}
    path = votes_file(tmp_path, "id,annotator,label\n1,ann,spam|rude\n2,ann,spam|nope\n")
    votes = person.recorded(path, MULTI, 0)
    assert json.loads(votes(Item("h", (), None, "1"), 0).text) == ["rude", "spam"]
    assert votes(Item("h", (), None, "2"), 0).unsure


def test_recorded_people_whose_rows_cannot_be_used_are_told_once(tmp_path, caplog):
    text = "id,annotator,label\n1,ann,good\n2,ann,\n3,bob,Badd\n4,bob,nonsense\n,bob,good\n5,,bad\n"
    with caplog.at_level(logging.INFO, "tutelage"):
        answer = person.recorded(votes_file(tmp_path, text), SINGLE, 0)
        told = [record.getMessage() for record in caplog.records]
        assert [answer(Item("h", (), None, name), 0).unsure for name in "1234"] == [False, True, True, True]
    assert len(told) == 3 == len(caplog.records)
    assert "2 of 6 rows with a label that is none of the task's" in told[0]
    assert "The first is row 4: 'Badd', the nearest label is 'bad'" in told[0]
    assert "1 of 6 rows with an empty label" in told[1] and "1 of 6 rows without an id" in told[2]
    assert answer(Item("h", (), None, "5"), 0) == Answer("bad")
    with pytest.raises(DataError, match="no column 'annotator'; there are: id, label"):
        person.recorded(votes_file(tmp_path, "id,label\n1,good\n"), SINGLE, 0)


def test_recorded_people_with_several_labels_say_none_by_a_bar(tmp_path, caplog):
    text = "id,annotator,label\n1,ann,|\n2,ann,\n3,ann,spam|rud\n"
    votes = person.recorded(votes_file(tmp_path, text), MULTI, 0)
    none, empty, unknown = (votes(Item("h", (), None, name), 0) for name in "123")
    assert none == Answer("[]", who="ann") and empty.unsure and unknown.unsure
    assert "row 4: 'rud', the nearest label is 'rude'" in caplog.text


def test_people_whose_rows_are_all_good_are_not_talked_of(tmp_path, caplog):
    person.recorded(votes_file(tmp_path, "id,annotator,label\n1,ann,good\n"), SINGLE, 0)
    assert caplog.text == ""


def test_people_answer_through_the_queue_only():
    oracle = person.build(person.Settings(), context(SINGLE))
    assert oracle.traits.person and oracle.most(asked(SINGLE, oracle)).usd == 0
    with pytest.raises(CallFailed, match="tutelage review"):
        ask(oracle, asked(SINGLE, oracle))


# The test double.


@pytest.mark.parametrize("accuracy", [0.8, 1.0, 0.3])
def test_scripted_answers_are_right_as_often_as_said_and_state_their_chance_truly(accuracy):
    oracle = scripted.build(scripted.Settings(accuracy=accuracy), context(SINGLE))
    names = list(SINGLE.labels)
    prompts = [asked(SINGLE, oracle, str(i), gold=names[i % 3]) for i in range(1500)]
    answers = ask(oracle, *prompts)
    right, stated = 0.0, 0.0
    for made, answer in zip(prompts, answers, strict=True):
        right += answer.text == made.question.item.gold
        stated += read(SINGLE, made, answer)["label"][answer.text]
    assert right / 1500 == pytest.approx(accuracy, abs=0.03)
    assert stated / 1500 == pytest.approx(max(accuracy, 0.3), abs=0.03)
    assert ask(oracle, *prompts[:20]) == answers[:20]


def test_scripted_answers_of_several_labels():
    oracle = scripted.build(scripted.Settings(accuracy=0.9), context(MULTI))
    prompts = [asked(MULTI, oracle, str(i), gold=("rude",)) for i in range(500)]
    rows = [read(MULTI, made, answer) for made, answer in zip(prompts, ask(oracle, *prompts), strict=True)]
    assert sum(r["rude"]["yes"] > 0.5 for r in rows) / 500 == pytest.approx(0.9, abs=0.04)
    assert sum(r["spam"]["yes"] > 0.5 for r in rows) / 500 == pytest.approx(0.1, abs=0.04)


def test_scripted_by_a_function_and_with_failing_attempts():
    made_of = scripted.Scripted(scripted.Settings(errors=0.5), lambda made: made.question.options[0].choice)
    failed, given_ = 0, 0
    for i in range(200):
        made = asked(SINGLE, made_of, str(i))
        try:
            (answer,) = ask(made_of, made)
            assert answer.text == made.question.options[0].choice
            given_ += 1
        except Transient as error:
            failed += 1
            assert not error.billed
    assert 70 < failed < 130 and given_ + failed == 200


def test_scripted_finds_its_function_by_name():
    oracle = scripted.build(scripted.Settings(function="json:dumps"), context(SINGLE))
    assert oracle.traits.recipe["function"] == "json:dumps"
    for wrong in ("json", "json:nope", "no_such_module:x", ":x"):
        with pytest.raises(PluginError, match=r"package\.module:name"):
            scripted.build(scripted.Settings(function=wrong), context(SINGLE))


def test_scripted_bills_before_it_answers(tmp_path):
    """A process killed while it waits for the answer has already been charged: the key is on disk."""
    ledger = tmp_path / "bill"
    code = f"""
import asyncio, os
from agent.oracles.scripted import Scripted, Settings
from agent.types import Item, Prompt, Question
async def main():
    oracle = Scripted(Settings(ledger={str(ledger)!r}, latency_s=60))
    asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), 9)
    await oracle.answer(Prompt("the-key", Question(Item("i", ()), ()), ()))
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == -9
    assert ledger.read_text() == "the-key\n"


@pytest.mark.parametrize("name", ["openai", "person", "replay", "scripted", "vllm"])
def test_an_oracle_is_a_module_with_settings_and_build(name):
    module = plugins.load("oracles", name)
    assert module.Settings.__doc__ and callable(module.build)
    for field in module.Settings.__dataclass_fields__:
        assert field in module.Settings.__doc__, f"{name}: the key {field} is not explained"


def test_the_layout_of_a_context_is_the_kinds():
    assert context(MULTI).layout == Layout(tuple(MULTI.labels), (("no", "yes"),) * 3)
