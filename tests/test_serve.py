"""A saved model over HTTP: real servers on loopback, in a thread and as a process."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import oracle_room
import pytest
from cli_room import call as verb
from openai import AsyncOpenAI
from serving_room import MULTI, SINGLE, call, saved, serving, slow_model, started, wait_ready

from agent import serve
from agent.oracles import decisions
from agent.serve.wire import Names, Refused
from agent.types import Task


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {"single": saved(SINGLE, folder / "single"), "multi": saved(MULTI, folder / "multi")}


@pytest.fixture(scope="module")
def single(models: dict[str, Path]) -> Iterator[str]:
    service = serve.Service(
        serve.Saved(str(models["single"])), bar=0.6, limits=serve.Limits(chars=200, texts=8, body=2_000)
    )
    with serving(service) as at:
        wait_ready(at)
        yield at


@pytest.fixture(scope="module")
def multi(models: dict[str, Path]) -> Iterator[str]:
    with serving(serve.Service(serve.Saved(str(models["multi"])))) as at:
        wait_ready(at)
        yield at


def test_texts_get_labels_probabilities_and_abstentions_in_their_order(single: str) -> None:
    code, said, _ = call(single, "/predict", {"texts": ["awful liar", "warm kind thanks", "zzz"], "proba": True})
    rows = said["predictions"]
    assert code == 200 and [row["label"] for row in rows[:2]] == ["bad", "good"]
    assert rows[2] == {
        "label": None,
        "abstained": True,
        **{k: rows[2][k] for k in ("probability", "guess", "probabilities")},
    }
    assert rows[2]["probability"] < 0.6 <= rows[0]["probability"] and rows[0]["abstained"] is False
    assert list(rows[0]["probabilities"]) == list(SINGLE.labels) and sum(
        rows[0]["probabilities"].values()
    ) == pytest.approx(1, abs=1e-4)
    one = call(single, "/predict", {"text": "awful liar"})[1]
    assert one["predictions"] == [{k: rows[0][k] for k in ("label", "probability", "abstained")}]
    health = call(single, "/health")[1]
    assert health == {"ready": True, "model": "tfidf", "revision": one["revision"]} and len(one["revision"]) == 16


def test_several_labels_come_as_a_list(multi: str) -> None:
    rows = call(multi, "/predict", {"texts": ["idiot shut fool", "buy cheap offer"], "proba": True})[1]["predictions"]
    assert rows[0]["label"] == ["rude"] and rows[1]["label"] == ["spam"]
    assert rows[0]["probabilities"]["spam"] < 0.5 < rows[0]["probabilities"]["rude"]


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b'{"text": "SENTINEL', 400, "no sound JSON"),
        (b"\xff\xfe", 400, "no sound JSON"),
        (b"[" * 1_500, 400, "nested too deep"),
        (b'["SENTINEL"]', 400, "must be a JSON object"),
        ({"txt": "SENTINEL"}, 400, "unknown field 'txt'; did you mean 'text'?"),
        ({"text": "a", "abstain": 1}, 400, "the fields are text, texts, proba"),
        ({}, 400, 'give either "text"'),
        ({"text": "a", "texts": ["b"]}, 400, 'give either "text"'),
        ({"text": ["SENTINEL"]}, 400, '"text" must be a text'),
        ({"texts": "SENTINEL"}, 400, "must be a list of texts"),
        ({"texts": []}, 400, "at least one"),
        ({"texts": ["a", 3]}, 400, 'text 2 of "texts" must be a text'),
        ({"texts": ["a", " "]}, 400, 'text 2 of "texts" is empty'),
        ({"text": "a", "proba": 1}, 400, '"proba" must be true or false'),
        ({"text": "SENTINEL" * 30}, 400, "more than the 200 allowed"),
        ({"texts": ["a"] * 9}, 413, "more than the 8 allowed"),
        ({"text": "SENTINEL" * 300}, 413, "more than 2,000 bytes"),
    ],
    ids=str,
)
def test_what_cannot_be_answered_is_refused_in_plain_words(single: str, body: Any, code: int, says: str) -> None:
    got, said, _ = call(single, "/predict", body)
    assert got == code and says in said["error"]["message"] and "SENTINEL" not in json.dumps(said)


def test_half_a_character_is_no_reason_to_fail(single: str) -> None:
    assert call(single, "/predict", b'{"text": "awful \\ud800 liar"}')[1]["predictions"][0]["label"] == "bad"


def test_other_paths_and_methods_say_what_there_is(single: str) -> None:
    for path, body, code in (("/nope", None, 404), ("/predict", None, 405), ("/health", {}, 405)):
        got, said, _ = call(single, path, body)
        assert got == code and "POST /predict" in said["error"]["message"]


def test_what_is_counted_stands_on_the_page_of_metrics(single: str) -> None:
    call(single, "/predict", {"texts": ["awful liar", "zzz qqq"]})
    page = dict(line.rsplit(" ", 1) for line in call(single, "/metrics")[1].splitlines() if not line.startswith("#"))
    assert float(page["tutelage_items_total"]) >= 2 and float(page["tutelage_abstained_total"]) >= 1
    assert float(page['tutelage_requests_total{path="/predict",code="200"}']) >= 1
    assert page['tutelage_request_seconds_bucket{le="+Inf"}'] == page["tutelage_request_seconds_count"]
    assert page["tutelage_ready"] == "1" and 0 < float(page["tutelage_drift_p"]) <= 1
    assert float(page["tutelage_drift_rows"]) == float(page["tutelage_items_total"])


# ---------------------------------------------------------------- the typed-decision wires


@pytest.mark.parametrize("wire", ["decisions", "systemone"])
@pytest.mark.parametrize("task", [SINGLE, MULTI], ids=["single", "multi"])
def test_our_own_oracle_labels_through_our_own_server(single: str, multi: str, task: Task, wire: Any) -> None:
    at = {"single": single, "multi": multi}[task.kind]
    settings = replace(decisions.Settings("student"), base_url=f"http://{at}/v1", wire=wire, deadline=10.0)
    oracle = decisions.build(settings, oracle_room.context(task))
    made = oracle_room.asked(task, oracle)
    (answer,) = oracle_room.ask(oracle, made)
    found = oracle_room.read(task, made, answer)
    plain = call(at, "/predict", {"text": oracle_room.TEXT, "proba": True})[1]
    chances = plain["predictions"][0]["probabilities"]
    if task.kind == "single":
        assert found["label"] == pytest.approx(chances, abs=1e-4)
    else:
        assert {name: p["yes"] for name, p in found.items()} == pytest.approx(chances, abs=1e-4)
    assert answer.served_model == f"tfidf-{plain['revision']}" and answer.usd == 0 and not answer.flags


def test_the_openai_client_reads_our_decisions(single: str) -> None:
    asked: Any = [
        {"type": "choice", "name": "label", "instructions": "?", "choices": [{"value": "good"}, {"value": "bad"}]},
        {"type": "predicate", "name": "so so", "instructions": "Is it?"},
        {"type": "choice", "instructions": "Is it bad", "choices": [{"value": True}, {"value": False}]},
    ]

    async def ask() -> Any:
        async with AsyncOpenAI(base_url=f"http://{single}/v1", api_key="none", max_retries=0) as client:
            text: Any = [{"role": "user", "content": [{"type": "input_text", "text": "awful liar"}]}]
            return await client.decisions.create(model="x", input=text, questions=asked)

    choice, predicate, boolean = asyncio.run(ask()).answers
    p = call(single, "/predict", {"text": "awful liar", "proba": True})[1]["predictions"][0]["probabilities"]
    assert choice.choice == "bad" and predicate.name == "so so" and boolean.choice is True
    assert choice.probabilities[1].probability == pytest.approx(p["bad"] / (p["good"] + p["bad"]), abs=1e-4)
    assert choice.confidence == pytest.approx(p["bad"], abs=1e-4)
    assert predicate.probability == pytest.approx(p["so so"], abs=1e-5)


def test_a_big_body_is_answered_and_a_huge_name_is_not_compared(single: str, tmp_path: Path) -> None:
    """Comparing a name of megabytes with the known ones would take the server's one thread for seconds."""
    asked = {str(i): {"type": "noul", "instructions": "x" * 3_000 + " bad"} for i in range(400)}
    limits = serve.Limits(body=4_000_000)
    long = "good" + "o" * 150
    with serving(serve.Service(serve.Saved(str(saved(SINGLE, tmp_path / "m"))), limits=limits)) as at:
        wait_ready(at)
        said = call(at, "/v1/systemone", {"state": "awful liar", "questions": asked})[1]["answers"]
        assert len(said) == 400 and min(a["noul"] for a in said.values()) > 0.5
        for name in ("t" * 3_900_000, "text" + "t" * 200):
            code, told, _ = call(at, "/predict", {name: 1})
            assert (
                code == 400 and "unknown field 't" in told["error"]["message"] and len(told["error"]["message"]) < 200
            )
    names = Names([long, "bad"], many=False)
    with pytest.raises(Refused) as refused:
        names.among("question 1", long + "o")
    assert "did you mean" not in str(refused.value)


