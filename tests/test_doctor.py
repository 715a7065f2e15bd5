"""What `tutelage doctor` finds out about endpoints, against servers on loopback that can more or less."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cli_room import LADDER, call, good, with_pool
from servers.able import Able
from servers.chat import ChatServer
from servers.decide import DecideServer
from servers.faulty import MODES, Faulty

from agent import config
from agent.cli.annotator import _labels
from agent.cli.endpoint import advice, between, rows
from agent.cli.pace import Pace
from agent.oracles import openai
from agent.oracles._found import Facts
from agent.oracles._probe import MOST


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pool of 60 rows, which is the current one."""
    return with_pool(tmp_path, monkeypatch)


def found(url: str, deadline: float = 20.0, **more: Any) -> Facts:
    settings = openai.Settings("able", url, deadline=deadline, **more)
    (facts,) = asyncio.run(openai.endpoints(settings, None, ("greeting",)))
    return facts


def rung(url: str, more: str = "") -> str:
    told = f'oracle = "openai"\nname = "llm"\nmodel = "able"\nbase_url = "{url}"\n{more}'
    return LADDER.replace('oracle = "scripted"\naccuracy = 0.9', told)


def checks(url: str, more: str = "", code: int = 0) -> dict[str, dict[str, Any]]:
    """The rows of the rung `llm`, by what they are about."""
    Path("t.toml").write_text(rung(url, more))
    body = good("doctor", "-c", "t.toml", code=code)
    return {c["what"].removeprefix("rung llm: "): c for c in body["checks"] if c["what"].startswith("rung llm")}


# What is measured of a server.


def test_an_impossible_choice_tells_who_obeys() -> None:
    with Able(obeys=("response_format",), refuses=("structured_outputs",)) as server:
        facts = found(server.url)
    assert facts.enforced == {
        "structured_outputs": "refused", "response_format": "obeyed", "guided_choice": "ignored"
    }  # fmt: skip


@pytest.mark.parametrize(("top", "seen"), [(20, 20), (5, 5), (0, 0)])
def test_log_probabilities_are_counted(top: int, seen: int) -> None:
    with Able(top=top) as server:
        facts = found(server.url)
    assert facts.top == seen and not facts.exact
    assert facts.mass == (pytest.approx(0.8) if top else None)


@pytest.mark.parametrize("processed", [True, False])
def test_the_mode_of_log_probabilities(processed: bool) -> None:
    with Able(obeys=("structured_outputs",), processed=processed) as server:
        facts = found(server.url)
    assert facts.masked == processed and facts.mode == "raw"


def test_thinking_that_eats_max_tokens() -> None:
    with Able(thinks=100) as server:
        facts = found(server.url, max_tokens=16)
    assert facts.answers and facts.reasoning == "message.reasoning" and facts.enough == 256
    with Able(thinks=1000) as server:
        facts = found(server.url, max_tokens=16)
    assert "answers nothing within 512 tokens" in facts.trouble and "thinking" in facts.trouble


def test_a_field_that_keeps_it_from_thinking(here: Path) -> None:
    with Able(thinks=100, quiet="chat_template_kwargs") as server:
        Path("t.toml").write_text(rung(server.url))
        body = good("doctor", "-c", "t.toml")
    told = {check["what"]: check for check in body["checks"]}
    (looked,) = body["rungs"]
    assert "extra = " in told["rung llm: thinking"]["mend"] and told["rung llm: pace"]["level"] == "ok"
    (table,) = tomllib.loads(looked["config"])["rung"]
    assert table["extra"] == {"chat_template_kwargs": {"enable_thinking": False}} and "max_tokens" not in table


