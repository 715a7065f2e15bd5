"""The oracle `decisions` against a real server on loopback: both wires, both kinds, what is odd, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from oracle_room import MULTI, SINGLE, TEXT, ask, asked, context, read
from servers.decide import DecideServer

from agent.errors import CallFailed, EndpointDown, Transient
from agent.oracles import decisions, openai
from agent.types import Task

DESCRIBED = Task("t", "single", {"good": "kind words", "bad": "", "so so": ""}, "Is it kind?")
WIRES = ["decisions", "systemone"]


def decide(server: DecideServer, task: Task = SINGLE, **more: object) -> decisions.Decisions:
    settings = replace(decisions.Settings("d", base_url=server.url, deadline=5.0), **more)
    return decisions.build(settings, context(task))


@pytest.mark.parametrize("wire", WIRES)
def test_the_text_is_data_and_the_options_come_by_name_with_their_descriptions(wire):
    with DecideServer(right="good") as server:
        oracle = decide(server, DESCRIBED, wire=wire, usd_per_mtok_in=1.0, usd_per_mtok_out=0.0)
        made = asked(DESCRIBED, oracle)
        (answer,) = ask(oracle, made)
        ((path, body),) = server.requests
    assert path == f"/v1/{wire}" and (body.get("state") or body.get("input")) == TEXT
    assert json.dumps(body).count("SENTINEL") == 1 and "kind words" in json.dumps(body)
    assert read(DESCRIBED, made, answer)["label"] == pytest.approx({"good": 0.8, "bad": 0.1, "so so": 0.1})
    assert answer.text == next(o.code for o in made.question.options if o.choice == "good")
    assert (answer.tokens_in, answer.tokens_out, answer.requests) == (50, 1, 1)
    assert answer.usd == pytest.approx(50e-6) and answer.usd <= oracle.most(made).usd
    assert oracle.most(made).requests == 1


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("count", [3, 70])
def test_several_labels_are_one_question_each(wire, count):
    names = [f"label {i:02}" for i in range(count)]
    task = Task("t", "multi", dict.fromkeys(names, ""))
    with DecideServer(right="label 01") as server:
        oracle = decide(server, task, wire=wire)
        made = asked(task, oracle)
        (answer,) = ask(oracle, made)
        assert len(server.requests) == answer.requests == oracle.most(made).requests == (1 if count == 3 else 2)
    found = read(task, made, answer)
    assert {name for name, p in found.items() if p["yes"] > 0.5} == {"label 01"}
    assert found["label 01"]["yes"] == pytest.approx(0.8)


def test_what_the_engine_tells_of_itself_is_kept_as_flags():
    with DecideServer("odd", right="good") as server:
        oracle = decide(server, wire="systemone")
        (answer,) = ask(oracle, asked(SINGLE, oracle))
    assert answer.flags == ("mass=0.40", "argmax is no label") and answer.served_model == "d1"


@pytest.mark.parametrize(
    ("mode", "kind", "says"),
    [
        ("501", EndpointDown, 'take oracle = "openai"'),
        ("refusal", CallFailed, "declines to decide"),
        ("few", Transient, "did not answer each"),
        ("empty", Transient, "no probabilities"),
    ],
)
@pytest.mark.parametrize("task", [SINGLE, MULTI], ids=["single", "multi"])
def test_every_fault_has_a_name(mode, kind, says, task):
    with DecideServer(mode, right="good") as server:
        oracle = decide(server, task)
        with pytest.raises(kind, match=says) as caught:
            ask(oracle, asked(task, oracle))
        assert len(server.requests) == 1 and "SENTINEL" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("requests_per_minute", 0), ("tokens_per_minute", -1), ("in_flight", 0)])
@pytest.mark.parametrize("settings", [decisions.Settings, openai.Settings])
def test_limits_that_cannot_be_are_refused_by_all_oracles_behind_an_address(settings, name, value):
    with pytest.raises(ValueError, match=f"{name} must be more than 0"):
        settings("d", **{name: value})


@pytest.mark.parametrize("pin", [False, True])
def test_another_model_that_decides_is_flagged_or_a_pause(pin):
    with DecideServer("change", right="good") as server:
        oracle = decide(server, pin=pin)
        made = [asked(SINGLE, oracle, name) for name in ("i", "j", "k")]
        if pin:
            with pytest.raises(EndpointDown, match="'d1' at first and now as 'd2'"):
                ask(oracle, *made)
        else:
            assert [answer.flags for answer in ask(oracle, *made)] == [(), ("model=d2",), ("model=d3",)]


def test_the_address_is_not_part_of_the_recipe():
    one = decisions.Settings("d", base_url="http://127.0.0.1:1/v1")
    assert one.recipe == replace(one, base_url=("http://127.0.0.1:2/v1",)).recipe
    assert one.recipe != replace(one, revision="b").recipe
    assert decisions.build(replace(one, base_url="https://api.example/v1"), context(SINGLE)).unpriced == "d"