def test_systemone_tells_how_much_of_it_all_the_options_hold(single: str) -> None:
    asked = {
        "a": {"type": "choice", "instructions": "", "criteria": {"good": None, "so so": "middling"}},
        "bad": {"type": "noul", "instructions": "does it apply?"},
    }
    said = call(single, "/v1/systemone", {"state": {"body": "awful liar"}, "questions": asked})[1]
    told = said["diagnostics"]["a"]
    assert told["label_mass"] < 0.5 and told["argmax_is_label"] is False
    assert said["answers"]["bad"]["noul"] == pytest.approx(1 - told["label_mass"], abs=1e-4)
    assert sum(said["answers"]["a"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (
            {"type": "choice", "criteria": {"goood": None, "bad": None}},
            "'goood' is none of this model's labels; did you",
        ),
        ({"type": "choice", "criteria": {"good": None}}, "two options or more"),
        ({"type": "choice", "choices": [{"value": "bad"}, {"value": "bad"}]}, "stands there twice"),
        ({"type": "score", "criteria": ["a", "b"]}, "type 'score' is not answered here"),
        ({"type": "noul", "instructions": "is it spam"}, "which label is asked about?"),
        ({"type": "noul", "labels": 3}, "unknown field 'labels'"),
        ("good?", "must be an object"),
    ],
    ids=str,
)
def test_a_question_this_model_cannot_answer_is_refused_with_the_mend(single: str, question: Any, says: str) -> None:
    code, said, _ = call(single, "/v1/systemone", {"state": "SENTINEL", "questions": {"q": question}})
    assert code == 400 and says in said["error"]["message"] and "SENTINEL" not in json.dumps(said)