def test_cache_context_seeds_and_limits() -> None:
    limits = {"x-ratelimit-limit-requests": "500", "x-ratelimit-limit-tokens": "30000"}
    with Able(cached=64, context=4096, headers=limits) as server:
        facts = found(server.url)
    assert (facts.cached, facts.cached_from, facts.context) == (64, "its usage", 4096)
    assert (facts.seeded, facts.drawn, facts.same) == ("obeyed", 2, True)
    assert facts.limits == {"requests": 500, "tokens": 30_000}
    assert max(body["max_tokens"] for body in server.bodies) < 100, "a wish too large is not needed"


def test_the_context_stands_in_a_refusal() -> None:
    with Able(says="This model's maximum context length is 8192 tokens, however you asked for more") as server:
        facts = found(server.url)
    assert facts.context == 8192 and "too large" in facts.context_from


def test_a_model_that_changes_is_noticed() -> None:
    with Able(models=("one", "two")) as server:
        facts = found(server.url)
    assert {facts.served, *facts.changed} == {"one", "two"}


def test_vllm_is_asked_for_the_codes_tokens(here: Path) -> None:
    with ChatServer(right="billing", vllm=True) as server:
        told = checks(server.url, 'api_key_env = "NONE"\n')
    assert "logprob_token_ids" in told["log-probabilities"]["finding"]
    assert told["codes"]["finding"] == "A, B: one token each" and told["label words"]["level"] == "ok"
    assert not any("number 1" in str(request.body) for request in server.requests[:12]), "no text of the pool"


@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_fails_is_a_finding_and_no_accident(mode: str) -> None:
    with Faulty(mode) as server:
        facts = found(server.url, deadline=1.0)
    assert facts.answers != bool(facts.trouble)
    assert "SECRET" not in facts.trouble and facts.requests <= MOST


# What follows from it.


def test_the_settings_that_follow_are_toml_that_is_read(here: Path) -> None:
    limits = {"x-ratelimit-limit-requests": "500"}
    with Able(context=600, thinks=40, obeys=("structured_outputs",), headers=limits) as server:
        Path("t.toml").write_text(rung(server.url, "max_tokens = 16\nsamples = 2\n"))
        body = good("doctor", "-c", "t.toml")
    (looked,) = body["rungs"]
    table = tomllib.loads(looked["config"])["rung"][0]
    assert table["max_tokens"] == 128 and table["logprobs"] == "yes" and table["samples"] == 2
    assert table["max_chars"] == 900 and table["in_flight"] in (1, 8, 64)
    assert {key: table[key] for key in looked["settings"]} == looked["settings"]
    assert looked["asked"]["requests"] > 12 and looked["pace"]["answers"]["1"] > 0
    assert table["base_url"] == server.url
    before = rung(server.url)
    start = before.index("[[rung]]", before.index("student"))
    end = before.index("[[rung]]", start + 1)
    Path("new.toml").write_text(before[:start] + looked["config"] + "\n" + before[end:])
    assert config.load("new.toml").rung[1].settings.max_tokens == 128


def test_the_knee_is_the_fewest_in_flight_that_are_as_good() -> None:
    assert Pace({1: 10.0, 8: 60.0, 64: 62.0}, 0.1, 0, 0, 0.0).knee == 8
    assert Pace({1: 10.0, 8: 60.0, 64: 400.0}, 0.1, 0, 0, 0.0).knee == 64
    assert Pace({}, 0.1, 0, 0, 0.0).knee == 0


def test_without_log_probabilities_votes_are_advised(here: Path) -> None:
    Path("t.toml").write_text(rung("http://127.0.0.1:9/v1"))
    auto = config.load("t.toml").rung[1]
    Path("t.toml").write_text(rung("http://127.0.0.1:9/v1", 'logprobs = "yes"'))
    facts = Facts("a", answers=True, right=True, served="able")
    for made, level in ((auto, "ok"), (config.load("t.toml").rung[1], "fail")):
        (row,) = (check for check in rows("r", facts, made) if check.what == "r: log-probabilities")
        assert row.level == level and "votes" in row.finding
        assert ("logprobs", "no") in [line[:2] for line in advice(made, [facts], None)]