def test_choosing_one_of_several_that_may_all_apply_is_refused(multi: str) -> None:
    asked = [{"type": "choice", "name": "q", "choices": [{"value": "rude"}, {"value": "spam"}]}]
    code, said, _ = call(multi, "/v1/decisions", {"model": "x", "input": "a", "questions": asked})
    assert code == 400 and "ask yes or no about each" in said["error"]["message"]
    for body in ({"questions": asked}, {"input": "a"}, {"input": 3, "questions": asked}):
        assert call(multi, "/v1/decisions", body)[0] == 400


# ---------------------------------------------------------------- under load, and at its end


def together(at: str, bodies: list[Any]) -> list[tuple[int, Any, Any]]:
    """All at once; the answers in their order."""
    found: list[Any] = [None] * len(bodies)

    def one(i: int) -> None:
        found[i] = call(at, "/predict", bodies[i])

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_requests_that_come_together_are_worked_on_together_and_a_full_queue_says_when(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = serve.Saved(str(slow_model(tmp_path / "m", monkeypatch)))
    told: list[str] = []
    service = serve.Service(model, limits=serve.Limits(queue=6, batch=4), say=told.append)
    with serving(service) as at:
        wait_ready(at)
        asking = [threading.Thread(target=call, args=(at, "/predict", {"text": "slow"}))]
        asking[0].start()
        while len(model.student.batches) < 2:
            time.sleep(0.005)  # the slow one is at work; the others gather meanwhile
        got: list[Any] = []
        for _ in range(5):
            asking.append(threading.Thread(target=lambda: got.append(call(at, "/predict", {"text": "quick"}))))
            asking[-1].start()
        while "tutelage_waiting 5" not in call(at, "/metrics")[1]:
            time.sleep(0.005)
        code, said, headers = call(at, "/predict", {"texts": ["a"] * 2})
        assert code == 503 and headers["retry-after"] == "1" and "ask again" in said["error"]["message"]
        for thread in asking:
            thread.join()
        assert [code for code, *_ in got] == [200] * 5
        assert max(model.student.batches) == 4 and len(model.student.batches) <= 5
        rows = call(at, "/predict", {"texts": ["a"] * 6})[1]["predictions"]
        assert len(rows) == 6 and max(model.student.batches) == 4
        assert call(at, "/predict", {"texts": ["a"] * 7})[0] == 413


def test_a_text_that_fails_fails_alone_and_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = serve.Saved(str(slow_model(tmp_path / "m", monkeypatch)))
    told: list[str] = []
    with serving(serve.Service(model, say=told.append)) as at:
        wait_ready(at)
        got = together(at, [{"text": "slow"}, {"text": "SENTINEL bomb"}, {"text": "quick"}])
    assert sorted(code for code, *_ in got) == [200, 200, 500]
    assert "RuntimeError" in got[1][1]["error"]["message"] and "SENTINEL" not in json.dumps([got, told])


def test_nothing_is_answered_before_a_first_prediction_and_a_model_that_cannot_ends_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = serve.Saved(str(slow_model(tmp_path / "m", monkeypatch)))
    service = serve.Service(model)
    assert service.is_ready is False
    model.student.broken = True
    with pytest.raises(RuntimeError):
        serve.run(service, serve.bind("127.0.0.1", 0))
    assert service.is_ready is False and isinstance(service.failed, RuntimeError)


def test_a_token_is_wanted_of_everybody_but_who_asks_for_health(models: dict[str, Path]) -> None:
    with serving(serve.Service(serve.Saved(str(models["single"])), token="sesame-open-yourself")) as at:
        wait_ready(at)
        good = {"Authorization": "Bearer sesame-open-yourself"}
        assert call(at, "/predict", {"text": "a"}, **good)[0] == call(at, "/metrics", **good)[0] == 200
        for headers in ({}, {"Authorization": "Bearer sesame"}, {"Authorization": "sesame-open-yourself"}):
            code, said, back = call(at, "/predict", {"text": "a"}, **headers)
            assert code == 401 and back["www-authenticate"] == "Bearer" and "sesame" not in json.dumps(said)
            assert call(at, "/metrics", **headers)[0] == 401


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_a_request_in_flight_is_answered_after_the_signal(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, at = started(slow_model(tmp_path / "m", monkeypatch), "--abstain", "0.9")
    found: list[Any] = []
    try:
        asking = threading.Thread(target=lambda: found.append(call(at, "/predict", {"text": "slow SENTINEL"})))
        asking.start()
        time.sleep(0.15)
        process.send_signal(number)
        asking.join()
        said, talk = process.communicate(timeout=20)
    finally:
        process.kill()
    ((code, body, _),) = found
    assert code == 200 and body["predictions"][0]["guess"] == "good"
    assert process.returncode == 0 and said == "" and "SENTINEL" not in talk
    assert "1 texts labeled" in talk and "Traceback" not in talk


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--host", "0.0.0.0"], "give --token-env NAME"),
        (["--token-env", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE: that environment variable is not set"),
        (["--abstain", "certified"], "carries no certified bar"),
        (["--abstain", "2"], "give a number from 0 to 1"),
        (["--token-env", "TOKEN_OF_TEST", "--port"], "cannot be listened at: Address already in use"),
    ],
    ids=["open", "unset", "uncertified", "two", "taken"],
)
def test_what_cannot_be_served_ends_with_the_mend(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.setenv("TOKEN_OF_TEST", "x" * 30)
    with socket.create_server(("127.0.0.1", 0)) as other:
        if words[-1] == "--port":
            words = [*words, str(other.getsockname()[1])]
        done = verb("serve", "--model", str(models["single"]), *words)
    assert done.exit_code == 2 and says in done.stderr
    assert "is there" not in done.stderr and "x" * 30 not in done.output


def test_a_folder_without_a_model_and_a_damaged_card_are_named(tmp_path: Path) -> None:
    done = verb("serve", "--model", str(tmp_path))
    assert done.exit_code == 2 and "holds no model" in done.stderr
    (tmp_path / "student.json").write_text("{")
    assert "cannot be read as a model's card" in verb("serve", "--model", str(tmp_path)).stderr