def test_two_endpoints_that_differ_are_warned_about() -> None:
    one, other = (Facts(f"http://h{i}/v1", answers=True, served=f"m{i}", top=20) for i in (1, 2))
    (line,) = between("rung llm", [one, other])
    assert line.level == "warn" and line.rows == ("model: http://h1/v1: m1; http://h2/v1: m2",)
    assert not list(between("rung llm", [one, one])) and not list(
        between("rung llm", [one, Facts("x", trouble="gone")])
    )


def test_the_worst_endpoint_decides(here: Path) -> None:
    Path("t.toml").write_text(rung("http://127.0.0.1:9/v1"))
    made = config.load("t.toml").rung[1]
    facts = [Facts("a", top=20, exact=True, context=800, prompt=100), Facts("b", top=0, context=4000, prompt=100)]
    said = {key: value for key, value, _ in advice(made, facts, None)}
    assert said["logprobs"] == "no" and said["max_chars"] == 1700
    assert [check.level for check in rows("rung llm", Facts("a", trouble="gone"), made)] == ["fail"]


def test_labels_that_begin_alike_are_named() -> None:
    assert "a token of its own" in _labels("r", {"a": 1, "b": 2}).finding
    assert "(hate, hate speech)" in _labels("r", {"hate": 1, "hate speech": 1, "none": 2}).finding


# Whether a run would be answered.


def test_a_model_that_never_answers_an_option_fails(here: Path) -> None:
    with Faulty("ignore") as server:
        told = checks(server.url, code=2)
    assert told["answers"]["level"] == "fail" and "none of 2" in told["answers"]["finding"] and "pace" not in told
    with ChatServer(right="billing") as server:
        told = checks(server.url)
    assert told["answers"]["level"] == "ok" and told["pace"]["level"] == "ok"


def decisions(url: str, more: str = "") -> str:
    return rung(url, more).replace('oracle = "openai"', 'oracle = "decisions"')


@pytest.mark.parametrize("wire", ["decisions", "systemone"])
def test_a_server_that_decides_is_asked_to(here: Path, wire: str) -> None:
    with DecideServer(right="billing") as server:
        Path("t.toml").write_text(decisions(server.url, f'wire = "{wire}"'))
        body = good("doctor", "-c", "t.toml")
    told = {c["what"].removeprefix("rung llm: "): c for c in body["checks"]}
    assert told["answers"]["level"] == told["endpoint"]["level"] == told["pace"]["level"] == "ok"
    assert all("number 1" not in str(body) for _, body in server.requests[:2]), "no text of the pool"


@pytest.mark.parametrize(("mode", "said"), [("501", "HTTP 501"), ("empty", "no probabilities"), ("404", "HTTP 404")])
def test_a_server_that_decides_nothing_fails(here: Path, mode: str, said: str) -> None:
    with DecideServer(mode) if mode != "404" else Faulty("404") as server:
        Path("t.toml").write_text(decisions(server.url))
        body = good("doctor", "-c", "t.toml", code=2)
    (row,) = (c for c in body["checks"] if c["level"] == "fail")
    assert said in row["finding"] and row["mend"]
    with Faulty("ignore") as odd:
        Path("t.toml").write_text(decisions(odd.url))
        body = good("doctor", "-c", "t.toml", code=2)
    assert any("any probability" in c["finding"] for c in body["checks"] if c["level"] == "fail")
    assert not any(c["what"].endswith("pace") for c in body["checks"]) and not body["rungs"][0]["config"]


def test_what_a_rung_that_reads_words_is_told_of_is_words(here: Path) -> None:
    with ChatServer("words", right="billing") as server:
        told = checks(server.url, 'templates = ["words_chat.j2"]\n')
    assert "label words" in told["mass"]["finding"] and "codes" not in told


# What is to be mended.


@pytest.mark.parametrize(
    ("mode", "mend"),
    [
        ("quota429", "add credit"),
        ("401", "api_key_env"),
        ("redirect", "write the final base_url"),
        ("html200", "base_url"),
        ("nullcontent", "max_tokens"),
        ("503", "wait until it can"),
        ("hang", "raise deadline"),
    ],
)
def test_each_trouble_has_its_own_mend(here: Path, mode: str, mend: str) -> None:
    with Faulty(mode) as server:
        told = checks(server.url, "deadline = 1.0\n", code=2)
    row = told["endpoint"]
    assert mend in row["mend"] and mend not in row["finding"] and "SECRET" not in str(row)


@pytest.mark.parametrize("wrong", ["", "/v1/chat/completions"])
def test_a_wrong_address_is_told_the_right_one(here: Path, wrong: str) -> None:
    with Able() as server:
        told = checks(server.url.removesuffix("/v1") + wrong, code=2)
    assert told["endpoint"]["mend"] == f'write base_url = "{server.url}"'


def test_a_wrong_model_is_told_the_right_ones(here: Path) -> None:
    with Faulty("404") as server:
        told = checks(server.url, code=2)
    assert "it serves tiny" in told["endpoint"]["finding"] and told["endpoint"]["mend"] == "mend model"


def test_nobody_is_asked_at_a_price_that_is_not_known(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYKEY", "x")
    Path("t.toml").write_text(rung("https://models.invalid/v1", 'api_key_env = "MYKEY"\ndeadline = 1.0\n'))
    body = good("doctor", "-c", "t.toml", code=2)
    (row,) = (c for c in body["checks"] if c["level"] == "fail")
    assert "not asked" in row["finding"] and "--price llm=IN,OUT" in row["mend"] and not body["rungs"]
    for words in (("--yes",), ("--price", "1,2")):
        assert "rung llm: asking up to" in call("doctor", "-c", "t.toml", *words).stderr


def test_no_mend_says_that_none_is_needed(here: Path) -> None:
    with Able(top=5) as server:
        body = good("doctor", "-c", "t.toml") if Path("t.toml").write_text(rung(server.url)) else {}
    assert not [c for c in body["checks"] if "none is needed" in c["mend"]]
    assert {c["what"] for c in body["checks"] if c["level"] == "warn"} <= {
        "encoder",
        "extra local",
        "embedded LLM",
        "device",
    }


# What it asks, and what it says of that.


def test_offline_asks_nobody(here: Path) -> None:
    with Able() as server:
        Path("t.toml").write_text(rung(server.url))
        body = good("doctor", "--offline", "-c", "t.toml")
    assert not server.bodies and body["rungs"] == []


def test_what_it_costs_is_said_before_and_after(here: Path) -> None:
    with Able() as server:
        Path("t.toml").write_text(rung(server.url, "usd_per_mtok_in = 10.0\nusd_per_mtok_out = 10.0\n"))
        done = call("doctor", "-c", "t.toml")
    said = done.stderr.splitlines()
    assert "settings that follow" in done.stdout and f'base_url = "{server.url}"' in done.stdout
    assert "short questions" in said[0] and "$" in said[0] and "at most" in said[0]
    assert said[1].startswith("rung llm: asked ") and "about $" in said[1]


def test_a_closed_door_is_not_knocked_at(here: Path) -> None:
    priced = "usd_per_mtok_in = 1.0\nusd_per_mtok_out = 1.0\n"
    Path("t.toml").write_text(rung("https://models.example/v1", priced) + '\n[privacy]\negress = "local"\n')
    body = good("doctor", "-c", "t.toml", code=2)
    assert any("privacy.egress" in check["finding"] for check in body["checks"] if check["level"] == "fail")
    (row,) = (check for check in body["checks"] if check["what"] == "privacy")
    assert "lets no text go to models.example" in row["finding"] and "leave this machine" not in row["finding"]
